
/*
 * Copyright (C) The Astro authors
 *
 * The adapter: see redis_uv.h.  hiredis says what it waits for by the hooks
 * below; when the socket fails libuv reports a status and no events, and
 * hiredis learns of it by reading.
 */

#include <stdlib.h>

#include <hiredis/hiredis.h>
#include <hiredis/async.h>

#include "redis_uv.h"
#include "tariff.h"


typedef struct {
    redisAsyncContext  *ac;             /* NULL: hiredis has freed it */
    uv_poll_t           poll;
    int                 events;
} billing_redis_uv_t;


static void billing_redis_uv_event(uv_poll_t *poll, int status, int events);
static void billing_redis_uv_watch(billing_redis_uv_t *u, int events);
static void billing_redis_uv_add_read(void *data);
static void billing_redis_uv_del_read(void *data);
static void billing_redis_uv_add_write(void *data);
static void billing_redis_uv_del_write(void *data);
static void billing_redis_uv_cleanup(void *data);
static void billing_redis_uv_closed(uv_handle_t *handle);


int
billing_redis_uv_attach(redisAsyncContext *ac, uv_loop_t *loop)
{
    billing_redis_uv_t  *u;

    u = calloc(1, sizeof(billing_redis_uv_t));
    if (u == NULL) {
        return BILLING_ERROR;
    }

    if (uv_poll_init(loop, &u->poll, ac->c.fd) != 0) {
        free(u);
        return BILLING_ERROR;
    }

    u->ac = ac;
    u->poll.data = u;

    ac->ev.data = u;
    ac->ev.addRead = billing_redis_uv_add_read;
    ac->ev.delRead = billing_redis_uv_del_read;
    ac->ev.addWrite = billing_redis_uv_add_write;
    ac->ev.delWrite = billing_redis_uv_del_write;
    ac->ev.cleanup = billing_redis_uv_cleanup;

    return BILLING_OK;
}


static void
billing_redis_uv_event(uv_poll_t *poll, int status, int events)
{
    billing_redis_uv_t  *u;

    u = poll->data;

    if (status != 0) {
        events = UV_READABLE;
        u->events = 0;
    }

    if (u->ac != NULL && (events & UV_READABLE)) {
        redisAsyncHandleRead(u->ac);
    }

    if (u->ac != NULL && (events & UV_WRITABLE)) {
        redisAsyncHandleWrite(u->ac);
    }
}


static void
billing_redis_uv_watch(billing_redis_uv_t *u, int events)
{
    if (u->events == events) {
        return;
    }

    u->events = events;

    if (events) {
        uv_poll_start(&u->poll, events, billing_redis_uv_event);

    } else {
        uv_poll_stop(&u->poll);
    }
}


static void
billing_redis_uv_add_read(void *data)
{
    billing_redis_uv_t *u = data;

    billing_redis_uv_watch(u, u->events | UV_READABLE);
}


static void
billing_redis_uv_del_read(void *data)
{
    billing_redis_uv_t *u = data;

    billing_redis_uv_watch(u, u->events & ~UV_READABLE);
}


static void
billing_redis_uv_add_write(void *data)
{
    billing_redis_uv_t *u = data;

    billing_redis_uv_watch(u, u->events | UV_WRITABLE);
}


static void
billing_redis_uv_del_write(void *data)
{
    billing_redis_uv_t *u = data;

    billing_redis_uv_watch(u, u->events & ~UV_WRITABLE);
}


/* hiredis closes the socket right after this: it must not be polled any more */

static void
billing_redis_uv_cleanup(void *data)
{
    billing_redis_uv_t *u = data;

    u->ac = NULL;

    uv_poll_stop(&u->poll);
    uv_close((uv_handle_t *) &u->poll, billing_redis_uv_closed);
}


static void
billing_redis_uv_closed(uv_handle_t *handle)
{
    free(handle->data);
}
