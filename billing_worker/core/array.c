
/*
 * Copyright (C) The Astro authors
 *
 * Arrays in binary: see array.h.
 */

#include "array.h"
#include "tariff.h"


#define BILLING_ARRAY_HEAD  20
#define BILLING_ARRAY_ITEM  12          /* of int8: length and value */


static uint8_t *billing_array_word(uint8_t *p, uint32_t word);
static uint32_t billing_array_get(const uint8_t *p);


void
billing_array_open(billing_array_t *a, uint8_t *data,
    billing_array_type_e type)
{
    a->data = data;
    a->pos = data + BILLING_ARRAY_HEAD;
    a->n = 0;
    a->type = type;
}


void
billing_array_add(billing_array_t *a, int64_t value)
{
    uint8_t  *p;

    p = a->pos;

    switch (a->type) {

    case BILLING_ARRAY_INT8:
        p = billing_array_word(p, 8);
        p = billing_array_word(p, (uint32_t) ((uint64_t) value >> 32));
        p = billing_array_word(p, (uint32_t) value);
        break;

    case BILLING_ARRAY_INT4:
        p = billing_array_word(p, 4);
        p = billing_array_word(p, (uint32_t) value);
        break;

    case BILLING_ARRAY_INT2:
        p = billing_array_word(p, 2);
        *p++ = (uint8_t) ((uint64_t) value >> 8);
        *p++ = (uint8_t) value;
        break;
    }

    a->pos = p;
    a->n++;
}


size_t
billing_array_close(billing_array_t *a)
{
    uint8_t  *p;

    p = billing_array_word(a->data, a->n ? 1 : 0);      /* dimensions */
    p = billing_array_word(p, 0);                       /* no NULLs */
    p = billing_array_word(p, a->type);

    if (a->n == 0) {
        return (size_t) (p - a->data);
    }

    p = billing_array_word(p, (uint32_t) a->n);
    (void) billing_array_word(p, 1);                    /* the first index */

    return (size_t) (a->pos - a->data);
}


int
billing_array_read(billing_array_t *a, const uint8_t *data, size_t len)
{
    size_t    i;
    uint32_t  n;

    a->data = NULL;
    a->pos = NULL;
    a->n = 0;
    a->type = BILLING_ARRAY_INT8;

    if (len < 12 || billing_array_get(data + 8) != BILLING_ARRAY_INT8) {
        return BILLING_ERROR;
    }

    if (billing_array_get(data) == 0) {
        return BILLING_OK;
    }

    if (len < BILLING_ARRAY_HEAD || billing_array_get(data) != 1) {
        return BILLING_ERROR;
    }

    n = billing_array_get(data + 12);

    if (n > (len - BILLING_ARRAY_HEAD) / BILLING_ARRAY_ITEM) {
        return BILLING_ERROR;
    }

    /* a NULL has a length of -1 and no value */

    for (i = 0; i < n; i++) {
        if (billing_array_get(data + BILLING_ARRAY_HEAD
                              + i * BILLING_ARRAY_ITEM)
            != 8)
        {
            return BILLING_ERROR;
        }
    }

    a->data = (uint8_t *) data;
    a->pos = a->data + BILLING_ARRAY_HEAD;
    a->n = n;

    return BILLING_OK;
}


int64_t
billing_array_next(billing_array_t *a)
{
    uint64_t  value;

    value = (uint64_t) billing_array_get(a->pos + 4) << 32
            | billing_array_get(a->pos + 8);
    a->pos += BILLING_ARRAY_ITEM;

    return (int64_t) value;
}


static uint8_t *
billing_array_word(uint8_t *p, uint32_t word)
{
    p[0] = (uint8_t) (word >> 24);
    p[1] = (uint8_t) (word >> 16);
    p[2] = (uint8_t) (word >> 8);
    p[3] = (uint8_t) word;

    return p + 4;
}


static uint32_t
billing_array_get(const uint8_t *p)
{
    return (uint32_t) p[0] << 24 | (uint32_t) p[1] << 16
           | (uint32_t) p[2] << 8 | p[3];
}
