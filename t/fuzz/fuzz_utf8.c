
/*
 * Copyright (C) The Astro authors
 *
 * UTF-8 against a reader that decodes character by character, as RFC 3629 has
 * it, and must agree after every octet.  Input: a place to cut, octets.
 */

#include "fuzz.h"

#include "astro_utf8.h"


/*
 * 1: whole characters; 0: the last one may still become whole; -1: no
 * continuation could make it valid.
 */

static int
plainly(const uint8_t *s, size_t n)
{
    size_t    i, k, len;
    uint32_t  c, least, most;

    for (i = 0; i < n; i += len) {

        if (s[i] < 0x80) {
            len = 1;
            continue;
        }

        len = (s[i] & 0xe0) == 0xc0 ? 2 : (s[i] & 0xf0) == 0xe0 ? 3
              : (s[i] & 0xf8) == 0xf0 ? 4 : 0;

        if (len == 0) {
            return -1;
        }

        c = s[i] & (0xffU >> (len + 1));

        for (k = 1; k < len && i + k < n; k++) {

            if ((s[i + k] & 0xc0) != 0x80) {
                return -1;
            }

            c = c << 6 | (s[i + k] & 0x3f);
        }

        /* all characters that begin so: least .. most */

        least = c << 6 * (len - k);
        most = least | ((1U << 6 * (len - k)) - 1);

        if (most < (len == 2 ? 0x80U : len == 3 ? 0x800U : 0x10000U)
            || least > 0x10ffff || (least >= 0xd800 && most <= 0xdfff))
        {
            return -1;
        }

        if (k < len) {
            return 0;
        }
    }

    return 1;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int        is;
    size_t     i, cut;
    uint8_t   *s, *head, *tail;
    uint32_t   state;

    cut = take(&data, &size);

    if (size > 2048) {
        return 0;
    }

    s = copy_of(data, size);
    state = ASTRO_UTF8_ACCEPT;

    for (i = 0; i < size; i++) {
        state = astro_utf8_feed(state, s + i, 1);
        is = plainly(s, i + 1);

        must((state == ASTRO_UTF8_REJECT) == (is == -1));
        must((state == ASTRO_UTF8_ACCEPT) == (is == 1));

        if (is == -1) {
            break;
        }
    }

    cut = cut < size ? cut : size;

    head = copy_of(s, cut);
    tail = copy_of(s + cut, size - cut);

    must(astro_utf8_feed(astro_utf8_feed(ASTRO_UTF8_ACCEPT, head, cut), tail,
                         size - cut) == state);
    must(astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, size) == state);

    free(head);
    free(tail);
    free(s);

    return 0;
}
