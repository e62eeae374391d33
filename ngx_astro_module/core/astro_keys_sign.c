
/*
 * Copyright (C) The Astro authors
 *
 * Signing and checking, each key by its own algorithm.  ES256 signatures are
 * two numbers of 32 octets in tokens, and DER in OpenSSL.
 */


#include <string.h>

#include <openssl/bn.h>
#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>

#include "astro_keys_private.h"


#define ASTRO_KEYS_MAC      32      /* bytes of HMAC-SHA256 */
#define ASTRO_KEYS_EC       32      /* bytes of r, and of s */
#define ASTRO_KEYS_EC_DER   80      /* bytes of both in DER, at most */


static ssize_t astro_key_mac(const astro_key_t *key, const uint8_t *data,
    size_t len, uint8_t mac[ASTRO_KEYS_MAC]);
static ssize_t astro_key_evp_sign(const astro_key_t *key, const uint8_t *data,
    size_t len, uint8_t *sig, size_t size);
static int astro_key_evp_check(const astro_key_t *key, const uint8_t *data,
    size_t len, const uint8_t *sig, size_t sig_len);
static ssize_t astro_key_from_der(const uint8_t *der, size_t len,
    uint8_t *sig, size_t size);
static ssize_t astro_key_to_der(const uint8_t *sig, uint8_t *der);


ssize_t
astro_key_sign(const astro_key_t *key, const uint8_t *data, size_t len,
    uint8_t *sig, size_t size)
{
    ssize_t  n;
    uint8_t  der[ASTRO_KEYS_EC_DER];

    if (!key->is_private) {
        return -1;
    }

    if (key->alg == ASTRO_ALG_HS256) {
        return size < ASTRO_KEYS_MAC ? -1
                                     : astro_key_mac(key, data, len, sig);
    }

    if (key->alg == ASTRO_ALG_RS256) {
        return astro_key_evp_sign(key, data, len, sig, size);
    }

    n = astro_key_evp_sign(key, data, len, der, sizeof(der));

    return n < 0 ? -1 : astro_key_from_der(der, (size_t) n, sig, size);
}


int
astro_key_check(const astro_key_t *key, const uint8_t *data, size_t len,
    const uint8_t *sig, size_t sig_len)
{
    ssize_t  n;
    uint8_t  mac[ASTRO_KEYS_MAC], der[ASTRO_KEYS_EC_DER];

    switch (key->alg) {

    case ASTRO_ALG_HS256:
        return sig_len == ASTRO_KEYS_MAC
               && astro_key_mac(key, data, len, mac) == ASTRO_KEYS_MAC
               && CRYPTO_memcmp(mac, sig, ASTRO_KEYS_MAC) == 0;

    case ASTRO_ALG_RS256:
        return astro_key_evp_check(key, data, len, sig, sig_len);

    case ASTRO_ALG_ES256:
        n = sig_len == ASTRO_KEYS_EC * 2 ? astro_key_to_der(sig, der) : -1;

        return n > 0 && astro_key_evp_check(key, data, len, der, (size_t) n);

    default:
        return 0;
    }
}


static ssize_t
astro_key_mac(const astro_key_t *key, const uint8_t *data, size_t len,
    uint8_t mac[ASTRO_KEYS_MAC])
{
    unsigned  n;

    n = 0;

    if (HMAC(EVP_sha256(), key->secret, (int) key->secret_len, data, len, mac,
             &n)
        == NULL)
    {
        return -1;
    }

    return n == ASTRO_KEYS_MAC ? (ssize_t) n : -1;
}


static ssize_t
astro_key_evp_sign(const astro_key_t *key, const uint8_t *data, size_t len,
    uint8_t *sig, size_t size)
{
    int          ok;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return -1;
    }

    ok = EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1
         && EVP_DigestSign(ctx, sig, &size, data, len) == 1;

    EVP_MD_CTX_free(ctx);

    /* nginx would find it in the queue and blame a TLS connection for it */

    ERR_clear_error();

    return ok ? (ssize_t) size : -1;
}


static int
astro_key_evp_check(const astro_key_t *key, const uint8_t *data, size_t len,
    const uint8_t *sig, size_t sig_len)
{
    int          ok;
    EVP_MD_CTX  *ctx;

    ctx = EVP_MD_CTX_new();
    if (ctx == NULL) {
        return 0;
    }

    ok = EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key->pkey) == 1
         && EVP_DigestVerify(ctx, sig, sig_len, data, len) == 1;

    EVP_MD_CTX_free(ctx);
    ERR_clear_error();

    return ok;
}


static ssize_t
astro_key_from_der(const uint8_t *der, size_t len, uint8_t *sig, size_t size)
{
    int             ok;
    ECDSA_SIG      *pair;
    const uint8_t  *p;

    if (size < ASTRO_KEYS_EC * 2) {
        return -1;
    }

    p = der;
    pair = d2i_ECDSA_SIG(NULL, &p, (long) len);

    if (pair == NULL) {
        ERR_clear_error();
        return -1;
    }

    ok = BN_bn2binpad(ECDSA_SIG_get0_r(pair), sig, ASTRO_KEYS_EC)
             == ASTRO_KEYS_EC
         && BN_bn2binpad(ECDSA_SIG_get0_s(pair), sig + ASTRO_KEYS_EC,
                         ASTRO_KEYS_EC)
             == ASTRO_KEYS_EC;

    ECDSA_SIG_free(pair);

    return ok ? ASTRO_KEYS_EC * 2 : -1;
}


static ssize_t
astro_key_to_der(const uint8_t *sig, uint8_t *der)
{
    int         n;
    BIGNUM     *r, *s;
    uint8_t    *p;
    ECDSA_SIG  *pair;

    pair = ECDSA_SIG_new();
    r = BN_bin2bn(sig, ASTRO_KEYS_EC, NULL);
    s = BN_bin2bn(sig + ASTRO_KEYS_EC, ASTRO_KEYS_EC, NULL);

    if (pair == NULL || r == NULL || s == NULL
        || ECDSA_SIG_set0(pair, r, s) != 1)
    {
        BN_free(r);
        BN_free(s);
        ECDSA_SIG_free(pair);
        return -1;
    }

    p = der;
    n = i2d_ECDSA_SIG(pair, NULL);
    n = n > 0 && n <= ASTRO_KEYS_EC_DER ? i2d_ECDSA_SIG(pair, &p) : -1;

    ECDSA_SIG_free(pair);

    return n;
}
