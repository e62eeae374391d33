
/*
 * Copyright (C) The Astro authors
 *
 * Reading a stream of frames, whole and in pieces: the same has to come out,
 * and the error may not come later for being fed by the octet.
 */

#ifndef _ASTRO_FUZZ_FRAMES_H_INCLUDED_
#define _ASTRO_FUZZ_FRAMES_H_INCLUDED_


#include "fuzz.h"

#include "astro_frame.h"
#include "astro_utf8.h"


#define MAX_MESSAGE  4096


/* What came out of a stream, as a number. */
typedef struct {
    uint64_t   hash;
    size_t     events;
    uint16_t   error;
    size_t     consumed;    /* when it failed */
} heard_t;


static void
mix(heard_t *h, const uint8_t *p, size_t n)
{
    size_t  i;

    for (i = 0; i < n; i++) {
        h->hash = (h->hash ^ p[i]) * UINT64_C(1099511628211);
    }
}


static void
heard_event(heard_t *h, const astro_ws_event_t *e)
{
    mix(h, &e->opcode, 1);
    mix(h, (const uint8_t *) &e->code, 2);
    mix(h, (const uint8_t *) &e->len, sizeof(e->len));
    mix(h, e->data, e->len);

    h->events++;

    switch (e->opcode) {

    case ASTRO_WS_TEXT:
        must(astro_utf8_feed(ASTRO_UTF8_ACCEPT, e->data, e->len)
             == ASTRO_UTF8_ACCEPT);
        /* fall through */

    case ASTRO_WS_BINARY:
        must(e->len <= MAX_MESSAGE);
        must(e->code == 0);
        break;

    case ASTRO_WS_CLOSE:
        must(e->code >= 1000 && e->code < 5000);
        must(e->code != 1004 && e->code != 1006 && e->code != 1015);
        /* fall through */

    default:
        must(e->len <= ASTRO_WS_MAX_CONTROL);
        must(e->opcode >= ASTRO_WS_CLOSE && e->opcode <= ASTRO_WS_PONG);
    }
}


/* step: octets in a piece; 0: sizes from cuts, as long as there are any. */

static heard_t
hear(astro_deflate_t *deflate, const uint8_t *data, size_t size, size_t step,
    const uint8_t *cuts, size_t ncuts)
{
    size_t              at, n;
    heard_t             h;
    uint8_t            *piece, *pos;
    astro_ws_rc_e       rc;
    astro_ws_event_t    event;
    astro_ws_reader_t   r;

    memset(&h, 0, sizeof(h));
    astro_ws_reader_init(&r, MAX_MESSAGE);
    r.deflate = deflate;
    rc = ASTRO_WS_MORE;

    for (at = 0; at < size && rc != ASTRO_WS_ERROR; at += n) {

        n = step ? step : ncuts ? cuts[at % ncuts] + 1U : size;
        n = n < size - at ? n : size - at;

        piece = copy_of(data + at, n);
        pos = piece;

        while ((rc = astro_ws_read(&r, &pos, piece + n, &event))
               == ASTRO_WS_EVENT)
        {
            must(pos <= piece + n);
            heard_event(&h, &event);
        }

        if (rc == ASTRO_WS_ERROR) {
            must(event.reason && strlen(event.reason) <= 60);
            h.error = event.code;
            h.consumed = at + (size_t) (pos - piece);

        } else {
            must(pos == piece + n);
        }

        free(piece);
    }

    astro_ws_reader_free(&r);

    return h;
}


static void
same(const heard_t *whole, const heard_t *pieces)
{
    must(whole->hash == pieces->hash);
    must(whole->events == pieces->events);
    must(whole->error == pieces->error);
    must(whole->error == 0 || pieces->consumed <= whole->consumed);
}


#endif /* _ASTRO_FUZZ_FRAMES_H_INCLUDED_ */
