
/*
 * Copyright (C) The Astro authors
 *
 * Records between nodes: what decodes encodes to the same octets.
 */

#include "fuzz.h"

#include "astro_record.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t         *p, head[ASTRO_RECORD_HEAD];
    astro_record_t   r;

    p = copy_of(data, size);

    if (astro_record_decode(p, size, &r) == 0) {
        must(size >= ASTRO_RECORD_HEAD);
        must(r.kind < ASTRO_RECORD_MAX);
        must(r.len <= size - ASTRO_RECORD_HEAD);
        must(r.text >= p && r.text + r.len <= p + size);

        astro_record_head(head, &r);
        must(memcmp(head, p, 60) == 0);
    }

    free(p);

    return 0;
}
