
/*
 * Copyright (C) The Astro authors
 *
 * Arrivals and departures go to every worker; each keeps what it told its
 * watchers last and tells them only of changes, so that a client which drops
 * and comes back within the grace is never seen to leave or arrive.
 *
 * The version of a change is the host's boot clock when it was found, which no
 * two workers disagree on by more than a delivery; the latest wins.
 *
 * Users in their grace stand in a queue in order of departure (the grace is
 * the same for all).  A worker that is killed takes its queue with it, but
 * whoever reclaims its seat finds its users in the registry; one that exits
 * hands its queue to another worker.
 */

#include "ngx_astro_gateway.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_users.h"


#define NGX_ASTRO_WATCH_MAX  200        /* users in one request, and watched */

/* route.arg */
#define NGX_ASTRO_OFFLINE    0
#define NGX_ASTRO_ONLINE     1
#define NGX_ASTRO_ORPHAN     2


typedef struct {
    ngx_rbtree_node_t    node;          /* key: the user watched */
    ngx_queue_t          watches;
    ngx_uint_t           online;
    int64_t              ver;
} ngx_astro_watched_t;

typedef struct {
    ngx_queue_t           conn_link;
    ngx_queue_t           link;
    ngx_astro_conn_t     *conn;
    ngx_astro_watched_t  *watched;
} ngx_astro_watch_t;

typedef struct {
    ngx_queue_t           link;
    uint64_t              user;
    ngx_msec_t            due;
} ngx_astro_departed_t;

typedef struct {
    ngx_astro_conn_t     *conn;
    ngx_uint_t            n;
    u_char               *p;
    u_char               *last;
} ngx_astro_watching_t;


static ngx_astro_watched_t *ngx_astro_watched_find(uint64_t user);
static int ngx_astro_presence_watch_one(void *ctx, int depth,
    const astro_json_member_t *scalar);
static ngx_astro_watched_t *ngx_astro_presence_watch_user(
    ngx_astro_conn_t *conn, uint64_t user);
static void ngx_astro_presence_grace(uint64_t user);
static void ngx_astro_presence_expire(ngx_event_t *ev);
static void ngx_astro_presence_tell(uint64_t user, ngx_uint_t what);
static void ngx_astro_presence_stored(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


static ngx_rbtree_t       ngx_astro_watched;
static ngx_rbtree_node_t  ngx_astro_watched_sentinel;
static ngx_queue_t        ngx_astro_departed;
static ngx_event_t        ngx_astro_departed_event;
static ngx_uint_t         ngx_astro_presence_leaving;


void
ngx_astro_presence_init(void)
{
    ngx_rbtree_init(&ngx_astro_watched, &ngx_astro_watched_sentinel,
                    ngx_rbtree_insert_value);
    ngx_queue_init(&ngx_astro_departed);

    ngx_astro_event_init(&ngx_astro_departed_event,
                         ngx_astro_presence_expire);
    ngx_astro_departed_event.cancelable = 1;
}


void
ngx_astro_presence_exit(void)
{
    ngx_queue_t           *q;
    ngx_astro_route_t      route;
    ngx_astro_departed_t  *d;

    ngx_astro_presence_leaving = 1;

    while (!ngx_queue_empty(&ngx_astro_departed)) {
        q = ngx_queue_head(&ngx_astro_departed);
        ngx_queue_remove(q);
        d = ngx_queue_data(q, ngx_astro_departed_t, link);

        ngx_memzero(&route, sizeof(ngx_astro_route_t));
        route.to = NGX_ASTRO_TO_WATCHERS;
        route.user = d->user;
        route.arg = NGX_ASTRO_ORPHAN;

        ngx_astro_route_all(&route, NULL);
        ngx_free(d);
    }
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


void
ngx_astro_handle_presence_watch(ngx_astro_req_t *req)
{
    int                         rc;
    size_t                      size;
    u_char                     *buf;
    ngx_astro_watching_t        w;
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, "users");

    if (m == NULL || m->kind != ASTRO_JSON_ARRAY) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "users is an array of ids", "/payload/users");
        return;
    }

    size = 64 + NGX_ASTRO_WATCH_MAX * 80;
    buf = ngx_alloc(size, ngx_astro.log);

    if (buf == NULL) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    w.conn = req->conn;
    w.n = 0;
    w.p = ngx_cpymem(buf, "{\"users\":[", 10);
    w.last = buf + size;

    /* a new list takes the place of the old one */

    ngx_astro_presence_leave(req->conn);

    rc = astro_json_scalars(ngx_astro.json, m, ngx_astro_presence_watch_one,
                            &w);

    if (rc != 0) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id,
                              rc == NGX_ASTRO_E_TOO_LARGE
                                  ? NGX_ASTRO_E_TOO_LARGE
                                  : NGX_ASTRO_E_BAD_REQUEST,
                              "users is an array of at most 200 ids like u_1",
                              "/payload/users");
    } else {
        w.p = ngx_cpymem(w.p, "]}", 2);
        ngx_astro_reply(req->conn, req->id, buf, w.p - buf);
    }

    ngx_free(buf);
}


static int
ngx_astro_presence_watch_one(void *ctx, int depth,
    const astro_json_member_t *scalar)
{
    ngx_astro_watching_t  *w = ctx;

    uint64_t               user;
    ngx_astro_watched_t   *watched;

    if (w->n == NGX_ASTRO_WATCH_MAX) {
        return NGX_ASTRO_E_TOO_LARGE;
    }

    if (depth != 1 || scalar->kind != ASTRO_JSON_STRING || scalar->escaped) {
        return -1;
    }

    user = astro_id_parse('u', scalar->raw + 1, scalar->raw_len - 2);

    if (user == 0) {
        return -1;
    }

    watched = ngx_astro_presence_watch_user(w->conn, user);

    if (watched == NULL) {
        return -1;
    }

    w->p = ngx_slprintf(w->p, w->last,
                        "%s{\"user\":\"u_%uL\",\"online\":%s,\"ver\":%L}",
                        w->n++ ? "," : "", user,
                        watched->online ? "true" : "false", watched->ver);

    return 0;
}


static ngx_astro_watched_t *
ngx_astro_presence_watch_user(ngx_astro_conn_t *conn, uint64_t user)
{
    ngx_astro_watch_t    *watch;
    ngx_astro_watched_t  *watched;

    watch = ngx_alloc(sizeof(ngx_astro_watch_t), ngx_astro.log);
    if (watch == NULL) {
        return NULL;
    }

    watched = ngx_astro_watched_find(user);

    if (watched == NULL) {
        watched = ngx_alloc(sizeof(ngx_astro_watched_t), ngx_astro.log);
        if (watched == NULL) {
            ngx_free(watch);
            return NULL;
        }

        watched->node.key = user;
        watched->online = ngx_astro_users_online(user);
        watched->ver = ngx_astro_boot_ms();

        ngx_queue_init(&watched->watches);
        ngx_rbtree_insert(&ngx_astro_watched, &watched->node);
    }

    watch->conn = conn;
    watch->watched = watched;

    ngx_queue_insert_tail(&conn->watches, &watch->conn_link);
    ngx_queue_insert_tail(&watched->watches, &watch->link);

    return watched;
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
            ngx_rbtree_delete(&ngx_astro_watched, &watched->node);
            ngx_free(watched);
        }
    }
}


void
ngx_astro_presence_arrived(uint64_t user)
{
    ngx_astro_presence_tell(user, NGX_ASTRO_ONLINE);
}


void
ngx_astro_presence_left(uint64_t user)
{
    char         gateway[NGX_INT64_LEN + 1], users[NGX_INT64_LEN + 3];
    const char  *values[3];

    ngx_astro_presence_grace(user);

    if (ngx_astro_gateway_id() == 0) {
        return;
    }

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';
    *ngx_sprintf((u_char *) users, "{%uL}", user) = '\0';

    values[0] = gateway;
    values[1] = "{}";
    values[2] = users;

    /*
     * On the connection that hello uses, so that a user who comes back is not
     * overtaken by their own departure.  If it is lost the row ends
     * with the lease.
     */

    (void) ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_presence,
                             values, ngx_astro_presence_stored, NULL);
}


void
ngx_astro_presence_restore(void)
{
    char         gateway[NGX_INT64_LEN + 1];
    u_char      *p, *buf;
    uint64_t    *ids;
    ngx_uint_t   i, n;
    const char  *values[3];

    n = ngx_astro_users_count();
    if (n == 0) {
        return;
    }

    ids = ngx_alloc(n * (sizeof(uint64_t) + NGX_INT64_LEN + 1) + 2,
                    ngx_astro.log);
    if (ids == NULL) {
        return;
    }

    n = ngx_astro_users_list(ids, n);
    buf = (u_char *) (ids + n);
    p = buf;

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, "%c%uL", i ? ',' : '{', ids[i]);
    }

    *p++ = '}';
    *p = '\0';

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';

    values[0] = gateway;
    values[1] = (char *) buf;
    values[2] = "{}";

    (void) ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_presence,
                             values, ngx_astro_presence_stored, NULL);
    ngx_free(ids);
}


static void
ngx_astro_presence_stored(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    (void) data;
    (void) rc;
    (void) res;
}


void
ngx_astro_presence_orphan(void *ctx, uint64_t user)
{
    (void) ctx;

    ngx_astro_presence_grace(user);
}


static void
ngx_astro_presence_grace(uint64_t user)
{
    ngx_astro_departed_t  *d;

    if (ngx_astro_users_online(user)) {
        return;
    }

    d = ngx_alloc(sizeof(ngx_astro_departed_t), ngx_astro.log);

    if (d == NULL) {
        ngx_astro_presence_tell(user, NGX_ASTRO_OFFLINE);
        return;
    }

    d->user = user;
    d->due = ngx_current_msec + ngx_astro.conf->presence_grace;

    ngx_queue_insert_tail(&ngx_astro_departed, &d->link);

    if (!ngx_astro_departed_event.timer_set) {
        ngx_add_timer(&ngx_astro_departed_event,
                      ngx_astro.conf->presence_grace);
    }
}


static void
ngx_astro_presence_expire(ngx_event_t *ev)
{
    ngx_queue_t           *q;
    ngx_msec_int_t         left;
    ngx_astro_departed_t  *d;

    while (!ngx_queue_empty(&ngx_astro_departed)) {
        q = ngx_queue_head(&ngx_astro_departed);
        d = ngx_queue_data(q, ngx_astro_departed_t, link);

        left = (ngx_msec_int_t) (d->due - ngx_current_msec);

        if (left > 0) {
            ngx_add_timer(ev, left);
            return;
        }

        ngx_queue_remove(q);

        if (!ngx_astro_users_online(d->user)) {
            ngx_astro_presence_tell(d->user, NGX_ASTRO_OFFLINE);
        }

        ngx_free(d);
    }
}


static void
ngx_astro_presence_tell(uint64_t user, ngx_uint_t what)
{
    ngx_astro_route_t  route;

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_WATCHERS;
    route.user = user;
    route.seq = ngx_astro_boot_ms();
    route.arg = what;

    ngx_astro_route_all(&route, NULL);
}


void
ngx_astro_presence_deliver(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    u_char               *p;
    u_char                buf[128];
    ngx_queue_t          *q, *next;
    ngx_astro_msg_t       msg;
    ngx_astro_watch_t    *watch;
    ngx_astro_watched_t  *watched;

    (void) m;

    if (route->arg == NGX_ASTRO_ORPHAN) {

        /* all the others look again: one of them that dies is not missed */

        if (!ngx_astro_presence_leaving) {
            ngx_astro_presence_grace(route->user);
        }

        return;
    }

    watched = ngx_astro_watched_find(route->user);

    if (watched == NULL || watched->online == route->arg
        || route->seq < watched->ver)
    {
        return;
    }

    watched->online = route->arg;
    watched->ver = route->seq;

    p = ngx_sprintf(buf, "{\"type\":\"user_%s\",\"ver\":%L,\"payload\":"
                    "{\"user\":\"u_%uL\"}}",
                    route->arg ? "online" : "offline", route->seq,
                    route->user);

    ngx_astro_msg_init(&msg);
    ngx_astro_msg_add(&msg, buf, p - buf);

    for (q = ngx_queue_head(&watched->watches);
         q != ngx_queue_sentinel(&watched->watches);
         q = next)
    {
        next = ngx_queue_next(q);
        watch = ngx_queue_data(q, ngx_astro_watch_t, link);
        ngx_astro_conn_send(watch->conn, &msg, 1);
    }
}
