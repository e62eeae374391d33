
/*
 * Copyright (C) The Astro authors
 *
 * Pages of other origins (the Fetch standard's CORS protocol): those that
 * "astro_origin" lists may read answers, and send credentials; no others.
 */

#include "ngx_astro_api.h"


#define NGX_ASTRO_CORS_HEADERS                                                \
    "Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, " \
    "X-CSRF-Token, X-Request-Id"
#define NGX_ASTRO_CORS_EXPOSED                                                \
    "Allow, ETag, Idempotent-Replayed, Retry-After, X-Request-Id"

#define ngx_astro_cors_add(r, key, value)                                     \
    ngx_astro_api_header(r, key, value, sizeof(value) - 1)


ngx_int_t
ngx_astro_cors(ngx_http_request_t *r)
{
    ngx_table_elt_t  *origin;

    if (ngx_astro.conf->origins == NULL) {
        return NGX_OK;
    }

    /* caches, too, must know that answers differ */

    if (ngx_astro_cors_add(r, "Vary", "Origin") != NGX_OK) {
        return NGX_ERROR;
    }

    origin = ngx_astro_header(r, "origin", 6);

    if (origin == NULL || !ngx_astro_origin_ok(r)) {
        return NGX_OK;
    }

    if (ngx_astro_api_header(r, "Access-Control-Allow-Origin",
                             (char *) origin->value.data, origin->value.len)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_astro_cors_add(r, "Access-Control-Allow-Credentials", "true")
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_astro_cors_add(r, "Access-Control-Expose-Headers",
                              NGX_ASTRO_CORS_EXPOSED);
}


ngx_int_t
ngx_astro_cors_options(ngx_astro_api_ctx_t *ctx, ngx_uint_t allowed)
{
    u_char              *methods;
    size_t               len;
    ngx_http_request_t  *r;

    r = ctx->r;
    methods = ngx_pnalloc(r->pool, NGX_ASTRO_METHODS_LEN);

    if (methods == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    len = ngx_astro_api_methods(allowed|NGX_HTTP_OPTIONS, methods);

    if (ngx_astro_api_header(r, "Allow", (char *) methods, len) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_astro.conf->origins && ngx_astro_origin_ok(r)
        && ngx_astro_header(r, "access-control-request-method", 29))
    {
        if (ngx_astro_api_header(r, "Access-Control-Allow-Methods",
                                 (char *) methods, len)
            != NGX_OK
            || ngx_astro_cors_add(r, "Access-Control-Allow-Headers",
                                  NGX_ASTRO_CORS_HEADERS)
               != NGX_OK
            || ngx_astro_cors_add(r, "Access-Control-Max-Age", "600")
               != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    return ngx_astro_api_send(ctx, NGX_HTTP_NO_CONTENT, (u_char *) "", 0);
}
