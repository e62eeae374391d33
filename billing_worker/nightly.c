
/*
 * Copyright (C) The Astro authors
 *
 * The daily look for what nobody told us of: see nightly.h.
 *
 * reconcile waits for vendors for as long as it takes, page by page; so it is
 * this program once more, with the same configuration, and stopping us stops
 * it.
 */

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "nightly.h"
#include "reconcile.h"


#define BILLING_NIGHTLY_FIRST_MS  1000
#define BILLING_NIGHTLY_MS        20000
#define BILLING_NIGHTLY_LINE      16384     /* bytes of our command line */
#define BILLING_NIGHTLY_WORDS     256
#define BILLING_NIGHTLY_AGAIN     10        /* minutes; doubled, at most */
#define BILLING_NIGHTLY_DOUBLED   2         /* so often */


static void billing_nightly_timer(uv_timer_t *timer);
static void billing_nightly_keep(billing_worker_t *w);
static void billing_nightly_taken(void *data, const billing_pg_reply_t *reply);
static int billing_nightly_spawn(billing_worker_t *w);
static int billing_nightly_words(char *line, size_t len, char **words);
static void billing_nightly_exited(uv_process_t *process, int64_t status,
    int sig);
static void billing_nightly_done(billing_worker_t *w, int again);
static void billing_nightly_told(void *data, const billing_pg_reply_t *reply);


int
billing_nightly_start(billing_worker_t *w)
{
    if (uv_timer_init(w->loop, &w->nightly.timer) != 0) {
        return BILLING_ERROR;
    }

    w->nightly.timer.data = w;
    w->nightly.process.data = w;

    return uv_timer_start(&w->nightly.timer, billing_nightly_timer,
                          BILLING_NIGHTLY_FIRST_MS, BILLING_NIGHTLY_MS)
           ? BILLING_ERROR : BILLING_OK;
}


/* Whatever it has put in stays, and is applied by whoever is left. */

void
billing_nightly_stop(billing_worker_t *w)
{
    uv_close((uv_handle_t *) &w->nightly.timer, NULL);

    if (w->nightly.running) {
        w->nightly.running = 0;
        uv_process_kill(&w->nightly.process, SIGKILL);
        uv_close((uv_handle_t *) &w->nightly.process, NULL);
    }
}


static void
billing_nightly_timer(uv_timer_t *timer)
{
    int                  minutes;
    char                 text[24];
    billing_worker_t    *w;
    billing_pg_query_t   q;

    w = timer->data;

    if (w->nightly.asking || w->stopping) {
        return;
    }

    if (w->nightly.running) {
        billing_nightly_keep(w);
        return;
    }

    minutes = billing_payouts_minutes(w->config->reconcile_time);

    if (minutes < 0) {
        return;
    }

    snprintf(text, sizeof(text), "%d", minutes);

    q.statement = "reconcile_take";
    q.nvalues = 2;
    q.values[0] = text;
    q.values[1] = w->owner;

    if (billing_pg_call(&w->chores, &q, 1, billing_nightly_taken, w)
        == BILLING_OK)
    {
        w->nightly.asking = 1;
    }
}


/* Else another worker would begin it after ten minutes, and another. */

static void
billing_nightly_keep(billing_worker_t *w)
{
    billing_pg_query_t  q;

    q.statement = "reconcile_keep";
    q.nvalues = 2;
    q.values[0] = w->nightly.day;
    q.values[1] = w->owner;

    if (billing_pg_call(&w->chores, &q, 1, billing_nightly_told, w)
        == BILLING_OK)
    {
        w->nightly.asking = 1;
    }
}


static void
billing_nightly_taken(void *data, const billing_pg_reply_t *reply)
{
    const char        *day;
    billing_worker_t  *w;

    w = data;
    w->nightly.asking = 0;

    if (reply->status != BILLING_PG_DONE
        || PQgetisnull(reply->results[0], 0, 0) || w->stopping)
    {
        return;
    }

    day = PQgetvalue(reply->results[0], 0, 0);

    if (strcmp(w->nightly.day, day) != 0) {
        w->nightly.tries = 0;
    }

    snprintf(w->nightly.day, sizeof(w->nightly.day), "%s", day);

    if (billing_nightly_spawn(w) != BILLING_OK) {
        billing_log(BILLING_LOG_ERROR, "cannot reconcile",
                    billing_log_str("day", w->nightly.day));
        billing_nightly_done(w, 1);
        return;
    }

    w->nightly.running = 1;
    billing_log(BILLING_LOG_INFO, "reconcile begins",
                billing_log_str("day", w->nightly.day));
}


static int
billing_nightly_spawn(billing_worker_t *w)
{
    FILE                  *f;
    char                   line[BILLING_NIGHTLY_LINE];
    char                  *words[BILLING_NIGHTLY_WORDS];
    size_t                 len;
    uv_process_options_t   options;
    uv_stdio_container_t   stdio[3];

    f = fopen("/proc/self/cmdline", "re");
    if (f == NULL) {
        return BILLING_ERROR;
    }

    len = fread(line, 1, sizeof(line) - 1, f);
    fclose(f);
    line[len] = '\0';

    if (len == sizeof(line) - 1
        || billing_nightly_words(line, len, words) != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    /* what it says is all there is to tell why it failed */

    memset(stdio, 0, sizeof(stdio));

    stdio[0].flags = UV_IGNORE;
    stdio[1].flags = UV_INHERIT_FD;
    stdio[1].data.fd = STDOUT_FILENO;
    stdio[2].flags = UV_INHERIT_FD;
    stdio[2].data.fd = STDERR_FILENO;

    memset(&options, 0, sizeof(options));

    options.stdio = stdio;
    options.stdio_count = 3;
    options.file = "/proc/self/exe";
    options.args = words;
    options.exit_cb = billing_nightly_exited;

    if (uv_spawn(w->loop, &w->nightly.process, &options) != 0) {
        uv_close((uv_handle_t *) &w->nightly.process, NULL);
        return BILLING_ERROR;
    }

    return BILLING_OK;
}


/* Our own command line, with another command. */

static int
billing_nightly_words(char *line, size_t len, char **words)
{
    int      value, known;
    char    *p;
    size_t   n;

    n = 0;
    value = 0;
    known = 0;

    for (p = line; p < line + len; p += strlen(p) + 1) {

        if (n == BILLING_NIGHTLY_WORDS - 1) {
            return BILLING_ERROR;
        }

        words[n] = p;

        if (n > 0 && !value && !known && strcmp(p, "run") == 0) {
            words[n] = (char *) billing_reconcile_command.name;
            known = 1;
        }

        value = !value && (strcmp(p, "--config") == 0 || strcmp(p, "-o") == 0);
        n++;
    }

    words[n] = NULL;

    return known ? BILLING_OK : BILLING_ERROR;
}


static void
billing_nightly_exited(uv_process_t *process, int64_t status, int sig)
{
    billing_worker_t  *w;

    w = process->data;

    if (!w->nightly.running) {
        return;
    }

    w->nightly.running = 0;
    uv_close((uv_handle_t *) process, NULL);

    billing_log((status == 0 && sig == 0) ? BILLING_LOG_INFO
                                          : BILLING_LOG_WARN,
                "reconcile ends",
                billing_log_str("day", w->nightly.day),
                billing_log_int("status", status),
                billing_log_int("signal", sig));

    /* 1: something is parked; that is for somebody to look at */

    billing_nightly_done(w, sig != 0 || status > 1);
}


static void
billing_nightly_done(billing_worker_t *w, int again)
{
    char                minutes[24];
    billing_pg_query_t  q;

    snprintf(minutes, sizeof(minutes), "%d",
             BILLING_NIGHTLY_AGAIN << w->nightly.tries);

    if (again && w->nightly.tries < BILLING_NIGHTLY_DOUBLED) {
        w->nightly.tries++;
    }

    q.statement = "reconcile_done";
    q.nvalues = 4;
    q.values[0] = w->nightly.day;
    q.values[1] = w->owner;
    q.values[2] = again ? "t" : "f";
    q.values[3] = minutes;

    /* lost: another one looks once more, ten minutes after the last keep */

    if (billing_pg_call(&w->chores, &q, 1, billing_nightly_told, w)
        == BILLING_OK)
    {
        w->nightly.asking = 1;
    }
}


static void
billing_nightly_told(void *data, const billing_pg_reply_t *reply)
{
    billing_worker_t *w = data;

    (void) reply;

    w->nightly.asking = 0;
}
