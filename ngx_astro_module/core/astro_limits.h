
/*
 * Copyright (C) The Astro authors
 *
 * Rate limits and numbers of connections that all workers of a host share:
 * two tables of the arena.  Both are keyed by a 64-bit hash that the caller
 * makes of what is limited and of whom.  Neither has a lock, and a worker that
 * is killed holds nothing in either.
 */

#ifndef _ASTRO_LIMITS_H_INCLUDED_
#define _ASTRO_LIMITS_H_INCLUDED_


#include "astro_arena.h"


/* A rate, as GCRA has it; interval_us 0: no limit. */
typedef struct {
    uint64_t   interval_us;     /* between two, when they come evenly */
    uint64_t   burst_us;        /* how far ahead of that they may be */
} astro_limit_t;

/* The longest that a bucket may take to drain; see astro_limits.c. */
#define ASTRO_LIMIT_MAX_US  (UINT64_C(1) << 32)

/*
 * per_second (or per_minute) and burst as an operator writes them.  0, or -1:
 * the bucket would take longer than ASTRO_LIMIT_MAX_US to drain, or there is no
 * such rate.
 */
int astro_limit_set(astro_limit_t *limit, uint64_t rate, uint64_t per_us,
    uint64_t burst);

/*
 * The bucket is *tat, which no one else touches: takes cost out of it.  Returns
 * 0, or, taking nothing, the microseconds until it would have succeeded.
 * now_us: any monotonic clock, greater than 0.
 */
uint64_t astro_limit_local(uint64_t *tat, const astro_limit_t *limit,
    uint64_t now_us, uint64_t cost);

/* Takes it whatever is in the bucket; how far beyond the burst that is. */
uint64_t astro_limit_debt(uint64_t *tat, const astro_limit_t *limit,
    uint64_t now_us, uint64_t cost);

/* astro_limit_local() on the bucket of that key, which all workers share. */
uint64_t astro_limit_shared(astro_arena_t *a, uint64_t key,
    const astro_limit_t *limit, uint64_t now_us, uint64_t cost);

/* Buckets that are not full again yet, for metrics and tests. */
size_t astro_limit_used(const astro_arena_t *a, uint64_t now_us);


/*
 * One more, or one less, of that key at this seat, which is the caller's own.
 * astro_count_add() returns how many of the key there are at all seats,
 * this one included, or 0: there was no room to count it, so it need not be
 * taken away.
 */
uint32_t astro_count_add(astro_arena_t *a, uint64_t key, int seat);
void astro_count_sub(astro_arena_t *a, uint64_t key, int seat);
uint32_t astro_count_of(const astro_arena_t *a, uint64_t key);
size_t astro_counts_used(const astro_arena_t *a);


/* A good hash of a number or a few octets, in which "kind" makes a space. */
uint64_t astro_limit_key(uint32_t kind, const void *data, size_t len);


#endif /* _ASTRO_LIMITS_H_INCLUDED_ */
