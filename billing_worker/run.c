
/*
 * Copyright (C) The Astro authors
 *
 * A worker's life: start, signals, the orderly end.
 *
 * At SIGTERM nothing new is begun; what is under way is waited for, a little,
 * then all shards are handed over.  A worker that is killed instead leaves
 * nothing half done either; its shards are free when their leases expire.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "errands.h"
#include "exporter.h"
#include "gauges.h"
#include "inbox.h"
#include "live.h"
#include "log.h"
#include "maintenance.h"
#include "metrics.h"
#include "nightly.h"
#include "notify.h"
#include "point.h"
#include "private.h"
#include "run.h"
#include "traces.h"
#include "worker.h"


#define BILLING_RUN_STOP_MS   3000
#define BILLING_RUN_CHECK_MS  10


typedef struct {
    billing_worker_t   worker;
    uv_loop_t          loop;
    uv_signal_t        term;
    uv_signal_t        intr;
    uv_signal_t        hup;
    uv_timer_t         stop;
    int64_t            stopping;        /* since */
    unsigned           asked:1;         /* to take the shards back */
    unsigned           handed:1;        /* they are */
} billing_run_t;


static int billing_run_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_run_init(billing_run_t *r, billing_config_t *config);
static int billing_run_start(billing_run_t *r);
static void billing_run_settings(billing_worker_t *w);
static void billing_run_owner(billing_worker_t *w);
static int billing_run_bill_start(billing_worker_t *w);
static void billing_run_bill_stop(billing_worker_t *w);
static int billing_run_lease_start(billing_worker_t *w);
static void billing_run_lease_stop(billing_worker_t *w);
static int billing_run_chores_start(billing_worker_t *w);
static void billing_run_chores_stop(billing_worker_t *w);
static int billing_run_reaper_start(billing_worker_t *w);
static void billing_run_reaper_stop(billing_worker_t *w);
static int billing_run_redis_start(billing_worker_t *w);
static void billing_run_redis_stop(billing_worker_t *w);
static void billing_run_up(void *data);
static void billing_run_idle(void *data);
static void billing_run_nudged(void *data, const char *text);
static void billing_run_subscribed(void *data);
static void billing_run_signal(uv_signal_t *handle, int signum);
static void billing_run_reload(uv_signal_t *handle, int signum);
static void billing_run_stopping(uv_timer_t *timer);
static int billing_run_busy(const billing_worker_t *w);
static void billing_run_released(void *data, const billing_pg_reply_t *reply);
static void billing_run_end(billing_run_t *r);


const billing_command_t  billing_run_command = {
    "run",
    "meters live sessions and moves the money, until SIGTERM",
    "exit status: 0 stopped by a signal, 1 could not run, 2 wrong use or "
    "setting\n",
    NULL,
    NULL,
    billing_run_main
};


/* in the order in which they start: the connections last, they call the rest */

static const billing_part_t  billing_run_parts[] = {

    { "ticker", billing_ticker_start, billing_ticker_stop, NULL,
      billing_ticker_busy },

    { "shards", billing_shards_start, billing_shards_stop, NULL, NULL },

    { "reap", billing_reap_start, billing_reap_stop, NULL, NULL },

    { "purses", billing_purses_start, billing_purses_stop, NULL, NULL },

    { "notify", billing_notify_start, billing_notify_stop, NULL, NULL },

    { "exporter", billing_exporter_start, billing_exporter_stop, NULL, NULL },

    { "inbox", billing_inbox_start, billing_inbox_stop, NULL,
      billing_inbox_busy },

    { "errands", billing_errands_start, billing_errands_stop, NULL,
      billing_errands_busy },

    { "private", billing_private_start, billing_private_stop, NULL,
      billing_private_busy },

    { "gauges", billing_gauges_start, billing_gauges_stop, NULL, NULL },

    { "live", billing_live_start, billing_live_stop, NULL, NULL },

    { "payouts", billing_payouts_start, billing_payouts_stop, NULL, NULL },

    { "nightly", billing_nightly_start, billing_nightly_stop, NULL, NULL },

    { "outbox", billing_outbox_start, billing_outbox_stop,
      billing_outbox_reload, billing_outbox_busy },

    { "lives", billing_lives_start, billing_lives_stop, NULL, NULL },

    { "maintenance", billing_maintenance_start, billing_maintenance_stop, NULL,
      NULL },

    { "redis", billing_run_redis_start, billing_run_redis_stop, NULL, NULL },

    { "chores", billing_run_chores_start, billing_run_chores_stop, NULL,
      NULL },

    { "reaper", billing_run_reaper_start, billing_run_reaper_stop, NULL,
      NULL },

    { "lease", billing_run_lease_start, billing_run_lease_stop, NULL, NULL },

    { "bill", billing_run_bill_start, billing_run_bill_stop, NULL, NULL },

    { "lanes", billing_lanes_start, billing_lanes_stop, NULL,
      billing_lanes_busy }
};

#define BILLING_RUN_PARTS                                                     \
    (sizeof(billing_run_parts) / sizeof(billing_part_t))


static int
billing_run_main(billing_config_t *config, int argc, char *const *argv)
{
    int             rc;
    billing_run_t  *r;

    (void) argc;
    (void) argv;

    r = calloc(1, sizeof(billing_run_t));
    if (r == NULL) {
        return EXIT_FAILURE;
    }

    signal(SIGPIPE, SIG_IGN);

    if (billing_run_init(r, config) != BILLING_OK
        || billing_run_start(r) != BILLING_OK)
    {
        /* the loop has not run: the process ends, and all of it with it */

        billing_log_msg(BILLING_LOG_ERROR, "cannot start");
        free(r);
        return EXIT_FAILURE;
    }

    uv_run(&r->loop, UV_RUN_DEFAULT);

    rc = uv_loop_close(&r->loop) ? EXIT_FAILURE : EXIT_SUCCESS;

    /* the lanes' heaps hold sessions */
    billing_lanes_free(&r->worker);
    billing_sessions_free(&r->worker.sessions);
    billing_text_free(&r->worker.frame);
    billing_text_free(&r->worker.ticks);

    billing_log_msg(BILLING_LOG_INFO, "stopped");
    free(r);

    return rc;
}


static int
billing_run_init(billing_run_t *r, billing_config_t *config)
{
    billing_worker_t  *w;

    w = &r->worker;

    if (uv_loop_init(&r->loop) != 0) {
        return BILLING_ERROR;
    }

    w->loop = &r->loop;
    w->config = config;
    w->started = billing_clock();

    billing_run_owner(w);
    billing_run_settings(w);
    billing_text_init(&w->frame);
    billing_text_init(&w->ticks);

    return billing_sessions_init(&w->sessions);
}


static int
billing_run_start(billing_run_t *r)
{
    size_t             i;
    billing_worker_t  *w;

    w = &r->worker;

    if (uv_signal_init(w->loop, &r->term) != 0
        || uv_signal_init(w->loop, &r->intr) != 0
        || uv_signal_init(w->loop, &r->hup) != 0
        || uv_timer_init(w->loop, &r->stop) != 0)
    {
        return BILLING_ERROR;
    }

    r->term.data = r;
    r->intr.data = r;
    r->hup.data = r;
    r->stop.data = r;

    if (uv_signal_start(&r->term, billing_run_signal, SIGTERM) != 0
        || uv_signal_start(&r->intr, billing_run_signal, SIGINT) != 0
        || uv_signal_start(&r->hup, billing_run_reload, SIGHUP) != 0)
    {
        return BILLING_ERROR;
    }

    for (i = 0; i < BILLING_RUN_PARTS; i++) {

        if (billing_run_parts[i].start(w) != BILLING_OK) {
            billing_log(BILLING_LOG_ERROR, "cannot start a part",
                        billing_log_str("part", billing_run_parts[i].name));
            return BILLING_ERROR;
        }
    }

    billing_log(BILLING_LOG_INFO, "started",
                billing_log_str("owner", w->owner),
                billing_log_int("tick_seconds", w->config->tick_seconds));

    return BILLING_OK;
}


static void
billing_run_settings(billing_worker_t *w)
{
    w->settings.tick_ms = w->config->tick_seconds * 1000;
    w->settings.ahead_ms = w->config->paid_ahead_seconds * 1000;
    w->settings.low_ms = w->config->low_seconds * 1000;
    w->settings.ring_ms = w->config->ring_seconds * 1000;
    w->settings.grace_ms = w->config->grace_seconds * 1000;
    w->settings.apart_ms = w->config->grace_total_seconds * 1000;
    w->settings.pause_ms = w->config->pause_seconds * 1000;

    billing_log_set((billing_log_level_e) w->config->log_level);
}


/*
 * One owner is one run of one process: a new one must not take over the leases
 * of a killed one of the same name, whose last batch may still be on its way.
 */

static void
billing_run_owner(billing_worker_t *w)
{
    char             host[48];
    struct timespec  t;

    if (gethostname(host, sizeof(host)) != 0) {
        snprintf(host, sizeof(host), "unknown");
    }

    host[sizeof(host) - 1] = '\0';

    clock_gettime(CLOCK_REALTIME, &t);
    srand((unsigned) (t.tv_nsec ^ getpid()));

    snprintf(w->owner, sizeof(w->owner), "%s:%d:%" PRIx64, host,
             (int) getpid(),
             (int64_t) t.tv_sec * 1000000000 + t.tv_nsec);
}


static int
billing_run_bill_start(billing_worker_t *w)
{
    w->bill.loop = w->loop;
    w->bill.name = "bill";
    w->bill.conninfo = w->config->pg;
    w->bill.statements = billing_bill_statements;
    w->bill.up = billing_run_up;
    w->bill.down = billing_run_idle;
    w->bill.data = w;

    return billing_pg_start(&w->bill);
}


static void
billing_run_bill_stop(billing_worker_t *w)
{
    billing_pg_stop(&w->bill);
}


static int
billing_run_lease_start(billing_worker_t *w)
{
    w->lease.loop = w->loop;
    w->lease.name = "lease";
    w->lease.conninfo = w->config->pg;
    w->lease.statements = billing_lease_statements;
    w->lease.up = billing_run_up;
    w->lease.down = billing_run_idle;
    w->lease.data = w;

    return billing_pg_start(&w->lease);
}


static void
billing_run_lease_stop(billing_worker_t *w)
{
    billing_pg_stop(&w->lease);
}


static int
billing_run_chores_start(billing_worker_t *w)
{
    w->chores.loop = w->loop;
    w->chores.name = "chores";
    w->chores.conninfo = w->config->pg;
    w->chores.statements = billing_chores_statements;
    w->chores.up = billing_run_idle;
    w->chores.down = billing_run_idle;
    w->chores.data = w;

    return billing_pg_start(&w->chores);
}


static void
billing_run_chores_stop(billing_worker_t *w)
{
    billing_pg_stop(&w->chores);
}


static int
billing_run_reaper_start(billing_worker_t *w)
{
    w->reaper.loop = w->loop;
    w->reaper.name = "reaper";
    w->reaper.conninfo = w->config->pg;
    w->reaper.statements = billing_reaper_statements;
    w->reaper.up = billing_run_idle;
    w->reaper.down = billing_run_idle;
    w->reaper.data = w;

    return billing_pg_start(&w->reaper);
}


static void
billing_run_reaper_stop(billing_worker_t *w)
{
    billing_pg_stop(&w->reaper);
}


static int
billing_run_redis_start(billing_worker_t *w)
{
    w->redis.loop = w->loop;
    w->redis.address = w->config->redis;
    w->redis.prefix = w->config->redis_prefix;
    w->redis.nudged = billing_run_nudged;
    w->redis.subscribed = billing_run_subscribed;
    w->redis.data = w;

    return billing_redis_start(&w->redis);
}


static void
billing_run_redis_stop(billing_worker_t *w)
{
    billing_redis_stop(&w->redis);
}


static void
billing_run_up(void *data)
{
    billing_worker_t *w = data;

    BILLING_POINT("connected");

    if (billing_pg_ready(&w->lease)) {
        billing_shards_renew(w);
        billing_lives_poll(w);
    }

    billing_ticker_run(w);
}


/* Nothing to do: beliefs end by themselves, calls in flight were told. */

static void
billing_run_idle(void *data)
{
    (void) data;
}


static void
billing_run_nudged(void *data, const char *text)
{
    billing_count(NUDGES, 1);

    if (strcmp(text, "inbox") == 0) {
        billing_inbox_nudge(data);
        return;
    }

    if (*text == 'r') {
        billing_traces_heard(text + 1);
        return;
    }

    if (strcmp(text, "outbox") == 0) {
        billing_outbox_nudge(data);
        return;
    }

    billing_scan_nudge(data, text);
}


/* What was said while nobody listened is found by looking. */

static void
billing_run_subscribed(void *data)
{
    billing_scan(data);
}


static void
billing_run_signal(uv_signal_t *handle, int signum)
{
    billing_run_t  *r;

    r = handle->data;

    if (r->worker.stopping) {
        return;
    }

    billing_log(BILLING_LOG_INFO, "stopping",
                billing_log_int("signal", signum));

    r->worker.stopping = 1;
    billing_notify_stopping(&r->worker);
    r->stopping = billing_clock();

    uv_timer_start(&r->stop, billing_run_stopping, 0, BILLING_RUN_CHECK_MS);
}


static void
billing_run_reload(uv_signal_t *handle, int signum)
{
    char               error[1024];
    size_t             i;
    billing_worker_t  *w;

    (void) signum;

    w = &((billing_run_t *) handle->data)->worker;

    billing_notify_reloading(w);

    if (billing_config_reload(w->config, error, sizeof(error)) != BILLING_OK) {
        billing_count(RELOADS_BAD, 1);
        billing_notify_reloaded(w);
        billing_log(BILLING_LOG_ERROR, "configuration not taken",
                    billing_log_str("error", error));
        return;
    }

    billing_run_settings(w);

    for (i = 0; i < BILLING_RUN_PARTS; i++) {

        if (billing_run_parts[i].reload != NULL) {
            billing_run_parts[i].reload(w);
        }
    }

    billing_count(RELOADS, 1);
    billing_notify_reloaded(w);
    billing_log_msg(BILLING_LOG_INFO, "configuration taken");
}


static void
billing_run_stopping(uv_timer_t *timer)
{
    int             late;
    billing_run_t  *r;

    r = timer->data;
    late = (billing_clock() - r->stopping > BILLING_RUN_STOP_MS);

    if (r->handed || (r->asked && late)) {
        billing_run_end(r);
        return;
    }

    if (r->asked || (billing_run_busy(&r->worker) && !late)) {
        return;
    }

    r->asked = 1;

    if (billing_shards_release(&r->worker, billing_run_released, r)
        != BILLING_OK)
    {
        billing_run_end(r);
    }
}


static int
billing_run_busy(const billing_worker_t *w)
{
    size_t  i;

    for (i = 0; i < BILLING_RUN_PARTS; i++) {

        if (billing_run_parts[i].busy != NULL
            && billing_run_parts[i].busy(w))
        {
            return 1;
        }
    }

    return 0;
}


static void
billing_run_released(void *data, const billing_pg_reply_t *reply)
{
    billing_run_t *r = data;

    (void) reply;

    BILLING_POINT("handed-over");

    billing_redis_nudge(&r->worker.redis, BILLING_NUDGE_HANDED);

    /* the timer ends it: here the connection is being read */

    r->handed = 1;
}


static void
billing_run_end(billing_run_t *r)
{
    size_t  i;

    for (i = BILLING_RUN_PARTS; i > 0; i--) {
        billing_run_parts[i - 1].stop(&r->worker);
    }

    uv_close((uv_handle_t *) &r->term, NULL);
    uv_close((uv_handle_t *) &r->intr, NULL);
    uv_close((uv_handle_t *) &r->hup, NULL);
    uv_close((uv_handle_t *) &r->stop, NULL);
}
