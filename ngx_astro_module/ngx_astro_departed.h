
/*
 * Copyright (C) The Astro authors
 *
 * Users whose last socket at this worker has closed, until PostgreSQL knows and
 * the watchers do.
 *
 * Two things are due for each.  That they left, and when they were last heard,
 * is stored: batched, whatever came while the last call was under way; again
 * until it succeeded.  And after the grace, if they are not back on this host,
 * PostgreSQL is asked whether they are elsewhere, or left elsewhere so lately
 * that it is for the worker there to see their grace to its end; if not, the
 * watchers on all hosts are told.
 *
 * A worker that is killed takes its list with it, but whoever reclaims its seat
 * finds its users in the registry; one that exits hands it to the others.
 */

#ifndef _NGX_ASTRO_DEPARTED_H_INCLUDED_
#define _NGX_ASTRO_DEPARTED_H_INCLUDED_


#include "ngx_astro.h"


void ngx_astro_departed_init(void);

/* Hands those whose grace still runs to another worker. */
void ngx_astro_departed_exit(void);

/*
 * The last socket of a user at this worker has gone; heard: boot clock of the
 * last octet.
 */
void ngx_astro_departed_add(uint64_t user, int64_t heard_ms);

/*
 * Another worker, dead or leaving, had this user: starts the grace.  The
 * signature is astro_seat_reclaim()'s.
 */
void ngx_astro_departed_orphan(void *ctx, uint64_t user);


#endif /* _NGX_ASTRO_DEPARTED_H_INCLUDED_ */
