
/*
 * Copyright (C) The Astro authors
 *
 * A running worker: what its parts share, and what each offers the others.
 * One thread, one loop; nothing here blocks.
 */

#ifndef _BILLING_WORKER_H_INCLUDED_
#define _BILLING_WORKER_H_INCLUDED_


#include <uv.h>

#include "config.h"
#include "engine.h"
#include "jumps.h"
#include "leases.h"
#include "outbox.h"
#include "payouts.h"
#include "pg.h"
#include "redis.h"
#include "sessions.h"
#include "text.h"


#define BILLING_BATCH    500            /* sessions in one transaction */
#define BILLING_BATCHES  2              /* under way at once */
#define BILLING_READS    4              /* and while very many are read */
#define BILLING_NUDGES   1024           /* unknown sessions to ask for */


typedef struct billing_worker_s   billing_worker_t;
typedef struct billing_batch_s    billing_batch_t;
typedef struct billing_gateway_s  billing_gateway_t;
typedef struct billing_gauges_s   billing_gauges_t;
typedef struct billing_live_s     billing_live_t;
typedef struct billing_exporter_s billing_exporter_t;
typedef struct billing_notify_s   billing_notify_t;
typedef struct billing_lane_s     billing_lane_t;
typedef struct billing_maintenance_s billing_maintenance_t;

/* One session of a batch: whose it is, and what was decided. */
typedef struct {
    billing_session_t    *session;
    int64_t               client;
    int64_t               advisor;
    int64_t               conv;
    int32_t               ver;              /* it was decided for */
    int32_t               rev;
    int32_t               charge_no;
    int64_t               held;             /* before the decision */
    int64_t               promo;            /* of the wallet */
    int64_t               charged;          /* after the decision */
    int64_t               fee;
    billing_decision_t    decision;
} billing_plan_t;

typedef struct {
    uv_timer_t            timer;
    uv_timer_t            expiry;           /* of another's lease */
    unsigned              renewing:1;
    unsigned              scanning:1;
    unsigned              finding:1;
    unsigned              standing_by:1;    /* and it was logged */
    int64_t               sent;             /* the renewal under way */
    int64_t               renewed;          /* when one last went well */
    unsigned              slice;            /* of the shards to scan next */
    int64_t               nudges[BILLING_NUDGES];
    size_t                nnudges;
} billing_shards_t;

typedef struct {
    uv_timer_t            timer;
    billing_batch_t      *batches;          /* BILLING_READS of them */
    billing_interval_t   *intervals;        /* for one decision at a time */
    size_t                nintervals;
    billing_segment_t    *segments;         /* the same */
    size_t                nsegments;
    int64_t              *gateways;         /* one for each interval */
    size_t                ngateways;
    unsigned              running:1;
} billing_ticker_t;

typedef struct {
    uv_timer_t            timer;
    billing_lane_t       *lanes;            /* config.backends of them */
    size_t                n;
    int64_t               lent_until;       /* to the ticker, for reading */
    unsigned              running:1;
} billing_lanes_t;

/* the lease of a gateway that is not closed */
typedef struct {
    int64_t               id;
    int64_t               lease_ms;         /* the instant it renewed to */
    int64_t               silence_ms;
    int64_t               age_ms;           /* not renewed for, when polled */
} billing_life_t;

typedef struct {
    uv_timer_t            timer;
    billing_life_t       *lives;            /* in order of id */
    size_t                n;
    size_t                size;
    int64_t               read_at;          /* by billing_clock() */
    int64_t               now_ms;           /* the database's clock then */
    int64_t               sent;             /* the poll under way */
    unsigned              polling:1;
} billing_lives_t;

typedef struct {
    uv_timer_t            timer;
    billing_gateway_t    *gateways;
    size_t                n;
    size_t                size;
    int64_t               polled;           /* when it last went well */
    int64_t               closing;          /* whose lease is being closed */
    unsigned              polling:1;
    unsigned              busy:1;           /* one is */
} billing_reap_t;

/* sessions that hold the last of their client's money */
typedef struct {
    uv_timer_t            timer;
    int64_t              *ids;
    size_t                n;
    size_t                size;
    size_t                next;             /* to be asked about */
    unsigned              asking:1;
} billing_purses_t;

typedef struct {
    uv_timer_t            timer;
    unsigned              asking:1;
    unsigned              again:1;          /* nudged while asking */
} billing_inbox_t;

typedef struct {
    uv_timer_t            timer;
    size_t                next;             /* in the table of errands */
    unsigned              asking:1;
} billing_errands_t;

typedef struct {
    uv_timer_t            timer;
    size_t                next;             /* in the table of them */
    size_t                idle;             /* in a row had nothing to do */
    unsigned              asking:1;
} billing_private_t;

typedef struct {
    uv_timer_t            timer;
    uv_process_t          process;
    char                  day[16];
    unsigned              tries;            /* of the day, that failed here */
    unsigned              asking:1;
    unsigned              running:1;
} billing_nightly_t;

struct billing_worker_s {
    uv_loop_t            *loop;
    billing_config_t     *config;           /* a reload changes it in place */
    billing_settings_t    settings;
    char                  owner[96];

    /*
     * Several connections, so that a batch that waits for a lock keeps no lease
     * from being renewed, and what may take long keeps nobody waiting: what the
     * parts around do goes through chores.
     */
    billing_pg_t          bill;
    billing_pg_t          lease;
    billing_pg_t          chores;
    billing_pg_t          reaper;           /* locks what others may hold */
    billing_redis_t       redis;

    billing_leases_t      leases;
    billing_sessions_t    sessions;

    billing_shards_t      shards;
    billing_ticker_t      ticker;
    billing_lanes_t       lanes;
    billing_lives_t       lives;
    billing_jumps_t       jumps;            /* of the database's clock */
    billing_reap_t        reap;
    billing_purses_t      purses;
    billing_outbox_t      outbox;
    billing_payouts_t     payouts;
    billing_inbox_t       inbox;
    billing_errands_t     errands;
    billing_nightly_t     nightly;
    billing_private_t     private_data;
    billing_gauges_t     *gauges;
    billing_live_t       *live;
    billing_exporter_t   *exporter;         /* NULL: nobody may ask */
    billing_notify_t     *notify;           /* NULL: no systemd */
    billing_maintenance_t  *maintenance;

    int64_t               started;          /* by billing_clock() */
    billing_text_t        frame;            /* scratch of events.c */
    billing_text_t        ticks;            /* told of at the next flush */
    unsigned              stopping:1;
};


/*
 * A part of the worker, of which run.c has a table.  They are started in its
 * order, before the loop runs, and stopped in the opposite one; start() may
 * fail, then the process ends.  After stop() its handles may still be closing,
 * and its memory lives until the loop has ended.
 */
typedef struct {
    const char           *name;
    int                 (*start)(billing_worker_t *w);
    void                (*stop)(billing_worker_t *w);

    /* NULL, or: the configuration has changed, after SIGHUP */
    void                (*reload)(billing_worker_t *w);

    /* NULL, or: whether something is under way that a stop waits for, 3 s */
    int                 (*busy)(const billing_worker_t *w);
} billing_part_t;


/* shards.c */

int billing_shards_start(billing_worker_t *w);
void billing_shards_stop(billing_worker_t *w);

/* Renews now, not at the next second. */
void billing_shards_renew(billing_worker_t *w);

/* Gives all shards back; handler gets the answer. */
int billing_shards_release(billing_worker_t *w,
    billing_pg_handler_pt handler, void *data);


/* scan.c */

/* Looks for sessions that are unknown or have moved, in a slice of shards. */
void billing_scan(billing_worker_t *w);

/* Looks for them in these shards, all at once; an array of BILLING_SHARDS. */
void billing_scan_shards(billing_worker_t *w, const uint8_t *shards);

/*
 * "<session>" or "w<wallet>": somebody says that it has moved; or that a worker
 * has just handed its shards over.
 */
#define BILLING_NUDGE_HANDED  "handed"

void billing_scan_nudge(billing_worker_t *w, const char *text);


/* ticker.c */

int billing_ticker_start(billing_worker_t *w);
void billing_ticker_stop(billing_worker_t *w);

/* Sends what is due; call it whenever something may have become due. */
void billing_ticker_run(billing_worker_t *w);

/* Whether a batch is under way. */
int billing_ticker_busy(const billing_worker_t *w);


/* lanes.c: the sessions that are known by heart; see lanes.h */

int billing_lanes_start(billing_worker_t *w);
void billing_lanes_stop(billing_worker_t *w);

/* When the loop has ended and the sessions are gone. */
void billing_lanes_free(billing_worker_t *w);

/* Sends what is due; call it whenever something may have become due. */
void billing_lanes_run(billing_worker_t *w);

/* Whether a batch is under way. */
int billing_lanes_busy(const billing_worker_t *w);

/*
 * So many sessions were just found in shards that are ours since now: if they
 * are very many, the lanes wait and lend their connections until all are read.
 */
void billing_lanes_lend(billing_worker_t *w, size_t n);

/* Whether they are; not any more when nothing is left to be read. */
int billing_lanes_lending(billing_worker_t *w);

/* The one on which the nth batch reads. */
billing_pg_t *billing_lanes_lent(billing_worker_t *w, size_t n);

/* Where a session that is known by heart waits. */
billing_heap_t *billing_lanes_heap(billing_worker_t *w,
    const billing_session_t *one);


/* lives.c */

/* what was polled longer ago is no basis for anything */
#define BILLING_LIVES_OLD_MS  3000

/* no renewal is guessed to be older than that: as in billing.facts3() */
#define BILLING_LIVES_AGE_MS  3000

int billing_lives_start(billing_worker_t *w);
void billing_lives_stop(billing_worker_t *w);

/* Polls now, not when it is time. */
void billing_lives_poll(billing_worker_t *w);

/* The database's clock said ms; it was asked at sent, by billing_clock(). */
void billing_lives_clock(billing_worker_t *w, int64_t ms, int64_t sent);

/*
 * What the clock of the gateways says, of those that are renewed the one that
 * is furthest behind; no later than ms, which is the database's.
 */
int64_t billing_lives_now(const billing_worker_t *w, int64_t ms);

/* NULL: it is closed, or was not there when they were polled. */
const billing_life_t *billing_lives_find(const billing_worker_t *w,
    int64_t gateway);


/* reap.c */

int billing_reap_start(billing_worker_t *w);
void billing_reap_stop(billing_worker_t *w);


/* purses.c */

int billing_purses_start(billing_worker_t *w);
void billing_purses_stop(billing_worker_t *w);

/* To be called with each decision about a session, before it is applied. */
void billing_purses_note(billing_worker_t *w, billing_session_t *one,
    const billing_decision_t *d);


/* events.c: to be called after the commit, never before */

/*
 * A charge that changed nothing but money and paid_until: ver is the one it was
 * decided for, and still is.  billing_low goes with it, if it is decided.  Told
 * by billing_events_flush(), to be called after the answers to each commit.
 */
void billing_events_tick_add(billing_worker_t *w, const billing_plan_t *p,
    int64_t balance);
void billing_events_flush(billing_worker_t *w);

/* res: a row of billing.apply() that is done. */
void billing_events_applied(billing_worker_t *w, const billing_plan_t *p,
    const PGresult *res, int row);

/* res: a row of billing.reap(). */
void billing_events_reaped(billing_worker_t *w, const PGresult *res, int row);


/* statements.c */

extern const billing_pg_statement_t  billing_bill_statements[];
extern const billing_pg_statement_t  billing_lease_statements[];
extern const billing_pg_statement_t  billing_chores_statements[];
extern const billing_pg_statement_t  billing_reaper_statements[];
extern const billing_pg_statement_t  billing_lane_statements[];

/* the columns of billing.apply() */
#define BILLING_APPLY_ID        0
#define BILLING_APPLY_STATUS    1
#define BILLING_APPLY_VER       2
#define BILLING_APPLY_BALANCE   3
#define BILLING_APPLY_HELD      4
#define BILLING_APPLY_HEAD      5
#define BILLING_APPLY_SEQ       6
#define BILLING_APPLY_FRAME     7
#define BILLING_APPLY_SNAPSHOT  8

/* the columns of billing.reap() */
#define BILLING_REAP_ID         0
#define BILLING_REAP_VER        1
#define BILLING_REAP_STATE      2
#define BILLING_REAP_PAID       3
#define BILLING_REAP_CLIENT     4
#define BILLING_REAP_ADVISOR    5
#define BILLING_REAP_CONV       6
#define BILLING_REAP_HEAD       7
#define BILLING_REAP_SNAPSHOT   8


#endif /* _BILLING_WORKER_H_INCLUDED_ */
