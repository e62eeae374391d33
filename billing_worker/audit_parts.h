
/*
 * Copyright (C) The Astro authors
 *
 * The parts of an audit.  Each reads some streams of the one snapshot, adds to
 * the totals, and says what is wrong.
 */

#ifndef _BILLING_AUDIT_PARTS_H_INCLUDED_
#define _BILLING_AUDIT_PARTS_H_INCLUDED_


#include "audit_report.h"
#include "audit_stream.h"


/* sessions that are looked at with one set of cursors: one partition's */
#define BILLING_AUDIT_RANGE  (INT64_C(1) << 20)


typedef struct {
    billing_snapshot_t        snapshot;
    billing_report_t          report;
    billing_audit_totals_t    totals;

    /* wallets of what was found: sorted when the sessions are done */
    int64_t                  *blamed;
    size_t                    nblamed;
    size_t                    blamed_size;
} billing_audit_t;


/* BILLING_ERROR: it could not look, and said why. */

/* audit_sessions.c: sessions with their charges, intervals, segments */
int billing_audit_sessions(billing_audit_t *a);

/* audit_others.c: transfers of no session */
int billing_audit_others(billing_audit_t *a);

/* audit_wallets.c: balances, and all of it together */
int billing_audit_wallets(billing_audit_t *a);

/* audit.c: something of this wallet was named already */
int billing_audit_blame(billing_audit_t *a, int64_t wallet);


#endif /* _BILLING_AUDIT_PARTS_H_INCLUDED_ */
