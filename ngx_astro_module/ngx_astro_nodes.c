
/*
 * Copyright (C) The Astro authors
 *
 * The protocol between nodes: see the header.
 */

#include "ngx_astro_heal.h"
#include "ngx_astro_listen.h"
#include "ngx_astro_nodes.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_users.h"
#include "astro_record.h"


#define NGX_ASTRO_BEAT_MS       1000
#define NGX_ASTRO_BEAT_STEP_MS  50      /* for each worker before us */
#define NGX_ASTRO_ANSWER_MS     5       /* the same, to a HELLO */
#define NGX_ASTRO_NOBODY_MS     5000
#define NGX_ASTRO_NOBODY        1024    /* users remembered; a power of two */
#define NGX_ASTRO_NODES_MAX     256
#define NGX_ASTRO_TWICE         16      /* sessions' records remembered */


typedef struct {
    uint64_t             id;
    uint64_t             zone;          /* of a worker without a seat, or 0 */
    ngx_msec_t           heard;
} ngx_astro_node_t;

typedef struct {
    uint64_t             user;
    ngx_msec_t           until;
    uint64_t             since;         /* replies before it say nothing */
} ngx_astro_nobody_t;


static void ngx_astro_nodes_message(ngx_str_t *channel, u_char *text,
    size_t len);
static void ngx_astro_nodes_published(uint64_t token, ngx_uint_t receivers);
static ngx_uint_t ngx_astro_nodes_listeners(uint64_t user);
static void ngx_astro_nodes_listening(void);
static void ngx_astro_nodes_speaking(void);
static void ngx_astro_nodes_mute(ngx_uint_t lost);

static void ngx_astro_nodes_word(astro_record_t *r);
static void ngx_astro_nodes_route(astro_record_t *r);
static void ngx_astro_nodes_alive(astro_record_t *r);
static void ngx_astro_nodes_forget(ngx_uint_t i);
static void ngx_astro_nodes_changed(ngx_uint_t before);
static void ngx_astro_nodes_timer(ngx_event_t *ev);
static void ngx_astro_nodes_due(ngx_msec_t after);
static ngx_uint_t ngx_astro_nodes_rank(void);
static void ngx_astro_nodes_missed(void);


static const ngx_str_t  ngx_astro_nodes_channels[] = {
    ngx_string("events"),
    ngx_string("nodes")
};

static const ngx_astro_redis_on_t  ngx_astro_nodes_on = {
    ngx_astro_nodes_message,
    ngx_astro_listen_subscribed,
    ngx_astro_nodes_published,
    ngx_astro_listen_settled,
    ngx_astro_nodes_listening,
    ngx_astro_listen_deaf,
    ngx_astro_nodes_speaking,
    ngx_astro_nodes_mute
};


ngx_uint_t  ngx_astro_nodes_others;

static struct {
    void               (*events)(u_char *text, size_t len);

    uint64_t             self;
    uint64_t             worker;        /* this process, for "twice" */
    ngx_event_t          timer;
    ngx_msec_t           due;           /* of the next BEAT */

    uint64_t             forgot;        /* since, of all users */

    uint64_t             serial;
    uint64_t             twice[NGX_ASTRO_TWICE];
    ngx_uint_t           ntwice;

    unsigned             missed:1;      /* others have not heard us */
} ngx_astro_n;

static ngx_astro_node_t    ngx_astro_nodes[NGX_ASTRO_NODES_MAX];
static ngx_astro_nobody_t  ngx_astro_nobody[NGX_ASTRO_NOBODY];

#define ngx_astro_nobody_slot(user)                                           \
    &ngx_astro_nobody[(user) * 0x9e3779b97f4a7c15ULL >> 32                    \
                      & (NGX_ASTRO_NOBODY - 1)]


ngx_int_t
ngx_astro_nodes_init(void (*events)(u_char *text, size_t len))
{
    ngx_astro_n.events = events;
    ngx_astro_n.worker = astro_arena_random();

    ngx_astro_n.self = ngx_astro.seat == ASTRO_NO_SEAT
                       ? ngx_astro_n.worker : astro_arena_id(ngx_astro.arena);

    ngx_astro_event_init(&ngx_astro_n.timer, ngx_astro_nodes_timer);
    ngx_astro_n.timer.cancelable = 1;
    ngx_astro_listen_init();

    if (ngx_astro.conf->redis_addr) {
        ngx_astro_nodes_due(NGX_ASTRO_BEAT_MS);
    }

    return ngx_astro_redis_start(&ngx_astro_nodes_on,
                                 ngx_astro_nodes_channels, 2);
}


void
ngx_astro_nodes_exit(void)
{
    /*
     * The last one of a node says goodbye for it.  Our own seat was given back
     * before: of two that leave together one sees that nobody is left.
     */

    if (ngx_astro_n.self == ngx_astro_n.worker
        || astro_seats_taken(ngx_astro.arena) == 0)
    {
        (void) ngx_astro_nodes_say(ASTRO_RECORD_BYE, NULL, 0);
    }

    ngx_astro_redis_stop();
}


ngx_uint_t
ngx_astro_nodes_alone(void)
{
    return ngx_astro.conf->redis_addr == NULL
           || (ngx_astro_nodes_others == 0 && ngx_astro_redis_is_up());
}


ngx_uint_t
ngx_astro_nodes_seatless(void)
{
    uint64_t    zone;
    ngx_uint_t  i, n;

    zone = astro_arena_id(ngx_astro.arena);
    n = ngx_astro.seat == ASTRO_NO_SEAT;

    for (i = 0; i < ngx_astro_nodes_others; i++) {
        n += ngx_astro_nodes[i].zone == zone;
    }

    return n;
}


/* sending */

void
ngx_astro_nodes_user(const ngx_astro_route_t *route, uint64_t user,
    const ngx_astro_msg_t *m)
{
    size_t               clen;
    u_char              *p;
    u_char               channel[NGX_INT64_LEN + 2];
    astro_record_t       r;
    ngx_astro_nobody_t  *nobody;

    nobody = ngx_astro_nobody_slot(user);

    /* a HERE would end it, but for the deaf */

    if (nobody->user == user
        && (ngx_msec_int_t) (nobody->until - ngx_current_msec) > 0
        && ngx_astro_redis_listens())
    {
        ngx_astro_count(NODE_NOBODY);
        return;
    }

    r.kind = route->to;
    r.flags = route->durable ? ASTRO_RECORD_DURABLE : 0;
    r.node = ngx_astro_n.self;
    r.user = user;
    r.session = route->session;
    r.conv = route->conv;
    r.seq = route->seq;
    r.arg = route->arg;
    r.len = m ? m->len : 0;

    /* goes to both parties, and to a worker that has both it comes twice */

    if (r.kind == NGX_ASTRO_TO_SESSION) {
        r.arg = ngx_astro_n.worker + ngx_astro_n.serial;
    }

    clen = ngx_sprintf(channel, "u:%uL", user) - channel;

    p = ngx_astro_redis_publish(channel, clen, ASTRO_RECORD_HEAD + r.len,
                                user);
    if (p == NULL) {
        ngx_astro_nodes_missed();
        return;
    }

    astro_record_head(p, &r);

    if (m) {
        (void) ngx_astro_msg_copy(p + ASTRO_RECORD_HEAD, m);
    }

    ngx_astro_count(NODE_OUT);
}


void
ngx_astro_nodes_pair(const ngx_astro_route_t *route, uint64_t a, uint64_t b,
    const ngx_astro_msg_t *m)
{
    ngx_astro_n.serial++;

    ngx_astro_nodes_user(route, a, m);
    ngx_astro_nodes_user(route, b, m);
}


void
ngx_astro_nodes_all(const ngx_astro_route_t *route)
{
    u_char          *p;
    astro_record_t   r;

    ngx_memzero(&r, sizeof(astro_record_t));
    r.kind = route->to;
    r.node = ngx_astro_n.self;
    r.user = route->user;
    r.seq = route->seq;
    r.arg = route->arg;

    p = ngx_astro_redis_publish(ngx_astro_nodes_channels[1].data,
                                ngx_astro_nodes_channels[1].len,
                                ASTRO_RECORD_HEAD, 0);
    if (p == NULL) {
        ngx_astro_nodes_missed();
        return;
    }

    astro_record_head(p, &r);
    ngx_astro_count(NODE_OUT);
}


static void
ngx_astro_nodes_published(uint64_t user, ngx_uint_t receivers)
{
    ngx_astro_nobody_t  *nobody;

    if (user == 0 || receivers > ngx_astro_nodes_listeners(user)) {
        return;
    }

    nobody = ngx_astro_nobody_slot(user);

    /* the other link was faster: somebody has come since it was published */

    if (ngx_astro_redis_replied() <= ngx_max(nobody->since,
                                             ngx_astro_n.forgot))
    {
        return;
    }

    nobody->user = user;
    nobody->until = ngx_current_msec + NGX_ASTRO_NOBODY_MS;
}


/*
 * How many of this node's workers listen to a user's channel.  One that is deaf
 * has the user in the registry all the same.
 */

static ngx_uint_t
ngx_astro_nodes_listeners(uint64_t user)
{
    int         seat;
    uint64_t    seats, *counters;
    ngx_uint_t  n;

    if (ngx_astro.seat == ASTRO_NO_SEAT) {
        return ngx_astro_users_here(user);
    }

    n = 0;

    for (seats = astro_registry_seats(ngx_astro.arena, user);
         seats;
         seats &= seats - 1)
    {
        seat = __builtin_ctzll(seats);
        counters = astro_seat_counters(ngx_astro.arena, seat);

        /* both links, or else it may be the wrong one */

        n += __atomic_load_n(&counters[NGX_ASTRO_C_REDIS_UP],
                             __ATOMIC_RELAXED) == 2;
    }

    return n;
}


ngx_int_t
ngx_astro_nodes_say(astro_record_kind_e kind, const u_char *text, size_t len)
{
    u_char          *p;
    astro_record_t   r;

    ngx_memzero(&r, sizeof(astro_record_t));
    r.kind = kind;
    r.node = ngx_astro_n.self;
    r.len = len;

    /* whose host it is that has too few seats */

    if (ngx_astro_n.self == ngx_astro_n.worker) {
        r.arg = astro_arena_id(ngx_astro.arena);
    }

    p = ngx_astro_redis_publish(ngx_astro_nodes_channels[1].data,
                                ngx_astro_nodes_channels[1].len,
                                ASTRO_RECORD_HEAD + len, 0);
    if (p == NULL) {
        return NGX_ERROR;
    }

    astro_record_head(p, &r);

    if (len) {
        ngx_memcpy(p + ASTRO_RECORD_HEAD, text, len);
    }

    return NGX_OK;
}


static void
ngx_astro_nodes_missed(void)
{
    ngx_astro_count(NODE_DROPPED);
    ngx_astro_n.missed = 1;
}


static void
ngx_astro_nodes_mute(ngx_uint_t lost)
{
    if (lost && ngx_astro_nodes_others) {
        ngx_astro_add(NODE_DROPPED, lost);
        ngx_astro_n.missed = 1;
    }
}


static void
ngx_astro_nodes_speaking(void)
{
    (void) ngx_astro_nodes_say(ASTRO_RECORD_HELLO, NULL, 0);
    ngx_astro_nodes_due(NGX_ASTRO_BEAT_MS);
}


/* receiving */

static void
ngx_astro_nodes_message(ngx_str_t *channel, u_char *text, size_t len)
{
    ngx_uint_t      to_user;
    astro_record_t  r;

    if (ngx_astro_same(channel->data, channel->len, "events")) {
        ngx_astro_n.events(text, len);
        return;
    }

    if (astro_record_decode(text, len, &r) != 0) {
        ngx_astro_count(NODE_BAD);
        return;
    }

    to_user = !ngx_astro_same(channel->data, channel->len, "nodes");

    /* on a user's channel nothing but what is for the user's sockets */

    if (to_user && (r.kind >= ASTRO_RECORD_BEAT
                    || r.kind == ASTRO_RECORD_WATCHERS))
    {
        ngx_astro_count(NODE_BAD);
        return;
    }

    if (r.kind >= ASTRO_RECORD_BEAT) {
        ngx_astro_nodes_word(&r);
        return;
    }

    if (r.node == ngx_astro_n.self) {
        return;
    }

    if (!to_user && r.kind != ASTRO_RECORD_WATCHERS) {
        ngx_astro_count(NODE_BAD);
        return;
    }

    ngx_astro_count(NODE_IN);
    ngx_astro_nodes_route(&r);
}


static void
ngx_astro_nodes_route(astro_record_t *r)
{
    ngx_uint_t         i;
    ngx_astro_msg_t    m;
    ngx_astro_route_t  route;

    if (r->kind == NGX_ASTRO_TO_SESSION) {

        for (i = 0; i < NGX_ASTRO_TWICE; i++) {
            if (ngx_astro_n.twice[i] == r->arg) {
                return;
            }
        }

        ngx_astro_n.twice[ngx_astro_n.ntwice++ % NGX_ASTRO_TWICE] = r->arg;
    }

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = r->kind;
    route.durable = r->flags & ASTRO_RECORD_DURABLE;
    route.user = r->user;
    route.session = r->session;
    route.conv = r->conv;
    route.seq = r->seq;
    route.arg = r->arg;

    /* route.except stays 0: ids of connections are unique on a host only */

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, r->text, r->len);

    ngx_astro_route_local(&route, &m);
}


/* What nodes say to each other; our own node's, too. */

static void
ngx_astro_nodes_word(astro_record_t *r)
{
    size_t               i;
    uint64_t             user;
    ngx_astro_nobody_t  *nobody;

    switch (r->kind) {

    case ASTRO_RECORD_BEAT:
    case ASTRO_RECORD_HELLO:
        ngx_astro_nodes_alive(r);
        return;

    case ASTRO_RECORD_BYE:

        for (i = 0; i < ngx_astro_nodes_others; i++) {
            if (ngx_astro_nodes[i].id == r->node) {
                ngx_astro_nodes_forget(i);
                return;
            }
        }

        return;

    case ASTRO_RECORD_HERE:

        for (i = 0; i < r->len; i += 8) {
            user = astro_record_u64(r->text + i);
            nobody = ngx_astro_nobody_slot(user);

            nobody->since = ngx_astro_redis_said();

            if (nobody->user == user) {
                nobody->user = 0;
            }
        }

        return;

    case ASTRO_RECORD_FORGET:
        ngx_memzero(ngx_astro_nobody, sizeof(ngx_astro_nobody));
        ngx_astro_n.forgot = ngx_astro_redis_said();
        return;

    case ASTRO_RECORD_HEAL:

        if (r->node != ngx_astro_n.self) {
            ngx_astro_nodes_heal();
        }

        return;

    default:
        return;
    }
}


static void
ngx_astro_nodes_alive(astro_record_t *r)
{
    ngx_uint_t         i, n;
    ngx_astro_node_t  *node;

    n = ngx_astro_nodes_others;

    if (r->node == ngx_astro_n.self) {

        /* one of us has said it for all, also to a HELLO */

        ngx_astro_nodes_due(NGX_ASTRO_BEAT_MS);
        return;
    }

    if (r->kind == ASTRO_RECORD_HELLO) {
        ngx_astro_nodes_due(0);
    }

    for (i = 0; i < n; i++) {
        node = &ngx_astro_nodes[i];

        if (node->id == r->node) {
            node->heard = ngx_current_msec;
            return;
        }
    }

    if (n == NGX_ASTRO_NODES_MAX) {
        /* it is heard all the same: only its end would not be noticed */
        return;
    }

    node = &ngx_astro_nodes[n];
    node->id = r->node;
    node->zone = r->arg;
    node->heard = ngx_current_msec;

    ngx_astro_nodes_others = n + 1;

    ngx_log_error(NGX_LOG_NOTICE, ngx_astro.log, 0,
                  "astro: node %016xL is there, %ui in all", r->node, n + 2);

    ngx_astro_nodes_due(0);
    ngx_astro_nodes_changed(n);
}


static void
ngx_astro_nodes_forget(ngx_uint_t i)
{
    ngx_uint_t  n;

    n = ngx_astro_nodes_others;

    ngx_log_error(NGX_LOG_NOTICE, ngx_astro.log, 0,
                  "astro: node %016xL has gone, %ui left",
                  ngx_astro_nodes[i].id, n);

    ngx_astro_nodes[i] = ngx_astro_nodes[n - 1];
    ngx_astro_nodes_others = n - 1;

    ngx_astro_nodes_changed(n);
}


/*
 * The first other node: our users' channels are subscribed.  The last has gone:
 * they are left.  Either way something may have been missed: by us before we
 * listened, or said by one who died before it could tell.
 */

static void
ngx_astro_nodes_changed(ngx_uint_t before)
{
    if (before == 0 || ngx_astro_nodes_others == 0) {
        ngx_astro_listen_all(before == 0);
    }

    ngx_astro_nodes_heal();
}


void
ngx_astro_nodes_heal(void)
{
    ngx_astro_heal_all();
    ngx_astro_presence_look_all();
}


static void
ngx_astro_nodes_listening(void)
{
    ngx_uint_t  i;

    /* who was alive before the silence has time to say so */

    for (i = 0; i < ngx_astro_nodes_others; i++) {
        ngx_astro_nodes[i].heard = ngx_current_msec;
    }

    ngx_memzero(ngx_astro_nobody, sizeof(ngx_astro_nobody));

    /* those who know us need not answer, but we may not know them */

    (void) ngx_astro_nodes_say(ASTRO_RECORD_HELLO, NULL, 0);

    if (ngx_astro_nodes_others) {
        ngx_astro_listen_all(1);
    }

    /* whatever was said before this moment was said to nobody */

    ngx_astro_nodes_heal();
}


/* life */

static ngx_uint_t
ngx_astro_nodes_rank(void)
{
    if (ngx_astro.seat == ASTRO_NO_SEAT) {
        return 0;
    }

    return __builtin_popcountll(astro_seats_taken(ngx_astro.arena)
                                & ((1ULL << ngx_astro.seat) - 1));
}


/* after: how long after now whoever is first says the next BEAT. */

static void
ngx_astro_nodes_due(ngx_msec_t after)
{
    ngx_msec_t  step;

    step = after ? NGX_ASTRO_BEAT_STEP_MS : NGX_ASTRO_ANSWER_MS;

    ngx_astro_n.due = ngx_current_msec + after
                      + step * ngx_astro_nodes_rank();

    /* later is found out when the timer fires */

    if (!ngx_astro_n.timer.timer_set || after == 0) {
        ngx_add_timer(&ngx_astro_n.timer,
                      ngx_astro_n.due - ngx_current_msec);
    }
}


static void
ngx_astro_nodes_timer(ngx_event_t *ev)
{
    ngx_uint_t  i;

    if (ngx_astro_redis_listens()) {

        for (i = 0; i < ngx_astro_nodes_others; /* void */ ) {

            if (ngx_current_msec - ngx_astro_nodes[i].heard
                < ngx_astro.conf->node_ttl)
            {
                i++;
                continue;
            }

            ngx_astro_count(NODES_LOST);
            ngx_astro_nodes_forget(i);
        }
    }

    if (ngx_astro_n.missed
        && ngx_astro_nodes_say(ASTRO_RECORD_HEAL, NULL, 0) == NGX_OK)
    {
        ngx_astro_n.missed = 0;
    }

    if ((ngx_msec_int_t) (ngx_astro_n.due - ngx_current_msec) <= 0) {
        (void) ngx_astro_nodes_say(ASTRO_RECORD_BEAT, NULL, 0);
        ngx_astro_nodes_due(NGX_ASTRO_BEAT_MS);
        return;
    }

    ngx_add_timer(ev, ngx_astro_n.due - ngx_current_msec);
}
