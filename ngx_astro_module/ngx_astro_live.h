
/*
 * Copyright (C) The Astro authors
 *
 * admin_metrics: how this host and the billing workers do, told every 2 s to
 * those admins who asked.  This host's figures are read from the arena, like
 * those of /metrics; billing workers say theirs in Redis,
 *
 *     M <owner> <ticks> <ms> <charged> <lag_ms> <pg_up> <redis_up>
 *       <outbox waiting> <parked> <sessions, by state: see the table>
 *       <shards free> <outbox age_s> <inbox parked> <age_s>
 *
 * and whoever was not heard for a while counts as gone: nothing here is the
 * truth, all of it is what one looks at.
 */

#ifndef _NGX_ASTRO_LIVE_H_INCLUDED_
#define _NGX_ASTRO_LIVE_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_live_init(void);

/* A message of that kind was heard. */
void ngx_astro_live_event(u_char *text, size_t len);

void ngx_astro_handle_admin_metrics(ngx_astro_req_t *req);

/*
 * From now on it is told, until it closes; again: nothing more.  NGX_DECLINED:
 * too many are.
 */
ngx_int_t ngx_astro_live_add(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_LIVE_H_INCLUDED_ */
