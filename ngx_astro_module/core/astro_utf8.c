
/*
 * Copyright (C) The Astro authors
 *
 * UTF-8 validation that can stop and go on at any octet.
 *
 * Between characters the state is 0.  Within one it says how many octets are
 * still to come and between which bounds the next has to lie:
 *
 *     to come | lowest << 8 | highest << 16
 *
 * Only the second octet of a character ever has bounds other than 80..BF: that
 * is where overlong forms (E0, F0), surrogates (ED) and what lies above
 * U+10FFFF (F4) are told, so REJECT comes with the first octet that no
 * continuation could save.
 */


#include <string.h>

#include "astro_utf8.h"


#define ASTRO_UTF8_STATE(left, low, high)                                     \
    ((left) | (uint32_t) (low) << 8 | (uint32_t) (high) << 16)

#define ASTRO_UTF8_HIGH_BITS  0x8080808080808080ULL

/* octets in front of the first one of a word that is not ASCII */

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define astro_utf8_ascii(high)  ((unsigned) __builtin_ctzll(high) / 8)
#else
#define astro_utf8_ascii(high)  ((unsigned) __builtin_clzll(high) / 8)
#endif


static uint32_t astro_utf8_lead(uint8_t c);
static uint32_t astro_utf8_next(uint32_t state, uint8_t c);


/* The state after the first octet of a character, c >= 0x80. */

static uint32_t
astro_utf8_lead(uint8_t c)
{
    if (c < 0xc2) {
        /* a continuation, or the start of an overlong form */
        return ASTRO_UTF8_REJECT;
    }

    if (c < 0xe0) {
        return ASTRO_UTF8_STATE(1, 0x80, 0xbf);
    }

    if (c < 0xf0) {
        return ASTRO_UTF8_STATE(2, (c == 0xe0) ? 0xa0 : 0x80,
                                (c == 0xed) ? 0x9f : 0xbf);
    }

    if (c < 0xf5) {
        return ASTRO_UTF8_STATE(3, (c == 0xf0) ? 0x90 : 0x80,
                                (c == 0xf4) ? 0x8f : 0xbf);
    }

    return ASTRO_UTF8_REJECT;
}


static uint32_t
astro_utf8_next(uint32_t state, uint8_t c)
{
    uint32_t  left;

    if (c < (state >> 8 & 0xff) || c > (state >> 16)) {
        return ASTRO_UTF8_REJECT;
    }

    left = (state & 0xff) - 1;

    return left ? ASTRO_UTF8_STATE(left, 0x80, 0xbf) : ASTRO_UTF8_ACCEPT;
}


uint32_t
astro_utf8_feed(uint32_t state, const uint8_t *p, size_t n)
{
    uint64_t        word;
    const uint8_t  *last;

    if (state == ASTRO_UTF8_REJECT) {
        return state;
    }

    last = p + n;

    while (p < last) {

        if (state != ASTRO_UTF8_ACCEPT) {
            state = astro_utf8_next(state, *p++);

            if (state == ASTRO_UTF8_REJECT) {
                return state;
            }

            continue;
        }

        while (last - p >= 8) {
            memcpy(&word, p, 8);
            word &= ASTRO_UTF8_HIGH_BITS;

            if (word) {
                p += astro_utf8_ascii(word);
                break;
            }

            p += 8;
        }

        while (p < last && *p < 0x80) {
            p++;
        }

        if (p == last) {
            break;
        }

        /*
         * Three octets a character is what most Indian text is made of: it is
         * checked as a whole, and whatever fails here is told by the octet.
         */

        while (last - p >= 3 && (p[0] & 0xf0) == 0xe0
               && (p[1] & 0xc0) == 0x80 && (p[2] & 0xc0) == 0x80
               && (p[0] != 0xe0 || p[1] >= 0xa0)
               && (p[0] != 0xed || p[1] < 0xa0))
        {
            p += 3;
        }

        if (p == last) {
            break;
        }

        if (*p < 0x80) {
            continue;
        }

        state = astro_utf8_lead(*p++);

        if (state == ASTRO_UTF8_REJECT) {
            return state;
        }
    }

    return state;
}
