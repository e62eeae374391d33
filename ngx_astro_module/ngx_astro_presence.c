
/*
 * Copyright (C) The Astro authors
 *
 * Answers of PostgreSQL and words of other workers cross each other.  A word
 * that came after the question was sent is newer than the answer, which is
 * then dropped and the question asked again; OFFLINE that comes close upon
 * ONLINE may be the older of the two (it was true when its sender asked), so
 * it is looked into and not believed.
 */

#include "ngx_astro_departed.h"
#include "ngx_astro_nodes.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_users.h"
#include "ngx_astro_whereabouts.h"


#define NGX_ASTRO_WATCH_MAX    200      /* users in one request, and watched */
#define NGX_ASTRO_LOOK_MS      1000
#define NGX_ASTRO_LOOK_SLICES  5
#define NGX_ASTRO_LOOK_MAX     1000     /* users in one question */
#define NGX_ASTRO_DOUBT_MS     3000


typedef struct {
    ngx_rbtree_node_t    node;          /* key: the user watched */
    ngx_queue_t          watches;
    ngx_queue_t          look_link;
    int64_t              ver;
    int64_t              seen_ms;       /* of the epoch; 0: not known */
    int64_t              came_ms;       /* boot clock: last word of ONLINE */
    int64_t              went_ms;       /* ... of OFFLINE */
    unsigned             online:1;
    unsigned             known:1;       /* PostgreSQL was asked */
    unsigned             told:1;        /* somebody has it in a snapshot */
    unsigned             look:1;        /* look_link is in the queue */
    unsigned             away:1;        /* offline by their own wish */
} ngx_astro_watched_t;

typedef struct {
    ngx_queue_t           conn_link;
    ngx_queue_t           link;
    ngx_astro_conn_t     *conn;
    ngx_astro_watched_t  *watched;
} ngx_astro_watch_t;

/* a question, and the request that it is for */
typedef struct {
    ngx_astro_call_t     *call;         /* NULL: a look of our own */
    int64_t               asked_ms;
    ngx_uint_t            n;
    uint64_t              users[1];
} ngx_astro_looking_t;


static ngx_astro_watched_t *ngx_astro_watched_find(uint64_t user);
static int ngx_astro_presence_watch_one(void *ctx, int depth,
    const astro_json_member_t *scalar);
static ngx_int_t ngx_astro_presence_watch_user(ngx_astro_conn_t *conn,
    uint64_t user);
static void ngx_astro_presence_watching(ngx_astro_looking_t *w);
static void ngx_astro_presence_watch_done(void *data, ngx_uint_t ok,
    PGresult *res);
static void ngx_astro_presence_reply(ngx_astro_looking_t *w);
static void ngx_astro_presence_timer(ngx_event_t *ev);
static void ngx_astro_presence_look(ngx_astro_watched_t *w);
static void ngx_astro_presence_look_now(ngx_event_t *ev);
static void ngx_astro_presence_looked(void *data, ngx_uint_t ok,
    PGresult *res);
static void ngx_astro_presence_learn(PGresult *res, int64_t asked_ms);
static void ngx_astro_presence_change(ngx_astro_watched_t *w,
    ngx_uint_t online, int64_t seen_ms);


static ngx_rbtree_t       ngx_astro_watched;
static ngx_rbtree_node_t  ngx_astro_watched_sentinel;
static ngx_uint_t         ngx_astro_nwatched;
static ngx_queue_t        ngx_astro_looks;
static uint64_t           ngx_astro_look_cursor;
static ngx_uint_t         ngx_astro_look_busy;
static ngx_event_t        ngx_astro_look_timer;
static ngx_event_t        ngx_astro_look_event;


void
ngx_astro_presence_init(void)
{
    ngx_rbtree_init(&ngx_astro_watched, &ngx_astro_watched_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&ngx_astro_looks);

    ngx_astro_event_init(&ngx_astro_look_event, ngx_astro_presence_look_now);
    ngx_astro_event_init(&ngx_astro_look_timer, ngx_astro_presence_timer);
    ngx_astro_look_timer.cancelable = 1;
    ngx_add_timer(&ngx_astro_look_timer, NGX_ASTRO_LOOK_MS);
}


static ngx_astro_watched_t *
ngx_astro_watched_find(uint64_t user)
{
    ngx_rbtree_node_t  *node;

    node = ngx_astro_watched.root;

    while (node != &ngx_astro_watched_sentinel) {
        if (node->key == user) {
            return (ngx_astro_watched_t *) node;
        }

        node = user < node->key ? node->left : node->right;
    }

    return NULL;
}


/* watching */

void
ngx_astro_handle_presence_watch(ngx_astro_req_t *req)
{
    int                         rc;
    ngx_astro_looking_t        *w;
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, "users");

    if (m == NULL || m->kind != ASTRO_JSON_ARRAY) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "users is an array of ids", "/payload/users");
        return;
    }

    w = ngx_alloc(sizeof(ngx_astro_looking_t)
                  + NGX_ASTRO_WATCH_MAX * sizeof(uint64_t), ngx_astro.log);

    if (w == NULL) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    w->call = ngx_astro_call_create(req->conn, req->id, 0);

    if (w->call == NULL) {
        ngx_free(w);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    w->n = 0;

    /* a new list takes the place of the old one */

    ngx_astro_presence_leave(req->conn);

    rc = astro_json_scalars(ngx_astro.json, m, ngx_astro_presence_watch_one,
                            w);

    if (rc != 0) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id,
                              rc == NGX_ASTRO_E_TOO_LARGE
                                  ? NGX_ASTRO_E_TOO_LARGE
                                  : NGX_ASTRO_E_BAD_REQUEST,
                              "users is an array of at most 200 ids like u_1",
                              "/payload/users");
        ngx_astro_call_free(w->call);
        ngx_free(w);
        return;
    }

    ngx_astro_presence_watching(w);
}


static int
ngx_astro_presence_watch_one(void *ctx, int depth,
    const astro_json_member_t *scalar)
{
    ngx_astro_looking_t  *w = ctx;

    uint64_t              user;

    if (w->n == NGX_ASTRO_WATCH_MAX) {
        return NGX_ASTRO_E_TOO_LARGE;
    }

    if (depth != 1 || scalar->kind != ASTRO_JSON_STRING || scalar->escaped) {
        return -1;
    }

    user = astro_id_parse('u', scalar->raw + 1, scalar->raw_len - 2);

    if (user == 0
        || ngx_astro_presence_watch_user(w->call->conn, user) != NGX_OK)
    {
        return -1;
    }

    w->users[w->n++] = user;

    return 0;
}


static ngx_int_t
ngx_astro_presence_watch_user(ngx_astro_conn_t *conn, uint64_t user)
{
    ngx_astro_watch_t    *watch;
    ngx_astro_watched_t  *watched;

    watch = ngx_alloc(sizeof(ngx_astro_watch_t), ngx_astro.log);
    if (watch == NULL) {
        return NGX_ERROR;
    }

    watched = ngx_astro_watched_find(user);

    if (watched == NULL) {
        watched = ngx_calloc(sizeof(ngx_astro_watched_t), ngx_astro.log);
        if (watched == NULL) {
            ngx_free(watch);
            return NGX_ERROR;
        }

        watched->node.key = user;
        watched->online = ngx_astro_users_online(user);
        watched->ver = ngx_astro_common_ms();

        ngx_queue_init(&watched->watches);
        ngx_rbtree_insert(&ngx_astro_watched, &watched->node);
        ngx_astro_nwatched++;
    }

    watch->conn = conn;
    watch->watched = watched;

    ngx_queue_insert_tail(&conn->watches, &watch->conn_link);
    ngx_queue_insert_tail(&watched->watches, &watch->link);

    return NGX_OK;
}


/* Registered first, then read: no change is missed between the two. */

static void
ngx_astro_presence_watching(ngx_astro_looking_t *w)
{
    ngx_uint_t            i, n;
    uint64_t              users[NGX_ASTRO_WATCH_MAX];
    ngx_astro_watched_t  *watched;

    n = 0;

    for (i = 0; i < w->n; i++) {
        watched = ngx_astro_watched_find(w->users[i]);

        if (watched && !watched->known) {
            users[n++] = w->users[i];
        }
    }

    w->asked_ms = ngx_astro_boot_ms();

    if (n == 0
        || ngx_astro_whereabouts(users, n, ngx_astro_presence_watch_done, w)
           != NGX_OK)
    {
        ngx_astro_presence_watch_done(w, 0, NULL);
    }
}


static void
ngx_astro_presence_watch_done(void *data, ngx_uint_t ok, PGresult *res)
{
    ngx_astro_looking_t  *w = data;

    if (ok) {
        ngx_astro_presence_learn(res, w->asked_ms);
    }

    ngx_astro_presence_reply(w);

    ngx_astro_call_free(w->call);
    ngx_free(w);
}


static void
ngx_astro_presence_reply(ngx_astro_looking_t *w)
{
    u_char               *p, *last, *buf;
    size_t                size;
    ngx_uint_t            i, n;
    ngx_astro_conn_t     *conn;
    ngx_astro_watched_t  *watched;

    conn = w->call->conn;

    if (!ngx_astro_conn_open(conn)) {
        return;
    }

    size = 64 + w->n * 128;

    buf = ngx_alloc(size, ngx_astro.log);

    if (buf == NULL) {
        ngx_astro_reply_error(conn, w->call->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    last = buf + size;
    p = ngx_cpymem(buf, "{\"users\":[", 10);
    n = 0;

    for (i = 0; i < w->n; i++) {
        watched = ngx_astro_watched_find(w->users[i]);

        if (watched == NULL) {
            /* another list has taken the place of this one */
            continue;
        }

        watched->told = 1;

        /* above all that the client was told elsewhere, before it came here */
        watched->ver = ngx_max(watched->ver, ngx_astro_common_ms());

        p = ngx_slprintf(p, last,
                         "%s{\"user\":\"u_%uL\",\"online\":%s,\"ver\":%L",
                         n++ ? "," : "", w->users[i],
                         watched->online ? "true" : "false", watched->ver);

        if (!watched->online && watched->seen_ms) {
            p = ngx_slprintf(p, last, ",\"last_seen\":%L", watched->seen_ms);
        }

        *p++ = '}';
    }

    p = ngx_cpymem(p, "]}", 2);
    ngx_astro_reply(conn, w->call->id, buf, p - buf);
    ngx_free(buf);
}


void
ngx_astro_presence_leave(ngx_astro_conn_t *conn)
{
    ngx_queue_t          *q;
    ngx_astro_watch_t    *watch;
    ngx_astro_watched_t  *watched;

    while (!ngx_queue_empty(&conn->watches)) {
        q = ngx_queue_head(&conn->watches);
        watch = ngx_queue_data(q, ngx_astro_watch_t, conn_link);
        watched = watch->watched;

        ngx_queue_remove(&watch->conn_link);
        ngx_queue_remove(&watch->link);
        ngx_free(watch);

        if (ngx_queue_empty(&watched->watches)) {

            if (watched->look) {
                ngx_queue_remove(&watched->look_link);
            }

            ngx_rbtree_delete(&ngx_astro_watched, &watched->node);
            ngx_astro_nwatched--;
            ngx_free(watched);
        }
    }
}


/* looking again */

static void
ngx_astro_presence_timer(ngx_event_t *ev)
{
    ngx_uint_t          n;
    ngx_rbtree_node_t  *node, *next;

    ngx_add_timer(ev, NGX_ASTRO_LOOK_MS);

    if (!ngx_astro_pg_is_up(ngx_astro.pg_api)) {
        ngx_astro_whereabouts_unsteady();
        return;
    }

    n = (ngx_astro_nwatched + NGX_ASTRO_LOOK_SLICES - 1)
        / NGX_ASTRO_LOOK_SLICES;

    if (n == 0) {
        return;
    }

    /* the first behind the cursor, or of all */

    next = NULL;
    node = ngx_astro_watched.root;

    while (node != &ngx_astro_watched_sentinel) {

        if (node->key > ngx_astro_look_cursor) {
            next = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    while (n--) {

        if (next == NULL) {
            next = ngx_rbtree_min(ngx_astro_watched.root,
                                  &ngx_astro_watched_sentinel);
        }

        ngx_astro_look_cursor = next->key;
        ngx_astro_presence_look((ngx_astro_watched_t *) next);
        next = ngx_rbtree_next(&ngx_astro_watched, next);
    }
}


void
ngx_astro_presence_look_all(void)
{
    ngx_rbtree_node_t  *node;

    if (ngx_astro_nwatched == 0) {
        return;
    }

    for (node = ngx_rbtree_min(ngx_astro_watched.root,
                               &ngx_astro_watched_sentinel);
         node;
         node = ngx_rbtree_next(&ngx_astro_watched, node))
    {
        ngx_astro_presence_look((ngx_astro_watched_t *) node);
    }
}


static void
ngx_astro_presence_look(ngx_astro_watched_t *w)
{
    if (!w->look) {
        w->look = 1;
        ngx_queue_insert_tail(&ngx_astro_looks, &w->look_link);
    }

    if (!ngx_astro_look_busy && !ngx_astro_look_event.posted) {
        ngx_post_event(&ngx_astro_look_event, &ngx_posted_events);
    }
}


static void
ngx_astro_presence_look_now(ngx_event_t *ev)
{
    ngx_queue_t          *q;
    ngx_astro_looking_t  *l;
    ngx_astro_watched_t  *w;

    if (ngx_astro_look_busy || ngx_queue_empty(&ngx_astro_looks)) {
        return;
    }

    l = ngx_alloc(sizeof(ngx_astro_looking_t)
                  + NGX_ASTRO_LOOK_MAX * sizeof(uint64_t), ngx_astro.log);
    if (l == NULL) {
        return;
    }

    l->n = 0;
    l->asked_ms = ngx_astro_boot_ms();

    while (!ngx_queue_empty(&ngx_astro_looks) && l->n < NGX_ASTRO_LOOK_MAX) {
        q = ngx_queue_head(&ngx_astro_looks);
        w = ngx_queue_data(q, ngx_astro_watched_t, look_link);

        ngx_queue_remove(q);
        w->look = 0;
        l->users[l->n++] = w->node.key;
    }

    ngx_astro_look_busy = 1;

    if (ngx_astro_whereabouts(l->users, l->n, ngx_astro_presence_looked, l)
        != NGX_OK)
    {
        /* the next slice is soon enough */
        ngx_astro_look_busy = 0;
        ngx_free(l);
    }
}


static void
ngx_astro_presence_looked(void *data, ngx_uint_t ok, PGresult *res)
{
    ngx_astro_looking_t  *l = data;

    ngx_astro_look_busy = 0;

    if (ok) {
        ngx_astro_presence_learn(res, l->asked_ms);

        if (!ngx_queue_empty(&ngx_astro_looks)
            && !ngx_astro_look_event.posted)
        {
            ngx_post_event(&ngx_astro_look_event, &ngx_posted_events);
        }
    }

    ngx_free(l);
}


static void
ngx_astro_presence_learn(PGresult *res, int64_t asked_ms)
{
    int                   row;
    int64_t               seen_ms;
    uint64_t              user;
    ngx_uint_t            state, online;
    ngx_astro_watched_t  *w;

    for (row = 0; row < PQntuples(res); row++) {

        user = ngx_astro_pg_int(res, row, NGX_ASTRO_P_ACCOUNT);
        w = ngx_astro_watched_find(user);

        if (w == NULL) {
            continue;
        }

        state = ngx_astro_pg_int(res, row, NGX_ASTRO_P_STATE);
        seen_ms = ngx_astro_pg_int(res, row, NGX_ASTRO_P_SEEN);

        w->away = ngx_astro_pg_bool(res, row, NGX_ASTRO_P_AWAY);

        if (w->away) {
            online = 0;

        } else if (ngx_astro_users_online(user)) {
            online = 1;

        } else if (state == NGX_ASTRO_STALE
                   && !ngx_astro_whereabouts_steady())
        {
            online = w->known ? w->online : 1;

        } else {
            online = state != NGX_ASTRO_NOWHERE && state != NGX_ASTRO_STALE;
        }

        if ((online ? w->went_ms : w->came_ms) >= asked_ms) {

            /* while we asked somebody said otherwise */

            ngx_astro_presence_look(w);
            continue;
        }

        w->known = 1;

        if (online != w->online) {
            ngx_astro_presence_change(w, online, seen_ms);

        } else if (!online) {
            w->seen_ms = ngx_max(w->seen_ms, seen_ms);
        }
    }
}


/* being told, and telling */

void
ngx_astro_presence_arrived(uint64_t user)
{
    ngx_astro_route_t  route;

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_WATCHERS;
    route.user = user;
    route.arg = NGX_ASTRO_ONLINE;

    ngx_astro_route_all(&route, NULL);
}


void
ngx_astro_presence_wished(uint64_t user)
{
    ngx_astro_route_t  route;

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_WATCHERS;
    route.user = user;
    route.arg = NGX_ASTRO_LOOK;

    ngx_astro_route_all(&route, NULL);
}


void
ngx_astro_presence_deliver(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    int64_t               now;
    ngx_astro_watched_t  *w;

    (void) m;

    if (route->arg == NGX_ASTRO_ORPHAN) {

        /* all the others look again: one of them that dies is not missed */

        ngx_astro_departed_orphan(NULL, route->user);
        return;
    }

    w = ngx_astro_watched_find(route->user);

    if (w == NULL) {
        return;
    }

    now = ngx_astro_boot_ms();

    if (route->arg == NGX_ASTRO_LOOK) {
        ngx_astro_presence_look(w);
        return;
    }

    if (route->arg == NGX_ASTRO_ONLINE) {
        w->came_ms = now;

        if (w->away) {
            ngx_astro_presence_look(w);

        } else if (!w->online) {
            ngx_astro_presence_change(w, 1, 0);
        }

        return;
    }

    w->went_ms = now;

    if (!w->online || ngx_astro_users_online(route->user)) {
        return;
    }

    if (now - w->came_ms < NGX_ASTRO_DOUBT_MS && !ngx_astro_nodes_alone()) {
        ngx_astro_presence_look(w);
        return;
    }

    ngx_astro_presence_change(w, 0, route->seq);
}


static void
ngx_astro_presence_change(ngx_astro_watched_t *w, ngx_uint_t online,
    int64_t seen_ms)
{
    u_char             *p, *last;
    u_char              buf[192];
    ngx_queue_t        *q, *next;
    ngx_astro_msg_t     msg;
    ngx_astro_watch_t  *watch;

    w->online = online;
    w->ver = ngx_max(w->ver + 1, ngx_astro_common_ms());
    w->seen_ms = online ? 0 : seen_ms;

    if (!w->told) {
        return;
    }

    last = buf + sizeof(buf);
    p = ngx_slprintf(buf, last, "{\"type\":\"user_%s\",\"ver\":%L,\"payload\":"
                     "{\"user\":\"u_%uL\"", online ? "online" : "offline",
                     w->ver, (uint64_t) w->node.key);

    if (w->seen_ms) {
        p = ngx_slprintf(p, last, ",\"last_seen\":%L", w->seen_ms);
    }

    p = ngx_slprintf(p, last, "}}");

    ngx_astro_msg_init(&msg);
    ngx_astro_msg_add(&msg, buf, p - buf);

    for (q = ngx_queue_head(&w->watches);
         q != ngx_queue_sentinel(&w->watches);
         q = next)
    {
        next = ngx_queue_next(q);
        watch = ngx_queue_data(q, ngx_astro_watch_t, link);
        ngx_astro_conn_send(watch->conn, &msg, 1);
    }
}
