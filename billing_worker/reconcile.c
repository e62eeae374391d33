
/*
 * Copyright (C) The Astro authors
 *
 * The command reconcile: see reconcile.h.
 *
 * A page of events at a time, as the vendor lists them, goes into the inbox;
 * what was there stays as it is.  Then the inbox is applied as the workers do,
 * who may do so meanwhile.  Killed anywhere, it can be run again.
 */

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "http.h"
#include "pg.h"
#include "reconcile.h"
#include "tariff.h"


#define BILLING_RECONCILE_CLEAN     0
#define BILLING_RECONCILE_PARKED    1
#define BILLING_RECONCILE_CANNOT    2

#define BILLING_RECONCILE_CONNECT   5000        /* ms */
#define BILLING_RECONCILE_BODY      (8 * 1024 * 1024)
#define BILLING_RECONCILE_TRIES     5
#define BILLING_RECONCILE_PATIENCE  3           /* failed: one try each */
#define BILLING_RECONCILE_PARKED_N  "1000"


typedef struct {
    const char            *path;                /* the list, and what follows */
    const char            *sql;                 /* puts a page of it in */
    unsigned               razorpay:1;
} billing_reconcile_what_t;


typedef struct {
    PGconn                *conn;
    uv_loop_t              loop;
    billing_http_t         http;
    billing_http_peer_t    peer;
    const billing_reconcile_what_t  *what;
    int64_t                skip;                /* Razorpay's pages before */
    char                   last[256];           /* event of the page before */
    char                   since[24];
    int64_t                seen;
    int64_t                stored;
    int64_t                parked;
    int64_t                failed;              /* of ours, not known */
    int64_t                row;                 /* of these, in a row */
    unsigned               more:1;
    unsigned               open:1;              /* asked for one of ours */
    unsigned               stop:1;              /* all others would fail, too */

    /* the answer that is waited for */
    unsigned               done:1;
    int                    rc;
    long                   wait_s;
} billing_reconcile_t;


static int billing_reconcile_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_reconcile_close(billing_reconcile_t *r, const char *event,
    const char *why);
static int billing_reconcile_all(billing_reconcile_t *r,
    const billing_config_t *config, const char *since);
static int billing_reconcile_ask(billing_reconcile_t *r,
    const billing_config_t *config, unsigned razorpay);
static int billing_reconcile_lists(billing_reconcile_t *r, unsigned razorpay);
static int billing_reconcile_pages(billing_reconcile_t *r);
static int billing_reconcile_open(billing_reconcile_t *r, unsigned razorpay);
static int billing_reconcile_one(billing_reconcile_t *r, const char *path);
static int billing_reconcile_page(billing_reconcile_t *r);
static void billing_reconcile_answered(void *data,
    const billing_http_reply_t *reply);
static int billing_reconcile_store(billing_reconcile_t *r, const char *body);
static int billing_reconcile_apply(billing_reconcile_t *r);
static int billing_reconcile_list(billing_reconcile_t *r);
static PGresult *billing_reconcile_query(billing_reconcile_t *r,
    const char *sql, int n, const char *const *values);


static const billing_option_t  billing_reconcile_options[] = {

    { "--since", "TIME",
      "as PostgreSQL reads it, \"2025-11-01\" (3 days ago)" },

    { "--close", "EVENT",
      "asks nobody: nothing is to be done for this parked one" },

    { "--why", "TEXT",
      "kept with what --close closes, which needs it" },

    { NULL, NULL, NULL }
};


/* payments first: a refund is of one of them */

static const billing_reconcile_what_t  billing_reconcile_whats[] = {

    { "/v1/events?limit=100&created%5Bgte%5D=",
      "SELECT seen, stored, more, last FROM "
      "billing.inbox_page('stripe', $1::text)", 0 },

    { "/v1/payments?count=100&from=",
      "SELECT seen, stored, seen >= 100, 'x' FROM "
      "billing.inbox_items('payments', $1::text)", 1 },

    { "/v1/refunds?count=100&from=",
      "SELECT seen, stored, seen >= 100, 'x' FROM "
      "billing.inbox_items('refunds', $1::text)", 1 },

    { NULL, NULL, 0 }
};

static const billing_reconcile_what_t  billing_reconcile_ours[] = {

    { NULL,
      "SELECT seen, stored, false, '' FROM "
      "billing.payment_looked('stripe', $1::text)", 0 },

    { NULL,
      "SELECT seen, stored, false, '' FROM "
      "billing.payment_looked('razorpay', $1::text)", 1 }
};


const billing_command_t  billing_reconcile_command = {
    "reconcile",
    "asks for payments whose webhook was lost; lists what is parked",
    "Who has no key file (stripe_key_file, razorpay_key_file) is not asked.  "
    "Stripe keeps events for 30 "
    "days.\n\n"
    "exit status: 0 nothing is parked, 1 somebody must look, 2 it could not\n",
    NULL,
    billing_reconcile_options,
    billing_reconcile_main
};


static int
billing_reconcile_main(billing_config_t *config, int argc, char *const *argv)
{
    int                   rc;
    const char           *since, *close, *why;
    billing_reconcile_t  *r;

    since = billing_command_option(billing_reconcile_options, argc, argv,
                                   "--since");
    close = billing_command_option(billing_reconcile_options, argc, argv,
                                   "--close");
    why = billing_command_option(billing_reconcile_options, argc, argv,
                                 "--why");

    if ((close == NULL) != (why == NULL) || (why && why[0] == '\0')) {
        fprintf(stderr, "billing_worker: reconcile: --close EVENT and "
                "--why TEXT go together\n");
        return BILLING_EXIT_USAGE;
    }

    r = calloc(1, sizeof(billing_reconcile_t));
    if (r == NULL) {
        return BILLING_RECONCILE_CANNOT;
    }

    r->conn = PQconnectdb(config->pg);

    if (PQstatus(r->conn) != CONNECTION_OK) {
        fprintf(stderr, "billing_worker: reconcile: %s",
                PQerrorMessage(r->conn));
        rc = BILLING_ERROR;

    } else if (close) {
        rc = billing_reconcile_close(r, close, why);

    } else {
        rc = billing_reconcile_all(r, config, since);
    }

    PQfinish(r->conn);

    if (r->failed > 0) {
        fprintf(stderr, "billing_worker: reconcile: %" PRId64 " of our "
                "payments could not be asked for\n", r->failed);
        rc = BILLING_ERROR;
    }

    if (rc == BILLING_OK) {
        rc = (r->parked > 0) ? BILLING_RECONCILE_PARKED
                             : BILLING_RECONCILE_CLEAN;

    } else {
        rc = BILLING_RECONCILE_CANNOT;
    }

    free(r);

    return rc;
}


static int
billing_reconcile_close(billing_reconcile_t *r, const char *event,
    const char *why)
{
    int          known;
    PGresult    *res;
    const char  *values[2];

    values[0] = event;
    values[1] = why;

    res = billing_reconcile_query(r, "SELECT billing.inbox_close($1, $2)", 2,
                                  values);
    if (res == NULL) {
        return BILLING_ERROR;
    }

    known = (strcmp(PQgetvalue(res, 0, 0), "0") != 0);
    PQclear(res);

    if (!known) {
        fprintf(stderr, "billing_worker: reconcile: no such event is parked\n");
        return BILLING_ERROR;
    }

    return billing_reconcile_list(r);
}


static int
billing_reconcile_all(billing_reconcile_t *r, const billing_config_t *config,
    const char *since)
{
    PGresult  *res;

    res = billing_reconcile_query(r, "SELECT floor(extract(epoch FROM coalesce("
                                  "$1::timestamptz, clock_timestamp() "
                                  "- interval '3 days')))::bigint", 1, &since);
    if (res == NULL) {
        return BILLING_ERROR;
    }

    snprintf(r->since, sizeof(r->since), "%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    if (config->stripe_key_file[0] == '\0') {
        printf("reconcile: no stripe_key_file, Stripe is not asked\n");

    } else if (billing_reconcile_ask(r, config, 0) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (config->razorpay_key_file[0] == '\0') {
        printf("reconcile: no razorpay_key_file, Razorpay is not asked\n");

    } else if (billing_reconcile_ask(r, config, 1) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (billing_reconcile_apply(r) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return billing_reconcile_list(r);
}


static int
billing_reconcile_ask(billing_reconcile_t *r, const billing_config_t *config,
    unsigned razorpay)
{
    int   rc;
    char  error[512];

    memset(&r->peer, 0, sizeof(billing_http_peer_t));
    memset(&r->http, 0, sizeof(billing_http_t));

    r->seen = 0;
    r->stored = 0;

    r->peer.base = razorpay ? config->razorpay_url : config->stripe_url;
    r->peer.ca_file = razorpay ? "" : config->stripe_ca_file;
    r->peer.basic = razorpay;
    r->peer.connect_ms = BILLING_RECONCILE_CONNECT;
    r->peer.timeout_ms = config->call_timeout_seconds * 1000;
    r->peer.body_max = BILLING_RECONCILE_BODY;

    if (billing_http_secret(&r->peer, razorpay ? config->razorpay_key_file
                                               : config->stripe_key_file,
                            error, sizeof(error))
        != BILLING_OK)
    {
        fprintf(stderr, "billing_worker: reconcile: %s\n", error);
        return BILLING_ERROR;
    }

    if (uv_loop_init(&r->loop) != 0) {
        return BILLING_ERROR;
    }

    r->http.loop = &r->loop;
    rc = billing_http_start(&r->http, 1);

    if (rc == BILLING_OK) {
        rc = billing_reconcile_lists(r, razorpay);

        /* what is known by now is not asked for */

        if (rc == BILLING_OK) {
            rc = billing_reconcile_apply(r);
        }

        if (rc == BILLING_OK) {
            rc = billing_reconcile_open(r, razorpay);
        }

        billing_http_stop(&r->http);
    }

    billing_http_forget(&r->peer);

    uv_run(&r->loop, UV_RUN_DEFAULT);
    uv_loop_close(&r->loop);

    if (rc == BILLING_OK) {
        printf("reconcile: %s: %" PRId64 " %s looked at, %" PRId64
               " had not come\n", razorpay ? "Razorpay" : "Stripe", r->seen,
               razorpay ? "payments and refunds" : "events", r->stored);
    }

    return rc;
}


static int
billing_reconcile_lists(billing_reconcile_t *r, unsigned razorpay)
{
    for (r->what = billing_reconcile_whats; r->what->path; r->what++) {

        if (r->what->razorpay != razorpay) {
            continue;
        }

        r->skip = 0;
        r->last[0] = '\0';

        if (billing_reconcile_pages(r) != BILLING_OK) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}


static int
billing_reconcile_pages(billing_reconcile_t *r)
{
    int  tries;

    tries = 0;
    r->more = 1;

    while (r->more) {

        r->wait_s = 0;

        if (billing_reconcile_page(r) == BILLING_OK) {
            tries = 0;
            continue;
        }

        /* wait_s below 0: asking again would not help */

        if (++tries == BILLING_RECONCILE_TRIES || r->wait_s < 0) {
            return BILLING_ERROR;
        }

        sleep((unsigned) (r->wait_s ? r->wait_s : 1));
    }

    return BILLING_OK;
}


/*
 * Each payment that we wait for, by its name: a list may not have it.  One of
 * which the vendor makes no sense is counted, and told of at the end; it must
 * not keep the others from being asked for, today and every day.
 */

static int
billing_reconcile_open(billing_reconcile_t *r, unsigned razorpay)
{
    int          n, row, rc;
    char         after[24];
    int64_t      seen;
    PGresult    *res;
    const char  *values[2];

    seen = r->seen;
    r->what = &billing_reconcile_ours[razorpay];
    r->open = 1;
    r->stop = 0;
    r->row = 0;
    rc = BILLING_OK;
    snprintf(after, sizeof(after), "0");

    do {
        values[0] = razorpay ? "razorpay" : "stripe";
        values[1] = after;

        res = billing_reconcile_query(r, "SELECT id, path FROM "
                                      "billing.payments_open($1, $2::bigint, "
                                      "100)", 2, values);
        if (res == NULL) {
            rc = BILLING_ERROR;
            break;
        }

        n = PQntuples(res);

        for (row = 0; row < n && rc == BILLING_OK; row++) {
            snprintf(after, sizeof(after), "%s", PQgetvalue(res, row, 0));

            if (billing_reconcile_one(r, PQgetvalue(res, row, 1))
                == BILLING_OK)
            {
                r->row = 0;
                continue;
            }

            fprintf(stderr, "billing_worker: reconcile: not known: %s\n",
                    PQgetvalue(res, row, 1));

            r->failed++;
            r->row++;

            if (r->stop || PQstatus(r->conn) != CONNECTION_OK) {
                rc = BILLING_ERROR;
            }
        }

        PQclear(res);

    } while (n > 0 && rc == BILLING_OK);

    r->open = 0;
    r->seen = seen;

    return rc;
}


static int
billing_reconcile_one(billing_reconcile_t *r, const char *path)
{
    int  tries;

    for (tries = 0; tries < BILLING_RECONCILE_TRIES; tries++) {

        if (tries > 0) {
            sleep((unsigned) (r->wait_s ? r->wait_s : 1));
        }

        r->done = 0;
        r->stop = 0;
        r->wait_s = 0;
        r->rc = BILLING_ERROR;

        if (billing_http_call(&r->http, &r->peer, path, NULL, NULL,
                              billing_reconcile_answered, r)
            != BILLING_OK)
        {
            return BILLING_ERROR;
        }

        while (!r->done) {
            uv_run(&r->loop, UV_RUN_ONCE);
        }

        if (r->rc == BILLING_OK || r->wait_s < 0) {
            break;
        }

        /* it is the vendor, not this one, and there may be thousands */

        if (r->row >= BILLING_RECONCILE_PATIENCE && r->wait_s == 0) {
            break;
        }
    }

    return r->rc;
}


static int
billing_reconcile_page(billing_reconcile_t *r)
{
    char  path[512];

    if (r->what->razorpay) {
        snprintf(path, sizeof(path), "%s%s&skip=%" PRId64, r->what->path,
                 r->since, r->skip);

    } else {
        snprintf(path, sizeof(path), "%s%s%s%s", r->what->path, r->since,
                 r->last[0] ? "&starting_after=" : "", r->last);
    }

    r->done = 0;
    r->rc = BILLING_ERROR;

    if (billing_http_call(&r->http, &r->peer, path, NULL, NULL,
                          billing_reconcile_answered, r)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    while (!r->done) {
        uv_run(&r->loop, UV_RUN_ONCE);
    }

    return r->rc;
}


static void
billing_reconcile_answered(void *data, const billing_http_reply_t *reply)
{
    billing_reconcile_t  *r;

    r = data;
    r->done = 1;

    if (reply->result != BILLING_HTTP_ANSWERED) {
        fprintf(stderr, "billing_worker: reconcile: %s\n", reply->error);
        return;
    }

    /* the vendor does not know it (any more): nothing has come by it */

    if (r->open && (reply->code == 404 || reply->code == 400)) {
        r->rc = BILLING_OK;
        return;
    }

    if (reply->code != 200) {
        fprintf(stderr, "billing_worker: reconcile: the vendor answers %ld\n",
                reply->code);

        r->stop = (reply->code == 401 || reply->code == 403);

        if (reply->retry_after_ms > 0) {
            r->wait_s = (reply->retry_after_ms < 60000)
                        ? reply->retry_after_ms / 1000 + 1 : 60;

        } else if (reply->code != 429 && reply->code < 500) {
            r->wait_s = -1;
        }

        return;
    }

    r->rc = billing_reconcile_store(r, reply->body);
}


static int
billing_reconcile_store(billing_reconcile_t *r, const char *body)
{
    PGresult    *res;
    const char  *last;

    res = billing_reconcile_query(r, r->what->sql, 1, &body);
    if (res == NULL) {
        r->wait_s = -1;
        return BILLING_ERROR;
    }

    r->seen += billing_pg_int(res, 0, 0, 0);
    r->skip += billing_pg_int(res, 0, 0, 0);
    r->stored += billing_pg_int(res, 0, 1, 0);

    last = PQgetvalue(res, 0, 3);
    r->more = billing_pg_bool(res, 0, 2) && last[0] != '\0'
              && strlen(last) < sizeof(r->last)
              && (r->what->razorpay || strcmp(last, r->last) != 0);

    snprintf(r->last, sizeof(r->last), "%.255s", last);

    PQclear(res);

    return BILLING_OK;
}


/* Those that a worker has in hand are skipped: it does them. */

static int
billing_reconcile_apply(billing_reconcile_t *r)
{
    int        n;
    PGresult  *res;

    do {
        res = billing_reconcile_query(r, "SELECT outcome, provider, type, "
                                      "payment, event, reason "
                                      "FROM billing.inbox_next()", 0, NULL);
        if (res == NULL) {
            return BILLING_ERROR;
        }

        n = PQntuples(res);

        if (n > 0 && strcmp(PQgetvalue(res, 0, 0), "ignored") != 0) {
            printf("reconcile: %s: %s %s %s %s %s\n", PQgetvalue(res, 0, 0),
                   PQgetvalue(res, 0, 1), PQgetvalue(res, 0, 2),
                   PQgetvalue(res, 0, 3), PQgetvalue(res, 0, 4),
                   PQgetvalue(res, 0, 5));
        }

        PQclear(res);

    } while (n > 0);

    return BILLING_OK;
}


static int
billing_reconcile_list(billing_reconcile_t *r)
{
    int        row;
    PGresult  *res;

    res = billing_reconcile_query(r, "SELECT received_at, provider, type, "
                                  "payment, event, reason "
                                  "FROM billing.inbox_parked("
                                  BILLING_RECONCILE_PARKED_N ")", 0, NULL);
    if (res == NULL) {
        return BILLING_ERROR;
    }

    r->parked = PQntuples(res);

    for (row = 0; row < PQntuples(res); row++) {
        printf("parked: %s %s %s %s %s: %s\n", PQgetvalue(res, row, 0),
               PQgetvalue(res, row, 1), PQgetvalue(res, row, 2),
               PQgetvalue(res, row, 3), PQgetvalue(res, row, 4),
               PQgetvalue(res, row, 5));
    }

    PQclear(res);

    printf("reconcile: %" PRId64 " parked\n", r->parked);

    return BILLING_OK;
}


static PGresult *
billing_reconcile_query(billing_reconcile_t *r, const char *sql, int n,
    const char *const *values)
{
    PGresult  *res;

    res = PQexecParams(r->conn, sql, n, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        fprintf(stderr, "billing_worker: reconcile: %s",
                PQerrorMessage(r->conn));
        PQclear(res);
        return NULL;
    }

    return res;
}
