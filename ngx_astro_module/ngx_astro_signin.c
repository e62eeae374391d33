
/*
 * Copyright (C) The Astro authors
 *
 * Who has proven who he is gets tokens: an access token, and a refresh token
 * for the next ones, good once.  In the answer, or as cookies that no script
 * can read.  Then refresh and logout.
 *
 * A refresh token is "<account>.<login>.<secret>"; the database has its
 * SHA-256 alone.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_revoked.h"

#include <openssl/rand.h>
#include <openssl/sha.h>


#define NGX_ASTRO_SECRET       32       /* bytes of randomness */
#define NGX_ASTRO_SECRET_TEXT  43       /* the same in base64url */
#define NGX_ASTRO_REFRESH_MAX                                                 \
    (NGX_INT64_LEN + 1 + ASTRO_JWT_JTI + 1 + NGX_ASTRO_SECRET_TEXT)
#define NGX_ASTRO_HASH_TEXT    (SHA256_DIGEST_LENGTH * 2 + 1)
#define NGX_ASTRO_COOKIE_MAX                                                  \
    (ASTRO_JWT_MAX + sizeof(NGX_ASTRO_COOKIE_ATTRIBUTES)                      \
     + sizeof(NGX_ASTRO_COOKIE) + NGX_TIME_T_LEN + 64)

#define NGX_ASTRO_COOKIE_ATTRIBUTES                                           \
    "; HttpOnly; Secure; SameSite=Strict; Path=/api/auth; Max-Age="


typedef struct {
    ngx_uint_t   cookie;
    size_t       refresh_len;
    char         sid[ASTRO_JWT_JTI + 1];
    u_char       refresh[NGX_ASTRO_REFRESH_MAX];
} ngx_astro_signin_t;


static ngx_astro_signin_t *ngx_astro_signin_create(ngx_astro_api_ctx_t *ctx,
    uint64_t user, const char *sid, ngx_uint_t cookie, char *hash);
static void ngx_astro_signin_hash(const u_char *text, size_t len, char *hash);
static void ngx_astro_signin_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_signin_answer(ngx_astro_api_ctx_t *ctx,
    PGresult *res);
static ngx_int_t ngx_astro_signin_cookies(ngx_astro_api_ctx_t *ctx,
    const u_char *token, size_t len, const u_char *refresh,
    size_t refresh_len, ngx_uint_t gone);
static ngx_int_t ngx_astro_refresh_parse(const ngx_str_t *text,
    uint64_t *user, char sid[ASTRO_JWT_JTI + 1]);
static void ngx_astro_logout_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


ngx_int_t
ngx_astro_signin(ngx_astro_api_ctx_t *ctx, uint64_t user, ngx_uint_t cookie)
{
    const char          *values[4];
    ngx_astro_signin_t  *s;
    char                 account[NGX_INT64_LEN + 1], life[NGX_TIME_T_LEN + 1];
    char                 hash[NGX_ASTRO_HASH_TEXT];

    s = ngx_astro_signin_create(ctx, user, NULL, cookie, hash);
    if (s == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *ngx_sprintf((u_char *) account, "%uL", user) = '\0';
    *ngx_sprintf((u_char *) life, "%T", ngx_astro.conf->refresh_ttl) = '\0';

    values[0] = account;
    values[1] = s->sid;
    values[2] = hash;
    values[3] = life;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_login_open, values,
                             ngx_astro_signin_done);
}


/* sid: of the login that goes on, NULL: one begins */

static ngx_astro_signin_t *
ngx_astro_signin_create(ngx_astro_api_ctx_t *ctx, uint64_t user,
    const char *sid, ngx_uint_t cookie, char *hash)
{
    u_char              *p;
    u_char               secret[NGX_ASTRO_SECRET];
    ngx_astro_signin_t  *s;

    s = ngx_pcalloc(ctx->r->pool, sizeof(ngx_astro_signin_t));

    if (s == NULL || RAND_bytes(secret, NGX_ASTRO_SECRET) != 1) {
        return NULL;
    }

    if (sid) {
        ngx_memcpy(s->sid, sid, sizeof(s->sid));

    } else if (astro_jwt_random_id(s->sid) != 0) {
        return NULL;
    }

    p = ngx_sprintf(s->refresh, "%uL.%s.", user, s->sid);
    p += astro_base64url_encode(p, NGX_ASTRO_SECRET_TEXT, secret,
                                NGX_ASTRO_SECRET);

    s->refresh_len = p - s->refresh;
    s->cookie = cookie;
    ctx->data = s;

    ngx_astro_signin_hash(s->refresh, s->refresh_len, hash);

    return s;
}


static void
ngx_astro_signin_hash(const u_char *text, size_t len, char *hash)
{
    u_char  sum[SHA256_DIGEST_LENGTH];

    (void) SHA256(text, len, sum);
    *ngx_hex_dump((u_char *) hash, sum, SHA256_DIGEST_LENGTH) = '\0';
}


static void
ngx_astro_signin_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    if (rc == NGX_ASTRO_PG_OK && PQntuples(res) == 1
        && ngx_astro_pg_int(res, 0, 0) == NGX_HTTP_OK)
    {
        ngx_astro_api_finish(ctx, ngx_astro_signin_answer(ctx, res));
        return;
    }

    ngx_astro_count(AUTH_FAILED);
    ngx_astro_api_answer(data, rc, res);
}


/* The row: status, body, id, role, iat. */

static ngx_int_t
ngx_astro_signin_answer(ngx_astro_api_ctx_t *ctx, PGresult *res)
{
    u_char              *p, *last;
    u_char               token[ASTRO_JWT_MAX], buf[ASTRO_JWT_MAX + 512];
    ssize_t              n;
    ngx_str_t            role;
    astro_claims_t       claims;
    ngx_astro_signin_t  *s;
    u_char               csrf[NGX_ASTRO_CSRF_LEN];

    s = ctx->data;
    last = buf + sizeof(buf);

    ngx_memzero(&claims, sizeof(astro_claims_t));
    claims.user = ngx_astro_pg_int(res, 0, 2);
    role = ngx_astro_pg_str(res, 0, 3);
    claims.role = astro_role_parse(role.data, role.len);
    claims.iat = ngx_astro_pg_int(res, 0, 4);
    claims.exp = ngx_time() + ngx_astro.conf->token_ttl;
    ngx_memcpy(claims.sid, s->sid, sizeof(s->sid));

    n = astro_jwt_issue(ngx_astro.conf->keys, &claims, token, sizeof(token));

    if (n < 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = ngx_slprintf(buf, last, "{\"expires_in\":%T,"
                     "\"refresh_expires_in\":%T,"
                     "\"user\":{\"id\":\"u_%uL\",\"role\":\"%s\"},",
                     ngx_astro.conf->token_ttl, ngx_astro.conf->refresh_ttl,
                     claims.user, astro_role_name(claims.role));

    if (s->cookie) {
        ngx_astro_auth_csrf(&claims, csrf);
        p = ngx_slprintf(p, last, "\"csrf\":\"%*s\"}",
                         (size_t) NGX_ASTRO_CSRF_LEN, csrf);

        if (ngx_astro_signin_cookies(ctx, token, n, s->refresh,
                                     s->refresh_len, 0)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

    } else {
        p = ngx_slprintf(p, last, "\"token_type\":\"Bearer\","
                         "\"token\":\"%*s\",\"refresh_token\":\"%*s\"}",
                         (size_t) n, token, s->refresh_len, s->refresh);
    }

    if (ngx_astro_api_header(ctx->r, "Cache-Control", "no-store", 8)
        != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_astro_api_send(ctx, NGX_HTTP_OK, buf, p - buf);
}


/*
 * The names' prefixes are promises that browsers hold us to: __Host- that no
 * other host of the domain has set it, both that it came over TLS.
 */

static ngx_int_t
ngx_astro_signin_cookies(ngx_astro_api_ctx_t *ctx, const u_char *token,
    size_t len, const u_char *refresh, size_t refresh_len, ngx_uint_t gone)
{
    u_char  *a, *b, *p;

    a = ngx_pnalloc(ctx->r->pool, NGX_ASTRO_COOKIE_MAX);
    b = ngx_pnalloc(ctx->r->pool, NGX_ASTRO_COOKIE_MAX);

    if (a == NULL || b == NULL) {
        return NGX_ERROR;
    }

    p = ngx_snprintf(a, NGX_ASTRO_COOKIE_MAX, NGX_ASTRO_COOKIE "=%*s"
                     "; HttpOnly; Secure; SameSite=Lax; Path=/; Max-Age=%T",
                     len, token, gone ? 0 : ngx_astro.conf->token_ttl);

    if (ngx_astro_api_header(ctx->r, "Set-Cookie", (char *) a, p - a)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    p = ngx_snprintf(b, NGX_ASTRO_COOKIE_MAX, NGX_ASTRO_COOKIE_REFRESH "=%*s"
                     NGX_ASTRO_COOKIE_ATTRIBUTES "%T", refresh_len, refresh,
                     gone ? 0 : ngx_astro.conf->refresh_ttl);

    return ngx_astro_api_header(ctx->r, "Set-Cookie", (char *) b, p - b);
}


static ngx_int_t
ngx_astro_refresh_parse(const ngx_str_t *text, uint64_t *user,
    char sid[ASTRO_JWT_JTI + 1])
{
    u_char     *dot, *last;
    ngx_int_t   n;

    last = text->data + text->len;
    dot = text->len ? ngx_strlchr(text->data, last, '.') : NULL;

    if (dot == NULL
        || last - dot != 1 + ASTRO_JWT_JTI + 1 + NGX_ASTRO_SECRET_TEXT
        || dot[1 + ASTRO_JWT_JTI] != '.')
    {
        return NGX_ERROR;
    }

    n = ngx_atoi(text->data, dot - text->data);

    if (n <= 0) {
        return NGX_ERROR;
    }

    *user = n;
    ngx_memcpy(sid, dot + 1, ASTRO_JWT_JTI);
    sid[ASTRO_JWT_JTI] = '\0';

    return strspn(sid, "0123456789abcdef") == ASTRO_JWT_JTI ? NGX_OK
                                                            : NGX_ERROR;
}


ngx_int_t
ngx_astro_api_refresh(ngx_astro_api_ctx_t *ctx)
{
    ngx_str_t                   token;
    uint64_t                    user;
    ngx_uint_t                  cookie;
    const char                 *values[6];
    const astro_json_member_t  *m;
    char                        sid[ASTRO_JWT_JTI + 1];
    char                        account[NGX_INT64_LEN + 1];
    char                        life[NGX_TIME_T_LEN + 1];
    char                        ttl[NGX_TIME_T_LEN + 1];
    char                        hash[NGX_ASTRO_HASH_TEXT];
    char                        fresh[NGX_ASTRO_HASH_TEXT];

    cookie = 0;
    m = astro_json_get(&ctx->doc.root, "refresh_token");

    if (m) {

        if (m->kind != ASTRO_JSON_STRING) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         "refresh_token is a string",
                                         "/refresh_token");
        }

        token.data = (u_char *) m->raw + 1;
        token.len = m->raw_len - 2;

    } else {
        cookie = 1;
        token = ngx_astro_auth_cookie(ctx->r, NGX_ASTRO_COOKIE_REFRESH);

        if (token.len == 0) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         "refresh_token is missing",
                                         "/refresh_token");
        }

        if (!ngx_astro_auth_same_site(ctx->r, NULL)) {
            ngx_astro_count(DENIED);
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_FORBIDDEN,
                                         NGX_ASTRO_CSRF_TEXT, NULL);
        }
    }

    if (ngx_astro_refresh_parse(&token, &user, sid) != NGX_OK) {
        ngx_astro_count(AUTH_FAILED);
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAUTHORIZED,
                                     "this is no refresh token", NULL);
    }

    ngx_astro_signin_hash(token.data, token.len, hash);

    if (ngx_astro_signin_create(ctx, user, sid, cookie, fresh) == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *ngx_sprintf((u_char *) account, "%uL", user) = '\0';
    *ngx_sprintf((u_char *) life, "%T", ngx_astro.conf->refresh_ttl) = '\0';
    *ngx_sprintf((u_char *) ttl, "%T", ngx_astro.conf->token_ttl) = '\0';

    values[0] = account;
    values[1] = sid;
    values[2] = hash;
    values[3] = fresh;
    values[4] = life;
    values[5] = ttl;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_login_refresh, values,
                             ngx_astro_signin_done);
}


ngx_int_t
ngx_astro_api_logout(ngx_astro_api_ctx_t *ctx)
{
    const char  *values[5];
    char         account[NGX_INT64_LEN + 1], ttl[NGX_TIME_T_LEN + 1];

    *ngx_sprintf((u_char *) account, "%uL", ctx->claims.user) = '\0';

    /* twice: a reload may have shortened it */

    *ngx_sprintf((u_char *) ttl, "%T", ngx_astro.conf->token_ttl * 2) = '\0';

    values[0] = account;
    values[1] = ctx->claims.sid;
    values[2] = ctx->claims.jti;
    values[3] = ttl;
    values[4] = (char *) ctx->body.data;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_logout, values,
                             ngx_astro_logout_done);
}


static void
ngx_astro_logout_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    const char  *id;

    if (rc == NGX_ASTRO_PG_OK) {

        /*
         * Here at once, everywhere else when heal looks; as long as api.logout
         * says, for a login's last token may expire after this one.
         */

        id = ctx->claims.sid[0] ? ctx->claims.sid : ctx->claims.jti;

        ngx_astro_revoked_note(ctx->claims.user, (u_char *) id,
                               ngx_strlen(id), ngx_time() + 60
                               + ngx_astro.conf->token_ttl * 2);
        ngx_astro_heal_barred();

        if (ngx_astro_auth_cookie(ctx->r, NGX_ASTRO_COOKIE).len
            && ngx_astro_signin_cookies(ctx, (u_char *) "", 0, (u_char *) "",
                                        0, 1)
               != NGX_OK)
        {
            ngx_astro_api_finish(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }
    }

    ngx_astro_api_answer(data, rc, res);
}
