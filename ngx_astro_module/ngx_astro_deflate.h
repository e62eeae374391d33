
/*
 * Copyright (C) The Astro authors
 *
 * permessage-deflate on this worker: whether a connection gets it, what is
 * sent compressed, and what it costs.
 */

#ifndef _NGX_ASTRO_DEFLATE_H_INCLUDED_
#define _NGX_ASTRO_DEFLATE_H_INCLUDED_


#include "ngx_astro_conn.h"


#define NGX_ASTRO_DEFLATE_ANSWER  (ASTRO_WS_EXT_ANSWER + 32)


ngx_int_t ngx_astro_deflate_init(void);

/*
 * One line of Sec-WebSocket-Extensions.  NGX_DECLINED: it is malformed, and
 * the handshake with it.
 */
ngx_int_t ngx_astro_deflate_offer(const ngx_str_t *line,
    astro_ws_ext_t *agreed);

/*
 * Makes the connection keep what was agreed, and writes our header line with
 * its CRLF at p; returns its end.  Is p, if the worker's memory for this is
 * used up: nothing is agreed then.
 */
u_char *ngx_astro_deflate_agree(ngx_astro_conn_t *conn,
    const astro_ws_ext_t *agreed, u_char *p);

/*
 * Queues a message compressed.  NGX_DECLINED: nothing is queued, it is to be
 * sent as it is.  Only where conn->reader.deflate is set.
 */
ngx_int_t ngx_astro_deflate_put(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const ngx_astro_msg_t *m);

/* A message came in compressed. */
void ngx_astro_deflate_heard(const astro_ws_event_t *event);

/* Gives zlib's memory back; may be called again. */
void ngx_astro_deflate_free(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_DEFLATE_H_INCLUDED_ */
