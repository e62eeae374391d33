
/*
 * Copyright (C) The Astro authors
 *
 * The shared memory of one host: seats, one for each live worker; a ring for
 * each ordered pair of seats; and the registry of which users are connected at
 * which seats.  Pure C over a block of memory: the module gives it nginx's
 * zone, the tests an mmap().  No locks: see astro_arena.c for the layout and
 * for what a SIGKILL at any instruction leaves behind.
 */

#ifndef _ASTRO_ARENA_H_INCLUDED_
#define _ASTRO_ARENA_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "astro_ring.h"


#define ASTRO_ARENA_MAX_SEATS  64
#define ASTRO_ARENA_COUNTERS   640
#define ASTRO_NO_SEAT          (-1)


typedef struct astro_arena_s  astro_arena_t;

typedef struct {
    uint32_t   seats;           /* 2..64 */
    uint32_t   ring_size;       /* bytes, a power of two >= 4096 */
    uint32_t   registry_slots;  /* a power of two >= 64 */
} astro_arena_conf_t;

typedef enum {
    ASTRO_ARENA_OK = 0,
    ASTRO_ARENA_TOO_SMALL,
    ASTRO_ARENA_BAD_CONF,
    ASTRO_ARENA_MISMATCH        /* formatted with another conf or version */
} astro_arena_rc_e;


/*
 * Bytes the conf takes with every ring in use; at least "registry + header + 12
 * rings" is needed to format.
 */
size_t astro_arena_footprint(const astro_arena_conf_t *conf);

/* Formats size bytes at mem (8-byte aligned, zeroed), in the master. */
astro_arena_rc_e astro_arena_format(void *mem, size_t size,
    const astro_arena_conf_t *conf);

/* Finds a formatted arena again and compares the conf; changes nothing. */
astro_arena_rc_e astro_arena_check(void *mem, size_t size,
    const astro_arena_conf_t *conf);


/*
 * A random number that is never 0: a zone made anew (by a restart, or by the
 * new binary of an upgrade) has another.
 */
uint64_t astro_arena_id(const astro_arena_t *a);

/* The same kind of number for whoever has no arena. */
uint64_t astro_arena_random(void);


/* seats */

/*
 * Takes a free seat, or one whose owner is dead, for this process: bumps the
 * seat's generation and clears what the previous tenant left in the registry
 * and its counters of things that live (gauges); monotonic counters stay.
 * ASTRO_NO_SEAT if all are taken by living processes.
 */
int astro_seat_claim(astro_arena_t *a, uint32_t gauges_from);

/* Gives the seat back and clears its registry entries. */
void astro_seat_release(astro_arena_t *a, int seat);

/*
 * Looks for one seat whose owner is dead, clears its registry entries and frees
 * it.  Calls on_user, if given, for each entry cleared.  Returns that seat
 * or ASTRO_NO_SEAT.  Two processes may call it at once: one wins each seat.
 */
int astro_seat_reclaim(astro_arena_t *a,
    void (*on_user)(void *ctx, uint64_t user), void *ctx);

/* Bitmap of seats that are taken (by processes alive or not yet reclaimed). */
uint64_t astro_seats_taken(const astro_arena_t *a);
uint32_t astro_seat_generation(const astro_arena_t *a, int seat);
pid_t astro_seat_pid(const astro_arena_t *a, int seat);
uint32_t astro_arena_seats(const astro_arena_t *a);

/*
 * The seat's own counters, written by its owner alone (relaxed), read by
 * anyone.  Those with index >= gauges_from are zeroed by claim.
 */
uint64_t *astro_seat_counters(astro_arena_t *a, int seat);

/*
 * A block of counters beside those of the seats, for whoever has none: several
 * may add to it, each addition atomic.
 */
uint64_t *astro_arena_spill(astro_arena_t *a);

typedef struct {
    uint64_t   size;            /* bytes of the memory */
    uint64_t   used;            /* of these, by all but rings not allotted */
    uint32_t   rings;           /* allotted */
    uint32_t   ring_slots;      /* that there is room for */
    uint32_t   registry_slots;
} astro_arena_usage_t;

/* How full it is, for metrics. */
void astro_arena_usage(const astro_arena_t *a, astro_arena_usage_t *usage);


/* rings */

/*
 * The ring from one seat to another; allotted from the arena on first use
 * when create is set.  NULL: not there yet, or the arena is used up.
 */
astro_ring_t *astro_arena_ring(astro_arena_t *a, int from, int to, int create);


/* registry: which seats a user is connected at.  user: 1 .. 2^56 - 1 */

/* 0, or -1 when the user's window of the table is full. */
int astro_registry_add(astro_arena_t *a, uint64_t user, int seat);
void astro_registry_remove(astro_arena_t *a, uint64_t user, int seat);
/* Bitmap of seats, 0 if the user is connected nowhere. */
uint64_t astro_registry_seats(const astro_arena_t *a, uint64_t user);
size_t astro_registry_used(const astro_arena_t *a);


#endif /* _ASTRO_ARENA_H_INCLUDED_ */
