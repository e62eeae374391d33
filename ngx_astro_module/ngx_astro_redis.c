
/*
 * Copyright (C) The Astro authors
 *
 * hiredis' asynchronous context on nginx's event loop.  hiredis frees a context
 * by itself after any error and then calls the disconnect callback (or, when
 * it never connected, the connect callback), so a link holds no
 * pointer to a context beyond these callbacks.  redisAsyncContext.ev.cleanup is
 * called in each case and is where the nginx connection is given back.
 *
 * The socket is level-triggered: hiredis reads 16 KB a call.
 */

#include "ngx_astro_heal.h"
#include "ngx_astro_redis.h"

#include <hiredis/hiredis.h>
#include <hiredis/async.h>


#define NGX_ASTRO_REDIS_BACKOFF_MIN  50
#define NGX_ASTRO_REDIS_BACKOFF_MAX  2000


typedef struct {
    redisAsyncContext  *ac;
    ngx_connection_t   *c;
    ngx_event_t         retry;
    ngx_msec_t          backoff;
    ngx_uint_t          up;
    ngx_uint_t          subscriber;
} ngx_astro_redis_link_t;


static void ngx_astro_redis_connect(ngx_astro_redis_link_t *l);
static ngx_int_t ngx_astro_redis_attach(ngx_astro_redis_link_t *l);
static void ngx_astro_redis_retry(ngx_event_t *ev);
static void ngx_astro_redis_lost(ngx_astro_redis_link_t *l, const char *why);
static void ngx_astro_redis_connected(const redisAsyncContext *ac, int status);
static void ngx_astro_redis_disconnected(const redisAsyncContext *ac,
    int status);
static void ngx_astro_redis_message(redisAsyncContext *ac, void *reply,
    void *data);
static void ngx_astro_redis_read_handler(ngx_event_t *rev);
static void ngx_astro_redis_write_handler(ngx_event_t *wev);
static void ngx_astro_redis_add_read(void *data);
static void ngx_astro_redis_del_read(void *data);
static void ngx_astro_redis_add_write(void *data);
static void ngx_astro_redis_del_write(void *data);
static void ngx_astro_redis_cleanup(void *data);


static ngx_astro_redis_link_t      ngx_astro_redis_in;
static ngx_astro_redis_link_t      ngx_astro_redis_out;
static ngx_astro_redis_handler_pt  ngx_astro_redis_handler;
static ngx_uint_t                  ngx_astro_redis_stopping;


ngx_int_t
ngx_astro_redis_start(ngx_astro_redis_handler_pt handler)
{
    ngx_uint_t               i;
    ngx_astro_redis_link_t  *l[2];

    if (ngx_astro.conf->redis.len == 0) {
        return NGX_OK;
    }

    ngx_astro_redis_handler = handler;
    ngx_astro_redis_in.subscriber = 1;

    l[0] = &ngx_astro_redis_in;
    l[1] = &ngx_astro_redis_out;

    for (i = 0; i < 2; i++) {
        l[i]->backoff = NGX_ASTRO_REDIS_BACKOFF_MIN;
        ngx_astro_event_init(&l[i]->retry, ngx_astro_redis_retry);
        l[i]->retry.cancelable = 1;
        ngx_astro_redis_connect(l[i]);
    }

    return NGX_OK;
}


void
ngx_astro_redis_stop(void)
{
    ngx_astro_redis_stopping = 1;

    if (ngx_astro_redis_in.ac) {
        redisAsyncFree(ngx_astro_redis_in.ac);
    }

    if (ngx_astro_redis_out.ac) {
        redisAsyncFree(ngx_astro_redis_out.ac);
    }
}


ngx_uint_t
ngx_astro_redis_is_up(void)
{
    return ngx_astro_redis_in.up && ngx_astro_redis_out.up;
}


void
ngx_astro_redis_nudge(uint64_t session)
{
    if (!ngx_astro_redis_out.up) {
        return;
    }

    (void) redisAsyncCommand(ngx_astro_redis_out.ac, NULL, NULL,
                             "PUBLISH %bnudge %llu",
                             ngx_astro.conf->redis_prefix.data,
                             (size_t) ngx_astro.conf->redis_prefix.len,
                             (unsigned long long) session);
}


static void
ngx_astro_redis_retry(ngx_event_t *ev)
{
    ngx_astro_redis_connect(ngx_astro_of(ev, ngx_astro_redis_link_t, retry));
}


static void
ngx_astro_redis_connect(ngx_astro_redis_link_t *l)
{
    char               *colon;
    ngx_str_t          *redis;
    redisAsyncContext  *ac;

    redis = &ngx_astro.conf->redis;

    if (ngx_strncmp(redis->data, "unix:", 5) == 0) {
        ac = redisAsyncConnectUnix((char *) redis->data + 5);

    } else {
        /* an address, not a name: the directive sees to that */

        colon = ngx_strchr((char *) redis->data, ':');
        *colon = '\0';
        ac = redisAsyncConnect((char *) redis->data,
                               ngx_atoi((u_char *) colon + 1,
                                        ngx_strlen(colon + 1)));
        *colon = ':';
    }

    if (ac == NULL) {
        ngx_astro_redis_lost(l, "no memory");
        return;
    }

    if (ac->err) {
        ngx_astro_redis_lost(l, ac->errstr);
        redisAsyncFree(ac);
        return;
    }

    l->ac = ac;
    ac->data = l;

    if (ngx_astro_redis_attach(l) != NGX_OK) {
        l->ac = NULL;
        redisAsyncFree(ac);
        ngx_astro_redis_lost(l, "no connection slot");
        return;
    }

    redisAsyncSetConnectCallback(ac, ngx_astro_redis_connected);
    redisAsyncSetDisconnectCallback(ac, ngx_astro_redis_disconnected);
}


static ngx_int_t
ngx_astro_redis_attach(ngx_astro_redis_link_t *l)
{
    ngx_connection_t  *c;

    c = ngx_get_connection(l->ac->c.fd, ngx_astro.log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->data = l;
    c->log = ngx_astro.log;
    c->read->log = ngx_astro.log;
    c->write->log = ngx_astro.log;
    c->read->handler = ngx_astro_redis_read_handler;
    c->write->handler = ngx_astro_redis_write_handler;

    l->c = c;

    l->ac->ev.data = l;
    l->ac->ev.addRead = ngx_astro_redis_add_read;
    l->ac->ev.delRead = ngx_astro_redis_del_read;
    l->ac->ev.addWrite = ngx_astro_redis_add_write;
    l->ac->ev.delWrite = ngx_astro_redis_del_write;
    l->ac->ev.cleanup = ngx_astro_redis_cleanup;

    return NGX_OK;
}


static void
ngx_astro_redis_lost(ngx_astro_redis_link_t *l, const char *why)
{
    if (l->up) {
        l->up = 0;
        ngx_astro_sub(REDIS_UP, 1);
    }

    l->ac = NULL;

    if (ngx_astro_redis_stopping) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_astro.log, 0,
                  "astro: Redis %V: %s; next attempt in %M ms",
                  &ngx_astro.conf->redis, why, l->backoff);

    ngx_add_timer(&l->retry, l->backoff);
    l->backoff = ngx_min(l->backoff * 2, NGX_ASTRO_REDIS_BACKOFF_MAX);
}


static void
ngx_astro_redis_connected(const redisAsyncContext *ac, int status)
{
    ngx_astro_redis_link_t  *l;

    l = ac->data;

    if (status != REDIS_OK) {
        ngx_astro_redis_lost(l, ac->errstr);
        return;
    }

    l->up = 1;
    l->backoff = NGX_ASTRO_REDIS_BACKOFF_MIN;

    ngx_astro_count(REDIS_CONNECTS);
    ngx_astro_count(REDIS_UP);

    if (l->subscriber) {
        (void) redisAsyncCommand(l->ac, ngx_astro_redis_message, NULL,
                                 "SUBSCRIBE %bevents",
                                 ngx_astro.conf->redis_prefix.data,
                                 (size_t) ngx_astro.conf->redis_prefix.len);
    }
}


static void
ngx_astro_redis_disconnected(const redisAsyncContext *ac, int status)
{
    ngx_astro_redis_lost(ac->data, ac->err ? ac->errstr : "closed");
}


static void
ngx_astro_redis_message(redisAsyncContext *ac, void *reply, void *data)
{
    redisReply  *r = reply;

    if (r && r->type == REDIS_REPLY_ARRAY && r->elements == 3
        && r->element[0]->type == REDIS_REPLY_STRING
        && ngx_astro_same(r->element[0]->str, (size_t) r->element[0]->len,
                          "subscribe"))
    {
        /* whatever was said before this moment was said to nobody */
        ngx_astro_heal_all();
        return;
    }

    if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 3
        || r->element[0]->type != REDIS_REPLY_STRING
        || r->element[2]->type != REDIS_REPLY_STRING
        || !ngx_astro_same(r->element[0]->str, (size_t) r->element[0]->len,
                           "message"))
    {
        return;
    }

    ngx_astro_count(REDIS_EVENTS);
    ngx_astro_redis_handler((u_char *) r->element[2]->str,
                            r->element[2]->len);
}


static void
ngx_astro_redis_read_handler(ngx_event_t *rev)
{
    ngx_connection_t        *c;
    ngx_astro_redis_link_t  *l;

    c = rev->data;
    l = c->data;

    redisAsyncHandleRead(l->ac);
}


static void
ngx_astro_redis_write_handler(ngx_event_t *wev)
{
    ngx_connection_t        *c;
    ngx_astro_redis_link_t  *l;

    c = wev->data;
    l = c->data;

    redisAsyncHandleWrite(l->ac);
}


static void
ngx_astro_redis_add_read(void *data)
{
    ngx_astro_redis_link_t  *l = data;

    if (!l->c->read->active) {
        (void) ngx_add_event(l->c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_astro_redis_del_read(void *data)
{
    ngx_astro_redis_link_t  *l = data;

    if (l->c->read->active) {
        (void) ngx_del_event(l->c->read, NGX_READ_EVENT, 0);
    }
}


static void
ngx_astro_redis_add_write(void *data)
{
    ngx_astro_redis_link_t  *l = data;

    if (!l->c->write->active) {
        (void) ngx_add_event(l->c->write, NGX_WRITE_EVENT, 0);
    }
}


static void
ngx_astro_redis_del_write(void *data)
{
    ngx_astro_redis_link_t  *l = data;

    if (l->c->write->active) {
        (void) ngx_del_event(l->c->write, NGX_WRITE_EVENT, 0);
    }
}


static void
ngx_astro_redis_cleanup(void *data)
{
    ngx_astro_redis_link_t  *l = data;

    ngx_connection_t        *c;

    c = l->c;

    if (c == NULL) {
        return;
    }

    l->c = NULL;

    ngx_astro_connection_forget(c);
}
