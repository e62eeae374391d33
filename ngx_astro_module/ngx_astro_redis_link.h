
/*
 * Copyright (C) The Astro authors
 *
 * One connection to Redis: made, watched, made anew; commands written into its
 * buffer, replies handed over where they lie.  See ngx_astro_redis.c for the
 * two that a worker has.
 *
 * Bounded: NGX_ASTRO_LINK_OUT octets and NGX_ASTRO_LINK_ASKED commands wait,
 * then there is no room for another.  A link that has not answered for
 * NGX_ASTRO_LINK_SILENCE_MS, be it cut, stopped or stuck, is closed and made
 * anew; to know, one without a question under way asks PING each second.
 *
 * A link is "up" when it was answered for the first time, not when it is
 * connected: the kernel accepts for a process that is stopped.
 */

#ifndef _NGX_ASTRO_REDIS_LINK_H_INCLUDED_
#define _NGX_ASTRO_REDIS_LINK_H_INCLUDED_


#include "ngx_astro.h"

#include <hiredis/hiredis.h>


#define NGX_ASTRO_LINK_OUT    (4 * 1024 * 1024)
#define NGX_ASTRO_LINK_ASKED  8192              /* a power of two */


typedef struct ngx_astro_link_s  ngx_astro_link_t;

typedef struct {
    u_char             *start;
    u_char             *pos;
    u_char             *last;
    u_char             *end;
} ngx_astro_link_buf_t;

struct ngx_astro_link_s {
    const char             *name;
    ngx_connection_t       *c;
    ngx_event_t             timer;      /* next attempt, or watch */
    ngx_event_t             flush;
    ngx_msec_t              backoff;
    ngx_msec_t              heard;      /* or first asked after a rest */
    redisReader            *reader;     /* while there is a connection */
    ngx_astro_link_buf_t    out;
    uint64_t                asked;      /* never reset */
    uint64_t                answered;   /* by reply(); none is left out */
    uint64_t                begun;      /* asked before this connection */

    /* set by the owner; none of them may close the link */
    void                  (*open)(ngx_astro_link_t *l);
    ngx_int_t             (*reply)(ngx_astro_link_t *l, redisReply *r);
    void                  (*pinged)(ngx_astro_link_t *l);   /* or NULL */
    void                  (*settled)(void);
    void                  (*lost)(ngx_astro_link_t *l);     /* it was up */

    unsigned                connected:1;
    unsigned                up:1;
};


void ngx_astro_link_start(ngx_astro_link_t *l);

/* What can be sent at once is. */
void ngx_astro_link_stop(ngx_astro_link_t *l);

/* The owner has seen that it works. */
void ngx_astro_link_up(ngx_astro_link_t *l);

/*
 * Room for size octets of a command, counted as asked; the caller writes it
 * whole and moves out.last, now.  It is sent at the end of this turn.
 */
u_char *ngx_astro_link_command(ngx_astro_link_t *l, size_t size);

void ngx_astro_link_ping(ngx_astro_link_t *l);


#endif /* _NGX_ASTRO_REDIS_LINK_H_INCLUDED_ */
