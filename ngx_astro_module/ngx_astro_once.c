
/*
 * Copyright (C) The Astro authors
 *
 * Idempotency-Key: what is asked for under it, as a hash.  The rest is in
 * sql/functions/once.sql.
 */

#include "ngx_astro_api.h"

#include <openssl/evp.h>


#define NGX_ASTRO_ONCE_MAX  128         /* octets of a key */


ngx_int_t
ngx_astro_api_once(ngx_astro_api_ctx_t *ctx)
{
    u_char              *p;
    size_t               i;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ctx->r;

    if (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD) || ctx->row->roles == 0) {
        return NGX_OK;
    }

    h = ngx_astro_header(r, "idempotency-key", 15);

    if (h == NULL) {
        return NGX_OK;
    }

    if (h->value.len == 0 || h->value.len > NGX_ASTRO_ONCE_MAX) {
        return NGX_DECLINED;
    }

    for (i = 0; i < h->value.len; i++) {
        if (h->value.data[i] <= ' ' || h->value.data[i] >= 0x7f) {
            return NGX_DECLINED;
        }
    }

    p = ngx_pnalloc(r->pool, h->value.len + 1);

    if (p == NULL) {
        return NGX_ERROR;
    }

    *ngx_cpymem(p, h->value.data, h->value.len) = '\0';
    ctx->once = (char *) p;

    return NGX_OK;
}


char *
ngx_astro_api_once_hash(ngx_astro_api_ctx_t *ctx)
{
    int                  ok;
    u_char              *hex;
    u_char               hash[EVP_MAX_MD_SIZE];
    unsigned             len;
    EVP_MD_CTX          *md;
    ngx_http_request_t  *r;

    r = ctx->r;
    len = 0;
    md = EVP_MD_CTX_new();

    if (md == NULL) {
        return NULL;
    }

    ok = EVP_DigestInit_ex(md, EVP_sha256(), NULL) == 1
         && EVP_DigestUpdate(md, r->method_name.data, r->method_name.len) == 1
         && EVP_DigestUpdate(md, " ", 1) == 1
         && EVP_DigestUpdate(md, r->uri.data, r->uri.len) == 1
         && EVP_DigestUpdate(md, "?", 1) == 1
         && EVP_DigestUpdate(md, r->args.data, r->args.len) == 1
         && EVP_DigestUpdate(md, "\n", 1) == 1
         && EVP_DigestUpdate(md, ctx->body.data, ctx->body.len) == 1
         && EVP_DigestFinal_ex(md, hash, &len) == 1;

    EVP_MD_CTX_free(md);

    hex = ok ? ngx_pnalloc(r->pool, len * 2 + 1) : NULL;

    if (hex) {
        *ngx_hex_dump(hex, hash, len) = '\0';
    }

    return (char *) hex;
}
