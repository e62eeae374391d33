
/*
 * Copyright (C) The Astro authors
 *
 * See load_hist.h.  Values below 64 have a slot each; above, the top six bits
 * under the leading one choose the slot within the power of two.
 */

#include "load_hist.h"


static unsigned load_hist_slot(uint64_t value);
static uint64_t load_hist_middle(unsigned slot);


void
load_hist_add(load_hist_t *h, uint64_t value)
{
    h->count++;
    h->slot[load_hist_slot(value)]++;

    if (value > h->max) {
        h->max = value;
    }
}


uint64_t
load_hist_quantile(const load_hist_t *h, double share)
{
    unsigned  i;
    uint64_t  seen, wanted, middle;

    if (h->count == 0) {
        return 0;
    }

    seen = 0;
    wanted = (uint64_t) ((double) h->count * share);

    for (i = 0; i < LOAD_HIST_SLOTS; i++) {
        seen += h->slot[i];

        if (seen > wanted) {
            middle = load_hist_middle(i);
            return middle < h->max ? middle : h->max;
        }
    }

    return h->max;
}


static unsigned
load_hist_slot(uint64_t value)
{
    unsigned  shift;

    if (value < LOAD_HIST_SUB) {
        return (unsigned) value;
    }

    shift = 63 - (unsigned) __builtin_clzll(value) - LOAD_HIST_SUB_BITS;

    return (shift + 1) * LOAD_HIST_SUB
           + (unsigned) ((value >> shift) & (LOAD_HIST_SUB - 1));
}


static uint64_t
load_hist_middle(unsigned slot)
{
    uint64_t  low;
    unsigned  shift;

    if (slot < 2 * LOAD_HIST_SUB) {
        return slot;
    }

    shift = slot / LOAD_HIST_SUB - 1;
    low = (uint64_t) (LOAD_HIST_SUB + slot % LOAD_HIST_SUB) << shift;

    return low + ((uint64_t) 1 << (shift - 1));
}
