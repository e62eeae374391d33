
/*
 * Copyright (C) The Astro authors
 *
 * Once a day, at reconcile_time, the command reconcile as a process of its own:
 * payments of which nobody told us are looked for, and credited once.  Of all
 * workers one does it, by ledger.reconcile_run; if it dies another one does.
 */

#ifndef _BILLING_NIGHTLY_H_INCLUDED_
#define _BILLING_NIGHTLY_H_INCLUDED_


#include "worker.h"


int billing_nightly_start(billing_worker_t *w);
void billing_nightly_stop(billing_worker_t *w);


#endif /* _BILLING_NIGHTLY_H_INCLUDED_ */
