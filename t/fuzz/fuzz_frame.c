
/*
 * Copyright (C) The Astro authors
 *
 * The reader of frames.  Input: how many cuts, the cuts, a stream.
 */

#include "frames.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t          n;
    heard_t         whole, pieces;
    const uint8_t  *cuts;

    n = take(&data, &size) & 7;
    n = n < size ? n : size;
    cuts = data;
    data += n;
    size -= n;

    whole = hear(NULL, data, size, size, NULL, 0);

    pieces = hear(NULL, data, size, 1, NULL, 0);
    same(&whole, &pieces);

    pieces = hear(NULL, data, size, 0, cuts, n);
    same(&whole, &pieces);

    return 0;
}
