
/*
 * Copyright (C) The Astro authors
 *
 * Redis, which only hastens: the events of the billing workers come in through
 * one subscription, hints to them go out through another connection.
 * Everything said here is read again from PostgreSQL by itself.
 */

#ifndef _NGX_ASTRO_REDIS_H_INCLUDED_
#define _NGX_ASTRO_REDIS_H_INCLUDED_


#include "ngx_astro.h"


/* text is valid until the handler returns */
typedef void (*ngx_astro_redis_handler_pt)(u_char *text, size_t len);

/* Connects, and reconnects for as long as the worker lives. */
ngx_int_t ngx_astro_redis_start(ngx_astro_redis_handler_pt handler);

/* exit_process */
void ngx_astro_redis_stop(void);

/* Tells the billing workers to look at a session now; may be lost. */
void ngx_astro_redis_nudge(uint64_t session);

ngx_uint_t ngx_astro_redis_is_up(void);


#endif /* _NGX_ASTRO_REDIS_H_INCLUDED_ */
