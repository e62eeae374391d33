
/*
 * Copyright (C) The Astro authors
 *
 * The fast way: active sessions that are known by heart (known.h) are charged
 * in lanes.  A lane is a connection of its own and the sessions of the shards
 * that fall to it, so that no two lanes have a session or a wallet in common.
 *
 * What is due is decided from memory and sent to billing.tick(), as much as has
 * gathered; while one batch is under way the next is decided, if there is a
 * backlog: the database always has one at hand.  What cannot be decided by
 * heart, and what was refused, goes to the ticker, the slow way, which hands it
 * back once it has read it.  The slow way has a connection of its own: neither
 * can starve the other.
 */

#ifndef _BILLING_LANES_H_INCLUDED_
#define _BILLING_LANES_H_INCLUDED_


#include "worker.h"


#define BILLING_TICKS       1000        /* sessions in one transaction */
#define BILLING_TICKS_DEEP  2           /* of a lane under way at once */
#define BILLING_TICKS_POOR  20          /* one is found by twice 10 halves */


typedef struct {
    billing_lane_t     *lane;
    size_t              n;              /* 0: free */
    int64_t             at;             /* when it was decided */
    billing_plan_t      plans[BILLING_TICKS];
    billing_plan_t     *order[BILLING_TICKS];   /* by id, for locks */
    int64_t             due[BILLING_TICKS];     /* of each plan */
} billing_ticks_t;

struct billing_lane_s {
    billing_worker_t   *worker;
    billing_pg_t        pg;
    char                name[32];
    billing_heap_t      heap;           /* billing_session_t, when due */
    billing_ticks_t    *batches;        /* BILLING_TICKS_DEEP of them */
    size_t              most;           /* sessions in the next batch */
    unsigned            poor;           /* refused since that was all */
    unsigned            backlog:1;      /* the last one was full */
};


/* heart.c: decisions from memory */

typedef enum {
    BILLING_HEART_TICK = 0,     /* the plan is one for billing.tick() */
    BILLING_HEART_WAIT,         /* nothing to do before p->decision.wait_ms */
    BILLING_HEART_ASK           /* read it: not a pure tick, or not known */
} billing_heart_e;

billing_heart_e billing_heart_decide(billing_worker_t *w,
    billing_session_t *one, int64_t now, billing_plan_t *p);

/* What d, decided from f, is; see known.h for what may be done by heart. */
billing_heart_e billing_heart_kind(const billing_facts_t *f,
    const billing_decision_t *d);


/* tick.c: a batch of them */

typedef enum {
    BILLING_BACK_KNOWN = 0,     /* it is as we remember it */
    BILLING_BACK_LOST,          /* nobody knows: to be read */
    BILLING_BACK_REFUSED        /* the slow way shall charge it */
} billing_back_e;

/* Sends it; BILLING_ERROR: it was not, and the batch is as it was. */
int billing_ticks_send(billing_ticks_t *b);

/* lanes.c: takes a session back, which is then due at at. */
void billing_ticks_back(billing_ticks_t *b, billing_plan_t *p,
    billing_back_e how, int64_t at);

/* lanes.c: all are back. */
void billing_ticks_done(billing_ticks_t *b);


#endif /* _BILLING_LANES_H_INCLUDED_ */
