
/*
 * Copyright (C) The Astro authors
 *
 * Between the files of the reader of frames.
 */

#ifndef _ASTRO_FRAME_PRIVATE_H_INCLUDED_
#define _ASTRO_FRAME_PRIVATE_H_INCLUDED_


#include "astro_frame.h"


/*
 * DEFLATE makes nothing longer by more than an eighth: fixed codes have 9 bits
 * at most.  What is longer on the wire than that is sent to waste our time.
 */
#define astro_ws_deflated_max(max_message)                                    \
    ((max_message) + (max_message) / 8 + 64)


/* Room for n more octets in "message", which may grow to limit; -1: none. */
int astro_ws_room(astro_ws_reader_t *r, size_t n, size_t limit);

/*
 * Octets of a compressed message, unmasked; end: its last.  Inflates into
 * "message".  0, or the close code to fail with and *reason.
 */
uint16_t astro_ws_inflate(astro_ws_reader_t *r, const uint8_t *p, size_t n,
    int end, const char **reason);


#endif /* _ASTRO_FRAME_PRIVATE_H_INCLUDED_ */
