
/*
 * Copyright (C) The Astro authors
 *
 * Metrics that only the database knows: billing.gauges(), asked every 10 s.
 */

#ifndef _BILLING_GAUGES_H_INCLUDED_
#define _BILLING_GAUGES_H_INCLUDED_


#include "metrics.h"
#include "worker.h"


int billing_gauges_start(billing_worker_t *w);
void billing_gauges_stop(billing_worker_t *w);

/* -1: it is not known */
int64_t billing_gauges_of(billing_worker_t *w, const char *name,
    const char *labels);

void billing_gauges_text(billing_worker_t *w, billing_text_t *t);


#endif /* _BILLING_GAUGES_H_INCLUDED_ */
