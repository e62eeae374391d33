
/*
 * Copyright (C) The Astro authors
 *
 * RFC 6455: what is written: headers of frames, the answer to a handshake.
 */


#include <string.h>

#include <openssl/evp.h>
#include <openssl/sha.h>

#include "astro_frame.h"


static const char  astro_ws_guid[] = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";


size_t
astro_ws_header(uint8_t head[ASTRO_WS_MAX_HEADER], uint8_t opcode,
    size_t payload_len)
{
    size_t    i, n;
    uint64_t  len;

    head[0] = (uint8_t) (0x80 | opcode);

    if (payload_len < 126) {
        head[1] = (uint8_t) payload_len;
        return 2;
    }

    if (payload_len <= 0xffff) {
        head[1] = 126;
        n = 4;

    } else {
        head[1] = 127;
        n = 10;
    }

    len = payload_len;

    for (i = n - 1; i >= 2; i--) {
        head[i] = (uint8_t) len;
        len >>= 8;
    }

    return n;
}


int
astro_ws_accept(const uint8_t *key, size_t len,
    uint8_t accept[ASTRO_WS_ACCEPT_LEN])
{
    size_t   i;
    uint8_t  c, digest[SHA_DIGEST_LENGTH], text[ASTRO_WS_ACCEPT_LEN + 1];
    uint8_t  input[ASTRO_WS_KEY_LEN + 36];

    /* 16 octets: 22 characters and two of padding */

    if (len != ASTRO_WS_KEY_LEN || key[22] != '=' || key[23] != '=') {
        return -1;
    }

    for (i = 0; i < 22; i++) {
        c = key[i];

        if ((c < 'A' || c > 'Z') && (c < 'a' || c > 'z')
            && (c < '0' || c > '9') && c != '+' && c != '/')
        {
            return -1;
        }
    }

    memcpy(input, key, ASTRO_WS_KEY_LEN);
    memcpy(input + ASTRO_WS_KEY_LEN, astro_ws_guid, 36);

    if (SHA1(input, sizeof(input), digest) == NULL) {
        return -1;
    }

    /* EVP_EncodeBlock() appends a zero octet */

    (void) EVP_EncodeBlock(text, digest, SHA_DIGEST_LENGTH);
    memcpy(accept, text, ASTRO_WS_ACCEPT_LEN);

    return 0;
}
