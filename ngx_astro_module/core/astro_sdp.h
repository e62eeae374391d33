
/*
 * Copyright (C) The Astro authors
 *
 * Whether a session description (RFC 8866) sets up media that is encrypted with
 * keys from DTLS (RFC 5763, RFC 8827 section 6.5), and nothing else.  Reads the
 * inside of a JSON string as it stands in the text: escapes are undone
 * on the way, nothing is copied or allocated.
 */

#ifndef _ASTRO_SDP_H_INCLUDED_
#define _ASTRO_SDP_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef enum {
    ASTRO_SDP_OK = 0,
    ASTRO_SDP_FINGERPRINT,      /* media without one */
    ASTRO_SDP_CRYPTO,           /* SDES: its keys would pass through us */
    ASTRO_SDP_PROFILE           /* media that DTLS does not protect */
} astro_sdp_rc_e;


/*
 * raw is between the quotes; a parser has found the JSON to be valid.  A
 * section (m=) has a fingerprint if it stands in it or before the first one;
 * one whose port is 0 sends nothing and needs none, but its profile and its
 * a=crypto are looked at all the same.
 */
astro_sdp_rc_e astro_sdp_check(const uint8_t *raw, size_t len);

/* Static text, fit for a client; "" of ASTRO_SDP_OK. */
const char *astro_sdp_error(astro_sdp_rc_e rc);


#endif /* _ASTRO_SDP_H_INCLUDED_ */
