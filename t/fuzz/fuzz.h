
/*
 * Copyright (C) The Astro authors
 *
 * What the fuzz targets share.  Each is one function that is given octets; what
 * it claims with must() holds for all of them, or the run ends there and
 * the octets are kept.
 *
 * It also stands in for unit.h, so that readers written for the unit tests can
 * be used here as oracles without Check.
 */

#ifndef _ASTRO_FUZZ_H_INCLUDED_
#define _ASTRO_FUZZ_H_INCLUDED_
#define _ASTRO_UNIT_H_INCLUDED_


#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>


#define must(cond)                                                            \
    do {                                                                      \
        if (!(cond)) {                                                        \
            (void) fprintf(stderr, "%s:%d: not so: %s\n", __FILE__,           \
                           __LINE__, #cond);                                  \
            abort();                                                          \
        }                                                                     \
    } while (0)


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


/* An octet from the front of the input, or 0 at its end. */

__attribute__((unused))
static unsigned
take(const uint8_t **data, size_t *size)
{
    if (*size == 0) {
        return 0;
    }

    (*size)--;

    return *(*data)++;
}


/* A copy of exactly n octets, so that ASan sees one too many. */

__attribute__((unused))
static uint8_t *
copy_of(const uint8_t *data, size_t n)
{
    uint8_t  *p;

    p = malloc(n ? n : 1);
    must(p);

    if (n) {
        memcpy(p, data, n);
    }

    return p;
}


#endif /* _ASTRO_FUZZ_H_INCLUDED_ */
