
/*
 * Copyright (C) The Astro authors
 *
 * A lock-free single-producer single-consumer ring of records in shared
 * memory.  Position-independent; either side may be killed between any two
 * instructions and be followed by a successor that goes on from the indexes
 * it finds.  The layout and the memory ordering are explained in
 * astro_ring.c.
 */

#ifndef _ASTRO_RING_H_INCLUDED_
#define _ASTRO_RING_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef struct astro_ring_s  astro_ring_t;


/* Bytes that a ring with room for "size" bytes of records takes (size: a power
 * of two, >= 4096); 0 if size is not allowed. */
size_t astro_ring_footprint(size_t size);

/* Formats zeroed memory before anyone else can see it. */
void astro_ring_init(astro_ring_t *ring, size_t size);

/*
 * Producer, when it follows one that may have died between a commit that
 * returned 1 and the bell: the next commit rings whoever sleeps.
 */
void astro_ring_adopt(astro_ring_t *ring);

/* The largest record that fits, in bytes: a quarter of the ring. */
size_t astro_ring_max_record(const astro_ring_t *ring);

/*
 * Producer: room for len contiguous bytes (8-byte aligned), or NULL when the
 * ring is full or the record is too large or empty.  Nothing is visible to the
 * consumer until commit, and a second reserve without commit gives the same
 * place.
 */
void *astro_ring_reserve(astro_ring_t *ring, size_t len);

/*
 * Producer: publishes the record reserved last, or as much of it as len says
 * (at least 1).  Returns 1 if the consumer may have gone to sleep on an empty
 * ring and its doorbell has to be rung, else 0; 1 comes once for each sleep.
 */
int astro_ring_commit(astro_ring_t *ring, size_t len);

/*
 * Consumer: the oldest record or NULL.  It stays valid until release.  A
 * record that makes no sense (memory overwritten by a fault) empties the ring
 * and is reported by *len = 0 with a result that is not NULL; releasing that is
 * harmless.
 */
const void *astro_ring_peek(astro_ring_t *ring, size_t *len);
void astro_ring_release(astro_ring_t *ring);

/*
 * Consumer, before it sleeps: 1 if the ring is empty and a later commit is
 * sure to return 1; 0 if something has arrived meanwhile: drain again.
 */
int astro_ring_idle(astro_ring_t *ring);

/* Anyone, for metrics: bytes in use. */
size_t astro_ring_used(const astro_ring_t *ring);


#endif /* _ASTRO_RING_H_INCLUDED_ */
