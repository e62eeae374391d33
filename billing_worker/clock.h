
/*
 * Copyright (C) The Astro authors
 *
 * The worker's own clock: it counts on through a suspend, and nobody sets it.
 */

#ifndef _BILLING_CLOCK_H_INCLUDED_
#define _BILLING_CLOCK_H_INCLUDED_


#include <stdint.h>
#include <time.h>


/* ms */
static inline int64_t
billing_clock(void)
{
    struct timespec  t;

    clock_gettime(CLOCK_BOOTTIME, &t);

    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}


#endif /* _BILLING_CLOCK_H_INCLUDED_ */
