
/*
 * Copyright (C) The Astro authors
 *
 * PostgreSQL without blocking: one connection is made in a thread (DNS, TLS
 * and SCRAM block), then spoken to in libpq's pipeline mode from the event
 * loop, with one Sync for each call, so that a call is a transaction of its
 * own and its failure touches no other.
 */

#ifndef _NGX_ASTRO_PG_H_INCLUDED_
#define _NGX_ASTRO_PG_H_INCLUDED_


#include "ngx_astro.h"

#include <libpq-fe.h>


#define NGX_ASTRO_PG_MAX_PARAMS  16


/* A row for each SQL function that the module calls: see ngx_astro_sql.h */
typedef struct {
    const char   *name;     /* of the prepared statement */
    const char   *text;
    int           nparams;
    ngx_uint_t    traced;   /* one more: see ngx_astro_trace.h */
} ngx_astro_sql_t;

typedef enum {
    NGX_ASTRO_PG_OK = 0,
    NGX_ASTRO_PG_REFUSED,   /* by the function: see ngx_astro_pg_refusal_t */
    NGX_ASTRO_PG_ERROR,     /* the server refused: a bug */
    NGX_ASTRO_PG_BUSY,      /* it gave up: a timeout, a lock, a deadlock */
    NGX_ASTRO_PG_LOST       /* no connection, or it broke: unknown outcome */
} ngx_astro_pg_rc_e;

/*
 * Called exactly once for each call that was taken, never before
 * ngx_astro_pg_call() has returned.  res lives until it
 * returns and is NULL unless rc is OK or REFUSED.
 */
typedef void (*ngx_astro_pg_handler_pt)(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


typedef enum {
    NGX_ASTRO_PG_FOR_CALLS = 0,
    NGX_ASTRO_PG_FOR_CHAT,
    NGX_ASTRO_PG_FOR_LEASE
} ngx_astro_pg_use_e;

ngx_astro_pg_t *ngx_astro_pg_create(ngx_astro_pg_use_e use);

/*
 * Closes the connection without calling the handlers of what is under way:
 * for exit_process alone.
 */
void ngx_astro_pg_destroy(ngx_astro_pg_t *pg);

/*
 * Sends a call with text parameters (NULL: SQL NULL), which are copied.  While
 * the first connection is being made calls wait; while the database is away
 * NGX_ERROR is returned and the handler is not called.
 */
ngx_int_t ngx_astro_pg_call(ngx_astro_pg_t *pg, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data);

/*
 * The same of what somebody outside asks for: NGX_ERROR also when as many calls
 * as "astro_pg_queue" says wait for their answers.
 */
ngx_int_t ngx_astro_pg_ask(ngx_astro_pg_t *pg, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data);

/* Called at each new connection, before the calls that wait are sent. */
void ngx_astro_pg_on_connect(ngx_astro_pg_t *pg, void (*handler)(void));

ngx_uint_t ngx_astro_pg_is_up(ngx_astro_pg_t *pg);


/*
 * What a function raised with consult.fail() (sql/functions/fields.sql): the
 * texts live as long as the result.
 */
typedef struct {
    ngx_astro_error_e   error;
    const char         *message;
    const char         *field;      /* a JSON pointer, NULL: none */
    ngx_uint_t          retry_s;    /* its COLUMN; 0: it does not say */
} ngx_astro_pg_refusal_t;

/*
 * An error that may well not come the next time: transaction_rollback, no
 * resources, lock_not_available, query_canceled (PostgreSQL, Appendix A).
 */
ngx_uint_t ngx_astro_pg_gave_up(const char *sqlstate);

void ngx_astro_pg_refusal(PGresult *res, ngx_astro_pg_refusal_t *refusal);


/* reading text results */

int64_t ngx_astro_pg_int(PGresult *res, int row, int column);  /* NULL: 0 */
ngx_str_t ngx_astro_pg_str(PGresult *res, int row, int column);
ngx_uint_t ngx_astro_pg_bool(PGresult *res, int row, int column);

/*
 * Appends one element to an array literal being built at p; the caller has
 * seen to 2 * len + 4 bytes of room.  "first" writes the opening brace.
 */
u_char *ngx_astro_pg_array_text(u_char *p, ngx_uint_t first, const u_char *s,
    size_t len);


#endif /* _NGX_ASTRO_PG_H_INCLUDED_ */
