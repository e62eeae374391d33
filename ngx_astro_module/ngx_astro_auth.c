
/*
 * Copyright (C) The Astro authors
 *
 * Tokens from the Authorization header, and the Origin check.
 */

#include "ngx_astro_auth.h"
#include "ngx_astro_barred.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_revoked.h"

#include <openssl/crypto.h>
#include <openssl/sha.h>


ngx_table_elt_t *
ngx_astro_header(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_uint_t        i;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    part = &r->headers_in.headers.part;
    h = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return NULL;
            }

            part = part->next;
            h = part->elts;
            i = 0;
        }

        if (h[i].key.len == len
            && ngx_strncasecmp(h[i].key.data, (u_char *) name, len) == 0)
        {
            return &h[i];
        }
    }
}


ngx_str_t
ngx_astro_auth_bearer(ngx_http_request_t *r)
{
    ngx_str_t         token;
    ngx_table_elt_t  *h;

    ngx_str_null(&token);

    h = r->headers_in.authorization;

    if (h && h->value.len > 7
        && ngx_strncasecmp(h->value.data, (u_char *) "Bearer ", 7) == 0)
    {
        token.data = h->value.data + 7;
        token.len = h->value.len - 7;
    }

    return h ? token : ngx_astro_auth_cookie(r, NGX_ASTRO_COOKIE);
}


ngx_str_t
ngx_astro_auth_cookie(ngx_http_request_t *r, const char *name)
{
    size_t            len;
    u_char           *p, *last, *end;
    ngx_str_t         value;
    ngx_table_elt_t  *h;

    ngx_str_null(&value);

    h = ngx_astro_header(r, "cookie", 6);

    if (h == NULL) {
        return value;
    }

    len = ngx_strlen(name);
    p = h->value.data;
    last = p + h->value.len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == ';')) {
            p++;
        }

        end = ngx_strlchr(p, last, ';');

        if (end == NULL) {
            end = last;
        }

        if ((size_t) (end - p) > len && p[len] == '='
            && ngx_memcmp(p, name, len) == 0)
        {
            value.data = p + len + 1;
            value.len = end - value.data;
            break;
        }

        p = end;
    }

    return value;
}


void
ngx_astro_auth_csrf(const astro_claims_t *claims,
    u_char csrf[NGX_ASTRO_CSRF_LEN])
{
    u_char  sum[SHA256_DIGEST_LENGTH];
    u_char  text[sizeof("csrf ") - 1 + ASTRO_JWT_JTI];

    /* the jti is in a cookie that no script can read */

    ngx_memcpy(text, "csrf ", sizeof("csrf ") - 1);
    ngx_memcpy(text + sizeof("csrf ") - 1, claims->jti, ASTRO_JWT_JTI);

    (void) SHA256(text, sizeof(text), sum);
    (void) ngx_hex_dump(csrf, sum, NGX_ASTRO_CSRF_LEN / 2);
}


ngx_uint_t
ngx_astro_auth_same_site(ngx_http_request_t *r, const astro_claims_t *claims)
{
    u_char            csrf[NGX_ASTRO_CSRF_LEN];
    ngx_table_elt_t  *h;

    if (ngx_astro_header(r, "origin", 6)) {
        return ngx_astro_origin_ok(r);
    }

    h = ngx_astro_header(r, "x-csrf-token", 12);

    if (h == NULL || claims == NULL || claims->jti[0] == '\0') {
        return 0;
    }

    ngx_astro_auth_csrf(claims, csrf);

    return h->value.len == NGX_ASTRO_CSRF_LEN
           && CRYPTO_memcmp(h->value.data, csrf, NGX_ASTRO_CSRF_LEN) == 0;
}


ngx_astro_error_e
ngx_astro_auth_check(ngx_http_request_t *r, astro_claims_t *claims)
{
    ngx_str_t       token;
    astro_jwt_rc_e  rc;

    token = ngx_astro_auth_bearer(r);

    rc = token.len == 0 ? ASTRO_JWT_MALFORMED
         : ngx_astro_token_verify(&token, claims);

    if (rc == ASTRO_JWT_OK
        && !ngx_astro_barred(claims->user, claims->iat)
        && !ngx_astro_revoked(claims))
    {
        if (r->headers_in.authorization == NULL
            && !(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))
            && !ngx_astro_auth_same_site(r, claims))
        {
            ngx_astro_count(DENIED);
            return NGX_ASTRO_E_FORBIDDEN;
        }

        return NGX_ASTRO_E_MAX;
    }

    ngx_astro_count(AUTH_FAILED);

    return rc == ASTRO_JWT_EXPIRED ? NGX_ASTRO_E_TOKEN_EXPIRED
                                   : NGX_ASTRO_E_UNAUTHORIZED;
}


ngx_uint_t
ngx_astro_origin_ok(ngx_http_request_t *r)
{
    u_char           *p;
    size_t            len;
    ngx_str_t        *o;
    ngx_uint_t        i;
    ngx_table_elt_t  *origin, *host;

    origin = ngx_astro_header(r, "origin", 6);

    if (origin == NULL) {
        return 1;
    }

    if (ngx_astro.conf->origins) {
        o = ngx_astro.conf->origins->elts;

        for (i = 0; i < ngx_astro.conf->origins->nelts; i++) {
            if (o[i].len == origin->value.len
                && ngx_strncasecmp(o[i].data, origin->value.data, o[i].len)
                   == 0)
            {
                return 1;
            }
        }

        return 0;
    }

    host = r->headers_in.host;

    if (host == NULL || host->value.len == 0) {
        return 0;
    }

    p = ngx_strlchr(origin->value.data,
                    origin->value.data + origin->value.len, ':');

    if (p == NULL || origin->value.data + origin->value.len - p < 3
        || p[1] != '/' || p[2] != '/')
    {
        return 0;
    }

    p += 3;
    len = origin->value.data + origin->value.len - p;

    return len == host->value.len
           && ngx_strncasecmp(p, host->value.data, len) == 0;
}
