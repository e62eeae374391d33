
/*
 * Copyright (C) The Astro authors
 *
 * One walk over the intervals in the order of their starts.  Each adds to the
 * union of its own side a new part [a, to), where a is not before any start
 * seen so far; so what the other side covers from a on is one piece, up to the
 * furthest end seen there.  The overlap of these two is a segment in which
 * both were there, and segments come out in order and disjoint.
 */

#include <stdlib.h>

#include "proof.h"


typedef struct {
    const billing_interval_t  *iv;
    size_t                     n;
    size_t                     next;
    int64_t                    reach[2];    /* furthest end of each side */
    int                        project;
} billing_walk_t;


static void billing_walk_init(billing_walk_t *w, const billing_interval_t *iv,
    size_t n, int project);
static int billing_walk_next(billing_walk_t *w, int64_t *from, int64_t *to);
static int billing_proof_sent_away(const billing_interval_t *iv, size_t n,
    int64_t at);
static int billing_proof_compare(const void *one, const void *two);


void
billing_proof_sort(billing_interval_t *iv, size_t n)
{
    if (n > 1) {
        qsort(iv, n, sizeof(billing_interval_t), billing_proof_compare);
    }
}


int64_t
billing_proof_measure(const billing_interval_t *iv, size_t n, int64_t cut_ms,
    int project)
{
    int64_t         from, to, sum;
    billing_walk_t  w;

    sum = 0;

    billing_walk_init(&w, iv, n, project);

    while (billing_walk_next(&w, &from, &to)) {

        if (from >= cut_ms) {
            break;
        }

        sum += ((to < cut_ms) ? to : cut_ms) - from;
    }

    return sum;
}


int64_t
billing_proof_instant(const billing_interval_t *iv, size_t n, int64_t ms,
    int project)
{
    int64_t         from, to;
    billing_walk_t  w;

    billing_walk_init(&w, iv, n, project);

    while (billing_walk_next(&w, &from, &to)) {

        if (to - from >= ms) {
            return from + ms;
        }

        ms -= to - from;
    }

    return BILLING_NEVER;
}


int64_t
billing_proof_apart(const billing_interval_t *iv, size_t n, int64_t until_ms)
{
    int64_t         from, to, last, sum;
    billing_walk_t  w;

    billing_walk_init(&w, iv, n, BILLING_PROJECT);

    if (!billing_walk_next(&w, &from, &last)) {
        return 0;
    }

    sum = 0;

    while (last < until_ms) {

        if (!billing_walk_next(&w, &from, &to)) {
            from = until_ms;
            to = until_ms;
        }

        if (from > until_ms) {
            from = until_ms;
        }

        if (from > last && !billing_proof_sent_away(iv, n, last)) {
            sum += from - last;
        }

        last = to;
    }

    return sum;
}


static int
billing_proof_sent_away(const billing_interval_t *iv, size_t n, int64_t at)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        if (iv[i].unpaid && !iv[i].open && iv[i].to_ms == at) {
            return 1;
        }
    }

    return 0;
}


unsigned
billing_proof_present(const billing_interval_t *iv, size_t n)
{
    size_t    i;
    unsigned  present;

    present = 0;

    for (i = 0; i < n; i++) {
        if (iv[i].open) {
            present |= 1u << iv[i].party;
        }
    }

    return present;
}


static void
billing_walk_init(billing_walk_t *w, const billing_interval_t *iv, size_t n,
    int project)
{
    w->iv = iv;
    w->n = n;
    w->next = 0;
    w->reach[BILLING_CLIENT] = -BILLING_NEVER;
    w->reach[BILLING_ADVISOR] = -BILLING_NEVER;
    w->project = project;
}


/* The next segment [from, to) in which both were there; 0: there is none. */

static int
billing_walk_next(billing_walk_t *w, int64_t *from, int64_t *to)
{
    int64_t                    a, end, other;
    const billing_interval_t  *iv;

    while (w->next < w->n) {
        iv = &w->iv[w->next++];

        end = (iv->open && w->project) ? BILLING_NEVER : iv->to_ms;

        if (end > BILLING_NEVER) {
            end = BILLING_NEVER;
        }

        a = iv->from_ms;

        if (a < w->reach[iv->party]) {
            a = w->reach[iv->party];
        }

        if (end <= a) {
            continue;
        }

        w->reach[iv->party] = end;

        other = w->reach[!iv->party];

        if (other <= a) {
            continue;
        }

        *from = a;
        *to = (end < other) ? end : other;

        return 1;
    }

    return 0;
}


static int
billing_proof_compare(const void *one, const void *two)
{
    const billing_interval_t  *a, *b;

    a = one;
    b = two;

    return (a->from_ms > b->from_ms) - (a->from_ms < b->from_ms);
}
