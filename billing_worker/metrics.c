
/*
 * Copyright (C) The Astro authors
 *
 * What is counted, as text: see metrics.h.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "gauges.h"
#include "lanes.h"
#include "metrics.h"
#include "worker.h"


#define BILLING_METRICS_PREFIX  "astro_billing_"
#define BILLING_VERSION         "0.1.0"


typedef enum {
    NUMBER = 0,
    SECONDS
} billing_metrics_unit_e;

typedef struct {
    const char               *name;
    const char               *labels;
    const char               *help;
} billing_counter_t;

typedef struct {
    const char               *name;
    billing_metrics_unit_e    unit;
    const char               *help;
} billing_histogram_row_t;

typedef struct {
    const char               *name;
    const char               *type;
    int64_t                 (*value)(billing_worker_t *w);
    const char               *help;
} billing_gauge_t;


static int64_t billing_gauge_sessions(billing_worker_t *w);
static int64_t billing_gauge_heart(billing_worker_t *w);
static int64_t billing_gauge_overdue(billing_worker_t *w);
static int64_t billing_gauge_shards(billing_worker_t *w);
static int64_t billing_gauge_redis(billing_worker_t *w);
static int64_t billing_gauge_busy(billing_worker_t *w);
static int64_t billing_gauge_started(billing_worker_t *w);
static void billing_metrics_histogram(billing_text_t *t,
    const billing_histogram_row_t *row, const billing_histogram_t *h);
static const char *billing_metrics_bound(char *buf, size_t size,
    billing_metrics_unit_e unit, size_t i);


billing_metrics_t  billing_metrics;


#define BILLING_COUNTER_ROW(id, name, labels, help)  { name, labels, help },

static const billing_counter_t  billing_counters[] = {
    BILLING_COUNTERS(BILLING_COUNTER_ROW)
};

#define BILLING_HISTOGRAM_ROW(id, name, unit, help)  { name, unit, help },

static const billing_histogram_row_t  billing_histograms[] = {
    BILLING_HISTOGRAMS(BILLING_HISTOGRAM_ROW)
};

static const billing_gauge_t  billing_gauges[] = {

    { "sessions_known", "gauge", billing_gauge_sessions,
      "sessions in memory" },

    { "sessions_by_heart", "gauge", billing_gauge_heart,
      "of these, those that are charged without being read first" },

    { "overdue_seconds", "gauge", billing_gauge_overdue,
      "how long the session that is due longest has been, whole seconds" },

    { "shards_held", "gauge", billing_gauge_shards,
      "shards whose lease is believed; of all workers together 256" },

    { "pg_up", "gauge", billing_metrics_pg_up, "connections to PostgreSQL" },

    { "redis_up", "gauge", billing_gauge_redis, "connections to Redis" },

    { "batches_under_way", "gauge", billing_gauge_busy,
      "whether a transaction is under way" },

    { "start_time_seconds", "gauge", billing_gauge_started,
      "when this worker began, Unix time" },

    { NULL, NULL, NULL, NULL }
};


/* us; numbers.  Bounds that alarms ask for are among them: 0.25 s, 1 s. */

static const int64_t  billing_bounds[2][BILLING_METRICS_BUCKETS] = {

    { 1, 2, 5, 10, 20, 50, 100, 150, 200, 300, 400, 500, 600, 800, 1000,
      2000 },

    { 250, 500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000,
      1000000, 2500000, 5000000, 10000000, 30000000 }
};


int64_t
billing_metrics_bound_ms(size_t i)
{
    return i < BILLING_METRICS_BUCKETS ? billing_bounds[SECONDS][i] / 1000
                                       : 60000;
}


void
billing_metrics_observe(billing_histogram_e id, int64_t value)
{
    size_t                i;
    const int64_t        *bounds;
    billing_histogram_t  *h;

    h = &billing_metrics.histograms[id];
    bounds = billing_bounds[billing_histograms[id].unit];

    if (value < 0) {
        value = 0;
    }

    for (i = 0; i < BILLING_METRICS_BUCKETS && value > bounds[i]; i++) {
        /* void */
    }

    h->buckets[i]++;
    h->sum += (uint64_t) value;
}


int64_t
billing_metrics_clock(void)
{
    return (int64_t) (uv_hrtime() / 1000);
}


void
billing_metrics_text(billing_worker_t *w, billing_text_t *t)
{
    size_t                    i;
    const billing_gauge_t    *g;
    const billing_counter_t  *c;

    billing_metrics_head(t, "build_info", "gauge", "1; what this program is");
    billing_metrics_line(t, "build_info", "", "version=\"" BILLING_VERSION
                         "\"", 1);

    for (i = 0; i < BILLING_NCOUNTERS; i++) {
        c = &billing_counters[i];

        if (i == 0 || strcmp(c->name, c[-1].name) != 0) {
            billing_text_str(t, "# HELP " BILLING_METRICS_PREFIX);
            billing_text_str(t, c->name);
            billing_text_str(t, "_total ");
            billing_text_str(t, c->help);
            billing_text_str(t, "\n# TYPE " BILLING_METRICS_PREFIX);
            billing_text_str(t, c->name);
            billing_text_str(t, "_total counter\n");
        }

        billing_metrics_line(t, c->name, "_total", c->labels,
                             (int64_t) billing_metrics.counters[i]);
    }

    for (i = 0; i < BILLING_NHISTOGRAMS; i++) {
        billing_metrics_histogram(t, &billing_histograms[i],
                                  &billing_metrics.histograms[i]);
    }

    for (g = billing_gauges; g->name != NULL; g++) {
        billing_metrics_head(t, g->name, g->type, g->help);
        billing_metrics_line(t, g->name, "", "", g->value(w));
    }

    billing_gauges_text(w, t);
}


void
billing_metrics_head(billing_text_t *t, const char *name, const char *type,
    const char *help)
{
    billing_text_str(t, "# HELP " BILLING_METRICS_PREFIX);
    billing_text_str(t, name);
    billing_text_str(t, " ");
    billing_text_str(t, help);
    billing_text_str(t, "\n# TYPE " BILLING_METRICS_PREFIX);
    billing_text_str(t, name);
    billing_text_str(t, " ");
    billing_text_str(t, type);
    billing_text_str(t, "\n");
}


/* Labels are our own texts, and the database's: see gauges.c. */

void
billing_metrics_line(billing_text_t *t, const char *name, const char *end,
    const char *labels, int64_t value)
{
    billing_text_str(t, BILLING_METRICS_PREFIX);
    billing_text_str(t, name);
    billing_text_str(t, end);

    if (labels[0] != '\0') {
        billing_text_str(t, "{");
        billing_text_str(t, labels);
        billing_text_str(t, "}");
    }

    billing_text_str(t, " ");
    billing_text_int(t, value);
    billing_text_str(t, "\n");
}


static void
billing_metrics_histogram(billing_text_t *t,
    const billing_histogram_row_t *row, const billing_histogram_t *h)
{
    char      name[64], label[48], bound[32];
    size_t    i;
    uint64_t  count;

    snprintf(name, sizeof(name), "%s%s", row->name,
             (row->unit == SECONDS) ? "_seconds" : "");

    billing_metrics_head(t, name, "histogram", row->help);

    count = 0;

    for (i = 0; i <= BILLING_METRICS_BUCKETS; i++) {
        count += h->buckets[i];

        snprintf(label, sizeof(label), "le=\"%s\"",
                 billing_metrics_bound(bound, sizeof(bound), row->unit, i));
        billing_metrics_line(t, name, "_bucket", label, (int64_t) count);
    }

    billing_text_str(t, BILLING_METRICS_PREFIX);
    billing_text_str(t, name);

    if (row->unit == SECONDS) {
        snprintf(bound, sizeof(bound), "%" PRIu64 ".%06" PRIu64,
                 h->sum / 1000000, h->sum % 1000000);

    } else {
        snprintf(bound, sizeof(bound), "%" PRIu64, h->sum);
    }

    billing_text_str(t, "_sum ");
    billing_text_str(t, bound);
    billing_text_str(t, "\n");

    billing_metrics_line(t, name, "_count", "", (int64_t) count);
}


static const char *
billing_metrics_bound(char *buf, size_t size, billing_metrics_unit_e unit,
    size_t i)
{
    int64_t  bound;

    if (i == BILLING_METRICS_BUCKETS) {
        return "+Inf";
    }

    bound = billing_bounds[unit][i];

    if (unit == SECONDS) {
        snprintf(buf, size, "%g", (double) bound / 1000000);

    } else {
        snprintf(buf, size, "%" PRId64, bound);
    }

    return buf;
}


static int64_t
billing_gauge_sessions(billing_worker_t *w)
{
    return (int64_t) w->sessions.n;
}


/* Each waits in its lane, or is in a batch of it. */

static int64_t
billing_gauge_heart(billing_worker_t *w)
{
    size_t                 i, j, n;
    const billing_lane_t  *lane;

    n = 0;

    for (i = 0; i < w->lanes.n; i++) {
        lane = &w->lanes.lanes[i];
        n += lane->heap.n;

        for (j = 0; j < BILLING_TICKS_DEEP; j++) {
            n += lane->batches[j].n;
        }
    }

    return (int64_t) n;
}


static int64_t
billing_gauge_overdue(billing_worker_t *w)
{
    int64_t               late;
    billing_heap_node_t  *node;

    node = billing_heap_min(&w->sessions.heap);

    if (node == NULL) {
        return 0;
    }

    late = billing_clock() - node->key;

    return (late > 0) ? late / 1000 : 0;
}


static int64_t
billing_gauge_shards(billing_worker_t *w)
{
    return (billing_clock() < w->leases.until_ms) ? w->leases.owned : 0;
}


int64_t
billing_metrics_pg_up(billing_worker_t *w)
{
    return billing_pg_ready(&w->bill) + billing_pg_ready(&w->lease)
           + billing_pg_ready(&w->chores) + billing_pg_ready(&w->reaper);
}


static int64_t
billing_gauge_redis(billing_worker_t *w)
{
    return w->redis.out.up + w->redis.in.up;
}


static int64_t
billing_gauge_busy(billing_worker_t *w)
{
    return billing_ticker_busy(w);
}


/* by the wall clock of now, as Prometheus will compare it */

static int64_t
billing_gauge_started(billing_worker_t *w)
{
    struct timespec  now;

    clock_gettime(CLOCK_REALTIME, &now);

    return (int64_t) now.tv_sec - (billing_clock() - w->started) / 1000;
}
