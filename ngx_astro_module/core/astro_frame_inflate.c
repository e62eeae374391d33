
/*
 * Copyright (C) The Astro authors
 *
 * Compressed messages (RFC 7692) as they arrive: inflated piece by piece,
 * counted and checked at once, so that a bomb or a wrong octet is told where
 * it stands, and nothing is inflated beyond it.
 */


#include <stdlib.h>
#include <string.h>

#include "astro_deflate.h"
#include "astro_frame_private.h"
#include "astro_utf8.h"


#define ASTRO_WS_MIN_INFLATE  512   /* bytes, the first size of "message" */


static uint16_t astro_ws_inflate_whole(astro_ws_reader_t *r,
    const char **reason);
static uint16_t astro_ws_inflate_part(astro_ws_reader_t *r, const uint8_t *p,
    size_t n, const char **reason);
static int astro_ws_inflate_room(astro_ws_reader_t *r, size_t n);
static uint16_t astro_ws_inflate_last(astro_ws_reader_t *r,
    const char **reason);


uint16_t
astro_ws_inflate(astro_ws_reader_t *r, const uint8_t *p, size_t n, int end,
    const char **reason)
{
    uint16_t  code;

    r->deflated_len += n;

    if (!r->inflating && !r->deferred) {

        if (astro_inflate_begin(r->deflate, 0) == 0) {
            r->inflating = 1;

        } else {
            r->deferred = 1;
        }
    }

    if (r->deferred) {

        if (astro_ws_room(r, n, astro_ws_deflated_max(r->max_message)) != 0) {
            *reason = "no memory";
            return ASTRO_WS_CLOSE_INTERNAL;
        }

        if (n) {
            memcpy(r->message + r->message_len, p, n);
            r->message_len += n;
        }

        return end ? astro_ws_inflate_whole(r, reason) : 0;
    }

    code = astro_ws_inflate_part(r, p, n, reason);

    if (code == 0 && end) {
        code = astro_ws_inflate_last(r, reason);
    }

    return code;
}


/* All of a message was gathered as it came: no stream was free. */

static uint16_t
astro_ws_inflate_whole(astro_ws_reader_t *r, const char **reason)
{
    size_t     n;
    uint8_t   *deflated;
    uint16_t   code;

    deflated = r->message;
    n = r->message_len;

    r->message = NULL;
    r->message_len = 0;
    r->message_size = 0;
    r->deferred = 0;

    if (astro_inflate_begin(r->deflate, 1) != 0) {
        free(deflated);
        *reason = "no memory";
        return ASTRO_WS_CLOSE_INTERNAL;
    }

    code = astro_ws_inflate_part(r, deflated, n, reason);

    if (code == 0) {
        code = astro_ws_inflate_last(r, reason);
    }

    free(deflated);

    return code;
}


static uint16_t
astro_ws_inflate_part(astro_ws_reader_t *r, const uint8_t *p, size_t n,
    const char **reason)
{
    size_t               room, size;
    uint8_t             *out, *start, extra;
    astro_inflate_rc_e   rc;

    extra = 0;

    do {

        if (astro_ws_inflate_room(r, n) != 0) {
            *reason = "no memory";
            return ASTRO_WS_CLOSE_INTERNAL;
        }

        /* at the limit there is one octet more of room, which must stay free */

        room = r->message_size - r->message_len;
        start = room ? r->message + r->message_len : &extra;
        out = start;
        size = room ? room : 1;

        rc = astro_inflate(r->deflate, &p, &n, &out, &size);

        if (rc == ASTRO_INFLATE_BAD) {
            *reason = "compressed message is not valid";
            return ASTRO_WS_CLOSE_DATA;
        }

        if (out > start && room == 0) {
            *reason = "message is too large when it is inflated";
            return ASTRO_WS_CLOSE_TOO_LARGE;
        }

        r->message_len += (size_t) (out - start);

        if (r->message_opcode == ASTRO_WS_TEXT) {
            r->utf8 = astro_utf8_feed(r->utf8, start, (size_t) (out - start));

            if (r->utf8 == ASTRO_UTF8_REJECT) {
                *reason = "text is not UTF-8";
                return ASTRO_WS_CLOSE_DATA;
            }
        }

    } while (rc == ASTRO_INFLATE_FULL);

    return 0;
}


/* Some room to inflate n octets into, while max_message allows any. */

static int
astro_ws_inflate_room(astro_ws_reader_t *r, size_t n)
{
    size_t  want;

    if (r->message_len < r->message_size
        || r->message_size == r->max_message)
    {
        return 0;
    }

    /* a text inflates to some three times its size */

    want = n * 4;

    if (want < ASTRO_WS_MIN_INFLATE) {
        want = ASTRO_WS_MIN_INFLATE;
    }

    if (want > r->max_message - r->message_len) {
        want = r->max_message - r->message_len;
    }

    return astro_ws_room(r, want, r->max_message);
}


static uint16_t
astro_ws_inflate_last(astro_ws_reader_t *r, const char **reason)
{
    uint16_t  code;

    r->inflating = 0;

    code = astro_ws_inflate_part(r, (const uint8_t *) ASTRO_INFLATE_TAIL,
                                 ASTRO_INFLATE_TAIL_LEN, reason);

    if (astro_inflate_end(r->deflate) != 0 && code == 0) {
        *reason = "compressed message is cut off";
        return ASTRO_WS_CLOSE_DATA;
    }

    if (code == 0 && r->message_opcode == ASTRO_WS_TEXT
        && r->utf8 != ASTRO_UTF8_ACCEPT)
    {
        *reason = "text is not UTF-8";
        return ASTRO_WS_CLOSE_DATA;
    }

    return code;
}
