
/*
 * Copyright (C) The Astro authors
 *
 * How often the same may be said: a few times in a second, then not until the
 * next one, which tells how often it was not.
 */

#ifndef _BILLING_REPEATS_H_INCLUDED_
#define _BILLING_REPEATS_H_INCLUDED_


#include <stdint.h>


#define BILLING_REPEATS_BURST  20       /* of one text in a second */
#define BILLING_REPEATS_TEXTS  64       /* more are not limited */


typedef struct {
    const char  *text;                  /* not owned: literals */
    int64_t      second;
    uint64_t     left_out;              /* since it was said last */
    unsigned     n;                     /* in this second */
} billing_repeat_t;

typedef struct {
    billing_repeat_t  texts[BILLING_REPEATS_TEXTS];
    unsigned          n;
} billing_repeats_t;


/*
 * Whether text may be said in this second.  If so, *left_out is how often it
 * was not, since the last time that it was.
 */
int billing_repeats_may(billing_repeats_t *r, const char *text,
    int64_t second, uint64_t *left_out);


#endif /* _BILLING_REPEATS_H_INCLUDED_ */
