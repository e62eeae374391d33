
/*
 * Copyright (C) The Astro authors
 *
 * One entry for each user, however often they come and go: the list cannot
 * outgrow the users that there were.  An entry is in the queue of graces
 * (ordered, as the grace is the same for all; those that have to wait once more
 * stand in another), in that of what is to be stored, in both, or in the hands
 * of a call; it is freed when nothing is due any more.
 */

#include "ngx_astro_departed.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_nodes.h"
#include "ngx_astro_pg.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_users.h"
#include "ngx_astro_whereabouts.h"


#define NGX_ASTRO_DEPARTED_BATCH  1000
#define NGX_ASTRO_DEPARTED_AGAIN  1000      /* ms: PostgreSQL was away */
#define NGX_ASTRO_DEPARTED_ROW    (2 * (NGX_INT64_LEN + 1))


typedef struct {
    ngx_rbtree_node_t    node;              /* key: the user */
    ngx_queue_t          link;              /* graces, or later */
    ngx_queue_t          store_link;
    int64_t              heard_ms;
    ngx_msec_t           due;
    unsigned             waiting:1;         /* link is in a queue */
    unsigned             to_store:1;        /* store_link is in a queue */
    unsigned             storing:1;
    unsigned             asking:1;
    unsigned             orphan:1;
    unsigned             asks:8;            /* of an orphan */
} ngx_astro_departed_t;

typedef struct {
    ngx_uint_t           n;
    uint64_t             users[1];
} ngx_astro_departing_t;


static ngx_astro_departed_t *ngx_astro_departed_find(uint64_t user);
static ngx_astro_departed_t *ngx_astro_departed_get(uint64_t user);
static void ngx_astro_departed_done(ngx_astro_departed_t *d);
static void ngx_astro_departed_wait(ngx_astro_departed_t *d, ngx_msec_t ms,
    ngx_queue_t *queue);
static void ngx_astro_departed_unwait(ngx_astro_departed_t *d);
static void ngx_astro_departed_to_store(ngx_astro_departed_t *d);
static void ngx_astro_departed_store(ngx_event_t *ev);
static void ngx_astro_departed_stored(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_departed_expire(ngx_event_t *ev);
static ngx_uint_t ngx_astro_departed_take(ngx_queue_t *queue,
    ngx_astro_departing_t *batch);
static void ngx_astro_departed_asked(void *data, ngx_uint_t ok,
    PGresult *res);
static void ngx_astro_departed_verdict(ngx_astro_departed_t *d,
    ngx_uint_t state, ngx_msec_t wait, int64_t seen_ms);
static void ngx_astro_departed_tell(uint64_t user, int64_t seen_ms);


static ngx_rbtree_t       ngx_astro_departed;
static ngx_rbtree_node_t  ngx_astro_departed_sentinel;
static ngx_queue_t        ngx_astro_graces;
static ngx_queue_t        ngx_astro_later;      /* asked, and to ask again */
static ngx_queue_t        ngx_astro_to_store;
static ngx_event_t        ngx_astro_expire_event;
static ngx_event_t        ngx_astro_store_event;
static ngx_uint_t         ngx_astro_storing;


void
ngx_astro_departed_init(void)
{
    ngx_rbtree_init(&ngx_astro_departed, &ngx_astro_departed_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&ngx_astro_graces);
    ngx_queue_init(&ngx_astro_later);
    ngx_queue_init(&ngx_astro_to_store);

    ngx_astro_event_init(&ngx_astro_expire_event, ngx_astro_departed_expire);
    ngx_astro_expire_event.cancelable = 1;
    ngx_astro_event_init(&ngx_astro_store_event, ngx_astro_departed_store);
    ngx_astro_store_event.cancelable = 1;
}


void
ngx_astro_departed_exit(void)
{
    ngx_uint_t             i;
    ngx_queue_t           *q, *queue;
    ngx_astro_route_t      route;
    ngx_astro_departed_t  *d;

    /* the memory goes with the process */

    for (i = 0; i < 2; i++) {
        queue = i ? &ngx_astro_later : &ngx_astro_graces;

        for (q = ngx_queue_head(queue);
             q != ngx_queue_sentinel(queue);
             q = ngx_queue_next(q))
        {
            d = ngx_queue_data(q, ngx_astro_departed_t, link);

            ngx_memzero(&route, sizeof(ngx_astro_route_t));
            route.to = NGX_ASTRO_TO_WATCHERS;
            route.user = d->node.key;
            route.arg = NGX_ASTRO_ORPHAN;

            ngx_astro_route_host(&route, NULL);
        }
    }
}


static ngx_astro_departed_t *
ngx_astro_departed_find(uint64_t user)
{
    ngx_rbtree_node_t  *node;

    node = ngx_astro_departed.root;

    while (node != &ngx_astro_departed_sentinel) {
        if (node->key == user) {
            return (ngx_astro_departed_t *) node;
        }

        node = user < node->key ? node->left : node->right;
    }

    return NULL;
}


static ngx_astro_departed_t *
ngx_astro_departed_get(uint64_t user)
{
    ngx_astro_departed_t  *d;

    d = ngx_astro_departed_find(user);

    if (d == NULL) {
        d = ngx_calloc(sizeof(ngx_astro_departed_t), ngx_astro.log);

        if (d) {
            d->node.key = user;
            ngx_rbtree_insert(&ngx_astro_departed, &d->node);
        }
    }

    return d;
}


/* Frees it if nothing is due any more. */

static void
ngx_astro_departed_done(ngx_astro_departed_t *d)
{
    if (d->waiting || d->to_store || d->storing || d->asking) {
        return;
    }

    ngx_rbtree_delete(&ngx_astro_departed, &d->node);
    ngx_free(d);
}


void
ngx_astro_departed_add(uint64_t user, int64_t heard_ms)
{
    ngx_astro_departed_t  *d;

    d = ngx_astro_departed_get(user);

    if (d == NULL) {
        /* the row ends with the lease; those who watch look for themselves */
        return;
    }

    d->orphan = 0;
    d->heard_ms = ngx_max(d->heard_ms, heard_ms);

    ngx_astro_departed_to_store(d);
    ngx_astro_departed_unwait(d);

    if (!ngx_astro_users_online(user)) {
        ngx_astro_departed_wait(d, ngx_astro.conf->presence_grace,
                                &ngx_astro_graces);
    }
}


void
ngx_astro_departed_orphan(void *ctx, uint64_t user)
{
    ngx_astro_departed_t  *d;

    (void) ctx;

    if (ngx_astro_users_online(user)) {
        return;
    }

    d = ngx_astro_departed_get(user);

    if (d && !d->waiting) {
        d->orphan = 1;
        d->asks = 0;
        ngx_astro_departed_wait(d, ngx_astro.conf->presence_grace,
                                &ngx_astro_graces);
    }
}


static void
ngx_astro_departed_wait(ngx_astro_departed_t *d, ngx_msec_t ms,
    ngx_queue_t *queue)
{
    ngx_event_t  *ev;

    ev = &ngx_astro_expire_event;

    d->due = ngx_current_msec + ms;
    d->waiting = 1;
    ngx_queue_insert_tail(queue, &d->link);

    if (!ev->timer_set
        || (ngx_msec_int_t) (ev->timer.key - d->due) > 0)
    {
        ngx_add_timer(ev, ms);
    }
}


static void
ngx_astro_departed_unwait(ngx_astro_departed_t *d)
{
    if (d->waiting) {
        d->waiting = 0;
        ngx_queue_remove(&d->link);
    }
}


/* storing */

static void
ngx_astro_departed_to_store(ngx_astro_departed_t *d)
{
    if (!d->to_store) {
        d->to_store = 1;
        ngx_queue_insert_tail(&ngx_astro_to_store, &d->store_link);
    }

    if (!ngx_astro_storing && !ngx_astro_store_event.posted
        && !ngx_astro_store_event.timer_set)
    {
        ngx_post_event(&ngx_astro_store_event, &ngx_posted_events);
    }
}


static void
ngx_astro_departed_store(ngx_event_t *ev)
{
    u_char                 *users, *ages, *buf;
    int64_t                 now;
    ngx_uint_t              n;
    ngx_queue_t            *q, *next;
    const char             *values[3];
    ngx_astro_departed_t   *d;
    ngx_astro_departing_t  *batch;
    char                    gateway[NGX_INT64_LEN + 1];

    if (ngx_astro_storing || ngx_queue_empty(&ngx_astro_to_store)) {
        return;
    }

    batch = ngx_alloc(sizeof(ngx_astro_departing_t)
                      + NGX_ASTRO_DEPARTED_BATCH
                        * (sizeof(uint64_t) + NGX_ASTRO_DEPARTED_ROW) + 8,
                      ngx_astro.log);
    if (batch == NULL) {
        ngx_add_timer(ev, NGX_ASTRO_DEPARTED_AGAIN);
        return;
    }

    now = ngx_astro_boot_ms();
    n = 0;
    buf = (u_char *) &batch->users[NGX_ASTRO_DEPARTED_BATCH];
    users = buf;
    ages = buf + NGX_ASTRO_DEPARTED_BATCH * (NGX_INT64_LEN + 1) + 4;

    values[1] = (char *) users;
    values[2] = (char *) ages;
    *users++ = '{';
    *ages++ = '{';

    for (q = ngx_queue_head(&ngx_astro_to_store);
         q != ngx_queue_sentinel(&ngx_astro_to_store)
         && n < NGX_ASTRO_DEPARTED_BATCH;
         q = next)
    {
        next = ngx_queue_next(q);
        d = ngx_queue_data(q, ngx_astro_departed_t, store_link);

        ngx_queue_remove(q);
        d->to_store = 0;

        if (ngx_astro_users_here(d->node.key)) {

            /* back: the row that their hello wrote must stay */

            ngx_astro_departed_done(d);
            continue;
        }

        users = ngx_sprintf(users, "%s%uL", n ? "," : "",
                            (uint64_t) d->node.key);
        ages = ngx_sprintf(ages, "%s%L", n ? "," : "",
                           ngx_max(now - d->heard_ms, 0));

        d->storing = 1;
        batch->users[n++] = d->node.key;
    }

    ngx_memcpy(users, "}", 2);
    ngx_memcpy(ages, "}", 2);

    batch->n = n;

    if (n == 0) {
        ngx_free(batch);
        return;
    }

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';
    values[0] = gateway;

    ngx_astro_storing = 1;

    /*
     * On the connection that hello uses, so that a user who comes back is not
     * overtaken by their own departure.
     */

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_presence_left,
                          values, ngx_astro_departed_stored, batch)
        != NGX_OK)
    {
        ngx_astro_departed_stored(batch, NGX_ASTRO_PG_LOST, NULL);
    }
}


static void
ngx_astro_departed_stored(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_departing_t  *batch = data;

    ngx_uint_t              i;
    ngx_astro_departed_t   *d;

    (void) res;

    for (i = 0; i < batch->n; i++) {
        d = ngx_astro_departed_find(batch->users[i]);

        d->storing = 0;

        if (rc != NGX_ASTRO_PG_OK && !d->to_store) {
            d->to_store = 1;
            ngx_queue_insert_tail(&ngx_astro_to_store, &d->store_link);
        }

        ngx_astro_departed_done(d);
    }

    ngx_free(batch);
    ngx_astro_storing = 0;

    if (ngx_queue_empty(&ngx_astro_to_store)) {
        return;
    }

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_add_timer(&ngx_astro_store_event, NGX_ASTRO_DEPARTED_AGAIN);
        return;
    }

    ngx_post_event(&ngx_astro_store_event, &ngx_posted_events);
}


/* the end of the grace */

static void
ngx_astro_departed_expire(ngx_event_t *ev)
{
    ngx_uint_t              i;
    ngx_queue_t            *queue[2];
    ngx_msec_int_t          left, next;
    ngx_astro_departed_t   *d;
    ngx_astro_departing_t  *batch;

    queue[0] = &ngx_astro_graces;
    queue[1] = &ngx_astro_later;

    batch = ngx_alloc(sizeof(ngx_astro_departing_t)
                      + NGX_ASTRO_DEPARTED_BATCH * sizeof(uint64_t),
                      ngx_astro.log);
    if (batch == NULL) {
        ngx_add_timer(ev, NGX_ASTRO_DEPARTED_AGAIN);
        return;
    }

    batch->n = 0;

    for (i = 0; i < 2; i++) {
        if (ngx_astro_departed_take(queue[i], batch)) {
            break;
        }
    }

    next = -1;

    for (i = 0; i < 2; i++) {

        if (ngx_queue_empty(queue[i])) {
            continue;
        }

        d = ngx_queue_data(ngx_queue_head(queue[i]), ngx_astro_departed_t,
                           link);
        left = ngx_max((ngx_msec_int_t) (d->due - ngx_current_msec), 1);
        next = next == -1 ? left : ngx_min(next, left);
    }

    if (next != -1) {
        ngx_add_timer(ev, (ngx_msec_t) next);
    }

    if (batch->n == 0) {
        ngx_free(batch);
        return;
    }

    if (ngx_astro_whereabouts(batch->users, batch->n,
                               ngx_astro_departed_asked, batch)
        != NGX_OK)
    {
        ngx_astro_departed_asked(batch, 0, NULL);
    }
}


/* Those that are due, as far as the batch has room; 1: it is full. */

static ngx_uint_t
ngx_astro_departed_take(ngx_queue_t *queue, ngx_astro_departing_t *batch)
{
    ngx_astro_departed_t  *d;

    while (!ngx_queue_empty(queue)) {
        d = ngx_queue_data(ngx_queue_head(queue), ngx_astro_departed_t, link);

        if ((ngx_msec_int_t) (d->due - ngx_current_msec) > 0) {
            return 0;
        }

        if (batch->n == NGX_ASTRO_DEPARTED_BATCH) {
            return 1;
        }

        ngx_astro_departed_unwait(d);

        if (ngx_astro_users_online(d->node.key)) {
            ngx_astro_departed_done(d);
            continue;
        }

        d->asking = 1;
        batch->users[batch->n++] = d->node.key;
    }

    return 0;
}


static void
ngx_astro_departed_asked(void *data, ngx_uint_t ok, PGresult *res)
{
    ngx_astro_departing_t  *batch = data;

    int                     row;
    int64_t                 seen_ms;
    ngx_uint_t              i;
    ngx_astro_departed_t   *d;

    for (row = 0; ok && row < PQntuples(res); row++) {
        d = ngx_astro_departed_find(ngx_astro_pg_int(res, row,
                                                     NGX_ASTRO_P_ACCOUNT));
        if (d && d->asking) {
            d->asking = 0;
            ngx_astro_departed_verdict(d,
                             ngx_astro_pg_int(res, row, NGX_ASTRO_P_STATE),
                             ngx_astro_pg_int(res, row, NGX_ASTRO_P_WAIT),
                             ngx_astro_pg_int(res, row, NGX_ASTRO_P_SEEN));
        }
    }

    /* no answer: what this host knows is all there is, if it is alone */

    for (i = 0; i < batch->n; i++) {
        d = ngx_astro_departed_find(batch->users[i]);

        if (d == NULL || !d->asking) {
            continue;
        }

        d->asking = 0;

        if (ngx_astro_nodes_alone()) {
            seen_ms = d->heard_ms ? ngx_astro_epoch_ms()
                                    - (ngx_astro_boot_ms() - d->heard_ms)
                                  : 0;
            ngx_astro_departed_verdict(d, NGX_ASTRO_NOWHERE, 0, seen_ms);
            continue;
        }

        ngx_astro_departed_verdict(d, NGX_ASTRO_IN_GRACE,
                                   NGX_ASTRO_DEPARTED_AGAIN, 0);
    }

    ngx_free(batch);
}


static void
ngx_astro_departed_verdict(ngx_astro_departed_t *d, ngx_uint_t state,
    ngx_msec_t wait, int64_t seen_ms)
{
    uint64_t  user;

    user = d->node.key;

    if (d->waiting || ngx_astro_users_online(user)) {

        /* came back while we asked, and may have left again */

        ngx_astro_departed_done(d);
        return;
    }

    /*
     * A row that we have not yet been able to take away, or that a dead
     * neighbour left behind, is no sign of life; the latter for as long as its
     * lease looks fresh.
     */

    if (state == NGX_ASTRO_THERE && !d->to_store && !d->storing
        && (!d->orphan || d->asks++ > ngx_astro.conf->node_ttl / 1000 + 1))
    {
        ngx_astro_departed_done(d);
        return;
    }

    if (state == NGX_ASTRO_NOWHERE
        || (state == NGX_ASTRO_STALE && ngx_astro_whereabouts_steady()))
    {
        ngx_astro_departed_tell(user, seen_ms);
        ngx_astro_departed_done(d);
        return;
    }

    if (state != NGX_ASTRO_IN_GRACE) {
        wait = NGX_ASTRO_DEPARTED_AGAIN;
    }

    ngx_astro_departed_wait(d, ngx_min(ngx_max(wait, 1),
                                       ngx_astro.conf->presence_grace + 1000),
                            &ngx_astro_later);
}


static void
ngx_astro_departed_tell(uint64_t user, int64_t seen_ms)
{
    ngx_astro_route_t  route;

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_WATCHERS;
    route.user = user;
    route.seq = seen_ms;
    route.arg = NGX_ASTRO_OFFLINE;

    ngx_astro_route_all(&route, NULL);
}
