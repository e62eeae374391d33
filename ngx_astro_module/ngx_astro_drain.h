
/*
 * Copyright (C) The Astro authors
 *
 * How a worker takes its leave after a reload, an upgrade or a stop.
 */

#ifndef _NGX_ASTRO_DRAIN_H_INCLUDED_
#define _NGX_ASTRO_DRAIN_H_INCLUDED_


#include "ngx_astro_conn.h"


void ngx_astro_drain_init(void);

/* The client's goodbye, at a random moment from now: the write timer's. */
void ngx_astro_drain_conn(ngx_astro_conn_t *conn);
void ngx_astro_drain_bye(ngx_astro_conn_t *conn);

/* A connection was closed; the last one of a leaving worker? */
void ngx_astro_drain_closed(void);


#endif /* _NGX_ASTRO_DRAIN_H_INCLUDED_ */
