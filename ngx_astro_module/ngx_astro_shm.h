
/*
 * Copyright (C) The Astro authors
 *
 * nginx's side of the arena: the zone it lies in, this worker's seat, and the
 * doorbells that wake other workers.
 */

#ifndef _NGX_ASTRO_SHM_H_INCLUDED_
#define _NGX_ASTRO_SHM_H_INCLUDED_


#include "ngx_astro.h"


/* Adds the zone at configuration time; conf->arena and size are set. */
ngx_int_t ngx_astro_shm_add(ngx_conf_t *cf, ngx_astro_conf_t *conf,
    size_t size);

/* init_module, in the master: makes the doorbells once and for all. */
ngx_int_t ngx_astro_bells_create(ngx_cycle_t *cycle, ngx_uint_t seats);

/*
 * init_process: takes a seat and listens to its bell; on_ring is called when
 * it was rung, on_quit when a graceful exit begins.  Without a free seat
 * ngx_astro.seat is ASTRO_NO_SEAT.
 */
ngx_int_t ngx_astro_seat_take(ngx_cycle_t *cycle, void (*on_ring)(void),
    void (*on_quit)(void));

/* exit_process */
void ngx_astro_seat_leave(void);

/* Rings at the end of this turn of the loop, once however often it is asked. */
void ngx_astro_bell(ngx_uint_t seat);


#endif /* _NGX_ASTRO_SHM_H_INCLUDED_ */
