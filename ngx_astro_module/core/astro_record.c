
/*
 * Copyright (C) The Astro authors
 *
 * The layout is in the header.
 */


#include "astro_record.h"


#define ASTRO_RECORD_MAGIC  0x72747361u     /* "astr" */
#define ASTRO_RECORD_TOP    ((1ULL << 56) - 1)


static void astro_record_put(uint8_t *p, uint64_t n, int octets);
static uint64_t astro_record_get(const uint8_t *p, int octets);


void
astro_record_head(uint8_t *p, const astro_record_t *r)
{
    astro_record_put(p, ASTRO_RECORD_MAGIC, 4);
    astro_record_put(p + 4, ASTRO_RECORD_VERSION, 1);
    astro_record_put(p + 5, r->kind, 1);
    astro_record_put(p + 6, r->flags, 2);
    astro_record_put(p + 8, r->node, 8);
    astro_record_put(p + 16, r->user, 8);
    astro_record_put(p + 24, r->session, 8);
    astro_record_put(p + 32, r->conv, 8);
    astro_record_put(p + 40, (uint64_t) r->seq, 8);
    astro_record_put(p + 48, r->arg, 8);
    astro_record_put(p + 56, r->len, 4);
    astro_record_put(p + 60, 0, 4);
}


int
astro_record_decode(const uint8_t *p, size_t len, astro_record_t *r)
{
    if (len < ASTRO_RECORD_HEAD
        || astro_record_get(p, 4) != ASTRO_RECORD_MAGIC
        || p[4] != ASTRO_RECORD_VERSION
        || p[5] >= ASTRO_RECORD_MAX
        || astro_record_get(p + 56, 8) != len - ASTRO_RECORD_HEAD)
    {
        return -1;
    }

    r->kind = p[5];
    r->flags = (uint32_t) astro_record_get(p + 6, 2);
    r->node = astro_record_get(p + 8, 8);
    r->user = astro_record_get(p + 16, 8);
    r->session = astro_record_get(p + 24, 8);
    r->conv = astro_record_get(p + 32, 8);
    r->seq = (int64_t) astro_record_get(p + 40, 8);
    r->arg = astro_record_get(p + 48, 8);
    r->text = p + ASTRO_RECORD_HEAD;
    r->len = len - ASTRO_RECORD_HEAD;

    if (r->node == 0 || r->user > ASTRO_RECORD_TOP || r->seq < 0
        || r->flags > ASTRO_RECORD_DURABLE)
    {
        return -1;
    }

    /* a list of users has no crumbs */

    return r->kind == ASTRO_RECORD_HERE && r->len % 8 ? -1 : 0;
}


uint64_t
astro_record_u64(const uint8_t *p)
{
    return astro_record_get(p, 8);
}


void
astro_record_put_u64(uint8_t *p, uint64_t n)
{
    astro_record_put(p, n, 8);
}


static void
astro_record_put(uint8_t *p, uint64_t n, int octets)
{
    int  i;

    for (i = 0; i < octets; i++) {
        p[i] = (uint8_t) (n >> (8 * i));
    }
}


static uint64_t
astro_record_get(const uint8_t *p, int octets)
{
    int       i;
    uint64_t  n;

    n = 0;

    for (i = 0; i < octets; i++) {
        n |= (uint64_t) p[i] << (8 * i);
    }

    return n;
}
