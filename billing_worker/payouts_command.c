
/*
 * Copyright (C) The Astro authors
 *
 * The command payouts: see payouts.h.
 *
 * Payouts are made first, a page at a time, with nothing but the database; what
 * this needs to be right is in one transaction for each page.  Then the outbox
 * runs here, beside those of the workers, until nothing of the day waits.
 * Killed at any instant, it is just begun again.
 */

#include <inttypes.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "payouts.h"
#include "tariff.h"
#include "worker.h"


#define BILLING_PAYOUTS_DONE     0
#define BILLING_PAYOUTS_OPEN     1      /* something failed or is parked */
#define BILLING_PAYOUTS_CANNOT   2

#define BILLING_PAYOUTS_POLL_MS  500


typedef struct {
    int64_t            n;
    int64_t            amount;
} billing_payouts_sum_t;

typedef struct {
    billing_worker_t       worker;
    uv_loop_t              loop;
    uv_timer_t             timer;
    const char            *day;
    billing_payouts_sum_t  paid;
    billing_payouts_sum_t  failed;
    billing_payouts_sum_t  waiting;
    int64_t                parked;
    unsigned               asking:1;
} billing_payouts_wait_t;


static int billing_payouts_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_payouts_today(PGconn *conn, char *day, size_t size);
static int billing_payouts_make(PGconn *conn, const billing_config_t *config,
    const char *day, int dry);
static PGresult *billing_payouts_ask(PGconn *conn, const char *sql, int n,
    const char *const *values);
static int billing_payouts_wait(billing_config_t *config, const char *day);
static void billing_payouts_poll(uv_timer_t *timer);
static void billing_payouts_polled(void *data,
    const billing_pg_reply_t *reply);
static void billing_payouts_end(uv_timer_t *timer);
static int billing_payouts_say(const billing_payouts_wait_t *p);


static const billing_option_t  billing_payouts_options[] = {

    { "--date", "YYYY-MM-DD", "of this day, in UTC (today)" },

    { "--dry-run", NULL, "say what would be made, and change nothing" },

    { "--no-wait", NULL, "leave the calls to the workers that run" },

    { NULL, NULL, NULL }
};


const billing_command_t  billing_payouts_command = {
    "payouts",
    "pays advisors what they have earned; once for each and day",
    "It may be killed at any instant and begun again.  Payouts of another day\n"
    "are left to the workers, or to a run with its --date.\n"
    "\n"
    "exit status: 0 all of that day are paid, 1 some failed or are parked,\n"
    "             2 it could not\n",
    NULL,
    billing_payouts_options,
    billing_payouts_main
};


static int
billing_payouts_main(billing_config_t *config, int argc, char *const *argv)
{
    int          rc, dry, wait;
    char         today[16];
    PGconn      *conn;
    const char  *day;

    dry = billing_command_option(billing_payouts_options, argc, argv,
                                 "--dry-run") != NULL;
    wait = !dry && billing_command_option(billing_payouts_options, argc, argv,
                                          "--no-wait") == NULL;
    day = billing_command_option(billing_payouts_options, argc, argv,
                                 "--date");

    if (wait && config->stripe_key_file[0] == '\0') {
        fprintf(stderr, "billing_worker: payouts: stripe_key_file is empty: "
                "who shall be asked to pay?\n");
        return BILLING_PAYOUTS_CANNOT;
    }

    billing_log_set((billing_log_level_e) config->log_level);

    conn = PQconnectdb(config->pg);
    rc = BILLING_ERROR;

    if (PQstatus(conn) != CONNECTION_OK) {
        fprintf(stderr, "billing_worker: payouts: %s", PQerrorMessage(conn));

    } else if (day != NULL
               || billing_payouts_today(conn, today, sizeof(today))
                  == BILLING_OK)
    {
        day = (day != NULL) ? day : today;
        rc = billing_payouts_make(conn, config, day, dry);
    }

    PQfinish(conn);

    if (rc != BILLING_OK) {
        return BILLING_PAYOUTS_CANNOT;
    }

    return wait ? billing_payouts_wait(config, day) : BILLING_PAYOUTS_DONE;
}


static int
billing_payouts_today(PGconn *conn, char *day, size_t size)
{
    PGresult  *res;

    res = billing_payouts_ask(conn, "SELECT (clock_timestamp() "
                              "AT TIME ZONE 'UTC')::date", 0, NULL);
    if (res == NULL) {
        return BILLING_ERROR;
    }

    snprintf(day, size, "%s", PQgetvalue(res, 0, 0));
    PQclear(res);

    return BILLING_OK;
}


static int
billing_payouts_make(PGconn *conn, const billing_config_t *config,
    const char *day, int dry)
{
    char         after[24];
    int64_t      last, made, amount, nowhere;
    PGresult    *res;
    const char  *values[4];

    values[0] = day;
    values[1] = config->payout_minimum;
    values[2] = after;
    values[3] = BILLING_PAYOUTS_PAGE;

    last = 0;
    made = 0;
    amount = 0;
    nowhere = 0;

    do {
        snprintf(after, sizeof(after), "%" PRId64, last);

        res = billing_payouts_ask(conn, dry
            ? "SELECT last, made, amount, nowhere FROM billing.payout_preview("
              "$1::date, $2::text, $3::bigint, $4::int)"
            : "SELECT last, made, amount, nowhere FROM billing.payout_page("
              "$1::date, $2::text, $3::bigint, $4::int)", 4, values);

        if (res == NULL) {
            return BILLING_ERROR;
        }

        last = billing_pg_int(res, 0, 0, 0);
        made += billing_pg_int(res, 0, 1, 0);
        amount += billing_pg_int(res, 0, 2, 0);
        nowhere += billing_pg_int(res, 0, 3, 0);

        PQclear(res);

    } while (last != 0);

    printf("payouts: %s: %" PRId64 " %s, %" PRId64 " minor units; %" PRId64
           " have nowhere to be paid to\n", day, made,
           dry ? "would be made" : "made", amount, nowhere);
    fflush(stdout);

    if (dry) {
        return BILLING_OK;
    }

    res = billing_payouts_ask(conn, "SELECT billing.payout_finish($1::date)",
                              1, values);

    PQclear(res);

    return (res != NULL) ? BILLING_OK : BILLING_ERROR;
}


static PGresult *
billing_payouts_ask(PGconn *conn, const char *sql, int n,
    const char *const *values)
{
    PGresult  *res;

    res = PQexecParams(conn, sql, n, NULL, values, NULL, NULL, 0);

    if (PQresultStatus(res) != PGRES_TUPLES_OK) {
        fprintf(stderr, "billing_worker: payouts: %s", PQerrorMessage(conn));
        PQclear(res);
        return NULL;
    }

    return res;
}


static int
billing_payouts_wait(billing_config_t *config, const char *day)
{
    int                      rc;
    int64_t                  began;
    billing_payouts_wait_t  *p;

    p = calloc(1, sizeof(billing_payouts_wait_t));
    if (p == NULL) {
        return BILLING_PAYOUTS_CANNOT;
    }

    began = billing_clock();

    p->day = day;
    p->worker.loop = &p->loop;
    p->worker.config = config;

    snprintf(p->worker.owner, sizeof(p->worker.owner), "payouts:%d:%" PRIx64,
             (int) getpid(), began);

    if (uv_loop_init(&p->loop) != 0
        || uv_timer_init(&p->loop, &p->timer) != 0
        || uv_timer_start(&p->timer, billing_payouts_poll, 0,
                          BILLING_PAYOUTS_POLL_MS) != 0
        || billing_outbox_start(&p->worker) != BILLING_OK)
    {
        fprintf(stderr, "billing_worker: payouts: cannot start\n");

        /* the process ends, and all of it with it */

        free(p);
        return BILLING_PAYOUTS_CANNOT;
    }

    p->timer.data = p;

    uv_run(&p->loop, UV_RUN_DEFAULT);
    uv_loop_close(&p->loop);

    rc = billing_payouts_say(p);

    printf("payouts: in %" PRId64 " ms\n", billing_clock() - began);
    free(p);

    return rc;
}


static void
billing_payouts_poll(uv_timer_t *timer)
{
    billing_pg_query_t       q;
    billing_payouts_wait_t  *p;

    p = timer->data;

    q.statement = "payout_status";
    q.nvalues = 1;
    q.values[0] = p->day;

    if (!p->asking
        && billing_pg_call(&p->worker.outbox.pg, &q, 1,
                           billing_payouts_polled, p) == BILLING_OK)
    {
        p->asking = 1;
    }
}


static void
billing_payouts_polled(void *data, const billing_pg_reply_t *reply)
{
    int                      row;
    PGresult                *res;
    const char              *state;
    billing_payouts_sum_t   *sum;
    billing_payouts_wait_t  *p;

    p = data;
    p->asking = 0;

    if (reply->status != BILLING_PG_DONE) {
        return;
    }

    memset(&p->paid, 0, sizeof(billing_payouts_sum_t));
    memset(&p->failed, 0, sizeof(billing_payouts_sum_t));
    memset(&p->waiting, 0, sizeof(billing_payouts_sum_t));
    p->parked = 0;

    res = reply->results[0];

    for (row = 0; row < PQntuples(res); row++) {
        state = PQgetvalue(res, row, 0);

        sum = (strcmp(state, "paid") == 0) ? &p->paid
              : (strcmp(state, "failed") == 0) ? &p->failed : &p->waiting;

        sum->n += billing_pg_int(res, row, 1, 0);
        sum->amount += billing_pg_int(res, row, 2, 0);
        p->parked += billing_pg_int(res, row, 3, 0);
    }

    if (p->waiting.n > p->parked || billing_outbox_busy(&p->worker)) {
        return;
    }

    /* here the connection is being read: it ends with the next turn */

    p->worker.stopping = 1;
    uv_timer_start(&p->timer, billing_payouts_end, 0, 0);
}


static void
billing_payouts_end(uv_timer_t *timer)
{
    billing_payouts_wait_t  *p;

    p = timer->data;

    billing_outbox_stop(&p->worker);
    uv_close((uv_handle_t *) &p->timer, NULL);
}


static int
billing_payouts_say(const billing_payouts_wait_t *p)
{
    printf("payouts: %s: %" PRId64 " paid, %" PRId64 " minor units; %" PRId64
           " failed, %" PRId64 "; %" PRId64 " parked\n", p->day, p->paid.n,
           p->paid.amount, p->failed.n, p->failed.amount, p->parked);

    return (p->failed.n || p->parked) ? BILLING_PAYOUTS_OPEN
                                      : BILLING_PAYOUTS_DONE;
}
