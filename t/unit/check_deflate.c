
/*
 * Copyright (C) The Astro authors
 *
 * Messages through zlib (RFC 7692 section 7.2), and what that may hold.  What
 * is compressed is read back by zlib itself, with no window larger than what
 * was agreed.
 */

#include <zlib.h>

#include "unit.h"

#include "astro_deflate.h"


#define LARGE  200000


static uint8_t  text[LARGE], packed[LARGE + 64], out[LARGE];


/* A reader of what we sent, as a client has one. */

static void
peer_init(z_stream *z, int bits)
{
    memset(z, 0, sizeof(z_stream));
    ck_assert_int_eq(inflateInit2(z, -bits), Z_OK);
}


static size_t
peer_read(z_stream *z, size_t n)
{
    memcpy(packed + n, ASTRO_INFLATE_TAIL, ASTRO_INFLATE_TAIL_LEN);

    z->next_in = packed;
    z->avail_in = (unsigned) n + ASTRO_INFLATE_TAIL_LEN;
    z->next_out = out;
    z->avail_out = LARGE;

    must(inflate(z, Z_SYNC_FLUSH) == Z_OK);
    must(z->avail_in == 0);

    return LARGE - z->avail_out;
}


/* Words from a small set, so that matches lie at all distances. */

static void
make_text(size_t n)
{
    size_t  i, at;

    for (i = 0; i < n; /* void */ ) {

        if (i > 16 && unit_below(4)) {
            at = unit_below(i - 8);

            for (at = i - 8 - at; i < n && unit_below(12); i++, at++) {
                text[i] = text[at];
            }

            continue;
        }

        text[i++] = (uint8_t) ('a' + unit_below(26));
    }
}


static astro_deflate_t *
make(astro_deflate_pool_t *pool, int bits, int takeover)
{
    astro_ws_ext_t  agreed;

    memset(&agreed, 0, sizeof(agreed));

    agreed.on = 1;
    agreed.server_bits = (uint8_t) bits;
    agreed.client_bits = 15;
    agreed.server_takeover = takeover ? 1 : 0;
    agreed.client_takeover = takeover ? 1 : 0;

    return astro_deflate_create(pool, &agreed);
}


static size_t
compress_message(astro_deflate_t *d, size_t from, size_t len, size_t size)
{
    size_t        cut[2];
    struct iovec  part[4];

    cut[0] = unit_below(len + 1);
    cut[1] = cut[0] + unit_below(len - cut[0] + 1);

    part[0].iov_base = text + from;
    part[0].iov_len = cut[0];
    part[1].iov_base = text + from + cut[0];
    part[1].iov_len = cut[1] - cut[0];
    part[2].iov_base = text + from + cut[1];
    part[2].iov_len = len - cut[1];
    part[3].iov_base = NULL;
    part[3].iov_len = 0;

    return astro_deflate_message(d, part, 4, packed, size);
}


/*
 * Every window, with and without context, whatever fits and what does not: a
 * peer with exactly that window is always in step.
 */

START_TEST(round_trips)
{
    int                    bits, takeover, i;
    size_t                 n, from, len, size;
    z_stream               peer;
    astro_deflate_t       *d;
    astro_deflate_pool_t  *pool;

    pool = astro_deflate_pool_create(8 << 20, 4);
    ck_assert_ptr_nonnull(pool);

    for (bits = 9; bits <= 15; bits++) {
        for (takeover = 0; takeover < 2; takeover++) {

            make_text(LARGE);
            peer_init(&peer, bits);
            d = make(pool, bits, takeover);
            ck_assert_ptr_nonnull(d);

            for (i = 0; i < (int) (150 * unit_effort); i++) {
                len = unit_below(8) ? unit_below(2000) : unit_below(100000);
                from = unit_below(LARGE - len);
                size = unit_below(4) ? len + 16 : unit_below(len + 16) + 1;

                memset(packed, 0xa5, size + 8);
                n = compress_message(d, from, len, size);

                must(n <= size);
                must(packed[size] == 0xa5 && packed[size + 7] == 0xa5);

                if (n == 0) {
                    continue;
                }

                if (!takeover) {
                    must(inflateReset(&peer) == Z_OK);
                }

                must(peer_read(&peer, n) == len);
                must(memcmp(out, text + from, len) == 0);
            }

            (void) inflateEnd(&peer);
            astro_deflate_destroy(d);
        }
    }

    astro_deflate_pool_destroy(pool);
}
END_TEST


/* 7.2.3.6, also the second time, when zlib has nothing to flush */

START_TEST(empty_message)
{
    int                    i;
    z_stream               peer;
    astro_deflate_t       *d;
    astro_deflate_pool_t  *pool;

    pool = astro_deflate_pool_create(1 << 20, 4);
    d = make(pool, 12, 1);
    peer_init(&peer, 12);

    for (i = 0; i < 6; i++) {
        ck_assert_uint_eq(astro_deflate_message(d, NULL, 0, packed, 1), 1);
        ck_assert_uint_eq(packed[0], 0);
        ck_assert_uint_eq(peer_read(&peer, 1), 0);

        memcpy(text, "hello hello hello", 17);
        ck_assert_uint_gt(compress_message(d, 0, 17, 64), 1);
    }

    (void) inflateEnd(&peer);
    astro_deflate_destroy(d);
    astro_deflate_pool_destroy(pool);
}
END_TEST


/* 7.2.1: what ends a message is not sent, and context makes it shorter */

START_TEST(shorter_with_context)
{
    size_t                 i, first, again, alone;
    astro_deflate_t       *with, *without;
    astro_deflate_pool_t  *pool;

    /* nothing in it stands there twice */

    for (i = 0; i < 1000; i++) {
        text[i] = (uint8_t) ('a' + unit_below(26));
    }

    pool = astro_deflate_pool_create(1 << 20, 4);
    with = make(pool, 12, 1);
    without = make(pool, 12, 0);

    first = compress_message(with, 0, 1000, 1016);
    ck_assert_uint_ne(packed[first - 1], 0xff);
    again = compress_message(with, 0, 1000, 1016);

    alone = compress_message(without, 0, 1000, 1016);
    ck_assert_uint_eq(compress_message(without, 0, 1000, 1016), alone);

    ck_assert_uint_lt(again * 4, first);

    astro_deflate_destroy(with);
    astro_deflate_destroy(without);
    astro_deflate_pool_destroy(pool);
}
END_TEST


#define MANY  64


/* Never over the limit; refused beyond it; all given back. */

START_TEST(memory)
{
    int                    i, n, round;
    size_t                 base, limit, each;
    astro_deflate_t       *d[MANY];
    astro_deflate_pool_t  *pool;

    limit = 1 << 20;
    pool = astro_deflate_pool_create(limit, 4);
    base = astro_deflate_pool_used(pool);

    /* the one inflater that is kept, and nothing else */

    ck_assert_uint_gt(base, 32768);
    ck_assert_uint_lt(base, 50000);

    for (round = 0; round < 3; round++) {

        for (n = 0; n < MANY; n++) {
            d[n] = make(pool, 15, 1);
            ck_assert_uint_le(astro_deflate_pool_used(pool), limit);

            if (d[n] == NULL) {
                break;
            }
        }

        ck_assert_int_gt(n, 2);
        ck_assert_int_lt(n, 8);

        /* there are none left, so nothing is shared either: sent as it is */

        d[n] = make(pool, 9, 0);

        if (d[n]) {
            n++;
        }

        for (i = 0; i < n; i++) {
            astro_deflate_destroy(d[i]);
        }

        ck_assert_uint_eq(astro_deflate_pool_used(pool), base);
    }

    /* without context a connection is only a note of what was agreed */

    for (i = 0; i < MANY; i++) {
        d[i] = make(pool, 12, 0);
        ck_assert_ptr_nonnull(d[i]);
    }

    each = (astro_deflate_pool_used(pool) - base) / MANY;
    ck_assert_uint_le(each, 64);

    for (i = 0; i < MANY; i++) {
        astro_deflate_destroy(d[i]);
    }

    ck_assert_uint_eq(astro_deflate_pool_used(pool), base);
    astro_deflate_pool_destroy(pool);
}
END_TEST


/*
 * Streams to inflate are borrowed while there are any, and given back; the last
 * one is there for whoever takes it and ends at once.
 */

START_TEST(borrowing)
{
    int                    i, n;
    size_t                 most;
    astro_deflate_t       *d[MANY];
    astro_deflate_pool_t  *pool;

    pool = astro_deflate_pool_create(ASTRO_DEFLATE_MIN_LIMIT, 4);
    ck_assert_ptr_nonnull(pool);

    for (i = 0; i < MANY; i++) {
        d[i] = make(pool, 12, 0);
        ck_assert_ptr_nonnull(d[i]);
    }

    for (n = 0; n < MANY && astro_inflate_begin(d[n], 0) == 0; n++) {
        /* void */
    }

    ck_assert_int_gt(n, 0);
    ck_assert_int_lt(n, 4);

    most = astro_deflate_pool_used(pool);
    ck_assert_uint_le(most, ASTRO_DEFLATE_MIN_LIMIT);

    ck_assert_int_eq(astro_inflate_begin(d[n], 1), 0);
    (void) astro_inflate_end(d[n]);
    ck_assert_int_eq(astro_inflate_begin(d[n + 1], 1), 0);
    (void) astro_inflate_end(d[n + 1]);
    ck_assert_uint_eq(astro_deflate_pool_used(pool), most);

    /* one that is given back serves the next; giving up gives back, too */

    (void) astro_inflate_end(d[0]);
    ck_assert_int_eq(astro_inflate_begin(d[n], 0), 0);
    ck_assert_int_eq(astro_inflate_begin(d[0], 0), -1);

    for (i = 0; i < MANY; i++) {
        astro_deflate_destroy(d[i]);
    }

    ck_assert_uint_lt(astro_deflate_pool_used(pool), most);
    astro_deflate_pool_destroy(pool);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("deflate");

    unit_add(s, "round_trips", round_trips);
    unit_add(s, "empty_message", empty_message);
    unit_add(s, "shorter_with_context", shorter_with_context);
    unit_add(s, "memory", memory);
    unit_add(s, "borrowing", borrowing);

    return unit_main(s);
}
