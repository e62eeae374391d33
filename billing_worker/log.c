
/*
 * Copyright (C) The Astro authors
 *
 * The log: see log.h.
 */

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "metrics.h"
#include "repeats.h"
#include "tariff.h"
#include "text.h"


static const char           *billing_log_names[] = {
    "error", "warn", "info", "debug"
};

static billing_log_level_e   billing_log_limit = BILLING_LOG_INFO;
static billing_repeats_t     billing_log_repeats;


int
billing_log_level(const char *name)
{
    size_t  i;

    for (i = 0; i < sizeof(billing_log_names) / sizeof(char *); i++) {
        if (strcmp(billing_log_names[i], name) == 0) {
            return (int) i;
        }
    }

    return BILLING_ERROR;
}


const char *
billing_log_level_name(int64_t level)
{
    return billing_log_names[level];
}


void
billing_log_set(billing_log_level_e level)
{
    billing_log_limit = level;
}


void
billing_log_write(billing_log_level_e level, const char *msg,
    const billing_log_field_t *fields)
{
    char             at[48];
    size_t           n;
    uint64_t         left_out;
    struct tm        tm;
    billing_text_t   t;
    struct timespec  now;

    if (level > billing_log_limit) {
        return;
    }

    billing_count(LOG_ERRORS, level == BILLING_LOG_ERROR);
    billing_count(LOG_WARNINGS, level == BILLING_LOG_WARN);

    clock_gettime(CLOCK_REALTIME, &now);

    /* what goes wrong in bursts must not fill the disk; news are wanted all */

    left_out = 0;

    if (level <= BILLING_LOG_WARN
        && !billing_repeats_may(&billing_log_repeats, msg, now.tv_sec,
                                &left_out))
    {
        billing_count(LOG_REPEATS, 1);
        return;
    }

    gmtime_r(&now.tv_sec, &tm);

    n = strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(at + n, sizeof(at) - n, ".%03dZ",
             (int) (now.tv_nsec / 1000000));

    billing_text_init(&t);

    billing_text_str(&t, "{\"ts\":");
    billing_text_json(&t, at);
    billing_text_str(&t, ",\"level\":");
    billing_text_json(&t, billing_log_names[level]);
    billing_text_str(&t, ",\"msg\":");
    billing_text_json(&t, msg);

    for ( /* void */ ; fields->name != NULL; fields++) {
        billing_text_str(&t, ",");
        billing_text_json(&t, fields->name);
        billing_text_str(&t, ":");

        if (fields->string != NULL) {
            billing_text_json(&t, fields->string);

        } else {
            billing_text_int(&t, fields->number);
        }
    }

    if (left_out > 0) {
        billing_text_str(&t, ",\"left_out\":");
        billing_text_int(&t, (int64_t) left_out);
    }

    billing_text_str(&t, "}\n");

    /* in one write, so that lines of several workers do not mix */

    if (billing_text_end(&t) != NULL
        && write(STDERR_FILENO, t.data, t.len) == -1)
    {
        /* there is nobody to tell */
    }

    billing_text_free(&t);
}
