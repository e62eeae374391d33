
/*
 * Copyright (C) The Astro authors
 *
 * Which users' channels this worker listens to: those of its own users, while
 * another node is alive.  See ngx_astro_nodes.h for what that is for.
 *
 * Subscriptions take effect in the order in which they were asked for, so no
 * table of them is kept: what was asked last is what is meant.
 */

#ifndef _NGX_ASTRO_LISTEN_H_INCLUDED_
#define _NGX_ASTRO_LISTEN_H_INCLUDED_


#include "ngx_astro.h"


void ngx_astro_listen_init(void);

/* The first socket of a user at this worker was listed; the last has left. */
void ngx_astro_listen(uint64_t user, ngx_uint_t on);

/* All users of this worker, over the next turns. */
void ngx_astro_listen_all(ngx_uint_t on);

/*
 * Has all that was asked for so far taken effect?  If not, come again with that
 * ticket when ngx_astro_hello_resume() is called: first subscribed, then the
 * heads read.  Nobody waits for longer than NGX_ASTRO_PATIENCE_MS.
 */
uint64_t ngx_astro_listen_ticket(void);
ngx_uint_t ngx_astro_listen_heard(uint64_t ticket);

/* what the link says: see ngx_astro_redis.h */
void ngx_astro_listen_subscribed(ngx_str_t *channel);
void ngx_astro_listen_settled(void);
void ngx_astro_listen_deaf(void);


#endif /* _NGX_ASTRO_LISTEN_H_INCLUDED_ */
