
/*
 * Copyright (C) The Astro authors
 *
 * Framing: what RFC 6455 forbids, section by section, and its limits.
 */

#include "frames.h"


/* what the RFC forbids, up to the octet that says so */

typedef struct {
    uint16_t     code;
    size_t       len;
    const char  *frames;
} invalid_t;

#define M  "\x00\x00\x00\x00"

static const invalid_t  invalid[] = {
    /* 5.1: a client masks */
    { 1002, 2, "\x81\x00" },
    { 1002, 3, "\x81\x01" "a" },
    { 1002, 2, "\x88\x02" },

    /* 5.2: RSV bits, none of which was negotiated */
    { 1002, 2, "\xc1\x80" },
    { 1002, 2, "\xa1\x80" },
    { 1002, 2, "\x91\x80" },
    { 1002, 2, "\xc9\x80" },
    { 1002, 2, "\xb8\x80" },

    /* 5.2: unknown opcodes */
    { 1002, 2, "\x83\x80" },
    { 1002, 2, "\x84\x80" },
    { 1002, 2, "\x85\x80" },
    { 1002, 2, "\x86\x80" },
    { 1002, 2, "\x87\x80" },
    { 1002, 2, "\x8b\x80" },
    { 1002, 2, "\x8c\x80" },
    { 1002, 2, "\x8d\x80" },
    { 1002, 2, "\x8e\x80" },
    { 1002, 2, "\x8f\x80" },

    /* 5.2: lengths in more octets than need be, and negative ones */
    { 1002, 8, "\x81\xfe\x00\x7d" M },
    { 1002, 8, "\x81\xfe\x00\x00" M },
    { 1002, 14, "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff" M },
    { 1002, 14, "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x01" M },
    { 1002, 14, "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00" M },
    { 1002, 14, "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" M },

    /* 5.4: fragments in their order */
    { 1002, 2, "\x80\x80" },
    { 1002, 2, "\x00\x80" },
    { 1002, 8, "\x01\x80" M "\x81\x80" },
    { 1002, 8, "\x01\x80" M "\x02\x80" },

    /* 5.5: control frames, in one piece of up to 125 octets */
    { 1002, 2, "\x09\x80" },
    { 1002, 2, "\x08\x80" },
    { 1002, 2, "\x0a\x80" },
    { 1002, 2, "\x89\xfe" },
    { 1002, 2, "\x8a\xfe" },
    { 1002, 2, "\x88\xff" },

    /* 5.5.1: half a close code; a reason that is no UTF-8 */
    { 1002, 7, "\x88\x81" M "\x03" },
    { 1007, 9, "\x88\x83" M "\x03\xe8\xff" },
    { 1007, 9, "\x88\x83" M "\x03\xe8\xc3" },

    /* 8.1: text that is no UTF-8 */
    { 1007, 7, "\x81\x81" M "\xff" },
    { 1007, 7, "\x81\x81" M "\xc3" },
    { 1007, 8, "\x81\x82" M "\xed\xa0" },
    { 1007, 7, "\x01\x81" M "\x80" },
    { 1007, 13, "\x01\x81" M "\xc3" "\x80\x80" M },
    { 1007, 14, "\x01\x81" M "\xc3" "\x80\x81" M "a" },
    { 1007, 8, "\x81\xfd" M "\xe0\x80" },         /* long before its end */

    /* 10.4: limits, told from the header */
    { 1009, 14, "\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00" M },
    { 1009, 14, "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M },
    { 1009, 14, "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00" M },
    { 1009, 8, "\x82\xfe\x10\x01" M },              /* one too many */
    { 1009, 15, "\x02\x81" M "a" "\x80\xfe\x10\x00" M }
};

#define INVALID  (sizeof(invalid) / sizeof(invalid[0]))


/* the same code wherever it is cut, and not one octet later */

START_TEST(forbidden)
{
    long    cut;
    size_t  i;

    for (i = 0; i < INVALID; i++) {
        clear();

        memcpy(in.data, invalid[i].frames, invalid[i].len);
        in.len = invalid[i].len;

        for (cut = -2; cut < (long) in.len; cut++) {
            biggest = 0;
            read_all(&in, cut, MAX_MESSAGE);

            ck_assert_msg(got.n == 0 && got.error == invalid[i].code,
                          "case %zu cut at %ld: %u", i, cut, got.error);

            /* no memory for what a header announces */

            must(biggest <= 256);
        }

        /* told by the last of these octets, not by one before it */

        in.len--;

        if (invalid[i].code != 1002 || in.len != 2) {
            read_all(&in, 0, MAX_MESSAGE);
            ck_assert_msg(got.error == 0, "case %zu: told early", i);
        }

        /* and after something that is good */

        clear();
        frame(&in, 0x81, "good", 4);
        expect(ASTRO_WS_TEXT, 0, "good", 4);
        expected.error = invalid[i].code;

        memcpy(in.data + in.len, invalid[i].frames, invalid[i].len);
        in.len += invalid[i].len;

        read_all(&in, 0, MAX_MESSAGE);
        same();
    }

    /* a message is over when it is over */

    clear();
    frame(&in, 0x01, "a", 1);
    frame(&in, 0x80, "b", 1);
    frame(&in, 0x80, "c", 1);
    expect(ASTRO_WS_TEXT, 0, "ab", 2);
    expected.error = 1002;
    read_all(&in, 0, MAX_MESSAGE);
    same();
}
END_TEST


START_TEST(close_codes)
{
    int       ok;
    uint8_t   data[2];
    uint32_t  code;

    for (code = 0; code <= 0xffff; code++) {
        clear();

        data[0] = (uint8_t) (code >> 8);
        data[1] = (uint8_t) code;

        frame(&in, 0x88, data, 2);
        read_all(&in, 0, MAX_MESSAGE);

        switch (code) {

        case 1000: case 1001: case 1002: case 1003: case 1007: case 1008:
        case 1009: case 1010: case 1011: case 1012: case 1013: case 1014:
            ok = 1;
            break;

        default:
            ok = code >= 3000 && code < 5000;
        }

        if (ok) {
            must(got.n == 1 && got.error == 0);
            must(got.event[0].opcode == ASTRO_WS_CLOSE);
            must(got.event[0].code == code && got.event[0].len == 0);

        } else {
            must(got.n == 0 && got.error == 1002);
        }
    }

    clear();
    frame(&in, 0x88, "", 0);
    expect(ASTRO_WS_CLOSE, ASTRO_WS_CLOSE_NO_STATUS, "", 0);
    read_all(&in, 0, MAX_MESSAGE);
    same();

    clear();
    frame(&in, 0x88, "\x0f\xa0\xe0\xa4\x85 bye", 9);
    expect(ASTRO_WS_CLOSE, 4000, "\xe0\xa4\x85 bye", 7);
    read_all(&in, 0, MAX_MESSAGE);
    same();
    read_all(&in, -1, MAX_MESSAGE);
    same();
}
END_TEST


/* Up to the limit in every way of arriving, and one more in none. */

START_TEST(limits)
{
    size_t          i, n;
    static uint8_t  data[MAX_MESSAGE + 1];

    memset(data, 'x', sizeof(data));

    for (n = MAX_MESSAGE - 1; n <= MAX_MESSAGE + 1; n++) {

        for (i = 0; i < 3; i++) {
            clear();

            if (i == 0) {
                frame(&in, 0x81, data, n);

            } else if (i == 1) {
                frame(&in, 0x01, data, 100);
                frame(&in, 0x00, data, n - 200);
                frame(&in, 0x80, data, 100);

            } else {
                frame(&in, 0x01, data, n);
                frame(&in, 0x00, data, 0);
                frame(&in, 0x80, data, 0);
            }

            if (n <= MAX_MESSAGE) {
                expect(ASTRO_WS_TEXT, 0, data, n);

            } else {
                expected.error = 1009;
            }

            read_all(&in, 0, MAX_MESSAGE);
            same();
            read_all(&in, -1, MAX_MESSAGE);
            same();
            read_all(&in, -2, MAX_MESSAGE);
            same();
        }
    }

    /* the shortest of each form of length, through the test's own writer */

    for (n = 124; n <= 127; n++) {
        clear();
        frame(&in, 0x82, data, n);
        expect(ASTRO_WS_BINARY, 0, data, n);
        read_all(&in, -2, MAX_MESSAGE);
        same();
    }
}
END_TEST


START_TEST(headers)
{
    size_t    i, n, at;
    uint8_t   head[ASTRO_WS_MAX_HEADER];
    uint64_t  len;

    static const uint64_t  lens[] = {
        0, 1, 125, 126, 127, 255, 256, 65535, 65536, 65537, 0x7fffffff,
        0x100000000, 0x7fffffffffffffff
    };

    for (i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        n = astro_ws_header(head, ASTRO_WS_TEXT, lens[i]);

        ck_assert_uint_eq(n, lens[i] < 126 ? 2 : lens[i] < 65536 ? 4 : 10);
        ck_assert_uint_eq(head[0], 0x81);

        len = head[1];

        if (n > 2) {
            ck_assert_uint_eq(len, n == 4 ? 126 : 127);

            for (len = 0, at = 2; at < n; at++) {
                len = len * 256 + head[at];
            }
        }

        ck_assert_uint_eq(len, lens[i]);
    }

    ck_assert_uint_eq(astro_ws_header(head, ASTRO_WS_CLOSE, 2), 2);
    ck_assert_uint_eq(head[0], 0x88);
}
END_TEST


START_TEST(accept_key)
{
    size_t   i;
    uint8_t  accept[ASTRO_WS_ACCEPT_LEN], key[25];

    static const char *const  bad[] = {
        "",
        "dGhlIHNhbXBsZSBub25jZQ=",
        "dGhlIHNhbXBsZSBub25jZQ",
        "dGhlIHNhbXBsZSBub25jZQAA",
        "dGhlIHNhbXBsZSBub25jZQ=A",
        "dGhlIHNhbXBsZSBub25jZQA=",
        "dGhlIHNhbXBsZSBub25jZ===",
        "dGhlIHNhbXBsZSBub25jZ-==",
        "dGhlIHNhbXBsZSBub2 jZQ==",
        "dGhlIHNhbXBsZSBub25jZQ==="
    };

    /* RFC 6455 section 1.3 */

    ck_assert_int_eq(astro_ws_accept((const uint8_t *)
                                     "dGhlIHNhbXBsZSBub25jZQ==", 24, accept),
                     0);
    ck_assert_int_eq(memcmp(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 28), 0);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(astro_ws_accept((const uint8_t *) bad[i],
                                      strlen(bad[i]), accept)
                      == -1, "%s", bad[i]);
    }

    memset(key, 0, sizeof(key));
    ck_assert_int_eq(astro_ws_accept(key, 24, accept), -1);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("frame_rules");

    unit_add(s, "forbidden", forbidden);
    unit_add(s, "close_codes", close_codes);
    unit_add(s, "limits", limits);
    unit_add(s, "headers", headers);
    unit_add(s, "accept_key", accept_key);

    return unit_main(s);
}
