
/*
 * Copyright (C) The Astro authors
 *
 * The sessions that somebody connected here has joined: what this worker
 * believes of each, and who of its clients takes part.  The database decides;
 * this is what it said last, and until when its word holds (paid_until).
 */

#ifndef _NGX_ASTRO_SESSIONS_H_INCLUDED_
#define _NGX_ASTRO_SESSIONS_H_INCLUDED_


#include "ngx_astro_conn.h"
#include "ngx_astro_sql.h"


#define NGX_ASTRO_KEPT_MAX  64          /* signals for a party not yet there */
#define NGX_ASTRO_KEPT_MS   30000


struct ngx_astro_session_s {
    ngx_rbtree_node_t        node;      /* key: the session's id */
    uint64_t                 conv;
    uint64_t                 client;
    uint64_t                 advisor;
    int64_t                  head;      /* of the conversation */
    int64_t                  paid_until_ms;     /* timeline, 0: none */
    ngx_int_t                ver;
    astro_session_state_e    state;
    ngx_uint_t               present;   /* astro_party_e bits */
    int64_t                  since_ms;  /* timeline: of the state */
    int64_t                  pauses;    /* how often it was paused; -1 */
    ngx_queue_t              joins;     /* of clients here */
    ngx_event_t              deadline;
    int64_t                  gen[2];    /* newest signal generation heard */
    ngx_queue_t              kept;      /* signals, oldest first */
    ngx_uint_t               nkept;
    unsigned                 unpaid:1;  /* we have stopped relaying */
};

/* A connection's part in a session. */
typedef struct {
    ngx_queue_t              conn_link;
    ngx_queue_t              session_link;
    ngx_astro_conn_t        *conn;
    ngx_astro_session_t     *session;
    uint64_t                 interval;  /* open in the database, or 0 */
    ngx_queue_t              typing;    /* who does; next is NULL: not */
    ngx_msec_t               typing_ends;
    ngx_msec_t               typing_told;
    unsigned                 joining:1; /* a call is under way */
    unsigned                 silent:1;  /* closed for silence */
} ngx_astro_join_t;


void ngx_astro_sessions_init(void);
ngx_uint_t ngx_astro_sessions_count(void);

/* The connection's part in a session, or NULL. */
ngx_astro_join_t *ngx_astro_sessions_joined(ngx_astro_conn_t *conn,
    uint64_t session);
ngx_astro_join_t *ngx_astro_sessions_joined_conv(ngx_astro_conn_t *conn,
    uint64_t conv);

#define ngx_astro_join_party(j)                                               \
    ((j)->conn->user == (j)->session->client ? ASTRO_PARTY_CLIENT             \
                                             : ASTRO_PARTY_ADVISOR)
#define ngx_astro_join_peer(j)                                                \
    ((j)->conn->user == (j)->session->client ? (j)->session->advisor          \
                                             : (j)->session->client)

/* The party types no longer; to be called only if typing.next is set. */
void ngx_astro_typing_end(ngx_astro_join_t *j);

/*
 * Makes a connection take part: opens its interval in the database, and replies
 * to the request of that id, if it is one.
 */
void ngx_astro_sessions_join(ngx_astro_conn_t *conn, uint64_t session,
    int64_t id);

/*
 * A row of api.session_outcome that the database has committed: what is new in
 * it goes to both parties, here and elsewhere.
 */
void ngx_astro_sessions_outcome(PGresult *res, int row);

/*
 * The same from another process: "S <session> <ver> <state> <paid_until>
 * <client> <advisor> <conv> <head>\n<snapshot>".
 */
void ngx_astro_sessions_event(u_char *text, size_t len);

/*
 * It was charged, and nothing else, while it was at ver: paid_until may move.
 * NGX_DECLINED: something that came before was not heard here.
 */
ngx_int_t ngx_astro_sessions_paid(uint64_t session, ngx_int_t ver,
    int64_t paid_until_ms);

/*
 * A row of api.heal(): told to those here who were not told, nobody else.
 * Returns to how many connections it was news.
 */
ngx_uint_t ngx_astro_sessions_healed(PGresult *res, int row);

/* 1 if messages may pass now: the state allows it, and it is paid for. */
ngx_astro_error_e ngx_astro_sessions_may(ngx_astro_session_t *s,
    ngx_uint_t states);

/* octets came from a client; it was silent too long; it is leaving */
void ngx_astro_sessions_heard(ngx_astro_conn_t *conn);
void ngx_astro_sessions_silent(ngx_astro_conn_t *conn, int64_t now);
void ngx_astro_sessions_leave(ngx_astro_conn_t *conn);

/* the gateway's lease */

/*
 * Before a renewal proves this instant: closes what should be closed by now.  A
 * worker that was stopped for a while may find its timers in any order.
 */
void ngx_astro_sessions_due(void);

void ngx_astro_sessions_lease_lost(void);
void ngx_astro_sessions_rejoin_all(void);

/*
 * Writes the array literals of the ids and versions of the next n sessions;
 * each call goes on where the last one ended, so that none is left out.
 */
void ngx_astro_sessions_watch(ngx_uint_t n, u_char *ids, u_char *vers);

/* row of the router's table */
void ngx_astro_sessions_deliver(ngx_astro_route_t *route,
    const ngx_astro_msg_t *m);


#endif /* _NGX_ASTRO_SESSIONS_H_INCLUDED_ */
