
/*
 * Copyright (C) The Astro authors
 *
 * A connection goes DOWN -> CONNECTING (in a thread) -> UP -> DOWN ...
 *
 * A lazy one (ngx_astro_slow.c) stays DOWN until somebody opens it.
 *
 * Calls are kept in a queue in the order in which they were sent; results come
 * back in that order, so the head of the queue is always the one that libpq
 * speaks of.  Each call sends [Parse] Bind Describe Execute Sync; a statement
 * is prepared on its first use on a connection, and a failed Parse aborts
 * only up to its own Sync.
 *
 * What is under way when the connection breaks is LOST: it may or may not have
 * been committed.  Whoever asked must make the call again under the same
 * idempotency key, or read.
 *
 * The socket is level-triggered and its events are never touched through
 * ngx_handle_read_event(): one PQconsumeInput() need not empty it.
 *
 * The only non-cancelable timer is the one for the oldest call under way: a
 * worker that is shutting down stays until its calls were answered, and not
 * a moment longer.
 */

#include "ngx_astro_pg_private.h"
#include "ngx_astro_trace.h"


#define NGX_ASTRO_PG_WAITING_MAX  4096
#define NGX_ASTRO_PG_OURS         8       /* as many more, of our own */
#define NGX_ASTRO_PG_BACKOFF_MIN  50
/* REST is to be back within 2 s of the database */
#define NGX_ASTRO_PG_BACKOFF_MAX  1000


typedef struct {
    ngx_astro_pg_t            *pg;
    char                      *conninfo;
    const char                *application;
    PGconn                    *conn;
} ngx_astro_pg_connect_t;


static void ngx_astro_pg_connect(ngx_astro_pg_t *pg);
static void ngx_astro_pg_connect_thread(void *data, ngx_log_t *log);
static void ngx_astro_pg_connect_done(ngx_event_t *ev);
static ngx_int_t ngx_astro_pg_attach(ngx_astro_pg_t *pg);
static void ngx_astro_pg_notice(void *data, const char *message);
static void ngx_astro_pg_break(ngx_astro_pg_t *pg, const char *why);
static void ngx_astro_pg_retry(ngx_event_t *ev);
static void ngx_astro_pg_timeout(ngx_event_t *ev);
static void ngx_astro_pg_flush(ngx_astro_pg_t *pg);
static void ngx_astro_pg_flush_handler(ngx_event_t *ev);
static void ngx_astro_pg_read_handler(ngx_event_t *rev);
static void ngx_astro_pg_write_handler(ngx_event_t *wev);


static const ngx_astro_pg_use_t  ngx_astro_pg_uses[] = {
#define NGX_ASTRO_PG_USE(name)                                                \
    { name, "astro nginx", 0, NGX_ASTRO_C_PG_CALLS, NGX_ASTRO_C_PG_FAILED,    \
      NGX_ASTRO_C_PG_CONNECTS, NGX_ASTRO_C_PG_TIME, NGX_ASTRO_C_PG_UP,        \
      NGX_ASTRO_C_PG_INFLIGHT }

    NGX_ASTRO_PG_USE("calls"),
    NGX_ASTRO_PG_USE("chat"),
    NGX_ASTRO_PG_USE("the lease")
};


ngx_astro_pg_t *
ngx_astro_pg_create(ngx_astro_pg_use_e use)
{
    return ngx_astro_pg_create_use(&ngx_astro_pg_uses[use]);
}


ngx_astro_pg_t *
ngx_astro_pg_create_use(const ngx_astro_pg_use_t *use)
{
    ngx_astro_pg_t          *pg;
    ngx_astro_pg_connect_t  *ctx;

    pg = ngx_calloc(sizeof(ngx_astro_pg_t), ngx_astro.log);
    if (pg == NULL) {
        return NULL;
    }

    pg->task = ngx_calloc(sizeof(ngx_thread_task_t)
                          + sizeof(ngx_astro_pg_connect_t), ngx_astro.log);
    if (pg->task == NULL) {
        ngx_free(pg);
        return NULL;
    }

    ctx = (ngx_astro_pg_connect_t *) (pg->task + 1);
    ctx->pg = pg;
    ctx->conninfo = (char *) ngx_astro.conf->pg.data;
    ctx->application = use->application;

    pg->task->ctx = ctx;
    pg->task->handler = ngx_astro_pg_connect_thread;
    pg->task->event.handler = ngx_astro_pg_connect_done;
    pg->task->event.data = pg;

    pg->use = use;
    pg->call_timeout = ngx_astro.conf->pg_timeout;
    pg->backoff = NGX_ASTRO_PG_BACKOFF_MIN;

    ngx_queue_init(&pg->waiting);
    ngx_queue_init(&pg->sent);

    ngx_astro_event_init(&pg->retry, ngx_astro_pg_retry);
    ngx_astro_event_init(&pg->timeout, ngx_astro_pg_timeout);
    ngx_astro_event_init(&pg->flush, ngx_astro_pg_flush_handler);
    pg->retry.cancelable = 1;

    /* a thread pool takes tasks only when the event loop runs */

    if (!use->lazy) {
        ngx_add_timer(&pg->retry, 0);
    }

    return pg;
}


void
ngx_astro_pg_destroy(ngx_astro_pg_t *pg)
{
    if (pg->state == ngx_astro_pg_up) {
        ngx_astro_connection_forget(pg->c);
        PQfinish(pg->conn);
        pg->state = ngx_astro_pg_down;
    }
}


void
ngx_astro_pg_on_connect(ngx_astro_pg_t *pg, void (*handler)(void))
{
    pg->on_connect = handler;
}


ngx_uint_t
ngx_astro_pg_is_up(ngx_astro_pg_t *pg)
{
    return pg->state == ngx_astro_pg_up;
}


/* Of a lazy one the timer only says that it is too early for another try. */

static void
ngx_astro_pg_retry(ngx_event_t *ev)
{
    ngx_astro_pg_t  *pg;

    pg = ngx_astro_of(ev, ngx_astro_pg_t, retry);

    if (!pg->use->lazy) {
        ngx_astro_pg_connect(pg);
    }
}


ngx_int_t
ngx_astro_pg_open(ngx_astro_pg_t *pg)
{
    if (pg->state != ngx_astro_pg_down || pg->retry.timer_set
        || pg->task->event.active)
    {
        return NGX_DECLINED;
    }

    ngx_astro_pg_connect(pg);

    return NGX_OK;
}


void
ngx_astro_pg_close(ngx_astro_pg_t *pg)
{
    if (!ngx_astro_pg_idle(pg)) {
        return;
    }

    if (pg->flush.posted) {
        ngx_delete_posted_event(&pg->flush);
    }

    ngx_astro_pg_destroy(pg);
    pg->c = NULL;
    pg->conn = NULL;
    ngx_astro_pg_uncount(pg->use, up);
}


static void
ngx_astro_pg_connect(ngx_astro_pg_t *pg)
{
    if (pg->state != ngx_astro_pg_down || pg->task->event.active) {
        return;
    }

    pg->state = ngx_astro_pg_connecting;

    if (ngx_thread_task_post(ngx_astro.conf->pool, pg->task) != NGX_OK) {
        ngx_astro_pg_break(pg, "thread pool is full");
    }
}


/* Runs in a thread: touches nothing but its own context. */

static void
ngx_astro_pg_connect_thread(void *data, ngx_log_t *log)
{
    ngx_astro_pg_connect_t  *ctx = data;

    /* what stands after "dbname" wins over it, what stands before does not */

    static const char *const  keys[] = {
        "connect_timeout", "application_name", "dbname", "client_encoding",
        NULL
    };

    const char *const  values[] = {
        "3", ctx->application, ctx->conninfo, "UTF8", NULL
    };

    ctx->conn = PQconnectdbParams(keys, values, 1);
}


static void
ngx_astro_pg_connect_done(ngx_event_t *ev)
{
    ngx_queue_t             *q;
    ngx_astro_pg_t          *pg;
    ngx_astro_pg_op_t       *op;
    ngx_astro_pg_connect_t  *ctx;

    pg = ev->data;
    ctx = pg->task->ctx;

    pg->conn = ctx->conn;
    ctx->conn = NULL;
    pg->tried = 1;

    if (pg->conn == NULL) {
        ngx_astro_pg_break(pg, "no memory");
        return;
    }

    if (PQstatus(pg->conn) != CONNECTION_OK
        || ngx_astro_pg_attach(pg) != NGX_OK)
    {
        ngx_astro_pg_break(pg, PQerrorMessage(pg->conn));
        return;
    }

    pg->state = ngx_astro_pg_up;
    pg->dead = 0;
    pg->backoff = NGX_ASTRO_PG_BACKOFF_MIN;
    pg->nprepared = 0;

    ngx_astro_pg_count(pg->use, connects);
    ngx_astro_pg_count(pg->use, up);

    ngx_log_error(NGX_LOG_INFO, ngx_astro.log, 0,
                  "astro: connected to PostgreSQL for %s", pg->use->name);

    if (pg->on_connect) {
        pg->on_connect();
    }

    while (pg->state == ngx_astro_pg_up && !ngx_queue_empty(&pg->waiting)) {
        q = ngx_queue_head(&pg->waiting);
        ngx_queue_remove(q);
        pg->nwaiting--;
        ngx_astro_sub(PG_WAITING, 1);
        op = ngx_queue_data(q, ngx_astro_pg_op_t, queue);
        ngx_astro_pg_send(pg, op);
    }

    if (pg->changed) {
        pg->changed(pg);
    }
}


static ngx_int_t
ngx_astro_pg_attach(ngx_astro_pg_t *pg)
{
    ngx_connection_t  *c;

    (void) PQsetNoticeProcessor(pg->conn, ngx_astro_pg_notice, pg);

    if (PQsetnonblocking(pg->conn, 1) != 0
        || PQenterPipelineMode(pg->conn) != 1)
    {
        return NGX_ERROR;
    }

    c = ngx_get_connection(PQsocket(pg->conn), ngx_astro.log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = pg;
    c->log = ngx_astro.log;
    c->read->log = ngx_astro.log;
    c->write->log = ngx_astro.log;
    c->read->handler = ngx_astro_pg_read_handler;
    c->write->handler = ngx_astro_pg_write_handler;

    if (ngx_add_event(c->read, NGX_READ_EVENT, 0) != NGX_OK) {
        c->fd = (ngx_socket_t) -1;
        ngx_free_connection(c);
        return NGX_ERROR;
    }

    pg->c = c;

    return NGX_OK;
}


/* What it says unasked, "WARNING:  ...\n": libpq would write it to stderr. */
static void
ngx_astro_pg_notice(void *data, const char *message)
{
    size_t           len;
    ngx_uint_t       level;
    ngx_astro_pg_t  *pg = data;

    for (len = ngx_strlen(message);
         len > 0 && message[len - 1] == '\n';
         len--)
    {
        /* void */
    }

    level = ngx_strncmp(message, "WARNING", 7) == 0 ? NGX_LOG_WARN
                                                    : NGX_LOG_NOTICE;

    ngx_log_error(level, ngx_astro.log, 0, "astro: PostgreSQL for %s: %*s",
                  pg->use->name, len, message);
}


static void
ngx_astro_pg_break(ngx_astro_pg_t *pg, const char *why)
{
    ngx_queue_t         lost, *q;
    ngx_astro_pg_op_t  *op;

    ngx_log_error(NGX_LOG_ERR, ngx_astro.log, 0,
                  "astro: PostgreSQL for %s: %s; next attempt in %M ms",
                  pg->use->name, why, pg->backoff);

    if (pg->c) {
        ngx_astro_connection_forget(pg->c);
        pg->c = NULL;
    }

    if (pg->conn) {
        PQfinish(pg->conn);
        pg->conn = NULL;
    }

    if (pg->state == ngx_astro_pg_up) {
        ngx_astro_pg_uncount(pg->use, up);
    }

    pg->state = ngx_astro_pg_down;

    if (pg->flush.posted) {
        ngx_delete_posted_event(&pg->flush);
    }

    if (pg->timeout.timer_set) {
        ngx_del_timer(&pg->timeout);
    }

    ngx_add_timer(&pg->retry, pg->backoff);
    pg->backoff = ngx_min(pg->backoff * 2, NGX_ASTRO_PG_BACKOFF_MAX);

    /* handlers may call again: they must find an empty, closed connection */

    ngx_queue_init(&lost);

    while (!ngx_queue_empty(&pg->sent)) {
        q = ngx_queue_head(&pg->sent);
        ngx_queue_remove(q);
        pg->nsent--;
        ngx_astro_pg_uncount(pg->use, in_flight);
        ngx_queue_insert_tail(&lost, q);
    }

    while (!ngx_queue_empty(&pg->waiting)) {
        q = ngx_queue_head(&pg->waiting);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&lost, q);
    }

    ngx_astro_sub(PG_WAITING, pg->nwaiting);
    pg->nwaiting = 0;

    while (!ngx_queue_empty(&lost)) {
        q = ngx_queue_head(&lost);
        ngx_queue_remove(q);
        op = ngx_queue_data(q, ngx_astro_pg_op_t, queue);
        ngx_astro_pg_finish(pg->use, op, NGX_ASTRO_PG_LOST);
    }

    if (pg->changed) {
        pg->changed(pg);
    }
}


static void
ngx_astro_pg_timeout(ngx_event_t *ev)
{
    ngx_astro_pg_t     *pg;
    ngx_astro_pg_op_t  *op;

    pg = ngx_astro_of(ev, ngx_astro_pg_t, timeout);

    if (ngx_queue_empty(&pg->sent)) {
        return;
    }

    op = ngx_queue_data(ngx_queue_head(&pg->sent), ngx_astro_pg_op_t, queue);

    if (ngx_current_msec - op->since >= pg->call_timeout) {
        ngx_astro_pg_break(pg, "no answer in time");
        return;
    }

    ngx_astro_pg_arm(pg);
}


void
ngx_astro_pg_arm(ngx_astro_pg_t *pg)
{
    if (ngx_queue_empty(&pg->sent)) {
        if (pg->timeout.timer_set) {
            ngx_del_timer(&pg->timeout);
        }

        return;
    }

    if (!pg->timeout.timer_set) {
        ngx_add_timer(&pg->timeout, pg->call_timeout);
    }
}


ngx_int_t
ngx_astro_pg_ask(ngx_astro_pg_t *pg, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data)
{
    if (pg->nsent >= (ngx_uint_t) ngx_astro.conf->pg_queue) {
        ngx_astro_pg_count(pg->use, calls);
        ngx_astro_pg_count(pg->use, failed);
        return NGX_ERROR;
    }

    return ngx_astro_pg_call(pg, sql, values, handler, data);
}


ngx_int_t
ngx_astro_pg_call(ngx_astro_pg_t *pg, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data)
{
    ngx_astro_pg_op_t  *op;

    ngx_astro_pg_count(pg->use, calls);

    if ((pg->state == ngx_astro_pg_down && pg->tried)
        || pg->nwaiting >= NGX_ASTRO_PG_WAITING_MAX
        || pg->nsent
           >= (ngx_uint_t) ngx_astro.conf->pg_queue * NGX_ASTRO_PG_OURS)
    {
        ngx_astro_pg_count(pg->use, failed);
        return NGX_ERROR;
    }

    op = ngx_astro_pg_op(sql, values, handler, data);
    if (op == NULL) {
        return NGX_ERROR;
    }

    if (pg->state != ngx_astro_pg_up) {
        pg->nwaiting++;
        ngx_astro_count(PG_WAITING);
        ngx_queue_insert_tail(&pg->waiting, &op->queue);
        return NGX_OK;
    }

    ngx_astro_pg_send(pg, op);

    return NGX_OK;
}


ngx_astro_pg_op_t *
ngx_astro_pg_op(const ngx_astro_sql_t *sql, const char *const *values,
    ngx_astro_pg_handler_pt handler, void *data)
{
    int                 i;
    char               *p;
    size_t              size, len, named;
    u_char              trace[NGX_ASTRO_TRACE_MAX];
    ngx_astro_pg_op_t  *op;

    named = sql->traced ? ngx_astro_trace_text(trace) : 0;
    size = sizeof(ngx_astro_pg_op_t) + named + 1;

    for (i = 0; i < sql->nparams; i++) {
        if (values[i]) {
            size += ngx_strlen(values[i]) + 1;
        }
    }

    op = ngx_alloc(size, ngx_astro.log);
    if (op == NULL) {
        return NULL;
    }

    op->sql = sql;
    op->handler = handler;
    op->data = data;
    op->user = 0;
    op->since = ngx_current_msec;
    op->called_us = ngx_astro_boot_us();
    op->pending = 0;
    op->parsing = 0;
    op->failed = 0;
    op->refused = 0;
    op->busy = 0;
    op->res = NULL;

    p = (char *) (op + 1);

    for (i = 0; i < sql->nparams; i++) {
        if (values[i] == NULL) {
            op->values[i] = NULL;
            continue;
        }

        len = ngx_strlen(values[i]) + 1;
        ngx_memcpy(p, values[i], len);
        op->values[i] = p;
        p += len;
    }

    op->values[i] = NULL;

    if (named) {
        ngx_memcpy(p, trace, named + 1);
        op->values[i] = p;
    }

    return op;
}


void
ngx_astro_pg_send(ngx_astro_pg_t *pg, ngx_astro_pg_op_t *op)
{
    ngx_uint_t   i;
    const char  *value;

    op->since = ngx_current_msec;
    ngx_queue_insert_tail(&pg->sent, &op->queue);
    pg->nsent++;
    ngx_astro_pg_count(pg->use, in_flight);

    if (pg->dead) {
        return;
    }

    if (pg->statement_timeout[0]) {

        /*
         * Of this transaction alone, which ends with the Sync below: a pooler
         * may give the connection to another afterwards.
         */

        value = pg->statement_timeout;

        if (PQsendQueryParams(pg->conn, "SELECT pg_catalog.set_config("
                              "'statement_timeout', $1, true)", 1, NULL,
                              &value, NULL, NULL, 0)
            != 1)
        {
            goto broken;
        }

        op->pending++;
    }

    for (i = 0; i < pg->nprepared; i++) {
        if (pg->prepared[i] == op->sql) {
            break;
        }
    }

    if (i == pg->nprepared && i < NGX_ASTRO_PG_PREPARED) {
        if (PQsendPrepare(pg->conn, op->sql->name, op->sql->text,
                          op->sql->nparams + op->sql->traced, NULL)
            != 1)
        {
            goto broken;
        }

        pg->prepared[pg->nprepared++] = op->sql;
        op->parsing = 1;
        op->pending++;
    }

    if (PQsendQueryPrepared(pg->conn, op->sql->name,
                            op->sql->nparams + op->sql->traced, op->values,
                            NULL, NULL, 0)
        != 1)
    {
        goto broken;
    }

    op->pending++;

    if (PQpipelineSync(pg->conn) != 1) {
        goto broken;
    }

    ngx_astro_pg_arm(pg);

    /* several calls of one turn of the loop leave in one write */

    if (!pg->flush.posted) {
        ngx_post_event(&pg->flush, &ngx_posted_events);
    }

    return;

broken:

    /*
     * Breaking it here would call the handlers of all that is under way within
     * the call of somebody who expects none: the flush event does it.
     */

    pg->dead = 1;

    if (!pg->flush.posted) {
        ngx_post_event(&pg->flush, &ngx_posted_events);
    }
}


static void
ngx_astro_pg_flush_handler(ngx_event_t *ev)
{
    ngx_astro_pg_flush(ngx_astro_of(ev, ngx_astro_pg_t, flush));
}


static void
ngx_astro_pg_flush(ngx_astro_pg_t *pg)
{
    int           rc;
    ngx_event_t  *wev;

    if (pg->state != ngx_astro_pg_up) {
        return;
    }

    rc = pg->dead ? -1 : PQflush(pg->conn);

    if (rc < 0) {
        ngx_astro_pg_break(pg, PQerrorMessage(pg->conn));
        return;
    }

    wev = pg->c->write;

    if (rc == 1 && !wev->active) {
        if (ngx_add_event(wev, NGX_WRITE_EVENT, 0) != NGX_OK) {
            ngx_astro_pg_break(pg, "cannot wait for the socket");
        }

        return;
    }

    if (rc == 0 && wev->active) {
        if (ngx_del_event(wev, NGX_WRITE_EVENT, 0) != NGX_OK) {
            ngx_astro_pg_break(pg, "cannot wait for the socket");
        }
    }
}


static void
ngx_astro_pg_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;

    c = wev->data;
    ngx_astro_pg_flush(c->data);
}


static void
ngx_astro_pg_read_handler(ngx_event_t *rev)
{
    ngx_astro_pg_t    *pg;
    ngx_connection_t  *c;

    c = rev->data;
    pg = c->data;

    if (PQconsumeInput(pg->conn) != 1
        || ngx_astro_pg_results(pg) != NGX_OK)
    {
        if (pg->state == ngx_astro_pg_up) {
            ngx_astro_pg_break(pg, PQerrorMessage(pg->conn));
        }

        return;
    }

    /* reading may have made room for what could not be written */

    if (pg->state == ngx_astro_pg_up) {
        ngx_astro_pg_flush(pg);
    }
}
