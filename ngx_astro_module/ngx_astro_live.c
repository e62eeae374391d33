
/*
 * Copyright (C) The Astro authors
 *
 * See ngx_astro_live.h.  The timer runs while somebody watches; a rate is what
 * was counted since its last turn.
 */

#include "ngx_astro_live.h"
#include "ngx_astro_metrics.h"
#include "ngx_astro_nodes.h"


#define NGX_ASTRO_LIVE_EVERY_MS  2000
#define NGX_ASTRO_LIVE_OLD_MS    7000       /* of a billing worker */
#define NGX_ASTRO_LIVE_WATCHERS  64         /* of a worker of nginx */
#define NGX_ASTRO_LIVE_BILLING   32         /* billing workers */
#define NGX_ASTRO_LIVE_SIZE      16384

#define NGX_ASTRO_LIVE_NONE      (-1)       /* what nobody knows */


/* what a billing worker says, in this order */

enum {
    NGX_ASTRO_LIVE_TICKS = 0,
    NGX_ASTRO_LIVE_MS,
    NGX_ASTRO_LIVE_CHARGED,
    NGX_ASTRO_LIVE_LAG,
    NGX_ASTRO_LIVE_PG,
    NGX_ASTRO_LIVE_REDIS,
    NGX_ASTRO_LIVE_WAITING,
    NGX_ASTRO_LIVE_PARKED,
    NGX_ASTRO_LIVE_STATES,

    /* not said by workers of the version before: nobody knows */
    NGX_ASTRO_LIVE_SHARDS = NGX_ASTRO_LIVE_STATES + 8,
    NGX_ASTRO_LIVE_OUTBOX_AGE,
    NGX_ASTRO_LIVE_INBOX_PARKED,
    NGX_ASTRO_LIVE_INBOX_AGE,
    NGX_ASTRO_LIVE_N
};

#define NGX_ASTRO_LIVE_NSTATES                                                \
    (NGX_ASTRO_LIVE_SHARDS - NGX_ASTRO_LIVE_STATES)

typedef struct {
    uint32_t              owner;            /* hash of its name */
    ngx_msec_t            heard;
    int64_t               said[NGX_ASTRO_LIVE_N];
} ngx_astro_live_billing_t;

typedef struct {
    uint64_t              in;
    uint64_t              out;
    uint64_t              http;
    uint64_t              us;               /* when; 0: never */
} ngx_astro_live_look_t;


static ngx_uint_t ngx_astro_live_find(ngx_astro_conn_t *conn);
static void ngx_astro_live_drop(ngx_uint_t i);
static void ngx_astro_live_timer(ngx_event_t *ev);
static u_char *ngx_astro_live_text(u_char *p, u_char *last);
static u_char *ngx_astro_live_host(u_char *p, u_char *last);
static u_char *ngx_astro_live_counts(u_char *p, u_char *last);
static u_char *ngx_astro_live_rates(u_char *p, u_char *last);
static u_char *ngx_astro_live_billing(u_char *p, u_char *last);
static int64_t ngx_astro_live_sum(ngx_uint_t what);
static int64_t ngx_astro_live_most(ngx_uint_t what);
static u_char *ngx_astro_live_number(u_char *p, u_char *last,
    const char *name, int64_t n);


static const char *const  ngx_astro_live_states[] = {
    "requested", "queued", "ringing", "accepted", "connecting", "active",
    "reconnecting", "paused"
};


/* each is referenced */
static ngx_astro_conn_t         *ngx_astro_live_conns[NGX_ASTRO_LIVE_WATCHERS];
static ngx_uint_t                ngx_astro_live_n;
static ngx_event_t               ngx_astro_live_event_timer;
static ngx_astro_live_look_t     ngx_astro_live_last;
static ngx_astro_live_billing_t
                            ngx_astro_live_workers[NGX_ASTRO_LIVE_BILLING];


void
ngx_astro_live_init(void)
{
    ngx_astro_event_init(&ngx_astro_live_event_timer, ngx_astro_live_timer);
    ngx_astro_live_event_timer.cancelable = 1;
}


void
ngx_astro_live_event(u_char *text, size_t len)
{
    u_char                    *p, *last, *end;
    int64_t                    n;
    uint32_t                   owner;
    ngx_uint_t                 i, minus;
    ngx_astro_live_billing_t  *b, *one, said;

    last = text + len;
    p = ngx_strlchr(text + 2, last, ' ');

    if (p == NULL) {
        return;
    }

    owner = ngx_murmur_hash2(text + 2, p - text - 2);

    for (i = 0; i < NGX_ASTRO_LIVE_N; i++) {

        if (p == last && i >= NGX_ASTRO_LIVE_SHARDS) {
            said.said[i] = NGX_ASTRO_LIVE_NONE;
            continue;
        }

        if (p == last || *p++ != ' ') {
            return;
        }

        minus = p < last && *p == '-';
        p += minus;

        for (end = p; end < last && *end >= '0' && *end <= '9'; end++) {
            /* void */
        }

        n = end - p <= 18 ? ngx_atoof(p, end - p) : NGX_ERROR;

        if (n == NGX_ERROR) {
            return;
        }

        said.said[i] = minus ? NGX_ASTRO_LIVE_NONE : n;
        p = end;
    }

    /* its own place, or that of who was not heard for longest */

    one = ngx_astro_live_workers;

    for (i = 0; i < NGX_ASTRO_LIVE_BILLING; i++) {
        b = &ngx_astro_live_workers[i];

        if (b->owner == owner) {
            one = b;
            break;
        }

        if ((ngx_msec_int_t) (b->heard - one->heard) < 0) {
            one = b;
        }
    }

    said.owner = owner;
    said.heard = ngx_current_msec;
    *one = said;
}


void
ngx_astro_handle_admin_metrics(ngx_astro_req_t *req)
{
    ngx_uint_t                  i;
    const astro_json_member_t  *on;

    on = astro_json_get(&req->doc->payload, "on");

    if (on == NULL || on->kind != ASTRO_JSON_BOOL) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "on is true or false", "/payload/on");
        return;
    }

    if (on->raw[0] == 'f') {
        i = ngx_astro_live_find(req->conn);

        if (i < ngx_astro_live_n) {
            ngx_astro_live_drop(i);
        }

        ngx_astro_reply(req->conn, req->id, (u_char *) "{\"on\":false}", 12);
        return;
    }

    if (ngx_astro_live_add(req->conn) != NGX_OK) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "too many watch, try again", NULL);
        return;
    }

    ngx_astro_reply(req->conn, req->id, (u_char *) "{\"on\":true}", 11);
}


ngx_int_t
ngx_astro_live_add(ngx_astro_conn_t *conn)
{
    if (ngx_astro_live_find(conn) < ngx_astro_live_n) {
        return NGX_OK;
    }

    if (ngx_astro_live_n == NGX_ASTRO_LIVE_WATCHERS) {
        return NGX_DECLINED;
    }

    ngx_astro_conn_ref(conn);
    ngx_astro_live_conns[ngx_astro_live_n++] = conn;

    /* soon: nobody looks at nothing for 2 s */

    if (!ngx_astro_live_event_timer.timer_set) {
        ngx_astro_live_last.us = 0;
        ngx_add_timer(&ngx_astro_live_event_timer, 1);
    }

    return NGX_OK;
}


/* its place, or the number of those who watch */

static ngx_uint_t
ngx_astro_live_find(ngx_astro_conn_t *conn)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_astro_live_n; i++) {
        if (ngx_astro_live_conns[i] == conn) {
            break;
        }
    }

    return i;
}


static void
ngx_astro_live_drop(ngx_uint_t i)
{
    ngx_astro_conn_unref(ngx_astro_live_conns[i]);
    ngx_astro_live_conns[i] = ngx_astro_live_conns[--ngx_astro_live_n];
}


static void
ngx_astro_live_timer(ngx_event_t *ev)
{
    u_char           *buf, *p;
    ngx_uint_t        i;
    ngx_astro_msg_t   m;

    for (i = 0; i < ngx_astro_live_n; /* void */ ) {

        if (ngx_astro_conn_open(ngx_astro_live_conns[i])
            && ngx_astro_live_conns[i]->role == ASTRO_ROLE_ADMIN)
        {
            i++;

        } else {
            ngx_astro_live_drop(i);
        }
    }

    if (ngx_astro_live_n == 0) {
        return;
    }

    ngx_add_timer(ev, NGX_ASTRO_LIVE_EVERY_MS);

    buf = ngx_alloc(NGX_ASTRO_LIVE_SIZE, ngx_astro.log);

    if (buf == NULL) {
        return;
    }

    p = ngx_astro_live_text(buf, buf + NGX_ASTRO_LIVE_SIZE);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);

    for (i = 0; i < ngx_astro_live_n; i++) {
        ngx_astro_conn_send(ngx_astro_live_conns[i], &m, 1);
    }

    ngx_free(buf);
}


static u_char *
ngx_astro_live_text(u_char *p, u_char *last)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    p = ngx_slprintf(p, last, "{\"type\":\"admin_metrics\",\"payload\":{"
                     "\"at\":%L,\"host\":{",
                     (int64_t) tp->sec * 1000 + (int64_t) tp->msec);

    p = ngx_astro_live_host(p, last);
    p = ngx_slprintf(p, last, "},\"billing\":");
    p = ngx_astro_live_billing(p, last);

    return ngx_slprintf(p, last, "}}");
}


static u_char *
ngx_astro_live_host(u_char *p, u_char *last)
{
    uint64_t     taken, n;
    ngx_uint_t   i, some;
    const char  *name;

    p = ngx_slprintf(p, last, "\"nodes\":%ui,\"workers\":[",
                     (ngx_uint_t) ngx_astro_nodes_others + 1);

    taken = astro_seats_taken(ngx_astro.arena);
    some = 0;

    for (i = 0; i < astro_arena_seats(ngx_astro.arena); i++) {

        if (!(taken & (1ULL << i))) {
            continue;
        }

        p = ngx_slprintf(p, last, "%s{\"worker\":%ui,\"connections\":%uL,"
                         "\"joined\":%uL}", some++ ? "," : "", i,
                         ngx_astro_metrics_of(NGX_ASTRO_C_OPEN, i),
                         ngx_astro_metrics_of(NGX_ASTRO_C_JOINED, i));
    }

    p = ngx_slprintf(p, last, "],");
    p = ngx_astro_live_rates(p, last);

    p = ngx_astro_live_counts(p, last);

    p = ngx_slprintf(p, last, ",\"pg_up\":%uL,\"redis_up\":%uL,"
                     "\"closes\":{",
                     ngx_astro_metrics_of(NGX_ASTRO_C_PG_UP,
                                          NGX_ASTRO_METRICS_ALL),
                     ngx_astro_metrics_of(NGX_ASTRO_C_REDIS_UP,
                                          NGX_ASTRO_METRICS_ALL));
    some = 0;

    for (i = 0; i < NGX_ASTRO_CLOSE_SLOTS; i++) {
        n = ngx_astro_metrics_of(NGX_ASTRO_C_CLOSES + i,
                                 NGX_ASTRO_METRICS_ALL);
        name = ngx_astro_close_name(i);

        if (n) {
            p = ngx_slprintf(p, last, "%s\"%s\":%uL", some++ ? "," : "", name,
                             n);
        }
    }

    return ngx_slprintf(p, last, "}");
}


/* what alarms look at, since the start: who watches sees it rise */

static u_char *
ngx_astro_live_counts(u_char *p, u_char *last)
{
    ngx_uint_t  i;

    static const struct {
        const char  *name;
        ngx_uint_t   what;
    } rows[] = {
        { "seats_reclaimed", NGX_ASTRO_C_SEATS_RECLAIMED },
        { "nodes_lost", NGX_ASTRO_C_NODES_LOST },
        { "unpaid", NGX_ASTRO_C_UNPAID },
        { "faults", NGX_ASTRO_C_ERRORS + NGX_ASTRO_E_INTERNAL }
    };

    p = ngx_slprintf(p, last, ",\"seatless\":%ui,\"counts\":{",
                     ngx_astro_nodes_seatless());

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        p = ngx_slprintf(p, last, "%s\"%s\":%uL", i ? "," : "", rows[i].name,
                         ngx_astro_metrics_of(rows[i].what,
                                              NGX_ASTRO_METRICS_ALL));
    }

    return ngx_slprintf(p, last, "}");
}


/* per second, rounded */

static u_char *
ngx_astro_live_rates(u_char *p, u_char *last)
{
    int64_t                 us;
    ngx_uint_t              i;
    ngx_astro_live_look_t   now, *then;

    then = &ngx_astro_live_last;

    now.in = 0;
    now.us = ngx_astro_boot_us();
    now.out = ngx_astro_metrics_of(NGX_ASTRO_C_MSG_OUT, NGX_ASTRO_METRICS_ALL);
    now.http = ngx_astro_metrics_of(NGX_ASTRO_C_HTTP_REQUESTS,
                                    NGX_ASTRO_METRICS_ALL);

    for (i = 0; i < NGX_ASTRO_TYPE_SLOTS; i++) {
        now.in += ngx_astro_metrics_of(NGX_ASTRO_C_MSG_IN + i,
                                       NGX_ASTRO_METRICS_ALL);
    }

    us = then->us ? (int64_t) (now.us - then->us) : 0;

    if (us <= 0) {
        p = ngx_slprintf(p, last, "\"messages_in_s\":null,"
                         "\"messages_out_s\":null,\"requests_s\":null");

    } else {
        p = ngx_slprintf(p, last, "\"messages_in_s\":%uL,"
                         "\"messages_out_s\":%uL,\"requests_s\":%uL",
                         ((now.in - then->in) * 1000000 + us / 2) / us,
                         ((now.out - then->out) * 1000000 + us / 2) / us,
                         ((now.http - then->http) * 1000000 + us / 2) / us);
    }

    *then = now;

    return p;
}


/* null: none is heard of, or Redis is away */

static u_char *
ngx_astro_live_billing(u_char *p, u_char *last)
{
    int64_t                    ticks;
    ngx_uint_t                 i, n;
    ngx_astro_live_billing_t  *b;

    /* sums, and what any of them knows of the whole deployment */

    static const struct {
        const char  *name;
        int64_t    (*value)(ngx_uint_t what);
        ngx_uint_t   what;
    } rows[] = {
        { "tick_lag_p99_ms", ngx_astro_live_most, NGX_ASTRO_LIVE_LAG },
        { "charged_minute", ngx_astro_live_sum, NGX_ASTRO_LIVE_CHARGED },
        { "pg_up", ngx_astro_live_sum, NGX_ASTRO_LIVE_PG },
        { "redis_up", ngx_astro_live_sum, NGX_ASTRO_LIVE_REDIS },
        { "outbox_waiting", ngx_astro_live_most, NGX_ASTRO_LIVE_WAITING },
        { "outbox_parked", ngx_astro_live_most, NGX_ASTRO_LIVE_PARKED },
        { "outbox_age_s", ngx_astro_live_most, NGX_ASTRO_LIVE_OUTBOX_AGE },
        { "inbox_parked", ngx_astro_live_most, NGX_ASTRO_LIVE_INBOX_PARKED },
        { "inbox_age_s", ngx_astro_live_most, NGX_ASTRO_LIVE_INBOX_AGE },
        { "shards_free", ngx_astro_live_most, NGX_ASTRO_LIVE_SHARDS }
    };

    n = 0;
    ticks = 0;

    for (i = 0; i < NGX_ASTRO_LIVE_BILLING; i++) {
        b = &ngx_astro_live_workers[i];

        if (b->owner && ngx_current_msec - b->heard > NGX_ASTRO_LIVE_OLD_MS) {
            b->owner = 0;
        }

        if (b->owner == 0) {
            continue;
        }

        n++;

        /* thousandths a second */
        ticks += b->said[NGX_ASTRO_LIVE_MS] > 0
                 ? b->said[NGX_ASTRO_LIVE_TICKS] * 1000000
                   / b->said[NGX_ASTRO_LIVE_MS] : 0;
    }

    if (n == 0) {
        return ngx_slprintf(p, last, "null");
    }

    p = ngx_slprintf(p, last, "{\"workers\":%ui,\"ticks_s\":%L.%03L", n,
                     ticks / 1000, ticks % 1000);

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        p = ngx_slprintf(p, last, ",");
        p = ngx_astro_live_number(p, last, rows[i].name,
                                  rows[i].value(rows[i].what));
    }

    p = ngx_slprintf(p, last, ",\"sessions\":{");

    for (i = 0; i < NGX_ASTRO_LIVE_NSTATES; i++) {
        p = ngx_astro_live_number(p, last, ngx_astro_live_states[i],
                                  ngx_astro_live_most(NGX_ASTRO_LIVE_STATES
                                                      + i));
        p = ngx_slprintf(p, last, "%s",
                         i < NGX_ASTRO_LIVE_NSTATES - 1 ? "," : "");
    }

    return ngx_slprintf(p, last, "}}");
}


static int64_t
ngx_astro_live_sum(ngx_uint_t what)
{
    int64_t     sum;
    ngx_uint_t  i;

    sum = 0;

    for (i = 0; i < NGX_ASTRO_LIVE_BILLING; i++) {
        if (ngx_astro_live_workers[i].owner) {
            sum += ngx_max(ngx_astro_live_workers[i].said[what], 0);
        }
    }

    return sum;
}


static int64_t
ngx_astro_live_most(ngx_uint_t what)
{
    int64_t     most;
    ngx_uint_t  i;

    most = NGX_ASTRO_LIVE_NONE;

    for (i = 0; i < NGX_ASTRO_LIVE_BILLING; i++) {
        if (ngx_astro_live_workers[i].owner) {
            most = ngx_max(most, ngx_astro_live_workers[i].said[what]);
        }
    }

    return most;
}


static u_char *
ngx_astro_live_number(u_char *p, u_char *last, const char *name, int64_t n)
{
    if (n == NGX_ASTRO_LIVE_NONE) {
        return ngx_slprintf(p, last, "\"%s\":null", name);
    }

    return ngx_slprintf(p, last, "\"%s\":%L", name, n);
}
