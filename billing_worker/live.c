
/*
 * Copyright (C) The Astro authors
 *
 * See live.h.  Rates and the lag are those of the last minute: what was counted
 * until now less what was counted then.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "gauges.h"
#include "lanes.h"
#include "live.h"
#include "metrics.h"


#define BILLING_LIVE_EVERY_MS  2000
#define BILLING_LIVE_LOOKS     30       /* a minute */


typedef struct {
    int64_t              at;
    uint64_t             ticks;
    uint64_t             charged;
    uint64_t             lag[BILLING_METRICS_BUCKETS + 1];
} billing_live_look_t;

struct billing_live_s {
    uv_timer_t           timer;
    billing_worker_t    *worker;
    size_t               n;             /* looks taken, ever */
    billing_live_look_t  looks[BILLING_LIVE_LOOKS];
};


static void billing_live_timer(uv_timer_t *timer);
static void billing_live_look(billing_live_look_t *look);
static int64_t billing_live_lag_ms(const billing_live_look_t *now,
    const billing_live_look_t *then);
static void billing_live_closed(uv_handle_t *handle);


/* the order in which they are said */

static const char *const  billing_live_gauges[][2] = {
    { "outbox", "state=\"waiting\"" },
    { "outbox", "state=\"parked\"" },
    { "sessions", "state=\"requested\"" },
    { "sessions", "state=\"queued\"" },
    { "sessions", "state=\"ringing\"" },
    { "sessions", "state=\"accepted\"" },
    { "sessions", "state=\"connecting\"" },
    { "sessions", "state=\"active\"" },
    { "sessions", "state=\"reconnecting\"" },
    { "sessions", "state=\"paused\"" },
    { "shards_free", "" },
    { "outbox_age_seconds", "" },
    { "inbox", "state=\"parked\"" },
    { "inbox_age_seconds", "" }
};

#define BILLING_LIVE_GAUGES                                                   \
    (sizeof(billing_live_gauges) / sizeof(billing_live_gauges[0]))


int
billing_live_start(billing_worker_t *w)
{
    billing_live_t  *live;

    live = calloc(1, sizeof(billing_live_t));
    if (live == NULL) {
        return BILLING_ERROR;
    }

    if (uv_timer_init(w->loop, &live->timer) != 0) {
        free(live);
        return BILLING_ERROR;
    }

    live->worker = w;
    live->timer.data = live;
    w->live = live;

    return uv_timer_start(&live->timer, billing_live_timer,
                          BILLING_LIVE_EVERY_MS, BILLING_LIVE_EVERY_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_live_stop(billing_worker_t *w)
{
    if (w->live) {
        uv_close((uv_handle_t *) &w->live->timer, billing_live_closed);
        w->live = NULL;
    }
}


static void
billing_live_closed(uv_handle_t *handle)
{
    free(handle->data);
}


static void
billing_live_timer(uv_timer_t *timer)
{
    int                         n;
    char                        text[1024];
    size_t                      i;
    int64_t                     ms;
    billing_live_t             *live;
    billing_worker_t           *w;
    const billing_live_look_t  *then;
    billing_live_look_t         now;

    live = timer->data;
    w = live->worker;

    billing_live_look(&now);

    then = &live->looks[live->n < BILLING_LIVE_LOOKS
                        ? 0 : live->n % BILLING_LIVE_LOOKS];

    if (live->n == 0) {
        then = &now;
    }

    ms = now.at - then->at;

    n = snprintf(text, sizeof(text), "M %s %" PRIu64 " %" PRId64 " %" PRIu64
                 " %" PRId64 " %" PRId64 " %d", w->owner,
                 now.ticks - then->ticks, ms, now.charged - then->charged,
                 billing_live_lag_ms(&now, then), billing_metrics_pg_up(w),
                 (w->redis.out.up ? 1 : 0) + (w->redis.in.up ? 1 : 0));

    for (i = 0; i < BILLING_LIVE_GAUGES; i++) {
        n += snprintf(text + n, sizeof(text) - (size_t) n, " %" PRId64,
                      billing_gauges_of(w, billing_live_gauges[i][0],
                                        billing_live_gauges[i][1]));
    }

    live->looks[live->n++ % BILLING_LIVE_LOOKS] = now;

    billing_redis_publish(&w->redis, BILLING_REDIS_TICKS, text, (size_t) n);
}


static void
billing_live_look(billing_live_look_t *look)
{
    const billing_metrics_t  *m;

    m = &billing_metrics;

    look->at = billing_clock();
    look->ticks = m->counters[BILLING_M_TICKS_FAST]
                  + m->counters[BILLING_M_TICKS_SLOW];
    look->charged = m->counters[BILLING_M_CHARGED];

    memcpy(look->lag, m->histograms[BILLING_M_TICK_LAG].buckets,
           sizeof(look->lag));
}


/* 99 of 100 were no later; the end of the bucket.  -1: there were none. */

static int64_t
billing_live_lag_ms(const billing_live_look_t *now,
    const billing_live_look_t *then)
{
    size_t    i;
    uint64_t  n, below;

    n = 0;

    for (i = 0; i <= BILLING_METRICS_BUCKETS; i++) {
        n += now->lag[i] - then->lag[i];
    }

    if (n == 0) {
        return -1;
    }

    below = 0;

    for (i = 0; i < BILLING_METRICS_BUCKETS; i++) {
        below += now->lag[i] - then->lag[i];

        if (below * 100 >= n * 99) {
            break;
        }
    }

    return billing_metrics_bound_ms(i);
}
