
/*
 * Copyright (C) The Astro authors
 *
 * Metrics that only the database knows: see gauges.h.  A row of the table is a
 * metric, told if billing.gauges() has a row (name, labels, value) for it.
 */

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "gauges.h"
#include "log.h"


#define BILLING_GAUGES_FIRST_MS  500
#define BILLING_GAUGES_EVERY_MS  10000
#define BILLING_GAUGES_OLD_MS    60000      /* then they are not told */


typedef struct {
    const char          *name;
    const char          *labels;
    const char          *type;
    const char          *help;
} billing_gauges_row_t;


static void billing_gauges_ask(uv_timer_t *timer);
static void billing_gauges_told(void *data, const billing_pg_reply_t *reply);
static void billing_gauges_take(billing_gauges_t *g, const PGresult *res,
    int row);
static void billing_gauges_closed(uv_handle_t *handle);


/* of one name together: the first one's type and help are the metric's */

static const billing_gauges_row_t  billing_gauges_rows[] = {

    { "shards_free", "", "gauge", "shards that no worker holds" },

    { "sessions", "state=\"requested\"", "gauge", "sessions that have not "
      "ended" },
    { "sessions", "state=\"queued\"", "gauge", "" },
    { "sessions", "state=\"ringing\"", "gauge", "" },
    { "sessions", "state=\"accepted\"", "gauge", "" },
    { "sessions", "state=\"connecting\"", "gauge", "" },
    { "sessions", "state=\"active\"", "gauge", "" },
    { "sessions", "state=\"reconnecting\"", "gauge", "" },
    { "sessions", "state=\"paused\"", "gauge", "" },

    { "outbox", "state=\"waiting\"", "gauge", "calls to vendors that have not "
      "ended" },
    { "outbox", "state=\"parked\"", "gauge", "" },
    { "outbox_age_seconds", "", "gauge", "age of the oldest call that waits" },

    { "ledger_amount", "kind=\"session\"", "gauge",
      "amount of all transfers, minor units" },
    { "ledger_amount", "kind=\"topup\"", "gauge", "" },
    { "ledger_amount", "kind=\"adjustment\"", "gauge", "" },
    { "ledger_amount", "kind=\"promo\"", "gauge", "" },
    { "ledger_amount", "kind=\"promo_back\"", "gauge", "" },
    { "ledger_amount", "kind=\"gift\"", "gauge", "" },
    { "ledger_amount", "kind=\"deposit\"", "gauge", "" },
    { "ledger_amount", "kind=\"refund\"", "gauge", "" },
    { "ledger_amount", "kind=\"freeze\"", "gauge", "" },
    { "ledger_amount", "kind=\"release\"", "gauge", "" },
    { "ledger_amount", "kind=\"reversal\"", "gauge", "" },
    { "ledger_amount", "kind=\"reversal_fee\"", "gauge", "" },
    { "ledger_amount", "kind=\"payout\"", "gauge", "" },
    { "ledger_amount", "kind=\"payout_return\"", "gauge", "" },
    { "ledger_amount", "kind=\"debt\"", "gauge", "" },
    { "ledger_amount", "kind=\"recovery\"", "gauge", "" },

    { "ledger_fee", "kind=\"session\"", "gauge",
      "what the platform kept, minor units" },
    { "ledger_fee", "kind=\"gift\"", "gauge", "" },
    { "ledger_fee", "kind=\"deposit\"", "gauge", "" },

    { "business_sessions", "state=\"live\"", "gauge",
      "sessions, of the last roll-up" },
    { "business_sessions", "state=\"active\"", "gauge", "" },
    { "business_users", "active=\"day\"", "gauge",
      "accounts that were here today (UTC), and in 30 days" },
    { "business_users", "active=\"month\"", "gauge", "" },
    { "business_rate", "of=\"answered\"", "gauge",
      "of 30 days, in 1/10000" },
    { "business_rate", "of=\"completed\"", "gauge", "" },
    { "business_rate", "of=\"converted\"", "gauge", "" },
    { "business_rate", "of=\"retained\"", "gauge", "" },
    { "business_revenue", "days=\"1\"", "gauge",
      "what the platform kept of these days, minor units" },
    { "business_revenue", "days=\"30\"", "gauge", "" },
    { "business_due", "", "gauge", "what advisors have, minor units" },

    { "inbox", "state=\"waiting\"", "gauge", "webhooks not applied yet" },
    { "inbox", "state=\"parked\"", "gauge", "" },
    { "inbox_age_seconds", "", "gauge", "age of the oldest webhook that "
      "waits" }
};

#define BILLING_GAUGES                                                        \
    (sizeof(billing_gauges_rows) / sizeof(billing_gauges_row_t))

struct billing_gauges_s {
    uv_timer_t           timer;
    int64_t              asked;         /* when it last went well; 0: never */
    int64_t              values[BILLING_GAUGES];
    uint8_t              told[BILLING_GAUGES];
    unsigned             asking:1;
};


int
billing_gauges_start(billing_worker_t *w)
{
    billing_gauges_t  *g;

    g = calloc(1, sizeof(billing_gauges_t));
    if (g == NULL) {
        return BILLING_ERROR;
    }

    w->gauges = g;

    if (uv_timer_init(w->loop, &g->timer) != 0) {
        return BILLING_ERROR;
    }

    g->timer.data = w;

    return uv_timer_start(&g->timer, billing_gauges_ask,
                          BILLING_GAUGES_FIRST_MS, BILLING_GAUGES_EVERY_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_gauges_stop(billing_worker_t *w)
{
    if (w->gauges == NULL) {
        return;
    }

    w->gauges->timer.data = w->gauges;
    uv_close((uv_handle_t *) &w->gauges->timer, billing_gauges_closed);

    w->gauges = NULL;
}


static void
billing_gauges_closed(uv_handle_t *handle)
{
    free(handle->data);
}


static void
billing_gauges_ask(uv_timer_t *timer)
{
    billing_worker_t    *w;
    billing_gauges_t    *g;
    billing_pg_query_t   q;

    w = timer->data;
    g = w->gauges;

    if (g->asking || w->stopping) {
        return;
    }

    q.statement = "gauges";
    q.nvalues = 0;

    if (billing_pg_call(&w->chores, &q, 1, billing_gauges_told, w)
        == BILLING_OK)
    {
        g->asking = 1;
        return;
    }

    /* not connected: again soon, if there is nothing to tell yet */

    if (g->asked == 0) {
        uv_timer_start(timer, billing_gauges_ask, BILLING_GAUGES_FIRST_MS,
                       BILLING_GAUGES_EVERY_MS);
    }
}


static void
billing_gauges_told(void *data, const billing_pg_reply_t *reply)
{
    int                row;
    billing_gauges_t  *g;

    g = ((billing_worker_t *) data)->gauges;

    if (g == NULL) {
        return;
    }

    g->asking = 0;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_WARN, "cannot ask for gauges",
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
    }

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    g->asked = billing_clock();
    memset(g->told, 0, sizeof(g->told));

    for (row = 0; row < PQntuples(reply->results[0]); row++) {
        billing_gauges_take(g, reply->results[0], row);
    }
}


static void
billing_gauges_take(billing_gauges_t *g, const PGresult *res, int row)
{
    size_t       i;
    const char  *name, *labels;

    name = PQgetvalue(res, row, 0);
    labels = PQgetvalue(res, row, 1);

    for (i = 0; i < BILLING_GAUGES; i++) {

        if (strcmp(billing_gauges_rows[i].name, name) == 0
            && strcmp(billing_gauges_rows[i].labels, labels) == 0)
        {
            g->values[i] = billing_pg_int(res, row, 2, 0);
            g->told[i] = 1;
        }
    }
}


int64_t
billing_gauges_of(billing_worker_t *w, const char *name, const char *labels)
{
    size_t             i;
    billing_gauges_t  *g;

    g = w->gauges;

    if (g == NULL || g->asked == 0
        || billing_clock() - g->asked > BILLING_GAUGES_OLD_MS)
    {
        return -1;
    }

    for (i = 0; i < BILLING_GAUGES; i++) {
        if (strcmp(billing_gauges_rows[i].name, name) == 0
            && strcmp(billing_gauges_rows[i].labels, labels) == 0)
        {
            return g->told[i] ? g->values[i] : -1;
        }
    }

    return -1;
}


/* What was read too long ago is not told: a flat line would look well. */

void
billing_gauges_text(billing_worker_t *w, billing_text_t *t)
{
    size_t                       i;
    const char                  *last;
    billing_gauges_t            *g;
    const billing_gauges_row_t  *row, *first;

    g = w->gauges;
    first = billing_gauges_rows;

    if (g == NULL || g->asked == 0
        || billing_clock() - g->asked > BILLING_GAUGES_OLD_MS)
    {
        return;
    }

    last = "";

    for (i = 0; i < BILLING_GAUGES; i++) {
        row = &billing_gauges_rows[i];

        /* the first of a name has its help, told or not */

        if (i == 0 || strcmp(row[-1].name, row->name) != 0) {
            first = row;
        }

        if (!g->told[i]) {
            continue;
        }

        if (strcmp(last, row->name) != 0) {
            billing_metrics_head(t, row->name, first->type, first->help);
            last = row->name;
        }

        billing_metrics_line(t, row->name, "", row->labels, g->values[i]);
    }
}
