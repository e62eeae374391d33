
/*
 * Copyright (C) The Astro authors
 *
 * Who is asking over HTTP, and passwords off the event loop.
 */

#ifndef _NGX_ASTRO_AUTH_H_INCLUDED_
#define _NGX_ASTRO_AUTH_H_INCLUDED_


#include "ngx_astro.h"


/* A request header by name (lower case), or NULL. */
ngx_table_elt_t *ngx_astro_header(ngx_http_request_t *r, const char *name,
    size_t len);

/* The token of "Authorization: Bearer", or an empty string. */
ngx_str_t ngx_astro_auth_bearer(ngx_http_request_t *r);

/* E_MAX: claims are set; else UNAUTHORIZED or TOKEN_EXPIRED. */
ngx_astro_error_e ngx_astro_auth_check(ngx_http_request_t *r,
    astro_claims_t *claims);

/*
 * Allowed: no Origin (no browser), one of "astro_origin", or, without that
 * directive, the request's own host.
 */
ngx_uint_t ngx_astro_origin_ok(ngx_http_request_t *r);


typedef struct {
    ngx_http_request_t  *r;
    ngx_event_t          hold;          /* keeps a leaving worker alive */
    ngx_str_t            password;      /* wiped when done */
    char                *stored;        /* hash to compare with, or NULL */
    ngx_uint_t           verify;        /* 0: make a hash */
    ngx_int_t            rc;            /* 1: it is the password; 0; -1 */
    char                 hash[128];     /* made */
} ngx_astro_password_t;

/*
 * Hashes or verifies in the thread pool, then calls done.  The request is
 * blocked meanwhile and cannot go away.
 */
ngx_int_t ngx_astro_password_post(ngx_astro_password_t *pw,
    void (*done)(ngx_astro_password_t *pw));


#endif /* _NGX_ASTRO_AUTH_H_INCLUDED_ */
