
/*
 * Copyright (C) The Astro authors
 *
 * Arrays in binary: what is written is what PostgreSQL expects, byte by byte;
 * what is read is never read beyond its end.
 */

#include <stdlib.h>
#include <string.h>

#include "unit.h"
#include "array.h"
#include "tariff.h"


#define ITEMS  50


START_TEST(bytes)
{
    uint8_t          data[billing_array_size(3)];
    billing_array_t  a;

    static const uint8_t  small[] = {
        0, 0, 0, 1,  0, 0, 0, 0,  0, 0, 0, 21,  0, 0, 0, 2,  0, 0, 0, 1,
        0, 0, 0, 2,  0x01, 0x02,  0, 0, 0, 2,  0xff, 0xfe
    };
    static const uint8_t  none[] = {
        0, 0, 0, 0,  0, 0, 0, 0,  0, 0, 0, 23
    };

    billing_array_open(&a, data, BILLING_ARRAY_INT2);
    billing_array_add(&a, 0x0102);
    billing_array_add(&a, -2);

    ck_assert_int_eq(billing_array_close(&a), sizeof(small));
    ck_assert(memcmp(data, small, sizeof(small)) == 0);

    billing_array_open(&a, data, BILLING_ARRAY_INT4);

    ck_assert_int_eq(billing_array_close(&a), sizeof(none));
    ck_assert(memcmp(data, none, sizeof(none)) == 0);
}
END_TEST


START_TEST(there_and_back)
{
    int              round, i, n;
    int64_t          values[ITEMS];
    uint8_t          data[billing_array_size(ITEMS)];
    size_t           len;
    billing_array_t  a;

    for (round = 0; round < 1000; round++) {

        n = (int) (unit_random() % (ITEMS + 1));
        billing_array_open(&a, data, BILLING_ARRAY_INT8);

        for (i = 0; i < n; i++) {
            values[i] = (int64_t) unit_random();
            billing_array_add(&a, values[i]);
        }

        len = billing_array_close(&a);
        ck_assert_int_eq(billing_array_read(&a, data, len), BILLING_OK);
        ck_assert_int_eq(a.n, n);

        for (i = 0; i < n; i++) {
            ck_assert(billing_array_next(&a) == values[i]);
        }
    }
}
END_TEST


/* the exact length is allocated: a sanitizer sees a byte beyond it */

START_TEST(cut_and_broken)
{
    size_t           len, cut;
    uint8_t          data[billing_array_size(3)], *copy;
    billing_array_t  a;

    billing_array_open(&a, data, BILLING_ARRAY_INT8);
    billing_array_add(&a, 1);
    billing_array_add(&a, 2);
    billing_array_add(&a, 3);
    len = billing_array_close(&a);

    for (cut = 0; cut < len; cut++) {
        copy = malloc(cut ? cut : 1);
        ck_assert_ptr_nonnull(copy);
        memcpy(copy, data, cut);
        ck_assert_int_eq(billing_array_read(&a, copy, cut), BILLING_ERROR);
        free(copy);
    }

    /* a NULL, two dimensions, another type */

    memset(data + 20 + 12, 0xff, 4);
    ck_assert_int_eq(billing_array_read(&a, data, len), BILLING_ERROR);
    memcpy(data + 20 + 12, "\0\0\0\10", 4);
    ck_assert_int_eq(billing_array_read(&a, data, len), BILLING_OK);

    data[3] = 2;
    ck_assert_int_eq(billing_array_read(&a, data, len), BILLING_ERROR);
    data[3] = 1;
    data[11] = 23;
    ck_assert_int_eq(billing_array_read(&a, data, len), BILLING_ERROR);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_array");

    unit_add(s, "bytes", bytes);
    unit_add(s, "there_and_back", there_and_back);
    unit_add(s, "cut_and_broken", cut_and_broken);

    return unit_main(s);
}
