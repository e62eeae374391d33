
/*
 * Copyright (C) The Astro authors
 *
 * Seats and their owners, dead or alive.  Processes are killed for real; the
 * arena is judged by what the living see of it.
 */

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "unit_arena.h"


#define KILLS      400
#define CHILDREN   6


/* what outlives a killed child */

typedef struct {
    _Atomic int        ready;
    _Atomic uint64_t   orphans;
} shared_t;


static void
end(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}


START_TEST(claims)
{
    int             i;
    uint64_t       *counters;
    astro_arena_t  *a;

    a = make(&small);

    ck_assert_uint_eq(astro_seats_taken(a), 0);

    for (i = 0; i < 8; i++) {
        ck_assert_int_eq(astro_seat_claim(a, 50), i);
        ck_assert_uint_eq(astro_seat_generation(a, i), 1);
        ck_assert_int_eq(astro_seat_pid(a, i), getpid());
    }

    ck_assert_uint_eq(astro_seats_taken(a), 0xff);
    ck_assert_int_eq(astro_seat_claim(a, 50), ASTRO_NO_SEAT);
    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), ASTRO_NO_SEAT);

    counters = astro_seat_counters(a, 3);
    counters[49] = 7;
    counters[50] = 8;
    counters[95] = 9;

    ck_assert_int_eq(astro_registry_add(a, 77, 3), 0);
    ck_assert_int_eq(astro_registry_add(a, 77, 4), 0);

    astro_seat_release(a, 3);

    ck_assert_uint_eq(astro_registry_seats(a, 77), 1 << 4);
    ck_assert_uint_eq(astro_seats_taken(a), 0xf7);
    ck_assert_int_eq(astro_seat_pid(a, 3), 0);

    ck_assert_int_eq(astro_seat_claim(a, 50), 3);
    ck_assert_uint_eq(astro_seat_generation(a, 3), 2);

    ck_assert_ptr_eq(astro_seat_counters(a, 3), counters);
    ck_assert_uint_eq(counters[49], 7);
    ck_assert_uint_eq(counters[50], 0);
    ck_assert_uint_eq(counters[95], 0);

    /* no such seats */

    astro_seat_release(a, -1);
    astro_seat_release(a, 8);
    ck_assert_uint_eq(astro_seats_taken(a), 0xff);
}
END_TEST


static void
orphan(void *ctx, uint64_t user)
{
    uint64_t  *sum = ctx;

    *sum += user;
}


/* A child that takes a seat, registers users 1..n, and waits to be killed. */

static pid_t
tenant(astro_arena_t *a, shared_t *shared, uint64_t n)
{
    int       seat;
    pid_t     pid;
    uint64_t  user;

    atomic_store(&shared->ready, 0);

    pid = fork();

    if (pid == 0) {
        seat = astro_seat_claim(a, 0);

        for (user = 1; user <= n; user++) {
            (void) astro_registry_add(a, user, seat);
        }

        atomic_store(&shared->ready, seat + 1);

        for ( ;; ) {
            (void) pause();
        }
    }

    ck_assert_int_gt(pid, 0);

    while (atomic_load(&shared->ready) == 0) {
        usleep(100);
    }

    return pid;
}


START_TEST(reclaimed)
{
    int             seat, mine;
    pid_t           pid;
    size_t          len;
    uint64_t        sum;
    shared_t       *shared;
    astro_ring_t   *ring;
    astro_arena_t  *a;

    a = make(&small);
    shared = memory(4096);

    mine = astro_seat_claim(a, 0);
    ck_assert_int_eq(astro_registry_add(a, 5, mine), 0);

    pid = tenant(a, shared, 100);
    seat = atomic_load(&shared->ready) - 1;

    ck_assert_int_eq(seat, 1);
    ck_assert_int_eq(astro_seat_pid(a, seat), pid);
    ck_assert_uint_eq(astro_registry_used(a), 101);
    ck_assert_uint_eq(astro_registry_seats(a, 5), 3);

    /* alive, it cannot be taken from it, nor given back for it */

    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), ASTRO_NO_SEAT);
    astro_seat_release(a, seat);
    ck_assert_uint_eq(astro_registry_seats(a, 5), 3);

    /* killed and not waited for: dead all the same */

    ck_assert_int_eq(kill(pid, SIGKILL), 0);

    for (sum = 0; sum < 5000; sum++) {

        if (astro_seat_reclaim(a, orphan, &shared->orphans) == seat) {
            break;
        }

        usleep(1000);
    }

    ck_assert_uint_lt(sum, 5000);
    ck_assert_uint_eq(atomic_load(&shared->orphans), 100 * 101 / 2);

    ck_assert_uint_eq(astro_seats_taken(a), 1);
    ck_assert_uint_eq(astro_registry_used(a), 1);
    ck_assert_uint_eq(astro_registry_seats(a, 5), 1);
    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), ASTRO_NO_SEAT);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);

    /* the same by claim alone, when no other seat is free */

    while (astro_seat_claim(a, 0) != ASTRO_NO_SEAT) { /* void */ }

    astro_seat_release(a, 6);
    ring = astro_arena_ring(a, 6, mine, 1);
    pid = tenant(a, shared, 10);
    ck_assert_int_eq(astro_seat_pid(a, 6), pid);

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 8));
    ck_assert_int_eq(astro_ring_commit(ring, 8), 1);
    ck_assert_int_eq(astro_seat_claim(a, 0), ASTRO_NO_SEAT);

    end(pid);

    ck_assert_int_eq(astro_seat_claim(a, 0), 6);
    ck_assert_int_eq(astro_seat_pid(a, 6), getpid());
    ck_assert_uint_eq(astro_seat_generation(a, 6), 3);
    ck_assert_uint_eq(astro_registry_used(a), 1);

    /* what it committed is there; the bell it may not have rung, rings */

    ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 8));
    ck_assert_int_eq(astro_ring_commit(ring, 8), 1);
}
END_TEST


/* A pid that lives, but started at another time, is not the tenant. */

START_TEST(pid_used_again)
{
    pid_t           pid;
    uint64_t        owner;
    shared_t       *shared;
    astro_seat_t   *s;
    astro_arena_t  *a;

    a = make(&small);
    shared = memory(4096);

    pid = tenant(a, shared, 3);
    s = astro_arena_seat(a, 0);
    owner = atomic_load(&s->owner);

    ck_assert_uint_eq(owner & 0xffffffff, (uint64_t) pid);
    ck_assert_uint_ne(owner >> 32, 0);

    /* its start time is not known: believed */

    atomic_store(&s->owner, owner & 0xffffffff);
    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), ASTRO_NO_SEAT);

    atomic_store(&s->owner, owner + (1ULL << 32));
    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), 0);
    ck_assert_uint_eq(astro_registry_used(a), 0);

    /* and one that has our own pid, from before we were born */

    atomic_store(&s->owner, 1ULL << 32 | (uint32_t) getpid());
    astro_seat_release(a, 0);
    ck_assert_uint_eq(astro_seats_taken(a), 1);
    ck_assert_int_eq(astro_seat_reclaim(a, NULL, NULL), 0);

    end(pid);
}
END_TEST


/* the name in /proc/pid/stat may hold anything */

START_TEST(names)
{
    int             status;
    pid_t           pid;
    astro_arena_t  *a;

    a = make(&small);

    ck_assert_int_eq(prctl(PR_SET_NAME, "a) Z 1 (b", 0, 0, 0), 0);

    ck_assert_int_eq(astro_seat_claim(a, 0), 0);
    ck_assert_uint_gt(atomic_load(&astro_arena_seat(a, 0)->owner) >> 32, 1);

    /* as seen by someone else */

    pid = fork();

    if (pid == 0) {
        _exit(astro_seat_reclaim(a, NULL, NULL) != ASTRO_NO_SEAT);
    }

    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_int_eq(status, 0);
}
END_TEST


/*
 * Children claim, register, remove, release and reclaim at random, and are
 * killed at random.  No seat has two tenants, and when all are dead, nothing
 * is left of them.
 */

static void
live(astro_arena_t *a, _Atomic uint32_t *tenants, _Atomic uint32_t *wrong)
{
    int       seat;
    uint64_t  user;

    unit_seed = (uint64_t) getpid() * 0x9e3779b97f4a7c15ULL;

    for ( ;; ) {
        seat = astro_seat_claim(a, 0);

        if (seat == ASTRO_NO_SEAT) {
            (void) astro_seat_reclaim(a, NULL, NULL);
            continue;
        }

        /* a dead one's mark may be there, a living one's may not */

        atomic_store(&tenants[seat], (uint32_t) getpid());

        for (user = 1; user < 40; user++) {

            if (astro_registry_add(a, user, seat) == 0
                && !(astro_registry_seats(a, user) >> seat & 1))
            {
                atomic_store(wrong, 1);
            }

            if (unit_below(3) == 0) {
                astro_registry_remove(a, user, seat);

                if (astro_registry_seats(a, user) >> seat & 1) {
                    atomic_store(wrong, 2);
                }
            }

            if (atomic_load(&tenants[seat]) != (uint32_t) getpid()) {
                atomic_store(wrong, 3);
            }
        }

        if (unit_below(2)) {
            (void) astro_seat_reclaim(a, NULL, NULL);
        }

        if (atomic_load(&tenants[seat]) != (uint32_t) getpid()) {
            atomic_store(wrong, 4);
        }

        if (unit_below(3) == 0) {
            atomic_store(&tenants[seat], 0);
            astro_seat_release(a, seat);

        } else if (unit_below(3) == 0) {
            /* and keep this seat */
            continue;

        } else {
            _exit(0);
        }
    }
}


START_TEST(killed)
{
    int                i, k, n;
    pid_t              pid[CHILDREN];
    astro_arena_t     *a;
    _Atomic uint32_t  *tenants;

    a = make(&small);
    tenants = memory(4096);

    memset(pid, 0, sizeof(pid));

    for (i = 0; i < (int) (KILLS * unit_effort); i++) {
        k = (int) unit_below(CHILDREN);

        if (pid[k]) {
            (void) kill(pid[k], SIGKILL);
            ck_assert_int_eq(waitpid(pid[k], NULL, 0), pid[k]);
        }

        pid[k] = fork();

        if (pid[k] == 0) {
            live(a, tenants, &tenants[64]);
        }

        ck_assert_int_gt(pid[k], 0);

        usleep((useconds_t) unit_below(unit_below(2) ? 300 : 4000));
        ck_assert_uint_eq(atomic_load(&tenants[64]), 0);
    }

    for (k = 0; k < CHILDREN; k++) {

        if (pid[k]) {
            (void) kill(pid[k], SIGKILL);
            ck_assert_int_eq(waitpid(pid[k], NULL, 0), pid[k]);
        }
    }

    for (n = 0; astro_seat_reclaim(a, NULL, NULL) != ASTRO_NO_SEAT; n++) {
        ck_assert_int_lt(n, 8);
    }

    ck_assert_uint_eq(astro_seats_taken(a), 0);
    ck_assert_uint_eq(astro_registry_used(a), 0);
    ck_assert_uint_eq(atomic_load(&tenants[64]), 0);
}
END_TEST


/* many reclaim one seat: one of them has it, and its users are told once */

START_TEST(one_winner)
{
    int             i, k, status, winners;
    pid_t           pid, child[4];
    shared_t       *shared;
    astro_arena_t  *a;

    a = make(&small);
    shared = memory(4096);

    for (i = 0; i < 60; i++) {
        pid = tenant(a, shared, 50);
        end(pid);

        atomic_store(&shared->orphans, 0);

        for (k = 0; k < 4; k++) {
            child[k] = fork();

            if (child[k] == 0) {
                uint64_t  sum;

                sum = 0;
                status = astro_seat_reclaim(a, orphan, &sum) != ASTRO_NO_SEAT;
                atomic_fetch_add(&shared->orphans, sum);
                _exit(status);
            }

            ck_assert_int_gt(child[k], 0);
        }

        winners = 0;

        for (k = 0; k < 4; k++) {
            ck_assert_int_eq(waitpid(child[k], &status, 0), child[k]);
            ck_assert(WIFEXITED(status));
            winners += WEXITSTATUS(status);
        }

        ck_assert_int_eq(winners, 1);
        ck_assert_uint_eq(atomic_load(&shared->orphans), 50 * 51 / 2);
        ck_assert_uint_eq(astro_seats_taken(a), 0);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("seats");

    unit_add(s, "claims", claims);
    unit_add(s, "reclaimed", reclaimed);
    unit_add(s, "pid_used_again", pid_used_again);
    unit_add(s, "names", names);
    unit_add(s, "killed", killed);
    unit_add(s, "one_winner", one_winner);

    return unit_main(s);
}
