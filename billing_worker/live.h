
/*
 * Copyright (C) The Astro authors
 *
 * What admins watch: every 2 s each worker says in Redis how it does,
 *
 *   M <owner> <number> ...
 *
 * the numbers in the order of ngx_astro_live.h, -1 for what it does not know.
 * Nobody needs it to be said.
 */

#ifndef _BILLING_LIVE_H_INCLUDED_
#define _BILLING_LIVE_H_INCLUDED_


#include "worker.h"


int billing_live_start(billing_worker_t *w);
void billing_live_stop(billing_worker_t *w);


#endif /* _BILLING_LIVE_H_INCLUDED_ */
