
/*
 * Copyright (C) The Astro authors
 *
 * Rate limits: the generic cell rate algorithm, whose whole bucket is one
 * number, the instant at which it would be full again ("theoretical arrival
 * time").  It says yes while that instant is no more than the burst ahead of
 * now, and then puts it one interval further.
 *
 * An entry of the table is one word,
 *
 *     tag << 44 | arrival time in microseconds
 *
 * so that taking from a bucket is one compare-and-swap: a worker killed before
 * it has taken nothing, one killed after it has taken, and there is no third
 * way.  A full bucket and no bucket are the same, so nothing is ever removed:
 * an entry whose time has passed is as good as an empty slot.
 *
 * 44 bits of microseconds come round after 203 days.  A time more than
 * ASTRO_LIMIT_MAX_US (71 minutes) ahead is therefore one of long ago, and no
 * limit may need more than that.
 *
 * A key lives in one of the eight slots of the cache line that its hash picks.
 * When all are taken by buckets that still drain, the one that is full again
 * soonest gives way and its owner starts with a full bucket: whoever is limited
 * least loses least.  Two workers that meet a key for the first time at the
 * same instant may each make an entry; the first of them is found from then
 * on, and the key has had one burst more.  The tag has 20 bits, so of the
 * keys of one line every 130,000th pair shares a bucket.
 */


#include <string.h>

#include "astro_arena_private.h"
#include "astro_limits.h"


#define ASTRO_LIMIT_WINDOW  8u
#define ASTRO_LIMIT_TRIES   8           /* lost races, then it goes through */
#define ASTRO_LIMIT_BITS    44
#define ASTRO_LIMIT_MASK    ((UINT64_C(1) << ASTRO_LIMIT_BITS) - 1)


static uint64_t astro_limit_ahead(uint64_t entry, uint64_t now_us);
static _Atomic uint64_t *astro_limit_slot(_Atomic uint64_t *line,
    uint64_t tag, uint64_t now_us, uint64_t *seen);


int
astro_limit_set(astro_limit_t *limit, uint64_t rate, uint64_t per_us,
    uint64_t burst)
{
    if (rate == 0 || rate > per_us || burst == 0
        || burst > ASTRO_LIMIT_MAX_US)
    {
        return -1;
    }

    limit->interval_us = per_us / rate;

    if (limit->interval_us > ASTRO_LIMIT_MAX_US / 2 / burst) {
        return -1;
    }

    limit->burst_us = limit->interval_us * burst;

    return 0;
}


/* The bucket of *tat after cost: how far ahead of now, without taking it. */

uint64_t
astro_limit_local(uint64_t *tat, const astro_limit_t *limit, uint64_t now_us,
    uint64_t cost)
{
    uint64_t  at;

    if (limit->interval_us == 0) {
        return 0;
    }

    at = (*tat > now_us ? *tat : now_us) + limit->interval_us * cost;

    if (at - now_us > limit->burst_us) {
        return at - now_us - limit->burst_us;
    }

    *tat = at;

    return 0;
}


uint64_t
astro_limit_debt(uint64_t *tat, const astro_limit_t *limit, uint64_t now_us,
    uint64_t cost)
{
    if (limit->interval_us == 0) {
        return 0;
    }

    *tat = (*tat > now_us ? *tat : now_us) + limit->interval_us * cost;

    return *tat - now_us > limit->burst_us ? *tat - now_us - limit->burst_us
                                           : 0;
}


uint64_t
astro_limit_shared(astro_arena_t *a, uint64_t key, const astro_limit_t *limit,
    uint64_t now_us, uint64_t cost)
{
    int                i;
    uint64_t           tag, ahead, seen;
    _Atomic uint64_t  *line, *slot;

    if (limit->interval_us == 0) {
        return 0;
    }

    now_us &= ASTRO_LIMIT_MASK;
    tag = key >> ASTRO_LIMIT_BITS;

    /* the low bits pick the line, the high ones are the tag */

    line = astro_arena_at(a, a->limits_at);
    line += key & (astro_arena_limit_slots(a) - 1)
            & ~(uint64_t) (ASTRO_LIMIT_WINDOW - 1);

    for (i = 0; i < ASTRO_LIMIT_TRIES; i++) {

        slot = astro_limit_slot(line, tag, now_us, &seen);

        ahead = seen && seen >> ASTRO_LIMIT_BITS == tag
                ? astro_limit_ahead(seen, now_us) : 0;
        ahead += limit->interval_us * cost;

        if (ahead > limit->burst_us) {
            return ahead - limit->burst_us;
        }

        if (atomic_compare_exchange_strong_explicit(slot, &seen,
                tag << ASTRO_LIMIT_BITS
                | ((now_us + ahead) & ASTRO_LIMIT_MASK),
                memory_order_relaxed, memory_order_relaxed))
        {
            return 0;
        }
    }

    return 0;
}


/* How far ahead of now that entry's time is; 0: it has passed. */

static uint64_t
astro_limit_ahead(uint64_t entry, uint64_t now_us)
{
    uint64_t  ahead;

    ahead = (entry - now_us) & ASTRO_LIMIT_MASK;

    return ahead <= ASTRO_LIMIT_MAX_US ? ahead : 0;
}


/* The tag's own slot, else the one that is full again soonest. */

static _Atomic uint64_t *
astro_limit_slot(_Atomic uint64_t *line, uint64_t tag, uint64_t now_us,
    uint64_t *seen)
{
    uint32_t           i;
    uint64_t           entry, ahead, least;
    _Atomic uint64_t  *slot;

    slot = line;
    *seen = 0;
    least = UINT64_MAX;

    for (i = 0; i < ASTRO_LIMIT_WINDOW; i++) {

        entry = atomic_load_explicit(&line[i], memory_order_relaxed);

        if (entry && entry >> ASTRO_LIMIT_BITS == tag) {
            *seen = entry;
            return &line[i];
        }

        ahead = entry ? astro_limit_ahead(entry, now_us) : 0;

        if (ahead < least) {
            least = ahead;
            slot = &line[i];
            *seen = entry;
        }
    }

    return slot;
}


size_t
astro_limit_used(const astro_arena_t *a, uint64_t now_us)
{
    size_t                   used;
    uint32_t                 i;
    uint64_t                 entry;
    const _Atomic uint64_t  *slots;

    used = 0;
    slots = astro_arena_at(a, a->limits_at);

    for (i = 0; i < astro_arena_limit_slots(a); i++) {
        entry = atomic_load_explicit(&slots[i], memory_order_relaxed);

        if (entry && astro_limit_ahead(entry, now_us & ASTRO_LIMIT_MASK)) {
            used++;
        }
    }

    return used;
}


/* Eight octets at a time, each spread over all bits before the next. */

uint64_t
astro_limit_key(uint32_t kind, const void *data, size_t len)
{
    size_t          n;
    uint64_t        h, word;
    const uint8_t  *p = data;

    h = (UINT64_C(0xcbf29ce484222325) ^ kind) * UINT64_C(0x9e3779b97f4a7c15);

    while (len) {
        n = len < sizeof(word) ? len : sizeof(word);
        word = 0;
        memcpy(&word, p, n);

        h ^= h >> 32;
        h = (h ^ word) * UINT64_C(0x9e3779b97f4a7c15);

        p += n;
        len -= n;
    }

    h ^= h >> 29;
    h *= UINT64_C(0xbf58476d1ce4e5b9);

    return h ^ h >> 32;
}
