
/*
 * Copyright (C) The Astro authors
 *
 * What may be seen from outside: /metrics and /api/health.
 */

#ifndef _NGX_ASTRO_METRICS_H_INCLUDED_
#define _NGX_ASTRO_METRICS_H_INCLUDED_


#include "ngx_astro.h"


/* content handler of "astro_metrics" */
ngx_int_t ngx_astro_metrics_handler(ngx_http_request_t *r);


#endif /* _NGX_ASTRO_METRICS_H_INCLUDED_ */
