
/*
 * Copyright (C) The Astro authors
 *
 * Metrics that only the database knows: billing.gauges(), asked every 10 s, and
 * only if anybody may ask us.
 */

#ifndef _BILLING_GAUGES_H_INCLUDED_
#define _BILLING_GAUGES_H_INCLUDED_


#include "metrics.h"
#include "worker.h"


int billing_gauges_start(billing_worker_t *w);
void billing_gauges_stop(billing_worker_t *w);

void billing_gauges_text(billing_worker_t *w, billing_text_t *t);


#endif /* _BILLING_GAUGES_H_INCLUDED_ */
