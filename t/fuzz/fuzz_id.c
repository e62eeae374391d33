
/*
 * Copyright (C) The Astro authors
 *
 * Ids and UUIDs against the C library's own reading of numbers.
 */

#include "fuzz.h"

#include "astro_id.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char       text[64], again[64];
    uint8_t   *s;
    uint64_t   id;
    unsigned   dashes;
    size_t     i;

    s = copy_of(data, size);
    id = astro_id_parse('u', s, size);

    if (size < sizeof(text)) {
        memcpy(text, s, size);
        text[size] = '\0';

        /* an id is what its number prints as */

        (void) snprintf(again, sizeof(again), "u_%llu",
                        strlen(text) > 2 ? strtoull(text + 2, NULL, 10) : 0);

        if (strlen(text) == size && strcmp(text, again) == 0
            && strcmp(text, "u_0") != 0
            && strtoull(text + 2, NULL, 10) <= ASTRO_ID_TOP)
        {
            must(id == strtoull(text + 2, NULL, 10));

        } else {
            must(id == 0);
        }

    } else {
        must(id == 0);
    }

    if (astro_uuid_ok(s, size)) {
        must(size == 36);

        for (i = 0, dashes = 0; i < size; i++) {
            dashes += s[i] == '-';
        }

        must(dashes == 4);
    }

    free(s);

    return 0;
}
