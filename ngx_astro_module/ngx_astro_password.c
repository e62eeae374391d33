
/*
 * Copyright (C) The Astro authors
 *
 * The threads in which scrypt runs, and how they keep out of everybody's way.
 */

#include "ngx_astro_auth.h"
#include "astro_password.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>


#define NGX_ASTRO_NICER  10


typedef struct {
    ngx_astro_password_t   *pw;
    void                  (*done)(ngx_astro_password_t *pw);
} ngx_astro_password_task_t;


static void ngx_astro_password_hold(ngx_event_t *ev);
static void ngx_astro_password_thread(void *data, ngx_log_t *log);
static void *ngx_astro_password_aside(void *data);
static void ngx_astro_password_yield(void);
static void ngx_astro_password_work(ngx_astro_password_task_t *ctx);
static void ngx_astro_password_event(ngx_event_t *ev);


ngx_int_t
ngx_astro_password_post(ngx_astro_password_t *pw,
    void (*done)(ngx_astro_password_t *pw))
{
    ngx_thread_task_t          *task;
    ngx_astro_password_task_t  *ctx;

    task = ngx_thread_task_alloc(pw->r->pool,
                                 sizeof(ngx_astro_password_task_t));
    if (task == NULL) {
        return NGX_ERROR;
    }

    ctx = task->ctx;
    ctx->pw = pw;
    ctx->done = done;

    task->handler = ngx_astro_password_thread;
    task->event.handler = ngx_astro_password_event;
    task->event.data = ctx;

    if (ngx_thread_task_post(ngx_astro.conf->pool, task) != NGX_OK) {
        return NGX_ERROR;
    }

    /* as ngx_http_upstream_thread_handler(): alive until the thread is done */

    pw->r->main->blocked++;
    pw->r->aio = 1;

    ngx_astro_event_init(&pw->hold, ngx_astro_password_hold);
    ngx_add_timer(&pw->hold, 60000);

    return NGX_OK;
}


static void
ngx_astro_password_hold(ngx_event_t *ev)
{
    ngx_log_error(NGX_LOG_ERR, ev->log, 0,
                  "astro: a password takes a minute: the thread pool is stuck");
}


/*
 * In a thread of nginx's pool, which waits for one more: that one may be made
 * to take second place, and no thread without the right to do so gets back.
 * The pool's have to connect to PostgreSQL, too.
 */

static void
ngx_astro_password_thread(void *data, ngx_log_t *log)
{
    pthread_t  thread;

    if (pthread_create(&thread, NULL, ngx_astro_password_aside, data) != 0) {
        ngx_astro_password_work(data);
        return;
    }

    (void) pthread_join(thread, NULL);
}


static void *
ngx_astro_password_aside(void *data)
{
    ngx_astro_password_yield();
    ngx_astro_password_work(data);

    return NULL;
}


/*
 * Hashing takes all that a core has for a tenth of a second.  Whoever answers
 * requests meanwhile, PostgreSQL too, goes before it, and finds half of the
 * cores with nobody hashing on them, however many log in.  A worker that has
 * one core to itself hashes there.
 */

static void
ngx_astro_password_yield(void)
{
#if (NGX_LINUX)
    int        i, half;
    cpu_set_t  set;

    /* of this thread alone: Linux has a niceness for each */

    (void) setpriority(PRIO_PROCESS, 0,
                       getpriority(PRIO_PROCESS, 0) + NGX_ASTRO_NICER);

    if (sched_getaffinity(0, sizeof(set), &set) != 0) {
        return;
    }

    half = CPU_COUNT(&set) / 2;

    for (i = 0; half > 0 && i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set)) {
            CPU_CLR(i, &set);
            half--;
        }
    }

    (void) sched_setaffinity(0, sizeof(set), &set);
#endif
}


static void
ngx_astro_password_work(ngx_astro_password_task_t *ctx)
{
    ngx_astro_password_t  *pw;

    pw = ctx->pw;

    if (pw->verify) {
        pw->rc = astro_password_verify((char *) pw->password.data,
                                       pw->password.len, pw->stored);
        return;
    }

    pw->rc = astro_password_hash((char *) pw->password.data, pw->password.len,
                                 pw->hash);
}


static void
ngx_astro_password_event(ngx_event_t *ev)
{
    ngx_connection_t           *c;
    ngx_http_request_t         *r;
    ngx_astro_password_task_t  *ctx;

    ctx = ev->data;
    r = ctx->pw->r;
    c = r->connection;

    ngx_explicit_memzero(ctx->pw->password.data, ctx->pw->password.len);

    if (ctx->pw->hold.timer_set) {
        ngx_del_timer(&ctx->pw->hold);
    }

    r->main->blocked--;
    r->aio = 0;

    /* ended while it was blocked: nginx waits to finish that */

#if (nginx_version >= 1027001)
    if (r->done || r->main->terminated) {
#else
    if (r->done) {
#endif
        c->write->handler(c->write);
        return;
    }

    ctx->done(ctx->pw);

    ngx_http_run_posted_requests(c);
}
