
/*
 * Copyright (C) The Astro authors
 *
 * The classes, their defaults, and what is done with who asks for more.
 */

#include "ngx_astro_conn.h"
#include "ngx_astro_limits.h"
#include "ngx_astro_protocol.h"


#define NGX_ASTRO_STRIKES_MS     10000  /* refusals are counted for so long */
#define NGX_ASTRO_STRIKES        10     /* bursts refused, then 4429 */
#define NGX_ASTRO_PAUSE_MIN_MS   20
#define NGX_ASTRO_PAUSE_MAX_MS   1000
#define NGX_ASTRO_RECLAIM_MS     100

/* kinds of keys: those below are address families, AF_INET6 is 10 */
#define NGX_ASTRO_KEY_USER       0x10000

#define NGX_ASTRO_PER_USER_DEFAULT     64
#define NGX_ASTRO_PER_ADDRESS_DEFAULT  4096


typedef enum {
    NGX_ASTRO_PER_CONNECTION = 0,
    NGX_ASTRO_PER_USER,
    NGX_ASTRO_PER_ADDRESS,
    NGX_ASTRO_PER_MAX
} ngx_astro_per_e;

typedef struct {
    ngx_uint_t              rate;       /* 0: none */
    ngx_uint_t              per_s;      /* of so many seconds */
    ngx_uint_t              burst;
} ngx_astro_rate_t;

typedef struct {
    const char             *name;
    ngx_astro_per_e         per;        /* when it is not said */
    unsigned                may:3;      /* bits of what it may be per */
    ngx_astro_rate_t        rate[NGX_ASTRO_PER_MAX];
} ngx_astro_class_t;

struct ngx_astro_limits_conf_s {
    astro_limit_t           limit[NGX_ASTRO_L_MAX][NGX_ASTRO_PER_MAX];
    uint8_t                 set[NGX_ASTRO_L_MAX][NGX_ASTRO_PER_MAX];
    ngx_uint_t              per_user;   /* connections; 0: any number */
    ngx_uint_t              per_address;
    ngx_uint_t              connections_set;
};


#define CONNECTION  (1 << NGX_ASTRO_PER_CONNECTION)
#define USER        (1 << NGX_ASTRO_PER_USER)
#define ADDRESS     (1 << NGX_ASTRO_PER_ADDRESS)

/*
 * Defaults: several times what a person with a few devices can want, and no
 * more than a few per cent of a processor.
 */

static const ngx_astro_class_t  ngx_astro_classes[] = {

    { "signal", NGX_ASTRO_PER_USER, CONNECTION|USER|ADDRESS,
      { { 0, 0, 0 }, { 200, 1, 1000 }, { 0, 0, 0 } } },
    { "chat", NGX_ASTRO_PER_USER, CONNECTION|USER|ADDRESS,
      { { 0, 0, 0 }, { 20, 1, 200 }, { 0, 0, 0 } } },
    { "typing", NGX_ASTRO_PER_USER, CONNECTION|USER|ADDRESS,
      { { 0, 0, 0 }, { 10, 1, 50 }, { 0, 0, 0 } } },
    { "session", NGX_ASTRO_PER_USER, CONNECTION|USER|ADDRESS,
      { { 0, 0, 0 }, { 10, 1, 60 }, { 0, 0, 0 } } },
    { "other", NGX_ASTRO_PER_USER, CONNECTION|USER|ADDRESS,
      { { 0, 0, 0 }, { 50, 1, 300 }, { 0, 0, 0 } } },
    { "frame", NGX_ASTRO_PER_CONNECTION, CONNECTION,
      { { 1000, 1, 5000 }, { 0, 0, 0 }, { 0, 0, 0 } } },

    { "connect", NGX_ASTRO_PER_ADDRESS, ADDRESS,
      { { 0, 0, 0 }, { 0, 0, 0 }, { 100, 1, 2000 } } },
    { "hello", NGX_ASTRO_PER_USER, USER|ADDRESS,
      { { 0, 0, 0 }, { 10, 1, 200 }, { 0, 0, 0 } } },
    { "api", NGX_ASTRO_PER_USER, USER|ADDRESS,
      { { 0, 0, 0 }, { 50, 1, 300 }, { 500, 1, 3000 } } },
    { "login", NGX_ASTRO_PER_ADDRESS, USER|ADDRESS,
      { { 0, 0, 0 }, { 10, 60, 20 }, { 30, 60, 60 } } },
    { "webhook", NGX_ASTRO_PER_ADDRESS, ADDRESS,
      { { 0, 0, 0 }, { 0, 0, 0 }, { 200, 1, 2000 } } },
    { "write", NGX_ASTRO_PER_USER, USER,
      { { 0, 0, 0 }, { 20, 1, 150 }, { 0, 0, 0 } } },
    { "search", NGX_ASTRO_PER_USER, USER,
      { { 0, 0, 0 }, { 10, 1, 60 }, { 0, 0, 0 } } },
    { "money", NGX_ASTRO_PER_USER, USER,
      { { 0, 0, 0 }, { 5, 1, 30 }, { 0, 0, 0 } } }
};

#undef CONNECTION
#undef USER
#undef ADDRESS

static const char *const  ngx_astro_pers[] = {
    "connection", "user", "address"
};


static ngx_int_t ngx_astro_limits_rate(ngx_str_t *value,
    ngx_astro_rate_t *rate);
static ngx_int_t ngx_astro_limits_put(ngx_astro_limits_conf_t *conf,
    ngx_uint_t class, ngx_uint_t per, const ngx_astro_rate_t *rate);
static void ngx_astro_limits_all(ngx_astro_limits_conf_t *conf,
    const ngx_astro_rate_t *rate);
static uint64_t ngx_astro_limits_address(ngx_connection_t *c);
static uint64_t ngx_astro_limits_shared(ngx_astro_class_e class,
    ngx_astro_per_e per, uint64_t key, uint64_t now_us);
static uint64_t ngx_astro_limits_user_key(uint64_t user);
static ngx_int_t ngx_astro_limits_count(uint64_t key, ngx_uint_t max);
static ngx_int_t ngx_astro_limits_strike(ngx_astro_conn_t *conn,
    ngx_astro_class_e class);
static void ngx_astro_limits_reply(ngx_astro_conn_t *conn, int64_t id,
    uint64_t wait_us);


const char *
ngx_astro_limit_name(ngx_uint_t i)
{
    return i < NGX_ASTRO_L_MAX ? ngx_astro_classes[i].name : NULL;
}


/* configuration */

ngx_astro_limits_conf_t *
ngx_astro_limits_create(ngx_conf_t *cf)
{
    ngx_uint_t                i, per;
    ngx_astro_limits_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_astro_limits_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    for (i = 0; i < NGX_ASTRO_L_MAX; i++) {
        for (per = 0; per < NGX_ASTRO_PER_MAX; per++) {
            (void) ngx_astro_limits_put(conf, i, per,
                                        &ngx_astro_classes[i].rate[per]);
        }
    }

    conf->per_user = NGX_ASTRO_PER_USER_DEFAULT;
    conf->per_address = NGX_ASTRO_PER_ADDRESS_DEFAULT;

    return conf;
}


/* astro_limit class|all off|rate=n/s burst=n [per=connection|user|address] */

char *
ngx_astro_limits_set(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *main = c;

    ngx_int_t                 n;
    ngx_str_t                *value, s;
    ngx_uint_t                i, class, per, off;
    ngx_astro_rate_t          rate;
    ngx_astro_limits_conf_t  *conf;

    conf = main->limits;
    value = cf->args->elts;
    off = 0;
    per = NGX_ASTRO_PER_MAX;
    ngx_memzero(&rate, sizeof(ngx_astro_rate_t));

    for (class = 0; class < NGX_ASTRO_L_MAX; class++) {
        if (ngx_strcmp(value[1].data, ngx_astro_classes[class].name) == 0) {
            break;
        }
    }

    if (class == NGX_ASTRO_L_MAX && ngx_strcmp(value[1].data, "all") != 0) {
        i = 1;
        goto invalid;
    }

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strcmp(value[i].data, "off") == 0) {
            off = 1;
            continue;
        }

        if (ngx_strncmp(value[i].data, "rate=", 5) == 0) {
            s.data = value[i].data + 5;
            s.len = value[i].len - 5;

            if (ngx_astro_limits_rate(&s, &rate) != NGX_OK) {
                goto invalid;
            }

            continue;
        }

        if (ngx_strncmp(value[i].data, "burst=", 6) == 0) {
            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 1) {
                goto invalid;
            }

            rate.burst = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "per=", 4) == 0) {

            for (per = 0; per < NGX_ASTRO_PER_MAX; per++) {
                if (ngx_strcmp(value[i].data + 4, ngx_astro_pers[per]) == 0) {
                    break;
                }
            }

            if (per == NGX_ASTRO_PER_MAX || class == NGX_ASTRO_L_MAX
                || !(ngx_astro_classes[class].may & (1 << per)))
            {
                goto invalid;
            }

            continue;
        }

        goto invalid;
    }

    if (off == (rate.rate != 0) || off == (rate.burst != 0)) {
        return "takes either \"off\" or both \"rate=\" and \"burst=\"";
    }

    if (class == NGX_ASTRO_L_MAX) {
        ngx_astro_limits_all(conf, &rate);
        return NGX_CONF_OK;
    }

    if (off && per == NGX_ASTRO_PER_MAX) {
        ngx_memzero(conf->limit[class], sizeof(conf->limit[class]));
        return NGX_CONF_OK;
    }

    if (per == NGX_ASTRO_PER_MAX) {
        per = ngx_astro_classes[class].per;
    }

    if (conf->set[class][per]) {
        return "is duplicate";
    }

    conf->set[class][per] = 1;

    if (ngx_astro_limits_put(conf, class, per, &rate) != NGX_OK) {
        return "has a rate that is too high, or a burst that would take more "
               "than half an hour to come back";
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"%V\"", &value[i],
                       &cmd->name);

    return NGX_CONF_ERROR;
}


/* "50/s" or "10/m" */

static ngx_int_t
ngx_astro_limits_rate(ngx_str_t *value, ngx_astro_rate_t *rate)
{
    ngx_int_t  n;

    if (value->len < 3 || value->data[value->len - 2] != '/') {
        return NGX_ERROR;
    }

    switch (value->data[value->len - 1]) {

    case 's':
        rate->per_s = 1;
        break;

    case 'm':
        rate->per_s = 60;
        break;

    default:
        return NGX_ERROR;
    }

    n = ngx_atoi(value->data, value->len - 2);

    if (n < 1) {
        return NGX_ERROR;
    }

    rate->rate = n;

    return NGX_OK;
}


static ngx_int_t
ngx_astro_limits_put(ngx_astro_limits_conf_t *conf, ngx_uint_t class,
    ngx_uint_t per, const ngx_astro_rate_t *rate)
{
    astro_limit_t  *limit;

    limit = &conf->limit[class][per];

    if (rate->rate == 0) {
        limit->interval_us = 0;
        return NGX_OK;
    }

    return astro_limit_set(limit, rate->rate,
                           (uint64_t) rate->per_s * 1000000, rate->burst)
           == 0 ? NGX_OK : NGX_ERROR;
}


/* Each limit that there is by default. */

static void
ngx_astro_limits_all(ngx_astro_limits_conf_t *conf,
    const ngx_astro_rate_t *rate)
{
    ngx_uint_t  class, per;

    for (class = 0; class < NGX_ASTRO_L_MAX; class++) {
        for (per = 0; per < NGX_ASTRO_PER_MAX; per++) {

            if (conf->limit[class][per].interval_us) {
                (void) ngx_astro_limits_put(conf, class, per, rate);
            }
        }
    }
}


/* astro_connections [per_user=n] [per_address=n] */

char *
ngx_astro_limits_connections(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *main = c;

    ngx_int_t    n;
    ngx_str_t   *value;
    ngx_uint_t   i, *field;

    if (main->limits->connections_set) {
        return "is duplicate";
    }

    main->limits->connections_set = 1;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "per_user=", 9) == 0) {
            field = &main->limits->per_user;
            n = ngx_atoi(value[i].data + 9, value[i].len - 9);

        } else if (ngx_strncmp(value[i].data, "per_address=", 12) == 0) {
            field = &main->limits->per_address;
            n = ngx_atoi(value[i].data + 12, value[i].len - 12);

        } else {
            field = NULL;
            n = NGX_ERROR;
        }

        if (n == NGX_ERROR || n > 65000) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\" of \"%V\"",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        *field = n;
    }

    return NGX_CONF_OK;
}


/* keys and buckets */

/*
 * The address as nginx has it, so that of the realip module where that is
 * used.  Of IPv6 the first 64 bits: the rest is the client's to choose.
 */

static uint64_t
ngx_astro_limits_address(ngx_connection_t *c)
{
#if (NGX_HAVE_INET6)
    u_char               *p;
    struct sockaddr_in6  *sin6;
#endif
    struct sockaddr_in   *sin;

    switch (c->sockaddr->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) c->sockaddr;
        return astro_limit_key(AF_INET, &sin->sin_addr, 4) | 1;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) c->sockaddr;
        p = sin6->sin6_addr.s6_addr;

        if (IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr)) {
            return astro_limit_key(AF_INET, p + 12, 4) | 1;
        }

        return astro_limit_key(AF_INET6, p, 8) | 1;
#endif

    default:
        /* a Unix socket: whoever is behind it is not told from others */
        return 0;
    }
}


/* Microseconds to wait, or 0. */

static uint64_t
ngx_astro_limits_shared(ngx_astro_class_e class, ngx_astro_per_e per,
    uint64_t key, uint64_t now_us)
{
    uint64_t              mix[2];
    const astro_limit_t  *limit;

    limit = &ngx_astro.conf->limits->limit[class][per];

    if (limit->interval_us == 0 || key == 0) {
        return 0;
    }

    mix[0] = key;
    mix[1] = per;

    return astro_limit_shared(ngx_astro.arena,
                              astro_limit_key(class, mix, sizeof(mix)),
                              limit, now_us, 1);
}


static uint64_t
ngx_astro_limits_user_key(uint64_t user)
{
    return astro_limit_key(NGX_ASTRO_KEY_USER, &user, sizeof(uint64_t));
}


ngx_int_t
ngx_astro_limits_message(ngx_astro_conn_t *conn, ngx_astro_class_e class,
    int64_t id)
{
    uint64_t                  now_us, wait;
    ngx_astro_limits_conf_t  *conf;

    conf = ngx_astro.conf->limits;

    /* as of the read that brought it: near enough, and no call */
    now_us = (uint64_t) conn->rx_ms * 1000;

    wait = astro_limit_local(&conn->limits.tat[class],
                             &conf->limit[class][NGX_ASTRO_PER_CONNECTION],
                             now_us, 1);

    if (wait == 0) {
        wait = ngx_astro_limits_shared(class, NGX_ASTRO_PER_USER, conn->user,
                                       now_us);
    }

    if (wait == 0) {
        wait = ngx_astro_limits_shared(class, NGX_ASTRO_PER_ADDRESS,
                                       conn->limits.address, now_us);
    }

    if (wait == 0) {
        return NGX_OK;
    }

    ngx_astro_count_of(LIMITED, class);

    if (class == NGX_ASTRO_L_TYPING) {
        ngx_astro_count(DROPPED_LIMIT);
    }

    if (ngx_astro_limits_strike(conn, class) != NGX_OK) {
        return NGX_DECLINED;
    }

    /* each id gets its reply; who gave none is told once in a while */

    if (id || (class != NGX_ASTRO_L_TYPING && conn->limits.strikes == 1)) {
        ngx_astro_limits_reply(conn, id, wait);
    }

    return NGX_DECLINED;
}


/* Refused once more; NGX_DONE: once too often. */

static ngx_int_t
ngx_astro_limits_strike(ngx_astro_conn_t *conn, ngx_astro_class_e class)
{
    uint64_t              burst;
    ngx_uint_t            per;
    ngx_astro_limits_t   *l;
    const astro_limit_t  *limit;

    l = &conn->limits;

    if (conn->rx_ms - l->strikes_ms > NGX_ASTRO_STRIKES_MS) {
        l->strikes_ms = conn->rx_ms;
        l->strikes = 0;
    }

    l->strikes++;
    burst = 0;

    for (per = 0; per < NGX_ASTRO_PER_MAX; per++) {
        limit = &ngx_astro.conf->limits->limit[class][per];

        if (limit->interval_us) {
            burst = ngx_max(burst, limit->burst_us / limit->interval_us);
        }
    }

    if (l->strikes <= burst * NGX_ASTRO_STRIKES) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_INFO, conn->c->log, 0,
                  "client went on after %uD messages of class \"%s\" were "
                  "refused, closing %d", l->strikes,
                  ngx_astro_classes[class].name, NGX_ASTRO_CLOSE_TOO_MANY);

    ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_TOO_MANY, "too many messages",
                       "stop", 0);

    return NGX_DONE;
}


static void
ngx_astro_limits_reply(ngx_astro_conn_t *conn, int64_t id, uint64_t wait_us)
{
    u_char           *p;
    u_char            buf[256];
    ngx_astro_msg_t   m;

    ngx_astro_count_of(ERRORS, NGX_ASTRO_E_RATE_LIMITED);

    p = ngx_sprintf(buf, "{\"type\":\"reply\",");

    if (id) {
        p = ngx_sprintf(p, "\"id\":%L,", id);
    }

    p = ngx_sprintf(p, "\"error\":{\"code\":\"rate_limited\","
                    "\"message\":\"too many, wait a little\","
                    "\"retry\":true,\"retry_after_ms\":%uL}}",
                    (wait_us + 999) / 1000);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_send(conn, &m, 0);
}


/*
 * Everything that comes is paid for, answered or not: frames of any kind, and
 * octets.  What was read has been handled already, so the bucket may be in
 * debt; the pause ends when it is not, or after a second, so that a pong is
 * never taken for missing.
 */

ngx_msec_t
ngx_astro_limits_frames(ngx_astro_conn_t *conn, ngx_uint_t frames, size_t len)
{
    uint64_t              debt;
    ngx_msec_t            pause;
    const astro_limit_t  *limit;

    limit = &ngx_astro.conf->limits->limit[NGX_ASTRO_L_FRAME]
                                          [NGX_ASTRO_PER_CONNECTION];

    debt = astro_limit_debt(&conn->limits.tat[NGX_ASTRO_L_FRAME], limit,
                            (uint64_t) conn->rx_ms * 1000,
                            frames + len / NGX_ASTRO_FRAME_BYTES);

    if (debt == 0) {
        return 0;
    }

    pause = ngx_max(debt / 1000, NGX_ASTRO_PAUSE_MIN_MS);

    if (pause > NGX_ASTRO_PAUSE_MAX_MS) {
        pause = NGX_ASTRO_PAUSE_MAX_MS;
        conn->limits.tat[NGX_ASTRO_L_FRAME] =
            (uint64_t) (conn->rx_ms + pause) * 1000 + limit->burst_us;
    }

    ngx_astro_count_of(LIMITED, NGX_ASTRO_L_FRAME);

    return pause;
}


/* connections */

ngx_int_t
ngx_astro_limits_handshake(ngx_http_request_t *r, ngx_astro_limits_t *l)
{
    ngx_uint_t  wait;

    wait = ngx_astro_limits_request(r, NGX_ASTRO_L_CONNECT, NULL, 0);

    if (wait) {
        return NGX_HTTP_TOO_MANY_REQUESTS;
    }

    l->address = ngx_astro_limits_address(r->connection);

    if (l->address == 0) {
        return NGX_OK;
    }

    switch (ngx_astro_limits_count(l->address,
                                   ngx_astro.conf->limits->per_address))
    {

    case NGX_OK:
        l->address_counted = 1;
        return NGX_OK;

    case NGX_DECLINED:
        return NGX_OK;

    default:
        ngx_astro_count(REFUSED_ADDRESS);
        return NGX_HTTP_TOO_MANY_REQUESTS;
    }
}


/*
 * NGX_OK: counted; NGX_DECLINED: not limited, or there is no room to count;
 * NGX_BUSY: there are too many.  The number may hold those of a worker that was
 * killed a moment ago, so before anybody is refused its seat is looked for.
 */

static ngx_int_t
ngx_astro_limits_count(uint64_t key, ngx_uint_t max)
{
    static ngx_msec_t  reclaimed;

    uint32_t           n;

    if (max == 0 || ngx_astro.seat == ASTRO_NO_SEAT) {
        return NGX_DECLINED;
    }

    n = astro_count_add(ngx_astro.arena, key, ngx_astro.seat);

    if (n == 0) {
        return NGX_DECLINED;
    }

    if (n > max && ngx_current_msec - reclaimed > NGX_ASTRO_RECLAIM_MS) {
        reclaimed = ngx_current_msec;
        ngx_astro_router_reclaim();
        n = astro_count_of(ngx_astro.arena, key);
    }

    if (n > max) {
        astro_count_sub(ngx_astro.arena, key, ngx_astro.seat);
        return NGX_BUSY;
    }

    return NGX_OK;
}


ngx_int_t
ngx_astro_limits_hello(ngx_astro_conn_t *conn, int64_t id)
{
    uint64_t  now_us, wait;

    now_us = (uint64_t) conn->rx_ms * 1000;

    wait = ngx_astro_limits_shared(NGX_ASTRO_L_HELLO, NGX_ASTRO_PER_USER,
                                   conn->user, now_us);

    if (wait == 0) {
        wait = ngx_astro_limits_shared(NGX_ASTRO_L_HELLO,
                                       NGX_ASTRO_PER_ADDRESS,
                                       conn->limits.address, now_us);
    }

    if (wait) {
        ngx_astro_count_of(LIMITED, NGX_ASTRO_L_HELLO);

        if (id) {
            ngx_astro_limits_reply(conn, id, wait);
        }

        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_TOO_MANY, "too many hellos",
                           "reconnect", (wait + 999) / 1000);
        return NGX_DECLINED;
    }

    switch (ngx_astro_limits_count(ngx_astro_limits_user_key(conn->user),
                                   ngx_astro.conf->limits->per_user))
    {

    case NGX_OK:
        conn->limits.user_counted = 1;
        return NGX_OK;

    case NGX_DECLINED:
        return NGX_OK;

    default:
        ngx_astro_count(REFUSED_USER);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_TOO_MANY,
                           "too many connections", "stop", 0);
        return NGX_DECLINED;
    }
}


void
ngx_astro_limits_leave(ngx_astro_conn_t *conn)
{
    if (conn->limits.user_counted) {
        conn->limits.user_counted = 0;
        astro_count_sub(ngx_astro.arena,
                        ngx_astro_limits_user_key(conn->user),
                        ngx_astro.seat);
    }
}


void
ngx_astro_limits_close(ngx_astro_limits_t *l)
{
    if (l->address_counted) {
        l->address_counted = 0;
        astro_count_sub(ngx_astro.arena, l->address, ngx_astro.seat);
    }
}


/* REST */

ngx_uint_t
ngx_astro_limits_request(ngx_http_request_t *r, ngx_astro_class_e class,
    const void *user, size_t len)
{
    uint64_t  wait, now_us;

    now_us = ngx_astro_boot_us();

    wait = user ? ngx_astro_limits_shared(class, NGX_ASTRO_PER_USER,
                                          astro_limit_key(class, user, len),
                                          now_us)
                : ngx_astro_limits_shared(class, NGX_ASTRO_PER_ADDRESS,
                                      ngx_astro_limits_address(r->connection),
                                      now_us);

    if (wait == 0) {
        return 0;
    }

    ngx_astro_count_of(LIMITED, class);

    return (wait + 999999) / 1000000;
}
