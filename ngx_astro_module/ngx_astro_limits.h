
/*
 * Copyright (C) The Astro authors
 *
 * How much one client may ask for: rates by class (astro_limit) and numbers of
 * connections (astro_connections).  What all workers share lies in the arena
 * (core/astro_limits.h), what is of one connection in that connection.
 *
 * What becomes of who asks for more:
 *
 *     signal, chat, session, other     refused: rate_limited, retry_after_ms
 *     typing                           dropped: nobody misses it
 *     frame                            not read for a while: what is not read
 *                                      costs nothing, and TCP slows the sender
 *     connect                          429 before the 101
 *     hello                            rate_limited, then closed 4429
 *     api, login, webhook, write,
 *     search, money                    429 with Retry-After
 *
 * Who goes on asking after many refusals is closed 4429.
 */

#ifndef _NGX_ASTRO_LIMITS_H_INCLUDED_
#define _NGX_ASTRO_LIMITS_H_INCLUDED_


#include "ngx_astro.h"
#include "astro_limits.h"


#define NGX_ASTRO_FRAME_BYTES  512      /* octets that cost as one frame */


typedef enum {
    NGX_ASTRO_L_SIGNAL = 0,
    NGX_ASTRO_L_CHAT,
    NGX_ASTRO_L_TYPING,
    NGX_ASTRO_L_SESSION,
    NGX_ASTRO_L_OTHER,
    NGX_ASTRO_L_FRAME,
    NGX_ASTRO_L_CONN_MAX,           /* those above may be per connection */
    NGX_ASTRO_L_CONNECT = NGX_ASTRO_L_CONN_MAX,
    NGX_ASTRO_L_HELLO,
    NGX_ASTRO_L_API,
    NGX_ASTRO_L_LOGIN,
    NGX_ASTRO_L_WEBHOOK,
    NGX_ASTRO_L_WRITE,
    NGX_ASTRO_L_SEARCH,
    NGX_ASTRO_L_MONEY,
    NGX_ASTRO_L_MAX
} ngx_astro_class_e;

typedef char ngx_astro_limits_fit_t[
    NGX_ASTRO_L_MAX <= NGX_ASTRO_LIMIT_SLOTS ? 1 : -1];

/* What a connection remembers; zeroed is right. */
typedef struct {
    uint64_t     tat[NGX_ASTRO_L_CONN_MAX];
    uint64_t     address;           /* key, 0: not limited */
    int64_t      strikes_ms;        /* boot clock: when they were 0 */
    uint32_t     strikes;           /* refusals since */
    unsigned     address_counted:1;
    unsigned     user_counted:1;
} ngx_astro_limits_t;


/* configuration */

ngx_astro_limits_conf_t *ngx_astro_limits_create(ngx_conf_t *cf);
char *ngx_astro_limits_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_astro_limits_connections(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


/* NGX_OK, or an HTTP status to refuse the upgrade with. */
ngx_int_t ngx_astro_limits_handshake(ngx_http_request_t *r,
    ngx_astro_limits_t *l);

/* NGX_OK; else the client was told, and closed.  Its user is known. */
ngx_int_t ngx_astro_limits_hello(ngx_astro_conn_t *conn, int64_t id);

/* NGX_OK; else the message is not to be handled, and the client was told. */
ngx_int_t ngx_astro_limits_message(ngx_astro_conn_t *conn,
    ngx_astro_class_e class, int64_t id);

/*
 * After a read of len octets with so many frames in them: milliseconds for
 * which the client is not to be read, or 0.
 */
ngx_msec_t ngx_astro_limits_frames(ngx_astro_conn_t *conn, ngx_uint_t frames,
    size_t len);

/* The user, or the socket, has gone; may be called again. */
void ngx_astro_limits_leave(ngx_astro_conn_t *conn);
void ngx_astro_limits_close(ngx_astro_limits_t *l);

/*
 * REST: seconds after which to come back, or 0.  user: its number, or an
 * e-mail address; NULL asks about the address alone, which otherwise is not
 * asked about.
 */
ngx_uint_t ngx_astro_limits_request(ngx_http_request_t *r,
    ngx_astro_class_e class, const void *user, size_t len);


#endif /* _NGX_ASTRO_LIMITS_H_INCLUDED_ */
