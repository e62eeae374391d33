
/*
 * Copyright (C) The Astro authors
 *
 * The kinds of violations.  For each there is a word for machines and an
 * advice for people: audit_report.c.
 */

#ifndef _BILLING_AUDIT_CODES_H_INCLUDED_
#define _BILLING_AUDIT_CODES_H_INCLUDED_


typedef enum {
    BILLING_AUDIT_ROW = 0,      /* a transfer is not what it must be */
    BILLING_AUDIT_MISSING,      /* a transfer is not there */
    BILLING_AUDIT_ORPHAN,       /* a transfer is of nothing that there is */
    BILLING_AUDIT_SUM,          /* a session's sums */
    BILLING_AUDIT_TIME,         /* what was billed was not proven */
    BILLING_AUDIT_SETTLED,      /* a settlement that is none */
    BILLING_AUDIT_ROLLUP,       /* what was rolled up */
    BILLING_AUDIT_BALANCE,      /* a wallet's balance, held, promo */
    BILLING_AUDIT_PAYER,        /* somebody paid who may not */
    BILLING_AUDIT_PROMO,        /* cash was spent before promo */
    BILLING_AUDIT_RETURN,       /* more was given back than was taken */
    BILLING_AUDIT_PAYOUT,       /* a payout and its transfers */
    BILLING_AUDIT_PAYMENT,      /* a payment and its top-up */
    BILLING_AUDIT_CHAIN,        /* the log of admin acts */
    BILLING_AUDIT_TOTAL,        /* the whole */
    BILLING_AUDIT_CODES
} billing_audit_code_e;


#endif /* _BILLING_AUDIT_CODES_H_INCLUDED_ */
