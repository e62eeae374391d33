
/*
 * Copyright (C) The Astro authors
 *
 * A batch of a lane: the fence and billing.tick(), in one flush and one
 * transaction, in binary; and what comes of it.
 */

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "clock.h"
#include "lanes.h"
#include "log.h"
#include "metrics.h"
#include "point.h"


/* the arguments of billing.tick() */
enum {
    BILLING_TICK_ID = 0,
    BILLING_TICK_VER,
    BILLING_TICK_REV,
    BILLING_TICK_NO,
    BILLING_TICK_WAS,
    BILLING_TICK_AMOUNT,
    BILLING_TICK_FEE,
    BILLING_TICK_HELD,
    BILLING_TICK_BILLED,
    BILLING_TICK_PAID_UNTIL,
    BILLING_TICK_ARGS
};

/* the columns of what it returns */
enum {
    BILLING_TICK_DONE = 0,
    BILLING_TICK_WALLETS,
    BILLING_TICK_BALANCES,
    BILLING_TICK_WALLET_HELD,
    BILLING_TICK_COLUMNS
};


/* a connection that has just broken */
#define BILLING_TICKS_LOST_MS  20

/* as the ticker counts them */
#define BILLING_TICKS_LATE_MS  250


/* one batch is sent at a time, and libpq has a copy when it is */
static uint8_t  billing_ticks_buffers[BILLING_TICK_ARGS]
                                     [billing_array_size(BILLING_TICKS)];
static uint8_t  billing_ticks_fence[2][billing_array_size(BILLING_SHARDS)];


static int billing_ticks_compare(const void *one, const void *two);
static int billing_ticks_fenced(billing_ticks_t *b, billing_pg_binary_t *q);
static void billing_ticks_args(billing_ticks_t *b, billing_pg_binary_t *q);
static void billing_ticks_answer(void *data, const billing_pg_reply_t *reply);
static int billing_ticks_read(const PGresult *res, billing_array_t *columns);
static void billing_ticks_booked(billing_worker_t *w, billing_plan_t *p);
static void billing_ticks_failed(billing_ticks_t *b,
    const billing_pg_reply_t *reply);
static billing_back_e billing_ticks_poor(billing_ticks_t *b);


int
billing_ticks_send(billing_ticks_t *b)
{
    size_t               i;
    billing_pg_binary_t  q[2];

    for (i = 0; i < b->n; i++) {
        b->order[i] = &b->plans[i];
    }

    qsort(b->order, b->n, sizeof(billing_plan_t *), billing_ticks_compare);

    if (billing_ticks_fenced(b, &q[0]) != BILLING_OK) {
        return BILLING_ERROR;
    }

    billing_ticks_args(b, &q[1]);

    if (billing_pg_call_binary(&b->lane->pg, q, 2, billing_ticks_answer, b)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    BILLING_POINT("tick-sent");

    return BILLING_OK;
}


static int
billing_ticks_compare(const void *one, const void *two)
{
    int64_t  a, b;

    a = (*(billing_plan_t *const *) one)->session->id;
    b = (*(billing_plan_t *const *) two)->session->id;

    return (a > b) - (a < b);
}


/* BILLING_ERROR: we do not trust ourselves any more to own all of them. */

static int
billing_ticks_fenced(billing_ticks_t *b, billing_pg_binary_t *q)
{
    int                shard;
    size_t             i;
    int64_t            epoch, now;
    uint8_t            seen[BILLING_SHARDS];
    billing_array_t    shards, epochs;
    billing_worker_t  *w;

    w = b->lane->worker;
    now = billing_clock();

    memset(seen, 0, sizeof(seen));

    for (i = 0; i < b->n; i++) {
        seen[b->plans[i].session->shard] = 1;
    }

    billing_array_open(&shards, billing_ticks_fence[0], BILLING_ARRAY_INT2);
    billing_array_open(&epochs, billing_ticks_fence[1], BILLING_ARRAY_INT8);

    for (shard = 0; shard < BILLING_SHARDS; shard++) {

        if (!seen[shard]) {
            continue;
        }

        epoch = billing_leases_epoch(&w->leases, shard, now);

        if (epoch == 0) {
            return BILLING_ERROR;
        }

        billing_array_add(&shards, shard);
        billing_array_add(&epochs, epoch);
    }

    q->statement = "fence";
    q->nvalues = 3;
    q->values[0] = w->owner;
    q->lengths[0] = (int) strlen(w->owner);
    q->values[1] = (const char *) shards.data;
    q->lengths[1] = (int) billing_array_close(&shards);
    q->values[2] = (const char *) epochs.data;
    q->lengths[2] = (int) billing_array_close(&epochs);

    return BILLING_OK;
}


static void
billing_ticks_args(billing_ticks_t *b, billing_pg_binary_t *q)
{
    int                        arg;
    size_t                     i;
    billing_plan_t            *p;
    billing_array_t            a[BILLING_TICK_ARGS];
    const billing_decision_t  *d;

    for (arg = 0; arg < BILLING_TICK_ARGS; arg++) {
        billing_array_open(&a[arg], billing_ticks_buffers[arg],
                           (arg >= BILLING_TICK_VER && arg <= BILLING_TICK_NO)
                           ? BILLING_ARRAY_INT4 : BILLING_ARRAY_INT8);
    }

    for (i = 0; i < b->n; i++) {
        p = b->order[i];
        d = &p->decision;

        billing_array_add(&a[BILLING_TICK_ID], p->session->id);
        billing_array_add(&a[BILLING_TICK_VER], p->ver);
        billing_array_add(&a[BILLING_TICK_REV], p->rev);
        billing_array_add(&a[BILLING_TICK_NO], p->charge_no);
        billing_array_add(&a[BILLING_TICK_WAS], p->held);
        billing_array_add(&a[BILLING_TICK_AMOUNT], d->amount);
        billing_array_add(&a[BILLING_TICK_FEE], d->fee);
        billing_array_add(&a[BILLING_TICK_HELD], d->held);
        billing_array_add(&a[BILLING_TICK_BILLED], d->billed_ms);
        billing_array_add(&a[BILLING_TICK_PAID_UNTIL], d->paid_until_ms);
    }

    q->statement = "tick";
    q->nvalues = BILLING_TICK_ARGS;

    for (arg = 0; arg < BILLING_TICK_ARGS; arg++) {
        q->values[arg] = (const char *) a[arg].data;
        q->lengths[arg] = (int) billing_array_close(&a[arg]);
    }
}


static void
billing_ticks_answer(void *data, const billing_pg_reply_t *reply)
{
    size_t              i, done, charges;
    int64_t             id, balance, held, now;
    billing_ticks_t    *b;
    billing_array_t     columns[BILLING_TICK_COLUMNS];
    billing_worker_t   *w;
    billing_session_t  *one;

    b = data;
    w = b->lane->worker;

    BILLING_POINT("tick-answered");

    if (reply->status != BILLING_PG_DONE || reply->results[1] == NULL
        || billing_ticks_read(reply->results[1], columns) != BILLING_OK)
    {
        billing_ticks_failed(b, reply);
        billing_ticks_done(b);
        return;
    }

    for (i = 0; i < columns[BILLING_TICK_WALLETS].n; i++) {
        id = billing_array_next(&columns[BILLING_TICK_WALLETS]);
        balance = billing_array_next(&columns[BILLING_TICK_BALANCES]);
        held = billing_array_next(&columns[BILLING_TICK_WALLET_HELD]);

        billing_wallets_heard(&w->sessions.wallets, id, balance, held);
    }

    BILLING_POINT("before-tick-events");

    done = columns[BILLING_TICK_DONE].n;
    charges = 0;
    now = billing_clock();

    for (i = 0; i < done; i++) {
        id = billing_array_next(&columns[BILLING_TICK_DONE]);
        one = billing_sessions_find(&w->sessions, id);

        if (one != NULL && one->busy && one->slot < b->n
            && b->plans[one->slot].session == one)
        {
            billing_ticks_booked(w, &b->plans[one->slot]);

            if (b->plans[one->slot].decision.amount > 0) {
                billing_observe(TICK_LAG, (now - one->late) * 1000);
                billing_count(CHARGED, b->plans[one->slot].decision.amount);
                charges++;
            }

            one->late = 0;
            billing_count(LATE, now - b->due[one->slot]
                                > BILLING_TICKS_LATE_MS);
            billing_ticks_back(b, &b->plans[one->slot], BILLING_BACK_KNOWN,
                               b->at
                               + b->plans[one->slot].decision.wait_ms);
        }
    }

    billing_events_flush(w);

    BILLING_POINT("after-tick-events");

    if (b->lane->most < BILLING_TICKS) {
        b->lane->most *= 2;

        if (b->lane->most > BILLING_TICKS) {
            b->lane->most = BILLING_TICKS;
        }
    }

    if (b->lane->most == BILLING_TICKS) {
        b->lane->poor = 0;
    }

    billing_count(DUE, b->n);
    billing_count(TICKS_FAST, charges);
    billing_count(CONFLICT_FAST, b->n - done);
    billing_count(BATCHES_FAST, 1);
    billing_observe(BATCH, (int64_t) b->n);

    billing_log(BILLING_LOG_DEBUG, "ticked",
                billing_log_int("sessions", (int64_t) done),
                billing_log_int("refused", (int64_t) (b->n - done)));

    /* what is left is not as we remember it */

    for (i = 0; i < b->n; i++) {
        if (b->plans[i].session != NULL) {
            billing_ticks_back(b, &b->plans[i], BILLING_BACK_REFUSED,
                               billing_clock());
        }
    }

    billing_ticks_done(b);
}


static int
billing_ticks_read(const PGresult *res, billing_array_t *columns)
{
    int  i;

    if (PQntuples(res) != 1 || PQnfields(res) != BILLING_TICK_COLUMNS) {
        return BILLING_ERROR;
    }

    for (i = 0; i < BILLING_TICK_COLUMNS; i++) {
        if (billing_array_read(&columns[i],
                               (const uint8_t *) PQgetvalue(res, 0, i),
                               (size_t) PQgetlength(res, 0, i))
            != BILLING_OK)
        {
            return BILLING_ERROR;
        }
    }

    return (columns[BILLING_TICK_BALANCES].n == columns[BILLING_TICK_WALLETS].n
            && columns[BILLING_TICK_WALLET_HELD].n
               == columns[BILLING_TICK_WALLETS].n)
           ? BILLING_OK : BILLING_ERROR;
}


/* It is committed: remember it, and tell. */

static void
billing_ticks_booked(billing_worker_t *w, billing_plan_t *p)
{
    billing_facts_t           *f;
    const billing_decision_t  *d;

    d = &p->decision;
    f = &p->session->known->facts;

    f->charge_no += (d->amount > 0);
    f->billed_ms = d->billed_ms;
    f->charged = p->charged;
    f->fee = p->fee;
    f->held = d->held;
    f->paid_until_ms = d->paid_until_ms;

    p->session->tick_ms = d->tick_ms;
    p->session->failures = 0;

    billing_events_tick_add(w, p, p->session->known->wallet->balance);
}


/* Nothing happened, or nobody knows whether it did. */

static void
billing_ticks_failed(billing_ticks_t *b, const billing_pg_reply_t *reply)
{
    size_t             i;
    int64_t            at;
    billing_back_e     how;
    billing_worker_t  *w;

    w = b->lane->worker;
    how = BILLING_BACK_LOST;
    at = billing_clock() + BILLING_TICKS_LOST_MS;

    billing_count(BATCHES_LOST, reply->status == BILLING_PG_LOST);

    if (reply->status == BILLING_PG_FAILED
        && strcmp(reply->sqlstate, "AS001") == 0)
    {
        billing_count(FENCED, 1);
        billing_log(BILLING_LOG_WARN, "fenced off",
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
        billing_leases_drop(&w->leases);
        billing_shards_renew(w);

    } else if (reply->status != BILLING_PG_LOST) {

        how = BILLING_BACK_REFUSED;
        at = billing_clock();

        billing_count(BATCHES_FAILED, 1);

        if (strcmp(reply->sqlstate, "AS003") == 0) {
            how = billing_ticks_poor(b);
        }

        billing_log(BILLING_LOG_INFO, "ticks failed",
                    billing_log_int("sessions", (int64_t) b->n),
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
    }

    /*
     * By heart again they are due as they were: before what has fallen due
     * since, or the one that is looked for is never alone
     */

    for (i = 0; i < b->n; i++) {
        billing_ticks_back(b, &b->plans[i], how,
                           (how == BILLING_BACK_KNOWN) ? b->due[i] : at);
    }
}


/*
 * A wallet that cannot pay: halves, until it is alone.  Of all else the slow
 * way, which does it again, finds out which of them it was; and of very many
 * such wallets (all were given promo, say), too, whole batches.
 */

static billing_back_e
billing_ticks_poor(billing_ticks_t *b)
{
    billing_lane_t  *lane;

    lane = b->lane;

    /* until a batch that may be as large as any goes well */

    if (++lane->poor > BILLING_TICKS_POOR) {
        lane->most = BILLING_TICKS;
        return BILLING_BACK_REFUSED;
    }

    if (b->n == 1) {
        return BILLING_BACK_REFUSED;
    }

    lane->most = (b->n + 1) / 2;

    return BILLING_BACK_KNOWN;
}
