
/*
 * Copyright (C) The Astro authors
 *
 * Not reading, for a while, from who sends too much.
 */

#ifndef _NGX_ASTRO_THROTTLE_H_INCLUDED_
#define _NGX_ASTRO_THROTTLE_H_INCLUDED_


#include "ngx_astro_conn.h"


void ngx_astro_throttle_init(void);

/*
 * After a read of len octets with so many frames in them: 1 if nothing more is
 * to be read now; conn->throttled is set, and the read event is posted when it
 * is over.
 */
ngx_uint_t ngx_astro_throttle(ngx_astro_conn_t *conn, ngx_uint_t frames,
    size_t len);

/* It may be read again, or is about to be closed; may be called again. */
void ngx_astro_throttle_end(ngx_astro_conn_t *conn);

/* All that came was read: notes since when a message is begun, if one is. */
void ngx_astro_throttle_unfinished(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_THROTTLE_H_INCLUDED_ */
