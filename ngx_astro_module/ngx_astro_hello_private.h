
/*
 * Copyright (C) The Astro authors
 *
 * Between the files of hello: one takes hellos and asks the database, the
 * other makes the answers.
 */

#ifndef _NGX_ASTRO_HELLO_PRIVATE_H_INCLUDED_
#define _NGX_ASTRO_HELLO_PRIVATE_H_INCLUDED_


#include "ngx_astro_hello.h"
#include "ngx_astro_pg.h"


/* Where a client says it is in a conversation. */
typedef struct {
    uint64_t               conv;
    int64_t                seq;
} ngx_astro_hello_pos_t;

/* One that was said and not yet answered; freed by whoever answers it. */
typedef struct {
    ngx_queue_t            link;
    ngx_astro_conn_t      *conn;        /* NULL: closed while in flight */
    ngx_uint_t             sent;
    ngx_uint_t             first;       /* no other socket on this host */
    ngx_uint_t             figures;     /* asked for admin_metrics */
    uint64_t               ticket;      /* of ngx_astro_listen_ticket() */
    int64_t                id;
    int64_t                token_exp;
    uint64_t               came_us;
    ngx_uint_t             npos;
    ngx_astro_hello_pos_t  pos[1];
} ngx_astro_hello_t;


/* columns of hello_batch's rows */

#define NGX_ASTRO_HELLO_ORD   0
#define NGX_ASTRO_HELLO_KIND  1
#define NGX_ASTRO_HELLO_ID    2
#define NGX_ASTRO_HELLO_NUM   3
#define NGX_ASTRO_HELLO_DOC   4


/*
 * Signs h's connection in: the reply, snapshots, what was missed.  Its rows
 * are those from row up to, without, end; there is one at least.
 */
void ngx_astro_hello_reply(ngx_astro_hello_t *h, PGresult *res, int row,
    int end);


#endif /* _NGX_ASTRO_HELLO_PRIVATE_H_INCLUDED_ */
