
/*
 * Copyright (C) The Astro authors
 *
 * consult.v1: the table of message types, and the forms of reply.  A row and a
 * handler add a type.
 */

#ifndef _NGX_ASTRO_PROTOCOL_H_INCLUDED_
#define _NGX_ASTRO_PROTOCOL_H_INCLUDED_


#include "ngx_astro_conn.h"
#include "ngx_astro_pg.h"


/* A request as its handler gets it; valid until the handler returns. */
typedef struct {
    ngx_astro_conn_t    *conn;
    astro_json_doc_t    *doc;
    ngx_str_t            type;
    ngx_str_t            payload;   /* raw octets, "{}" if there was none */
    ngx_str_t            text;      /* the whole message */
    int64_t              id;        /* 0: no reply wanted */
} ngx_astro_req_t;

typedef void (*ngx_astro_handler_pt)(ngx_astro_req_t *req);


/* One text message of a client. */
void ngx_astro_protocol_message(ngx_astro_conn_t *conn, u_char *text,
    size_t len);

/* Exactly one of these for each request; nothing is sent when id is 0. */
void ngx_astro_reply(ngx_astro_conn_t *conn, int64_t id, const u_char *payload,
    size_t len);

/*
 * message must need no escaping; field is a JSON pointer or NULL.  Is sent
 * without an id when there is none: the client should know.
 */
void ngx_astro_reply_error(ngx_astro_conn_t *conn, int64_t id,
    ngx_astro_error_e error, const char *message, const char *field);

/*
 * The error body of a SQL function, {"code","message"[,"field"]}, as a
 * reply.
 */
void ngx_astro_reply_sql_error(ngx_astro_conn_t *conn, int64_t id,
    ngx_str_t *body);

/* What consult.fail() raised (NGX_ASTRO_PG_REFUSED), as a reply. */
void ngx_astro_reply_refused(ngx_astro_conn_t *conn, int64_t id,
    PGresult *res);


/* Members of the payload.  On a missing or wrong one they reply, return 0. */

uint64_t ngx_astro_req_id(ngx_astro_req_t *req, const char *name, char kind);
const astro_json_member_t *ngx_astro_req_string(ngx_astro_req_t *req,
    const char *name, size_t max, ngx_uint_t required);


/* A call to the database on behalf of a request. */
typedef struct {
    ngx_queue_t          link;      /* a join: of those under way */
    ngx_astro_conn_t    *conn;      /* referenced */
    int64_t              id;
    uint64_t             arg;
    uint64_t             gateway;   /* the lease when it was made */
} ngx_astro_call_t;

ngx_astro_call_t *ngx_astro_call_create(ngx_astro_conn_t *conn, int64_t id,
    uint64_t arg);
void ngx_astro_call_free(ngx_astro_call_t *call);


#endif /* _NGX_ASTRO_PROTOCOL_H_INCLUDED_ */
