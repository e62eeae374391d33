
/*
 * Copyright (C) The Astro authors
 *
 * Sec-WebSocket-Extensions, RFC 6455 section 9.1 and RFC 7692 section 7.1.
 */

#include "unit.h"

#include "astro_ws_ext.h"


#define PMD     "permessage-deflate"
#define S_NO    "; server_no_context_takeover"
#define C_NO    "; client_no_context_takeover"
#define S_BITS  "; server_max_window_bits="
#define C_BITS  "; client_max_window_bits="


static const astro_ws_ext_conf_t  plain = { 15, 0 };
static const astro_ws_ext_conf_t  small = { 12, 0 };
static const astro_ws_ext_conf_t  keeping = { 15, 1 };
static const astro_ws_ext_conf_t  keeping_small = { 10, 1 };


/* The answer to one line: "" none, NULL malformed. */

static const char *
answer(const astro_ws_ext_conf_t *conf, const char *line)
{
    size_t           n;
    uint8_t         *copy;
    astro_ws_ext_t   agreed;

    static char      text[ASTRO_WS_EXT_ANSWER + 1];

    /* in memory of exactly its size: a sanitizer sees one octet too many */

    n = strlen(line);
    copy = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, line, n);

    memset(&agreed, 0, sizeof(agreed));

    if (astro_ws_ext_offer(conf, copy, n, &agreed) != 0) {
        free(copy);
        return NULL;
    }

    free(copy);

    n = agreed.on ? astro_ws_ext_answer(&agreed, (uint8_t *) text) : 0;

    ck_assert_uint_lt(n, ASTRO_WS_EXT_ANSWER);
    text[n] = '\0';

    return text;
}


typedef struct {
    const astro_ws_ext_conf_t  *conf;
    const char                 *offer;
    const char                 *answer;
} agreed_t;

static const agreed_t  agreements[] = {

    /* 7.1.1: context takeover */
    { &plain, PMD, PMD S_NO C_NO },
    { &keeping, PMD, PMD },
    { &keeping, PMD S_NO, PMD S_NO },
    { &keeping, PMD C_NO, PMD C_NO },
    { &keeping, PMD C_NO S_NO, PMD S_NO C_NO },
    { &plain, PMD C_NO S_NO, PMD S_NO C_NO },

    /* 7.1.2.1: what we compress with is at most what was asked for */
    { &keeping, PMD S_BITS "15", PMD S_BITS "15" },
    { &keeping, PMD S_BITS "14", PMD S_BITS "14" },
    { &keeping, PMD S_BITS "9", PMD S_BITS "9" },
    { &keeping_small, PMD S_BITS "9", PMD S_BITS "9" },
    { &keeping_small, PMD S_BITS "11", PMD S_BITS "10" },
    { &small, PMD, PMD S_NO C_NO S_BITS "12" },

    /* 7.1.2.2: what the client uses is said only if it offered to be told */
    { &keeping, PMD "; client_max_window_bits", PMD },
    { &keeping, PMD C_BITS "15", PMD },
    { &keeping, PMD C_BITS "8", PMD C_BITS "8" },
    { &keeping, PMD C_BITS "13", PMD C_BITS "13" },
    { &keeping_small, PMD, PMD S_BITS "10" },
    { &keeping_small, PMD "; client_max_window_bits",
      PMD S_BITS "10" C_BITS "10" },
    { &keeping_small, PMD C_BITS "9", PMD S_BITS "10" C_BITS "9" },
    { &small, PMD C_BITS "15" S_BITS "10",
      PMD S_NO C_NO S_BITS "10" C_BITS "12" },

    /* 7.1: the first offer that can be met */
    { &keeping, PMD "; x, " PMD S_NO ", " PMD, PMD S_NO },
    { &keeping, PMD S_BITS "8, " PMD S_BITS "10", PMD S_BITS "10" },
    { &keeping, "x-webkit-deflate-frame, " PMD C_NO, PMD C_NO },
    { &keeping, PMD ", " PMD S_NO, PMD },

    /* declined: 7.1, unknown, twice, with or without a value, bad values */
    { &keeping, PMD "; unknown", "" },
    { &keeping, PMD "; unknown=1", "" },
    { &keeping, PMD S_NO S_NO, "" },
    { &keeping, PMD C_NO C_NO, "" },
    { &keeping, PMD S_BITS "10" S_BITS "10", "" },
    { &keeping, PMD C_BITS "10; client_max_window_bits", "" },
    { &keeping, PMD S_NO "=1", "" },
    { &keeping, PMD C_NO "=\"true\"", "" },
    { &keeping, PMD "; server_max_window_bits", "" },
    { &keeping, PMD S_BITS "7", "" },
    { &keeping, PMD S_BITS "8", "" },
    { &keeping, PMD S_BITS "16", "" },
    { &keeping, PMD S_BITS "010", "" },
    { &keeping, PMD S_BITS "1a", "" },
    { &keeping, PMD S_BITS "-9", "" },
    { &keeping, PMD C_BITS "7", "" },
    { &keeping, PMD C_BITS "0", "" },
    { &keeping, PMD C_BITS "16", "" },
    { &keeping, PMD C_BITS "100", "" },
    { &keeping, PMD C_BITS "09", "" },

    /* not ours at all */
    { &keeping, "permessage-deflat", "" },
    { &keeping, "permessage-deflatee", "" },
    { &keeping, "permessage-bzip2; a=b; c", "" },
    { &keeping, "x; server_max_window_bits=99", "" },
    { NULL, PMD, "" },

    /* RFC 6455 9.1: the grammar's freedom */
    { &keeping, "PerMessage-Deflate; SERVER_NO_CONTEXT_TAKEOVER", PMD S_NO },
    { &keeping, PMD ";server_no_context_takeover", PMD S_NO },
    { &keeping, " \t" PMD " ; server_no_context_takeover \t", PMD S_NO },
    { &keeping, PMD "; server_max_window_bits = 10", PMD S_BITS "10" },
    { &keeping, PMD S_BITS "\"10\"", PMD S_BITS "10" },
    { &keeping, PMD S_BITS "\"1\\0\"", PMD S_BITS "10" },
    { &keeping, ",, ," PMD ", ", PMD },
    { &keeping, "a;b=\"c\\d\"," PMD, PMD },

    /* and what it does not allow: the connection must fail */
    { &keeping, "", NULL },
    { &keeping, " \t ", NULL },
    { &keeping, ",", NULL },
    { &keeping, ";", NULL },
    { &keeping, "=", NULL },
    { &keeping, PMD ";", NULL },
    { &keeping, PMD "; ", NULL },
    { &keeping, PMD ";;", NULL },
    { &keeping, PMD "; ,", NULL },
    { &keeping, PMD "; a=", NULL },
    { &keeping, PMD "; a=,", NULL },
    { &keeping, PMD "; =a", NULL },
    { &keeping, PMD "=1", NULL },
    { &keeping, PMD " " PMD, NULL },
    { &keeping, PMD "; a b", NULL },
    { &keeping, PMD "; a=b c", NULL },
    { &keeping, PMD "; a=\"", NULL },
    { &keeping, PMD "; a=\"b", NULL },
    { &keeping, PMD "; a=\"b\\", NULL },
    { &keeping, PMD "; a=\"b\\\"", NULL },
    { &keeping, PMD "; a=\"\"", NULL },
    { &keeping, PMD "; a=\"b c\"", NULL },
    { &keeping, PMD "; a=\"b,c\"", NULL },
    { &keeping, PMD "; a=\"b\"c", NULL },
    { &keeping, PMD "; a=b\"c\"", NULL },
    { &keeping, PMD ", \x01", NULL },
    { &keeping, PMD ", \xc3\xa9", NULL },
    { &keeping, PMD ", a/b", NULL },
    { &keeping, PMD ", a:b", NULL },
    { &keeping, PMD ", (a)", NULL },
    { &keeping, PMD ", \x7f", NULL },
    { NULL, PMD ";", NULL }
};

#define AGREEMENTS  (sizeof(agreements) / sizeof(agreements[0]))


START_TEST(offers)
{
    size_t           i;
    const char      *got;
    const agreed_t  *a;

    for (i = 0; i < AGREEMENTS; i++) {
        a = &agreements[i];
        got = answer(a->conf, a->offer);

        ck_assert_msg((got == NULL) == (a->answer == NULL)
                      && (got == NULL || strcmp(got, a->answer) == 0),
                      "%zu: \"%s\": \"%s\", not \"%s\"", i, a->offer,
                      got ? got : "malformed",
                      a->answer ? a->answer : "malformed");
    }
}
END_TEST


/* Several lines are one list: the first that can be met, wherever it is. */

START_TEST(lines)
{
    size_t          n;
    uint8_t         buf[ASTRO_WS_EXT_ANSWER];
    astro_ws_ext_t  agreed;

    static const char  bad[] = "permessage-deflate; unknown";
    static const char  first[] = "permessage-deflate; server_max_window_bits=9";
    static const char  second[] = "permessage-deflate";

    memset(&agreed, 0, sizeof(agreed));

    ck_assert_int_eq(astro_ws_ext_offer(&keeping, (const uint8_t *) bad,
                                        sizeof(bad) - 1, &agreed), 0);
    ck_assert_uint_eq(agreed.on, 0);
    ck_assert_int_eq(astro_ws_ext_offer(&keeping, (const uint8_t *) first,
                                        sizeof(first) - 1, &agreed), 0);
    ck_assert_int_eq(astro_ws_ext_offer(&keeping, (const uint8_t *) second,
                                        sizeof(second) - 1, &agreed), 0);

    n = astro_ws_ext_answer(&agreed, buf);
    ck_assert_uint_eq(n, sizeof(first) - 1);
    ck_assert_int_eq(memcmp(buf, first, n), 0);

    ck_assert_int_eq(astro_ws_ext_offer(&keeping, (const uint8_t *) "a;", 2,
                                        &agreed), -1);
}
END_TEST


/* What is longer than anything of ours is read all the same. */

START_TEST(long_tokens)
{
    size_t       i, n;
    const char  *got;
    static char  line[20000];

    for (i = 1; i < 300; i++) {
        memset(line, 'a', i);
        strcpy(line + i, "; ");
        memset(line + i + 2, 'b', i);
        strcpy(line + 2 * i + 2, "=\"");
        memset(line + 2 * i + 4, 'c', i);
        strcpy(line + 3 * i + 4, "\", permessage-deflate");

        got = answer(&keeping, line);
        ck_assert_ptr_nonnull(got);
        ck_assert_str_eq(got, PMD);
    }

    /* a name that only begins as ours does */

    strcpy(line, "permessage-deflate; server_no_context_takeover");
    n = strlen(line);
    memset(line + n, 'x', 300);
    line[n + 300] = '\0';

    got = answer(&keeping, line);
    ck_assert_ptr_nonnull(got);
    ck_assert_str_eq(got, "");
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("ws_ext");

    unit_add(s, "offers", offers);
    unit_add(s, "lines", lines);
    unit_add(s, "long_tokens", long_tokens);

    return unit_main(s);
}
