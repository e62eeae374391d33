
/*
 * Copyright (C) The Astro authors
 *
 * If-Match and If-None-Match (RFC 9110 section 13.1).  Our etags are strong and
 * have no comma or quote in them.
 */

#include "ngx_astro_api.h"
#include "astro_utf8.h"

#include <openssl/sha.h>


static u_char *ngx_astro_etag_next(u_char *p, u_char *last, ngx_str_t *etag,
    ngx_uint_t *weak);


/*
 * The next of a list, from behind the one before; NULL: malformed.  At the end
 * etag->data is NULL.
 */

static u_char *
ngx_astro_etag_next(u_char *p, u_char *last, ngx_str_t *etag, ngx_uint_t *weak)
{
    while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
        p++;
    }

    etag->data = NULL;
    etag->len = 0;

    if (p == last) {
        return p;
    }

    *weak = last - p > 2 && p[0] == 'W' && p[1] == '/';
    p += *weak ? 2 : 0;

    if (*p != '"') {
        return NULL;
    }

    etag->data = ++p;
    p = ngx_strlchr(p, last, '"');

    if (p == NULL) {
        return NULL;
    }

    etag->len = p - etag->data;

    return p + 1;
}


ngx_int_t
ngx_astro_api_etag(ngx_astro_api_ctx_t *ctx, const ngx_str_t *version,
    const ngx_str_t *body)
{
    u_char      *p;
    u_char       sum[SHA256_DIGEST_LENGTH];
    uint64_t     hash[2];

    (void) SHA256(body->data, body->len, sum);
    ngx_memcpy(&hash[0], sum, sizeof(uint64_t));
    hash[1] = ctx->claims.user;

    (void) SHA256((u_char *) hash, sizeof(hash), sum);
    ngx_memcpy(&hash[0], sum, sizeof(uint64_t));

    p = ngx_pnalloc(ctx->r->pool, version->len + 1 + 16);

    if (p == NULL) {
        return NGX_ERROR;
    }

    ctx->etag.data = p;
    ctx->etag.len = ngx_sprintf(p, "%V.%016xL", version, hash[0]) - p;

    return NGX_OK;
}


ngx_int_t
ngx_astro_api_if_match(ngx_http_request_t *r, const char **value)
{
    u_char           *p, *d, *dot, *last, *buf;
    ngx_str_t         etag;
    ngx_uint_t        weak;
    ngx_table_elt_t  *h;

    *value = NULL;
    h = ngx_astro_header(r, "if-match", 8);

    if (h == NULL) {
        return NGX_OK;
    }

    if (h->value.len == 1 && h->value.data[0] == '*') {
        *value = "*";
        return NGX_OK;
    }

    buf = ngx_pnalloc(r->pool, h->value.len + 1);

    if (buf == NULL) {
        return NGX_ERROR;
    }

    d = buf;
    p = h->value.data;
    last = p + h->value.len;

    for ( ;; ) {

        p = ngx_astro_etag_next(p, last, &etag, &weak);

        if (p == NULL) {
            return NGX_ERROR;
        }

        if (etag.data == NULL) {
            break;
        }

        /* a weak one never is the same, nor is one that is not ours */

        if (weak || ngx_strlchr(etag.data, etag.data + etag.len, ',')
            || ngx_strlchr(etag.data, etag.data + etag.len, '*'))
        {
            continue;
        }

        if (d != buf) {
            *d++ = ',';
        }

        dot = ngx_strlchr(etag.data, etag.data + etag.len, '.');
        d = ngx_cpymem(d, etag.data,
                       dot ? (size_t) (dot - etag.data) : etag.len);
    }

    *d = '\0';

    /* it goes to the database, as text */

    if (astro_utf8_feed(ASTRO_UTF8_ACCEPT, buf, d - buf) != ASTRO_UTF8_ACCEPT) {
        return NGX_ERROR;
    }

    *value = (char *) buf;

    return NGX_OK;
}


ngx_uint_t
ngx_astro_api_none_match(ngx_http_request_t *r, ngx_str_t *own)
{
    u_char           *p, *last;
    ngx_str_t         etag;
    ngx_uint_t        weak;
    ngx_table_elt_t  *h;

    h = ngx_astro_header(r, "if-none-match", 13);

    if (h == NULL) {
        return 0;
    }

    if (h->value.len == 1 && h->value.data[0] == '*') {
        return 1;
    }

    p = h->value.data;
    last = p + h->value.len;

    for ( ;; ) {

        p = ngx_astro_etag_next(p, last, &etag, &weak);

        if (p == NULL || etag.data == NULL) {
            return 0;
        }

        if (etag.len == own->len
            && ngx_memcmp(etag.data, own->data, own->len) == 0)
        {
            return 1;
        }
    }
}
