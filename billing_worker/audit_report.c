
/*
 * Copyright (C) The Astro authors
 *
 * What the audit says: see audit_report.h.
 */

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "audit_report.h"
#include "clock.h"
#include "tariff.h"
#include "text.h"


#define BILLING_REPORT_MS  2000


typedef struct {
    const char  *word;
    const char  *advice;
} billing_audit_advice_t;


static void billing_report_where(const billing_audit_about_t *about,
    char *buf, size_t size);
static void billing_report_json(billing_audit_code_e code,
    const billing_audit_about_t *about, const char *what);


/* Nobody who serves can change or remove a transfer. */

#define BILLING_REPORT_JOURNAL                                                \
    "compare with a backup or a replica and restore the row: only an "        \
    "administrator's login could change it, so find out whose"

static const billing_audit_advice_t  billing_audit_advices[] = {

    [BILLING_AUDIT_ROW] = { "row", BILLING_REPORT_JOURNAL },

    [BILLING_AUDIT_MISSING] = { "missing",
        "restore the row from a backup or a replica: only an administrator's "
        "login could remove it, so find out whose" },

    [BILLING_AUDIT_ORPHAN] = { "orphan", BILLING_REPORT_JOURNAL },

    [BILLING_AUDIT_SUM] = { "sum",
        "its transfers are the truth if none of them is named: set the "
        "session's row to what they come to" },

    [BILLING_AUDIT_TIME] = { "time",
        "compare its intervals with a backup; if time was billed that was "
        "not served, give it back with billing.reverse()" },

    [BILLING_AUDIT_SETTLED] = { "settled",
        "the session's row was changed after it was settled: compare with "
        "a backup" },

    [BILLING_AUDIT_ROLLUP] = { "rollup",
        "restore the row of ledger.session_rollup from a backup" },

    [BILLING_AUDIT_BALANCE] = { "balance",
        "if a transfer is named, mend that one first; else set the wallet to "
        "what its transfers come to, and find out who changed it" },

    [BILLING_AUDIT_PAYER] = { "payer",
        "give it back with billing.reverse()" },

    [BILLING_AUDIT_PROMO] = { "promo",
        "if a transfer of this wallet is named for something else, mend that "
        "one first; else it is a bug: give its client the cash back with "
        "billing.adjust()" },

    [BILLING_AUDIT_RETURN] = { "return",
        "compare with the payment provider's record; take back what was too "
        "much with billing.adjust()" },

    [BILLING_AUDIT_PAYOUT] = { "payout",
        "stop payouts, compare with the vendor's own record, then restore the "
        "row" },

    [BILLING_AUDIT_PAYMENT] = { "payment",
        "compare with the payment provider's own record, then restore the row "
        "that differs; what was credited and never came is taken back with "
        "billing.adjust()" },

    [BILLING_AUDIT_CHAIN] = { "chain",
        "compare consult.admin_log with a backup or a replica from this act "
        "on: only the owner of the database could change it, so find out who "
        "that was" },

    [BILLING_AUDIT_TOTAL] = { "total",
        "mend what is named above, then look again" },
};


void
billing_report_start(billing_report_t *r, int json, int progress)
{
    memset(r, 0, sizeof(billing_report_t));

    r->json = json;
    r->progress = progress;
    r->started = billing_clock();
    r->said = r->started;
}


void
billing_report_violation(billing_report_t *r, billing_audit_code_e code,
    const billing_audit_about_t *about, const char *format, ...)
{
    char     where[96], what[512];
    va_list  args;

    va_start(args, format);
    /* clang-tidy 14 errs when it reads several files in one run */
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vsnprintf(what, sizeof(what), format, args);
    va_end(args);

    billing_report_where(about, where, sizeof(where));

    if (r->violations == 0) {
        snprintf(r->first, sizeof(r->first), "%s: %s [%s]", where, what,
                 billing_audit_advices[code].word);
    }

    r->violations++;
    r->seen[code] = 1;

    if (r->json) {
        billing_report_json(code, about, what);
        return;
    }

    printf("audit: %s: %s [%s]\n", where, what,
           billing_audit_advices[code].word);
}


void
billing_report_hint(billing_report_t *r, const char *format, ...)
{
    va_list  args;

    if (r->json) {
        return;
    }

    printf("audit:   ");

    va_start(args, format);
    /* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized) */
    vprintf(format, args);
    va_end(args);

    printf("\n");
}


static void
billing_report_where(const billing_audit_about_t *about, char *buf,
    size_t size)
{
    if (about->transfer != 0 && about->session != 0) {
        snprintf(buf, size, "transfer %" PRId64 " (session %" PRId64
                 ", charge %" PRId64 ")", about->transfer, about->session,
                 about->charge_no);

    } else if (about->transfer != 0) {
        snprintf(buf, size, "transfer %" PRId64, about->transfer);

    } else if (about->session != 0) {
        snprintf(buf, size, "session %" PRId64, about->session);

    } else if (about->wallet != 0) {
        snprintf(buf, size, "wallet %" PRId64, about->wallet);

    } else {
        snprintf(buf, size, "total");
    }
}


static void
billing_report_json(billing_audit_code_e code,
    const billing_audit_about_t *about, const char *what)
{
    billing_text_t  t;

    billing_text_init(&t);

    billing_text_str(&t, "{\"violation\":");
    billing_text_json(&t, billing_audit_advices[code].word);

    if (about->session != 0) {
        billing_text_str(&t, ",\"session\":");
        billing_text_int(&t, about->session);
    }

    if (about->transfer != 0) {
        billing_text_str(&t, ",\"transfer\":");
        billing_text_int(&t, about->transfer);
    }

    if (about->wallet != 0) {
        billing_text_str(&t, ",\"wallet\":");
        billing_text_int(&t, about->wallet);
    }

    billing_text_str(&t, ",\"what\":");
    billing_text_json(&t, what);
    billing_text_str(&t, ",\"do\":");
    billing_text_json(&t, billing_audit_advices[code].advice);
    billing_text_str(&t, "}\n");

    if (billing_text_end(&t) != NULL) {
        fputs(billing_text_end(&t), stdout);
    }

    billing_text_free(&t);
}


void
billing_report_progress(billing_report_t *r, const billing_audit_totals_t *t,
    const char *what)
{
    int64_t  now;

    if (!r->progress) {
        return;
    }

    now = billing_clock();

    if (now - r->said < BILLING_REPORT_MS) {
        return;
    }

    r->said = now;

    fprintf(stderr, "audit: %" PRId64 " s, %s: %" PRId64 " sessions, %" PRId64
            " transfers, %" PRId64 " wallets; %" PRId64 " violations\n",
            (now - r->started) / 1000, what, t->sessions, t->transfers,
            t->wallets, r->violations);
}


int
billing_report_end(billing_report_t *r, const billing_audit_totals_t *t)
{
    int      i;
    int64_t  ms;

    ms = billing_clock() - r->started;

    if (r->json) {
        printf("{\"sessions\":%" PRId64 ",\"transfers\":%" PRId64
               ",\"wallets\":%" PRId64 ",\"topped_up\":%" PRId64
               ",\"paid_out\":%" PRId64 ",\"granted\":%" PRId64
               ",\"people\":%" PRId64 ",\"fees\":%" PRId64 ",\"charged\":%"
               PRId64 ",\"violations\":%" PRId64 ",\"ms\":%" PRId64 "}\n",
               t->sessions, t->transfers, t->wallets, t->toppedup,
               t->paidout, t->granted, t->owned, t->fees, t->charged,
               r->violations, ms);

    } else {
        for (i = 0; i < BILLING_AUDIT_CODES; i++) {

            if (r->seen[i]) {
                printf("audit: what to do about [%s]: %s\n",
                       billing_audit_advices[i].word,
                       billing_audit_advices[i].advice);
            }
        }

        printf("audit: topped up %" PRId64 " + granted %" PRId64
               " = people's %" PRId64 " + fees %" PRId64 " + paid out %"
               PRId64 "; charged %" PRId64 "\n", t->toppedup, t->granted,
               t->owned, t->fees, t->paidout, t->charged);
        printf("audit: %" PRId64 " sessions, %" PRId64 " transfers, %" PRId64
               " wallets: %" PRId64 " violation%s\n", t->sessions,
               t->transfers, t->wallets, r->violations,
               (r->violations == 1) ? "" : "s");
    }

    return (fflush(stdout) == 0 && !ferror(stdout)) ? BILLING_OK
                                                    : BILLING_ERROR;
}


void
billing_sum(int64_t *sum, int64_t n)
{
    if (__builtin_add_overflow(*sum, n, sum)) {
        *sum = (n > 0) ? INT64_MAX : INT64_MIN;
    }
}


billing_audit_code_e
billing_audit_code(const char *word)
{
    int  i;

    for (i = 0; i < BILLING_AUDIT_CODES; i++) {

        if (strcmp(billing_audit_advices[i].word, word) == 0) {
            break;
        }
    }

    return (billing_audit_code_e) i;
}
