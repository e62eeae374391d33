
/*
 * Copyright (C) The Astro authors
 *
 * Numbers of payment cards: found in whatever they stand, and nothing else is.
 */

#include "unit.h"

#include "astro_pan.h"


static int
found(const char *s)
{
    const uint8_t  *p;

    p = astro_pan_find((const uint8_t *) s, strlen(s));

    return p != NULL ? (int) (p - (const uint8_t *) s) : -1;
}


START_TEST(pans)
{
    size_t  i;

    static const struct {
        const char  *s;
        int          at;
    } cases[] = {
        { "4111111111111111", 0 },
        { "4111 1111 1111 1111", 0 },
        { "4111-1111-1111-1111", 0 },
        { "4111\xc2\xa0" "1111\xc2\xa0" "1111\xc2\xa0" "1111", 0 },
        { "my card is 5555555555554444, of 12/27 123", 11 },
        { "4111 1111 1111 1111 12 27 123", 0 },
        { "7 4111 1111 1111 1111", 2 },
        { "{\"n\":378282246310005}", 5 },
        { "3782 822463 10005.", 0 },
        { "6011111111111117", 0 },
        { "30569309025904", 0 },
        { "4222222222222", 0 },
        { "6304000000000000000", 0 },
        { "8171999927660000", 0 },
        { "(2223003122003222)", 1 },

        { "", -1 },
        { "4111111111111112", -1 },
        { "411111111111", -1 },
        { "41111111111111111111", -1 },
        { "4111  1111 1111 1111", -1 },
        { "4111,1111,1111,1111", -1 },
        { "4111 1111 1111 111", -1 },
        { "a4111111111111111", -1 },
        { "4111111111111111a", -1 },
        { "x_4111111111111111", -1 },
        { "pay_4111111111111111", -1 },
        { "+4111111111111111", -1 },
        { "0.4111111111111111", -1 },
        { "1763755200000", -1 },
        { "0000000000000000", -1 },
        { "8000000000000000", -1 },
        { "41111111-1111-1111-9111-111111111111", -1 },
        { "28.6139391,77.2090212", -1 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(found(cases[i].s) == cases[i].at, "\"%s\": %d",
                      cases[i].s, found(cases[i].s));
    }
}
END_TEST


/* Each digit changed makes it none; cut anywhere it is read no further. */

START_TEST(one_digit)
{
    char     s[17], *exact;
    size_t   i, n;

    for (i = 0; i < 16; i++) {
        for (n = 1; n < 10; n++) {
            memcpy(s, "4111111111111111", 17);
            s[i] = (char) ('0' + (s[i] - '0' + (int) n) % 10);
            ck_assert_int_eq(found(s), -1);
        }
    }

    for (n = 0; n <= 19; n++) {
        exact = malloc(n + 1);
        must(exact != NULL);
        memcpy(exact, "4111-1111 1111-1111", n);
        must((astro_pan_find((uint8_t *) exact, n) != NULL) == (n == 19));
        free(exact);
    }
}
END_TEST


START_TEST(escaped)
{
    size_t   i;
    uint8_t  buf[256];

    static const struct {
        const char  *s;
        int          found;
    } cases[] = {
        { "\"4111111111111111\"", 1 },
        { "\"a:\\n4111 1111 1111 1111\\tb\"", 1 },
        { "\"\\u0034111\\u00a01111\\u002d1111\\u00201111\"", 1 },
        { "[\"x\\\\\",4111111111111111]", 1 },
        { "\"4111\\n1111\\n1111\\n1111\"", 0 },
        { "\"\\u09344111111111111111\"", 1 },
        { "\"4111111111111112\\\\\"", 0 },
        { "\"\\", 0 },
        { "\"\\u00", 0 },
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(astro_pan_json((const uint8_t *) cases[i].s,
                                     strlen(cases[i].s), buf)
                      == cases[i].found, "%s", cases[i].s);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("pan");

    unit_add(s, "pans", pans);
    unit_add(s, "one_digit", one_digit);
    unit_add(s, "escaped", escaped);

    return unit_main(s);
}
