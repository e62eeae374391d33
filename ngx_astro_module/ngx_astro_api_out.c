
/*
 * Copyright (C) The Astro authors
 *
 * Answers: problem documents, the headers that all answers have, bodies.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_old.h"


static ngx_int_t ngx_astro_api_headers(ngx_astro_api_ctx_t *ctx);


ngx_int_t
ngx_astro_api_send(ngx_astro_api_ctx_t *ctx, ngx_uint_t status,
    const u_char *json, size_t len)
{
    return ngx_astro_api_output(ctx, status, "application/json", json, len);
}


ngx_int_t
ngx_astro_api_problem(ngx_astro_api_ctx_t *ctx, ngx_astro_error_e error,
    const char *detail, const char *field)
{
    u_char                   *p, *last;
    u_char                    buf[2048];
    const ngx_astro_error_t  *e;

    e = &ngx_astro_errors[error];

    if (field && ctx->route && ctx->route->old) {
        field = ngx_astro_old_field(ctx, field);
    }

    last = buf + sizeof(buf);

    ngx_astro_count(HTTP_ERRORS);

    if (error == NGX_ASTRO_E_NOT_PARTICIPANT) {
        e = &ngx_astro_errors[NGX_ASTRO_E_NOT_FOUND];
    }

    ngx_astro_count_of(ERRORS, e - ngx_astro_errors);

    p = ngx_slprintf(buf, last,
                     "{\"type\":\"about:blank\",\"title\":\"%V\","
                     "\"status\":%ui,\"code\":\"%V\",\"detail\":\"%s\","
                     "\"retry\":%s", &e->code, e->status, &e->code, detail,
                     e->retry ? "true" : "false");

    if (field) {
        p = ngx_slprintf(p, last, ",\"errors\":[{\"pointer\":\"%s\","
                         "\"detail\":\"%s\"}]", field, detail);
    }

    p = ngx_slprintf(p, last, ",\"request_id\":\"%V\"}", &ctx->request_id);

    if ((e->status == NGX_HTTP_SERVICE_UNAVAILABLE
         || e->status == NGX_HTTP_TOO_MANY_REQUESTS)
        && ngx_astro_api_header(ctx->r, "Retry-After", (char *) ctx->retry,
                                ngx_sprintf(ctx->retry, "%ui",
                                            ngx_max(ctx->retry_s, 1))
                                - ctx->retry)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (e->status == NGX_HTTP_UNAUTHORIZED
        && ngx_astro_api_header(ctx->r, "WWW-Authenticate", "Bearer", 6)
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_astro_api_output(ctx, e->status, "application/problem+json",
                                buf, p - buf);
}


ngx_int_t
ngx_astro_api_header(ngx_http_request_t *r, const char *key,
    const char *value, size_t len)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value.data = (u_char *) value;
    h->value.len = len;

    return NGX_OK;
}


ngx_int_t
ngx_astro_api_output(ngx_astro_api_ctx_t *ctx, ngx_uint_t status,
    const char *type, const u_char *body, size_t len)
{
    ngx_int_t            rc;
    ngx_buf_t           *b;
    ngx_chain_t          out;
    ngx_http_request_t  *r;

    r = ctx->r;

    /* a body that nobody has read would be taken for the next request */

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    /* in the order of the four rows */
    ngx_astro_count_of(HTTP_2XX, ngx_min(ngx_max(status / 100, 2), 5) - 2);
    ngx_astro_observe(HTTP_TIME, ngx_astro_boot_us() - ctx->came_us);

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_astro_api_headers(ctx) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /*
     * nginx's own filter would ask about If-Match when the change has been
     * made.
     */

    r->disable_not_modified = 1;

    if (ctx->etag.len && status == NGX_HTTP_OK
        && r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD)
        && ngx_astro_api_none_match(r, &ctx->etag))
    {
        r->headers_out.status = NGX_HTTP_NOT_MODIFIED;
        r->headers_out.content_type.len = 0;
        ngx_http_clear_content_length(r);
        r->header_only = 1;
    }

    if (status == NGX_HTTP_NO_CONTENT) {
        r->headers_out.content_type.len = 0;
        ngx_http_clear_content_length(r);
        r->header_only = 1;
    }

    b = ngx_create_temp_buf(r->pool, len);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    b->last = ngx_cpymem(b->last, body, len);
    b->last_buf = 1;
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, &out);
}


static ngx_int_t
ngx_astro_api_headers(ngx_astro_api_ctx_t *ctx)
{
    u_char              *p;
    size_t               len;
    const char          *cache;
    ngx_uint_t           i;
    ngx_http_request_t  *r;

    static const char *const  fixed[][2] = {
        { "X-Content-Type-Options", "nosniff" },
        { "Referrer-Policy", "no-referrer" },
        { "Content-Security-Policy",
          "default-src 'none'; frame-ancestors 'none'" }
    };

    r = ctx->r;
    cache = ctx->etag.len ? "private, no-cache" : "no-store";

    if (ngx_astro_api_header(r, "X-Request-Id",
                             (char *) ctx->request_id.data,
                             ctx->request_id.len)
        != NGX_OK
        || ngx_astro_api_header(r, "Cache-Control", cache, ngx_strlen(cache))
           != NGX_OK
        || ngx_astro_cors(r) != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* whatever a browser may take an answer for, it is data */

    for (i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
        if (ngx_astro_api_header(r, fixed[i][0], fixed[i][1],
                                 ngx_strlen(fixed[i][1]))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    /* RFC 9745: since the first version that answered it */

    if (ctx->route && ctx->route->old
        && ngx_astro_api_header(r, "Deprecation", "@1763683200", 11) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->replayed
        && ngx_astro_api_header(r, "Idempotent-Replayed", "true", 4) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ctx->etag.len == 0) {
        return NGX_OK;
    }

    len = ctx->etag.len + 2;
    p = ngx_pnalloc(r->pool, len);

    if (p == NULL) {
        return NGX_ERROR;
    }

    (void) ngx_sprintf(p, "\"%V\"", &ctx->etag);

    return ngx_astro_api_header(r, "ETag", (char *) p, len);
}


size_t
ngx_astro_api_methods(ngx_uint_t methods, u_char *buf)
{
    u_char      *p;
    ngx_uint_t   i;

    static const struct {
        ngx_uint_t   method;
        const char  *name;
    } names[] = {
        { NGX_HTTP_GET, "GET, HEAD" },
        { NGX_HTTP_POST, "POST" },
        { NGX_HTTP_PUT, "PUT" },
        { NGX_HTTP_PATCH, "PATCH" },
        { NGX_HTTP_DELETE, "DELETE" },
        { NGX_HTTP_OPTIONS, "OPTIONS" }
    };

    p = buf;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (methods & names[i].method) {
            p = ngx_sprintf(p, "%s%s", p == buf ? "" : ", ", names[i].name);
        }
    }

    return p - buf;
}
