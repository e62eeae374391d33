
/*
 * Copyright (C) The Astro authors
 *
 * Ids and UUIDs: what is one, and that nothing else is.
 */

#include "unit.h"

#include "astro_id.h"


static uint64_t
parse(char kind, const char *s)
{
    return astro_id_parse(kind, (const uint8_t *) s, strlen(s));
}


START_TEST(ids)
{
    size_t  i;

    static const struct {
        char        kind;
        const char  *s;
        uint64_t     n;
    } cases[] = {
        { 'u', "u_1", 1 },
        { 'u', "u_10", 10 },
        { 's', "s_1234567890", 1234567890 },
        { 'c', "c_72057594037927935", ASTRO_ID_TOP },

        { 'c', "c_72057594037927936", 0 },
        { 'c', "c_99999999999999999", 0 },
        { 'c', "c_720575940379279350", 0 },
        { 'u', "c_1", 0 },
        { 'u', "u_0", 0 },
        { 'u', "u_01", 0 },
        { 'u', "u_", 0 },
        { 'u', "u", 0 },
        { 'u', "", 0 },
        { 'u', "u-1", 0 },
        { 'u', "u_-1", 0 },
        { 'u', "u_+1", 0 },
        { 'u', "u_1 ", 0 },
        { 'u', " u_1", 0 },
        { 'u', "u_1a", 0 },
        { 'u', "u_:", 0 },
        { 'u', "u_/", 0 },
        { 'u', "U_1", 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(parse(cases[i].kind, cases[i].s) == cases[i].n,
                      "%s gives %" PRIu64, cases[i].s,
                      parse(cases[i].kind, cases[i].s));
    }

    /* the length counts, not a zero octet */

    ck_assert_uint_eq(astro_id_parse('u', (const uint8_t *) "u_123", 4), 12);
    ck_assert_uint_eq(astro_id_parse('u', (const uint8_t *) "u_1\0", 4), 0);
}
END_TEST


START_TEST(ids_round_trip)
{
    int       i;
    char      text[32];
    uint64_t  n;

    for (i = 0; i < 20000; i++) {
        n = (unit_random() >> (8 + unit_below(56)));

        if (n == 0) {
            continue;
        }

        (void) snprintf(text, sizeof(text), "s_%" PRIu64, n);

        must(strlen(text) <= ASTRO_ID_MAX);
        must(parse('s', text) == n);
        must(parse('u', text) == 0);
    }
}
END_TEST


/* every octet at every place: hex digits and hyphens where they belong */

START_TEST(uuids)
{
    int      i, c, hyphen, ok;
    uint8_t  s[37];

    memcpy(s, "0b54A6f2-3c1F-4c8e-9f37-1C2f4e5a6b7d", 37);

    ck_assert_int_eq(astro_uuid_ok(s, 36), 1);
    ck_assert_int_eq(astro_uuid_ok(s, 35), 0);
    ck_assert_int_eq(astro_uuid_ok(s, 37), 0);
    ck_assert_int_eq(astro_uuid_ok(s, 0), 0);

    for (i = 0; i < 36; i++) {
        hyphen = (i == 8 || i == 13 || i == 18 || i == 23);

        for (c = 0; c < 256; c++) {
            memcpy(s, "0b54a6f2-3c1f-4c8e-9f37-1c2f4e5a6b7d", 37);
            s[i] = (uint8_t) c;

            ok = hyphen ? c == '-'
                        : c && strchr("0123456789abcdefABCDEF", c) != NULL;

            must(astro_uuid_ok(s, 36) == ok);
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("id");

    unit_add(s, "ids", ids);
    unit_add(s, "ids_round_trip", ids_round_trip);
    unit_add(s, "uuids", uuids);

    return unit_main(s);
}
