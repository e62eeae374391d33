
/*
 * Copyright (C) The Astro authors
 *
 * Accounts whose tokens are no good though their signature is: blocked ones,
 * and those that were signed out everywhere.  A copy of what PostgreSQL says of
 * those that changed lately, kept up to date by heal; so that a REST request
 * is refused without asking.  It may be 5 s behind: hello, which reads the
 * account itself, is not.
 *
 * An account that was barred longer ago than any token lives needs no entry:
 * login refuses the blocked, and older tokens have expired.
 */

#ifndef _NGX_ASTRO_BARRED_H_INCLUDED_
#define _NGX_ASTRO_BARRED_H_INCLUDED_


#include "ngx_astro_conn.h"


#define NGX_ASTRO_BARRED_MAX  65536     /* accounts; then the oldest go */


void ngx_astro_barred_init(void);

/* How far back the first look has to go, in seconds. */
time_t ngx_astro_barred_window(void);

/*
 * What the database says of an account: its sockets here that must go are told
 * and closed (4403 blocked, 4401 revoked).  Neither: it may come again.
 */
void ngx_astro_barred_note(uint64_t user, ngx_uint_t blocked,
    int64_t tokens_valid_from);

/* May a token of that user, issued at iat, be used? */
ngx_uint_t ngx_astro_barred(uint64_t user, int64_t iat);

/* Says goodbye if the connection's token is of no use; 1 if so. */
ngx_uint_t ngx_astro_barred_conn(ngx_astro_conn_t *conn, ngx_uint_t blocked,
    int64_t tokens_valid_from);


#endif /* _NGX_ASTRO_BARRED_H_INCLUDED_ */
