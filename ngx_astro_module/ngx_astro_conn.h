
/*
 * Copyright (C) The Astro authors
 *
 * One client: a WebSocket that has left the HTTP request that opened it.
 *
 * A connection is closed only from its own events (read, write, flush, timer),
 * so whoever delivers to many may walk a list of them without looking back.
 * Calls to the database hold a reference: when their answer comes the
 * client may be gone (c == NULL), and the last reference frees the memory.
 */

#ifndef _NGX_ASTRO_CONN_H_INCLUDED_
#define _NGX_ASTRO_CONN_H_INCLUDED_


#include "ngx_astro.h"
#include "astro_frame.h"
#include "ngx_astro_limits.h"
#include "ngx_astro_router.h"


#define NGX_ASTRO_CLOSE_BAD         4400
#define NGX_ASTRO_CLOSE_AUTH        4401
#define NGX_ASTRO_CLOSE_FORBIDDEN   4403
#define NGX_ASTRO_CLOSE_VERSION     4406
#define NGX_ASTRO_CLOSE_NO_HELLO    4408
#define NGX_ASTRO_CLOSE_REPLACED    4409
#define NGX_ASTRO_CLOSE_TOO_MANY    4429
#define NGX_ASTRO_CLOSE_INTERNAL    4500
#define NGX_ASTRO_CLOSE_DRAINING    4503
#define NGX_ASTRO_CLOSE_SLOW        4504
#define NGX_ASTRO_CLOSE_RESYNC      4505
#define NGX_ASTRO_CLOSE_NO_PONG     4510


typedef struct ngx_astro_out_s   ngx_astro_out_t;
typedef struct ngx_astro_held_s  ngx_astro_held_t;
typedef struct ngx_astro_told_s  ngx_astro_told_t;
typedef struct ngx_astro_ws_old_s  ngx_astro_ws_old_t;

/* where a connection stands in one conversation: see ngx_astro_resume.h */
typedef struct {
    uint64_t                 conv;
    int64_t                  last;      /* highest seq written; < 0: unsure */
    int64_t                  want;      /* highest seq heard of */
    uint32_t                 since_ms;  /* low bits: the hole is known */
    unsigned                 fetching:1;
    unsigned                 late:1;    /* a timer looks at it */
    unsigned                 again:1;   /* heard of more while fetching */
    unsigned                 asked:1;   /* heal was asked where it begins */
} ngx_astro_pos_t;


/* a "sid" or "jti", 128 random bits; 0: none */
typedef struct {
    uint64_t                 a;
    uint64_t                 b;
} ngx_astro_token_id_t;


struct ngx_astro_conn_s {
    ngx_connection_t        *c;         /* NULL: closed */
    uint64_t                 id;
    ngx_uint_t               refs;      /* calls under way */

    uint64_t                 user;
    uint64_t                 device;    /* hash, 0: none given */
    astro_role_e             role;
    int64_t                  token_exp_boot_s;  /* on the boot clock */
    int64_t                  hello_ms;  /* database's clock; 0: not yet */
    int64_t                  token_iat;
    ngx_astro_token_id_t     token_sid;
    ngx_astro_token_id_t     token_jti;

    ngx_queue_t              link;      /* of all connections */
    ngx_queue_t              user_link;
    ngx_queue_t              joins;
    ngx_queue_t              watches;

    astro_ws_reader_t        reader;
    ngx_astro_pos_t         *pos;
    ngx_uint_t               npos;
    ngx_uint_t               pos_size;
    ngx_astro_told_t        *told;      /* of sessions; NULL: of none */
    ngx_uint_t               ntold;
    ngx_astro_held_t        *held;      /* what is ahead; mostly NULL */

    ngx_astro_out_t         *out;
    ngx_astro_out_t        **out_tail;
    size_t                   out_size;
    size_t                   withheld;  /* bytes, while lagging */
    ngx_event_t              flush;

    int64_t                  rx_ms;     /* boot clock, last octet */
    int64_t                  ping_ms;   /* next Ping */
    int64_t                  heads_ms;  /* next ping with heads */

    ngx_astro_limits_t       limits;
    ngx_queue_t              throttle;  /* of those that are not read */
    int64_t                  read_ms;   /* when it is read again */
    int64_t                  begun_ms;  /* an unfinished message, or 0 */

    ngx_str_t                bearer;    /* token of the handshake; allocated */
    void                    *outside;   /* a message that waits for keys */
    void                    *hello;     /* ngx_astro_hello_t while pending */
    ngx_astro_ws_old_t      *old;       /* a client of old; mostly NULL */

    uint16_t                 code;      /* of our Close frame, or why */

    unsigned                 listed:1;  /* among the users */
    unsigned                 signed_in:1;
    unsigned                 expiring:1;    /* was told so */
    unsigned                 resumed:1;
    unsigned                 missed:1;  /* news came while hello was asked */
    unsigned                 draining:1;
    unsigned                 closing:1; /* our Close frame was queued */
    unsigned                 finish:1;  /* close when the queue is empty */
    unsigned                 discard:1; /* input is read into the void */
    unsigned                 half:1;    /* our side is shut down */
    unsigned                 throttled:1;   /* not read for a while */
    unsigned                 hasty:1;   /* was: is read in small pieces */
    unsigned                 lagging:1; /* more when the queue is empty */
    unsigned                 broken:1;  /* close without further words */
    unsigned                 echo:1;    /* of "astro_echo": no protocol */
    unsigned                 bare:1;    /* offered no subprotocol */
};


/* 0 while clients may come: the watcher of a graceful exit sets it */
extern ngx_uint_t  ngx_astro_draining;

ngx_int_t ngx_astro_conns_init(ngx_cycle_t *cycle);
ngx_uint_t ngx_astro_conns_none(void);
void ngx_astro_conns_quit(void);

/*
 * Takes over the socket of a request whose 101 is first in "greeting" and
 * with "early" octets already read.  c->data, handlers and timers are ours.
 */
ngx_astro_conn_t *ngx_astro_conn_create(ngx_connection_t *c);
ngx_int_t ngx_astro_conn_start(ngx_astro_conn_t *conn, u_char *early,
    size_t len);
void ngx_astro_conn_free(ngx_astro_conn_t *conn);

#define ngx_astro_conn_ref(conn)  (conn)->refs++
void ngx_astro_conn_unref(ngx_astro_conn_t *conn);

/* usable: still there, and nobody has said goodbye */
#define ngx_astro_conn_open(conn)                                             \
    ((conn)->c != NULL && !(conn)->closing && !(conn)->broken)

/* Raw octets, for the 101 alone. */
ngx_int_t ngx_astro_conn_raw(ngx_astro_conn_t *conn, u_char *p, size_t len);

/*
 * A text frame.  When the queue would pass "astro_out_queue" an ephemeral
 * message is dropped, any other ends the connection with 4504.
 */
void ngx_astro_conn_send(ngx_astro_conn_t *conn, const ngx_astro_msg_t *m,
    ngx_uint_t ephemeral);

/* It does not take what it is sent: 4504. */
void ngx_astro_conn_slow(ngx_astro_conn_t *conn);

void ngx_astro_conn_control(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const u_char *data, size_t len);

/* bye, then the Close frame.  reason: [a-z ]*, action: resume ... */
void ngx_astro_conn_bye(ngx_astro_conn_t *conn, ngx_uint_t code,
    const char *reason, const char *action, ngx_msec_t after);

/* The next heartbeat is due sooner or later than it was: a session began. */
void ngx_astro_conn_beat(ngx_astro_conn_t *conn);

/*
 * The user is no longer at this socket: leaves sessions, watches and the
 * registry.  May be called again.
 */
void ngx_astro_conn_leave(ngx_astro_conn_t *conn);


#endif /* _NGX_ASTRO_CONN_H_INCLUDED_ */
