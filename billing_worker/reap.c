
/*
 * Copyright (C) The Astro authors
 *
 * Dead gateways.  A gateway renews its lease each second; one whose life_ms
 * stands still for 5 s of this worker's clock, while the database answered all
 * the time, is dead, and its lease is closed.  Neither the database's clock nor
 * the gateway's has a say.  Every worker watches; closing is conditional on
 * life_ms, so it happens once, and not to one that has just come back.
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


struct billing_gateway_s {
    int64_t    id;
    int64_t    life_ms;
    int64_t    since;           /* life_ms has stood still */
    unsigned   seen:1;
};


static void billing_reap_timer(uv_timer_t *timer);
static void billing_reap_polled(void *data, const billing_pg_reply_t *reply);
static void billing_reap_see(billing_worker_t *w, int64_t id,
    int64_t life_ms, int64_t now);
static void billing_reap_one(billing_worker_t *w, billing_gateway_t *g);
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

        if (now - g->since >= BILLING_REAP_DEAD_MS) {
            billing_reap_one(w, g);
        }

        i++;
    }
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
    g->seen = 1;
}


static void
billing_reap_one(billing_worker_t *w, billing_gateway_t *g)
{
    char                id[24], life[24];
    billing_pg_query_t  q;

    snprintf(id, sizeof(id), "%" PRId64, g->id);
    snprintf(life, sizeof(life), "%" PRId64, g->life_ms);

    q.statement = "reap";
    q.nvalues = 2;
    q.values[0] = id;
    q.values[1] = life;

    if (billing_pg_call(&w->lease, &q, 1, billing_reap_done, w)
        != BILLING_OK)
    {
        return;
    }

    BILLING_POINT("reap-sent");

    /* if it fails it is found again: since stays as it is */

    billing_count(REAPED, 1);
    billing_log(BILLING_LOG_WARN, "gateway is dead, closing its lease",
                billing_log_int("gateway", g->id),
                billing_log_int("life_ms", g->life_ms));
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

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot close a gateway's lease",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    BILLING_POINT("reaped");

    res = reply->results[0];

    for (i = 0; i < PQntuples(res); i++) {
        id = billing_pg_int(res, i, BILLING_REAP_ID, 0);

        billing_events_reaped(w, res, i);

        one = billing_sessions_find(&w->sessions, id);

        if (one != NULL) {
            (void) billing_sessions_moved(&w->sessions, one,
                                          billing_clock());
        }
    }

    billing_ticker_run(w);
}
