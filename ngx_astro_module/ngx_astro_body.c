
/*
 * Copyright (C) The Astro authors
 *
 * Bodies of REST requests: read, bounded, in one piece; parsed if they are
 * JSON of ours.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_old.h"


static off_t ngx_astro_api_body_max(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_too_large(ngx_astro_api_ctx_t *ctx);
static void ngx_astro_api_body_handler(ngx_http_request_t *r);
static ngx_int_t ngx_astro_api_body_copy(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_body_parsed(ngx_astro_api_ctx_t *ctx);
static ngx_uint_t ngx_astro_api_body_type(ngx_str_t *type);


ngx_int_t
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
    const char  *error;

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

        if (ctx->route->old) {
            return ngx_astro_old_body(ctx);
        }
    }

    return ctx->row->handler ? ctx->row->handler(ctx)
                             : ngx_astro_api_generic(ctx);
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
