
/*
 * Copyright (C) The Astro authors
 *
 * The engine: what is, before anything is decided.
 */

#include "engine_core.h"


/* instants and money beyond these are somebody's mistake */
#define BILLING_INSTANT_MAX   (BILLING_NEVER / 2)
#define BILLING_MONEY_MAX     (INT64_MAX / 4)


static const char *billing_engine_check(const billing_facts_t *f);
static const char *billing_engine_times(const billing_facts_t *f);
static const char *billing_engine_books(const billing_facts_t *f);
static int billing_engine_interval(const billing_interval_t *iv);
static int billing_engine_instant(int64_t ms, int none);


int
billing_engine_init(billing_engine_t *e)
{
    int64_t              cut;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    d->reason = billing_engine_check(f);

    if (d->reason != NULL) {
        return BILLING_ERROR;
    }

    billing_proof_sort(f->intervals, f->n);

    e->limit_ms = billing_segments_place(f->segments, f->nsegments,
                                         f->intervals, f->n);

    f->tariff.segments = f->segments;
    f->tariff.nsegments = f->nsegments;

    d->reason = billing_engine_books(f);

    if (d->reason != NULL) {
        return BILLING_ERROR;
    }

    e->both = (billing_proof_present(f->intervals, f->n)
               == ((1u << BILLING_CLIENT) | (1u << BILLING_ADVISOR)));

    e->committed = f->charged + f->held;
    e->funds = e->committed + f->balance - f->wallet_held;

    if (billing_engine_capacity(e, e->committed, &e->capacity) != BILLING_OK
        || billing_engine_capacity(e, e->funds, &e->reach) != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    cut = (f->end_ms == BILLING_NONE) ? BILLING_NEVER : f->end_ms;

    e->seen = billing_engine_measure(e, cut, BILLING_PROVEN);
    e->proven = billing_engine_measure(e, (cut < e->limit_ms) ? cut
                                                              : e->limit_ms,
                                       BILLING_PROVEN);
    e->possible = billing_engine_measure(e, cut, BILLING_PROJECT);

    /*
     * A join that was on its way when paid_until was told may have used a
     * little more than what is held for it: the wallet pays that, too
     */

    e->spent = (e->proven < e->reach) ? e->proven : e->reach;

    if (e->spent < f->billed_ms) {
        e->spent = f->billed_ms;
    }

    d->state = f->state;
    d->end_ms = f->end_ms;
    d->active_ms = f->active_ms;
    d->paid_until_ms = f->paid_until_ms;
    d->billed_ms = f->billed_ms;
    d->amount = 0;
    d->fee = 0;
    d->held = f->held;
    d->left_ms = 0;
    d->tick_ms = f->tick_ms;
    d->wait_ms = BILLING_IDLE_MS;
    d->apply = 0;
    d->low_sent = f->low_sent;
    d->settle = 0;
    d->tick = 0;
    d->low = 0;
    d->ended = 0;

    return BILLING_OK;
}


/* What is wrong; NULL: nothing. */

static const char *
billing_engine_check(const billing_facts_t *f)
{
    if (f->charged < 0 || f->held < 0 || f->fee < 0 || f->charge_no < 0) {
        return "the session has charged, kept or holds less than nothing";
    }

    if (f->wallet_held < f->held) {
        return "the session holds more than its wallet does";
    }

    if (f->balance < f->wallet_held) {
        return "the wallet holds more than it has";
    }

    if (f->charged > BILLING_MONEY_MAX || f->balance > BILLING_MONEY_MAX) {
        return "a sum is out of all bounds";
    }

    if ((f->max_ms != BILLING_NONE && f->max_ms <= 0) || f->silence_ms < 0) {
        return "a maximum or a silence is none";
    }

    return billing_engine_times(f);
}


static const char *
billing_engine_times(const billing_facts_t *f)
{
    size_t  i;

    if (!billing_engine_instant(f->state_ms, 0)
        || !billing_engine_instant(f->now_ms, 0)
        || !billing_engine_instant(f->lease_ms, 0)
        || !billing_engine_instant(f->est_ms, 0)
        || !billing_engine_instant(f->end_ms, 1)
        || !billing_engine_instant(f->active_ms, 1)
        || !billing_engine_instant(f->paid_until_ms, 1)
        || !billing_engine_instant(f->tick_ms, 1))
    {
        return "an instant is out of all bounds";
    }

    if (f->est_ms < f->lease_ms) {
        return "the leases' clock is behind what they were renewed to";
    }

    for (i = 0; i < f->n; i++) {

        if (!billing_engine_interval(&f->intervals[i])) {
            return "an interval is none";
        }

        /* a closed one may: of a gateway that is gone, and had another clock */

        if (f->intervals[i].open && f->intervals[i].to_ms > f->lease_ms) {
            return "an open interval is proven beyond all leases";
        }
    }

    for (i = 0; i < f->nsegments; i++) {
        if (!billing_engine_instant(f->segments[i].at_ms, 0)
            || (i > 0 && f->segments[i].at_ms < f->segments[i - 1].at_ms))
        {
            return "segments are out of order";
        }
    }

    return NULL;
}


/* Whether what was charged is what the tariff says; NULL: it is. */

static const char *
billing_engine_books(const billing_facts_t *f)
{
    int64_t  charged, fee;

    if (billing_tariff_charged(&f->tariff, f->billed_ms, &charged)
        != BILLING_OK
        || billing_tariff_fee(&f->tariff, f->charged, &fee) != BILLING_OK)
    {
        return "the tariff, or what is billed, is out of all bounds";
    }

    if (charged != f->charged) {
        return "charged is not what the tariff says of what is billed";
    }

    return (fee == f->fee) ? NULL : "the fee is not its part of charged";
}


static int
billing_engine_interval(const billing_interval_t *iv)
{
    return billing_engine_instant(iv->from_ms, 0)
           && billing_engine_instant(iv->to_ms, 0)
           && iv->from_ms <= iv->to_ms
           && iv->party <= BILLING_ADVISOR;
}


static int
billing_engine_instant(int64_t ms, int none)
{
    if (ms == BILLING_NONE) {
        return none;
    }

    return ms > -BILLING_INSTANT_MAX && ms < BILLING_INSTANT_MAX;
}


int64_t
billing_engine_measure(billing_engine_t *e, int64_t cut_ms, int project)
{
    if (e->f->paid_until_ms == BILLING_NONE) {
        return 0;
    }

    if (cut_ms > e->f->paid_until_ms) {
        cut_ms = e->f->paid_until_ms;
    }

    return billing_proof_measure(e->f->intervals, e->f->n, cut_ms, project);
}


int64_t
billing_engine_last(billing_engine_t *e)
{
    size_t   i;
    int64_t  last;

    last = e->f->est_ms;

    for (i = 0; i < e->f->n; i++) {
        if (e->f->intervals[i].to_ms > last) {
            last = e->f->intervals[i].to_ms;
        }
    }

    return last;
}


int
billing_engine_cut_off(billing_engine_t *e)
{
    int                        party;
    size_t                     i;
    unsigned                   present;
    const billing_interval_t  *iv, *last;

    present = billing_proof_present(e->f->intervals, e->f->n);

    for (party = BILLING_CLIENT; party <= BILLING_ADVISOR; party++) {

        if (present & (1u << party)) {
            continue;
        }

        last = NULL;

        for (i = 0; i < e->f->n; i++) {
            iv = &e->f->intervals[i];

            if (iv->party == party
                && (last == NULL || iv->to_ms >= last->to_ms))
            {
                last = iv;
            }
        }

        if (last != NULL && last->unpaid
            && last->to_ms >= e->f->paid_until_ms)
        {
            return 1;
        }
    }

    return 0;
}
