
/*
 * Copyright (C) The Astro authors
 *
 * WebRTC signaling between the two parties of a session: checked, stamped with
 * its sender, passed through.
 */

#ifndef _NGX_ASTRO_SIGNAL_H_INCLUDED_
#define _NGX_ASTRO_SIGNAL_H_INCLUDED_


#include "ngx_astro_protocol.h"
#include "ngx_astro_sessions.h"


void ngx_astro_handle_signal(ngx_astro_req_t *req);
void ngx_astro_handle_signal_sdp(ngx_astro_req_t *req);

/* Hands over what was kept for a party that is present now. */
void ngx_astro_signal_flush(ngx_astro_session_t *s);

/* Throws it away. */
void ngx_astro_signal_forget(ngx_astro_session_t *s);


#endif /* _NGX_ASTRO_SIGNAL_H_INCLUDED_ */
