
/*
 * Copyright (C) The Astro authors
 *
 * What PostgreSQL says of where users are.  Each account connected to a worker
 * has a row, written by its hello, that is good while that worker's lease is
 * renewed (sql/functions/presence.sql).
 */

#ifndef _NGX_ASTRO_WHEREABOUTS_H_INCLUDED_
#define _NGX_ASTRO_WHEREABOUTS_H_INCLUDED_


#include "ngx_astro_pg.h"


/* columns and states of api.whereabouts */
enum {
    NGX_ASTRO_P_ACCOUNT = 0,
    NGX_ASTRO_P_STATE,
    NGX_ASTRO_P_WAIT,
    NGX_ASTRO_P_SEEN,
    NGX_ASTRO_P_AWAY
};

typedef enum {
    NGX_ASTRO_NOWHERE = 0,
    NGX_ASTRO_THERE,
    NGX_ASTRO_IN_GRACE,
    NGX_ASTRO_STALE
} ngx_astro_whereabouts_e;


/*
 * Asks how it is with n users: rows of api.whereabouts.  The handler is called
 * as that of ngx_astro_pg_call().
 */
ngx_int_t ngx_astro_whereabouts(const uint64_t *users, ngx_uint_t n,
    void (*handler)(void *data, ngx_uint_t ok, PGresult *res), void *data);

/*
 * Has PostgreSQL been answering for so long that a lease which is not fresh is
 * a dead worker's, and not one that could not be renewed?  It has not for
 * astro_node_ttl after somebody found it away, late, or new.
 */
ngx_uint_t ngx_astro_whereabouts_steady(void);
void ngx_astro_whereabouts_unsteady(void);

/*
 * Enters everybody who is here into the lease: a new one, or one whose rows a
 * database that crashed may have lost (hello does not wait for the disk).
 */
void ngx_astro_whereabouts_restore(void);

/* The clock that people read. */
int64_t ngx_astro_epoch_ms(void);

/*
 * The one that all hosts share, whatever theirs say: the database's, as it was
 * when the lease was opened, and what has passed since.
 */
int64_t ngx_astro_common_ms(void);


#endif /* _NGX_ASTRO_WHEREABOUTS_H_INCLUDED_ */
