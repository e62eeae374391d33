
/*
 * Copyright (C) The Astro authors
 *
 * What is known by heart: see known.h.  How it is kept, not what is done with
 * it.
 */

#include <stdlib.h>
#include <string.h>

#include "known.h"


#define BILLING_WALLETS_BUCKETS  1024


static billing_wallet_t **billing_wallets_place(billing_wallets_t *p,
    int64_t id);
static billing_wallet_t *billing_wallets_get(billing_wallets_t *p,
    int64_t id);
static void billing_wallets_put(billing_wallets_t *p,
    billing_wallet_t *wallet);
static void billing_wallets_grow(billing_wallets_t *p);


int
billing_wallets_init(billing_wallets_t *p)
{
    p->n = 0;
    p->nbuckets = BILLING_WALLETS_BUCKETS;
    p->buckets = calloc(p->nbuckets, sizeof(billing_wallet_t *));

    return p->buckets ? BILLING_OK : BILLING_ERROR;
}


void
billing_wallets_free(billing_wallets_t *p)
{
    free(p->buckets);
    memset(p, 0, sizeof(billing_wallets_t));
}


billing_wallet_t *
billing_wallets_find(billing_wallets_t *p, int64_t id)
{
    return *billing_wallets_place(p, id);
}


void
billing_wallets_heard(billing_wallets_t *p, int64_t id, int64_t balance,
    int64_t held)
{
    billing_wallet_t  *wallet;

    wallet = billing_wallets_find(p, id);

    if (wallet != NULL) {
        wallet->balance = balance;
        wallet->held = held;
    }
}


/* Where the pointer to it is, or would be. */

static billing_wallet_t **
billing_wallets_place(billing_wallets_t *p, int64_t id)
{
    billing_wallet_t  **place;

    /* ids follow each other: no more mixing is needed */

    place = &p->buckets[(size_t) id & (p->nbuckets - 1)];

    while (*place != NULL && (*place)->id != id) {
        place = &(*place)->next;
    }

    return place;
}


static billing_wallet_t *
billing_wallets_get(billing_wallets_t *p, int64_t id)
{
    billing_wallet_t  **place, *wallet;

    place = billing_wallets_place(p, id);

    if (*place == NULL) {

        if (p->n >= p->nbuckets) {
            billing_wallets_grow(p);
            place = billing_wallets_place(p, id);
        }

        wallet = calloc(1, sizeof(billing_wallet_t));
        if (wallet == NULL) {
            return NULL;
        }

        wallet->id = id;
        *place = wallet;
        p->n++;
    }

    (*place)->refs++;

    return *place;
}


static void
billing_wallets_put(billing_wallets_t *p, billing_wallet_t *wallet)
{
    if (--wallet->refs > 0) {
        return;
    }

    *billing_wallets_place(p, wallet->id) = wallet->next;
    p->n--;

    free(wallet);
}


/* Not to grow is slow, not wrong. */

static void
billing_wallets_grow(billing_wallets_t *p)
{
    size_t            i, old;
    billing_wallet_t  *wallet, *next, **was, **place;

    was = p->buckets;
    old = p->nbuckets;

    p->buckets = calloc(old * 2, sizeof(billing_wallet_t *));

    if (p->buckets == NULL) {
        p->buckets = was;
        return;
    }

    p->nbuckets = old * 2;

    for (i = 0; i < old; i++) {
        for (wallet = was[i]; wallet != NULL; wallet = next) {
            next = wallet->next;
            place = &p->buckets[(size_t) wallet->id & (p->nbuckets - 1)];
            wallet->next = *place;
            *place = wallet;
        }
    }

    free(was);
}


billing_known_t *
billing_known_new(billing_wallets_t *p, const billing_facts_t *f,
    const billing_whose_t *whose, const int64_t *gateways)
{
    size_t            i;
    billing_known_t  *k;

    k = malloc(sizeof(billing_known_t) + f->n * sizeof(billing_stay_t)
               + f->nsegments * sizeof(billing_segment_t));
    if (k == NULL) {
        return NULL;
    }

    k->wallet = billing_wallets_get(p, whose->wallet);

    if (k->wallet == NULL) {
        free(k);
        return NULL;
    }

    k->wallet->balance = f->balance;
    k->wallet->held = f->wallet_held;

    k->facts = *f;
    k->facts.intervals = NULL;
    k->facts.segments = NULL;
    k->client = whose->client;
    k->advisor = whose->advisor;
    k->conv = whose->conv;
    k->rev = whose->rev;
    k->n = (uint32_t) f->n;
    k->nsegments = (uint32_t) f->nsegments;

    for (i = 0; i < f->n; i++) {
        k->stays[i].interval = f->intervals[i];
        k->stays[i].gateway = gateways[i];
    }

    if (f->nsegments > 0) {
        memcpy(billing_known_segments(k), f->segments,
               f->nsegments * sizeof(billing_segment_t));
    }

    return k;
}


void
billing_known_free(billing_wallets_t *p, billing_known_t *k)
{
    if (k != NULL) {
        billing_wallets_put(p, k->wallet);
        free(k);
    }
}


billing_segment_t *
billing_known_segments(billing_known_t *k)
{
    return (billing_segment_t *) &k->stays[k->n];
}
