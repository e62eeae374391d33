
/*
 * Copyright (C) The Astro authors
 *
 * Taking part in a session: joining opens an interval in the database,
 * leaving, silence or the end of the money closes it.
 *
 * Whoever should be in a session and has no interval (the lease was lost, an
 * answer was, the client was silent and is heard again) joins again by itself,
 * with the next renewal at the latest; the client does not notice.
 */

#include "ngx_astro_doubts.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_protocol.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_session_acts.h"
#include "ngx_astro_sessions_private.h"


#define NGX_ASTRO_JOIN_STATES                                                 \
    (astro_session_rule(ASTRO_SESSION_JOIN)->from)


static void ngx_astro_sessions_joined_handler(void *data,
    ngx_astro_pg_rc_e rc, PGresult *res);
static void ngx_astro_sessions_refuse(ngx_astro_conn_t *conn, int64_t id,
    const char *message);
static ngx_int_t ngx_astro_sessions_add(ngx_astro_conn_t *conn, PGresult *res);
static void ngx_astro_joins_lease_lost(ngx_astro_session_t *s);


ngx_astro_join_t *
ngx_astro_sessions_joined(ngx_astro_conn_t *conn, uint64_t session)
{
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    for (q = ngx_queue_head(&conn->joins);
         q != ngx_queue_sentinel(&conn->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, conn_link);

        if (j->session->node.key == session) {
            return j;
        }
    }

    return NULL;
}


ngx_astro_join_t *
ngx_astro_sessions_joined_conv(ngx_astro_conn_t *conn, uint64_t conv)
{
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    for (q = ngx_queue_head(&conn->joins);
         q != ngx_queue_sentinel(&conn->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, conn_link);

        if (j->session->conv == conv) {
            return j;
        }
    }

    return NULL;
}


void
ngx_astro_sessions_join(ngx_astro_conn_t *conn, uint64_t session, int64_t id)
{
    char               user[24], sid[24], gateway[24], life[24];
    const char        *values[5];
    ngx_astro_join_t  *j;
    ngx_astro_call_t  *call;

    call = ngx_astro_gateway_id() ? ngx_astro_call_create(conn, id, session)
                                  : NULL;

    if (call == NULL) {
        ngx_astro_sessions_refuse(conn, id, "no lease yet, try again");
        return;
    }

    *ngx_sprintf((u_char *) user, "%uL", conn->user) = '\0';
    *ngx_sprintf((u_char *) sid, "%uL", session) = '\0';
    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';
    *ngx_sprintf((u_char *) life, "%L", ngx_astro_life_ms()) = '\0';

    values[0] = user;
    values[1] = sid;
    values[2] = gateway;
    values[3] = life;
    values[4] = astro_session_rule(ASTRO_SESSION_JOIN)->from_sql;

    ngx_astro_doubts_began(call);

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_session_join,
                          values, ngx_astro_sessions_joined_handler, call)
        != NGX_OK)
    {
        ngx_astro_doubts_ended(call);
        ngx_astro_call_free(call);
        ngx_astro_sessions_refuse(conn, id, "the database is away, try again");
        return;
    }

    j = ngx_astro_sessions_joined(conn, session);

    if (j) {
        j->joining = 1;
        j->silent = 0;
    }
}


/* What the client did not ask for it need not hear of. */

static void
ngx_astro_sessions_refuse(ngx_astro_conn_t *conn, int64_t id,
    const char *message)
{
    if (id) {
        ngx_astro_reply_error(conn, id, NGX_ASTRO_E_UNAVAILABLE, message,
                              NULL);
    }
}


static void
ngx_astro_sessions_joined_handler(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res)
{
    ngx_astro_call_t  *call = data;

    uint64_t           interval;
    ngx_str_t          body;
    ngx_astro_join_t  *j;
    ngx_astro_conn_t  *conn;

    ngx_astro_doubts_ended(call);

    conn = call->conn;
    j = ngx_astro_sessions_joined(conn, call->arg);

    if (j) {
        j->joining = 0;
    }

    if (rc == NGX_ASTRO_PG_REFUSED) {
        if (call->id) {
            ngx_astro_reply_refused(conn, call->id, res);
        }

        ngx_astro_call_free(call);
        return;
    }

    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1
        || call->gateway != ngx_astro_gateway_id())
    {
        /*
         * If it was committed, the interval is looked for and closed, or has
         * ended with the lease.  The next renewal joins again.
         */

        if (rc == NGX_ASTRO_PG_LOST
            && call->gateway == ngx_astro_gateway_id())
        {
            ngx_astro_doubts_add(call->arg);
        }

        ngx_astro_sessions_refuse(conn, call->id,
                                  "no answer from the database, try again");
        ngx_astro_call_free(call);
        return;
    }

    body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);

    if (ngx_astro_pg_int(res, 0, NGX_ASTRO_O_STATUS) >= 300) {
        if (call->id) {
            ngx_astro_reply_sql_error(conn, call->id, &body);
        }

        ngx_astro_call_free(call);
        return;
    }

    interval = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_INTERVAL);

    if ((!ngx_astro_conn_open(conn)
         || ngx_astro_sessions_add(conn, res) != NGX_OK)
        && interval)
    {
        ngx_astro_gateway_close_interval(call->arg, interval,
                                         ngx_astro_life_ms(), "left");
    }

    ngx_astro_act_joined(call, &body);
    ngx_astro_sessions_outcome(res, 0);

    ngx_astro_trace_message(conn, call->id, NULL);
    ngx_astro_redis_nudge(call->arg);
    ngx_astro_trace_end();

    ngx_astro_call_free(call);
}


static ngx_int_t
ngx_astro_sessions_add(ngx_astro_conn_t *conn, PGresult *res)
{
    ngx_astro_join_t     *j;
    ngx_astro_news_t      news;
    ngx_astro_session_t  *s;

    if (ngx_astro_sessions_news(&news, res, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    j = ngx_astro_sessions_joined(conn, news.session);

    if (j == NULL) {
        s = ngx_astro_sessions_find(news.session);

        if (s == NULL) {
            s = ngx_astro_sessions_create(&news);
            if (s == NULL) {
                return NGX_ERROR;
            }

        } else if (s->state == ASTRO_SESSION_ENDED) {
            /* the news of the end has overtaken our answer */
            return NGX_ERROR;
        }

        j = ngx_calloc(sizeof(ngx_astro_join_t), ngx_astro.log);

        if (j == NULL) {
            if (ngx_queue_empty(&s->joins)) {
                ngx_astro_sessions_drop(s);
            }

            return NGX_ERROR;
        }

        j->conn = conn;
        j->session = s;

        ngx_queue_insert_tail(&conn->joins, &j->conn_link);
        ngx_queue_insert_tail(&s->joins, &j->session_link);

        ngx_astro_count(JOINED);

    } else if (j->interval) {

        /* joined twice: the older interval gives way to the newer */

        ngx_astro_join_close(j, ngx_astro_life_ms(), "rejoined");
    }

    j->interval = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_INTERVAL);

    if (j->session->unpaid) {
        /* opened after the money was spent */
        ngx_astro_join_close(j, ngx_astro_life_ms(), "unpaid");

    } else if (j->session->state == ASTRO_SESSION_PAUSED) {
        /* the news of the pause has overtaken our answer */
        ngx_astro_join_close(j, ngx_astro_sessions_pause_life(j->session),
                             "paused");
    }

    ngx_astro_conn_beat(conn);

    return NGX_OK;
}


void
ngx_astro_sessions_rejoin(ngx_astro_session_t *s)
{
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    if (!(astro_session_bit(s->state) & NGX_ASTRO_JOIN_STATES) || s->unpaid
        || s->state == ASTRO_SESSION_PAUSED)
    {
        return;
    }

    for (q = ngx_queue_head(&s->joins);
         q != ngx_queue_sentinel(&s->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, session_link);

        if (j->interval == 0 && !j->joining && !j->silent
            && ngx_astro_conn_open(j->conn))
        {
            ngx_astro_sessions_join(j->conn, s->node.key, 0);
        }
    }
}


/*
 * Nobody takes part from the instant of the pause on.  Also when we hear of it
 * as it is over: what was opened before, and is not closed in the database yet,
 * is closed; those here join again.
 */

void
ngx_astro_sessions_paused(ngx_astro_session_t *s)
{
    int64_t            life;
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    life = ngx_astro_sessions_pause_life(s);

    for (q = ngx_queue_head(&s->joins);
         q != ngx_queue_sentinel(&s->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, session_link);
        ngx_astro_join_close(j, life, "paused");
    }
}


int64_t
ngx_astro_sessions_pause_life(ngx_astro_session_t *s)
{
    int64_t  now, life;

    now = ngx_astro_life_ms();

    if (s->state != ASTRO_SESSION_PAUSED || s->since_ms == 0) {
        return now;
    }

    life = ngx_astro_life_of(s->since_ms);

    return ngx_max(ngx_min(life, now), 0);
}


void
ngx_astro_join_close(ngx_astro_join_t *j, int64_t life_ms, const char *reason)
{
    if (j->interval) {
        ngx_astro_gateway_close_interval(j->session->node.key, j->interval,
                                         life_ms, reason);
        j->interval = 0;
    }
}


void
ngx_astro_join_remove(ngx_astro_join_t *j, const char *reason)
{
    ngx_astro_session_t  *s;

    s = j->session;

    ngx_astro_join_close(j, ngx_astro_life_ms(), reason);

    if (j->typing.next) {
        ngx_astro_typing_end(j);
    }

    ngx_queue_remove(&j->conn_link);
    ngx_queue_remove(&j->session_link);
    ngx_free(j);

    ngx_astro_sub(JOINED, 1);

    if (ngx_queue_empty(&s->joins) && s->state != ASTRO_SESSION_ENDED) {
        ngx_astro_sessions_drop(s);
    }
}


void
ngx_astro_sessions_leave(ngx_astro_conn_t *conn)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&conn->joins)) {
        q = ngx_queue_head(&conn->joins);
        ngx_astro_join_remove(ngx_queue_data(q, ngx_astro_join_t, conn_link),
                              "left");
    }
}


void
ngx_astro_sessions_silent(ngx_astro_conn_t *conn, int64_t now)
{
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    if (now - conn->rx_ms < (int64_t) ngx_astro.conf->live_silence) {
        return;
    }

    for (q = ngx_queue_head(&conn->joins);
         q != ngx_queue_sentinel(&conn->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, conn_link);

        if (j->interval) {
            ngx_astro_join_close(j, ngx_astro_life_at(conn->rx_ms), "silent");
            j->silent = 1;
        }
    }
}


void
ngx_astro_sessions_heard(ngx_astro_conn_t *conn)
{
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    for (q = ngx_queue_head(&conn->joins);
         q != ngx_queue_sentinel(&conn->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, conn_link);

        if (j->silent && !j->joining) {
            ngx_astro_sessions_join(conn, j->session->node.key, 0);
        }
    }
}


/* the lease */

static void
ngx_astro_joins_lease_lost(ngx_astro_session_t *s)
{
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    for (q = ngx_queue_head(&s->joins);
         q != ngx_queue_sentinel(&s->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, session_link);
        j->interval = 0;
    }
}


void
ngx_astro_sessions_lease_lost(void)
{
    ngx_astro_sessions_each(ngx_astro_joins_lease_lost);
}


void
ngx_astro_sessions_rejoin_all(void)
{
    ngx_astro_sessions_each(ngx_astro_sessions_rejoin);
}
