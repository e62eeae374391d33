
/*
 * Copyright (C) The Astro authors
 *
 * RFC 6455 framing.
 *
 * A reader is in one of two places: in a header, of which head[0..head_len)
 * has arrived, or in a payload, of which "left" octets are to come.  A frame
 * is refused by the first octet that condemns it: RSV bits, opcode and a
 * missing mask by the first two, the length as soon as it is known, so that
 * nothing is ever read, and no memory taken, for a frame that is going to be
 * refused.  Memory for a message follows what has arrived, never what a header
 * announces.
 *
 * Payload takes one of three ways: whole in the input and not fragmented: it
 * is handed out where it lies; a control frame: through "control", as it may
 * arrive between the fragments of a message; all else: into "message".  What is
 * compressed is inflated into "message", see astro_frame_inflate.c.
 */


#include <stdlib.h>
#include <string.h>

#include "astro_frame_private.h"
#include "astro_utf8.h"


#define ASTRO_WS_MIN_GATHER  256    /* bytes, the first size of "message" */

#define astro_ws_is_control(opcode)  ((opcode) & 0x8)


static astro_ws_rc_e astro_ws_fail(astro_ws_reader_t *r,
    astro_ws_event_t *event, uint16_t code, const char *reason);
static astro_ws_rc_e astro_ws_read_header(astro_ws_reader_t *r, uint8_t **pos,
    uint8_t *last, astro_ws_event_t *event);
static const char *astro_ws_check_start(astro_ws_reader_t *r);
static int astro_ws_rsv_ok(astro_ws_reader_t *r);
static astro_ws_rc_e astro_ws_check_length(astro_ws_reader_t *r, uint64_t len,
    size_t header, astro_ws_event_t *event);
static astro_ws_rc_e astro_ws_read_control(astro_ws_reader_t *r,
    uint8_t **pos, uint8_t *last, astro_ws_event_t *event);
static astro_ws_rc_e astro_ws_close_event(astro_ws_reader_t *r, uint8_t *data,
    size_t len, astro_ws_event_t *event);
static int astro_ws_close_code_ok(uint16_t code);
static astro_ws_rc_e astro_ws_read_data(astro_ws_reader_t *r, uint8_t **pos,
    uint8_t *last, astro_ws_event_t *event);
static astro_ws_rc_e astro_ws_read_deflated(astro_ws_reader_t *r,
    const uint8_t *p, size_t n, astro_ws_event_t *event);
static void astro_ws_deliver(astro_ws_reader_t *r, astro_ws_event_t *event);
static int astro_ws_gather(astro_ws_reader_t *r, const uint8_t *p, size_t n);
static void astro_ws_unmask(astro_ws_reader_t *r, uint8_t *p, size_t n);
static void astro_ws_forget(astro_ws_reader_t *r);


void
astro_ws_reader_init(astro_ws_reader_t *r, size_t max_message)
{
    memset(r, 0, sizeof(astro_ws_reader_t));

    r->max_message = max_message;
}


void
astro_ws_reader_free(astro_ws_reader_t *r)
{
    astro_ws_forget(r);
}


int
astro_ws_reader_busy(const astro_ws_reader_t *r)
{
    return r->head_len || r->in_payload || r->message_opcode;
}


astro_ws_rc_e
astro_ws_read(astro_ws_reader_t *r, uint8_t **pos, uint8_t *last,
    astro_ws_event_t *event)
{
    astro_ws_rc_e  rc;

    if (r->failed) {
        return astro_ws_fail(r, event, ASTRO_WS_CLOSE_PROTOCOL,
                             "input after an error");
    }

    if (r->deliver) {
        astro_ws_forget(r);
    }

    /* rc == ASTRO_WS_MORE below: a frame ended that ends no message */

    for ( ;; ) {

        if (!r->in_payload) {
            rc = astro_ws_read_header(r, pos, last, event);

            if (rc == ASTRO_WS_ERROR || !r->in_payload) {
                return rc;
            }
        }

        if (astro_ws_is_control(r->opcode)) {
            rc = astro_ws_read_control(r, pos, last, event);

        } else {
            rc = astro_ws_read_data(r, pos, last, event);
        }

        if (rc != ASTRO_WS_MORE || *pos == last) {
            return rc;
        }
    }
}


static astro_ws_rc_e
astro_ws_fail(astro_ws_reader_t *r, astro_ws_event_t *event, uint16_t code,
    const char *reason)
{
    astro_ws_forget(r);

    if (r->deflate) {
        (void) astro_inflate_end(r->deflate);
    }

    r->failed = 1;

    event->opcode = ASTRO_WS_CLOSE;
    event->code = code;
    event->data = NULL;
    event->len = 0;
    event->reason = reason;

    return ASTRO_WS_ERROR;
}


/* Leaves r->in_payload set when the header is whole and nothing is wrong. */

static astro_ws_rc_e
astro_ws_read_header(astro_ws_reader_t *r, uint8_t **pos, uint8_t *last,
    astro_ws_event_t *event)
{
    size_t       need, n, i;
    uint64_t     len;
    const char  *reason;

    need = 2;

    for ( ;; ) {

        while (r->head_len < need && *pos < last) {
            r->head[r->head_len++] = *(*pos)++;
        }

        if (r->head_len < need) {
            return ASTRO_WS_MORE;
        }

        if (need > 2) {
            break;
        }

        reason = astro_ws_check_start(r);
        if (reason) {
            return astro_ws_fail(r, event, ASTRO_WS_CLOSE_PROTOCOL, reason);
        }

        len = r->head[1] & 0x7f;
        need = 2 + ((len == 127) ? 8 : (len == 126) ? 2 : 0) + 4;
    }

    len = r->head[1] & 0x7f;
    n = need - 4;

    if (n > 2) {
        len = 0;

        for (i = 2; i < n; i++) {
            len = len << 8 | r->head[i];
        }
    }

    memcpy(r->mask, &r->head[n], 4);
    r->mask_at = 0;

    return astro_ws_check_length(r, len, n, event);
}


/* What the first two octets of a frame may not say; NULL: nothing wrong. */

static const char *
astro_ws_check_start(astro_ws_reader_t *r)
{
    uint8_t  len;

    r->opcode = r->head[0] & 0x0f;
    r->fin = r->head[0] >> 7;

    len = r->head[1] & 0x7f;

    if ((r->head[0] & 0x70) && !astro_ws_rsv_ok(r)) {
        return "reserved bits are set";
    }

    if (!(r->head[1] & 0x80)) {
        return "frame is not masked";
    }

    switch (r->opcode) {

    case ASTRO_WS_CONT:

        if (r->message_opcode == 0) {
            return "continuation without a start";
        }

        break;

    case ASTRO_WS_TEXT:
    case ASTRO_WS_BINARY:

        if (r->message_opcode) {
            return "new message within a fragmented one";
        }

        r->compressed = (r->head[0] & ASTRO_WS_RSV1) != 0;

        break;

    case ASTRO_WS_CLOSE:
    case ASTRO_WS_PING:
    case ASTRO_WS_PONG:

        if (!r->fin) {
            return "fragmented control frame";
        }

        if (len > ASTRO_WS_MAX_CONTROL) {
            return "control frame is too long";
        }

        break;

    default:
        return "unknown opcode";
    }

    return NULL;
}


/*
 * RFC 7692 section 6: RSV1 says "compressed", on the first frame of a message
 * alone, and only where that was agreed.
 */

static int
astro_ws_rsv_ok(astro_ws_reader_t *r)
{
    return r->deflate && (r->head[0] & 0x70) == ASTRO_WS_RSV1
           && (r->opcode == ASTRO_WS_TEXT || r->opcode == ASTRO_WS_BINARY);
}


static astro_ws_rc_e
astro_ws_check_length(astro_ws_reader_t *r, uint64_t len, size_t header,
    astro_ws_event_t *event)
{
    size_t  more;

    if ((header == 4 && len < 126) || (header == 10 && len <= 0xffff)) {
        return astro_ws_fail(r, event, ASTRO_WS_CLOSE_PROTOCOL,
                             "length is not in its shortest form");
    }

    if (len >> 63) {
        return astro_ws_fail(r, event, ASTRO_WS_CLOSE_PROTOCOL,
                             "top bit of the length is set");
    }

    if (astro_ws_is_control(r->opcode)) {
        r->control_len = 0;

    } else {

        if (r->opcode != ASTRO_WS_CONT) {
            r->message_opcode = r->opcode;
            r->utf8 = ASTRO_UTF8_ACCEPT;
            r->deflated_len = 0;
        }

        more = r->compressed
               ? astro_ws_deflated_max(r->max_message) - r->deflated_len
               : r->max_message - r->message_len;

        if (len > more) {
            return astro_ws_fail(r, event, ASTRO_WS_CLOSE_TOO_LARGE,
                                 "message is too large");
        }
    }

    r->left = len;
    r->head_len = 0;
    r->in_payload = 1;

    return ASTRO_WS_MORE;
}


static astro_ws_rc_e
astro_ws_read_control(astro_ws_reader_t *r, uint8_t **pos, uint8_t *last,
    astro_ws_event_t *event)
{
    size_t    n;
    uint8_t  *data;

    n = (size_t) (last - *pos);

    if (n > r->left) {
        n = (size_t) r->left;
    }

    data = *pos;
    astro_ws_unmask(r, data, n);

    *pos += n;
    r->left -= n;

    if (r->left || r->control_len) {
        memcpy(&r->control[r->control_len], data, n);
        r->control_len = (uint8_t) (r->control_len + n);

        if (r->left) {
            return ASTRO_WS_MORE;
        }

        data = r->control;
        n = r->control_len;
    }

    r->in_payload = 0;

    if (r->opcode == ASTRO_WS_CLOSE) {
        return astro_ws_close_event(r, data, n, event);
    }

    event->opcode = r->opcode;
    event->code = 0;
    event->data = data;
    event->len = n;
    event->reason = NULL;

    return ASTRO_WS_EVENT;
}


static astro_ws_rc_e
astro_ws_close_event(astro_ws_reader_t *r, uint8_t *data, size_t len,
    astro_ws_event_t *event)
{
    uint16_t  code;

    code = ASTRO_WS_CLOSE_NO_STATUS;

    if (len == 1) {
        return astro_ws_fail(r, event, ASTRO_WS_CLOSE_PROTOCOL,
                             "close frame with half a code");
    }

    if (len) {
        code = (uint16_t) (data[0] << 8 | data[1]);
        data += 2;
        len -= 2;

        if (!astro_ws_close_code_ok(code)) {
            return astro_ws_fail(r, event, ASTRO_WS_CLOSE_PROTOCOL,
                                 "close code may not be sent");
        }

        if (astro_utf8_feed(ASTRO_UTF8_ACCEPT, data, len)
            != ASTRO_UTF8_ACCEPT)
        {
            return astro_ws_fail(r, event, ASTRO_WS_CLOSE_DATA,
                                 "close reason is not UTF-8");
        }
    }

    event->opcode = ASTRO_WS_CLOSE;
    event->code = code;
    event->data = data;
    event->len = len;
    event->reason = NULL;

    return ASTRO_WS_EVENT;
}


static int
astro_ws_close_code_ok(uint16_t code)
{
    if (code >= 3000) {
        return code <= 4999;
    }

    /*
     * 1004 is reserved, 1005, 1006 and 1015 are for APIs alone; 1012 to 1014
     * were registered with IANA after the RFC.
     */

    return code >= 1000 && code <= 1014
           && (code < 1004 || code > 1006);
}


static astro_ws_rc_e
astro_ws_read_data(astro_ws_reader_t *r, uint8_t **pos, uint8_t *last,
    astro_ws_event_t *event)
{
    int       whole;
    size_t    n;
    uint8_t  *data;

    n = (size_t) (last - *pos);

    if (n > r->left) {
        n = (size_t) r->left;
    }

    /* r->left is that of the whole frame only where none of it was read yet */

    whole = r->fin && r->opcode != ASTRO_WS_CONT && r->message_len == 0
            && n == r->left;

    data = *pos;
    astro_ws_unmask(r, data, n);

    *pos += n;
    r->left -= n;

    if (r->compressed) {
        return astro_ws_read_deflated(r, data, n, event);
    }

    if (r->message_opcode == ASTRO_WS_TEXT) {
        r->utf8 = astro_utf8_feed(r->utf8, data, n);

        if (r->utf8 == ASTRO_UTF8_REJECT
            || (r->fin && r->left == 0 && r->utf8 != ASTRO_UTF8_ACCEPT))
        {
            return astro_ws_fail(r, event, ASTRO_WS_CLOSE_DATA,
                                 "text is not UTF-8");
        }
    }

    if (!whole) {

        if (astro_ws_gather(r, data, n) != 0) {
            return astro_ws_fail(r, event, ASTRO_WS_CLOSE_INTERNAL,
                                 "no memory");
        }

        if (r->left) {
            return ASTRO_WS_MORE;
        }
    }

    r->in_payload = 0;

    if (!r->fin) {
        return ASTRO_WS_MORE;
    }

    if (!whole) {
        astro_ws_deliver(r, event);
        return ASTRO_WS_EVENT;
    }

    event->opcode = r->message_opcode;
    event->code = 0;
    event->data = data;
    event->len = n;
    event->deflated_len = 0;
    event->reason = NULL;

    r->message_opcode = 0;

    return ASTRO_WS_EVENT;
}


static astro_ws_rc_e
astro_ws_read_deflated(astro_ws_reader_t *r, const uint8_t *p, size_t n,
    astro_ws_event_t *event)
{
    uint16_t     code;
    const char  *reason;

    code = astro_ws_inflate(r, p, n, r->fin && r->left == 0, &reason);

    if (code) {
        return astro_ws_fail(r, event, code, reason);
    }

    if (r->left) {
        return ASTRO_WS_MORE;
    }

    r->in_payload = 0;

    if (!r->fin) {
        return ASTRO_WS_MORE;
    }

    astro_ws_deliver(r, event);

    return ASTRO_WS_EVENT;
}


/* The message that was gathered; it is freed when the reader is called next. */

static void
astro_ws_deliver(astro_ws_reader_t *r, astro_ws_event_t *event)
{
    event->opcode = r->message_opcode;
    event->code = 0;
    event->reason = NULL;

    /* message is NULL if all fragments were empty */

    event->data = r->message ? r->message : r->head;
    event->len = r->message_len;
    event->deflated_len = r->compressed ? r->deflated_len : 0;

    r->deliver = 1;
    r->message_opcode = 0;
}


static int
astro_ws_gather(astro_ws_reader_t *r, const uint8_t *p, size_t n)
{
    size_t  limit;

    if (n == 0) {
        return 0;
    }

    /*
     * The length is told from the header, so all of it is within max_message.
     * What is yet to come of the last frame bounds what is worth having.
     */

    limit = r->fin ? r->message_len + n + (size_t) r->left : r->max_message;

    if (astro_ws_room(r, n, limit) != 0) {
        return -1;
    }

    memcpy(r->message + r->message_len, p, n);
    r->message_len += n;

    return 0;
}


int
astro_ws_room(astro_ws_reader_t *r, size_t n, size_t limit)
{
    size_t    need, size;
    uint8_t  *message;

    need = r->message_len + n;

    if (need <= r->message_size) {
        return 0;
    }

    size = r->message_size * 2;

    if (size < ASTRO_WS_MIN_GATHER) {
        size = ASTRO_WS_MIN_GATHER;
    }

    if (size < need) {
        size = need;
    }

    if (size > limit) {
        size = limit;
    }

    message = realloc(r->message, size);
    if (message == NULL) {
        return -1;
    }

    r->message = message;
    r->message_size = size;

    return 0;
}


static void
astro_ws_unmask(astro_ws_reader_t *r, uint8_t *p, size_t n)
{
    size_t    i;
    uint8_t   mask[8];
    uint64_t  word, key;

    for (i = 0; i < 8; i++) {
        mask[i] = r->mask[(r->mask_at + i) & 3];
    }

    r->mask_at = (uint8_t) ((r->mask_at + n) & 3);

    memcpy(&key, mask, 8);

    while (n >= 8) {
        memcpy(&word, p, 8);
        word ^= key;
        memcpy(p, &word, 8);

        p += 8;
        n -= 8;
    }

    for (i = 0; i < n; i++) {
        p[i] ^= mask[i];
    }
}


static void
astro_ws_forget(astro_ws_reader_t *r)
{
    free(r->message);

    r->message = NULL;
    r->message_len = 0;
    r->message_size = 0;
    r->deliver = 0;
    r->inflating = 0;
    r->deferred = 0;
}
