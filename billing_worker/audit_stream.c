
/*
 * Copyright (C) The Astro authors
 *
 * Streams of rows: see audit_stream.h.
 *
 * The connection is in pipeline mode: pages that were asked for are answered
 * in that order, and kept with their stream until they are wanted.  A page is
 * small enough for the socket to take, so that the server goes on meanwhile.
 */

#include <endian.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "audit_stream.h"
#include "tariff.h"


#define BILLING_STREAM_PAGE       1000

/* a roll-up takes a minute or two */
#define BILLING_SNAPSHOT_TRIES    3000
#define BILLING_SNAPSHOT_WAIT_MS  200

/* a sort of millions of charges should not begin with tiny runs */
#define BILLING_STREAM_WORK       "64MB"


static int billing_snapshot_begin(billing_snapshot_t *s, int64_t *good);
static int billing_snapshot_command(billing_snapshot_t *s, const char *sql);
static PGresult *billing_snapshot_query(billing_snapshot_t *s,
    const char *sql, int nvalues, const char *const *values);
static PGresult *billing_snapshot_result(billing_snapshot_t *s);
static int billing_stream_ask(billing_stream_t *stream);
static int billing_snapshot_answer(billing_snapshot_t *s);
static int billing_snapshot_wrong(billing_snapshot_t *s);


int
billing_snapshot_open(billing_snapshot_t *s, const char *conninfo)
{
    int                              i;
    int64_t                          good;
    const char                      *values[4];

    static const char *const         keys[] = {
        "dbname", "fallback_application_name", "client_encoding", NULL
    };

    memset(s, 0, sizeof(billing_snapshot_t));

    values[0] = conninfo;
    values[1] = "billing_worker audit";
    values[2] = "UTF8";
    values[3] = NULL;

    s->conn = PQconnectdbParams(keys, values, 1);

    if (PQstatus(s->conn) != CONNECTION_OK
        || PQenterPipelineMode(s->conn) != 1)
    {
        billing_snapshot_wrong(s);
        billing_snapshot_close(s);
        return BILLING_ERROR;
    }

    for (i = 0; i < BILLING_SNAPSHOT_TRIES; i++) {

        if (billing_snapshot_begin(s, &good) != BILLING_OK) {
            billing_snapshot_close(s);
            return BILLING_ERROR;
        }

        if (good) {
            return BILLING_OK;
        }

        if (billing_snapshot_command(s, "ROLLBACK") != BILLING_OK) {
            billing_snapshot_close(s);
            return BILLING_ERROR;
        }

        if (i == 0) {
            fprintf(stderr, "billing_worker: audit: waits until old charges "
                    "are rolled up\n");
        }

        usleep(BILLING_SNAPSHOT_WAIT_MS * 1000);
    }

    fprintf(stderr, "billing_worker: audit: something is rolled up all the "
            "time\n");
    billing_snapshot_close(s);

    return BILLING_ERROR;
}


static int
billing_snapshot_begin(billing_snapshot_t *s, int64_t *good)
{
    size_t                    i;

    /* who serves may not think for long; who reads all of it may */

    static const char *const  commands[] = {
        "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "SET LOCAL work_mem = '" BILLING_STREAM_WORK "'",
    };

    for (i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {

        if (billing_snapshot_command(s, commands[i]) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    return billing_snapshot_number(s, "SELECT billing.audit_begin()", 0, good);
}


void
billing_snapshot_close(billing_snapshot_t *s)
{
    PQfinish(s->conn);

    s->conn = NULL;
}


int
billing_snapshot_done(billing_snapshot_t *s, const char *sql, int nvalues,
    const char *const *values)
{
    PGresult  *res;

    if (billing_snapshot_command(s, "ROLLBACK") != BILLING_OK) {
        return BILLING_ERROR;
    }

    res = billing_snapshot_query(s, sql, nvalues, values);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    PQclear(res);

    return BILLING_OK;
}


static int
billing_snapshot_command(billing_snapshot_t *s, const char *sql)
{
    PGresult  *res;

    res = billing_snapshot_query(s, sql, 0, NULL);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    PQclear(res);

    return BILLING_OK;
}


int
billing_snapshot_number(billing_snapshot_t *s, const char *sql, int64_t none,
    int64_t *n)
{
    int64_t    net;
    PGresult  *res;

    res = billing_snapshot_query(s, sql, 0, NULL);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    *n = none;

    if (PQntuples(res) == 1 && !PQgetisnull(res, 0, 0)) {
        memcpy(&net, PQgetvalue(res, 0, 0), sizeof(int64_t));
        *n = (int64_t) be64toh((uint64_t) net);
    }

    PQclear(res);

    return BILLING_OK;
}


/* One statement and its answer; pages on their way are taken in before. */

static PGresult *
billing_snapshot_query(billing_snapshot_t *s, const char *sql, int nvalues,
    const char *const *values)
{
    while (s->first != NULL) {

        if (billing_snapshot_answer(s) != BILLING_OK) {
            return NULL;
        }
    }

    if (PQsendQueryParams(s->conn, sql, nvalues, NULL, values, NULL, NULL, 1)
        != 1
        || PQpipelineSync(s->conn) != 1)
    {
        billing_snapshot_wrong(s);
        return NULL;
    }

    return billing_snapshot_result(s);
}


/* The answer to one statement and its Sync. */

static PGresult *
billing_snapshot_result(billing_snapshot_t *s)
{
    PGresult  *res, *found;

    found = NULL;

    for ( ;; ) {
        res = PQgetResult(s->conn);

        if (res == NULL) {

            if (PQstatus(s->conn) != CONNECTION_OK) {
                break;
            }

            continue;
        }

        switch (PQresultStatus(res)) {

        case PGRES_PIPELINE_SYNC:
            PQclear(res);
            return found;

        case PGRES_TUPLES_OK:
        case PGRES_COMMAND_OK:
            PQclear(found);
            found = res;
            break;

        default:
            fprintf(stderr, "billing_worker: audit: %s",
                    PQresultErrorMessage(res));
            PQclear(res);
            PQclear(found);
            return NULL;
        }
    }

    billing_snapshot_wrong(s);
    PQclear(found);

    return NULL;
}


int
billing_stream_open(billing_stream_t *stream, billing_snapshot_t *s,
    const char *name, const char *sql, int64_t one, int64_t two)
{
    char         texts[2][24];
    PGresult    *res;
    const char  *values[2];

    memset(stream, 0, sizeof(billing_stream_t));

    stream->snapshot = s;
    stream->name = name;

    snprintf(texts[0], sizeof(texts[0]), "%" PRId64, one);
    snprintf(texts[1], sizeof(texts[1]), "%" PRId64, two);

    values[0] = texts[0];
    values[1] = texts[1];

    res = billing_snapshot_query(s, sql, strstr(sql, "$1") ? 2 : 0, values);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    PQclear(res);

    return billing_stream_ask(stream);
}


static int
billing_stream_ask(billing_stream_t *stream)
{
    char                 sql[128];
    billing_snapshot_t  *s;

    s = stream->snapshot;

    snprintf(sql, sizeof(sql), "FETCH FORWARD %d FROM %s",
             BILLING_STREAM_PAGE, stream->name);

    if (PQsendQueryParams(s->conn, sql, 0, NULL, NULL, NULL, NULL, 1) != 1
        || PQpipelineSync(s->conn) != 1)
    {
        return billing_snapshot_wrong(s);
    }

    stream->asked = 1;
    stream->next = NULL;

    if (s->last != NULL) {
        s->last->next = stream;

    } else {
        s->first = stream;
    }

    s->last = stream;

    return BILLING_OK;
}


/* Takes in the page that was asked for first. */

static int
billing_snapshot_answer(billing_snapshot_t *s)
{
    billing_stream_t  *stream;

    stream = s->first;
    stream->ready = billing_snapshot_result(s);
    stream->asked = 0;

    s->first = stream->next;

    if (s->first == NULL) {
        s->last = NULL;
    }

    return (stream->ready != NULL) ? BILLING_OK : BILLING_ERROR;
}


int
billing_stream_next(billing_stream_t *stream)
{
    if (++stream->row < stream->rows) {
        return 1;
    }

    PQclear(stream->page);
    stream->page = NULL;
    stream->rows = 0;
    stream->row = 0;

    if (stream->over) {
        return 0;
    }

    while (stream->ready == NULL) {

        if (billing_snapshot_answer(stream->snapshot) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    stream->page = stream->ready;
    stream->ready = NULL;
    stream->rows = PQntuples(stream->page);

    if (stream->rows < BILLING_STREAM_PAGE) {
        stream->over = 1;

    } else if (billing_stream_ask(stream) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return stream->rows > 0;
}


int
billing_stream_close(billing_stream_t *stream)
{
    int   rc;
    char  sql[128];

    snprintf(sql, sizeof(sql), "CLOSE %s", stream->name);

    /* takes in what was asked for, too */

    rc = billing_snapshot_command(stream->snapshot, sql);

    PQclear(stream->page);
    PQclear(stream->ready);

    memset(stream, 0, sizeof(billing_stream_t));

    return rc;
}


int64_t
billing_stream_int(const billing_stream_t *stream, int column, int64_t none)
{
    int64_t  net;

    if (PQgetisnull(stream->page, stream->row, column)) {
        return none;
    }

    memcpy(&net, PQgetvalue(stream->page, stream->row, column),
           sizeof(int64_t));

    return (int64_t) be64toh((uint64_t) net);
}


const char *
billing_stream_text(const billing_stream_t *stream, int column)
{
    return PQgetvalue(stream->page, stream->row, column);
}


static int
billing_snapshot_wrong(billing_snapshot_t *s)
{
    fprintf(stderr, "billing_worker: audit: %s", PQerrorMessage(s->conn));

    return BILLING_ERROR;
}
