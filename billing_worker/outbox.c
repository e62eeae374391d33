
/*
 * Copyright (C) The Astro authors
 *
 * The outbox: see outbox.h.
 *
 * Claim as many as there are free calls, make them, record what came of them;
 * results that come while others are being recorded go together in the next
 * record.  If a record is lost it is sent again: it is conditional on the
 * claim.  If this process dies, the claim ends and another one calls again.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "outbox.h"
#include "point.h"
#include "traces.h"
#include "worker.h"


#define BILLING_OUTBOX_LOOK_MS     1000
/* a claim outlives its call by this: time to record it, and once more */
#define BILLING_OUTBOX_LEASE_MS    30000
/* after a time-out, when is nothing of the call on its way any more */
#define BILLING_OUTBOX_SETTLE_MS   60000
#define BILLING_OUTBOX_SWEEP_MS    600000
#define BILLING_OUTBOX_SWEEP_CAP   "1000"

/* the columns of billing.outbox_claim() */
#define BILLING_CLAIM_ID           0
#define BILLING_CLAIM_CLAIM        1
#define BILLING_CLAIM_PATH         2
#define BILLING_CLAIM_BODY         3
#define BILLING_CLAIM_KEY          4
#define BILLING_CLAIM_PARKED       5
#define BILLING_CLAIM_VENDOR       6
#define BILLING_CLAIM_KIND         7

/* the columns of billing.outbox_record() */
#define BILLING_RECORD_ID          0
#define BILLING_RECORD_STATE       1
#define BILLING_RECORD_KIND        2
#define BILLING_RECORD_ABOUT       3
#define BILLING_RECORD_ATTEMPTS    4
#define BILLING_RECORD_CODE        5
#define BILLING_RECORD_ERROR       6
#define BILLING_RECORD_WAIT        7
#define BILLING_RECORD_TRACE       8


typedef enum {
    BILLING_CALL_FREE = 0,
    BILLING_CALL_UNDER_WAY,
    BILLING_CALL_ANSWERED,          /* to be recorded */
    BILLING_CALL_RECORDING
} billing_call_state_e;

struct billing_outbox_call_s {
    billing_worker_t      *worker;
    billing_call_state_e   state;
    billing_vendor_e       vendor;
    int64_t                id;
    int64_t                claim;
    char                  *result;      /* the JSON of it; owned */
    unsigned               alone:1;     /* recorded in a statement of its own */
};


static void billing_outbox_timer(uv_timer_t *timer);
static void billing_outbox_up(void *data);
static void billing_outbox_down(void *data);
static void billing_outbox_claim(billing_worker_t *w);
static void billing_outbox_claimed(void *data,
    const billing_pg_reply_t *reply);
static void billing_outbox_one(billing_worker_t *w, const PGresult *res,
    int row);
static unsigned billing_outbox_alone(const char *kind);
static void billing_outbox_answered(void *data,
    const billing_http_reply_t *reply);
static void billing_outbox_pause(billing_worker_t *w, billing_vendor_e vendor,
    const billing_http_reply_t *reply);
static void billing_outbox_record(billing_worker_t *w);
static void billing_outbox_recorded(void *data,
    const billing_pg_reply_t *reply);
static void billing_outbox_told(const PGresult *res, int row);
static void billing_outbox_free(billing_outbox_t *o,
    billing_outbox_call_t *call);
static void billing_outbox_sweep(billing_worker_t *w);
static void billing_outbox_swept(void *data, const billing_pg_reply_t *reply);


/* those of payouts.c, too: it shares the connection */

const billing_pg_statement_t  billing_outbox_statements[] = {

    { "outbox_claim",
      "SELECT id, claim, path, body, key, parked, vendor, kind "
      "FROM billing.outbox_claim($1::text, $2::text[], $3::int, $4::int)", 4 },

    { "outbox_record",
      "SELECT id, state, kind, about, attempts, code, error, wait_ms, "
      "billing.outbox_trace(id) "
      "FROM billing.outbox_record($1::jsonb, $2::int, $3::int)", 3 },

    { "outbox_sweep",
      "SELECT billing.outbox_sweep($1::int, $2::int)", 2 },

    { "payout_due",
      "SELECT billing.payout_due($1::int)", 1 },

    { "payout_page",
      "SELECT last, made, amount, nowhere "
      "FROM billing.payout_page($1::date, $2::text, $3::bigint, $4::int)", 4 },

    { "payout_order_next",
      "SELECT id, made, amount, nowhere, done "
      "FROM billing.payout_order_next($1::text, $2::int)", 2 },

    { "payout_finish",
      "SELECT billing.payout_finish($1::date)", 1 },

    { "payout_status",
      "SELECT state, n, amount, parked FROM billing.payout_status($1::date)",
      1 },

    { NULL, NULL, 0 }
};


int
billing_outbox_start(billing_worker_t *w)
{
    size_t             i;
    billing_outbox_t  *o;

    o = &w->outbox;

    if (billing_outbox_peers(w) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (o->has == 0) {
        return BILLING_OK;
    }

    o->ncalls = (size_t) w->config->calls_at_once;

    o->calls = calloc(o->ncalls, sizeof(billing_outbox_call_t));
    if (o->calls == NULL) {
        return BILLING_ERROR;
    }

    for (i = 0; i < o->ncalls; i++) {
        o->calls[i].worker = w;
    }

    billing_text_init(&o->results);
    billing_text_init(&o->to);
    billing_text_init(&o->form);

    o->http.loop = w->loop;

    if (billing_http_start(&o->http, (unsigned) o->ncalls) != BILLING_OK
        || uv_timer_init(w->loop, &o->timer) != 0)
    {
        return BILLING_ERROR;
    }

    o->timer.data = w;
    o->swept = billing_clock();
    o->on = 1;

    o->pg.loop = w->loop;
    o->pg.name = "outbox";
    o->pg.conninfo = w->config->pg;
    o->pg.statements = billing_outbox_statements;
    o->pg.up = billing_outbox_up;
    o->pg.down = billing_outbox_down;
    o->pg.data = w;

    return (billing_pg_start(&o->pg) == BILLING_OK
            && uv_timer_start(&o->timer, billing_outbox_timer,
                              BILLING_OUTBOX_LOOK_MS, BILLING_OUTBOX_LOOK_MS)
               == 0)
           ? BILLING_OK : BILLING_ERROR;
}


/* Claims of what is under way end by themselves. */

void
billing_outbox_stop(billing_worker_t *w)
{
    size_t             i;
    billing_outbox_t  *o;

    o = &w->outbox;

    if (!o->on) {
        return;
    }

    o->on = 0;

    billing_pg_stop(&o->pg);
    billing_http_stop(&o->http);
    billing_http_forget(&o->stripe);
    billing_http_forget(&o->razorpay);
    billing_sms_forget(&o->sms);

    uv_close((uv_handle_t *) &o->timer, NULL);

    for (i = 0; i < o->ncalls; i++) {
        free(o->calls[i].result);
    }

    free(o->calls);
    billing_text_free(&o->results);
    billing_text_free(&o->to);
    billing_text_free(&o->form);

    o->calls = NULL;
    o->ncalls = 0;
}


/* A new key is taken while calls with the old one are under way. */

void
billing_outbox_reload(billing_worker_t *w)
{
    if (w->outbox.on) {
        w->outbox.stripe.timeout_ms = w->config->call_timeout_seconds * 1000;
        w->outbox.razorpay.timeout_ms = w->outbox.stripe.timeout_ms;
        w->outbox.sms.peer.timeout_ms = w->outbox.stripe.timeout_ms;
        (void) billing_outbox_keys(w);
    }
}


int
billing_outbox_busy(const billing_worker_t *w)
{
    return w->outbox.on && w->outbox.busy > 0;
}


void
billing_outbox_nudge(billing_worker_t *w)
{
    if (w->outbox.on) {
        billing_outbox_record(w);
        billing_outbox_claim(w);
    }
}


static void
billing_outbox_timer(uv_timer_t *timer)
{
    billing_worker_t  *w;

    w = timer->data;

    billing_outbox_nudge(w);

    if (billing_clock() - w->outbox.swept >= BILLING_OUTBOX_SWEEP_MS) {
        billing_outbox_sweep(w);
    }
}


static void
billing_outbox_up(void *data)
{
    billing_worker_t *w = data;

    billing_outbox_nudge(w);
    billing_payouts_up(w);
}


static void
billing_outbox_down(void *data)
{
    (void) data;

    /* the calls in flight were told */
}


static void
billing_outbox_claim(billing_worker_t *w)
{
    char                cap[24], lease[24];
    billing_outbox_t   *o;
    billing_pg_query_t  q;

    o = &w->outbox;

    q.values[1] = billing_outbox_vendors(o);

    if (o->claiming || w->stopping || o->busy == o->ncalls
        || q.values[1] == NULL)
    {
        return;
    }

    snprintf(cap, sizeof(cap), "%zu", o->ncalls - o->busy);
    snprintf(lease, sizeof(lease), "%" PRId64, o->stripe.timeout_ms
                                               + BILLING_OUTBOX_LEASE_MS);

    q.statement = "outbox_claim";
    q.nvalues = 4;
    q.values[0] = w->owner;
    q.values[2] = cap;
    q.values[3] = lease;

    if (billing_pg_call(&o->pg, &q, 1, billing_outbox_claimed, w)
        == BILLING_OK)
    {
        o->claiming = 1;
    }
}


static void
billing_outbox_claimed(void *data, const billing_pg_reply_t *reply)
{
    int                row, n;
    billing_worker_t  *w;

    w = data;
    w->outbox.claiming = 0;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot look into the outbox",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    if (reply->status != BILLING_PG_DONE || !w->outbox.on) {
        return;
    }

    BILLING_POINT("outbox-claimed");

    n = PQntuples(reply->results[0]);

    for (row = 0; row < n; row++) {
        billing_outbox_one(w, reply->results[0], row);
    }

    if (n > 0) {
        billing_outbox_claim(w);
    }
}


static void
billing_outbox_one(billing_worker_t *w, const PGresult *res, int row)
{
    size_t                  i;
    billing_outbox_t       *o;
    billing_outbox_call_t  *call;

    o = &w->outbox;

    if (billing_pg_bool(res, row, BILLING_CLAIM_PARKED)) {
        billing_count(OUTBOX_PARKED, 1);
        billing_log(BILLING_LOG_ERROR, "call parked",
                    billing_log_int("outbox",
                                    billing_pg_int(res, row, BILLING_CLAIM_ID,
                                                   0)),
                    billing_log_str("error", "its key is too old"));
        return;
    }

    for (i = 0; i < o->ncalls; i++) {
        if (o->calls[i].state == BILLING_CALL_FREE) {
            break;
        }
    }

    if (i == o->ncalls) {
        return;
    }

    call = &o->calls[i];
    call->id = billing_pg_int(res, row, BILLING_CLAIM_ID, 0);
    call->claim = billing_pg_int(res, row, BILLING_CLAIM_CLAIM, 0);
    call->alone = billing_outbox_alone(PQgetvalue(res, row,
                                                  BILLING_CLAIM_KIND));

    if (billing_outbox_send(o, PQgetvalue(res, row, BILLING_CLAIM_VENDOR),
                            PQgetvalue(res, row, BILLING_CLAIM_PATH),
                            PQgetvalue(res, row, BILLING_CLAIM_BODY),
                            PQgetvalue(res, row, BILLING_CLAIM_KEY),
                            billing_outbox_answered, call, &call->vendor)
        != BILLING_OK)
    {
        billing_log(BILLING_LOG_ERROR, "call not made",
                    billing_log_int("outbox", call->id));
        return;
    }

    call->state = BILLING_CALL_UNDER_WAY;
    o->busy++;

    BILLING_POINT("outbox-called");
}


/*
 * What is recorded locks names, payments and wallets, in this order: of two in
 * one statement the second's would come after the first's, and deadlock with
 * the inbox.  A payout locks payouts and wallets, at the end, of all at once; a
 * message locks nothing.
 */

static unsigned
billing_outbox_alone(const char *kind)
{
    return strcmp(kind, "payout") != 0 && strcmp(kind, "otp") != 0;
}


static void
billing_outbox_answered(void *data, const billing_http_reply_t *reply)
{
    billing_worker_t       *w;
    billing_outbox_call_t  *call;

    call = data;
    w = call->worker;

    if (!w->outbox.on) {
        return;
    }

    BILLING_POINT("vendor-answered");

    call->state = BILLING_CALL_ANSWERED;

    call->result = billing_outbox_result(call->id, call->claim, reply);
    billing_outbox_pause(w, call->vendor, reply);

    if (call->result == NULL) {

        /* no memory: nobody knows, and the claim ends by itself */

        billing_outbox_free(&w->outbox, call);
        return;
    }

    billing_outbox_record(w);
}


/*
 * Too many requests, a key that the vendor does not take, or it cannot be
 * reached: no call to it will fare better before.
 */

static void
billing_outbox_pause(billing_worker_t *w, billing_vendor_e vendor,
    const billing_http_reply_t *reply)
{
    int      refused;
    int64_t  until;

    refused = (reply->code == 401 || reply->code == 403);

    if (reply->code != 429 && reply->result != BILLING_HTTP_UNSENT && !refused)
    {
        return;
    }

    until = billing_clock() + ((reply->retry_after_ms > 0)
                               ? reply->retry_after_ms
                               : BILLING_OUTBOX_LOOK_MS);

    if (until > w->outbox.paused_until[vendor]) {
        w->outbox.paused_until[vendor] = until;
    }

    if (refused) {
        billing_log(BILLING_LOG_ERROR, "the vendor does not take our key",
                    billing_log_str("vendor", billing_vendor_name(vendor)),
                    billing_log_int("code", reply->code));
    }
}


static void
billing_outbox_record(billing_worker_t *w)
{
    char                attempts[24], settle[24];
    size_t              i, n, first, last;
    billing_outbox_t   *o;
    billing_pg_query_t  q;

    o = &w->outbox;

    if (o->recording || !billing_pg_ready(&o->pg)) {
        return;
    }

    billing_text_reset(&o->results);
    billing_text_str(&o->results, "[");

    n = 0;
    first = 0;
    last = o->ncalls;

    for (i = 0; i < o->ncalls; i++) {
        if (o->calls[i].state == BILLING_CALL_ANSWERED && o->calls[i].alone) {
            first = i;
            last = i + 1;
            break;
        }
    }

    for (i = first; i < last; i++) {

        if (o->calls[i].state != BILLING_CALL_ANSWERED) {
            continue;
        }

        if (n++) {
            billing_text_str(&o->results, ",");
        }

        billing_text_str(&o->results, o->calls[i].result);
    }

    billing_text_str(&o->results, "]");

    if (n == 0) {
        return;
    }

    snprintf(attempts, sizeof(attempts), "%" PRId64,
             w->config->outbox_attempts);
    snprintf(settle, sizeof(settle), "%" PRId64,
             o->stripe.timeout_ms + BILLING_OUTBOX_SETTLE_MS);

    q.statement = "outbox_record";
    q.nvalues = 3;
    q.values[0] = billing_text_end(&o->results);
    q.values[1] = attempts;
    q.values[2] = settle;

    if (q.values[0] == NULL
        || billing_pg_call(&o->pg, &q, 1, billing_outbox_recorded, w)
           != BILLING_OK)
    {
        return;
    }

    o->recording = 1;

    for (i = first; i < last; i++) {
        if (o->calls[i].state == BILLING_CALL_ANSWERED) {
            o->calls[i].state = BILLING_CALL_RECORDING;
        }
    }
}


static void
billing_outbox_recorded(void *data, const billing_pg_reply_t *reply)
{
    int                     row;
    size_t                  i;
    billing_worker_t       *w;
    billing_outbox_t       *o;
    billing_outbox_call_t  *call;

    w = data;
    o = &w->outbox;
    o->recording = 0;

    if (!o->on) {
        return;
    }

    if (reply->status == BILLING_PG_DONE) {
        BILLING_POINT("outbox-recorded");

        for (row = 0; row < PQntuples(reply->results[0]); row++) {
            billing_outbox_told(reply->results[0], row);
        }
    }

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot record what vendors said",
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    /*
     * LOST: once more, it is conditional.  FAILED: let the claims end, so that
     * one that cannot be recorded keeps no other from it.
     */

    for (i = 0; i < o->ncalls; i++) {
        call = &o->calls[i];

        if (call->state != BILLING_CALL_RECORDING) {
            continue;
        }

        if (reply->status == BILLING_PG_LOST) {
            call->state = BILLING_CALL_ANSWERED;

        } else {
            billing_outbox_free(o, call);
        }
    }

    billing_outbox_nudge(w);
}


static void
billing_outbox_told(const PGresult *res, int row)
{
    int64_t              id, about;
    const char          *state, *msg;
    billing_log_level_e  level;
    id = billing_pg_int(res, row, BILLING_RECORD_ID, 0);
    about = billing_pg_int(res, row, BILLING_RECORD_ABOUT, 0);
    state = PQgetvalue(res, row, BILLING_RECORD_STATE);

    switch (state[0]) {

    case 'd':
        billing_count(OUTBOX_DELIVERED, 1);
        level = BILLING_LOG_DEBUG;
        msg = "call delivered";
        break;

    case 'r':
        billing_count(OUTBOX_REFUSED, 1);
        level = BILLING_LOG_WARN;
        msg = "call refused";
        break;

    case 'p':
        billing_count(OUTBOX_PARKED, 1);
        level = BILLING_LOG_ERROR;
        msg = "call parked";
        break;

    default:
        billing_count(OUTBOX_RETRIED, 1);
        level = BILLING_LOG_DEBUG;
        msg = "call to be tried again";
    }

    billing_log(level, msg, billing_log_int("outbox", id),
                billing_log_str("kind",
                                PQgetvalue(res, row, BILLING_RECORD_KIND)),
                billing_log_int("about", about),
                billing_log_int("attempts",
                                billing_pg_int(res, row,
                                               BILLING_RECORD_ATTEMPTS, 0)),
                billing_log_int("code",
                                billing_pg_int(res, row, BILLING_RECORD_CODE,
                                               0)),
                billing_log_str("error",
                                PQgetvalue(res, row, BILLING_RECORD_ERROR)),
                billing_log_int("wait_ms",
                                billing_pg_int(res, row, BILLING_RECORD_WAIT,
                                               0)),
                billing_traces_request(PQgetvalue(res, row,
                                                  BILLING_RECORD_TRACE)));
}


static void
billing_outbox_free(billing_outbox_t *o, billing_outbox_call_t *call)
{
    free(call->result);

    call->result = NULL;
    call->state = BILLING_CALL_FREE;
    o->busy--;
}


static void
billing_outbox_sweep(billing_worker_t *w)
{
    char                days[24];
    billing_outbox_t   *o;
    billing_pg_query_t  q;

    o = &w->outbox;

    if (o->sweeping || w->stopping) {
        return;
    }

    snprintf(days, sizeof(days), "%" PRId64, w->config->outbox_keep_days);

    q.statement = "outbox_sweep";
    q.nvalues = 2;
    q.values[0] = days;
    q.values[1] = BILLING_OUTBOX_SWEEP_CAP;

    if (billing_pg_call(&o->pg, &q, 1, billing_outbox_swept, w) == BILLING_OK)
    {
        o->sweeping = 1;
    }
}


/* as many as it may: there are more, and it goes on with the next look */

static void
billing_outbox_swept(void *data, const billing_pg_reply_t *reply)
{
    int64_t            n, cap;
    billing_worker_t  *w;

    w = data;
    w->outbox.sweeping = 0;

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    cap = strtoll(BILLING_OUTBOX_SWEEP_CAP, NULL, 10);
    n = billing_pg_int(reply->results[0], 0, 0, 0);

    if (n < cap) {
        w->outbox.swept = billing_clock();
    }
}
