
/*
 * Copyright (C) The Astro authors
 *
 * The ring, used by one: against a model, and with memory that a fault wrote
 * over.  Between two threads: check_ring_threads.c; with processes that are
 * killed: check_ring_killed.c, check_kills.c.
 */

#include "unit_ring.h"


START_TEST(sizes)
{
    size_t         len;
    astro_ring_t  *ring;

    ck_assert_uint_eq(astro_ring_footprint(0), 0);
    ck_assert_uint_eq(astro_ring_footprint(2048), 0);
    ck_assert_uint_eq(astro_ring_footprint(4095), 0);
    ck_assert_uint_eq(astro_ring_footprint(5000), 0);
    ck_assert_uint_eq(astro_ring_footprint((size_t) 1 << 40), 0);
    ck_assert_uint_gt(astro_ring_footprint(131072), 131072);

    ring = make_ring(SIZE);

    ck_assert_uint_eq(astro_ring_max_record(ring), SIZE / 4);
    ck_assert_ptr_null(astro_ring_reserve(ring, SIZE / 4 + 1));
    ck_assert_ptr_null(astro_ring_reserve(ring, SIZE_MAX));
    ck_assert_ptr_null(astro_ring_reserve(ring, 0));
    ck_assert_ptr_null(astro_ring_peek(ring, &len));
    ck_assert_uint_eq(astro_ring_used(ring), 0);

    /* as every other record, wherever the ring is */

    for (len = 0; len < 200; len++) {
        ck_assert_ptr_nonnull(astro_ring_reserve(ring, SIZE / 4));
        fill(astro_ring_reserve(ring, SIZE / 4), len + 1, SIZE / 4);
        (void) astro_ring_commit(ring, SIZE / 4);

        if (len % 3 == 0) {
            fill(astro_ring_reserve(ring, 17), 1, 17);
            (void) astro_ring_commit(ring, 17);
        }

        while (astro_ring_used(ring)) {
            size_t       n;
            const void  *p;

            p = astro_ring_peek(ring, &n);
            ck_assert_uint_ne(read_mark(p, n), 0);
            astro_ring_release(ring);
        }
    }
}
END_TEST


/* One thread against a list: also what is not visible, and how much fits. */

START_TEST(model)
{
    int            i, full;
    void          *p, *q;
    size_t         len, n, used;
    uint64_t       first, last, state, expect;
    const void    *r;
    astro_ring_t  *ring;

    ring = make_ring(SIZE);

    first = 1;
    last = 0;
    full = 0;
    state = unit_random();

    for (i = 0; i < (int) (400000 * unit_effort); i++) {

        if (unit_below(2)) {
            len = random_len(&state, astro_ring_max_record(ring));

            p = astro_ring_reserve(ring, len);

            if (p == NULL) {
                full++;

                /* no room for this and, at worst, as much to the end */
                used = astro_ring_used(ring);
                must(used + 2 * (len + 15) > SIZE);
                continue;
            }

            /* the same place again, also after a smaller or larger one */

            (void) astro_ring_reserve(ring, 1 + unit_below(1000));

            q = astro_ring_reserve(ring, len);
            must(p == q);

            if (first > last) {
                must(astro_ring_peek(ring, &n) == NULL);
            }

            fill(p, last + 1, len);

            if (unit_below(8) == 0) {
                /* thought better of it */
                continue;
            }

            (void) astro_ring_commit(ring, len);
            last++;
            continue;
        }

        r = astro_ring_peek(ring, &n);

        if (first > last) {
            must(r == NULL);
            must(astro_ring_used(ring) == 0);
            continue;
        }

        expect = read_mark(r, n);
        must(expect == first);

        if (unit_below(8)) {
            astro_ring_release(ring);
            first++;
        }
    }

    ck_assert_int_gt(full, 0);
}
END_TEST


/* a record may turn out shorter than what was reserved for it */

START_TEST(shorter)
{
    int            i;
    void          *p;
    size_t         len, n;
    const void    *r;
    astro_ring_t  *ring;

    ring = make_ring(SIZE);

    for (i = 1; i < 20000; i++) {
        n = 16 + unit_below(astro_ring_max_record(ring) - 15);
        p = astro_ring_reserve(ring, n);
        must(p != NULL);

        n = 16 + unit_below(n - 15);
        fill(p, (uint64_t) i, n);
        (void) astro_ring_commit(ring, n);

        r = astro_ring_peek(ring, &len);
        must(len == n && read_mark(r, len) == (uint64_t) i);
        astro_ring_release(ring);
        must(astro_ring_used(ring) == 0);
    }
}
END_TEST


/* one bell for each sleep, whatever else happens */

START_TEST(bells)
{
    size_t         len;
    astro_ring_t  *ring;

    ring = make_ring(SIZE);

    /* a new ring: the consumer may sleep and not know of it */

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 0);

    ck_assert_int_eq(astro_ring_idle(ring), 0);

    while (astro_ring_peek(ring, &len)) {
        astro_ring_release(ring);
    }

    /* awake: none but the one for the sleep that was not slept */

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    (void) astro_ring_commit(ring, 16);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 0);

    while (astro_ring_peek(ring, &len)) {
        astro_ring_release(ring);
    }

    /* asleep, woken for nothing, asleep at the same place */

    ck_assert_int_eq(astro_ring_idle(ring), 1);
    ck_assert_int_eq(astro_ring_idle(ring), 1);

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);

    ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
    astro_ring_release(ring);
    ck_assert_int_eq(astro_ring_idle(ring), 1);
    ck_assert_int_eq(astro_ring_idle(ring), 1);

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 0);

    /* the producer died before it rang: its successor does */

    astro_ring_adopt(ring);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);
}
END_TEST


/* Records that a fault wrote over: the ring empties itself and goes on. */

START_TEST(overwritten)
{
    int            i, n;
    size_t         len, at, bytes;
    uint8_t       *memory;
    const void    *p;
    astro_ring_t  *ring;

    bytes = astro_ring_footprint(SIZE);

    for (i = 0; i < 3000; i++) {
        ring = make_ring(SIZE);
        memory = (uint8_t *) ring;

        for (n = (int) unit_below(30); n >= 0; n--) {

            if (astro_ring_reserve(ring, 200) == NULL) {
                astro_ring_release(ring);
            }

            p = astro_ring_reserve(ring, 200);

            if (p) {
                fill((void *) (uintptr_t) p, 1, 200);
                (void) astro_ring_commit(ring, 200);
            }

            if (unit_below(2) && astro_ring_peek(ring, &len)) {
                astro_ring_release(ring);
            }
        }

        /* not the indexes, which nobody could check */

        for (n = (int) unit_below(400); n >= 0; n--) {
            at = bytes - SIZE + unit_below(SIZE);
            memory[at] = (uint8_t) unit_random();
        }

        for (n = 0; n < 1000; n++) {
            p = astro_ring_peek(ring, &len);

            if (p == NULL) {
                break;
            }

            must(len <= SIZE / 4);
            must((const uint8_t *) p + len <= memory + bytes);
            astro_ring_release(ring);
        }

        must(n < 1000);
        must(astro_ring_used(ring) == 0);

        /* and works again */

        p = astro_ring_reserve(ring, 100);
        must(p != NULL);
        fill((void *) (uintptr_t) p, 7, 100);
        (void) astro_ring_commit(ring, 100);

        p = astro_ring_peek(ring, &len);
        must(p && len == 100 && read_mark(p, len) == 7);

        (void) munmap(ring, bytes);
    }
}
END_TEST


/* a record whose header is not its own is told, not read */

START_TEST(fault_is_told)
{
    void          *p;
    size_t         len;
    uint32_t       value;
    astro_ring_t  *ring;

    for (value = 0; value < 2; value++) {
        ring = make_ring(SIZE);

        p = astro_ring_reserve(ring, 100);
        (void) astro_ring_commit(ring, 100);

        /* the length, or the tag */

        memset((uint8_t *) p - 8 + 4 * value, 0x7f, 4);

        ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
        ck_assert_uint_eq(len, 0);
        ck_assert_ptr_null(astro_ring_peek(ring, &len));

        /* releasing what was told does not take what comes */

        p = astro_ring_reserve(ring, 100);
        fill(p, 3, 100);
        (void) astro_ring_commit(ring, 100);
        astro_ring_release(ring);

        p = (void *) (uintptr_t) astro_ring_peek(ring, &len);
        ck_assert_uint_eq(read_mark(p, len), 3);
    }

    /* more than was ever committed */

    ring = make_ring(SIZE);

    p = astro_ring_reserve(ring, 100);
    (void) astro_ring_commit(ring, 100);

    value = 500;
    memcpy((uint8_t *) p - 8, &value, 4);

    ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
    ck_assert_uint_eq(len, 0);
    ck_assert_uint_eq(astro_ring_used(ring), 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("ring");

    unit_add(s, "sizes", sizes);
    unit_add(s, "model", model);
    unit_add(s, "shorter", shorter);
    unit_add(s, "bells", bells);
    unit_add(s, "overwritten", overwritten);
    unit_add(s, "fault_is_told", fault_is_told);

    return unit_main(s);
}
