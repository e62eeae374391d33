
/*
 * Copyright (C) The Astro authors
 *
 * Payouts: what advisors have earned goes to them, once a day: see
 * sql/functions/payout.sql.  The outbox tells the vendor.
 */

#ifndef _BILLING_PAYOUTS_H_INCLUDED_
#define _BILLING_PAYOUTS_H_INCLUDED_


#include <stdint.h>
#include <uv.h>

#include "command.h"


#define BILLING_PAYOUTS_PAGE  "200"     /* advisors in one transaction */


typedef struct billing_worker_s  billing_worker_t;

typedef struct {
    uv_timer_t   timer;
    char         day[16];               /* "": no run is under way */
    int64_t      looked;                /* whether a run is due, when */
    int64_t      after;                 /* the wallet of the last page */
    int64_t      made;
    int64_t      amount;
    int64_t      nowhere;
    unsigned     on:1;
    unsigned     asking:1;
} billing_payouts_t;


/* The daily run, and what admins ask for, as a part of a worker. */
int billing_payouts_start(billing_worker_t *w);
void billing_payouts_stop(billing_worker_t *w);

/* The outbox's connection is there (again). */
void billing_payouts_up(billing_worker_t *w);


/* Of settings: minutes after midnight; -2: "off"; BILLING_ERROR: neither. */
#define BILLING_PAYOUTS_OFF  (-2)

int billing_payouts_minutes(const char *text);
int billing_payouts_minimum_ok(const char *text);


/* The command payouts: makes them, and waits until the vendor has answered. */
extern const billing_command_t  billing_payouts_command;


#endif /* _BILLING_PAYOUTS_H_INCLUDED_ */
