
/*
 * Copyright (C) The Astro authors
 *
 * The inbox: what vendors said of payments (ledger.webhook_inbox), applied one
 * event at a time, a transaction each.  Any number of workers may do so.
 */

#ifndef _BILLING_INBOX_H_INCLUDED_
#define _BILLING_INBOX_H_INCLUDED_


#include "worker.h"


int billing_inbox_start(billing_worker_t *w);
void billing_inbox_stop(billing_worker_t *w);
int billing_inbox_busy(const billing_worker_t *w);

/* Something has come: looks now, not at the next second. */
void billing_inbox_nudge(billing_worker_t *w);


#endif /* _BILLING_INBOX_H_INCLUDED_ */
