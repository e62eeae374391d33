
/*
 * Copyright (C) The Astro authors
 *
 * UTF-8 against a table of all there is: every code point that may be encoded
 * is, by arithmetic, and what starts one of these 1,112,064 sequences is a
 * valid prefix.  Nothing else is.
 */

#include "unit.h"

#include "astro_utf8.h"


#define OCTETS  24      /* around every bound that matters */


static const uint8_t  octets[OCTETS] = {
    0x00, 0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2,
    0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee, 0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5
};

/* prefixes of 1, 2 and 3 octets within a character, as bits */

static uint8_t  prefix1[1 << 5];
static uint8_t  prefix2[1 << 13];
static uint8_t  prefix3[1 << 21];

/* whole characters of 2, 3 octets; those of 4 by their first three */

static uint8_t  whole2[1 << 13];
static uint8_t  whole3[1 << 21];


#define bit_set(map, n)  ((map)[(n) >> 3] |= (uint8_t) (1 << ((n) & 7)))
#define bit_get(map, n)  ((map)[(n) >> 3] >> ((n) & 7) & 1)


static size_t
encode(uint32_t c, uint8_t *s)
{
    if (c < 0x80) {
        s[0] = (uint8_t) c;
        return 1;
    }

    if (c < 0x800) {
        s[0] = (uint8_t) (0xc0 + c / 64);
        s[1] = (uint8_t) (0x80 + c % 64);
        return 2;
    }

    if (c < 0x10000) {
        s[0] = (uint8_t) (0xe0 + c / 4096);
        s[1] = (uint8_t) (0x80 + c / 64 % 64);
        s[2] = (uint8_t) (0x80 + c % 64);
        return 3;
    }

    s[0] = (uint8_t) (0xf0 + c / 262144);
    s[1] = (uint8_t) (0x80 + c / 4096 % 64);
    s[2] = (uint8_t) (0x80 + c / 64 % 64);
    s[3] = (uint8_t) (0x80 + c % 64);

    return 4;
}


static void
tables(void)
{
    size_t    n;
    uint8_t   s[4];
    uint32_t  c, two, three;

    memset(s, 0, sizeof(s));

    for (c = 0x80; c <= 0x10ffff; c++) {

        if (c >= 0xd800 && c <= 0xdfff) {
            continue;
        }

        n = encode(c, s);
        two = (uint32_t) s[0] << 8 | s[1];
        three = two << 8 | s[2];

        bit_set(prefix1, s[0]);

        if (n == 2) {
            bit_set(whole2, two);
            continue;
        }

        bit_set(prefix2, two);

        if (n == 3) {
            bit_set(whole3, three);
            continue;
        }

        bit_set(prefix3, three);
    }
}


/* 0: between characters; 1..3: octets of one that has started; -1: no way */

static int
slow(const uint8_t *s, size_t n)
{
    int       have;
    size_t    i;
    uint32_t  seq;

    have = 0;
    seq = 0;

    for (i = 0; i < n; i++) {
        seq = seq << 8 | s[i];
        have++;

        if (have == 1 && s[i] < 0x80) {
            have = 0;

        } else if (have == 1 && bit_get(prefix1, s[i])) {
            continue;

        } else if (have == 2 && bit_get(whole2, seq)) {
            have = 0;

        } else if (have == 2 && bit_get(prefix2, seq)) {
            continue;

        } else if (have == 3 && bit_get(whole3, seq)) {
            have = 0;

        } else if (have == 3 && bit_get(prefix3, seq)) {
            continue;

        } else if (have == 4 && s[i] >= 0x80 && s[i] <= 0xbf) {
            have = 0;

        } else {
            return -1;
        }

        seq = 0;
    }

    return have;
}


static int
agrees(uint32_t state, int have)
{
    if (have < 0) {
        return state == ASTRO_UTF8_REJECT;
    }

    if (have == 0) {
        return state == ASTRO_UTF8_ACCEPT;
    }

    return state != ASTRO_UTF8_ACCEPT && state != ASTRO_UTF8_REJECT;
}


/* whole, and cut at every octet: the same verdict as early */

static void
compare(const uint8_t *s, size_t n)
{
    size_t    cut;
    uint32_t  state;

    must(agrees(astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, n), slow(s, n)));

    for (cut = 0; cut <= n; cut++) {
        state = astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, cut);

        must(agrees(state, slow(s, cut)));
        must(agrees(astro_utf8_feed(state, s + cut, n - cut), slow(s, n)));
    }
}


START_TEST(all_characters)
{
    size_t    n;
    uint8_t   s[4];
    uint32_t  c;

    for (c = 0; c <= 0x10ffff; c++) {
        n = encode(c, s);

        must((astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, n) == ASTRO_UTF8_ACCEPT)
             == (c < 0xd800 || c > 0xdfff));
    }
}
END_TEST


START_TEST(all_of_three)
{
    uint8_t   s[3];
    uint32_t  i;

    for (i = 0; i < 1 << 24; i++) {
        s[0] = (uint8_t) (i >> 16);
        s[1] = (uint8_t) (i >> 8);
        s[2] = (uint8_t) i;

        must(agrees(astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, 3), slow(s, 3)));
    }
}
END_TEST


START_TEST(bounds_of_four)
{
    int      a, b, c, d;
    uint8_t  s[4];

    for (a = 0; a < OCTETS; a++) {
        for (b = 0; b < OCTETS; b++) {
            for (c = 0; c < OCTETS; c++) {
                for (d = 0; d < OCTETS; d++) {
                    s[0] = octets[a];
                    s[1] = octets[b];
                    s[2] = octets[c];
                    s[3] = octets[d];

                    compare(s, 4);
                }
            }
        }
    }
}
END_TEST


/* runs of ASCII, of Devanagari, of anything, with a rare wrong octet */

START_TEST(texts)
{
    int      i;
    size_t   n, end;
    uint8_t  s[160];

    for (i = 0; i < (int) (20000 * unit_effort); i++) {
        n = 0;
        end = unit_below(120);

        while (n < end) {

            switch (unit_below(5)) {

            case 0:
                n += encode(0x900 + (uint32_t) unit_below(128), s + n);
                break;

            case 1:
                n += encode((uint32_t) unit_below(0xd800), s + n);
                break;

            case 2:
                n += encode(0x10000 + (uint32_t) unit_below(0x100000), s + n);
                break;

            default:
                do {
                    s[n++] = (uint8_t) (' ' + unit_below(90));
                } while (n < end && unit_below(12));
            }
        }

        must(slow(s, n) == 0);
        must(astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, n) == ASTRO_UTF8_ACCEPT);

        if (n && unit_below(2)) {
            s[unit_below(n)] = octets[unit_below(OCTETS)];
        }

        compare(s, n);
    }
}
END_TEST


START_TEST(rejected_for_good)
{
    ck_assert_uint_eq(astro_utf8_feed(ASTRO_UTF8_REJECT,
                                      (const uint8_t *) "abc", 3),
                      ASTRO_UTF8_REJECT);
    ck_assert_uint_eq(astro_utf8_feed(ASTRO_UTF8_REJECT,
                                      (const uint8_t *) "", 0),
                      ASTRO_UTF8_REJECT);
    ck_assert_uint_eq(astro_utf8_feed(ASTRO_UTF8_ACCEPT,
                                      (const uint8_t *) "", 0),
                      ASTRO_UTF8_ACCEPT);
}
END_TEST


int
main(void)
{
    Suite  *s;

    tables();

    s = suite_create("utf8");

    unit_add(s, "all_characters", all_characters);
    unit_add(s, "all_of_three", all_of_three);
    unit_add(s, "bounds_of_four", bounds_of_four);
    unit_add(s, "texts", texts);
    unit_add(s, "rejected_for_good", rejected_for_good);

    return unit_main(s);
}
