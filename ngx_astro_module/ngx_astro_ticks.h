
/*
 * Copyright (C) The Astro authors
 *
 * What billing workers say of sessions that were charged: see
 * core/astro_tick.h.  Every worker of every host hears of all of them, so what
 * it costs to find out that a line is about somebody else is what counts.
 */

#ifndef _NGX_ASTRO_TICKS_H_INCLUDED_
#define _NGX_ASTRO_TICKS_H_INCLUDED_


#include "ngx_astro.h"


/* A message of ticks: paid_until moves, and both are told, if they are here. */
void ngx_astro_ticks_event(u_char *text, size_t len);


#endif /* _NGX_ASTRO_TICKS_H_INCLUDED_ */
