
/*
 * Copyright (C) The Astro authors
 *
 * Proof of presence: from the intervals in which the two parties of a session
 * were connected to the time that may be billed, which is the measure of
 * (union of the client's) intersected with (union of the advisor's).
 *
 * All instants are milliseconds on the lease timeline.  An open interval has
 * two ends: what its gateway's lease proves by now (to_ms), and, if asked to
 * project, forever: that is what will be true if the party just stays.
 */

#ifndef _BILLING_PROOF_H_INCLUDED_
#define _BILLING_PROOF_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* later than any instant; sums of a few of them still fit */
#define BILLING_NEVER  (INT64_MAX / 4)

#define BILLING_PROVEN   0
#define BILLING_PROJECT  1


typedef enum {
    BILLING_CLIENT = 0,
    BILLING_ADVISOR
} billing_party_e;

typedef struct {
    int64_t   from_ms;
    int64_t   to_ms;        /* end, or what is proven of an open one */
    uint8_t   party;        /* billing_party_e */
    uint8_t   open;
    uint8_t   unpaid;       /* closed as the paid time was over */
} billing_interval_t;


/* Every function below wants the intervals sorted by from_ms: this does it. */
void billing_proof_sort(billing_interval_t *iv, size_t n);

/* How long both were there before the instant cut_ms. */
int64_t billing_proof_measure(const billing_interval_t *iv, size_t n,
    int64_t cut_ms, int project);

/*
 * The first instant by which both were there for ms in sum; for 0 the instant
 * when both were first there.  BILLING_NEVER if it is not reached.
 */
int64_t billing_proof_instant(const billing_interval_t *iv, size_t n,
    int64_t ms, int project);

/*
 * How long, since both were first there and until until_ms, they were not both
 * there, but for the time after a closing as unpaid: who is sent away for want
 * of money, or of a billing worker, did not go.
 */
int64_t billing_proof_apart(const billing_interval_t *iv, size_t n,
    int64_t until_ms);

/* Bit 1 << party for every party with an open interval. */
unsigned billing_proof_present(const billing_interval_t *iv, size_t n);


#endif /* _BILLING_PROOF_H_INCLUDED_ */
