
/*
 * Copyright (C) The Astro authors
 *
 * Sessions of one wallet that are in one batch.  Each was decided as if all
 * that is available were its own; where that is too much together, it is split
 * by rate, and each is decided again within its share (purse.h).
 */

#include <stdlib.h>

#include "batch.h"
#include "purse.h"


static int billing_share_compare(const void *one, const void *two);
static void billing_share_wallet(billing_batch_t *b, const PGresult *res,
    billing_place_t **places, size_t n);
static void billing_share_again(billing_batch_t *b, const PGresult *res,
    billing_place_t *place, int64_t share);


void
billing_batch_share(billing_batch_t *b, const PGresult *res)
{
    size_t            i, n, from;
    billing_place_t  *places[BILLING_BATCH];

    n = 0;

    for (i = 0; i < b->n; i++) {
        if (b->places[i].plan != NULL) {
            places[n++] = &b->places[i];
        }
    }

    if (n < 2) {
        return;
    }

    qsort(places, n, sizeof(billing_place_t *), billing_share_compare);

    for (from = 0, i = 1; i <= n; i++) {

        if (i < n && places[i]->session->wallet
                     == places[from]->session->wallet)
        {
            continue;
        }

        if (i - from > 1) {
            billing_share_wallet(b, res, &places[from], i - from);
        }

        from = i;
    }
}


/* by wallet, and in order of id: what does not divide goes to the lower ids */

static int
billing_share_compare(const void *one, const void *two)
{
    const billing_session_t  *a, *b;

    a = (*(billing_place_t *const *) one)->session;
    b = (*(billing_place_t *const *) two)->session;

    if (a->wallet != b->wallet) {
        return (a->wallet > b->wallet) - (a->wallet < b->wallet);
    }

    return (a->id > b->id) - (a->id < b->id);
}


static void
billing_share_wallet(billing_batch_t *b, const PGresult *res,
    billing_place_t **places, size_t n)
{
    size_t           i;
    billing_claim_t  claims[BILLING_BATCH];

    for (i = 0; i < n; i++) {
        claims[i] = places[i]->claim;
    }

    if (!billing_purse_split(claims, n, places[0]->available)) {
        return;
    }

    for (i = 0; i < n; i++) {
        if (claims[i].need > 0) {
            billing_share_again(b, res, places[i], claims[i].share);
        }
    }
}


/*
 * If it cannot be decided within its share the first decision stands: it is
 * carried out if the wallet can bear it, or refused, and read again.
 */

static void
billing_share_again(billing_batch_t *b, const PGresult *res,
    billing_place_t *place, int64_t share)
{
    billing_plan_t       p;
    billing_facts_t      f;
    billing_decision_t   d;

    if (billing_facts_read(b->worker, res, place->row, &f, &p)
        != BILLING_OK)
    {
        return;
    }

    f.tick_ms = place->session->tick_ms;

    billing_engine_within(&f, share);

    if (billing_engine_decide(&f, &b->worker->settings, &d) != BILLING_OK) {
        return;
    }

    place->plan->decision = d;
    place->plan->charged = f.charged + d.amount;
    place->plan->fee = f.fee + d.fee;
}
