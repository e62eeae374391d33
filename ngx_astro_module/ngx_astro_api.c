
/*
 * Copyright (C) The Astro authors
 *
 * A request's way to its handler: route, limits, role, query, body: read,
 * bounded, in one piece; parsed if it is JSON of ours.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_limits.h"
#include "ngx_astro_old.h"
#include "ngx_astro_outside.h"
#include "astro_pan.h"


static ngx_int_t ngx_astro_api_signed(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_unsigned(ngx_astro_api_ctx_t *ctx,
    ngx_astro_error_e error);
static ngx_int_t ngx_astro_api_outside(ngx_astro_api_ctx_t *ctx);
static void ngx_astro_api_vouched(void *data, ngx_astro_error_e error);
static void ngx_astro_api_left(void *data);
static ngx_uint_t ngx_astro_api_limited(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_read(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_body(ngx_astro_api_ctx_t *ctx);
static off_t ngx_astro_api_body_max(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_too_large(ngx_astro_api_ctx_t *ctx);
static void ngx_astro_api_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_astro_api_body_copy(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_body_parsed(ngx_astro_api_ctx_t *ctx);
static const astro_json_member_t *ngx_astro_api_card(
    ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_carded(ngx_astro_api_ctx_t *ctx,
    const astro_json_member_t *m);
static ngx_uint_t ngx_astro_api_body_type(ngx_str_t *type);
static ngx_astro_class_e ngx_astro_api_class(
    const ngx_astro_route_row_t *row);
static ngx_int_t ngx_astro_api_method(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t allowed);


ngx_int_t
ngx_astro_api_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_uint_t            allowed;
    ngx_astro_api_ctx_t  *ctx;

    if (r != r->main) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_astro_count(HTTP_REQUESTS);

    ctx = ngx_pcalloc(r->pool, sizeof(ngx_astro_api_ctx_t));
    if (ctx == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->r = r;
    ctx->came_us = ngx_astro_boot_us();
    ngx_http_set_ctx(r, ctx, ngx_astro_module);

    if (ngx_astro_trace_begin(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->route = ngx_astro_routes_find(r->method == NGX_HTTP_HEAD
                                       ? NGX_HTTP_GET : r->method,
                                       &r->uri, ctx->path_id, &allowed);
    ctx->row = ctx->route ? ctx->route->row : NULL;

    if (ctx->row == NULL || ctx->row->body == NGX_ASTRO_BODY_NONE) {

        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    /* by the address, before anything is read: a password is dear to check */

    ctx->retry_s = ngx_astro_limits_request(r, ngx_astro_api_class(ctx->row),
                                            NULL, 0);
    if (ctx->retry_s) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_RATE_LIMITED,
                                     "too many requests", NULL);
    }

    if (ctx->row == NULL) {

        if (allowed && r->method == NGX_HTTP_OPTIONS) {
            return ngx_astro_cors_options(ctx, allowed);
        }

        return allowed ? ngx_astro_api_method(ctx, allowed)
                       : ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                               "no such resource", NULL);
    }

    return ctx->row->roles ? ngx_astro_api_outside(ctx)
                           : ngx_astro_api_read(ctx);
}


/* A token of another issuer that was not seen before takes a while. */

static ngx_int_t
ngx_astro_api_outside(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t             rc;
    ngx_str_t             token;
    ngx_astro_error_e     error;
    ngx_http_cleanup_t   *cln;
    ngx_astro_outside_t  *w;

    token = ngx_astro_auth_bearer(ctx->r);

    rc = ngx_astro_outside_ask(&token, ngx_astro_api_vouched, ctx, &w, &error);

    if (rc == NGX_DECLINED) {
        return ngx_astro_api_signed(ctx);
    }

    if (rc == NGX_ERROR) {
        return ngx_astro_api_unsigned(ctx, error);
    }

    cln = ngx_http_cleanup_add(ctx->r, 0);
    if (cln == NULL) {
        ngx_astro_outside_forget(w);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    cln->handler = ngx_astro_api_left;
    cln->data = w;
    ctx->data = cln;
    ctx->r->main->count++;

    return NGX_DONE;
}


static void
ngx_astro_api_vouched(void *data, ngx_astro_error_e error)
{
    ngx_astro_api_ctx_t  *ctx = data;

    ngx_http_cleanup_t  *cln;

    cln = ctx->data;
    cln->handler = NULL;
    ctx->data = NULL;

    ngx_astro_api_finish(ctx, error == NGX_ASTRO_E_MAX
                              ? ngx_astro_api_signed(ctx)
                              : ngx_astro_api_unsigned(ctx, error));
}


static void
ngx_astro_api_left(void *data)
{
    ngx_astro_outside_forget(data);
}


static ngx_int_t
ngx_astro_api_unsigned(ngx_astro_api_ctx_t *ctx, ngx_astro_error_e error)
{
    if (error == NGX_ASTRO_E_UNAVAILABLE) {
        return ngx_astro_api_problem(ctx, error,
                                     "this token cannot be verified now, try "
                                     "again", NULL);
    }

    ngx_astro_count(AUTH_FAILED);

    return ngx_astro_api_problem(ctx, error,
                                 error == NGX_ASTRO_E_TOKEN_EXPIRED
                                 ? "the token has expired"
                                 : "a valid bearer token is needed", NULL);
}


static ngx_int_t
ngx_astro_api_signed(ngx_astro_api_ctx_t *ctx)
{
    ngx_astro_error_e  error;

    error = ngx_astro_auth_check(ctx->r, &ctx->claims);

    if (error != NGX_ASTRO_E_MAX) {
        return ngx_astro_api_problem(ctx, error,
                                     error == NGX_ASTRO_E_TOKEN_EXPIRED
                                     ? "the token has expired"
                                     : error == NGX_ASTRO_E_FORBIDDEN
                                     ? NGX_ASTRO_CSRF_TEXT
                                     : "a valid bearer token is needed",
                                     NULL);
    }

    ctx->retry_s = ngx_astro_api_limited(ctx);

    if (ctx->retry_s) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_RATE_LIMITED,
                                     "too many requests", NULL);
    }

    if (!(ctx->claims.role & ctx->row->roles)) {
        ngx_astro_count(DENIED);
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_FORBIDDEN,
                                     "not for this role", NULL);
    }

    return ngx_astro_api_read(ctx);
}


/* By the caller: of all requests, and of those of the row's kind. */

static ngx_uint_t
ngx_astro_api_limited(ngx_astro_api_ctx_t *ctx)
{
    ngx_uint_t         wait;
    ngx_astro_class_e  class;

    wait = ngx_astro_limits_request(ctx->r, NGX_ASTRO_L_API,
                                    &ctx->claims.user,
                                    sizeof(ctx->claims.user));

    if (ctx->row->roles & NGX_ASTRO_API_SEARCH) {
        class = NGX_ASTRO_L_SEARCH;

    } else if (ctx->row->roles & NGX_ASTRO_API_MONEY) {
        class = NGX_ASTRO_L_MONEY;

    } else if (ctx->row->method != NGX_HTTP_GET) {
        class = NGX_ASTRO_L_WRITE;

    } else {
        return wait;
    }

    return wait ? wait
                : ngx_astro_limits_request(ctx->r, class, &ctx->claims.user,
                                           sizeof(ctx->claims.user));
}


/* What the client sent, in the order in which it is found to be wrong. */

static ngx_int_t
ngx_astro_api_read(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t    rc;
    const char  *error, *field;

    if (ctx->row->body != NGX_ASTRO_BODY_RAW) {

        error = ngx_astro_api_query(ctx, &field);

        if (error) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST, error,
                                         field);
        }
    }

    rc = ngx_astro_api_once(ctx);

    if (rc == NGX_DECLINED) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "a key has 1 to 128 visible characters",
                                     "/Idempotency-Key");
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ctx->row->body != NGX_ASTRO_BODY_NONE) {
        return ngx_astro_api_body(ctx);
    }

    return ctx->row->handler ? ctx->row->handler(ctx)
                             : ngx_astro_api_generic(ctx);
}


static ngx_astro_class_e
ngx_astro_api_class(const ngx_astro_route_row_t *row)
{
    if (row && row->body == NGX_ASTRO_BODY_RAW) {
        return NGX_ASTRO_L_WEBHOOK;
    }

    return row && row->body == NGX_ASTRO_BODY_JSON && row->roles == 0
           ? NGX_ASTRO_L_LOGIN : NGX_ASTRO_L_API;
}


static ngx_int_t
ngx_astro_api_method(ngx_astro_api_ctx_t *ctx, ngx_uint_t allowed)
{
    u_char  *allow;
    size_t   len;

    allow = ngx_pnalloc(ctx->r->pool, NGX_ASTRO_METHODS_LEN);

    if (allow == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_astro_api_methods(allowed|NGX_HTTP_OPTIONS, allow);

    if (ngx_astro_api_header(ctx->r, "Allow", (char *) allow, len) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_astro_count(HTTP_ERRORS);

#define NGX_ASTRO_405                                                         \
    "{\"type\":\"about:blank\",\"title\":\"unsupported\",\"status\":405,"     \
    "\"code\":\"unsupported\",\"detail\":\"not by this method\"}"

    return ngx_astro_api_output(ctx, NGX_HTTP_NOT_ALLOWED,
                                "application/problem+json",
                                (u_char *) NGX_ASTRO_405,
                                sizeof(NGX_ASTRO_405) - 1);
}


/* bodies */

static ngx_int_t
ngx_astro_api_body(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t            rc;
    ngx_str_t            type;
    ngx_http_request_t  *r;

    r = ctx->r;

    if (r->headers_in.content_length_n > ngx_astro_api_body_max(ctx)) {

        rc = ngx_http_discard_request_body(r);

        return rc == NGX_OK ? ngx_astro_api_too_large(ctx) : rc;
    }

    ngx_str_null(&type);

    if (r->headers_in.content_type) {
        type = r->headers_in.content_type->value;
    }

    if (ctx->row->body == NGX_ASTRO_BODY_OPTIONAL
        && r->headers_in.content_length_n <= 0 && !r->headers_in.chunked)
    {
        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }

        return ngx_astro_api_body_parsed(ctx);
    }

    if (ctx->row->body != NGX_ASTRO_BODY_RAW && !ngx_astro_api_body_type(&type))
    {
        rc = ngx_http_discard_request_body(r);

        if (rc != NGX_OK) {
            return rc;
        }

        ngx_astro_count(HTTP_ERRORS);

#define NGX_ASTRO_415                                                         \
    "{\"type\":\"about:blank\",\"title\":\"unsupported\",\"status\":415,"     \
    "\"code\":\"unsupported\",\"detail\":\"a body is application/json\"}"

        return ngx_astro_api_output(ctx, NGX_HTTP_UNSUPPORTED_MEDIA_TYPE,
                                    "application/problem+json",
                                    (u_char *) NGX_ASTRO_415,
                                    sizeof(NGX_ASTRO_415) - 1);
    }

    r->request_body_in_single_buf = 1;

    rc = ngx_http_read_client_request_body(r, ngx_astro_api_body_handler);

    if (rc >= NGX_HTTP_SPECIAL_RESPONSE) {
        return rc;
    }

    return NGX_DONE;
}


static off_t
ngx_astro_api_body_max(ngx_astro_api_ctx_t *ctx)
{
    return ctx->row->body == NGX_ASTRO_BODY_RAW ? NGX_ASTRO_RAW_MAX
                                                : NGX_ASTRO_BODY_MAX;
}


static ngx_int_t
ngx_astro_api_too_large(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_api_problem(ctx, NGX_ASTRO_E_TOO_LARGE,
                                 ctx->row->body == NGX_ASTRO_BODY_RAW
                                 ? "a body is at most 262144 bytes"
                                 : "a body is at most 16384 bytes", NULL);
}


static void
ngx_astro_api_body_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_astro_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_astro_module);

    rc = ngx_astro_api_body_copy(ctx);

    if (rc == NGX_DECLINED) {
        rc = ngx_astro_api_too_large(ctx);

    } else if (rc == NGX_OK) {
        rc = ngx_astro_api_body_parsed(ctx);
    }

    ngx_http_finalize_request(r, rc);
}


/*
 * Into one piece, with room for a NUL.  What nginx has put into a file is read
 * back: it is small, written a moment ago, and still in memory.  NGX_DECLINED:
 * there is more than we take.
 */

static ngx_int_t
ngx_astro_api_body_copy(ngx_astro_api_ctx_t *ctx)
{
    off_t         len;
    size_t        n;
    ssize_t       size;
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *bufs;

    len = 0;
    bufs = ctx->r->request_body ? ctx->r->request_body->bufs : NULL;

    for (cl = bufs; cl; cl = cl->next) {
        len += ngx_buf_size(cl->buf);
    }

    if (len > ngx_astro_api_body_max(ctx)) {
        return NGX_DECLINED;
    }

    ctx->body.data = ngx_pnalloc(ctx->r->pool, len + 1);

    if (ctx->body.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    for (cl = bufs; cl; cl = cl->next) {
        b = cl->buf;
        n = ngx_buf_size(b);

        if (n == 0) {
            continue;
        }

        if (ngx_buf_in_memory(b)) {
            ngx_memcpy(ctx->body.data + ctx->body.len, b->pos, n);

        } else {
            size = ngx_read_file(b->file, ctx->body.data + ctx->body.len, n,
                                 b->file_pos);

            if (size != (ssize_t) n) {
                return NGX_HTTP_INTERNAL_SERVER_ERROR;
            }
        }

        ctx->body.len += n;
    }

    ctx->body.data[ctx->body.len] = '\0';

    return NGX_OK;
}


static ngx_int_t
ngx_astro_api_body_parsed(ngx_astro_api_ctx_t *ctx)
{
    const char                 *error;
    const astro_json_member_t  *m;

    if (ctx->row->body == NGX_ASTRO_BODY_OPTIONAL && ctx->body.len == 0) {
        ngx_str_set(&ctx->body, "{}");
    }

    if (ctx->row->body != NGX_ASTRO_BODY_RAW) {

        error = astro_json_parse(ngx_astro.json, ctx->body.data,
                                 ctx->body.len, &ctx->doc)
                ? ctx->doc.error
                : astro_json_unique(ctx->body.data, ctx->body.len);

        if (error) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST, error,
                                         "");
        }

        m = ngx_astro_api_card(ctx);

        if (m) {
            return ngx_astro_api_carded(ctx, m);
        }

        if (ctx->route->old) {
            return ngx_astro_old_body(ctx);
        }
    }

    return ctx->row->handler ? ctx->row->handler(ctx)
                             : ngx_astro_api_generic(ctx);
}


/*
 * The member that has the number of a payment card in it, or NULL.  A password
 * may be any digits: all that is kept of it is a hash.
 */

static const astro_json_member_t *
ngx_astro_api_card(ngx_astro_api_ctx_t *ctx)
{
    size_t                      i;
    ngx_uint_t                  secret;
    const astro_json_object_t  *o;
    const astro_json_member_t  *m;

    static u_char  buf[NGX_ASTRO_BODY_MAX];

    o = &ctx->doc.root;
    secret = ctx->row->handler == ngx_astro_api_login
             || ctx->row->handler == ngx_astro_api_register
             || ctx->row->handler == ngx_astro_api_hashed;

    for (i = 0; i < o->n; i++) {
        m = &o->member[i];

        if (secret && m->kind == ASTRO_JSON_STRING
            && m->key_len == sizeof("password") - 1
            && ngx_memcmp(m->key, "password", m->key_len) == 0)
        {
            continue;
        }

        if (astro_pan_json(m->raw, ngx_min(m->raw_len, sizeof(buf)), buf)) {
            return m;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_astro_api_carded(ngx_astro_api_ctx_t *ctx, const astro_json_member_t *m)
{
    char  field[64];

    field[0] = '\0';

    /* a long one may not be cut: the end may be within a character */

    if (!m->key_escaped && m->key_len < sizeof(field) - 1) {
        *ngx_sprintf((u_char *) field, "/%*s", m->key_len, m->key) = '\0';
    }

    return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNSUPPORTED,
                                 NGX_ASTRO_CARD_TEXT, field);
}


/* application/json, with charset=utf-8 or none (RFC 8259 section 8.1) */

static ngx_uint_t
ngx_astro_api_body_type(ngx_str_t *type)
{
    u_char  *p, *last;

    if (type->len < 16
        || ngx_strncasecmp(type->data, (u_char *) "application/json", 16) != 0)
    {
        return 0;
    }

    p = type->data + 16;
    last = type->data + type->len;

    if (p < last && *p != ';' && *p != ' ') {
        return 0;
    }

    while (p < last && (*p == ';' || *p == ' ')) {
        p++;
    }

    if (last - p < 8 || ngx_strncasecmp(p, (u_char *) "charset=", 8) != 0) {
        return 1;
    }

    p += 8;
    p += (p < last && *p == '"');

    return last - p >= 5 && ngx_strncasecmp(p, (u_char *) "utf-8", 5) == 0
           && (last - p == 5 || p[5] == '"' || p[5] == ';' || p[5] == ' ');
}
