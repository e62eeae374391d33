
/*
 * Copyright (C) The Astro authors
 *
 * Who watches whom on this worker.
 *
 * What is true is read: from the host's registry, or else from PostgreSQL
 * (ngx_astro_whereabouts.h).  What is told, in rings and between
 * nodes, only hastens: each worker reads again those who are watched on it, in
 * slices, each at least every five seconds, and all at once after a break.
 * So a lost word, or a host that died, is right within astro_node_ttl and five
 * seconds.
 *
 * A worker keeps what it told its watchers last and tells them only of changes,
 * so that a client which drops and comes back within the grace, on whatever
 * host, is never seen to leave or arrive.
 *
 * Versions are milliseconds, of a clock that all hosts share, when the change
 * was found here or a snapshot was made, and never the same for two states; the
 * highest wins, also for a client that goes from host to host.
 */

#ifndef _NGX_ASTRO_PRESENCE_H_INCLUDED_
#define _NGX_ASTRO_PRESENCE_H_INCLUDED_


#include "ngx_astro_protocol.h"


/* route.arg of NGX_ASTRO_TO_WATCHERS; seq of OFFLINE: when last seen, or 0 */
#define NGX_ASTRO_OFFLINE  0
#define NGX_ASTRO_ONLINE   1
#define NGX_ASTRO_ORPHAN   2    /* this host only: look after them now */
#define NGX_ASTRO_LOOK     3    /* what they wish to be has changed */

void ngx_astro_presence_init(void);

void ngx_astro_handle_presence_watch(ngx_astro_req_t *req);

/* The first socket of a user on this host has signed in. */
void ngx_astro_presence_arrived(uint64_t user);

/* A user wishes not to be found online, or to be: all look now. */
void ngx_astro_presence_wished(uint64_t user);

/* Drops what a connection watches. */
void ngx_astro_presence_leave(ngx_astro_conn_t *conn);

/* Reads all who are watched again, soon. */
void ngx_astro_presence_look_all(void);

/* row of the router's table */
void ngx_astro_presence_deliver(ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);


#endif /* _NGX_ASTRO_PRESENCE_H_INCLUDED_ */
