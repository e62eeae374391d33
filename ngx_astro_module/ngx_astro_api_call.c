
/*
 * Copyright (C) The Astro authors
 *
 * The call of a row's function, and its answer.  A request that waits for the
 * database is held by its count, but nginx may terminate it all the same (a
 * broken body that is being discarded, worker_shutdown_timeout).  So what the
 * answer needs lies in memory of its own, and the request's cleanup says that
 * it has gone.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_slow.h"


#define NGX_ASTRO_LIMIT_DEFAULT  50
#define NGX_ASTRO_LIMIT_MAX      200
#define NGX_ASTRO_CURSOR_MAX     128
#define NGX_ASTRO_TEXT_MAX       512    /* of a refusal, escaped */


typedef struct {
    ngx_astro_api_ctx_t      *ctx;      /* NULL: the request has gone */
    ngx_http_cleanup_t       *cleanup;
    ngx_astro_pg_handler_pt   handler;
    ngx_uint_t                slow;
} ngx_astro_api_pending_t;


static ngx_int_t ngx_astro_api_param(ngx_astro_api_ctx_t *ctx, char param,
    const char **value);
static ngx_int_t ngx_astro_api_limit(ngx_astro_api_ctx_t *ctx,
    const char **value);
static ngx_uint_t ngx_astro_api_cursor_ok(ngx_str_t *cursor);
static const char *ngx_astro_api_number(ngx_astro_api_ctx_t *ctx, uint64_t n);
static void ngx_astro_api_gone(void *data);
static void ngx_astro_api_answered(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_api_refused(ngx_astro_api_ctx_t *ctx,
    PGresult *res);
static ngx_int_t ngx_astro_api_error(ngx_astro_api_ctx_t *ctx,
    ngx_str_t *body);
static void ngx_astro_api_escape(u_char *buf, const char *text);


ngx_int_t
ngx_astro_api_generic(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t    rc;
    const char  *values[NGX_ASTRO_API_PARAMS + 3];
    ngx_uint_t   i;

    rc = ngx_astro_api_values(ctx, values);

    if (rc != NGX_DECLINED) {
        return rc;
    }

    if (ctx->once == NULL) {
        return ngx_astro_api_call(ctx, &ctx->route->call, values);
    }

    i = ctx->route->call.nparams;
    values[i] = ngx_astro_api_number(ctx, ctx->claims.user);
    values[i + 1] = ctx->once;
    values[i + 2] = ngx_astro_api_once_hash(ctx);

    if (values[i] == NULL || values[i + 2] == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_astro_api_call(ctx, &ctx->route->once, values);
}


ngx_int_t
ngx_astro_api_values(ngx_astro_api_ctx_t *ctx, const char **values)
{
    ngx_int_t    rc;
    const char  *p;

    for (p = ctx->row->params; *p; p++) {

        rc = ngx_astro_api_param(ctx, *p, values++);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    return NGX_DECLINED;
}


static ngx_int_t
ngx_astro_api_param(ngx_astro_api_ctx_t *ctx, char param, const char **value)
{
    uint64_t  id;

    *value = NULL;

    switch (param) {

    case 'u':
        *value = ngx_astro_api_number(ctx, ctx->claims.user);
        break;

    case 'p':
    case 'q':
        id = ctx->path_id[param - 'p'];

        if (id == 0) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                         "no such resource", NULL);
        }

        *value = ngx_astro_api_number(ctx, id);
        break;

    case 'r':
        *value = astro_role_name(ctx->claims.role);
        break;

    case 'b':
        *value = (char *) ctx->body.data;
        break;

    case 'Q':
        *value = (char *) ctx->query.data;
        break;

    case 'h':
        *value = ctx->hash;
        break;

    case 'k':
        *value = (char *) ngx_astro.conf->pay_names.data;
        break;

    case 's':
        *value = ctx->claims.sid;
        break;

    case 'i':
        *value = ngx_astro_api_number(ctx, ctx->claims.since);
        break;

    case 'l':
        return ngx_astro_api_limit(ctx, value);

    case 'm':
        if (ngx_astro_api_if_match(ctx->r, value) != NGX_OK) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         "no list of etags", "/If-Match");
        }

        return NGX_DECLINED;

    default: /* 'c' */
        if (ctx->cursor.data == NULL) {
            return NGX_DECLINED;
        }

        if (!ngx_astro_api_cursor_ok(&ctx->cursor)) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         "no cursor of ours", "/cursor");
        }

        *value = (char *) ctx->cursor.data;
    }

    return *value ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_astro_api_limit(ngx_astro_api_ctx_t *ctx, const char **value)
{
    ngx_int_t  n;

    n = NGX_ASTRO_LIMIT_DEFAULT;

    if (ctx->limit.data) {
        n = ngx_atoi(ctx->limit.data, ctx->limit.len);

        if (n < 1 || n > NGX_ASTRO_LIMIT_MAX) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         "limit is from 1 to 200", "/limit");
        }
    }

    *value = ngx_astro_api_number(ctx, n);

    return *value ? NGX_DECLINED : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


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


static const char *
ngx_astro_api_number(ngx_astro_api_ctx_t *ctx, uint64_t n)
{
    u_char  *p;

    p = ngx_pnalloc(ctx->r->pool, NGX_INT64_LEN + 1);

    if (p) {
        *ngx_sprintf(p, "%uL", n) = '\0';
    }

    return (char *) p;
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
    ngx_int_t                 rc;
    ngx_http_request_t       *r;
    ngx_astro_api_pending_t  *pending;

    r = ctx->r;

    pending = ngx_alloc(sizeof(ngx_astro_api_pending_t), ngx_astro.log);
    if (pending == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    pending->ctx = ctx;
    pending->handler = handler;
    pending->slow = (ctx->row->roles & NGX_ASTRO_API_SLOW) != 0;
    pending->cleanup = ngx_http_cleanup_add(r, 0);

    if (pending->cleanup == NULL) {
        ngx_free(pending);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_astro_trace_request(ctx);

    rc = pending->slow
         ? ngx_astro_slow_call(ctx->claims.user, sql, values,
                               ngx_astro_api_answered, pending)
         : ngx_astro_pg_ask(ngx_astro.pg_api, sql, values,
                            ngx_astro_api_answered, pending);

    ngx_astro_trace_end();

    if (rc != NGX_OK) {
        pending->cleanup->handler = NULL;
        ngx_free(pending);

        if (rc == NGX_DECLINED) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_RATE_LIMITED,
                                         "your other reports are being made, "
                                         "try again", NULL);
        }

        if (rc == NGX_BUSY) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                         "too many reports at once, try again",
                                         NULL);
        }

        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "the database is away, try again", NULL);
    }

    pending->cleanup->handler = ngx_astro_api_gone;
    pending->cleanup->data = pending;

    /* who does not wait any more need not be kept in the queue */

    if (pending->slow && r->read_event_handler == ngx_http_block_reading) {
        r->read_event_handler = ngx_http_test_reading;
    }

    r->main->count++;

    return NGX_DONE;
}


static void
ngx_astro_api_gone(void *data)
{
    ngx_astro_api_pending_t  *pending = data;

    pending->ctx = NULL;

    if (pending->slow && ngx_astro_slow_cancel(pending) == NGX_OK) {
        ngx_free(pending);
    }
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

    ngx_int_t  status;

    if (rc == NGX_ASTRO_PG_REFUSED) {
        status = ngx_astro_api_refused(ctx, res);

    } else if (rc == NGX_ASTRO_PG_OK && PQntuples(res) == 1) {
        status = ngx_astro_api_row(ctx, res, 0);

    } else {
        status = ngx_astro_api_problem(ctx, rc == NGX_ASTRO_PG_LOST
                                       || rc == NGX_ASTRO_PG_BUSY
                                       ? NGX_ASTRO_E_UNAVAILABLE
                                       : NGX_ASTRO_E_INTERNAL,
                                       "no answer from the database, try again",
                                       NULL);
    }

    ngx_astro_api_finish(ctx, status);
}


/* By an exception: what it says is text, not JSON. */

static ngx_int_t
ngx_astro_api_refused(ngx_astro_api_ctx_t *ctx, PGresult *res)
{
    u_char                   detail[NGX_ASTRO_TEXT_MAX];
    u_char                   field[NGX_ASTRO_TEXT_MAX];
    ngx_astro_pg_refusal_t   refusal;

    ngx_astro_pg_refusal(res, &refusal);
    ngx_astro_api_escape(detail, refusal.message);

    if (refusal.field) {
        ngx_astro_api_escape(field, refusal.field);
    }

    ctx->retry_s = refusal.retry_s;

    return ngx_astro_api_problem(ctx, refusal.error, (char *) detail,
                                 refusal.field ? (char *) field : NULL);
}


/* Cut where it is too long, between two characters. */

static void
ngx_astro_api_escape(u_char *buf, const char *text)
{
    size_t   n;
    u_char  *p, *next, *last;

    p = buf;
    last = buf + NGX_ASTRO_TEXT_MAX - 1;

    while (*text) {

        for (n = 1; ((u_char) text[n] & 0xc0) == 0x80; n++) { /* void */ }

        next = astro_json_escape(p, last, (u_char *) text, n);

        if (next == NULL) {
            break;
        }

        p = next;
        text += n;
    }

    *p = '\0';
}


/* A row of (status, body), (status, body, etag), or of api.kept. */

ngx_int_t
ngx_astro_api_row(ngx_astro_api_ctx_t *ctx, PGresult *res, int row)
{
    ngx_int_t  status;
    ngx_str_t  body, etag;

    status = ngx_astro_pg_int(res, row, 0);
    body = ngx_astro_pg_str(res, row, 1);

    if (status >= 300) {
        return ngx_astro_api_error(ctx, &body);
    }

    if (status < 200 || (body.len == 0 && status != NGX_HTTP_NO_CONTENT)) {
        ngx_log_error(NGX_LOG_ERR, ngx_astro.log, 0,
                      "astro: api.%s answered nothing", ctx->row->function);

        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_INTERNAL,
                                     "internal error", NULL);
    }

    if (PQnfields(res) > 2 && ngx_strcmp(PQfname(res, 2), "etag") == 0) {

        etag = ngx_astro_pg_str(res, row, 2);

        if (etag.len && ngx_astro_api_etag(ctx, &etag, &body) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    /* a handler of its own may have called without the key */

    if (PQnfields(res) == 4 && ngx_strcmp(PQfname(res, 3), "replayed") == 0) {
        ctx->replayed = ngx_astro_pg_bool(res, row, 3);
    }

    if (ctx->after) {
        ctx->after(ctx);
    }

    if (PQnfields(res) == 4 && ngx_strcmp(PQfname(res, 3), "text_csv") == 0
        && !PQgetisnull(res, row, 3))
    {
        body = ngx_astro_pg_str(res, row, 3);

        if (ngx_astro_api_header(ctx->r, "Content-Disposition", "attachment",
                                 sizeof("attachment") - 1)
            != NGX_OK)
        {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        return ngx_astro_api_output(ctx, status, "text/csv; charset=utf-8",
                                    body.data, body.len);
    }

    return ngx_astro_api_send(ctx, status, body.data, body.len);
}


/* A body made by consult.error(). */

static ngx_int_t
ngx_astro_api_error(ngx_astro_api_ctx_t *ctx, ngx_str_t *body)
{
    char                        detail[256], field[64];
    ngx_astro_error_e           error;
    astro_json_doc_t            doc;
    const astro_json_member_t  *code, *m;

    error = NGX_ASTRO_E_INTERNAL;
    detail[0] = '\0';
    field[0] = '\0';

    if (astro_json_parse(ngx_astro.json, body->data, body->len, &doc) == 0) {

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

    return ngx_astro_api_problem(ctx, error, detail, field[0] ? field : NULL);
}
