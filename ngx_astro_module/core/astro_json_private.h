
/*
 * Copyright (C) The Astro authors
 *
 * What the parts of the JSON unit share; no one else includes it.
 */

#ifndef _ASTRO_JSON_PRIVATE_H_INCLUDED_
#define _ASTRO_JSON_PRIVATE_H_INCLUDED_


#include "astro_json.h"


/*
 * Looks for what yajl would let through.  NULL: nothing; else static text, and
 * *offset is where.
 */
const char *astro_json_sweep(const uint8_t *text, size_t len, size_t *offset);

/* One octet, or one escape, of the inside of a string; 1 to 4 octets out. */
const uint8_t *astro_json_unescape(const uint8_t *s, uint8_t *out, size_t *n);


#endif /* _ASTRO_JSON_PRIVATE_H_INCLUDED_ */
