
/*
 * Copyright (C) The Astro authors
 *
 * Joins whose answer was lost: if one was committed it has opened an interval
 * that nobody here knows of, and whoever has gone meanwhile would count as
 * present until the lease ends.  So the database is asked which intervals are
 * open, until none can come any more, and those that nobody has are closed.
 */

#ifndef _NGX_ASTRO_DOUBTS_H_INCLUDED_
#define _NGX_ASTRO_DOUBTS_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_doubts_init(void);

/* A join of session call->arg goes off, and is answered or not sent at all. */
void ngx_astro_doubts_began(ngx_astro_call_t *call);
void ngx_astro_doubts_ended(ngx_astro_call_t *call);

/* Nobody knows whether it was done. */
void ngx_astro_doubts_add(uint64_t session);

/* With each renewal: asks, if there is a doubt. */
void ngx_astro_doubts_ask(void);


#endif /* _NGX_ASTRO_DOUBTS_H_INCLUDED_ */
