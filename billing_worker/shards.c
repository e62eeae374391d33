
/*
 * Copyright (C) The Astro authors
 *
 * The leases of shards: renewed each second, believed for less than they last.
 * Every worker takes whatever has expired, and asks for it at that moment: who
 * does not renew is dead, or has to wait for the fence's word.
 */

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "point.h"
#include "worker.h"


#define BILLING_SHARDS_RENEW_MS  1000

/* a lease that has ended, and is locked */
#define BILLING_SHARDS_LOCKED_MS  250


static void billing_shards_timer(uv_timer_t *timer);
static void billing_shards_expiry(uv_timer_t *timer);
static void billing_shards_renewed(void *data,
    const billing_pg_reply_t *reply);
static void billing_shards_await(billing_worker_t *w, const PGresult *res);
static void billing_shards_unlock(billing_worker_t *w);
static void billing_shards_unlocked(void *data,
    const billing_pg_reply_t *reply);
static void billing_shards_tell(billing_worker_t *w, unsigned before);
static int billing_shards_lost(void *data, const billing_session_t *one);


int
billing_shards_start(billing_worker_t *w)
{
    billing_leases_init(&w->leases);

    if (uv_timer_init(w->loop, &w->shards.timer) != 0
        || uv_timer_init(w->loop, &w->shards.expiry) != 0)
    {
        return BILLING_ERROR;
    }

    w->shards.timer.data = w;
    w->shards.expiry.data = w;

    return uv_timer_start(&w->shards.timer, billing_shards_timer,
                          BILLING_SHARDS_RENEW_MS, BILLING_SHARDS_RENEW_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_shards_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->shards.timer, NULL);
    uv_close((uv_handle_t *) &w->shards.expiry, NULL);
}


static void
billing_shards_timer(uv_timer_t *timer)
{
    billing_worker_t *w = timer->data;

    billing_shards_renew(w);
    billing_scan(w);
}


static void
billing_shards_expiry(uv_timer_t *timer)
{
    billing_shards_renew(timer->data);
}


void
billing_shards_renew(billing_worker_t *w)
{
    char                ttl[24];
    int64_t             now;
    billing_pg_query_t  q[2];

    if (w->shards.renewing || w->stopping) {
        return;
    }

    snprintf(ttl, sizeof(ttl), "%d", BILLING_LEASE_TTL_MS);

    q[0].statement = "lease";
    q[0].nvalues = 2;
    q[0].values[0] = w->owner;
    q[0].values[1] = ttl;

    q[1].statement = "lease_next";
    q[1].nvalues = 1;
    q[1].values[0] = w->owner;

    /* the clock is read before the question goes out, never after */

    now = billing_clock();

    if (billing_pg_call(&w->lease, q, 2, billing_shards_renewed, w)
        == BILLING_OK)
    {
        w->shards.sent = now;
        w->shards.renewing = 1;
        BILLING_POINT("lease-sent");
    }
}


static void
billing_shards_renewed(void *data, const billing_pg_reply_t *reply)
{
    int                i, n;
    uint8_t            gained[BILLING_SHARDS], lost[BILLING_SHARDS];
    unsigned           before;
    PGresult          *res;
    billing_lease_t    leases[BILLING_SHARDS];
    billing_worker_t  *w;

    w = data;
    w->shards.renewing = 0;

    billing_count(RENEWALS, reply->status == BILLING_PG_DONE);
    billing_count(RENEWALS_FAILED, reply->status != BILLING_PG_DONE);
    billing_observe(RENEWAL, (billing_clock() - w->shards.sent) * 1000);

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot renew leases",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    /* not renewed: the belief ends by itself */

    if (reply->status != BILLING_PG_DONE || w->stopping) {
        return;
    }

    w->shards.renewed = billing_clock();

    res = reply->results[0];
    n = PQntuples(res);

    if (n > BILLING_SHARDS) {
        return;
    }

    for (i = 0; i < n; i++) {
        leases[i].shard = (int) billing_pg_int(res, i, 0, -1);
        leases[i].epoch = billing_pg_int(res, i, 1, 0);
    }

    before = w->leases.owned;

    if (billing_leases_renewed(&w->leases, w->shards.sent, leases, (size_t) n,
                               gained, lost)
        != BILLING_OK)
    {
        billing_log_msg(BILLING_LOG_ERROR, "the leases make no sense");
        return;
    }

    BILLING_POINT("lease-renewed");

    billing_shards_await(w, reply->results[1]);
    billing_shards_tell(w, before);

    /* after billing_leases_drop() nobody knows any more which are lost */

    if (before == 0 || memchr(lost, 1, BILLING_SHARDS) != NULL) {
        billing_sessions_sweep(&w->sessions, billing_shards_lost, w);
    }

    if (memchr(gained, 1, BILLING_SHARDS) != NULL) {
        BILLING_POINT("shards-gained");
        billing_scan_shards(w, gained);
    }

    billing_ticker_run(w);
}


/*
 * Others that live renew long before their leases end; the end of one that does
 * not is less than a second away when we hear of it, and not waited for longer.
 */

static void
billing_shards_await(billing_worker_t *w, const PGresult *res)
{
    int64_t  ms;

    if (res == NULL || PQntuples(res) != 1) {
        return;
    }

    ms = billing_pg_int(res, 0, 0, BILLING_SHARDS_RENEW_MS);

    if (ms == 0) {
        billing_shards_unlock(w);
        ms = BILLING_SHARDS_LOCKED_MS;
    }

    if (ms > 0 && ms < BILLING_SHARDS_RENEW_MS) {
        uv_update_time(w->loop);
        uv_timer_start(&w->shards.expiry, billing_shards_expiry,
                       (uint64_t) ms, 0);
    }
}


/*
 * Whose lease has ended has a transaction that is beyond its fence.  As a rule
 * it is over in a moment; but of a worker that was stopped, or cut off, while
 * it sent a batch, the server waits for the rest, for as long as the connection
 * seems to live, and the shards are locked, and sessions and wallets may be.
 * Nobody's money depends on it: what is rolled back is read again by whoever
 * has the shard.  No worker that lives has the server wait so for a second.
 */

static void
billing_shards_unlock(billing_worker_t *w)
{
    billing_pg_query_t  q;

    q.statement = "unlock";
    q.nvalues = 0;

    (void) billing_pg_call(&w->lease, &q, 1, billing_shards_unlocked, w);
}


static void
billing_shards_unlocked(void *data, const billing_pg_reply_t *reply)
{
    int64_t  n;

    (void) data;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot end the transactions of a "
                    "worker that is lost",
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    n = billing_pg_int(reply->results[0], 0, 0, 0);

    if (n > 0) {
        billing_log(BILLING_LOG_WARN, "ended transactions of a worker that "
                    "is lost", billing_log_int("transactions", n));
    }
}


static void
billing_shards_tell(billing_worker_t *w, unsigned before)
{
    if (w->leases.owned > 0 && before == 0) {
        w->shards.standing_by = 0;

        billing_log(BILLING_LOG_INFO, "ready",
                    billing_log_int("shards", w->leases.owned),
                    billing_log_str("owner", w->owner));
        return;
    }

    if (w->leases.owned == 0 && !w->shards.standing_by) {
        w->shards.standing_by = 1;

        billing_log(BILLING_LOG_INFO, "standing by, others hold all shards",
                    billing_log_str("owner", w->owner));
        return;
    }

    if (before != w->leases.owned) {
        billing_log(BILLING_LOG_INFO, "shards",
                    billing_log_int("before", before),
                    billing_log_int("now", w->leases.owned));
    }
}


static int
billing_shards_lost(void *data, const billing_session_t *one)
{
    billing_worker_t *w = data;

    int64_t  now;

    if (w->leases.epoch[one->shard] != 0) {
        return 0;
    }

    /* for all we know nobody has charged it yet: that much it is late */

    now = billing_clock();

    if (one->late != 0 && one->late < now) {
        billing_observe(TICK_LAG, (now - one->late) * 1000);

    } else if (one->due.place != 0 && one->due.key < now) {
        billing_observe(TICK_LAG, (now - one->due.key) * 1000);
    }

    return 1;
}


int
billing_shards_release(billing_worker_t *w, billing_pg_handler_pt handler,
    void *data)
{
    billing_pg_query_t  q;

    BILLING_POINT("handover");

    billing_leases_drop(&w->leases);

    q.statement = "release";
    q.nvalues = 1;
    q.values[0] = w->owner;

    return billing_pg_call(&w->lease, &q, 1, handler, data);
}
