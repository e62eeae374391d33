
/*
 * Copyright (C) The Astro authors
 *
 * Signing in: token, registration, and what a client needs to go on where it
 * was.
 */

#ifndef _NGX_ASTRO_HELLO_H_INCLUDED_
#define _NGX_ASTRO_HELLO_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_hello_init(void);

void ngx_astro_handle_hello(ngx_astro_req_t *req);

/* The lease is open: goes on with those who said hello before. */
void ngx_astro_hello_resume(void);

/* The connection closes: drops what hello had begun. */
void ngx_astro_hello_forget(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_HELLO_H_INCLUDED_ */
