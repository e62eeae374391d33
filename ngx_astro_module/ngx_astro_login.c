
/*
 * Copyright (C) The Astro authors
 *
 * Register and log in: the two routes with steps of their own, because a
 * password is hashed in a thread between reading the body and the answer.
 * Somebody who tries addresses learns nothing from the time a refusal takes:
 * without an account the same work is done on nothing.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_limits.h"
#include "astro_password.h"


#define NGX_ASTRO_EMAIL_MAX  254        /* RFC 5321 section 4.5.3.1.3 */
#define NGX_ASTRO_NAME_MAX   100


typedef struct {
    ngx_astro_api_ctx_t    *ctx;
    ngx_astro_password_t    pw;
    uint64_t                user;
    astro_role_e            role;
    ngx_uint_t              blocked;
    ngx_uint_t              cookie;         /* tokens as cookies */
    u_char                  email[NGX_ASTRO_EMAIL_MAX + 1];
    u_char                  name[NGX_ASTRO_NAME_MAX + 1];
} ngx_astro_login_t;


static ngx_astro_login_t *ngx_astro_login_read(ngx_astro_api_ctx_t *ctx,
    ngx_int_t *rc);
static ngx_int_t ngx_astro_login_field(ngx_astro_api_ctx_t *ctx,
    const char *name, u_char *buf, size_t min, size_t max);
static void ngx_astro_register_hashed(ngx_astro_password_t *pw);
static void ngx_astro_login_found(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_login_verified(ngx_astro_password_t *pw);


/* Length of the member, or NGX_ERROR: it is missing, too short or too long. */

static ngx_int_t
ngx_astro_login_field(ngx_astro_api_ctx_t *ctx, const char *name, u_char *buf,
    size_t min, size_t max)
{
    ssize_t  n;

    n = astro_json_string(astro_json_get(&ctx->doc.root, name), buf, max);

    if (n < (ssize_t) min) {
        return NGX_ERROR;
    }

    buf[n] = '\0';

    return n;
}


static ngx_astro_login_t *
ngx_astro_login_read(ngx_astro_api_ctx_t *ctx, ngx_int_t *rc)
{
    u_char                     *at;
    ngx_int_t                   n;
    ngx_astro_login_t          *login;
    const astro_json_member_t  *m;

    login = ngx_pcalloc(ctx->r->pool, sizeof(ngx_astro_login_t));

    if (login) {
        login->pw.password.data = ngx_pnalloc(ctx->r->pool,
                                              ASTRO_PASSWORD_MAX + 1);
    }

    if (login == NULL || login->pw.password.data == NULL) {
        *rc = NGX_HTTP_INTERNAL_SERVER_ERROR;
        return NULL;
    }

    login->ctx = ctx;
    login->pw.r = ctx->r;
    ctx->data = login;

    m = astro_json_get(&ctx->doc.root, "cookie");

    if (m && m->kind != ASTRO_JSON_BOOL) {
        *rc = ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                    "cookie is true or false", "/cookie");
        return NULL;
    }

    login->cookie = m && m->raw[0] == 't';

    n = ngx_astro_login_field(ctx, "email", login->email, 3,
                              NGX_ASTRO_EMAIL_MAX);
    at = n < 0 ? NULL : ngx_strlchr(login->email, login->email + n, '@');

    if (at == NULL || at == login->email || at[1] == '\0'
        || ngx_strlchr(at + 1, login->email + n, '@'))
    {
        *rc = ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                    "email is an address of at most 254 bytes",
                                    "/email");
        return NULL;
    }

    ngx_strlow(login->email, login->email, n);

    ctx->retry_s = ngx_astro_limits_request(ctx->r, NGX_ASTRO_L_LOGIN,
                                            login->email, n);
    if (ctx->retry_s) {
        *rc = ngx_astro_api_problem(ctx, NGX_ASTRO_E_RATE_LIMITED,
                                    "too many attempts", NULL);
        return NULL;
    }

    n = ngx_astro_login_field(ctx, "password", login->pw.password.data, 1,
                              ASTRO_PASSWORD_MAX);

    if (n < 0) {
        *rc = ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                    "password is a string of at most 256 "
                                    "bytes", "/password");
        return NULL;
    }

    login->pw.password.len = n;

    return login;
}


ngx_int_t
ngx_astro_api_register(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t           rc;
    ngx_astro_login_t  *login;

    login = ngx_astro_login_read(ctx, &rc);
    if (login == NULL) {
        return rc;
    }

    if (login->pw.password.len < ASTRO_PASSWORD_MIN) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "password has at least 8 bytes",
                                     "/password");
    }

    if (ngx_astro_login_field(ctx, "name", login->name, 1, NGX_ASTRO_NAME_MAX)
        < 0)
    {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "name is a string of 1 to 100 bytes",
                                     "/name");
    }

    ctx->r->main->count++;

    if (ngx_astro_password_post(&login->pw, ngx_astro_register_hashed)
        != NGX_OK)
    {
        ctx->r->main->count--;
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "too many at once, try again", NULL);
    }

    return NGX_DONE;
}


static void
ngx_astro_register_hashed(ngx_astro_password_t *pw)
{
    const char         *values[3];
    ngx_astro_login_t  *login;

    login = ngx_astro_of(pw, ngx_astro_login_t, pw);

    if (pw->rc != 0) {
        ngx_astro_api_finish(login->ctx, ngx_astro_api_problem(login->ctx,
                             NGX_ASTRO_E_INTERNAL, "internal error", NULL));
        return;
    }

    values[0] = (char *) login->email;
    values[1] = pw->hash;
    values[2] = (char *) login->name;

    /* the reference taken for the thread is given back after the call's own */

    ngx_astro_api_finish(login->ctx,
                         ngx_astro_api_call(login->ctx,
                                            &ngx_astro_sql_register, values));
}


ngx_int_t
ngx_astro_api_login(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t           rc;
    const char         *values[1];
    ngx_astro_login_t  *login;

    login = ngx_astro_login_read(ctx, &rc);
    if (login == NULL) {
        return rc;
    }

    values[0] = (char *) login->email;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_credentials, values,
                             ngx_astro_login_found);
}


static void
ngx_astro_login_found(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    ngx_str_t             role, hash;
    ngx_astro_login_t    *login;

    login = ctx->data;

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_api_finish(ctx, ngx_astro_api_problem(ctx,
                             NGX_ASTRO_E_UNAVAILABLE,
                             "no answer from the database, try again", NULL));
        return;
    }

    if (PQntuples(res) == 1) {
        login->user = ngx_astro_pg_int(res, 0, 0);
        role = ngx_astro_pg_str(res, 0, 1);
        login->role = astro_role_parse(role.data, role.len);
        hash = ngx_astro_pg_str(res, 0, 2);
        login->blocked = ngx_astro_pg_bool(res, 0, 3);

        login->pw.stored = ngx_pnalloc(ctx->r->pool, hash.len + 1);

        if (login->pw.stored == NULL) {
            ngx_astro_api_finish(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
            return;
        }

        *ngx_cpymem((u_char *) login->pw.stored, hash.data, hash.len) = '\0';
    }

    login->pw.verify = 1;

    if (ngx_astro_password_post(&login->pw, ngx_astro_login_verified)
        != NGX_OK)
    {
        ngx_astro_api_finish(ctx, ngx_astro_api_problem(ctx,
                             NGX_ASTRO_E_UNAVAILABLE,
                             "too many at once, try again", NULL));
    }
}


static void
ngx_astro_login_verified(ngx_astro_password_t *pw)
{
    ngx_int_t           rc;
    ngx_astro_login_t  *login;

    login = ngx_astro_of(pw, ngx_astro_login_t, pw);

    if (pw->rc != 1 || login->user == 0) {
        ngx_astro_count(AUTH_FAILED);
        rc = ngx_astro_api_problem(login->ctx, NGX_ASTRO_E_UNAUTHORIZED,
                                   "wrong e-mail or password", NULL);

    } else if (login->blocked) {
        ngx_astro_count(AUTH_FAILED);
        rc = ngx_astro_api_problem(login->ctx, NGX_ASTRO_E_FORBIDDEN,
                                   "this account is blocked", NULL);

    } else {
        rc = ngx_astro_signin(login->ctx, login->user, login->cookie);
    }

    ngx_astro_api_finish(login->ctx, rc);
}
