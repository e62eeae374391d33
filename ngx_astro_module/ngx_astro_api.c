
/*
 * Copyright (C) The Astro authors
 *
 * A request's way to its handler: route, limits, role, query, body.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_limits.h"


static ngx_int_t ngx_astro_api_read(ngx_astro_api_ctx_t *ctx);
static ngx_astro_class_e ngx_astro_api_class(
    const ngx_astro_route_row_t *row);
static ngx_int_t ngx_astro_api_request_id(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_method(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t allowed);


ngx_int_t
ngx_astro_api_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_uint_t            allowed;
    ngx_astro_error_e     error;
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

    if (ngx_astro_api_request_id(ctx) != NGX_OK) {
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

    if (ctx->row->roles) {

        error = ngx_astro_auth_check(r, &ctx->claims);

        if (error != NGX_ASTRO_E_MAX) {
            return ngx_astro_api_problem(ctx, error,
                                         error == NGX_ASTRO_E_TOKEN_EXPIRED
                                         ? "the token has expired"
                                         : error == NGX_ASTRO_E_FORBIDDEN
                                         ? NGX_ASTRO_CSRF_TEXT
                                         : "a valid bearer token is needed",
                                         NULL);
        }

        ctx->retry_s = ngx_astro_limits_request(r, NGX_ASTRO_L_API,
                                                &ctx->claims.user,
                                                sizeof(ctx->claims.user));
        if (ctx->retry_s) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_RATE_LIMITED,
                                         "too many requests", NULL);
        }

        if (!(ctx->claims.role & ctx->row->roles)) {
            ngx_astro_count(DENIED);
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_FORBIDDEN,
                                         "not for this role", NULL);
        }
    }

    return ngx_astro_api_read(ctx);
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


/* X-Request-Id: the client's own if it is sane, or 32 random digits. */

static ngx_int_t
ngx_astro_api_request_id(ngx_astro_api_ctx_t *ctx)
{
    u_char           *p;
    uint32_t          noise[4];
    ngx_uint_t        i;
    ngx_table_elt_t  *h;

    h = ngx_astro_header(ctx->r, "x-request-id", 12);

    if (h && h->value.len > 0 && h->value.len <= 64) {

        for (i = 0; i < h->value.len; i++) {
            p = &h->value.data[i];

            if (!((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z')
                  || (*p >= 'A' && *p <= 'Z') || *p == '-' || *p == '_'
                  || *p == '.'))
            {
                break;
            }
        }

        if (i == h->value.len) {
            ctx->request_id = h->value;
            return NGX_OK;
        }
    }

    p = ngx_pnalloc(ctx->r->pool, 32);
    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->request_id.data = p;
    ctx->request_id.len = 32;

    for (i = 0; i < 4; i++) {
        noise[i] = (uint32_t) ngx_random();
    }

    (void) ngx_hex_dump(p, (u_char *) noise, sizeof(noise));

    return NGX_OK;
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
