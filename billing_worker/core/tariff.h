
/*
 * Copyright (C) The Astro authors
 *
 * What a number of billable milliseconds costs, and how many milliseconds an
 * amount pays for.  The charge is a function of the whole billable time, never
 * of one tick: a session costs the same however often it is ticked.
 *
 * A tariff is a snapshot taken when the session was started, but for the
 * segments, of which one is added at each switch of the mode.  A struct of
 * zeros but for the rate has no options.  Everybody else asks for charged(ms)
 * and its inverse only, and relies on nothing but that charged() never falls
 * as ms grows.
 *
 *     free_ms        the first so many billable ms of the session cost nothing,
 *                    whatever segments they are in
 *     whole_minute   what is left of a segment is charged by the minute begun
 *     min_minor      least that anything beyond the free time costs
 *     max_minor      the client's own maximum.  It wins over min_minor
 */

#ifndef _BILLING_TARIFF_H_INCLUDED_
#define _BILLING_TARIFF_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define BILLING_OK      0
#define BILLING_ERROR  -1

/* longest billable time there can be, ms: some 285 thousand years */
#define BILLING_MS_MAX  (INT64_C(1) << 53)


/* from an instant on, another rate */
typedef struct {
    int64_t                  at_ms;     /* the instant, on the lease timeline */
    int64_t                  rate;      /* minor units per minute, > 0 */
    int64_t                  from_ms;   /* billable ms before that instant */
} billing_segment_t;

typedef struct {
    int64_t                  rate;      /* minor units per minute, > 0 */
    int32_t                  commission_bps;    /* the platform's, 0..10000 */
    uint8_t                  whole_minute;
    int64_t                  min_minor;         /* 0: none */
    int64_t                  free_ms;           /* 0: none */
    int64_t                  max_minor;         /* 0: none */

    /* after the first, whose rate is above; in order, from_ms set */
    const billing_segment_t *segments;
    size_t                   nsegments;
} billing_tariff_t;


/*
 * The sum over the segments of floor(rate * ms / 60000), or of rate for each
 * minute begun, with the options above.  BILLING_ERROR if ms is negative or
 * above BILLING_MS_MAX, if the tariff is none, or if the amount does not fit.
 */
int billing_tariff_charged(const billing_tariff_t *t, int64_t ms,
    int64_t *amount);

/* The platform's part of all that was charged: floor(charged * bps / 10000). */
int billing_tariff_fee(const billing_tariff_t *t, int64_t charged,
    int64_t *fee);

/*
 * The last ms that funds pay for, at most BILLING_MS_MAX: the largest with
 * charged(ms) <= funds; and if they are more than the maximum, the last one
 * before it is passed.  BILLING_ERROR if funds are negative or the tariff is
 * none.
 */
int billing_tariff_reach(const billing_tariff_t *t, int64_t funds,
    int64_t *ms);


#endif /* _BILLING_TARIFF_H_INCLUDED_ */
