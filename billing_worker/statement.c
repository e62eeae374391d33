
/*
 * Copyright (C) The Astro authors
 *
 * The command statement: see statement.h, and sql/functions/statement.sql.
 *
 * The rows come in one query, so from one moment.  Its opening balance is what
 * all before comes to, its closing one is counted back from the wallet: that
 * opening and movements make the closing balance is checked here, and said if
 * it is not so.
 */

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pg.h"
#include "statement.h"
#include "tariff.h"


#define BILLING_STATEMENT_DONE    0
#define BILLING_STATEMENT_WRONG   1
#define BILLING_STATEMENT_CANNOT  2

/* a day begins at midnight UTC, the last one is in it */
#define BILLING_STATEMENT_SINCE  "($2::date)::timestamp AT TIME ZONE 'UTC'"
#define BILLING_STATEMENT_UNTIL  "($3::date + 1)::timestamp AT TIME ZONE 'UTC'"


/* the columns of billing.statement(), "at" as text */
enum {
    BILLING_STATEMENT_PART = 0,
    BILLING_STATEMENT_AT,
    BILLING_STATEMENT_ID,
    BILLING_STATEMENT_KIND,
    BILLING_STATEMENT_SESSION,
    BILLING_STATEMENT_AMOUNT,
    BILLING_STATEMENT_FEE,
    BILLING_STATEMENT_PROMO,
    BILLING_STATEMENT_BALANCE
};


typedef struct billing_statement_s  billing_statement_t;

/* Nothing needs to be quoted: all texts are digits, ids and known words. */
typedef struct {
    void     (*begin)(const billing_statement_t *s);
    void     (*line)(const billing_statement_t *s, const PGresult *res);
} billing_statement_format_t;

struct billing_statement_s {
    PGconn                            *conn;
    const char                        *account;
    const char                        *from;
    const char                        *to;
    char                               role[16];
    char                               currency[8];
    const billing_statement_format_t  *format;

    int64_t                            movements;
    int64_t                            balance;     /* opening + movements */
    int64_t                            closing;
};


static int billing_statement_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_statement_read(billing_statement_t *s, int argc,
    char *const *argv);
static int billing_statement_run(billing_statement_t *s);
static int billing_statement_ask(billing_statement_t *s);
static int billing_statement_rows(billing_statement_t *s);
static void billing_statement_row(billing_statement_t *s,
    const PGresult *res);
static int billing_statement_error(const char *message);
static void billing_statement_csv_begin(const billing_statement_t *s);
static void billing_statement_csv_line(const billing_statement_t *s,
    const PGresult *res);
static void billing_statement_json_begin(const billing_statement_t *s);
static void billing_statement_json_line(const billing_statement_t *s,
    const PGresult *res);
static const char *billing_statement_text(const PGresult *res, int column,
    const char *null);


static const billing_option_t  billing_statement_options[] = {

    { "--account", "ID", "whose: a client's or an advisor's" },

    { "--from", "YYYY-MM-DD", "the first day, from its midnight in UTC on" },

    { "--to", "YYYY-MM-DD", "the last day, all of it" },

    { "--format", "csv|json", "csv if it is not given" },

    { NULL, NULL, NULL }
};


const billing_command_t  billing_statement_command = {
    "statement",
    "prints an account's movements, as CSV or JSON",
    "Amounts are in minor units; a movement's is below 0 if it was taken.  "
    "What a\n"
    "session charged in that time is one line.\n"
    "\n"
    "exit status: 0 opening + movements = closing, 1 they are not: run the "
    "audit,\n"
    "             2 it could not\n",
    NULL,
    billing_statement_options,
    billing_statement_main
};


static const billing_statement_format_t  billing_statement_csv = {
    billing_statement_csv_begin,
    billing_statement_csv_line
};


static const billing_statement_format_t  billing_statement_json = {
    billing_statement_json_begin,
    billing_statement_json_line
};


static int
billing_statement_main(billing_config_t *config, int argc, char *const *argv)
{
    int                  rc;
    billing_statement_t  s;

    memset(&s, 0, sizeof(billing_statement_t));

    if (billing_statement_read(&s, argc, argv) != BILLING_OK) {
        return BILLING_STATEMENT_CANNOT;
    }

    s.conn = PQconnectdb(config->pg);

    if (PQstatus(s.conn) == CONNECTION_OK) {
        rc = billing_statement_run(&s);

    } else {
        rc = billing_statement_error(PQerrorMessage(s.conn));
    }

    PQfinish(s.conn);

    if (rc == BILLING_OK && (fflush(stdout) != 0 || ferror(stdout))) {
        rc = billing_statement_error("cannot write\n");
    }

    if (rc != BILLING_OK) {
        return BILLING_STATEMENT_CANNOT;
    }

    if (s.balance != s.closing) {
        fprintf(stderr, "billing_worker: statement: opening and movements make "
                "%" PRId64 ", but %" PRId64 " is there: run the audit\n",
                s.balance, s.closing);
        return BILLING_STATEMENT_WRONG;
    }

    return BILLING_STATEMENT_DONE;
}


static int
billing_statement_read(billing_statement_t *s, int argc, char *const *argv)
{
    const char  *format;

    s->account = billing_command_option(billing_statement_options, argc, argv,
                                        "--account");
    s->from = billing_command_option(billing_statement_options, argc, argv,
                                     "--from");
    s->to = billing_command_option(billing_statement_options, argc, argv,
                                   "--to");
    format = billing_command_option(billing_statement_options, argc, argv,
                                    "--format");

    if (s->account == NULL || s->from == NULL || s->to == NULL) {
        return billing_statement_error("--account, --from and --to are "
                                       "needed\n");
    }

    /* as it is written everywhere else */

    if (strncmp(s->account, "u_", 2) == 0) {
        s->account += 2;
    }

    s->format = &billing_statement_csv;

    if (format != NULL && strcmp(format, "json") == 0) {
        s->format = &billing_statement_json;

    } else if (format != NULL && strcmp(format, "csv") != 0) {
        return billing_statement_error("--format is csv or json\n");
    }

    return BILLING_OK;
}


static int
billing_statement_run(billing_statement_t *s)
{
    PGresult    *res;
    const char  *values[1];

    values[0] = s->account;

    res = PQexecParams(s->conn, "SELECT role, currency "
                       "FROM billing.statement_of($1::bigint)", 1, NULL,
                       values, NULL, NULL, 0);

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        PQclear(res);
        return billing_statement_error(PQerrorMessage(s->conn));
    }

    snprintf(s->role, sizeof(s->role), "%s", PQgetvalue(res, 0, 0));
    snprintf(s->currency, sizeof(s->currency), "%s", PQgetvalue(res, 0, 1));

    PQclear(res);

    if (billing_statement_ask(s) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return billing_statement_rows(s);
}


/* Sends the query, whose rows then come one at a time. */

static int
billing_statement_ask(billing_statement_t *s)
{
    const char  *values[3];

    values[0] = s->account;
    values[1] = s->from;
    values[2] = s->to;

    if (PQsendQueryParams(s->conn,
            "SELECT part, to_char(at AT TIME ZONE 'UTC', "
            "'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"'), id, kind, session, amount, "
            "fee, promo, balance FROM billing.statement($1::bigint, "
            BILLING_STATEMENT_SINCE ", " BILLING_STATEMENT_UNTIL ")", 3, NULL,
            values, NULL, NULL, 0) != 1
        || PQsetSingleRowMode(s->conn) != 1)
    {
        return billing_statement_error(PQerrorMessage(s->conn));
    }

    return BILLING_OK;
}


static int
billing_statement_rows(billing_statement_t *s)
{
    int              rc;
    PGresult        *res;
    ExecStatusType   status;

    rc = BILLING_OK;

    for ( ;; ) {
        res = PQgetResult(s->conn);

        if (res == NULL) {
            return rc;
        }

        status = PQresultStatus(res);

        if (status == PGRES_SINGLE_TUPLE) {
            billing_statement_row(s, res);

        } else if (status != PGRES_TUPLES_OK) {
            rc = billing_statement_error(PQerrorMessage(s->conn));
        }

        PQclear(res);
    }
}


static void
billing_statement_row(billing_statement_t *s, const PGresult *res)
{
    const char  *part;

    part = PQgetvalue(res, 0, BILLING_STATEMENT_PART);

    if (strcmp(part, "opening") == 0) {
        s->balance = billing_pg_int(res, 0, BILLING_STATEMENT_BALANCE, 0);
        s->format->begin(s);

    } else if (strcmp(part, "closing") == 0) {
        s->closing = billing_pg_int(res, 0, BILLING_STATEMENT_BALANCE, 0);

    } else {
        s->balance += billing_pg_int(res, 0, BILLING_STATEMENT_AMOUNT, 0);
        s->movements++;
    }

    s->format->line(s, res);
}


static int
billing_statement_error(const char *message)
{
    fprintf(stderr, "billing_worker: statement: %s", message);

    return BILLING_ERROR;
}


static void
billing_statement_csv_begin(const billing_statement_t *s)
{
    (void) s;

    printf("at,id,kind,session,amount,fee,promo,balance,currency\r\n");
}


static void
billing_statement_csv_line(const billing_statement_t *s, const PGresult *res)
{
    printf("%s,%s,%s,%s,%s,%s,%s,%s,%s\r\n",
           PQgetvalue(res, 0, BILLING_STATEMENT_AT),
           PQgetvalue(res, 0, BILLING_STATEMENT_ID),
           billing_statement_text(res, BILLING_STATEMENT_KIND,
                                  PQgetvalue(res, 0, BILLING_STATEMENT_PART)),
           PQgetvalue(res, 0, BILLING_STATEMENT_SESSION),
           PQgetvalue(res, 0, BILLING_STATEMENT_AMOUNT),
           PQgetvalue(res, 0, BILLING_STATEMENT_FEE),
           PQgetvalue(res, 0, BILLING_STATEMENT_PROMO),
           PQgetvalue(res, 0, BILLING_STATEMENT_BALANCE), s->currency);
}


static void
billing_statement_json_begin(const billing_statement_t *s)
{
    printf("{\"account\":\"u_%s\",\"role\":\"%s\",\"currency\":\"%s\"",
           s->account, s->role, s->currency);
}


static void
billing_statement_json_line(const billing_statement_t *s, const PGresult *res)
{
    const char  *part, *session;

    part = PQgetvalue(res, 0, BILLING_STATEMENT_PART);

    if (strcmp(part, "opening") == 0) {
        printf(",\"from\":\"%s\",\"opening\":%s,\"movements\":[",
               PQgetvalue(res, 0, BILLING_STATEMENT_AT),
               PQgetvalue(res, 0, BILLING_STATEMENT_BALANCE));
        return;
    }

    if (strcmp(part, "closing") == 0) {
        printf("%s],\"to\":\"%s\",\"closing\":%s}\n",
               (s->movements > 0) ? "\n" : "",
               PQgetvalue(res, 0, BILLING_STATEMENT_AT),
               PQgetvalue(res, 0, BILLING_STATEMENT_BALANCE));
        return;
    }

    session = billing_statement_text(res, BILLING_STATEMENT_SESSION, NULL);

    printf("%s\n{\"at\":\"%s\",\"id\":\"%s\",\"kind\":\"%s\","
           "\"session\":%s%s%s,\"amount\":%s,\"fee\":%s,\"promo\":%s,"
           "\"balance\":%s}", (s->movements > 1) ? "," : "",
           PQgetvalue(res, 0, BILLING_STATEMENT_AT),
           PQgetvalue(res, 0, BILLING_STATEMENT_ID),
           PQgetvalue(res, 0, BILLING_STATEMENT_KIND),
           (session != NULL) ? "\"" : "",
           (session != NULL) ? session : "null",
           (session != NULL) ? "\"" : "",
           PQgetvalue(res, 0, BILLING_STATEMENT_AMOUNT),
           PQgetvalue(res, 0, BILLING_STATEMENT_FEE),
           PQgetvalue(res, 0, BILLING_STATEMENT_PROMO),
           PQgetvalue(res, 0, BILLING_STATEMENT_BALANCE));
}


static const char *
billing_statement_text(const PGresult *res, int column, const char *null)
{
    return PQgetisnull(res, 0, column) ? null : PQgetvalue(res, 0, column);
}
