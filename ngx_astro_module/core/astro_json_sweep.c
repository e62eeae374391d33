
/*
 * Copyright (C) The Astro authors
 *
 * What has to be found in a JSON text without yajl, by sweeps that cost next
 * to nothing:
 *
 *     UTF-8                  yajl takes overlong forms and surrogates
 *     vertical tab and       to yajl they are white space, and nowhere in JSON
 *     form feed              may they stand as they are
 *     \u0000 and lone         PostgreSQL can store neither
 *     surrogate escapes
 *
 * The sweep for escapes needs no notion of strings: a backslash outside one is
 * refused anyway, and within one they come in pairs from the left.
 */


#include <string.h>

#include "astro_json_private.h"
#include "astro_utf8.h"


static const char *astro_json_sweep_escapes(const uint8_t *text, size_t len,
    size_t *offset);
static int astro_json_hex4(const uint8_t *s, const uint8_t *last);


const char *
astro_json_sweep(const uint8_t *text, size_t len, size_t *offset)
{
    const uint8_t  *bad;

    *offset = 0;

    if (len == 0) {
        return "empty JSON text";
    }

    if (astro_utf8_feed(ASTRO_UTF8_ACCEPT, text, len) != ASTRO_UTF8_ACCEPT) {
        return "JSON text is not UTF-8";
    }

    bad = memchr(text, '\v', len);

    if (bad == NULL) {
        bad = memchr(text, '\f', len);
    }

    if (bad) {
        *offset = (size_t) (bad - text);
        return "control character in JSON text";
    }

    return astro_json_sweep_escapes(text, len, offset);
}


static const char *
astro_json_sweep_escapes(const uint8_t *text, size_t len, size_t *offset)
{
    int             unit, low;
    const uint8_t  *s, *last;

    s = text;
    last = text + len;

    for ( ;; ) {

        s = memchr(s, '\\', (size_t) (last - s));

        if (s == NULL || last - s < 2) {
            return NULL;
        }

        if (s[1] != 'u') {
            s += 2;
            continue;
        }

        unit = astro_json_hex4(s + 2, last);

        if (unit < 0) {
            /* malformed: yajl will say so */
            s += 2;
            continue;
        }

        if (unit == 0) {
            *offset = (size_t) (s - text);
            return "\\u0000 in JSON text";
        }

        if (unit < 0xd800 || unit > 0xdfff) {
            s += 6;
            continue;
        }

        low = -1;

        if (last - s >= 12 && s[6] == '\\' && s[7] == 'u') {
            low = astro_json_hex4(s + 8, last);
        }

        if (unit >= 0xdc00 || low < 0xdc00 || low > 0xdfff) {
            *offset = (size_t) (s - text);
            return "lone surrogate in JSON text";
        }

        s += 12;
    }
}


static int
astro_json_hex4(const uint8_t *s, const uint8_t *last)
{
    int      i, n;
    uint8_t  c;

    if (last - s < 4) {
        return -1;
    }

    n = 0;

    for (i = 0; i < 4; i++) {
        c = s[i];

        if (c >= '0' && c <= '9') {
            n = n * 16 + (c - '0');
            continue;
        }

        c |= 0x20;

        if (c < 'a' || c > 'f') {
            return -1;
        }

        n = n * 16 + (c - 'a') + 10;
    }

    return n;
}
