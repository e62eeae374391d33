
/*
 * Copyright (C) The Astro authors
 *
 * From an HTTP request to a WebSocket connection (RFC 6455 section 4.2).
 */

#ifndef _NGX_ASTRO_HANDSHAKE_H_INCLUDED_
#define _NGX_ASTRO_HANDSHAKE_H_INCLUDED_


#include "ngx_astro.h"


/* content handler of "astro_ws" */
ngx_int_t ngx_astro_ws_handler(ngx_http_request_t *r);

/* The same for a location that is not consult.v1's: no subprotocol. */
ngx_int_t ngx_astro_ws_upgrade(ngx_http_request_t *r, ngx_uint_t echo);


#endif /* _NGX_ASTRO_HANDSHAKE_H_INCLUDED_ */
