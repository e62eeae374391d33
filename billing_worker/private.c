
/*
 * Copyright (C) The Astro authors
 *
 * People's data: see private.h.
 *
 * Each is one function of the database, which does a little in one transaction
 * and keeps in a row how far it has got.  So there is nothing to remember here;
 * whatever dies, another worker goes on.  Each is asked once a second; while
 * there is more to do they are asked at once, by turns: a walk over all that is
 * too old takes hours, and who waits for an export does not wait for that.
 */

#include <inttypes.h>
#include <stdio.h>

#include "log.h"
#include "private.h"


#define BILLING_PRIVATE_MS  333

/* the columns of billing.retain_next() */
#define BILLING_RETAIN_KIND     0
#define BILLING_RETAIN_REMOVED  1
#define BILLING_RETAIN_TOTAL    2
#define BILLING_RETAIN_DONE     3


static void billing_private_timer(uv_timer_t *timer);
static void billing_private_ask(billing_worker_t *w);
static void billing_private_done(void *data, const billing_pg_reply_t *reply);
static int billing_private_more(const PGresult *res);
static void billing_private_retained(const PGresult *res);


static const char *const  billing_privates[] = {
    "export_next", "erase_next", "retain_next"
};

#define BILLING_PRIVATES                                                      \
    (sizeof(billing_privates) / sizeof(billing_privates[0]))


int
billing_private_start(billing_worker_t *w)
{
    if (uv_timer_init(w->loop, &w->private_data.timer) != 0) {
        return BILLING_ERROR;
    }

    w->private_data.timer.data = w;

    return uv_timer_start(&w->private_data.timer, billing_private_timer,
                          BILLING_PRIVATE_MS, BILLING_PRIVATE_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_private_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->private_data.timer, NULL);
}


int
billing_private_busy(const billing_worker_t *w)
{
    return w->private_data.asking;
}


static void
billing_private_timer(uv_timer_t *timer)
{
    billing_worker_t  *w;

    w = timer->data;

    if (w->private_data.asking || w->stopping) {
        return;
    }

    /* one of them: the others only if it has something to do */

    w->private_data.next = (w->private_data.next + 1) % BILLING_PRIVATES;
    w->private_data.idle = BILLING_PRIVATES - 1;

    billing_private_ask(w);
}


static void
billing_private_ask(billing_worker_t *w)
{
    size_t                     i;
    char                       days[4][24];
    billing_pg_query_t         q;
    const billing_config_t    *c;

    c = w->config;

    q.statement = billing_privates[w->private_data.next];
    q.nvalues = 0;

    if (w->private_data.next == 0) {
        q.nvalues = 1;
        snprintf(days[0], sizeof(days[0]), "%" PRId64, c->export_days);
    }

    if (w->private_data.next == 2) {
        q.nvalues = 4;
        snprintf(days[0], sizeof(days[0]), "%" PRId64,
                 c->retain_messages_days);
        snprintf(days[1], sizeof(days[1]), "%" PRId64,
                 c->retain_notices_days);
        snprintf(days[2], sizeof(days[2]), "%" PRId64,
                 c->retain_logins_days);
        snprintf(days[3], sizeof(days[3]), "%" PRId64,
                 c->retain_traces_days);
    }

    for (i = 0; i < (size_t) q.nvalues; i++) {
        q.values[i] = days[i];
    }

    if (billing_pg_call(&w->chores, &q, 1, billing_private_done, w)
        == BILLING_OK)
    {
        w->private_data.asking = 1;
    }
}


static void
billing_private_done(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t  *w;

    w = data;
    w->private_data.asking = 0;

    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "people's data wait",
                    billing_log_str("what",
                                    billing_privates[w->private_data.next]),
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message ? reply->message
                                                            : ""));
    }

    if (reply->status != BILLING_PG_DONE || w->stopping) {
        return;
    }

    if (billing_private_more(reply->results[0])) {
        w->private_data.idle = 0;

    } else if (++w->private_data.idle >= BILLING_PRIVATES) {
        return;
    }

    w->private_data.next = (w->private_data.next + 1) % BILLING_PRIVATES;

    billing_private_ask(w);
}


static int
billing_private_more(const PGresult *res)
{
    if (PQntuples(res) == 0) {
        return 0;
    }

    if (PQnfields(res) == 1) {
        return *PQgetvalue(res, 0, 0) == 't';
    }

    billing_private_retained(res);

    return 1;
}


static void
billing_private_retained(const PGresult *res)
{
    if (*PQgetvalue(res, 0, BILLING_RETAIN_DONE) == 't') {
        billing_log(BILLING_LOG_INFO, "what is too old is removed",
                    billing_log_str("kind",
                                    PQgetvalue(res, 0, BILLING_RETAIN_KIND)),
                    billing_log_int("removed",
                                    billing_pg_int(res, 0,
                                                   BILLING_RETAIN_TOTAL, 0)));
    }
}
