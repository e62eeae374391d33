
/*
 * Copyright (C) The Astro authors
 *
 * The registry: at which seats a user is connected.  The rules, and why there
 * is no bitmap, are in astro_arena.c.
 */


#include "astro_arena_private.h"


#define ASTRO_REGISTRY_WINDOW  64
#define ASTRO_REGISTRY_TOP     ((1ULL << 56) - 1)

#define astro_registry_entry(user, seat)                                      \
    ((user) << 8 | ((uint64_t) (seat) + 1))
#define astro_registry_user(entry)  ((entry) >> 8)
#define astro_registry_seat(entry)  ((int) ((entry) & 0xff) - 1)


static _Atomic uint64_t *astro_registry_slots(const astro_arena_t *a);
static uint32_t astro_registry_start(const astro_arena_t *a, uint64_t user);


int
astro_registry_add(astro_arena_t *a, uint64_t user, int seat)
{
    uint32_t           i, mask, start;
    uint64_t           entry, seen;
    _Atomic uint64_t  *slot, *slots;

    if (user == 0 || user > ASTRO_REGISTRY_TOP
        || !astro_arena_seat_ok(a, seat))
    {
        return -1;
    }

    entry = astro_registry_entry(user, seat);
    slots = astro_registry_slots(a);
    start = astro_registry_start(a, user);
    mask = a->registry_slots - 1;

    /* only we add entries of this seat: not there means not there */

    for (i = 0; i < ASTRO_REGISTRY_WINDOW; i++) {
        slot = &slots[(start + i) & mask];

        if (atomic_load_explicit(slot, memory_order_relaxed) == entry) {
            return 0;
        }
    }

    for (i = 0; i < ASTRO_REGISTRY_WINDOW; i++) {
        slot = &slots[(start + i) & mask];
        seen = 0;

        if (atomic_load_explicit(slot, memory_order_relaxed) == 0
            && atomic_compare_exchange_strong(slot, &seen, entry))
        {
            return 0;
        }
    }

    return -1;
}


void
astro_registry_remove(astro_arena_t *a, uint64_t user, int seat)
{
    uint32_t           i, mask, start;
    uint64_t           entry;
    _Atomic uint64_t  *slot, *slots;

    entry = astro_registry_entry(user, seat);
    slots = astro_registry_slots(a);
    start = astro_registry_start(a, user);
    mask = a->registry_slots - 1;

    for (i = 0; i < ASTRO_REGISTRY_WINDOW; i++) {
        slot = &slots[(start + i) & mask];

        if (atomic_load_explicit(slot, memory_order_relaxed) == entry) {
            atomic_store_explicit(slot, 0, memory_order_release);
            return;
        }
    }
}


uint64_t
astro_registry_seats(const astro_arena_t *a, uint64_t user)
{
    uint32_t           i, mask, start;
    uint64_t           first, seat, seats;
    _Atomic uint64_t  *slots;

    slots = astro_registry_slots(a);
    start = astro_registry_start(a, user);
    mask = a->registry_slots - 1;
    first = astro_registry_entry(user, 0);
    seats = 0;

    /* no early end: what was removed left a hole, not a tombstone */

    for (i = 0; i < ASTRO_REGISTRY_WINDOW; i++) {

        /* entries of other users, and none, are far below or above */

        seat = atomic_load_explicit(&slots[(start + i) & mask],
                                    memory_order_relaxed) - first;

        if (seat < ASTRO_ARENA_MAX_SEATS) {
            seats |= 1ULL << seat;
        }
    }

    return seats;
}


size_t
astro_registry_used(const astro_arena_t *a)
{
    size_t             used;
    uint32_t           i;
    _Atomic uint64_t  *slots;

    slots = astro_registry_slots(a);
    used = 0;

    for (i = 0; i < a->registry_slots; i++) {

        if (atomic_load_explicit(&slots[i], memory_order_relaxed)) {
            used++;
        }
    }

    return used;
}


void
astro_registry_clear(astro_arena_t *a, int seat,
    void (*on_user)(void *ctx, uint64_t user), void *ctx)
{
    uint32_t           i;
    uint64_t           entry;
    _Atomic uint64_t  *slots;

    slots = astro_registry_slots(a);

    for (i = 0; i < a->registry_slots; i++) {
        entry = atomic_load_explicit(&slots[i], memory_order_relaxed);

        if (entry == 0 || astro_registry_seat(entry) != seat) {
            continue;
        }

        atomic_store_explicit(&slots[i], 0, memory_order_release);

        if (on_user) {
            on_user(ctx, astro_registry_user(entry));
        }
    }
}


static _Atomic uint64_t *
astro_registry_slots(const astro_arena_t *a)
{
    return astro_arena_at(a, a->registry_at);
}


/* Windows start at cache lines, so that a scan reads 8 of them and not 9. */

static uint32_t
astro_registry_start(const astro_arena_t *a, uint64_t user)
{
    uint64_t  hash;

    hash = user * 0x9e3779b97f4a7c15ULL;
    hash ^= hash >> 32;

    return (uint32_t) hash & (a->registry_slots - 1) & ~7u;
}
