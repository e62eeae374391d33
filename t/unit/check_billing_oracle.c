
/*
 * Copyright (C) The Astro authors
 *
 * Random histories, played with the engine and recomputed by another program
 * in exact fractions: see history.h and oracle_history.py.
 *
 *     ASTRO_EFFORT=20     a million of them (`make oracle`)
 *     ASTRO_HISTORY=n     the one that a failure names, and its line
 *     ASTRO_ORACLE=path   the program, if it is not where it should be
 */

#include <sys/wait.h>
#include <time.h>

#include "unit.h"
#include "history.h"


#ifdef __SANITIZE_ADDRESS__
#define HISTORIES  10000
#else
#define HISTORIES  50000
#endif

#define ORACLES    2            /* programs that compare */

/* what was found once is played always, before all others */
static const uint64_t  found[] = {
    UINT64_C(212221360290714),  /* back between two switches, and cut off */
    UINT64_C(112491447125900)   /* a lease in doubt before what is proven */
};

#define FOUND      ((int) (sizeof(found) / sizeof(found[0])))


static const char *
oracle(void)
{
    const char  *path;

    path = getenv("ASTRO_ORACLE_HISTORY");

    if (path != NULL) {
        return path;
    }

    if (access("t/unit/oracle_history.py", R_OK) == 0) {
        return "t/unit/oracle_history.py";
    }

    return "oracle_history.py";
}


START_TEST(histories)
{
    int               i, n, failed;
    FILE             *to[ORACLES];
    char              command[512];
    uint64_t          seed;
    history_t         h;
    const char       *one, *wrong;
    struct timespec   from, now;

    static const char  *ends[] = { "low_balance", "max_reached", "peer_lost",
                                   "client_ended" };
    int                 seen[4] = { 0 };

    clock_gettime(CLOCK_MONOTONIC, &from);

    one = getenv("ASTRO_HISTORY");
    n = one ? 1 : (int) (HISTORIES * unit_effort);

    ck_assert_int_lt(snprintf(command, sizeof(command),
                              "/usr/bin/python3 %s", oracle()),
                     (int) sizeof(command));

    for (i = 0; i < ORACLES; i++) {
        to[i] = popen(command, "w");
        ck_assert_ptr_nonnull(to[i]);
    }

    for (i = 0; i < n; i++) {
        seed = one ? strtoull(one, NULL, 10)
                   : (i < FOUND) ? found[i] : unit_random() >> 16;
        wrong = history_play(&h, seed);

        if (one) {
            history_write(&h, stdout);
        }

        ck_assert_msg(wrong == NULL, "%s: ASTRO_HISTORY=%" PRIu64, wrong,
                      seed);

        history_write(&h, to[i % ORACLES]);

        for (failed = 0; failed < 4; failed++) {
            seen[failed] += (strcmp(h.reason, ends[failed]) == 0);
        }
    }

    failed = 0;

    for (i = 0; i < ORACLES; i++) {
        failed += (pclose(to[i]) != 0);
    }

    clock_gettime(CLOCK_MONOTONIC, &now);

    printf("%d histories in %d s: %d low_balance, %d max_reached, "
           "%d peer_lost, %d by a party\n", n,
           (int) (now.tv_sec - from.tv_sec), seen[0], seen[1], seen[2],
           seen[3]);
    fflush(stdout);

    ck_assert_int_eq(failed, 0);

    if (n >= 1000) {
        for (i = 0; i < 4; i++) {
            ck_assert_int_gt(seen[i], n / 100);
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_oracle");

    unit_add(s, "histories", histories);

    return unit_main(s);
}
