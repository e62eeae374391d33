
/*
 * Copyright (C) The Astro authors
 *
 * The users connected to this worker and their sockets.  A user's first socket
 * here enters the registry of the host, the last one leaves it.
 */

#ifndef _NGX_ASTRO_USERS_H_INCLUDED_
#define _NGX_ASTRO_USERS_H_INCLUDED_


#include "ngx_astro_conn.h"


void ngx_astro_users_init(void);

/*
 * NGX_DECLINED: this was the user's first socket on the whole host; NGX_OK:
 * there were others; NGX_ERROR: no memory, or the registry is full.
 */
ngx_int_t ngx_astro_users_add(ngx_astro_conn_t *conn);

/* Safe for a connection that was never added, or was removed already. */
void ngx_astro_users_remove(ngx_astro_conn_t *conn);

ngx_uint_t ngx_astro_users_here(uint64_t user);

/* Here or, as far as this host knows, anywhere. */
ngx_uint_t ngx_astro_users_online(uint64_t user);

/* Each socket of a user; fn must not close any. */
void ngx_astro_users_each(uint64_t user,
    void (*fn)(ngx_astro_conn_t *conn, void *ctx), void *ctx);

/*
 * The n users here whose numbers follow "after", in order; fewer: that is all.
 * For going over all of them in pieces, while they come and go.
 */
ngx_uint_t ngx_astro_users_after(uint64_t after, uint64_t *ids, ngx_uint_t n);

ngx_uint_t ngx_astro_users_count(void);

/*
 * The next users in order of their numbers, beginning after *after and going
 * round at the end; at most n, none twice.  Moves *after.
 */
ngx_uint_t ngx_astro_users_slice(uint64_t *after, uint64_t *ids,
    ngx_uint_t n);

/* rows of the router's table */
void ngx_astro_users_deliver(ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);
void ngx_astro_users_replace(ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);


#endif /* _NGX_ASTRO_USERS_H_INCLUDED_ */
