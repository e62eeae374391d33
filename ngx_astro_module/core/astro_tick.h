
/*
 * Copyright (C) The Astro authors
 *
 * Ticks on the wire between the billing worker, which writes them, and the
 * gateways, which read them: a message is "T\n" and then a line for each
 * session that was charged,
 *
 *     <session> <ver> <paid_until_ms> <client> <advisor> <billed_ms> <charged>
 *     <earned> <balance> <left_s>\n
 *
 * numbers in decimal, one blank between two.  A tick changes nothing but money
 * and paid_until, so it needs no snapshot, and hundreds fit into one message.
 * billed_ms 0: nothing was charged, only paid_until has moved; nobody is told.
 */

#ifndef _ASTRO_TICK_H_INCLUDED_
#define _ASTRO_TICK_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_TICK_HEAD  2              /* bytes of "T\n" */
#define ASTRO_TICK_LINE  200            /* at most; ten numbers of 19 digits */


typedef struct {
    int64_t    session;
    int64_t    ver;
    int64_t    paid_until_ms;
    int64_t    client;
    int64_t    advisor;
    int64_t    billed_ms;
    int64_t    charged;                 /* minor units, all of the session */
    int64_t    earned;                  /* the advisor's part of it */
    int64_t    balance;                 /* of the client */
    int64_t    left_s;                  /* what the balance will do for */
} astro_tick_t;


/*
 * Writes one line, at most ASTRO_TICK_LINE bytes; returns where it ends.  NULL:
 * a number is out of the bounds that the reader has.
 */
uint8_t *astro_tick_write(uint8_t *p, const astro_tick_t *t);

/*
 * Reads the line at *pos and moves *pos behind it: 1, or 0 if it is none (t is
 * undefined then, and the next line may be good).  Not at the end.  Within
 * bounds are ids of 1 to ASTRO_ID_TOP, a ver of 31 bits, the rest of 63.
 */
int astro_tick_read(const uint8_t **pos, const uint8_t *last,
    astro_tick_t *t);


#endif /* _ASTRO_TICK_H_INCLUDED_ */
