
/*
 * Copyright (C) The Astro authors
 *
 * Errands: see errands.h.
 *
 * Each is one function of the database, which finds what is due by the rows,
 * does it, and writes down what is to be said, in one transaction.  So there is
 * nothing to remember here, and nothing is done twice.  Four times a second
 * what was written down is taken and said in Redis; without Redis it waits
 * there, and those whom it is for may read it.
 */

#include <inttypes.h>
#include <stdio.h>

#include "errands.h"
#include "log.h"
#include "metrics.h"


#define BILLING_ERRANDS_MS      250
#define BILLING_ERRANDS_NOTICES "200"       /* of these at once */
#define BILLING_ERRANDS_CAP     "100"       /* of all others */

/* the columns of billing.notices() */
#define BILLING_NOTICE_ACCOUNT  0
#define BILLING_NOTICE_FRAME    1


static void billing_errands_timer(uv_timer_t *timer);
static void billing_errands_ask(billing_worker_t *w, const char *statement,
    const char *cap, billing_pg_handler_pt handler);
static void billing_errands_done(void *data, const billing_pg_reply_t *reply);
static void billing_errands_told(void *data, const billing_pg_reply_t *reply);
static void billing_errands_notices(billing_worker_t *w);
static void billing_errands_failed(const billing_pg_reply_t *reply);


/* one at each look, each once a second; NULL: there is none */

static const struct {
    const char  *statement;
    const char  *cap;
} billing_errands[] = {
    { "bookings_due", BILLING_ERRANDS_CAP },
    { "waiting_turns", NULL },
    { "favorites_here", BILLING_ERRANDS_CAP },
    { NULL, NULL }
};

#define BILLING_ERRANDS                                                       \
    (sizeof(billing_errands) / sizeof(billing_errands[0]))


int
billing_errands_start(billing_worker_t *w)
{
    if (uv_timer_init(w->loop, &w->errands.timer) != 0) {
        return BILLING_ERROR;
    }

    w->errands.timer.data = w;

    return uv_timer_start(&w->errands.timer, billing_errands_timer,
                          BILLING_ERRANDS_MS, BILLING_ERRANDS_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_errands_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->errands.timer, NULL);
}


int
billing_errands_busy(const billing_worker_t *w)
{
    return w->errands.asking;
}


static void
billing_errands_timer(uv_timer_t *timer)
{
    size_t             i;
    billing_worker_t  *w;

    w = timer->data;

    if (w->errands.asking || w->stopping) {
        return;
    }

    i = w->errands.next++ % BILLING_ERRANDS;

    if (billing_errands[i].statement == NULL) {
        billing_errands_notices(w);
        return;
    }

    billing_errands_ask(w, billing_errands[i].statement,
                        billing_errands[i].cap, billing_errands_done);
}


static void
billing_errands_ask(billing_worker_t *w, const char *statement,
    const char *cap, billing_pg_handler_pt handler)
{
    billing_pg_query_t  q;

    q.statement = statement;
    q.nvalues = (cap != NULL);
    q.values[0] = cap;

    if (billing_pg_call(&w->chores, &q, 1, handler, w) == BILLING_OK) {
        w->errands.asking = 1;
    }
}


static void
billing_errands_done(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t  *w;

    w = data;
    w->errands.asking = 0;

    if (reply->status != BILLING_PG_DONE) {
        billing_errands_failed(reply);
        return;
    }

    billing_errands_notices(w);
}


/* What is taken counts as told: not while nobody could hear it. */

static void
billing_errands_notices(billing_worker_t *w)
{
    if (w->redis.out.up && !w->stopping) {
        billing_errands_ask(w, "notices", BILLING_ERRANDS_NOTICES,
                            billing_errands_told);
    }
}


static void
billing_errands_told(void *data, const billing_pg_reply_t *reply)
{
    int                i, n;
    billing_text_t    *t;
    billing_worker_t  *w;

    w = data;
    w->errands.asking = 0;

    if (reply->status != BILLING_PG_DONE) {
        billing_errands_failed(reply);
        return;
    }

    n = PQntuples(reply->results[0]);
    t = &w->frame;

    for (i = 0; i < n; i++) {
        billing_text_reset(t);

        billing_text_str(t, "U ");
        billing_text_int(t, billing_pg_int(reply->results[0], i,
                                           BILLING_NOTICE_ACCOUNT, 0));
        billing_text_str(t, " 0 0\n");
        billing_text_str(t, PQgetvalue(reply->results[0], i,
                                       BILLING_NOTICE_FRAME));

        if (billing_text_end(t) != NULL) {
            billing_redis_publish(&w->redis, BILLING_REDIS_NEWS, t->data,
                                  t->len);
            billing_count(NOTICES, 1);
        }
    }

    /* as many as were asked for: there may be more */

    if (n > 0) {
        billing_errands_notices(w);
    }
}


static void
billing_errands_failed(const billing_pg_reply_t *reply)
{
    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "an errand failed",
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
    }
}
