
/*
 * Copyright (C) The Astro authors
 *
 * Reading key sets.  The text is JSON that the parser has found valid, so the
 * array is split into its objects by counting brackets, and each of these
 * parsed by itself.
 */


#include <stdlib.h>
#include <string.h>

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/param_build.h>

#include "astro_jwt.h"
#include "astro_keys_private.h"


#define ASTRO_KEYS_RSA_MIN   2048   /* bits, RFC 7518 section 3.3 */
#define ASTRO_KEYS_RSA_MAX   4096
#define ASTRO_KEYS_EC        32     /* bytes of a coordinate of P-256 */
#define ASTRO_KEYS_NUMBER    512    /* bytes */


typedef struct {
    const char  *member;
    const char  *param;
} astro_keys_part_t;


static const uint8_t *astro_keys_object(const uint8_t *s, const uint8_t *last,
    const uint8_t **end);
static int astro_keys_jwk(astro_key_t *key, astro_json_parser_t *p,
    const uint8_t *text, size_t len, astro_keys_from_e from,
    const char **why);
static int astro_keys_name(astro_key_t *key, const astro_json_object_t *o,
    const char **why);
static int astro_keys_oct(astro_key_t *key, const astro_json_object_t *o);
static int astro_keys_rsa(astro_key_t *key, const astro_json_object_t *o);
static int astro_keys_ec(astro_key_t *key, const astro_json_object_t *o);
static int astro_keys_number(OSSL_PARAM_BLD *bld, BIGNUM **kept,
    const astro_json_object_t *o, const astro_keys_part_t *part);
static EVP_PKEY *astro_keys_build(OSSL_PARAM_BLD *bld, const char *type,
    int selection);
static ssize_t astro_keys_octets(const astro_json_object_t *o,
    const char *name, uint8_t *buf, size_t size);
static int astro_keys_is(const astro_json_object_t *o, const char *name,
    const char *value);
static int astro_keys_trial(const astro_key_t *key);
static void astro_keys_wipe(astro_key_t *key);


/* the first two are public; the last five come all or not at all */

static const astro_keys_part_t  astro_keys_rsa_parts[] = {
    { "n",  OSSL_PKEY_PARAM_RSA_N },
    { "e",  OSSL_PKEY_PARAM_RSA_E },
    { "d",  OSSL_PKEY_PARAM_RSA_D },
    { "p",  OSSL_PKEY_PARAM_RSA_FACTOR1 },
    { "q",  OSSL_PKEY_PARAM_RSA_FACTOR2 },
    { "dp", OSSL_PKEY_PARAM_RSA_EXPONENT1 },
    { "dq", OSSL_PKEY_PARAM_RSA_EXPONENT2 },
    { "qi", OSSL_PKEY_PARAM_RSA_COEFFICIENT1 }
};

#define ASTRO_KEYS_RSA_PUBLIC  2
#define ASTRO_KEYS_RSA_PARTS                                                  \
    (sizeof(astro_keys_rsa_parts) / sizeof(astro_keys_rsa_parts[0]))


static const struct {
    astro_alg_e    alg;
    const char    *name;
    const char    *kty;
    int          (*read)(astro_key_t *key, const astro_json_object_t *o);
} astro_algs[] = {
    { ASTRO_ALG_HS256, "HS256", "oct", astro_keys_oct },
    { ASTRO_ALG_RS256, "RS256", "RSA", astro_keys_rsa },
    { ASTRO_ALG_ES256, "ES256", "EC",  astro_keys_ec  }
};

#define ASTRO_ALGS  (sizeof(astro_algs) / sizeof(astro_algs[0]))


astro_keys_t *
astro_keys_create(void)
{
    return calloc(1, sizeof(astro_keys_t));
}


void
astro_keys_destroy(astro_keys_t *keys)
{
    size_t  i;

    if (keys == NULL) {
        return;
    }

    for (i = 0; i < keys->n; i++) {
        astro_keys_wipe(&keys->key[i]);
    }

    free(keys);
}


static void
astro_keys_wipe(astro_key_t *key)
{
    if (key->secret) {
        OPENSSL_cleanse(key->secret, key->secret_len);
        free(key->secret);
    }

    EVP_PKEY_free(key->pkey);
    memset(key, 0, sizeof(astro_key_t));
}


size_t
astro_keys_count(const astro_keys_t *keys)
{
    return keys->n;
}


const astro_key_t *
astro_keys_at(const astro_keys_t *keys, size_t i)
{
    return i < keys->n ? &keys->key[i] : NULL;
}


astro_alg_e
astro_key_alg(const astro_key_t *key)
{
    return key->alg;
}


const char *
astro_key_kid(const astro_key_t *key)
{
    return key->kid;
}


const char *
astro_alg_name(astro_alg_e alg)
{
    size_t  i;

    for (i = 0; i < ASTRO_ALGS; i++) {
        if (astro_algs[i].alg == alg) {
            return astro_algs[i].name;
        }
    }

    return "";
}


astro_alg_e
astro_alg_parse(const uint8_t *name, size_t len)
{
    size_t  i;

    for (i = 0; i < ASTRO_ALGS; i++) {
        if (strlen(astro_algs[i].name) == len
            && memcmp(astro_algs[i].name, name, len) == 0)
        {
            return astro_algs[i].alg;
        }
    }

    return ASTRO_ALG_NONE;
}


int
astro_keys_add_secret(astro_keys_t *keys, const uint8_t *secret, size_t len)
{
    astro_key_t  *key;

    if (len < ASTRO_KEYS_MIN_SECRET || len > ASTRO_KEYS_MAX_SECRET
        || keys->n == ASTRO_KEYS_MAX)
    {
        return -1;
    }

    key = &keys->key[keys->n];
    key->secret = malloc(len);

    if (key->secret == NULL) {
        return -1;
    }

    memcpy(key->secret, secret, len);
    key->secret_len = len;
    key->alg = ASTRO_ALG_HS256;
    key->is_private = 1;
    keys->n++;

    return 0;
}


int
astro_keys_read(astro_keys_t *keys, astro_json_parser_t *p,
    const uint8_t *text, size_t len, astro_keys_from_e from, const char **why)
{
    int                         rc;
    size_t                      i;
    astro_key_t                *key;
    const uint8_t              *s, *last, *end;
    astro_json_doc_t            doc;
    const astro_json_member_t  *m;

    if (len > ASTRO_KEYS_TEXT_MAX) {
        *why = "a key set has at most 65536 octets";
        return -1;
    }

    m = astro_json_parse(p, text, len, &doc) == 0
        ? astro_json_get(&doc.root, "keys") : NULL;

    if (m == NULL || m->kind != ASTRO_JSON_ARRAY) {
        *why = "a key set is a JSON object with an array \"keys\"";
        return -1;
    }

    s = m->raw + 1;
    last = m->raw + m->raw_len - 1;

    for ( ;; ) {
        s = astro_keys_object(s, last, &end);

        if (s == NULL) {
            break;
        }

        if (keys->n == ASTRO_KEYS_MAX) {

            if (from == ASTRO_KEYS_OWN) {
                *why = "there are more than 16 keys";
                return -1;
            }

            break;
        }

        key = &keys->key[keys->n];
        rc = astro_keys_jwk(key, p, s, (size_t) (end - s), from, why);
        s = end;

        if (rc != 0) {
            astro_keys_wipe(key);

            if (from == ASTRO_KEYS_OWN) {
                return -1;
            }

            continue;
        }

        for (i = 0; from == ASTRO_KEYS_OWN && i < keys->n; i++) {
            if (strcmp(keys->key[i].kid, key->kid) == 0) {
                astro_keys_wipe(key);
                *why = "two keys have the same \"kid\"";
                return -1;
            }
        }

        keys->n++;
    }

    if (from == ASTRO_KEYS_OWN
        && (keys->n == 0 || !keys->key[0].is_private))
    {
        *why = "the first key has to sign, so it needs its private part";
        return -1;
    }

    return 0;
}


/* The next element of an array, from s on; NULL: there is no further one. */

static const uint8_t *
astro_keys_object(const uint8_t *s, const uint8_t *last, const uint8_t **end)
{
    unsigned        depth, quoted;
    const uint8_t  *start;

    while (s < last && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r'
                        || *s == ','))
    {
        s++;
    }

    if (s == last) {
        return NULL;
    }

    start = s;
    depth = 0;
    quoted = 0;

    for ( /* void */ ; s < last; s++) {

        if (quoted) {
            if (*s == '\\') {
                s++;

            } else if (*s == '"') {
                quoted = 0;
            }

            continue;
        }

        if (*s == '"') {
            quoted = 1;

        } else if (*s == '{' || *s == '[') {
            depth++;

        } else if (*s == '}' || *s == ']') {
            depth--;

        } else if (*s == ',' && depth == 0) {
            break;
        }
    }

    *end = s;

    return start;
}


static int
astro_keys_jwk(astro_key_t *key, astro_json_parser_t *p, const uint8_t *text,
    size_t len, astro_keys_from_e from, const char **why)
{
    size_t                      i;
    astro_json_doc_t            doc;
    const astro_json_object_t  *o;

    memset(key, 0, sizeof(astro_key_t));
    o = &doc.root;

    if (astro_json_parse(p, text, len, &doc) != 0) {
        *why = "a key is a JSON object";
        return -1;
    }

    if (astro_keys_name(key, o, why) != 0) {
        return -1;
    }

    if (from == ASTRO_KEYS_OWN && key->kid[0] == '\0') {
        *why = "a key has no \"kid\"";
        return -1;
    }

    for (i = 0; i < ASTRO_ALGS; i++) {
        if (astro_keys_is(o, "kty", astro_algs[i].kty)) {
            break;
        }
    }

    if (i == ASTRO_ALGS
        || (from == ASTRO_KEYS_FETCHED && astro_algs[i].alg == ASTRO_ALG_HS256)
        || (astro_json_get(o, "alg")
            && !astro_keys_is(o, "alg", astro_algs[i].name))
        || (astro_json_get(o, "use") && !astro_keys_is(o, "use", "sig")))
    {
        *why = "a key is no HS256, RS256 or ES256 key for signatures";
        return -1;
    }

    key->alg = astro_algs[i].alg;

    if (astro_algs[i].read(key, o) != 0) {
        ERR_clear_error();
        *why = "a key's numbers are missing, malformed or too small";
        return -1;
    }

    if (key->is_private && !astro_keys_trial(key)) {
        *why = "a key's private part does not belong to its public one";
        return -1;
    }

    return 0;
}


/* Ours go into headers of tokens as they are. */

static int
astro_keys_name(astro_key_t *key, const astro_json_object_t *o,
    const char **why)
{
    ssize_t                     n;
    const astro_json_member_t  *m;

    m = astro_json_get(o, "kid");

    if (m == NULL) {
        return 0;
    }

    n = astro_json_string(m, (uint8_t *) key->kid, ASTRO_KEYS_KID_MAX);

    if (n <= 0
        || strspn(key->kid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
                            "XYZ0123456789-_.:/+=") != (size_t) n)
    {
        *why = "a \"kid\" has from 1 to 64 letters, digits and -_.:/+=";
        return -1;
    }

    return 0;
}


static int
astro_keys_oct(astro_key_t *key, const astro_json_object_t *o)
{
    ssize_t  n;
    uint8_t  buf[ASTRO_KEYS_MAX_SECRET];

    n = astro_keys_octets(o, "k", buf, sizeof(buf));

    if (n >= ASTRO_KEYS_MIN_SECRET) {
        key->secret = malloc((size_t) n);
    }

    if (key->secret) {
        memcpy(key->secret, buf, (size_t) n);
        key->secret_len = (size_t) n;
        key->is_private = 1;
    }

    OPENSSL_cleanse(buf, sizeof(buf));

    return key->secret ? 0 : -1;
}


static int
astro_keys_rsa(astro_key_t *key, const astro_json_object_t *o)
{
    int              bits, ok;
    size_t           i, n;
    BIGNUM          *kept[ASTRO_KEYS_RSA_PARTS];
    OSSL_PARAM_BLD  *bld;

    n = ASTRO_KEYS_RSA_PUBLIC;

    if (astro_json_get(o, "d")) {
        n = astro_json_get(o, "p") ? ASTRO_KEYS_RSA_PARTS : n + 1;
    }

    memset(kept, 0, sizeof(kept));
    bld = OSSL_PARAM_BLD_new();
    ok = bld != NULL;

    for (i = 0; ok && i < n; i++) {
        ok = astro_keys_number(bld, &kept[i], o, &astro_keys_rsa_parts[i])
             == 0;
    }

    if (ok) {
        key->is_private = n > ASTRO_KEYS_RSA_PUBLIC;
        key->pkey = astro_keys_build(bld, "RSA", key->is_private
                                                 ? EVP_PKEY_KEYPAIR
                                                 : EVP_PKEY_PUBLIC_KEY);
    }

    OSSL_PARAM_BLD_free(bld);

    for (i = 0; i < ASTRO_KEYS_RSA_PARTS; i++) {
        BN_clear_free(kept[i]);
    }

    bits = key->pkey ? EVP_PKEY_bits(key->pkey) : 0;

    return bits >= ASTRO_KEYS_RSA_MIN && bits <= ASTRO_KEYS_RSA_MAX ? 0 : -1;
}


static int
astro_keys_ec(astro_key_t *key, const astro_json_object_t *o)
{
    int                             ok;
    BIGNUM                         *d;
    uint8_t                         point[1 + ASTRO_KEYS_EC * 2];
    OSSL_PARAM_BLD                 *bld;
    static const astro_keys_part_t  part = { "d", OSSL_PKEY_PARAM_PRIV_KEY };

    point[0] = 0x04;     /* both coordinates follow */

    if (!astro_keys_is(o, "crv", "P-256")
        || astro_keys_octets(o, "x", point + 1, ASTRO_KEYS_EC)
           != ASTRO_KEYS_EC
        || astro_keys_octets(o, "y", point + 1 + ASTRO_KEYS_EC, ASTRO_KEYS_EC)
           != ASTRO_KEYS_EC)
    {
        return -1;
    }

    d = NULL;
    bld = OSSL_PARAM_BLD_new();

    ok = bld
         && OSSL_PARAM_BLD_push_utf8_string(bld, OSSL_PKEY_PARAM_GROUP_NAME,
                                            "prime256v1", 0) == 1
         && OSSL_PARAM_BLD_push_octet_string(bld, OSSL_PKEY_PARAM_PUB_KEY,
                                             point, sizeof(point)) == 1;

    if (ok && astro_json_get(o, "d")) {
        key->is_private = 1;
        ok = astro_keys_number(bld, &d, o, &part) == 0;
    }

    if (ok) {
        key->pkey = astro_keys_build(bld, "EC", key->is_private
                                                ? EVP_PKEY_KEYPAIR
                                                : EVP_PKEY_PUBLIC_KEY);
    }

    OSSL_PARAM_BLD_free(bld);
    BN_clear_free(d);

    return key->pkey ? 0 : -1;
}


/* The number has to live until the key is built: kept is freed after that. */

static int
astro_keys_number(OSSL_PARAM_BLD *bld, BIGNUM **kept,
    const astro_json_object_t *o, const astro_keys_part_t *part)
{
    int      ok;
    ssize_t  n;
    uint8_t  buf[ASTRO_KEYS_NUMBER];

    n = astro_keys_octets(o, part->member, buf, sizeof(buf));
    *kept = n > 0 ? BN_bin2bn(buf, (int) n, NULL) : NULL;
    OPENSSL_cleanse(buf, sizeof(buf));

    ok = *kept && OSSL_PARAM_BLD_push_BN(bld, part->param, *kept) == 1;

    return ok ? 0 : -1;
}


static EVP_PKEY *
astro_keys_build(OSSL_PARAM_BLD *bld, const char *type, int selection)
{
    int            ok;
    EVP_PKEY      *pkey;
    OSSL_PARAM    *params;
    EVP_PKEY_CTX  *ctx, *check;

    pkey = NULL;
    params = OSSL_PARAM_BLD_to_param(bld);
    ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);

    ok = params && ctx && EVP_PKEY_fromdata_init(ctx) == 1
         && EVP_PKEY_fromdata(ctx, &pkey, selection, params) == 1;

    OSSL_PARAM_free(params);
    EVP_PKEY_CTX_free(ctx);

    if (!ok) {
        return NULL;
    }

    /* a point that is not on the curve, an even exponent */

    check = EVP_PKEY_CTX_new(pkey, NULL);
    ok = check && EVP_PKEY_public_check(check) == 1;
    EVP_PKEY_CTX_free(check);

    if (!ok) {
        EVP_PKEY_free(pkey);
        return NULL;
    }

    return pkey;
}


static ssize_t
astro_keys_octets(const astro_json_object_t *o, const char *name,
    uint8_t *buf, size_t size)
{
    const astro_json_member_t  *m;

    m = astro_json_get(o, name);

    if (m == NULL || m->kind != ASTRO_JSON_STRING) {
        return -1;
    }

    return astro_base64url_decode(buf, size, m->raw + 1, m->raw_len - 2);
}


static int
astro_keys_is(const astro_json_object_t *o, const char *name,
    const char *value)
{
    ssize_t  n;
    uint8_t  text[16];

    n = astro_json_string(astro_json_get(o, name), text, sizeof(text));

    return n >= 0 && (size_t) n == strlen(value)
           && memcmp(text, value, (size_t) n) == 0;
}


static int
astro_keys_trial(const astro_key_t *key)
{
    ssize_t  n;
    uint8_t  sig[ASTRO_KEYS_SIG_MAX];

    n = astro_key_sign(key, (const uint8_t *) "trial", 5, sig, sizeof(sig));

    return n > 0
           && astro_key_check(key, (const uint8_t *) "trial", 5, sig,
                              (size_t) n);
}
