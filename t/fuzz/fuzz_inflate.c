
/*
 * Copyright (C) The Astro authors
 *
 * Compressed messages from a hostile client.  Input: context takeover and
 * whether a stream is to be had, how many cuts, the cuts, a stream of frames.
 */

#include "frames.h"


static heard_t
hear_once(unsigned flags, const uint8_t *data, size_t size, size_t step,
    const uint8_t *cuts, size_t ncuts)
{
    size_t                  base;
    heard_t                 h;
    astro_ws_ext_t          agreed;
    astro_deflate_t        *d;
    astro_deflate_pool_t   *pool;

    memset(&agreed, 0, sizeof(agreed));

    agreed.on = 1;
    agreed.server_bits = 9;
    agreed.client_bits = 15;
    agreed.client_takeover = flags & 1;

    /* 64 KB: the one that is kept, and no other: messages wait for their end */

    pool = astro_deflate_pool_create((flags & 3) == 2 ? 64 << 10 : 1 << 20, 4);
    must(pool);
    base = astro_deflate_pool_used(pool);

    d = astro_deflate_create(pool, &agreed);
    must(d);

    h = hear(d, data, size, step, cuts, ncuts);

    astro_deflate_destroy(d);
    must(astro_deflate_pool_used(pool) <= base + (64 << 10));
    astro_deflate_pool_destroy(pool);

    return h;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          n;
    heard_t         whole, pieces;
    unsigned        flags;
    const uint8_t  *cuts;

    flags = take(&data, &size);
    n = flags >> 2 & 7;
    n = n < size ? n : size;
    cuts = data;
    data += n;
    size -= n;

    whole = hear_once(flags, data, size, size, NULL, 0);

    pieces = hear_once(flags, data, size, 1, NULL, 0);
    same(&whole, &pieces);

    pieces = hear_once(flags, data, size, 0, cuts, n);
    same(&whole, &pieces);

    return 0;
}
