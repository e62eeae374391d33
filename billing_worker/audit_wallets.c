
/*
 * Copyright (C) The Astro authors
 *
 * The wallets of an audit.  What a wallet must have is summed by the database
 * over the sessions, the bookings and the transfers of no session; that a
 * session's sums are those of its own transfers was proven before, in the same
 * snapshot.
 *
 * A balance is wrong as soon as a transfer of the wallet is.  If that one was
 * named already, the wallet says no more than that.  If not, it must be one of
 * those that nothing else proves (top-ups), and these are named.
 */

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "audit_parts.h"
#include "tariff.h"


/* the columns of billing.audit_wallets() */
enum {
    WALLET_ID = 0, WALLET_KIND, WALLET_BALANCE, WALLET_HELD, WALLET_PROMO,
    WALLET_MOVED, WALLET_HOLD, WALLET_PROMO_MOVED, WALLET_OWE
};

/* of billing.audit_suspects() */
enum {
    SUSPECT_ID = 0, SUSPECT_KIND, SUSPECT_AMOUNT, SUSPECT_OTHER
};

typedef struct {
    int64_t      id;
    int64_t      wrong;         /* the balance is too high by this; 0: it
                                   is the promo that is wrong */
} billing_audit_off_t;

typedef struct {
    billing_audit_off_t  *rows;
    size_t                n;
    size_t                size;
} billing_audit_offs_t;


static int billing_audit_wallet(billing_audit_t *a,
    const billing_stream_t *row, billing_audit_offs_t *offs);
static int billing_audit_off(billing_audit_offs_t *offs, int64_t id,
    int64_t wrong);
static const billing_audit_off_t *billing_audit_off_find(
    const billing_audit_offs_t *offs, int64_t id);
static int billing_audit_suspects(billing_audit_t *a,
    const billing_audit_offs_t *offs);
static int billing_audit_suspects_of(billing_audit_t *a,
    const billing_audit_offs_t *offs, const billing_audit_off_t *off);
static void billing_audit_total(billing_audit_t *a);
static int billing_audit_compare(const void *one, const void *two);


int
billing_audit_wallets(billing_audit_t *a)
{
    int                   rc;
    billing_stream_t      row;
    billing_audit_offs_t  offs;

    memset(&offs, 0, sizeof(billing_audit_offs_t));

    if (a->nblamed > 1) {
        qsort(a->blamed, a->nblamed, sizeof(int64_t), billing_audit_compare);
    }

    if (billing_stream_open(&row, &a->snapshot, "audit_wallets",
                            "SELECT billing.audit_wallets('audit_wallets')",
                            0, 0)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    while ((rc = billing_stream_next(&row)) == 1) {

        if (billing_audit_wallet(a, &row, &offs) != BILLING_OK) {
            free(offs.rows);
            return BILLING_ERROR;
        }

        billing_report_progress(&a->report, &a->totals, "wallets");
    }

    if (rc == 0 && billing_stream_close(&row) == BILLING_OK
        && billing_audit_suspects(a, &offs) == BILLING_OK)
    {
        billing_audit_total(a);

    } else {
        rc = BILLING_ERROR;
    }

    free(offs.rows);

    return rc;
}


static int
billing_audit_wallet(billing_audit_t *a, const billing_stream_t *row,
    billing_audit_offs_t *offs)
{
    int64_t                 id, balance, held, promo, given;
    int64_t                 moved, hold, owe, wrong;
    const char             *kind;
    billing_audit_about_t   about;

    id = billing_stream_int(row, WALLET_ID, 0);
    kind = billing_stream_text(row, WALLET_KIND);
    balance = billing_stream_int(row, WALLET_BALANCE, 0);
    held = billing_stream_int(row, WALLET_HELD, 0);
    promo = billing_stream_int(row, WALLET_PROMO, 0);
    moved = billing_stream_int(row, WALLET_MOVED, 0);
    hold = billing_stream_int(row, WALLET_HOLD, 0);
    given = billing_stream_int(row, WALLET_PROMO_MOVED, 0);
    owe = billing_stream_int(row, WALLET_OWE, 0);

    memset(&about, 0, sizeof(billing_audit_about_t));
    about.wallet = id;

    if (kind[0] == '\0') {

        if (moved != 0 || hold != 0 || owe != 0) {
            billing_report_violation(&a->report, BILLING_AUDIT_ORPHAN, &about,
                                     "there is no such wallet, and its "
                                     "transfers come to %" PRId64, moved);
        }

        return BILLING_OK;
    }

    a->totals.wallets++;

    if (held != hold) {
        billing_report_violation(&a->report, BILLING_AUDIT_BALANCE, &about,
                                 "held is %" PRId64 ", its sessions and "
                                 "bookings hold %" PRId64, held, hold);
    }

    if (promo != given) {
        billing_report_violation(&a->report, BILLING_AUDIT_BALANCE, &about,
                                 "promo is %" PRId64 ", its transfers come "
                                 "to %" PRId64, promo, given);
    }

    if (strcmp(kind, "clearing") == 0 || strcmp(kind, "platform") == 0) {

        if (balance != 0) {
            billing_report_violation(&a->report, BILLING_AUDIT_BALANCE,
                                     &about, "the balance of a %s wallet is "
                                     "kept nowhere, not %" PRId64, kind,
                                     balance);
        }

        return BILLING_OK;
    }

    billing_sum(&a->totals.owned, balance);
    billing_sum(&a->totals.owned, owe);

    if (balance == moved) {
        return (promo != given) ? billing_audit_off(offs, id, 0) : BILLING_OK;
    }

    billing_report_violation(&a->report, BILLING_AUDIT_BALANCE, &about,
                             "balance is %" PRId64 ", its transfers come to %"
                             PRId64, balance, moved);

    if (__builtin_sub_overflow(balance, moved, &wrong)) {
        wrong = INT64_MAX;
    }

    return billing_audit_off(offs, id, wrong);
}


static int
billing_audit_off(billing_audit_offs_t *offs, int64_t id, int64_t wrong)
{
    size_t                size;
    billing_audit_off_t  *rows;

    if (offs->n == offs->size) {
        size = offs->size ? offs->size * 2 : 64;

        rows = realloc(offs->rows, size * sizeof(billing_audit_off_t));
        if (rows == NULL) {
            return BILLING_ERROR;
        }

        offs->rows = rows;
        offs->size = size;
    }

    rows = &offs->rows[offs->n++];
    rows->id = id;
    rows->wrong = wrong;

    return BILLING_OK;
}


/* They came in order. */

static const billing_audit_off_t *
billing_audit_off_find(const billing_audit_offs_t *offs, int64_t id)
{
    return offs->n ? bsearch(&id, offs->rows, offs->n,
                             sizeof(billing_audit_off_t),
                             billing_audit_compare)
                   : NULL;
}


static int
billing_audit_suspects(billing_audit_t *a, const billing_audit_offs_t *offs)
{
    size_t  i;

    for (i = 0; i < offs->n; i++) {

        if (a->nblamed != 0
            && bsearch(&offs->rows[i].id, a->blamed, a->nblamed,
                       sizeof(int64_t), billing_audit_compare)
               != NULL)
        {
            continue;
        }

        if (billing_audit_suspects_of(a, offs, &offs->rows[i]) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}


/*
 * The transfers of a wallet that only its balance proves.  If just one of them
 * was altered, the wallet on its other side is wrong too, if that is one whose
 * balance is kept.
 */

static int
billing_audit_suspects_of(billing_audit_t *a, const billing_audit_offs_t *offs,
    const billing_audit_off_t *off)
{
    int               rc;
    int64_t           other;
    billing_stream_t  row;

    if (billing_stream_open(&row, &a->snapshot, "audit_suspects",
                            "SELECT billing.audit_suspects('audit_suspects', "
                            "$1, $2)", off->id, off->wrong)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    while ((rc = billing_stream_next(&row)) == 1) {

        other = billing_stream_int(&row, SUSPECT_OTHER, 0);

        if (other != 0 && billing_audit_off_find(offs, other) == NULL) {
            continue;
        }

        billing_report_hint(&a->report, "transfer %" PRId64 " of wallet %"
                            PRId64 " may be what is wrong: %s of %" PRId64,
                            billing_stream_int(&row, SUSPECT_ID, 0), off->id,
                            billing_stream_text(&row, SUSPECT_KIND),
                            billing_stream_int(&row, SUSPECT_AMOUNT, 0));
    }

    billing_report_hint(&a->report, "or a top-up of wallet %" PRId64 " is "
                        "missing, or its balance was changed by hand",
                        off->id);

    if (rc != 0) {
        return BILLING_ERROR;
    }

    return billing_stream_close(&row);
}


static void
billing_audit_total(billing_audit_t *a)
{
    int64_t                 in, out;
    billing_audit_about_t   about;

    in = a->totals.toppedup;
    billing_sum(&in, a->totals.granted);

    out = a->totals.owned;
    billing_sum(&out, a->totals.fees);
    billing_sum(&out, a->totals.paidout);

    if (in != out) {
        memset(&about, 0, sizeof(billing_audit_about_t));

        billing_report_violation(&a->report, BILLING_AUDIT_TOTAL, &about,
                                 "came in %" PRId64 ", went out or is there %"
                                 PRId64, in, out);
    }
}


/* ids, or what begins with one */

static int
billing_audit_compare(const void *one, const void *two)
{
    const int64_t  *a, *b;

    a = one;
    b = two;

    return (*a > *b) - (*a < *b);
}
