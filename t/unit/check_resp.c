
/*
 * Copyright (C) The Astro authors
 *
 * RESP2: each reply, whole, in pieces of every size, and what is none.
 */

#include "unit.h"

#include "astro_resp.h"


static astro_resp_rc_e
reading(const char *s, size_t len, astro_resp_t *r, size_t *used)
{
    size_t            need;
    uint8_t          *pos;
    astro_resp_rc_e   rc;
    static uint8_t    buf[4096];

    memcpy(buf, s, len);
    pos = buf;
    need = 0;
    rc = astro_resp_read(&pos, buf + len, r, &need);
    *used = (size_t) (pos - buf);

    if (rc == ASTRO_RESP_MORE) {
        must(*used == 0);
        must(need > len);
    }

    return rc;
}


START_TEST(whole)
{
    size_t        i, used;
    astro_resp_t  r;

    static const struct {
        const char         *s;
        astro_resp_kind_e   kind;
        int64_t             n;
        const char         *text;
    } cases[] = {
        { "+OK\r\n", ASTRO_RESP_STATUS, 0, "OK" },
        { "+\r\n", ASTRO_RESP_STATUS, 0, "" },
        { "-ERR no\r\n", ASTRO_RESP_REFUSAL, 0, "ERR no" },
        { ":0\r\n", ASTRO_RESP_INT, 0, NULL },
        { ":-12\r\n", ASTRO_RESP_INT, -12, NULL },
        { ":123456789012345678\r\n", ASTRO_RESP_INT, 123456789012345678,
          NULL },
        { "$3\r\na\r\n\r\n", ASTRO_RESP_BULK, 0, "a\r\n" },
        { "$0\r\n\r\n", ASTRO_RESP_BULK, 0, "" },
        { "$-1\r\n", ASTRO_RESP_NIL, 0, NULL },
        { "*-1\r\n", ASTRO_RESP_NIL, 0, NULL },
        { "*0\r\n", ASTRO_RESP_ARRAY, 0, NULL }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(reading(cases[i].s, strlen(cases[i].s), &r, &used)
                      == ASTRO_RESP_REPLY, "%s", cases[i].s);
        must(used == strlen(cases[i].s));
        must(r.value.kind == cases[i].kind);
        must(r.value.n == cases[i].n);

        if (cases[i].text) {
            must(r.value.len == strlen(cases[i].text));
            must(memcmp(r.value.data, cases[i].text, r.value.len) == 0);
        }
    }
}
END_TEST


START_TEST(bad)
{
    size_t        i, used;
    astro_resp_t  r;

    static const char *const cases[] = {
        "\r\n", "x\r\n", "OK\r\n", "+O\nK\r\n", "+O\rK\r\n", ":\r\n", ":-\r\n",
        ":1a\r\n", ":1234567890123456789\r\n", ": 1\r\n", "$-2\r\n", "$x\r\n",
        "$99999999999\r\n", "$2\r\nabc\r\n", "*5\r\n", "*-2\r\n",
        "*1\r\n*0\r\n", "*1\r\n*1\r\n:1\r\n"
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(reading(cases[i], strlen(cases[i]), &r, &used)
                      == ASTRO_RESP_ERROR, "%s", cases[i]);
        must(used == 0);
    }
}
END_TEST


/* a line that never ends is an error, and not a buffer that grows for ever */

START_TEST(endless)
{
    char          s[2048];
    size_t        used;
    astro_resp_t  r;

    memset(s, '+', sizeof(s));
    must(reading(s, 400, &r, &used) == ASTRO_RESP_MORE);
    must(reading(s, sizeof(s), &r, &used) == ASTRO_RESP_ERROR);
}
END_TEST


START_TEST(pieces)
{
    size_t        n, used, len;
    astro_resp_t  r;

    static const char  s[] = "*3\r\n$7\r\nmessage\r\n$9\r\nastro:u:7\r\n"
                             "$6\r\na\0\r\nbc\r\n+next";

    len = sizeof(s) - 1 - 5;

    for (n = 0; n < len; n++) {
        must(reading(s, n, &r, &used) == ASTRO_RESP_MORE);
    }

    must(reading(s, sizeof(s) - 1, &r, &used) == ASTRO_RESP_REPLY);
    must(used == len);
    must(r.value.kind == ASTRO_RESP_ARRAY && r.value.n == 3);
    must(r.element[1].len == 9);
    must(memcmp(r.element[1].data, "astro:u:7", 9) == 0);
    must(r.element[2].len == 6);
    must(memcmp(r.element[2].data, "a\0\r\nbc", 6) == 0);
}
END_TEST


/* need tells the whole size as soon as a bulk's length is there */

START_TEST(need)
{
    size_t        need;
    uint8_t      *pos;
    astro_resp_t  r;
    uint8_t       s[] = "*2\r\n$3\r\nabc\r\n$1000\r\nxy";

    pos = s;
    must(astro_resp_read(&pos, s + sizeof(s) - 1, &r, &need)
         == ASTRO_RESP_MORE);
    must(need == 20 + 1000 + 2);
}
END_TEST


START_TEST(noise)
{
    int           i, j, len;
    char          s[64];
    size_t        used;
    astro_resp_t  r;

    static const char  alphabet[] = "+-:$*0123456789\r\nab\r\n\r\n";

    for (i = 0; i < (int) (200000 * unit_effort); i++) {
        len = (int) (unit_random() % sizeof(s));

        for (j = 0; j < len; j++) {
            s[j] = alphabet[unit_random() % (sizeof(alphabet) - 1)];
        }

        (void) reading(s, (size_t) len, &r, &used);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("resp");

    unit_add(s, "whole", whole);
    unit_add(s, "bad", bad);
    unit_add(s, "endless", endless);
    unit_add(s, "pieces", pieces);
    unit_add(s, "need", need);
    unit_add(s, "noise", noise);

    return unit_main(s);
}
