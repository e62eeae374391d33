
/*
 * Copyright (C) The Astro authors
 *
 * For the tests of framing: a writer of the test's own, and the reader under
 * test, fed in pieces of every kind.  What comes out may depend on the frames
 * alone, never on the cuts.
 */

#ifndef _ASTRO_FRAMES_H_INCLUDED_
#define _ASTRO_FRAMES_H_INCLUDED_


#include "unit.h"


static size_t  biggest;     /* realloc() asked for so far */
static int     starved;     /* realloc() gives nothing */

static void *starving_realloc(void *p, size_t size);

/* the unit itself, with memory that can run out */

#define realloc  starving_realloc
#include "astro_frame.c"
#undef realloc


#define MAX_MESSAGE  4096
#define MAX_EVENTS   64
#define STREAM       65536


typedef struct {
    uint8_t     opcode;
    uint16_t    code;
    size_t      len;
    uint8_t     data[MAX_MESSAGE];
} event_t;

typedef struct {
    size_t      n;
    uint16_t    error;      /* close code, 0: none */
    size_t      consumed;   /* octets, when it failed */
    event_t     event[MAX_EVENTS];
} events_t;

typedef struct {
    size_t      len;
    uint8_t     data[STREAM];
} stream_t;


static stream_t  in;
static events_t  expected, got;

/* set: permessage-deflate was agreed */

static astro_deflate_pool_t  *pool;
static astro_ws_ext_t         agreed;


static void *
starving_realloc(void *p, size_t size)
{
    if (size > biggest) {
        biggest = size;
    }

    return starved ? NULL : realloc(p, size);
}


/* A frame as a client sends it. */

__attribute__((unused))
static void
frame(stream_t *s, unsigned first, const void *data, size_t len)
{
    size_t    i;
    uint8_t  *p, mask[4];

    p = s->data + s->len;
    *p++ = (uint8_t) first;

    if (len < 126) {
        *p++ = (uint8_t) (0x80 | len);

    } else if (len < 65536) {
        *p++ = 0x80 | 126;
        *p++ = (uint8_t) (len >> 8);
        *p++ = (uint8_t) len;

    } else {
        *p++ = 0x80 | 127;

        for (i = 8; i > 0; i--) {
            *p++ = (uint8_t) ((uint64_t) len >> (i - 1) * 8);
        }
    }

    for (i = 0; i < 4; i++) {
        mask[i] = (uint8_t) unit_random();
        *p++ = mask[i];
    }

    for (i = 0; i < len; i++) {
        *p++ = ((const uint8_t *) data)[i] ^ mask[i % 4];
    }

    s->len = (size_t) (p - s->data);

    ck_assert(s->len <= STREAM);
}


/*
 * Reads the stream in pieces: pieces == 0: whole; 1 .. len: cut there, once;
 * -1: octet by octet; -2: at random.  Each piece is given in memory of exactly
 * its size, so that a sanitizer sees one octet too many.
 */

static void
read_all(const stream_t *s, long pieces, size_t max_message)
{
    size_t              at, n;
    uint8_t            *piece, *pos;
    event_t            *e;
    astro_ws_rc_e       rc;
    astro_ws_event_t    event;
    astro_ws_reader_t   r;

    memset(&got, 0, offsetof(events_t, event));

    astro_ws_reader_init(&r, max_message);
    rc = ASTRO_WS_MORE;

    if (pool) {
        r.deflate = astro_deflate_create(pool, &agreed);
        must(r.deflate);
    }

    for (at = 0; at < s->len && rc != ASTRO_WS_ERROR; at += n) {

        n = s->len - at;

        if (pieces > 0 && at == 0) {
            n = (size_t) pieces;

        } else if (pieces == -1) {
            n = 1;

        } else if (pieces == -2) {
            n = 1 + unit_below(unit_below(4) ? 12 : 400);
        }

        if (n > s->len - at) {
            n = s->len - at;
        }

        piece = malloc(n);
        ck_assert_ptr_nonnull(piece);
        memcpy(piece, s->data + at, n);

        pos = piece;

        for ( ;; ) {
            memset(&event, 0xa5, sizeof(event));

            rc = astro_ws_read(&r, &pos, piece + n, &event);

            must(pos <= piece + n);
            must(r.message_size <= max_message || r.deferred);

            if (rc == ASTRO_WS_MORE) {
                must(pos == piece + n);
                break;
            }

            if (rc == ASTRO_WS_ERROR) {
                must(event.reason && strlen(event.reason) <= 60);
                must(event.code);

                got.error = event.code;
                got.consumed = at + (size_t) (pos - piece);
                break;
            }

            must(got.n < MAX_EVENTS);
            must(event.len <= MAX_MESSAGE);

            e = &got.event[got.n++];

            e->opcode = event.opcode;
            e->code = event.code;
            e->len = event.len;
            memcpy(e->data, event.data, event.len);
        }

        free(piece);
    }

    if (rc == ASTRO_WS_ERROR) {
        /* and for good */
        pos = in.data;
        must(astro_ws_read(&r, &pos, in.data + 1, &event) == ASTRO_WS_ERROR);
    }

    /* nothing is held between messages, once the reader was called again */

    if (rc == ASTRO_WS_MORE && r.message_opcode == 0 && r.in_payload == 0) {
        must(r.message == NULL);
    }

    astro_ws_reader_free(&r);
    astro_ws_reader_free(&r);

    must(r.message == NULL);

    if (pool) {
        astro_deflate_destroy(r.deflate);
    }
}


__attribute__((unused))
static void
same(void)
{
    size_t  i;

    must(got.n == expected.n);
    must(got.error == expected.error);

    for (i = 0; i < got.n; i++) {
        must(got.event[i].opcode == expected.event[i].opcode);
        must(got.event[i].code == expected.event[i].code);
        must(got.event[i].len == expected.event[i].len);
        must(memcmp(got.event[i].data, expected.event[i].data,
                    got.event[i].len)
             == 0);
    }
}


__attribute__((unused))
static void
expect(uint8_t opcode, uint16_t code, const void *data, size_t len)
{
    event_t  *e;

    e = &expected.event[expected.n++];

    e->opcode = opcode;
    e->code = code;
    e->len = len;

    if (len) {
        memcpy(e->data, data, len);
    }
}


__attribute__((unused))
static void
clear(void)
{
    in.len = 0;
    memset(&expected, 0, offsetof(events_t, event));
}


#endif /* _ASTRO_FRAMES_H_INCLUDED_ */
