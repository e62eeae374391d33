
/*
 * Copyright (C) The Astro authors
 *
 * Several hosts as one: what a message to a user on another node takes, and
 * which other nodes are alive.
 *
 * Nodes.  A node is one zone of shared memory: an nginx with its workers.  Its
 * name is the random number that the zone was given when it was made, so a
 * restarted nginx is a new node, and the two generations of a binary upgrade
 * are two, which speak to each other as any two hosts do.  A worker that found
 * no seat in its zone has no rings and is a node by itself.
 *
 * Channels, each with "astro_redis_prefix" before its name:
 *
 *     events     of the billing workers, to all
 *     nodes      between nodes: every worker listens
 *     u:<user>   what is for a user's sockets: a worker listens to those of its
 *                own users, and only while another node is alive
 *
 * So who is where is nowhere written down: Redis's table of subscriptions is
 * the directory.  A worker that dies leaves it with its TCP connection,
 * FLUSHALL takes nothing from it, and no entry could be out of date.
 *
 * Life.  Each node says BEAT once a second.  Which of its workers does is not
 * agreed upon: all of them hear the own node's BEATs, and whoever has heard
 * none for a second, and 50 ms more for each worker that has a lower seat,
 * says it.  A worker that is killed, stopped, or cut off from Redis is thus
 * replaced within a fraction of a second.  A node that is not heard for
 * astro_node_ttl is forgotten.  HELLO is the BEAT of a worker that has just
 * begun to listen: it is answered at once, so nodes find each other in
 * milliseconds.  While this worker is deaf itself it forgets nobody.
 *
 * Sending.  Where the router writes to the rings of its host, and other nodes
 * are alive, it calls nodes_user().  The record is published; the reply says
 * how many heard it.  If these were no more than the workers of the own node
 * that have the user, nobody else has, and for up to NGX_ASTRO_NOBODY_MS
 * nothing more is published to that user: a call within one host costs one
 * PUBLISH in five seconds.  A worker whose subscription was confirmed says
 * HERE, which ends that at once.  With one node alone the price is a load and a
 * branch.
 *
 * Receiving.  The own node's records are dropped: the ring has brought them.
 * Others go to the same handlers as those from a ring, for the sockets of this
 * worker alone.
 *
 * At most once.  Records are lost: when Redis is away, restarts or is behind,
 * when a worker has not subscribed yet.  What was durable in them is in
 * PostgreSQL, and every worker reads its users' conversations and sessions
 * again in slices (see ngx_astro_heal.h).  At once, where the loss is known: a
 * worker heals when it listens again, when a node is found or lost; one whose
 * publishing failed says HEAL to the others as soon as it can.
 *
 * Order at hello: first subscribed, then the heads read: ngx_astro_listen.h.
 */

#ifndef _NGX_ASTRO_NODES_H_INCLUDED_
#define _NGX_ASTRO_NODES_H_INCLUDED_


#include "ngx_astro_router.h"
#include "astro_record.h"


/* How many other nodes are alive.  The message path looks at this alone. */
extern ngx_uint_t  ngx_astro_nodes_others;

/* events: what billing workers published; valid until it returns. */
ngx_int_t ngx_astro_nodes_init(void (*events)(u_char *text, size_t len));
void ngx_astro_nodes_exit(void);

/*
 * Publish a route to one user's sockets on other nodes, to those of two, or to
 * watchers everywhere.  Only while there are others.
 */
void ngx_astro_nodes_user(const ngx_astro_route_t *route, uint64_t user,
    const ngx_astro_msg_t *m);
void ngx_astro_nodes_pair(const ngx_astro_route_t *route, uint64_t a,
    uint64_t b, const ngx_astro_msg_t *m);
void ngx_astro_nodes_all(const ngx_astro_route_t *route);

/* Says something to all nodes, the own one too. */
ngx_int_t ngx_astro_nodes_say(astro_record_kind_e kind, const u_char *text,
    size_t len);

/* Reads again what may have been missed. */
void ngx_astro_nodes_heal(void);

/* No other node that we know of, and we would know. */
ngx_uint_t ngx_astro_nodes_alone(void);

/* Workers of this host that run without a seat, as far as is known. */
ngx_uint_t ngx_astro_nodes_seatless(void);


#endif /* _NGX_ASTRO_NODES_H_INCLUDED_ */
