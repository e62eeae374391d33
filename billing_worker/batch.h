
/*
 * Copyright (C) The Astro authors
 *
 * A batch: up to BILLING_BATCH sessions that are read, decided and written
 * together.  It has the sessions to itself (busy) until it gives each back
 * with the instant at which it is due again, or drops it.
 */

#ifndef _BILLING_BATCH_H_INCLUDED_
#define _BILLING_BATCH_H_INCLUDED_


#include "purse.h"
#include "worker.h"


/* what a session's turn came to */
typedef enum {
    BILLING_TURN_OPEN = 0,      /* not known yet: read it again */
    BILLING_TURN_WAIT,          /* due again at .at */
    BILLING_TURN_KNOWN,         /* the same, by heart */
    BILLING_TURN_GONE,          /* settled, or another worker's */
    BILLING_TURN_AGAIN,         /* the rows have moved: decide again */
    BILLING_TURN_FAILED         /* something is wrong with it */
} billing_turn_e;

typedef struct {
    billing_session_t  *session;
    billing_plan_t     *plan;           /* NULL: nothing to write */
    billing_claim_t     claim;          /* of a plan: on the wallet, of which */
    int64_t             available;      /* so much is available */
    int                 row;            /* of the facts */
    billing_turn_e      turn;
    int64_t             at;
    int64_t             due;            /* since */
} billing_place_t;

struct billing_batch_s {
    billing_worker_t   *worker;
    billing_place_t     places[BILLING_BATCH];
    size_t              n;              /* 0: free */
    billing_plan_t      plans[BILLING_BATCH];
    size_t              nplans;
    int64_t             read_at;        /* the facts, by billing_clock() */
};


/*
 * Runs the batch; ends in billing_batch_done(), perhaps before it returns
 * (not connected).
 */
void billing_batch_run(billing_batch_t *b);

/* ticker.c: takes the sessions back and frees the batch. */
void billing_batch_done(billing_batch_t *b);


/* share.c: between the decisions and their writing; res: the facts */
void billing_batch_share(billing_batch_t *b, const PGresult *res);


/* facts.c */

/*
 * Fills f and p from a row of billing.facts3(); intervals and segments go to
 * the worker's scratch arrays, valid until the next row.  BILLING_ERROR: the
 * row makes no sense, or no memory.
 */
int billing_facts_read(billing_worker_t *w, const PGresult *res, int row,
    billing_facts_t *f, billing_plan_t *p);

/* What the database's clock said as it read a row. */
int64_t billing_facts_now(const PGresult *res, int row);

/* The id and shard of a row, to find whose it is. */
int64_t billing_facts_id(const PGresult *res, int row);


#endif /* _BILLING_BATCH_H_INCLUDED_ */
