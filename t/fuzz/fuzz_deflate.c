
/*
 * Copyright (C) The Astro authors
 *
 * Messages through our compressor and our reader.  Input: windows and context
 * takeover, then messages, each of a length, a limit for its compressed form
 * and its octets.
 */

#include "fuzz.h"

#include "astro_frame.h"


#define MAX_MESSAGE  4096


/* What a client would send, with a mask of zeros. */

static void
arrives(astro_ws_reader_t *r, const uint8_t *payload, size_t len,
    const uint8_t *expected, size_t n)
{
    size_t             head;
    uint8_t           *stream, *pos;
    astro_ws_event_t   event;

    stream = malloc(len + ASTRO_WS_MAX_HEADER + 4);
    must(stream);

    head = astro_ws_header(stream, ASTRO_WS_BINARY|ASTRO_WS_RSV1, len);
    stream[1] |= 0x80;
    memset(stream + head, 0, 4);
    memcpy(stream + head + 4, payload, len);

    pos = stream;

    must(astro_ws_read(r, &pos, stream + head + 4 + len, &event)
         == ASTRO_WS_EVENT);
    must(event.opcode == ASTRO_WS_BINARY);
    must(event.deflated_len == len);
    must(event.len == n && (n == 0 || memcmp(event.data, expected, n) == 0));
    must(astro_ws_read(r, &pos, pos, &event) == ASTRO_WS_MORE);

    free(stream);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                  n, limit, len;
    uint8_t                *text, *out;
    unsigned                flags, split;
    struct iovec            part[2];
    astro_ws_ext_t          agreed;
    astro_deflate_t        *d;
    astro_ws_reader_t       r;
    astro_deflate_pool_t   *pool;

    flags = take(&data, &size);

    /* both directions at once: what we send is what we read */

    memset(&agreed, 0, sizeof(agreed));

    agreed.on = 1;
    agreed.server_bits = (uint8_t) (9 + (flags & 7) % 7);
    agreed.client_bits = agreed.server_bits;
    agreed.server_takeover = flags >> 3 & 1;
    agreed.client_takeover = agreed.server_takeover;

    pool = astro_deflate_pool_create(1 << 20, 1 + (int) (flags >> 4) % 9);
    must(pool);
    d = astro_deflate_create(pool, &agreed);
    must(d);

    astro_ws_reader_init(&r, MAX_MESSAGE);
    r.deflate = d;

    while (size) {
        n = take(&data, &size);
        n |= (size_t) (take(&data, &size) & 0x0f) << 8;
        limit = take(&data, &size);
        split = take(&data, &size);

        n = n < size ? n : size;
        limit = limit & 1 ? n + ASTRO_DEFLATE_SLACK : limit;

        text = copy_of(data, n);
        out = malloc(limit ? limit : 1);
        must(out);

        part[0].iov_base = text;
        part[0].iov_len = n ? split % n : 0;
        part[1].iov_base = text + part[0].iov_len;
        part[1].iov_len = n - part[0].iov_len;

        len = astro_deflate_message(d, part, 2, out, limit);
        must(len <= limit);

        if (len) {
            arrives(&r, out, len, text, n);

        } else {
            must(limit < n + ASTRO_DEFLATE_SLACK);
        }

        free(out);
        free(text);

        data += n;
        size -= n;
    }

    astro_ws_reader_free(&r);
    astro_deflate_destroy(d);
    astro_deflate_pool_destroy(pool);

    return 0;
}
