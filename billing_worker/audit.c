
/*
 * Copyright (C) The Astro authors
 *
 * The audit: see audit.h.
 *
 * All of it is read in one REPEATABLE READ transaction, a page at a time, so
 * that it may run beside the workers and sees one moment.  SQL fetches and
 * adds up; what must be equal to what is computed here, with the same tariff
 * and proof as the engine's.
 *
 * Sessions come first.  A wallet's balance is wrong as soon as one of its
 * transfers is; if that one was found already, the wallet says no more than
 * that.  If not, it must be one of the wallet's transfers that nothing else
 * proves (top-ups), and these are named.
 */

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "audit_session.h"
#include "engine.h"
#include "intervals.h"
#include "pg.h"
#include "text.h"


#define BILLING_AUDIT_PAGE  "1000"


typedef struct {
    int64_t     *ids;
    size_t       n;
    size_t       size;
} billing_audit_ids_t;

/* a transfer of no session */
typedef struct {
    int64_t      id;
    int64_t      debit;
    int64_t      credit;
} billing_audit_other_t;

typedef struct {
    PGconn                    *conn;

    int64_t                    sessions;
    int64_t                    transfers;
    int64_t                    wallets;
    int64_t                    violations;
    int64_t                    toppedup;
    int64_t                    charged;
    int64_t                    fees;
    int64_t                    owned;       /* by people: balances and dues */

    billing_audit_ids_t        blamed;      /* wallets of what was found */
    billing_audit_other_t     *others;
    size_t                     nothers;
    size_t                     others_size;

    /* scratch for one session */
    billing_audit_transfer_t  *rows;
    size_t                     rows_size;
    billing_interval_t        *intervals;
    size_t                     intervals_size;
} billing_audit_t;


static int billing_audit_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_audit_run(billing_audit_t *a);
static int billing_audit_exec(billing_audit_t *a, const char *sql);
static int billing_audit_pages(billing_audit_t *a, const char *sql,
    int (*each)(billing_audit_t *a, const PGresult *res, int row));
static int billing_audit_one_session(billing_audit_t *a, const PGresult *res,
    int row);
static int billing_audit_rows(billing_audit_t *a, const char *text,
    size_t *n);
static int billing_audit_one_transfer(billing_audit_t *a,
    const PGresult *res, int row);
static int billing_audit_one_wallet(billing_audit_t *a, const PGresult *res,
    int row);
static void billing_audit_suspects(billing_audit_t *a, int64_t wallet);
static void billing_audit_totals(billing_audit_t *a);
static void billing_audit_found(void *data, const billing_audit_session_t *s,
    const billing_audit_transfer_t *t, const char *what);
static void billing_audit_violation(billing_audit_t *a, const char *format,
    ...) __attribute__((format(printf, 2, 3)));
static void billing_audit_blame(billing_audit_t *a, int64_t wallet);
static int billing_audit_blamed(const billing_audit_t *a, int64_t wallet);


const billing_command_t  billing_audit_command = {
    "audit",
    "proves the books, also while workers run; prints each violation",
    "exit status: 0 all is right, 1 violations, 2 could not look\n",
    NULL,
    NULL,
    billing_audit_main
};


static int
billing_audit_main(billing_config_t *config, int argc, char *const *argv)
{
    int              rc;
    billing_audit_t  a;

    (void) argc;
    (void) argv;

    memset(&a, 0, sizeof(billing_audit_t));

    a.conn = PQconnectdb(config->pg);

    if (PQstatus(a.conn) != CONNECTION_OK) {
        fprintf(stderr, "billing_worker: audit: %s",
                PQerrorMessage(a.conn));
        PQfinish(a.conn);
        return BILLING_AUDIT_FAILED;
    }

    rc = billing_audit_run(&a);

    PQfinish(a.conn);
    free(a.blamed.ids);
    free(a.others);
    free(a.rows);
    free(a.intervals);

    if (rc != BILLING_OK) {
        return BILLING_AUDIT_FAILED;
    }

    printf("audit: %" PRId64 " sessions, %" PRId64 " transfers, %" PRId64
           " wallets: %" PRId64 " violation%s\n", a.sessions, a.transfers,
           a.wallets, a.violations, (a.violations == 1) ? "" : "s");
    printf("audit: topped up %" PRId64 " = people's %" PRId64 " + fees %"
           PRId64 "; charged %" PRId64 "\n", a.toppedup, a.owned, a.fees,
           a.charged);

    return a.violations ? BILLING_AUDIT_VIOLATION : BILLING_AUDIT_CLEAN;
}


static int
billing_audit_run(billing_audit_t *a)
{
    if (billing_audit_exec(a, "BEGIN ISOLATION LEVEL REPEATABLE READ "
                              "READ ONLY")
        != BILLING_OK
        || billing_audit_exec(a, "SET LOCAL statement_timeout = 0")
           != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    if (billing_audit_pages(a, "SELECT * FROM billing.audit_sessions("
                               "$1::bigint, " BILLING_AUDIT_PAGE ")",
                            billing_audit_one_session)
        != BILLING_OK
        || billing_audit_pages(a, "SELECT * FROM billing.audit_transfers("
                                  "$1::bigint, " BILLING_AUDIT_PAGE ")",
                               billing_audit_one_transfer)
           != BILLING_OK
        || billing_audit_pages(a, "SELECT * FROM billing.audit_wallets("
                                  "$1::bigint, " BILLING_AUDIT_PAGE ")",
                               billing_audit_one_wallet)
           != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    billing_audit_totals(a);

    return billing_audit_exec(a, "COMMIT");
}


static int
billing_audit_exec(billing_audit_t *a, const char *sql)
{
    int        rc;
    PGresult  *res;

    rc = BILLING_OK;
    res = PQexec(a->conn, sql);

    if (PQresultStatus(res) != PGRES_COMMAND_OK) {
        fprintf(stderr, "billing_worker: audit: %s", PQerrorMessage(a->conn));
        rc = BILLING_ERROR;
    }

    PQclear(res);

    return rc;
}


/* sql gives rows with an id above $1, in order of id, in its first column. */

static int
billing_audit_pages(billing_audit_t *a, const char *sql,
    int (*each)(billing_audit_t *a, const PGresult *res, int row))
{
    int          rc, row, n;
    char         after[24];
    PGresult    *res;
    const char  *values[1];

    strcpy(after, "0");
    values[0] = after;

    for ( ;; ) {
        res = PQexecParams(a->conn, sql, 1, NULL, values, NULL, NULL, 0);

        if (PQresultStatus(res) != PGRES_TUPLES_OK) {
            fprintf(stderr, "billing_worker: audit: %s",
                    PQerrorMessage(a->conn));
            PQclear(res);
            return BILLING_ERROR;
        }

        n = PQntuples(res);
        rc = BILLING_OK;

        for (row = 0; rc == BILLING_OK && row < n; row++) {
            rc = each(a, res, row);
        }

        if (n > 0) {
            snprintf(after, sizeof(after), "%s", PQgetvalue(res, n - 1, 0));
        }

        PQclear(res);

        if (rc != BILLING_OK) {
            fprintf(stderr, "billing_worker: audit: out of memory, or a row "
                    "that makes no sense, after id %s\n", after);
            return BILLING_ERROR;
        }

        if (n == 0) {
            return BILLING_OK;
        }
    }
}


static int
billing_audit_one_session(billing_audit_t *a, const PGresult *res, int row)
{
    int                      i;
    billing_audit_session_t  s;

    memset(&s, 0, sizeof(billing_audit_session_t));

    i = 0;
    s.id = billing_pg_int(res, row, i++, 0);
    s.ended = (strcmp(PQgetvalue(res, row, i++), "ended") == 0);
    s.low_balance = (strcmp(PQgetvalue(res, row, i++), "low_balance") == 0);
    s.client_wallet = billing_pg_int(res, row, i++, 0);
    s.advisor_wallet = billing_pg_int(res, row, i++, 0);
    s.tariff.rate = billing_pg_int(res, row, i++, 0);
    s.tariff.commission_bps = (int32_t) billing_pg_int(res, row, i++, 0);
    s.max_ms = billing_pg_int(res, row, i++, BILLING_NONE);
    s.end_ms = billing_pg_int(res, row, i++, BILLING_NONE);
    s.paid_until_ms = billing_pg_int(res, row, i++, BILLING_NONE);
    s.charge_no = billing_pg_int(res, row, i++, 0);
    s.billed_ms = billing_pg_int(res, row, i++, 0);
    s.charged = billing_pg_int(res, row, i++, 0);
    s.fee = billing_pg_int(res, row, i++, 0);
    s.held = billing_pg_int(res, row, i++, 0);
    s.credited = billing_pg_int(res, row, i++, 0);
    s.settled = billing_pg_bool(res, row, i++);

    if (billing_audit_rows(a, PQgetvalue(res, row, i++), &s.ntransfers)
        != BILLING_OK
        || billing_intervals_parse(PQgetvalue(res, row, i++), &a->intervals,
                                   &a->intervals_size, &s.nintervals)
           != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    s.transfers = a->rows;
    s.intervals = a->intervals;

    a->sessions++;
    a->transfers += (int64_t) s.ntransfers;
    a->charged += s.charged;
    a->fees += s.fee;

    if (billing_audit_session(&s, billing_audit_found, a) > 0) {
        billing_audit_blame(a, s.client_wallet);
        billing_audit_blame(a, s.advisor_wallet);
    }

    return BILLING_OK;
}


static int
billing_audit_rows(billing_audit_t *a, const char *text, size_t *n)
{
    int                        rc, i;
    size_t                     size;
    int64_t                    v[7];
    billing_audit_transfer_t  *rows;

    *n = 0;

    for ( ;; ) {

        for (i = 0; i < 7; i++) {
            rc = billing_text_next(&text, &v[i]);

            if (rc == 0 && i == 0) {
                return BILLING_OK;
            }

            if (rc != 1) {
                return BILLING_ERROR;
            }
        }

        if (*n == a->rows_size) {
            size = a->rows_size ? a->rows_size * 2 : 64;

            rows = realloc(a->rows, size * sizeof(billing_audit_transfer_t));
            if (rows == NULL) {
                return BILLING_ERROR;
            }

            a->rows = rows;
            a->rows_size = size;
        }

        rows = &a->rows[(*n)++];
        rows->id = v[0];
        rows->charge_no = v[1];
        rows->amount = v[2];
        rows->fee = v[3];
        rows->debit = v[4];
        rows->credit = v[5];
        rows->billed_ms = v[6];
    }
}


/* a transfer of no session: a top-up, or what has no business here */

static int
billing_audit_one_transfer(billing_audit_t *a, const PGresult *res, int row)
{
    size_t                  size;
    int64_t                 amount, fee;
    const char             *kind, *debit, *credit;
    billing_audit_other_t  *o;

    if (a->nothers == a->others_size) {
        size = a->others_size ? a->others_size * 2 : 256;

        o = realloc(a->others, size * sizeof(billing_audit_other_t));
        if (o == NULL) {
            return BILLING_ERROR;
        }

        a->others = o;
        a->others_size = size;
    }

    o = &a->others[a->nothers++];
    o->id = billing_pg_int(res, row, 0, 0);
    kind = PQgetvalue(res, row, 1);
    o->debit = billing_pg_int(res, row, 3, 0);
    o->credit = billing_pg_int(res, row, 4, 0);
    amount = billing_pg_int(res, row, 5, 0);
    fee = billing_pg_int(res, row, 6, 0);
    debit = PQgetvalue(res, row, 7);
    credit = PQgetvalue(res, row, 8);

    a->transfers++;

    if (strcmp(kind, "session") == 0) {
        billing_audit_violation(a, "transfer %" PRId64 ": there is no session "
                                "%s", o->id, PQgetvalue(res, row, 2));
        billing_audit_blame(a, o->debit);
        billing_audit_blame(a, o->credit);
        return BILLING_OK;
    }

    if (debit[0] == '\0' || credit[0] == '\0') {
        billing_audit_violation(a, "transfer %" PRId64 ": there is no wallet "
                                "%" PRId64, o->id, debit[0] ? o->credit
                                                            : o->debit);
        billing_audit_blame(a, o->debit);
        billing_audit_blame(a, o->credit);
        return BILLING_OK;
    }

    if (strcmp(kind, "topup") != 0) {
        return BILLING_OK;
    }

    if (strcmp(debit, "clearing") != 0 || strcmp(credit, "client") != 0
        || fee != 0)
    {
        billing_audit_violation(a, "transfer %" PRId64 ": a top-up from a %s "
                                "to a %s wallet with a fee of %" PRId64,
                                o->id, debit, credit, fee);
        billing_audit_blame(a, o->debit);
        billing_audit_blame(a, o->credit);
        return BILLING_OK;
    }

    a->toppedup += amount;

    return BILLING_OK;
}


static int
billing_audit_one_wallet(billing_audit_t *a, const PGresult *res, int row)
{
    int64_t      id, balance, held, debits, credits, hold, owe, replay;
    const char  *kind;

    id = billing_pg_int(res, row, 0, 0);
    kind = PQgetvalue(res, row, 1);
    balance = billing_pg_int(res, row, 2, 0);
    held = billing_pg_int(res, row, 3, 0);
    debits = billing_pg_int(res, row, 4, 0);
    credits = billing_pg_int(res, row, 5, 0);
    hold = billing_pg_int(res, row, 6, 0);
    owe = billing_pg_int(res, row, 7, 0);

    a->wallets++;

    if (held != hold) {
        billing_audit_violation(a, "wallet %" PRId64 ": held is %" PRId64
                                ", its sessions hold %" PRId64, id, held,
                                hold);
    }

    if (strcmp(kind, "clearing") == 0) {

        if (balance != 0) {
            billing_audit_violation(a, "wallet %" PRId64 ": the world's "
                                    "balance is kept nowhere, not %" PRId64,
                                    id, balance);
        }

        return BILLING_OK;
    }

    a->owned += balance + owe;

    /* what live sessions owe was transferred, and is credited at their end */

    replay = credits - debits - owe;

    if (balance == replay) {
        return BILLING_OK;
    }

    billing_audit_violation(a, "wallet %" PRId64 ": balance is %" PRId64
                            ", its transfers come to %" PRId64, id, balance,
                            replay);

    if (!billing_audit_blamed(a, id)) {
        billing_audit_suspects(a, id);
    }

    return BILLING_OK;
}


/* The transfers of a wallet that nothing but its balance proves. */

static void
billing_audit_suspects(billing_audit_t *a, int64_t wallet)
{
    size_t  i;

    for (i = 0; i < a->nothers; i++) {
        if (a->others[i].debit == wallet || a->others[i].credit == wallet) {
            printf("audit:   transfer %" PRId64 " of wallet %" PRId64
                   " may be what is wrong\n", a->others[i].id, wallet);
        }
    }

    printf("audit:   or a top-up of wallet %" PRId64 " is missing\n", wallet);
}


static void
billing_audit_totals(billing_audit_t *a)
{
    if (a->toppedup != a->owned + a->fees) {
        billing_audit_violation(a, "total: topped up %" PRId64 ", but people "
                                "have %" PRId64 " and fees are %" PRId64,
                                a->toppedup, a->owned, a->fees);
    }
}


static void
billing_audit_found(void *data, const billing_audit_session_t *s,
    const billing_audit_transfer_t *t, const char *what)
{
    billing_audit_t *a = data;

    if (t == NULL) {
        billing_audit_violation(a, "session %" PRId64 ": %s", s->id, what);
        return;
    }

    billing_audit_violation(a, "transfer %" PRId64 " (session %" PRId64
                            ", charge %" PRId64 "): %s", t->id, s->id,
                            t->charge_no, what);

    billing_audit_blame(a, t->debit);
    billing_audit_blame(a, t->credit);
}


static void
billing_audit_violation(billing_audit_t *a, const char *format, ...)
{
    va_list  args;

    a->violations++;

    printf("audit: ");

    va_start(args, format);
    vprintf(format, args);
    va_end(args);

    printf("\n");
}


/* Few wallets are ever blamed; if memory is short, more is said, not less. */

static void
billing_audit_blame(billing_audit_t *a, int64_t wallet)
{
    size_t    size;
    int64_t  *ids;

    if (billing_audit_blamed(a, wallet)) {
        return;
    }

    if (a->blamed.n == a->blamed.size) {
        size = a->blamed.size ? a->blamed.size * 2 : 16;

        ids = realloc(a->blamed.ids, size * sizeof(int64_t));
        if (ids == NULL) {
            return;
        }

        a->blamed.ids = ids;
        a->blamed.size = size;
    }

    a->blamed.ids[a->blamed.n++] = wallet;
}


static int
billing_audit_blamed(const billing_audit_t *a, int64_t wallet)
{
    size_t  i;

    for (i = 0; i < a->blamed.n; i++) {
        if (a->blamed.ids[i] == wallet) {
            return 1;
        }
    }

    return 0;
}
