
/*
 * Copyright (C) The Astro authors
 *
 * A member given twice, in whatever object of a text that was parsed.  Who
 * reads the first and who reads the last of the two would read two texts.
 *
 * Keys of the objects that are open lie on a stack, as hashes of what the keys
 * stand for ("\u0061" is "a").  64 bits: two other keys of one object that
 * share them are refused, too, and whoever made them up knows why.
 */


#include <string.h>

#include "astro_json_private.h"


#define ASTRO_JSON_KEYS_OPEN  1024      /* in all objects that are open */
#define ASTRO_JSON_FNV        1099511628211ULL
#define ASTRO_JSON_FNV_START  14695981039346656037ULL


static const uint8_t *astro_json_hash(const uint8_t *s, uint64_t *hash);


const char *
astro_json_unique(const uint8_t *text, size_t len)
{
    size_t          i, n, depth;
    uint64_t        hash;
    uint64_t        keys[ASTRO_JSON_KEYS_OPEN];
    const uint8_t  *s, *last, *end;
    size_t          start[ASTRO_JSON_MAX_DEPTH + 1];

    memset(start, 0, sizeof(start));

    n = 0;
    depth = 0;
    s = text;
    last = text + len;

    while (s < last) {

        switch (*s) {

        case '{':
        case '[':
            if (depth == ASTRO_JSON_MAX_DEPTH) {
                return "JSON text is nested too deeply";
            }

            start[++depth] = n;
            s++;
            continue;

        case '}':
        case ']':
            n = start[depth--];
            s++;
            continue;

        case '"':
            break;

        default:
            s++;
            continue;
        }

        end = astro_json_hash(s + 1, &hash);

        while (end < last && (*end == ' ' || *end == '\n' || *end == '\r'
                              || *end == '\t'))
        {
            end++;
        }

        s = end;

        if (s == last || *s != ':') {
            /* a value */
            continue;
        }

        for (i = start[depth]; i < n; i++) {
            if (keys[i] == hash) {
                return "a member is given twice";
            }
        }

        if (n == ASTRO_JSON_KEYS_OPEN) {
            return "too many members in a JSON object";
        }

        keys[n++] = hash;
    }

    return NULL;
}


/* From behind the opening quote to behind the closing one. */

static const uint8_t *
astro_json_hash(const uint8_t *s, uint64_t *hash)
{
    size_t    i, n;
    uint8_t   out[4];
    uint64_t  h;

    h = ASTRO_JSON_FNV_START;

    while (*s != '"') {
        s = astro_json_unescape(s, out, &n);

        for (i = 0; i < n; i++) {
            h = (h ^ out[i]) * ASTRO_JSON_FNV;
        }
    }

    *hash = h;

    return s + 1;
}
