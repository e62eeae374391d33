
/*
 * Copyright (C) The Astro authors
 *
 * The arena: its formatting, seats and their owners, dead or alive, the
 * registry under many writers, rings allotted by pairs.  Processes are killed
 * for real; an arena is judged by what the living see of it.
 */

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "unit.h"

#include "astro_arena_private.h"


#define USERS      400      /* few enough to meet each other in windows */
#define WRITERS    3
#define ROUNDS     60000
#define KILLS      120
#define CHILDREN   6


static const astro_arena_conf_t  small = { 8, 4096, 1024 };

typedef struct {
    astro_arena_t     *arena;
    int                seat;
    uint64_t           seed;
    _Atomic int       *stop;
    uint8_t            here[USERS + 1];
} writer_t;

/* what outlives a killed child: users for whom an add or remove is done */

typedef struct {
    _Atomic int        ready;
    _Atomic uint64_t   orphans;
} shared_t;


static void *
memory(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);
    ck_assert_ptr_ne(p, MAP_FAILED);

    return p;
}


static astro_arena_t *
make(const astro_arena_conf_t *conf)
{
    void    *p;
    size_t   size;

    size = astro_arena_footprint(conf);
    ck_assert_uint_gt(size, 0);

    p = memory(size);
    ck_assert_int_eq(astro_arena_format(p, size, conf), ASTRO_ARENA_OK);

    return p;
}


static void
end(pid_t pid)
{
    ck_assert_int_eq(kill(pid, SIGKILL), 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}


START_TEST(confs)
{
    size_t   i;
    uint8_t  *p;

    static const astro_arena_conf_t  bad[] = {
        { 0, 4096, 64 }, { 1, 4096, 64 }, { 65, 4096, 64 },
        { 2, 0, 64 }, { 2, 2048, 64 }, { 2, 5000, 64 },
        { 2, 4096, 0 }, { 2, 4096, 32 }, { 2, 4096, 100 }
    };

    static const astro_arena_conf_t  good[] = {
        { 2, 4096, 64 }, { 16, 131072, 65536 }, { 64, 4096, 1024 },
        { 3, 65536, 128 }
    };

    p = memory(1 << 20);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_uint_eq(astro_arena_footprint(&bad[i]), 0);
        ck_assert_int_eq(astro_arena_format(p, 1 << 20, &bad[i]),
                         ASTRO_ARENA_BAD_CONF);
        ck_assert_int_eq(astro_arena_check(p, 1 << 20, &bad[i]),
                         ASTRO_ARENA_BAD_CONF);
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_uint_eq(astro_arena_seats(make(&good[i])), good[i].seats);
    }
}
END_TEST


/* Memory of any size at any place: either too small, or nothing beyond it. */

START_TEST(sizes)
{
    int                  from, to, rings;
    void                *base;
    size_t               size, full, start, len;
    uint8_t             *p, *last;
    astro_ring_t        *ring;
    astro_arena_rc_e     rc;
    astro_arena_conf_t   conf = { 5, 4096, 256 };

    full = astro_arena_footprint(&conf);
    base = memory(full + 64);

    for (start = 0; start < 64; start += 8) {
        for (size = full / 2 & ~(size_t) 7; size <= full; size += 1000) {

            p = (uint8_t *) base + start;
            last = p + size;

            memset(base, 0, full + 64);
            memset(last, 0x5a, (size_t) ((uint8_t *) base + full + 64
                                         - last));

            rc = astro_arena_format(p, size, &conf);

            if (rc == ASTRO_ARENA_TOO_SMALL) {
                must(size < full - 7 * astro_ring_footprint(4096));
                continue;
            }

            must(rc == ASTRO_ARENA_OK);
            must(astro_arena_check(p, size, &conf) == ASTRO_ARENA_OK);

            rings = 0;

            for (from = 0; from < 5; from++) {
                for (to = 0; to < 5; to++) {
                    ring = astro_arena_ring((astro_arena_t *) p, from, to, 1);

                    if (ring == NULL) {
                        continue;
                    }

                    rings++;

                    /* fill it all: pages beyond would show */

                    for (len = 0; len < 8; len++) {
                        void  *r;

                        r = astro_ring_reserve(ring, 1000);

                        if (r) {
                            memset(r, 0xff, 1000);
                            (void) astro_ring_commit(ring, 1000);
                        }
                    }
                }
            }

            must(rings >= 12 && rings <= 20);
            must(size < full || rings == 20);

            for (len = 0; len < 64 && last + len < (uint8_t *) base + full;
                 len++)
            {
                must(last[len] == 0x5a);
            }
        }
    }
}
END_TEST


START_TEST(checked)
{
    size_t               i, size;
    uint8_t             *p;
    astro_arena_conf_t   other;

    size = astro_arena_footprint(&small);
    p = memory(size + 4096);

    ck_assert_int_eq(astro_arena_check(p, size, &small),
                     ASTRO_ARENA_MISMATCH);
    ck_assert_int_eq(astro_arena_format(p, size, &small), ASTRO_ARENA_OK);
    ck_assert_int_eq(astro_arena_check(p, size, &small), ASTRO_ARENA_OK);

    /* in use, it stays what it is */

    ck_assert_int_eq(astro_seat_claim((astro_arena_t *) p, 0), 0);
    ck_assert_ptr_nonnull(astro_arena_ring((astro_arena_t *) p, 0, 1, 1));
    ck_assert_int_eq(astro_arena_check(p, size, &small), ASTRO_ARENA_OK);

    for (i = 0; i < 3; i++) {
        other = small;

        if (i == 0) {
            other.seats = 4;

        } else if (i == 1) {
            other.ring_size = 8192;

        } else {
            other.registry_slots = 512;
        }

        ck_assert_int_eq(astro_arena_check(p, size, &other),
                         ASTRO_ARENA_MISMATCH);
    }

    ck_assert_int_eq(astro_arena_check(p, size + 4096, &small),
                     ASTRO_ARENA_MISMATCH);
    ck_assert_int_eq(astro_arena_check(p, 8, &small), ASTRO_ARENA_TOO_SMALL);

    /* another magic, another version */

    p[0] ^= 1;
    ck_assert_int_eq(astro_arena_check(p, size, &small),
                     ASTRO_ARENA_MISMATCH);
}
END_TEST


START_TEST(rings)
{
    int             from, to;
    astro_ring_t   *ring[8][8];
    astro_arena_t  *a;

    a = make(&small);

    ck_assert_ptr_null(astro_arena_ring(a, 0, 0, 1));
    ck_assert_ptr_null(astro_arena_ring(a, -1, 0, 1));
    ck_assert_ptr_null(astro_arena_ring(a, 0, -1, 1));
    ck_assert_ptr_null(astro_arena_ring(a, 8, 0, 1));
    ck_assert_ptr_null(astro_arena_ring(a, 0, 8, 1));

    for (from = 0; from < 8; from++) {
        for (to = 0; to < 8; to++) {

            if (from == to) {
                continue;
            }

            ck_assert_ptr_null(astro_arena_ring(a, from, to, 0));

            ring[from][to] = astro_arena_ring(a, from, to, 1);
            ck_assert_ptr_nonnull(ring[from][to]);
            ck_assert_uint_eq((uintptr_t) ring[from][to] % 64, 0);
            ck_assert_uint_eq(astro_ring_max_record(ring[from][to]), 1024);

            ck_assert_ptr_nonnull(astro_ring_reserve(ring[from][to], 8));
            *(int64_t *) astro_ring_reserve(ring[from][to], 8) = from * 8
                                                                 + to;
            (void) astro_ring_commit(ring[from][to], 8);
        }
    }

    for (from = 0; from < 8; from++) {
        for (to = 0; to < 8; to++) {
            size_t  len;

            if (from == to) {
                continue;
            }

            ck_assert_ptr_eq(astro_arena_ring(a, from, to, 1),
                             ring[from][to]);
            ck_assert_int_eq(*(const int64_t *)
                             astro_ring_peek(ring[from][to], &len),
                             from * 8 + to);
        }
    }
}
END_TEST


/* Killed between the two stores of an allotment: the slot is used after all. */

START_TEST(rings_cost_nothing_to_die)
{
    int                i, from, to, n;
    astro_arena_t     *a;
    _Atomic uint32_t  *table;

    a = make(&small);
    table = astro_arena_at(a, a->table_at);

    for (i = 0; i < 1000; i++) {
        ck_assert_ptr_nonnull(astro_arena_ring(a, 2, 5, 1));
        atomic_store(&table[2 * 8 + 5], 0);
    }

    n = 0;

    for (from = 0; from < 8; from++) {
        for (to = 0; to < 8; to++) {
            n += astro_arena_ring(a, from, to, 1) != NULL;
        }
    }

    ck_assert_int_eq(n, 56);
}
END_TEST


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
    pid_t           pid;
    shared_t       *shared;
    astro_arena_t  *a;

    a = make(&small);
    shared = memory(4096);

    ck_assert_int_eq(prctl(PR_SET_NAME, "a) Z 1 (b", 0, 0, 0), 0);

    ck_assert_int_eq(astro_seat_claim(a, 0), 0);
    ck_assert_uint_gt(atomic_load(&astro_arena_seat(a, 0)->owner) >> 32, 1);

    /* as seen by someone else */

    pid = fork();

    if (pid == 0) {
        _exit(astro_seat_reclaim(a, NULL, NULL) != ASTRO_NO_SEAT);
    }

    ck_assert_int_eq(waitpid(pid, &shared->ready, 0), pid);
    ck_assert_int_eq(atomic_load(&shared->ready), 0);
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

    s = suite_create("arena");

    unit_add(s, "confs", confs);
    unit_add(s, "sizes", sizes);
    unit_add(s, "checked", checked);
    unit_add(s, "rings", rings);
    unit_add(s, "rings_cost_nothing_to_die", rings_cost_nothing_to_die);
    unit_add(s, "claims", claims);
    unit_add(s, "reclaimed", reclaimed);
    unit_add(s, "pid_used_again", pid_used_again);
    unit_add(s, "names", names);
    unit_add(s, "killed", killed);
    unit_add(s, "one_winner", one_winner);
    unit_add(s, "registry_model", registry_model);
    unit_add(s, "registry_full", registry_full);
    unit_add(s, "registry_threads", registry_threads);

    return unit_main(s);
}
