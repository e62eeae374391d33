
/*
 * Copyright (C) The Astro authors
 *
 * Which shards this worker believes it owns.  The truth is in the database and
 * its time; a worker trusts its own belief only until the instant at which it
 * *sent* the last successful renewal, plus the lease, less a margin, all on
 * its own CLOCK_BOOTTIME.  So a worker that was stopped, suspended or cut off
 * finds itself without shards before anybody else may have them.
 *
 * It is a belief all the same: the fence in every billing transaction decides.
 */

#ifndef _BILLING_LEASES_H_INCLUDED_
#define _BILLING_LEASES_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define BILLING_SHARDS           256
#define BILLING_LEASE_TTL_MS     3000
#define BILLING_LEASE_MARGIN_MS  500


typedef struct {
    int64_t   until_ms;                     /* of all shards alike */
    int64_t   epoch[BILLING_SHARDS];        /* 0: not owned */
    uint8_t   seen[BILLING_SHARDS];         /* while a renewal is taken over */
    unsigned  owned;
} billing_leases_t;

typedef struct {
    int       shard;
    int64_t   epoch;
} billing_lease_t;


void billing_leases_init(billing_leases_t *l);

/*
 * What a renewal sent at start_ms brought: exactly these are owned now.
 * gained and lost, arrays of BILLING_SHARDS, get a 1 for each shard that was
 * not owned before, or was under another epoch, and for each that is owned no
 * more.  BILLING_ERROR, and nothing changed, if a shard is none or an epoch
 * not positive.
 */
int billing_leases_renewed(billing_leases_t *l, int64_t start_ms,
    const billing_lease_t *leases, size_t n, uint8_t *gained, uint8_t *lost);

/* Forgets all. */
void billing_leases_drop(billing_leases_t *l);

/* The epoch under which the shard may be billed at now_ms; 0: it may not. */
int64_t billing_leases_epoch(const billing_leases_t *l, int shard,
    int64_t now_ms);


#endif /* _BILLING_LEASES_H_INCLUDED_ */
