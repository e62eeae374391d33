
/*
 * Copyright (C) The Astro authors
 *
 * Durable events that came before their turn: two senders on two workers reach
 * a third through two rings, and nothing says whose record is read first.
 * They wait here, a tenth of a second at most, until what is missing comes;
 * then the hole is fetched (ngx_astro_resume.c, which alone uses this).
 *
 * A connection that is missing nothing has nothing here, no memory either.
 * What finds no room is not kept: the fetch brings it.
 */

#ifndef _NGX_ASTRO_HELD_H_INCLUDED_
#define _NGX_ASTRO_HELD_H_INCLUDED_


#include "ngx_astro_conn.h"


#define NGX_ASTRO_HELD_MS           100     /* the turn of a late event */
#define NGX_ASTRO_HELD_MAX          64      /* events of one connection */
#define NGX_ASTRO_HELD_BYTES        65536   /* of one connection */
#define NGX_ASTRO_HELD_ALL_BYTES    (16 * 1024 * 1024)  /* of a worker */


/*
 * Copies an event.  NGX_DECLINED: it is there already, or there is no room.
 */
ngx_int_t ngx_astro_held_add(ngx_astro_conn_t *conn, uint64_t conv,
    int64_t seq, const ngx_astro_msg_t *m);

/*
 * Writes what follows "last" without a hole, drops what does not come after
 * it.  Returns the seq of the last one written, or last.
 */
int64_t ngx_astro_held_flush(ngx_astro_conn_t *conn, uint64_t conv,
    int64_t last);

/* The fetch did not come through: nothing is kept for longer. */
void ngx_astro_held_drop(ngx_astro_conn_t *conn, uint64_t conv);

/*
 * Calls late(conn) in so many ms, unless it is to be called sooner already.
 * NGX_ERROR: no memory, it will not be called.
 */
ngx_int_t ngx_astro_held_wait(ngx_astro_conn_t *conn, ngx_msec_t ms,
    void (*late)(ngx_astro_conn_t *conn));

/* Drops all of it, the timer too: for a connection that says goodbye. */
void ngx_astro_held_free(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_HELD_H_INCLUDED_ */
