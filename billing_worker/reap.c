
/*
 * Copyright (C) The Astro authors
 *
 * Dead gateways.  A gateway renews its lease each second; one whose life_ms
 * stands still for 5 s of this worker's clock, while the database answered all
 * the time, is dead, and its lease is closed.  Neither the database's clock nor
 * the gateway's has a say.  Every worker watches; closing is conditional on
 * life_ms, so it happens once, and not to one that has just come back.
 *
 * Closing locks the gateway, then its sessions, any of which may be locked by
 * somebody for long.  So it has a connection of its own, where it keeps nobody
 * waiting; one gateway at a time, and a stuck one lets the others go first.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "point.h"
#include "worker.h"


#define BILLING_REAP_POLL_MS  1000
#define BILLING_REAP_DEAD_MS  5000

/*
 * A longer pause between two answers may be the database's, or ours: the
 * gateways could not renew, or we could not see it.  All of them start anew.
 */
#define BILLING_REAP_GAP_MS   2500

/* what is locked longer is tried again after 1, 2, ... 32 s */
#define BILLING_REAP_LOCK     "500"
#define BILLING_REAP_RETRY    1000
#define BILLING_REAP_DOUBLES  5

/* all of it may take so long, and each time twice as long: it may be much */
#define BILLING_REAP_MS       2000


struct billing_gateway_s {
    int64_t    id;
    int64_t    life_ms;
    int64_t    since;           /* life_ms has stood still */
    int64_t    again;           /* not to be tried before */
    unsigned   tries;
    unsigned   seen:1;
};


static void billing_reap_timer(uv_timer_t *timer);
static void billing_reap_polled(void *data, const billing_pg_reply_t *reply);
static void billing_reap_see(billing_worker_t *w, int64_t id,
    int64_t life_ms, int64_t now);
static void billing_reap_next(billing_worker_t *w);
static void billing_reap_one(billing_worker_t *w, billing_gateway_t *g);
static void billing_reap_failed(billing_worker_t *w,
    const billing_pg_reply_t *reply);
static void billing_reap_done(void *data, const billing_pg_reply_t *reply);


int
billing_reap_start(billing_worker_t *w)
{
    if (uv_timer_init(w->loop, &w->reap.timer) != 0) {
        return BILLING_ERROR;
    }

    w->reap.timer.data = w;

    return uv_timer_start(&w->reap.timer, billing_reap_timer,
                          BILLING_REAP_POLL_MS, BILLING_REAP_POLL_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_reap_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->reap.timer, NULL);
    free(w->reap.gateways);

    w->reap.gateways = NULL;
    w->reap.n = 0;
    w->reap.size = 0;
}


static void
billing_reap_timer(uv_timer_t *timer)
{
    billing_worker_t    *w;
    billing_pg_query_t   q;

    w = timer->data;

    if (w->reap.polling || w->stopping) {
        return;
    }

    q.statement = "gateways";
    q.nvalues = 0;

    if (billing_pg_call(&w->lease, &q, 1, billing_reap_polled, w)
        == BILLING_OK)
    {
        w->reap.polling = 1;
    }
}


static void
billing_reap_polled(void *data, const billing_pg_reply_t *reply)
{
    int                 n, row;
    size_t              i;
    int64_t             now;
    billing_worker_t   *w;
    billing_gateway_t  *g;

    w = data;
    w->reap.polling = 0;

    if (reply->status != BILLING_PG_DONE || w->stopping) {
        return;
    }

    now = billing_clock();

    for (i = 0; i < w->reap.n; i++) {
        w->reap.gateways[i].seen = 0;

        if (now - w->reap.polled > BILLING_REAP_GAP_MS) {
            w->reap.gateways[i].since = now;
        }
    }

    w->reap.polled = now;
    n = PQntuples(reply->results[0]);

    for (row = 0; row < n; row++) {
        billing_reap_see(w, billing_pg_int(reply->results[0], row, 0, 0),
                         billing_pg_int(reply->results[0], row, 1, 0), now);
    }

    for (i = 0; i < w->reap.n; /* void */ ) {
        g = &w->reap.gateways[i];

        if (!g->seen) {
            *g = w->reap.gateways[--w->reap.n];
            continue;
        }

        i++;
    }

    billing_reap_next(w);
}


static void
billing_reap_see(billing_worker_t *w, int64_t id, int64_t life_ms,
    int64_t now)
{
    size_t              i, size;
    billing_gateway_t  *g;

    for (i = 0; i < w->reap.n; i++) {
        g = &w->reap.gateways[i];

        if (g->id != id) {
            continue;
        }

        g->seen = 1;

        if (g->life_ms != life_ms) {
            g->life_ms = life_ms;
            g->since = now;
            g->again = now;
            g->tries = 0;
        }

        return;
    }

    if (w->reap.n == w->reap.size) {
        size = w->reap.size ? w->reap.size * 2 : 16;

        g = realloc(w->reap.gateways, size * sizeof(billing_gateway_t));
        if (g == NULL) {
            return;
        }

        w->reap.gateways = g;
        w->reap.size = size;
    }

    g = &w->reap.gateways[w->reap.n++];
    g->id = id;
    g->life_ms = life_ms;
    g->since = now;
    g->again = now;
    g->tries = 0;
    g->seen = 1;
}


/* The one whose turn it is for longest. */

static void
billing_reap_next(billing_worker_t *w)
{
    size_t              i;
    int64_t             now;
    billing_gateway_t  *g, *next;

    if (w->reap.busy || w->stopping) {
        return;
    }

    now = billing_clock();
    next = NULL;

    for (i = 0; i < w->reap.n; i++) {
        g = &w->reap.gateways[i];

        if (now - g->since >= BILLING_REAP_DEAD_MS && g->again <= now
            && (next == NULL || g->again < next->again))
        {
            next = g;
        }
    }

    if (next != NULL) {
        billing_reap_one(w, next);
    }
}


static void
billing_reap_one(billing_worker_t *w, billing_gateway_t *g)
{
    char                id[24], life[24], limit[24];
    unsigned            doubles;
    billing_pg_query_t  q[2];

    doubles = (g->tries < BILLING_REAP_DOUBLES) ? g->tries
                                                : BILLING_REAP_DOUBLES;

    snprintf(id, sizeof(id), "%" PRId64, g->id);
    snprintf(life, sizeof(life), "%" PRId64, g->life_ms);

    snprintf(limit, sizeof(limit), "%d", BILLING_REAP_MS << doubles);

    q[0].statement = "limit";
    q[0].nvalues = 2;
    q[0].values[0] = BILLING_REAP_LOCK;
    q[0].values[1] = limit;

    q[1].statement = "reap";
    q[1].nvalues = 2;
    q[1].values[0] = id;
    q[1].values[1] = life;

    if (billing_pg_call(&w->reaper, q, 2, billing_reap_done, w)
        != BILLING_OK)
    {
        return;
    }

    BILLING_POINT("reap-sent");

    w->reap.busy = 1;
    w->reap.closing = g->id;

    /* done, it is in no poll any more; if not, it is dead as before */

    g->again = billing_clock() + ((int64_t) BILLING_REAP_RETRY << doubles);

    if (g->tries++ == 0) {
        billing_log(BILLING_LOG_WARN, "gateway is dead, closing its lease",
                    billing_log_int("gateway", g->id),
                    billing_log_int("life_ms", g->life_ms));
    }
}


static void
billing_reap_failed(billing_worker_t *w, const billing_pg_reply_t *reply)
{
    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot close a gateway's lease",
                    billing_log_int("gateway", w->reap.closing),
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    if (!w->stopping) {
        billing_reap_next(w);
    }
}


static void
billing_reap_done(void *data, const billing_pg_reply_t *reply)
{
    int                 i;
    int64_t             id;
    PGresult           *res;
    billing_worker_t   *w;
    billing_session_t  *one;

    w = data;
    w->reap.busy = 0;

    if (reply->status != BILLING_PG_DONE || reply->results[1] == NULL) {
        billing_reap_failed(w, reply);
        return;
    }

    BILLING_POINT("reaped");

    billing_count(REAPED, 1);

    res = reply->results[1];

    for (i = 0; i < PQntuples(res); i++) {
        id = billing_pg_int(res, i, BILLING_REAP_ID, 0);

        billing_events_reaped(w, res, i);

        one = billing_sessions_find(&w->sessions, id);

        if (one != NULL) {
            billing_sessions_look(&w->sessions, one, billing_clock());
        }
    }

    billing_ticker_run(w);
    billing_reap_next(w);
}
