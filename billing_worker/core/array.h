
/*
 * Copyright (C) The Astro authors
 *
 * Arrays of integers as PostgreSQL sends and receives them in binary: a header
 * of five words, then a length and a value for each.  To write and to read
 * digits took four times as long.
 */

#ifndef _BILLING_ARRAY_H_INCLUDED_
#define _BILLING_ARRAY_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


/* what PostgreSQL calls the types: their oids; append picks the width */
typedef enum {
    BILLING_ARRAY_INT8 = 20,
    BILLING_ARRAY_INT2 = 21,
    BILLING_ARRAY_INT4 = 23
} billing_array_type_e;

/* Of a size that is known before, in the caller's memory. */
typedef struct {
    uint8_t               *data;
    uint8_t               *pos;
    size_t                 n;
    billing_array_type_e   type;
} billing_array_t;


/* What an array of n takes at most. */
#define billing_array_size(n)  (20 + (size_t) (n) * 12)


void billing_array_open(billing_array_t *a, uint8_t *data,
    billing_array_type_e type);
void billing_array_add(billing_array_t *a, int64_t value);

/* Its length in bytes. */
size_t billing_array_close(billing_array_t *a);


/*
 * Reads one of int8, without NULLs, of one dimension, or an empty one: n is how
 * many there are.  BILLING_ERROR: it is something else.
 */
int billing_array_read(billing_array_t *a, const uint8_t *data, size_t len);

/* The next of n; nobody looks whether there is one. */
int64_t billing_array_next(billing_array_t *a);


#endif /* _BILLING_ARRAY_H_INCLUDED_ */
