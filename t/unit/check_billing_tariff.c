
/*
 * Copyright (C) The Astro authors
 *
 * The tariff against exact fractions in Python, against its own inverse, and
 * against ticks of any length.
 */

#include "unit.h"
#include "tariff.h"


static int64_t
up_to(int64_t max)
{
    return (int64_t) (unit_random() % ((uint64_t) max + 1));
}


/* small and large alike: as many numbers of 3 digits as of 18 */

static int64_t
any(int64_t max)
{
    int64_t  n;

    n = (int64_t) ((unit_random() >> 1) >> (unit_random() % 63));

    return (max == INT64_MAX) ? n : n % (max + 1);
}


static const char *
oracle(void)
{
    const char  *path;

    path = getenv("ASTRO_ORACLE");

    if (path != NULL) {
        return path;
    }

    if (access("t/unit/oracle_tariff.py", R_OK) == 0) {
        return "t/unit/oracle_tariff.py";
    }

    return "oracle_tariff.py";
}


START_TEST(known)
{
    static const struct {
        int64_t  rate;
        int64_t  ms;
        int64_t  charged;
    } cases[] = {
        { 6000, 0, 0 },
        { 6000, 9, 0 },
        { 6000, 10, 1 },
        { 6000, 20000, 2000 },
        { 6000, 20009, 2000 },
        { 6000, 20010, 2001 },
        { 1, 59999, 0 },
        { 1, 60000, 1 },
        { 1000000000, 1, 16666 },
        { 59999, 60000, 59999 },
        { 1000000000, INT64_C(553402322211286), INT64_C(9223372036854766666) },
        { 1, BILLING_MS_MAX, INT64_C(150119987579) }
    };

    size_t            i;
    int64_t           amount;
    billing_tariff_t  t = { .rate = 0 };

    t.commission_bps = 3000;

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        t.rate = cases[i].rate;

        ck_assert_int_eq(billing_tariff_charged(&t, cases[i].ms, &amount),
                         BILLING_OK);
        ck_assert_int_eq(amount, cases[i].charged);
    }
}
END_TEST


START_TEST(refused)
{
    int64_t           n;
    billing_tariff_t  t = { .rate = 6000, .commission_bps = 3000 };
    billing_tariff_t  dear = { .rate = INT64_MAX, .commission_bps = 3000 };
    billing_tariff_t  none = { .rate = 0, .commission_bps = 3000 };
    billing_tariff_t  negative = { .rate = -1, .commission_bps = 3000 };
    billing_tariff_t  below = { .rate = 6000, .commission_bps = -1 };
    billing_tariff_t  above = { .rate = 6000, .commission_bps = 10001 };

    ck_assert_int_eq(billing_tariff_charged(&t, -1, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&t, INT64_MIN, &n),
                     BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&t, BILLING_MS_MAX + 1, &n),
                     BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&t, INT64_MAX, &n),
                     BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&dear, 60001, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&none, 1, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&negative, 1, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&below, 1, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_charged(&above, 1, &n), BILLING_ERROR);

    ck_assert_int_eq(billing_tariff_fee(&t, -1, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_fee(&above, 1, &n), BILLING_ERROR);

    ck_assert_int_eq(billing_tariff_reach(&t, -1, &n), BILLING_ERROR);
    ck_assert_int_eq(billing_tariff_reach(&none, 1, &n), BILLING_ERROR);
}
END_TEST


START_TEST(against_fractions)
{
    char              line[256], what, third[64];
    FILE             *f;
    char              command[512];
    size_t            lines;
    int64_t           a, b, n;
    billing_tariff_t  t = { .rate = 0 };

    ck_assert_int_lt(snprintf(command, sizeof(command),
                              "/usr/bin/python3 %s %" PRIu64 " 3000",
                              oracle(), unit_random() % 1000000),
                     (int) sizeof(command));

    f = popen(command, "r");
    ck_assert_ptr_nonnull(f);

    lines = 0;

    while (fgets(line, sizeof(line), f) != NULL) {

        ck_assert_int_eq(sscanf(line, "%c %" SCNd64 " %" SCNd64 " %63s",
                                &what, &a, &b, third), 4);
        lines++;

        t.rate = a;
        t.commission_bps = 3000;

        switch (what) {

        case 'c':
            if (strcmp(third, "-") == 0) {
                ck_assert_msg(billing_tariff_charged(&t, b, &n)
                              == BILLING_ERROR, "%s", line);
                continue;
            }

            ck_assert_msg(billing_tariff_charged(&t, b, &n) == BILLING_OK,
                          "%s", line);
            break;

        case 'f':
            t.rate = 1;
            t.commission_bps = (int32_t) a;
            ck_assert_msg(billing_tariff_fee(&t, b, &n) == BILLING_OK,
                          "%s", line);
            break;

        default:
            ck_assert_msg(billing_tariff_reach(&t, b, &n) == BILLING_OK,
                          "%s", line);
        }

        ck_assert_msg(n == strtoll(third, NULL, 10),
                      "got %" PRId64 " for %s", n, line);
    }

    ck_assert_int_eq(pclose(f), 0);
    ck_assert_uint_eq(lines, 9000);
}
END_TEST


START_TEST(inverse)
{
    int               i;
    int64_t           funds, ms, amount;
    billing_tariff_t  t = { .rate = 0 };

    t.commission_bps = 0;

    for (i = 0; i < 300000; i++) {
        t.rate = any(INT64_MAX - 1) + 1;
        funds = (i % 8) ? any(INT64_MAX) : INT64_MAX - up_to(3);

        must(billing_tariff_reach(&t, funds, &ms) == BILLING_OK);
        must(ms >= 0);
        must(ms <= BILLING_MS_MAX);

        must(billing_tariff_charged(&t, ms, &amount) == BILLING_OK);
        must(amount <= funds);

        if (ms == BILLING_MS_MAX
            || billing_tariff_charged(&t, ms + 1, &amount) != BILLING_OK)
        {
            continue;
        }

        must(amount > funds);
    }
}
END_TEST


/* However the time is cut into ticks, the sums are those of one tick. */

START_TEST(any_ticks)
{
    int               i;
    int64_t           ms, at, charged, fee, total, fees, n;
    billing_tariff_t  t = { .rate = 0 };

    for (i = 0; i < 3000; i++) {
        t.rate = any(999999999) + 1;
        t.commission_bps = (int32_t) up_to(10000);

        ms = any(10000000);
        at = 0;
        total = 0;
        fees = 0;

        while (at < ms) {
            at += 1 + any(60000);

            if (at > ms) {
                at = ms;
            }

            /* as a tick does it: what is owed by now, less what was charged */

            must(billing_tariff_charged(&t, at, &charged) == 0);
            must(billing_tariff_fee(&t, charged, &fee) == 0);

            n = charged - total;
            must(n >= 0);
            must(fee >= fees);
            must(fee - fees <= n);

            total += n;
            fees += fee - fees;
        }

        must(total == (int64_t) ((__int128) t.rate * ms / 60000));
        must(fees == total * t.commission_bps / 10000);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_tariff");

    unit_add(s, "known", known);
    unit_add(s, "refused", refused);
    unit_add(s, "against_fractions", against_fractions);
    unit_add(s, "inverse", inverse);
    unit_add(s, "any_ticks", any_ticks);

    return unit_main(s);
}
