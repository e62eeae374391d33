
/*
 * Copyright (C) The Astro authors
 *
 * One WebSocket client of the load generator: connects, upgrades, goes through
 * the steps of its plan, and from then on sends what it is told to and hands
 * over each data frame that it receives.
 *
 * Written anew for this purpose and sharing no line with the server under
 * test, so that an error in one codec does not hide behind the same error in
 * the other.
 */

#ifndef _LOAD_CONN_H_INCLUDED_
#define _LOAD_CONN_H_INCLUDED_


#include "load_plan.h"
#include "load_sock.h"


#define LOAD_LAST_MAX  200      /* bytes kept of what came last in a set-up */

typedef enum {
    LOAD_UNUSED = 0,
    LOAD_CONNECTING,
    LOAD_UPGRADING,
    LOAD_STEPPING,
    LOAD_READY,
    LOAD_CLOSED
} load_state_e;

typedef struct load_conn_s   load_conn_t;
typedef struct load_world_s  load_world_t;

struct load_conn_s {
    load_sock_t          sock;
    load_state_e         state;
    unsigned             nth;           /* in the file, from 0 */
    const load_plan_t   *plan;
    unsigned             step;          /* the next one */
    uint8_t             *rest;          /* bytes of an unfinished frame */
    size_t               rest_len;
    char                *last;          /* text received last, until ready */

    /* the user's own */
    load_conn_t         *next;          /* in the list of those with a turn */
    unsigned             listed:1;
    uint32_t             number;        /* of the next message */
    uint32_t             expected;      /* that its receiver sees next */
    uint32_t             outstanding;
};

struct load_world_s {
    load_peer_t   peer;
    const char   *host;                 /* for the Host header, with port */

    /* a text that starts with "ping" is answered with "pong" */
    const char   *ping;
    const char   *pong;

    /* told of a connection; "why" is for people.  c is no longer used by the
     * caller after gone(), which may not start it again. */
    void        (*ready)(load_conn_t *c);
    void        (*data)(load_conn_t *c, const char *p, const char *last);
    void        (*gone)(load_conn_t *c, load_state_e was, const char *why);
};


/* One world for the process. */
extern load_world_t  load_world;

/* c->plan and c->nth are set, the rest is zero. */
void load_conn_start(load_conn_t *c);

/* Handles epoll's "events". */
void load_conn_event(load_conn_t *c, uint32_t events);

/* Buffers a masked text frame; load_conn_flush() sends it.  0 or -1: no
 * memory. */
int load_conn_text(load_conn_t *c, const char *p, size_t len);
void load_conn_flush(load_conn_t *c);

/* Gives up: gone() is called. */
void load_conn_drop(load_conn_t *c, const char *why);


#endif /* _LOAD_CONN_H_INCLUDED_ */
