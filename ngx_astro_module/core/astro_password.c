
/*
 * Copyright (C) The Astro authors
 *
 * Passwords as scrypt hashes that say how they were made, so that the cost can
 * be raised without a word to anyone: old hashes verify with their own.
 */


#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>

#include "astro_password.h"


/* RFC 7914: N = 2^15, r = 8, p = 1: 128 * N * r = 32 MB */

#define ASTRO_PASSWORD_LN      15
#define ASTRO_PASSWORD_R       8
#define ASTRO_PASSWORD_P       1

/* a hash from the database may not make us take more than 128 MB */

#define ASTRO_PASSWORD_MAX_LN  17
#define ASTRO_PASSWORD_MAX_R   8
#define ASTRO_PASSWORD_MAX_P   4

#define ASTRO_PASSWORD_SALT    16      /* bytes */
#define ASTRO_PASSWORD_KEY     32

/* base64 without padding: 22 and 43 characters */

#define ASTRO_PASSWORD_SALT_LEN  22
#define ASTRO_PASSWORD_KEY_LEN   43


typedef struct {
    unsigned  ln, r, p;
    uint8_t   salt[ASTRO_PASSWORD_SALT];
    uint8_t   key[ASTRO_PASSWORD_KEY];
} astro_password_t;


static int astro_password_derive(const char *password, size_t len,
    const astro_password_t *pw, uint8_t key[ASTRO_PASSWORD_KEY]);
static int astro_password_parse(const char *hash, astro_password_t *pw);
static int astro_password_number(const char **s, const char *name,
    unsigned max, unsigned *n);
static int astro_password_decode(const char *text, size_t len, uint8_t *out,
    size_t size);


int
astro_password_hash(const char *password, size_t len,
    char hash[ASTRO_PASSWORD_HASH_MAX])
{
    int               n;
    uint8_t           salt[ASTRO_PASSWORD_SALT_LEN + 3];
    uint8_t           key[ASTRO_PASSWORD_KEY_LEN + 2];
    astro_password_t  pw;

    pw.ln = ASTRO_PASSWORD_LN;
    pw.r = ASTRO_PASSWORD_R;
    pw.p = ASTRO_PASSWORD_P;

    if (RAND_bytes(pw.salt, ASTRO_PASSWORD_SALT) != 1
        || astro_password_derive(password, len, &pw, pw.key) != 0)
    {
        return -1;
    }

    /* with padding and a zero octet, which are not used */

    (void) EVP_EncodeBlock(salt, pw.salt, ASTRO_PASSWORD_SALT);
    (void) EVP_EncodeBlock(key, pw.key, ASTRO_PASSWORD_KEY);

    n = snprintf(hash, ASTRO_PASSWORD_HASH_MAX,
                 "$scrypt$ln=%u,r=%u,p=%u$%.*s$%.*s", pw.ln, pw.r, pw.p,
                 ASTRO_PASSWORD_SALT_LEN, (char *) salt,
                 ASTRO_PASSWORD_KEY_LEN, (char *) key);

    return (n > 0 && n < ASTRO_PASSWORD_HASH_MAX) ? 0 : -1;
}


int
astro_password_verify(const char *password, size_t len, const char *hash)
{
    int               same;
    uint8_t           key[ASTRO_PASSWORD_KEY];
    astro_password_t  pw;

    if (hash == NULL) {
        memset(&pw, 0, sizeof(astro_password_t));

        pw.ln = ASTRO_PASSWORD_LN;
        pw.r = ASTRO_PASSWORD_R;
        pw.p = ASTRO_PASSWORD_P;

    } else if (astro_password_parse(hash, &pw) != 0) {
        return -1;
    }

    if (astro_password_derive(password, len, &pw, key) != 0) {
        /* no memory: nobody gets in by that */
        return 0;
    }

    same = (CRYPTO_memcmp(key, pw.key, ASTRO_PASSWORD_KEY) == 0);

    OPENSSL_cleanse(key, ASTRO_PASSWORD_KEY);

    return same && hash;
}


static int
astro_password_derive(const char *password, size_t len,
    const astro_password_t *pw, uint8_t key[ASTRO_PASSWORD_KEY])
{
    uint64_t  n, mem;

    n = 1ULL << pw->ln;

    /* what the algorithm needs, and a little for OpenSSL's own */

    mem = 128 * n * pw->r + 128ULL * pw->r * pw->p + (1 << 20);

    return EVP_PBE_scrypt(password, len, pw->salt, ASTRO_PASSWORD_SALT, n,
                          pw->r, pw->p, mem, key, ASTRO_PASSWORD_KEY)
           == 1 ? 0 : -1;
}


static int
astro_password_parse(const char *hash, astro_password_t *pw)
{
    const char  *salt, *key;

    if (astro_password_number(&hash, "$scrypt$ln=", ASTRO_PASSWORD_MAX_LN,
                              &pw->ln)
        != 0
        || astro_password_number(&hash, ",r=", ASTRO_PASSWORD_MAX_R, &pw->r)
           != 0
        || astro_password_number(&hash, ",p=", ASTRO_PASSWORD_MAX_P, &pw->p)
           != 0)
    {
        return -1;
    }

    if (strlen(hash) != ASTRO_PASSWORD_SALT_LEN + ASTRO_PASSWORD_KEY_LEN + 2
        || hash[0] != '$' || hash[ASTRO_PASSWORD_SALT_LEN + 1] != '$')
    {
        return -1;
    }

    salt = hash + 1;
    key = salt + ASTRO_PASSWORD_SALT_LEN + 1;

    if (astro_password_decode(salt, ASTRO_PASSWORD_SALT_LEN, pw->salt,
                              ASTRO_PASSWORD_SALT)
        != 0
        || astro_password_decode(key, ASTRO_PASSWORD_KEY_LEN, pw->key,
                                 ASTRO_PASSWORD_KEY)
           != 0)
    {
        return -1;
    }

    return 0;
}


/* A name and a number, 1 .. max, after it. */

static int
astro_password_number(const char **s, const char *name, unsigned max,
    unsigned *n)
{
    const char  *p;

    if (strncmp(*s, name, strlen(name)) != 0) {
        return -1;
    }

    *n = 0;

    for (p = *s + strlen(name); *p >= '0' && *p <= '9' && *n <= max; p++) {
        *n = *n * 10 + (unsigned) (*p - '0');
    }

    *s = p;

    return (*n >= 1 && *n <= max) ? 0 : -1;
}


/* OpenSSL's decoder wants the padding, and writes octets for it. */

static int
astro_password_decode(const char *text, size_t len, uint8_t *out, size_t size)
{
    size_t   padded;
    uint8_t  in[ASTRO_PASSWORD_KEY_LEN + 4], octets[ASTRO_PASSWORD_KEY + 3];

    padded = (len + 3) / 4 * 4;

    memset(in, '=', sizeof(in));
    memcpy(in, text, len);

    if (EVP_DecodeBlock(octets, in, (int) padded) != (int) (padded / 4 * 3)) {
        return -1;
    }

    memcpy(out, octets, size);

    return 0;
}
