
/*
 * Copyright (C) The Astro authors
 *
 * JSON against a second reader, written plainly from RFC 8259's grammar for
 * this test: the same verdict on every text, and the same members at the same
 * places.  Texts are made at random and then damaged.
 */

#include "unit.h"

#include "json_plainly.h"


typedef struct {
    size_t          n;
    char            text[TEXT];
} scalars_t;


static astro_json_parser_t  *parser;
static astro_json_doc_t      doc;

static uint8_t               text[TEXT];
static size_t                len;


static void
same_object(const astro_json_object_t *a, const astro_json_object_t *b)
{
    size_t  i;

    must(a->n == b->n);

    for (i = 0; i < a->n; i++) {
        must(a->member[i].key == b->member[i].key);
        must(a->member[i].key_len == b->member[i].key_len);
        must(a->member[i].key_escaped == b->member[i].key_escaped);
        must(a->member[i].raw == b->member[i].raw);
        must(a->member[i].raw_len == b->member[i].raw_len);
        must(a->member[i].kind == b->member[i].kind);
        must(a->member[i].escaped == b->member[i].escaped);
    }
}


/* Both readers, on memory of exactly that size; 0 if the text is good. */

static int
compare(const uint8_t *s, size_t n)
{
    int       rc;
    uint8_t  *copy;

    copy = malloc(n ? n : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, s, n);

    rc = astro_json_parse(parser, copy, n, &doc);

    if (rc != plainly(copy, n)) {
        ck_abort_msg("%d (%s at %zu) for %.*s", rc,
                     doc.error ? doc.error : "good", doc.offset, (int) n, s);
    }

    if (rc == 0) {
        must(doc.error == NULL);
        same_object(&doc.root, &want.root);
        same_object(&doc.payload, &want.payload);

    } else {
        must(rc == -1 && doc.error != NULL && doc.offset <= n);
    }

    free(copy);

    return rc;
}


/* texts at random: valid by construction, of members that matter */

static void
put(const char *s)
{
    size_t  n;

    n = strlen(s);

    if (len + n < TEXT) {
        memcpy(text + len, s, n);
        len += n;
    }
}


static void
put_space(void)
{
    static const char *const  spaces[] = { " ", "\t", "\r\n", "  ", "\n" };

    while (unit_below(4) == 0) {
        put(spaces[unit_below(5)]);
    }
}


static void
put_string(void)
{
    size_t  n;

    static const char *const  pieces[] = {
        "a", "bcd", "Mercury retrograde", "\\n", "\\\"", "\\\\", "\\/",
        "\\u0041", "\\u00e9", "\\u0905", "\\ud83d\\ude00", "\xe0\xa4\x85",
        "\xf0\x9f\x98\x80", "{", "}", "[", "]", ":", ",", " ", "payload",
        "\\u007f", "\\uFFFF", "'", "0", "\x7f", "\\b\\f\\r\\t"
    };

    put("\"");

    for (n = unit_below(6); n; n--) {
        put(pieces[unit_below(sizeof(pieces) / sizeof(pieces[0]))]);
    }

    put("\"");
}


static void
put_key(int i)
{
    char  key[64];

    static const char *const  keys[] = {
        "type", "id", "payload", "pay\\u006coad", "\\u0070ayload", "text",
        "t\\u0065xt", "cid", "", "from", "\\u0066rom", "conv", "x:y", "a\\\"b"
    };

    if (unit_below(3)) {
        (void) snprintf(key, sizeof(key), "\"%s\"",
                        keys[unit_below(sizeof(keys) / sizeof(keys[0]))]);

    } else {
        (void) snprintf(key, sizeof(key), "\"k%d\"", i);
    }

    put(key);
}


static void
put_value(int depth)
{
    int     i, n;

    static const char *const  scalars[] = {
        "0", "-0", "1", "-1", "17", "1.5", "1e5", "1E-2", "-2.5e+3", "true",
        "false", "null", "123456789012345678901234567890", "\"\"", "{}", "[]",
        "{ }", "[ ]"
    };

    i = (int) unit_below(8);

    if (depth > (int) unit_below(20) || i < 3) {
        put(scalars[unit_below(sizeof(scalars) / sizeof(scalars[0]))]);
        return;
    }

    if (i < 5) {
        put_string();
        return;
    }

    n = (int) unit_below(unit_below(20) ? 6 : 30);

    put(i == 5 ? "[" : "{");
    put_space();

    for (i = (i == 5) ? 100 : 0; n > 0; n--, i++) {

        if (i < 100) {
            put_key(i);
            put_space();
            put(":");
            put_space();
        }

        put_value(depth + 1);
        put_space();

        if (n > 1) {
            put(",");
            put_space();
        }
    }

    put(i >= 100 ? "]" : "}");
}


static void
random_object(void)
{
    int  i, n;

    len = 0;

    put_space();
    put("{");
    put_space();

    n = (int) unit_below(7);

    for (i = 0; i < n; i++) {

        if (i) {
            put(",");
            put_space();
        }

        put_key(i);
        put_space();
        put(":");
        put_space();
        put_value(1);
        put_space();
    }

    put("}");
    put_space();
}


START_TEST(valid)
{
    size_t  i;

    static const char *const  good[] = {
        "{}", " {} ", "\r\n\t{\n}\n", "{\"\":\"\"}",
        "{\"a\":1}", "{\"a\":-0}", "{\"a\" : 1.5e10 }", "{\"a\":0.1E+1}",
        "{\"a\":[]}", "{\"a\":{}}", "{\"a\":[1,2,[3,{\"b\":null}]]}",
        "{\"a\":\"\\u0041\\ud83d\\ude00\\u00e9\\/\\b\\f\"}",
        "{\"a\":\"\x7f\"}", "{\"a\":\"\xf4\x8f\xbf\xbf\"}",
        "{\"payload\":{\"a\":1,\"payload\":{\"a\":1}},\"a\":2}",
        "{\"payload\":[{\"a\":1,\"a\":2}]}",
        "{\"payload\":{\"a\":{\"a\":1,\"a\":2}}}",
        "{\"a\":123456789012345678901234567890e999}",
        "{\"a\":\"\\\\u0000\"}", "{\"a\":\"\\\\\\\\ud800\"}",
        "{\"a\":[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]}"        /* 16 levels */
    };

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_msg(compare((const uint8_t *) good[i], strlen(good[i]))
                      == 0, "%s: %s", good[i], doc.error);
    }
}
END_TEST


START_TEST(refused)
{
    size_t  i;

    static const char *const  bad[] = {
        "", " ", "\n", "1", "\"a\"", "null", "[]", "[{}]", "nul", "tru",
        "{", "}", "{]", "{\"a\"", "{\"a\":", "{\"a\":1", "{\"a\":1,",
        "{\"a\":1,}", "{,}", "{\"a\"}", "{\"a\" 1}", "{a:1}", "{'a':1}",
        "{1:1}", "{\"a\":01}", "{\"a\":+1}", "{\"a\":.5}", "{\"a\":1.}",
        "{\"a\":1e}", "{\"a\":1e+}", "{\"a\":-}", "{\"a\":--1}",
        "{\"a\":0x1}", "{\"a\":NaN}", "{\"a\":Infinity}", "{\"a\":True}",
        "{\"a\":truex}", "{\"a\":[1,]}", "{\"a\":[,1]}", "{\"a\":[1 2]}",
        "{\"a\":[1}", "{\"a\":{\"b\":1]}", "{\"a\":\"b}", "{\"a\":\"\n\"}",
        "{\"a\":\"\t\"}", "{\"a\":\"\\x\"}", "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}", "{\"a\":\"\\", "{\"a\":\"\\u", "{\"a\":\"\\\"}",
        "{\"a\":1}{}", "{\"a\":1} {\"a\":2}", "{} 1", "{} \"a\"", "{}x",
        "{} nul", "{},", "{}]", "{}}", "1 {}", "\"a\" {}", "nul {}",
        "{/**/}", "{\"a\":1/**/}", "{\"a\":1}//", "# {}",
        "{\"a\":\v1}", "{\"a\":1\f}", "{\"a\":\"\v\"}", "\xef\xbb\xbf{}",
        "{\xc2\xa0}",
        "{\"a\":\"\xc0\x80\"}", "{\"a\":\"\xed\xa0\x80\"}",
        "{\"a\":\"\xf4\x90\x80\x80\"}", "{\"a\":\"\xff\"}",
        "{\"a\":\"\xe0\xa4\"}", "{\"\xc3\":1}",
        "{\"a\":\"\\u0000\"}", "{\"\\u0000\":1}", "{\"a\":[\"\\u0000\"]}",
        "{\"a\":\"\\ud800\"}", "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}", "{\"a\":\"\\ud800\\ud800\"}",
        "{\"a\":\"\\ud800x\\udc00\"}", "{\"a\":\"\\ud83d\\\\ude00\"}",
        "{\"a\":\"\\udbff\"}", "{\"\\udfff\":1}",
        "{\"a\":1,\"a\":1}", "{\"a\":1,\"b\":2,\"a\":{}}",
        "{\"a\":1,\"\\u0061\":1}", "{\"\\u0061\":1,\"a\":1}",
        "{\"\\u0061\":1,\"\\u0061\":1}",
        "{\"payload\":{},\"payload\":{}}",
        "{\"payload\":{},\"p\\u0061yload\":{}}",
        "{\"payload\":{\"a\":1,\"a\":2}}",
        "{\"payload\":{\"from\":1,\"\\u0066rom\":2}}",
        "{\"p\\u0061yload\":{\"a\":1,\"a\":2}}",
        "{\"a\":[[[[[[[[[[[[[[[[0]]]]]]]]]]]]]]]]}"      /* 17 levels */
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(compare((const uint8_t *) bad[i], strlen(bad[i])) != 0,
                      "%s", bad[i]);

        /* and the next text does not suffer */

        ck_assert_int_eq(compare((const uint8_t *) "{\"a\":1}", 7), 0);
    }

    ck_assert_int_eq(compare((const uint8_t *) "{}\0", 3), -1);
    ck_assert_int_eq(compare((const uint8_t *) "{\"a\":\"\0\"}", 9), -1);
}
END_TEST


/* 24 members are noted, 25 refused, in root and payload; elsewhere any */

START_TEST(members)
{
    int         i, n, where;
    char        member[32];
    const char *open[] = { "{", "{\"payload\":{", "{\"other\":{" };
    const char *close[] = { "}", "}}", "}}" };

    for (where = 0; where < 3; where++) {
        for (n = 23; n <= 26; n++) {
            len = 0;
            put(open[where]);

            for (i = 0; i < n; i++) {
                (void) snprintf(member, sizeof(member), "%s\"m%d\":%d",
                                i ? "," : "", i, i);
                put(member);
            }

            put(close[where]);

            must((compare(text, len) == 0)
                 == (n <= ASTRO_JSON_MAX_MEMBERS || where == 2));
        }
    }
}
END_TEST


START_TEST(at_random)
{
    int     i, good;
    size_t  n;

    good = 0;

    for (i = 0; i < (int) (20000 * unit_effort); i++) {
        random_object();
        good += compare(text, len) == 0;

        /* no part of a good text is good */

        if (doc.error == NULL && len < 400) {
            for (n = 0; n < len; n++) {
                (void) compare(text, n);
            }
        }
    }

    /* the writer repeats members and goes too deep only now and then */

    ck_assert_int_gt(good, i / 2);
}
END_TEST


START_TEST(damaged)
{
    int     i;
    size_t  n, at, cut;

    static const char  octets[] = "{}[]:,\"\\u0019 eE+-.dD8tfn/"
                                  "\n\t\v\f\x80\xff";

    for (i = 0; i < (int) (40000 * unit_effort); i++) {

        do {
            random_object();
        } while (len > 1000);

        for (n = 1 + unit_below(3); n && len; n--) {
            at = unit_below(len);

            switch (unit_below(4)) {

            case 0:
                text[at] = (uint8_t) octets[unit_below(sizeof(octets))];
                break;

            case 1:
                text[at] = (uint8_t) unit_random();
                break;

            case 2:
                cut = 1 + unit_below(4);
                cut = (cut > len - at) ? len - at : cut;
                memmove(text + at, text + at + cut, len - at - cut);
                len -= cut;
                break;

            default:
                memmove(text + at + 1, text + at, len - at);
                text[at] = (uint8_t) octets[unit_below(sizeof(octets))];
                len++;
            }
        }

        (void) compare(text, len);
    }
}
END_TEST


static const astro_json_member_t *
member(const char *s, const char *name)
{
    ck_assert_msg(astro_json_parse(parser, (const uint8_t *) s, strlen(s),
                                   &doc)
                  == 0, "%s: %s", s, doc.error);

    return astro_json_get(&doc.root, name);
}


START_TEST(finding)
{
    ck_assert_ptr_null(member("{}", "a"));
    ck_assert_ptr_null(member("{\"aa\":1,\"\":2,\"A\":3}", "a"));
    ck_assert_ptr_nonnull(member("{\"aa\":1,\"a\":2}", "a"));
    ck_assert_ptr_nonnull(member("{\"\":2}", ""));

    /* by what it stands for */

    ck_assert_ptr_nonnull(member("{\"\\u0066rom\":1}", "from"));
    ck_assert_ptr_nonnull(member("{\"fro\\u006D\":1}", "from"));
    ck_assert_ptr_nonnull(member("{\"\\ud83d\\ude00\":1}",
                                 "\xf0\x9f\x98\x80"));
    ck_assert_ptr_null(member("{\"fro\\u006d\":1}", "fro"));
    ck_assert_ptr_null(member("{\"fro\\u006d\":1}", "fromm"));
    ck_assert_ptr_null(member("{\"fro\\u006d\":1}", "fro\\u006d"));

    ck_assert_ptr_nonnull(member("{\"p\\u0061yload\":{\"x\":1}}",
                                 "payload"));
    ck_assert_uint_eq(doc.payload.n, 1);
}
END_TEST


START_TEST(integers)
{
    size_t   i;
    char     s[64];
    int64_t  n;

    static const struct {
        const char  *s;
        int64_t      min, max;
        int          rc;
        int64_t      n;
    } cases[] = {
        { "0", 0, 10, 0, 0 },
        { "-0", 0, 10, 0, 0 },
        { "10", 0, 10, 0, 10 },
        { "11", 0, 10, -1, 0 },
        { "-1", 0, 10, -1, 0 },
        { "-5", -5, -5, 0, -5 },
        { "1.0", 0, 10, -1, 0 },
        { "1e0", 0, 10, -1, 0 },
        { "1E1", 0, 10, -1, 0 },
        { "\"1\"", 0, 10, -1, 0 },
        { "true", 0, 10, -1, 0 },
        { "null", 0, 10, -1, 0 },
        { "[1]", 0, 10, -1, 0 },
        { "9223372036854775807", INT64_MIN, INT64_MAX, 0, INT64_MAX },
        { "9223372036854775808", INT64_MIN, INT64_MAX, -1, 0 },
        { "-9223372036854775808", INT64_MIN, INT64_MAX, 0, INT64_MIN },
        { "-9223372036854775809", INT64_MIN, INT64_MAX, -1, 0 },
        { "9223372036854775810", INT64_MIN, INT64_MAX, -1, 0 },
        { "18446744073709551617", INT64_MIN, INT64_MAX, -1, 0 },
        { "92233720368547758070", INT64_MIN, INT64_MAX, -1, 0 }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        (void) snprintf(s, sizeof(s), "{\"a\":%s}", cases[i].s);
        n = 0;

        ck_assert_msg(astro_json_int(member(s, "a"), cases[i].min,
                                     cases[i].max, &n)
                      == cases[i].rc, "%s", s);
        ck_assert_msg(cases[i].rc || n == cases[i].n, "%s: %" PRIi64, s, n);
    }

    ck_assert_int_eq(astro_json_int(NULL, 0, 1, &n), -1);
}
END_TEST


/* escape, parse, unescape gives the same; and any buffer too small says so */

START_TEST(strings)
{
    int                         i;
    size_t                      n, at, size;
    uint8_t                     src[64], out[64], *end;
    const astro_json_member_t  *m;

    for (i = 0; i < (int) (20000 * unit_effort); i++) {
        n = unit_below(60);

        for (at = 0; at < n; at++) {
            src[at] = (uint8_t) (1 + unit_below(127));
        }

        if (n >= 4 && unit_below(2)) {
            memcpy(src + unit_below(n - 3), "\xf0\x9f\x98\x80", 4);
        }

        memcpy(text, "{\"s\":\"", 6);
        end = astro_json_escape(text + 6, text + sizeof(text), src, n);
        must(end != NULL && end <= text + 6 + 6 * n);

        size = (size_t) (end - text) - 6;

        if (size) {
            must(astro_json_escape(text + 6, end - 1, src, n) == NULL);
        }

        must(astro_json_escape(text + 6, end, src, n) == end);

        *end++ = '"';
        *end++ = '}';

        must(compare(text, (size_t) (end - text)) == 0);
        must(astro_json_parse(parser, text, (size_t) (end - text), &doc)
             == 0);

        m = astro_json_get(&doc.root, "s");

        must(astro_json_string(m, out, sizeof(out)) == (ssize_t) n);
        must(memcmp(out, src, n) == 0);
        must(astro_json_string(m, out, n) == (ssize_t) n);

        if (n) {
            must(astro_json_string(m, out, n - 1) == -1);
        }
    }

    m = member("{\"s\":\"\\u0041\\u00e9\\u0905\\uD83D\\uDE00\\/\\b\\f\\n\\r\\t"
               "\\\"\\\\\\uffff\"}", "s");
    n = (size_t) astro_json_string(m, out, sizeof(out));

    ck_assert_uint_eq(n, 21);
    ck_assert_int_eq(memcmp(out, "A\xc3\xa9\xe0\xa4\x85\xf0\x9f\x98\x80/"
                                 "\b\f\n\r\t\"\\\xef\xbf\xbf", 21), 0);

    ck_assert_int_eq(astro_json_string(NULL, out, sizeof(out)), -1);
    ck_assert_int_eq(astro_json_string(member("{\"s\":1}", "s"), out, 9), -1);
}
END_TEST


static int
note(void *ctx, int depth, const astro_json_member_t *m)
{
    int         n;
    scalars_t  *s = ctx;

    n = snprintf(s->text + s->n, sizeof(s->text) - s->n, "%d%s%.*s=%.*s ",
                 depth, m->key ? "." : "", (int) m->key_len,
                 m->key ? (const char *) m->key : "", (int) m->raw_len,
                 (const char *) m->raw);

    /* long ones are walked for the sanitizers, not compared */

    s->n = (s->n + (size_t) n < TEXT / 2) ? s->n + (size_t) n : 0;

    must(m->kind >= ASTRO_JSON_NULL && m->kind <= ASTRO_JSON_STRING);
    must(m->escaped == (m->kind == ASTRO_JSON_STRING
                        && memchr(m->raw, '\\', m->raw_len) != NULL));

    return m->raw_len == 6 && memcmp(m->raw, "\"stop\"", 6) == 0 ? 7 : 0;
}


START_TEST(walking)
{
    int        rc;
    size_t     i;
    scalars_t  s;

    static const struct {
        const char  *text;
        const char  *scalars;
    } cases[] = {
        { "{\"a\":[]}", "" },
        { "{\"a\":{}}", "" },
        { "{\"a\":17}", "0=17 " },
        { "{\"a\":\"x\"}", "0=\"x\" " },
        { "{\"a\":[1,-2.5,true,false,null]}",
          "1=1 1=-2.5 1=true 1=false 1=null " },
        { "{\"a\":[[\"c_8\",1041],[\"c_9\",17]]}",
          "2=\"c_8\" 2=1041 2=\"c_9\" 2=17 " },
        { "{\"a\": [ [ \"c_8\" , 1041 ] , [ ] , 3 ] }",
          "2=\"c_8\" 2=1041 1=3 " },
        { "{\"a\":{\"x\":1,\"y\" : [2,\"z\"],\"w\":{\"v\":\"u\"},\"t\":3},"
          "\"b\":4}", "1.x=1 2=2 2=\"z\" 2.v=\"u\" 1.t=3 " },
        { "{\"a\":[\"\\\"]\",\"\\\\\",{\"\\\"\":\"}\"}]}",
          "1=\"\\\"]\" 1=\"\\\\\" 2.\\\"=\"}\" " },
        { "{\"a\":[1,[\"stop\",2],3]}", "1=1 2=\"stop\" " }
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        s.n = 0;
        s.text[0] = '\0';

        rc = astro_json_scalars(parser, member(cases[i].text, "a"), note, &s);

        ck_assert_str_eq(s.text, cases[i].scalars);
        ck_assert_int_eq(rc, strstr(cases[i].text, "stop") ? 7 : 0);
    }

    /* of anything at all: no octet beyond the value, for the sanitizers */

    for (i = 0; i < 5000; i++) {
        random_object();

        if (compare(text, len) != 0) {
            continue;
        }

        (void) astro_json_parse(parser, text, len, &doc);

        while (doc.root.n--) {
            s.n = 0;
            (void) astro_json_scalars(parser, &doc.root.member[doc.root.n],
                                      note, &s);
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    parser = astro_json_parser_create();

    s = suite_create("json");

    unit_add(s, "valid", valid);
    unit_add(s, "refused", refused);
    unit_add(s, "members", members);
    unit_add(s, "at_random", at_random);
    unit_add(s, "damaged", damaged);
    unit_add(s, "finding", finding);
    unit_add(s, "integers", integers);
    unit_add(s, "strings", strings);
    unit_add(s, "walking", walking);

    return unit_main(s);
}
