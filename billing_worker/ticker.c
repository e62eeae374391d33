
/*
 * Copyright (C) The Astro authors
 *
 * What is due goes into batches, the longest due first.  Two batches may be
 * under way at once, so that the database has work while we decide.
 */

#include <stdlib.h>

#include "batch.h"
#include "clock.h"
#include "log.h"
#include "metrics.h"


/* a session that cannot be billed is tried again after 1 s, 2 s, ... 64 s */
#define BILLING_RETRY_MS       1000
#define BILLING_RETRY_DOUBLES  6

/* rows that keep moving under us: not in a circle without a rest */
#define BILLING_AGAIN_MS       20
#define BILLING_AGAIN_TIMES    3

/* what counts as late */
#define BILLING_LATE_MS        250


static void billing_ticker_timer(uv_timer_t *timer);
static billing_batch_t *billing_ticker_batch(billing_worker_t *w);
static void billing_ticker_fill(billing_worker_t *w, billing_batch_t *b,
    int64_t now);
static void billing_ticker_arm(billing_worker_t *w, int64_t now);
static void billing_ticker_back(billing_worker_t *w, billing_place_t *p,
    int64_t now);


int
billing_ticker_start(billing_worker_t *w)
{
    size_t  i;

    w->ticker.batches = calloc(BILLING_READS, sizeof(billing_batch_t));
    if (w->ticker.batches == NULL) {
        return BILLING_ERROR;
    }

    for (i = 0; i < BILLING_READS; i++) {
        w->ticker.batches[i].worker = w;
    }

    if (uv_timer_init(w->loop, &w->ticker.timer) != 0) {
        return BILLING_ERROR;
    }

    w->ticker.timer.data = w;

    return BILLING_OK;
}


/* Nothing may be under way any more. */

void
billing_ticker_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->ticker.timer, NULL);

    free(w->ticker.batches);
    free(w->ticker.intervals);
    free(w->ticker.segments);
    free(w->ticker.gateways);

    w->ticker.batches = NULL;
    w->ticker.intervals = NULL;
    w->ticker.nintervals = 0;
    w->ticker.segments = NULL;
    w->ticker.nsegments = 0;
    w->ticker.gateways = NULL;
    w->ticker.ngateways = 0;
}


int
billing_ticker_busy(const billing_worker_t *w)
{
    size_t  i;

    for (i = 0; i < BILLING_READS; i++) {
        if (w->ticker.batches[i].n != 0) {
            return 1;
        }
    }

    return 0;
}


static void
billing_ticker_timer(uv_timer_t *timer)
{
    billing_ticker_run(timer->data);
}


void
billing_ticker_run(billing_worker_t *w)
{
    int64_t           now;
    billing_batch_t  *b;

    /* a batch that cannot be sent comes back here at once */

    if (w->ticker.running || w->stopping) {
        return;
    }

    w->ticker.running = 1;
    now = billing_clock();

    while (billing_pg_ready(&w->bill)) {

        b = billing_ticker_batch(w);

        if (b == NULL) {
            break;
        }

        billing_ticker_fill(w, b, now);

        if (b->n == 0) {
            break;
        }

        billing_batch_run(b);
    }

    w->ticker.running = 0;

    billing_ticker_arm(w, now);
}


static billing_batch_t *
billing_ticker_batch(billing_worker_t *w)
{
    size_t  i, n;

    n = billing_lanes_lending(w) ? BILLING_READS : BILLING_BATCHES;

    for (i = 0; i < n; i++) {
        if (w->ticker.batches[i].n == 0) {
            return &w->ticker.batches[i];
        }
    }

    return NULL;
}


static void
billing_ticker_fill(billing_worker_t *w, billing_batch_t *b, int64_t now)
{
    billing_place_t      *p;
    billing_session_t    *one;
    billing_heap_node_t  *node;

    while (b->n < BILLING_BATCH) {

        node = billing_heap_min(&w->sessions.heap);

        if (node == NULL || node->key > now) {
            break;
        }

        one = billing_session_of(node);

        /* the lease ran out, and may come back: see billing_shards_renewed() */

        billing_session_turn(one);

        if (billing_leases_epoch(&w->leases, one->shard, now) == 0) {
            (void) billing_heap_set(&w->sessions.heap, node,
                                    now + BILLING_RETRY_MS / 4);
            continue;
        }

        if (one->alone && b->n > 0) {
            break;
        }

        p = &b->places[b->n];
        p->session = one;
        p->plan = NULL;
        p->due = node->key;
        p->turn = BILLING_TURN_OPEN;

        billing_heap_remove(&w->sessions.heap, node);
        billing_count(DUE, 1);

        one->busy = 1;
        one->again = 0;
        one->slot = (uint16_t) b->n++;

        if (one->alone) {
            break;
        }
    }
}


static void
billing_ticker_arm(billing_worker_t *w, int64_t now)
{
    int64_t               wait;
    billing_heap_node_t  *node;

    node = billing_heap_min(&w->sessions.heap);

    if (node == NULL) {
        uv_timer_stop(&w->ticker.timer);
        return;
    }

    /* overdue: a batch that comes back, or a connection, runs it */

    wait = node->key - now;

    if (wait < 1) {
        wait = billing_pg_ready(&w->bill) && !billing_ticker_batch(w)
               ? BILLING_RETRY_MS : 1;
    }

    if (!billing_pg_ready(&w->bill) && wait < BILLING_RETRY_MS) {
        wait = BILLING_RETRY_MS;
    }

    uv_update_time(w->loop);
    uv_timer_start(&w->ticker.timer, billing_ticker_timer, (uint64_t) wait,
                   0);
}


void
billing_batch_done(billing_batch_t *b)
{
    size_t             i;
    int64_t            now;
    billing_worker_t  *w;

    w = b->worker;
    now = billing_clock();

    for (i = 0; i < b->n; i++) {
        billing_ticker_back(w, &b->places[i], now);
    }

    b->n = 0;
    b->nplans = 0;

    billing_ticker_run(w);
    billing_lanes_run(w);
}


static void
billing_ticker_back(billing_worker_t *w, billing_place_t *p, int64_t now)
{
    int64_t             at;
    billing_session_t  *one;

    one = p->session;
    one->busy = 0;

    if (now - p->due > BILLING_LATE_MS) {
        billing_count(LATE, 1);
    }

    /* what was just learned may have been lost with the batch */

    if (p->turn != BILLING_TURN_KNOWN) {
        billing_sessions_forget(&w->sessions, one);
    }

    switch (p->turn) {

    case BILLING_TURN_GONE:
        billing_sessions_drop(&w->sessions, one);
        return;

    case BILLING_TURN_KNOWN:

        if (one->again) {
            billing_sessions_forget(&w->sessions, one);

        } else {
            billing_sessions_move(one, billing_lanes_heap(w, one));
        }

        /* fall through */

    case BILLING_TURN_WAIT:
        one->failures = 0;
        one->alone = 0;
        one->asked = 0;
        at = one->again ? now : p->at;
        break;

    case BILLING_TURN_AGAIN:
        one->failures++;
        at = (one->failures > BILLING_AGAIN_TIMES) ? now + BILLING_AGAIN_MS
                                                   : now;
        break;

    case BILLING_TURN_FAILED:
        at = now + (BILLING_RETRY_MS << ((one->failures
                                          > BILLING_RETRY_DOUBLES)
                                         ? BILLING_RETRY_DOUBLES
                                         : one->failures));
        one->failures++;
        break;

    default:
        at = now + BILLING_AGAIN_MS;
    }

    one->again = 0;

    if (w->leases.owned > 0 && w->leases.epoch[one->shard] == 0) {

        /* another worker's by now */

        billing_sessions_drop(&w->sessions, one);
        return;
    }

    if (billing_sessions_due(&w->sessions, one, at) != BILLING_OK) {

        /* no memory: dropped, and found again by the next scan */

        billing_log(BILLING_LOG_ERROR, "out of memory",
                    billing_log_int("session", one->id));
        billing_sessions_drop(&w->sessions, one);
    }
}
