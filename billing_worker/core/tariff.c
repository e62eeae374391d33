
/*
 * Copyright (C) The Astro authors
 *
 * The tariff: see tariff.h.
 */

#include <string.h>

#include "tariff.h"


#define BILLING_MINUTE_MS  60000
#define BILLING_BPS        10000


typedef struct {
    const billing_tariff_t  *t;
    size_t                   next;
    uint64_t                 rate;      /* of this part */
    int64_t                  from;      /* [from, to): beyond the free time */
    int64_t                  to;
} billing_parts_t;


static int billing_tariff_valid(const billing_tariff_t *t);
static int64_t billing_tariff_least(const billing_tariff_t *t);
static void billing_parts_init(billing_parts_t *p, const billing_tariff_t *t);
static int billing_parts_next(billing_parts_t *p);
static unsigned __int128 billing_tariff_price(const billing_tariff_t *t,
    uint64_t rate, int64_t ms);
static unsigned __int128 billing_tariff_lasts(const billing_tariff_t *t,
    uint64_t rate, unsigned __int128 funds);


int
billing_tariff_charged(const billing_tariff_t *t, int64_t ms, int64_t *amount)
{
    int64_t            least;
    billing_parts_t    p;
    unsigned __int128  sum;

    if (!billing_tariff_valid(t) || ms < 0 || ms > BILLING_MS_MAX) {
        return BILLING_ERROR;
    }

    sum = 0;

    billing_parts_init(&p, t);

    while (billing_parts_next(&p) && p.from < ms) {
        sum += billing_tariff_price(t, p.rate,
                                    ((p.to < ms) ? p.to : ms) - p.from);
    }

    if (ms > t->free_ms) {
        least = billing_tariff_least(t);

        if (sum < (uint64_t) least) {
            sum = (uint64_t) least;
        }
    }

    if (t->max_minor != 0 && sum > (uint64_t) t->max_minor) {
        sum = (uint64_t) t->max_minor;
    }

    if (sum > INT64_MAX) {
        return BILLING_ERROR;
    }

    *amount = (int64_t) sum;

    return BILLING_OK;
}


int
billing_tariff_fee(const billing_tariff_t *t, int64_t charged, int64_t *fee)
{
    if (!billing_tariff_valid(t) || charged < 0) {
        return BILLING_ERROR;
    }

    /* not above charged, as commission_bps is not above 10000 */
    *fee = (int64_t) ((unsigned __int128) charged * (uint32_t)
                      t->commission_bps / BILLING_BPS);

    return BILLING_OK;
}


int
billing_tariff_reach(const billing_tariff_t *t, int64_t funds, int64_t *ms)
{
    billing_parts_t    p;
    unsigned __int128  rest, lasts;

    if (!billing_tariff_valid(t) || funds < 0) {
        return BILLING_ERROR;
    }

    if (t->max_minor != 0 && funds > t->max_minor) {
        funds = t->max_minor;
    }

    if (funds < billing_tariff_least(t)) {
        *ms = t->free_ms;
        return BILLING_OK;
    }

    rest = (uint64_t) funds;

    billing_parts_init(&p, t);

    while (billing_parts_next(&p)) {
        lasts = billing_tariff_lasts(t, p.rate, rest);

        if (lasts < (uint64_t) (p.to - p.from)) {
            *ms = p.from + (int64_t) lasts;
            return BILLING_OK;
        }

        rest -= billing_tariff_price(t, p.rate, p.to - p.from);
    }

    *ms = BILLING_MS_MAX;

    return BILLING_OK;
}


static int
billing_tariff_valid(const billing_tariff_t *t)
{
    size_t   i;
    int64_t  from;

    if (t->rate <= 0 || t->commission_bps < 0
        || t->commission_bps > BILLING_BPS || t->min_minor < 0
        || t->max_minor < 0 || t->free_ms < 0 || t->free_ms > BILLING_MS_MAX)
    {
        return 0;
    }

    from = 0;

    for (i = 0; i < t->nsegments; i++) {

        if (t->segments[i].rate <= 0 || t->segments[i].from_ms < from
            || t->segments[i].from_ms > BILLING_MS_MAX)
        {
            return 0;
        }

        from = t->segments[i].from_ms;
    }

    return 1;
}


/* What the first ms beyond the free time costs at least. */

static int64_t
billing_tariff_least(const billing_tariff_t *t)
{
    if (t->max_minor != 0 && t->min_minor > t->max_minor) {
        return t->max_minor;
    }

    return t->min_minor;
}


static void
billing_parts_init(billing_parts_t *p, const billing_tariff_t *t)
{
    memset(p, 0, sizeof(billing_parts_t));
    p->t = t;
}


/*
 * The next segment, without what of it is free; 0: there is none.  Those that
 * are empty are left out, so that a part has at least one ms.
 */

static int
billing_parts_next(billing_parts_t *p)
{
    const billing_tariff_t  *t;

    t = p->t;

    while (p->next <= t->nsegments) {
        p->rate = (uint64_t) (p->next ? t->segments[p->next - 1].rate
                                      : t->rate);
        p->from = p->next ? t->segments[p->next - 1].from_ms : 0;
        p->to = (p->next < t->nsegments) ? t->segments[p->next].from_ms
                                         : BILLING_MS_MAX;
        p->next++;

        if (p->from < t->free_ms) {
            p->from = t->free_ms;
        }

        if (p->from < p->to) {
            return 1;
        }
    }

    return 0;
}


/* What ms of one segment cost. */

static unsigned __int128
billing_tariff_price(const billing_tariff_t *t, uint64_t rate, int64_t ms)
{
    if (t->whole_minute) {
        return (unsigned __int128) rate
               * (uint64_t) ((ms + BILLING_MINUTE_MS - 1) / BILLING_MINUTE_MS);
    }

    return (unsigned __int128) rate * (uint64_t) ms / BILLING_MINUTE_MS;
}


/* The largest ms of one segment with price(ms) <= funds. */

static unsigned __int128
billing_tariff_lasts(const billing_tariff_t *t, uint64_t rate,
    unsigned __int128 funds)
{
    if (t->whole_minute) {
        return funds / rate * BILLING_MINUTE_MS;
    }

    /*
     * rate * ms / 60000 < funds + 1, that is rate * ms <= 60000 * (funds + 1)
     * - 1 as all of them are integers
     */

    return ((funds + 1) * BILLING_MINUTE_MS - 1) / rate;
}
