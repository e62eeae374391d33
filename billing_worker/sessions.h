
/*
 * Copyright (C) The Astro authors
 *
 * The sessions this worker meters, in memory: who they are, when to look at
 * each again, and of active ones what is known by heart (known.h).
 *
 * A session is found by its id, and by its wallet for top-ups.  It is due when
 * its timer says so, in one of the heaps: that of a lane (lanes.h) if it is
 * known by heart, else the one here, of those that are read first.  While it is
 * part of a batch it is busy and in no heap.
 */

#ifndef _BILLING_SESSIONS_H_INCLUDED_
#define _BILLING_SESSIONS_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "heap.h"
#include "known.h"


typedef struct billing_session_s  billing_session_t;

struct billing_session_s {
    billing_heap_node_t    due;             /* first: see the macro below */
    billing_heap_t        *heap;            /* where it waits, when it does */
    billing_known_t       *known;           /* by heart; NULL: read it */
    int64_t                id;
    int64_t                wallet;
    int64_t                tick_ms;         /* the grid point, or NONE */
    int64_t                late;            /* due since then, and neither
                                             * charged nor left; 0: it is not */
    int32_t                ver;             /* as seen last */
    int32_t                rev;
    int16_t                shard;
    uint16_t               failures;        /* in a row */
    uint16_t               slot;            /* in its batch */
    uint8_t                busy;            /* in a batch */
    uint8_t                again;           /* nudged while busy */
    uint8_t                alone;           /* goes in a batch of its own */
    uint8_t                purse;           /* of purses.c */
    uint8_t                asked;           /* this turn is not by heart */
    uint8_t                wrong;           /* and it was logged */
    billing_session_t     *next_id;
    billing_session_t     *next_wallet;
};

typedef struct {
    billing_session_t    **by_id;
    billing_session_t    **by_wallet;
    size_t                 buckets;         /* a power of two */
    size_t                 n;
    billing_heap_t         heap;            /* of those not known by heart */
    billing_wallets_t      wallets;         /* of the others */
} billing_sessions_t;


typedef struct {
    size_t                 n;
    int64_t                sum;
} billing_sessions_sum_t;


/* Its turn has come: however often it is put off, it counts from here. */
#define billing_session_turn(one)                                             \
    if ((one)->late == 0) { (one)->late = (one)->due.key; }

#define billing_session_of(node)  ((billing_session_t *) (node))


int billing_sessions_init(billing_sessions_t *s);
void billing_sessions_free(billing_sessions_t *s);

billing_session_t *billing_sessions_find(billing_sessions_t *s, int64_t id);

/* NULL: no memory.  The new one is due at no time yet. */
billing_session_t *billing_sessions_add(billing_sessions_t *s, int64_t id,
    int64_t wallet, int shard);

/* Not while it is busy. */
void billing_sessions_drop(billing_sessions_t *s, billing_session_t *one);

/* Looks at it when billing_clock() is at; at once after, if it is busy. */
int billing_sessions_due(billing_sessions_t *s, billing_session_t *one,
    int64_t at);

/* From now on it waits in this heap; it has to be made due again. */
void billing_sessions_move(billing_session_t *one, billing_heap_t *heap);

/*
 * It has moved, or may have: what is known of it is forgotten, and it is read
 * at at; after its batch, if it is busy.
 */
int billing_sessions_moved(billing_sessions_t *s, billing_session_t *one,
    int64_t at);

/*
 * The same; if there is no memory for it, it is dropped, and found again by the
 * next scan: one may be gone after this.
 */
void billing_sessions_look(billing_sessions_t *s, billing_session_t *one,
    int64_t at);

/* The same for all sessions of a wallet. */
void billing_sessions_look_wallet(billing_sessions_t *s, int64_t wallet,
    int64_t at);

/* Not while it is busy: a batch needs it. */
void billing_sessions_forget(billing_sessions_t *s, billing_session_t *one);

/*
 * The first of the sessions of a wallet, and the next after one; skips nobody,
 * in no order.
 */
billing_session_t *billing_sessions_of_wallet(billing_sessions_t *s,
    int64_t wallet, billing_session_t *after);

/*
 * What is known of the sessions of each shard, in two numbers: sums[0] to
 * sums[n - 1].  billing.scan3() has the same formula.
 */
void billing_sessions_sums(const billing_sessions_t *s,
    billing_sessions_sum_t *sums, size_t n);

/* Drops those for which gone() is true, but for busy ones. */
void billing_sessions_sweep(billing_sessions_t *s,
    int (*gone)(void *data, const billing_session_t *one), void *data);


#endif /* _BILLING_SESSIONS_H_INCLUDED_ */
