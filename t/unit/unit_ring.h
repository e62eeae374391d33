
/*
 * Copyright (C) The Astro authors
 *
 * Rings for tests.  Every record says its number and its length and is filled
 * by a rule, so that one that is torn, lost, repeated or out of turn is seen at
 * once.
 */

#ifndef _ASTRO_UNIT_RING_H_INCLUDED_
#define _ASTRO_UNIT_RING_H_INCLUDED_


#include <sys/mman.h>

#include "unit.h"

#include "astro_ring.h"


#define SIZE  4096

/* ThreadSanitizer makes everything ten times as slow */

#if defined(__SANITIZE_THREAD__)
#define TSAN  1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TSAN  1
#endif
#endif


/* in front of every record; the rest is bytes of (number + offset) */

typedef struct {
    uint64_t             number;
    uint64_t             len;
} mark_t;


__attribute__((unused))
static astro_ring_t *
make_ring(size_t size)
{
    size_t         n;
    astro_ring_t  *ring;

    n = astro_ring_footprint(size);
    ck_assert_uint_ge(n, size);

    ring = mmap(NULL, n, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
                0);
    ck_assert_ptr_ne(ring, MAP_FAILED);

    astro_ring_init(ring, size);

    return ring;
}


__attribute__((unused))
static size_t
random_len(uint64_t *state, size_t max)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

    if ((*state >> 60) == 0) {
        return max - (*state >> 40) % 16;
    }

    return sizeof(mark_t) + (*state >> 33) % 200;
}


__attribute__((unused))
static void
fill(void *p, uint64_t number, size_t len)
{
    size_t    i;
    mark_t    mark;
    uint8_t  *s;

    mark.number = number;
    mark.len = len;
    memcpy(p, &mark, sizeof(mark_t));

    s = p;

    for (i = sizeof(mark_t); i < len; i++) {
        s[i] = (uint8_t) (number + i);
    }
}


/* the record's number, or 0: it is not what was filled in */

__attribute__((unused))
static uint64_t
read_mark(const void *p, size_t len)
{
    size_t          i;
    mark_t          mark;
    const uint8_t  *s;

    if (len < sizeof(mark_t) || ((uintptr_t) p & 7)) {
        return 0;
    }

    memcpy(&mark, p, sizeof(mark_t));

    if (mark.len != len) {
        return 0;
    }

    s = p;

    for (i = sizeof(mark_t); i < len; i++) {

        if (s[i] != (uint8_t) (mark.number + i)) {
            return 0;
        }
    }

    return mark.number;
}


#endif /* _ASTRO_UNIT_RING_H_INCLUDED_ */
