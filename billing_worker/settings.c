
/*
 * Copyright (C) The Astro authors
 *
 * What settings there are: see settings.h.
 */

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "http.h"
#include "log.h"
#include "payouts.h"
#include "settings.h"
#include "sms.h"
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


static int billing_settings_check_vendors(const billing_config_t *config,
    const char **blamed, char *error, size_t size);


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

    billing_setting_number(grace_total_seconds, "s", 0, 86400, 300, LIVE,
        "all absences of a session together; 0: no limit"),

    billing_setting_number(pause_seconds, "s", 0, 86400, 900, LIVE,
        "a pause by a party, before pause_expired; 0: no limit"),

    billing_setting_text(stripe_url, "https://api.stripe.com", START,
        "where Stripe is; plain http to this machine alone"),

    billing_setting_text(stripe_key_file, "", START,
        "the file with the secret key; empty: no calls to vendors"),

    billing_setting_text(stripe_ca_file, "", START,
        "whom to trust for it, instead of the system's authorities"),

    billing_setting_text(razorpay_url, "https://api.razorpay.com", START,
        "where Razorpay is; plain http to this machine alone"),

    billing_setting_text(razorpay_key_file, "", START,
        "the file with KEY_ID:KEY_SECRET; empty: it is not called"),

    billing_setting_text(sms_url, "https://api.twilio.com", START,
        "where messages are sent from; plain http to this machine alone"),

    billing_setting_text(sms_key_file, "", START,
        "the file with ACCOUNT_SID:AUTH_TOKEN; empty: no messages to phones"),

    billing_setting_text(sms_from, "", START,
        "the sender: a number like +15550100, or a MessagingServiceSid"),

    billing_setting_text(otp_key_file, "", START,
        "the file that nginx has as astro_otp_key_file"),

    billing_setting_number(call_timeout_seconds, "s", 1, 120, 30, LIVE,
        "for a call to a vendor, all in all"),

    billing_setting_number(calls_at_once, "calls", 1, 256, 16, START,
        "calls to vendors under way at one time"),

    billing_setting_number(outbox_attempts, "attempts", 1, 100, 20, LIVE,
        "then a call is parked; 20 take 10 hours"),

    billing_setting_number(outbox_keep_days, "days", 1, 3650, 30, LIVE,
        "calls that have ended are kept for so long"),

    billing_setting_text(payout_time, "off", LIVE,
        "of the daily payouts, HH:MM in UTC; off: none are made by run"),

    billing_setting_text(payout_minimum, "*:1500", LIVE,
        "no payout below; CUR:MINOR ..., * is every other currency"),

    billing_setting_text(reconcile_time, "off", LIVE,
        "of the daily reconcile, HH:MM in UTC; off: by hand alone"),

    billing_setting_number(backends, "connections", 1, 16, 2, START,
        "that charge sessions side by side, each for its shards"),

    billing_setting_number(rollup_after_days, "days", 0, 36500, 90, LIVE,
        "charges of sessions that ended earlier are rolled up; 0: never"),

    billing_setting_number(retain_messages_days, "days", 0, 36500, 0, LIVE,
        "the words of messages are removed after so long; 0: never"),

    billing_setting_number(retain_notices_days, "days", 0, 36500, 0, LIVE,
        "the same of what people were told"),

    billing_setting_number(retain_logins_days, "days", 0, 36500, 0, LIVE,
        "the same of logins that are over"),

    billing_setting_number(retain_traces_days, "days", 0, 36500, 0, LIVE,
        "the same of devices and quality in sessions"),

    billing_setting_number(export_days, "days", 1, 365, 7, LIVE,
        "somebody's data that he asked for can be had for so long"),

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

    return billing_settings_check_vendors(config, blamed, error, size);
}


static int
billing_settings_check_vendors(const billing_config_t *config,
    const char **blamed, char *error, size_t size)
{
    if (billing_http_base_ok(config->stripe_url) != BILLING_OK) {
        *blamed = "stripe_url";
        snprintf(error, size, "stripe_url = \"%s\" is not https://host[:port], "
                 "or http://127.0.0.1:port", config->stripe_url);
        return BILLING_ERROR;
    }

    if (billing_http_base_ok(config->razorpay_url) != BILLING_OK) {
        *blamed = "razorpay_url";
        snprintf(error, size, "razorpay_url = \"%s\" is not "
                 "https://host[:port], or http://127.0.0.1:port",
                 config->razorpay_url);
        return BILLING_ERROR;
    }

    if (billing_http_base_ok(config->sms_url) != BILLING_OK) {
        *blamed = "sms_url";
        snprintf(error, size, "sms_url = \"%s\" is not https://host[:port], "
                 "or http://127.0.0.1:port", config->sms_url);
        return BILLING_ERROR;
    }

    if (config->sms_key_file[0] != '\0'
        && billing_sms_from_ok(config->sms_from) != BILLING_OK)
    {
        *blamed = "sms_from";
        snprintf(error, size, "sms_from = \"%s\" is neither a number like "
                 "+15550100 nor a MessagingServiceSid", config->sms_from);
        return BILLING_ERROR;
    }

    if (config->sms_key_file[0] != '\0' && config->otp_key_file[0] == '\0')
    {
        *blamed = "otp_key_file";
        snprintf(error, size, "sms_key_file is given, but otp_key_file is "
                 "empty: what are codes made with?");
        return BILLING_ERROR;
    }

    if (billing_payouts_minutes(config->payout_time) == BILLING_ERROR) {
        *blamed = "payout_time";
        snprintf(error, size, "payout_time = \"%s\" is neither HH:MM nor off",
                 config->payout_time);
        return BILLING_ERROR;
    }

    if (billing_payouts_minutes(config->reconcile_time) == BILLING_ERROR) {
        *blamed = "reconcile_time";
        snprintf(error, size, "reconcile_time = \"%s\" is neither HH:MM nor "
                 "off", config->reconcile_time);
        return BILLING_ERROR;
    }

    if (billing_payouts_minimum_ok(config->payout_minimum) != BILLING_OK) {
        *blamed = "payout_minimum";
        snprintf(error, size, "payout_minimum = \"%s\" is not CUR:MINOR, of "
                 "several currencies with blanks between, * for all others",
                 config->payout_minimum);
        return BILLING_ERROR;
    }

    if (strcmp(config->payout_time, "off") != 0
        && config->stripe_key_file[0] == '\0')
    {
        *blamed = "payout_time";
        snprintf(error, size, "payout_time = \"%s\", but stripe_key_file is "
                 "empty: who shall be asked to pay?", config->payout_time);
        return BILLING_ERROR;
    }

    return BILLING_OK;
}
