
/*
 * Copyright (C) The Astro authors
 *
 * Messages to phones: see sms.h.
 */

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "astro_otp.h"
#include "sms.h"
#include "tariff.h"


#define BILLING_SMS_NONCE  "&{nonce}="
#define BILLING_SMS_CODE   "{code}"


static int billing_sms_short(const char *file, char *error, size_t size);


int
billing_sms_keys(billing_sms_t *sms, const billing_config_t *config,
    char *error, size_t size)
{
    if (billing_http_secret(&sms->peer, config->sms_key_file, error, size)
        != BILLING_OK
        || billing_http_secret(&sms->otp, config->otp_key_file, error, size)
           != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    if (strchr(sms->peer.secret, ':') == NULL) {
        snprintf(error, size, "\"%s\" does not hold ACCOUNT_SID:AUTH_TOKEN",
                 config->sms_key_file);
        return BILLING_ERROR;
    }

    if (strlen(sms->otp.secret) < ASTRO_OTP_KEY_MIN
        || strlen(sms->otp.secret) > ASTRO_OTP_KEY_MAX)
    {
        return billing_sms_short(config->otp_key_file, error, size);
    }

    return BILLING_OK;
}


static int
billing_sms_short(const char *file, char *error, size_t size)
{
    snprintf(error, size, "\"%s\" must hold from %d to %d characters", file,
             ASTRO_OTP_KEY_MIN, ASTRO_OTP_KEY_MAX);

    return BILLING_ERROR;
}


void
billing_sms_forget(billing_sms_t *sms)
{
    billing_http_forget(&sms->peer);
    billing_http_forget(&sms->otp);
}


int
billing_sms_call(const billing_sms_t *sms, const char *path,
    const char *body, billing_text_t *to, billing_text_t *form)
{
    char         code[ASTRO_OTP_DIGITS + 1];
    const char  *at, *nonce, *secret;

    billing_text_reset(to);
    billing_text_reset(form);

    /* the account is the user of our key */

    secret = sms->peer.secret;

    billing_text_str(to, "/2010-04-01/Accounts/");
    billing_text_add(to, secret, strcspn(secret, ":"));
    billing_text_str(to, path);

    at = strstr(body, BILLING_SMS_CODE);
    nonce = strstr(body, BILLING_SMS_NONCE);

    if (at == NULL || nonce == NULL || nonce < at) {
        return BILLING_ERROR;
    }

    if (astro_otp_code((const uint8_t *) sms->otp.secret,
                       strlen(sms->otp.secret),
                       nonce + strlen(BILLING_SMS_NONCE),
                       strlen(nonce + strlen(BILLING_SMS_NONCE)), code)
        != 0)
    {
        return BILLING_ERROR;
    }

    billing_text_add(form, body, (size_t) (at - body));
    billing_text_str(form, code);

    at += strlen(BILLING_SMS_CODE);

    billing_text_add(form, at, (size_t) (nonce - at));
    billing_text_str(form, sms->from[0] == '+' ? "&From=%2B"
                                               : "&MessagingServiceSid=");
    billing_text_str(form, sms->from + (sms->from[0] == '+'));

    explicit_bzero(code, sizeof(code));

    return billing_text_end(to) != NULL && billing_text_end(form) != NULL
           ? BILLING_OK : BILLING_ERROR;
}


int
billing_sms_from_ok(const char *from)
{
    size_t  i, n;

    n = strlen(from);

    if (from[0] == '+') {
        return n >= 4 && n <= 16 && strspn(from + 1, "0123456789") == n - 1
               ? BILLING_OK : BILLING_ERROR;
    }

    if (n != 34 || from[0] != 'M' || from[1] != 'G') {
        return BILLING_ERROR;
    }

    for (i = 2; i < n; i++) {
        if (!isxdigit((unsigned char) from[i])) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}
