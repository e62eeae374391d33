
/*
 * Copyright (C) The Astro authors
 *
 * What the audit says: violations and the result on standard output, one line
 * each, as text or as JSON; progress on standard error.
 */

#ifndef _BILLING_AUDIT_REPORT_H_INCLUDED_
#define _BILLING_AUDIT_REPORT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "audit_codes.h"


typedef struct {
    int64_t   sessions;
    int64_t   transfers;
    int64_t   wallets;

    /* minor units; they may be what nobody expects, but do not overflow */
    int64_t   toppedup;
    int64_t   paidout;          /* what went back to the world */
    int64_t   owned;            /* by people: balances and dues */
    int64_t   fees;
    int64_t   granted;          /* by the platform: promo and the like */
    int64_t   charged;
} billing_audit_totals_t;

typedef struct {
    int       json;
    int       progress;
    int64_t   started;          /* ms */
    int64_t   said;
    int64_t   violations;
    unsigned  seen[BILLING_AUDIT_CODES];
    char      first[640];           /* violation; "": there is none */
} billing_report_t;

/* What a violation is about; 0: not about one. */
typedef struct {
    int64_t   session;
    int64_t   charge_no;
    int64_t   transfer;
    int64_t   wallet;
} billing_audit_about_t;


void billing_report_start(billing_report_t *r, int json, int progress);

void billing_report_violation(billing_report_t *r, billing_audit_code_e code,
    const billing_audit_about_t *about, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* More about the violation said last: for people alone. */
void billing_report_hint(billing_report_t *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Called often, says something now and then. */
void billing_report_progress(billing_report_t *r,
    const billing_audit_totals_t *t, const char *what);

/* BILLING_ERROR: not all of it could be written. */
int billing_report_end(billing_report_t *r, const billing_audit_totals_t *t);

/* Sums that stay at the end of what fits. */
void billing_sum(int64_t *sum, int64_t n);

/* The code of that word, BILLING_AUDIT_CODES if there is none. */
billing_audit_code_e billing_audit_code(const char *word);


#endif /* _BILLING_AUDIT_REPORT_H_INCLUDED_ */
