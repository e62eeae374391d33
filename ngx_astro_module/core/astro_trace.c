
/*
 * Copyright (C) The Astro authors
 *
 * Strict, as the standard asks: small letters, no zero ids, no version ff.
 */

#include <string.h>

#include "astro_trace.h"


static int astro_trace_hex(const uint8_t *s, size_t len);
static int astro_trace_zero(const uint8_t *s, size_t len);


int
astro_trace_parse(astro_trace_t *t, const uint8_t *s, size_t len)
{
    if (len < ASTRO_TRACEPARENT_LEN || s[2] != '-' || s[35] != '-'
        || s[52] != '-')
    {
        return -1;
    }

    if (!astro_trace_hex(s, 2) || !astro_trace_hex(s + 3, 32)
        || !astro_trace_hex(s + 36, 16) || !astro_trace_hex(s + 53, 2)
        || astro_trace_zero(s + 3, 32) || astro_trace_zero(s + 36, 16))
    {
        return -1;
    }

    if (s[0] == 'f' && s[1] == 'f') {
        return -1;
    }

    if (len > ASTRO_TRACEPARENT_LEN
        && (astro_trace_zero(s, 2) || s[ASTRO_TRACEPARENT_LEN] != '-'))
    {
        return -1;
    }

    memcpy(t->id, s + 3, 32);
    memcpy(t->span, s + 36, 16);

    /* of the flags we know one, "sampled", and pass on no other */

    t->flags[0] = '0';
    t->flags[1] = strchr("13579bdf", s[54]) ? '1' : '0';

    return 0;
}


char *
astro_trace_write(char *p, const astro_trace_t *t)
{
    memcpy(p, "00-", 3);
    memcpy(p + 3, t->id, 32);
    p[35] = '-';
    memcpy(p + 36, t->span, 16);
    p[52] = '-';
    memcpy(p + 53, t->flags, 2);

    return p + ASTRO_TRACEPARENT_LEN;
}


int
astro_request_id_ok(const uint8_t *s, size_t len)
{
    size_t  i;

    if (len == 0 || len > ASTRO_REQUEST_ID_MAX) {
        return 0;
    }

    for (i = 0; i < len; i++) {
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'z')
              || (s[i] >= 'A' && s[i] <= 'Z') || s[i] == '-' || s[i] == '_'
              || s[i] == '.'))
        {
            return 0;
        }
    }

    return 1;
}


static int
astro_trace_hex(const uint8_t *s, size_t len)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        if (!((s[i] >= '0' && s[i] <= '9') || (s[i] >= 'a' && s[i] <= 'f'))) {
            return 0;
        }
    }

    return 1;
}


static int
astro_trace_zero(const uint8_t *s, size_t len)
{
    size_t  i;

    for (i = 0; i < len && s[i] == '0'; i++) { /* void */ }

    return i == len;
}
