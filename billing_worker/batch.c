
/*
 * Copyright (C) The Astro authors
 *
 * Read, decide, write.
 *
 * The facts of all sessions of a batch come in one call.  What was decided
 * goes back in another: the fence, and billing.apply(), in one flush and one
 * transaction.  What could not be applied, and all if the answer is lost, is
 * read and decided again.
 */

#include <string.h>

#include "batch.h"
#include "clock.h"
#include "lanes.h"
#include "log.h"
#include "metrics.h"
#include "point.h"
#include "traces.h"


/* the arguments of billing.apply() */
enum {
    BILLING_ARG_ID = 0,
    BILLING_ARG_VER,
    BILLING_ARG_CHARGE_NO,
    BILLING_ARG_STATE,
    BILLING_ARG_REASON,
    BILLING_ARG_END,
    BILLING_ARG_ACTIVE,
    BILLING_ARG_PAID_UNTIL,
    BILLING_ARG_BILLED,
    BILLING_ARG_AMOUNT,
    BILLING_ARG_FEE,
    BILLING_ARG_HELD,
    BILLING_ARG_LOW_SENT,
    BILLING_ARG_SETTLE,
    BILLING_ARG_REV,
    BILLING_ARG_WAS,
    BILLING_ARGS
};


static void billing_batch_facts(void *data, const billing_pg_reply_t *reply);
static void billing_batch_decide(billing_batch_t *b, const PGresult *res,
    int row);
static void billing_batch_wrong(billing_place_t *place, const char *why);
static void billing_batch_known(billing_batch_t *b, billing_place_t *place,
    billing_known_t *known, const billing_facts_t *f,
    const billing_decision_t *d);
static void billing_batch_apply(billing_batch_t *b);
static int billing_batch_fence(billing_batch_t *b, billing_text_t *shards,
    billing_text_t *epochs);
static void billing_batch_args(const billing_plan_t *p, billing_text_t *t);
static void billing_batch_instant(billing_text_t *t, int64_t ms);
static void billing_batch_applied(void *data,
    const billing_pg_reply_t *reply);
static void billing_batch_outcome(billing_batch_t *b, const PGresult *res,
    int row);
static void billing_batch_failed(billing_batch_t *b,
    const billing_pg_reply_t *reply);
static void billing_batch_refused(const char *status);
static void billing_batch_count(const billing_place_t *place);
static billing_place_t *billing_batch_place(billing_batch_t *b, int64_t id);


void
billing_batch_run(billing_batch_t *b)
{
    int                 rc;
    size_t              i;
    uint8_t             seen[BILLING_SHARDS];
    billing_pg_t       *pg;
    billing_text_t      ids, shards;
    billing_pg_query_t  q;

    b->nplans = 0;
    b->read_at = billing_clock();

    memset(seen, 0, sizeof(seen));

    billing_text_init(&ids);
    billing_text_init(&shards);

    for (i = 0; i < b->n; i++) {
        billing_text_item(&ids, b->places[i].session->id);

        if (!seen[b->places[i].session->shard]) {
            seen[b->places[i].session->shard] = 1;
            billing_text_item(&shards, b->places[i].session->shard);
        }
    }

    q.statement = "facts";
    q.nvalues = 2;
    q.values[0] = billing_text_close(&ids);
    q.values[1] = billing_text_close(&shards);

    rc = BILLING_ERROR;
    pg = billing_lanes_lent(b->worker,
                            (size_t) (b - b->worker->ticker.batches));

    if (q.values[0] != NULL && q.values[1] != NULL) {
        rc = billing_pg_call(pg, &q, 1, billing_batch_facts, b);
    }

    billing_text_free(&ids);
    billing_text_free(&shards);

    if (rc != BILLING_OK) {
        billing_batch_done(b);
    }
}


static void
billing_batch_facts(void *data, const billing_pg_reply_t *reply)
{
    int               row;
    size_t            i;
    billing_batch_t  *b;

    b = data;

    if (reply->status != BILLING_PG_DONE) {
        billing_batch_failed(b, reply);
        billing_batch_done(b);
        return;
    }

    BILLING_POINT("facts-read");

    if (PQntuples(reply->results[0]) > 0) {
        billing_lives_clock(b->worker,
                            billing_facts_now(reply->results[0], 0),
                            b->read_at);
    }

    /* what gets no row is settled, or not ours */

    for (i = 0; i < b->n; i++) {
        b->places[i].turn = BILLING_TURN_GONE;
    }

    for (row = 0; row < PQntuples(reply->results[0]); row++) {
        billing_batch_decide(b, reply->results[0], row);
    }

    if (b->nplans == 0) {
        billing_batch_done(b);
        return;
    }

    billing_batch_share(b, reply->results[0]);

    BILLING_POINT("decided");

    billing_batch_apply(b);
}


static void
billing_batch_decide(billing_batch_t *b, const PGresult *res, int row)
{
    int64_t              id;
    billing_plan_t      *p;
    billing_facts_t      f;
    billing_whose_t      whose;
    billing_known_t     *known;
    billing_place_t     *place;
    billing_worker_t    *w;
    billing_decision_t  *d;

    w = b->worker;
    id = billing_facts_id(res, row);
    place = billing_batch_place(b, id);

    if (place == NULL) {
        return;
    }

    p = &b->plans[b->nplans];
    p->session = place->session;
    d = &p->decision;

    if (billing_facts_read(w, res, row, &f, p) != BILLING_OK) {
        billing_batch_wrong(place, "they cannot be read");
        return;
    }

    f.tick_ms = place->session->tick_ms;
    place->session->ver = f.ver;
    place->session->rev = p->rev;

    billing_wallets_heard(&w->sessions.wallets, place->session->wallet,
                          f.balance, f.wallet_held);

    /* before the engine puts the intervals in another order */

    known = NULL;

    if (f.state == ASTRO_SESSION_ACTIVE && p->promo == 0) {
        whose.client = p->client;
        whose.advisor = p->advisor;
        whose.conv = p->conv;
        whose.wallet = place->session->wallet;
        whose.rev = p->rev;

        known = billing_known_new(&w->sessions.wallets, &f, &whose,
                                  w->ticker.gateways);
    }

    if (billing_engine_decide(&f, &w->settings, d) != BILLING_OK) {
        billing_known_free(&w->sessions.wallets, known);
        billing_batch_wrong(place, d->reason);
        return;
    }

    place->session->wrong = 0;

    billing_purses_note(b->worker, place->session, d);

    place->turn = BILLING_TURN_WAIT;
    place->at = b->read_at + d->wait_ms;

    if (known != NULL) {
        billing_batch_known(b, place, known, &f, d);
    }

    if (!d->apply) {
        place->session->late = 0;
    }

    if (d->apply && place->turn == BILLING_TURN_WAIT) {
        p->charged = f.charged + d->amount;
        p->fee = f.fee + d->fee;
        place->turn = BILLING_TURN_OPEN;
        place->plan = p;
        place->row = row;
        place->available = f.balance - f.wallet_held;
        billing_engine_claim(&f, d, &place->claim);
        b->nplans++;
    }
}


/*
 * Nothing is done with it, but for looking again, less and less often.  That is
 * told once, unless it has been well since.
 */

static void
billing_batch_wrong(billing_place_t *place, const char *why)
{
    billing_count(FACTS_REFUSED, 1);

    place->turn = BILLING_TURN_FAILED;

    if (place->session->wrong) {
        return;
    }

    place->session->wrong = 1;

    billing_log(BILLING_LOG_ERROR, "the books of a session contradict "
                "each other, it is left alone: run the audit",
                billing_log_int("session", place->session->id),
                billing_log_str("why", why));
}


/*
 * An active session that goes on as it is will be charged by heart; unless that
 * has just been tried, and was refused.
 */

static void
billing_batch_known(billing_batch_t *b, billing_place_t *place,
    billing_known_t *known, const billing_facts_t *f,
    const billing_decision_t *d)
{
    billing_heart_e     kind;
    billing_session_t  *one;

    one = place->session;
    kind = billing_heart_kind(f, d);

    if (kind == BILLING_HEART_ASK
        || (kind == BILLING_HEART_TICK && one->asked))
    {
        billing_known_free(&b->worker->sessions.wallets, known);
        return;
    }

    one->known = known;
    place->turn = BILLING_TURN_KNOWN;

    if (kind == BILLING_HEART_TICK) {
        place->at = b->read_at;
    }
}


static void
billing_batch_apply(billing_batch_t *b)
{
    int                  rc;
    size_t               i;
    billing_text_t       fence[2], args[BILLING_ARGS];
    billing_pg_query_t   q[2];

    for (i = 0; i < BILLING_ARGS; i++) {
        billing_text_init(&args[i]);
    }

    billing_text_init(&fence[0]);
    billing_text_init(&fence[1]);

    for (i = 0; i < b->nplans; i++) {
        billing_batch_args(&b->plans[i], args);
    }

    rc = billing_batch_fence(b, &fence[0], &fence[1]);

    q[0].statement = "fence";
    q[0].nvalues = 3;
    q[0].values[0] = b->worker->owner;
    q[0].values[1] = billing_text_close(&fence[0]);
    q[0].values[2] = billing_text_close(&fence[1]);

    if (q[0].values[1] == NULL || q[0].values[2] == NULL) {
        rc = BILLING_ERROR;
    }

    q[1].statement = "apply";
    q[1].nvalues = BILLING_ARGS;

    for (i = 0; i < BILLING_ARGS; i++) {
        q[1].values[i] = billing_text_close(&args[i]);

        if (q[1].values[i] == NULL) {
            rc = BILLING_ERROR;
        }
    }

    if (rc == BILLING_OK) {
        rc = billing_pg_call(&b->worker->bill, q, 2, billing_batch_applied,
                             b);
        BILLING_POINT("apply-sent");
    }

    for (i = 0; i < BILLING_ARGS; i++) {
        billing_text_free(&args[i]);
    }

    billing_text_free(&fence[0]);
    billing_text_free(&fence[1]);

    if (rc != BILLING_OK) {
        billing_batch_done(b);
    }
}


/* BILLING_ERROR: we do not trust ourselves any more to own all of them. */

static int
billing_batch_fence(billing_batch_t *b, billing_text_t *shards,
    billing_text_t *epochs)
{
    int       shard;
    size_t    i;
    int64_t   epoch, now;
    uint8_t   seen[BILLING_SHARDS];

    memset(seen, 0, sizeof(seen));
    now = billing_clock();

    for (i = 0; i < b->nplans; i++) {
        seen[b->plans[i].session->shard] = 1;
    }

    for (shard = 0; shard < BILLING_SHARDS; shard++) {

        if (!seen[shard]) {
            continue;
        }

        epoch = billing_leases_epoch(&b->worker->leases, shard, now);

        if (epoch == 0) {
            return BILLING_ERROR;
        }

        billing_text_item(shards, shard);
        billing_text_item(epochs, epoch);
    }

    return BILLING_OK;
}


static void
billing_batch_args(const billing_plan_t *p, billing_text_t *t)
{
    const billing_decision_t  *d;

    d = &p->decision;

    billing_text_item(&t[BILLING_ARG_ID], p->session->id);
    billing_text_item(&t[BILLING_ARG_VER], p->ver);
    billing_text_item(&t[BILLING_ARG_CHARGE_NO], p->charge_no);
    billing_text_word(&t[BILLING_ARG_STATE],
                      astro_session_state_name(d->state));
    billing_text_word(&t[BILLING_ARG_REASON], d->reason);
    billing_batch_instant(&t[BILLING_ARG_END], d->end_ms);
    billing_batch_instant(&t[BILLING_ARG_ACTIVE], d->active_ms);
    billing_batch_instant(&t[BILLING_ARG_PAID_UNTIL], d->paid_until_ms);
    billing_text_item(&t[BILLING_ARG_BILLED], d->billed_ms);
    billing_text_item(&t[BILLING_ARG_AMOUNT], d->amount);
    billing_text_item(&t[BILLING_ARG_FEE], d->fee);
    billing_text_item(&t[BILLING_ARG_HELD], d->held);
    billing_text_word(&t[BILLING_ARG_LOW_SENT], d->low_sent ? "t" : "f");
    billing_text_word(&t[BILLING_ARG_SETTLE], d->settle ? "t" : "f");
    billing_text_item(&t[BILLING_ARG_REV], p->rev);
    billing_text_item(&t[BILLING_ARG_WAS], p->held);
}


static void
billing_batch_instant(billing_text_t *t, int64_t ms)
{
    if (ms == BILLING_NONE) {
        billing_text_word(t, NULL);
        return;
    }

    billing_text_item(t, ms);
}


static void
billing_batch_applied(void *data, const billing_pg_reply_t *reply)
{
    int               row;
    size_t            i;
    billing_batch_t  *b;

    b = data;

    BILLING_POINT("apply-answered");

    if (reply->status != BILLING_PG_DONE || reply->results[1] == NULL) {
        billing_batch_failed(b, reply);
        billing_batch_done(b);
        return;
    }

    billing_count(BATCHES_SLOW, 1);
    billing_observe(BATCH, (int64_t) b->nplans);

    /* what gets no row is not there any more */

    for (i = 0; i < b->nplans; i++) {
        b->places[b->plans[i].session->slot].turn = BILLING_TURN_GONE;
    }

    for (row = 0; row < PQntuples(reply->results[1]); row++) {
        billing_batch_outcome(b, reply->results[1], row);
    }

    billing_events_flush(b->worker);

    billing_batch_done(b);
}


static void
billing_batch_outcome(billing_batch_t *b, const PGresult *res, int row)
{
    const char       *status;
    billing_plan_t   *p;
    billing_place_t  *place;

    place = billing_batch_place(b, billing_pg_int(res, row, BILLING_APPLY_ID,
                                                  0));

    if (place == NULL || place->plan == NULL) {
        return;
    }

    p = place->plan;
    status = PQgetvalue(res, row, BILLING_APPLY_STATUS);

    if (strcmp(status, "done") != 0) {
        billing_log(BILLING_LOG_DEBUG, "not applied",
                    billing_log_int("session", place->session->id),
                    billing_log_str("status", status));
        billing_batch_refused(status);
        place->turn = BILLING_TURN_AGAIN;
        return;
    }

    billing_batch_count(place);

    if (p->decision.ended || p->decision.settle) {
        billing_log(BILLING_LOG_INFO, p->decision.settle ? "session settled"
                                                         : "session ended",
                    billing_log_int("session", place->session->id),
                    billing_log_str("reason", p->decision.reason
                                              ? p->decision.reason : ""),
                    billing_log_int("billed_ms", p->decision.billed_ms),
                    billing_log_int("charged", p->charged),
                    billing_log_int("fee", p->fee),
                    billing_traces_field(place->session->id));
    }

    place->session->ver = (int32_t) billing_pg_int(res, row,
                                                   BILLING_APPLY_VER, 0);
    place->session->rev = p->rev + 1;
    place->session->tick_ms = p->decision.tick_ms;

    billing_wallets_heard(&b->worker->sessions.wallets,
                          place->session->wallet,
                          billing_pg_int(res, row, BILLING_APPLY_BALANCE, 0),
                          billing_pg_int(res, row, BILLING_APPLY_HELD, 0));

    place->at = b->read_at + p->decision.wait_ms;
    place->turn = p->decision.settle ? BILLING_TURN_GONE : BILLING_TURN_WAIT;

    BILLING_POINT("before-events");

    billing_events_applied(b->worker, p, res, row);

    BILLING_POINT("after-events");
}


/*
 * Nothing happened, or nobody knows whether it did.  One session that cannot
 * be written must not keep the others from it: after a failure each goes by
 * itself once.
 */

static void
billing_batch_failed(billing_batch_t *b, const billing_pg_reply_t *reply)
{
    size_t  i;

    if (reply->status == BILLING_PG_LOST) {
        billing_count(BATCHES_LOST, 1);

        for (i = 0; i < b->n; i++) {
            b->places[i].turn = BILLING_TURN_OPEN;
        }

        return;
    }

    /* raised by the fence: another worker has a shard of ours by now */

    if (strcmp(reply->sqlstate, "AS001") == 0) {
        billing_count(FENCED, 1);
        billing_log(BILLING_LOG_WARN, "fenced off",
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
        billing_leases_drop(&b->worker->leases);
        billing_shards_renew(b->worker);
        return;
    }

    billing_count(BATCHES_FAILED, 1);
    billing_log(BILLING_LOG_ERROR, "batch failed",
                billing_log_int("sessions", (int64_t) b->n),
                billing_log_int("session", b->places[0].session->id),
                billing_log_str("sqlstate", reply->sqlstate),
                billing_log_str("error", reply->message ? reply->message
                                                        : ""));

    for (i = 0; i < b->n; i++) {

        if (b->n == 1) {
            b->places[i].turn = BILLING_TURN_FAILED;
            break;
        }

        b->places[i].session->alone = 1;
        b->places[i].turn = BILLING_TURN_AGAIN;
    }
}


static void
billing_batch_refused(const char *status)
{
    if (strcmp(status, "funds") == 0) {
        billing_count(CONFLICT_FUNDS, 1);

    } else if (strcmp(status, "shard") == 0) {
        billing_count(CONFLICT_SHARD, 1);

    } else {
        billing_count(CONFLICT_STALE, 1);
    }
}


static void
billing_batch_count(const billing_place_t *place)
{
    const billing_decision_t  *d;

    d = &place->plan->decision;

    billing_count(ENDED, d->ended != 0);
    billing_count(SETTLED, d->settle != 0);

    if (d->amount > 0) {
        billing_count(TICKS_SLOW, 1);
        billing_count(CHARGED, d->amount);
        billing_observe(TICK_LAG,
                        (billing_clock() - place->session->late) * 1000);
    }

    place->session->late = 0;
}


static billing_place_t *
billing_batch_place(billing_batch_t *b, int64_t id)
{
    billing_session_t  *one;

    one = billing_sessions_find(&b->worker->sessions, id);

    if (one == NULL || !one->busy || one->slot >= b->n
        || b->places[one->slot].session != one)
    {
        return NULL;
    }

    return &b->places[one->slot];
}
