
/*
 * Copyright (C) The Astro authors
 *
 * Settings: defaults, then the file, then -o key=value in order.  What there
 * is stands in settings.c, a row each.
 */

#ifndef _BILLING_CONFIG_H_INCLUDED_
#define _BILLING_CONFIG_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <stdio.h>


#define BILLING_SETTINGS_MAX  64


/* Where settings come from; it must outlive the configuration. */
typedef struct {
    const char  *file;                      /* may be NULL */
    char       **options;                   /* the "key=value" of -o */
    int          noptions;
} billing_config_source_t;

/*
 * Texts are never NULL, and owned.  A reload frees those that it replaces: who
 * keeps one beyond a callback copies it.
 */
typedef struct {
    char        *pg;                        /* a libpq conninfo */
    char        *redis;                     /* unix:/path, host:port, or "" */
    char        *redis_prefix;
    char        *metrics_listen;            /* unix:/path, host:port, or "" */
    int64_t      tick_seconds;
    int64_t      paid_ahead_seconds;
    int64_t      low_seconds;
    int64_t      ring_seconds;
    int64_t      grace_seconds;
    int64_t      grace_total_seconds;
    int64_t      pause_seconds;
    char        *stripe_url;
    char        *stripe_key_file;           /* "": no calls to vendors */
    char        *stripe_ca_file;            /* "": those of the system */
    char        *razorpay_url;
    char        *razorpay_key_file;         /* "": it is not asked */
    char        *sms_url;
    char        *sms_key_file;              /* "": no messages to phones */
    char        *sms_from;
    char        *otp_key_file;
    int64_t      call_timeout_seconds;
    int64_t      calls_at_once;
    int64_t      outbox_attempts;
    int64_t      outbox_keep_days;
    char        *payout_time;               /* "HH:MM" in UTC, or "off" */
    char        *reconcile_time;            /* "HH:MM" in UTC, or "off" */
    char        *payout_minimum;            /* "INR:1500 *:1500" */
    int64_t      backends;
    int64_t      rollup_after_days;         /* 0: never */
    int64_t      retain_messages_days;      /* 0: for ever; the same below */
    int64_t      retain_notices_days;
    int64_t      retain_logins_days;
    int64_t      retain_traces_days;
    int64_t      export_days;
    int64_t      log_level;                 /* billing_log_level_e */

    /* of config.c alone */
    const billing_config_source_t  *source;
    char        *where[BILLING_SETTINGS_MAX];   /* "file:12"; NULL: default */
} billing_config_t;


/*
 * BILLING_ERROR: what is wrong, naming the setting, where it stands and what
 * was expected, is in error, and nothing is left to free.
 */
int billing_config_load(billing_config_t *config,
    const billing_config_source_t *source, char *error, size_t size);

/*
 * Reads the source again: all or, with BILLING_ERROR, nothing is taken.  What
 * can only be taken at a start stays, and the log says so.
 */
int billing_config_reload(billing_config_t *config, char *error, size_t size);

void billing_config_free(billing_config_t *config);

/* All settings, with units, ranges and defaults. */
void billing_config_help(FILE *f);


#endif /* _BILLING_CONFIG_H_INCLUDED_ */
