
/*
 * Copyright (C) The Astro authors
 *
 * The transfers of no session in an audit: each by itself, by what its kind
 * may do; and what the database finds wrong between several rows.
 */

#include <inttypes.h>
#include <string.h>

#include "audit_parts.h"
#include "tariff.h"


/* kinds of wallets */
#define CLIENT       0x01
#define ADVISOR      0x02
#define CLEARING     0x04
#define PLATFORM     0x08
#define RECEIVABLE   0x10
#define FROZEN       0x20

/* what else a kind of transfer may have */
#define FEE          0x01           /* the platform keeps some of it */
#define PROMO        0x02           /* some of it is promo */
#define ALL_PROMO    0x04           /* all of it is */
#define OWN          0x08           /* both wallets are of one person */


/* the columns of billing.audit_others() */
enum {
    OTHER_ID = 0, OTHER_KIND, OTHER_DEBIT, OTHER_CREDIT, OTHER_AMOUNT,
    OTHER_FEE, OTHER_PROMO, OTHER_DEBIT_KIND, OTHER_CREDIT_KIND,
    OTHER_DEBIT_OWNER, OTHER_CREDIT_OWNER
};

/* of billing.audit_wrongs() and billing.audit_promo() */
enum {
    WRONG_CODE = 0, WRONG_SESSION, WRONG_TRANSFER, WRONG_WALLET, WRONG_WHAT
};

typedef struct {
    const char  *kind;
    unsigned     debit;
    unsigned     credit;
    unsigned     flags;
} billing_audit_kind_t;


static int billing_audit_other(billing_audit_t *a,
    const billing_stream_t *row);
static const char *billing_audit_unfit(const billing_stream_t *row);
static unsigned billing_audit_wallet_kind(const char *kind);
static int billing_audit_wrongs(billing_audit_t *a, const char *name,
    const char *sql);


static const billing_audit_kind_t  billing_audit_kinds[] = {
    { "topup", CLEARING, CLIENT, 0 },
    { "adjustment", PLATFORM, CLIENT|ADVISOR, 0 },
    { "adjustment", CLIENT|ADVISOR, PLATFORM, 0 },
    { "promo", PLATFORM, CLIENT, PROMO|ALL_PROMO },
    { "promo_back", CLIENT, PLATFORM, PROMO },
    { "gift", CLIENT, ADVISOR, FEE|PROMO },
    { "deposit", CLIENT, ADVISOR, FEE|PROMO },
    { "refund", CLIENT, CLEARING, 0 },
    { "freeze", CLIENT, FROZEN, OWN },
    { "release", FROZEN, CLIENT, OWN },
    { "reversal", ADVISOR, CLIENT, PROMO },
    { "reversal_fee", PLATFORM, CLIENT, PROMO },
    { "payout", ADVISOR, CLEARING, 0 },
    { "payout_return", CLEARING, ADVISOR, 0 },
    { "debt", RECEIVABLE, CLIENT|ADVISOR, OWN },
    { "recovery", CLIENT|ADVISOR, RECEIVABLE, OWN },
    { NULL, 0, 0, 0 }
};


int
billing_audit_others(billing_audit_t *a)
{
    int               rc;
    billing_stream_t  row;

    if (billing_stream_open(&row, &a->snapshot, "audit_others",
                            "SELECT billing.audit_others('audit_others')", 0,
                            0)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    while ((rc = billing_stream_next(&row)) == 1) {

        if (billing_audit_other(a, &row) != BILLING_OK) {
            return BILLING_ERROR;
        }

        billing_report_progress(&a->report, &a->totals, "transfers");
    }

    if (rc != 0 || billing_stream_close(&row) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (billing_audit_wrongs(a, "audit_wrongs",
                             "SELECT billing.audit_wrongs('audit_wrongs')")
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    if (billing_audit_wrongs(a, "audit_promo",
                             "SELECT billing.audit_promo('audit_promo')")
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    return billing_audit_wrongs(a, "audit_chain",
                                "SELECT billing.audit_chain('audit_chain')");
}


static int
billing_audit_other(billing_audit_t *a, const billing_stream_t *row)
{
    int64_t                 amount, fee, debit, credit;
    const char             *unfit;
    billing_audit_about_t   about;

    a->totals.transfers++;

    amount = billing_stream_int(row, OTHER_AMOUNT, 0);
    fee = billing_stream_int(row, OTHER_FEE, 0);
    debit = billing_stream_int(row, OTHER_DEBIT, 0);
    credit = billing_stream_int(row, OTHER_CREDIT, 0);

    billing_sum(&a->totals.fees, fee);

    switch (billing_audit_wallet_kind(billing_stream_text(row,
                                                          OTHER_DEBIT_KIND)))
    {
    case CLEARING:
        billing_sum(&a->totals.toppedup, amount);
        break;

    case PLATFORM:
        billing_sum(&a->totals.granted, amount);
        break;
    }

    switch (billing_audit_wallet_kind(billing_stream_text(row,
                                                          OTHER_CREDIT_KIND)))
    {
    case CLEARING:
        billing_sum(&a->totals.paidout, amount - fee);
        break;

    case PLATFORM:
        billing_sum(&a->totals.granted, -(amount - fee));
        break;
    }

    unfit = billing_audit_unfit(row);

    if (unfit == NULL) {
        return BILLING_OK;
    }

    memset(&about, 0, sizeof(billing_audit_about_t));
    about.transfer = billing_stream_int(row, OTHER_ID, 0);

    billing_report_violation(&a->report,
                             strncmp(unfit, "there is no", 11)
                             ? BILLING_AUDIT_ROW : BILLING_AUDIT_ORPHAN,
                             &about, "%s: a %s of %" PRId64 " (fee %" PRId64
                             ", promo %" PRId64 ") from wallet %" PRId64
                             " (%s) to wallet %" PRId64 " (%s)", unfit,
                             billing_stream_text(row, OTHER_KIND), amount, fee,
                             billing_stream_int(row, OTHER_PROMO, 0), debit,
                             billing_stream_text(row, OTHER_DEBIT_KIND),
                             credit,
                             billing_stream_text(row, OTHER_CREDIT_KIND));

    if (billing_audit_blame(a, debit) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return billing_audit_blame(a, credit);
}


/* What is wrong with a transfer; NULL: nothing. */

static const char *
billing_audit_unfit(const billing_stream_t *row)
{
    int64_t                      amount, fee, promo;
    unsigned                     debit, credit;
    const char                  *kind, *unfit;
    const billing_audit_kind_t  *k;

    kind = billing_stream_text(row, OTHER_KIND);
    amount = billing_stream_int(row, OTHER_AMOUNT, 0);
    fee = billing_stream_int(row, OTHER_FEE, 0);
    promo = billing_stream_int(row, OTHER_PROMO, 0);

    debit = billing_audit_wallet_kind(billing_stream_text(row,
                                                          OTHER_DEBIT_KIND));
    credit = billing_audit_wallet_kind(billing_stream_text(row,
                                                           OTHER_CREDIT_KIND));

    if (debit == 0 || credit == 0) {
        return "there is no such wallet";
    }

    unfit = "no transfer is of this kind";

    for (k = billing_audit_kinds; k->kind != NULL; k++) {

        if (strcmp(k->kind, kind) != 0) {
            continue;
        }

        if ((debit & k->debit) && (credit & k->credit)) {
            break;
        }

        unfit = "its kind is not between such wallets";
    }

    if (k->kind == NULL) {
        return unfit;
    }

    if (fee != 0 && !(k->flags & FEE)) {
        return "its kind has no fee";
    }

    if ((promo != 0 && !(k->flags & PROMO))
        || (promo != amount && (k->flags & ALL_PROMO)))
    {
        return "its kind has another part of promo";
    }

    if ((k->flags & OWN)
        && billing_stream_int(row, OTHER_DEBIT_OWNER, 0)
           != billing_stream_int(row, OTHER_CREDIT_OWNER, 0))
    {
        return "its kind is between wallets of one person";
    }

    return NULL;
}


static unsigned
billing_audit_wallet_kind(const char *kind)
{
    size_t  i;

    static const char *const  kinds[] = {
        "client", "advisor", "clearing", "platform", "receivable", "frozen"
    };

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {

        if (strcmp(kinds[i], kind) == 0) {
            return 1u << i;
        }
    }

    return 0;
}


/* What the database finds: mostly nothing. */

static int
billing_audit_wrongs(billing_audit_t *a, const char *name, const char *sql)
{
    int                     rc;
    billing_stream_t        row;
    billing_audit_code_e    code;
    billing_audit_about_t   about;

    if (billing_stream_open(&row, &a->snapshot, name, sql, 0, 0)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    while ((rc = billing_stream_next(&row)) == 1) {

        code = billing_audit_code(billing_stream_text(&row, WRONG_CODE));

        memset(&about, 0, sizeof(billing_audit_about_t));
        about.session = billing_stream_int(&row, WRONG_SESSION, 0);
        about.transfer = billing_stream_int(&row, WRONG_TRANSFER, 0);
        about.wallet = billing_stream_int(&row, WRONG_WALLET, 0);

        billing_report_violation(&a->report,
                                 (code == BILLING_AUDIT_CODES)
                                 ? BILLING_AUDIT_TOTAL : code, &about, "%s",
                                 billing_stream_text(&row, WRONG_WHAT));

        if (about.wallet != 0
            && billing_audit_blame(a, about.wallet) != BILLING_OK)
        {
            return BILLING_ERROR;
        }
    }

    if (rc != 0) {
        return BILLING_ERROR;
    }

    return billing_stream_close(&row);
}
