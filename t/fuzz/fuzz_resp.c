
/*
 * Copyright (C) The Astro authors
 *
 * Redis' replies.  However they arrive, the same ones are found, and one that
 * is found lies within what arrived.
 */

#include "fuzz.h"

#include "astro_resp.h"


static void
within(const astro_resp_value_t *v, const uint8_t *from, const uint8_t *to)
{
    if (v->kind == ASTRO_RESP_STATUS || v->kind == ASTRO_RESP_REFUSAL
        || v->kind == ASTRO_RESP_BULK)
    {
        must(v->data >= from && v->data + v->len <= to);
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t            i;
    size_t             n, need, at, end;
    uint8_t           *all, *part, *pos;
    astro_resp_t       reply, early;
    astro_resp_rc_e    rc, was;

    if (size > 512) {
        return 0;
    }

    all = copy_of(data, size);

    for (at = 0; at < size; at = end) {
        memset(&reply, 0, sizeof(reply));
        pos = all + at;
        need = 0;
        rc = astro_resp_read(&pos, all + size, &reply, &need);
        end = (size_t) (pos - all);

        if (rc == ASTRO_RESP_MORE) {
            must(end == at && need > size - at);
            break;
        }

        if (rc == ASTRO_RESP_ERROR) {
            break;
        }

        must(end > at && end <= size);
        within(&reply.value, all + at, pos);

        if (reply.value.kind == ASTRO_RESP_ARRAY) {
            must(reply.value.n >= 0 && reply.value.n <= ASTRO_RESP_MAX);

            for (i = 0; i < reply.value.n; i++) {
                within(&reply.element[i], all + at, pos);
            }
        }

        /* with any octet less it is not there yet */

        for (n = 0; n < end - at; n++) {
            part = copy_of(all + at, n);
            pos = part;
            was = astro_resp_read(&pos, part + n, &early, &need);
            must(was == ASTRO_RESP_MORE && pos == part);
            must(need > n && need <= end - at);
            free(part);
        }
    }

    free(all);

    return 0;
}
