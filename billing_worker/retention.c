
/*
 * Copyright (C) The Astro authors
 *
 * The command retention: what is too old by the settings is removed now, as the
 * workers do each day.  See sql/functions/retention.sql.
 */

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <unistd.h>

#include "log.h"
#include "pg.h"
#include "private.h"
#include "tariff.h"


#define BILLING_RETENTION_DONE    0
#define BILLING_RETENTION_CANNOT  2

#define BILLING_RETENTION_WAIT    200000    /* us */
#define BILLING_RETENTION_WAITS   300       /* in a row: a minute */


static int billing_retention_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_retention_walk(PGconn *conn,
    const billing_config_t *config);
static int billing_retention_over(PGconn *conn, const char *const *values);
static PGresult *billing_retention_ask(PGconn *conn, const char *sql, int n,
    const char *const *values);


const billing_command_t  billing_retention_command = {
    "retention",
    "removes what is older than retain_..._days, now",
    "It may be killed at any instant and begun again.  Ledger and sessions\n"
    "stay; so does all of an account that is held.\n"
    "\n"
    "exit status: 0 nothing is left that is too old, 2 it could not\n",
    NULL,
    NULL,
    billing_retention_main
};


static int
billing_retention_main(billing_config_t *config, int argc, char *const *argv)
{
    int        rc;
    PGconn    *conn;
    PGresult  *res;

    (void) argc;
    (void) argv;

    billing_log_set((billing_log_level_e) config->log_level);

    conn = PQconnectdb(config->pg);
    rc = BILLING_ERROR;

    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "billing_worker: retention: %s",
                PQerrorMessage(conn));

    } else {
        res = billing_retention_ask(conn, "SELECT billing.retain_again()", 0,
                                    NULL);

        if (res != NULL) {
            PQclear(res);
            rc = billing_retention_walk(conn, config);
        }
    }

    PQfinish(conn);

    return (rc == BILLING_OK) ? BILLING_RETENTION_DONE
                              : BILLING_RETENTION_CANNOT;
}


static int
billing_retention_walk(PGconn *conn, const billing_config_t *config)
{
    int          rows, over, waits;
    char         days[4][24];
    PGresult    *res;
    const char  *values[4];

    snprintf(days[0], sizeof(days[0]), "%" PRId64,
             config->retain_messages_days);
    snprintf(days[1], sizeof(days[1]), "%" PRId64,
             config->retain_notices_days);
    snprintf(days[2], sizeof(days[2]), "%" PRId64,
             config->retain_logins_days);
    snprintf(days[3], sizeof(days[3]), "%" PRId64,
             config->retain_traces_days);

    values[0] = days[0];
    values[1] = days[1];
    values[2] = days[2];
    values[3] = days[3];

    over = 0;
    waits = 0;

    do {
        res = billing_retention_ask(conn, "SELECT kind, total, done FROM "
                                    "billing.retain_next($1::int, $2::int, "
                                    "$3::int, $4::int)", 4, values);
        if (res == NULL) {
            return BILLING_ERROR;
        }

        rows = PQntuples(res);

        if (rows > 0 && *PQgetvalue(res, 0, 2) == 't') {
            printf("retention: %s: %s removed\n", PQgetvalue(res, 0, 0),
                   PQgetvalue(res, 0, 1));
        }

        PQclear(res);

        if (rows > 0) {
            waits = 0;
            continue;
        }

        /* nothing is left, or a worker has a row of it in hand */

        over = billing_retention_over(conn, values);

        if (over == BILLING_ERROR) {
            return BILLING_ERROR;
        }

        if (!over) {
            if (waits == 0) {
                fprintf(stderr, "billing_worker: retention: others are at "
                        "it\n");
            }

            if (++waits == BILLING_RETENTION_WAITS) {
                return BILLING_ERROR;
            }

            usleep(BILLING_RETENTION_WAIT);
        }

    } while (!over);

    return BILLING_OK;
}


static int
billing_retention_over(PGconn *conn, const char *const *values)
{
    int        over;
    PGresult  *res;

    res = billing_retention_ask(conn, "SELECT billing.retained($1::int, "
                                "$2::int, $3::int, $4::int)", 4, values);
    if (res == NULL) {
        return BILLING_ERROR;
    }

    over = (*PQgetvalue(res, 0, 0) == 't');
    PQclear(res);

    return over;
}


static PGresult *
billing_retention_ask(PGconn *conn, const char *sql, int n,
    const char *const *values)
{
    PGresult  *res;

    res = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        fprintf(stderr, "billing_worker: retention: %s",
                PQerrorMessage(conn));
        PQclear(res);
        return NULL;
    }

    return res;
}
