
/*
 * Copyright (C) The Astro authors
 *
 * deliver(user, message): to this worker's own sockets at once, to those of
 * other workers through shared memory, to other hosts through Redis.  Bytes are
 * copied once into the ring and once out of it into the socket's buffer.
 */

#ifndef _NGX_ASTRO_ROUTER_H_INCLUDED_
#define _NGX_ASTRO_ROUTER_H_INCLUDED_


#include "ngx_astro.h"


#define NGX_ASTRO_MSG_PARTS  10


/* A message as the pieces it is made of; none is copied until it is sent. */
typedef struct {
    ngx_uint_t   n;
    size_t       len;
    ngx_str_t    part[NGX_ASTRO_MSG_PARTS];
} ngx_astro_msg_t;

#define ngx_astro_msg_init(m)  (m)->n = 0; (m)->len = 0

static ngx_inline void
ngx_astro_msg_add(ngx_astro_msg_t *m, const void *data, size_t len)
{
    if (len) {
        m->part[m->n].data = (u_char *) data;
        m->part[m->n++].len = len;
        m->len += len;
    }
}

#define ngx_astro_msg_lit(m, literal)                                         \
    ngx_astro_msg_add(m, literal, sizeof(literal) - 1)

static ngx_inline u_char *
ngx_astro_msg_copy(u_char *p, const ngx_astro_msg_t *m)
{
    ngx_uint_t  i;

    for (i = 0; i < m->n; i++) {
        p = ngx_cpymem(p, m->part[i].data, m->part[i].len);
    }

    return p;
}


typedef enum {
    NGX_ASTRO_TO_USER = 0,      /* a frame for a user's sockets */
    NGX_ASTRO_TO_SESSION,       /* a session changed; a snapshot to both */
    NGX_ASTRO_TO_WATCHERS,      /* a user came or went */
    NGX_ASTRO_TO_DEVICE,        /* a newer socket of the same device */
    NGX_ASTRO_TO_MAX
} ngx_astro_to_e;

/* What goes with a message; also the head of a record in a ring. */
typedef struct {
    uint16_t     to;            /* ngx_astro_to_e */
    uint16_t     durable;       /* has a place in conversation "conv" */
    uint32_t     sent_us;       /* boot clock, low bits: see relay_seconds */
    uint32_t     from_gen;      /* of the sender's seat */
    uint32_t     to_gen;        /* of the seat it was written for */
    uint64_t     user;
    uint64_t     session;       /* only sockets that joined it, or 0 */
    uint64_t     conv;
    int64_t      seq;
    uint64_t     except;        /* a connection, or 0 */
    uint64_t     arg;           /* of that type */
} ngx_astro_route_t;


ngx_int_t ngx_astro_router_init(ngx_cycle_t *cycle);
void ngx_astro_router_exit(void);

/* Looks for seats of dead workers now, not at the next look. */
void ngx_astro_router_reclaim(void);

/*
 * To one user's sockets, here and elsewhere.  What finds no room is dropped and
 * counted; a durable event is then fetched by its receiver (resume).
 */
void ngx_astro_route_user(ngx_astro_route_t *route, const ngx_astro_msg_t *m);

/* To the workers of two users, each once; here too. */
void ngx_astro_route_pair(ngx_astro_route_t *route, uint64_t a, uint64_t b,
    const ngx_astro_msg_t *m);

/* To every worker of this host, this one too; to those of all hosts. */
void ngx_astro_route_host(ngx_astro_route_t *route, const ngx_astro_msg_t *m);
void ngx_astro_route_all(ngx_astro_route_t *route, const ngx_astro_msg_t *m);

/* To the sockets of this worker alone: what came from another node. */
void ngx_astro_route_local(ngx_astro_route_t *route, const ngx_astro_msg_t *m);


#endif /* _NGX_ASTRO_ROUTER_H_INCLUDED_ */
