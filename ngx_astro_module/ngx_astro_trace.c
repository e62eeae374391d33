
/*
 * Copyright (C) The Astro authors
 *
 * Request ids, traces, and the variables by which an access log names them.
 * The variables say what nobody needs to hide: paths are those of the table,
 * without ids and queries, users are numbers.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_protocol.h"
#include "ngx_astro_trace.h"


typedef enum {
    NGX_ASTRO_V_REQUEST = 0,
    NGX_ASTRO_V_TRACE,
    NGX_ASTRO_V_SPAN,
    NGX_ASTRO_V_USER,
    NGX_ASTRO_V_ROUTE,
    NGX_ASTRO_V_CONN
} ngx_astro_variable_e;


static void ngx_astro_trace_parent(ngx_astro_api_ctx_t *ctx);
static void ngx_astro_trace_noise(char *p, size_t len);
static ngx_int_t ngx_astro_trace_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);


/* of this turn of the loop; one at most is set */
static ngx_astro_api_ctx_t  *ngx_astro_trace_ctx;
static ngx_astro_conn_t     *ngx_astro_trace_conn;
static int64_t               ngx_astro_trace_id;
static astro_json_doc_t     *ngx_astro_trace_doc;   /* NULL: it is gone */


static ngx_http_variable_t  ngx_astro_variables[] = {

    { ngx_string("astro_request_id"), NULL, ngx_astro_trace_variable,
      NGX_ASTRO_V_REQUEST, NGX_HTTP_VAR_NOCACHEABLE, 0 },
    { ngx_string("astro_trace_id"), NULL, ngx_astro_trace_variable,
      NGX_ASTRO_V_TRACE, NGX_HTTP_VAR_NOCACHEABLE, 0 },
    { ngx_string("astro_span_id"), NULL, ngx_astro_trace_variable,
      NGX_ASTRO_V_SPAN, NGX_HTTP_VAR_NOCACHEABLE, 0 },
    { ngx_string("astro_user"), NULL, ngx_astro_trace_variable,
      NGX_ASTRO_V_USER, NGX_HTTP_VAR_NOCACHEABLE, 0 },
    { ngx_string("astro_route"), NULL, ngx_astro_trace_variable,
      NGX_ASTRO_V_ROUTE, NGX_HTTP_VAR_NOCACHEABLE, 0 },
    { ngx_string("astro_conn"), NULL, ngx_astro_trace_variable,
      NGX_ASTRO_V_CONN, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_null_string, NULL, NULL, 0, 0, 0 }
};


ngx_int_t
ngx_astro_trace_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *v, *var;

    for (v = ngx_astro_variables; v->name.len; v++) {

        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


/*
 * X-Request-Id: the client's own if it is sane; else the id of the trace, so
 * that there is one name where one is enough.
 */

ngx_int_t
ngx_astro_trace_begin(ngx_astro_api_ctx_t *ctx)
{
    ngx_table_elt_t  *h;

    ngx_astro_trace_parent(ctx);

    h = ngx_astro_header(ctx->r, "x-request-id", 12);

    if (h && astro_request_id_ok(h->value.data, h->value.len)) {
        ctx->request_id = h->value;
        return NGX_OK;
    }

    ctx->request_id.data = (u_char *) ctx->trace.id;
    ctx->request_id.len = sizeof(ctx->trace.id);

    return NGX_OK;
}


/* Two of them are none.  The span is ours either way. */

static void
ngx_astro_trace_parent(ngx_astro_api_ctx_t *ctx)
{
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h, *parent;

    n = 0;
    parent = NULL;
    part = &ctx->r->headers_in.headers.part;

    for ( /* void */ ; part; part = part->next) {
        h = part->elts;

        for (i = 0; i < part->nelts; i++) {
            if (h[i].key.len == 11
                && ngx_strncasecmp(h[i].key.data, (u_char *) "traceparent", 11)
                   == 0)
            {
                parent = &h[i];
                n++;
            }
        }
    }

    if (n != 1
        || astro_trace_parse(&ctx->trace, parent->value.data,
                             parent->value.len)
           != 0)
    {
        ngx_astro_trace_noise(ctx->trace.id, sizeof(ctx->trace.id));
        ngx_memcpy(ctx->trace.flags, "00", 2);
    }

    ngx_astro_trace_noise(ctx->trace.span, sizeof(ctx->trace.span));
}


/* len is a multiple of 8; all zeros would be no id */

static void
ngx_astro_trace_noise(char *p, size_t len)
{
    size_t    i;
    uint32_t  noise;

    for (i = 0; i < len; i += 8) {
        noise = ((uint32_t) ngx_random() << 1) ^ (uint32_t) ngx_random();
        noise |= (i == 0);
        (void) ngx_hex_dump((u_char *) p + i, (u_char *) &noise,
                            sizeof(noise));
    }
}


void
ngx_astro_trace_request(ngx_astro_api_ctx_t *ctx)
{
    ngx_astro_trace_ctx = ctx;
}


void
ngx_astro_trace_message(ngx_astro_conn_t *conn, int64_t id,
    astro_json_doc_t *doc)
{
    ngx_astro_trace_conn = conn;
    ngx_astro_trace_id = id;
    ngx_astro_trace_doc = doc;
}


void
ngx_astro_trace_end(void)
{
    ngx_astro_trace_ctx = NULL;
    ngx_astro_trace_conn = NULL;
}


size_t
ngx_astro_trace_text(u_char buf[NGX_ASTRO_TRACE_MAX])
{
    u_char                     *p;
    astro_trace_t               trace;
    const astro_json_member_t  *m;

    p = buf;

    if (ngx_astro_trace_ctx) {
        p = ngx_cpymem(p, ngx_astro_trace_ctx->request_id.data,
                       ngx_astro_trace_ctx->request_id.len);
        *p++ = ' ';
        p = (u_char *) astro_trace_write((char *) p,
                                         &ngx_astro_trace_ctx->trace);

    } else if (ngx_astro_trace_conn) {
        p = ngx_sprintf(p, "k_%xL-%L", ngx_astro_trace_conn->id,
                        ngx_astro_trace_id);

        m = ngx_astro_trace_doc
            ? astro_json_get(&ngx_astro_trace_doc->root, "traceparent") : NULL;

        if (m && m->kind == ASTRO_JSON_STRING && !m->escaped
            && astro_trace_parse(&trace, (u_char *) m->raw + 1,
                                 m->raw_len - 2)
               == 0)
        {
            ngx_astro_trace_noise(trace.span, sizeof(trace.span));
            *p++ = ' ';
            p = (u_char *) astro_trace_write((char *) p, &trace);
        }
    }

    *p = '\0';

    return p - buf;
}


/* The context is of a REST request, or the connection that came of it. */

static ngx_int_t
ngx_astro_trace_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char               *p;
    ngx_str_t             s;
    ngx_astro_conn_t     *conn;
    ngx_astro_api_ctx_t  *ctx;

    ctx = NULL;
    conn = NULL;
    ngx_str_null(&s);

    if (r->content_handler == ngx_astro_api_handler) {
        ctx = ngx_http_get_module_ctx(r, ngx_astro_module);

    } else if (r->headers_out.status == NGX_HTTP_SWITCHING_PROTOCOLS) {
        conn = ngx_http_get_module_ctx(r, ngx_astro_module);
    }

    if (conn && data == NGX_ASTRO_V_CONN) {
        p = ngx_pnalloc(r->pool, NGX_INT64_LEN);
        if (p == NULL) {
            return NGX_ERROR;
        }

        s.data = p;
        s.len = ngx_sprintf(p, "k_%xL", conn->id) - p;
    }

    if (ctx && data == NGX_ASTRO_V_REQUEST) {
        s = ctx->request_id;

    } else if (ctx && data == NGX_ASTRO_V_TRACE) {
        s.data = (u_char *) ctx->trace.id;
        s.len = sizeof(ctx->trace.id);

    } else if (ctx && data == NGX_ASTRO_V_SPAN) {
        s.data = (u_char *) ctx->trace.span;
        s.len = sizeof(ctx->trace.span);

    } else if (ctx && ctx->row && data == NGX_ASTRO_V_ROUTE) {
        s = ctx->row->pattern;

    } else if (ctx && ctx->claims.user && data == NGX_ASTRO_V_USER) {
        p = ngx_pnalloc(r->pool, NGX_INT64_LEN + 2);
        if (p == NULL) {
            return NGX_ERROR;
        }

        s.data = p;
        s.len = ngx_sprintf(p, "u_%uL", ctx->claims.user) - p;
    }

    v->data = s.data;
    v->len = s.len;
    v->valid = s.len > 0;
    v->no_cacheable = 1;
    v->not_found = s.len == 0;

    return NGX_OK;
}
