
/*
 * Copyright (C) The Astro authors
 *
 * Whoever sends more than "astro_limit frame" allows is not read for a while:
 * the kernel's buffer fills, then the client's own, and nobody else notices.
 * The socket is taken out of epoll meanwhile, so that what still arrives does
 * not even wake the worker.
 *
 * The read timer is the heartbeat's, so those who wait stand in one list that
 * one timer looks through.
 */

#include "ngx_astro_throttle.h"


#define NGX_ASTRO_THROTTLE_MS  20       /* how often the list is looked at */


static void ngx_astro_throttle_handler(ngx_event_t *ev);


static ngx_queue_t  ngx_astro_throttled;
static ngx_event_t  ngx_astro_throttle_event;


void
ngx_astro_throttle_init(void)
{
    ngx_queue_init(&ngx_astro_throttled);

    ngx_astro_event_init(&ngx_astro_throttle_event,
                         ngx_astro_throttle_handler);
    ngx_astro_throttle_event.cancelable = 1;
}


ngx_uint_t
ngx_astro_throttle(ngx_astro_conn_t *conn, ngx_uint_t frames, size_t len)
{
    ngx_msec_t    pause;
    ngx_event_t  *rev;

    if (conn->echo) {
        /* a suite measures there what the codec can do */
        return 0;
    }

    pause = ngx_astro_limits_frames(conn, frames, len);

    if (pause == 0 || conn->discard) {
        conn->hasty = 0;
        return 0;
    }

    rev = conn->c->read;

    if (rev->active && ngx_del_event(rev, NGX_READ_EVENT, 0) != NGX_OK) {
        return 0;
    }

    conn->hasty = 1;
    conn->throttled = 1;
    conn->read_ms = conn->rx_ms + pause;

    ngx_queue_insert_tail(&ngx_astro_throttled, &conn->throttle);
    ngx_astro_count(THROTTLED);

    if (!ngx_astro_throttle_event.timer_set) {
        ngx_add_timer(&ngx_astro_throttle_event, NGX_ASTRO_THROTTLE_MS);
    }

    return 1;
}


void
ngx_astro_throttle_end(ngx_astro_conn_t *conn)
{
    if (conn->throttled) {
        conn->throttled = 0;
        ngx_queue_remove(&conn->throttle);
        ngx_astro_sub(THROTTLED, 1);
    }
}


static void
ngx_astro_throttle_handler(ngx_event_t *ev)
{
    int64_t            now;
    ngx_queue_t       *q, *next;
    ngx_astro_conn_t  *conn;

    now = ngx_astro_boot_ms();

    for (q = ngx_queue_head(&ngx_astro_throttled);
         q != ngx_queue_sentinel(&ngx_astro_throttled);
         q = next)
    {
        next = ngx_queue_next(q);
        conn = ngx_queue_data(q, ngx_astro_conn_t, throttle);

        if (conn->read_ms <= now) {
            ngx_astro_throttle_end(conn);
            ngx_post_event(conn->c->read, &ngx_posted_events);
        }
    }

    if (!ngx_queue_empty(&ngx_astro_throttled)) {
        ngx_add_timer(ev, NGX_ASTRO_THROTTLE_MS);
    }
}


/* A message that was begun holds memory: since when, see heartbeat. */

void
ngx_astro_throttle_unfinished(ngx_astro_conn_t *conn)
{
    if (!astro_ws_reader_busy(&conn->reader)) {
        conn->begun_ms = 0;

    } else if (conn->begun_ms == 0) {
        conn->begun_ms = conn->rx_ms;
    }
}
