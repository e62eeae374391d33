
/*
 * Copyright (C) The Astro authors
 *
 * What is a traceparent and what is a request id, and that nothing else is.
 */

#include "unit.h"

#include "astro_trace.h"


#define ID    "4bf92f3577b34da6a3ce929d0e0e4736"
#define SPAN  "00f067aa0ba902b7"
#define GOOD  "00-" ID "-" SPAN "-01"


START_TEST(parents)
{
    int            ok;
    size_t         i;
    astro_trace_t  t;

    static const struct {
        const char  *s;
        int          ok;
    } cases[] = {
        { GOOD, 1 },
        { "00-" ID "-" SPAN "-00", 1 },
        { "00-" ID "-" SPAN "-ff", 1 },
        { "cc-" ID "-" SPAN "-01", 1 },
        { "01-" ID "-" SPAN "-01-what-comes", 1 },
        { "01-" ID "-" SPAN "-01-", 1 },

        { "", 0 },
        { "00", 0 },
        { "ff-" ID "-" SPAN "-01", 0 },
        { "0F-" ID "-" SPAN "-01", 0 },
        { "00-" ID "-" SPAN "-01-", 0 },
        { "00-" ID "-" SPAN "-01-more", 0 },
        { "01-" ID "-" SPAN "-01more", 0 },
        { "00-" ID "-" SPAN "-0", 0 },
        { "00-" ID "-" SPAN "-0g", 0 },
        { "00-" ID "-" SPAN "-0A", 0 },
        { "00-4BF92F3577B34DA6A3CE929D0E0E4736-" SPAN "-01", 0 },
        { "00-00000000000000000000000000000000-" SPAN "-01", 0 },
        { "00-" ID "-0000000000000000-01", 0 },
        { "00_" ID "-" SPAN "-01", 0 },
        { "00-" ID "_" SPAN "-01", 0 },
        { "00-" ID "-" SPAN "_01", 0 },
        { " " GOOD, 0 },
        { GOOD " ", 0 },
        { "00-" ID "-" SPAN "-01,00-" ID "-" SPAN "-01", 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ok = astro_trace_parse(&t, (const uint8_t *) cases[i].s,
                               strlen(cases[i].s)) == 0;

        ck_assert_msg(ok == cases[i].ok, "\"%s\" gives %d", cases[i].s, ok);
    }
}
END_TEST


START_TEST(there_and_back)
{
    char           buf[ASTRO_TRACEPARENT_LEN + 1];
    astro_trace_t  t;

    ck_assert_int_eq(astro_trace_parse(&t, (const uint8_t *) GOOD,
                                       strlen(GOOD)), 0);
    *astro_trace_write(buf, &t) = '\0';
    ck_assert_str_eq(buf, GOOD);

    /* flags that nobody knows end here; a later version becomes ours */

    ck_assert_int_eq(astro_trace_parse(&t, (const uint8_t *)
                                       "7e-" ID "-" SPAN "-fe-x", 57), 0);
    *astro_trace_write(buf, &t) = '\0';
    ck_assert_str_eq(buf, "00-" ID "-" SPAN "-00");
}
END_TEST


START_TEST(request_ids)
{
    char    s[70];
    size_t  i;

    static const char *const  bad[] = {
        "", " ", "a b", "a\n", "a\"", "{}", "a/b", "\xc3\xa9", "a,b", "a\x7f"
    };

    ck_assert_int_eq(astro_request_id_ok((const uint8_t *) "A-z_0.9", 7), 1);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_int_eq(astro_request_id_ok((const uint8_t *) bad[i],
                                             strlen(bad[i])), 0);
    }

    memset(s, 'a', sizeof(s));
    ck_assert_int_eq(astro_request_id_ok((uint8_t *) s, 64), 1);
    ck_assert_int_eq(astro_request_id_ok((uint8_t *) s, 65), 0);

    /* the length counts, not a zero octet */

    ck_assert_int_eq(astro_request_id_ok((const uint8_t *) "a\0b", 3), 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("trace");

    unit_add(s, "parents", parents);
    unit_add(s, "there_and_back", there_and_back);
    unit_add(s, "request_ids", request_ids);

    return unit_main(s);
}
