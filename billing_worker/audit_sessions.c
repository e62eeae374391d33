
/*
 * Copyright (C) The Astro authors
 *
 * The sessions of an audit: streams of sessions, their charges, intervals,
 * segments and roll-ups, each in order of the session, are merged.  So each
 * row is read once, and no more than one session is in memory.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit_parts.h"
#include "audit_session.h"
#include "engine.h"


/* the columns of billing.audit_sessions() */
enum {
    SESSION_ID = 0, SESSION_ENDED, SESSION_SETTLED, SESSION_LOW_BALANCE,
    SESSION_CLIENT, SESSION_ADVISOR, SESSION_CLIENT_WALLET,
    SESSION_ADVISOR_WALLET, SESSION_RATE, SESSION_BPS, SESSION_MAX_MS,
    SESSION_END_MS, SESSION_PAID_MS, SESSION_CHARGE_NO, SESSION_BILLED_MS,
    SESSION_CHARGED, SESSION_FEE, SESSION_PROMO, SESSION_HELD,
    SESSION_CREDITED, SESSION_WHOLE_MINUTE, SESSION_MIN_MINOR,
    SESSION_FREE_MS, SESSION_MAX_MINOR, SESSION_SEGMENTS
};

/* of billing.audit_charges() */
enum {
    CHARGE_SESSION = 0, CHARGE_NO, CHARGE_ID, CHARGE_AMOUNT, CHARGE_FEE,
    CHARGE_PROMO, CHARGE_DEBIT, CHARGE_CREDIT, CHARGE_BILLED_MS
};

/* of billing.audit_intervals() */
enum {
    INTERVAL_SESSION = 0, INTERVAL_ACCOUNT, INTERVAL_FROM, INTERVAL_TO,
    INTERVAL_OPEN
};

/* of billing.audit_segments() */
enum {
    SEGMENT_SESSION = 0, SEGMENT_AT, SEGMENT_RATE
};

/* of billing.audit_rollups() */
enum {
    ROLLUP_SESSION = 0, ROLLUP_CHARGES, ROLLUP_AMOUNT, ROLLUP_FEE,
    ROLLUP_PROMO, ROLLUP_DEBIT, ROLLUP_CREDIT
};

typedef enum {
    STREAM_SESSIONS = 0,
    STREAM_CHARGES,
    STREAM_INTERVALS,
    STREAM_SEGMENTS,
    STREAM_ROLLUPS,
    STREAMS
} billing_audit_stream_e;

typedef struct {
    billing_audit_t           *audit;
    billing_stream_t           streams[STREAMS];
    unsigned                   rows;        /* bit: there is a current row */

    /* scratch for one session */
    billing_audit_transfer_t  *transfers;
    size_t                     transfers_size;
    billing_interval_t        *intervals;
    size_t                     intervals_size;
    billing_segment_t         *segments;
    size_t                     segments_size;
    billing_audit_rollup_t     rollup;
} billing_audit_merge_t;


static int billing_audit_range(billing_audit_merge_t *m, int64_t from,
    int64_t till);
static int billing_audit_step(billing_audit_merge_t *m,
    billing_audit_stream_e e);
static int billing_audit_at(billing_audit_merge_t *m,
    billing_audit_stream_e e, int64_t session);
static int billing_audit_orphans(billing_audit_merge_t *m, int64_t session);
static int billing_audit_one(billing_audit_merge_t *m);
static int billing_audit_charges(billing_audit_merge_t *m,
    billing_audit_session_t *s);
static int billing_audit_intervals(billing_audit_merge_t *m,
    billing_audit_session_t *s, int64_t client, int64_t advisor);
static int billing_audit_segments(billing_audit_merge_t *m,
    billing_audit_session_t *s);
static int billing_audit_rollup(billing_audit_merge_t *m,
    billing_audit_session_t *s);
static int billing_audit_room(void **rows, size_t *size, size_t n,
    size_t each);
static void billing_audit_found(void *data, const billing_audit_session_t *s,
    const billing_audit_transfer_t *t, billing_audit_code_e code,
    const char *what);


static const struct {
    const char  *name;
    const char  *sql;
} billing_audit_streams[STREAMS] = {
    { "audit_sessions",
      "SELECT billing.audit_sessions('audit_sessions', $1, $2)" },
    { "audit_charges",
      "SELECT billing.audit_charges('audit_charges', $1, $2)" },
    { "audit_intervals",
      "SELECT billing.audit_intervals('audit_intervals', $1, $2)" },
    { "audit_segments",
      "SELECT billing.audit_segments('audit_segments', $1, $2)" },
    { "audit_rollups",
      "SELECT billing.audit_rollups('audit_rollups', $1, $2)" },
};


int
billing_audit_sessions(billing_audit_t *a)
{
    int                    rc;
    int64_t                from, till, last;
    billing_audit_merge_t  m;

    memset(&m, 0, sizeof(billing_audit_merge_t));
    m.audit = a;

    if (billing_snapshot_number(&a->snapshot, "SELECT billing.audit_last()",
                                0, &last)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    from = INT64_MIN;
    till = BILLING_AUDIT_RANGE;

    for ( ;; ) {
        rc = billing_audit_range(&m, from, till);

        if (rc != BILLING_OK || till > last) {
            break;
        }

        from = till;
        till += BILLING_AUDIT_RANGE;
    }

    free(m.transfers);
    free(m.intervals);
    free(m.segments);

    return rc;
}


/* The sessions from <= id < till. */

static int
billing_audit_range(billing_audit_merge_t *m, int64_t from, int64_t till)
{
    int  i, rc;

    rc = BILLING_OK;
    m->rows = 0;

    for (i = 0; i < STREAMS; i++) {
        memset(&m->streams[i], 0, sizeof(billing_stream_t));
    }

    for (i = 0; rc == BILLING_OK && i < STREAMS; i++) {
        rc = billing_stream_open(&m->streams[i], &m->audit->snapshot,
                                 billing_audit_streams[i].name,
                                 billing_audit_streams[i].sql, from, till);
    }

    for (i = 0; rc == BILLING_OK && i < STREAMS; i++) {
        rc = billing_audit_step(m, (billing_audit_stream_e) i);
    }

    while (rc == BILLING_OK && (m->rows & 1u << STREAM_SESSIONS)) {
        rc = billing_audit_one(m);

        billing_report_progress(&m->audit->report, &m->audit->totals,
                                "sessions");
    }

    if (rc == BILLING_OK) {
        rc = billing_audit_orphans(m, INT64_MAX);
    }

    for (i = 0; rc == BILLING_OK && i < STREAMS; i++) {
        rc = billing_stream_close(&m->streams[i]);
    }

    return rc;
}


static int
billing_audit_step(billing_audit_merge_t *m, billing_audit_stream_e e)
{
    m->rows &= ~(1u << e);

    switch (billing_stream_next(&m->streams[e])) {

    case 0:
        return BILLING_OK;

    case 1:
        m->rows |= 1u << e;
        return BILLING_OK;

    default:
        return BILLING_ERROR;
    }
}


/* Whether the current row of a stream is of that session. */

static int
billing_audit_at(billing_audit_merge_t *m, billing_audit_stream_e e,
    int64_t session)
{
    return (m->rows & 1u << e)
           && billing_stream_int(&m->streams[e], 0, 0) == session;
}


/* What belongs to a session before this one belongs to none. */

static int
billing_audit_orphans(billing_audit_merge_t *m, int64_t session)
{
    int64_t                 id;
    billing_stream_t       *s;
    billing_audit_about_t   about;

    s = &m->streams[STREAM_CHARGES];

    while (m->rows & 1u << STREAM_CHARGES) {
        id = billing_stream_int(s, CHARGE_SESSION, 0);

        if (id >= session) {
            break;
        }

        memset(&about, 0, sizeof(billing_audit_about_t));
        about.transfer = billing_stream_int(s, CHARGE_ID, 0);

        billing_report_violation(&m->audit->report, BILLING_AUDIT_ORPHAN,
                                 &about, "there is no session %" PRId64, id);

        m->audit->totals.transfers++;

        if (billing_audit_blame(m->audit,
                                billing_stream_int(s, CHARGE_DEBIT, 0))
            != BILLING_OK
            || billing_audit_blame(m->audit,
                                   billing_stream_int(s, CHARGE_CREDIT, 0))
               != BILLING_OK
            || billing_audit_step(m, STREAM_CHARGES) != BILLING_OK)
        {
            return BILLING_ERROR;
        }
    }

    s = &m->streams[STREAM_ROLLUPS];

    while (m->rows & 1u << STREAM_ROLLUPS) {
        id = billing_stream_int(s, ROLLUP_SESSION, 0);

        if (id >= session) {
            break;
        }

        memset(&about, 0, sizeof(billing_audit_about_t));
        about.session = id;

        billing_report_violation(&m->audit->report, BILLING_AUDIT_ROLLUP,
                                 &about, "was rolled up, and there is no such "
                                 "session");

        if (billing_audit_step(m, STREAM_ROLLUPS) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}


static int
billing_audit_one(billing_audit_merge_t *m)
{
    int64_t                   client, advisor;
    billing_audit_t          *a;
    billing_stream_t         *row;
    billing_audit_session_t   s;

    a = m->audit;
    row = &m->streams[STREAM_SESSIONS];

    memset(&s, 0, sizeof(billing_audit_session_t));

    s.id = billing_stream_int(row, SESSION_ID, 0);
    s.ended = (billing_stream_int(row, SESSION_ENDED, 0) != 0);
    s.settled = (billing_stream_int(row, SESSION_SETTLED, 0) != 0);
    s.low_balance = (billing_stream_int(row, SESSION_LOW_BALANCE, 0) != 0);
    client = billing_stream_int(row, SESSION_CLIENT, 0);
    advisor = billing_stream_int(row, SESSION_ADVISOR, 0);
    s.client_wallet = billing_stream_int(row, SESSION_CLIENT_WALLET, 0);
    s.advisor_wallet = billing_stream_int(row, SESSION_ADVISOR_WALLET, 0);
    s.tariff.rate = billing_stream_int(row, SESSION_RATE, 0);
    s.tariff.commission_bps = (int32_t) billing_stream_int(row, SESSION_BPS,
                                                           0);
    s.tariff.whole_minute = (billing_stream_int(row, SESSION_WHOLE_MINUTE, 0)
                             != 0);
    s.tariff.min_minor = billing_stream_int(row, SESSION_MIN_MINOR, 0);
    s.tariff.free_ms = billing_stream_int(row, SESSION_FREE_MS, 0);
    s.tariff.max_minor = billing_stream_int(row, SESSION_MAX_MINOR, 0);
    s.told_segments = billing_stream_int(row, SESSION_SEGMENTS, 0);
    s.max_ms = billing_stream_int(row, SESSION_MAX_MS, BILLING_NONE);
    s.end_ms = billing_stream_int(row, SESSION_END_MS, BILLING_NONE);
    s.paid_until_ms = billing_stream_int(row, SESSION_PAID_MS, BILLING_NONE);
    s.charge_no = billing_stream_int(row, SESSION_CHARGE_NO, 0);
    s.billed_ms = billing_stream_int(row, SESSION_BILLED_MS, 0);
    s.charged = billing_stream_int(row, SESSION_CHARGED, 0);
    s.fee = billing_stream_int(row, SESSION_FEE, 0);
    s.promo = billing_stream_int(row, SESSION_PROMO, 0);
    s.held = billing_stream_int(row, SESSION_HELD, 0);
    s.credited = billing_stream_int(row, SESSION_CREDITED, 0);

    if (billing_audit_orphans(m, s.id) != BILLING_OK
        || billing_audit_charges(m, &s) != BILLING_OK
        || billing_audit_intervals(m, &s, client, advisor) != BILLING_OK
        || billing_audit_segments(m, &s) != BILLING_OK
        || billing_audit_rollup(m, &s) != BILLING_OK
        || billing_audit_step(m, STREAM_SESSIONS) != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    a->totals.sessions++;

    billing_sum(&a->totals.transfers, s.rollup ? s.rollup->charges
                                               : (int64_t) s.ntransfers);
    billing_sum(&a->totals.charged, s.charged);
    billing_sum(&a->totals.fees, s.fee);

    if (billing_audit_session(&s, billing_audit_found, a) == 0) {
        return BILLING_OK;
    }

    if (billing_audit_blame(a, s.client_wallet) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return billing_audit_blame(a, s.advisor_wallet);
}


static int
billing_audit_charges(billing_audit_merge_t *m, billing_audit_session_t *s)
{
    billing_stream_t          *row;
    billing_audit_transfer_t  *t;

    row = &m->streams[STREAM_CHARGES];

    while (billing_audit_at(m, STREAM_CHARGES, s->id)) {

        if (billing_audit_room((void **) &m->transfers, &m->transfers_size,
                               s->ntransfers,
                               sizeof(billing_audit_transfer_t))
            != BILLING_OK)
        {
            return BILLING_ERROR;
        }

        t = &m->transfers[s->ntransfers++];

        t->id = billing_stream_int(row, CHARGE_ID, 0);
        t->charge_no = billing_stream_int(row, CHARGE_NO, 0);
        t->amount = billing_stream_int(row, CHARGE_AMOUNT, 0);
        t->fee = billing_stream_int(row, CHARGE_FEE, 0);
        t->promo = billing_stream_int(row, CHARGE_PROMO, 0);
        t->debit = billing_stream_int(row, CHARGE_DEBIT, 0);
        t->credit = billing_stream_int(row, CHARGE_CREDIT, 0);
        t->billed_ms = billing_stream_int(row, CHARGE_BILLED_MS, -1);

        if (billing_audit_step(m, STREAM_CHARGES) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    s->transfers = m->transfers;

    return BILLING_OK;
}


/* Who is no party of the session proves nothing. */

static int
billing_audit_intervals(billing_audit_merge_t *m, billing_audit_session_t *s,
    int64_t client, int64_t advisor)
{
    int64_t              session, who;
    billing_stream_t    *row;
    billing_interval_t  *iv;

    row = &m->streams[STREAM_INTERVALS];

    while (m->rows & 1u << STREAM_INTERVALS) {
        session = billing_stream_int(row, INTERVAL_SESSION, 0);

        if (session > s->id) {
            break;
        }

        who = billing_stream_int(row, INTERVAL_ACCOUNT, 0);

        if (session == s->id && (who == client || who == advisor)) {

            if (billing_audit_room((void **) &m->intervals,
                                   &m->intervals_size, s->nintervals,
                                   sizeof(billing_interval_t))
                != BILLING_OK)
            {
                return BILLING_ERROR;
            }

            iv = &m->intervals[s->nintervals++];

            iv->from_ms = billing_stream_int(row, INTERVAL_FROM, 0);
            iv->to_ms = billing_stream_int(row, INTERVAL_TO, 0);
            iv->party = (who == client) ? BILLING_CLIENT : BILLING_ADVISOR;
            iv->open = (billing_stream_int(row, INTERVAL_OPEN, 0) != 0);
            iv->unpaid = 0;
        }

        if (billing_audit_step(m, STREAM_INTERVALS) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    s->intervals = m->intervals;

    return BILLING_OK;
}


static int
billing_audit_segments(billing_audit_merge_t *m, billing_audit_session_t *s)
{
    int64_t             session;
    billing_stream_t   *row;
    billing_segment_t  *g;

    row = &m->streams[STREAM_SEGMENTS];

    while (m->rows & 1u << STREAM_SEGMENTS) {
        session = billing_stream_int(row, SEGMENT_SESSION, 0);

        if (session > s->id) {
            break;
        }

        if (session == s->id) {

            if (billing_audit_room((void **) &m->segments, &m->segments_size,
                                   s->nsegments, sizeof(billing_segment_t))
                != BILLING_OK)
            {
                return BILLING_ERROR;
            }

            g = &m->segments[s->nsegments++];

            g->at_ms = billing_stream_int(row, SEGMENT_AT, 0);
            g->rate = billing_stream_int(row, SEGMENT_RATE, 0);
            g->from_ms = 0;
        }

        if (billing_audit_step(m, STREAM_SEGMENTS) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    s->segments = m->segments;

    return BILLING_OK;
}


static int
billing_audit_rollup(billing_audit_merge_t *m, billing_audit_session_t *s)
{
    billing_stream_t  *row;

    if (!billing_audit_at(m, STREAM_ROLLUPS, s->id)) {
        return BILLING_OK;
    }

    row = &m->streams[STREAM_ROLLUPS];

    m->rollup.charges = billing_stream_int(row, ROLLUP_CHARGES, 0);
    m->rollup.amount = billing_stream_int(row, ROLLUP_AMOUNT, 0);
    m->rollup.fee = billing_stream_int(row, ROLLUP_FEE, 0);
    m->rollup.promo = billing_stream_int(row, ROLLUP_PROMO, 0);
    m->rollup.debit = billing_stream_int(row, ROLLUP_DEBIT, 0);
    m->rollup.credit = billing_stream_int(row, ROLLUP_CREDIT, 0);

    s->rollup = &m->rollup;

    return billing_audit_step(m, STREAM_ROLLUPS);
}


/* Room for one row more. */

static int
billing_audit_room(void **rows, size_t *size, size_t n, size_t each)
{
    void    *grown;
    size_t   more;

    if (n < *size) {
        return BILLING_OK;
    }

    more = *size ? *size * 2 : 64;

    grown = realloc(*rows, more * each);
    if (grown == NULL) {
        fprintf(stderr, "billing_worker: audit: out of memory\n");
        return BILLING_ERROR;
    }

    *rows = grown;
    *size = more;

    return BILLING_OK;
}


static void
billing_audit_found(void *data, const billing_audit_session_t *s,
    const billing_audit_transfer_t *t, billing_audit_code_e code,
    const char *what)
{
    billing_audit_t *a = data;

    billing_audit_about_t  about;

    memset(&about, 0, sizeof(billing_audit_about_t));
    about.session = s->id;

    if (t != NULL) {
        about.transfer = t->id;
        about.charge_no = t->charge_no;
    }

    billing_report_violation(&a->report, code, &about, "%s", what);
}
