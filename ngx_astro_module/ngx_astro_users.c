
/*
 * Copyright (C) The Astro authors
 *
 * nginx's own red-black tree, keyed by the user's number.
 */

#include "ngx_astro_departed.h"
#include "ngx_astro_listen.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_users.h"


typedef struct {
    ngx_rbtree_node_t   node;       /* key: the user */
    ngx_queue_t         conns;
    int64_t             rx_ms;      /* boot clock: of those that have gone */
} ngx_astro_user_t;


/*
 * Most of what a worker hears from billing workers is about people who are at
 * another one: how many users here have that hash, so that most of those who
 * are not are known by one look, and not by twenty at the tree's nodes.
 */
#define NGX_ASTRO_USERS_HASH  (1 << 17)

#define ngx_astro_users_hash(user)                                            \
    &ngx_astro_users_some[(user) * 0x9e3779b97f4a7c15ULL >> 47]


static ngx_astro_user_t *ngx_astro_users_find(uint64_t user);
static ngx_rbtree_node_t *ngx_astro_users_follower(uint64_t after);


static ngx_rbtree_t       ngx_astro_users;
static ngx_rbtree_node_t  ngx_astro_users_sentinel;
static ngx_uint_t         ngx_astro_nusers;
static uint8_t            ngx_astro_users_some[NGX_ASTRO_USERS_HASH];


void
ngx_astro_users_init(void)
{
    ngx_rbtree_init(&ngx_astro_users, &ngx_astro_users_sentinel,
                    ngx_rbtree_insert_value);
}


static ngx_astro_user_t *
ngx_astro_users_find(uint64_t user)
{
    ngx_rbtree_node_t  *node;

    if (*ngx_astro_users_hash(user) == 0) {
        return NULL;
    }

    node = ngx_astro_users.root;

    while (node != &ngx_astro_users_sentinel) {
        if (node->key == user) {
            return (ngx_astro_user_t *) node;
        }

        node = user < node->key ? node->left : node->right;
    }

    return NULL;
}


ngx_int_t
ngx_astro_users_add(ngx_astro_conn_t *conn)
{
    uint8_t           *some;
    ngx_uint_t         first;
    ngx_astro_user_t  *u;

    first = 0;
    u = ngx_astro_users_find(conn->user);

    if (u == NULL) {
        u = ngx_alloc(sizeof(ngx_astro_user_t), ngx_astro.log);
        if (u == NULL) {
            return NGX_ERROR;
        }

        first = 1;

        if (ngx_astro.seat != ASTRO_NO_SEAT) {

            first = astro_registry_seats(ngx_astro.arena, conn->user) == 0;

            if (astro_registry_add(ngx_astro.arena, conn->user,
                                   ngx_astro.seat)
                != 0)
            {
                ngx_log_error(NGX_LOG_CRIT, ngx_astro.log, 0,
                              "astro: the registry is full: raise \"users\" "
                              "of \"astro_zone\" and restart");
                ngx_free(u);
                return NGX_ERROR;
            }
        }

        u->node.key = conn->user;
        u->rx_ms = 0;
        ngx_queue_init(&u->conns);
        ngx_rbtree_insert(&ngx_astro_users, &u->node);
        ngx_astro_nusers++;

        /* one that is full stays so: only slower */

        some = ngx_astro_users_hash(conn->user);
        *some += *some < 255;

        ngx_astro_listen(conn->user, 1);
    }

    ngx_queue_insert_tail(&u->conns, &conn->user_link);
    conn->listed = 1;

    return first ? NGX_DECLINED : NGX_OK;
}


void
ngx_astro_users_remove(ngx_astro_conn_t *conn)
{
    int64_t            rx_ms;
    uint8_t           *some;
    ngx_astro_user_t  *u;

    if (!conn->listed) {
        return;
    }

    conn->listed = 0;
    ngx_queue_remove(&conn->user_link);

    if (conn->signed_in) {
        conn->signed_in = 0;
        ngx_astro_sub(SIGNED_IN, 1);
    }

    u = ngx_astro_users_find(conn->user);

    if (u == NULL) {
        return;
    }

    u->rx_ms = ngx_max(u->rx_ms, conn->rx_ms);

    if (!ngx_queue_empty(&u->conns)) {
        return;
    }

    rx_ms = u->rx_ms;

    ngx_rbtree_delete(&ngx_astro_users, &u->node);
    ngx_free(u);
    ngx_astro_nusers--;

    some = ngx_astro_users_hash(conn->user);
    *some -= *some < 255;

    if (ngx_astro.seat != ASTRO_NO_SEAT) {
        astro_registry_remove(ngx_astro.arena, conn->user, ngx_astro.seat);
    }

    ngx_astro_listen(conn->user, 0);
    ngx_astro_departed_add(conn->user, rx_ms);
}


ngx_uint_t
ngx_astro_users_here(uint64_t user)
{
    return ngx_astro_users_find(user) != NULL;
}


ngx_uint_t
ngx_astro_users_online(uint64_t user)
{
    if (ngx_astro_users_here(user)) {
        return 1;
    }

    return ngx_astro.seat != ASTRO_NO_SEAT
           && astro_registry_seats(ngx_astro.arena, user) != 0;
}


void
ngx_astro_users_each(uint64_t user,
    void (*fn)(ngx_astro_conn_t *conn, void *ctx), void *ctx)
{
    ngx_queue_t       *q, *next;
    ngx_astro_user_t  *u;

    u = ngx_astro_users_find(user);
    if (u == NULL) {
        return;
    }

    /*
     * A client found too slow leaves the list, and with the last one the list
     * goes too: the next is taken before, and the end is told by the last
     * having been reached, not by a look at the list.
     */

    q = ngx_queue_head(&u->conns);

    for ( ;; ) {
        next = ngx_queue_next(q);
        next = next == ngx_queue_sentinel(&u->conns) ? NULL : next;

        fn(ngx_queue_data(q, ngx_astro_conn_t, user_link), ctx);

        if (next == NULL) {
            return;
        }

        q = next;
    }
}


ngx_uint_t
ngx_astro_users_count(void)
{
    return ngx_astro_nusers;
}


static ngx_rbtree_node_t *
ngx_astro_users_follower(uint64_t after)
{
    ngx_rbtree_node_t  *node, *next;

    next = NULL;
    node = ngx_astro_users.root;

    while (node != &ngx_astro_users_sentinel) {
        if (node->key > after) {
            next = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    return next;
}


ngx_uint_t
ngx_astro_users_slice(uint64_t *after, uint64_t *ids, ngx_uint_t n)
{
    ngx_uint_t          i;
    ngx_rbtree_node_t  *next;

    n = ngx_min(n, ngx_astro_nusers);

    if (n == 0) {
        return 0;
    }

    next = ngx_astro_users_follower(*after);

    for (i = 0; i < n; i++) {

        if (next == NULL) {
            next = ngx_rbtree_min(ngx_astro_users.root,
                                  &ngx_astro_users_sentinel);
        }

        ids[i] = next->key;
        next = ngx_rbtree_next(&ngx_astro_users, next);
    }

    *after = ids[n - 1];

    return n;
}


ngx_uint_t
ngx_astro_users_after(uint64_t after, uint64_t *ids, ngx_uint_t n)
{
    ngx_uint_t          i;
    ngx_rbtree_node_t  *next;

    next = ngx_astro_users_follower(after);

    for (i = 0; i < n && next; i++) {
        ids[i] = next->key;
        next = ngx_rbtree_next(&ngx_astro_users, next);
    }

    return i;
}


typedef struct {
    ngx_astro_route_t      *route;
    const ngx_astro_msg_t  *m;
} ngx_astro_deliver_t;


static void
ngx_astro_users_deliver_one(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_deliver_t  *d = ctx;

    ngx_astro_route_t    *route;

    route = d->route;

    if (conn->id == route->except
        || (route->session && !ngx_astro_sessions_joined(conn,
                                                         route->session)))
    {
        return;
    }

    if (route->durable) {
        ngx_astro_resume_event(conn, route->conv, route->seq, d->m);
        return;
    }

    if (conn->signed_in) {
        ngx_astro_conn_send(conn, d->m, 1);
    }
}


void
ngx_astro_users_deliver(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    ngx_astro_deliver_t  d;

    d.route = route;
    d.m = m;

    ngx_astro_users_each(route->user, ngx_astro_users_deliver_one, &d);
}


/*
 * The word may come late, through a ring or another host, when a still newer
 * socket is there: only what had signed in before it, by the database's
 * clock, is replaced.
 */

static void
ngx_astro_users_replace_one(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_route_t  *route = ctx;

    if (conn->device != route->arg || conn->id == route->except
        || conn->hello_ms == 0)
    {
        return;
    }

    if (conn->hello_ms < route->seq
        || (conn->hello_ms == route->seq && conn->id < route->except))
    {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_REPLACED, "replaced",
                           "stop", 0);
    }
}


void
ngx_astro_users_replace(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    (void) m;

    ngx_astro_users_each(route->user, ngx_astro_users_replace_one, route);
}
