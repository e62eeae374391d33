
/*
 * Copyright (C) The Astro authors
 *
 * The connection to PostgreSQL: see pg.h.
 *
 * One timer serves each state: it starts the next attempt, gives up a connect
 * that takes too long, and finds a call that is never answered.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "pg.h"
#include "tariff.h"


#define BILLING_PG_BACKOFF_MIN  50          /* ms */
#define BILLING_PG_BACKOFF_MAX  2000
#define BILLING_PG_CONNECT_MS   5000
#define BILLING_PG_ANSWER_MS    15000       /* then the server is given up */
#define BILLING_PG_LOOK_MS      1000


struct billing_pg_call_s {
    billing_pg_call_t      *next;
    billing_pg_handler_pt   handler;
    void                   *data;
    int64_t                 sent;
    int64_t                 sent_us;
    size_t                  n;              /* results so far */
    billing_pg_reply_t      reply;
};


static void billing_pg_connect(billing_pg_t *pg);
static void billing_pg_connecting(billing_pg_t *pg);
static void billing_pg_prepare(billing_pg_t *pg);
static void billing_pg_prepared(void *data, const billing_pg_reply_t *reply);
static void billing_pg_enter(billing_pg_t *pg, billing_pg_state_e state,
    int64_t timer_ms);
static int billing_pg_watch(billing_pg_t *pg, int events);
static void billing_pg_unwatch(billing_pg_t *pg);
static void billing_pg_unwatched(uv_handle_t *handle);
static void billing_pg_event(uv_poll_t *poll, int status, int events);
static void billing_pg_timer(uv_timer_t *timer);
static void billing_pg_sync(billing_pg_t *pg);
static void billing_pg_flush(billing_pg_t *pg);
static void billing_pg_read(billing_pg_t *pg);
static void billing_pg_result(billing_pg_t *pg, PGresult *res);
static void billing_pg_break(billing_pg_t *pg);
static void billing_pg_lost(billing_pg_t *pg, const char *why);
static billing_pg_call_t *billing_pg_queue(billing_pg_t *pg,
    billing_pg_handler_pt handler, void *data);
static void billing_pg_finish(billing_pg_t *pg, billing_pg_call_t *call);
static void billing_pg_notice(void *data, const char *message);


int
billing_pg_start(billing_pg_t *pg)
{
    if (uv_timer_init(pg->loop, &pg->timer) != 0) {
        return BILLING_ERROR;
    }

    pg->timer.data = pg;
    pg->fd = -1;
    pg->backoff = BILLING_PG_BACKOFF_MIN;

    billing_pg_connect(pg);

    return BILLING_OK;
}


void
billing_pg_stop(billing_pg_t *pg)
{
    pg->stopped = 1;

    uv_timer_stop(&pg->timer);

    if (!uv_is_closing((uv_handle_t *) &pg->timer)) {
        uv_close((uv_handle_t *) &pg->timer, NULL);
    }

    billing_pg_lost(pg, NULL);
}


int
billing_pg_ready(const billing_pg_t *pg)
{
    return pg->state == BILLING_PG_READY && !pg->broken;
}


static void
billing_pg_connect(billing_pg_t *pg)
{
    const char  *values[4];

    static const char *const  keys[] = {
        "dbname", "fallback_application_name", "client_encoding", NULL
    };

    values[0] = pg->conninfo;
    values[1] = "billing_worker";
    values[2] = "UTF8";
    values[3] = NULL;

    billing_pg_enter(pg, BILLING_PG_CONNECTING, BILLING_PG_CONNECT_MS);

    pg->conn = PQconnectStartParams(keys, values, 1);

    if (pg->conn == NULL || PQstatus(pg->conn) == CONNECTION_BAD) {
        billing_pg_lost(pg, pg->conn ? PQerrorMessage(pg->conn)
                                     : "out of memory");
        return;
    }

    PQsetNoticeProcessor(pg->conn, billing_pg_notice, pg);

    /* what libpq wants before the first PQconnectPoll() */

    if (billing_pg_watch(pg, UV_WRITABLE) != BILLING_OK) {
        billing_pg_lost(pg, "cannot watch the socket");
    }
}


static void
billing_pg_connecting(billing_pg_t *pg)
{
    int  rc;

    switch (PQconnectPoll(pg->conn)) {

    case PGRES_POLLING_READING:
        rc = billing_pg_watch(pg, UV_READABLE);
        break;

    case PGRES_POLLING_WRITING:
        rc = billing_pg_watch(pg, UV_WRITABLE);
        break;

    case PGRES_POLLING_OK:

        if (PQsetnonblocking(pg->conn, 1) != 0
            || PQenterPipelineMode(pg->conn) != 1)
        {
            billing_pg_lost(pg, PQerrorMessage(pg->conn));
            return;
        }

        billing_pg_prepare(pg);
        return;

    default:
        billing_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    if (rc != BILLING_OK) {
        billing_pg_lost(pg, "cannot watch the socket");
    }
}


static void
billing_pg_prepare(billing_pg_t *pg)
{
    billing_pg_call_t             *call;
    const billing_pg_statement_t  *s;

    billing_pg_enter(pg, BILLING_PG_PREPARING, BILLING_PG_LOOK_MS);

    call = billing_pg_queue(pg, billing_pg_prepared, pg);

    if (call == NULL) {
        billing_pg_lost(pg, "out of memory");
        return;
    }

    for (s = pg->statements; s->name != NULL; s++) {
        if (PQsendPrepare(pg->conn, s->name, s->sql, s->nvalues, NULL) != 1) {
            billing_pg_lost(pg, PQerrorMessage(pg->conn));
            return;
        }
    }

    if (PQpipelineSync(pg->conn) != 1) {
        billing_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    billing_pg_flush(pg);
}


static void
billing_pg_prepared(void *data, const billing_pg_reply_t *reply)
{
    billing_pg_t *pg = data;

    if (reply->status == BILLING_PG_LOST) {
        return;
    }

    if (reply->status == BILLING_PG_FAILED) {

        /* called from the loop that reads: the connection goes after it */

        billing_log(BILLING_LOG_ERROR, "cannot prepare statements",
                    billing_log_str("connection", pg->name),
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
        billing_pg_break(pg);
        return;
    }

    pg->backoff = BILLING_PG_BACKOFF_MIN;
    pg->failures = 0;

    billing_pg_enter(pg, BILLING_PG_READY, BILLING_PG_LOOK_MS);

    billing_count(PG_CONNECTS, 1);
    billing_log(BILLING_LOG_INFO, "database connected",
                billing_log_str("connection", pg->name));

    pg->up(pg->data);
}


static void
billing_pg_enter(billing_pg_t *pg, billing_pg_state_e state, int64_t timer_ms)
{
    pg->state = state;
    pg->since = billing_clock();

    if (!pg->stopped) {
        uv_timer_start(&pg->timer, billing_pg_timer, (uint64_t) timer_ms, 0);
    }
}


/* libpq may change its socket while it connects, to try another address */

static int
billing_pg_watch(billing_pg_t *pg, int events)
{
    int  fd;

    fd = PQsocket(pg->conn);

    if (fd == -1) {
        return BILLING_ERROR;
    }

    if (pg->poll == NULL || fd != pg->fd) {
        billing_pg_unwatch(pg);

        pg->poll = malloc(sizeof(uv_poll_t));
        if (pg->poll == NULL) {
            return BILLING_ERROR;
        }

        if (uv_poll_init(pg->loop, pg->poll, fd) != 0) {
            free(pg->poll);
            pg->poll = NULL;
            return BILLING_ERROR;
        }

        pg->poll->data = pg;
        pg->fd = fd;
    }

    if (events == pg->events) {
        return BILLING_OK;
    }

    if (uv_poll_start(pg->poll, events, billing_pg_event) != 0) {
        return BILLING_ERROR;
    }

    pg->events = events;

    return BILLING_OK;
}


static void
billing_pg_unwatch(billing_pg_t *pg)
{
    if (pg->poll != NULL) {
        uv_poll_stop(pg->poll);
        uv_close((uv_handle_t *) pg->poll, billing_pg_unwatched);
    }

    pg->poll = NULL;
    pg->fd = -1;
    pg->events = 0;
}


static void
billing_pg_unwatched(uv_handle_t *handle)
{
    free(handle);
}


static void
billing_pg_event(uv_poll_t *poll, int status, int events)
{
    billing_pg_t  *pg;

    pg = poll->data;

    /* an error on the socket is libpq's to find and to name */

    if (status != 0) {
        events = UV_READABLE | UV_WRITABLE;
        pg->events = 0;
    }

    if (pg->state == BILLING_PG_CONNECTING) {
        billing_pg_connecting(pg);
        return;
    }

    if (events & UV_READABLE) {
        billing_pg_read(pg);
    }

    if (pg->conn != NULL && (events & UV_WRITABLE)) {
        billing_pg_flush(pg);
    }
}


static void
billing_pg_timer(uv_timer_t *timer)
{
    int64_t        now;
    billing_pg_t  *pg;

    pg = timer->data;
    now = billing_clock();

    if (pg->broken) {
        billing_pg_lost(pg, pg->conn ? PQerrorMessage(pg->conn) : NULL);
        return;
    }

    switch (pg->state) {

    case BILLING_PG_IDLE:
        billing_pg_connect(pg);
        return;

    case BILLING_PG_CONNECTING:
        billing_pg_lost(pg, "connecting takes too long");
        return;

    default:
        if (pg->first != NULL && now - pg->first->sent > BILLING_PG_ANSWER_MS)
        {
            billing_pg_lost(pg, "no answer");
            return;
        }

        uv_timer_start(timer, billing_pg_timer, BILLING_PG_LOOK_MS, 0);
    }
}


int
billing_pg_call(billing_pg_t *pg, const billing_pg_query_t *queries, size_t n,
    billing_pg_handler_pt handler, void *data)
{
    size_t              i;
    billing_pg_call_t  *call;

    if (!billing_pg_ready(pg) || n > BILLING_PG_STATEMENTS) {
        return BILLING_ERROR;
    }

    call = billing_pg_queue(pg, handler, data);

    if (call == NULL) {
        return BILLING_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (PQsendQueryPrepared(pg->conn, queries[i].statement,
                                queries[i].nvalues, queries[i].values, NULL,
                                NULL, 0)
            != 1)
        {
            billing_pg_break(pg);
            return BILLING_OK;
        }
    }

    billing_pg_sync(pg);

    return BILLING_OK;
}


int
billing_pg_call_binary(billing_pg_t *pg, const billing_pg_binary_t *queries,
    size_t n, billing_pg_handler_pt handler, void *data)
{
    size_t              i;
    billing_pg_call_t  *call;

    static const int  binary[BILLING_PG_VALUES] = {
        1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1
    };

    if (!billing_pg_ready(pg) || n > BILLING_PG_STATEMENTS) {
        return BILLING_ERROR;
    }

    call = billing_pg_queue(pg, handler, data);

    if (call == NULL) {
        return BILLING_ERROR;
    }

    for (i = 0; i < n; i++) {
        if (PQsendQueryPrepared(pg->conn, queries[i].statement,
                                queries[i].nvalues, queries[i].values,
                                queries[i].lengths, binary, 1)
            != 1)
        {
            billing_pg_break(pg);
            return BILLING_OK;
        }
    }

    billing_pg_sync(pg);

    return BILLING_OK;
}


static void
billing_pg_sync(billing_pg_t *pg)
{
    if (PQpipelineSync(pg->conn) != 1) {
        billing_pg_break(pg);
        return;
    }

    billing_pg_flush(pg);
}


static void
billing_pg_flush(billing_pg_t *pg)
{
    int  rc;

    rc = PQflush(pg->conn);

    if (rc == -1
        || billing_pg_watch(pg, rc ? UV_READABLE | UV_WRITABLE : UV_READABLE)
           != BILLING_OK)
    {
        billing_pg_break(pg);
    }
}


static void
billing_pg_read(billing_pg_t *pg)
{
    int        nothing;
    PGresult  *res;

    if (PQconsumeInput(pg->conn) != 1) {
        billing_pg_lost(pg, PQerrorMessage(pg->conn));
        return;
    }

    pg->reading = 1;

    /*
     * NULL ends the results of one statement; two in a row say that libpq has
     * nothing more, whatever we are waiting for
     */

    nothing = 0;

    while (pg->first != NULL && !pg->broken && nothing < 2
           && !PQisBusy(pg->conn))
    {
        res = PQgetResult(pg->conn);

        if (res == NULL) {
            nothing++;
            continue;
        }

        nothing = 0;
        billing_pg_result(pg, res);
    }

    pg->reading = 0;

    if (PQstatus(pg->conn) == CONNECTION_BAD) {
        billing_pg_lost(pg, PQerrorMessage(pg->conn));
    }
}


static void
billing_pg_result(billing_pg_t *pg, PGresult *res)
{
    char               *state;
    billing_pg_call_t  *call;

    call = pg->first;

    switch (PQresultStatus(res)) {

    case PGRES_PIPELINE_SYNC:
        PQclear(res);

        pg->first = call->next;

        if (pg->first == NULL) {
            pg->last = NULL;
        }

        billing_pg_finish(pg, call);
        return;

    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:

        if (call->n < BILLING_PG_STATEMENTS) {
            call->reply.results[call->n++] = res;
            return;
        }

        break;

    case PGRES_PIPELINE_ABORTED:
        break;

    default:
        call->reply.status = BILLING_PG_FAILED;
        state = PQresultErrorField(res, PG_DIAG_SQLSTATE);

        if (state != NULL) {
            memcpy(call->reply.sqlstate, state,
                   sizeof(call->reply.sqlstate) - 1);
        }

        if (call->reply.message == NULL) {
            call->reply.message =
                strdup(PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)
                       ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY)
                       : PQresultErrorMessage(res));
        }
    }

    PQclear(res);
}


/* Has the connection closed soon, from a place where it cannot be at once. */

static void
billing_pg_break(billing_pg_t *pg)
{
    pg->broken = 1;

    if (!pg->stopped) {
        uv_timer_start(&pg->timer, billing_pg_timer, 0, 0);
    }
}


static void
billing_pg_lost(billing_pg_t *pg, const char *why)
{
    int                 was_ready;
    char                error[256];
    int64_t             wait;
    billing_pg_call_t  *call;

    was_ready = (pg->state == BILLING_PG_READY);

    billing_count(PG_LOST, why != NULL);

    /* an outage is one line, not one for each attempt */

    if (why != NULL && pg->failures++ == 0) {
        snprintf(error, sizeof(error), "%.*s", (int) strcspn(why, "\n"), why);

        billing_log(BILLING_LOG_WARN, "database connection lost",
                    billing_log_str("connection", pg->name),
                    billing_log_str("error", error));
    }

    billing_pg_unwatch(pg);

    if (pg->conn != NULL) {
        PQfinish(pg->conn);
        pg->conn = NULL;
    }

    pg->broken = 0;
    wait = pg->backoff / 2 + rand() % (pg->backoff / 2 + 1);

    pg->backoff *= 2;

    if (pg->backoff > BILLING_PG_BACKOFF_MAX) {
        pg->backoff = BILLING_PG_BACKOFF_MAX;
    }

    billing_pg_enter(pg, BILLING_PG_IDLE, wait);

    while (pg->first != NULL) {
        call = pg->first;
        pg->first = call->next;
        call->reply.status = BILLING_PG_LOST;
        billing_pg_finish(pg, call);
    }

    pg->last = NULL;

    if (was_ready) {
        pg->down(pg->data);
    }
}


static billing_pg_call_t *
billing_pg_queue(billing_pg_t *pg, billing_pg_handler_pt handler, void *data)
{
    billing_pg_call_t  *call;

    call = calloc(1, sizeof(billing_pg_call_t));
    if (call == NULL) {
        return NULL;
    }

    call->handler = handler;
    call->data = data;
    call->sent = billing_clock();
    call->sent_us = billing_metrics_clock();

    if (pg->last != NULL) {
        pg->last->next = call;

    } else {
        pg->first = call;
    }

    pg->last = call;

    return call;
}


static void
billing_pg_finish(billing_pg_t *pg, billing_pg_call_t *call)
{
    size_t  i;

    (void) pg;

    billing_observe(PG_CALL, billing_metrics_clock() - call->sent_us);

    call->handler(call->data, &call->reply);

    for (i = 0; i < BILLING_PG_STATEMENTS; i++) {
        PQclear(call->reply.results[i]);
    }

    free(call->reply.message);
    free(call);
}


static void
billing_pg_notice(void *data, const char *message)
{
    billing_pg_t *pg = data;

    billing_log(BILLING_LOG_DEBUG, "database notice",
                billing_log_str("connection", pg->name),
                billing_log_str("notice", message));
}


int64_t
billing_pg_int(const PGresult *res, int row, int column, int64_t none)
{
    if (PQgetisnull(res, row, column)) {
        return none;
    }

    return strtoll(PQgetvalue(res, row, column), NULL, 10);
}


int
billing_pg_bool(const PGresult *res, int row, int column)
{
    return PQgetvalue(res, row, column)[0] == 't';
}
