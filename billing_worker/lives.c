
/*
 * Copyright (C) The Astro authors
 *
 * The leases of gateways, polled: one row for each nginx worker proves presence
 * for all sessions.  What was polled a while ago proves less than there is,
 * never more; who is to be taken for dead is reap.c's business.
 */

#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "worker.h"


#define BILLING_LIVES_POLL_MS  250

/* the columns of billing.lives() */
enum {
    BILLING_LIVES_ID = 0,
    BILLING_LIVES_LEASE,
    BILLING_LIVES_SILENCE,
    BILLING_LIVES_AGE,
    BILLING_LIVES_NOW
};


static void billing_lives_timer(uv_timer_t *timer);
static void billing_lives_polled(void *data, const billing_pg_reply_t *reply);
static int billing_lives_room(billing_worker_t *w, size_t n);


int
billing_lives_start(billing_worker_t *w)
{
    w->lives.read_at = billing_clock() - 2 * BILLING_LIVES_OLD_MS;

    if (uv_timer_init(w->loop, &w->lives.timer) != 0) {
        return BILLING_ERROR;
    }

    w->lives.timer.data = w;

    return uv_timer_start(&w->lives.timer, billing_lives_timer,
                          BILLING_LIVES_POLL_MS, BILLING_LIVES_POLL_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_lives_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->lives.timer, NULL);
    free(w->lives.lives);

    w->lives.lives = NULL;
    w->lives.n = 0;
    w->lives.size = 0;
}


static void
billing_lives_timer(uv_timer_t *timer)
{
    billing_lives_poll(timer->data);
}


void
billing_lives_poll(billing_worker_t *w)
{
    billing_pg_query_t  q;

    if (w->lives.polling || w->stopping) {
        return;
    }

    q.statement = "lives";
    q.nvalues = 0;

    w->lives.sent = billing_clock();

    if (billing_pg_call(&w->lease, &q, 1, billing_lives_polled, w)
        == BILLING_OK)
    {
        w->lives.polling = 1;
    }
}


static void
billing_lives_polled(void *data, const billing_pg_reply_t *reply)
{
    int                i, n;
    PGresult          *res;
    billing_life_t    *life;
    billing_worker_t  *w;

    w = data;
    w->lives.polling = 0;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot read the gateways' leases",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    res = reply->results[0];
    n = PQntuples(res);

    if (billing_lives_room(w, (size_t) n) != BILLING_OK) {
        return;
    }

    for (i = 0; i < n; i++) {
        life = &w->lives.lives[i];
        life->id = billing_pg_int(res, i, BILLING_LIVES_ID, 0);
        life->lease_ms = billing_pg_int(res, i, BILLING_LIVES_LEASE, 0);
        life->silence_ms = billing_pg_int(res, i, BILLING_LIVES_SILENCE, 0);
        life->age_ms = billing_pg_int(res, i, BILLING_LIVES_AGE, 0);
        w->lives.now_ms = billing_pg_int(res, i, BILLING_LIVES_NOW, 0);
    }

    w->lives.n = (size_t) n;
    w->lives.read_at = billing_clock();

    if (n > 0) {
        billing_lives_clock(w, w->lives.now_ms, w->lives.sent);
    }
}


void
billing_lives_clock(billing_worker_t *w, int64_t ms, int64_t sent)
{
    int64_t  by;

    by = billing_jumps_heard(&w->jumps, ms, sent, billing_clock());

    if (by > 0) {
        billing_count(CLOCK_JUMPS, 1);
        billing_log(BILLING_LOG_ERROR, "the database's clock leapt forward, "
                    "deadlines are put off by that",
                    billing_log_int("ms", by));
    }
}


int64_t
billing_lives_now(const billing_worker_t *w, int64_t ms)
{
    size_t                 i;
    int64_t                since, at, fresh, last;
    const billing_life_t  *life;

    fresh = INT64_MAX;
    last = BILLING_NONE;
    since = billing_clock() - w->lives.read_at;

    if (since > BILLING_LIVES_OLD_MS) {
        return ms;
    }

    for (i = 0; i < w->lives.n; i++) {
        life = &w->lives.lives[i];
        at = life->lease_ms + life->age_ms + since;

        if (at > last) {
            last = at;
        }

        if (life->age_ms < BILLING_LIVES_AGE_MS && at < fresh) {
            fresh = at;
        }
    }

    /* the moment after a leap none of them seems to be renewed */

    if (fresh == INT64_MAX && last != BILLING_NONE) {
        fresh = last;
    }

    return (fresh < ms) ? fresh : ms;
}


static int
billing_lives_room(billing_worker_t *w, size_t n)
{
    billing_life_t  *grown;

    if (n <= w->lives.size) {
        return BILLING_OK;
    }

    grown = realloc(w->lives.lives, n * 2 * sizeof(billing_life_t));
    if (grown == NULL) {
        return BILLING_ERROR;
    }

    w->lives.lives = grown;
    w->lives.size = n * 2;

    return BILLING_OK;
}


/* They come in order of id. */

const billing_life_t *
billing_lives_find(const billing_worker_t *w, int64_t gateway)
{
    size_t                 low, high, middle;
    const billing_life_t  *life;

    low = 0;
    high = w->lives.n;

    while (low < high) {
        middle = (low + high) / 2;
        life = &w->lives.lives[middle];

        if (life->id == gateway) {
            return life;
        }

        if (life->id < gateway) {
            low = middle + 1;

        } else {
            high = middle;
        }
    }

    return NULL;
}
