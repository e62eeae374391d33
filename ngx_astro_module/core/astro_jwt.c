
/*
 * Copyright (C) The Astro authors
 *
 * HS256 tokens.
 *
 * The signature is checked before one octet of the token is believed, with
 * HMAC-SHA256 whatever its header says: "alg" has no say in how a token is
 * checked, and is only compared afterwards.  base64url is taken in its one
 * canonical form, so that there is one spelling of each token.
 */


#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "astro_id.h"
#include "astro_jwt.h"


#define ASTRO_JWT_MAC   32      /* bytes of HMAC-SHA256 */
#define ASTRO_JWT_TEXT  384     /* bytes of our own claims, at most */
#define ASTRO_JWT_JTI   32      /* hex digits */


static int astro_jwt_mac(const uint8_t *key, size_t key_len,
    const uint8_t *data, size_t len, uint8_t mac[ASTRO_JWT_MAC]);
static int astro_jwt_header_ok(astro_json_parser_t *p, const uint8_t *s,
    size_t len);
static astro_jwt_rc_e astro_jwt_claims(astro_json_parser_t *p,
    const uint8_t *s, size_t len, int64_t now, astro_claims_t *claims);
static int astro_jwt_audience_ok(astro_json_parser_t *p,
    const astro_json_member_t *m);
static int astro_jwt_is_audience(void *ctx, int depth,
    const astro_json_member_t *scalar);
static int astro_jwt_string_is(const astro_json_member_t *m, const char *s);
static int astro_jwt_time(const astro_json_object_t *o, const char *name,
    int64_t absent, int64_t *t);
static int astro_jwt_jti_ok(const char *s);
static int astro_jwt_jti_fill(char jti[ASTRO_JWT_JTI + 1]);


static const char  astro_jwt_header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";


static const struct {
    astro_role_e    role;
    const char     *name;
} astro_roles[] = {
    { ASTRO_ROLE_CLIENT,  "client"  },
    { ASTRO_ROLE_ADVISOR, "advisor" },
    { ASTRO_ROLE_ADMIN,   "admin"   }
};

#define ASTRO_ROLES  (sizeof(astro_roles) / sizeof(astro_roles[0]))


astro_jwt_rc_e
astro_jwt_verify(astro_json_parser_t *p, const uint8_t *key, size_t key_len,
    const uint8_t *token, size_t len, int64_t now, astro_claims_t *claims)
{
    ssize_t         n;
    uint8_t         mac[ASTRO_JWT_MAC], sent[ASTRO_JWT_MAC];
    uint8_t         text[ASTRO_JWT_MAX];
    const uint8_t  *payload, *signature, *last;

    memset(claims, 0, sizeof(astro_claims_t));

    if (len > ASTRO_JWT_MAX) {
        return ASTRO_JWT_MALFORMED;
    }

    /* a further dot is refused by the decoder */

    last = token + len;
    payload = memchr(token, '.', len);

    if (payload == NULL) {
        return ASTRO_JWT_MALFORMED;
    }

    payload++;
    signature = memchr(payload, '.', (size_t) (last - payload));

    if (signature == NULL) {
        return ASTRO_JWT_MALFORMED;
    }

    signature++;

    n = astro_base64url_decode(sent, sizeof(sent), signature,
                               (size_t) (last - signature));

    if (n != ASTRO_JWT_MAC || key_len < ASTRO_JWT_MIN_KEY) {
        return ASTRO_JWT_SIGNATURE;
    }

    if (astro_jwt_mac(key, key_len, token, (size_t) (signature - token) - 1,
                      mac)
        != 0)
    {
        return ASTRO_JWT_SIGNATURE;
    }

    if (CRYPTO_memcmp(mac, sent, ASTRO_JWT_MAC) != 0) {
        return ASTRO_JWT_SIGNATURE;
    }

    n = astro_base64url_decode(text, sizeof(text), token,
                               (size_t) (payload - token) - 1);

    if (n < 0 || !astro_jwt_header_ok(p, text, (size_t) n)) {
        return ASTRO_JWT_MALFORMED;
    }

    n = astro_base64url_decode(text, sizeof(text), payload,
                               (size_t) (signature - payload) - 1);

    if (n < 0) {
        return ASTRO_JWT_MALFORMED;
    }

    return astro_jwt_claims(p, text, (size_t) n, now, claims);
}


static int
astro_jwt_mac(const uint8_t *key, size_t key_len, const uint8_t *data,
    size_t len, uint8_t mac[ASTRO_JWT_MAC])
{
    unsigned  n;

    n = 0;

    if (HMAC(EVP_sha256(), key, (int) key_len, data, len, mac, &n) == NULL) {
        return -1;
    }

    return (n == ASTRO_JWT_MAC) ? 0 : -1;
}


static int
astro_jwt_header_ok(astro_json_parser_t *p, const uint8_t *s, size_t len)
{
    astro_json_doc_t            doc;
    const astro_json_member_t  *typ;

    if (astro_json_parse(p, s, len, &doc) != 0) {
        return 0;
    }

    typ = astro_json_get(&doc.root, "typ");

    /* crit names extensions that we would have to know, and know none */

    return astro_jwt_string_is(astro_json_get(&doc.root, "alg"), "HS256")
           && (typ == NULL || astro_jwt_string_is(typ, "JWT"))
           && astro_json_get(&doc.root, "crit") == NULL;
}


static astro_jwt_rc_e
astro_jwt_claims(astro_json_parser_t *p, const uint8_t *s, size_t len,
    int64_t now, astro_claims_t *claims)
{
    int64_t                     nbf;
    ssize_t                     n;
    uint8_t                     text[ASTRO_ID_MAX + 1];
    astro_json_doc_t            doc;
    const astro_json_member_t  *jti;

    if (astro_json_parse(p, s, len, &doc) != 0) {
        return ASTRO_JWT_MALFORMED;
    }

    if (!astro_jwt_string_is(astro_json_get(&doc.root, "iss"),
                             ASTRO_JWT_ISSUER)
        || !astro_jwt_audience_ok(p, astro_json_get(&doc.root, "aud")))
    {
        return ASTRO_JWT_MALFORMED;
    }

    n = astro_json_string(astro_json_get(&doc.root, "sub"), text,
                          sizeof(text));
    claims->user = (n < 0) ? 0 : astro_id_parse('u', text, (size_t) n);

    n = astro_json_string(astro_json_get(&doc.root, "role"), text,
                          sizeof(text));
    claims->role = (n < 0) ? ASTRO_ROLE_NONE
                           : astro_role_parse(text, (size_t) n);

    if (claims->user == 0 || claims->role == ASTRO_ROLE_NONE) {
        return ASTRO_JWT_MALFORMED;
    }

    jti = astro_json_get(&doc.root, "jti");

    if (jti) {
        n = astro_json_string(jti, (uint8_t *) claims->jti, ASTRO_JWT_JTI);

        if (n != ASTRO_JWT_JTI || !astro_jwt_jti_ok(claims->jti)) {
            return ASTRO_JWT_MALFORMED;
        }
    }

    if (astro_jwt_time(&doc.root, "exp", -1, &claims->exp) != 0
        || astro_jwt_time(&doc.root, "iat", 0, &claims->iat) != 0
        || astro_jwt_time(&doc.root, "nbf", 0, &nbf) != 0
        || claims->exp < 0)
    {
        return ASTRO_JWT_MALFORMED;
    }

    if (now >= claims->exp) {
        return ASTRO_JWT_EXPIRED;
    }

    if (claims->iat > now + ASTRO_JWT_LEEWAY
        || nbf > now + ASTRO_JWT_LEEWAY)
    {
        return ASTRO_JWT_NOT_YET;
    }

    return ASTRO_JWT_OK;
}


/* "aud" is a string or an array of strings (RFC 7519 section 4.1.3). */

static int
astro_jwt_audience_ok(astro_json_parser_t *p, const astro_json_member_t *m)
{
    if (m == NULL) {
        return 0;
    }

    if (m->kind != ASTRO_JSON_ARRAY) {
        return astro_jwt_string_is(m, ASTRO_JWT_AUDIENCE);
    }

    return astro_json_scalars(p, m, astro_jwt_is_audience, NULL) == 1;
}


static int
astro_jwt_is_audience(void *ctx, int depth, const astro_json_member_t *scalar)
{
    (void) ctx;

    return depth == 1 && astro_jwt_string_is(scalar, ASTRO_JWT_AUDIENCE);
}


static int
astro_jwt_string_is(const astro_json_member_t *m, const char *s)
{
    ssize_t  n;
    uint8_t  text[16];

    n = astro_json_string(m, text, sizeof(text));

    return n >= 0 && (size_t) n == strlen(s)
           && memcmp(text, s, (size_t) n) == 0;
}


/* Whole seconds; absent if there is no such claim. */

static int
astro_jwt_time(const astro_json_object_t *o, const char *name, int64_t absent,
    int64_t *t)
{
    const astro_json_member_t  *m;

    m = astro_json_get(o, name);

    if (m == NULL) {
        *t = absent;
        return 0;
    }

    /* the bound keeps sums with the leeway in range */

    return astro_json_int(m, 0, INT64_MAX / 2, t);
}


static int
astro_jwt_jti_ok(const char *s)
{
    return strspn(s, "0123456789abcdef") == ASTRO_JWT_JTI;
}


ssize_t
astro_jwt_issue(const uint8_t *key, size_t key_len, astro_claims_t *claims,
    uint8_t *buf, size_t size)
{
    int           n;
    char          text[ASTRO_JWT_TEXT];
    size_t        len;
    ssize_t       part;
    uint8_t       mac[ASTRO_JWT_MAC];

    if (key_len < ASTRO_JWT_MIN_KEY || claims->user == 0
        || *astro_role_name(claims->role) == '\0')
    {
        return -1;
    }

    if (claims->jti[0] == '\0' && astro_jwt_jti_fill(claims->jti) != 0) {
        return -1;
    }

    if (!astro_jwt_jti_ok(claims->jti)) {
        return -1;
    }

    n = snprintf(text, sizeof(text),
                 "{\"iss\":\"" ASTRO_JWT_ISSUER "\","
                 "\"aud\":\"" ASTRO_JWT_AUDIENCE "\","
                 "\"sub\":\"u_%llu\",\"role\":\"%s\","
                 "\"iat\":%lld,\"exp\":%lld,\"jti\":\"%.*s\"}",
                 (unsigned long long) claims->user,
                 astro_role_name(claims->role),
                 (long long) claims->iat, (long long) claims->exp,
                 ASTRO_JWT_JTI, claims->jti);

    if (n < 0 || (size_t) n >= sizeof(text)) {
        return -1;
    }

    part = astro_base64url_encode(buf, size,
                                  (const uint8_t *) astro_jwt_header,
                                  sizeof(astro_jwt_header) - 1);

    if (part < 0 || (size_t) part == size) {
        return -1;
    }

    len = (size_t) part;
    buf[len++] = '.';

    part = astro_base64url_encode(buf + len, size - len,
                                  (const uint8_t *) text, (size_t) n);

    if (part < 0 || (size_t) part == size - len) {
        return -1;
    }

    len += (size_t) part;

    if (astro_jwt_mac(key, key_len, buf, len, mac) != 0) {
        return -1;
    }

    buf[len++] = '.';

    part = astro_base64url_encode(buf + len, size - len, mac, ASTRO_JWT_MAC);

    if (part < 0) {
        return -1;
    }

    return (ssize_t) len + part;
}


static int
astro_jwt_jti_fill(char jti[ASTRO_JWT_JTI + 1])
{
    int                i;
    uint8_t            random[ASTRO_JWT_JTI / 2];
    static const char  hex[] = "0123456789abcdef";

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return -1;
    }

    for (i = 0; i < ASTRO_JWT_JTI / 2; i++) {
        jti[i * 2] = hex[random[i] >> 4];
        jti[i * 2 + 1] = hex[random[i] & 0xf];
    }

    jti[ASTRO_JWT_JTI] = '\0';

    return 0;
}


const char *
astro_role_name(astro_role_e role)
{
    size_t  i;

    for (i = 0; i < ASTRO_ROLES; i++) {

        if (astro_roles[i].role == role) {
            return astro_roles[i].name;
        }
    }

    return "";
}


astro_role_e
astro_role_parse(const uint8_t *name, size_t len)
{
    size_t  i;

    for (i = 0; i < ASTRO_ROLES; i++) {

        if (strlen(astro_roles[i].name) == len
            && memcmp(astro_roles[i].name, name, len) == 0)
        {
            return astro_roles[i].role;
        }
    }

    return ASTRO_ROLE_NONE;
}
