
/*
 * Copyright (C) The Astro authors
 *
 * The inbox: see inbox.h.
 *
 * All that matters happens in billing.inbox_next(): it takes the event that has
 * waited longest and does what it says, in one transaction.  If we die before
 * or after its commit, or its answer is lost, the next call goes on with what
 * is left.  So there is nothing to remember here, and nothing to repeat.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "inbox.h"
#include "log.h"
#include "metrics.h"
#include "traces.h"


#define BILLING_INBOX_LOOK_MS  1000

/* the columns of billing.inbox_next() */
#define BILLING_INBOX_ID       0
#define BILLING_INBOX_VENDOR   1
#define BILLING_INBOX_EVENT    2
#define BILLING_INBOX_TYPE     3
#define BILLING_INBOX_OUTCOME  4
#define BILLING_INBOX_REASON   5
#define BILLING_INBOX_PAYMENT  6
#define BILLING_INBOX_WALLET   7
#define BILLING_INBOX_TRACE    8


static void billing_inbox_timer(uv_timer_t *timer);
static void billing_inbox_next(billing_worker_t *w);
static void billing_inbox_done(void *data, const billing_pg_reply_t *reply);
static void billing_inbox_told(billing_worker_t *w, const PGresult *res);


int
billing_inbox_start(billing_worker_t *w)
{
    if (uv_timer_init(w->loop, &w->inbox.timer) != 0) {
        return BILLING_ERROR;
    }

    w->inbox.timer.data = w;

    return uv_timer_start(&w->inbox.timer, billing_inbox_timer,
                          BILLING_INBOX_LOOK_MS, BILLING_INBOX_LOOK_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_inbox_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->inbox.timer, NULL);
}


int
billing_inbox_busy(const billing_worker_t *w)
{
    return w->inbox.asking;
}


void
billing_inbox_nudge(billing_worker_t *w)
{
    w->inbox.again = w->inbox.asking;

    billing_inbox_next(w);
}


static void
billing_inbox_timer(uv_timer_t *timer)
{
    billing_inbox_next(timer->data);
}


static void
billing_inbox_next(billing_worker_t *w)
{
    billing_pg_query_t  q;

    if (w->inbox.asking || w->stopping) {
        return;
    }

    q.statement = "inbox_next";
    q.nvalues = 0;

    if (billing_pg_call(&w->chores, &q, 1, billing_inbox_done, w)
        == BILLING_OK)
    {
        w->inbox.asking = 1;
    }
}


static void
billing_inbox_done(void *data, const billing_pg_reply_t *reply)
{
    int                more;
    billing_worker_t  *w;

    w = data;
    w->inbox.asking = 0;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot apply a webhook",
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
    }

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    more = (PQntuples(reply->results[0]) > 0);

    if (more) {
        billing_inbox_told(w, reply->results[0]);
    }

    if (more || w->inbox.again) {
        w->inbox.again = 0;
        billing_inbox_next(w);
    }
}


static void
billing_inbox_told(billing_worker_t *w, const PGresult *res)
{
    char                  wallet[24];
    const char           *outcome;
    billing_log_level_e   level;

    outcome = PQgetvalue(res, 0, BILLING_INBOX_OUTCOME);
    level = BILLING_LOG_INFO;

    if (strcmp(outcome, "applied") == 0) {
        billing_count(INBOX_APPLIED, 1);

    } else if (strcmp(outcome, "ignored") == 0) {
        billing_count(INBOX_IGNORED, 1);
        level = BILLING_LOG_DEBUG;

    } else if (strcmp(outcome, "parked") == 0) {
        billing_count(INBOX_PARKED, 1);
        level = BILLING_LOG_WARN;

    } else {
        billing_count(INBOX_AGAIN, 1);
    }

    billing_log(level, "webhook",
                billing_log_str("outcome", outcome),
                billing_log_str("reason",
                                PQgetvalue(res, 0, BILLING_INBOX_REASON)),
                billing_log_str("vendor",
                                PQgetvalue(res, 0, BILLING_INBOX_VENDOR)),
                billing_log_str("type",
                                PQgetvalue(res, 0, BILLING_INBOX_TYPE)),
                billing_log_str("event",
                                PQgetvalue(res, 0, BILLING_INBOX_EVENT)),
                billing_log_str("payment",
                                PQgetvalue(res, 0, BILLING_INBOX_PAYMENT)),
                billing_traces_request(PQgetvalue(res, 0,
                                                  BILLING_INBOX_TRACE)));

    if (!PQgetisnull(res, 0, BILLING_INBOX_WALLET)) {
        snprintf(wallet, sizeof(wallet), "w%" PRId64,
                 billing_pg_int(res, 0, BILLING_INBOX_WALLET, 0));
        billing_scan_nudge(w, wallet);
    }
}
