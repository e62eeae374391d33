
/*
 * Copyright (C) The Astro authors
 *
 * The audit of one session: silent on books as the engine keeps them, and
 * naming what was altered in any single number of them.  And the texts that
 * carry numbers to and from SQL.
 */

#include "unit.h"
#include "audit_session.h"
#include "engine.h"
#include "intervals.h"
#include "text.h"


#define T        INT64_C(1763690000000)
#define CHARGES  20


typedef struct {
    billing_audit_session_t   s;
    billing_audit_transfer_t  transfers[CHARGES];
    billing_interval_t        intervals[4];
    billing_segment_t         segments[2];
    billing_audit_rollup_t    rollup;
} books_t;

typedef struct {
    int                       n;
    int                       named;        /* of these, the transfer we want */
    int64_t                   want;
} found_t;


static void
found(void *data, const billing_audit_session_t *s,
    const billing_audit_transfer_t *t, billing_audit_code_e code,
    const char *what)
{
    found_t *f = data;

    (void) s;
    (void) code;
    (void) what;

    f->n++;
    f->named += (t != NULL && t->id == f->want);
}


static found_t
audit(books_t *b, int64_t want)
{
    int      n;
    found_t  f;

    f.n = 0;
    f.named = 0;
    f.want = want;

    n = billing_audit_session(&b->s, found, &f);
    ck_assert_int_eq(n, f.n);

    return f;
}


/* Options of the tariff, one half of the time each. */

static void
options(books_t *b)
{
    size_t  i;

    b->s.tariff.whole_minute = (uint8_t) unit_below(2);
    b->s.tariff.min_minor = unit_below(2) ? (int64_t) unit_below(500) : 0;
    b->s.tariff.free_ms = unit_below(2) ? (int64_t) unit_below(50000) : 0;

    b->s.segments = b->segments;
    b->s.nsegments = unit_below(3);
    b->s.told_segments = (int64_t) b->s.nsegments;

    for (i = 0; i < b->s.nsegments; i++) {
        b->segments[i].from_ms = (int64_t) unit_below(100000)
                                 + (i ? b->segments[i - 1].from_ms : 0);
        b->segments[i].at_ms = T + b->segments[i].from_ms;
        b->segments[i].rate = 1 + (int64_t) unit_below(100000);
    }

    b->s.tariff.segments = b->segments;
    b->s.tariff.nsegments = b->s.nsegments;
}


/* A session of some charges that is over; ticks of any length. */

static void
books(books_t *b)
{
    int64_t                    ms, charged, fee;
    billing_audit_transfer_t  *t;

    memset(b, 0, sizeof(books_t));

    b->s.id = 7;
    b->s.ended = 1;
    b->s.settled = 1;
    b->s.tariff.rate = 1 + (int64_t) unit_below(100000);
    b->s.tariff.commission_bps = (int32_t) unit_below(10001);
    b->s.client_wallet = 5;
    b->s.advisor_wallet = 6;
    b->s.max_ms = BILLING_NONE;
    options(b);
    b->s.transfers = b->transfers;
    b->s.intervals = b->intervals;

    ms = 0;

    while (b->s.ntransfers < CHARGES) {
        ms += 1 + (int64_t) unit_below(20000);

        ck_assert_int_eq(billing_tariff_charged(&b->s.tariff, ms, &charged),
                         BILLING_OK);
        ck_assert_int_eq(billing_tariff_fee(&b->s.tariff, charged, &fee),
                         BILLING_OK);

        b->s.billed_ms = ms;

        if (charged == b->s.charged) {
            continue;
        }

        t = &b->transfers[b->s.ntransfers++];
        t->id = 100 + (int64_t) b->s.ntransfers;
        t->charge_no = ++b->s.charge_no;
        t->amount = charged - b->s.charged;
        t->fee = fee - b->s.fee;
        t->debit = 5;
        t->credit = 6;
        t->billed_ms = ms;
        t->promo = (b->s.ntransfers < 5) ? t->amount / 2 : 0;

        b->s.promo += t->promo;
        b->s.charged = charged;
        b->s.fee = fee;
    }

    b->s.credited = b->s.charged - b->s.fee;
    b->s.end_ms = T + ms;
    b->s.paid_until_ms = T + ms + 5000;

    b->s.nintervals = 3;
    b->intervals[0].party = BILLING_CLIENT;
    b->intervals[0].from_ms = T - 400;
    b->intervals[0].to_ms = T + ms + 30;
    b->intervals[1].party = BILLING_ADVISOR;
    b->intervals[1].from_ms = T;
    b->intervals[1].to_ms = T + ms / 2;
    b->intervals[2].party = BILLING_ADVISOR;
    b->intervals[2].from_ms = T + ms / 2;
    b->intervals[2].to_ms = T + ms + 40;
}


START_TEST(silent)
{
    int      i;
    books_t  b;

    for (i = 0; i < 200; i++) {
        books(&b);
        ck_assert_int_eq(audit(&b, 0).n, 0);

        /* in mid-session less is billed than is proven */

        b.s.ended = b.s.settled = 0;
        b.s.end_ms = BILLING_NONE;
        b.s.held = 12;
        b.s.credited = 0;
        b.intervals[2].to_ms += 3000;
        b.intervals[2].open = 1;
        ck_assert_int_eq(audit(&b, 0).n, 0);
    }
}
END_TEST


/* Whatever is altered in whichever transfer: that one is named. */

START_TEST(names_the_transfer)
{
    int                        i, k, what;
    int64_t                    by;
    books_t                    b;
    found_t                    f;
    billing_audit_transfer_t  *t;

    for (i = 0; i < 2000; i++) {
        books(&b);

        k = (int) unit_below(CHARGES);
        t = &b.transfers[k];
        by = 1 + (int64_t) unit_below(3);
        what = (int) unit_below(6);

        switch (what) {

        case 0:
            t->amount += by;
            break;

        case 1:
            t->amount -= by;
            break;

        case 2:
            t->fee += by;
            break;

        case 3:
            t->debit = 6;
            break;

        case 4:
            t->credit = 5;
            break;

        default:
            t->billed_ms = -1;
        }

        f = audit(&b, t->id);

        if (f.named == 0) {
            ck_abort_msg("transfer %d of %d, alteration %d", k, CHARGES,
                         what);
        }
    }
}
END_TEST


START_TEST(misses_one)
{
    int      k;
    books_t  b;

    for (k = 0; k < CHARGES; k++) {
        books(&b);

        memmove(&b.transfers[k], &b.transfers[k + 1],
                (size_t) (CHARGES - 1 - k)
                * sizeof(billing_audit_transfer_t));
        b.s.ntransfers--;

        ck_assert_int_gt(audit(&b, 0).n, 0);
    }

    /* one too many, one twice */

    books(&b);
    b.s.charge_no--;
    ck_assert_int_eq(audit(&b, 100 + CHARGES).named, 1);

    books(&b);
    b.transfers[4].charge_no = 4;
    ck_assert_int_ge(audit(&b, 105).named, 1);
}
END_TEST


START_TEST(any_number)
{
    int      i;
    books_t  b;

    for (i = 0; i < 20; i++) {
        books(&b);

        switch (i) {
        case 0: b.s.charged++; break;
        case 1: b.s.fee++; break;
        case 2: b.s.billed_ms += 100000; break;
        case 3: b.s.held = 1; break;
        case 4: b.s.credited--; break;
        case 5: b.s.ended = 0; break;
        case 6: b.s.end_ms--; break;
        case 7: b.s.end_ms++; break;
        case 8: b.s.paid_until_ms = T + b.s.billed_ms - 1; break;
        case 9: b.s.paid_until_ms = BILLING_NONE; break;
        case 10: b.s.max_ms = b.s.billed_ms - 1; break;
        case 11: b.intervals[0].from_ms = T + 1; break;
        case 12: b.intervals[1].to_ms--; break;
        case 13: b.intervals[2].party = BILLING_CLIENT; break;
        case 14: b.s.tariff.rate = 0; break;
        case 15: b.s.nintervals = 0; break;
        case 16: b.s.promo++; break;
        case 17: b.s.told_segments++; break;
        case 18: b.s.tariff.min_minor = b.s.charged + 1; break;
        case 19: b.s.tariff.max_minor = 1; break;
        }

        if (audit(&b, 0).n == 0) {
            ck_abort_msg("alteration %d was not found", i);
        }
    }
}
END_TEST


/* Less than was proven, as the money was spent: right for low_balance only. */

START_TEST(spent)
{
    int64_t  reach;
    books_t  b;

    books(&b);
    ck_assert_int_eq(billing_tariff_reach(&b.s.tariff, b.s.charged, &reach),
                     BILLING_OK);

    b.s.billed_ms = reach;
    b.s.end_ms = b.s.paid_until_ms = T + reach + 1000;
    b.intervals[0].to_ms = b.intervals[2].to_ms = T + reach + 1000;

    ck_assert_int_eq(audit(&b, 0).n, 1);

    b.s.low_balance = 1;
    ck_assert_int_eq(audit(&b, 0).n, 0);

    b.s.billed_ms--;
    ck_assert_int_ge(audit(&b, 0).n, 1);
}
END_TEST


/* A session's charges may have been rolled up: the sums are still proven. */

/* Some ms more than a maximum may have been served, and are not billed. */

START_TEST(at_the_maximum)
{
    int      i;
    books_t  b;

    for (i = 0; i < 2000; i++) {
        books(&b);

        b.intervals[0].to_ms += 60;
        b.intervals[1].to_ms += 60;
        b.s.paid_until_ms += 60;
        b.s.end_ms += 60;

        ck_assert_int_gt(audit(&b, -1).n, 0);

        b.s.max_ms = b.s.billed_ms;
        ck_assert_int_eq(audit(&b, -1).n, 0);

        b.s.max_ms = b.s.billed_ms + 1;
        ck_assert_int_gt(audit(&b, -1).n, 0);
    }
}
END_TEST


START_TEST(rolled_up)
{
    int      i;
    books_t  b;

    for (i = 0; i < 9; i++) {
        books(&b);

        b.rollup.charges = b.s.charge_no;
        b.rollup.amount = b.s.charged;
        b.rollup.fee = b.s.fee;
        b.rollup.promo = b.s.promo;
        b.rollup.debit = b.s.client_wallet;
        b.rollup.credit = b.s.advisor_wallet;
        b.s.rollup = &b.rollup;
        b.s.ntransfers = (i == 8);

        switch (i) {
        case 1: b.rollup.charges--; break;
        case 2: b.rollup.amount++; break;
        case 3: b.rollup.fee--; break;
        case 4: b.rollup.promo++; break;
        case 5: b.rollup.debit = 6; break;
        case 6: b.rollup.credit = 5; break;
        case 7: b.rollup.amount = INT64_MAX; break;
        }

        if ((audit(&b, 0).n == 0) != (i == 0)) {
            ck_abort_msg("alteration %d", i);
        }
    }
}
END_TEST


START_TEST(texts)
{
    int64_t          n;
    const char      *p;
    billing_text_t   t;

    billing_text_init(&t);
    ck_assert_str_eq(billing_text_close(&t), "{}");

    billing_text_reset(&t);
    billing_text_item(&t, INT64_MIN);
    billing_text_item(&t, 0);
    billing_text_word(&t, NULL);
    billing_text_word(&t, "t");
    billing_text_item(&t, INT64_MAX);
    ck_assert_str_eq(billing_text_close(&t),
                     "{-9223372036854775808,0,NULL,t,9223372036854775807}");

    billing_text_reset(&t);
    billing_text_json(&t, "a\"b\\c\n\x1f");
    ck_assert_str_eq(billing_text_end(&t), "\"a\\\"b\\\\c\\u000a\\u001f\"");

    billing_text_free(&t);

    p = "{{-5,9223372036854775807},{0,1}}";
    ck_assert_int_eq(billing_text_next(&p, &n), 1);
    ck_assert_int_eq(n, -5);
    ck_assert_int_eq(billing_text_next(&p, &n), 1);
    ck_assert_int_eq(n, INT64_MAX);
    ck_assert_int_eq(billing_text_next(&p, &n), 1);
    ck_assert_int_eq(billing_text_next(&p, &n), 1);
    ck_assert_int_eq(n, 1);
    ck_assert_int_eq(billing_text_next(&p, &n), 0);

    p = "{NULL}";
    ck_assert_int_eq(billing_text_next(&p, &n), BILLING_ERROR);
    p = "{9223372036854775808}";
    ck_assert_int_eq(billing_text_next(&p, &n), BILLING_ERROR);
    p = "";
    ck_assert_int_eq(billing_text_next(&p, &n), 0);

    ck_assert_int_eq(billing_text_number("17", &n), BILLING_OK);
    ck_assert_int_eq(n, 17);
    ck_assert_int_eq(billing_text_number("", &n), BILLING_ERROR);
    ck_assert_int_eq(billing_text_number("17s", &n), BILLING_ERROR);
    ck_assert_int_eq(billing_text_number("1e3", &n), BILLING_ERROR);
    ck_assert_int_eq(billing_text_number("99999999999999999999", &n),
                     BILLING_ERROR);
}
END_TEST


START_TEST(intervals)
{
    int                  i;
    char                 many[40 * 64];
    size_t               size, n, len;
    billing_interval_t  *iv;

    iv = NULL;
    size = 0;

    ck_assert_int_eq(billing_intervals_parse("", &iv, &size, &n), BILLING_OK);
    ck_assert_uint_eq(n, 0);

    ck_assert_int_eq(billing_intervals_parse("{{0,10,20,0,1},{1,15,15,1,0}}",
                                             &iv, &size, &n), BILLING_OK);
    ck_assert_uint_eq(n, 2);
    ck_assert_int_eq(iv[0].party, BILLING_CLIENT);
    ck_assert_int_eq(iv[0].from_ms, 10);
    ck_assert_int_eq(iv[0].to_ms, 20);
    ck_assert_int_eq(iv[0].open, 0);
    ck_assert_int_eq(iv[0].unpaid, 1);
    ck_assert_int_eq(iv[1].party, BILLING_ADVISOR);
    ck_assert_int_eq(iv[1].open, 1);
    ck_assert_int_eq(iv[1].unpaid, 0);

    len = 0;

    for (i = 0; i < 64; i++) {
        len += (size_t) snprintf(many + len, sizeof(many) - len,
                                 "%s{1,%d,%d,0,0}", i ? "," : "{", i, i + 1);
    }

    ck_assert_int_eq(billing_intervals_parse(many, &iv, &size, &n),
                     BILLING_OK);
    ck_assert_uint_eq(n, 64);
    ck_assert_int_eq(iv[63].from_ms, 63);

    ck_assert_int_eq(billing_intervals_parse("{{0,10,20,0}}", &iv, &size, &n),
                     BILLING_ERROR);
    ck_assert_int_eq(billing_intervals_parse("{{2,10,20,0,0}}", &iv, &size,
                                             &n), BILLING_ERROR);
    ck_assert_int_eq(billing_intervals_parse("{{0,NULL,20,0,0}}", &iv, &size,
                                             &n), BILLING_ERROR);

    free(iv);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_audit");

    unit_add(s, "silent", silent);
    unit_add(s, "names_the_transfer", names_the_transfer);
    unit_add(s, "misses_one", misses_one);
    unit_add(s, "any_number", any_number);
    unit_add(s, "spent", spent);
    unit_add(s, "at_the_maximum", at_the_maximum);
    unit_add(s, "rolled_up", rolled_up);
    unit_add(s, "texts", texts);
    unit_add(s, "intervals", intervals);

    return unit_main(s);
}
