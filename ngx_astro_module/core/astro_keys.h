
/*
 * Copyright (C) The Astro authors
 *
 * Keys that tokens are signed with: sets as JWKS (RFC 7517) has them.  A key
 * is bound to its one algorithm by what it is, never by what a token says:
 * "oct" is HS256, "RSA" is RS256, "EC" on P-256 is ES256.
 */

#ifndef _ASTRO_KEYS_H_INCLUDED_
#define _ASTRO_KEYS_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "astro_json.h"


#define ASTRO_KEYS_MAX         16       /* of one set */
#define ASTRO_KEYS_KID_MAX     64       /* octets of a key's name */
#define ASTRO_KEYS_TEXT_MAX    65536    /* octets of a set, as JSON */
#define ASTRO_KEYS_MIN_SECRET  32       /* bytes, RFC 7518 section 3.2 */
#define ASTRO_KEYS_MAX_SECRET  1023
#define ASTRO_KEYS_SIG_MAX     512      /* bytes: RSA of 4096 bits */


typedef enum {
    ASTRO_ALG_NONE = 0,                 /* none of ours */
    ASTRO_ALG_HS256,
    ASTRO_ALG_RS256,
    ASTRO_ALG_ES256
} astro_alg_e;

typedef enum {
    ASTRO_KEYS_OWN = 0,     /* each has a kid, all can be used, first signs */
    ASTRO_KEYS_FILE,        /* somebody else's: what is not for us is skipped */
    ASTRO_KEYS_FETCHED      /* the same, and no secrets: who sent them? */
} astro_keys_from_e;

typedef struct astro_key_s   astro_key_t;
typedef struct astro_keys_s  astro_keys_t;


/* An empty set, NULL: no memory.  destroy wipes secrets; NULL is none. */
astro_keys_t *astro_keys_create(void);
void astro_keys_destroy(astro_keys_t *keys);

/* Adds an HS256 key without a name.  -1: too short, too long, no room. */
int astro_keys_add_secret(astro_keys_t *keys, const uint8_t *secret,
    size_t len);

/*
 * Adds the keys of a JWKS.  -1: *why says what is wrong, a text without any of
 * the key in it; the set is then of no use.
 */
int astro_keys_read(astro_keys_t *keys, astro_json_parser_t *p,
    const uint8_t *text, size_t len, astro_keys_from_e from,
    const char **why);

size_t astro_keys_count(const astro_keys_t *keys);
const astro_key_t *astro_keys_at(const astro_keys_t *keys, size_t i);

astro_alg_e astro_key_alg(const astro_key_t *key);
const char *astro_key_kid(const astro_key_t *key);      /* "": has no name */

/* "HS256"; and back, ASTRO_ALG_NONE: an algorithm that is not ours. */
const char *astro_alg_name(astro_alg_e alg);
astro_alg_e astro_alg_parse(const uint8_t *name, size_t len);

/* Length of the signature (RFC 7518 form), or -1: no private key, no room. */
ssize_t astro_key_sign(const astro_key_t *key, const uint8_t *data,
    size_t len, uint8_t *sig, size_t size);

/* 1: it is this key's signature over data */
int astro_key_check(const astro_key_t *key, const uint8_t *data, size_t len,
    const uint8_t *sig, size_t sig_len);


#endif /* _ASTRO_KEYS_H_INCLUDED_ */
