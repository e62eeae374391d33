
/*
 * Copyright (C) The Astro authors
 *
 * Tokens.  base64url is taken in its one canonical form, so that there is one
 * spelling of each token.
 */


#include <stdio.h>
#include <string.h>

#include <openssl/rand.h>

#include "astro_id.h"
#include "astro_jwt.h"


#define ASTRO_JWT_TEXT   448    /* bytes of our own claims, at most */
#define ASTRO_JWT_VALUE  256    /* bytes of a string that is compared */


typedef struct {
    astro_alg_e   alg;
    ssize_t       kid_len;      /* -1: none is named */
    char          kid[ASTRO_KEYS_KID_MAX + 1];
} astro_jwt_header_t;


static astro_jwt_rc_e astro_jwt_open(astro_json_parser_t *p,
    const astro_keys_t *keys, const uint8_t *token, size_t len,
    uint8_t text[ASTRO_JWT_MAX], size_t *text_len);
static int astro_jwt_header(astro_json_parser_t *p, const uint8_t *s,
    size_t len, astro_jwt_header_t *header);
static astro_jwt_rc_e astro_jwt_signature(const astro_keys_t *keys,
    const astro_jwt_header_t *header, const uint8_t *data, size_t len,
    const uint8_t *sig, size_t sig_len);
static astro_jwt_rc_e astro_jwt_claims(astro_json_parser_t *p,
    const uint8_t *s, size_t len, int64_t now, astro_claims_t *claims);
static int astro_jwt_audience_ok(astro_json_parser_t *p,
    const astro_json_member_t *m, const char *aud);
static int astro_jwt_is_audience(void *ctx, int depth,
    const astro_json_member_t *scalar);
static int astro_jwt_string_is(const astro_json_member_t *m, const char *s);
static int astro_jwt_text(const astro_json_object_t *o, const char *name,
    char *buf, size_t size);
static int astro_jwt_id(const astro_json_object_t *o, const char *name,
    char id[ASTRO_JWT_JTI + 1]);
static astro_jwt_rc_e astro_jwt_times(const astro_json_object_t *o,
    int64_t now, int64_t exp_leeway, int64_t leeway, int64_t *iat,
    int64_t *exp);
static int astro_jwt_time(const astro_json_object_t *o, const char *name,
    int64_t absent, int64_t *t);
static int astro_jwt_id_ok(const char *s);
static ssize_t astro_jwt_part(uint8_t *buf, size_t size, size_t at,
    const void *src, size_t len);


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
astro_jwt_verify(astro_json_parser_t *p, const astro_keys_t *keys,
    const uint8_t *token, size_t len, int64_t now, astro_claims_t *claims)
{
    size_t          n;
    uint8_t         text[ASTRO_JWT_MAX];
    astro_jwt_rc_e  rc;

    memset(claims, 0, sizeof(astro_claims_t));

    rc = astro_jwt_open(p, keys, token, len, text, &n);

    return rc == ASTRO_JWT_OK ? astro_jwt_claims(p, text, n, now, claims)
                              : rc;
}


astro_jwt_rc_e
astro_jwt_verify_outside(astro_json_parser_t *p, const astro_keys_t *keys,
    const char *iss, const char *aud, const uint8_t *token, size_t len,
    int64_t now, astro_outside_t *who)
{
    size_t                      n;
    uint8_t                     text[ASTRO_JWT_MAX];
    astro_jwt_rc_e              rc;
    astro_json_doc_t            doc;
    const astro_json_member_t  *m;

    memset(who, 0, sizeof(astro_outside_t));

    rc = astro_jwt_open(p, keys, token, len, text, &n);

    if (rc != ASTRO_JWT_OK) {
        return rc;
    }

    if (astro_json_parse(p, text, n, &doc) != 0
        || !astro_jwt_string_is(astro_json_get(&doc.root, "iss"), iss)
        || astro_jwt_text(&doc.root, "sub", who->sub, sizeof(who->sub)) != 1)
    {
        return ASTRO_JWT_MALFORMED;
    }

    m = astro_json_get(&doc.root, "aud");

    if (aud ? !astro_jwt_audience_ok(p, m, aud) : m != NULL) {
        return ASTRO_JWT_MALFORMED;
    }

    /* what is not what it should be is as if it were not there */

    if (astro_jwt_text(&doc.root, "email", who->email, sizeof(who->email))
        != 1)
    {
        who->email[0] = '\0';
    }

    if (astro_jwt_text(&doc.root, "name", who->name, sizeof(who->name))
        != 1)
    {
        who->name[0] = '\0';
    }

    m = astro_json_get(&doc.root, "email_verified");
    who->email_verified = m && m->kind == ASTRO_JSON_BOOL
                          && m->raw[0] == 't';

    rc = astro_jwt_times(&doc.root, now, ASTRO_JWT_LEEWAY_OUTSIDE,
                         ASTRO_JWT_LEEWAY_OUTSIDE, &who->iat, &who->exp);

    /* an iat is renewed with the token, without anybody signing in */

    if (rc == ASTRO_JWT_OK
        && astro_jwt_time(&doc.root, "auth_time", who->iat, &who->since) != 0)
    {
        who->since = 0;
    }

    return rc;
}


ssize_t
astro_jwt_issuer(astro_json_parser_t *p, const uint8_t *token, size_t len,
    char *buf, size_t size)
{
    ssize_t           n;
    uint8_t           text[ASTRO_JWT_MAX];
    const uint8_t    *payload, *signature;
    astro_json_doc_t  doc;

    if (len > ASTRO_JWT_MAX) {
        return -1;
    }

    payload = memchr(token, '.', len);

    if (payload == NULL) {
        return -1;
    }

    payload++;
    signature = memchr(payload, '.', (size_t) (token + len - payload));

    if (signature == NULL) {
        return -1;
    }

    n = astro_base64url_decode(text, ASTRO_JWT_MAX, payload,
                               (size_t) (signature - payload));

    if (n < 0 || astro_json_parse(p, text, (size_t) n, &doc) != 0) {
        return -1;
    }

    return astro_json_string(astro_json_get(&doc.root, "iss"),
                             (uint8_t *) buf, size);
}


/* The payload of a token that one of the keys has signed. */

static astro_jwt_rc_e
astro_jwt_open(astro_json_parser_t *p, const astro_keys_t *keys,
    const uint8_t *token, size_t len, uint8_t text[ASTRO_JWT_MAX],
    size_t *text_len)
{
    ssize_t              n;
    uint8_t              sig[ASTRO_KEYS_SIG_MAX];
    const uint8_t       *payload, *signature, *last;
    astro_jwt_rc_e       rc;
    astro_jwt_header_t   header;

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

    n = astro_base64url_decode(text, ASTRO_JWT_MAX, token,
                               (size_t) (payload - token) - 1);

    if (n < 0 || astro_jwt_header(p, text, (size_t) n, &header) != 0) {
        return ASTRO_JWT_MALFORMED;
    }

    n = astro_base64url_decode(sig, sizeof(sig), signature,
                               (size_t) (last - signature));

    if (n < 0) {
        return ASTRO_JWT_SIGNATURE;
    }

    rc = astro_jwt_signature(keys, &header, token,
                             (size_t) (signature - token) - 1, sig,
                             (size_t) n);
    if (rc != ASTRO_JWT_OK) {
        return rc;
    }

    n = astro_base64url_decode(text, ASTRO_JWT_MAX, payload,
                               (size_t) (signature - payload) - 1);

    if (n < 0) {
        return ASTRO_JWT_MALFORMED;
    }

    *text_len = (size_t) n;

    return ASTRO_JWT_OK;
}


static int
astro_jwt_header(astro_json_parser_t *p, const uint8_t *s, size_t len,
    astro_jwt_header_t *header)
{
    ssize_t                     n;
    uint8_t                     alg[8];
    astro_json_doc_t            doc;
    const astro_json_member_t  *typ, *kid;

    if (astro_json_parse(p, s, len, &doc) != 0) {
        return -1;
    }

    n = astro_json_string(astro_json_get(&doc.root, "alg"), alg, sizeof(alg));
    header->alg = n < 0 ? ASTRO_ALG_NONE : astro_alg_parse(alg, (size_t) n);

    typ = astro_json_get(&doc.root, "typ");

    /* crit names extensions that we would have to know, and know none */

    if (header->alg == ASTRO_ALG_NONE
        || (typ && !astro_jwt_string_is(typ, "JWT"))
        || astro_json_get(&doc.root, "crit"))
    {
        return -1;
    }

    header->kid_len = -1;
    kid = astro_json_get(&doc.root, "kid");

    if (kid) {
        header->kid_len = astro_json_string(kid, (uint8_t *) header->kid,
                                            ASTRO_KEYS_KID_MAX);

        if (header->kid_len < 0) {
            return -1;
        }

        header->kid[header->kid_len] = '\0';
    }

    return 0;
}


static astro_jwt_rc_e
astro_jwt_signature(const astro_keys_t *keys,
    const astro_jwt_header_t *header, const uint8_t *data, size_t len,
    const uint8_t *sig, size_t sig_len)
{
    size_t              i, tried;
    const char         *kid;
    const astro_key_t  *key;

    tried = 0;

    for (i = 0; i < astro_keys_count(keys); i++) {
        key = astro_keys_at(keys, i);
        kid = astro_key_kid(key);

        if (astro_key_alg(key) != header->alg
            || (header->kid_len >= 0 && *kid
                && strcmp(kid, header->kid) != 0))
        {
            continue;
        }

        if (astro_key_check(key, data, len, sig, sig_len)) {
            return ASTRO_JWT_OK;
        }

        tried++;
    }

    return tried ? ASTRO_JWT_SIGNATURE : ASTRO_JWT_KEY;
}


static astro_jwt_rc_e
astro_jwt_claims(astro_json_parser_t *p, const uint8_t *s, size_t len,
    int64_t now, astro_claims_t *claims)
{
    ssize_t           n;
    uint8_t           text[ASTRO_ID_MAX + 1];
    astro_json_doc_t  doc;

    if (astro_json_parse(p, s, len, &doc) != 0) {
        return ASTRO_JWT_MALFORMED;
    }

    if (!astro_jwt_string_is(astro_json_get(&doc.root, "iss"),
                             ASTRO_JWT_ISSUER)
        || !astro_jwt_audience_ok(p, astro_json_get(&doc.root, "aud"),
                                  ASTRO_JWT_AUDIENCE))
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

    if (claims->user == 0 || claims->role == ASTRO_ROLE_NONE
        || astro_jwt_id(&doc.root, "jti", claims->jti) != 0
        || astro_jwt_id(&doc.root, "sid", claims->sid) != 0)
    {
        return ASTRO_JWT_MALFORMED;
    }

    claims->since = 0;

    return astro_jwt_times(&doc.root, now, 0, ASTRO_JWT_LEEWAY, &claims->iat,
                           &claims->exp);
}


/* "aud" is a string or an array of strings (RFC 7519 section 4.1.3). */

static int
astro_jwt_audience_ok(astro_json_parser_t *p, const astro_json_member_t *m,
    const char *aud)
{
    if (m == NULL) {
        return 0;
    }

    if (m->kind != ASTRO_JSON_ARRAY) {
        return astro_jwt_string_is(m, aud);
    }

    return astro_json_scalars(p, m, astro_jwt_is_audience, (void *) aud) == 1;
}


static int
astro_jwt_is_audience(void *ctx, int depth, const astro_json_member_t *scalar)
{
    return depth == 1 && astro_jwt_string_is(scalar, ctx);
}


static int
astro_jwt_string_is(const astro_json_member_t *m, const char *s)
{
    ssize_t  n;
    uint8_t  text[ASTRO_JWT_VALUE];

    n = astro_json_string(m, text, sizeof(text));

    return n >= 0 && (size_t) n == strlen(s)
           && memcmp(text, s, (size_t) n) == 0;
}


/* 1: buf has it, terminated; 0: there is none; -1: no string, or too long */

static int
astro_jwt_text(const astro_json_object_t *o, const char *name, char *buf,
    size_t size)
{
    ssize_t                     n;
    const astro_json_member_t  *m;

    m = astro_json_get(o, name);

    if (m == NULL) {
        return 0;
    }

    n = astro_json_string(m, (uint8_t *) buf, size - 1);

    if (n <= 0) {
        return -1;
    }

    buf[n] = '\0';

    return 1;
}


static int
astro_jwt_id(const astro_json_object_t *o, const char *name,
    char id[ASTRO_JWT_JTI + 1])
{
    int  rc;

    rc = astro_jwt_text(o, name, id, ASTRO_JWT_JTI + 1);

    return rc == 0 || (rc == 1 && astro_jwt_id_ok(id)) ? 0 : -1;
}


static astro_jwt_rc_e
astro_jwt_times(const astro_json_object_t *o, int64_t now,
    int64_t exp_leeway, int64_t leeway, int64_t *iat, int64_t *exp)
{
    int64_t  nbf;

    if (astro_jwt_time(o, "exp", -1, exp) != 0
        || astro_jwt_time(o, "iat", 0, iat) != 0
        || astro_jwt_time(o, "nbf", 0, &nbf) != 0
        || *exp < 0)
    {
        return ASTRO_JWT_MALFORMED;
    }

    if (now >= *exp + exp_leeway) {
        return ASTRO_JWT_EXPIRED;
    }

    return *iat > now + leeway || nbf > now + leeway ? ASTRO_JWT_NOT_YET
                                                     : ASTRO_JWT_OK;
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
astro_jwt_id_ok(const char *s)
{
    return strspn(s, "0123456789abcdef") == ASTRO_JWT_JTI
           && s[ASTRO_JWT_JTI] == '\0';
}


ssize_t
astro_jwt_issue(const astro_keys_t *keys, astro_claims_t *claims,
    uint8_t *buf, size_t size)
{
    int                 n;
    char                text[ASTRO_JWT_TEXT];
    size_t              len;
    ssize_t             part;
    uint8_t             sig[ASTRO_KEYS_SIG_MAX];
    const char         *kid;
    const astro_key_t  *key;

    key = astro_keys_at(keys, 0);

    if (key == NULL || claims->user == 0
        || *astro_role_name(claims->role) == '\0')
    {
        return -1;
    }

    if (claims->jti[0] == '\0' && astro_jwt_random_id(claims->jti) != 0) {
        return -1;
    }

    if (!astro_jwt_id_ok(claims->jti)
        || (claims->sid[0] && !astro_jwt_id_ok(claims->sid)))
    {
        return -1;
    }

    kid = astro_key_kid(key);

    n = snprintf(text, sizeof(text), "{\"alg\":\"%s\",\"typ\":\"JWT\"%s%s%s}",
                 astro_alg_name(astro_key_alg(key)), *kid ? ",\"kid\":\"" : "",
                 kid, *kid ? "\"" : "");

    part = astro_jwt_part(buf, size, 0, text, (size_t) n);

    if (part < 0 || (size_t) part == size) {
        return -1;
    }

    len = (size_t) part;
    buf[len++] = '.';

    n = snprintf(text, sizeof(text),
                 "{\"iss\":\"" ASTRO_JWT_ISSUER "\","
                 "\"aud\":\"" ASTRO_JWT_AUDIENCE "\","
                 "\"sub\":\"u_%llu\",\"role\":\"%s\","
                 "\"iat\":%lld,\"exp\":%lld,\"jti\":\"%s\"%s%s%s}",
                 (unsigned long long) claims->user,
                 astro_role_name(claims->role),
                 (long long) claims->iat, (long long) claims->exp,
                 claims->jti, claims->sid[0] ? ",\"sid\":\"" : "",
                 claims->sid, claims->sid[0] ? "\"" : "");

    if (n < 0 || (size_t) n >= sizeof(text)) {
        return -1;
    }

    part = astro_jwt_part(buf, size, len, text, (size_t) n);

    if (part < 0 || (size_t) part == size) {
        return -1;
    }

    len = (size_t) part;

    part = astro_key_sign(key, buf, len, sig, sizeof(sig));

    if (part < 0) {
        return -1;
    }

    buf[len++] = '.';

    return astro_jwt_part(buf, size, len, sig, (size_t) part);
}


/* Encodes src at buf + at; where it ends, or -1. */

static ssize_t
astro_jwt_part(uint8_t *buf, size_t size, size_t at, const void *src,
    size_t len)
{
    ssize_t  n;

    n = astro_base64url_encode(buf + at, size - at, src, len);

    return n < 0 ? -1 : (ssize_t) at + n;
}


int
astro_jwt_random_id(char id[ASTRO_JWT_JTI + 1])
{
    int                i;
    uint8_t            random[ASTRO_JWT_JTI / 2];
    static const char  hex[] = "0123456789abcdef";

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return -1;
    }

    for (i = 0; i < ASTRO_JWT_JTI / 2; i++) {
        id[i * 2] = hex[random[i] >> 4];
        id[i * 2 + 1] = hex[random[i] & 0xf];
    }

    id[ASTRO_JWT_JTI] = '\0';

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
