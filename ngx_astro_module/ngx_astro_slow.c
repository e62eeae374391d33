
/*
 * Copyright (C) The Astro authors
 *
 * Calls go from the queue to connections in an event of their own alone, so
 * nobody's handler is called within somebody's call.
 *
 * A draining worker stays until what waits was answered: the timer of the queue
 * is not cancelable.  That of idleness is.
 */

#include "ngx_astro_pg_private.h"
#include "ngx_astro_slow.h"


#define NGX_ASTRO_SLOW_MAX    8         /* connections of a worker */
#define NGX_ASTRO_SLOW_USER   3         /* reports of one user at a time */

/* until a connection whose server does not even give up is broken */
#define NGX_ASTRO_SLOW_SPARE  2000


static ngx_uint_t ngx_astro_slow_of(ngx_queue_t *queue, uint64_t user);
static void ngx_astro_slow_changed(ngx_astro_pg_t *pg);
static void ngx_astro_slow_post(void);
static void ngx_astro_slow_run(ngx_event_t *ev);
static ngx_astro_pg_t *ngx_astro_slow_free(void);
static ngx_uint_t ngx_astro_slow_open(void);
static void ngx_astro_slow_fail(ngx_astro_pg_op_t *op, ngx_astro_pg_rc_e rc);
static void ngx_astro_slow_late(ngx_event_t *ev);
static void ngx_astro_slow_arm(void);
static void ngx_astro_slow_idle(ngx_event_t *ev);
static ngx_astro_pg_op_t *ngx_astro_slow_take(ngx_queue_t *q);


static const ngx_astro_pg_use_t  ngx_astro_slow_use = {
    "slow reports", "astro nginx slow", 1, NGX_ASTRO_C_PG_SLOW_CALLS,
    NGX_ASTRO_C_PG_SLOW_FAILED, NGX_ASTRO_C_PG_SLOW_CONNECTS,
    NGX_ASTRO_C_PG_SLOW_TIME, NGX_ASTRO_C_PG_SLOW_UP,
    NGX_ASTRO_C_PG_SLOW_INFLIGHT
};


static struct {
    ngx_astro_pg_t            *pg[NGX_ASTRO_SLOW_MAX];
    ngx_msec_t                 used[NGX_ASTRO_SLOW_MAX];
    ngx_uint_t                 n;
    ngx_queue_t                waiting;     /* the oldest first */
    ngx_uint_t                 nwaiting;
    ngx_event_t                run;
    ngx_event_t                late;
    ngx_event_t                idle;
} ngx_astro_slow;


/* astro_pg_slow [connections=n] [queue=n] [timeout=t] [idle=t] */

char *
ngx_astro_slow_set(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *conf = c;

    ngx_int_t   n;
    ngx_str_t  *value, s;
    ngx_uint_t  i;

    if (conf->slow_connections) {
        return "is duplicate";
    }

    conf->slow_connections = 2;
    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        s.data = (u_char *) ngx_strchr(value[i].data, '=');

        if (s.data == NULL) {
            goto invalid;
        }

        s.data++;
        s.len = value[i].data + value[i].len - s.data;

        if (ngx_strncmp(value[i].data, "connections=", 12) == 0) {
            n = ngx_atoi(s.data, s.len);

            if (n < 1 || n > NGX_ASTRO_SLOW_MAX) {
                goto invalid;
            }

            conf->slow_connections = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "queue=", 6) == 0) {
            n = ngx_atoi(s.data, s.len);

            if (n < 1) {
                goto invalid;
            }

            conf->slow_queue = n;
            continue;
        }

        n = ngx_parse_time(&s, 0);

        if (n < 1 || n > 3600000) {
            goto invalid;
        }

        if (ngx_strncmp(value[i].data, "timeout=", 8) == 0) {
            conf->slow_timeout = n;

        } else if (ngx_strncmp(value[i].data, "idle=", 5) == 0) {
            conf->slow_idle = n;

        } else {
            goto invalid;
        }
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"astro_pg_slow\"",
                       &value[i]);

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_astro_slow_init(void)
{
    ngx_uint_t       i;
    ngx_astro_pg_t  *pg;

    ngx_queue_init(&ngx_astro_slow.waiting);

    ngx_astro_event_init(&ngx_astro_slow.run, ngx_astro_slow_run);
    ngx_astro_event_init(&ngx_astro_slow.late, ngx_astro_slow_late);
    ngx_astro_event_init(&ngx_astro_slow.idle, ngx_astro_slow_idle);
    ngx_astro_slow.idle.cancelable = 1;

    for (i = 0; i < ngx_astro.conf->slow_connections; i++) {

        pg = ngx_astro_pg_create_use(&ngx_astro_slow_use);
        if (pg == NULL) {
            return NGX_ERROR;
        }

        pg->changed = ngx_astro_slow_changed;
        pg->call_timeout = ngx_astro.conf->slow_timeout
                           + NGX_ASTRO_SLOW_SPARE;

        *ngx_sprintf((u_char *) pg->statement_timeout, "%M",
                     ngx_astro.conf->slow_timeout) = '\0';

        ngx_astro_slow.pg[ngx_astro_slow.n++] = pg;
    }

    return NGX_OK;
}


void
ngx_astro_slow_exit(void)
{
    while (ngx_astro_slow.n) {
        ngx_astro_pg_destroy(ngx_astro_slow.pg[--ngx_astro_slow.n]);
    }
}


ngx_int_t
ngx_astro_slow_call(uint64_t user, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data)
{
    ngx_uint_t          i, n;
    ngx_astro_pg_op_t  *op;

    ngx_astro_count(PG_SLOW_CALLS);

    /* what was sent counts though nobody waits for it any more */

    n = ngx_astro_slow_of(&ngx_astro_slow.waiting, user);

    for (i = 0; i < ngx_astro_slow.n; i++) {
        n += ngx_astro_slow_of(&ngx_astro_slow.pg[i]->sent, user);
    }

    if (n >= NGX_ASTRO_SLOW_USER) {
        ngx_astro_count(PG_SLOW_REFUSED);
        return NGX_DECLINED;
    }

    if (ngx_astro_slow.nwaiting >= ngx_astro.conf->slow_queue) {
        ngx_astro_count(PG_SLOW_REFUSED);
        return NGX_BUSY;
    }

    op = ngx_astro_pg_op(sql, values, handler, data);
    if (op == NULL) {
        return NGX_ERROR;
    }

    op->user = user;

    ngx_queue_insert_tail(&ngx_astro_slow.waiting, &op->queue);
    ngx_astro_slow.nwaiting++;
    ngx_astro_count(PG_SLOW_WAITING);

    ngx_astro_slow_arm();
    ngx_astro_slow_post();

    return NGX_OK;
}


static ngx_uint_t
ngx_astro_slow_of(ngx_queue_t *queue, uint64_t user)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_astro_pg_op_t  *op;

    n = 0;

    for (q = ngx_queue_head(queue);
         q != ngx_queue_sentinel(queue);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, ngx_astro_pg_op_t, queue);
        n += op->user == user;
    }

    return n;
}


ngx_int_t
ngx_astro_slow_cancel(void *data)
{
    ngx_queue_t        *q;
    ngx_astro_pg_op_t  *op;

    for (q = ngx_queue_head(&ngx_astro_slow.waiting);
         q != ngx_queue_sentinel(&ngx_astro_slow.waiting);
         q = ngx_queue_next(q))
    {
        op = ngx_queue_data(q, ngx_astro_pg_op_t, queue);

        if (op->data == data) {
            ngx_free(ngx_astro_slow_take(q));
            ngx_astro_slow_arm();
            return NGX_OK;
        }
    }

    return NGX_DECLINED;
}


static ngx_astro_pg_op_t *
ngx_astro_slow_take(ngx_queue_t *q)
{
    ngx_queue_remove(q);
    ngx_astro_slow.nwaiting--;
    ngx_astro_sub(PG_SLOW_WAITING, 1);

    return ngx_queue_data(q, ngx_astro_pg_op_t, queue);
}


static void
ngx_astro_slow_post(void)
{
    if (!ngx_astro_slow.run.posted) {
        ngx_post_event(&ngx_astro_slow.run, &ngx_posted_events);
    }
}


static void
ngx_astro_slow_changed(ngx_astro_pg_t *pg)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_astro_slow.n; i++) {
        if (ngx_astro_slow.pg[i] == pg) {
            ngx_astro_slow.used[i] = ngx_current_msec;
        }
    }

    if (!ngx_astro_slow.idle.timer_set) {
        ngx_add_timer(&ngx_astro_slow.idle, ngx_astro.conf->slow_idle);
    }

    ngx_astro_slow_post();
}


static void
ngx_astro_slow_run(ngx_event_t *ev)
{
    ngx_queue_t     *q;
    ngx_astro_pg_t  *pg;

    while (ngx_astro_slow.nwaiting) {

        pg = ngx_astro_slow_free();

        if (pg == NULL) {
            break;
        }

        q = ngx_queue_head(&ngx_astro_slow.waiting);
        ngx_astro_pg_send(pg, ngx_astro_slow_take(q));
    }

    /* as while the database is away for all others: nobody waits for it */

    if (ngx_astro_slow.nwaiting && ngx_astro_slow_open() == 0) {

        while (ngx_astro_slow.nwaiting) {
            q = ngx_queue_head(&ngx_astro_slow.waiting);
            ngx_astro_slow_fail(ngx_astro_slow_take(q), NGX_ASTRO_PG_LOST);
        }
    }

    ngx_astro_slow_arm();
}


/* The first that is free: those behind it become idle when one will do. */

static ngx_astro_pg_t *
ngx_astro_slow_free(void)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_astro_slow.n; i++) {
        if (ngx_astro_pg_idle(ngx_astro_slow.pg[i])) {
            return ngx_astro_slow.pg[i];
        }
    }

    return NULL;
}


/*
 * Opens as many as there are calls that wait, and counts those from which an
 * answer may come.
 */

static ngx_uint_t
ngx_astro_slow_open(void)
{
    ngx_uint_t       i, opening, some;
    ngx_astro_pg_t  *pg;

    opening = 0;
    some = 0;

    for (i = 0; i < ngx_astro_slow.n; i++) {
        some += ngx_astro_slow.pg[i]->state != ngx_astro_pg_down;
        opening += ngx_astro_slow.pg[i]->state == ngx_astro_pg_connecting;
    }

    for (i = 0; i < ngx_astro_slow.n && opening < ngx_astro_slow.nwaiting;
         i++)
    {
        pg = ngx_astro_slow.pg[i];

        if (ngx_astro_pg_open(pg) == NGX_OK
            && pg->state == ngx_astro_pg_connecting)
        {
            opening++;
            some++;
        }
    }

    return some;
}


static void
ngx_astro_slow_fail(ngx_astro_pg_op_t *op, ngx_astro_pg_rc_e rc)
{
    ngx_astro_pg_finish(&ngx_astro_slow_use, op, rc);
}


/* What has waited for as long as a call may take would come too late. */

static void
ngx_astro_slow_late(ngx_event_t *ev)
{
    ngx_queue_t        *q;
    ngx_astro_pg_op_t  *op;

    while (ngx_astro_slow.nwaiting) {

        q = ngx_queue_head(&ngx_astro_slow.waiting);
        op = ngx_queue_data(q, ngx_astro_pg_op_t, queue);

        if (ngx_current_msec - op->since < ngx_astro.conf->slow_timeout) {
            break;
        }

        ngx_astro_slow_fail(ngx_astro_slow_take(q), NGX_ASTRO_PG_BUSY);
    }

    ngx_astro_slow_arm();
}


static void
ngx_astro_slow_arm(void)
{
    ngx_msec_t          waited;
    ngx_queue_t        *q;
    ngx_astro_pg_op_t  *op;

    if (ngx_astro_slow.late.timer_set) {
        ngx_del_timer(&ngx_astro_slow.late);
    }

    if (ngx_astro_slow.nwaiting == 0) {
        return;
    }

    q = ngx_queue_head(&ngx_astro_slow.waiting);
    op = ngx_queue_data(q, ngx_astro_pg_op_t, queue);
    waited = ngx_current_msec - op->since;

    ngx_add_timer(&ngx_astro_slow.late,
                  waited < ngx_astro.conf->slow_timeout
                  ? ngx_astro.conf->slow_timeout - waited : 1);
}


static void
ngx_astro_slow_idle(ngx_event_t *ev)
{
    ngx_uint_t       i, some;
    ngx_astro_pg_t  *pg;

    some = 0;

    for (i = 0; i < ngx_astro_slow.n; i++) {

        pg = ngx_astro_slow.pg[i];

        if (ngx_current_msec - ngx_astro_slow.used[i]
            >= ngx_astro.conf->slow_idle)
        {
            ngx_astro_pg_close(pg);
        }

        some += pg->state == ngx_astro_pg_up;
    }

    if (some) {
        ngx_add_timer(&ngx_astro_slow.idle,
                      ngx_max(ngx_astro.conf->slow_idle / 2, 100));
    }
}
