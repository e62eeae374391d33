
/*
 * Copyright (C) The Astro authors
 *
 * Seats: who owns which, and what becomes of a dead owner's.  The rules are in
 * astro_arena.c.
 */


#include <fcntl.h>
#include <signal.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "astro_arena_private.h"


/* fields 3 and 22 of /proc/<pid>/stat, see proc(5) */

#define ASTRO_SEAT_STAT_START  22
#define ASTRO_SEAT_STAT_SIZE   512      /* enough for the first 22 fields */

#define astro_seat_owner_pid(owner)    ((pid_t) ((owner) & 0x7fffffff))
#define astro_seat_owner_start(owner)  ((uint32_t) ((owner) >> 32))


static int astro_seat_try(astro_arena_t *a, int seat, uint64_t owner,
    uint64_t me);
static void astro_seat_move_in(astro_arena_t *a, int seat,
    uint32_t gauges_from);
static uint64_t astro_seat_self(void);
static int astro_seat_same(uint64_t owner, uint64_t me);
static int astro_seat_dead(uint64_t owner, uint64_t me);
static int astro_seat_proc(pid_t pid, char *state, uint32_t *start);


int
astro_seat_claim(astro_arena_t *a, uint32_t gauges_from)
{
    int       seat;
    uint64_t  me, owner;

    me = astro_seat_self();

    for (seat = 0; astro_arena_seat_ok(a, seat); seat++) {

        if (astro_seat_try(a, seat, 0, me)) {
            astro_seat_move_in(a, seat, gauges_from);
            return seat;
        }
    }

    for (seat = 0; astro_arena_seat_ok(a, seat); seat++) {
        owner = atomic_load(&astro_arena_seat(a, seat)->owner);

        /* owner may be 0 now: a seat given back since is as good */

        if (owner && !astro_seat_dead(owner, me)) {
            continue;
        }

        if (astro_seat_try(a, seat, owner, me)) {
            astro_seat_move_in(a, seat, gauges_from);
            return seat;
        }
    }

    return ASTRO_NO_SEAT;
}


static int
astro_seat_try(astro_arena_t *a, int seat, uint64_t owner, uint64_t me)
{
    return atomic_compare_exchange_strong(&astro_arena_seat(a, seat)->owner,
                                          &owner, me);
}


/* Clears what the previous tenant left; the seat is ours already. */

static void
astro_seat_move_in(astro_arena_t *a, int seat, uint32_t gauges_from)
{
    int            to;
    uint32_t       i;
    astro_ring_t  *ring;
    astro_seat_t  *s;

    s = astro_arena_seat(a, seat);

    /* no one else writes it while the seat is ours */

    atomic_store(&s->generation, atomic_load(&s->generation) + 1);

    astro_registry_clear(a, seat, NULL, NULL);
    astro_counts_clear(a, seat);

    for (i = gauges_from; i < ASTRO_ARENA_COUNTERS; i++) {
        __atomic_store_n(&s->counters[i], 0, __ATOMIC_RELAXED);
    }

    for (to = 0; astro_arena_seat_ok(a, to); to++) {
        ring = astro_arena_ring(a, seat, to, 0);

        if (ring) {
            astro_ring_adopt(ring);
        }
    }
}


void
astro_seat_release(astro_arena_t *a, int seat)
{
    uint64_t  owner;

    if (!astro_arena_seat_ok(a, seat)) {
        return;
    }

    owner = atomic_load(&astro_arena_seat(a, seat)->owner);

    if (!astro_seat_same(owner, astro_seat_self())) {
        /* not ours, or no longer: its entries are someone else's */
        return;
    }

    astro_registry_clear(a, seat, NULL, NULL);
    astro_counts_clear(a, seat);

    (void) astro_seat_try(a, seat, owner, 0);
}


int
astro_seat_reclaim(astro_arena_t *a,
    void (*on_user)(void *ctx, uint64_t user), void *ctx)
{
    int       seat;
    uint64_t  me, owner;

    me = astro_seat_self();

    for (seat = 0; astro_arena_seat_ok(a, seat); seat++) {
        owner = atomic_load(&astro_arena_seat(a, seat)->owner);

        if (owner == 0 || !astro_seat_dead(owner, me)) {
            continue;
        }

        if (!astro_seat_try(a, seat, owner, me)) {
            /* another process was faster */
            continue;
        }

        astro_registry_clear(a, seat, on_user, ctx);
        astro_counts_clear(a, seat);

        (void) astro_seat_try(a, seat, me, 0);

        return seat;
    }

    return ASTRO_NO_SEAT;
}


uint64_t
astro_seats_taken(const astro_arena_t *a)
{
    int       seat;
    uint64_t  taken;

    taken = 0;

    for (seat = 0; astro_arena_seat_ok(a, seat); seat++) {

        if (atomic_load(&astro_arena_seat(a, seat)->owner)) {
            taken |= 1ULL << seat;
        }
    }

    return taken;
}


uint32_t
astro_seat_generation(const astro_arena_t *a, int seat)
{
    return atomic_load_explicit(&astro_arena_seat(a, seat)->generation,
                                memory_order_acquire);
}


pid_t
astro_seat_pid(const astro_arena_t *a, int seat)
{
    return astro_seat_owner_pid(
                              atomic_load(&astro_arena_seat(a, seat)->owner));
}


uint64_t *
astro_seat_counters(astro_arena_t *a, int seat)
{
    return astro_arena_seat(a, seat)->counters;
}


/* A start time of 0: /proc is not there; then the pid has to do. */

static uint64_t
astro_seat_self(void)
{
    char      state;
    pid_t     pid;
    uint32_t  start;

    pid = getpid();

    if (astro_seat_proc(pid, &state, &start) != 0) {
        start = 0;
    }

    return (uint64_t) start << 32 | (uint32_t) pid;
}


static int
astro_seat_same(uint64_t owner, uint64_t me)
{
    if (astro_seat_owner_pid(owner) != astro_seat_owner_pid(me)) {
        return 0;
    }

    return astro_seat_owner_start(owner) == astro_seat_owner_start(me)
           || astro_seat_owner_start(owner) == 0
           || astro_seat_owner_start(me) == 0;
}


/* In doubt a process lives: a seat kept too long is found at the next look. */

static int
astro_seat_dead(uint64_t owner, uint64_t me)
{
    char      state;
    pid_t     pid;
    uint32_t  start;

    if (astro_seat_same(owner, me)) {
        return 0;
    }

    pid = astro_seat_owner_pid(owner);

    if (kill(pid, 0) != 0 && errno == ESRCH) {
        return 1;
    }

    if (astro_seat_proc(pid, &state, &start) != 0) {
        return 0;
    }

    if (state == 'Z' || state == 'X') {
        /* killed, and its parent has not looked yet: it runs no more */
        return 1;
    }

    return astro_seat_owner_start(owner)
           && astro_seat_owner_start(owner) != start;
}


/* The state and the start time, low 32 bits, of a process. */

static int
astro_seat_proc(pid_t pid, char *state, uint32_t *start)
{
    int                  fd, field;
    char                *s, buf[ASTRO_SEAT_STAT_SIZE];
    ssize_t              n;
    unsigned long long   ticks;

    (void) snprintf(buf, sizeof(buf), "/proc/%d/stat", (int) pid);

    fd = open(buf, O_RDONLY|O_CLOEXEC);
    if (fd == -1) {
        return -1;
    }

    n = read(fd, buf, sizeof(buf) - 1);

    (void) close(fd);

    if (n <= 0) {
        return -1;
    }

    buf[n] = '\0';

    /* the second field is a name in parentheses, which may hold anything */

    s = strrchr(buf, ')');
    if (s == NULL || s[1] != ' ') {
        return -1;
    }

    s += 2;
    *state = *s;

    for (field = 3; field < ASTRO_SEAT_STAT_START; field++) {
        s = strchr(s, ' ');

        if (s == NULL) {
            return -1;
        }

        s++;
    }

    ticks = strtoull(s, NULL, 10);

    /* 0 means unknown in the owner word */

    *start = (uint32_t) ticks ? (uint32_t) ticks : 1;

    return 0;
}
