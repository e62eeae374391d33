
/*
 * Copyright (C) The Astro authors
 *
 * The books of one session: see audit_session.h.
 *
 * Each transfer of a session tells how much time was billed after it.  So each
 * proves itself: its amount and fee are what the tariff says of the time since
 * the one before, and one altered row is found as that row.
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>

#include "audit_session.h"
#include "engine.h"


typedef struct {
    billing_audit_session_t  *s;
    billing_audit_say_pt      say;
    void                     *data;
    int64_t                   sure_ms;      /* nothing is billed after it */
    int                       n;
} billing_auditor_t;


static void billing_audit_transfers(billing_auditor_t *a);
static void billing_audit_gap(billing_auditor_t *a, int64_t first,
    int64_t last);
static int64_t billing_audit_transfer(billing_auditor_t *a,
    const billing_audit_transfer_t *t, int64_t before_ms);
static void billing_audit_sums(billing_auditor_t *a);
static void billing_audit_time(billing_auditor_t *a);
static void billing_audit_end(billing_auditor_t *a);
static void billing_audit_rolled(billing_auditor_t *a);
static void billing_audit_add(int64_t *sum, int64_t n);
static void billing_audit_wrong(billing_auditor_t *a,
    billing_audit_code_e code, const billing_audit_transfer_t *t,
    const char *format, ...)
    __attribute__((format(printf, 4, 5)));


int
billing_audit_session(billing_audit_session_t *s, billing_audit_say_pt say,
    void *data)
{
    billing_auditor_t  a;

    a.s = s;
    a.say = say;
    a.data = data;
    a.n = 0;

    billing_proof_sort(s->intervals, s->nintervals);

    a.sure_ms = billing_segments_place(s->segments, s->nsegments,
                                       s->intervals, s->nintervals);

    s->tariff.segments = s->segments;
    s->tariff.nsegments = s->nsegments;

    if ((int64_t) s->nsegments != s->told_segments) {
        billing_audit_wrong(&a, BILLING_AUDIT_SUM, NULL,
                            "has %" PRId64 " changes of its rate, there are "
                            "%zu", s->told_segments, s->nsegments);
    }

    if (s->rollup != NULL) {
        billing_audit_rolled(&a);

    } else {
        billing_audit_transfers(&a);
    }

    billing_audit_sums(&a);
    billing_audit_time(&a);
    billing_audit_end(&a);

    return a.n;
}


static void
billing_audit_transfers(billing_auditor_t *a)
{
    size_t                           i;
    int64_t                          next, billed_ms;
    const billing_audit_transfer_t  *t;

    next = 1;
    billed_ms = 0;

    for (i = 0; i < a->s->ntransfers; i++) {
        t = &a->s->transfers[i];

        if (t->charge_no < next) {
            billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                                "there is no such charge");
            continue;
        }

        billing_audit_gap(a, next, t->charge_no - 1);

        next = t->charge_no + 1;
        billed_ms = billing_audit_transfer(a, t, billed_ms);
    }

    billing_audit_gap(a, next, a->s->charge_no);

    if (billed_ms > a->s->billed_ms) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW,
                            &a->s->transfers[a->s->ntransfers - 1],
                            "tells of %" PRId64 " ms billed, the session of %"
                            PRId64, billed_ms, a->s->billed_ms);
    }

    if (next > a->s->charge_no + 1) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW,
                            &a->s->transfers[a->s->ntransfers - 1],
                            "the session knows of %" PRId64 " charges only",
                            a->s->charge_no);
    }
}


static void
billing_audit_gap(billing_auditor_t *a, int64_t first, int64_t last)
{
    if (first == last) {
        billing_audit_wrong(a, BILLING_AUDIT_MISSING, NULL,
                            "charge %" PRId64 ": its transfer is missing",
                            first);
    }

    if (first < last) {
        billing_audit_wrong(a, BILLING_AUDIT_MISSING, NULL,
                            "charges %" PRId64 " to %" PRId64 ": their "
                            "transfers are missing", first, last);
    }
}


/*
 * Each of them was proven when the session was rolled up: what is left is that
 * none was forgotten, and what they came to.
 */

static void
billing_audit_rolled(billing_auditor_t *a)
{
    billing_audit_rollup_t   *r;
    billing_audit_session_t  *s;

    s = a->s;
    r = s->rollup;

    if (s->ntransfers != 0) {
        billing_audit_wrong(a, BILLING_AUDIT_ROLLUP, &s->transfers[0],
                            "its session was rolled up, it counts twice");
    }

    if (r->charges != s->charge_no) {
        billing_audit_wrong(a, BILLING_AUDIT_ROLLUP, NULL,
                            "%" PRId64 " charges were rolled up, the session "
                            "knows of %" PRId64, r->charges, s->charge_no);
    }

    if (r->debit != s->client_wallet || r->credit != s->advisor_wallet) {
        billing_audit_wrong(a, BILLING_AUDIT_ROLLUP, NULL,
                            "was rolled up as from wallet %" PRId64 " to %"
                            PRId64 ", is from %" PRId64 " to %" PRId64,
                            r->debit, r->credit, s->client_wallet,
                            s->advisor_wallet);
    }
}


/* Returns the time that was billed after it. */

static int64_t
billing_audit_transfer(billing_auditor_t *a,
    const billing_audit_transfer_t *t, int64_t before_ms)
{
    int64_t                   charged, fee, charged_before, fee_before;
    billing_audit_session_t  *s;

    s = a->s;

    if (t->debit != s->client_wallet) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                            "debits wallet %" PRId64 ", not the client's %"
                            PRId64, t->debit, s->client_wallet);
    }

    if (t->credit != s->advisor_wallet) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                            "credits wallet %" PRId64 ", not the advisor's %"
                            PRId64, t->credit, s->advisor_wallet);
    }

    if (t->billed_ms <= before_ms) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                            "tells of %" PRId64 " ms billed after %" PRId64
                            " ms", t->billed_ms, before_ms);
        return before_ms;
    }

    if (billing_tariff_charged(&s->tariff, t->billed_ms, &charged)
        != BILLING_OK
        || billing_tariff_charged(&s->tariff, before_ms, &charged_before)
           != BILLING_OK
        || billing_tariff_fee(&s->tariff, charged, &fee) != BILLING_OK
        || billing_tariff_fee(&s->tariff, charged_before, &fee_before)
           != BILLING_OK)
    {
        billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                            "%" PRId64 " ms cannot be priced", t->billed_ms);
        return t->billed_ms;
    }

    if (t->amount != charged - charged_before) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                            "amount is %" PRId64 ", the tariff says %" PRId64
                            " for the time from %" PRId64 " to %" PRId64 " ms",
                            t->amount, charged - charged_before, before_ms,
                            t->billed_ms);
    }

    if (t->fee != fee - fee_before) {
        billing_audit_wrong(a, BILLING_AUDIT_ROW, t,
                            "fee is %" PRId64 ", the tariff says %" PRId64,
                            t->fee, fee - fee_before);
    }

    return t->billed_ms;
}


static void
billing_audit_sums(billing_auditor_t *a)
{
    size_t                    i;
    int64_t                   charged, fee, promo, n;
    billing_audit_session_t  *s;

    s = a->s;
    charged = s->rollup ? s->rollup->amount : 0;
    fee = s->rollup ? s->rollup->fee : 0;
    promo = s->rollup ? s->rollup->promo : 0;

    for (i = 0; i < s->ntransfers; i++) {
        billing_audit_add(&charged, s->transfers[i].amount);
        billing_audit_add(&fee, s->transfers[i].fee);
        billing_audit_add(&promo, s->transfers[i].promo);
    }

    if (charged != s->charged) {
        billing_audit_wrong(a, BILLING_AUDIT_SUM, NULL,
                            "charged is %" PRId64 ", its transfers sum to %"
                            PRId64, s->charged, charged);
    }

    if (fee != s->fee) {
        billing_audit_wrong(a, BILLING_AUDIT_SUM, NULL,
                            "fee is %" PRId64 ", its transfers sum to %"
                            PRId64, s->fee, fee);
    }

    if (promo != s->promo) {
        billing_audit_wrong(a, BILLING_AUDIT_SUM, NULL,
                            "promo is %" PRId64 ", its transfers sum to %"
                            PRId64, s->promo, promo);
    }

    if (billing_tariff_charged(&s->tariff, s->billed_ms, &n) != BILLING_OK) {
        billing_audit_wrong(a, BILLING_AUDIT_SUM, NULL,
                            "%" PRId64 " ms at %" PRId64 " a minute cannot "
                            "be priced", s->billed_ms, s->tariff.rate);

    } else if (n != s->charged) {
        billing_audit_wrong(a, BILLING_AUDIT_SUM, NULL,
                            "charged is %" PRId64 ", the tariff says %" PRId64
                            " for %" PRId64 " ms", s->charged, n,
                            s->billed_ms);
    }

    if (billing_tariff_fee(&s->tariff, s->charged, &n) != BILLING_OK
        || n != s->fee)
    {
        billing_audit_wrong(a, BILLING_AUDIT_SUM, NULL,
                            "fee is %" PRId64 ", the tariff says %" PRId64 " "
                            "of %" PRId64, s->fee, n, s->charged);
    }
}


/* What was tampered with may be anything. */

static void
billing_audit_add(int64_t *sum, int64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum)) {
        *sum = (n > 0) ? INT64_MAX : INT64_MIN;
    }
}


static void
billing_audit_time(billing_auditor_t *a)
{
    int64_t                   cut, proven, reach;
    billing_audit_session_t  *s;

    s = a->s;

    if (s->max_ms != BILLING_NONE && s->billed_ms > s->max_ms) {
        billing_audit_wrong(a, BILLING_AUDIT_TIME, NULL,
                            "billed %" PRId64 " ms, the client's maximum is %"
                            PRId64, s->billed_ms, s->max_ms);
    }

    if (s->paid_until_ms == BILLING_NONE) {

        if (s->billed_ms != 0) {
            billing_audit_wrong(a, BILLING_AUDIT_TIME, NULL,
                                "billed %" PRId64 " ms, but was never paid "
                                "for", s->billed_ms);
        }

        return;
    }

    cut = s->paid_until_ms;

    if (s->end_ms != BILLING_NONE && s->end_ms < cut) {
        cut = s->end_ms;
    }

    if (a->sure_ms < cut) {
        cut = a->sure_ms;
    }

    proven = billing_proof_measure(s->intervals, s->nintervals, cut,
                                   BILLING_PROVEN);

    if (s->billed_ms > proven) {
        billing_audit_wrong(a, BILLING_AUDIT_TIME, NULL,
                            "billed %" PRId64 " ms, both were proven there "
                            "for %" PRId64 " ms before its end and within "
                            "what was paid", s->billed_ms, proven);
    }

    if (!s->settled || s->billed_ms >= proven) {
        return;
    }

    /*
     * Less than was proven is right only if the money was spent before, or a
     * maximum was reached: who came as the last of it was being used may have
     * been served some ms more
     */

    if (s->max_ms != BILLING_NONE && s->billed_ms == s->max_ms) {
        return;
    }

    if (s->tariff.max_minor != 0
        && billing_tariff_reach(&s->tariff, s->tariff.max_minor, &reach)
           == BILLING_OK
        && s->billed_ms == reach)
    {
        return;
    }

    if (!s->low_balance
        || billing_tariff_reach(&s->tariff, s->charged, &reach) != BILLING_OK
        || reach != s->billed_ms)
    {
        billing_audit_wrong(a, BILLING_AUDIT_TIME, NULL,
                            "settled at %" PRId64 " ms, both were there for %"
                            PRId64 " ms", s->billed_ms, proven);
    }
}


static void
billing_audit_end(billing_auditor_t *a)
{
    billing_audit_session_t  *s;

    s = a->s;

    if (!s->settled) {
        return;
    }

    if (!s->ended) {
        billing_audit_wrong(a, BILLING_AUDIT_SETTLED, NULL,
                            "is settled and has not ended");
    }

    if (s->held != 0) {
        billing_audit_wrong(a, BILLING_AUDIT_SETTLED, NULL,
                            "is settled and still holds %" PRId64, s->held);
    }

    if (s->credited != s->charged - s->fee) {
        billing_audit_wrong(a, BILLING_AUDIT_SETTLED, NULL,
                            "is settled with %" PRId64 " credited to the "
                            "advisor, %" PRId64 " were earned", s->credited,
                            s->charged - s->fee);
    }
}


static void
billing_audit_wrong(billing_auditor_t *a, billing_audit_code_e code,
    const billing_audit_transfer_t *t, const char *format, ...)
{
    char     what[512];
    va_list  args;

    va_start(args, format);
    /* clang-tidy 14 errs when it reads several files in one run */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);

    a->n++;
    a->say(a->data, a->s, t, code, what);
}
