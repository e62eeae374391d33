
/*
 * Copyright (C) The Astro authors
 *
 * How the worker that answers is: for balancers, supervisors and people.
 */

#ifndef _NGX_ASTRO_HEALTH_H_INCLUDED_
#define _NGX_ASTRO_HEALTH_H_INCLUDED_


#include "ngx_astro.h"


/*
 * Content handler of "astro_health": ".../live" is 200 as long as the worker's
 * event loop turns, anything else says whether it can do its work: 200 or
 * 503.
 */
ngx_int_t ngx_astro_health_handler(ngx_http_request_t *r);


#endif /* _NGX_ASTRO_HEALTH_H_INCLUDED_ */
