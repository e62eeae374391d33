
/*
 * Copyright (C) The Astro authors
 *
 * Compressed messages: RFC 7692 section 6 and 7.2, and what a hostile client
 * may make of them.
 */

#include <zlib.h>

#include "frames.h"


#define M     "\x00\x00\x00\x00"      /* a mask */
#define BOMB  (16 << 20)


static const astro_ws_ext_t  without_context = { .on = 1, .server_bits = 15,
                                                .client_bits = 15 };
static const astro_ws_ext_t  with_context = { .on = 1, .server_bits = 15,
                                             .client_bits = 15,
                                             .server_takeover = 1,
                                             .client_takeover = 1 };


static void
agree(const astro_ws_ext_t *what, size_t limit)
{
    agreed = *what;
    pool = astro_deflate_pool_create(limit, 4);
    ck_assert_ptr_nonnull(pool);
}


/* All of a connection's memory is given back, whatever it went through. */

static void
disagree(void)
{
    astro_deflate_pool_destroy(pool);
    pool = NULL;
}


/* As a client does: zlib itself, flushed, without its last four octets. */

static size_t
squeeze(z_stream *z, const void *data, size_t len, uint8_t *buf, size_t size)
{
    if (len == 0) {
        buf[0] = 0;
        return 1;
    }

    z->next_in = (uint8_t *) data;
    z->avail_in = (unsigned) len;
    z->next_out = buf;
    z->avail_out = (unsigned) size;

    must(deflate(z, Z_SYNC_FLUSH) == Z_OK);
    must(z->avail_out && z->avail_in == 0);

    return size - z->avail_out - 4;
}


static void
squeezer(z_stream *z, int bits, int level)
{
    memset(z, 0, sizeof(z_stream));
    ck_assert_int_eq(deflateInit2(z, level, Z_DEFLATED, -bits, 8,
                                  Z_DEFAULT_STRATEGY), Z_OK);
}


typedef struct {
    size_t       len;
    const char  *frames;
} vector_t;

/* section 7.2.3: "Hello" in every way that it shows, without masks */

static const vector_t  vectors[] = {
    { 13, "\xc1\x87" M "\xf2\x48\xcd\xc9\xc9\x07\x00" },
    { 19, "\x41\x83" M "\xf2\x48\xcd" "\x80\x84" M "\xc9\xc9\x07\x00" },
    { 17, "\xc1\x8b" M "\x00\x05\x00\xfa\xff" "Hello" "\x00" },
    { 14, "\xc1\x88" M "\xf3\x48\xcd\xc9\xc9\x07\x00\x00" },
    { 19, "\xc1\x8d" M "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07"
      "\x00" }
};


START_TEST(examples)
{
    long    cut;
    size_t  i;

    agree(&without_context, 1 << 20);

    for (i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
        clear();
        memcpy(in.data, vectors[i].frames, vectors[i].len);
        in.len = vectors[i].len;
        expect(ASTRO_WS_TEXT, 0, "Hello", 5);

        for (cut = -2; cut < (long) in.len; cut++) {
            read_all(&in, cut, MAX_MESSAGE);
            same();
        }
    }

    /* 7.2.3.6: the empty message; one that is not compressed in between */

    clear();
    frame(&in, 0xc1, "\x00", 1);
    frame(&in, 0x81, "plain", 5);
    frame(&in, 0xc2, "\x00", 1);
    expect(ASTRO_WS_TEXT, 0, "", 0);
    expect(ASTRO_WS_TEXT, 0, "plain", 5);
    expect(ASTRO_WS_BINARY, 0, "", 0);

    for (cut = -2; cut < (long) in.len; cut++) {
        read_all(&in, cut, MAX_MESSAGE);
        same();
    }

    disagree();

    /* 7.2.3.2: the second time by the window of the first */

    agree(&with_context, 1 << 20);

    clear();
    frame(&in, 0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00", 7);
    frame(&in, 0xc1, "\xf2\x00\x11\x00\x00", 5);
    expect(ASTRO_WS_TEXT, 0, "Hello", 5);
    expect(ASTRO_WS_TEXT, 0, "Hello", 5);

    for (cut = -2; cut < (long) in.len; cut++) {
        read_all(&in, cut, MAX_MESSAGE);
        same();
    }

    /* also when the first ended its stream: the window is the connection's */

    clear();
    frame(&in, 0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8);
    frame(&in, 0xc1, "\xf2\x00\x11\x00\x00", 5);
    expect(ASTRO_WS_TEXT, 0, "Hello", 5);
    expect(ASTRO_WS_TEXT, 0, "Hello", 5);

    for (cut = -2; cut < (long) in.len; cut++) {
        read_all(&in, cut, MAX_MESSAGE);
        same();
    }

    disagree();

    /* and where it was agreed not to keep it, it is not kept */

    agree(&without_context, 1 << 20);

    expected.n = 1;
    expected.error = 1007;

    read_all(&in, 0, MAX_MESSAGE);
    same();

    disagree();
}
END_TEST


typedef struct {
    uint16_t     code;
    size_t       len;
    const char  *frames;
} refused_t;

static const refused_t  refused[] = {

    /* 6: RSV1 on the first frame of a message, and nothing else */
    { 1002, 2, "\xc9\x80" },
    { 1002, 2, "\xca\x80" },
    { 1002, 2, "\xc8\x80" },
    { 1002, 8, "\x01\x80" M "\xc0\x80" },
    { 1002, 8, "\x41\x80" M "\xc0\x80" },
    { 1002, 2, "\xe1\x80" },
    { 1002, 2, "\xd1\x80" },
    { 1002, 2, "\xa1\x80" },
    { 1002, 2, "\x91\x80" },
    { 1002, 2, "\xf2\x80" },
    { 1002, 2, "\xc3\x80" },

    /* 7.2.2: not DEFLATE: a block of type 3, a distance too far back, a
       stored block whose lengths disagree, no end within the message */
    { 1007, 7, "\xc1\x81" M "\x06" },
    { 1007, 9, "\xc1\xfd" M "\xf2\x00\x11" },
    { 1007, 11, "\xc1\x85" M "\x00\x05\x00\xfb\xff" },
    { 1007, 9, "\xc1\x83" M "\xf2\x48\xcd" },
    { 1007, 7, "\xc1\x81" M "\xf2" },

    /* a stream that ended, and not even the octet of the next (7.2.3.4) */
    { 1007, 13, "\xc1\x87" M "\xf3\x48\xcd\xc9\xc9\x07\x00" },

    /* 8.1 of RFC 6455: stored blocks of FF, of E0 80, and half of C3 A9 */
    { 1007, 12, "\xc1\x87" M "\x00\x01\x00\xfe\xff\xff" },
    { 1007, 13, "\xc1\xfd" M "\x00\x02\x00\xfd\xff\xe0\x80" },
    { 1007, 13, "\xc1\x87" M "\x00\x01\x00\xfe\xff\xc3\x00" },

    /* 10.4: more than max_message and an eighth, told from the header */
    { 1009, 8, "\xc1\xfe\x12\x41" M },
    { 1009, 14, "\x42\xff\x00\x00\x00\x00\x00\x01\x00\x00" M }
};


START_TEST(forbidden)
{
    long    cut;
    size_t  i, n;

    for (n = 0; n < 2; n++) {
        agree(n ? &with_context : &without_context, 1 << 20);

        for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
            clear();

            memcpy(in.data, refused[i].frames, refused[i].len);
            in.len = refused[i].len;

            for (cut = -2; cut < (long) in.len; cut++) {
                read_all(&in, cut, MAX_MESSAGE);

                ck_assert_msg(got.n == 0 && got.error == refused[i].code,
                              "case %zu cut at %ld: %u", i, cut, got.error);
            }

            /* told by the last of these octets, not by one before it */

            in.len--;

            if (refused[i].code != 1002 || in.len != 1) {
                read_all(&in, 0, MAX_MESSAGE);
                ck_assert_msg(got.error == 0, "case %zu: told early", i);
            }
        }

        disagree();
    }
}
END_TEST


/* Messages at random, compressed or not, in fragments, cut anywhere. */

static void
scripts(const astro_ws_ext_t *what, size_t limit)
{
    int             i;
    long            cut;
    size_t          n, at, piece, messages;
    uint8_t         data[MAX_MESSAGE], packed[MAX_MESSAGE * 2];
    unsigned        first, opcode;
    z_stream        z;
    const uint8_t  *p;

    agree(what, limit);

    for (i = 0; i < (int) (150 * unit_effort); i++) {
        clear();
        squeezer(&z, 9 + (int) unit_below(7), (int) unit_below(10));

        for (messages = 1 + unit_below(6); messages; messages--) {
            n = unit_below(3) ? unit_below(60) : unit_below(3000);
            opcode = 1 + (unsigned) unit_below(2);

            for (at = 0; at < n; at++) {
                data[at] = (uint8_t) (unit_below(5) ? 'a' + at % 7
                                                    : unit_below(128));
            }

            expect((uint8_t) opcode, 0, data, n);

            p = data;
            first = opcode;

            if (unit_below(4)) {

                if (!what->client_takeover || unit_below(5) == 0) {
                    must(deflateReset(&z) == Z_OK);
                }

                n = squeeze(&z, data, n, packed, sizeof(packed));
                p = packed;
                first |= 0x40;
            }

            for (at = 0; ; at += piece) {
                piece = unit_below(2) ? n - at : unit_below(n - at + 1);

                if (at + piece == n && unit_below(4)) {
                    frame(&in, 0x80 | first, p + at, piece);
                    break;
                }

                frame(&in, first, p + at, piece);
                first = ASTRO_WS_CONT;

                if (unit_below(3) == 0) {
                    frame(&in, 0x89, "between", 7);

                    /* it comes out before the message that it is within */

                    expected.event[expected.n] =
                        expected.event[expected.n - 1];
                    expected.n--;
                    expect(ASTRO_WS_PING, 0, "between", 7);
                    expected.n++;
                }
            }
        }

        (void) deflateEnd(&z);

        for (cut = -2; cut < 1; cut++) {
            read_all(&in, cut, MAX_MESSAGE);
            same();
        }

        for (n = 0; n < 30; n++) {
            read_all(&in, 1 + (long) unit_below(in.len), MAX_MESSAGE);
            same();
        }
    }

    disagree();
}


START_TEST(any_cut)
{
    scripts(&without_context, 1 << 20);
    scripts(&with_context, 1 << 20);
}
END_TEST


/* No stream to borrow: gathered as it came, and the same comes out. */

START_TEST(deferred)
{
    size_t                 base;
    astro_deflate_pool_t  *empty;

    empty = astro_deflate_pool_create(1 << 20, 4);
    base = astro_deflate_pool_used(empty);
    astro_deflate_pool_destroy(empty);

    scripts(&without_context, base + 256);

    /* what is wrong is told, only later; the limits are the same */

    agree(&without_context, base + 256);

    clear();
    frame(&in, 0x41, "\x06", 1);
    frame(&in, 0x80, "\x06", 1);
    expected.error = 1007;
    read_all(&in, -1, MAX_MESSAGE);
    same();

    ck_assert_uint_eq(got.consumed, in.len);

    starved = 1;
    expected.error = 1011;
    read_all(&in, 0, MAX_MESSAGE);
    starved = 0;
    same();

    disagree();
}
END_TEST


/*
 * 16 MB in 16 KB: no octet is inflated, and no memory taken, beyond the limit.
 * At the limit itself there is room.
 */

START_TEST(bomb)
{
    size_t           n, len;
    z_stream         z;
    static uint8_t   zeros[BOMB], packed[BOMB / 64];

    squeezer(&z, 15, 9);
    n = squeeze(&z, zeros, BOMB, packed, sizeof(packed));
    (void) deflateEnd(&z);

    ck_assert_uint_lt(n, 17000);

    agree(&without_context, 1 << 20);

    clear();
    frame(&in, 0xc2, packed, n);
    expected.error = 1009;

    biggest = 0;
    read_all(&in, 0, 65536);
    same();
    ck_assert_uint_le(biggest, 65536);

    /* fed by the octet, the 72nd of thousands is enough */

    read_all(&in, -1, 65536);
    same();
    ck_assert_uint_lt(got.consumed, 200);

    for (len = MAX_MESSAGE - 1; len <= MAX_MESSAGE + 1; len++) {
        squeezer(&z, 15, 9);
        n = squeeze(&z, zeros, len, packed, sizeof(packed));
        (void) deflateEnd(&z);

        clear();
        frame(&in, 0xc2, packed, n);

        if (len <= MAX_MESSAGE) {
            expect(ASTRO_WS_BINARY, 0, zeros, len);

        } else {
            expected.error = 1009;
        }

        read_all(&in, 0, MAX_MESSAGE);
        same();
        read_all(&in, -1, MAX_MESSAGE);
        same();
    }

    disagree();
}
END_TEST


/* Empty blocks for ever inflate to nothing: their own length is limited. */

START_TEST(nothing_for_ever)
{
    size_t  i;

    agree(&without_context, 1 << 20);
    clear();

    for (i = 0; i < 2000; i++) {
        frame(&in, i ? 0x00 : 0x42, "\x00\x00\x00\xff\xff", 5);
    }

    expected.error = 1009;
    read_all(&in, -2, MAX_MESSAGE);
    same();

    ck_assert_uint_lt(got.consumed, (MAX_MESSAGE * 9 / 8 + 64) / 5 * 11 + 20);

    disagree();
}
END_TEST


/* Wrong text is told in the middle of the frame that has it. */

START_TEST(fails_fast)
{
    size_t          i, n;
    uint8_t         packed[4096];
    z_stream        z;
    static uint8_t  data[3000];

    for (i = 0; i < sizeof(data); i++) {
        data[i] = (uint8_t) ('a' + unit_below(26));
    }

    data[500] = 0xff;

    squeezer(&z, 15, 0);        /* stored: octets are where they are */
    n = squeeze(&z, data, sizeof(data), packed, sizeof(packed));
    (void) deflateEnd(&z);

    agree(&without_context, 1 << 20);

    clear();
    frame(&in, 0xc1, packed, n);
    expected.error = 1007;
    read_all(&in, -1, MAX_MESSAGE);
    same();

    ck_assert_uint_lt(got.consumed, 530);

    disagree();
}
END_TEST


/* Who fails in mid-message gives back what it borrowed, though it lingers. */

START_TEST(failed)
{
    size_t              base;
    uint8_t            *pos;
    astro_deflate_t    *other;
    astro_ws_event_t    event;
    astro_ws_reader_t   r;

    agree(&without_context, 1 << 20);
    base = astro_deflate_pool_used(pool);
    disagree();

    /* one to borrow, and not two */

    agree(&without_context, base + base + 256);

    other = astro_deflate_create(pool, &agreed);
    astro_ws_reader_init(&r, MAX_MESSAGE);
    r.deflate = astro_deflate_create(pool, &agreed);

    clear();
    frame(&in, 0x42, "\xf2\x48", 2);
    pos = in.data;
    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_MORE);
    ck_assert_int_eq(astro_inflate_begin(other, 0), -1);

    clear();
    frame(&in, 0x83, "", 0);
    pos = in.data;
    ck_assert_int_eq(astro_ws_read(&r, &pos, in.data + in.len, &event),
                     ASTRO_WS_ERROR);
    ck_assert_int_eq(astro_inflate_begin(other, 0), 0);

    astro_ws_reader_free(&r);
    astro_deflate_destroy(r.deflate);
    astro_deflate_destroy(other);
    disagree();
}
END_TEST


/* Octets that lie: whole and in pieces it is the same; sanitizers watch. */

START_TEST(garbage)
{
    int       i;
    size_t    n, at;
    uint8_t   data[600], packed[1024];
    z_stream  z;

    for (i = 0; i < (int) (2000 * unit_effort); i++) {
        agree(i & 1 ? &with_context : &without_context, 1 << 20);
        clear();
        squeezer(&z, 15, 1 + (int) unit_below(9));

        for (n = 1 + unit_below(3); n; n--) {

            for (at = 0; at < sizeof(data); at++) {
                data[at] = (uint8_t) ('a' + unit_below(4));
            }

            at = squeeze(&z, data, unit_below(sizeof(data)), packed,
                         sizeof(packed));

            if (i % 3) {
                packed[unit_below(at)] ^= (uint8_t) (1 << unit_below(8));
            }

            frame(&in, unit_below(2) ? 0xc1 : 0xc2, packed, at);
        }

        (void) deflateEnd(&z);

        read_all(&in, 0, MAX_MESSAGE);
        memcpy(&expected, &got, sizeof(events_t));

        read_all(&in, -1, MAX_MESSAGE);
        same();
        must(got.consumed <= expected.consumed);

        read_all(&in, -2, MAX_MESSAGE);
        same();

        disagree();
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("frame_deflate");

    unit_add(s, "examples", examples);
    unit_add(s, "forbidden", forbidden);
    unit_add(s, "any_cut", any_cut);
    unit_add(s, "deferred", deferred);
    unit_add(s, "bomb", bomb);
    unit_add(s, "nothing_for_ever", nothing_for_ever);
    unit_add(s, "fails_fast", fails_fast);
    unit_add(s, "failed", failed);
    unit_add(s, "garbage", garbage);

    return unit_main(s);
}
