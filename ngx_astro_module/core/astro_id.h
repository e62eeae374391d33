
/*
 * Copyright (C) The Astro authors
 *
 * Ids on the wire are opaque strings, "u_17", "s_3", "c_8": a letter for what
 * they name and the row's number.  Knowing one gives no access to anything.
 */

#ifndef _ASTRO_ID_H_INCLUDED_
#define _ASTRO_ID_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_ID_MAX  19                /* bytes of "u_" and 2^56 - 1 */
#define ASTRO_ID_TOP  ((1ULL << 56) - 1)

/* The number of "<kind>_<number>" (no leading zeros), or 0: not such an id. */
uint64_t astro_id_parse(char kind, const uint8_t *s, size_t len);

/* 1 if s is a UUID in its 36-character form (RFC 4122), any case. */
int astro_uuid_ok(const uint8_t *s, size_t len);


#endif /* _ASTRO_ID_H_INCLUDED_ */
