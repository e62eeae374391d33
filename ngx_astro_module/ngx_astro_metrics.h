
/*
 * Copyright (C) The Astro authors
 *
 * GET /metrics: the table of ngx_astro_counters.h as Prometheus reads it.
 */

#ifndef _NGX_ASTRO_METRICS_H_INCLUDED_
#define _NGX_ASTRO_METRICS_H_INCLUDED_


#include "ngx_astro.h"


/* content handler of "astro_metrics" */
ngx_int_t ngx_astro_metrics_handler(ngx_http_request_t *r);

/* A counter or a gauge, of one seat or all; no histogram. */
#define NGX_ASTRO_METRICS_ALL  (-1)

uint64_t ngx_astro_metrics_of(ngx_uint_t counter, ngx_int_t seat);

/*
 * Called by a timer that is set to every so many milliseconds: tells how late
 * it is; and adds what a worker without a seat has counted to the spill.
 */
void ngx_astro_metrics_tick(ngx_msec_t every);

/*
 * The build id that the linker gave to the code that runs, in hexadecimal, or
 * "unknown": after a reload it need not be that of the file on disk.
 */
const char *ngx_astro_build_id(void);


#endif /* _NGX_ASTRO_METRICS_H_INCLUDED_ */
