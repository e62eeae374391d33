
/*
 * Copyright (C) The Astro authors
 *
 * Records between nodes: what goes in comes out, octet by octet as the header
 * says, and nothing that lies is believed.
 */

#include "unit.h"

#include "astro_record.h"


#define TEXT  "{\"type\":\"x\"}"


static size_t
sample(uint8_t *p)
{
    astro_record_t  r;

    memset(&r, 0, sizeof(r));
    r.kind = ASTRO_RECORD_USER;
    r.flags = ASTRO_RECORD_DURABLE;
    r.node = 0x1122334455667788ULL;
    r.user = 7;
    r.session = 8;
    r.conv = 9;
    r.seq = INT64_MAX;
    r.arg = UINT64_MAX;
    r.len = sizeof(TEXT) - 1;

    astro_record_head(p, &r);
    memcpy(p + ASTRO_RECORD_HEAD, TEXT, r.len);

    return ASTRO_RECORD_HEAD + r.len;
}


START_TEST(layout)
{
    uint8_t  p[256];

    (void) sample(p);

    must(memcmp(p, "astr\1\0\1\0", 8) == 0);
    must(memcmp(p + 8, "\x88\x77\x66\x55\x44\x33\x22\x11", 8) == 0);
    must(memcmp(p + 16, "\7\0\0\0\0\0\0\0\x8\0\0\0\0\0\0\0\x9\0\0\0\0\0\0\0",
                24) == 0);
    must(memcmp(p + 40, "\xff\xff\xff\xff\xff\xff\xff\x7f", 8) == 0);
    must(memcmp(p + 56, "\xc\0\0\0\0\0\0\0", 8) == 0);
}
END_TEST


START_TEST(both_ways)
{
    size_t          len;
    uint8_t         p[256];
    astro_record_t  r;

    len = sample(p);

    must(astro_record_decode(p, len, &r) == 0);
    must(r.kind == ASTRO_RECORD_USER && r.flags == ASTRO_RECORD_DURABLE);
    must(r.node == 0x1122334455667788ULL);
    must(r.user == 7 && r.session == 8 && r.conv == 9);
    must(r.seq == INT64_MAX && r.arg == UINT64_MAX);
    must(r.len == sizeof(TEXT) - 1 && memcmp(r.text, TEXT, r.len) == 0);
}
END_TEST


START_TEST(lies)
{
    size_t          i, len;
    uint8_t         p[256];
    astro_record_t  r;

    static const struct {
        size_t   at;
        uint8_t  octet;
    } cases[] = {
        { 0, 'A' }, { 3, 'R' },                     /* not ours */
        { 4, 0 }, { 4, 2 },                         /* another version */
        { 5, ASTRO_RECORD_MAX }, { 5, 255 },        /* a kind to come */
        { 6, 2 }, { 7, 1 },                         /* a flag to come */
        { 23, 1 },                                  /* a user beyond ids */
        { 47, 255 },                                /* a negative seq */
        { 56, 11 }, { 56, 13 }, { 59, 1 }, { 60, 1 }    /* a length */
    };

    len = sample(p);

    for (i = 0; i < len; i++) {
        must(astro_record_decode(p, i, &r) == -1);
    }

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) sample(p);
        p[cases[i].at] = cases[i].octet;
        ck_assert_msg(astro_record_decode(p, len, &r) == -1, "octet %zu",
                      cases[i].at);
    }

    (void) sample(p);
    memset(p + 8, 0, 8);
    must(astro_record_decode(p, len, &r) == -1);    /* of nobody */

    (void) sample(p);
    p[5] = ASTRO_RECORD_HERE;                       /* a user and a half */
    must(astro_record_decode(p, len, &r) == -1);
}
END_TEST


START_TEST(numbers)
{
    uint8_t  p[8];

    astro_record_put_u64(p, 0x0102030405060708ULL);
    must(memcmp(p, "\x8\7\6\5\4\3\2\1", 8) == 0);
    must(astro_record_u64(p) == 0x0102030405060708ULL);
}
END_TEST


START_TEST(noise)
{
    int             i;
    size_t          len, at;
    uint8_t         p[256];
    astro_record_t  r;

    for (i = 0; i < (int) (200000 * unit_effort); i++) {
        len = sample(p);

        for (at = unit_random() % 4; at; at--) {
            p[unit_random() % len] = (uint8_t) unit_random();
        }

        if (astro_record_decode(p, len, &r) == 0) {
            must(r.len == len - ASTRO_RECORD_HEAD);
            must(r.kind < ASTRO_RECORD_MAX && r.node && r.seq >= 0);
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("record");

    unit_add(s, "layout", layout);
    unit_add(s, "both_ways", both_ways);
    unit_add(s, "lies", lies);
    unit_add(s, "numbers", numbers);
    unit_add(s, "noise", noise);

    return unit_main(s);
}
