
/*
 * Copyright (C) The Astro authors
 *
 * Decisions from memory: what is known by heart, the leases of gateways as they
 * were polled last, and the engine, which does not know the difference.
 */

#include <stdlib.h>
#include <string.h>

#include "lanes.h"


static int billing_heart_facts(billing_worker_t *w, billing_session_t *one,
    int64_t now, billing_facts_t *f);
static int billing_heart_room(billing_worker_t *w, size_t n);


billing_heart_e
billing_heart_decide(billing_worker_t *w, billing_session_t *one, int64_t now,
    billing_plan_t *p)
{
    billing_facts_t   f;
    billing_known_t  *k;

    k = one->known;

    /* the engine logs nothing: who reads the facts will find the same */

    if (billing_heart_facts(w, one, now, &f) != BILLING_OK
        || billing_engine_decide(&f, &w->settings, &p->decision)
           != BILLING_OK)
    {
        return BILLING_HEART_ASK;
    }

    billing_purses_note(w, one, &p->decision);

    p->session = one;
    p->client = k->client;
    p->advisor = k->advisor;
    p->conv = k->conv;
    p->ver = f.ver;
    p->rev = k->rev;
    p->charge_no = f.charge_no;
    p->charged = f.charged + p->decision.amount;
    p->fee = f.fee + p->decision.fee;
    p->held = f.held;

    return billing_heart_kind(&f, &p->decision);
}


/*
 * A hold that takes all there is may be one of several that want it, and is
 * soon the last: that is not for here.
 */

billing_heart_e
billing_heart_kind(const billing_facts_t *f, const billing_decision_t *d)
{
    int64_t  need;

    if (f->state != ASTRO_SESSION_ACTIVE || d->state != ASTRO_SESSION_ACTIVE
        || d->settle || d->ended || d->reason != NULL || d->low
        || d->low_sent != f->low_sent || d->end_ms != f->end_ms
        || d->active_ms != f->active_ms)
    {
        return BILLING_HEART_ASK;
    }

    if (!d->apply) {
        return BILLING_HEART_WAIT;
    }

    need = d->amount + d->held - f->held;

    if (d->paid_until_ms < f->paid_until_ms || d->billed_ms < f->billed_ms
        || need < 0 || (need > 0 && need >= f->balance - f->wallet_held))
    {
        return BILLING_HEART_ASK;
    }

    return BILLING_HEART_TICK;
}


static int
billing_heart_facts(billing_worker_t *w, billing_session_t *one, int64_t now,
    billing_facts_t *f)
{
    size_t                 i;
    int64_t                since, lease, age;
    billing_known_t       *k;
    billing_interval_t    *iv;
    const billing_life_t  *life;

    k = one->known;
    since = now - w->lives.read_at;

    if (since > BILLING_LIVES_OLD_MS
        || billing_heart_room(w, k->n) != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    *f = k->facts;

    f->tick_ms = one->tick_ms;
    f->balance = k->wallet->balance;
    f->wallet_held = k->wallet->held + k->wallet->wanted;
    f->now_ms = w->lives.now_ms + since;
    f->lease_ms = BILLING_NONE;
    f->est_ms = BILLING_NONE;
    f->silence_ms = 0;

    f->intervals = w->ticker.intervals;
    f->segments = billing_known_segments(k);

    for (i = 0; i < k->n; i++) {

        iv = &f->intervals[i];
        *iv = k->stays[i].interval;
        life = billing_lives_find(w, k->stays[i].gateway);

        if (life == NULL) {

            /* closed meanwhile, or so new that it was not polled yet */

            if (iv->open) {
                return BILLING_ERROR;
            }

            continue;
        }

        if (iv->open) {
            iv->to_ms = life->lease_ms - life->silence_ms;

            if (iv->to_ms < iv->from_ms) {
                iv->to_ms = iv->from_ms;
            }
        }

        lease = (life->lease_ms > iv->from_ms) ? life->lease_ms : iv->from_ms;
        age = life->age_ms + since;

        if (age > BILLING_LIVES_AGE_MS) {
            age = BILLING_LIVES_AGE_MS;
        }

        if (lease > f->lease_ms) {
            f->lease_ms = lease;
        }

        if (lease + age > f->est_ms) {
            f->est_ms = lease + age;
        }

        if (life->silence_ms > f->silence_ms) {
            f->silence_ms = life->silence_ms;
        }
    }

    return (f->lease_ms == BILLING_NONE) ? BILLING_ERROR : BILLING_OK;
}


/* The ticker's scratch: one decision at a time is made here, too. */

static int
billing_heart_room(billing_worker_t *w, size_t n)
{
    billing_interval_t  *grown;

    if (n <= w->ticker.nintervals) {
        return BILLING_OK;
    }

    grown = realloc(w->ticker.intervals, n * sizeof(billing_interval_t));
    if (grown == NULL) {
        return BILLING_ERROR;
    }

    w->ticker.intervals = grown;
    w->ticker.nintervals = n;

    return BILLING_OK;
}
