
/*
 * Copyright (C) The Astro authors
 *
 * The same text again and again: a burst a second, nothing left out untold.
 */

#include "unit.h"

#include "repeats.h"


START_TEST(a_burst)
{
    unsigned           i;
    uint64_t           left_out;
    billing_repeats_t  r;

    memset(&r, 0, sizeof(r));

    for (i = 0; i < 1000; i++) {
        must(billing_repeats_may(&r, "a", 7, &left_out)
             == (i < BILLING_REPEATS_BURST));
        must(left_out == 0);
    }

    /* another text is none of its business */

    ck_assert(billing_repeats_may(&r, "b", 7, &left_out));

    /* the clock may be set back, too */

    ck_assert(billing_repeats_may(&r, "a", 6, &left_out));
    ck_assert_uint_eq(left_out, 1000 - BILLING_REPEATS_BURST);
    ck_assert(billing_repeats_may(&r, "a", 6, &left_out));
    ck_assert_uint_eq(left_out, 0);
}
END_TEST


/* whatever comes: what was said and what was left out is all there was */

START_TEST(nothing_is_lost)
{
    char               text[80][4];
    unsigned           i, k;
    uint64_t           left_out, said[80], asked[80];
    billing_repeats_t  r;

    memset(&r, 0, sizeof(r));
    memset(said, 0, sizeof(said));
    memset(asked, 0, sizeof(asked));

    for (k = 0; k < 80; k++) {
        (void) snprintf(text[k], sizeof(text[k]), "%u", k);
    }

    for (i = 0; i < 100000; i++) {
        k = (unsigned) unit_below(80);
        asked[k]++;

        if (billing_repeats_may(&r, text[k], i / 5000, &left_out)) {
            said[k] += 1 + left_out;
        }
    }

    for (k = 0; k < 80; k++) {

        if (billing_repeats_may(&r, text[k], 1000, &left_out)) {
            said[k] += left_out;
        }

        must(said[k] == asked[k]);
    }

    ck_assert_uint_eq(r.n, BILLING_REPEATS_TEXTS);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_repeats");

    unit_add(s, "a_burst", a_burst);
    unit_add(s, "nothing_is_lost", nothing_is_lost);

    return unit_main(s);
}
