
/*
 * Copyright (C) The Astro authors
 *
 * How the worker hears of sessions: by a nudge at once, and by looking for
 * what it does not know, or knows at another ver or rev, once a second.  So a
 * nudge that is lost costs a second, and one more for each 10,000 sessions.
 */

#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "point.h"
#include "worker.h"


/* about so many sessions are compared in one scan; more take turns */
#define BILLING_SCAN_SESSIONS  10000


/* the columns of billing.scan3() and billing.find2() */
enum {
    BILLING_SCAN_ID = 0,
    BILLING_SCAN_VER,
    BILLING_SCAN_REV,
    BILLING_SCAN_SHARD,
    BILLING_SCAN_WALLET,
    BILLING_SCAN_ACTIVE
};


static void billing_scan_send(billing_worker_t *w, const uint8_t *shards,
    billing_pg_handler_pt handler);
static void billing_scan_sliced(void *data, const billing_pg_reply_t *reply);
static void billing_scan_gained(void *data, const billing_pg_reply_t *reply);
static void billing_scan_find(billing_worker_t *w);
static void billing_scan_found(void *data, const billing_pg_reply_t *reply);
static size_t billing_scan_learn(billing_worker_t *w,
    const billing_pg_reply_t *reply);


void
billing_scan(billing_worker_t *w)
{
    int       shard;
    size_t    slices;
    uint8_t   shards[BILLING_SHARDS];

    if (w->shards.scanning || w->stopping) {
        return;
    }

    slices = 1 + w->sessions.n / (BILLING_SCAN_SESSIONS + 1);
    w->shards.slice++;

    for (shard = 0; shard < BILLING_SHARDS; shard++) {
        shards[shard] = ((size_t) shard % slices == w->shards.slice % slices);
    }

    billing_scan_send(w, shards, billing_scan_sliced);
}


void
billing_scan_shards(billing_worker_t *w, const uint8_t *shards)
{
    billing_scan_send(w, shards, billing_scan_gained);
}


static void
billing_scan_send(billing_worker_t *w, const uint8_t *shards,
    billing_pg_handler_pt handler)
{
    int                     i, shard, n;
    int64_t                 now;
    billing_text_t          t[3];
    billing_pg_query_t      q;
    billing_sessions_sum_t  sums[BILLING_SHARDS];

    n = 0;
    now = billing_clock();

    for (i = 0; i < 3; i++) {
        billing_text_init(&t[i]);
    }

    billing_sessions_sums(&w->sessions, sums, BILLING_SHARDS);

    for (shard = 0; shard < BILLING_SHARDS; shard++) {

        if (!shards[shard] || !billing_leases_epoch(&w->leases, shard, now)) {
            continue;
        }

        billing_text_item(&t[0], shard);
        billing_text_item(&t[1], (int64_t) sums[shard].n);
        billing_text_item(&t[2], sums[shard].sum);
        n++;
    }

    q.statement = "scan";
    q.nvalues = 3;

    for (i = 0; i < 3; i++) {
        q.values[i] = billing_text_close(&t[i]);
    }

    if (n > 0 && q.values[0] != NULL && q.values[1] != NULL
        && q.values[2] != NULL
        && billing_pg_call(&w->lease, &q, 1, handler, w) == BILLING_OK
        && handler == billing_scan_sliced)
    {
        w->shards.scanning = 1;
    }

    for (i = 0; i < 3; i++) {
        billing_text_free(&t[i]);
    }
}


static void
billing_scan_sliced(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t *w = data;

    w->shards.scanning = 0;

    (void) billing_scan_learn(w, reply);
    billing_ticker_run(w);
}


static void
billing_scan_gained(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t *w = data;

    billing_lanes_lend(w, billing_scan_learn(w, reply));
    billing_ticker_run(w);
}


void
billing_scan_nudge(billing_worker_t *w, const char *text)
{
    int64_t             id, now;
    billing_session_t  *one;

    BILLING_POINT("nudged");

    if (strcmp(text, BILLING_NUDGE_HANDED) == 0) {
        billing_shards_renew(w);
        return;
    }

    now = billing_clock();

    if (billing_text_number((*text == 'w') ? text + 1 : text, &id)
        != BILLING_OK)
    {
        return;
    }

    if (*text == 'w') {
        billing_sessions_look_wallet(&w->sessions, id, now);
        billing_ticker_run(w);
        return;
    }

    one = billing_sessions_find(&w->sessions, id);

    if (one != NULL) {
        billing_sessions_look(&w->sessions, one, now);
        billing_ticker_run(w);
        return;
    }

    /* new, or another worker's: the database knows */

    if (w->shards.nnudges < BILLING_NUDGES && w->leases.owned > 0) {
        w->shards.nudges[w->shards.nnudges++] = id;
        billing_scan_find(w);
    }
}


static void
billing_scan_find(billing_worker_t *w)
{
    size_t              i;
    billing_text_t      t;
    billing_pg_query_t  q;

    if (w->shards.finding || w->shards.nnudges == 0 || w->stopping) {
        return;
    }

    billing_text_init(&t);

    for (i = 0; i < w->shards.nnudges; i++) {
        billing_text_item(&t, w->shards.nudges[i]);
    }

    w->shards.nnudges = 0;

    q.statement = "find";
    q.nvalues = 1;
    q.values[0] = billing_text_close(&t);

    if (q.values[0] != NULL
        && billing_pg_call(&w->lease, &q, 1, billing_scan_found, w)
           == BILLING_OK)
    {
        w->shards.finding = 1;
    }

    billing_text_free(&t);
}


static void
billing_scan_found(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t *w = data;

    w->shards.finding = 0;

    (void) billing_scan_learn(w, reply);
    billing_ticker_run(w);
    billing_scan_find(w);
}


/* How many are new. */

static size_t
billing_scan_learn(billing_worker_t *w, const billing_pg_reply_t *reply)
{
    int                 i, n, shard;
    int32_t             ver, rev;
    int64_t             at, id, now, wallet;
    size_t              new;
    PGresult           *res;
    billing_session_t  *one;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot look for sessions",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    new = 0;

    if (reply->status != BILLING_PG_DONE) {
        return new;
    }

    BILLING_POINT("scanned");

    res = reply->results[0];
    n = PQntuples(res);
    now = billing_clock();

    for (i = 0; i < n; i++) {
        id = billing_pg_int(res, i, BILLING_SCAN_ID, 0);
        ver = (int32_t) billing_pg_int(res, i, BILLING_SCAN_VER, 0);
        rev = (int32_t) billing_pg_int(res, i, BILLING_SCAN_REV, 0);
        shard = (int) billing_pg_int(res, i, BILLING_SCAN_SHARD, -1);
        wallet = billing_pg_int(res, i, BILLING_SCAN_WALLET, 0);

        one = billing_sessions_find(&w->sessions, id);

        if (one != NULL) {
            if (ver > one->ver || rev > one->rev) {

                /* once: one whose facts are no good is not read each second */

                one->ver = ver;
                one->rev = rev;
                billing_sessions_look(&w->sessions, one, now);
            }

            continue;
        }

        if (billing_leases_epoch(&w->leases, shard, now) == 0) {
            continue;
        }

        one = billing_sessions_add(&w->sessions, id, wallet, shard);

        /* of very many, those that are being charged are read first */

        at = billing_pg_bool(res, i, BILLING_SCAN_ACTIVE) ? now : now + 1;

        if (one == NULL
            || billing_sessions_due(&w->sessions, one, at) != BILLING_OK)
        {
            billing_log(BILLING_LOG_ERROR, "out of memory",
                        billing_log_int("session", id));

            if (one != NULL) {
                billing_sessions_drop(&w->sessions, one);
            }

            return new;
        }

        new++;
    }

    return new;
}
