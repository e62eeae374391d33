
/*
 * Copyright (C) The Astro authors
 *
 * How many connections a user, or an address, has on this host.
 *
 * An entry of the table is one word, as in the registry,
 *
 *     tag << 24 | (seat + 1) << 16 | number
 *
 * and as there it lies anywhere in the window of the key, belongs to the owner
 * of the seat in it, and never moves.  Only that owner changes the number, and
 * makes it 0, the empty slot, when the last one has gone.  So the numbers of a
 * worker that was killed go with its seat, by the same scan that clears the
 * registry, and the sum over the window is right again.
 */


#include "astro_arena_private.h"
#include "astro_limits.h"


#define ASTRO_COUNT_WINDOW  32u
#define ASTRO_COUNT_MAX     0xffffu

#define astro_count_entry(key, seat)                                          \
    ((key) >> 24 << 24 | ((uint64_t) (seat) + 1) << 16)
#define astro_count_owner(entry)   ((entry) & ~(uint64_t) ASTRO_COUNT_MAX)
#define astro_count_seat(entry)    ((int) ((entry) >> 16 & 0xff) - 1)
#define astro_count_number(entry)  ((uint32_t) (entry) & ASTRO_COUNT_MAX)


static _Atomic uint64_t *astro_count_slots(const astro_arena_t *a);
static uint32_t astro_count_start(const astro_arena_t *a, uint64_t key);


uint32_t
astro_count_add(astro_arena_t *a, uint64_t key, int seat)
{
    uint32_t           i, mask, start;
    uint64_t           owner, seen;
    _Atomic uint64_t  *slot, *slots;

    if (!astro_arena_seat_ok(a, seat)) {
        return 0;
    }

    owner = astro_count_entry(key, seat);
    slots = astro_count_slots(a);
    start = astro_count_start(a, key);
    mask = astro_arena_count_slots(a) - 1;

    for (i = 0; i < ASTRO_COUNT_WINDOW; i++) {
        slot = &slots[(start + i) & mask];
        seen = atomic_load_explicit(slot, memory_order_relaxed);

        if (astro_count_owner(seen) != owner) {
            continue;
        }

        if (astro_count_number(seen) == ASTRO_COUNT_MAX) {
            return 0;
        }

        atomic_store(slot, seen + 1);

        return astro_count_of(a, key);
    }

    for (i = 0; i < ASTRO_COUNT_WINDOW; i++) {
        slot = &slots[(start + i) & mask];
        seen = 0;

        if (atomic_load_explicit(slot, memory_order_relaxed) == 0
            && atomic_compare_exchange_strong(slot, &seen, owner + 1))
        {
            return astro_count_of(a, key);
        }
    }

    return 0;
}


void
astro_count_sub(astro_arena_t *a, uint64_t key, int seat)
{
    uint32_t           i, mask, start;
    uint64_t           owner, seen;
    _Atomic uint64_t  *slot, *slots;

    owner = astro_count_entry(key, seat);
    slots = astro_count_slots(a);
    start = astro_count_start(a, key);
    mask = astro_arena_count_slots(a) - 1;

    for (i = 0; i < ASTRO_COUNT_WINDOW; i++) {
        slot = &slots[(start + i) & mask];
        seen = atomic_load_explicit(slot, memory_order_relaxed);

        if (astro_count_owner(seen) == owner) {
            seen = astro_count_number(seen) > 1 ? seen - 1 : 0;
            atomic_store_explicit(slot, seen, memory_order_release);
            return;
        }
    }
}


uint32_t
astro_count_of(const astro_arena_t *a, uint64_t key)
{
    uint32_t           i, mask, n, start;
    uint64_t           seen;
    _Atomic uint64_t  *slots;

    slots = astro_count_slots(a);
    start = astro_count_start(a, key);
    mask = astro_arena_count_slots(a) - 1;
    n = 0;

    /* no early end: what was emptied left a hole */

    for (i = 0; i < ASTRO_COUNT_WINDOW; i++) {
        seen = atomic_load(&slots[(start + i) & mask]);

        if (seen && seen >> 24 == key >> 24) {
            n += astro_count_number(seen);
        }
    }

    return n;
}


size_t
astro_counts_used(const astro_arena_t *a)
{
    size_t             used;
    uint32_t           i;
    _Atomic uint64_t  *slots;

    slots = astro_count_slots(a);
    used = 0;

    for (i = 0; i < astro_arena_count_slots(a); i++) {

        if (atomic_load_explicit(&slots[i], memory_order_relaxed)) {
            used++;
        }
    }

    return used;
}


void
astro_counts_clear(astro_arena_t *a, int seat)
{
    uint32_t           i;
    uint64_t           seen;
    _Atomic uint64_t  *slots;

    slots = astro_count_slots(a);

    for (i = 0; i < astro_arena_count_slots(a); i++) {
        seen = atomic_load_explicit(&slots[i], memory_order_relaxed);

        if (seen && astro_count_seat(seen) == seat) {
            atomic_store_explicit(&slots[i], 0, memory_order_release);
        }
    }
}


static _Atomic uint64_t *
astro_count_slots(const astro_arena_t *a)
{
    return astro_arena_at(a, a->counts_at);
}


static uint32_t
astro_count_start(const astro_arena_t *a, uint64_t key)
{
    return (uint32_t) key & (astro_arena_count_slots(a) - 1) & ~7u;
}
