
/*
 * Copyright (C) The Astro authors
 *
 * The daily payouts: see payouts.h.
 *
 * Every worker looks whether the day's run is due and not finished, and walks
 * over the advisors a page at a time.  That two of them do, or that one dies on
 * the way, makes no payout twice: an advisor has one for each day.
 *
 * What an admin has asked for is looked for each second, and done the same way;
 * how far it has got is in its row, which one worker at a time has.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "point.h"
#include "tariff.h"
#include "worker.h"


#define BILLING_PAYOUTS_LOOK_MS   20000
#define BILLING_PAYOUTS_ORDER_MS  1000
#define BILLING_PAYOUTS_DIGITS    15        /* of a minimum */


static void billing_payouts_timer(uv_timer_t *timer);
static void billing_payouts_due(void *data, const billing_pg_reply_t *reply);
static void billing_payouts_page(billing_worker_t *w);
static void billing_payouts_paged(void *data, const billing_pg_reply_t *reply);
static void billing_payouts_finish(billing_worker_t *w);
static void billing_payouts_finished(void *data,
    const billing_pg_reply_t *reply);
static void billing_payouts_order(billing_worker_t *w);
static void billing_payouts_ordered(void *data,
    const billing_pg_reply_t *reply);
static void billing_payouts_failed(const billing_pg_reply_t *reply);


int
billing_payouts_start(billing_worker_t *w)
{
    if (w->config->stripe_key_file[0] == '\0') {
        return BILLING_OK;
    }

    if (uv_timer_init(w->loop, &w->payouts.timer) != 0) {
        return BILLING_ERROR;
    }

    w->payouts.timer.data = w;
    w->payouts.on = 1;

    return uv_timer_start(&w->payouts.timer, billing_payouts_timer,
                          BILLING_PAYOUTS_ORDER_MS, BILLING_PAYOUTS_ORDER_MS)
           ? BILLING_ERROR : BILLING_OK;
}


void
billing_payouts_stop(billing_worker_t *w)
{
    if (w->payouts.on) {
        w->payouts.on = 0;
        uv_close((uv_handle_t *) &w->payouts.timer, NULL);
    }
}


void
billing_payouts_up(billing_worker_t *w)
{
    if (w->payouts.on) {
        w->payouts.looked = 0;
        billing_payouts_timer(&w->payouts.timer);
    }
}


static void
billing_payouts_timer(uv_timer_t *timer)
{
    int                  minutes;
    char                 text[24];
    billing_worker_t    *w;
    billing_pg_query_t   q;

    w = timer->data;
    minutes = billing_payouts_minutes(w->config->payout_time);

    if (w->payouts.asking || w->stopping) {
        return;
    }

    if (w->payouts.day[0] != '\0') {
        billing_payouts_page(w);
        return;
    }

    if (minutes < 0
        || (w->payouts.looked != 0
            && billing_clock() - w->payouts.looked < BILLING_PAYOUTS_LOOK_MS))
    {
        billing_payouts_order(w);
        return;
    }

    snprintf(text, sizeof(text), "%d", minutes);

    q.statement = "payout_due";
    q.nvalues = 1;
    q.values[0] = text;

    if (billing_pg_call(&w->outbox.pg, &q, 1, billing_payouts_due, w)
        == BILLING_OK)
    {
        w->payouts.asking = 1;
        w->payouts.looked = billing_clock();
    }
}


static void
billing_payouts_due(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t  *w;

    w = data;
    w->payouts.asking = 0;

    if (reply->status != BILLING_PG_DONE) {
        billing_payouts_failed(reply);
        return;
    }

    if (PQgetisnull(reply->results[0], 0, 0)) {
        return;
    }

    snprintf(w->payouts.day, sizeof(w->payouts.day), "%s",
             PQgetvalue(reply->results[0], 0, 0));

    w->payouts.after = 0;
    w->payouts.made = 0;
    w->payouts.amount = 0;
    w->payouts.nowhere = 0;

    billing_log(BILLING_LOG_INFO, "payouts begin",
                billing_log_str("day", w->payouts.day));

    billing_payouts_page(w);
}


static void
billing_payouts_page(billing_worker_t *w)
{
    char                after[24];
    billing_pg_query_t  q;

    if (w->stopping || !w->payouts.on) {
        return;
    }

    snprintf(after, sizeof(after), "%" PRId64, w->payouts.after);

    q.statement = "payout_page";
    q.nvalues = 4;
    q.values[0] = w->payouts.day;
    q.values[1] = w->config->payout_minimum;
    q.values[2] = after;
    q.values[3] = BILLING_PAYOUTS_PAGE;

    if (billing_pg_call(&w->outbox.pg, &q, 1, billing_payouts_paged, w)
        == BILLING_OK)
    {
        w->payouts.asking = 1;
    }
}


static void
billing_payouts_paged(void *data, const billing_pg_reply_t *reply)
{
    int64_t            last, made;
    PGresult          *res;
    billing_worker_t  *w;

    w = data;
    w->payouts.asking = 0;

    if (reply->status != BILLING_PG_DONE) {

        /* the same page once more, a second later */

        billing_payouts_failed(reply);
        return;
    }

    BILLING_POINT("payouts-made");

    res = reply->results[0];
    last = billing_pg_int(res, 0, 0, 0);
    made = billing_pg_int(res, 0, 1, 0);

    w->payouts.made += made;
    w->payouts.amount += billing_pg_int(res, 0, 2, 0);
    w->payouts.nowhere += billing_pg_int(res, 0, 3, 0);

    billing_count(PAYOUTS, made);

    if (made > 0) {
        billing_outbox_nudge(w);
    }

    if (last == 0) {
        billing_payouts_finish(w);
        return;
    }

    w->payouts.after = last;
    billing_payouts_page(w);
}


static void
billing_payouts_finish(billing_worker_t *w)
{
    billing_pg_query_t  q;

    q.statement = "payout_finish";
    q.nvalues = 1;
    q.values[0] = w->payouts.day;

    if (billing_pg_call(&w->outbox.pg, &q, 1, billing_payouts_finished, w)
        == BILLING_OK)
    {
        w->payouts.asking = 1;
    }
}


static void
billing_payouts_finished(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t  *w;

    w = data;
    w->payouts.asking = 0;

    if (reply->status != BILLING_PG_DONE) {

        /* the last page makes nothing a second time, and leads here again */

        billing_payouts_failed(reply);
        return;
    }

    billing_log(BILLING_LOG_INFO, "payouts made",
                billing_log_str("day", w->payouts.day),
                billing_log_int("made", w->payouts.made),
                billing_log_int("amount", w->payouts.amount),
                billing_log_int("nowhere", w->payouts.nowhere));

    w->payouts.day[0] = '\0';
}


static void
billing_payouts_order(billing_worker_t *w)
{
    billing_pg_query_t  q;

    if (w->stopping || !w->payouts.on) {
        return;
    }

    q.statement = "payout_order_next";
    q.nvalues = 2;
    q.values[0] = w->config->payout_minimum;
    q.values[1] = BILLING_PAYOUTS_PAGE;

    if (billing_pg_call(&w->outbox.pg, &q, 1, billing_payouts_ordered, w)
        == BILLING_OK)
    {
        w->payouts.asking = 1;
    }
}


static void
billing_payouts_ordered(void *data, const billing_pg_reply_t *reply)
{
    int64_t            made;
    PGresult          *res;
    billing_worker_t  *w;

    w = data;
    w->payouts.asking = 0;

    if (reply->status != BILLING_PG_DONE) {
        billing_payouts_failed(reply);
        return;
    }

    res = reply->results[0];

    if (PQntuples(res) == 0) {
        return;
    }

    BILLING_POINT("payouts-ordered");

    made = billing_pg_int(res, 0, 1, 0);

    billing_count(PAYOUTS, made);

    if (made > 0) {
        billing_outbox_nudge(w);
    }

    billing_log(BILLING_LOG_INFO, "payouts of an order",
                billing_log_int("order", billing_pg_int(res, 0, 0, 0)),
                billing_log_int("made", made),
                billing_log_int("done", *PQgetvalue(res, 0, 4) == 't'));

    billing_payouts_order(w);
}


static void
billing_payouts_failed(const billing_pg_reply_t *reply)
{
    if (reply->status == BILLING_PG_FAILED) {
        billing_log(BILLING_LOG_ERROR, "cannot make payouts",
                    billing_log_str("sqlstate", reply->sqlstate),
                    billing_log_str("error", reply->message
                                             ? reply->message : ""));
    }
}


int
billing_payouts_minutes(const char *text)
{
    int  i, hours, minutes;

    if (strcmp(text, "off") == 0) {
        return BILLING_PAYOUTS_OFF;
    }

    for (i = 0; i < 5; i++) {
        if (i == 2 ? text[i] != ':' : text[i] < '0' || text[i] > '9') {
            return BILLING_ERROR;
        }
    }

    hours = (text[0] - '0') * 10 + text[1] - '0';
    minutes = (text[3] - '0') * 10 + text[4] - '0';

    if (text[5] != '\0' || hours > 23 || minutes > 59) {
        return BILLING_ERROR;
    }

    return hours * 60 + minutes;
}


int
billing_payouts_minimum_ok(const char *text)
{
    size_t  n;

    for ( ;; ) {
        text += strspn(text, " ");

        if (text[0] == '*') {
            n = 1;

        } else {
            n = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ");

            if (n != 3) {
                return BILLING_ERROR;
            }
        }

        if (text[n] != ':') {
            return BILLING_ERROR;
        }

        text += n + 1;
        n = strspn(text, "0123456789");

        if (n == 0 || n > BILLING_PAYOUTS_DIGITS) {
            return BILLING_ERROR;
        }

        text += n;
        n = strspn(text, " ");

        if (text[n] == '\0') {
            return BILLING_OK;
        }

        if (n == 0) {
            return BILLING_ERROR;
        }
    }
}
