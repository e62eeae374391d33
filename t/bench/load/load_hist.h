
/*
 * Copyright (C) The Astro authors
 *
 * A histogram of durations whose slots grow with the value: 64 slots for each
 * power of two, so that a quantile read from it is within 1.6 % of the truth
 * from 1 ns to centuries, at a fixed 30 KB and one increment a sample.
 */

#ifndef _LOAD_HIST_H_INCLUDED_
#define _LOAD_HIST_H_INCLUDED_


#include <stdint.h>


#define LOAD_HIST_SUB_BITS  6
#define LOAD_HIST_SUB       (1 << LOAD_HIST_SUB_BITS)
#define LOAD_HIST_SLOTS     ((64 - LOAD_HIST_SUB_BITS + 1) * LOAD_HIST_SUB)


typedef struct {
    uint64_t  count;
    uint64_t  max;          /* exact */
    uint64_t  slot[LOAD_HIST_SLOTS];
} load_hist_t;


/* A zeroed histogram is an empty one. */
void load_hist_add(load_hist_t *h, uint64_t value);

/* The value below which "share" (0..1) of the samples lie; 0 if none. */
uint64_t load_hist_quantile(const load_hist_t *h, double share);


#endif /* _LOAD_HIST_H_INCLUDED_ */
