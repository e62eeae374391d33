
/*
 * Copyright (C) The Astro authors
 *
 * JSON Web Tokens, HS256 (RFC 7519, RFC 7515): issue and verify our own.
 */

#ifndef _ASTRO_JWT_H_INCLUDED_
#define _ASTRO_JWT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "astro_json.h"


#define ASTRO_JWT_MAX       4096    /* longer tokens are refused unread */
#define ASTRO_JWT_MIN_KEY   32      /* bytes, RFC 7518 section 3.2 */

typedef enum {
    ASTRO_ROLE_NONE    = 0,
    ASTRO_ROLE_CLIENT  = 0x1,
    ASTRO_ROLE_ADVISOR = 0x2,
    ASTRO_ROLE_ADMIN   = 0x4
} astro_role_e;

#define ASTRO_ROLE_ANY                                                        \
    (ASTRO_ROLE_CLIENT|ASTRO_ROLE_ADVISOR|ASTRO_ROLE_ADMIN)

typedef struct {
    uint64_t       user;        /* "sub": "u_<id>" */
    astro_role_e   role;        /* "role" */
    int64_t        iat, exp;    /* seconds */
    char           jti[33];     /* 32 hex digits */
} astro_claims_t;

typedef enum {
    ASTRO_JWT_OK = 0,
    ASTRO_JWT_MALFORMED,    /* not a JWT of ours: alg, aud, iss, sub, role */
    ASTRO_JWT_SIGNATURE,
    ASTRO_JWT_EXPIRED,      /* -> token_expired, all others: unauthorized */
    ASTRO_JWT_NOT_YET       /* nbf or iat in the future */
} astro_jwt_rc_e;

#define ASTRO_JWT_ISSUER    "astro"
#define ASTRO_JWT_AUDIENCE  "astro"
#define ASTRO_JWT_LEEWAY    5       /* seconds, for nbf and iat alone */

/*
 * Verifies the signature first, then header and claims: alg must be HS256
 * exactly, iss and aud ours (aud a string or an array with it), exp required.
 * now in seconds since the epoch.
 */
astro_jwt_rc_e astro_jwt_verify(astro_json_parser_t *p, const uint8_t *key,
    size_t key_len, const uint8_t *token, size_t len, int64_t now,
    astro_claims_t *claims);

/*
 * Issues a token into buf; jti is filled with fresh randomness if it is empty.
 * Returns its length or -1 (buf too small, no randomness).
 */
ssize_t astro_jwt_issue(const uint8_t *key, size_t key_len,
    astro_claims_t *claims, uint8_t *buf, size_t size);

const char *astro_role_name(astro_role_e role);
astro_role_e astro_role_parse(const uint8_t *name, size_t len);

/* base64url without padding (RFC 4648 section 5): length written, or -1. */
ssize_t astro_base64url_encode(uint8_t *dst, size_t size, const uint8_t *src,
    size_t len);
ssize_t astro_base64url_decode(uint8_t *dst, size_t size, const uint8_t *src,
    size_t len);


#endif /* _ASTRO_JWT_H_INCLUDED_ */
