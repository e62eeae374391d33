
/*
 * Copyright (C) The Astro authors
 *
 * Rate limits against the rule they stand for, over the wrap of their clock,
 * and shared by processes that get killed; numbers of connections against an
 * array, and after the death of a seat's owner.
 */

#include <signal.h>
#include <sys/wait.h>

#include "unit_arena.h"

#include "astro_limits.h"


#define SECOND     UINT64_C(1000000)
#define START      (UINT64_C(1) << 40)
#define CLIENTS    40
#define SHARERS    4

/* tags differ, and so do lines */
#define KEY(n)     ((uint64_t) (n) << 44 | (uint64_t) (n) << 3)


/*
 * Whatever the order of things: in any stretch of time no more than the burst
 * and what the rate gives in that time; and an even stream at the rate always
 * passes.
 */

START_TEST(limits_rule)
{
    int             i, taken;
    uint64_t        now, tat, wait, shared;
    astro_arena_t  *a;
    astro_limit_t   limit;

    a = make(&small);
    ck_assert_int_eq(astro_limit_set(&limit, 50, SECOND, 10), 0);
    ck_assert_uint_eq(limit.interval_us, 20000);

    now = START;
    tat = 0;
    taken = 0;

    for (i = 0; i < 100; i++) {
        wait = astro_limit_local(&tat, &limit, now, 1);
        shared = astro_limit_shared(a, KEY(77), &limit, now, 1);
        ck_assert_uint_eq(wait, shared);
        taken += wait == 0;
    }

    ck_assert_int_eq(taken, 10);
    ck_assert_uint_eq(wait, 20000);

    /* what it says to wait is enough, and a microsecond less is not */

    now += wait - 1;
    must(astro_limit_shared(a, KEY(77), &limit, now, 1) == 1);
    must(astro_limit_local(&tat, &limit, now, 1) == 1);
    now++;
    must(astro_limit_shared(a, KEY(77), &limit, now, 1) == 0);
    must(astro_limit_local(&tat, &limit, now, 1) == 0);

    for (i = 0; i < 1000; i++) {
        now += 20000;
        must(astro_limit_shared(a, KEY(77), &limit, now, 1) == 0);
        must(astro_limit_local(&tat, &limit, now, 1) == 0);
    }

    /* at random: never more than the rule allows */

    taken = 0;

    for (i = 0; i < 100000; i++) {
        now += unit_below(10000);
        taken += astro_limit_shared(a, KEY(78), &limit, now, 1) == 0;
    }

    now -= START + 1000 * 20000 + 20000;
    must((uint64_t) taken <= 10 + now / 20000);
    must((uint64_t) taken + 5 >= now / 20000);
}
END_TEST


START_TEST(limits_conf)
{
    uint64_t       tat;
    astro_limit_t  limit;

    ck_assert_int_eq(astro_limit_set(&limit, 0, SECOND, 1), -1);
    ck_assert_int_eq(astro_limit_set(&limit, 1, SECOND, 0), -1);
    ck_assert_int_eq(astro_limit_set(&limit, SECOND + 1, SECOND, 1), -1);
    ck_assert_int_eq(astro_limit_set(&limit, 1, 60 * SECOND, 36), -1);
    ck_assert_int_eq(astro_limit_set(&limit, 1, 60 * SECOND, 35), 0);
    ck_assert_int_eq(astro_limit_set(&limit, SECOND, SECOND, 1), 0);
    ck_assert_int_eq(astro_limit_set(&limit, 1, SECOND, UINT64_MAX), -1);

    /* none at all: always */

    memset(&limit, 0, sizeof(limit));
    tat = 0;
    ck_assert_uint_eq(astro_limit_local(&tat, &limit, START, 1000), 0);
    ck_assert_uint_eq(astro_limit_debt(&tat, &limit, START, 1000), 0);
    ck_assert_uint_eq(tat, 0);

    /* a debt is taken all the same */

    ck_assert_int_eq(astro_limit_set(&limit, 1000, SECOND, 100), 0);
    ck_assert_uint_eq(astro_limit_debt(&tat, &limit, START, 100), 0);
    ck_assert_uint_eq(astro_limit_debt(&tat, &limit, START, 400), 400000);
    ck_assert_uint_eq(astro_limit_debt(&tat, &limit, START + 399000, 0),
                      1000);
    ck_assert_uint_eq(astro_limit_debt(&tat, &limit, START + 400000, 0), 0);
}
END_TEST


/* 44 bits of microseconds come round; nobody must notice. */

START_TEST(limits_wrap)
{
    int             i;
    uint64_t        now, end;
    astro_arena_t  *a;
    astro_limit_t   limit;

    a = make(&small);
    ck_assert_int_eq(astro_limit_set(&limit, 10, SECOND, 20), 0);

    end = UINT64_C(1) << 44;

    for (now = end - 5 * SECOND; now < end + 5 * SECOND; now += 100000) {
        must(astro_limit_shared(a, KEY(5), &limit, now, 1) == 0);
    }

    for (i = 0; i < 30; i++) {
        (void) astro_limit_shared(a, KEY(6), &limit, end - 1, 1);
    }

    must(astro_limit_shared(a, KEY(6), &limit, end - 1, 1) != 0);
    must(astro_limit_shared(a, KEY(6), &limit, end + 10, 1) != 0);
    must(astro_limit_shared(a, KEY(6), &limit, end + 3 * SECOND, 1) == 0);

    /* an entry of long ago that looks as if it were of the future */

    now = 2 * ASTRO_LIMIT_MAX_US;
    must(astro_limit_shared(a, KEY(7), &limit, now, 20) == 0);
    must(astro_limit_shared(a, KEY(7), &limit, now, 1) != 0);
    must(astro_limit_shared(a, KEY(7), &limit, SECOND, 1) == 0);
}
END_TEST


/* More keys in one line than it has slots: who is limited most stays so. */

START_TEST(limits_full_line)
{
    int             i;
    size_t          used;
    uint64_t        key, abuser;
    astro_arena_t  *a;
    astro_limit_t   limit;

    a = make(&small);
    ck_assert_int_eq(astro_limit_set(&limit, 1, SECOND, 100), 0);

    abuser = (UINT64_C(999) << 44) | 64;
    must(astro_limit_shared(a, abuser, &limit, START, 100) == 0);
    must(astro_limit_shared(a, abuser, &limit, START, 1) != 0);

    for (i = 0; i < 1000; i++) {
        key = ((uint64_t) i + 1000) << 44 | 64;
        must(astro_limit_shared(a, key, &limit, START, 1) == 0);
    }

    must(astro_limit_shared(a, abuser, &limit, START, 1) != 0);

    used = astro_limit_used(a, START);
    ck_assert_uint_eq(used, 8);
    ck_assert_uint_eq(astro_limit_used(a, START + 101 * SECOND), 0);

    /* and the other lines know of nothing */

    must(astro_limit_shared(a, abuser + 8, &limit, START, 100) == 0);
}
END_TEST


/* Processes that share a bucket, of which one is killed again and again. */

START_TEST(limits_shared)
{
    int                i, status;
    pid_t              pid[SHARERS];
    uint32_t           rest;
    astro_arena_t     *a;
    astro_limit_t      limit;
    _Atomic uint32_t  *taken;

    a = make(&small);
    taken = memory(4096);
    ck_assert_int_eq(astro_limit_set(&limit, 1, SECOND, 50000), -1);
    ck_assert_int_eq(astro_limit_set(&limit, 100, SECOND, 200000), 0);

    for (i = 0; i < SHARERS; i++) {
        pid[i] = fork();
        ck_assert_int_ge(pid[i], 0);

        if (pid[i] == 0) {
            for ( ;; ) {
                if (astro_limit_shared(a, KEY(4711), &limit, START, 1) == 0) {
                    atomic_fetch_add(taken, 1);

                } else if (i) {
                    _exit(0);
                }
            }
        }
    }

    (void) usleep(2000);
    must(kill(pid[0], SIGKILL) == 0);

    for (i = 0; i < SHARERS; i++) {
        must(waitpid(pid[i], &status, 0) == pid[i]);
        must(i == 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    }

    /*
     * The killed one may have taken without counting.  Whoever loses a race
     * eight times over goes through: that is rare.
     */

    rest = atomic_load(taken);
    must(rest >= 199999);
    ck_assert_uint_le(rest, 200100);
}
END_TEST


/* Kinds and neighbouring numbers never cancel out. */

START_TEST(limits_keys)
{
    int        i, j, k, n;
    uint64_t   user;
    uint64_t  *keys;

    n = 0;
    keys = malloc(sizeof(uint64_t) * 12 * 200);
    ck_assert_ptr_ne(keys, NULL);

    for (k = 0; k < 12; k++) {
        for (user = 1; user <= 200; user++) {
            keys[n++] = astro_limit_key((uint32_t) k, &user, sizeof(user));
        }
    }

    for (i = 0; i < n; i++) {
        for (j = 0; j < i; j++) {
            must(keys[i] >> 20 != keys[j] >> 20);
            must((uint32_t) keys[i] != (uint32_t) keys[j]
                 || keys[i] >> 44 != keys[j] >> 44);
        }
    }

    free(keys);
}
END_TEST


START_TEST(counts_model)
{
    int             i, seat, k;
    size_t          used;
    uint32_t        n, want, model[CLIENTS][8];
    uint64_t        key[CLIENTS];
    astro_arena_t  *a;

    a = make(&small);
    memset(model, 0, sizeof(model));

    for (i = 0; i < CLIENTS; i++) {
        key[i] = astro_limit_key(1, &i, sizeof(i));
    }

    ck_assert_uint_eq(astro_count_add(a, key[0], 8), 0);
    ck_assert_uint_eq(astro_count_add(a, key[0], -1), 0);

    for (i = 0; i < (int) (200000 * unit_effort); i++) {
        k = (int) unit_below(CLIENTS);
        seat = (int) unit_below(8);

        if (unit_below(2)) {
            n = astro_count_add(a, key[k], seat);
            must(n > 0);
            model[k][seat]++;

        } else {
            astro_count_sub(a, key[k], seat);
            model[k][seat] -= model[k][seat] > 0;
        }

        for (want = 0, seat = 0; seat < 8; seat++) {
            want += model[k][seat];
        }

        must(astro_count_of(a, key[k]) == want);
    }

    for (used = 0, k = 0; k < CLIENTS; k++) {
        for (seat = 0; seat < 8; seat++) {
            used += model[k][seat] > 0;
        }
    }

    ck_assert_uint_eq(astro_counts_used(a), used);
}
END_TEST


/* A window that is full: not counted, and nobody else's number is wrong. */

START_TEST(counts_full)
{
    int             i, n;
    uint64_t        key;
    astro_arena_t  *a;

    a = make(&small);
    n = 0;

    for (i = 1; i <= 100; i++) {
        key = (uint64_t) i << 24;
        n += astro_count_add(a, key, 2) == 1;
    }

    ck_assert_int_eq(n, 32);

    for (i = 1; i <= 100; i++) {
        key = (uint64_t) i << 24;
        ck_assert_uint_eq(astro_count_of(a, key), i <= 32);
    }

    /* 65535 is the most of one key at one seat */

    key = 1 << 24;

    for (i = 1; i < 65535; i++) {
        must(astro_count_add(a, key, 2) == (uint32_t) i + 1);
    }

    ck_assert_uint_eq(astro_count_add(a, key, 2), 0);
    ck_assert_uint_eq(astro_count_of(a, key), 65535);
    ck_assert_uint_eq(astro_count_of(a, 2 << 24), 1);
}
END_TEST


/* What a killed worker counted goes with its seat; what others did stays. */

START_TEST(counts_killed)
{
    int             seat, status, theirs;
    pid_t           pid;
    astro_arena_t  *a;

    a = make(&small);
    seat = astro_seat_claim(a, 0);
    ck_assert_int_eq(seat, 0);
    ck_assert_uint_eq(astro_count_add(a, 12345, seat), 1);

    pid = fork();
    ck_assert_int_ge(pid, 0);

    if (pid == 0) {
        theirs = astro_seat_claim(a, 0);
        (void) astro_count_add(a, 12345, theirs);
        (void) astro_count_add(a, 12345, theirs);
        (void) raise(SIGKILL);
    }

    must(waitpid(pid, &status, 0) == pid);
    ck_assert_uint_eq(astro_count_of(a, 12345), 3);
    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), 1);
    ck_assert_uint_eq(astro_count_of(a, 12345), 1);

    astro_seat_release(a, seat);
    ck_assert_uint_eq(astro_count_of(a, 12345), 0);
    ck_assert_uint_eq(astro_counts_used(a), 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("limits");

    unit_add(s, "limits_rule", limits_rule);
    unit_add(s, "limits_conf", limits_conf);
    unit_add(s, "limits_wrap", limits_wrap);
    unit_add(s, "limits_full_line", limits_full_line);
    unit_add(s, "limits_shared", limits_shared);
    unit_add(s, "limits_keys", limits_keys);
    unit_add(s, "counts_model", counts_model);
    unit_add(s, "counts_full", counts_full);
    unit_add(s, "counts_killed", counts_killed);

    return unit_main(s);
}
