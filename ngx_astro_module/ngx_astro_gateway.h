
/*
 * Copyright (C) The Astro authors
 *
 * This worker's gateway lease: the row in PostgreSQL that proves, once a
 * second, that it lives, and the clock on which presence in sessions is
 * measured.
 */

#ifndef _NGX_ASTRO_GATEWAY_H_INCLUDED_
#define _NGX_ASTRO_GATEWAY_H_INCLUDED_


#include "ngx_astro.h"


ngx_int_t ngx_astro_gateway_init(void);

/* 0 while there is no lease. */
uint64_t ngx_astro_gateway_id(void);

/* Milliseconds since the lease was opened: this gateway's own clock. */
int64_t ngx_astro_life_ms(void);

/* The same for an instant of the boot clock. */
int64_t ngx_astro_life_at(int64_t boot_ms);

/* An instant of the timeline (paid_until and such) as life_ms, and back. */
int64_t ngx_astro_life_of(int64_t timeline_ms);
int64_t ngx_astro_timeline_of(int64_t life_ms);

/*
 * Closes an interval at life_ms; reason: a literal.  Leaves with the next
 * renewal, which is sent at the end of this turn of the loop.  Kept, and sent
 * again, until it was committed; then the billing workers are told to look at
 * the session.
 */
void ngx_astro_gateway_close_interval(uint64_t session, uint64_t interval,
    int64_t life_ms, const char *reason);

/* Is it to be closed, and nobody knows yet that it is? */
ngx_uint_t ngx_astro_gateway_closing(uint64_t interval);

/* Called when the last connection of a worker that shuts down has gone. */
void ngx_astro_gateway_leave(void);


#endif /* _NGX_ASTRO_GATEWAY_H_INCLUDED_ */
