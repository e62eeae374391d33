
/*
 * Copyright (C) The Astro authors
 *
 * Keys are asked for on a socket of this nginx, in HTTP/1.0, so that TLS,
 * names, caching and what to do when the issuer is down are proxy_pass' and
 * proxy_cache's.  A subrequest would need a request, and a WebSocket has none.
 *
 * One fetch at a time, and none sooner than "refresh" after the last, however
 * many tokens name a key that nobody knows.  A set that came goes on being used
 * until a better one does.
 */

#include "ngx_astro_issuer.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_outside.h"

#include <openssl/sha.h>


#define NGX_ASTRO_ISSUERS          8
#define NGX_ASTRO_ISSUER_MS        8000     /* for a fetch, all in all */
#define NGX_ASTRO_ISSUER_AGAIN_MS  2000     /* when there are no keys at all */
#define NGX_ASTRO_ISSUER_HEAD      8192
#define NGX_ASTRO_ISSUER_BUF       (ASTRO_KEYS_TEXT_MAX + NGX_ASTRO_ISSUER_HEAD)


static char *ngx_astro_issuer_url(ngx_conf_t *cf, ngx_astro_issuer_t *is,
    ngx_str_t *value);
static char *ngx_astro_issuer_file(ngx_conf_t *cf, ngx_astro_issuer_t *is);
static void ngx_astro_issuer_cleanup(void *data);
static ngx_int_t ngx_astro_issuer_connect(ngx_astro_issuer_t *is);
static void ngx_astro_issuer_timer(ngx_event_t *ev);
static void ngx_astro_issuer_write(ngx_event_t *wev);
static void ngx_astro_issuer_read(ngx_event_t *rev);
static void ngx_astro_issuer_done(ngx_astro_issuer_t *is, const char *why);
static const char *ngx_astro_issuer_take(ngx_astro_issuer_t *is);


char *
ngx_astro_issuer_set(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *conf = c;

    ngx_int_t            ms;
    ngx_str_t           *value, s;
    ngx_uint_t           i;
    ngx_astro_issuer_t  *is;

    value = cf->args->elts;

    if (conf->issuers == NULL) {
        conf->issuers = ngx_array_create(cf->pool, NGX_ASTRO_ISSUERS,
                                         sizeof(ngx_astro_issuer_t));
        if (conf->issuers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (conf->issuers->nelts == NGX_ASTRO_ISSUERS) {
        return "is there too often";
    }

    is = conf->issuers->elts;

    for (i = 0; i < conf->issuers->nelts; i++) {
        if (is[i].name.len == value[1].len
            && ngx_strcmp(is[i].name.data, value[1].data) == 0)
        {
            return "is duplicate";
        }
    }

    if (value[1].len == 0 || ngx_strcmp(value[1].data, ASTRO_JWT_ISSUER) == 0)
    {
        return "cannot be this server itself";
    }

    /* room was made for all of them: they do not move */

    is = ngx_array_push(conf->issuers);
    ngx_memzero(is, sizeof(ngx_astro_issuer_t));

    is->name = value[1];
    is->refresh = 60000;

    for (i = 2; i < cf->args->nelts; i++) {

        s = value[i];

        if (ngx_strncmp(s.data, "audience=", 9) == 0 && s.len > 9) {
            is->audience = (char *) s.data + 9;
            continue;
        }

        if (ngx_strncmp(s.data, "keys=", 5) == 0 && s.len > 5) {
            is->file.data = s.data + 5;
            is->file.len = s.len - 5;
            continue;
        }

        if (ngx_strncmp(s.data, "refresh=", 8) == 0) {
            s.data += 8;
            s.len -= 8;
            ms = ngx_parse_time(&s, 0);

            if (ms == NGX_ERROR || ms < 1000) {
                return "has a refresh that is no time, or below a second";
            }

            is->refresh = ms;
            continue;
        }

        if (ngx_strncmp(s.data, "fetch=", 6) == 0 && is->addr == NULL) {
            s.data += 6;
            s.len -= 6;

            if (ngx_astro_issuer_url(cf, is, &s) != NGX_CONF_OK) {
                return NGX_CONF_ERROR;
            }

            continue;
        }

        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\" of \"%V\"", &value[i],
                           &cmd->name);
        return NGX_CONF_ERROR;
    }

    if ((is->addr == NULL) == (is->file.len == 0)) {
        return "takes either \"keys=\" or \"fetch=\"";
    }

    return is->addr ? NGX_CONF_OK : ngx_astro_issuer_file(cf, is);
}


/* http://unix:/path:/uri, or http://address:port/uri: nothing to resolve */

static char *
ngx_astro_issuer_url(ngx_conf_t *cf, ngx_astro_issuer_t *is, ngx_str_t *value)
{
    ngx_url_t  u;

    ngx_memzero(&u, sizeof(ngx_url_t));

    if (value->len > 7
        && ngx_strncmp(value->data, "http://", 7) == 0)
    {
        u.url.data = value->data + 7;
        u.url.len = value->len - 7;
    }

    u.uri_part = 1;
    u.no_resolve = 1;
    u.default_port = 80;

    if (u.url.len == 0 || ngx_parse_url(cf->pool, &u) != NGX_OK
        || u.naddrs == 0 || u.uri.len == 0)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"fetch=\" takes http://unix:/path:/uri or "
                           "http://IP-address:port/uri, not \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    is->addr = u.addrs;
    is->uri = u.uri;

    if (u.family == AF_UNIX) {
        ngx_str_set(&is->host, "localhost");

    } else {
        is->host = u.host;
    }

    return NGX_CONF_OK;
}


static char *
ngx_astro_issuer_file(ngx_conf_t *cf, ngx_astro_issuer_t *is)
{
    int                   rc;
    u_char               *buf;
    size_t                len;
    const char           *why;
    ngx_pool_cleanup_t   *cln;
    astro_json_parser_t  *parser;

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    buf = ngx_alloc(ASTRO_KEYS_TEXT_MAX + 1, cf->log);
    parser = astro_json_parser_create();
    is->keys = astro_keys_create();

    rc = -1;

    if (cln && buf && parser && is->keys) {

        cln->handler = ngx_astro_issuer_cleanup;
        cln->data = is->keys;

        if (ngx_astro_keys_file(cf, "astro_issuer", &is->file, buf,
                                ASTRO_KEYS_TEXT_MAX + 1, &len)
            == NGX_OK)
        {
            rc = astro_keys_read(is->keys, parser, buf, len, ASTRO_KEYS_FILE,
                                 &why);
            ngx_explicit_memzero(buf, len);

            if (rc != 0 || astro_keys_count(is->keys) == 0) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "\"astro_issuer\" \"%V\": %s", &is->file,
                                   rc ? why : "no key that we can use");
                rc = -1;
            }
        }
    }

    if (parser) {
        astro_json_parser_destroy(parser);
    }

    if (buf) {
        ngx_free(buf);
    }

    return rc == 0 ? NGX_CONF_OK : NGX_CONF_ERROR;
}


static void
ngx_astro_issuer_cleanup(void *data)
{
    astro_keys_destroy(data);
}


ngx_astro_issuer_t *
ngx_astro_issuer_find(const char *name, size_t len)
{
    ngx_uint_t           i;
    ngx_astro_issuer_t  *is;

    if (ngx_astro.conf->issuers == NULL) {
        return NULL;
    }

    is = ngx_astro.conf->issuers->elts;

    for (i = 0; i < ngx_astro.conf->issuers->nelts; i++) {

        if (is[i].name.len == len
            && ngx_memcmp(is[i].name.data, name, len) == 0)
        {
            if (is[i].waiting.next == NULL) {
                ngx_queue_init(&is[i].waiting);
                ngx_astro_event_init(&is[i].timer, ngx_astro_issuer_timer);
            }

            return &is[i];
        }
    }

    return NULL;
}


void
ngx_astro_issuer_look(ngx_astro_issuer_t *is)
{
    if (is->addr) {
        (void) ngx_astro_issuer_fetch(is);
    }
}


ngx_int_t
ngx_astro_issuer_fetch(ngx_astro_issuer_t *is)
{
    int64_t     now;
    ngx_msec_t  least;

    if (is->c) {
        return NGX_AGAIN;
    }

    least = is->keys ? is->refresh : NGX_ASTRO_ISSUER_AGAIN_MS;
    now = ngx_astro_boot_ms();

    if (is->addr == NULL
        || (is->tried_ms && now - is->tried_ms < (int64_t) least))
    {
        return NGX_DECLINED;
    }

    is->tried_ms = now;
    ngx_astro_count(KEY_FETCHES);

    if (ngx_astro_issuer_connect(is) != NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, ngx_astro.log, ngx_socket_errno,
                      "astro: keys of \"%V\" cannot be asked for", &is->name);
        return NGX_DECLINED;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_astro_issuer_connect(ngx_astro_issuer_t *is)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    is->buf = ngx_alloc(NGX_ASTRO_ISSUER_BUF, ngx_astro.log);
    is->len = 0;

    if (is->buf == NULL) {
        return NGX_ERROR;
    }

    s = ngx_socket(is->addr->sockaddr->sa_family, SOCK_STREAM, 0);

    c = s == (ngx_socket_t) -1 ? NULL : ngx_get_connection(s, ngx_astro.log);

    if (c == NULL) {

        if (s != (ngx_socket_t) -1) {
            (void) ngx_close_socket(s);
        }

        goto failed;
    }

    c->type = SOCK_STREAM;
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->log = ngx_astro.log;
    c->read->log = ngx_astro.log;
    c->write->log = ngx_astro.log;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);
    c->data = is;
    c->read->handler = ngx_astro_issuer_read;
    c->write->handler = ngx_astro_issuer_write;

    if (ngx_nonblocking(s) == -1
        || (connect(s, is->addr->sockaddr, is->addr->socklen) == -1
            && ngx_socket_errno != NGX_EINPROGRESS)
        || !(ngx_add_conn ? ngx_add_conn(c) == NGX_OK
                          : ngx_handle_read_event(c->read, 0) == NGX_OK
                            && ngx_handle_write_event(c->write, 0) == NGX_OK))
    {
        ngx_close_connection(c);
        goto failed;
    }

    is->c = c;
    ngx_add_timer(&is->timer, NGX_ASTRO_ISSUER_MS);

    return NGX_OK;

failed:

    ngx_free(is->buf);
    is->buf = NULL;

    return NGX_ERROR;
}


static void
ngx_astro_issuer_timer(ngx_event_t *ev)
{
    ngx_astro_issuer_done(ngx_astro_of(ev, ngx_astro_issuer_t, timer),
                          "no answer");
}


static void
ngx_astro_issuer_write(ngx_event_t *wev)
{
    u_char               *p;
    u_char                buf[NGX_ASTRO_ISSUER_HEAD];
    ngx_connection_t     *c;
    ngx_astro_issuer_t   *is;

    c = wev->data;
    is = c->data;

    /* said once, and short enough for any socket's buffer */

    if (c->sent) {
        return;
    }

    p = ngx_snprintf(buf, sizeof(buf), "GET %V HTTP/1.0\r\nHost: %V\r\n"
                     "Accept: application/json\r\nConnection: close\r\n\r\n",
                     &is->uri, &is->host);

    if (c->send(c, buf, p - buf) != p - buf) {
        ngx_astro_issuer_done(is, "cannot ask");
    }
}


static void
ngx_astro_issuer_read(ngx_event_t *rev)
{
    ssize_t              n;
    ngx_connection_t    *c;
    ngx_astro_issuer_t  *is;

    c = rev->data;
    is = c->data;

    /* worker_shutdown_timeout ends clients; they may need us */
    c->close = 0;
    c->error = 0;

    for ( ;; ) {

        n = c->recv(c, is->buf + is->len, NGX_ASTRO_ISSUER_BUF - is->len);

        if (n == NGX_AGAIN) {
            if (ngx_handle_read_event(rev, 0) != NGX_OK) {
                break;
            }

            return;
        }

        if (n == 0) {
            ngx_astro_issuer_done(is, ngx_astro_issuer_take(is));
            return;
        }

        if (n < 0) {
            break;
        }

        is->len += n;

        if (is->len == NGX_ASTRO_ISSUER_BUF) {
            ngx_astro_issuer_done(is, "the answer is too long");
            return;
        }
    }

    ngx_astro_issuer_done(is, "the connection was cut");
}


/* why: NULL, or what went wrong; the keys of before are kept then. */

static void
ngx_astro_issuer_done(ngx_astro_issuer_t *is, const char *why)
{
    if (is->timer.timer_set) {
        ngx_del_timer(&is->timer);
    }

    ngx_close_connection(is->c);
    is->c = NULL;

    ngx_free(is->buf);
    is->buf = NULL;

    if (why) {
        ngx_astro_count(KEY_FETCHES_FAILED);
        ngx_log_error(NGX_LOG_WARN, ngx_astro.log, 0,
                      "astro: keys of \"%V\" were not fetched: %s", &is->name,
                      why);
    }

    ngx_astro_outside_fetched(is);
}


static const char *
ngx_astro_issuer_take(ngx_astro_issuer_t *is)
{
    size_t         len;
    u_char        *body, *last;
    u_char         sum[SHA256_DIGEST_LENGTH];
    const char    *why;
    astro_keys_t  *keys;

    last = is->buf + is->len;
    body = is->len < 16 ? NULL : ngx_strlcasestrn(is->buf, last,
                                                  (u_char *) "\r\n\r\n", 3);

    if (body == NULL || ngx_strncmp(is->buf, "HTTP/1.", 7) != 0
        || ngx_strncmp(is->buf + 8, " 200", 4) != 0)
    {
        return "the answer is not 200";
    }

    body += 4;
    len = last - body;

    (void) SHA256(body, len, sum);

    if (is->keys && ngx_memcmp(sum, is->sum, SHA256_DIGEST_LENGTH) == 0) {
        return NULL;
    }

    if (len > ASTRO_KEYS_TEXT_MAX) {
        return "the set is too long";
    }

    keys = astro_keys_create();

    if (keys == NULL) {
        return "no memory";
    }

    why = NULL;

    if (astro_keys_read(keys, ngx_astro.json, body, len, ASTRO_KEYS_FETCHED,
                        &why)
        == 0 && astro_keys_count(keys) == 0)
    {
        why = "no key that we can use";
    }

    if (why) {
        astro_keys_destroy(keys);
        return why;
    }

    astro_keys_destroy(is->keys);
    is->keys = keys;
    is->gen++;
    ngx_memcpy(is->sum, sum, SHA256_DIGEST_LENGTH);

    return NULL;
}
