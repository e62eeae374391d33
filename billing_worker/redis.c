
/*
 * Copyright (C) The Astro authors
 *
 * Redis: see redis.h.
 *
 * hiredis frees a context by itself after any error, and calls the disconnect
 * callback first (or, when it never connected, the connect callback); ours
 * forget the pointer there.  It brings an adapter for libuv, but that one
 * ignores the status libuv reports for a refused or reset connection, which
 * then hangs for ever; the one in redis_uv.c does not.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <hiredis/hiredis.h>
#include <hiredis/async.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "redis.h"
#include "redis_uv.h"
#include "tariff.h"
#include "text.h"


#define BILLING_REDIS_BACKOFF_MIN  50       /* ms */
#define BILLING_REDIS_BACKOFF_MAX  2000
#define BILLING_REDIS_LOOK_MS      1000
#define BILLING_REDIS_CONNECT_MS   3000
#define BILLING_REDIS_PINGS        5        /* unanswered: given up */

/* what may wait for a Redis that does not take it as fast as it comes */
#define BILLING_REDIS_OUT_MAX      (4 * 1024 * 1024)


static int billing_redis_link(billing_redis_t *r, billing_redis_link_t *l,
    int sub);
static void billing_redis_say(billing_redis_t *r, const char *to,
    billing_redis_what_e what, const char *text, size_t len);
static int billing_redis_room(billing_redis_t *r, billing_redis_what_e what,
    size_t len);
static void billing_redis_dropped(billing_redis_t *r);
static void billing_redis_connect(billing_redis_link_t *l);
static redisAsyncContext *billing_redis_open(const char *address);
static void billing_redis_connected(const redisAsyncContext *ac, int status);
static void billing_redis_disconnected(const redisAsyncContext *ac,
    int status);
static void billing_redis_lost(billing_redis_link_t *l, const char *why);
static void billing_redis_timer(uv_timer_t *timer);
static void billing_redis_arm(billing_redis_link_t *l, int64_t ms);
static void billing_redis_message(redisAsyncContext *ac, void *reply,
    void *data);
static void billing_redis_pong(redisAsyncContext *ac, void *reply,
    void *data);


int
billing_redis_start(billing_redis_t *r)
{
    if (r->address[0] == '\0') {
        return BILLING_OK;
    }

    if (billing_redis_link(r, &r->out, 0) != BILLING_OK) {
        return BILLING_ERROR;
    }

    return billing_redis_link(r, &r->in, 1);
}


static int
billing_redis_link(billing_redis_t *r, billing_redis_link_t *l, int sub)
{
    if (uv_timer_init(r->loop, &l->timer) != 0) {
        return BILLING_ERROR;
    }

    l->redis = r;
    l->timer.data = l;
    l->backoff = BILLING_REDIS_BACKOFF_MIN;
    l->sub = (sub != 0);

    billing_redis_connect(l);

    return BILLING_OK;
}


void
billing_redis_stop(billing_redis_t *r)
{
    size_t                 i;
    billing_redis_link_t  *l;

    r->stopped = 1;

    for (i = 0; i < 2; i++) {
        l = i ? &r->in : &r->out;

        if (l->redis == NULL) {
            continue;
        }

        if (!uv_is_closing((uv_handle_t *) &l->timer)) {
            uv_close((uv_handle_t *) &l->timer, NULL);
        }

        if (l->ac != NULL) {
            redisAsyncFree(l->ac);
            l->ac = NULL;
        }
    }
}


void
billing_redis_publish(billing_redis_t *r, billing_redis_what_e what,
    const char *text, size_t len)
{
    billing_redis_say(r, "events", what, text, len);
}


void
billing_redis_nudge(billing_redis_t *r, const char *text)
{
    billing_redis_say(r, "nudge", BILLING_REDIS_NEWS, text, strlen(text));
}


static void
billing_redis_say(billing_redis_t *r, const char *to,
    billing_redis_what_e what, const char *text, size_t len)
{
    int          n;
    char         channel[256];
    size_t       lens[3];
    const char  *argv[3];

    if (!billing_redis_room(r, what, len)) {
        billing_redis_dropped(r);
        return;
    }

    r->dropping = 0;

    n = snprintf(channel, sizeof(channel), "%s%s", r->prefix, to);

    argv[0] = "PUBLISH";
    lens[0] = sizeof("PUBLISH") - 1;
    argv[1] = channel;
    lens[1] = (size_t) n;
    argv[2] = text;
    lens[2] = len;

    if (redisAsyncCommandArgv(r->out.ac, NULL, NULL, 3, argv, lens)
        != REDIS_OK)
    {
        billing_redis_dropped(r);
        return;
    }

    r->published++;
    billing_count(REDIS_PUBLISHED, 1);
}


static int
billing_redis_room(billing_redis_t *r, billing_redis_what_e what, size_t len)
{
    size_t  max;

    if (!r->out.up) {
        return 0;
    }

    max = (what == BILLING_REDIS_TICKS) ? BILLING_REDIS_OUT_MAX / 2
                                        : BILLING_REDIS_OUT_MAX;

    return sdslen(r->out.ac->c.obuf) + len <= max;
}


/* An outage is logged by its end, a Redis that is there and slow by this. */

static void
billing_redis_dropped(billing_redis_t *r)
{
    if (r->address[0] == '\0') {
        return;
    }

    r->dropped++;
    billing_count(REDIS_DROPPED, 1);

    if (r->out.up && !r->dropping) {
        r->dropping = 1;
        billing_log(BILLING_LOG_WARN, "redis is slow, events are dropped",
                    billing_log_int("dropped", (int64_t) r->dropped));
    }
}


static void
billing_redis_connect(billing_redis_link_t *l)
{
    redisAsyncContext  *ac;

    l->since = billing_clock();
    l->pings = 0;

    ac = billing_redis_open(l->redis->address);

    if (ac == NULL) {
        billing_redis_lost(l, "out of memory");
        return;
    }

    if (ac->err) {
        billing_redis_lost(l, ac->errstr);
        redisAsyncFree(ac);
        return;
    }

    ac->data = l;

    if (billing_redis_uv_attach(ac, l->redis->loop) != BILLING_OK
        || redisAsyncSetConnectCallback(ac, billing_redis_connected)
           != REDIS_OK
        || redisAsyncSetDisconnectCallback(ac, billing_redis_disconnected)
           != REDIS_OK)
    {
        redisAsyncFree(ac);
        billing_redis_lost(l, "cannot watch the socket");
        return;
    }

    l->ac = ac;

    billing_redis_arm(l, BILLING_REDIS_LOOK_MS);
}


static redisAsyncContext *
billing_redis_open(const char *address)
{
    char         host[256];
    int64_t      port;
    const char  *colon;

    if (strncmp(address, "unix:", sizeof("unix:") - 1) == 0) {
        return redisAsyncConnectUnix(address + sizeof("unix:") - 1);
    }

    /* config.c has seen to it that these are well formed */

    colon = strrchr(address, ':');
    (void) billing_text_number(colon + 1, &port);

    snprintf(host, sizeof(host), "%.*s", (int) (colon - address), address);

    return redisAsyncConnect(host, (int) port);
}


static void
billing_redis_connected(const redisAsyncContext *ac, int status)
{
    billing_redis_link_t  *l;

    l = ac->data;

    if (status != REDIS_OK) {
        l->ac = NULL;
        billing_redis_lost(l, ac->errstr);
        return;
    }

    if (!l->sub) {
        l->up = 1;

    } else if (redisAsyncCommand(l->ac, billing_redis_message, l,
                                 "SUBSCRIBE %snudge", l->redis->prefix)
               != REDIS_OK)
    {
        /* found by the timer, as it will not be up */
        return;
    }

    l->backoff = BILLING_REDIS_BACKOFF_MIN;
    l->failures = 0;

    billing_count(REDIS_CONNECTS, 1);
    billing_log(BILLING_LOG_INFO, "redis connected",
                billing_log_str("connection", l->sub ? "in" : "out"));
}


static void
billing_redis_disconnected(const redisAsyncContext *ac, int status)
{
    billing_redis_link_t  *l;

    (void) status;

    l = ac->data;

    /* NULL: we have given it up ourselves and said why */

    if (l->ac != NULL) {
        l->ac = NULL;
        billing_redis_lost(l, ac->errstr);
    }
}


static void
billing_redis_lost(billing_redis_link_t *l, const char *why)
{
    l->up = 0;

    if (l->redis->stopped) {
        return;
    }

    if (l->failures++ == 0) {
        billing_log(BILLING_LOG_WARN, "redis connection lost",
                    billing_log_str("connection", l->sub ? "in" : "out"),
                    billing_log_str("error", (why && why[0] != '\0')
                                             ? why : "closed"));
    }

    billing_redis_arm(l, l->backoff / 2 + rand() % (l->backoff / 2 + 1));

    l->backoff *= 2;

    if (l->backoff > BILLING_REDIS_BACKOFF_MAX) {
        l->backoff = BILLING_REDIS_BACKOFF_MAX;
    }
}


static void
billing_redis_arm(billing_redis_link_t *l, int64_t ms)
{
    uv_timer_start(&l->timer, billing_redis_timer, (uint64_t) ms, 0);
}


/*
 * Connects again, or looks whether the other side still lives: a host that is
 * gone says nothing.  A subscribed connection cannot ask; it goes when the
 * other one finds that out.
 */

static void
billing_redis_timer(uv_timer_t *timer)
{
    const char            *why;
    redisAsyncContext     *ac;
    billing_redis_link_t  *l;

    l = timer->data;
    why = NULL;

    if (l->ac == NULL) {
        billing_redis_connect(l);
        return;
    }

    billing_redis_arm(l, BILLING_REDIS_LOOK_MS);

    if (!l->up) {

        if (billing_clock() - l->since > BILLING_REDIS_CONNECT_MS) {
            why = "connecting takes too long";
        }

    } else if (l->sub) {

        if (l->redis->out.pings >= BILLING_REDIS_PINGS) {
            why = "no answer";
        }

    } else if (l->pings >= BILLING_REDIS_PINGS) {
        why = "no answer";

    } else {
        l->pings++;
        (void) redisAsyncCommand(l->ac, billing_redis_pong, l, "PING");
    }

    if (why == NULL) {
        return;
    }

    ac = l->ac;
    l->ac = NULL;

    billing_redis_lost(l, why);

    redisAsyncFree(ac);
}


static void
billing_redis_message(redisAsyncContext *ac, void *reply, void *data)
{
    redisReply            *r;
    billing_redis_t       *redis;
    billing_redis_link_t  *l;

    (void) ac;

    r = reply;
    l = data;
    redis = l->redis;

    if (r == NULL || r->type != REDIS_REPLY_ARRAY || r->elements != 3
        || r->element[0]->type != REDIS_REPLY_STRING || redis->stopped)
    {
        return;
    }

    if (strcmp(r->element[0]->str, "subscribe") == 0) {
        l->up = 1;
        redis->subscribed(redis->data);
        return;
    }

    if (strcmp(r->element[0]->str, "message") == 0
        && r->element[2]->type == REDIS_REPLY_STRING)
    {
        redis->nudged(redis->data, r->element[2]->str);
    }
}


static void
billing_redis_pong(redisAsyncContext *ac, void *reply, void *data)
{
    billing_redis_link_t  *l;

    (void) ac;

    l = data;

    if (reply != NULL) {
        l->pings = 0;
    }
}
