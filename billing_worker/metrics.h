
/*
 * Copyright (C) The Astro authors
 *
 * What is counted.  A row adds a metric, nothing else does:
 *
 *     C(id, name, labels, help)     the counter astro_billing_<name>_total;
 *                                   rows of one name stand together, the first
 *                                   one's help is the help
 *     H(id, name, unit, help)       a histogram: SECONDS (observed in
 *                                   microseconds) or NUMBER
 *
 * Gauges have tables in metrics.c (what this process knows) and in gauges.c
 * (what the database knows).
 *
 * One thread counts, plain increments:
 *
 *     billing_count(TICKS_FAST, n);
 *     billing_observe(TICK_LAG, us);
 */

#ifndef _BILLING_METRICS_H_INCLUDED_
#define _BILLING_METRICS_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "text.h"


#define BILLING_METRICS_BUCKETS  16


#define BILLING_COUNTERS(C)                                                   \
    C(TICKS_FAST, "ticks", "path=\"fast\"",                                   \
      "charges committed: fast, pure ticks out of memory; slow, all others")  \
    C(TICKS_SLOW, "ticks", "path=\"slow\"", "")                               \
    C(CHARGED, "charged_minor", "", "amount of these, minor units")           \
    C(DUE, "due", "", "sessions that were looked at")                         \
    C(LATE, "late", "", "sessions given back more than 250 ms after they "    \
      "were due")                                                             \
    C(ASKED, "asked", "", "sessions that were due and not to be charged out " \
      "of memory")                                                            \
    C(CONFLICT_STALE, "conflicts", "status=\"stale\"",                        \
      "decisions that the database refused; they were made again")            \
    C(CONFLICT_FUNDS, "conflicts", "status=\"funds\"", "")                    \
    C(CONFLICT_SHARD, "conflicts", "status=\"shard\"", "")                    \
    C(CONFLICT_FAST, "conflicts", "status=\"fast\"", "")                      \
    C(BATCHES_FAST, "batches", "path=\"fast\"", "transactions that charged")  \
    C(BATCHES_SLOW, "batches", "path=\"slow\"", "")                           \
    C(BATCHES_FAILED, "batches_failed", "", "transactions that failed")       \
    C(BATCHES_LOST, "batches_lost", "", "transactions whose answer was lost") \
    C(FENCED, "fenced", "", "transactions refused because a shard is "        \
      "another worker's")                                                     \
    C(FACTS_REFUSED, "facts_refused", "", "facts of a session that "          \
      "contradict each other, or make no sense; it is left alone")            \
    C(CLOCK_JUMPS, "clock_jumps", "", "times that the database's clock "      \
      "leapt forward, by more than a second")                                 \
    C(ENDED, "sessions_ended", "", "sessions ended by this worker")           \
    C(SETTLED, "sessions_settled", "", "sessions settled by this worker")     \
    C(REAPED, "gateways_reaped", "", "leases of dead gateways closed")        \
    C(RENEWALS, "lease_renewals", "", "renewals of shard leases")             \
    C(RENEWALS_FAILED, "lease_renewals_failed", "", "renewals that failed "   \
      "or were lost")                                                         \
    C(PG_CONNECTS, "pg_connects", "", "connections made to PostgreSQL")       \
    C(PG_LOST, "pg_lost", "", "connections to PostgreSQL lost, or attempts "  \
      "that failed")                                                          \
    C(REDIS_CONNECTS, "redis_connects", "", "connections made to Redis")      \
    C(REDIS_PUBLISHED, "redis_published", "", "messages published in Redis")  \
    C(REDIS_DROPPED, "redis_dropped", "", "messages not published: Redis is " \
      "away or does not keep up")                                             \
    C(NUDGES, "nudges", "", "nudges received from Redis")                     \
    C(LOG_ERRORS, "log_lines", "level=\"error\"", "lines logged, by level")   \
    C(LOG_WARNINGS, "log_lines", "level=\"warn\"", "")                        \
    C(LOG_REPEATS, "log_repeats", "", "lines not logged because the same "    \
      "was logged moments ago")                                               \
    C(RELOADS, "reloads", "outcome=\"taken\"", "SIGHUP")                      \
    C(RELOADS_BAD, "reloads", "outcome=\"refused\"", "")                      \
    C(INBOX_APPLIED, "inbox_events", "outcome=\"applied\"", "webhooks taken " \
      "out of the inbox by this worker")                                      \
    C(INBOX_IGNORED, "inbox_events", "outcome=\"ignored\"", "")               \
    C(INBOX_PARKED, "inbox_events", "outcome=\"parked\"", "")                 \
    C(INBOX_AGAIN, "inbox_events", "outcome=\"again\"", "")                   \
    C(OUTBOX_DELIVERED, "outbox_calls", "outcome=\"delivered\"", "answers "   \
      "recorded of calls to vendors")                                         \
    C(OUTBOX_REFUSED, "outbox_calls", "outcome=\"refused\"", "")              \
    C(OUTBOX_RETRIED, "outbox_calls", "outcome=\"again\"", "")                \
    C(OUTBOX_PARKED, "outbox_calls", "outcome=\"parked\"", "")                \
    C(NOTICES, "notices", "", "frames of notices said in Redis")             \
    C(PAYOUTS, "payouts", "", "payouts made by this worker's daily run")      \
    C(SCRAPES, "scrapes", "outcome=\"ok\"", "requests for these metrics")     \
    C(SCRAPES_BAD, "scrapes", "outcome=\"refused\"", "")

#define BILLING_HISTOGRAMS(H)                                                 \
    H(TICK_LAG, "tick_lag", SECONDS,                                          \
      "from the instant a session was due until its charge was committed, "   \
      "or its shard lost")                                                    \
    H(BATCH, "batch_sessions", NUMBER, "sessions in a transaction")           \
    H(PG_CALL, "pg_call", SECONDS, "round trips to the database, with what "  \
      "they waited in line")                                                  \
    H(RENEWAL, "lease_renewal", SECONDS, "round trips of lease renewals")


#define BILLING_METRIC_ID(id, ...)  BILLING_M_##id,

typedef enum {
    BILLING_COUNTERS(BILLING_METRIC_ID)
    BILLING_NCOUNTERS
} billing_counter_e;

typedef enum {
    BILLING_HISTOGRAMS(BILLING_METRIC_ID)
    BILLING_NHISTOGRAMS
} billing_histogram_e;

typedef struct {
    uint64_t  sum;
    uint64_t  buckets[BILLING_METRICS_BUCKETS + 1];    /* the last: above all */
} billing_histogram_t;

typedef struct {
    uint64_t             counters[BILLING_NCOUNTERS];
    billing_histogram_t  histograms[BILLING_NHISTOGRAMS];
} billing_metrics_t;


/* of the process */
extern billing_metrics_t  billing_metrics;


#define billing_count(id, n)                                                  \
    (billing_metrics.counters[BILLING_M_##id] += (uint64_t) (n))
#define billing_observe(id, value)                                            \
    billing_metrics_observe(BILLING_M_##id, (value))


/* value: us or a number, as the row says; below 0 counts as 0. */
void billing_metrics_observe(billing_histogram_e id, int64_t value);

/* ms, where the bucket of a histogram of SECONDS ends; above all: 60000 */
int64_t billing_metrics_bound_ms(size_t i);

/* us, of no particular beginning: for what lasts. */
int64_t billing_metrics_clock(void);


struct billing_worker_s;

/* connections to PostgreSQL */
int64_t billing_metrics_pg_up(struct billing_worker_s *w);

/* All of it as Prometheus text. */
void billing_metrics_text(struct billing_worker_s *w, billing_text_t *t);

/* For tables of gauges elsewhere; end is "" or "_total". */
void billing_metrics_head(billing_text_t *t, const char *name,
    const char *type, const char *help);
void billing_metrics_line(billing_text_t *t, const char *name,
    const char *end, const char *labels, int64_t value);


#endif /* _BILLING_METRICS_H_INCLUDED_ */
