
/*
 * Copyright (C) The Astro authors
 *
 * GET /metrics over HTTP, on a loopback port or a Unix socket.
 */

#ifndef _BILLING_EXPORTER_H_INCLUDED_
#define _BILLING_EXPORTER_H_INCLUDED_


#include "worker.h"


int billing_exporter_start(billing_worker_t *w);
void billing_exporter_stop(billing_worker_t *w);


#endif /* _BILLING_EXPORTER_H_INCLUDED_ */
