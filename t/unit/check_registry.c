
/*
 * Copyright (C) The Astro authors
 *
 * The registry against a plain array, and under many writers.
 */

#include <pthread.h>

#include "unit_arena.h"


#define USERS      400      /* few enough to meet each other in windows */
#define WRITERS    3
#define ROUNDS     60000


typedef struct {
    astro_arena_t     *arena;
    uint64_t           seed;
    _Atomic int       *stop;
    int                seat;
    uint8_t            here[USERS + 1];
} writer_t;


START_TEST(registry_model)
{
    int             i, seat;
    size_t          used;
    uint64_t        user, model[USERS + 1];
    astro_arena_t  *a;

    a = make(&small);
    memset(model, 0, sizeof(model));
    used = 0;

    ck_assert_int_eq(astro_registry_add(a, 0, 0), -1);
    ck_assert_int_eq(astro_registry_add(a, 1ULL << 56, 0), -1);
    ck_assert_int_eq(astro_registry_add(a, 1, 8), -1);
    ck_assert_int_eq(astro_registry_add(a, 1, -1), -1);
    ck_assert_uint_eq(astro_registry_seats(a, 0), 0);

    for (i = 0; i < (int) (200000 * unit_effort); i++) {
        user = 1 + unit_below(USERS);
        seat = (int) unit_below(8);

        if (unit_below(3) == 0) {

            /* there already: nothing happens */

            if (astro_registry_add(a, user, seat) == 0) {
                used += !(model[user] >> seat & 1);
                model[user] |= 1ULL << seat;
            }

        } else if (unit_below(2)) {
            astro_registry_remove(a, user, seat);
            used -= model[user] >> seat & 1;
            model[user] &= ~(1ULL << seat);
        }

        must(astro_registry_seats(a, user) == model[user]);
        user = 1 + unit_below(USERS);
        must(astro_registry_seats(a, user) == model[user]);
    }

    must(astro_registry_used(a) == used);

    /* ids of the largest kind, and neighbours of one another */

    for (i = 0; i < 100; i++) {
        user = (1ULL << 56) - 1 - (uint64_t) i;
        must(astro_registry_seats(a, user) == 0);

        if (astro_registry_add(a, user, i % 8) == 0) {
            must(astro_registry_seats(a, user) == 1ULL << i % 8);
        }
    }
}
END_TEST


START_TEST(registry_full)
{
    int                  seat;
    uint64_t             user, refused;
    astro_arena_t       *a;
    astro_arena_conf_t   conf = { 2, 4096, 64 };

    a = make(&conf);
    refused = 0;

    for (user = 1; user <= 100; user++) {
        refused += astro_registry_add(a, user, user & 1) != 0;
    }

    ck_assert_uint_eq(refused, 36);
    ck_assert_uint_eq(astro_registry_used(a), 64);

    /* of those that fit, every slot is used; one gone makes room for one */

    astro_registry_remove(a, 10, 0);
    ck_assert_int_eq(astro_registry_add(a, 100, 0), 0);
    ck_assert_int_eq(astro_registry_add(a, 10, 0), -1);

    /* a larger table takes as many as it has windows for, evenly */

    conf.registry_slots = 4096;
    a = make(&conf);

    for (user = 1; user <= 2048; user++) {
        for (seat = 0; seat < 2; seat++) {

            if (astro_registry_add(a, user, seat) != 0) {
                break;
            }
        }

        if (seat < 2) {
            break;
        }
    }

    ck_assert_msg(user > 1600, "full at %" PRIu64 " users of 2048", user);
}
END_TEST


static void *
write_registry(void *data)
{
    int        i;
    uint64_t   user, state;
    writer_t  *w = data;

    state = w->seed;

    for (i = 0; i < ROUNDS; i++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;
        user = 1 + (state >> 33) % (USERS - 1);

        if (w->here[user]) {
            astro_registry_remove(w->arena, user, w->seat);
            w->here[user] = 0;

        } else if (astro_registry_add(w->arena, user, w->seat) == 0) {
            w->here[user] = 1;
        }

        /* others come and go; our own is as we left it */

        if ((astro_registry_seats(w->arena, user) >> w->seat & 1)
            != w->here[user])
        {
            return data;
        }
    }

    return NULL;
}


static void *
read_registry(void *data)
{
    writer_t  *w = data;

    /* the last user is connected at the last seat all the time */

    while (!atomic_load(w->stop)) {

        if (astro_registry_seats(w->arena, USERS) != 1ULL << w->seat) {
            return data;
        }
    }

    return NULL;
}


START_TEST(registry_threads)
{
    int                  i;
    void                *failed;
    writer_t             w[WRITERS + 1];
    pthread_t            thread[WRITERS + 1];
    uint64_t             user, seats;
    _Atomic int          stop;
    astro_arena_t       *a;
    astro_arena_conf_t   conf = { 8, 4096, 512 };

    a = make(&conf);
    memset(w, 0, sizeof(w));
    atomic_init(&stop, 0);

    for (i = 0; i <= WRITERS; i++) {
        w[i].arena = a;
        w[i].seat = astro_seat_claim(a, 0);
        w[i].seed = unit_random();
        w[i].stop = &stop;
    }

    ck_assert_int_eq(astro_registry_add(a, USERS, w[WRITERS].seat), 0);

    for (i = 0; i <= WRITERS; i++) {
        ck_assert_int_eq(pthread_create(&thread[i], NULL,
                                        i < WRITERS ? write_registry
                                                    : read_registry, &w[i]),
                         0);
    }

    for (i = 0; i <= WRITERS; i++) {

        if (i == WRITERS) {
            atomic_store(&stop, 1);
        }

        (void) pthread_join(thread[i], &failed);
        ck_assert_msg(failed == NULL, "thread %d", i);
    }

    for (user = 1; user < USERS; user++) {
        seats = 0;

        for (i = 0; i < WRITERS; i++) {
            seats |= (uint64_t) w[i].here[user] << w[i].seat;
        }

        ck_assert_uint_eq(astro_registry_seats(a, user), seats);
    }

    for (i = 0; i <= WRITERS; i++) {
        astro_seat_release(a, w[i].seat);
    }

    ck_assert_uint_eq(astro_registry_used(a), 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("registry");

    unit_add(s, "registry_model", registry_model);
    unit_add(s, "registry_full", registry_full);
    unit_add(s, "registry_threads", registry_threads);

    return unit_main(s);
}
