
/*
 * Copyright (C) The Astro authors
 *
 * The vendors that the outbox calls: see outbox.h.
 */

#include <stdio.h>
#include <string.h>

#include "clock.h"
#include "log.h"
#include "outbox.h"
#include "worker.h"


#define BILLING_OUTBOX_CONNECT_MS  5000
#define BILLING_OUTBOX_BODY_MAX    65536


static int billing_outbox_refund(const char *path);


static const char *const  billing_vendors[] = {
    "stripe", "twilio", "razorpay"
};


const char *
billing_vendor_name(billing_vendor_e vendor)
{
    return billing_vendors[vendor];
}


int
billing_outbox_peers(billing_worker_t *w)
{
    billing_outbox_t  *o;

    o = &w->outbox;
    o->has = 0;

    if (w->config->stripe_key_file[0] != '\0') {
        o->has |= 1u << BILLING_STRIPE;
    }

    if (w->config->sms_key_file[0] != '\0') {
        o->has |= 1u << BILLING_TWILIO;
    }

    if (w->config->razorpay_key_file[0] != '\0') {
        o->has |= 1u << BILLING_RAZORPAY;
    }

    o->stripe.base = w->config->stripe_url;
    o->stripe.ca_file = w->config->stripe_ca_file;
    o->stripe.connect_ms = BILLING_OUTBOX_CONNECT_MS;
    o->stripe.timeout_ms = w->config->call_timeout_seconds * 1000;
    o->stripe.body_max = BILLING_OUTBOX_BODY_MAX;

    o->razorpay = o->stripe;
    o->razorpay.base = w->config->razorpay_url;
    o->razorpay.ca_file = "";
    o->razorpay.key_name = "X-Refund-Idempotency";
    o->razorpay.basic = 1;

    o->sms.peer = o->stripe;
    o->sms.peer.base = w->config->sms_url;
    o->sms.peer.ca_file = "";
    o->sms.peer.basic = 1;
    o->sms.from = w->config->sms_from;

    return billing_outbox_keys(w);
}


int
billing_outbox_keys(billing_worker_t *w)
{
    int          rc;
    char         error[1024];
    unsigned     has;
    const char  *vendor;

    rc = BILLING_OK;
    has = w->outbox.has;
    vendor = billing_vendors[BILLING_STRIPE];

    if (has & 1u << BILLING_STRIPE) {
        rc = billing_http_secret(&w->outbox.stripe,
                                 w->config->stripe_key_file, error,
                                 sizeof(error));
    }

    if (rc == BILLING_OK && (has & 1u << BILLING_RAZORPAY)) {
        vendor = billing_vendors[BILLING_RAZORPAY];
        rc = billing_http_secret(&w->outbox.razorpay,
                                 w->config->razorpay_key_file, error,
                                 sizeof(error));
    }

    if (rc == BILLING_OK && (has & 1u << BILLING_TWILIO)) {
        vendor = billing_vendors[BILLING_TWILIO];
        rc = billing_sms_keys(&w->outbox.sms, w->config, error,
                              sizeof(error));
    }

    if (rc != BILLING_OK) {
        billing_log(BILLING_LOG_ERROR, "cannot read a vendor's key",
                    billing_log_str("vendor", vendor),
                    billing_log_str("error", error));
    }

    return rc;
}


const char *
billing_outbox_vendors(billing_outbox_t *o)
{
    size_t    n;
    unsigned  i;

    n = 0;

    for (i = 0; i < BILLING_VENDORS; i++) {

        if ((o->has & 1u << i) && billing_clock() >= o->paused_until[i]) {
            n += (size_t) snprintf(o->vendors + n, sizeof(o->vendors) - n,
                                   "%s%s", n ? "," : "{",
                                   billing_vendors[i]);
        }
    }

    if (n == 0) {
        return NULL;
    }

    snprintf(o->vendors + n, sizeof(o->vendors) - n, "}");

    return o->vendors;
}


int
billing_outbox_send(billing_outbox_t *o, const char *name, const char *path,
    const char *body, const char *key, billing_http_handler_pt handler,
    void *data, billing_vendor_e *vendor)
{
    int  rc;

    if (strcmp(name, billing_vendors[BILLING_STRIPE]) == 0) {
        *vendor = BILLING_STRIPE;

        return billing_http_call(&o->http, &o->stripe, path,
                                 body[0] ? body : NULL, key, handler, data);
    }

    if (strcmp(name, billing_vendors[BILLING_RAZORPAY]) == 0) {
        *vendor = BILLING_RAZORPAY;

        /* it knows keys for refunds alone */

        if (!billing_outbox_refund(path)) {
            key = NULL;
        }

        return billing_http_call(&o->http, &o->razorpay, path,
                                 body[0] ? body : NULL, key, handler, data);
    }

    /* this vendor knows no keys: one that is made again comes twice */

    *vendor = BILLING_TWILIO;

    rc = billing_sms_call(&o->sms, path, body, &o->to, &o->form);

    if (rc == BILLING_OK) {
        rc = billing_http_call(&o->http, &o->sms.peer, o->to.data,
                               o->form.data, NULL, handler, data);
    }

    if (o->form.data != NULL) {
        explicit_bzero(o->form.data, o->form.len);
    }

    return rc;
}


/* "/v1/payments/pay_1/refund" */

static int
billing_outbox_refund(const char *path)
{
    const char  *last;

    last = strrchr(path, '/');

    return last != NULL && strcmp(last, "/refund") == 0;
}
