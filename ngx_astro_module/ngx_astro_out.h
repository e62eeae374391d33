
/*
 * Copyright (C) The Astro authors
 *
 * What waits to be written to one client: built in place, sent once at the end
 * of a turn of the event loop, bounded.
 */

#ifndef _NGX_ASTRO_OUT_H_INCLUDED_
#define _NGX_ASTRO_OUT_H_INCLUDED_


#include "ngx_astro_conn.h"


/* Room for len contiguous octets at the end of the queue, or NULL. */
u_char *ngx_astro_out_room(ngx_astro_conn_t *conn, size_t len);

/*
 * NGX_OK: all is written; NGX_AGAIN: the socket is full, its write event is
 * armed; NGX_ERROR: it is broken.
 */
ngx_int_t ngx_astro_out_flush(ngx_astro_conn_t *conn);

/* ngx_astro_conn_send() is this with text. */
void ngx_astro_conn_queue(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const ngx_astro_msg_t *m, ngx_uint_t ephemeral);

/* A message whatever waits already: for the goodbye. */
void ngx_astro_conn_put(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const ngx_astro_msg_t *m);

/*
 * All is written, the Close frame last: ends our half.  The other half is read
 * into the void until the client ends it, or the write timer all of it.
 */
ngx_int_t ngx_astro_out_shutdown(ngx_astro_conn_t *conn);

void ngx_astro_out_free(ngx_astro_conn_t *conn);

/* Has the flush event run at the end of this turn. */
void ngx_astro_conn_post(ngx_astro_conn_t *conn);
void ngx_astro_conn_flush_handler(ngx_event_t *ev);


#endif /* _NGX_ASTRO_OUT_H_INCLUDED_ */
