
/*
 * Copyright (C) The Astro authors
 *
 * The arena's formatting, and its rings.
 */

#include "unit_arena.h"


START_TEST(confs)
{
    size_t   i;
    uint8_t  *p;

    static const astro_arena_conf_t  bad[] = {
        { 0, 4096, 64 }, { 1, 4096, 64 }, { 65, 4096, 64 },
        { 2, 0, 64 }, { 2, 2048, 64 }, { 2, 5000, 64 },
        { 2, 4096, 0 }, { 2, 4096, 32 }, { 2, 4096, 100 }
    };

    static const astro_arena_conf_t  good[] = {
        { 2, 4096, 64 }, { 16, 131072, 65536 }, { 64, 4096, 1024 },
        { 3, 65536, 128 }
    };

    p = memory(1 << 20);

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_uint_eq(astro_arena_footprint(&bad[i]), 0);
        ck_assert_int_eq(astro_arena_format(p, 1 << 20, &bad[i]),
                         ASTRO_ARENA_BAD_CONF);
        ck_assert_int_eq(astro_arena_check(p, 1 << 20, &bad[i]),
                         ASTRO_ARENA_BAD_CONF);
    }

    for (i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        ck_assert_uint_eq(astro_arena_seats(make(&good[i])), good[i].seats);
    }
}
END_TEST


/* Memory of any size at any place: either too small, or nothing beyond it. */

START_TEST(sizes)
{
    int                  from, to, rings;
    void                *base;
    size_t               size, full, start, len;
    uint8_t             *p, *last;
    astro_ring_t        *ring;
    astro_arena_rc_e     rc;
    astro_arena_conf_t   conf = { 5, 4096, 256 };

    full = astro_arena_footprint(&conf);
    base = memory(full + 64);

    for (start = 0; start < 64; start += 8) {
        for (size = full / 2 & ~(size_t) 7; size <= full; size += 1000) {

            p = (uint8_t *) base + start;
            last = p + size;

            memset(base, 0, full + 64);
            memset(last, 0x5a, (size_t) ((uint8_t *) base + full + 64
                                         - last));

            rc = astro_arena_format(p, size, &conf);

            if (rc == ASTRO_ARENA_TOO_SMALL) {
                must(size < full - 7 * astro_ring_footprint(4096));
                continue;
            }

            must(rc == ASTRO_ARENA_OK);
            must(astro_arena_check(p, size, &conf) == ASTRO_ARENA_OK);

            rings = 0;

            for (from = 0; from < 5; from++) {
                for (to = 0; to < 5; to++) {
                    ring = astro_arena_ring((astro_arena_t *) p, from, to, 1);

                    if (ring == NULL) {
                        continue;
                    }

                    rings++;

                    /* fill it all: pages beyond would show */

                    for (len = 0; len < 8; len++) {
                        void  *r;

                        r = astro_ring_reserve(ring, 1000);

                        if (r) {
                            memset(r, 0xff, 1000);
                            (void) astro_ring_commit(ring, 1000);
                        }
                    }
                }
            }

            must(rings >= 12 && rings <= 20);
            must(size < full || rings == 20);

            for (len = 0; len < 64 && last + len < (uint8_t *) base + full;
                 len++)
            {
                must(last[len] == 0x5a);
            }
        }
    }
}
END_TEST


START_TEST(checked)
{
    size_t               i, size;
    uint8_t             *p;
    astro_arena_conf_t   other;

    size = astro_arena_footprint(&small);
    p = memory(size + 4096);

    ck_assert_int_eq(astro_arena_check(p, size, &small),
                     ASTRO_ARENA_MISMATCH);
    ck_assert_int_eq(astro_arena_format(p, size, &small), ASTRO_ARENA_OK);
    ck_assert_int_eq(astro_arena_check(p, size, &small), ASTRO_ARENA_OK);

    /* in use, it stays what it is */

    ck_assert_int_eq(astro_seat_claim((astro_arena_t *) p, 0), 0);
    ck_assert_ptr_nonnull(astro_arena_ring((astro_arena_t *) p, 0, 1, 1));
    ck_assert_int_eq(astro_arena_check(p, size, &small), ASTRO_ARENA_OK);

    for (i = 0; i < 3; i++) {
        other = small;

        if (i == 0) {
            other.seats = 4;

        } else if (i == 1) {
            other.ring_size = 8192;

        } else {
            other.registry_slots = 512;
        }

        ck_assert_int_eq(astro_arena_check(p, size, &other),
                         ASTRO_ARENA_MISMATCH);
    }

    ck_assert_int_eq(astro_arena_check(p, size + 4096, &small),
                     ASTRO_ARENA_MISMATCH);
    ck_assert_int_eq(astro_arena_check(p, 8, &small), ASTRO_ARENA_TOO_SMALL);

    /* another magic, another version */

    p[0] ^= 1;
    ck_assert_int_eq(astro_arena_check(p, size, &small),
                     ASTRO_ARENA_MISMATCH);
}
END_TEST


/* a zone made anew is another one; one found again is the same */

START_TEST(named)
{
    void                *base;
    size_t               size;
    uint64_t             id;
    astro_arena_conf_t   conf = { 4, 4096, 256 };

    size = astro_arena_footprint(&conf);
    base = memory(size);

    must(astro_arena_format(base, size, &conf) == ASTRO_ARENA_OK);
    id = astro_arena_id(base);
    must(id != 0);
    must(astro_arena_check(base, size, &conf) == ASTRO_ARENA_OK);
    must(astro_arena_id(base) == id);

    memset(base, 0, size);
    must(astro_arena_format(base, size, &conf) == ASTRO_ARENA_OK);
    must(astro_arena_id(base) != 0 && astro_arena_id(base) != id);
}
END_TEST



START_TEST(rings)
{
    int             from, to;
    astro_ring_t   *ring[8][8];
    astro_arena_t  *a;

    a = make(&small);

    ck_assert_ptr_null(astro_arena_ring(a, 0, 0, 1));
    ck_assert_ptr_null(astro_arena_ring(a, -1, 0, 1));
    ck_assert_ptr_null(astro_arena_ring(a, 0, -1, 1));
    ck_assert_ptr_null(astro_arena_ring(a, 8, 0, 1));
    ck_assert_ptr_null(astro_arena_ring(a, 0, 8, 1));

    for (from = 0; from < 8; from++) {
        for (to = 0; to < 8; to++) {

            if (from == to) {
                continue;
            }

            ck_assert_ptr_null(astro_arena_ring(a, from, to, 0));

            ring[from][to] = astro_arena_ring(a, from, to, 1);
            ck_assert_ptr_nonnull(ring[from][to]);
            ck_assert_uint_eq((uintptr_t) ring[from][to] % 64, 0);
            ck_assert_uint_eq(astro_ring_max_record(ring[from][to]), 1024);

            ck_assert_ptr_nonnull(astro_ring_reserve(ring[from][to], 8));
            *(int64_t *) astro_ring_reserve(ring[from][to], 8) = from * 8
                                                                 + to;
            (void) astro_ring_commit(ring[from][to], 8);
        }
    }

    for (from = 0; from < 8; from++) {
        for (to = 0; to < 8; to++) {
            size_t  len;

            if (from == to) {
                continue;
            }

            ck_assert_ptr_eq(astro_arena_ring(a, from, to, 1),
                             ring[from][to]);
            ck_assert_int_eq(*(const int64_t *)
                             astro_ring_peek(ring[from][to], &len),
                             from * 8 + to);
        }
    }
}
END_TEST


/* Killed between the two stores of an allotment: the slot is used after all. */

START_TEST(rings_cost_nothing_to_die)
{
    int                i, from, to, n;
    astro_arena_t     *a;
    _Atomic uint32_t  *table;

    a = make(&small);
    table = astro_arena_at(a, a->table_at);

    for (i = 0; i < 1000; i++) {
        ck_assert_ptr_nonnull(astro_arena_ring(a, 2, 5, 1));
        atomic_store(&table[2 * 8 + 5], 0);
    }

    n = 0;

    for (from = 0; from < 8; from++) {
        for (to = 0; to < 8; to++) {
            n += astro_arena_ring(a, from, to, 1) != NULL;
        }
    }

    ck_assert_int_eq(n, 56);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("arena");

    unit_add(s, "confs", confs);
    unit_add(s, "sizes", sizes);
    unit_add(s, "checked", checked);
    unit_add(s, "named", named);
    unit_add(s, "rings", rings);
    unit_add(s, "rings_cost_nothing_to_die", rings_cost_nothing_to_die);

    return unit_main(s);
}
