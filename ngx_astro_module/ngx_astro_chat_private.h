
/*
 * Copyright (C) The Astro authors
 *
 * What the chat's handlers give to its batches.
 */

#ifndef _NGX_ASTRO_CHAT_PRIVATE_H_INCLUDED_
#define _NGX_ASTRO_CHAT_PRIVATE_H_INCLUDED_


#include "ngx_astro_api.h"
#include "ngx_astro_protocol.h"


#define NGX_ASTRO_CHAT_HEAD  96         /* of a payload: from, cid, brace */


typedef enum {
    NGX_ASTRO_CHAT_MESSAGE = 0,
    NGX_ASTRO_CHAT_EDIT,
    NGX_ASTRO_CHAT_DELETE,
    NGX_ASTRO_CHAT_REACT
} ngx_astro_chat_type_e;

/* One that waits to be stored, or is being stored. */
typedef struct {
    ngx_queue_t             link;
    ngx_astro_call_t       *call;       /* NULL: it came by REST */
    ngx_astro_api_ctx_t    *ctx;        /* of REST; NULL: it has gone */
    ngx_http_cleanup_t     *cleanup;
    ngx_astro_chat_type_e   type;
    uint64_t                conv;
    uint64_t                user;
    ngx_msec_t              due;
    uint64_t                came_us;
    size_t                  len;        /* of payload */
    unsigned                act:1;      /* not for api.chat_batch() */
    unsigned                joined:1;   /* on the connection it came from */
    unsigned                retried:1;
    u_char                  cid[36];
    u_char                  payload[1];
} ngx_astro_chat_t;


/*
 * With a payload that has begun: {"from":..,"cid":.., and room for size more.
 * NULL: no memory.
 */
ngx_astro_chat_t *ngx_astro_chat_create(ngx_astro_chat_type_e type,
    uint64_t conv, uint64_t user, const u_char *cid, size_t size);

/* Too many wait already. */
ngx_uint_t ngx_astro_chat_full(void);

/* Takes it over; call or ctx are answered, once. */
void ngx_astro_chat_push(ngx_astro_chat_t *chat);

/* Answers to a REST request, if it is still there; seq 0: nothing to store. */
void ngx_astro_chat_rest_reply(ngx_astro_chat_t *chat, const char *type,
    int64_t seq, int64_t ts, ngx_uint_t dup, ngx_str_t *payload);
void ngx_astro_chat_rest_fail(ngx_astro_chat_t *chat, ngx_astro_error_e error,
    const char *message, const char *field);


#endif /* _NGX_ASTRO_CHAT_PRIVATE_H_INCLUDED_ */
