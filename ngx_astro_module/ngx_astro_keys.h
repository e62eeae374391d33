
/*
 * Copyright (C) The Astro authors
 *
 * What tokens are signed with, and whether one is good: keys from files, read
 * again by each reload, and a worker's memory of the tokens it has verified.
 */

#ifndef _NGX_ASTRO_KEYS_H_INCLUDED_
#define _NGX_ASTRO_KEYS_H_INCLUDED_


#include "ngx_astro_issuer.h"


/*
 * Reads "astro_jwt_keys" and "astro_jwt_secret_file" into conf->keys: the keys
 * of the former first, so that these sign; the secret goes on verifying.
 */
ngx_int_t ngx_astro_keys_read(ngx_conf_t *cf, ngx_astro_conf_t *conf);

/*
 * A file of at most size - 1 octets that others than its owner and group may
 * not read or write; says of which directive it is when it complains.
 */
ngx_int_t ngx_astro_keys_file(ngx_conf_t *cf, const char *directive,
    ngx_str_t *name, u_char *buf, size_t size, size_t *len);

/* Room for the tokens that were verified. */
ngx_int_t ngx_astro_tokens_init(void);

/*
 * As astro_jwt_verify() with our keys.  A token that was good is good until it
 * expires; whether it, or its owner, was barred since is not asked here.
 */
astro_jwt_rc_e ngx_astro_token_verify(const ngx_str_t *token,
    astro_claims_t *claims);

/* Is it among those that were verified, and not only known to have expired? */
ngx_uint_t ngx_astro_token_known(const ngx_str_t *token);

/* One of another issuer's, good while its keys are those of gen. */
void ngx_astro_token_keep(const ngx_str_t *token,
    const astro_claims_t *claims, ngx_astro_issuer_t *issuer, ngx_uint_t gen);


#endif /* _NGX_ASTRO_KEYS_H_INCLUDED_ */
