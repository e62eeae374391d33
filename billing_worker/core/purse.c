
/*
 * Copyright (C) The Astro authors
 *
 * Several sessions on one wallet: see purse.h.
 *
 * Who needs no more than its part gets it, which leaves the others a greater
 * part; and so on until nobody is satisfied any more.  What is left then is
 * less than each of the rest needs, and is divided.
 */

#include "purse.h"


/* share of a claim that is not decided yet */
#define BILLING_SHARE_OPEN  -1


static size_t billing_purse_satisfy(billing_claim_t *claims, size_t n,
    unsigned __int128 *rates, int64_t *left);
static void billing_purse_divide(billing_claim_t *claims, size_t n,
    unsigned __int128 rates, int64_t left);


int
billing_purse_split(billing_claim_t *claims, size_t n, int64_t available)
{
    size_t             i;
    int64_t            left;
    unsigned __int128  rates, needs;

    left = (available > 0) ? available : 0;
    rates = 0;
    needs = 0;

    for (i = 0; i < n; i++) {

        if (claims[i].need <= 0) {
            claims[i].share = 0;
            continue;
        }

        claims[i].share = BILLING_SHARE_OPEN;
        rates += (uint64_t) claims[i].rate;
        needs += (uint64_t) claims[i].need;
    }

    if (needs <= (uint64_t) left) {

        for (i = 0; i < n; i++) {
            claims[i].share = (claims[i].need > 0) ? claims[i].need : 0;
        }

        return 0;
    }

    while (billing_purse_satisfy(claims, n, &rates, &left)) { /* void */ }

    billing_purse_divide(claims, n, rates, left);

    return 1;
}


/* Returns how many got all that they need. */

static size_t
billing_purse_satisfy(billing_claim_t *claims, size_t n,
    unsigned __int128 *rates, int64_t *left)
{
    size_t            i, satisfied;
    billing_claim_t  *c;

    satisfied = 0;

    for (i = 0; i < n; i++) {
        c = &claims[i];

        if (c->share != BILLING_SHARE_OPEN
            || (uint64_t) c->need * *rates
               > (unsigned __int128) (uint64_t) *left * (uint64_t) c->rate)
        {
            continue;
        }

        c->share = c->need;
        *left -= c->need;
        *rates -= (uint64_t) c->rate;
        satisfied++;
    }

    return satisfied;
}


static void
billing_purse_divide(billing_claim_t *claims, size_t n,
    unsigned __int128 rates, int64_t left)
{
    size_t            i;
    int64_t           rest;
    billing_claim_t  *c;

    rest = left;

    for (i = 0; i < n; i++) {
        c = &claims[i];

        if (c->share == BILLING_SHARE_OPEN) {
            rest -= (int64_t) ((unsigned __int128) (uint64_t) left
                               * (uint64_t) c->rate / rates);
        }
    }

    /* rest is less than how many there are: each of them needs more */

    for (i = 0; i < n; i++) {
        c = &claims[i];

        if (c->share != BILLING_SHARE_OPEN) {
            continue;
        }

        c->share = (int64_t) ((unsigned __int128) (uint64_t) left
                              * (uint64_t) c->rate / rates);

        if (rest > 0) {
            c->share++;
            rest--;
        }
    }
}


void
billing_engine_claim(const billing_facts_t *f, const billing_decision_t *d,
    billing_claim_t *claim)
{
    size_t  n;

    n = f->nsegments;

    claim->rate = n ? f->segments[n - 1].rate : f->tariff.rate;
    claim->need = d->amount + d->held - f->held;
    claim->share = 0;
}


void
billing_engine_within(billing_facts_t *f, int64_t share)
{
    if (share < f->balance - f->wallet_held) {
        f->balance = f->wallet_held + share;
    }
}
