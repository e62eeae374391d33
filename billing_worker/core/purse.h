
/*
 * Copyright (C) The Astro authors
 *
 * Several sessions on one wallet.  Each decides as if all that is available
 * were its own; together they may want more than there is.  Then it is split
 * here, and each decides again within its share:
 *
 *     decide() for each, then for those of one wallet that are in one batch
 *     billing_engine_claim() for each, in order of id
 *     billing_purse_split(); if it says so, for each with a need
 *         billing_engine_within(), decide() again
 *
 * The rest of a second decision's life is as of any other: what it wants of
 * the wallet is no more than its share, so the decisions of the batch can all
 * be carried out, in any order.
 */

#ifndef _BILLING_PURSE_H_INCLUDED_
#define _BILLING_PURSE_H_INCLUDED_


#include "engine.h"


typedef struct {
    int64_t  rate;              /* what a minute costs now */
    int64_t  need;              /* of what is available; <= 0: nothing */
    int64_t  share;             /* 0 .. need */
} billing_claim_t;


/*
 * Claims of one wallet in order of their sessions' ids.  If they need no more
 * than is available each gets what it needs; returns 0.
 *
 * Otherwise returns 1, and all that is available is given away: in proportion
 * to the rates, so that it lasts as long for each, but to none more than it
 * needs; what does not divide goes to the lower ids, a minor unit each.
 */
int billing_purse_split(billing_claim_t *claims, size_t n, int64_t available);

/* What the decision d wants of the wallet. */
void billing_engine_claim(const billing_facts_t *f,
    const billing_decision_t *d, billing_claim_t *claim);

/* Makes the facts say that no more than share is available. */
void billing_engine_within(billing_facts_t *f, int64_t share);


#endif /* _BILLING_PURSE_H_INCLUDED_ */
