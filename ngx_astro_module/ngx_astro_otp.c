
/*
 * Copyright (C) The Astro authors
 *
 * Codes that are sent to a phone: to log in, or to prove that a number is one's
 * own.  Neither the time nor the words of an answer say whether anybody has
 * the number.  The message is the billing worker's to send, from the outbox;
 * the code itself leaves this file neither to the database nor to a log.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_keys.h"
#include "astro_otp.h"


#define NGX_ASTRO_PHONE_MIN  8          /* E.164, with the plus */
#define NGX_ASTRO_PHONE_MAX  16

/* what the key is used for */
#define NGX_ASTRO_OTP_CHECK   "check"
#define NGX_ASTRO_OTP_ORIGIN  "origin"


typedef struct {
    ngx_uint_t   cookie;                /* tokens as cookies */
    ngx_uint_t   login;                 /* not a number of one's own */
} ngx_astro_otp_t;


static ngx_int_t ngx_astro_otp_begin(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t login);
static ngx_int_t ngx_astro_otp_ask(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t login);
static void ngx_astro_otp_asked(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_otp_prove(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t login);
static void ngx_astro_otp_proven(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_otp_digits(ngx_astro_api_ctx_t *ctx,
    const char *name, const char *of, char *buf, size_t min, size_t max);
static int ngx_astro_otp_mac(const char *kind, const char *id,
    const char *text, char mac[ASTRO_OTP_MAC + 1]);


/* "astro_otp_key_file": the worker that sends has the same. */

ngx_int_t
ngx_astro_otp_read(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    size_t   n;
    u_char  *key;

    if (conf->otp_file.len == 0) {
        return NGX_OK;
    }

    key = ngx_pnalloc(cf->pool, ASTRO_OTP_KEY_MAX + 2);

    if (key == NULL
        || ngx_astro_keys_file(cf, "astro_otp_key_file", &conf->otp_file, key,
                               ASTRO_OTP_KEY_MAX + 2, &n)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (n > 0 && (key[n - 1] == '\n' || key[n - 1] == '\r')) {
        n--;
    }

    if (n < ASTRO_OTP_KEY_MIN || n > ASTRO_OTP_KEY_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_otp_key_file\" \"%V\" must hold from %d "
                           "to %d bytes", &conf->otp_file, ASTRO_OTP_KEY_MIN,
                           ASTRO_OTP_KEY_MAX);
        return NGX_ERROR;
    }

    conf->otp_key.data = key;
    conf->otp_key.len = n;

    return NGX_OK;
}


ngx_int_t
ngx_astro_api_otp_request(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_otp_ask(ctx, 1);
}


ngx_int_t
ngx_astro_api_otp_verify(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_otp_prove(ctx, 1);
}


ngx_int_t
ngx_astro_api_phone_request(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_otp_ask(ctx, 0);
}


ngx_int_t
ngx_astro_api_phone_verify(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_otp_prove(ctx, 0);
}


/* NGX_DECLINED: go on; else what the handler returns. */

static ngx_int_t
ngx_astro_otp_begin(ngx_astro_api_ctx_t *ctx, ngx_uint_t login)
{
    ngx_astro_otp_t            *otp;
    const astro_json_member_t  *m;

    if (ngx_astro.conf->otp_key.len == 0) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNSUPPORTED,
                                     "no codes are sent here", NULL);
    }

    otp = ngx_pcalloc(ctx->r->pool, sizeof(ngx_astro_otp_t));
    if (otp == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    m = login ? astro_json_get(&ctx->doc.root, "cookie") : NULL;

    if (m && m->kind != ASTRO_JSON_BOOL) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "cookie is true or false", "/cookie");
    }

    otp->cookie = m && m->raw[0] == 't';
    otp->login = login;
    ctx->data = otp;

    return NGX_DECLINED;
}


static ngx_int_t
ngx_astro_otp_ask(ngx_astro_api_ctx_t *ctx, ngx_uint_t login)
{
    ngx_int_t    rc;
    const char  *values[6];
    char         caller[NGX_INT64_LEN + 1], phone[NGX_ASTRO_PHONE_MAX + 1];
    char         id[ASTRO_JWT_JTI + 1], address[NGX_SOCKADDR_STRLEN + 1];
    char         nonce[ASTRO_OTP_NONCE + 1], code[ASTRO_OTP_DIGITS + 1];
    char         mac[ASTRO_OTP_MAC + 1], origin[ASTRO_OTP_MAC + 1];

    rc = ngx_astro_otp_begin(ctx, login);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_astro_otp_digits(ctx, "phone", "+0123456789", phone,
                             NGX_ASTRO_PHONE_MIN, NGX_ASTRO_PHONE_MAX)
        != NGX_OK
        || phone[0] != '+' || phone[1] == '0' || strchr(phone + 1, '+'))
    {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "phone is a number like +919800000001",
                                     "/phone");
    }

    *ngx_cpymem(address, ctx->r->connection->addr_text.data,
                ngx_min(ctx->r->connection->addr_text.len,
                        NGX_SOCKADDR_STRLEN)) = '\0';

    rc = astro_jwt_random_id(id) != 0 || astro_otp_nonce(nonce) != 0
         || astro_otp_code(ngx_astro.conf->otp_key.data,
                           ngx_astro.conf->otp_key.len, nonce,
                           ASTRO_OTP_NONCE, code)
            != 0
         || ngx_astro_otp_mac(NGX_ASTRO_OTP_CHECK, id, code, mac) != 0
         || ngx_astro_otp_mac(NGX_ASTRO_OTP_ORIGIN, address, "", origin) != 0;

    ngx_explicit_memzero(code, sizeof(code));

    if (rc) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *ngx_sprintf((u_char *) caller, "%uL", login ? 0 : ctx->claims.user)
        = '\0';

    values[0] = caller;
    values[1] = id;
    values[2] = mac;
    values[3] = nonce;
    values[4] = phone;
    values[5] = origin;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_otp_request, values,
                             ngx_astro_otp_asked);
}


/* The row: status, body, retry_s. */

static void
ngx_astro_otp_asked(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    if (rc == NGX_ASTRO_PG_OK && PQntuples(res) == 1) {
        ctx->retry_s = ngx_astro_pg_int(res, 0, 2);
    }

    ngx_astro_api_answer(data, rc, res);
}


static ngx_int_t
ngx_astro_otp_prove(ngx_astro_api_ctx_t *ctx, ngx_uint_t login)
{
    ngx_int_t    rc;
    const char  *values[3];
    char         caller[NGX_INT64_LEN + 1], id[ASTRO_JWT_JTI + 1];
    char         code[ASTRO_OTP_DIGITS + 1], mac[ASTRO_OTP_MAC + 1];

    rc = ngx_astro_otp_begin(ctx, login);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ngx_astro_otp_digits(ctx, "challenge", "0123456789abcdef", id,
                             ASTRO_JWT_JTI, ASTRO_JWT_JTI)
        != NGX_OK)
    {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "challenge is what was answered when the "
                                     "code was asked for", "/challenge");
    }

    if (ngx_astro_otp_digits(ctx, "code", "0123456789", code,
                             ASTRO_OTP_DIGITS, ASTRO_OTP_DIGITS)
        != NGX_OK)
    {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "code is a string of six digits",
                                     "/code");
    }

    rc = ngx_astro_otp_mac(NGX_ASTRO_OTP_CHECK, id, code, mac);
    ngx_explicit_memzero(code, sizeof(code));

    if (rc != 0) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    *ngx_sprintf((u_char *) caller, "%uL", login ? 0 : ctx->claims.user)
        = '\0';

    values[0] = caller;
    values[1] = id;
    values[2] = mac;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_otp_verify, values,
                             ngx_astro_otp_proven);
}


/* The row: status, body, account. */

static void
ngx_astro_otp_proven(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    ngx_uint_t        right;
    ngx_astro_otp_t  *otp;

    otp = ctx->data;

    right = rc == NGX_ASTRO_PG_OK && PQntuples(res) == 1
            && ngx_astro_pg_int(res, 0, 0) == NGX_HTTP_OK;

    if (right && otp->login) {
        ngx_astro_api_finish(ctx,
                             ngx_astro_signin(ctx, ngx_astro_pg_int(res, 0, 2),
                                              otp->cookie));
        return;
    }

    if (!right && rc == NGX_ASTRO_PG_OK) {
        ngx_astro_count(AUTH_FAILED);
    }

    ngx_astro_api_answer(data, rc, res);
}


/* A string of so many of these characters, and no others; terminated. */

static ngx_int_t
ngx_astro_otp_digits(ngx_astro_api_ctx_t *ctx, const char *name,
    const char *of, char *buf, size_t min, size_t max)
{
    ssize_t  n;

    n = astro_json_string(astro_json_get(&ctx->doc.root, name),
                          (uint8_t *) buf, max);

    if (n < (ssize_t) min) {
        return NGX_ERROR;
    }

    buf[n] = '\0';

    return strspn(buf, of) == (size_t) n ? NGX_OK : NGX_ERROR;
}


static int
ngx_astro_otp_mac(const char *kind, const char *id, const char *text,
    char mac[ASTRO_OTP_MAC + 1])
{
    return astro_otp_mac(ngx_astro.conf->otp_key.data,
                         ngx_astro.conf->otp_key.len, kind, id, text, mac);
}
