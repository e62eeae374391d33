
/*
 * Copyright (C) The Astro authors
 *
 * What astro_arena.c, astro_seats.c and astro_registry.c share; no one else
 * includes it.  The layout is explained in astro_arena.c.
 */

#ifndef _ASTRO_ARENA_PRIVATE_H_INCLUDED_
#define _ASTRO_ARENA_PRIVATE_H_INCLUDED_


#include <stdatomic.h>

#include "astro_arena.h"


#define ASTRO_ARENA_LINE  64


/* written by astro_arena_format() alone; offsets from its own start */

struct astro_arena_s {
    uint64_t             magic;
    uint64_t             size;
    uint64_t             id;                /* random: tells zones apart */
    uint32_t             version;
    uint32_t             seats;
    uint32_t             ring_size;
    uint32_t             registry_slots;
    uint32_t             ring_slots;        /* that fit into the memory */
    uint32_t             counters;
    uint64_t             ring_step;         /* bytes from slot to slot */
    uint64_t             seats_at;
    uint64_t             table_at;
    uint64_t             pairs_at;
    uint64_t             registry_at;
    uint64_t             limits_at;
    uint64_t             counts_at;
    uint64_t             rings_at;
};

typedef struct {
    _Atomic uint64_t     owner;             /* start time << 32 | pid, or 0 */
    _Atomic uint32_t     generation;
    uint8_t              pad[ASTRO_ARENA_LINE - 12];
    uint64_t             counters[ASTRO_ARENA_COUNTERS];
} astro_seat_t;


#define astro_arena_at(a, offset)  ((void *) ((uint8_t *) (a) + (offset)))

#define astro_arena_seat(a, seat)                                             \
    ((astro_seat_t *) astro_arena_at(a, (a)->seats_at) + (seat))

#define astro_arena_seat_ok(a, seat)                                          \
    ((seat) >= 0 && (uint32_t) (seat) < (a)->seats)


/* slots of the tables of limits and counts follow the registry's */
#define astro_arena_limit_slots(a)  ((a)->registry_slots)
#define astro_arena_count_slots(a)  ((a)->registry_slots)


/* Removes all entries of a seat that this process owns. */
void astro_registry_clear(astro_arena_t *a, int seat,
    void (*on_user)(void *ctx, uint64_t user), void *ctx);

/* The same for what it counted. */
void astro_counts_clear(astro_arena_t *a, int seat);


#endif /* _ASTRO_ARENA_PRIVATE_H_INCLUDED_ */
