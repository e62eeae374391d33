
/*
 * Copyright (C) The Astro authors
 *
 * Framing: scripts of messages at random, cut in every way, and the memory
 * that reading them takes.
 */

#include "frames.h"


#define M  "\x00\x00\x00\x00"      /* a mask */


static size_t
random_text(uint8_t *s, size_t size)
{
    size_t    n, want;
    uint32_t  c;

    want = unit_below(8) ? unit_below(40) : unit_below(size);
    n = 0;

    while (n + 3 <= want) {

        if (unit_below(3)) {
            s[n++] = (uint8_t) (' ' + unit_below(90));
            continue;
        }

        /* two or three octets */

        c = (uint32_t) (0x80 + unit_below(0xd000));

        if (c < 0x800) {
            s[n++] = (uint8_t) (0xc0 | c >> 6);

        } else {
            s[n++] = (uint8_t) (0xe0 | c >> 12);
            s[n++] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
        }

        s[n++] = (uint8_t) (0x80 | (c & 0x3f));
    }

    return n;
}


static void
random_control(void)
{
    size_t   i, n;
    uint8_t  data[125];

    n = unit_below(4) ? unit_below(8) : unit_below(126);

    for (i = 0; i < n; i++) {
        data[i] = (uint8_t) unit_random();
    }

    i = unit_below(2) ? ASTRO_WS_PING : ASTRO_WS_PONG;

    frame(&in, 0x80 | (unsigned) i, data, n);
    expect((uint8_t) i, 0, data, n);
}


/* Messages in fragments, with control frames between these. */

static void
random_script(void)
{
    size_t    n, at, piece, messages;
    uint8_t   opcode, data[MAX_MESSAGE];
    unsigned  first;

    clear();

    for (messages = 1 + unit_below(5); messages; messages--) {

        if (unit_below(3) == 0) {
            random_control();
        }

        n = random_text(data, 900);
        opcode = ASTRO_WS_TEXT;

        if (unit_below(4) == 0) {
            opcode = ASTRO_WS_BINARY;

            for (at = 0; at < n; at++) {
                data[at] = (uint8_t) unit_random();
            }
        }

        first = opcode;

        for (at = 0; ; at += piece) {
            piece = unit_below(2) ? n - at : unit_below(n - at + 1);

            if (at + piece == n && unit_below(4)) {
                frame(&in, 0x80 | first, data + at, piece);
                break;
            }

            frame(&in, first, data + at, piece);
            first = ASTRO_WS_CONT;

            if (unit_below(3) == 0) {
                random_control();
            }
        }

        expect(opcode, 0, data, n);
    }
}


START_TEST(any_cut)
{
    int   i;
    long  cut;

    for (i = 0; i < (int) (300 * unit_effort); i++) {
        random_script();

        read_all(&in, 0, MAX_MESSAGE);
        same();

        read_all(&in, -1, MAX_MESSAGE);
        same();

        read_all(&in, -2, MAX_MESSAGE);
        same();

        for (cut = 1; cut < (long) in.len; cut += 1 + (cut > 200) * 13) {
            read_all(&in, cut, MAX_MESSAGE);
            same();
        }
    }
}
END_TEST


/* What lies whole in the input is not copied; what does not is freed. */

START_TEST(in_place)
{
    uint8_t            *pos;
    astro_ws_event_t    event;
    astro_ws_reader_t   r;

    clear();
    frame(&in, 0x81, "hello", 5);
    frame(&in, 0x89, "ping", 4);
    frame(&in, 0x81, "", 0);

    astro_ws_reader_init(&r, MAX_MESSAGE);
    biggest = 0;
    pos = in.data;

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_EVENT);
    ck_assert_ptr_eq(event.data, in.data + 6);
    ck_assert_uint_eq(event.len, 5);

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_EVENT);
    ck_assert_ptr_eq(event.data, in.data + 11 + 6);

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_EVENT);
    ck_assert_uint_eq(event.len, 0);

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_MORE);
    ck_assert_uint_eq(biggest, 0);

    /* a header alone takes nothing either; the payload then is in place */

    clear();
    frame(&in, 0x81, "hello", 5);
    pos = in.data;

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + 6, &event),
                     ASTRO_WS_MORE);
    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_EVENT);
    ck_assert_ptr_eq(event.data, in.data + 6);
    ck_assert_uint_eq(biggest, 0);

    /* two pieces: gathered, and given back by the next call */

    clear();
    frame(&in, 0x81, "hello", 5);
    pos = in.data;

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + 8, &event),
                     ASTRO_WS_MORE);
    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_EVENT);
    ck_assert_int_eq(memcmp(event.data, "hello", 5), 0);
    ck_assert_ptr_eq(event.data, r.message);
    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_MORE);
    ck_assert_ptr_null(r.message);
    ck_assert_uint_le(biggest, 5);

    astro_ws_reader_free(&r);
}
END_TEST


/* memory follows what arrived: at most twice that, and 256 */

START_TEST(growth)
{
    size_t              i;
    uint8_t             c, *pos;
    astro_ws_event_t    event;
    astro_ws_reader_t   r;

    clear();

    /* a text of 2^31 - 1 octets is announced; a thousand come */

    memcpy(in.data, "\x01\xff\x00\x00\x00\x00\x7f\xff\xff\xff" M, 14);

    astro_ws_reader_init(&r, 0x7fffffff);
    pos = in.data;

    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + 14, &event),
                     ASTRO_WS_MORE);
    ck_assert_ptr_null(r.message);

    for (i = 1; i <= 5000; i++) {
        c = 'a';
        pos = &c;

        ck_assert_int_eq(astro_ws_read(&r, &pos, &c + 1, &event),
                         ASTRO_WS_MORE);
        must(r.message_len == i);
        must(r.message_size <= (i * 2 > 256 ? i * 2 : 256));
    }

    astro_ws_reader_free(&r);
}
END_TEST


START_TEST(no_memory)
{
    clear();
    frame(&in, 0x01, "some", 4);
    frame(&in, 0x80, "text", 4);
    expected.error = 1011;

    starved = 1;
    read_all(&in, 0, MAX_MESSAGE);
    starved = 0;

    same();
}
END_TEST


/* Whatever comes, whole and in pieces give the same; the sanitizers watch. */

START_TEST(garbage)
{
    int     i;
    size_t  n;

    for (i = 0; i < (int) (3000 * unit_effort); i++) {

        if (unit_below(2)) {
            random_script();

            for (n = 1 + unit_below(3); n; n--) {
                in.data[unit_below(in.len)] ^= (uint8_t)
                                               (1 << unit_below(8));
            }

        } else {
            clear();
            in.len = 1 + unit_below(200);

            for (n = 0; n < in.len; n++) {
                in.data[n] = (uint8_t) unit_random();
            }

            in.data[0] = (uint8_t) (unit_below(2) ? 0x81 : 0x01);
            in.data[1] |= 0x80;
        }

        read_all(&in, 0, MAX_MESSAGE);
        memcpy(&expected, &got, sizeof(events_t));

        read_all(&in, -1, MAX_MESSAGE);
        same();
        must(got.consumed <= expected.consumed);

        read_all(&in, -2, MAX_MESSAGE);
        same();
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("frame");

    unit_add(s, "any_cut", any_cut);
    unit_add(s, "in_place", in_place);
    unit_add(s, "growth", growth);
    unit_add(s, "no_memory", no_memory);
    unit_add(s, "garbage", garbage);

    return unit_main(s);
}
