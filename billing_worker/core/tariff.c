
/*
 * Copyright (C) The Astro authors
 *
 * The tariff: see tariff.h.
 */

#include "tariff.h"


#define BILLING_MINUTE_MS  60000
#define BILLING_BPS        10000


static int billing_tariff_valid(const billing_tariff_t *t);


int
billing_tariff_charged(const billing_tariff_t *t, int64_t ms, int64_t *amount)
{
    unsigned __int128  product;

    if (!billing_tariff_valid(t) || ms < 0 || ms > BILLING_MS_MAX) {
        return BILLING_ERROR;
    }

    product = (unsigned __int128) t->rate * (uint64_t) ms / BILLING_MINUTE_MS;

    if (product > INT64_MAX) {
        return BILLING_ERROR;
    }

    *amount = (int64_t) product;

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
    unsigned __int128  reach;

    if (!billing_tariff_valid(t) || funds < 0) {
        return BILLING_ERROR;
    }

    /*
     * rate * ms / 60000 < funds + 1, that is rate * ms <= 60000 * (funds + 1)
     * - 1 as all of them are integers
     */

    reach = ((unsigned __int128) funds + 1) * BILLING_MINUTE_MS - 1;
    reach /= (uint64_t) t->rate;

    *ms = (reach > BILLING_MS_MAX) ? BILLING_MS_MAX : (int64_t) reach;

    return BILLING_OK;
}


static int
billing_tariff_valid(const billing_tariff_t *t)
{
    return t->rate > 0 && t->commission_bps >= 0
           && t->commission_bps <= BILLING_BPS;
}
