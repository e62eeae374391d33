
/*
 * Copyright (C) The Astro authors
 *
 * Top-ups that nobody told us of.  A session that holds the last of its
 * client's money is looked at again when that is spent, which is too late for
 * whoever has paid meanwhile; so once a second the wallets of such sessions are
 * asked for money that is not held.  With Redis a nudge says the same at once.
 *
 * The list has ids and is put in order when it is walked: a session that is
 * dropped need not be looked for in it.
 */

#include <stdlib.h>

#include "clock.h"
#include "log.h"
#include "worker.h"


#define BILLING_PURSES_MS     1000
#define BILLING_PURSES_ASKED  2000      /* in one question; more take turns */
#define BILLING_PURSES_FIRST  256


/* of a session: is it in the list, and does it belong there? */
enum {
    BILLING_PURSE_OUT = 0,
    BILLING_PURSE_IN,
    BILLING_PURSE_LEAVES
};


static void billing_purses_ask(uv_timer_t *timer);
static int billing_purses_wallets(billing_worker_t *w, billing_text_t *t);
static void billing_purses_told(void *data, const billing_pg_reply_t *reply);


int
billing_purses_start(billing_worker_t *w)
{
    if (uv_timer_init(w->loop, &w->purses.timer) != 0) {
        return BILLING_ERROR;
    }

    w->purses.timer.data = w;

    return uv_timer_start(&w->purses.timer, billing_purses_ask,
                          BILLING_PURSES_MS, BILLING_PURSES_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_purses_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->purses.timer, NULL);

    free(w->purses.ids);

    w->purses.ids = NULL;
    w->purses.n = 0;
    w->purses.size = 0;
}


void
billing_purses_note(billing_worker_t *w, billing_session_t *one,
    const billing_decision_t *d)
{
    size_t             size;
    int64_t           *ids;
    billing_purses_t  *p;

    p = &w->purses;

    if (d->state != ASTRO_SESSION_ACTIVE || d->left_ms > w->settings.ahead_ms) {

        if (one->purse == BILLING_PURSE_IN) {
            one->purse = BILLING_PURSE_LEAVES;
        }

        return;
    }

    if (one->purse == BILLING_PURSE_OUT) {

        if (p->n == p->size) {
            size = p->size ? 2 * p->size : BILLING_PURSES_FIRST;

            ids = realloc(p->ids, size * sizeof(int64_t));
            if (ids == NULL) {

                /* a nudge may tell of it, or the end of the money */
                return;
            }

            p->ids = ids;
            p->size = size;
        }

        p->ids[p->n++] = one->id;
    }

    one->purse = BILLING_PURSE_IN;
}


static void
billing_purses_ask(uv_timer_t *timer)
{
    int                 n;
    billing_text_t      t;
    billing_worker_t   *w;
    billing_pg_query_t  q;

    w = timer->data;

    if (w->purses.asking || w->stopping || !billing_pg_ready(&w->lease)) {
        return;
    }

    billing_text_init(&t);

    n = billing_purses_wallets(w, &t);

    q.statement = "purses";
    q.nvalues = 1;
    q.values[0] = billing_text_close(&t);

    if (n > 0 && q.values[0] != NULL
        && billing_pg_call(&w->lease, &q, 1, billing_purses_told, w)
           == BILLING_OK)
    {
        w->purses.asking = 1;
    }

    billing_text_free(&t);
}


/* The next wallets of the list, which is tidied on the way. */

static int
billing_purses_wallets(billing_worker_t *w, billing_text_t *t)
{
    int                 n;
    size_t              steps;
    billing_purses_t   *p;
    billing_session_t  *one;

    n = 0;
    p = &w->purses;

    for (steps = p->n; steps > 0 && n < BILLING_PURSES_ASKED; steps--) {

        if (p->next >= p->n) {
            p->next = 0;
        }

        one = billing_sessions_find(&w->sessions, p->ids[p->next]);

        if (one == NULL || one->purse != BILLING_PURSE_IN) {

            if (one != NULL) {
                one->purse = BILLING_PURSE_OUT;
            }

            p->ids[p->next] = p->ids[--p->n];
            continue;
        }

        billing_text_item(t, one->wallet);
        p->next++;
        n++;
    }

    return n;
}


static void
billing_purses_told(void *data, const billing_pg_reply_t *reply)
{
    int                i;
    int64_t            now, wallet;
    billing_worker_t  *w;

    w = data;
    w->purses.asking = 0;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot look for top-ups",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    now = billing_clock();

    for (i = 0; i < PQntuples(reply->results[0]); i++) {
        wallet = billing_pg_int(reply->results[0], i, 0, 0);
        billing_sessions_look_wallet(&w->sessions, wallet, now);
    }

    billing_ticker_run(w);
}
