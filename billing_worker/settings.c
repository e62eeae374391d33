
/*
 * Copyright (C) The Astro authors
 *
 * What settings there are: see settings.h.
 */

#include <inttypes.h>
#include <stdio.h>

#include "log.h"
#include "settings.h"
#include "tariff.h"


#define BILLING_SETTING_START  1        /* taken at a start only */
#define BILLING_SETTING_LIVE   0        /* and by SIGHUP */

#define billing_setting(name, type, unit, min, max, number, text, start,      \
    help)                                                                     \
    { #name, offsetof(billing_config_t, name), BILLING_SETTING_##type,        \
      unit, min, max, number, text, BILLING_SETTING_##start, help }

/* name, default, START or LIVE, help */
#define billing_setting_text(name, value, start, help)                        \
    billing_setting(name, TEXT, "text", 0, 0, 0, value, start, help)
#define billing_setting_address(name, value, start, help)                     \
    billing_setting(name, ADDRESS, "address", 0, 0, 0, value, start, help)
/* name, unit, min, max, default, START or LIVE, help */
#define billing_setting_number(name, unit, min, max, value, start, help)      \
    billing_setting(name, NUMBER, unit, min, max, value, NULL, start, help)


const billing_setting_t  billing_settings[] = {

    billing_setting_text(pg, "", START,
        "where PostgreSQL is, as libpq has it; required"),

    billing_setting_address(redis, "", START,
        "unix:/path or host:port; empty: work without Redis"),

    billing_setting_text(redis_prefix, "astro:", START,
        "before the names of channels"),

    billing_setting(metrics_listen, LOOPBACK, "address", 0, 0, 0, "", START,
        "where GET /metrics is answered, of this machine alone; empty: off"),

    billing_setting_number(tick_seconds, "s", 1, 600, 15, LIVE,
        "time between two charges of a session"),

    billing_setting_number(paid_ahead_seconds, "s", 5, 3600, 60, LIVE,
        "how far ahead money is held; 2 more than tick_seconds at least"),

    billing_setting_number(low_seconds, "s", 0, 86400, 120, LIVE,
        "warn when the money will do for no longer"),

    billing_setting_number(ring_seconds, "s", 1, 3600, 45, LIVE,
        "a session that rings longer is missed"),

    billing_setting_number(grace_seconds, "s", 1, 3600, 60, LIVE,
        "to come, or to come back, before peer_lost"),

    billing_setting(log_level, LEVEL, "error, warn, info, debug", 0, 0,
        BILLING_LOG_INFO, NULL, LIVE,
        "what is logged: this and what is worse"),

    { NULL, 0, BILLING_SETTING_TEXT, NULL, 0, 0, 0, NULL, 0, NULL }
};

_Static_assert(sizeof(billing_settings) / sizeof(billing_setting_t)
               <= BILLING_SETTINGS_MAX, "BILLING_SETTINGS_MAX is too small");


int
billing_settings_check(const billing_config_t *config, const char **blamed,
    char *error, size_t size)
{
    if (config->pg[0] == '\0') {
        *blamed = "pg";
        snprintf(error, size, "no \"pg\": where is the database?");
        return BILLING_ERROR;
    }

    if (config->paid_ahead_seconds < config->tick_seconds + 2) {
        *blamed = "paid_ahead_seconds";
        snprintf(error, size, "paid_ahead_seconds = %" PRId64 " must exceed "
                 "tick_seconds = %" PRId64 " by 2 or more, or sessions would "
                 "stop between two ticks", config->paid_ahead_seconds,
                 config->tick_seconds);
        return BILLING_ERROR;
    }

    return BILLING_OK;
}
