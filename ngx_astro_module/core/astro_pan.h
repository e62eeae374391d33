
/*
 * Copyright (C) The Astro authors
 *
 * Numbers of payment cards in what people send: they are refused, so that none
 * is ever stored or logged.  No I/O, no allocation.
 *
 * A card's number is 13 to 19 digits of which the first is 2 to 6, or the first
 * two 81 or 82, and whose check digit (Luhn) is right; between two digits there
 * may be one blank, no-break blank or hyphen.  It begins where a group of them
 * begins, ends where one ends, and letters, digits or "_" beside it make it
 * something else: an id, hex digits.  So do a "+" before it (a phone) and a "."
 * and a digit before it (a fraction).  What has the form of a UUID is none.
 */

#ifndef _ASTRO_PAN_H_INCLUDED_
#define _ASTRO_PAN_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* Where the first one begins; NULL: there is none. */
const uint8_t *astro_pan_find(const uint8_t *s, size_t len);

/*
 * Whether there is one in valid JSON, however it is escaped.  buf is scratch of
 * as many octets.
 */
int astro_pan_json(const uint8_t *text, size_t len, uint8_t *buf);


#endif /* _ASTRO_PAN_H_INCLUDED_ */
