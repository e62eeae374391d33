
/*
 * Copyright (C) The Astro authors
 *
 * Processes that are killed in each operation on shared memory: after every
 * single store of it (unit_step.h), and, many at once, at random.
 */

#define _GNU_SOURCE         /* names of registers */

#include <sched.h>
#include <stdatomic.h>

#include "unit_arena.h"
#include "unit_ring.h"
#include "unit_step.h"


#define KILLS     2500
#define CHILDREN  5


/* three seats: six rings */

static const astro_arena_conf_t  tiny = { 3, 4096, 64 };

typedef struct {
    astro_ring_t   *ring;
    astro_arena_t  *arena;
    uint64_t        first;      /* records in the ring: the first .. */
    uint64_t        last;       /* .. and the last */
    size_t          len;
    int             seat;       /* of the child */
    int             mine;       /* of the test */
    uint64_t        user;
} world_t;


/* -- the ring -- */

static void
put(astro_ring_t *ring, uint64_t number, size_t len)
{
    void  *p;

    p = astro_ring_reserve(ring, len);
    ck_assert_ptr_nonnull(p);
    fill(p, number, len);
    (void) astro_ring_commit(ring, len);
}


/* All that is there, from first on in order; the number after the last. */

static uint64_t
drain(astro_ring_t *ring, uint64_t first)
{
    size_t       len;
    const void  *p;

    while ((p = astro_ring_peek(ring, &len)) != NULL) {
        ck_assert_uint_ne(len, 0);
        ck_assert_uint_eq(read_mark(p, len), first);
        astro_ring_release(ring);
        first++;
    }

    ck_assert_uint_eq(astro_ring_used(ring), 0);

    return first;
}


static void
op_put(void *ctx)
{
    void     *p;
    world_t  *w = ctx;

    p = astro_ring_reserve(w->ring, w->len);

    if (p) {
        fill(p, w->last + 1, w->len);
        (void) astro_ring_commit(w->ring, w->len);
    }
}


static void
check_put(void *ctx, int stores, int whole)
{
    void      *p;
    uint64_t   end;
    world_t   *w = ctx;

    /* the new one is there or it is not; those before it are */

    end = drain(w->ring, w->first);
    ck_assert(end == w->last + 1 || end == w->last + 2);
    ck_assert(stores > 0 || end == w->last + 1);
    ck_assert(!whole || end == w->last + 2);

    /* the successor goes on, and wakes who may sleep on what was left */

    ck_assert_int_eq(astro_ring_idle(w->ring), 1);
    astro_ring_adopt(w->ring);

    p = astro_ring_reserve(w->ring, w->len);
    ck_assert_ptr_nonnull(p);
    fill(p, end, w->len);
    ck_assert_int_eq(astro_ring_commit(w->ring, w->len), 1);
    put(w->ring, end + 1, 16);
    ck_assert_uint_eq(drain(w->ring, end), end + 2);
}


/* The consumer sleeps; what a dead producer published wakes it yet. */

static void
check_bell(void *ctx, int stores, int whole)
{
    void      *p;
    world_t   *w = ctx;

    (void) stores;
    (void) whole;

    astro_ring_adopt(w->ring);
    p = astro_ring_reserve(w->ring, 16);
    ck_assert_ptr_nonnull(p);
    fill(p, w->last + 1, 16);
    ck_assert_int_eq(astro_ring_commit(w->ring, 16), 1);
}


static void
op_take(void *ctx)
{
    size_t    len;
    world_t  *w = ctx;

    if (astro_ring_peek(w->ring, &len)) {
        astro_ring_release(w->ring);
    }
}


/* The one that it had in hand comes again, or does not; all others do. */

static void
check_take(void *ctx, int stores, int whole)
{
    size_t       len;
    uint64_t     n;
    world_t     *w = ctx;
    const void  *p;

    p = astro_ring_peek(w->ring, &len);
    ck_assert_ptr_nonnull(p);

    n = read_mark(p, len);
    ck_assert(n == w->first || n == w->first + 1);
    ck_assert(stores > 0 || n == w->first);
    ck_assert(!whole || n == w->first + 1);
    ck_assert_uint_eq(drain(w->ring, n), w->last + 1);
}


static void
op_idle(void *ctx)
{
    world_t  *w = ctx;

    (void) astro_ring_idle(w->ring);
}


static void
check_idle(void *ctx, int stores, int whole)
{
    size_t    len;
    world_t  *w = ctx;

    (void) stores;

    /* asleep, as far as its last store says: then the bell is rung */

    ck_assert_ptr_nonnull(astro_ring_reserve(w->ring, 16));
    ck_assert(astro_ring_commit(w->ring, 16) || !whole);

    /* and its successor's sleep is as good as any */

    while (astro_ring_peek(w->ring, &len)) {
        astro_ring_release(w->ring);
    }

    ck_assert_int_eq(astro_ring_idle(w->ring), 1);
    ck_assert_ptr_nonnull(astro_ring_reserve(w->ring, 16));
    ck_assert_int_eq(astro_ring_commit(w->ring, 16), 1);
}


START_TEST(ring_step_by_step)
{
    int      i, stores;
    size_t   lens[] = { 16, 17, 40, 100 };
    step_t   step;
    world_t  w;

    memset(&w, 0, sizeof(world_t));
    step.ctx = &w;
    step.size = astro_ring_footprint(SIZE);

    for (i = 0; i < 8; i++) {
        w.ring = make_ring(SIZE);
        w.first = 1;

        /* short of the end: the record goes over it, behind a pad */

        for (w.last = 1; w.last < 5; w.last++) {
            put(w.ring, w.last, 900);
            (void) (i < 4 ? 0 : drain(w.ring, w.last));
            w.first = i < 4 ? 1 : w.last + 1;
        }

        w.last--;

        if (i < 4) {
            (void) drain(w.ring, 1);
            w.first = 5;
            put(w.ring, ++w.last, 100);
        }

        w.len = lens[i % 4];
        step.memory = w.ring;
        step.op = op_put;
        step.check = check_put;
        stores = step_all(&step);
        ck_assert_int_gt(stores, 3);
    }

    /* a consumer that sleeps already */

    w.ring = make_ring(SIZE);
    w.first = 1;
    w.last = 0;
    ck_assert_int_eq(astro_ring_idle(w.ring), 1);

    step.memory = w.ring;
    step.op = op_put;
    step.check = check_bell;
    ck_assert_int_gt(step_all(&step), 3);

    /* the other side */

    w.ring = make_ring(SIZE);

    for (w.last = 1; w.last <= 3; w.last++) {
        put(w.ring, w.last, 100);
    }

    w.first = 1;
    w.last = 3;

    step.memory = w.ring;
    step.op = op_take;
    step.check = check_take;
    ck_assert_int_ge(step_all(&step), 2);

    w.ring = make_ring(SIZE);
    step.memory = w.ring;
    step.op = op_idle;
    step.check = check_idle;
    ck_assert_int_ge(step_all(&step), 1);
}
END_TEST


/* -- the arena -- */

/* What any death in it must leave to those who live. */

static void
survive(world_t *w)
{
    int             seat, to, n;
    size_t          len;
    const void     *p;
    astro_ring_t   *ring;
    astro_arena_t  *a = w->arena;

    for (n = 0; astro_seat_reclaim(a, NULL, NULL) != ASTRO_NO_SEAT; n++) {
        ck_assert_int_lt(n, 3);
    }

    /* nothing is left of the dead, nothing is missing of the living */

    ck_assert_uint_eq(astro_seats_taken(a), 1ULL << w->mine);
    ck_assert_uint_eq(astro_registry_used(a), 1);
    ck_assert_uint_eq(astro_registry_seats(a, 7), 1ULL << w->mine);

    /* every seat can be had, every ring made, every registry slot used */

    for (n = 0; (seat = astro_seat_claim(a, 0)) != ASTRO_NO_SEAT; n++) {
        ck_assert_int_ne(seat, w->mine);
        ck_assert_int_eq(astro_registry_add(a, 9, seat), 0);
    }

    ck_assert_int_eq(n, 2);
    ck_assert_uint_eq(astro_registry_seats(a, 9), 7 & ~(1ULL << w->mine));

    for (seat = 0; seat < 3; seat++) {

        for (to = 0; to < 3; to++) {

            if (seat == to) {
                continue;
            }

            ring = astro_arena_ring(a, seat, to, 1);
            ck_assert_ptr_nonnull(ring);

            /* what a dead one sent is whole */

            while ((p = astro_ring_peek(ring, &len)) != NULL) {
                ck_assert_uint_eq(read_mark(p, len), 1);
                astro_ring_release(ring);
            }

            put(ring, 1, 100);
            ck_assert_uint_eq(drain(ring, 1), 2);
        }
    }
}


static void
op_claim(void *ctx)
{
    world_t  *w = ctx;

    (void) astro_seat_claim(w->arena, 50);
}


static void
check_claim(void *ctx, int stores, int whole)
{
    world_t  *w = ctx;

    /* the first may be an exchange that found the seat taken */

    ck_assert(stores > 0 || astro_seats_taken(w->arena) == 1ULL << w->mine);
    ck_assert(!whole || astro_seats_taken(w->arena) != 1ULL << w->mine);

    survive(w);
}


static void
check_any(void *ctx, int stores, int whole)
{
    (void) stores;
    (void) whole;
    survive(ctx);
}


/* in the child: it is its seat's owner only if it has claimed it itself */

static void
op_life(void *ctx)
{
    int       seat;
    world_t  *w = ctx;

    seat = astro_seat_claim(w->arena, 50);
    (void) astro_registry_add(w->arena, 7, seat);
    (void) astro_registry_add(w->arena, 8, seat);
    put(astro_arena_ring(w->arena, seat, w->mine, 1), 1, 40);
    astro_registry_remove(w->arena, 8, seat);
    astro_seat_release(w->arena, seat);
}


static void
op_reclaim(void *ctx)
{
    world_t  *w = ctx;

    (void) astro_seat_reclaim(w->arena, NULL, NULL);
}


/* A tenant that died with entries, counters and a ring. */

static void
tenant(world_t *w)
{
    int       seat;
    pid_t     pid;
    uint64_t  user;

    pid = fork();

    if (pid == 0) {
        seat = astro_seat_claim(w->arena, 0);

        for (user = 1; user < 12; user++) {
            (void) astro_registry_add(w->arena, user, seat);
        }

        put(astro_arena_ring(w->arena, seat, w->mine, 1), 1, 64);
        memset(astro_seat_counters(w->arena, seat), 1, 8 * 60);
        _exit(0);
    }

    ck_assert_int_gt(pid, 0);
    ck_assert_int_eq(waitpid(pid, NULL, 0), pid);
}


static void
arena(world_t *w, step_t *step)
{
    w->arena = make(&tiny);
    w->mine = astro_seat_claim(w->arena, 0);
    ck_assert_int_eq(astro_registry_add(w->arena, 7, w->mine), 0);

    step->ctx = w;
    step->memory = w->arena;
    step->size = astro_arena_footprint(&tiny);
}


START_TEST(seats_step_by_step)
{
    step_t   step;
    world_t  w;

    memset(&w, 0, sizeof(world_t));

    /* a free seat */

    arena(&w, &step);
    step.op = op_claim;
    step.check = check_claim;
    ck_assert_int_ge(step_all(&step), 2);

    /* a whole life: claim, add, make a ring, remove, release */

    arena(&w, &step);
    step.op = op_life;
    step.check = check_any;
    ck_assert_int_ge(step_all(&step), 10);

    /* a dead one's seat: by claim, when no other is free, and by reclaim */

    arena(&w, &step);
    tenant(&w);
    tenant(&w);
    step.op = op_claim;
    step.check = check_any;
    ck_assert_int_ge(step_all(&step), 12);

    arena(&w, &step);
    tenant(&w);
    step.op = op_reclaim;
    step.check = check_any;
    ck_assert_int_ge(step_all(&step), 12);
}
END_TEST


/* -- many at once, killed at random -- */

typedef struct {
    uint32_t            from_gen;
    uint32_t            to_gen;
    uint64_t            number;         /* 1, 2 .. from one life to another */
    uint64_t            len;
} letter_t;

typedef struct {
    _Atomic uint64_t    received;
    _Atomic uint64_t    torn;
    _Atomic uint64_t    disorder;
    _Atomic uint64_t    stale;
    _Atomic uint64_t    wrong;
} post_t;

typedef struct {
    uint32_t            gen;
    uint64_t            number;
} mark_of_t;


static void
deliver(astro_arena_t *a, post_t *post, int seat, int from, mark_of_t *last)
{
    size_t          len, i;
    uint32_t        gen;
    letter_t        letter;
    astro_ring_t   *ring;
    const uint8_t  *p;

    ring = astro_arena_ring(a, from, seat, 0);

    if (ring == NULL) {
        return;
    }

    gen = astro_seat_generation(a, seat);

    while ((p = astro_ring_peek(ring, &len)) != NULL) {

        if (len < sizeof(letter_t)) {
            atomic_fetch_add(&post->torn, 1);
            astro_ring_release(ring);
            continue;
        }

        memcpy(&letter, p, sizeof(letter_t));

        for (i = sizeof(letter_t); i < len; i++) {

            if (p[i] != (uint8_t) (letter.number + i)) {
                break;
            }
        }

        if (letter.len != len || i != len) {
            atomic_fetch_add(&post->torn, 1);
        }

        if (letter.to_gen != gen) {
            /* for who was here before */
            atomic_fetch_add(&post->stale, 1);
            astro_ring_release(ring);
            continue;
        }

        if (last[from].gen != letter.from_gen) {
            last[from].gen = letter.from_gen;
            last[from].number = 0;
        }

        if (letter.number != last[from].number + 1) {
            atomic_fetch_add(&post->disorder, 1);
        }

        last[from].number = letter.number;
        atomic_fetch_add(&post->received, 1);
        astro_ring_release(ring);
    }

    (void) astro_ring_idle(ring);
}


static void
worker(astro_arena_t *a, post_t *post)
{
    int            seat, to;
    size_t         len, i;
    uint8_t       *p;
    uint64_t       user, users[16];
    letter_t       letter;
    mark_of_t      last[8], sent[8];
    astro_ring_t  *ring;

    unit_seed = (uint64_t) getpid() * 0x9e3779b97f4a7c15ULL;
    memset(last, 0, sizeof(last));
    memset(sent, 0, sizeof(sent));
    memset(users, 0, sizeof(users));

    while ((seat = astro_seat_claim(a, 0)) == ASTRO_NO_SEAT) {
        sched_yield();
    }

    for ( ;; ) {
        to = (int) unit_below(8);

        if (to != seat && astro_seats_taken(a) >> to & 1) {
            letter.from_gen = astro_seat_generation(a, seat);
            letter.to_gen = astro_seat_generation(a, to);

            if (sent[to].gen != letter.to_gen) {
                sent[to].gen = letter.to_gen;
                sent[to].number = 0;
            }

            letter.number = sent[to].number + 1;
            letter.len = sizeof(letter_t) + unit_below(400);
            len = letter.len;

            ring = astro_arena_ring(a, seat, to, 1);
            p = ring ? astro_ring_reserve(ring, len) : NULL;

            if (p) {
                memcpy(p, &letter, sizeof(letter_t));

                for (i = sizeof(letter_t); i < len; i++) {
                    p[i] = (uint8_t) (letter.number + i);
                }

                (void) astro_ring_commit(ring, len);
                sent[to].number = letter.number;
            }
        }

        for (to = 0; to < 8; to++) {
            deliver(a, post, seat, to, last);
        }

        i = unit_below(16);
        user = users[i];

        if (user) {
            astro_registry_remove(a, user, seat);

            if (astro_registry_seats(a, user) >> seat & 1) {
                atomic_store(&post->wrong, 1);
            }

            users[i] = 0;

        } else {
            user = 1 + unit_below(1000) * 16 + i;

            if (astro_registry_add(a, user, seat) == 0) {
                users[i] = user;

                if (!(astro_registry_seats(a, user) >> seat & 1)) {
                    atomic_store(&post->wrong, 2);
                }
            }
        }

        if (unit_below(64) == 0) {
            (void) astro_seat_reclaim(a, NULL, NULL);
        }

        if (unit_below(4000) == 0) {
            astro_seat_release(a, seat);
            _exit(0);
        }
    }
}


START_TEST(many_at_random)
{
    int             i, k, n;
    pid_t           pid[CHILDREN];
    post_t         *post;
    astro_arena_t  *a;

    a = make(&small);
    post = memory(4096);
    memset(pid, 0, sizeof(pid));

    for (i = 0; i < (int) (KILLS * unit_effort); i++) {
        k = (int) unit_below(CHILDREN);

        if (pid[k]) {
            (void) kill(pid[k], SIGKILL);
            ck_assert_int_eq(waitpid(pid[k], NULL, 0), pid[k]);
        }

        pid[k] = fork();

        if (pid[k] == 0) {
            worker(a, post);
        }

        ck_assert_int_gt(pid[k], 0);
        usleep((useconds_t) unit_below(unit_below(4) ? 1000 : 4000));

        must(atomic_load(&post->torn) == 0);
        must(atomic_load(&post->disorder) == 0);
        must(atomic_load(&post->wrong) == 0);
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

    must(atomic_load(&post->torn) == 0);
    must(atomic_load(&post->disorder) == 0);
    must(atomic_load(&post->wrong) == 0);

    /* it was a conversation: letters arrived, some for the dead */

    ck_assert_uint_gt(atomic_load(&post->received), KILLS);
    ck_assert_uint_gt(atomic_load(&post->stale), 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("kills");

    unit_add(s, "ring_step_by_step", ring_step_by_step);
    unit_add(s, "seats_step_by_step", seats_step_by_step);
    unit_add(s, "many_at_random", many_at_random);

    return unit_main(s);
}
