
/*
 * Copyright (C) The Astro authors
 *
 * Sec-WebSocket-Extensions: what a client offers, and our answer.  RFC 6455
 * section 9.1 has the grammar, RFC 7692 section 7.1 what permessage-deflate
 * may be offered with.  No other extension is known.
 *
 *     agreed = none
 *     for each header line:  astro_ws_ext_offer(&wanted, line, len, &agreed)
 *                            < 0: refuse the handshake, agreed or not
 *     if (agreed.on)         astro_ws_ext_answer(&agreed, buf)
 */

#ifndef _ASTRO_WS_EXT_H_INCLUDED_
#define _ASTRO_WS_EXT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_WS_EXT_ANSWER  160    /* bytes, the longest answer */


/* What we want of an agreement: configuration. */
typedef struct {
    uint8_t    bits;            /* 9..15: 2^bits bytes of window, both ways */
    unsigned   takeover:1;      /* windows are kept between messages */
} astro_ws_ext_conf_t;


/* permessage-deflate as it was agreed; all zero: not agreed. */
typedef struct {
    uint8_t    server_bits;     /* 9..15, of what we compress */
    uint8_t    client_bits;     /* 8..15, of what the client compresses */
    unsigned   on:1;
    unsigned   server_takeover:1;
    unsigned   client_takeover:1;
    unsigned   say_client_bits:1;   /* the client offered to be told */
    unsigned   say_server_bits:1;   /* it asked for a window */
} astro_ws_ext_t;


/*
 * Looks through the offers of one header line, in order, and takes the first
 * that can be met, unless one was taken before.
 *
 *  0  the line conforms; agreed->on says whether there is an agreement
 * -1  it does not: section 9.1 says that the connection must fail
 *
 * Declined, so that the next offer is looked at (RFC 7692 section 7.1): other
 * extensions; parameters that are unknown, given twice, lack the value they
 * need or have one they must not have; server_max_window_bits=8, which zlib
 * cannot compress for.  conf == NULL: all are declined.
 */
int astro_ws_ext_offer(const astro_ws_ext_conf_t *conf, const uint8_t *line,
    size_t len, astro_ws_ext_t *agreed);

/* The value of our own header; its length. */
size_t astro_ws_ext_answer(const astro_ws_ext_t *agreed,
    uint8_t buf[ASTRO_WS_EXT_ANSWER]);


#endif /* _ASTRO_WS_EXT_H_INCLUDED_ */
