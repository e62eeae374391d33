
/*
 * Copyright (C) The Astro authors
 *
 * Between ngx_astro_resume.c and ngx_astro_sync.c; for nobody else.
 */

#ifndef _NGX_ASTRO_RESUME_PRIVATE_H_INCLUDED_
#define _NGX_ASTRO_RESUME_PRIVATE_H_INCLUDED_


#include "ngx_astro_resume.h"
#include "ngx_astro_sql.h"


/* Reads events after a seq; frees the call if it cannot be made. */
ngx_int_t ngx_astro_resume_call(ngx_astro_call_t *call, uint64_t conv,
    int64_t after, ngx_uint_t cap, ngx_astro_pg_handler_pt handler);

/*
 * 1: enough waits in the output queue.  A replay is not thrown at a client
 * faster than it reads, lest it be closed for being slow.
 */
ngx_uint_t ngx_astro_resume_full(ngx_astro_conn_t *conn, size_t len);

/* Events up to seq went out another way. */
void ngx_astro_resume_wrote(ngx_astro_conn_t *conn, uint64_t conv,
    int64_t seq);


#endif /* _NGX_ASTRO_RESUME_PRIVATE_H_INCLUDED_ */
