
/*
 * Copyright (C) The Astro authors
 *
 * Leaps of the database's clock: see jumps.h.
 */

#include "jumps.h"


/* an answer that took longer says too little of the clock to compare with */
#define BILLING_JUMPS_SLOW_MS  500


static void billing_jumps_add(billing_jumps_t *j, int64_t until_ms,
    int64_t by_ms);


int64_t
billing_jumps_heard(billing_jumps_t *j, int64_t ms, int64_t sent, int64_t got)
{
    int64_t  by, low, high;

    by = 0;
    low = ms - got;
    high = ms - sent;

    if (j->known && low - j->high > BILLING_JUMP_MS) {

        /* the most that it can have been: nothing is to end early */

        by = high - j->low;
        billing_jumps_add(j, j->ms + got - j->sent, by);

    } else if (j->known && j->low - high > BILLING_JUMP_MS) {

        /* put back: what began before the leap before is right again */

        j->n = 0;

    } else if (j->known && got - sent > BILLING_JUMPS_SLOW_MS) {
        return 0;
    }

    j->known = 1;
    j->ms = ms;
    j->sent = sent;
    j->low = low;
    j->high = high;

    return by;
}


static void
billing_jumps_add(billing_jumps_t *j, int64_t until_ms, int64_t by_ms)
{
    unsigned  i;

    if (j->n == BILLING_JUMPS) {

        /* what began before the first began before the second, too */

        j->jumps[1].by_ms += j->jumps[0].by_ms;
        j->n--;

        for (i = 0; i < j->n; i++) {
            j->jumps[i] = j->jumps[i + 1];
        }
    }

    j->jumps[j->n].until_ms = until_ms;
    j->jumps[j->n].by_ms = by_ms;
    j->n++;
}


int64_t
billing_jumps_since(const billing_jumps_t *j, int64_t ms)
{
    unsigned  i;
    int64_t   sum;

    sum = 0;

    for (i = 0; i < j->n; i++) {
        if (ms <= j->jumps[i].until_ms) {
            sum += j->jumps[i].by_ms;
        }
    }

    return sum;
}
