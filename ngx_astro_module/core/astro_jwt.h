
/*
 * Copyright (C) The Astro authors
 *
 * JSON Web Tokens (RFC 7519, RFC 7515, RFC 8725): issue and verify our own,
 * verify those of others.
 */

#ifndef _ASTRO_JWT_H_INCLUDED_
#define _ASTRO_JWT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "astro_json.h"
#include "astro_keys.h"


#define ASTRO_JWT_MAX       4096    /* longer tokens are refused unread */
#define ASTRO_JWT_JTI       32      /* hex digits */

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
    char           jti[ASTRO_JWT_JTI + 1];
    char           sid[ASTRO_JWT_JTI + 1];  /* the login; "" if none */
    int64_t        since;       /* of another issuer's: as below; 0: ours */
} astro_claims_t;

/* What a token of another issuer says of somebody. */
typedef struct {
    int64_t        iat, exp;    /* seconds; iat 0: it does not say */
    int64_t        since;       /* "auth_time", else iat: the sign-in */
    unsigned       email_verified:1;
    char           sub[256];
    char           email[255];  /* "": none */
    char           name[101];   /* "": none */
} astro_outside_t;

typedef enum {
    ASTRO_JWT_OK = 0,
    ASTRO_JWT_MALFORMED,    /* not a JWT for us: alg, aud, iss, sub, role */
    ASTRO_JWT_KEY,          /* no key of that name and algorithm */
    ASTRO_JWT_SIGNATURE,
    ASTRO_JWT_EXPIRED,      /* -> token_expired, all others: unauthorized */
    ASTRO_JWT_NOT_YET       /* nbf or iat in the future */
} astro_jwt_rc_e;

#define ASTRO_JWT_ISSUER    "astro"
#define ASTRO_JWT_AUDIENCE  "astro"
#define ASTRO_JWT_LEEWAY    5       /* seconds, for nbf and iat alone */

#define ASTRO_JWT_LEEWAY_OUTSIDE  30    /* their clock; for exp as well */

/*
 * Nothing is believed before the signature is checked, but the names of key and
 * algorithm, and these only choose among our keys: one whose own algorithm is
 * another is not tried.  A name matches the key of that name, or one without.
 * "crit" is refused, whatever it names.  Then the claims: iss and aud ours (aud
 * a string or an array with it), exp required.  now in seconds since the epoch.
 */
astro_jwt_rc_e astro_jwt_verify(astro_json_parser_t *p,
    const astro_keys_t *keys, const uint8_t *token, size_t len, int64_t now,
    astro_claims_t *claims);

/*
 * The same for the token of another issuer: iss is exactly that; aud is, or
 * has, the one given; with aud NULL a token for somebody named is refused.
 */
astro_jwt_rc_e astro_jwt_verify_outside(astro_json_parser_t *p,
    const astro_keys_t *keys, const char *iss, const char *aud,
    const uint8_t *token, size_t len, int64_t now, astro_outside_t *who);

/*
 * Whose token it says it is, before anything of it is believed: good for
 * nothing but to choose whom to ask.  Length of the issuer, or -1.
 */
ssize_t astro_jwt_issuer(astro_json_parser_t *p, const uint8_t *token,
    size_t len, char *buf, size_t size);

/*
 * Issues a token into buf, signed with the first key; jti is filled with fresh
 * randomness if it is empty.  Returns its length or -1 (buf too small, no
 * randomness, a key that cannot sign).
 */
ssize_t astro_jwt_issue(const astro_keys_t *keys, astro_claims_t *claims,
    uint8_t *buf, size_t size);

/* 32 hex digits of randomness, terminated; -1: there is none. */
int astro_jwt_random_id(char id[ASTRO_JWT_JTI + 1]);

const char *astro_role_name(astro_role_e role);
astro_role_e astro_role_parse(const uint8_t *name, size_t len);

/* base64url without padding (RFC 4648 section 5): length written, or -1. */
ssize_t astro_base64url_encode(uint8_t *dst, size_t size, const uint8_t *src,
    size_t len);
ssize_t astro_base64url_decode(uint8_t *dst, size_t size, const uint8_t *src,
    size_t len);


#endif /* _ASTRO_JWT_H_INCLUDED_ */
