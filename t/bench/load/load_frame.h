
/*
 * Copyright (C) The Astro authors
 *
 * RFC 6455 frames as a client sees them: written masked, read unmasked.
 */

#ifndef _LOAD_FRAME_H_INCLUDED_
#define _LOAD_FRAME_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define LOAD_FRAME_HEAD   14      /* bytes before the payload, at most */

#define LOAD_OP_TEXT      0x1
#define LOAD_OP_CLOSE     0x8
#define LOAD_OP_PING      0x9
#define LOAD_OP_PONG      0xa


typedef struct {
    unsigned     op;
    const char  *data;      /* within what was given */
    size_t       len;
} load_frame_t;


/* dst has room for LOAD_FRAME_HEAD + len bytes; returns how many it took. */
size_t load_frame_write(uint8_t *dst, unsigned op, const char *p, size_t len);

/* Bytes of the whole frame at p, 0: not all here, -1: not for a client. */
int64_t load_frame_read(const uint8_t *p, size_t len, load_frame_t *frame);


#endif /* _LOAD_FRAME_H_INCLUDED_ */
