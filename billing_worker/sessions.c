
/*
 * Copyright (C) The Astro authors
 *
 * The sessions in memory: see sessions.h.
 */

#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "sessions.h"


#define BILLING_SESSIONS_BUCKETS  1024


static size_t billing_sessions_bucket(const billing_sessions_t *s,
    int64_t key);
static int billing_sessions_grow(billing_sessions_t *s);
static void billing_sessions_link(billing_sessions_t *s,
    billing_session_t *one);


int
billing_sessions_init(billing_sessions_t *s)
{
    memset(s, 0, sizeof(billing_sessions_t));

    billing_heap_init(&s->heap);

    if (billing_wallets_init(&s->wallets) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return billing_sessions_grow(s);
}


void
billing_sessions_free(billing_sessions_t *s)
{
    size_t              i;
    billing_session_t  *one, *next;

    billing_heap_free(&s->heap);

    for (i = 0; i < s->buckets; i++) {
        for (one = s->by_id[i]; one != NULL; one = next) {
            next = one->next_id;
            billing_known_free(&s->wallets, one->known);
            free(one);
        }
    }

    free(s->by_id);
    free(s->by_wallet);
    billing_wallets_free(&s->wallets);

    memset(s, 0, sizeof(billing_sessions_t));
}


billing_session_t *
billing_sessions_find(billing_sessions_t *s, int64_t id)
{
    billing_session_t  *one;

    one = s->by_id[billing_sessions_bucket(s, id)];

    while (one != NULL && one->id != id) {
        one = one->next_id;
    }

    return one;
}


billing_session_t *
billing_sessions_add(billing_sessions_t *s, int64_t id, int64_t wallet,
    int shard)
{
    billing_session_t  *one;

    /* not to grow is slow, not wrong */

    if (s->n >= s->buckets) {
        (void) billing_sessions_grow(s);
    }

    one = calloc(1, sizeof(billing_session_t));
    if (one == NULL) {
        return NULL;
    }

    /*
     * what is due at one time goes in order of id: neighbours in the heap are
     * neighbours in the tables, and thousands are read in half the time
     */

    one->due.rank = id;
    one->id = id;
    one->wallet = wallet;
    one->shard = (int16_t) shard;
    one->tick_ms = BILLING_NONE;
    one->heap = &s->heap;

    billing_sessions_link(s, one);
    s->n++;

    return one;
}


void
billing_sessions_drop(billing_sessions_t *s, billing_session_t *one)
{
    billing_session_t  **p;

    billing_heap_remove(one->heap, &one->due);
    billing_known_free(&s->wallets, one->known);

    for (p = &s->by_id[billing_sessions_bucket(s, one->id)];
         *p != one;
         p = &(*p)->next_id)
    { /* void */ }

    *p = one->next_id;

    for (p = &s->by_wallet[billing_sessions_bucket(s, one->wallet)];
         *p != one;
         p = &(*p)->next_wallet)
    { /* void */ }

    *p = one->next_wallet;

    s->n--;
    free(one);
}


int
billing_sessions_due(billing_sessions_t *s, billing_session_t *one,
    int64_t at)
{
    if (one->busy) {
        one->again = 1;
        return BILLING_OK;
    }

    (void) s;

    return billing_heap_set(one->heap, &one->due, at);
}


void
billing_sessions_move(billing_session_t *one, billing_heap_t *heap)
{
    if (one->heap != heap) {
        billing_heap_remove(one->heap, &one->due);
        one->heap = heap;
    }
}


int
billing_sessions_moved(billing_sessions_t *s, billing_session_t *one,
    int64_t at)
{
    if (!one->busy) {
        billing_sessions_forget(s, one);
    }

    return billing_sessions_due(s, one, at);
}


void
billing_sessions_look(billing_sessions_t *s, billing_session_t *one,
    int64_t at)
{
    /* a busy one needs no memory, and is not dropped */

    if (billing_sessions_moved(s, one, at) != BILLING_OK) {
        billing_sessions_drop(s, one);
    }
}


void
billing_sessions_look_wallet(billing_sessions_t *s, int64_t wallet,
    int64_t at)
{
    billing_session_t  *one, *next;

    for (one = billing_sessions_of_wallet(s, wallet, NULL);
         one != NULL;
         one = next)
    {
        next = billing_sessions_of_wallet(s, wallet, one);
        billing_sessions_look(s, one, at);
    }
}


void
billing_sessions_forget(billing_sessions_t *s, billing_session_t *one)
{
    billing_known_free(&s->wallets, one->known);
    one->known = NULL;

    billing_sessions_move(one, &s->heap);
}


billing_session_t *
billing_sessions_of_wallet(billing_sessions_t *s, int64_t wallet,
    billing_session_t *after)
{
    billing_session_t  *one;

    one = after ? after->next_wallet
                : s->by_wallet[billing_sessions_bucket(s, wallet)];

    while (one != NULL && one->wallet != wallet) {
        one = one->next_wallet;
    }

    return one;
}


void
billing_sessions_sweep(billing_sessions_t *s,
    int (*gone)(void *data, const billing_session_t *one), void *data)
{
    size_t              i;
    billing_session_t  *one, *next;

    for (i = 0; i < s->buckets; i++) {
        for (one = s->by_id[i]; one != NULL; one = next) {
            next = one->next_id;

            if (!one->busy && gone(data, one)) {
                billing_sessions_drop(s, one);
            }
        }
    }
}


void
billing_sessions_sums(const billing_sessions_t *s,
    billing_sessions_sum_t *sums, size_t n)
{
    size_t                    i;
    const billing_session_t  *one;

    memset(sums, 0, n * sizeof(billing_sessions_sum_t));

    for (i = 0; i < s->buckets; i++) {
        for (one = s->by_id[i]; one != NULL; one = one->next_id) {
            sums[one->shard].n++;
            sums[one->shard].sum += (one->id * 7919
                                     + ((int64_t) one->ver + one->rev)
                                       * 104729)
                                    % INT32_MAX;
        }
    }
}


static size_t
billing_sessions_bucket(const billing_sessions_t *s, int64_t key)
{
    /* ids follow each other: no more mixing is needed */

    return (size_t) key & (s->buckets - 1);
}


static int
billing_sessions_grow(billing_sessions_t *s)
{
    size_t               i, old;
    billing_session_t   *one, *next, **was, **by_id, **by_wallet;

    old = s->buckets;
    i = old ? old * 2 : BILLING_SESSIONS_BUCKETS;

    by_id = calloc(i, sizeof(billing_session_t *));
    by_wallet = calloc(i, sizeof(billing_session_t *));

    if (by_id == NULL || by_wallet == NULL) {
        free(by_id);
        free(by_wallet);
        return BILLING_ERROR;
    }

    was = s->by_id;
    free(s->by_wallet);

    s->by_id = by_id;
    s->by_wallet = by_wallet;
    s->buckets = i;

    for (i = 0; i < old; i++) {
        for (one = was[i]; one != NULL; one = next) {
            next = one->next_id;
            billing_sessions_link(s, one);
        }
    }

    free(was);

    return BILLING_OK;
}


static void
billing_sessions_link(billing_sessions_t *s, billing_session_t *one)
{
    size_t  i;

    i = billing_sessions_bucket(s, one->id);
    one->next_id = s->by_id[i];
    s->by_id[i] = one;

    i = billing_sessions_bucket(s, one->wallet);
    one->next_wallet = s->by_wallet[i];
    s->by_wallet[i] = one;
}
