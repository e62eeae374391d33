
/*
 * Copyright (C) The Astro authors
 *
 * See load_frame.h.
 */

#include <string.h>

#include "load_frame.h"


static void load_frame_mask(uint8_t *dst, const uint8_t *src, size_t len,
    uint32_t key);


size_t
load_frame_write(uint8_t *dst, unsigned op, const char *p, size_t len)
{
    int              i;
    size_t           head;
    static uint32_t  key = 0x9e3779b9;

    dst[0] = (uint8_t) (0x80 | op);

    if (len < 126) {
        dst[1] = (uint8_t) (0x80 | len);
        head = 2;

    } else if (len < 65536) {
        dst[1] = 0x80 | 126;
        dst[2] = (uint8_t) (len >> 8);
        dst[3] = (uint8_t) len;
        head = 4;

    } else {
        dst[1] = 0x80 | 127;

        for (i = 0; i < 8; i++) {
            dst[2 + i] = (uint8_t) ((uint64_t) len >> (56 - 8 * i));
        }

        head = 10;
    }

    /* a new key for each frame; xorshift never gives 0 */

    key ^= key << 13;
    key ^= key >> 17;
    key ^= key << 5;

    memcpy(dst + head, &key, 4);
    head += 4;

    load_frame_mask(dst + head, (const uint8_t *) p, len, key);

    return head + len;
}


int64_t
load_frame_read(const uint8_t *p, size_t len, load_frame_t *frame)
{
    size_t    head, i;
    uint64_t  payload;

    if (len < 2) {
        return 0;
    }

    if (p[1] & 0x80) {
        return -1;
    }

    payload = p[1];
    head = 2;

    if (payload >= 126) {
        head = (payload == 126) ? 4 : 10;
        payload = 0;

        if (len < head) {
            return 0;
        }

        for (i = 2; i < head; i++) {
            payload = payload << 8 | p[i];
        }
    }

    if (len - head < payload) {
        return 0;
    }

    frame->op = p[0] & 0xf;
    frame->data = (const char *) p + head;
    frame->len = (size_t) payload;

    return (int64_t) (head + payload);
}


static void
load_frame_mask(uint8_t *dst, const uint8_t *src, size_t len, uint32_t key)
{
    size_t    i;
    uint8_t   octet[4];
    uint64_t  wide, word;

    memcpy(octet, &key, 4);
    wide = (uint64_t) key << 32 | key;

    for (i = 0; i + 8 <= len; i += 8) {
        memcpy(&word, src + i, 8);
        word ^= wide;
        memcpy(dst + i, &word, 8);
    }

    for ( /* void */ ; i < len; i++) {
        dst[i] = src[i] ^ octet[i & 3];
    }
}
