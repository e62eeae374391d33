
/*
 * Copyright (C) The Astro authors
 *
 * What a number of billable milliseconds costs, and how many milliseconds an
 * amount pays for.  The charge is a function of the whole billable time, never
 * of one tick: a session costs the same however often it is ticked.
 *
 * A tariff is a snapshot taken when the session was started.  Minimum charge,
 * free time, whole minutes and segments with a rate of their own belong into
 * this struct: everybody else asks for charged(ms) and its inverse only, and
 * relies on nothing but that charged() never falls as ms grows.
 */

#ifndef _BILLING_TARIFF_H_INCLUDED_
#define _BILLING_TARIFF_H_INCLUDED_


#include <stdint.h>


#define BILLING_OK      0
#define BILLING_ERROR  -1

/* longest billable time there can be, ms: some 285 thousand years */
#define BILLING_MS_MAX  (INT64_C(1) << 53)


typedef struct {
    int64_t  rate;              /* minor units per minute, > 0 */
    int32_t  commission_bps;    /* the platform's part, 0..10000 */
} billing_tariff_t;


/*
 * floor(rate * ms / 60000).  BILLING_ERROR if ms is negative or above
 * BILLING_MS_MAX, if the tariff is none, or if the amount does not fit.
 */
int billing_tariff_charged(const billing_tariff_t *t, int64_t ms,
    int64_t *amount);

/* The platform's part of all that was charged: floor(charged * bps / 10000). */
int billing_tariff_fee(const billing_tariff_t *t, int64_t charged,
    int64_t *fee);

/*
 * The largest ms with charged(ms) <= funds, at most BILLING_MS_MAX.
 * BILLING_ERROR if funds are negative or the tariff is none.
 */
int billing_tariff_reach(const billing_tariff_t *t, int64_t funds,
    int64_t *ms);


#endif /* _BILLING_TARIFF_H_INCLUDED_ */
