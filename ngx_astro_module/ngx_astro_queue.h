
/*
 * Copyright (C) The Astro authors
 *
 * Who waits for an advisor: queue_join and queue_leave.
 */

#ifndef _NGX_ASTRO_QUEUE_H_INCLUDED_
#define _NGX_ASTRO_QUEUE_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_handle_queue_join(ngx_astro_req_t *req);
void ngx_astro_handle_queue_leave(ngx_astro_req_t *req);


#endif /* _NGX_ASTRO_QUEUE_H_INCLUDED_ */
