
/*
 * Copyright (C) The Astro authors
 *
 * Errands: what comes due by the database's clock and is no session's
 * (bookings, turns of those who wait, favourites who came), and what people are
 * told of it.  Any number of workers may do so.
 */

#ifndef _BILLING_ERRANDS_H_INCLUDED_
#define _BILLING_ERRANDS_H_INCLUDED_


#include "worker.h"


int billing_errands_start(billing_worker_t *w);
void billing_errands_stop(billing_worker_t *w);
int billing_errands_busy(const billing_worker_t *w);


#endif /* _BILLING_ERRANDS_H_INCLUDED_ */
