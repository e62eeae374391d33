
/*
 * Copyright (C) The Astro authors
 *
 * Who watches whom on this worker, and the grace before a user who left is
 * told to be offline.
 */

#ifndef _NGX_ASTRO_PRESENCE_H_INCLUDED_
#define _NGX_ASTRO_PRESENCE_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_presence_init(void);

/* Hands those whose grace still runs to another worker. */
void ngx_astro_presence_exit(void);

void ngx_astro_handle_presence_watch(ngx_astro_req_t *req);

/* The first socket of a user on this host has signed in. */
void ngx_astro_presence_arrived(uint64_t user);

/* The last socket of a user on this worker has gone. */
void ngx_astro_presence_left(uint64_t user);

/* A dead worker had this user: starts the grace (astro_seat_reclaim()). */
void ngx_astro_presence_orphan(void *ctx, uint64_t user);

/* Drops what a connection watches. */
void ngx_astro_presence_leave(ngx_astro_conn_t *conn);

/* Enters everybody who is here into a new lease. */
void ngx_astro_presence_restore(void);

/* row of the router's table */
void ngx_astro_presence_deliver(ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);


#endif /* _NGX_ASTRO_PRESENCE_H_INCLUDED_ */
