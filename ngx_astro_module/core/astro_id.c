
/*
 * Copyright (C) The Astro authors
 *
 * Ids and UUIDs as they come from outside.
 */


#include "astro_id.h"


uint64_t
astro_id_parse(char kind, const uint8_t *s, size_t len)
{
    size_t    i;
    uint64_t  n;

    if (len < 3 || len > ASTRO_ID_MAX) {
        return 0;
    }

    if (s[0] != (uint8_t) kind || s[1] != '_' || s[2] == '0') {
        return 0;
    }

    n = 0;

    /* at most 17 digits: n cannot overflow */

    for (i = 2; i < len; i++) {

        if (s[i] < '0' || s[i] > '9') {
            return 0;
        }

        n = n * 10 + (s[i] - '0');
    }

    return (n <= ASTRO_ID_TOP) ? n : 0;
}


int
astro_uuid_ok(const uint8_t *s, size_t len)
{
    size_t   i;
    uint8_t  c;

    if (len != 36) {
        return 0;
    }

    for (i = 0; i < 36; i++) {

        if (i == 8 || i == 13 || i == 18 || i == 23) {

            if (s[i] != '-') {
                return 0;
            }

            continue;
        }

        c = (uint8_t) (s[i] | 0x20);

        if ((s[i] < '0' || s[i] > '9') && (c < 'a' || c > 'f')) {
            return 0;
        }
    }

    return 1;
}
