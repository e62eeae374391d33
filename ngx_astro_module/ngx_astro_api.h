
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
#include "ngx_astro_trace.h"


#define NGX_ASTRO_API_PARAMS  12        /* and three for Idempotency-Key */
#define NGX_ASTRO_BODY_MAX    16384     /* octets of a JSON body */
#define NGX_ASTRO_RAW_MAX     262144    /* of a raw one: a vendor's event */

/*
 * Beside the roles of a row: which limit of its caller it takes from, besides
 * "api".  Neither: a GET from none, all else from "write".  And SLOW, which
 * is no limit: its function is called on a connection of its own, so that
 * whoever asks for something else need not wait for it (ngx_astro_slow.h).
 */
#define NGX_ASTRO_API_SEARCH  0x100
#define NGX_ASTRO_API_MONEY   0x200
#define NGX_ASTRO_API_SLOW    0x400

#define NGX_ASTRO_METHODS_LEN                                                 \
    (sizeof("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") - 1)


typedef struct ngx_astro_api_ctx_s  ngx_astro_api_ctx_t;
typedef struct ngx_astro_old_name_s  ngx_astro_old_name_t;
typedef struct ngx_astro_old_row_s  ngx_astro_old_row_t;
typedef struct ngx_astro_group_s  ngx_astro_group_t;

typedef enum {
    NGX_ASTRO_BODY_NONE = 0,
    NGX_ASTRO_BODY_JSON,                    /* an object of ours */
    NGX_ASTRO_BODY_OPTIONAL,                /* or nothing, which is {} */
    NGX_ASTRO_BODY_RAW                      /* octets, of whatever type */
} ngx_astro_body_e;

typedef ngx_int_t (*ngx_astro_api_pt)(ngx_astro_api_ctx_t *ctx);

typedef struct {
    ngx_uint_t                method;       /* NGX_HTTP_GET: HEAD too */
    ngx_str_t                 pattern;      /* "{s}": an id "s_1" */
    ngx_uint_t                roles;        /* 0: anybody; and a class */
    const char               *function;     /* of the schema api */

    /*
     * What is given to the function, in order and of these types (a pattern
     * has two ids at most):
     *
     *     'u'  bigint  the caller             'r'  text  its role
     *     'p'  bigint  first id of the path   'q'  bigint  the second
     *     'b'  json    the body               'Q'  json  the query: strings
     *     'l'  int     ?limit                 'c'  text  ?cursor, or NULL
     *     'm'  text    If-Match, or NULL: etags without quotes, or "*"
     *     'h'  text    the hash of the body's password, by api_hashed
     *     'k'  json    how vendors of payments call us: ngx_astro_pay.c
     *     's'  text    the login that the caller's token is of, or ""
     *     'i'  bigint  when another issuer says that the caller signed in,
     *                  s; 0: it does not, or the token is ours
     */
    const char               *params;

    ngx_astro_body_e          body;         /* is read first */
    ngx_astro_api_pt          handler;      /* instead of the generic one */
} ngx_astro_route_row_t;

/* One file for each theme; each ends with a row of method 0. */
extern const ngx_astro_route_row_t  ngx_astro_routes_system[];
extern const ngx_astro_route_row_t  ngx_astro_routes_auth[];
extern const ngx_astro_route_row_t  ngx_astro_routes_people[];
extern const ngx_astro_route_row_t  ngx_astro_routes_consult[];
extern const ngx_astro_route_row_t  ngx_astro_routes_booking[];
extern const ngx_astro_route_row_t  ngx_astro_routes_admin[];
extern const ngx_astro_route_row_t  ngx_astro_routes_chat[];
extern const ngx_astro_route_row_t  ngx_astro_routes_wallet[];
extern const ngx_astro_route_row_t  ngx_astro_routes_pay[];
extern const ngx_astro_route_row_t  ngx_astro_routes_payout[];
extern const ngx_astro_route_row_t  ngx_astro_routes_private[];
extern const ngx_astro_route_row_t  ngx_astro_routes_stats[];
extern const ngx_astro_route_row_t  ngx_astro_routes_back[];

/* A row and the statements made from it, once, when the worker starts. */
typedef struct {
    const ngx_astro_route_row_t  *row;
    const ngx_astro_old_row_t    *old;      /* NULL: by its own name */
    ngx_astro_sql_t               call;
    ngx_astro_sql_t               once;     /* with Idempotency-Key */
    ngx_astro_sql_t               many;     /* for a group of requests */
    ngx_astro_group_t            *group;    /* NULL: each for itself */
} ngx_astro_endpoint_t;

ngx_int_t ngx_astro_routes_init(void);

/*
 * The route of a method and path, with the ids in it (0: what stands there is
 * no id).  NULL: there is none; then *allowed has the methods that there are.
 */
const ngx_astro_endpoint_t *ngx_astro_routes_find(ngx_uint_t method,
    ngx_str_t *path, uint64_t *ids, ngx_uint_t *allowed);

struct ngx_astro_api_ctx_s {
    ngx_http_request_t           *r;
    const ngx_astro_endpoint_t   *route;    /* NULL: no such one */
    const ngx_astro_route_row_t  *row;      /* of route */
    uint64_t                      path_id[2];
    astro_claims_t                claims;
    ngx_str_t                     request_id;
    astro_trace_t                 trace;    /* with a span of our own */
    uint64_t                      came_us;
    ngx_uint_t                    retry_s;  /* Retry-After, 0: a second */
    u_char                        retry[NGX_INT_T_LEN];
    ngx_str_t                     body;     /* and a NUL behind it */
    astro_json_doc_t              doc;      /* of body; reused by others! */
    ngx_str_t                     query;    /* as JSON, and a NUL behind it */
    ngx_str_t                     limit;    /* of the query; empty: none */
    ngx_str_t                     cursor;
    char                         *once;     /* Idempotency-Key, NULL: none */
    char                         *hash;     /* of a password, NULL: none */
    void                        (*after)(ngx_astro_api_ctx_t *ctx);
                                            /* the function has done it */
    ngx_str_t                     etag;     /* without quotes; empty: none */
    ngx_uint_t                    replayed;
    uint32_t                      old_used; /* names of the old row */
    void                         *data;     /* of a handler of its own */
};


/* content handler of "astro_api" */
ngx_int_t ngx_astro_api_handler(ngx_http_request_t *r);

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

/* Calls the row's function with what its params say. */
ngx_int_t ngx_astro_api_generic(ngx_astro_api_ctx_t *ctx);

/*
 * The handler of a read that is answered for many requests in one statement:
 * api.<function>_group of arrays, one for each of its params.  Each request
 * gets what it would have got alone (ngx_astro_api_group.c).
 */
ngx_int_t ngx_astro_api_grouped(ngx_astro_api_ctx_t *ctx);

/*
 * What waits for a statement of many: it returns (status, body, ..., ord),
 * each request's own, and is committed when they are answered.  alone: asks for
 * one of a group that was refused, or answered wrong; as ngx_astro_api_call().
 * done, or NULL: is told of an answer before the requests are, also of those
 * who have gone; NULL: it was lost.
 */
typedef ngx_int_t (*ngx_astro_group_alone_pt)(ngx_astro_api_ctx_t *ctx,
    const char *const *values);
typedef void (*ngx_astro_group_done_pt)(PGresult *res, ngx_uint_t n);

ngx_astro_group_t *ngx_astro_group_create(const ngx_astro_sql_t *many,
    ngx_astro_group_alone_pt alone, ngx_astro_group_done_pt done);

/* The values live as long as the request.  As ngx_astro_api_call(). */
ngx_int_t ngx_astro_group_join(ngx_astro_group_t *group,
    ngx_astro_api_ctx_t *ctx, const char *const *values);

/*
 * What the row's params say, as text that lives as long as the request.
 * NGX_DECLINED: go on; anything else: it was answered.
 */
ngx_int_t ngx_astro_api_values(ngx_astro_api_ctx_t *ctx, const char **values);

/* Sends a row that a route's function returned; an HTTP status or NGX_*. */
ngx_int_t ngx_astro_api_row(ngx_astro_api_ctx_t *ctx, PGresult *res, int row);

/* The generic answer to a call. */
void ngx_astro_api_answer(void *data, ngx_astro_pg_rc_e rc, PGresult *res);

/*
 * Somebody has proven who he is: opens a login and answers with its tokens, or
 * sets them as cookies.  As ngx_astro_api_call().
 */
ngx_int_t ngx_astro_signin(ngx_astro_api_ctx_t *ctx, uint64_t user,
    ngx_uint_t cookie);

/* Adds a header; key and value live as long as the request. */
ngx_int_t ngx_astro_api_header(ngx_http_request_t *r, const char *key,
    const char *value, size_t len);

#define NGX_ASTRO_CARD_TEXT                                                   \
    "the number of a payment card; it is for the vendor's own page alone"

/* The methods of a set, for Allow: "GET, HEAD, PUT" */
size_t ngx_astro_api_methods(ngx_uint_t methods, u_char *buf);

/*
 * Reads the query string into ctx.  NULL, or what is wrong with it, and the
 * parameter at fault as a JSON pointer (allocated).
 */
const char *ngx_astro_api_query(ngx_astro_api_ctx_t *ctx, const char **field);

/* Reads Idempotency-Key of a request that may have one; NGX_DECLINED: bad */
ngx_int_t ngx_astro_api_once(ngx_astro_api_ctx_t *ctx);

/* What is asked for under it: method, path, body; NULL: an error */
char *ngx_astro_api_once_hash(ngx_astro_api_ctx_t *ctx);

/*
 * The etag of an answer: its version, which the function said, and behind a dot
 * a hash of the body and of whom it is for.  A version does not rise with all
 * that is derived, and two people's may be the same: a browser that both use
 * would take the one's answer for the other's.
 */
ngx_int_t ngx_astro_api_etag(ngx_astro_api_ctx_t *ctx,
    const ngx_str_t *version, const ngx_str_t *body);

/*
 * The versions of a list of etags, NUL-terminated: what 'm' is; NULL: no such
 * header.  NGX_ERROR: malformed
 */
ngx_int_t ngx_astro_api_if_match(ngx_http_request_t *r, const char **value);
ngx_uint_t ngx_astro_api_none_match(ngx_http_request_t *r, ngx_str_t *etag);

/* The headers of CORS, on every answer; the answer to OPTIONS. */
ngx_int_t ngx_astro_cors(ngx_http_request_t *r);
ngx_int_t ngx_astro_cors_options(ngx_astro_api_ctx_t *ctx,
    ngx_uint_t allowed);

/* "astro_openapi": reads the file. */
ngx_int_t ngx_astro_openapi_read(ngx_conf_t *cf, ngx_astro_conf_t *conf);

/* "astro_otp_key_file": reads it. */
ngx_int_t ngx_astro_otp_read(ngx_conf_t *cf, ngx_astro_conf_t *conf);

/*
 * "astro_stripe_publishable_key", "astro_razorpay_key_file": reads the file,
 * and makes of both what 'k' is.
 */
ngx_int_t ngx_astro_pay_read(ngx_conf_t *cf, ngx_astro_conf_t *conf);

/* handlers of their own */
ngx_int_t ngx_astro_api_openapi(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_health(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_register(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_login(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_refresh(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_logout(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_otp_request(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_otp_verify(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_phone_request(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_phone_verify(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_chat_message(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_chat_edit(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_chat_delete(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_chat_react(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_payment_create(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_payment_confirm(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_hashed(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_status(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_webhook_stripe(ngx_astro_api_ctx_t *ctx);
ngx_int_t ngx_astro_api_webhook_razorpay(ngx_astro_api_ctx_t *ctx);


#endif /* _NGX_ASTRO_API_H_INCLUDED_ */
