
/*
 * Copyright (C) The Astro authors
 *
 * What must hold within one session's books.  No I/O: what is wrong is said to
 * a function.
 */

#ifndef _BILLING_AUDIT_SESSION_H_INCLUDED_
#define _BILLING_AUDIT_SESSION_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "audit_codes.h"
#include "proof.h"
#include "segments.h"
#include "tariff.h"


typedef struct {
    int64_t                id;
    int64_t                charge_no;
    int64_t                amount;
    int64_t                fee;
    int64_t                promo;
    int64_t                debit;
    int64_t                credit;
    int64_t                billed_ms;       /* after it; -1: not told */
} billing_audit_transfer_t;

/* What the transfers of an old session came to, when they were rolled up. */
typedef struct {
    int64_t                charges;
    int64_t                amount;
    int64_t                fee;
    int64_t                promo;
    int64_t                debit;
    int64_t                credit;
} billing_audit_rollup_t;

typedef struct {
    int64_t                    id;
    int                        ended;
    int                        settled;
    int                        low_balance; /* the reason of its end */
    billing_tariff_t           tariff;
    int64_t                    client_wallet;
    int64_t                    advisor_wallet;
    int64_t                    max_ms;      /* BILLING_NONE: no maximum */
    int64_t                    end_ms;
    int64_t                    paid_until_ms;
    int64_t                    charge_no;
    int64_t                    billed_ms;
    int64_t                    charged;
    int64_t                    fee;
    int64_t                    promo;
    int64_t                    held;
    int64_t                    credited;

    billing_audit_transfer_t  *transfers;   /* in order of charge_no */
    size_t                     ntransfers;
    billing_audit_rollup_t    *rollup;      /* or NULL */
    billing_interval_t        *intervals;
    size_t                     nintervals;
    billing_segment_t         *segments;    /* in order */
    size_t                     nsegments;
    int64_t                    told_segments;   /* by the session's row */
} billing_audit_session_t;

/* transfer: the one that is wrong, or NULL */
typedef void (*billing_audit_say_pt)(void *data,
    const billing_audit_session_t *s, const billing_audit_transfer_t *transfer,
    billing_audit_code_e code, const char *what);


/*
 * Sorts the intervals, places the segments and gives them to the tariff.
 * Returns how many violations were said.
 */
int billing_audit_session(billing_audit_session_t *s,
    billing_audit_say_pt say, void *data);


#endif /* _BILLING_AUDIT_SESSION_H_INCLUDED_ */
