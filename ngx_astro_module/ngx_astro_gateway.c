
/*
 * Copyright (C) The Astro authors
 *
 * A lease is opened when PostgreSQL is first reached, renewed every second and
 * whenever an interval was closed, and lost only when the billing worker
 * found it silent for seconds and said so (status 410): then everybody here
 * enters the next lease anew.  While the database is away nothing is
 * lost: the clock runs on, closings wait, and the first renewal afterwards
 * proves the whole time.
 *
 * A renewal also reads, in slices, the version of each session that has a party
 * here, so that an event that Redis or a ring dropped is found within
 * seconds.
 */

#include "ngx_astro_conn.h"
#include "ngx_astro_doubts.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_hello.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_whereabouts.h"


#define NGX_ASTRO_RENEW_MS    1000
#define NGX_ASTRO_SKEW_MS     500       /* of a lease's clock */
#define NGX_ASTRO_SLICES      5
#define NGX_ASTRO_WATCH_ALL   200       /* so many are read every second */
#define NGX_ASTRO_RENEW_MAX   4096      /* sessions or closings a renewal */


typedef struct {
    ngx_queue_t    link;
    uint64_t       session;
    uint64_t       interval;
    int64_t        life_ms;
    const char    *reason;
    ngx_uint_t     sent;
} ngx_astro_closing_t;


static void ngx_astro_gateway_connected(void);
static void ngx_astro_gateway_tick(ngx_event_t *ev);
static void ngx_astro_gateway_posted(ngx_event_t *ev);
static void ngx_astro_gateway_open(void);
static void ngx_astro_gateway_opened(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_gateway_renew(void);
static void ngx_astro_gateway_renewed(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_gateway_lost(void);
static void ngx_astro_gateway_left(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


static struct {
    uint64_t      id;
    int64_t       started_ms;       /* timeline */
    int64_t       born_ms;          /* boot clock, life 0 */
    int64_t       asked_ms;         /* when the lease was asked for */
    ngx_queue_t   closings;
    ngx_event_t   timer;
    ngx_event_t   post;
    unsigned      opening:1;
    unsigned      renewing:1;
    unsigned      again:1;          /* closings came while renewing */
    unsigned      leaving:1;
} ngx_astro_gw;


ngx_int_t
ngx_astro_gateway_init(void)
{
    ngx_queue_init(&ngx_astro_gw.closings);

    ngx_astro_event_init(&ngx_astro_gw.timer, ngx_astro_gateway_tick);
    ngx_astro_event_init(&ngx_astro_gw.post, ngx_astro_gateway_posted);
    ngx_astro_gw.timer.cancelable = 1;

    /* workers that started together need not come together for ever */

    ngx_add_timer(&ngx_astro_gw.timer, ngx_random() % NGX_ASTRO_RENEW_MS + 1);

    ngx_astro_pg_on_connect(ngx_astro.pg_lease, ngx_astro_gateway_connected);

    return NGX_OK;
}


uint64_t
ngx_astro_gateway_id(void)
{
    return ngx_astro_gw.id;
}


int64_t
ngx_astro_life_ms(void)
{
    return ngx_astro_boot_ms() - ngx_astro_gw.born_ms;
}


int64_t
ngx_astro_life_of(int64_t timeline_ms)
{
    return timeline_ms - ngx_astro_gw.started_ms;
}


int64_t
ngx_astro_life_at(int64_t boot_ms)
{
    return ngx_max(boot_ms - ngx_astro_gw.born_ms, 0);
}


int64_t
ngx_astro_timeline_of(int64_t life_ms)
{
    return ngx_astro_gw.started_ms + life_ms;
}


void
ngx_astro_gateway_close_interval(uint64_t session, uint64_t interval,
    int64_t life_ms, const char *reason)
{
    ngx_astro_closing_t  *cl;

    cl = ngx_alloc(sizeof(ngx_astro_closing_t), ngx_astro.log);

    if (cl == NULL) {
        /* the interval ends with the lease: in the client's disfavour by no
         * more than the silence a tick leaves out */
        return;
    }

    cl->session = session;
    cl->interval = interval;
    cl->life_ms = life_ms;
    cl->reason = reason;
    cl->sent = 0;

    ngx_queue_insert_tail(&ngx_astro_gw.closings, &cl->link);

    if (!ngx_astro_gw.post.posted) {
        ngx_post_event(&ngx_astro_gw.post, &ngx_posted_events);
    }
}


ngx_uint_t
ngx_astro_gateway_closing(uint64_t interval)
{
    ngx_queue_t          *q;
    ngx_astro_closing_t  *cl;

    for (q = ngx_queue_head(&ngx_astro_gw.closings);
         q != ngx_queue_sentinel(&ngx_astro_gw.closings);
         q = ngx_queue_next(q))
    {
        cl = ngx_queue_data(q, ngx_astro_closing_t, link);

        if (cl->interval == interval) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_astro_gateway_connected(void)
{
    if (ngx_astro_gw.id == 0) {
        ngx_astro_gateway_open();

    } else {
        ngx_astro_gateway_renew();
    }
}


static void
ngx_astro_gateway_tick(ngx_event_t *ev)
{
    ngx_add_timer(ev, NGX_ASTRO_RENEW_MS);

    if (ngx_astro_gw.id == 0) {
        ngx_astro_gateway_open();

    } else {
        ngx_astro_gateway_renew();
    }
}


static void
ngx_astro_gateway_posted(ngx_event_t *ev)
{
    if (ngx_astro_gw.renewing) {
        ngx_astro_gw.again = 1;
        return;
    }

    ngx_astro_gateway_renew();
}


static void
ngx_astro_gateway_open(void)
{
    char         node[256], pid[NGX_INT_T_LEN + 1], silence[NGX_INT_T_LEN + 1];
    const char  *values[3];

    /* not before the connection is up: the call must not wait in a queue */

    if (ngx_astro_gw.opening || ngx_astro_gw.leaving
        || !ngx_astro_pg_is_up(ngx_astro.pg_lease))
    {
        return;
    }

    *ngx_snprintf((u_char *) node, sizeof(node) - 1, "%V",
                  &ngx_astro.conf->node) = '\0';
    *ngx_sprintf((u_char *) pid, "%P", ngx_pid) = '\0';
    *ngx_sprintf((u_char *) silence, "%M", ngx_astro.conf->live_silence) =
        '\0';

    values[0] = node;
    values[1] = pid;
    values[2] = silence;

    /*
     * Life starts before the database reads its clock, so this gateway's
     * timeline is late by at most that one way.
     */

    ngx_astro_gw.asked_ms = ngx_astro_boot_ms();

    if (ngx_astro_pg_call(ngx_astro.pg_lease, &ngx_astro_sql_gateway_open,
                          values, ngx_astro_gateway_opened, NULL)
        == NGX_OK)
    {
        ngx_astro_gw.opening = 1;
    }
}


static void
ngx_astro_gateway_opened(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_gw.opening = 0;

    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1) {
        /* a lease that was opened unheard is never renewed: it is reaped */
        return;
    }

    if (ngx_astro_boot_ms() - ngx_astro_gw.asked_ms > NGX_ASTRO_SKEW_MS) {

        /* a slow answer: life began too long before the database's clock */

        ngx_log_error(NGX_LOG_WARN, ngx_astro.log, 0,
                      "astro: gateway lease took too long, asking again");
        return;
    }

    ngx_astro_gw.id = ngx_astro_pg_int(res, 0, 0);
    ngx_astro_gw.started_ms = ngx_astro_pg_int(res, 0, 1);
    ngx_astro_gw.born_ms = ngx_astro_gw.asked_ms;

    ngx_astro_count(LEASES);

    ngx_log_error(NGX_LOG_INFO, ngx_astro.log, 0,
                  "astro: gateway lease %uL opened", ngx_astro_gw.id);

    ngx_astro_whereabouts_restore();
    ngx_astro_sessions_rejoin_all();
    ngx_astro_hello_resume();
}


static void
ngx_astro_gateway_renew(void)
{
    int64_t               life;
    u_char               *p, *buf, *ids, *lives, *reasons, *sessions, *vers;
    size_t                size;
    ngx_uint_t            nclosings, nsessions, i;
    ngx_queue_t          *q;
    const char           *values[7];
    ngx_astro_closing_t  *cl;
    char                  gateway[NGX_INT64_LEN + 1], now[NGX_INT64_LEN + 1];

    if (ngx_astro_gw.id == 0 || ngx_astro_gw.renewing
        || ngx_astro_gw.leaving)
    {
        return;
    }

    ngx_astro_sessions_due();

    nclosings = 0;

    for (q = ngx_queue_head(&ngx_astro_gw.closings);
         q != ngx_queue_sentinel(&ngx_astro_gw.closings)
         && nclosings < NGX_ASTRO_RENEW_MAX;
         q = ngx_queue_next(q))
    {
        nclosings++;
    }

    /* all of them, or the next slice of many */

    nsessions = ngx_astro_sessions_count();

    if (nsessions > NGX_ASTRO_WATCH_ALL) {
        nsessions = ngx_max(nsessions / NGX_ASTRO_SLICES + 1,
                            NGX_ASTRO_WATCH_ALL);
        nsessions = ngx_min(nsessions, NGX_ASTRO_RENEW_MAX);
    }

    size = 5 * 4 + (2 * nclosings + 2 * nsessions) * (NGX_INT64_LEN + 1)
           + nclosings * 16;

    buf = ngx_alloc(size, ngx_astro.log);
    if (buf == NULL) {
        return;
    }

    life = ngx_astro_life_ms();

    ids = buf;
    lives = ids + 4 + nclosings * (NGX_INT64_LEN + 1);
    reasons = lives + 4 + nclosings * (NGX_INT64_LEN + 1);
    sessions = reasons + 4 + nclosings * 16;
    vers = sessions + 4 + nsessions * (NGX_INT64_LEN + 1);

    p = ids;
    *p++ = '{';

    for (i = 0, q = ngx_queue_head(&ngx_astro_gw.closings);
         i < nclosings;
         i++, q = ngx_queue_next(q))
    {
        cl = ngx_queue_data(q, ngx_astro_closing_t, link);
        cl->sent = 1;
        p = ngx_sprintf(p, "%s%uL", i ? "," : "", cl->interval);
    }

    *p++ = '}'; *p = '\0';

    p = lives;
    *p++ = '{';

    for (i = 0, q = ngx_queue_head(&ngx_astro_gw.closings);
         i < nclosings;
         i++, q = ngx_queue_next(q))
    {
        cl = ngx_queue_data(q, ngx_astro_closing_t, link);
        p = ngx_sprintf(p, "%s%L", i ? "," : "", cl->life_ms);
    }

    *p++ = '}'; *p = '\0';

    p = reasons;
    *p++ = '{';

    for (i = 0, q = ngx_queue_head(&ngx_astro_gw.closings);
         i < nclosings;
         i++, q = ngx_queue_next(q))
    {
        cl = ngx_queue_data(q, ngx_astro_closing_t, link);
        p = ngx_sprintf(p, "%s%s", i ? "," : "", cl->reason);
    }

    *p++ = '}'; *p = '\0';

    ngx_astro_sessions_watch(nsessions, sessions, vers);

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gw.id) = '\0';
    *ngx_sprintf((u_char *) now, "%L", life) = '\0';

    values[0] = gateway;
    values[1] = now;
    values[2] = (char *) ids;
    values[3] = (char *) lives;
    values[4] = (char *) reasons;
    values[5] = (char *) sessions;
    values[6] = (char *) vers;

    if (ngx_astro_pg_call(ngx_astro.pg_lease, &ngx_astro_sql_gateway_renew,
                          values, ngx_astro_gateway_renewed, NULL)
        == NGX_OK)
    {
        ngx_astro_gw.renewing = 1;
    }

    ngx_free(buf);
}


static void
ngx_astro_gateway_renewed(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    int                   i, n;
    ngx_queue_t          *q, *next;
    ngx_astro_closing_t  *cl;

    ngx_astro_gw.renewing = 0;

    if (rc != NGX_ASTRO_PG_OK) {

        /* unknown: closing what is closed is nothing, so all go again */

        for (q = ngx_queue_head(&ngx_astro_gw.closings);
             q != ngx_queue_sentinel(&ngx_astro_gw.closings);
             q = ngx_queue_next(q))
        {
            cl = ngx_queue_data(q, ngx_astro_closing_t, link);
            cl->sent = 0;
        }

        return;
    }

    n = PQntuples(res);

    if (n > 0 && ngx_astro_pg_int(res, 0, NGX_ASTRO_O_STATUS) == 410) {
        ngx_astro_gateway_lost();
        return;
    }

    for (i = 0; i < n; i++) {
        ngx_astro_sessions_outcome(res, i);
    }

    for (q = ngx_queue_head(&ngx_astro_gw.closings);
         q != ngx_queue_sentinel(&ngx_astro_gw.closings);
         q = next)
    {
        next = ngx_queue_next(q);
        cl = ngx_queue_data(q, ngx_astro_closing_t, link);

        if (cl->sent) {
            ngx_astro_redis_nudge(cl->session);
            ngx_queue_remove(&cl->link);
            ngx_free(cl);
        }
    }

    /* whoever should be in a session and is not, for whatever reason */

    ngx_astro_sessions_rejoin_all();
    ngx_astro_doubts_ask();

    if (ngx_astro_gw.again) {
        ngx_astro_gw.again = 0;
        ngx_astro_gateway_renew();
    }
}


static void
ngx_astro_gateway_lost(void)
{
    ngx_queue_t          *q;
    ngx_astro_closing_t  *cl;

    ngx_log_error(NGX_LOG_WARN, ngx_astro.log, 0,
                  "astro: gateway lease %uL was given up by the billing "
                  "worker, opening another", ngx_astro_gw.id);

    ngx_astro_gw.id = 0;

    /* whoever gave it up has closed its intervals */

    while (!ngx_queue_empty(&ngx_astro_gw.closings)) {
        q = ngx_queue_head(&ngx_astro_gw.closings);
        ngx_queue_remove(q);
        cl = ngx_queue_data(q, ngx_astro_closing_t, link);
        ngx_free(cl);
    }

    ngx_astro_sessions_lease_lost();
    ngx_astro_gateway_open();
}


/*
 * The call keeps the worker alive until it is answered; what is closed goes
 * before it on the same connection.
 */

void
ngx_astro_gateway_leave(void)
{
    char         gateway[NGX_INT64_LEN + 1], now[NGX_INT64_LEN + 1];
    const char  *values[2];

    if (ngx_astro_gw.id == 0 || ngx_astro_gw.leaving) {
        return;
    }

    ngx_astro_gw.renewing = 0;
    ngx_astro_gateway_renew();
    ngx_astro_gw.leaving = 1;

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gw.id) = '\0';
    *ngx_sprintf((u_char *) now, "%L", ngx_astro_life_ms()) = '\0';

    values[0] = gateway;
    values[1] = now;

    (void) ngx_astro_pg_call(ngx_astro.pg_lease, &ngx_astro_sql_gateway_close,
                             values, ngx_astro_gateway_left, NULL);
}


static void
ngx_astro_gateway_left(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    int  i;

    if (rc == NGX_ASTRO_PG_OK) {
        for (i = 0; i < PQntuples(res); i++) {
            ngx_astro_sessions_outcome(res, i);
        }
    }
}
