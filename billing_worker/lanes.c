
/*
 * Copyright (C) The Astro authors
 *
 * The lanes: see lanes.h.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "clock.h"
#include "lanes.h"
#include "log.h"
#include "metrics.h"


/*
 * What is due so soon goes with what is due now: fewer and larger batches.  The
 * engine takes a tick for due 50 ms before its grid point.
 */
#define BILLING_LANES_GATHER_MS  20

/* decisions in one go, as nobody else is served meanwhile: some 2 ms */
#define BILLING_LANES_DECIDE     1500

/* leases ran out, and may come back */
#define BILLING_LANES_LEASE_MS   250

/*
 * From so many sessions on that have to be read; for that long, and a ms more
 * for so many of them, which is half as fast as two cores read; never longer.
 */
#define BILLING_LANES_LEND       2000
#define BILLING_LANES_LEND_MS    1000
#define BILLING_LANES_LEND_MOST  5000
#define BILLING_LANES_LEND_READ  40


static int billing_lane_start(billing_worker_t *w, billing_lane_t *lane,
    size_t n);
static void billing_lane_up(void *data);
static void billing_lane_down(void *data);
static void billing_lanes_timer(uv_timer_t *timer);
static billing_ticks_t *billing_lane_batch(billing_lane_t *lane);
static int billing_lane_fill(billing_lane_t *lane, billing_ticks_t *b,
    int64_t now);
static int64_t billing_lane_need(const billing_plan_t *p);
static void billing_lane_ask(billing_lane_t *lane, billing_session_t *one,
    int64_t now);
static void billing_lanes_arm(billing_worker_t *w, int64_t now);


int
billing_lanes_start(billing_worker_t *w)
{
    size_t  i;

    w->lanes.n = (size_t) w->config->backends;
    w->lanes.lanes = calloc(w->lanes.n, sizeof(billing_lane_t));

    if (w->lanes.lanes == NULL
        || uv_timer_init(w->loop, &w->lanes.timer) != 0)
    {
        return BILLING_ERROR;
    }

    w->lanes.timer.data = w;

    for (i = 0; i < w->lanes.n; i++) {
        if (billing_lane_start(w, &w->lanes.lanes[i], i) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}


static int
billing_lane_start(billing_worker_t *w, billing_lane_t *lane, size_t n)
{
    size_t  i;

    lane->worker = w;
    lane->most = BILLING_TICKS;
    lane->batches = calloc(BILLING_TICKS_DEEP, sizeof(billing_ticks_t));

    if (lane->batches == NULL) {
        return BILLING_ERROR;
    }

    for (i = 0; i < BILLING_TICKS_DEEP; i++) {
        lane->batches[i].lane = lane;
    }

    billing_heap_init(&lane->heap);
    snprintf(lane->name, sizeof(lane->name), "lane %zu", n);

    lane->pg.loop = w->loop;
    lane->pg.name = lane->name;
    lane->pg.conninfo = w->config->pg;
    lane->pg.statements = billing_lane_statements;
    lane->pg.up = billing_lane_up;
    lane->pg.down = billing_lane_down;
    lane->pg.data = w;

    return billing_pg_start(&lane->pg);
}


/* What is under way gets LOST, and nothing is begun. */

void
billing_lanes_stop(billing_worker_t *w)
{
    size_t  i;

    for (i = 0; i < w->lanes.n; i++) {
        billing_pg_stop(&w->lanes.lanes[i].pg);
    }

    uv_close((uv_handle_t *) &w->lanes.timer, NULL);
}


void
billing_lanes_free(billing_worker_t *w)
{
    size_t  i;

    for (i = 0; i < w->lanes.n; i++) {
        free(w->lanes.lanes[i].batches);
        billing_heap_free(&w->lanes.lanes[i].heap);
    }

    free(w->lanes.lanes);
    w->lanes.lanes = NULL;
    w->lanes.n = 0;
}


int
billing_lanes_busy(const billing_worker_t *w)
{
    size_t  i, j;

    for (i = 0; i < w->lanes.n; i++) {
        for (j = 0; j < BILLING_TICKS_DEEP; j++) {
            if (w->lanes.lanes[i].batches[j].n != 0) {
                return 1;
            }
        }
    }

    return 0;
}


billing_heap_t *
billing_lanes_heap(billing_worker_t *w, const billing_session_t *one)
{
    return &w->lanes.lanes[(size_t) one->shard % w->lanes.n].heap;
}


static void
billing_lane_up(void *data)
{
    billing_lanes_run(data);
}


static void
billing_lane_down(void *data)
{
    (void) data;

    /* batches under way were told */
}


static void
billing_lanes_timer(uv_timer_t *timer)
{
    billing_lanes_run(timer->data);
}


void
billing_lanes_run(billing_worker_t *w)
{
    int               asked;
    size_t            i;
    int64_t           now;
    billing_lane_t   *lane;
    billing_ticks_t  *b;

    if (w->lanes.running || w->stopping || w->lanes.n == 0) {
        return;
    }

    if (billing_lanes_lending(w)) {
        uv_timer_start(&w->lanes.timer, billing_lanes_timer,
                       BILLING_LANES_GATHER_MS, 0);
        return;
    }

    w->lanes.running = 1;
    now = billing_clock();
    asked = 0;

    for (i = 0; i < w->lanes.n; i++) {
        lane = &w->lanes.lanes[i];
        b = billing_lane_batch(lane);

        if (b == NULL) {
            continue;
        }

        asked |= billing_lane_fill(lane, b, now);
        lane->backlog = (b->n == lane->most);

        if (b->n > 0 && billing_ticks_send(b) != BILLING_OK) {

            /* the lease ran out this moment, or the connection broke */

            while (b->n > 0) {
                b->n--;
                billing_ticks_back(b, &b->plans[b->n], BILLING_BACK_KNOWN,
                                   now + BILLING_LANES_LEASE_MS);
            }
        }
    }

    w->lanes.running = 0;

    billing_lanes_arm(w, now);

    if (asked) {
        billing_ticker_run(w);
    }
}


/*
 * To read very many and to charge them at a time takes as long as one after the
 * other; but who is read early is charged again before the last one is at all.
 * So ticks wait, and all cores read.  Nobody waits for long: who begins in that
 * moment is read, too, and the money for those in memory is held far ahead.
 */

void
billing_lanes_lend(billing_worker_t *w, size_t n)
{
    int64_t  ms;

    if (n < BILLING_LANES_LEND) {
        return;
    }

    ms = BILLING_LANES_LEND_MS + (int64_t) (n / BILLING_LANES_LEND_READ);

    if (ms > BILLING_LANES_LEND_MOST) {
        ms = BILLING_LANES_LEND_MOST;
    }

    w->lanes.lent_until = billing_clock() + ms;
}


int
billing_lanes_lending(billing_worker_t *w)
{
    int64_t               now;
    billing_heap_node_t  *node;

    if (w->lanes.lent_until == 0) {
        return 0;
    }

    now = billing_clock();
    node = billing_heap_min(&w->sessions.heap);

    if (now >= w->lanes.lent_until || node == NULL || node->key > now + 1) {
        w->lanes.lent_until = 0;
        return 0;
    }

    return 1;
}


billing_pg_t *
billing_lanes_lent(billing_worker_t *w, size_t n)
{
    billing_lane_t  *lane;

    if (w->lanes.lent_until == 0 || w->lanes.n == 0) {
        return &w->bill;
    }

    lane = &w->lanes.lanes[n % w->lanes.n];

    return billing_pg_ready(&lane->pg) ? &lane->pg : &w->bill;
}


/*
 * A free one.  While one is under way the next is only begun if there is a
 * backlog: else more is due when the first is back, and they go together.
 */

static billing_ticks_t *
billing_lane_batch(billing_lane_t *lane)
{
    size_t            i, busy;
    billing_ticks_t  *b;

    if (!billing_pg_ready(&lane->pg)) {
        return NULL;
    }

    b = NULL;
    busy = 0;

    for (i = 0; i < BILLING_TICKS_DEEP; i++) {

        if (lane->batches[i].n != 0) {
            busy++;

        } else {
            b = &lane->batches[i];
        }
    }

    return (busy == 0 || lane->backlog) ? b : NULL;
}


/* Whether the slow way has got something to do. */

static int
billing_lane_fill(billing_lane_t *lane, billing_ticks_t *b, int64_t now)
{
    int                   asked, left;
    int64_t               wait;
    billing_plan_t       *p;
    billing_worker_t     *w;
    billing_session_t    *one;
    billing_heap_node_t  *node;

    w = lane->worker;
    asked = 0;

    b->at = now;

    for (left = BILLING_LANES_DECIDE;
         left > 0 && b->n < lane->most;
         left--)
    {
        node = billing_heap_min(&lane->heap);

        if (node == NULL || node->key > now + BILLING_LANES_GATHER_MS) {
            break;
        }

        one = billing_session_of(node);

        billing_session_turn(one);

        if (billing_leases_epoch(&w->leases, one->shard, now) == 0) {
            (void) billing_heap_set(&lane->heap, node,
                                    now + BILLING_LANES_LEASE_MS);
            continue;
        }

        p = &b->plans[b->n];

        switch (billing_heart_decide(w, one, now, p)) {

        case BILLING_HEART_TICK:
            billing_heap_remove(&lane->heap, node);
            b->due[b->n] = node->key;
            one->busy = 1;
            one->again = 0;
            one->slot = (uint16_t) b->n++;
            one->known->wallet->wanted += billing_lane_need(p);
            break;

        case BILLING_HEART_WAIT:
            one->late = 0;
            wait = p->decision.wait_ms;

            /* not in this go again */

            if (wait <= BILLING_LANES_GATHER_MS) {
                wait = BILLING_LANES_GATHER_MS + 1;
            }

            one->tick_ms = p->decision.tick_ms;
            (void) billing_heap_set(&lane->heap, node, now + wait);
            break;

        default:
            billing_lane_ask(lane, one, now);
            asked = 1;
        }
    }

    return asked;
}


/* What it takes of what is available; the same before and after. */

static int64_t
billing_lane_need(const billing_plan_t *p)
{
    return p->decision.amount + p->decision.held - p->held;
}


static void
billing_lane_ask(billing_lane_t *lane, billing_session_t *one, int64_t now)
{
    billing_worker_t  *w;

    w = lane->worker;
    one->asked = 1;
    billing_count(ASKED, 1);

    if (billing_sessions_moved(&w->sessions, one, now) != BILLING_OK) {

        /* no memory: dropped, and found again by the next scan */

        billing_sessions_drop(&w->sessions, one);
    }
}


void
billing_ticks_back(billing_ticks_t *b, billing_plan_t *p, billing_back_e how,
    int64_t at)
{
    int                 rc;
    billing_worker_t   *w;
    billing_session_t  *one;

    w = b->lane->worker;
    one = p->session;

    one->known->wallet->wanted -= billing_lane_need(p);

    p->session = NULL;
    one->busy = 0;

    if (w->leases.owned > 0 && w->leases.epoch[one->shard] == 0) {

        /* another worker's by now */

        billing_sessions_drop(&w->sessions, one);
        return;
    }

    if (one->again) {
        at = billing_clock();
    }

    if (how == BILLING_BACK_KNOWN && !one->again) {
        rc = billing_sessions_due(&w->sessions, one, at);

    } else {
        one->asked = (how == BILLING_BACK_REFUSED);
        rc = billing_sessions_moved(&w->sessions, one, at);
    }

    one->again = 0;

    if (rc != BILLING_OK) {
        billing_log(BILLING_LOG_ERROR, "out of memory",
                    billing_log_int("session", one->id));
        billing_sessions_drop(&w->sessions, one);
    }
}


void
billing_ticks_done(billing_ticks_t *b)
{
    billing_worker_t  *w;

    w = b->lane->worker;
    b->n = 0;

    billing_lanes_run(w);
    billing_ticker_run(w);
}


/* When the next is due in a lane that could take it. */

static void
billing_lanes_arm(billing_worker_t *w, int64_t now)
{
    size_t                i;
    int64_t               next;
    billing_lane_t       *lane;
    billing_heap_node_t  *node;

    next = INT64_MAX;

    for (i = 0; i < w->lanes.n; i++) {
        lane = &w->lanes.lanes[i];
        node = billing_heap_min(&lane->heap);

        if (node != NULL && node->key < next
            && billing_lane_batch(lane) != NULL)
        {
            next = node->key;
        }
    }

    if (next == INT64_MAX) {
        uv_timer_stop(&w->lanes.timer);
        return;
    }

    uv_update_time(w->loop);
    uv_timer_start(&w->lanes.timer, billing_lanes_timer,
                   (next > now) ? (uint64_t) (next - now) : 1, 0);
}
