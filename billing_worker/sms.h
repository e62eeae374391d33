
/*
 * Copyright (C) The Astro authors
 *
 * Messages to phones, in the form of Twilio's Messages API: what a row of the
 * outbox leaves out.  A code is made here, when it is sent, of the nonce in
 * the row and a key that nginx has, too: it stands in no table.
 */

#ifndef _BILLING_SMS_H_INCLUDED_
#define _BILLING_SMS_H_INCLUDED_


#include "config.h"
#include "http.h"
#include "text.h"


typedef struct {
    billing_http_peer_t  peer;
    billing_http_peer_t  otp;       /* its secret alone: the key of codes */
    const char          *from;      /* "+15550100", or "MG..." */
} billing_sms_t;


/* Reads both files; as billing_http_secret(). */
int billing_sms_keys(billing_sms_t *sms, const billing_config_t *config,
    char *error, size_t size);
void billing_sms_forget(billing_sms_t *sms);

/*
 * What is POSTed for a row, and where; BILLING_ERROR: it is no form of ours.
 * The texts are reset first, and to be wiped when the call was made.
 */
int billing_sms_call(const billing_sms_t *sms, const char *path,
    const char *body, billing_text_t *to, billing_text_t *form);

/* A sender, as the setting has it. */
int billing_sms_from_ok(const char *from);


#endif /* _BILLING_SMS_H_INCLUDED_ */
