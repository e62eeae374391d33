
/*
 * Copyright (C) The Astro authors
 *
 * Ticks of billing workers: a line that is read is written the same again, and
 * every octet belongs to one line.
 */

#include "fuzz.h"

#include "astro_id.h"
#include "astro_tick.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t        *p, again[ASTRO_TICK_LINE];
    astro_tick_t    t;
    const uint8_t  *pos, *from, *last;

    p = copy_of(data, size);
    last = p + size;

    for (pos = p; pos < last; /* void */ ) {
        from = pos;

        if (astro_tick_read(&pos, last, &t)) {
            must(t.session > 0 && t.client > 0 && t.advisor > 0);
            must((uint64_t) t.client <= ASTRO_ID_TOP && t.ver >= 0);
            must(t.paid_until_ms >= 0 && t.left_s >= 0 && t.balance >= 0);
            must(astro_tick_write(again, &t) == again + (pos - from));
            must(memcmp(again, from, (size_t) (pos - from)) == 0);
        }

        must(pos > from && pos <= last);
        must(pos == last || pos[-1] == '\n');
    }

    free(p);

    return 0;
}
