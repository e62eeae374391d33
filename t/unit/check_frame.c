
/*
 * Copyright (C) The Astro authors
 *
 * Framing.  Scripts of messages are turned into frames by a writer of the
 * test's own and read back in pieces of every kind; what comes out may depend
 * on the frames alone, never on the cuts.
 */

#include <sys/mman.h>

#include "unit.h"

static size_t  biggest;     /* realloc() asked for so far */
static int     starved;     /* realloc() gives nothing */

static void *starving_realloc(void *p, size_t size);

/* the unit itself, with memory that can run out */

#define realloc  starving_realloc
#include "astro_frame.c"
#undef realloc


#define MAX_MESSAGE  4096
#define MAX_EVENTS   64
#define STREAM       65536


typedef struct {
    uint8_t     opcode;
    uint16_t    code;
    size_t      len;
    uint8_t     data[MAX_MESSAGE];
} event_t;

typedef struct {
    size_t      n;
    uint16_t    error;      /* close code, 0: none */
    size_t      consumed;   /* octets, when it failed */
    event_t     event[MAX_EVENTS];
} events_t;

typedef struct {
    size_t      len;
    uint8_t     data[STREAM];
} stream_t;


static stream_t  in;
static events_t  expected, got;


static void *
starving_realloc(void *p, size_t size)
{
    if (size > biggest) {
        biggest = size;
    }

    return starved ? NULL : realloc(p, size);
}


/* A frame as a client sends it. */

static void
frame(stream_t *s, unsigned first, const void *data, size_t len)
{
    size_t    i;
    uint8_t  *p, mask[4];

    p = s->data + s->len;
    *p++ = (uint8_t) first;

    if (len < 126) {
        *p++ = (uint8_t) (0x80 | len);

    } else if (len < 65536) {
        *p++ = 0x80 | 126;
        *p++ = (uint8_t) (len >> 8);
        *p++ = (uint8_t) len;

    } else {
        *p++ = 0x80 | 127;

        for (i = 8; i > 0; i--) {
            *p++ = (uint8_t) ((uint64_t) len >> (i - 1) * 8);
        }
    }

    for (i = 0; i < 4; i++) {
        mask[i] = (uint8_t) unit_random();
        *p++ = mask[i];
    }

    for (i = 0; i < len; i++) {
        *p++ = ((const uint8_t *) data)[i] ^ mask[i % 4];
    }

    s->len = (size_t) (p - s->data);

    ck_assert(s->len <= STREAM);
}


/*
 * Reads the stream in pieces: pieces == 0: whole; 1 .. len: cut there, once;
 * -1: octet by octet; -2: at random.  Each piece is given in memory of exactly
 * its size, so that a sanitizer sees one octet too many.
 */

static void
read_all(const stream_t *s, long pieces, size_t max_message)
{
    size_t              at, n;
    uint8_t            *piece, *pos;
    event_t            *e;
    astro_ws_rc_e       rc;
    astro_ws_event_t    event;
    astro_ws_reader_t   r;

    memset(&got, 0, offsetof(events_t, event));

    astro_ws_reader_init(&r, max_message);
    rc = ASTRO_WS_MORE;

    for (at = 0; at < s->len && rc != ASTRO_WS_ERROR; at += n) {

        n = s->len - at;

        if (pieces > 0 && at == 0) {
            n = (size_t) pieces;

        } else if (pieces == -1) {
            n = 1;

        } else if (pieces == -2) {
            n = 1 + unit_below(unit_below(4) ? 12 : 400);
        }

        if (n > s->len - at) {
            n = s->len - at;
        }

        piece = malloc(n);
        ck_assert_ptr_nonnull(piece);
        memcpy(piece, s->data + at, n);

        pos = piece;

        for ( ;; ) {
            memset(&event, 0xa5, sizeof(event));

            rc = astro_ws_read(&r, &pos, piece + n, &event);

            must(pos <= piece + n);
            must(r.message_size <= max_message);

            if (rc == ASTRO_WS_MORE) {
                must(pos == piece + n);
                break;
            }

            if (rc == ASTRO_WS_ERROR) {
                must(event.reason && strlen(event.reason) <= 60);
                must(event.code);

                got.error = event.code;
                got.consumed = at + (size_t) (pos - piece);
                break;
            }

            must(got.n < MAX_EVENTS);
            must(event.len <= MAX_MESSAGE);

            e = &got.event[got.n++];

            e->opcode = event.opcode;
            e->code = event.code;
            e->len = event.len;
            memcpy(e->data, event.data, event.len);
        }

        free(piece);
    }

    if (rc == ASTRO_WS_ERROR) {
        /* and for good */
        pos = in.data;
        must(astro_ws_read(&r, &pos, in.data + 1, &event) == ASTRO_WS_ERROR);
    }

    /* nothing is held between messages, once the reader was called again */

    if (rc == ASTRO_WS_MORE && r.message_opcode == 0 && r.in_payload == 0) {
        must(r.message == NULL);
    }

    astro_ws_reader_free(&r);
    astro_ws_reader_free(&r);

    must(r.message == NULL);
}


static void
same(void)
{
    size_t  i;

    must(got.n == expected.n);
    must(got.error == expected.error);

    for (i = 0; i < got.n; i++) {
        must(got.event[i].opcode == expected.event[i].opcode);
        must(got.event[i].code == expected.event[i].code);
        must(got.event[i].len == expected.event[i].len);
        must(memcmp(got.event[i].data, expected.event[i].data,
                    got.event[i].len)
             == 0);
    }
}


static void
expect(uint8_t opcode, uint16_t code, const void *data, size_t len)
{
    event_t  *e;

    e = &expected.event[expected.n++];

    e->opcode = opcode;
    e->code = code;
    e->len = len;
    memcpy(e->data, data, len);
}


static void
clear(void)
{
    in.len = 0;
    memset(&expected, 0, offsetof(events_t, event));
}


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


/* what the RFC forbids, up to the octet that says so */

typedef struct {
    uint16_t     code;
    size_t       len;
    const char  *frames;
} invalid_t;

#define M  "\x00\x00\x00\x00"

static const invalid_t  invalid[] = {
    { 1002, 2, "\xc1\x80" },                        /* RSV1 */
    { 1002, 2, "\xa1\x80" },                        /* RSV2 */
    { 1002, 2, "\x91\x80" },                        /* RSV3 */
    { 1002, 2, "\x81\x00" },                        /* no mask */
    { 1002, 3, "\x81\x01" "a" },
    { 1002, 2, "\x83\x80" },                        /* unknown opcodes */
    { 1002, 2, "\x84\x80" },
    { 1002, 2, "\x87\x80" },
    { 1002, 2, "\x8b\x80" },
    { 1002, 2, "\x8f\x80" },
    { 1002, 2, "\x09\x80" },                        /* fragmented ping */
    { 1002, 2, "\x08\x80" },
    { 1002, 2, "\x0a\x80" },
    { 1002, 2, "\x89\xfe" },                        /* ping of 126 octets */
    { 1002, 2, "\x88\xff" },
    { 1002, 2, "\x80\x80" },                        /* nothing to continue */
    { 1002, 2, "\x00\x80" },
    { 1002, 8, "\x01\x80" M "\x81\x80" },           /* start within */
    { 1002, 8, "\x01\x80" M "\x02\x80" },
    { 1002, 8, "\x81\xfe\x00\x7d" M },              /* not the shortest */
    { 1002, 8, "\x81\xfe\x00\x00" M },
    { 1002, 14, "\x81\xff\x00\x00\x00\x00\x00\x00\xff\xff" M },
    { 1002, 14, "\x81\xff\x00\x00\x00\x00\x00\x00\x00\x01" M },
    { 1002, 14, "\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00" M },
    { 1002, 14, "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff" M },
    { 1009, 14, "\x81\xff\x40\x00\x00\x00\x00\x00\x00\x00" M },
    { 1009, 14, "\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff" M },
    { 1009, 14, "\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00" M },
    { 1009, 8, "\x82\xfe\x10\x01" M },              /* one too many */
    { 1009, 15, "\x02\x81" M "a" "\x80\xfe\x10\x00" M },
    { 1002, 7, "\x88\x81" M "\x03" },               /* half a close code */
    { 1007, 9, "\x88\x83" M "\x03\xe8\xff" },       /* reason */
    { 1007, 9, "\x88\x83" M "\x03\xe8\xc3" },
    { 1007, 7, "\x81\x81" M "\xff" },               /* text */
    { 1007, 7, "\x81\x81" M "\xc3" },
    { 1007, 8, "\x81\x82" M "\xed\xa0" },
    { 1007, 7, "\x01\x81" M "\x80" },
    { 1007, 13, "\x01\x81" M "\xc3" "\x80\x80" M },
    { 1007, 14, "\x01\x81" M "\xc3" "\x80\x81" M "a" },
    { 1007, 8, "\x81\xfd" M "\xe0\x80" }            /* long before its end */
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

    s = suite_create("frame");

    unit_add(s, "any_cut", any_cut);
    unit_add(s, "forbidden", forbidden);
    unit_add(s, "close_codes", close_codes);
    unit_add(s, "limits", limits);
    unit_add(s, "in_place", in_place);
    unit_add(s, "growth", growth);
    unit_add(s, "no_memory", no_memory);
    unit_add(s, "garbage", garbage);
    unit_add(s, "headers", headers);
    unit_add(s, "accept_key", accept_key);

    return unit_main(s);
}
