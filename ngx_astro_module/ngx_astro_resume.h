
/*
 * Copyright (C) The Astro authors
 *
 * In order to each socket: for each connection and conversation the highest
 * seq written.  What is not later is dropped, the next is sent, and a hole
 * is fetched from PostgreSQL.  Resume after a reconnect is the same fetch.
 */

#ifndef _NGX_ASTRO_RESUME_H_INCLUDED_
#define _NGX_ASTRO_RESUME_H_INCLUDED_


#include "ngx_astro_protocol.h"


#define NGX_ASTRO_REPLAY_MAX  300       /* further behind: page by REST */


/* Where a connection stands; later calls for a known conversation are void. */
void ngx_astro_resume_set(ngx_astro_conn_t *conn, uint64_t conv, int64_t last);

/* A durable event for a socket that may be anywhere in the conversation. */
void ngx_astro_resume_event(ngx_astro_conn_t *conn, uint64_t conv, int64_t seq,
    const ngx_astro_msg_t *m);

/* The conversation is known to reach so far: fetch what this socket lacks. */
void ngx_astro_resume_head(ngx_astro_conn_t *conn, uint64_t conv,
    int64_t head);

/* Fetches what was heard of and not written yet. */
void ngx_astro_resume_more(ngx_astro_conn_t *conn);

/* {"type":"ping","heads":{...}} of the conversations this socket follows */
void ngx_astro_resume_ping(ngx_astro_conn_t *conn);

void ngx_astro_handle_sync(ngx_astro_req_t *req);


#endif /* _NGX_ASTRO_RESUME_H_INCLUDED_ */
