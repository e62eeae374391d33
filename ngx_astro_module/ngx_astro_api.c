
/*
 * Copyright (C) The Astro authors
 *
 * Route, role, body, call, answer.  A request that waits for the database is
 * held by its count, but nginx may terminate it all the same (a broken body
 * that is being discarded, worker_shutdown_timeout).  So what the answer needs
 * lies in memory of its own, and the request's cleanup says that it has gone.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_limits.h"


#define NGX_ASTRO_LIMIT_DEFAULT  50
#define NGX_ASTRO_LIMIT_MAX      200
#define NGX_ASTRO_CURSOR_MAX     128


typedef struct {
    ngx_astro_api_ctx_t      *ctx;      /* NULL: the request has gone */
    ngx_http_cleanup_t       *cleanup;
    ngx_astro_pg_handler_pt   handler;
} ngx_astro_api_pending_t;


static const ngx_astro_route_row_t *ngx_astro_api_route(ngx_http_request_t *r,
    uint64_t *id, ngx_uint_t *allowed);
static ngx_astro_class_e ngx_astro_api_class(
    const ngx_astro_route_row_t *row);
static ngx_int_t ngx_astro_api_match(const ngx_str_t *pattern, ngx_str_t *uri,
    uint64_t *id);
static ngx_int_t ngx_astro_api_request_id(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_api_method(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t allowed);
static ngx_uint_t ngx_astro_api_cursor_ok(ngx_str_t *cursor);
static ngx_int_t ngx_astro_api_generic(ngx_astro_api_ctx_t *ctx);
static void ngx_astro_api_gone(void *data);
static void ngx_astro_api_answered(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_api_header(ngx_http_request_t *r, const char *key,
    const char *value, size_t len);


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

    ctx->row = ngx_astro_api_route(r, &ctx->path_id, &allowed);

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


static const ngx_astro_route_row_t *
ngx_astro_api_route(ngx_http_request_t *r, uint64_t *id, ngx_uint_t *allowed)
{
    ngx_uint_t                    method;
    const ngx_astro_route_row_t  *row;

    *allowed = 0;
    method = r->method == NGX_HTTP_HEAD ? NGX_HTTP_GET : r->method;

    for (row = ngx_astro_routes; row->method; row++) {

        if (ngx_astro_api_match(&row->pattern, &r->uri, id) != NGX_OK) {
            continue;
        }

        if (row->method == method) {
            return row;
        }

        *allowed |= row->method;
    }

    return NULL;
}


static ngx_int_t
ngx_astro_api_match(const ngx_str_t *pattern, ngx_str_t *uri, uint64_t *id)
{
    u_char  *p, *plast, *u, *ulast, *end;

    p = pattern->data;
    plast = p + pattern->len;
    u = uri->data;
    ulast = u + uri->len;

    while (p < plast) {

        if (*p != '{') {

            if (u == ulast || *u != *p) {
                return NGX_DECLINED;
            }

            p++;
            u++;
            continue;
        }

        end = u;

        while (end < ulast && *end != '/') {
            end++;
        }

        if (end == u) {
            return NGX_DECLINED;
        }

        /* what is no id names nothing: 0, which the handler finds missing */

        *id = astro_id_parse(p[1], u, end - u);

        u = end;
        p += 3;
    }

    return u == ulast ? NGX_OK : NGX_DECLINED;
}


/* X-Request-Id: the client's own if it is sane, or 32 random digits. */

static ngx_int_t
ngx_astro_api_request_id(ngx_astro_api_ctx_t *ctx)
{
    u_char           *p;
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

    (void) ngx_sprintf(p, "%08xD%08xD%08xD%08xD",
                       (uint32_t) ngx_random(), (uint32_t) ngx_random(),
                       (uint32_t) ngx_random(), (uint32_t) ngx_random());

    return NGX_OK;
}


static ngx_int_t
ngx_astro_api_method(ngx_astro_api_ctx_t *ctx, ngx_uint_t allowed)
{
    const char  *allow;

    allow = allowed == NGX_HTTP_POST ? "POST"
            : allowed == NGX_HTTP_GET ? "GET, HEAD" : "GET, HEAD, POST";

    if (ngx_astro_api_header(ctx->r, "Allow", allow, ngx_strlen(allow))
        != NGX_OK)
    {
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


/* calls */

/* Ours are digits; whatever is printable may go and be refused further on. */

static ngx_uint_t
ngx_astro_api_cursor_ok(ngx_str_t *cursor)
{
    size_t  i;

    if (cursor->len == 0 || cursor->len > NGX_ASTRO_CURSOR_MAX) {
        return 0;
    }

    for (i = 0; i < cursor->len; i++) {
        if (cursor->data[i] <= ' ' || cursor->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_astro_api_generic(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t            n;
    ngx_str_t            arg;
    const char          *p;
    const char          *values[NGX_ASTRO_API_PARAMS];
    ngx_uint_t           i;
    ngx_http_request_t  *r;
    char                 user[24], id[24], limit[24];
    char                 cursor[NGX_ASTRO_CURSOR_MAX + 1];

    r = ctx->r;

    for (i = 0, p = ctx->row->params; *p; i++, p++) {

        switch (*p) {

        case 'u':
            *ngx_sprintf((u_char *) user, "%uL", ctx->claims.user) = '\0';
            values[i] = user;
            break;

        case 'p':
            if (ctx->path_id == 0) {
                return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                             "no such resource", NULL);
            }

            *ngx_sprintf((u_char *) id, "%uL", ctx->path_id) = '\0';
            values[i] = id;
            break;

        case 'l':
            n = NGX_ASTRO_LIMIT_DEFAULT;

            if (ngx_http_arg(r, (u_char *) "limit", 5, &arg) == NGX_OK) {
                n = ngx_atoi(arg.data, arg.len);

                if (n < 1 || n > NGX_ASTRO_LIMIT_MAX) {
                    return ngx_astro_api_problem(ctx,
                                                 NGX_ASTRO_E_BAD_REQUEST,
                                                 "limit is from 1 to 200",
                                                 "/limit");
                }
            }

            *ngx_sprintf((u_char *) limit, "%i", n) = '\0';
            values[i] = limit;
            break;

        default: /* 'c' */
            values[i] = NULL;

            if (ngx_http_arg(r, (u_char *) "cursor", 6, &arg) == NGX_OK) {

                if (!ngx_astro_api_cursor_ok(&arg)) {
                    return ngx_astro_api_problem(ctx,
                                                 NGX_ASTRO_E_BAD_REQUEST,
                                                 "no cursor of ours",
                                                 "/cursor");
                }

                *ngx_cpymem((u_char *) cursor, arg.data, arg.len) = '\0';
                values[i] = cursor;
            }
        }
    }

    return ngx_astro_api_call(ctx, ctx->row->sql, values);
}


ngx_int_t
ngx_astro_api_call(ngx_astro_api_ctx_t *ctx, const ngx_astro_sql_t *sql,
    const char *const *values)
{
    return ngx_astro_api_ask(ctx, sql, values, ngx_astro_api_answer);
}


ngx_int_t
ngx_astro_api_ask(ngx_astro_api_ctx_t *ctx, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler)
{
    ngx_astro_api_pending_t  *pending;

    pending = ngx_alloc(sizeof(ngx_astro_api_pending_t), ngx_astro.log);
    if (pending == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    pending->ctx = ctx;
    pending->handler = handler;
    pending->cleanup = ngx_http_cleanup_add(ctx->r, 0);

    if (pending->cleanup == NULL) {
        ngx_free(pending);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_astro_pg_call(ngx_astro.pg_api, sql, values,
                          ngx_astro_api_answered, pending)
        != NGX_OK)
    {
        pending->cleanup->handler = NULL;
        ngx_free(pending);

        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "the database is away, try again", NULL);
    }

    pending->cleanup->handler = ngx_astro_api_gone;
    pending->cleanup->data = pending;

    ctx->r->main->count++;

    return NGX_DONE;
}


static void
ngx_astro_api_gone(void *data)
{
    ngx_astro_api_pending_t  *pending = data;

    pending->ctx = NULL;
}


static void
ngx_astro_api_answered(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_pending_t  *pending = data;

    ngx_astro_api_ctx_t      *ctx;
    ngx_astro_pg_handler_pt   handler;

    ctx = pending->ctx;
    handler = pending->handler;

    if (ctx) {
        pending->cleanup->handler = NULL;
    }

    ngx_free(pending);

    if (ctx) {
        handler(ctx, rc, res);
    }
}


void
ngx_astro_api_finish(ngx_astro_api_ctx_t *ctx, ngx_int_t rc)
{
    ngx_connection_t  *c;

    c = ctx->r->connection;

    ngx_http_finalize_request(ctx->r, rc);
    ngx_http_run_posted_requests(c);
}


void
ngx_astro_api_answer(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    char                        detail[256], field[64];
    ngx_int_t                   status;
    ngx_str_t                   body;
    ngx_astro_error_e           error;
    astro_json_doc_t            doc;
    const astro_json_member_t  *code, *m;

    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1) {
        ngx_astro_api_finish(ctx, ngx_astro_api_problem(ctx,
                             rc == NGX_ASTRO_PG_ERROR
                             ? NGX_ASTRO_E_INTERNAL : NGX_ASTRO_E_UNAVAILABLE,
                             "no answer from the database, try again", NULL));
        return;
    }

    status = ngx_astro_pg_int(res, 0, 0);
    body = ngx_astro_pg_str(res, 0, 1);

    if (status < 300) {
        ngx_astro_api_finish(ctx, ngx_astro_api_send(ctx, status, body.data,
                                                     body.len));
        return;
    }

    error = NGX_ASTRO_E_INTERNAL;
    detail[0] = '\0';
    field[0] = '\0';

    if (astro_json_parse(ngx_astro.json, body.data, body.len, &doc) == 0) {

        code = astro_json_get(&doc.root, "code");

        if (code && code->kind == ASTRO_JSON_STRING) {
            error = ngx_astro_error_parse(code->raw + 1, code->raw_len - 2);
        }

        m = astro_json_get(&doc.root, "message");

        if (m && m->kind == ASTRO_JSON_STRING) {
            *ngx_snprintf((u_char *) detail, sizeof(detail) - 1, "%*s",
                          m->raw_len - 2, m->raw + 1) = '\0';
        }

        m = astro_json_get(&doc.root, "field");

        if (m && m->kind == ASTRO_JSON_STRING) {
            *ngx_snprintf((u_char *) field, sizeof(field) - 1, "%*s",
                          m->raw_len - 2, m->raw + 1) = '\0';
        }
    }

    ngx_astro_api_finish(ctx, ngx_astro_api_problem(ctx, error, detail,
                                                    field[0] ? field : NULL));
}


/* answers */

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
    u_char                    buf[1024];
    const ngx_astro_error_t  *e;

    e = &ngx_astro_errors[error];
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


static ngx_int_t
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

    /* in the order of the four rows */
    ngx_astro_count_of(HTTP_2XX, ngx_min(ngx_max(status / 100, 2), 5) - 2);
    ngx_astro_observe(HTTP_TIME, ngx_astro_boot_us() - ctx->came_us);

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;
    r->headers_out.content_type.data = (u_char *) type;
    r->headers_out.content_type.len = ngx_strlen(type);
    r->headers_out.content_type_len = r->headers_out.content_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_astro_api_header(r, "X-Request-Id",
                             (char *) ctx->request_id.data,
                             ctx->request_id.len)
        != NGX_OK
        || ngx_astro_api_header(r, "Cache-Control", "no-store", 8) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
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
