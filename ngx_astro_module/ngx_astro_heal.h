
/*
 * Copyright (C) The Astro authors
 *
 * Redis and rings only hasten.  What they lost is found here: each user who is
 * connected to this worker is looked up in PostgreSQL at least every 5 s, and
 * everybody at once after any break.  What is looked for:
 *
 *     sessions    that ring, changed or ended and this user's sockets were not
 *                 told so (ngx_astro_told.h), joined or not, on any device
 *     heads       of the conversations of those sessions: events that were
 *                 committed and never came (ngx_astro_resume.h)
 *     accounts    that are blocked, tokens that are revoked
 *                 (ngx_astro_barred.h)
 *
 * The users' tree is walked in slices, a few hundred users in one call of
 * api.heal(), one call under way at a time, on the connection of REST and
 * hello: the lease's renewals wait for none of it.  For an idle user nothing
 * comes back.
 *
 * A call that fails is made again; while the database is away nothing is
 * asked, and when it is back everybody is.
 */

#ifndef _NGX_ASTRO_HEAL_H_INCLUDED_
#define _NGX_ASTRO_HEAL_H_INCLUDED_


#include "ngx_astro_conn.h"


ngx_int_t ngx_astro_heal_init(void);

/*
 * Something broke and is whole again: everybody here is looked up, beginning
 * within 200 ms.  May be called at any time and as often as one likes: calls
 * that come together are one.
 */
void ngx_astro_heal_all(void);

/* One user, now: something about him is known to be missing. */
void ngx_astro_heal_user(uint64_t user);

/* An account or a token was barred: what, is read at once. */
void ngx_astro_heal_barred(void);

/*
 * Everybody who had said hello at that instant (database's clock) was told to
 * go, and will not be told again.
 */
ngx_uint_t ngx_astro_heal_dropped(int64_t hello_ms);

/* "A <user>": an account was blocked or signed out everywhere. */
void ngx_astro_heal_hint(u_char *text, size_t len);


#endif /* _NGX_ASTRO_HEAL_H_INCLUDED_ */
