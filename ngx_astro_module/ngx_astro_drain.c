
/*
 * Copyright (C) The Astro authors
 *
 * A worker that was told to shut down gracefully sends its clients away, each
 * at a random moment of "astro_drain", so that the new workers are not
 * stormed.  It ends when nginx finds no timer left that is not cancelable; what
 * keeps it until then:
 *
 *     each connection's heartbeat, and for those that were told goodbye the
 *     time that they have for their answer;
 *     calls of PostgreSQL under way, and chat that it has taken;
 *     a second after the last goodbye: by then those sent away are at
 *     other workers, and what was on its way to them was handed on.
 *
 * All of which end by themselves, so it cannot stay for ever.
 */

#include "ngx_astro_drain.h"
#include "ngx_astro_gateway.h"


#define NGX_ASTRO_SETTLE_MS  1000


static void ngx_astro_drain_settled(ngx_event_t *ev);


ngx_uint_t          ngx_astro_draining;

static ngx_event_t  ngx_astro_settle;
static int64_t      ngx_astro_goodbye_ms;


void
ngx_astro_drain_init(void)
{
    ngx_astro_event_init(&ngx_astro_settle, ngx_astro_drain_settled);
}


/* The worker has been told to leave: runs once, before any client is asked. */

void
ngx_astro_conns_quit(void)
{
    ngx_astro_draining = 1;
    ngx_astro_drain_closed();
}


/* Idle clients go in the first half, those in a session in the second. */

void
ngx_astro_drain_conn(ngx_astro_conn_t *conn)
{
    ngx_msec_t  half, after;

    ngx_astro_draining = 1;

    if (conn->closing || conn->draining) {
        return;
    }

    conn->draining = 1;

    half = ngx_astro.conf->drain / 2 + 1;
    after = ngx_random() % half;

    if (!ngx_queue_empty(&conn->joins)) {
        after += half;
    }

    ngx_add_timer(conn->c->write, after + 1);
}


void
ngx_astro_drain_bye(ngx_astro_conn_t *conn)
{
    ngx_astro_goodbye_ms = ngx_astro_boot_ms();

    ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_DRAINING, "draining", "resume",
                       0);
}


void
ngx_astro_drain_closed(void)
{
    int64_t  wait;

    if (!ngx_astro_draining || !ngx_astro_conns_none()) {
        return;
    }

    wait = ngx_astro_goodbye_ms + NGX_ASTRO_SETTLE_MS - ngx_astro_boot_ms();

    if (ngx_astro_goodbye_ms && wait > 0) {
        ngx_add_timer(&ngx_astro_settle, (ngx_msec_t) wait);
        return;
    }

    /* the lease ends with the worker, and not when it is found silent */

    ngx_astro_gateway_leave();
}


static void
ngx_astro_drain_settled(ngx_event_t *ev)
{
    ngx_astro_drain_closed();
}
