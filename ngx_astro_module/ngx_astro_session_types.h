
/*
 * Copyright (C) The Astro authors
 *
 * The messages that move a session along.
 */

#ifndef _NGX_ASTRO_SESSION_TYPES_H_INCLUDED_
#define _NGX_ASTRO_SESSION_TYPES_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_handle_session_start(ngx_astro_req_t *req);
void ngx_astro_handle_session_accept(ngx_astro_req_t *req);
void ngx_astro_handle_session_reject(ngx_astro_req_t *req);
void ngx_astro_handle_session_cancel(ngx_astro_req_t *req);
void ngx_astro_handle_session_join(ngx_astro_req_t *req);
void ngx_astro_handle_session_end(ngx_astro_req_t *req);


#endif /* _NGX_ASTRO_SESSION_TYPES_H_INCLUDED_ */
