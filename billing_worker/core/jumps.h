
/*
 * Copyright (C) The Astro authors
 *
 * Leaps of the database's clock.  Deadlines (ring_seconds, grace_seconds) run
 * from an instant that its clock wrote to what it says now; if somebody sets it
 * forward meanwhile, all would be over at once.  So what it says is compared
 * with our own clock, and a leap is taken off again for what began before it.
 *
 * No I/O, no clock.
 */

#ifndef _BILLING_JUMPS_H_INCLUDED_
#define _BILLING_JUMPS_H_INCLUDED_


#include <stdint.h>


#define BILLING_JUMPS     8         /* that are remembered; more are added up */
#define BILLING_JUMP_MS   1000      /* less is none: slewing, our own guesses */


typedef struct {
    int64_t           until_ms;     /* what began up to here, by that clock */
    int64_t           by_ms;
} billing_jump_t;

typedef struct {
    billing_jump_t    jumps[BILLING_JUMPS];
    unsigned          n;
    unsigned          known:1;
    int64_t           ms;           /* what it said last, asked at sent */
    int64_t           sent;
    int64_t           low;          /* its clock less ours is between these */
    int64_t           high;
} billing_jumps_t;


/*
 * It said ms, between sent and got of our clock.  Returns by how much it leapt
 * forward, no less than it was; 0: it did not.
 */
int64_t billing_jumps_heard(billing_jumps_t *j, int64_t ms, int64_t sent,
    int64_t got);

/* How much of the time since ms, as that clock has it, there never was. */
int64_t billing_jumps_since(const billing_jumps_t *j, int64_t ms);


#endif /* _BILLING_JUMPS_H_INCLUDED_ */
