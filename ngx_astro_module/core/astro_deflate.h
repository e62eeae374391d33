
/*
 * Copyright (C) The Astro authors
 *
 * permessage-deflate (RFC 7692) over zlib: one message to DEFLATE, and
 * DEFLATE back into a message as it arrives.  astro_frame.c does the rest of
 * the extension's work: RSV1, and the limit on what a message inflates to.
 *
 * All of zlib's memory is taken through a pool, one for each worker, which
 * counts it and gives no more than its limit.  A connection that agreed on
 * context takeover owns its streams, about 2 x 2^bits + 12 KB.  One that did
 * not owns none: it deflates in a stream of the pool and borrows one to
 * inflate from the first octet of a message to the last.
 *
 * Where the pool has none left, nothing fails: a message is sent as it is, and
 * one that comes in is gathered as it came and inflated at its end, in
 * a stream that is kept for this.  Only a new connection is refused.
 */

#ifndef _ASTRO_DEFLATE_H_INCLUDED_
#define _ASTRO_DEFLATE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "astro_ws_ext.h"


/* what compressing may add to the length of a message, in the worst case */
#define ASTRO_DEFLATE_SLACK  16

/* the least that a pool can be made with, in bytes */
#define ASTRO_DEFLATE_MIN_LIMIT  (128 * 1024)


typedef struct astro_deflate_pool_s  astro_deflate_pool_t;
typedef struct astro_deflate_s       astro_deflate_t;


/* NULL: no memory.  level: zlib's, 1 .. 9.  All connections go before it. */
astro_deflate_pool_t *astro_deflate_pool_create(size_t limit_bytes,
    int level);
void astro_deflate_pool_destroy(astro_deflate_pool_t *pool);

/* Bytes of zlib's now, what is shared included; never over the limit. */
size_t astro_deflate_pool_used(const astro_deflate_pool_t *pool);


/* One connection's side of the agreement.  NULL: the pool is used up. */
astro_deflate_t *astro_deflate_create(astro_deflate_pool_t *pool,
    const astro_ws_ext_t *agreed);
void astro_deflate_destroy(astro_deflate_t *d);

/*
 * Compresses a message given in parts into out; its length, at least 1.  0: it
 * would not fit into size octets, or the pool is used up: send it as it is,
 * without RSV1; the other side is in step with that.
 */
size_t astro_deflate_message(astro_deflate_t *d, const struct iovec *part,
    unsigned n, uint8_t *out, size_t size);


/* For the reader of frames alone, in this order. */

typedef enum {
    ASTRO_INFLATE_MORE = 0,     /* all input is consumed, and out not full */
    ASTRO_INFLATE_FULL,         /* out is full; there may be more */
    ASTRO_INFLATE_BAD           /* not DEFLATE, or no memory */
} astro_inflate_rc_e;

/*
 * A message begins.  0: it can be inflated as it arrives.  -1: no stream is
 * left; with "last" set there always is one, and all of the message must
 * be given and ended before the event loop goes on.
 */
int astro_inflate_begin(astro_deflate_t *d, int last);

/* Consumes *in, n octets, and fills *out, size octets; all four move on. */
astro_inflate_rc_e astro_inflate(astro_deflate_t *d, const uint8_t **in,
    size_t *n, uint8_t **out, size_t *size);

/*
 * The message has ended: gives back what begin borrowed.  -1: it ended within
 * a block.  May be called without begin, to give up.
 */
int astro_inflate_end(astro_deflate_t *d);

/* What RFC 7692 section 7.2.2 has appended to a message before its end. */
#define ASTRO_INFLATE_TAIL      "\x00\x00\xff\xff"
#define ASTRO_INFLATE_TAIL_LEN  4


#endif /* _ASTRO_DEFLATE_H_INCLUDED_ */
