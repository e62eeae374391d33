
/*
 * Copyright (C) The Astro authors
 *
 * What parties do with a session, by a WebSocket message or by a REST request:
 * one table, one way into the database, and the same news to both parties'
 * sockets.
 */

#ifndef _NGX_ASTRO_SESSION_ACTS_H_INCLUDED_
#define _NGX_ASTRO_SESSION_ACTS_H_INCLUDED_


#include "ngx_astro_api.h"
#include "ngx_astro_protocol.h"


/* a message whose type is in the table */
void ngx_astro_handle_session_act(ngx_astro_req_t *req);

/* a request whose route's function is in the table */
ngx_int_t ngx_astro_api_session_act(ngx_astro_api_ctx_t *ctx);

void ngx_astro_handle_session_join(ngx_astro_req_t *req);

/*
 * The payload, as a REST body is checked, and with a NUL behind it; the caller
 * frees it.  NULL: it was refused.
 */
u_char *ngx_astro_act_doc(ngx_astro_req_t *req);

/* The reply to session_join, with the ICE servers in it. */
void ngx_astro_act_joined(ngx_astro_call_t *call, ngx_str_t *body);


#endif /* _NGX_ASTRO_SESSION_ACTS_H_INCLUDED_ */
