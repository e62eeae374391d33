
/*
 * Copyright (C) The Astro authors
 *
 * What is said in Redis of what was committed:
 *
 *   S <session> <ver> <state> <paid_until> <client> <advisor> <conv> <head>
 *   U <user>[,<user>] <conv> <seq>
 *
 * each a line, then the snapshot or the frame to send.  A session's end is its
 * last billing_tick, then S, then the durable session_end, then the wallet.
 *
 *   T
 *
 * and then lines, one for each session that was charged and changed in nothing
 * else: see astro_tick.h.  They gather until the answers to a commit are read,
 * so that a batch is a few messages and no snapshot.
 */

#include <string.h>

#include "astro_tick.h"
#include "worker.h"


/* no message of ticks is longer */
#define BILLING_EVENTS_TICKS  (16 * 1024)


static int billing_events_pure(const billing_plan_t *p, int64_t ver);
static void billing_events_tick(billing_worker_t *w, const billing_plan_t *p,
    int64_t balance);
static void billing_events_low(billing_worker_t *w, const billing_plan_t *p);
static void billing_events_end(billing_worker_t *w, const billing_plan_t *p,
    int64_t seq, const char *frame);
static void billing_events_wallet(billing_worker_t *w,
    const billing_plan_t *p, int64_t balance, int64_t held);
static void billing_events_state(billing_worker_t *w, const int64_t *ids,
    int64_t ver, const char *state, int64_t paid_until, int64_t head,
    const char *snapshot);
static billing_text_t *billing_events_to(billing_worker_t *w, int64_t user);
static void billing_events_num(billing_text_t *t, const char *before,
    int64_t n);
static void billing_events_send(billing_worker_t *w);


void
billing_events_applied(billing_worker_t *w, const billing_plan_t *p,
    const PGresult *res, int row)
{
    int64_t                    balance, held, seq, ver, ids[4];
    const billing_decision_t  *d;

    d = &p->decision;

    ver = billing_pg_int(res, row, BILLING_APPLY_VER, 0);
    balance = billing_pg_int(res, row, BILLING_APPLY_BALANCE, 0);
    held = billing_pg_int(res, row, BILLING_APPLY_HELD, 0);
    seq = billing_pg_int(res, row, BILLING_APPLY_SEQ, 0);

    if (billing_events_pure(p, ver)) {
        billing_events_tick_add(w, p, balance);
        return;
    }

    if (d->tick) {
        billing_events_tick(w, p, balance);
    }

    ids[0] = p->session->id;
    ids[1] = p->client;
    ids[2] = p->advisor;
    ids[3] = p->conv;

    billing_events_state(w, ids, ver,
                         astro_session_state_name(d->state),
                         (d->paid_until_ms == BILLING_NONE)
                         ? 0 : d->paid_until_ms,
                         billing_pg_int(res, row, BILLING_APPLY_HEAD, 0),
                         PQgetvalue(res, row, BILLING_APPLY_SNAPSHOT));

    if (d->low) {
        billing_events_low(w, p);
    }

    if (seq != 0) {
        billing_events_end(w, p, seq,
                           PQgetvalue(res, row, BILLING_APPLY_FRAME));
    }

    if (d->settle) {
        billing_events_wallet(w, p, balance, held);
    }
}


void
billing_events_reaped(billing_worker_t *w, const PGresult *res, int row)
{
    int64_t  ids[4];

    ids[0] = billing_pg_int(res, row, BILLING_REAP_ID, 0);
    ids[1] = billing_pg_int(res, row, BILLING_REAP_CLIENT, 0);
    ids[2] = billing_pg_int(res, row, BILLING_REAP_ADVISOR, 0);
    ids[3] = billing_pg_int(res, row, BILLING_REAP_CONV, 0);

    billing_events_state(w, ids,
                         billing_pg_int(res, row, BILLING_REAP_VER, 0),
                         PQgetvalue(res, row, BILLING_REAP_STATE),
                         billing_pg_int(res, row, BILLING_REAP_PAID, 0),
                         billing_pg_int(res, row, BILLING_REAP_HEAD, 0),
                         PQgetvalue(res, row, BILLING_REAP_SNAPSHOT));
}


/* The gateways need no more than the money and paid_until. */

static int
billing_events_pure(const billing_plan_t *p, int64_t ver)
{
    const billing_decision_t  *d;

    d = &p->decision;

    return d->tick && !d->ended && !d->settle && ver == p->ver
           && d->state == ASTRO_SESSION_ACTIVE
           && d->paid_until_ms != BILLING_NONE;
}


void
billing_events_tick_add(billing_worker_t *w, const billing_plan_t *p,
    int64_t balance)
{
    uint8_t       *last, line[ASTRO_TICK_LINE];
    size_t         len;
    astro_tick_t   t;

    t.session = p->session->id;
    t.ver = p->ver;
    t.paid_until_ms = p->decision.paid_until_ms;
    t.client = p->client;
    t.advisor = p->advisor;
    t.billed_ms = p->decision.tick ? p->decision.billed_ms : 0;
    t.charged = p->charged;
    t.earned = p->charged - p->fee;
    t.balance = balance;
    t.left_s = p->decision.left_ms / 1000;

    last = astro_tick_write(line, &t);

    if (last == NULL) {
        return;
    }

    len = (size_t) (last - line);

    if (w->ticks.len + len > BILLING_EVENTS_TICKS) {
        billing_events_flush(w);
    }

    if (w->ticks.len == 0) {
        billing_text_add(&w->ticks, "T\n", ASTRO_TICK_HEAD);
    }

    billing_text_add(&w->ticks, (const char *) line, len);

    if (p->decision.low) {
        billing_events_flush(w);
        billing_events_low(w, p);
    }
}


void
billing_events_flush(billing_worker_t *w)
{
    if (w->ticks.len > 0 && !w->ticks.failed) {
        billing_redis_publish(&w->redis, BILLING_REDIS_TICKS, w->ticks.data,
                              w->ticks.len);
    }

    billing_text_reset(&w->ticks);
}


/* The advisor sees what was earned; what is left is the client's business. */

static void
billing_events_tick(billing_worker_t *w, const billing_plan_t *p,
    int64_t balance)
{
    int              i;
    billing_text_t  *t;

    for (i = 0; i < 2; i++) {
        t = billing_events_to(w, i ? p->advisor : p->client);

        billing_text_str(t, "{\"type\":\"billing_tick\",\"payload\":");
        billing_events_num(t, "{\"session\":\"s_", p->session->id);
        billing_events_num(t, "\",\"billed_ms\":", p->decision.billed_ms);
        billing_events_num(t, ",\"charged\":", p->charged);

        if (i == 0) {
            billing_events_num(t, ",\"balance\":", balance);
            billing_events_num(t, ",\"left_s\":", p->decision.left_ms / 1000);

        } else {
            billing_events_num(t, ",\"earned\":", p->charged - p->fee);
        }

        billing_text_str(t, "}}");
        billing_events_send(w);
    }
}


static void
billing_events_low(billing_worker_t *w, const billing_plan_t *p)
{
    billing_text_t  *t;

    t = billing_events_to(w, p->client);

    billing_text_str(t, "{\"type\":\"billing_low\",\"payload\":");
    billing_events_num(t, "{\"session\":\"s_", p->session->id);
    billing_events_num(t, "\",\"left_s\":", p->decision.left_ms / 1000);
    billing_text_str(t, "}}");

    billing_events_send(w);
}


static void
billing_events_end(billing_worker_t *w, const billing_plan_t *p, int64_t seq,
    const char *frame)
{
    billing_text_t  *t;

    t = &w->frame;
    billing_text_reset(t);

    billing_events_num(t, "U ", p->client);
    billing_events_num(t, ",", p->advisor);
    billing_events_num(t, " ", p->conv);
    billing_events_num(t, " ", seq);
    billing_text_str(t, "\n");
    billing_text_str(t, frame);

    billing_events_send(w);
}


static void
billing_events_wallet(billing_worker_t *w, const billing_plan_t *p,
    int64_t balance, int64_t held)
{
    billing_text_t  *t;

    t = billing_events_to(w, p->client);

    billing_text_str(t, "{\"type\":\"wallet\",\"payload\":");
    billing_events_num(t, "{\"balance\":", balance);
    billing_events_num(t, ",\"held\":", held);
    billing_events_num(t, ",\"available\":", balance - held);
    billing_text_str(t, "}}");

    billing_events_send(w);
}


/* ids: the session, its client, its advisor, its conversation */

static void
billing_events_state(billing_worker_t *w, const int64_t *ids, int64_t ver,
    const char *state, int64_t paid_until, int64_t head, const char *snapshot)
{
    billing_text_t  *t;

    t = &w->frame;
    billing_text_reset(t);

    billing_events_num(t, "S ", ids[0]);
    billing_events_num(t, " ", ver);
    billing_text_str(t, " ");
    billing_text_str(t, state);
    billing_events_num(t, " ", paid_until);
    billing_events_num(t, " ", ids[1]);
    billing_events_num(t, " ", ids[2]);
    billing_events_num(t, " ", ids[3]);
    billing_events_num(t, " ", head);
    billing_text_str(t, "\n");
    billing_text_str(t, snapshot);

    billing_events_send(w);
}


/* A frame that is not stored, to one user. */

static billing_text_t *
billing_events_to(billing_worker_t *w, int64_t user)
{
    billing_text_reset(&w->frame);

    billing_events_num(&w->frame, "U ", user);
    billing_text_str(&w->frame, " 0 0\n");

    return &w->frame;
}


static void
billing_events_num(billing_text_t *t, const char *before, int64_t n)
{
    billing_text_str(t, before);
    billing_text_int(t, n);
}


static void
billing_events_send(billing_worker_t *w)
{
    if (billing_text_end(&w->frame) != NULL) {
        billing_redis_publish(&w->redis, BILLING_REDIS_NEWS, w->frame.data,
                              w->frame.len);
    }
}
