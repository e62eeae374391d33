
/*
 * Copyright (C) The Astro authors
 *
 * Numbers of payment cards: see astro_pan.h.
 */

#include <string.h>

#include "astro_id.h"
#include "astro_pan.h"


#define ASTRO_PAN_MIN   13
#define ASTRO_PAN_MAX   19
#define ASTRO_PAN_UUID  36


static const uint8_t *astro_pan_here(const uint8_t *p, const uint8_t *last);
static size_t astro_pan_between(const uint8_t *p, const uint8_t *last);
static int astro_pan_begins(const uint8_t *s, const uint8_t *p);
static int astro_pan_word(uint8_t c);
static int astro_pan_luhn(const uint8_t *digits, size_t n);
static size_t astro_pan_escape(const uint8_t *p, const uint8_t *last,
    uint8_t **to);

#define astro_pan_digit(c)  ((c) >= '0' && (c) <= '9')


const uint8_t *
astro_pan_find(const uint8_t *s, size_t len)
{
    const uint8_t  *p, *last;

    last = s + len;
    p = s;

    while (p < last) {

        if (last - p >= ASTRO_PAN_UUID && (p == s || !astro_pan_word(p[-1]))
            && p[8] == '-' && astro_uuid_ok(p, ASTRO_PAN_UUID))
        {
            p += ASTRO_PAN_UUID;
            continue;
        }

        if (astro_pan_digit(*p) && astro_pan_begins(s, p)
            && astro_pan_here(p, last) != NULL)
        {
            return p;
        }

        p++;
    }

    return NULL;
}


/* The end of one that begins here, or NULL. */

static const uint8_t *
astro_pan_here(const uint8_t *p, const uint8_t *last)
{
    size_t   n, gap;
    uint8_t  digits[ASTRO_PAN_MAX];

    n = 0;

    if (*p != '8' && (*p < '2' || *p > '6')) {
        return NULL;
    }

    while (n < ASTRO_PAN_MAX) {

        digits[n++] = (uint8_t) (*p++ - '0');

        if (p == last || !astro_pan_digit(*p)) {

            /* a group ends */

            if (n >= ASTRO_PAN_MIN && (p == last || !astro_pan_word(*p))
                && (digits[0] != 8 || digits[1] == 1 || digits[1] == 2)
                && astro_pan_luhn(digits, n))
            {
                return p;
            }

            gap = astro_pan_between(p, last);

            if (gap == 0) {
                return NULL;
            }

            p += gap;
        }
    }

    return NULL;
}


/* How long what may stand between two digits is; 0: it may not. */

static size_t
astro_pan_between(const uint8_t *p, const uint8_t *last)
{
    size_t  n;

    if (p == last) {
        return 0;
    }

    if (*p == ' ' || *p == '-') {
        n = 1;

    } else if (last - p > 2 && p[0] == 0xc2 && p[1] == 0xa0) {
        n = 2;

    } else {
        return 0;
    }

    return (p + n < last && astro_pan_digit(p[n])) ? n : 0;
}


static int
astro_pan_begins(const uint8_t *s, const uint8_t *p)
{
    if (p == s) {
        return 1;
    }

    if (astro_pan_word(p[-1]) || p[-1] == '+') {
        return 0;
    }

    return p[-1] != '.' || p - s < 2 || !astro_pan_digit(p[-2]);
}


static int
astro_pan_word(uint8_t c)
{
    uint8_t  letter;

    letter = (uint8_t) (c | 0x20);

    return astro_pan_digit(c) || (letter >= 'a' && letter <= 'z') || c == '_';
}


static int
astro_pan_luhn(const uint8_t *digits, size_t n)
{
    size_t    i;
    unsigned  sum, d;

    sum = 0;

    for (i = 0; i < n; i++) {
        d = digits[n - 1 - i];

        if (i % 2) {
            d *= 2;
            d -= (d > 9) ? 9 : 0;
        }

        sum += d;
    }

    return sum % 10 == 0;
}


int
astro_pan_json(const uint8_t *text, size_t len, uint8_t *buf)
{
    uint8_t        *to;
    const uint8_t  *p, *last;

    if (memchr(text, '\\', len) == NULL) {
        return astro_pan_find(text, len) != NULL;
    }

    to = buf;
    p = text;
    last = text + len;

    while (p < last) {

        if (*p == '\\' && last - p > 1) {
            p += astro_pan_escape(p, last, &to);

        } else {
            *to++ = *p++;
        }
    }

    return astro_pan_find(buf, (size_t) (to - buf)) != NULL;
}


/* How long it is.  What is neither ASCII nor a no-break blank is a "?". */

static size_t
astro_pan_escape(const uint8_t *p, const uint8_t *last, uint8_t **to)
{
    size_t    i;
    uint8_t   c;
    unsigned  n;

    if (p[1] != 'u' || last - p < 6) {
        *(*to)++ = (uint8_t) (p[1] == 'n' || p[1] == 't' || p[1] == 'r'
                              || p[1] == 'b' || p[1] == 'f' ? '\n' : p[1]);
        return 2;
    }

    n = 0;

    for (i = 2; i < 6; i++) {
        c = (uint8_t) (p[i] | 0x20);
        n = n << 4 | (unsigned) (astro_pan_digit(p[i]) ? p[i] - '0'
                                                       : c - 'a' + 10);
    }

    if (n == 0xa0) {
        *(*to)++ = 0xc2;
        *(*to)++ = 0xa0;

    } else {
        *(*to)++ = (uint8_t) (n < 0x80 ? n : '?');
    }

    return 6;
}
