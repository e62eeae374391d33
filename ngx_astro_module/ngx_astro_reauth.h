
/*
 * Copyright (C) The Astro authors
 *
 * A connection outlives its token: it is warned a minute before, and takes a
 * new one in band.
 */

#ifndef _NGX_ASTRO_REAUTH_H_INCLUDED_
#define _NGX_ASTRO_REAUTH_H_INCLUDED_


#include "ngx_astro_protocol.h"


/* The connection's token from here on. */
void ngx_astro_reauth_keep(ngx_astro_conn_t *conn,
    const astro_claims_t *claims);

/* Warns once, when it is time; now on the boot clock, in seconds. */
void ngx_astro_reauth_warn(ngx_astro_conn_t *conn, int64_t now);

/* When the token wants something next, on the boot clock, in seconds. */
int64_t ngx_astro_reauth_next(ngx_astro_conn_t *conn);

void ngx_astro_handle_auth_refresh(ngx_astro_req_t *req);


#endif /* _NGX_ASTRO_REAUTH_H_INCLUDED_ */
