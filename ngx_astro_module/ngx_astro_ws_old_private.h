
/*
 * Copyright (C) The Astro authors
 *
 * Between ngx_astro_ws_old.c (the table, what has to wait) and
 * ngx_astro_ws_old_types.c (what each type becomes); for nobody else.
 */

#ifndef _NGX_ASTRO_WS_OLD_PRIVATE_H_INCLUDED_
#define _NGX_ASTRO_WS_OLD_PRIVATE_H_INCLUDED_


#include "ngx_astro_protocol.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_ws_old.h"


#define NGX_ASTRO_OLD_GROWS      256    /* what ours has more than theirs */

#define NGX_ASTRO_OLD_ONLY       0x1    /* we have no type of that name */
#define NGX_ASTRO_OLD_AUTH       0x2    /* is not about a session */
#define NGX_ASTRO_OLD_SIGNAL     0x4    /* waits while it rings */

#define NGX_ASTRO_OLD_RINGS                                                   \
    (astro_session_bit(ASTRO_SESSION_REQUESTED)                               \
     |astro_session_bit(ASTRO_SESSION_QUEUED)                                 \
     |astro_session_bit(ASTRO_SESSION_RINGING))


typedef struct ngx_astro_old_type_s  ngx_astro_old_type_t;

/* A message of theirs; valid until its handler returns. */
typedef struct {
    ngx_astro_conn_t            *conn;
    ngx_astro_ws_old_t          *old;
    const ngx_astro_old_type_t  *type;
    astro_json_object_t         *payload;
    uint64_t                     session;   /* 0: none was named */
    ngx_astro_msg_t              m;         /* ours, as it is made */
    u_char                       buf[NGX_ASTRO_OLD_GROWS];
} ngx_astro_old_in_t;

struct ngx_astro_old_type_s {
    ngx_str_t                    name;
    void                       (*handler)(ngx_astro_old_in_t *in);
    ngx_uint_t                   flags;
};


/* 5, "5" or "u_5"; 0 of what is null, 0 or not there; else it was told. */
ngx_int_t ngx_astro_old_id(ngx_astro_old_in_t *in, const char *name,
    char kind, uint64_t *id);

/*
 * NGX_OK: the payload's signal was read; without a doc, that there is one and
 * it is no invitation.
 */
ngx_int_t ngx_astro_old_signal(ngx_astro_old_in_t *in,
    astro_json_doc_t *signal);

/* handlers */
void ngx_astro_old_auth(ngx_astro_old_in_t *in);
void ngx_astro_old_chat(ngx_astro_old_in_t *in);
void ngx_astro_old_sdp(ngx_astro_old_in_t *in);
void ngx_astro_old_candidate(ngx_astro_old_in_t *in);
void ngx_astro_old_hang_up(ngx_astro_old_in_t *in);
void ngx_astro_old_update(ngx_astro_old_in_t *in);
void ngx_astro_old_end(ngx_astro_old_in_t *in);


#endif /* _NGX_ASTRO_WS_OLD_PRIVATE_H_INCLUDED_ */
