
/*
 * Copyright (C) The Astro authors
 *
 * The outbox: calls to vendors, made at least once each, with the same key
 * however often: see sql/functions/outbox.sql.
 *
 * It is a part of a worker, and of the command payouts.  A worker whose file
 * with a vendor's key has no name makes no calls to it; another one may.
 */

#ifndef _BILLING_OUTBOX_H_INCLUDED_
#define _BILLING_OUTBOX_H_INCLUDED_


#include <uv.h>

#include "command.h"
#include "http.h"
#include "pg.h"
#include "sms.h"
#include "text.h"


typedef struct billing_worker_s       billing_worker_t;
typedef struct billing_outbox_call_s  billing_outbox_call_t;

typedef enum {
    BILLING_STRIPE = 0,
    BILLING_TWILIO,
    BILLING_RAZORPAY,
    BILLING_VENDORS
} billing_vendor_e;

typedef struct {
    billing_pg_t             pg;            /* payouts.c uses it, too */
    billing_http_t           http;
    billing_http_peer_t      stripe;
    billing_http_peer_t      razorpay;
    billing_sms_t            sms;
    uv_timer_t               timer;
    billing_outbox_call_t   *calls;         /* calls_at_once of them */
    size_t                   ncalls;
    size_t                   busy;          /* of them */
    billing_text_t           results;       /* scratch */
    billing_text_t           to;            /* of a message, the same */
    billing_text_t           form;
    char                     vendors[64];   /* the same: an SQL array */
    int64_t                  paused_until[BILLING_VENDORS];
                                            /* the vendor asked for it */
    int64_t                  swept;         /* when */
    unsigned                 has:BILLING_VENDORS;   /* bits: our keys */
    unsigned                 on:1;
    unsigned                 claiming:1;
    unsigned                 recording:1;
    unsigned                 sweeping:1;
} billing_outbox_t;


extern const billing_pg_statement_t  billing_outbox_statements[];


int billing_outbox_start(billing_worker_t *w);
void billing_outbox_stop(billing_worker_t *w);
void billing_outbox_reload(billing_worker_t *w);
int billing_outbox_busy(const billing_worker_t *w);

/* There may be something to send: looks now, not at the next second. */
void billing_outbox_nudge(billing_worker_t *w);


/* outbox_vendor.c: who is called, and how; of outbox.c alone. */

int billing_outbox_peers(billing_worker_t *w);
int billing_outbox_keys(billing_worker_t *w);
const char *billing_vendor_name(billing_vendor_e vendor);

/* Those that we have a key for and that take calls now, as an SQL array. */
const char *billing_outbox_vendors(billing_outbox_t *o);

/* As billing_http_call(); of an empty body it is a GET. */
int billing_outbox_send(billing_outbox_t *o, const char *name,
    const char *path, const char *body, const char *key,
    billing_http_handler_pt handler, void *data, billing_vendor_e *vendor);


/*
 * outbox_result.c: what a call came to, as billing.outbox_record() has it.  The
 * caller's to free; NULL: no memory.
 */
char *billing_outbox_result(int64_t id, int64_t claim,
    const billing_http_reply_t *reply);


/* The command outbox: what is parked, and what becomes of it. */
extern const billing_command_t  billing_outbox_command;


#endif /* _BILLING_OUTBOX_H_INCLUDED_ */
