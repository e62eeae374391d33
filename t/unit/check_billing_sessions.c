
/*
 * Copyright (C) The Astro authors
 *
 * The sessions in memory, when there is no more of it: whoever cannot be made
 * due is dropped, as the next scan finds it again.  Kept, it would wait for
 * ever: in no heap, at a version that no scan takes for news.
 */

#include <stdlib.h>

#include "unit.h"


static int  scarce;


static void *
scarce_realloc(void *p, size_t size)
{
    return scarce ? NULL : realloc(p, size);
}

#define realloc  scarce_realloc
#include "../../billing_worker/core/heap.c"
#undef realloc
#include "../../billing_worker/known.c"
#include "../../billing_worker/sessions.c"


#define N  5


static billing_sessions_t  s;
static billing_heap_t      lane;
static billing_session_t  *made[N];


/* All of one wallet, waiting in a lane; nobody in the heap of those read. */

static void
setup(void)
{
    int  i;

    scarce = 0;

    billing_heap_init(&lane);
    ck_assert_int_eq(billing_sessions_init(&s), 0);

    for (i = 0; i < N; i++) {
        made[i] = billing_sessions_add(&s, i + 1, 7, 3);
        ck_assert_ptr_nonnull(made[i]);
        billing_sessions_move(made[i], &lane);
        ck_assert_int_eq(billing_sessions_due(&s, made[i], 1000), 0);
    }
}


static void
teardown(void)
{
    billing_heap_free(&lane);       /* first: it knows the sessions */
    billing_sessions_free(&s);
}


START_TEST(moved)
{
    billing_sessions_look(&s, made[0], 5);

    ck_assert_ptr_eq(billing_heap_min(&s.heap), &made[0]->due);
    ck_assert_int_eq(made[0]->due.key, 5);

    billing_sessions_look_wallet(&s, 7, 4);
    ck_assert_uint_eq(s.heap.n, N);
    ck_assert_uint_eq(lane.n, 0);
}
END_TEST


START_TEST(no_memory)
{
    scarce = 1;
    billing_sessions_look(&s, made[0], 5);

    ck_assert_ptr_null(billing_sessions_find(&s, 1));
    ck_assert_uint_eq(s.n, N - 1);
    ck_assert_uint_eq(lane.n, N - 1);

    /* and is found by the next scan */

    scarce = 0;
    made[0] = billing_sessions_add(&s, 1, 7, 3);
    ck_assert_int_eq(billing_sessions_due(&s, made[0], 5), 0);
    ck_assert_ptr_eq(billing_heap_min(&s.heap), &made[0]->due);
}
END_TEST


START_TEST(no_memory_for_any)
{
    /* a batch has it, and will look again */

    billing_heap_remove(&lane, &made[2]->due);
    made[2]->busy = 1;

    scarce = 1;
    billing_sessions_look_wallet(&s, 7, 5);

    ck_assert_uint_eq(s.n, 1);
    ck_assert_uint_eq(lane.n, 0);
    ck_assert_ptr_eq(billing_sessions_find(&s, 3), made[2]);
    ck_assert_uint_eq(made[2]->again, 1);
}
END_TEST


int
main(void)
{
    Suite  *suite;
    TCase  *tc;

    suite = suite_create("billing_sessions");
    tc = tcase_create("memory");

    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, moved);
    tcase_add_test(tc, no_memory);
    tcase_add_test(tc, no_memory_for_any);
    suite_add_tcase(suite, tc);

    return unit_main(suite);
}
