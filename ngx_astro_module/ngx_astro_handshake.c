
/*
 * Copyright (C) The Astro authors
 *
 * The content handler checks the request, prepares the connection, and has
 * itself called once more by the posted requests of the same turn, when
 * the phases are unwound; there the HTTP request is freed, and with it its
 * pool and buffers, while the socket lives on.
 */

#include "ngx_astro_auth.h"
#include "astro_frame.h"
#include "ngx_astro_conn.h"
#include "ngx_astro_deflate.h"
#include "ngx_astro_handshake.h"


/*
 * Walks over all header lines of one name: a list may come as several of them
 * (RFC 7230 section 3.2.2), and nginx keeps these apart.
 */
typedef struct {
    ngx_list_part_t  *part;
    ngx_uint_t        i;
    const char       *name;     /* lower case */
    size_t            len;
} ngx_astro_lines_t;


static ngx_int_t ngx_astro_ws_refuse(ngx_http_request_t *r,
    ngx_uint_t status);
static void ngx_astro_ws_lines(ngx_http_request_t *r,
    ngx_astro_lines_t *lines, const char *name, size_t len);
static ngx_str_t *ngx_astro_ws_next(ngx_astro_lines_t *lines);
static ngx_str_t *ngx_astro_ws_only(ngx_http_request_t *r, const char *name,
    size_t len);
static ngx_uint_t ngx_astro_ws_names(ngx_http_request_t *r, const char *name,
    size_t name_len, const char *token, size_t len);
static ngx_int_t ngx_astro_ws_extensions(ngx_http_request_t *r,
    astro_ws_ext_t *agreed);
static ngx_int_t ngx_astro_ws_has_token(ngx_str_t *value, const char *token,
    size_t len);
static ngx_int_t ngx_astro_ws_protocols(ngx_http_request_t *r,
    ngx_astro_conn_t *conn, ngx_uint_t *selected);
static void ngx_astro_ws_detach(ngx_http_request_t *r);
static void ngx_astro_ws_release_buffers(ngx_connection_t *c,
    ngx_http_connection_t *hc);
static void ngx_astro_ws_cleanup(void *data);


ngx_int_t
ngx_astro_ws_handler(ngx_http_request_t *r)
{
    return ngx_astro_ws_upgrade(r, 0);
}


ngx_int_t
ngx_astro_ws_upgrade(ngx_http_request_t *r, ngx_uint_t echo)
{
    u_char              *p;
    u_char               buf[512], accept[ASTRO_WS_ACCEPT_LEN];
    ngx_int_t            rc;
    ngx_str_t           *value;
    ngx_uint_t           selected;
    astro_ws_ext_t       agreed;
    ngx_astro_conn_t    *conn;
    ngx_http_cleanup_t  *cln;

    if (r != r->main) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (r->method != NGX_HTTP_GET) {
        return ngx_astro_ws_refuse(r, NGX_HTTP_NOT_ALLOWED);
    }

#if (NGX_HTTP_V2)
    if (r->stream) {
        return ngx_astro_ws_refuse(r, NGX_HTTP_BAD_REQUEST);
    }
#endif

    if (!ngx_astro_ws_names(r, "upgrade", 7, "websocket", 9)) {
        return ngx_astro_ws_refuse(r, 426);
    }

    if (r->http_version < NGX_HTTP_VERSION_11
        || !ngx_astro_ws_names(r, "connection", 10, "upgrade", 7))
    {
        return ngx_astro_ws_refuse(r, NGX_HTTP_BAD_REQUEST);
    }

    value = ngx_astro_ws_only(r, "sec-websocket-version", 21);

    if (value == NULL || !ngx_astro_same(value->data, value->len, "13")) {
        return ngx_astro_ws_refuse(r, 426);
    }

    value = ngx_astro_ws_only(r, "sec-websocket-key", 17);

    if (value == NULL
        || astro_ws_accept(value->data, value->len, accept) != 0
        || ngx_astro_ws_extensions(r, &agreed) != NGX_OK)
    {
        return ngx_astro_ws_refuse(r, NGX_HTTP_BAD_REQUEST);
    }

    if (!ngx_astro_origin_ok(r)) {
        return ngx_astro_ws_refuse(r, NGX_HTTP_FORBIDDEN);
    }

    if (ngx_exiting) {
        return ngx_astro_ws_refuse(r, NGX_HTTP_SERVICE_UNAVAILABLE);
    }

    conn = ngx_astro_conn_create(r->connection);
    if (conn == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_astro_limits_handshake(r, &conn->limits);

    if (rc != NGX_OK) {
        ngx_astro_conn_free(conn);
        return ngx_astro_ws_refuse(r, rc);
    }

    cln = ngx_http_cleanup_add(r, 0);

    if (cln == NULL
        || ngx_astro_ws_protocols(r, conn, &selected) != NGX_OK)
    {
        ngx_astro_conn_free(conn);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (selected == 2 && !echo) {
        ngx_astro_conn_free(conn);
        return ngx_astro_ws_refuse(r, NGX_HTTP_BAD_REQUEST);
    }

    conn->echo = echo;
    conn->bare = selected == 0 && !echo;

    p = ngx_sprintf(buf, "HTTP/1.1 101 Switching Protocols" CRLF
                    "Upgrade: websocket" CRLF
                    "Connection: Upgrade" CRLF
                    "Sec-WebSocket-Accept: %*s" CRLF "%s",
                    (size_t) ASTRO_WS_ACCEPT_LEN, accept,
                    selected == 1 && !echo
                    ? "Sec-WebSocket-Protocol: consult.v1" CRLF : "");

    if (agreed.on) {
        p = ngx_astro_deflate_agree(conn, &agreed, p);
    }

    p = ngx_cpymem(p, CRLF, 2);

    if (ngx_astro_conn_raw(conn, buf, p - buf) != NGX_OK) {
        ngx_astro_conn_free(conn);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_post_request(r, NULL) != NGX_OK) {
        ngx_astro_conn_free(conn);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* for the access log, and against any other reply */

    r->headers_out.status = NGX_HTTP_SWITCHING_PROTOCOLS;
    r->header_sent = 1;
    r->keepalive = 0;

    cln->handler = ngx_astro_ws_cleanup;
    cln->data = r;

    ngx_http_set_ctx(r, conn, ngx_astro_module);

    r->main->count++;
    r->write_event_handler = ngx_astro_ws_detach;

    return NGX_DONE;
}


static ngx_int_t
ngx_astro_ws_refuse(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_table_elt_t  *h;

    ngx_astro_count(HANDSHAKE_REFUSED);

    if (status == NGX_HTTP_TOO_MANY_REQUESTS) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));
        h->hash = 1;
        ngx_str_set(&h->key, "Retry-After");
        ngx_str_set(&h->value, "1");
    }

    if (status == 426) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));
        h->hash = 1;
        ngx_str_set(&h->key, "Sec-WebSocket-Version");
        ngx_str_set(&h->value, "13");

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));
        h->hash = 1;
        ngx_str_set(&h->key, "Upgrade");
        ngx_str_set(&h->value, "websocket");

        r->headers_out.status = 426;
        r->headers_out.content_length_n = 0;
        r->header_only = 1;

        return ngx_http_send_header(r);
    }

    return status;
}


static void
ngx_astro_ws_lines(ngx_http_request_t *r, ngx_astro_lines_t *lines,
    const char *name, size_t len)
{
    lines->part = &r->headers_in.headers.part;
    lines->i = 0;
    lines->name = name;
    lines->len = len;
}


/* The value of the next line, or NULL. */

static ngx_str_t *
ngx_astro_ws_next(ngx_astro_lines_t *lines)
{
    ngx_table_elt_t  *h;

    while (lines->part) {

        if (lines->i == lines->part->nelts) {
            lines->part = lines->part->next;
            lines->i = 0;
            continue;
        }

        h = lines->part->elts;
        h += lines->i++;

        if (h->key.len == lines->len
            && ngx_strncasecmp(h->key.data, (u_char *) lines->name,
                               lines->len) == 0)
        {
            return &h->value;
        }
    }

    return NULL;
}


/* Of a header that must not be there twice (RFC 6455 section 11.3). */

static ngx_str_t *
ngx_astro_ws_only(ngx_http_request_t *r, const char *name, size_t len)
{
    ngx_str_t          *value;
    ngx_astro_lines_t   lines;

    ngx_astro_ws_lines(r, &lines, name, len);

    value = ngx_astro_ws_next(&lines);

    return value && ngx_astro_ws_next(&lines) == NULL ? value : NULL;
}


/* Some line of that name has the token. */

static ngx_uint_t
ngx_astro_ws_names(ngx_http_request_t *r, const char *name, size_t name_len,
    const char *token, size_t len)
{
    ngx_str_t          *value;
    ngx_astro_lines_t   lines;

    ngx_astro_ws_lines(r, &lines, name, name_len);

    while ((value = ngx_astro_ws_next(&lines)) != NULL) {
        if (ngx_astro_ws_has_token(value, token, len) == NGX_OK) {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_astro_ws_extensions(ngx_http_request_t *r, astro_ws_ext_t *agreed)
{
    ngx_str_t          *value;
    ngx_astro_lines_t   lines;

    ngx_memzero(agreed, sizeof(astro_ws_ext_t));
    ngx_astro_ws_lines(r, &lines, "sec-websocket-extensions", 24);

    while ((value = ngx_astro_ws_next(&lines)) != NULL) {
        if (ngx_astro_deflate_offer(value, agreed) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

    return NGX_OK;
}


/* A comma-separated list has the token, in any case. */

static ngx_int_t
ngx_astro_ws_has_token(ngx_str_t *value, const char *token, size_t len)
{
    u_char  *p, *last, *end;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        while (p < last && (*p == ' ' || *p == '\t' || *p == ',')) {
            p++;
        }

        end = p;

        while (end < last && *end != ',' && *end != ' ' && *end != '\t') {
            end++;
        }

        if ((size_t) (end - p) == len
            && ngx_strncasecmp(p, (u_char *) token, len) == 0)
        {
            return NGX_OK;
        }

        p = end;
    }

    return NGX_DECLINED;
}


/*
 * selected: 1 consult.v1 was offered, 0 nothing was, 2 only others were.  A
 * token offered as "bearer.<base64url>" is taken and never repeated.
 */

static ngx_int_t
ngx_astro_ws_protocols(ngx_http_request_t *r, ngx_astro_conn_t *conn,
    ngx_uint_t *selected)
{
    u_char             *p, *last, *end;
    ssize_t             n;
    ngx_str_t           token, *value;
    ngx_astro_lines_t   lines;

    *selected = 0;
    token = ngx_astro_auth_bearer(r);

    ngx_astro_ws_lines(r, &lines, "sec-websocket-protocol", 22);

    while ((value = ngx_astro_ws_next(&lines)) != NULL) {

        if (ngx_astro_ws_has_token(value, "consult.v1", 10) == NGX_OK) {
            *selected = 1;

        } else if (*selected == 0) {
            *selected = 2;
        }

        p = value->data;
        last = p + value->len;

        while (p < last) {

            while (p < last && (*p == ' ' || *p == ',')) {
                p++;
            }

            end = p;

            while (end < last && *end != ',' && *end != ' ') {
                end++;
            }

            if (end - p > 7 && ngx_strncmp(p, "bearer.", 7) == 0
                && end - p <= ASTRO_JWT_MAX * 2)
            {
                token.data = ngx_pnalloc(r->pool, end - p);
                if (token.data == NULL) {
                    return NGX_ERROR;
                }

                n = astro_base64url_decode(token.data, end - p, p + 7,
                                           end - p - 7);
                token.len = n < 0 ? 0 : n;
            }

            p = end;
        }
    }

    if (token.len == 0) {
        return NGX_OK;
    }

    conn->bearer.data = ngx_alloc(token.len, ngx_astro.log);
    if (conn->bearer.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(conn->bearer.data, token.data, token.len);
    conn->bearer.len = token.len;

    return NGX_OK;
}


/*
 * The request ended before it was detached.  Cleanups come before the access
 * log, whose $astro_conn must not find what is freed here.
 */

static void
ngx_astro_ws_cleanup(void *data)
{
    ngx_http_request_t  *r = data;

    ngx_astro_conn_t  *conn;

    conn = ngx_http_get_module_ctx(r, ngx_astro_module);

    if (conn) {
        ngx_http_set_ctx(r, NULL, ngx_astro_module);
        ngx_astro_conn_free(conn);
    }
}


static void
ngx_astro_ws_detach(ngx_http_request_t *r)
{
    u_char                 *early;
    size_t                  len;
    ngx_buf_t              *b;
    ngx_connection_t       *c;
    ngx_astro_conn_t       *conn;
    ngx_http_cleanup_t     *cln;
    ngx_http_connection_t  *hc;

    c = r->connection;
    hc = r->http_connection;
    conn = ngx_http_get_module_ctx(r, ngx_astro_module);

    if (r->main->count != 1 || r->main->blocked || c->error) {
        ngx_http_finalize_request(r, NGX_ERROR);
        return;
    }

    /* what the client sent right after its request is in the header buffer */

    b = r->header_in;
    len = b->last - b->pos;
    early = NULL;

    if (len) {
        early = ngx_alloc(len, c->log);

        if (early == NULL) {
            ngx_http_finalize_request(r, NGX_ERROR);
            return;
        }

        ngx_memcpy(early, b->pos, len);
    }

    for (cln = r->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_astro_ws_cleanup) {
            cln->handler = NULL;
        }
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    /*
     * Logs the request and runs its cleanups; c->destroyed stays set, so that
     * the loop over posted requests does not take our c->data for a
     * request.
     */

    ngx_http_free_request(r, 0);

    ngx_astro_ws_release_buffers(c, hc);

    if (c->tcp_nodelay == NGX_TCP_NODELAY_UNSET) {
        (void) ngx_tcp_nodelay(c);
    }

    if (ngx_astro_conn_start(conn, early, len) != NGX_OK) {
        conn->broken = 1;
    }

    if (early) {
        ngx_free(early);
    }
}


/* As ngx_http_set_keepalive() does, so that an idle client holds no buffer. */

static void
ngx_astro_ws_release_buffers(ngx_connection_t *c, ngx_http_connection_t *hc)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl, *ln;

    b = c->buffer;

    if (b && ngx_pfree(c->pool, b->start) == NGX_OK) {
        b->start = NULL;
        b->pos = NULL;
        b->last = NULL;
        b->end = NULL;
    }

    for (cl = hc->free; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    hc->free = NULL;

    for (cl = hc->busy; cl; /* void */) {
        ln = cl;
        cl = cl->next;
        ngx_pfree(c->pool, ln->buf->start);
        ngx_free_chain(c->pool, ln);
    }

    hc->busy = NULL;
    hc->nbusy = 0;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        ngx_ssl_free_buffer(c);
    }
#endif
}
