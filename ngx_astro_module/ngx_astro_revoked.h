
/*
 * Copyright (C) The Astro authors
 *
 * Tokens that were revoked one by one, or with their login: a copy of what
 * PostgreSQL says, kept up to date by heal, which looks twice a second; so that
 * a request is refused without asking.  See ngx_astro_barred.h for accounts.
 */

#ifndef _NGX_ASTRO_REVOKED_H_INCLUDED_
#define _NGX_ASTRO_REVOKED_H_INCLUDED_


#include "ngx_astro_conn.h"


#define NGX_ASTRO_REVOKED_MAX  262144   /* then those noted first go */


void ngx_astro_revoked_init(void);

/*
 * The tokens of that user with this "sid" or "jti" (32 hex digits) are no good;
 * the last of them expires then.  Its sockets here are told and closed 4401.
 */
void ngx_astro_revoked_note(uint64_t user, const u_char *id, size_t len,
    time_t until);

ngx_uint_t ngx_astro_revoked(const astro_claims_t *claims);

/* What a connection keeps of its token. */
void ngx_astro_revoked_keep(ngx_astro_conn_t *conn,
    const astro_claims_t *claims);


#endif /* _NGX_ASTRO_REVOKED_H_INCLUDED_ */
