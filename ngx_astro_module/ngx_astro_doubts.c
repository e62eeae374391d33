
/*
 * Copyright (C) The Astro authors
 *
 * See the header.
 *
 * An open interval is known if a client here has it, if it is being closed, or
 * if a join of its session is under way, whose answer may bring it.  The
 * question goes over the connection of the lease, after the renewal before it:
 * what that one closed is not among the answers.
 */

#include "ngx_astro_doubts.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_sessions_private.h"
#include "ngx_astro_sql.h"


/*
 * Answers, a second apart: by then the server has given up a statement that it
 * was still at when the connection broke (statement_timeout, 10 s).
 */
#define NGX_ASTRO_DOUBTS_ASKED  15
#define NGX_ASTRO_DOUBTS_MAX    64      /* sessions in a question */


typedef struct {
    ngx_queue_t    link;
    uint64_t       session;
    ngx_uint_t     left;
    ngx_uint_t     asked;               /* in the question under way */
} ngx_astro_doubt_t;


static void ngx_astro_doubts_told(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_doubts_one(PGresult *res, int row);
static ngx_uint_t ngx_astro_doubts_flying(uint64_t session);
static void ngx_astro_doubts_drop(ngx_astro_doubt_t *d);


static struct {
    ngx_queue_t    doubts;
    ngx_queue_t    calls;
    uint64_t       gateway;             /* whose intervals are in doubt */
    ngx_uint_t     asking;
} ngx_astro_doubts;


void
ngx_astro_doubts_init(void)
{
    ngx_queue_init(&ngx_astro_doubts.doubts);
    ngx_queue_init(&ngx_astro_doubts.calls);
}


void
ngx_astro_doubts_began(ngx_astro_call_t *call)
{
    ngx_queue_insert_tail(&ngx_astro_doubts.calls, &call->link);
}


void
ngx_astro_doubts_ended(ngx_astro_call_t *call)
{
    ngx_queue_remove(&call->link);
}


void
ngx_astro_doubts_add(uint64_t session)
{
    ngx_queue_t        *q;
    ngx_astro_doubt_t  *d;

    for (q = ngx_queue_head(&ngx_astro_doubts.doubts);
         q != ngx_queue_sentinel(&ngx_astro_doubts.doubts);
         q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_astro_doubt_t, link);

        if (d->session == session) {
            d->left = NGX_ASTRO_DOUBTS_ASKED;
            return;
        }
    }

    d = ngx_calloc(sizeof(ngx_astro_doubt_t), ngx_astro.log);
    if (d == NULL) {
        return;
    }

    d->session = session;
    d->left = NGX_ASTRO_DOUBTS_ASKED;

    ngx_queue_insert_tail(&ngx_astro_doubts.doubts, &d->link);
}


void
ngx_astro_doubts_ask(void)
{
    char                gateway[NGX_INT64_LEN + 1];
    u_char             *p;
    u_char              ids[NGX_ASTRO_DOUBTS_MAX * (NGX_INT64_LEN + 1) + 3];
    ngx_uint_t          n;
    const char         *values[2];
    ngx_queue_t        *q;
    ngx_astro_doubt_t  *d;

    if (ngx_queue_empty(&ngx_astro_doubts.doubts) || ngx_astro_doubts.asking) {
        return;
    }

    p = ids;
    *p++ = '{';

    for (n = 0, q = ngx_queue_head(&ngx_astro_doubts.doubts);
         n < NGX_ASTRO_DOUBTS_MAX
         && q != ngx_queue_sentinel(&ngx_astro_doubts.doubts);
         n++, q = ngx_queue_next(q))
    {
        d = ngx_queue_data(q, ngx_astro_doubt_t, link);
        d->asked = 1;
        p = ngx_sprintf(p, "%s%uL", n ? "," : "", d->session);
    }

    *p++ = '}'; *p = '\0';

    ngx_astro_doubts.gateway = ngx_astro_gateway_id();
    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_doubts.gateway) = '\0';

    values[0] = gateway;
    values[1] = (char *) ids;

    if (ngx_astro_pg_call(ngx_astro.pg_lease, &ngx_astro_sql_gateway_intervals,
                          values, ngx_astro_doubts_told, NULL)
        == NGX_OK)
    {
        ngx_astro_doubts.asking = 1;
    }
}


static void
ngx_astro_doubts_told(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    int                 i;
    ngx_uint_t          same;
    ngx_queue_t        *q, *next;
    ngx_astro_doubt_t  *d;

    ngx_astro_doubts.asking = 0;

    /* the intervals of a lease that is gone are closed with it */

    same = (ngx_astro_doubts.gateway == ngx_astro_gateway_id());

    if (rc == NGX_ASTRO_PG_OK && same) {
        for (i = 0; i < PQntuples(res); i++) {
            ngx_astro_doubts_one(res, i);
        }
    }

    for (q = ngx_queue_head(&ngx_astro_doubts.doubts);
         q != ngx_queue_sentinel(&ngx_astro_doubts.doubts);
         q = next)
    {
        next = ngx_queue_next(q);
        d = ngx_queue_data(q, ngx_astro_doubt_t, link);

        if (d->asked && same && rc != NGX_ASTRO_PG_LOST
            && !ngx_astro_doubts_flying(d->session) && --d->left == 0)
        {
            ngx_astro_doubts_drop(d);
            continue;
        }

        d->asked = 0;
    }
}


static void
ngx_astro_doubts_one(PGresult *res, int row)
{
    int64_t               life;
    uint64_t              session, interval;
    ngx_queue_t          *q;
    ngx_astro_join_t     *j;
    ngx_astro_session_t  *s;

    session = ngx_astro_pg_int(res, row, 0);
    interval = ngx_astro_pg_int(res, row, 1);
    life = ngx_astro_pg_int(res, row, 2);

    if (ngx_astro_doubts_flying(session)
        || ngx_astro_gateway_closing(interval))
    {
        return;
    }

    s = ngx_astro_sessions_find(session);

    if (s) {
        for (q = ngx_queue_head(&s->joins);
             q != ngx_queue_sentinel(&s->joins);
             q = ngx_queue_next(q))
        {
            j = ngx_queue_data(q, ngx_astro_join_t, session_link);

            if (j->interval == interval) {
                return;
            }
        }
    }

    ngx_log_error(NGX_LOG_INFO, ngx_astro.log, 0,
                  "astro: session %uL was joined unheard, closed", session);

    /* nobody was told that it is open: not a moment more than was billed */

    ngx_astro_gateway_close_interval(session, interval, life, "unheard");
}


static ngx_uint_t
ngx_astro_doubts_flying(uint64_t session)
{
    ngx_queue_t       *q;
    ngx_astro_call_t  *call;

    for (q = ngx_queue_head(&ngx_astro_doubts.calls);
         q != ngx_queue_sentinel(&ngx_astro_doubts.calls);
         q = ngx_queue_next(q))
    {
        call = ngx_queue_data(q, ngx_astro_call_t, link);

        if (call->arg == session) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_astro_doubts_drop(ngx_astro_doubt_t *d)
{
    ngx_queue_remove(&d->link);
    ngx_free(d);
}
