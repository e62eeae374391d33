
/*
 * Copyright (C) The Astro authors
 *
 * Tokens of other issuers: seen for the first time, one is verified with the
 * issuer's keys, and its owner looked up in the database; then it is among the
 * tokens that were verified, as our own are.
 */

#ifndef _NGX_ASTRO_OUTSIDE_H_INCLUDED_
#define _NGX_ASTRO_OUTSIDE_H_INCLUDED_


#include "ngx_astro_issuer.h"
#include "ngx_astro_protocol.h"


typedef struct ngx_astro_outside_s  ngx_astro_outside_t;

/* E_MAX: the token can be verified now; UNAUTHORIZED, TOKEN_EXPIRED, .. */
typedef void (*ngx_astro_outside_pt)(void *data, ngx_astro_error_e error);


/*
 * NGX_DECLINED: not of another issuer, or it is known.  NGX_AGAIN: the handler
 * will be called, once, unless *w is forgotten before.  NGX_ERROR: *error.
 */
ngx_int_t ngx_astro_outside_ask(const ngx_str_t *token,
    ngx_astro_outside_pt handler, void *data, ngx_astro_outside_t **w,
    ngx_astro_error_e *error);
void ngx_astro_outside_forget(ngx_astro_outside_t *w);

/*
 * For a message with a token in it.  NGX_OK: go on; NGX_AGAIN: the message will
 * be handled anew; NGX_ERROR: *rc says why it is no good.
 */
ngx_int_t ngx_astro_outside_hold(ngx_astro_req_t *req, const ngx_str_t *token,
    astro_jwt_rc_e *rc);
void ngx_astro_outside_close(ngx_astro_conn_t *conn);

/* The issuer's keys came, or did not: those who wait go on. */
void ngx_astro_outside_fetched(ngx_astro_issuer_t *is);


#endif /* _NGX_ASTRO_OUTSIDE_H_INCLUDED_ */
