
/*
 * Copyright (C) The Astro authors
 *
 * The zone is one slab allocation that the arena manages itself; the zone's
 * mutex is taken only while it is made.
 *
 * A doorbell is an eventfd.  They are made in the master before the first fork
 * and kept over reloads, so that old and new workers, and the successor of a
 * killed one, have the same.  They are registered edge-triggered and never
 * read: each write is an edge, and a worker that takes over a seat gets one
 * from the writes before its time.  After a binary upgrade the new master makes
 * its own: its zone is new as well.
 */

#include "ngx_astro_shm.h"

#include <sys/eventfd.h>


typedef struct {
    astro_arena_t       *arena;
    astro_arena_conf_t   conf;
} ngx_astro_shm_ctx_t;


static ngx_int_t ngx_astro_shm_init(ngx_shm_zone_t *zone, void *data);
static ngx_uint_t ngx_astro_shm_resized(ngx_shm_zone_t *zone);
static void ngx_astro_bell_handler(ngx_event_t *rev);
static void ngx_astro_bell_flush(ngx_event_t *ev);


static int                ngx_astro_bells[ASTRO_ARENA_MAX_SEATS];
static ngx_uint_t         ngx_astro_nbells;
static uint64_t           ngx_astro_to_ring;
static ngx_event_t        ngx_astro_ring_event;
static ngx_connection_t  *ngx_astro_bell_connection;
static void             (*ngx_astro_on_ring)(void);
static void             (*ngx_astro_on_quit)(void);


ngx_int_t
ngx_astro_shm_add(ngx_conf_t *cf, ngx_astro_conf_t *conf, size_t size)
{
    ngx_str_t             name = ngx_string("astro");
    ngx_astro_shm_ctx_t  *ctx;

    ctx = ngx_pcalloc(cf->pool, sizeof(ngx_astro_shm_ctx_t));
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    ctx->conf = conf->arena;

    conf->zone = ngx_shared_memory_add(cf, &name, size, &ngx_astro_module);
    if (conf->zone == NULL) {
        return NGX_ERROR;
    }

    conf->zone->init = ngx_astro_shm_init;
    conf->zone->data = ctx;

    return NGX_OK;
}


/*
 * Runs in the master, also for a reload that fails afterwards: an existing
 * arena is only compared, never changed.
 */

static ngx_int_t
ngx_astro_shm_init(ngx_shm_zone_t *zone, void *data)
{
    ngx_astro_shm_ctx_t  *octx = data;

    size_t                size;
    ngx_slab_pool_t      *shpool;
    astro_arena_rc_e      rc;
    ngx_astro_shm_ctx_t  *ctx;

    ctx = zone->data;
    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (octx) {
        ctx->arena = octx->arena;

        if (ngx_memcmp(&ctx->conf, &octx->conf, sizeof(ctx->conf)) != 0) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "\"astro_zone\" cannot be changed by a reload: live "
                          "workers share it; restart nginx or upgrade its "
                          "binary instead");
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (ngx_astro_shm_resized(zone)) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "the size of \"astro_zone\" cannot be changed by a "
                      "reload: live workers share it; restart nginx or "
                      "upgrade its binary instead");
        return NGX_ERROR;
    }

    /* the slab's own page table and header take a little of the zone */

    size = shpool->end - shpool->start;
    size -= size / 64 + ngx_pagesize;
    size &= ~(size_t) (ngx_pagesize - 1);

    if (zone->shm.exists) {
        ctx->arena = shpool->data;
        return NGX_OK;
    }

    shpool->log_nomem = 0;

    ctx->arena = ngx_slab_calloc(shpool, size);
    if (ctx->arena == NULL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "\"astro_zone\" of %uz bytes is too small",
                      zone->shm.size);
        return NGX_ERROR;
    }

    shpool->data = ctx->arena;

    rc = astro_arena_format(ctx->arena, size, &ctx->conf);

    if (rc == ASTRO_ARENA_TOO_SMALL) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "\"astro_zone\" of %uz bytes is too small for its "
                      "parameters: make it larger (%uz bytes hold every "
                      "ring), or \"seats\" or \"users\" smaller",
                      zone->shm.size, astro_arena_footprint(&ctx->conf));
        return NGX_ERROR;
    }

    if (rc != ASTRO_ARENA_OK) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "\"astro_zone\" has parameters that cannot be");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/*
 * nginx gives a zone whose size changed a new, empty memory and no word of it;
 * the running cycle tells.
 */

static ngx_uint_t
ngx_astro_shm_resized(ngx_shm_zone_t *zone)
{
    ngx_uint_t        i;
    ngx_shm_zone_t   *old;
    ngx_list_part_t  *part;

    if (ngx_is_init_cycle(ngx_cycle)) {
        return 0;
    }

    part = (ngx_list_part_t *) &ngx_cycle->shared_memory.part;
    old = part->elts;

    for (i = 0; /* void */ ; i++) {

        if (i >= part->nelts) {
            if (part->next == NULL) {
                return 0;
            }

            part = part->next;
            old = part->elts;
            i = 0;
        }

        if (old[i].tag == zone->tag
            && old[i].shm.name.len == zone->shm.name.len
            && ngx_memcmp(old[i].shm.name.data, zone->shm.name.data,
                          zone->shm.name.len)
               == 0)
        {
            return old[i].shm.size != zone->shm.size;
        }
    }
}


ngx_int_t
ngx_astro_bells_create(ngx_cycle_t *cycle, ngx_uint_t seats)
{
    ngx_uint_t  n;

    for (n = ngx_astro_nbells; n < seats; n++) {

        ngx_astro_bells[n] = eventfd(0, EFD_NONBLOCK|EFD_CLOEXEC);

        if (ngx_astro_bells[n] == -1) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, ngx_errno,
                          "eventfd() for \"astro_zone\" failed");
            return NGX_ERROR;
        }

        ngx_astro_nbells = n + 1;
    }

    return NGX_OK;
}


ngx_int_t
ngx_astro_seat_take(ngx_cycle_t *cycle, void (*on_ring)(void),
    void (*on_quit)(void))
{
    ngx_connection_t     *c;
    ngx_astro_shm_ctx_t  *ctx;

    ctx = ngx_astro.conf->zone->data;

    ngx_astro.arena = ctx->arena;
    ngx_astro.seat = astro_seat_claim(ctx->arena, NGX_ASTRO_GAUGES);
    ngx_astro_on_ring = on_ring;
    ngx_astro_on_quit = on_quit;

    ngx_astro_event_init(&ngx_astro_ring_event, ngx_astro_bell_flush);

    if (ngx_astro.seat == ASTRO_NO_SEAT) {
        ngx_log_error(NGX_LOG_ERR, cycle->log, 0,
                      "astro: all %uD seats of \"astro_zone\" are taken; "
                      "users of this worker are reached through Redis only: "
                      "raise \"seats\" and restart",
                      ngx_astro.conf->arena.seats);
        return NGX_OK;
    }

    ngx_astro.counters = astro_seat_counters(ctx->arena, ngx_astro.seat);

    c = ngx_get_connection(ngx_astro_bells[ngx_astro.seat], cycle->log);
    if (c == NULL) {
        return NGX_ERROR;
    }

    c->log = cycle->log;
    c->read->log = cycle->log;
    c->write->log = cycle->log;
    c->read->handler = ngx_astro_bell_handler;

    /* not a client's: left alone by shutdown, not reported as left open */
    c->read->channel = 1;
    c->write->channel = 1;
    c->idle = 1;

    if (ngx_add_event(c->read, NGX_READ_EVENT, NGX_CLEAR_EVENT) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_astro_bell_connection = c;

    return NGX_OK;
}


void
ngx_astro_seat_leave(void)
{
    if (ngx_astro.seat != ASTRO_NO_SEAT) {
        ngx_memzero(&ngx_astro.counters[NGX_ASTRO_GAUGES],
                    sizeof(uint64_t) * (NGX_ASTRO_C_MAX - NGX_ASTRO_GAUGES));
        astro_seat_release(ngx_astro.arena, ngx_astro.seat);
        ngx_astro.seat = ASTRO_NO_SEAT;
    }
}


void
ngx_astro_bell(ngx_uint_t seat)
{
    ngx_astro_to_ring |= 1ULL << seat;

    if (!ngx_astro_ring_event.posted) {
        ngx_post_event(&ngx_astro_ring_event, &ngx_posted_events);
    }
}


static void
ngx_astro_bell_flush(ngx_event_t *ev)
{
    uint64_t    one, seats;
    ngx_uint_t  seat;

    one = 1;
    seats = ngx_astro_to_ring;
    ngx_astro_to_ring = 0;

    while (seats) {
        seat = __builtin_ctzll(seats);
        seats &= seats - 1;

        ngx_astro_count(BELLS);

        /* EAGAIN: rung 2^64 - 2 times and heard by nobody, so rung */

        if (write(ngx_astro_bells[seat], &one, sizeof(one)) == -1
            && ngx_errno != NGX_EAGAIN)
        {
            ngx_log_error(NGX_LOG_ERR, ngx_astro.log, ngx_errno,
                          "astro: doorbell of seat %ui failed", seat);
        }
    }
}


static void
ngx_astro_bell_handler(ngx_event_t *rev)
{
    ngx_connection_t  *c;

    c = rev->data;

    if (c->close) {
        /* "idle" has it told, once, that the worker shuts down gracefully */
        c->close = 0;

        if (!c->error) {
            ngx_astro_on_quit();
        }
    }

    ngx_astro_count(WAKEUPS);

    ngx_astro_on_ring();
}
