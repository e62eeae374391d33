
/*
 * Copyright (C) The Astro authors
 *
 * What a connection was told of sessions: for each of the last few the highest
 * ver that was written to it.  A snapshot that is no newer is not written
 * again, whichever way it comes, and heal asks PostgreSQL for what is newer.
 *
 * A user has one live session at most (two unique indexes see to that), so the
 * list is short.  It is allocated when the first session is told of: who sits
 * idle has none.  Those that have ended stay until room is needed, so that
 * late news of them are known to be old.
 */

#ifndef _NGX_ASTRO_TOLD_H_INCLUDED_
#define _NGX_ASTRO_TOLD_H_INCLUDED_


#include "ngx_astro_conn.h"


#define NGX_ASTRO_TOLD_MAX  4           /* sessions of one connection */


struct ngx_astro_told_s {
    uint64_t     session;
    uint64_t     conv;
    int32_t      ver;
    unsigned     ended:1;
    unsigned     done:1;                /* and nothing more is to come */
};


ngx_astro_told_t *ngx_astro_told_find(ngx_astro_conn_t *conn,
    uint64_t session);

/*
 * NGX_OK: write it, and it is noted as written.  NGX_DECLINED: it is old, or
 * the end of something that this connection never heard of.
 */
ngx_int_t ngx_astro_told_news(ngx_astro_conn_t *conn, uint64_t session,
    uint64_t conv, ngx_int_t ver, astro_session_state_e state);

/* The same for a snapshot of a live session in hello's answer. */
void ngx_astro_told_hello(ngx_astro_conn_t *conn, uint64_t session,
    ngx_int_t ver, const ngx_str_t *snapshot);

/* A session that is over: its last event is stored, don't ask again. */
void ngx_astro_told_done(ngx_astro_conn_t *conn, uint64_t session);

/* With the connection's memory. */
void ngx_astro_told_free(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_TOLD_H_INCLUDED_ */
