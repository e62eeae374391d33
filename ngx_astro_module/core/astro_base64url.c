
/*
 * Copyright (C) The Astro authors
 *
 * base64url without padding, in its canonical form alone.
 */


#include "astro_jwt.h"


static int astro_base64url_sextet(uint8_t c);


static const char  astro_base64url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";


ssize_t
astro_base64url_encode(uint8_t *dst, size_t size, const uint8_t *src,
    size_t len)
{
    size_t    i, n;
    uint32_t  word;
    unsigned  bits;

    n = len / 3 * 4 + (len % 3 * 8 + 5) / 6;

    if (n > size) {
        return -1;
    }

    word = 0;
    bits = 0;

    for (i = 0; i < len; i++) {
        word = (word & 0xff) << 8 | src[i];
        bits += 8;

        while (bits >= 6) {
            bits -= 6;
            *dst++ = (uint8_t) astro_base64url_alphabet[word >> bits & 0x3f];
        }
    }

    if (bits) {
        *dst = (uint8_t) astro_base64url_alphabet[word << (6 - bits) & 0x3f];
    }

    return (ssize_t) n;
}


ssize_t
astro_base64url_decode(uint8_t *dst, size_t size, const uint8_t *src,
    size_t len)
{
    int       sextet;
    size_t    i, n;
    uint32_t  word;
    unsigned  bits;

    n = len / 4 * 3 + len % 4 * 6 / 8;

    if (len % 4 == 1 || n > size) {
        return -1;
    }

    word = 0;
    bits = 0;

    for (i = 0; i < len; i++) {
        sextet = astro_base64url_sextet(src[i]);

        if (sextet < 0) {
            return -1;
        }

        word = (word & 0xff) << 6 | (unsigned) sextet;
        bits += 6;

        if (bits >= 8) {
            bits -= 8;
            *dst++ = (uint8_t) (word >> bits);
        }
    }

    /* bits that belong to no octet are zero in the canonical form */

    if (word & ((1u << bits) - 1)) {
        return -1;
    }

    return (ssize_t) n;
}


static int
astro_base64url_sextet(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }

    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }

    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }

    return (c == '-') ? 62 : (c == '_') ? 63 : -1;
}
