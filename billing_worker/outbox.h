
/*
 * Copyright (C) The Astro authors
 *
 * The outbox: calls to vendors, made at least once each, with the same key
 * however often: see sql/functions/outbox.sql.
 *
 * It is a part of a worker, and of the command payouts.  A worker whose
 * stripe_key_file is empty makes no calls; another one may.
 */

#ifndef _BILLING_OUTBOX_H_INCLUDED_
#define _BILLING_OUTBOX_H_INCLUDED_


#include <uv.h>

#include "command.h"
#include "http.h"
#include "pg.h"
#include "text.h"


typedef struct billing_worker_s       billing_worker_t;
typedef struct billing_outbox_call_s  billing_outbox_call_t;

typedef struct {
    billing_pg_t             pg;            /* payouts.c uses it, too */
    billing_http_t           http;
    billing_http_peer_t      stripe;
    uv_timer_t               timer;
    billing_outbox_call_t   *calls;         /* calls_at_once of them */
    size_t                   ncalls;
    size_t                   busy;          /* of them */
    billing_text_t           results;       /* scratch */
    int64_t                  paused_until;  /* the vendor asked for it */
    int64_t                  swept;         /* when */
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


/*
 * outbox_result.c: what a call came to, as billing.outbox_record() has it.  The
 * caller's to free; NULL: no memory.
 */
char *billing_outbox_result(int64_t id, int64_t claim,
    const billing_http_reply_t *reply);


/* The command outbox: what is parked, and what becomes of it. */
extern const billing_command_t  billing_outbox_command;


#endif /* _BILLING_OUTBOX_H_INCLUDED_ */
