
/*
 * Copyright (C) The Astro authors
 *
 * Tokens that were verified, by SHA-256 of their octets: a set of four entries
 * for each value of the first octets, the one used longest ago gives way.
 * Nothing has to be taken out: an entry that has expired counts for nothing,
 * and whoever asks looks for himself whether the token was barred.  A reload
 * that changes keys makes new workers, which remember nothing.
 */

#include "ngx_astro_keys.h"

#include <openssl/sha.h>


#define NGX_ASTRO_TOKENS_SETS  2048     /* a power of 2 */
#define NGX_ASTRO_TOKENS_WAYS  4


typedef struct {
    u_char                hash[SHA256_DIGEST_LENGTH];
    uint64_t              used;         /* 0: is free */
    ngx_astro_issuer_t   *issuer;       /* NULL: ours */
    ngx_uint_t            gen;          /* of the issuer's keys */
    astro_claims_t        claims;
} ngx_astro_token_t;


static ngx_astro_token_t *ngx_astro_token_find(const ngx_str_t *token,
    u_char *hash, ngx_astro_token_t **oldest);


static ngx_astro_token_t  *ngx_astro_tokens;
static uint64_t            ngx_astro_tokens_clock;


ngx_int_t
ngx_astro_tokens_init(void)
{
    size_t  size;

    size = NGX_ASTRO_TOKENS_SETS * NGX_ASTRO_TOKENS_WAYS
           * sizeof(ngx_astro_token_t);

    ngx_astro_tokens = ngx_calloc(size, ngx_astro.log);

    return ngx_astro_tokens ? NGX_OK : NGX_ERROR;
}


/* NULL: it is not there; then *oldest gives way. */

static ngx_astro_token_t *
ngx_astro_token_find(const ngx_str_t *token, u_char *hash,
    ngx_astro_token_t **oldest)
{
    ngx_uint_t          i;
    ngx_astro_token_t  *t;

    (void) SHA256(token->data, token->len, hash);

    t = &ngx_astro_tokens[(hash[0] << 8 | hash[1]) % NGX_ASTRO_TOKENS_SETS
                          * NGX_ASTRO_TOKENS_WAYS];
    *oldest = t;

    for (i = 0; i < NGX_ASTRO_TOKENS_WAYS; i++, t++) {

        if (t->used
            && ngx_memcmp(t->hash, hash, SHA256_DIGEST_LENGTH) == 0)
        {
            if (t->issuer == NULL || t->gen == t->issuer->gen) {
                return t;
            }

            /* its key may be gone */

            t->used = 0;
        }

        if (t->used < (*oldest)->used) {
            *oldest = t;
        }
    }

    return NULL;
}


astro_jwt_rc_e
ngx_astro_token_verify(const ngx_str_t *token, astro_claims_t *claims)
{
    u_char              hash[SHA256_DIGEST_LENGTH];
    astro_jwt_rc_e      rc;
    ngx_astro_token_t  *t, *oldest;

    if (token->len == 0 || token->len > ASTRO_JWT_MAX) {
        return ASTRO_JWT_MALFORMED;
    }

    t = ngx_astro_token_find(token, hash, &oldest);

    if (t) {

        if (ngx_time() >= t->claims.exp) {
            t->used = 0;
            return ASTRO_JWT_EXPIRED;
        }

        if (t->issuer) {
            ngx_astro_issuer_look(t->issuer);
        }

        t->used = ++ngx_astro_tokens_clock;
        *claims = t->claims;

        return ASTRO_JWT_OK;
    }

    rc = astro_jwt_verify(ngx_astro.json, ngx_astro.conf->keys, token->data,
                          token->len, ngx_time(), claims);

    if (rc == ASTRO_JWT_OK) {
        ngx_memcpy(oldest->hash, hash, SHA256_DIGEST_LENGTH);
        oldest->claims = *claims;
        oldest->issuer = NULL;
        oldest->used = ++ngx_astro_tokens_clock;
    }

    return rc;
}


ngx_uint_t
ngx_astro_token_known(const ngx_str_t *token)
{
    u_char              hash[SHA256_DIGEST_LENGTH];
    ngx_astro_token_t  *t, *oldest;

    if (token->len == 0 || token->len > ASTRO_JWT_MAX) {
        return 0;
    }

    t = ngx_astro_token_find(token, hash, &oldest);

    return t && ngx_time() < t->claims.exp;
}


void
ngx_astro_token_keep(const ngx_str_t *token, const astro_claims_t *claims,
    ngx_astro_issuer_t *issuer, ngx_uint_t gen)
{
    u_char              hash[SHA256_DIGEST_LENGTH];
    ngx_astro_token_t  *t, *oldest;

    t = ngx_astro_token_find(token, hash, &oldest);

    if (t == NULL) {
        t = oldest;
    }

    ngx_memcpy(t->hash, hash, SHA256_DIGEST_LENGTH);
    t->claims = *claims;
    t->issuer = issuer;
    t->gen = gen;
    t->used = ++ngx_astro_tokens_clock;
}
