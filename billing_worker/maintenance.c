
/*
 * Copyright (C) The Astro authors
 *
 * Maintenance of the journal: see maintenance.h.
 *
 * To roll up a partition may take a minute: longer than the worker's own
 * connections wait for an answer.  So it is done by a thread of libuv's pool,
 * over a connection of its own that is there for the one call.  The thread
 * shares nothing but this struct, which outlives it: it is freed when the
 * thread is done, or at the stop if none is.
 */

#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"
#include "maintenance.h"
#include "worker.h"


#define BILLING_MAINTENANCE_FIRST_MS  200
#define BILLING_MAINTENANCE_MS        60000

/* a live session's earnings reach the advisor's wallet this often, in s */
#define BILLING_MAINTENANCE_CREDIT    "600"


struct billing_maintenance_s {
    billing_worker_t   *worker;
    uv_timer_t          timer;
    uv_work_t           work;
    unsigned            working:1;
    unsigned            stopped:1;      /* nothing but the memory is left */
    unsigned            closed:1;       /* the timer is */

    /* the thread's from start to end of its work */
    char               *conninfo;
    char                days[24];
    PGresult           *res;            /* NULL: no memory, or no connection */
    char                error[256];

    /* of both, under the lock */
    uv_mutex_t          lock;
    PGconn             *conn;
    int                 cancelled;
};


static void billing_maintenance_timer(uv_timer_t *timer);
static void billing_maintenance_work(uv_work_t *work);
static int billing_maintenance_more(billing_maintenance_t *m, PGconn *conn,
    const char *sql);
static PGconn *billing_maintenance_connect(billing_maintenance_t *m);
static void billing_maintenance_notice(void *data, const char *message);
static void billing_maintenance_done(uv_work_t *work, int status);
static int billing_maintenance_result(const billing_maintenance_t *m);
static int billing_maintenance_later(const char *state);
static void billing_maintenance_closed(uv_handle_t *handle);
static void billing_maintenance_free(billing_maintenance_t *m);


int
billing_maintenance_start(billing_worker_t *w)
{
    billing_maintenance_t  *m;

    m = calloc(1, sizeof(billing_maintenance_t));
    if (m == NULL) {
        return BILLING_ERROR;
    }

    m->worker = w;
    m->conninfo = strdup(w->config->pg);

    if (m->conninfo == NULL || uv_mutex_init(&m->lock) != 0) {
        free(m->conninfo);
        free(m);
        return BILLING_ERROR;
    }

    w->maintenance = m;

    if (uv_timer_init(w->loop, &m->timer) != 0) {
        return BILLING_ERROR;
    }

    m->timer.data = m;
    m->work.data = m;

    return uv_timer_start(&m->timer, billing_maintenance_timer,
                          BILLING_MAINTENANCE_FIRST_MS, 0)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_maintenance_stop(billing_worker_t *w)
{
    billing_maintenance_t  *m;

    m = w->maintenance;
    w->maintenance = NULL;
    m->stopped = 1;

    /*
     * Whatever it does is done as a whole or not at all: the server may have
     * it, we do not wait.
     */

    uv_mutex_lock(&m->lock);

    m->cancelled = 1;

    if (m->conn != NULL) {
        shutdown(PQsocket(m->conn), SHUT_RDWR);
    }

    uv_mutex_unlock(&m->lock);

    uv_close((uv_handle_t *) &m->timer, billing_maintenance_closed);
}


static void
billing_maintenance_timer(uv_timer_t *timer)
{
    billing_maintenance_t  *m;

    m = timer->data;

    if (m->worker->stopping || m->working) {
        return;
    }

    snprintf(m->days, sizeof(m->days), "%d",
             (int) m->worker->config->rollup_after_days);

    if (uv_queue_work(m->worker->loop, &m->work, billing_maintenance_work,
                      billing_maintenance_done)
        == 0)
    {
        m->working = 1;
        return;
    }

    uv_timer_start(&m->timer, billing_maintenance_timer,
                   BILLING_MAINTENANCE_MS, 0);
}


/* In a thread of the pool. */

static void
billing_maintenance_work(uv_work_t *work)
{
    PGconn                 *conn;
    const char             *values[1];
    billing_maintenance_t  *m;

    m = work->data;
    m->res = NULL;
    m->error[0] = '\0';

    conn = billing_maintenance_connect(m);

    if (conn == NULL) {
        return;
    }

    values[0] = m->days;

    m->res = PQexecParams(conn, "SELECT what, part, transfers "
                          "FROM billing.maintain($1::int)", 1, NULL, values,
                          NULL, NULL, 0);

    snprintf(m->error, sizeof(m->error), "%s", PQerrorMessage(conn));

    /* each a transaction of its own, short, until there is nothing due */

    while (billing_maintenance_more(m, conn, "SELECT billing.credit_next("
                                    BILLING_MAINTENANCE_CREDIT ")"))
    {
        /* void */
    }

    (void) billing_maintenance_more(m, conn, "SELECT billing.totals_roll()");

    while (billing_maintenance_more(m, conn, "SELECT billing.stats_roll()")) {
        /* void */
    }

    uv_mutex_lock(&m->lock);
    m->conn = NULL;
    uv_mutex_unlock(&m->lock);

    PQfinish(conn);
}


/*
 * Whether it did something.  A failure takes the place of the first result: it
 * is said, and all of it is tried again in a minute.
 */

static int
billing_maintenance_more(billing_maintenance_t *m, PGconn *conn,
    const char *sql)
{
    int        more;
    PGresult  *res;

    if (PQresultStatus(m->res) != PGRES_TUPLES_OK) {
        return 0;
    }

    res = PQexec(conn, sql);

    if (PQresultStatus(res) == PGRES_TUPLES_OK) {
        more = !PQgetisnull(res, 0, 0);

        PQclear(res);
        return more;
    }

    snprintf(m->error, sizeof(m->error), "%s", PQerrorMessage(conn));

    PQclear(m->res);
    m->res = res;

    return 0;
}


/* NULL: there is none, or it is not wanted any more. */

static PGconn *
billing_maintenance_connect(billing_maintenance_t *m)
{
    int          wanted;
    PGconn      *conn;
    const char  *values[4];

    static const char *const  keys[] = {
        "connect_timeout", "dbname", "fallback_application_name", NULL
    };

    values[0] = "5";
    values[1] = m->conninfo;
    values[2] = "billing_worker maintenance";
    values[3] = NULL;

    conn = PQconnectdbParams(keys, values, 1);

    if (PQstatus(conn) != CONNECTION_OK) {
        snprintf(m->error, sizeof(m->error), "%s", PQerrorMessage(conn));
        PQfinish(conn);
        return NULL;
    }

    /* what it says comes with the result; libpq would print it */
    PQsetNoticeProcessor(conn, billing_maintenance_notice, NULL);

    uv_mutex_lock(&m->lock);

    wanted = !m->cancelled;

    if (wanted) {
        m->conn = conn;
    }

    uv_mutex_unlock(&m->lock);

    if (!wanted) {
        PQfinish(conn);
        return NULL;
    }

    return conn;
}


static void
billing_maintenance_notice(void *data, const char *message)
{
    (void) data;
    (void) message;
}


/* In the loop again. */

static void
billing_maintenance_done(uv_work_t *work, int status)
{
    int                     more;
    billing_maintenance_t  *m;

    (void) status;

    m = work->data;
    m->working = 0;

    more = m->stopped ? 0 : billing_maintenance_result(m);

    PQclear(m->res);
    m->res = NULL;

    if (m->stopped) {
        billing_maintenance_free(m);
        return;
    }

    uv_timer_start(&m->timer, billing_maintenance_timer,
                   more ? 0 : BILLING_MAINTENANCE_MS, 0);
}


/* Whether there may be more to do at once. */

static int
billing_maintenance_result(const billing_maintenance_t *m)
{
    int          i, more;
    char         error[256];
    const char  *state;

    if (m->res != NULL && PQresultStatus(m->res) == PGRES_TUPLES_OK) {
        more = 0;

        for (i = 0; i < PQntuples(m->res); i++) {

            if (strcmp(PQgetvalue(m->res, i, 0), "made") == 0) {
                billing_log(BILLING_LOG_INFO, "partition made",
                            billing_log_int("part",
                                            billing_pg_int(m->res, i, 1, 0)));
                continue;
            }

            more = 1;

            billing_log(BILLING_LOG_INFO, "charges rolled up",
                        billing_log_int("part",
                                        billing_pg_int(m->res, i, 1, 0)),
                        billing_log_int("transfers",
                                        billing_pg_int(m->res, i, 2, 0)));
        }

        return more;
    }

    snprintf(error, sizeof(error), "%.*s", (int) strcspn(m->error, "\n"),
             m->error);

    state = m->res ? PQresultErrorField(m->res, PG_DIAG_SQLSTATE) : NULL;

    if (billing_maintenance_later(state)) {
        billing_log(BILLING_LOG_WARN, "maintenance is put off",
                    billing_log_str("error", error));
        return 0;
    }

    billing_log(BILLING_LOG_ERROR, "maintenance failed",
                billing_log_str("sqlstate", state),
                billing_log_str("error", error));

    return 0;
}


/*
 * No connection, or somebody is busy with the journal (class 55), the server
 * goes (57), is short of something (53), or has rolled it back (40).
 */

static int
billing_maintenance_later(const char *state)
{
    size_t  i;

    static const char *const  classes[] = { "08", "40", "53", "55", "57" };

    if (state == NULL) {
        return 1;
    }

    for (i = 0; i < sizeof(classes) / sizeof(classes[0]); i++) {

        if (strncmp(state, classes[i], 2) == 0) {
            return 1;
        }
    }

    return 0;
}


static void
billing_maintenance_closed(uv_handle_t *handle)
{
    billing_maintenance_t  *m;

    m = handle->data;
    m->closed = 1;

    billing_maintenance_free(m);
}


/* When the last of both has gone. */

static void
billing_maintenance_free(billing_maintenance_t *m)
{
    if (!m->closed || m->working) {
        return;
    }

    uv_mutex_destroy(&m->lock);
    free(m->conninfo);
    free(m);
}
