
/*
 * Copyright (C) The Astro authors
 *
 * The engine: the client's money.
 */

#include "engine_core.h"


/*
 * What was used by now is a guess, at most so far beyond what is proven.  If
 * the guess was wrong, as a party turns out to have been gone, it falls back
 * by no more than that; this much more money than the threshold is new money.
 */
#define BILLING_AHEAD_OF_PROOF_MS  4000     /* and the gateways' silence */
#define BILLING_REARM_MS           7000     /* the same */


static int64_t billing_engine_used(billing_engine_t *e);


int
billing_engine_charge(billing_engine_t *e, int64_t ms)
{
    int64_t              charged, fee;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (billing_tariff_charged(&f->tariff, ms, &charged) != BILLING_OK
        || billing_tariff_fee(&f->tariff, charged, &fee) != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    if (charged < f->charged) {
        d->reason = "less was used than is charged for";
        return BILLING_ERROR;
    }

    if (charged > e->funds) {
        d->reason = "more was used than there is money for";
        return BILLING_ERROR;
    }

    d->billed_ms = ms;
    d->amount = charged - f->charged;
    d->fee = fee - f->fee;
    d->held = (charged < e->committed) ? e->committed - charged : 0;
    d->tick = (ms != f->billed_ms);

    return BILLING_OK;
}


int
billing_engine_hold(billing_engine_t *e, int64_t target, int64_t *capacity)
{
    int64_t           need, charged;
    billing_facts_t  *f;

    f = e->f;
    charged = f->charged + e->d->amount;

    if (f->max_ms != BILLING_NONE && target > f->max_ms) {
        target = f->max_ms;
    }

    if (billing_tariff_charged(&f->tariff, target, &need) != BILLING_OK) {
        need = e->funds;
    }

    if (need > e->funds) {
        need = e->funds;
    }

    if (need < e->committed) {
        need = e->committed;
    }

    /*
     * The leases' clock may be behind what is proven, if it was another one's
     * with a gateway that is gone; the target is, then
     */

    if (need < charged) {
        need = charged;
    }

    e->d->held = need - charged;

    return billing_engine_capacity(e, need, capacity);
}


int
billing_engine_capacity(billing_engine_t *e, int64_t funds, int64_t *ms)
{
    if (billing_tariff_reach(&e->f->tariff, funds, ms) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (e->f->max_ms != BILLING_NONE && *ms > e->f->max_ms) {
        *ms = e->f->max_ms;
    }

    return BILLING_OK;
}


int
billing_engine_money(billing_engine_t *e, int64_t funds, int64_t *ms)
{
    billing_tariff_t  t;

    t = e->f->tariff;
    t.max_minor = 0;

    return billing_tariff_reach(&t, funds, ms);
}


int
billing_engine_exhausted(billing_engine_t *e)
{
    if (e->reach > e->spent) {
        return 0;
    }

    return e->limit_ms == BILLING_NEVER
           || e->spent < billing_proof_measure(e->f->intervals, e->f->n,
                                               e->limit_ms, BILLING_PROVEN);
}


int
billing_engine_maximum(billing_engine_t *e)
{
    int64_t                  last;
    const billing_tariff_t  *t;

    t = &e->f->tariff;

    if (e->f->max_ms != BILLING_NONE && e->spent >= e->f->max_ms) {
        return 1;
    }

    return t->max_minor != 0
           && billing_tariff_reach(t, t->max_minor, &last) == BILLING_OK
           && e->spent >= last;
}


int
billing_engine_capped(billing_engine_t *e)
{
    return e->f->capped
           && (e->f->max_ms == BILLING_NONE || e->spent < e->f->max_ms);
}


void
billing_engine_cap(billing_facts_t *f, int64_t cap_minor)
{
    int64_t  *max;

    max = &f->tariff.max_minor;

    f->capped = (cap_minor != 0 && (*max == 0 || cap_minor < *max));

    if (f->capped) {
        *max = cap_minor;
    }
}


/*
 * A maximum that the client chose shortens what is left and is no reason to
 * warn.
 */

int
billing_engine_low(billing_engine_t *e)
{
    int64_t              money;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (billing_engine_money(e, e->funds, &money) != BILLING_OK) {
        return BILLING_ERROR;
    }

    money -= billing_engine_used(e);

    if (!f->low_sent) {

        if (money <= e->s->low_ms) {
            d->low_sent = 1;
            d->low = 1;

        } else {
            billing_engine_wait(e, money - e->s->low_ms);
        }

    } else if (money > e->s->low_ms + f->silence_ms + BILLING_REARM_MS) {
        d->low_sent = 0;
    }

    return BILLING_OK;
}


void
billing_engine_left(billing_engine_t *e)
{
    int64_t  used;

    used = billing_engine_used(e);

    e->d->left_ms = (e->reach > used) ? e->reach - used : 0;
}


/* What was used by now, as far as anybody can guess. */

static int64_t
billing_engine_used(billing_engine_t *e)
{
    int64_t              used, cut;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (d->paid_until_ms == BILLING_NONE) {
        return 0;
    }

    cut = (d->paid_until_ms < f->est_ms) ? d->paid_until_ms : f->est_ms;
    used = billing_proof_measure(f->intervals, f->n, cut, BILLING_PROJECT);

    if (used > e->seen + f->silence_ms + BILLING_AHEAD_OF_PROOF_MS) {
        used = e->seen + f->silence_ms + BILLING_AHEAD_OF_PROOF_MS;
    }

    return (used > d->billed_ms) ? used : d->billed_ms;
}
