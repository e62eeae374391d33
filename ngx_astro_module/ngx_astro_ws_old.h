
/*
 * Copyright (C) The Astro authors
 *
 * WebSocket clients of a platform that we replace (AngelGuides), as they are:
 * no subprotocol, no hello, {type, payload} in their words.  A row of
 * ngx_astro_ws_old.c adds a type of theirs.  What they send becomes one of our
 * messages and goes the way of all others (limits, roles, handlers, errors);
 * what they are sent was one of ours, and is put into their words last.
 *
 * A connection that offered no subprotocol is of old when its first message is
 * theirs, or when it came with a token and says nothing for a while.  Then a
 * hello, before anything of theirs, still makes it one of ours: who is behind
 * a bad network is not taken for somebody else for good.
 */

#ifndef _NGX_ASTRO_WS_OLD_H_INCLUDED_
#define _NGX_ASTRO_WS_OLD_H_INCLUDED_


#include "ngx_astro_conn.h"


#define NGX_ASTRO_OLD_WAIT_MS  1000     /* for a hello, if there is a token */

/* under these our own requests for such a client are answered to us */
#define NGX_ASTRO_OLD_HELLO    9007199254740990LL
#define NGX_ASTRO_OLD_JOIN     9007199254740991LL


/* The session that it was told of last; a user has one that is live. */
typedef struct {
    uint64_t                 id;        /* 0: none yet */
    uint64_t                 conv;
    uint64_t                 client;
    uint64_t                 advisor;
    astro_session_state_e    state;
    u_char                   service[8];
} ngx_astro_old_session_t;

/* Belongs to its connection; freed when that is closed. */
struct ngx_astro_ws_old_s {
    ngx_astro_conn_t        *conn;
    ngx_event_t              event;     /* posted: what waits may go on */
    ngx_queue_t              held;      /* messages of theirs, in order */
    ngx_uint_t               nheld;
    size_t                   held_size;
    uint64_t                 mark;      /* in the cid of all it says */
    uint64_t                 claimed;   /* who it says it is; 0: did not */
    ngx_astro_old_session_t  session;
    unsigned                 silent:1;  /* has said nothing of theirs yet */
    unsigned                 numbers:1; /* ids are 5, not "u_5" */
    unsigned                 greet:1;   /* wants auth_success */
    unsigned                 join:1;    /* of session: to be asked for */
    unsigned                 joining:1; /* asked for */
};


/*
 * A text of a connection that offered no subprotocol.  NGX_DECLINED: it is one
 * of ours.
 */
ngx_int_t ngx_astro_ws_old_heard(ngx_astro_conn_t *conn, u_char *text,
    size_t len);

/*
 * It has said nothing in time.  NGX_DECLINED: without a token nobody is signed
 * in for silence.
 */
ngx_int_t ngx_astro_ws_old_silent(ngx_astro_conn_t *conn);

/* Until when its first word is waited for. */
ngx_msec_t ngx_astro_ws_old_wait(ngx_astro_conn_t *conn);

/* NGX_DECLINED: such a client is sent the same as any other. */
ngx_int_t ngx_astro_ws_old_send(ngx_astro_conn_t *conn,
    const ngx_astro_msg_t *m, ngx_uint_t ephemeral);

void ngx_astro_ws_old_free(ngx_astro_conn_t *conn);

/* The first half of a cid; cid has room for 18 octets. */
void ngx_astro_ws_old_mark(ngx_astro_ws_old_t *old, u_char *cid);

/* What waits is looked at again in this turn. */
void ngx_astro_ws_old_post(ngx_astro_ws_old_t *old);


#endif /* _NGX_ASTRO_WS_OLD_H_INCLUDED_ */
