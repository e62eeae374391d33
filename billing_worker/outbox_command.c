
/*
 * Copyright (C) The Astro authors
 *
 * The command outbox: see outbox.h.
 */

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "outbox.h"
#include "tariff.h"
#include "text.h"


#define BILLING_OUTBOX_EMPTY   0
#define BILLING_OUTBOX_PARKED  1
#define BILLING_OUTBOX_CANNOT  2

#define BILLING_OUTBOX_PAGE    "1000"


static int billing_outbox_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_outbox_do(PGconn *conn, int argc, char *const *argv);
static int billing_outbox_again(PGconn *conn, const char *ids, int force);
static int billing_outbox_resolve(PGconn *conn, const char *ids,
    const char *vendor_id);
static int billing_outbox_list(PGconn *conn, const char *state, int64_t *n);
static int billing_outbox_page(PGconn *conn, const char *state, char *after,
    size_t size, int64_t *n);
static PGresult *billing_outbox_ask(PGconn *conn, const char *sql, int n,
    const char *const *values);


static const billing_option_t  billing_outbox_options[] = {

    { "--state", "STATE",
      "list those (parked); waiting, delivered, refused" },

    { "--retry", NULL,
      "have parked ones tried again; without ID all of them" },

    { "--force", NULL,
      "even if the vendor may have forgotten: it may be done twice" },

    { "--done", "VENDOR_ID",
      "the vendor's record says that it was done, and its name for it" },

    { "--not-done", NULL,
      "the vendor's record says that it was not, and will not be" },

    { NULL, NULL, NULL }
};


const billing_command_t  billing_outbox_command = {
    "outbox",
    "shows calls to vendors that were given up, and what becomes of them",
    "Each line: id, vendor, what it is about, its key, attempts, how many of\n"
    "them may have been obeyed, the last code, and what was wrong.\n"
    "\n"
    "exit status: 0 none is parked, 1 some are, 2 it could not\n",
    "[ID...]",
    billing_outbox_options,
    billing_outbox_main
};


static int
billing_outbox_main(billing_config_t *config, int argc, char *const *argv)
{
    int          rc;
    int64_t      n;
    PGconn      *conn;
    const char  *state;

    state = billing_command_option(billing_outbox_options, argc, argv,
                                   "--state");
    conn = PQconnectdb(config->pg);
    rc = BILLING_OUTBOX_CANNOT;

    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "billing_worker: outbox: %s", PQerrorMessage(conn));

    } else if (billing_outbox_do(conn, argc, argv) == BILLING_OK
               && billing_outbox_list(conn, state ? state : "parked", &n)
                  == BILLING_OK)
    {
        rc = (n && (state == NULL || strcmp(state, "parked") == 0))
             ? BILLING_OUTBOX_PARKED : BILLING_OUTBOX_EMPTY;
    }

    PQfinish(conn);

    return rc;
}


static int
billing_outbox_do(PGconn *conn, int argc, char *const *argv)
{
    int              i, n, rc, retry, never;
    int64_t          id;
    const char      *word, *done, *ids;
    billing_text_t   t;

    done = billing_command_option(billing_outbox_options, argc, argv,
                                  "--done");
    retry = billing_command_option(billing_outbox_options, argc, argv,
                                   "--retry") != NULL;
    never = billing_command_option(billing_outbox_options, argc, argv,
                                   "--not-done") != NULL;

    billing_text_init(&t);
    rc = BILLING_OK;
    n = 0;

    for (i = 1; rc == BILLING_OK; n++) {
        word = billing_command_operand(billing_outbox_options, argc, argv,
                                       &i);
        if (word == NULL) {
            break;
        }

        rc = billing_text_number(word, &id);
        billing_text_item(&t, id);
    }

    ids = billing_text_close(&t);

    if (rc != BILLING_OK || ids == NULL || retry + never + (done != NULL) > 1
        || ((never || done != NULL) && n != 1) || (n > 0 && !retry && !never
                                                   && done == NULL))
    {
        fprintf(stderr, "billing_worker: outbox: --retry with any IDs, or "
                "--done or --not-done with one\n");
        rc = BILLING_ERROR;

    } else if (retry) {
        rc = billing_outbox_again(conn, n ? ids : NULL,
                                  billing_command_option(
                                      billing_outbox_options, argc, argv,
                                      "--force") != NULL);

    } else if (never || done != NULL) {
        rc = billing_outbox_resolve(conn, ids, done);
    }

    billing_text_free(&t);

    return rc;
}


static int
billing_outbox_again(PGconn *conn, const char *ids, int force)
{
    PGresult    *res;
    const char  *values[2];

    values[0] = ids;
    values[1] = force ? "t" : "f";

    res = billing_outbox_ask(conn, "SELECT billing.outbox_retry($1::bigint[], "
                             "$2::boolean)", 2, values);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    printf("outbox: %d will be tried again\n", PQntuples(res));
    PQclear(res);

    return BILLING_OK;
}


/* ids: an array of one; vendor_id NULL: it was not done */

static int
billing_outbox_resolve(PGconn *conn, const char *ids, const char *vendor_id)
{
    int          rc;
    PGresult    *res;
    const char  *values[2];

    values[0] = ids;
    values[1] = vendor_id;

    res = billing_outbox_ask(conn, "SELECT billing.outbox_resolve("
                             "($1::bigint[])[1], $2::text)", 2, values);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    rc = (PQgetvalue(res, 0, 0)[0] == 't') ? BILLING_OK : BILLING_ERROR;
    PQclear(res);

    if (rc != BILLING_OK) {
        fprintf(stderr, "billing_worker: outbox: no such call is parked\n");
    }

    return rc;
}


static int
billing_outbox_list(PGconn *conn, const char *state, int64_t *n)
{
    int   rc;
    char  after[24];

    *n = 0;
    snprintf(after, sizeof(after), "0");

    do {
        rc = billing_outbox_page(conn, state, after, sizeof(after), n);
    } while (rc > 0);

    if (rc == 0) {
        printf("outbox: %" PRId64 " %s\n", *n, state);
    }

    return (rc == 0) ? BILLING_OK : BILLING_ERROR;
}


/* How many there were, or BILLING_ERROR. */

static int
billing_outbox_page(PGconn *conn, const char *state, char *after, size_t size,
    int64_t *n)
{
    int          i, rows;
    PGresult    *res;
    const char  *values[3];

    values[0] = state;
    values[1] = after;
    values[2] = BILLING_OUTBOX_PAGE;

    res = billing_outbox_ask(conn, "SELECT id, vendor, kind, about, key, "
                             "attempts, doubts, coalesce(code, 0), "
                             "coalesce(error, '') FROM billing.outbox_list("
                             "$1::text, $2::bigint, $3::int)", 3, values);

    if (res == NULL) {
        return BILLING_ERROR;
    }

    rows = PQntuples(res);
    *n += rows;

    for (i = 0; i < rows; i++) {
        printf("%s %s %s %s %s attempts=%s doubts=%s code=%s %s\n",
               PQgetvalue(res, i, 0), PQgetvalue(res, i, 1),
               PQgetvalue(res, i, 2), PQgetvalue(res, i, 3),
               PQgetvalue(res, i, 4), PQgetvalue(res, i, 5),
               PQgetvalue(res, i, 6), PQgetvalue(res, i, 7),
               PQgetvalue(res, i, 8));
    }

    if (rows > 0) {
        snprintf(after, size, "%s", PQgetvalue(res, rows - 1, 0));
    }

    PQclear(res);

    return rows;
}


static PGresult *
billing_outbox_ask(PGconn *conn, const char *sql, int n,
    const char *const *values)
{
    PGresult  *res;

    res = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        fprintf(stderr, "billing_worker: outbox: %s", PQerrorMessage(conn));
        PQclear(res);
        return NULL;
    }

    return res;
}
