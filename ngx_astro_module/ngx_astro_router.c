
/*
 * Copyright (C) The Astro authors
 *
 * A record in a ring is a route and the text after it.  It carries both seats'
 * generations: the consumer drops what was written for its predecessor, whose
 * sockets died with it, and what a dead producer left is as good as any other
 * record, because it was published whole.
 *
 * A bell is rung when a ring goes from empty to not empty.  A producer killed
 * between publishing and ringing leaves a record that nobody was woken
 * for, so each worker also looks every 100 ms.
 */

#include "ngx_astro_conn.h"
#include "ngx_astro_departed.h"
#include "ngx_astro_metrics.h"
#include "ngx_astro_nodes.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_router.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_shm.h"
#include "ngx_astro_users.h"


#define NGX_ASTRO_POLL_MS    100
#define NGX_ASTRO_BUDGET     512        /* records of one ring in one turn */


typedef void (*ngx_astro_route_handler_pt)(ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);


static void ngx_astro_route_seats(uint64_t seats, ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);
static void ngx_astro_router_drain(void);
static void ngx_astro_router_drain_handler(ngx_event_t *ev);
static uint32_t ngx_astro_router_waited(uint32_t now_us, uint32_t sent_us);
static ngx_uint_t ngx_astro_router_drain_ring(astro_ring_t *ring,
    uint32_t gen);
static void ngx_astro_router_poll(ngx_event_t *ev);


/* a row for each kind of receiver */

static const ngx_astro_route_handler_pt  ngx_astro_route_handlers[] = {
    ngx_astro_users_deliver,
    ngx_astro_sessions_deliver,
    ngx_astro_presence_deliver,
    ngx_astro_users_replace
};


static ngx_event_t  ngx_astro_poll_event;
static ngx_event_t  ngx_astro_drain_event;
static ngx_uint_t   ngx_astro_polls;


ngx_int_t
ngx_astro_router_init(ngx_cycle_t *cycle)
{
    if (ngx_astro_seat_take(cycle, ngx_astro_router_drain,
                            ngx_astro_conns_quit)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_astro_event_init(&ngx_astro_drain_event,
                         ngx_astro_router_drain_handler);
    ngx_astro_event_init(&ngx_astro_poll_event, ngx_astro_router_poll);
    ngx_astro_poll_event.cancelable = 1;
    ngx_add_timer(&ngx_astro_poll_event, NGX_ASTRO_POLL_MS);

    return NGX_OK;
}


void
ngx_astro_router_exit(void)
{
    ngx_astro_seat_leave();
}


void
ngx_astro_route_user(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    ngx_astro_route_local(route, m);

    if (ngx_astro.seat != ASTRO_NO_SEAT) {
        ngx_astro_route_seats(astro_registry_seats(ngx_astro.arena,
                                                   route->user),
                              route, m);
    }

    if (ngx_astro_nodes_others) {
        ngx_astro_nodes_user(route, route->user, m);
    }
}


void
ngx_astro_route_pair(ngx_astro_route_t *route, uint64_t a, uint64_t b,
    const ngx_astro_msg_t *m)
{
    ngx_astro_route_local(route, m);

    if (ngx_astro.seat != ASTRO_NO_SEAT) {
        ngx_astro_route_seats(astro_registry_seats(ngx_astro.arena, a)
                              | astro_registry_seats(ngx_astro.arena, b),
                              route, m);
    }

    if (ngx_astro_nodes_others) {
        ngx_astro_nodes_pair(route, a, b, m);
    }
}


void
ngx_astro_route_host(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    ngx_astro_route_local(route, m);

    if (ngx_astro.seat != ASTRO_NO_SEAT) {
        ngx_astro_route_seats(astro_seats_taken(ngx_astro.arena), route, m);
    }
}


void
ngx_astro_route_all(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    ngx_astro_route_host(route, m);

    if (ngx_astro_nodes_others) {
        ngx_astro_nodes_all(route);
    }
}


void
ngx_astro_route_local(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    ngx_astro_route_handlers[route->to](route, m);
}


static void
ngx_astro_route_seats(uint64_t seats, ngx_astro_route_t *route,
    const ngx_astro_msg_t *m)
{
    size_t              size;
    u_char             *p;
    ngx_uint_t          seat;
    astro_ring_t       *ring;
    astro_arena_t      *arena;
    ngx_astro_route_t  *head;

    arena = ngx_astro.arena;
    seats &= ~(1ULL << ngx_astro.seat);
    size = sizeof(ngx_astro_route_t) + (m ? m->len : 0);

    while (seats) {
        seat = __builtin_ctzll(seats);
        seats &= seats - 1;

        ring = astro_arena_ring(arena, ngx_astro.seat, seat, 1);
        head = ring ? astro_ring_reserve(ring, size) : NULL;

        if (head == NULL) {

            if (route->durable) {
                ngx_astro_count(RING_FULL_DURABLE);

            } else {
                ngx_astro_count(RING_FULL);
            }

            continue;
        }

        *head = *route;
        head->sent_us = (uint32_t) ngx_astro_boot_us();
        head->from_gen = astro_seat_generation(arena, ngx_astro.seat);
        head->to_gen = astro_seat_generation(arena, seat);

        if (m) {
            p = (u_char *) (head + 1);
            (void) ngx_astro_msg_copy(p, m);
        }

        ngx_astro_count(RING_OUT);

        if (astro_ring_commit(ring, size)) {
            ngx_astro_bell(seat);
        }
    }
}


static void
ngx_astro_router_drain_handler(ngx_event_t *ev)
{
    ngx_astro_router_drain();
}


static void
ngx_astro_router_drain(void)
{
    uint32_t       gen;
    ngx_uint_t     seat, n, more;
    astro_ring_t  *ring;

    if (ngx_astro.seat == ASTRO_NO_SEAT) {
        return;
    }

    more = 0;
    n = astro_arena_seats(ngx_astro.arena);
    gen = astro_seat_generation(ngx_astro.arena, ngx_astro.seat);

    for (seat = 0; seat < n; seat++) {

        if (seat == (ngx_uint_t) ngx_astro.seat) {
            continue;
        }

        ring = astro_arena_ring(ngx_astro.arena, seat, ngx_astro.seat, 0);

        if (ring) {
            more |= ngx_astro_router_drain_ring(ring, gen);
        }
    }

    /* others get their turn of the loop first */

    if (more && !ngx_astro_drain_event.posted) {
        ngx_post_event(&ngx_astro_drain_event, &ngx_posted_next_events);
    }
}


/* 0 for a record that was sent after the clock was read. */

static uint32_t
ngx_astro_router_waited(uint32_t now_us, uint32_t sent_us)
{
    return (int32_t) (now_us - sent_us) > 0 ? now_us - sent_us : 0;
}


static ngx_uint_t
ngx_astro_router_drain_ring(astro_ring_t *ring, uint32_t gen)
{
    size_t              len;
    uint32_t            now_us;
    ngx_uint_t          n;
    ngx_astro_msg_t     m;
    ngx_astro_route_t   route;
    const u_char       *p;

    len = astro_ring_used(ring);

    if (len > ngx_astro.counters[NGX_ASTRO_C_RING_HIGH]) {
        ngx_astro.counters[NGX_ASTRO_C_RING_HIGH] = len;
    }

    /* once for all that wait already; what comes after did not wait */

    now_us = len ? (uint32_t) ngx_astro_boot_us() : 0;

    for (n = 0; n < NGX_ASTRO_BUDGET; n++) {

        p = astro_ring_peek(ring, &len);

        if (p == NULL) {
            if (astro_ring_idle(ring)) {
                return 0;
            }

            continue;
        }

        if (len < sizeof(ngx_astro_route_t)) {
            astro_ring_release(ring);
            continue;
        }

        ngx_memcpy(&route, p, sizeof(ngx_astro_route_t));

        if (route.to_gen != gen || route.to >= NGX_ASTRO_TO_MAX) {
            ngx_astro_count(RING_STALE);
            astro_ring_release(ring);
            continue;
        }

        ngx_astro_observe(RELAY_TIME, ngx_astro_router_waited(now_us,
                                                              route.sent_us));

        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, p + sizeof(ngx_astro_route_t),
                          len - sizeof(ngx_astro_route_t));

        ngx_astro_route_local(&route, &m);

        astro_ring_release(ring);
    }

    return 1;
}


static void
ngx_astro_router_poll(ngx_event_t *ev)
{
    ngx_astro_metrics_tick(NGX_ASTRO_POLL_MS);

    ngx_astro_router_drain();

    if (++ngx_astro_polls % 5 == 0) {
        ngx_astro_router_reclaim();
    }

    ngx_add_timer(&ngx_astro_poll_event, NGX_ASTRO_POLL_MS);
}


void
ngx_astro_router_reclaim(void)
{
    int  seat;

    if (ngx_astro.seat == ASTRO_NO_SEAT) {
        return;
    }

    for ( ;; ) {

        seat = astro_seat_reclaim(ngx_astro.arena, ngx_astro_departed_orphan,
                                  NULL);

        if (seat == ASTRO_NO_SEAT) {
            return;
        }

        ngx_astro_count(SEATS_RECLAIMED);
        ngx_log_error(NGX_LOG_NOTICE, ngx_astro.log, 0,
                      "astro: seat %d of a dead worker was reclaimed", seat);

        if (ngx_astro_nodes_others) {
            /* its users were in the registry, but nobody listened there */
            (void) ngx_astro_nodes_say(ASTRO_RECORD_FORGET, NULL, 0);
        }
    }
}
