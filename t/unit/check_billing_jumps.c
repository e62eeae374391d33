
/*
 * Copyright (C) The Astro authors
 *
 * Leaps of a clock that is read over a wire.
 */

#include "unit.h"

#include "jumps.h"


#define T     INT64_C(1763690000000)
#define HOUR  3600000


START_TEST(leaps)
{
    int64_t          by;
    billing_jumps_t  j;

    memset(&j, 0, sizeof(billing_jumps_t));

    ck_assert_int_eq(billing_jumps_heard(&j, T, 0, 10), 0);
    ck_assert_int_eq(billing_jumps_heard(&j, T + 250, 250, 260), 0);

    by = billing_jumps_heard(&j, T + 500 + HOUR, 500, 510);
    ck_assert_int_ge(by, HOUR);
    ck_assert_int_le(by, HOUR + 20);

    ck_assert_int_eq(billing_jumps_heard(&j, T + 750 + HOUR, 750, 760), 0);

    /* what began before it, just before it, and after */

    ck_assert_int_eq(billing_jumps_since(&j, T - 1000), by);
    ck_assert_int_eq(billing_jumps_since(&j, T + 500), by);
    ck_assert_int_eq(billing_jumps_since(&j, T + 500 + HOUR), 0);

    /* once more; then put back */

    ck_assert_int_ge(billing_jumps_heard(&j, T + 1000 + 2 * HOUR, 1000, 1010),
                     HOUR);
    ck_assert_int_ge(billing_jumps_since(&j, T), 2 * HOUR);
    ck_assert_int_lt(billing_jumps_since(&j, T + 600 + HOUR), HOUR + 20);

    ck_assert_int_eq(billing_jumps_heard(&j, T + 1250, 1250, 1260), 0);
    ck_assert_int_eq(billing_jumps_since(&j, T), 0);
}
END_TEST


/* A clock that leaps not is never said to, however long answers take. */

START_TEST(steady)
{
    int              i;
    int64_t          now, sent, at;
    billing_jumps_t  j;

    memset(&j, 0, sizeof(billing_jumps_t));
    now = 0;

    for (i = 0; i < 100000; i++) {
        sent = now + (int64_t) unit_below(5000);
        at = sent + (int64_t) unit_below(5000);
        now = at + (int64_t) unit_below(5000);

        must(billing_jumps_heard(&j, T + at, sent, now) == 0);
    }

    must(billing_jumps_since(&j, 0) == 0);
}
END_TEST


/* More than are remembered: what began before all of them is still right. */

START_TEST(many)
{
    int              i;
    int64_t          ms;
    billing_jumps_t  j;

    memset(&j, 0, sizeof(billing_jumps_t));

    for (i = 0; i < 100; i++) {
        ms = i * 250;
        must((billing_jumps_heard(&j, T + ms + (int64_t) i * HOUR, ms, ms)
              == HOUR) == (i > 0));
    }

    ck_assert_int_eq(billing_jumps_since(&j, T), 99 * (int64_t) HOUR);
    ck_assert_int_eq(billing_jumps_since(&j, ms + T + 98 * (int64_t) HOUR),
                     HOUR);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_jumps");

    unit_add(s, "leaps", leaps);
    unit_add(s, "steady", steady);
    unit_add(s, "many", many);

    return unit_main(s);
}
