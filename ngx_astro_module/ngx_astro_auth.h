
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

#define NGX_ASTRO_COOKIE          "__Host-astro"
#define NGX_ASTRO_COOKIE_REFRESH  "__Secure-astro-refresh"
#define NGX_ASTRO_CSRF_LEN        32        /* hex digits */
#define NGX_ASTRO_CSRF_TEXT                                                   \
    "signed in by cookie, a change needs an Origin of ours or X-CSRF-Token"


/* The value of a cookie, or an empty string. */
ngx_str_t ngx_astro_auth_cookie(ngx_http_request_t *r, const char *name);

/* What a page has to send as X-CSRF-Token with that token as a cookie. */
void ngx_astro_auth_csrf(const astro_claims_t *claims,
    u_char csrf[NGX_ASTRO_CSRF_LEN]);

/*
 * Is what comes with a cookie meant by a page of ours?  It has an Origin that
 * is allowed, or, if claims is given, their X-CSRF-Token.
 */
ngx_uint_t ngx_astro_auth_same_site(ngx_http_request_t *r,
    const astro_claims_t *claims);

/* The token of "Authorization: Bearer", else of the cookie, or empty. */
ngx_str_t ngx_astro_auth_bearer(ngx_http_request_t *r);

/*
 * E_MAX: claims are set; else UNAUTHORIZED, TOKEN_EXPIRED, or FORBIDDEN: a
 * change that was asked for by cookie, from who knows where.
 */
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
