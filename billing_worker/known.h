
/*
 * Copyright (C) The Astro authors
 *
 * What is known of a session by heart, so that it can be charged without
 * reading it first.  This is the only part of a worker that believes anything;
 * why its belief cannot cost anybody a minor unit:
 *
 * A decision is a function of the session's row, of its intervals and segments,
 * of the leases of their gateways, of the client's wallet, and of the clock.
 * Only *pure ticks* are decided by heart: an active session stays active, is
 * charged for what is proven, and holds as much ahead as it should, for which
 * the wallet has more than enough.  All else (a state that changes, money that
 * runs short, a warning, a contradiction) is read again before it is decided,
 * and so is every tick that the database refuses.  billing.tick() does unless
 *
 *   - ver, rev and charge_no are what is remembered.  Everything that moves a
 *     session bumps ver; a trigger on consult.interval bumps rev, under the
 *     row's lock, whenever an interval opens or closes.  So the intervals, the
 *     state, the end, the maximum, the segments are what they were: no charge
 *     is of time that is not proven
 *   - held is what is remembered: wallet.held moves by the difference, and
 *     stays the sum of what the wallet's sessions hold whatever we believed
 *   - billed_ms and paid_until move forward only
 *   - the wallet, which may have been spent elsewhere, still has that much
 *     available, and no promo, of which a tick knows nothing
 *   - the shard is in the fence of the same transaction
 *
 * What can be old without being refused does no harm: a gateway's lease that
 * has been renewed since proves more than we believe, never less, as no
 * interval closes earlier than its gateway's last renewal less the silence;
 * a wallet that was topped up is richer than we believe, so that the session
 * is read a little early.  What ticks under way want of a wallet is not there
 * for the next one, until they are answered: one that cannot pay all of its
 * sessions would have their whole batch refused.
 *
 * It is thrown away at every nudge, whenever a scan sees another ver or rev,
 * when a tick is refused or its answer is lost, and with every change of the
 * session that is written by billing.apply().
 *
 * Memory: about 400 bytes a session with its two intervals, and 40 for each
 * wallet.
 */

#ifndef _BILLING_KNOWN_H_INCLUDED_
#define _BILLING_KNOWN_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "engine.h"


/* A wallet, once for all sessions that it pays for. */
typedef struct billing_wallet_s  billing_wallet_t;

struct billing_wallet_s {
    billing_wallet_t      *next;
    int64_t                id;
    int64_t                balance;     /* as heard last */
    int64_t                held;
    int64_t                wanted;      /* by ticks under way, of it */
    uint32_t               refs;        /* sessions known by heart */
};

typedef struct {
    billing_wallet_t     **buckets;
    size_t                 nbuckets;    /* a power of two */
    size_t                 n;
} billing_wallets_t;

typedef struct {
    billing_interval_t     interval;    /* to_ms: of a closed one alone */
    int64_t                gateway;     /* whose lease proves an open one */
} billing_stay_t;

/* Whose session it is, and what the facts do not say. */
typedef struct {
    int64_t                client;
    int64_t                advisor;
    int64_t                conv;
    int64_t                wallet;
    int32_t                rev;
} billing_whose_t;

typedef struct {
    billing_facts_t        facts;       /* its pointers are NULL at rest */
    billing_wallet_t      *wallet;
    int64_t                client;
    int64_t                advisor;
    int64_t                conv;
    int32_t                rev;
    uint32_t               n;
    uint32_t               nsegments;
    billing_stay_t         stays[];     /* and then the segments */
} billing_known_t;


int billing_wallets_init(billing_wallets_t *p);
void billing_wallets_free(billing_wallets_t *p);

/* NULL: nobody of that wallet is known by heart. */
billing_wallet_t *billing_wallets_find(billing_wallets_t *p, int64_t id);

/* What was heard of a wallet, if anybody cares. */
void billing_wallets_heard(billing_wallets_t *p, int64_t id, int64_t balance,
    int64_t held);


/*
 * A copy of f, whose intervals are proven by the leases of gateways, in the
 * same order.  NULL: no memory.
 */
billing_known_t *billing_known_new(billing_wallets_t *p,
    const billing_facts_t *f, const billing_whose_t *whose,
    const int64_t *gateways);
void billing_known_free(billing_wallets_t *p, billing_known_t *k);

/* The segments behind the stays. */
billing_segment_t *billing_known_segments(billing_known_t *k);


#endif /* _BILLING_KNOWN_H_INCLUDED_ */
