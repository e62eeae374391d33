
/*
 * Copyright (C) The Astro authors
 *
 * REST: one generic handler over a table of routes (ngx_astro_routes.c).  A row
 * and a SQL function add an endpoint.
 */

#ifndef _NGX_ASTRO_API_H_INCLUDED_
#define _NGX_ASTRO_API_H_INCLUDED_


#include "ngx_astro_auth.h"
#include "ngx_astro_sql.h"


#define NGX_ASTRO_API_PARAMS  4
#define NGX_ASTRO_BODY_MAX    16384     /* octets of a JSON body */
#define NGX_ASTRO_RAW_MAX     262144    /* of a raw one: a vendor's event */


typedef struct ngx_astro_api_ctx_s  ngx_astro_api_ctx_t;

typedef enum {
    NGX_ASTRO_BODY_NONE = 0,
    NGX_ASTRO_BODY_JSON,                    /* an object of ours */
    NGX_ASTRO_BODY_RAW                      /* octets, of whatever type */
} ngx_astro_body_e;

typedef ngx_int_t (*ngx_astro_api_pt)(ngx_astro_api_ctx_t *ctx);

typedef struct {
    ngx_uint_t                method;       /* NGX_HTTP_GET: HEAD too */
    ngx_str_t                 pattern;      /* "{s}" stands for an id "s_1" */
    ngx_uint_t                roles;        /* 0: anybody */
    const ngx_astro_sql_t    *sql;

    /*
     * What is given to the function, in order: 'u' the caller, 'p' the id in
     * the path, 'l' ?limit, 'c' ?cursor
     */
    const char               *params;

    ngx_astro_body_e          body;         /* is read first */
    ngx_astro_api_pt          handler;      /* instead of the generic one */
} ngx_astro_route_row_t;

extern const ngx_astro_route_row_t  ngx_astro_routes[];

struct ngx_astro_api_ctx_s {
    ngx_http_request_t           *r;
    const ngx_astro_route_row_t  *row;
    uint64_t                      path_id;
    astro_claims_t                claims;
    ngx_str_t                     request_id;
    uint64_t                      came_us;
    ngx_uint_t                    retry_s;  /* Retry-After, 0: a second */
    u_char                        retry[NGX_INT_T_LEN];
    ngx_str_t                     body;
    astro_json_doc_t              doc;      /* of body; reused by others! */
    void                         *data;     /* of a handler of its own */
};


/* content handler of "astro_api" */
ngx_int_t ngx_astro_api_handler(ngx_http_request_t *r);

/* Reads the body that the row asks for, then calls the row's handler. */
ngx_int_t ngx_astro_api_body(ngx_astro_api_ctx_t *ctx);

/* Sends a body of any type, with the headers that all answers have. */
ngx_int_t ngx_astro_api_output(ngx_astro_api_ctx_t *ctx, ngx_uint_t status,
    const char *type, const u_char *body, size_t len);

/* Sends a JSON body; returns what a content handler returns. */
ngx_int_t ngx_astro_api_send(ngx_astro_api_ctx_t *ctx, ngx_uint_t status,
    const u_char *json, size_t len);

/* application/problem+json (RFC 9457); field: a JSON pointer, or NULL */
ngx_int_t ngx_astro_api_problem(ngx_astro_api_ctx_t *ctx,
    ngx_astro_error_e error, const char *detail, const char *field);

/*
 * Calls a SQL function that returns (status, body) and sends these.  The
 * request stays until then; NGX_DONE, or an HTTP status.
 */
ngx_int_t ngx_astro_api_call(ngx_astro_api_ctx_t *ctx,
    const ngx_astro_sql_t *sql, const char *const *values);

/*
 * The same with a handler of one's own, which gets ctx as its data and ends
 * with ngx_astro_api_finish().  It is not called if the request has gone.
 */
ngx_int_t ngx_astro_api_ask(ngx_astro_api_ctx_t *ctx,
    const ngx_astro_sql_t *sql, const char *const *values,
    ngx_astro_pg_handler_pt handler);
void ngx_astro_api_finish(ngx_astro_api_ctx_t *ctx, ngx_int_t rc);

/* The generic answer to a call. */
void ngx_astro_api_answer(void *data, ngx_astro_pg_rc_e rc, PGresult *res);

/* handlers of their own */
ngx_int_t ngx_astro_api_health(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_register(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_login(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_webhook_stripe(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_webhook_razorpay(ngx_astro_api_ctx_t *ctx);


#endif /* _NGX_ASTRO_API_H_INCLUDED_ */
