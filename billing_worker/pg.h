
/*
 * Copyright (C) The Astro authors
 *
 * One connection to PostgreSQL, in pipeline mode, never blocking; it comes
 * back by itself, with backoff, and prepares its statements anew.
 *
 * A call is one or two prepared statements and a Sync, sent in one flush: one
 * implicit transaction.  One may be made while others are not answered yet: so
 * the server has the next at hand.  Its handler is called exactly once, with
 *
 *   DONE    the Sync was answered: it is committed
 *   FAILED  a statement failed: nothing happened; sqlstate and message are set
 *   LOST    the connection went: nobody knows.  Read it again
 *
 * never before billing_pg_call() has returned.  Results are valid until the
 * handler returns.  A handler may make further calls.
 */

#ifndef _BILLING_PG_H_INCLUDED_
#define _BILLING_PG_H_INCLUDED_


#include <libpq-fe.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>


#define BILLING_PG_STATEMENTS  2
#define BILLING_PG_VALUES      16


typedef enum {
    BILLING_PG_DONE = 0,
    BILLING_PG_FAILED,
    BILLING_PG_LOST
} billing_pg_status_e;

typedef struct {
    billing_pg_status_e          status;
    PGresult                    *results[BILLING_PG_STATEMENTS];
    char                         sqlstate[6];
    char                        *message;       /* may be NULL */
} billing_pg_reply_t;

typedef void (*billing_pg_handler_pt)(void *data,
    const billing_pg_reply_t *reply);

typedef struct {
    const char                  *name;
    const char                  *sql;
    int                          nvalues;
} billing_pg_statement_t;

typedef struct {
    const char                  *statement;     /* its name */
    int                          nvalues;
    const char                  *values[BILLING_PG_VALUES];
} billing_pg_query_t;

/* The same in binary, values and results. */
typedef struct {
    const char                  *statement;
    int                          nvalues;
    const char                  *values[BILLING_PG_VALUES];
    int                          lengths[BILLING_PG_VALUES];
} billing_pg_binary_t;

typedef struct billing_pg_call_s  billing_pg_call_t;

typedef enum {
    BILLING_PG_IDLE = 0,
    BILLING_PG_CONNECTING,
    BILLING_PG_PREPARING,
    BILLING_PG_READY
} billing_pg_state_e;

typedef struct {
    /* set by the owner before billing_pg_start() */
    uv_loop_t                     *loop;
    const char                    *name;        /* for the log */
    const char                    *conninfo;
    const billing_pg_statement_t  *statements;  /* the last has no name */
    void                         (*up)(void *data);
    void                         (*down)(void *data);
    void                          *data;

    PGconn                        *conn;
    uv_poll_t                     *poll;        /* freed when closed */
    uv_timer_t                     timer;
    int                            fd;
    int                            events;
    billing_pg_state_e             state;
    int64_t                        since;       /* state was entered */
    int64_t                        backoff;
    unsigned                       failures;
    unsigned                       reading:1;
    unsigned                       broken:1;
    unsigned                       stopped:1;

    billing_pg_call_t             *first;       /* in the order sent */
    billing_pg_call_t             *last;
} billing_pg_t;


/* The database may not be there: it is tried until it is. */
int billing_pg_start(billing_pg_t *pg);

/* Ends it; calls in flight get LOST.  The struct must outlive the loop. */
void billing_pg_stop(billing_pg_t *pg);

int billing_pg_ready(const billing_pg_t *pg);

/* BILLING_ERROR: not connected or no memory; the handler will not be called. */
int billing_pg_call(billing_pg_t *pg, const billing_pg_query_t *queries,
    size_t n, billing_pg_handler_pt handler, void *data);
int billing_pg_call_binary(billing_pg_t *pg,
    const billing_pg_binary_t *queries, size_t n,
    billing_pg_handler_pt handler, void *data);

/*
 * Columns of a result.  billing_pg_int() gives none for NULL; what is no
 * number does not come from our functions.
 */
int64_t billing_pg_int(const PGresult *res, int row, int column,
    int64_t none);
int billing_pg_bool(const PGresult *res, int row, int column);


#endif /* _BILLING_PG_H_INCLUDED_ */
