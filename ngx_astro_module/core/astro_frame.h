
/*
 * Copyright (C) The Astro authors
 *
 * RFC 6455 framing: bytes to messages and back.  Pure C, no I/O, no users.
 *
 * The reader owns no input buffer.  Whoever reads the socket feeds whatever
 * arrived, unmasking happens in place, and a message that lies whole and
 * unfragmented in the input is handed out as a pointer into it.  Only a
 * message that is split over reads or frames is gathered in memory of the
 * reader's own, which is freed as soon as the message was handled, so an idle
 * connection holds no buffer.
 */

#ifndef _ASTRO_FRAME_H_INCLUDED_
#define _ASTRO_FRAME_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "astro_deflate.h"


#define ASTRO_WS_CONT    0x0
#define ASTRO_WS_TEXT    0x1
#define ASTRO_WS_BINARY  0x2
#define ASTRO_WS_CLOSE   0x8
#define ASTRO_WS_PING    0x9
#define ASTRO_WS_PONG    0xa

/* astro_ws_header(): with the opcode, a message that is compressed */
#define ASTRO_WS_RSV1    0x40

/* RFC 6455 section 7.4.1 */
#define ASTRO_WS_CLOSE_NORMAL       1000
#define ASTRO_WS_CLOSE_GOING_AWAY   1001
#define ASTRO_WS_CLOSE_PROTOCOL     1002
#define ASTRO_WS_CLOSE_UNSUPPORTED  1003
#define ASTRO_WS_CLOSE_NO_STATUS    1005
#define ASTRO_WS_CLOSE_DATA         1007
#define ASTRO_WS_CLOSE_TOO_LARGE    1009
#define ASTRO_WS_CLOSE_INTERNAL     1011

#define ASTRO_WS_MAX_CONTROL  125
#define ASTRO_WS_MAX_HEADER   10      /* of an unmasked frame */

#define ASTRO_WS_KEY_LEN      24
#define ASTRO_WS_ACCEPT_LEN   28


typedef enum {
    ASTRO_WS_MORE = 0,  /* all input consumed, nothing complete */
    ASTRO_WS_EVENT,     /* *event is set; call again for the rest */
    ASTRO_WS_ERROR      /* event->code is the close code to answer with,
                           event->reason says why; feed no more */
} astro_ws_rc_e;


typedef struct {
    uint8_t       opcode;   /* TEXT, BINARY, CLOSE, PING or PONG */
    uint16_t      code;     /* CLOSE: peer's code or 1005; ERROR: ours */
    uint8_t      *data;     /* unmasked payload; for CLOSE the reason.  Valid
                               until the next call on this reader */
    size_t        len;
    size_t        deflated_len; /* TEXT, BINARY: octets it came in, if it was
                                   compressed; else 0 */
    const char   *reason;   /* ERROR: static text, <= 60 bytes */
} astro_ws_event_t;


typedef struct {
    size_t        max_message;  /* larger: 1009, told from the header alone;
                                   a compressed one when it inflates to more */
    astro_deflate_t  *deflate;  /* permessage-deflate was agreed; else NULL.
                                   Not freed by the reader, and not before */

    /* the rest is the reader's own */
    uint8_t      *message;      /* gathered so far; malloc()ed */
    size_t        message_len;
    size_t        message_size;
    size_t        deflated_len; /* of a compressed message so far */
    uint64_t      left;         /* payload bytes of this frame to come */
    uint32_t      utf8;         /* state of astro_utf8_feed() */
    uint8_t       head[14];
    uint8_t       head_len;
    uint8_t       mask[4];
    uint8_t       mask_at;      /* 0..3, next octet of the mask */
    uint8_t       opcode;       /* of the frame */
    uint8_t       message_opcode;   /* TEXT or BINARY while gathering, or 0 */
    uint8_t       control[ASTRO_WS_MAX_CONTROL];
    uint8_t       control_len;
    unsigned      in_payload:1;
    unsigned      fin:1;
    unsigned      deliver:1;    /* message was handed out: free it next */
    unsigned      failed:1;
    unsigned      compressed:1; /* the message began with RSV1 */
    unsigned      inflating:1;  /* begun */
    unsigned      deferred:1;   /* gathered as it came, inflated at its end */
} astro_ws_reader_t;


/* max_message in bytes, 1 .. 2^30.  No compression until deflate is set. */
void astro_ws_reader_init(astro_ws_reader_t *r, size_t max_message);

/* Frees what was gathered.  Safe to call twice. */
void astro_ws_reader_free(astro_ws_reader_t *r);

/* Is a frame, or a message, begun and not finished? */
int astro_ws_reader_busy(const astro_ws_reader_t *r);

/*
 * Consumes from *pos up to last, advancing *pos; bytes between are changed
 * (unmasked).  Refuses with RFC 6455's own codes: unmasked frames, set RSV
 * bits, unknown opcodes, fragmented or long control frames, continuation
 * without a start or a start within a message, non-minimal or 64-bit lengths
 * with the top bit (1002), text that is not UTF-8 as soon as that is certain
 * (1007), messages over max_message (1009), close codes that may not be sent
 * (1002).
 *
 * Where "deflate" is set, RSV1 may be on the first frame of a text or binary
 * message and nowhere else (RFC 7692 section 6).  What then arrives is inflated
 * and checked at once: no DEFLATE, or cut off within a block (1007), more than
 * max_message (1009, and no further octet is inflated).
 * No memory: ERROR with 1011.
 */
astro_ws_rc_e astro_ws_read(astro_ws_reader_t *r, uint8_t **pos,
    uint8_t *last, astro_ws_event_t *event);

/*
 * Writes the header of an unmasked FIN frame; returns its length, 2..10.  A
 * compressed message has ASTRO_WS_RSV1 with its opcode.
 */
size_t astro_ws_header(uint8_t head[ASTRO_WS_MAX_HEADER], uint8_t opcode,
    size_t payload_len);

/*
 * Sec-WebSocket-Accept of a Sec-WebSocket-Key (section 4.2.2).  -1 if the
 * key is not the base64 form of 16 octets.
 */
int astro_ws_accept(const uint8_t *key, size_t len,
    uint8_t accept[ASTRO_WS_ACCEPT_LEN]);


#endif /* _ASTRO_FRAME_H_INCLUDED_ */
