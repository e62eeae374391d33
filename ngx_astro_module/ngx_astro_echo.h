
/*
 * Copyright (C) The Astro authors
 *
 * "astro_echo": a WebSocket that says what it hears, for conformance suites.
 * The same handshake, codec, queue, heartbeat and limits as "astro_ws", and no
 * one signed in: conn->echo is set, and such a connection is in no other room.
 */

#ifndef _NGX_ASTRO_ECHO_H_INCLUDED_
#define _NGX_ASTRO_ECHO_H_INCLUDED_


#include "ngx_astro_conn.h"


/* content handler of "astro_echo" */
ngx_int_t ngx_astro_echo_handler(ngx_http_request_t *r);

/* A connection opened there: no hello is waited for. */
void ngx_astro_echo_start(ngx_astro_conn_t *conn);

/* A text or binary message of it. */
void ngx_astro_echo_message(ngx_astro_conn_t *conn,
    const astro_ws_event_t *event);


#endif /* _NGX_ASTRO_ECHO_H_INCLUDED_ */
