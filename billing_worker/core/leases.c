
/*
 * Copyright (C) The Astro authors
 *
 * The belief about shard leases: see leases.h.
 */

#include <string.h>

#include "leases.h"
#include "tariff.h"


void
billing_leases_init(billing_leases_t *l)
{
    memset(l, 0, sizeof(billing_leases_t));
}


int
billing_leases_renewed(billing_leases_t *l, int64_t start_ms,
    const billing_lease_t *leases, size_t n, uint8_t *gained, uint8_t *lost)
{
    int     shard;
    size_t  i;

    for (i = 0; i < n; i++) {
        if (leases[i].shard < 0 || leases[i].shard >= BILLING_SHARDS
            || leases[i].epoch <= 0)
        {
            return BILLING_ERROR;
        }
    }

    memset(gained, 0, BILLING_SHARDS);
    memset(lost, 0, BILLING_SHARDS);
    memset(l->seen, 0, BILLING_SHARDS);

    for (i = 0; i < n; i++) {
        shard = leases[i].shard;

        if (l->epoch[shard] != leases[i].epoch) {
            l->epoch[shard] = leases[i].epoch;
            gained[shard] = 1;
        }

        l->seen[shard] = 1;
    }

    l->owned = 0;

    for (shard = 0; shard < BILLING_SHARDS; shard++) {

        if (l->seen[shard]) {
            l->owned++;
            continue;
        }

        if (l->epoch[shard] != 0) {
            l->epoch[shard] = 0;
            lost[shard] = 1;
        }
    }

    l->until_ms = start_ms + BILLING_LEASE_TTL_MS - BILLING_LEASE_MARGIN_MS;

    return BILLING_OK;
}


void
billing_leases_drop(billing_leases_t *l)
{
    billing_leases_init(l);
}


int64_t
billing_leases_epoch(const billing_leases_t *l, int shard, int64_t now_ms)
{
    if (shard < 0 || shard >= BILLING_SHARDS || now_ms >= l->until_ms) {
        return 0;
    }

    return l->epoch[shard];
}
