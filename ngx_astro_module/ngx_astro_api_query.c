
/*
 * Copyright (C) The Astro authors
 *
 * The query string as a JSON object of strings, decoded strictly: what is half
 * an escape, no UTF-8, NUL, or given twice is refused, because somebody behind
 * us would read something else in it.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_old.h"
#include "astro_utf8.h"


#define NGX_ASTRO_QUERY_MAX    4096     /* octets */
#define NGX_ASTRO_QUERY_PAIRS  32


typedef struct {
    ngx_str_t  name;
    ngx_str_t  value;
} ngx_astro_pair_t;


static const char *ngx_astro_query_pair(ngx_astro_pair_t *pair, u_char *p,
    u_char *end, u_char *buf);
static u_char *ngx_astro_query_decode(u_char *p, u_char *end, u_char *buf,
    const char **error);
static ngx_uint_t ngx_astro_query_plain(ngx_str_t *name);
static const char *ngx_astro_query_field(ngx_astro_api_ctx_t *ctx,
    ngx_str_t *name);
static void ngx_astro_query_keep(ngx_astro_api_ctx_t *ctx,
    ngx_astro_pair_t *pair);


const char *
ngx_astro_api_query(ngx_astro_api_ctx_t *ctx, const char **field)
{
    u_char            *p, *q, *end, *last, *buf, *json;
    ngx_str_t         *args;
    ngx_uint_t         i, n;
    const char        *error;
    ngx_astro_pair_t   pairs[NGX_ASTRO_QUERY_PAIRS];

    *field = "";
    args = &ctx->r->args;

    if (args->len == 0) {
        ngx_str_set(&ctx->query, "{}");
        return NULL;
    }

    if (args->len > NGX_ASTRO_QUERY_MAX) {
        return "the query is longer than 4096 bytes";
    }

    /* decoded with a NUL behind each value; as JSON six octets for one */

    buf = ngx_pnalloc(ctx->r->pool, args->len * 2 + 2);
    json = ngx_pnalloc(ctx->r->pool,
                       args->len * 6 + NGX_ASTRO_QUERY_PAIRS * 6 + 3);

    if (buf == NULL || json == NULL) {
        return "no memory";
    }

    n = 0;
    q = json;
    *q++ = '{';
    p = args->data;
    last = p + args->len;

    for ( /* void */ ; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '&');

        if (end == NULL) {
            end = last;
        }

        if (end == p) {
            continue;
        }

        if (n == NGX_ASTRO_QUERY_PAIRS) {
            return "the query has more than 32 parameters";
        }

        error = ngx_astro_query_pair(&pairs[n], p, end, buf);
        buf = pairs[n].value.data + pairs[n].value.len + 1;

        if (error) {
            *field = ngx_astro_query_field(ctx, &pairs[n].name);
            return error;
        }

        if (ctx->route->old) {
            ngx_astro_old_param(ctx, &pairs[n].name);
        }

        for (i = 0; i < n; i++) {
            if (pairs[i].name.len == pairs[n].name.len
                && ngx_memcmp(pairs[i].name.data, pairs[n].name.data,
                              pairs[n].name.len)
                   == 0)
            {
                *field = ngx_astro_query_field(ctx, &pairs[n].name);
                return "a parameter is given twice";
            }
        }

        ngx_astro_query_keep(ctx, &pairs[n]);

        if (n++) {
            *q++ = ',';
        }

        *q++ = '"';
        q = astro_json_escape(q, q + pairs[n - 1].name.len * 6,
                              pairs[n - 1].name.data, pairs[n - 1].name.len);
        q = ngx_cpymem(q, "\":\"", 3);
        q = astro_json_escape(q, q + pairs[n - 1].value.len * 6,
                              pairs[n - 1].value.data, pairs[n - 1].value.len);
        *q++ = '"';
    }

    *q++ = '}';
    *q = '\0';

    ctx->query.data = json;
    ctx->query.len = q - json;

    return NULL;
}


/*
 * Decodes into buf; the value ends with a NUL, whatever comes out.  After an
 * error the name is set if that was readable.
 */

static const char *
ngx_astro_query_pair(ngx_astro_pair_t *pair, u_char *p, u_char *end,
    u_char *buf)
{
    u_char      *eq;
    const char  *error;

    error = NULL;
    eq = ngx_strlchr(p, end, '=');

    pair->name.data = buf;
    buf = ngx_astro_query_decode(p, eq ? eq : end, buf, &error);
    pair->name.len = error ? 0 : buf - pair->name.data;

    pair->value.data = buf;

    if (eq && error == NULL) {
        buf = ngx_astro_query_decode(eq + 1, end, buf, &error);
    }

    pair->value.len = buf - pair->value.data;
    *buf = '\0';

    return error;
}


static u_char *
ngx_astro_query_decode(u_char *p, u_char *end, u_char *buf, const char **error)
{
    u_char      *start;
    ngx_int_t    c;

    start = buf;

    for ( /* void */ ; p < end; p++) {

        c = *p == '+' ? ' ' : *p;

        if (c == '%') {
            c = end - p > 2 ? ngx_hextoi(p + 1, 2) : NGX_ERROR;
            p += 2;
        }

        if (c == NGX_ERROR) {
            *error = "a percent sign has two hexadecimal digits behind it";
            return buf;
        }

        if (c == '\0') {
            *error = "a parameter has no NUL in it";
            return buf;
        }

        *buf++ = (u_char) c;
    }

    if (astro_utf8_feed(ASTRO_UTF8_ACCEPT, start, buf - start)
        != ASTRO_UTF8_ACCEPT)
    {
        *error = "a parameter is UTF-8";
    }

    return buf;
}


/* A name that can stand in a JSON pointer and in an answer as it is. */

static ngx_uint_t
ngx_astro_query_plain(ngx_str_t *name)
{
    size_t  i;
    u_char  c;

    for (i = 0; i < name->len; i++) {
        c = name->data[i] | 0x20;

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9')
            && name->data[i] != '_')
        {
            return 0;
        }
    }

    return name->len > 0 && name->len <= 40;
}


static const char *
ngx_astro_query_field(ngx_astro_api_ctx_t *ctx, ngx_str_t *name)
{
    u_char  *p;

    if (!ngx_astro_query_plain(name)) {
        return "";
    }

    p = ngx_pnalloc(ctx->r->pool, name->len + 2);

    if (p == NULL) {
        return "";
    }

    *ngx_sprintf(p, "/%V", name) = '\0';

    return (char *) p;
}


static void
ngx_astro_query_keep(ngx_astro_api_ctx_t *ctx, ngx_astro_pair_t *pair)
{
    if (ngx_astro_same(pair->name.data, pair->name.len, "limit")) {
        ctx->limit = pair->value;

    } else if (ngx_astro_same(pair->name.data, pair->name.len, "cursor")) {
        ctx->cursor = pair->value;
    }
}
