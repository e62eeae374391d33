
/*
 * Copyright (C) The Astro authors
 *
 * What the unit tests of core share: numbers at random that can be had again,
 * and main().
 *
 *     ASTRO_SEED=n     the same random numbers again; printed by each run
 *     ASTRO_EFFORT=n   n times as many rounds
 */

#ifndef _ASTRO_UNIT_H_INCLUDED_
#define _ASTRO_UNIT_H_INCLUDED_


#include <check.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>


#define UNIT_TIMEOUT  300       /* seconds for one test: sanitizers are slow */


/*
 * For loops: ck_assert() tells the test's parent of every call, which costs
 * far more than what is tested.
 */
#define must(cond)                                                            \
    do {                                                                      \
        if (!(cond)) {                                                        \
            ck_abort_msg("%s", #cond);                                        \
        }                                                                     \
    } while (0)


static double    unit_effort = 1;      /* times what a test does by itself */
static uint64_t  unit_seed;


/* xorshift64*: the same numbers on every machine */

__attribute__((unused))
static uint64_t
unit_random(void)
{
    unit_seed ^= unit_seed >> 12;
    unit_seed ^= unit_seed << 25;
    unit_seed ^= unit_seed >> 27;

    return unit_seed * UINT64_C(2685821657736338717);
}


/* 0 .. n - 1 */

__attribute__((unused))
static uint64_t
unit_below(uint64_t n)
{
    return (unit_random() >> 16) % n;
}


__attribute__((unused))
static void
unit_add(Suite *s, const char *name, const TTest *test)
{
    TCase  *tc;

    tc = tcase_create(name);
    tcase_set_timeout(tc, UNIT_TIMEOUT);
    tcase_add_test(tc, test);
    suite_add_tcase(s, tc);
}


static int
unit_main(Suite *s)
{
    int          failed;
    SRunner     *sr;
    const char  *value;

    value = getenv("ASTRO_SEED");
    unit_seed = value ? strtoull(value, NULL, 10) : (uint64_t) getpid();

    printf("ASTRO_SEED=%" PRIu64 "\n", unit_seed);
    fflush(stdout);

    unit_seed = (unit_seed + 1) * UINT64_C(0x9e3779b97f4a7c15);

    value = getenv("ASTRO_EFFORT");
    unit_effort = value ? strtod(value, NULL) : 1;

    sr = srunner_create(s);
    srunner_run_all(sr, CK_ENV);
    failed = srunner_ntests_failed(sr);
    srunner_free(sr);

    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}


#endif /* _ASTRO_UNIT_H_INCLUDED_ */
