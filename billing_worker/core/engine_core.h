
/*
 * Copyright (C) The Astro authors
 *
 * What the parts of the engine share; nobody else includes this.
 */

#ifndef _BILLING_ENGINE_CORE_H_INCLUDED_
#define _BILLING_ENGINE_CORE_H_INCLUDED_


#include "engine.h"


/* a timer that fires this little before its grid point is on time */
#define BILLING_EARLY_MS      50

/* a session that waits for its gateways is looked at this often */
#define BILLING_POLL_MS       250

/* nothing can happen but by a change of the row */
#define BILLING_IDLE_MS       60000


typedef struct {
    billing_facts_t           *f;
    const billing_settings_t  *s;
    billing_decision_t        *d;

    int64_t                    committed;   /* charged + held */
    int64_t                    funds;       /* committed + available */
    int64_t                    capacity;
    int64_t                    reach;
    int64_t                    limit_ms;    /* nothing after it is billed yet */
    int64_t                    proven;
    int64_t                    seen;        /* proven, without that limit */
    int64_t                    possible;
    int64_t                    spent;       /* proven, as far as paid for */

    unsigned                   both:1;
} billing_engine_t;


/* engine_facts.c: what is, before anything is decided */

/* Measures, and makes the decision to leave all as it is. */
int billing_engine_init(billing_engine_t *e);

/* Nothing beyond paid_until is ever billable; nothing at all before it is. */
int64_t billing_engine_measure(billing_engine_t *e, int64_t cut_ms,
    int project);

/* An instant that no interval known today goes beyond. */
int64_t billing_engine_last(billing_engine_t *e);

/*
 * Whether a party that is not there was last cut off by its gateway as the
 * paid time was over, and has not been told since that it may come back.
 */
int billing_engine_cut_off(billing_engine_t *e);


/* engine_purse.c: the client's money */

/* Brings the charge to what ms cost; pays it out of what is held first. */
int billing_engine_charge(billing_engine_t *e, int64_t ms);

/*
 * Holds enough for target ms in all, or what there is; never lets go.  After
 * the charge of the same decision, if there is one.
 * capacity: what charged + held pay for then.
 */
int billing_engine_hold(billing_engine_t *e, int64_t target,
    int64_t *capacity);

/* The time that funds pay for in all, at most the client's own maximum. */
int billing_engine_capacity(billing_engine_t *e, int64_t funds, int64_t *ms);

/* The same without any maximum: how far the money goes. */
int billing_engine_money(billing_engine_t *e, int64_t funds, int64_t *ms);

/*
 * Whether not one ms more can be had.  As long as it is not known whether the
 * next one is before a switch of the mode or after it, it may be a cheaper one.
 */
int billing_engine_exhausted(billing_engine_t *e);

/* Whether it is a maximum of the client's that ends the session here. */
int billing_engine_maximum(billing_engine_t *e);

/* If so, whether it is what the client's spend caps leave. */
int billing_engine_capped(billing_engine_t *e);

/* How long the money will do from here. */
void billing_engine_left(billing_engine_t *e);

/* The warning, once when that falls to low_ms. */
int billing_engine_low(billing_engine_t *e);


/* engine_clock.c: when to look again */

/* In ms from the facts, at the latest. */
void billing_engine_wait(billing_engine_t *e, int64_t ms);

/* The same for an active session with both there. */
void billing_engine_schedule(billing_engine_t *e, int64_t capacity);

/* At paid_until, when the gateways close, and from then on ever again. */
void billing_engine_overdue(billing_engine_t *e);

/* The first point of the grid from active_ms on that is still to come. */
int64_t billing_engine_grid(billing_engine_t *e);

/* Whether an active session's turn on the grid has come, or was missed. */
int billing_engine_due(billing_engine_t *e);

/* A hold that reaches no further than this wants to be extended. */
int64_t billing_engine_behind(const billing_settings_t *s);


#endif /* _BILLING_ENGINE_CORE_H_INCLUDED_ */
