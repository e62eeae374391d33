
/*
 * Copyright (C) The Astro authors
 *
 * What ngx_astro_pg.c, ngx_astro_pg_results.c and ngx_astro_slow.c share; no
 * one else includes it.
 */

#ifndef _NGX_ASTRO_PG_PRIVATE_H_INCLUDED_
#define _NGX_ASTRO_PG_PRIVATE_H_INCLUDED_


#include "ngx_astro_pg.h"


#define NGX_ASTRO_PG_PREPARED  512      /* all statements that there are */


typedef struct ngx_astro_pg_op_s  ngx_astro_pg_op_t;

/* What a connection is for, and under which counters it goes. */
typedef struct {
    const char                *name;
    const char                *application;     /* as PostgreSQL shows it */
    ngx_uint_t                 lazy;            /* only while it is needed */
    ngx_astro_counter_e        calls;
    ngx_astro_counter_e        failed;
    ngx_astro_counter_e        connects;
    ngx_astro_counter_e        time;
    ngx_astro_counter_e        up;
    ngx_astro_counter_e        in_flight;
} ngx_astro_pg_use_t;

typedef enum {
    ngx_astro_pg_down = 0,
    ngx_astro_pg_connecting,
    ngx_astro_pg_up
} ngx_astro_pg_state_e;


struct ngx_astro_pg_op_s {
    ngx_queue_t                queue;
    const ngx_astro_sql_t     *sql;
    ngx_astro_pg_handler_pt    handler;
    void                      *data;
    uint64_t                   user;        /* of a slow report */
    ngx_msec_t                 since;
    uint64_t                   called_us;
    ngx_uint_t                 pending;     /* results yet to come */
    unsigned                   parsing:1;   /* result of Parse comes first */
    unsigned                   failed:1;
    unsigned                   refused:1;
    unsigned                   busy:1;
    PGresult                  *res;
    const char                *values[NGX_ASTRO_PG_MAX_PARAMS + 1];
                                            /* the last: its trace */
};


struct ngx_astro_pg_s {
    const ngx_astro_pg_use_t  *use;
    ngx_msec_t                 call_timeout;
    char                       statement_timeout[NGX_INT_T_LEN + 1];
                                            /* ms; empty: the role's own */
    PGconn                    *conn;
    ngx_connection_t          *c;
    ngx_astro_pg_state_e       state;
    ngx_uint_t                 tried;       /* a first attempt has ended */
    ngx_uint_t                 dead;        /* to be broken by its events */
    ngx_msec_t                 backoff;
    ngx_uint_t                 nwaiting;
    ngx_queue_t                waiting;     /* not sent yet */
    ngx_queue_t                sent;        /* in this order */
    ngx_uint_t                 nsent;
    ngx_event_t                retry;
    ngx_event_t                timeout;
    ngx_event_t                flush;
    void                     (*on_connect)(void);
    void                     (*changed)(ngx_astro_pg_t *pg);
                                            /* of a lazy one: see open() */
    ngx_thread_task_t         *task;
    ngx_uint_t                 nprepared;
    const ngx_astro_sql_t     *prepared[NGX_ASTRO_PG_PREPARED];
};


#define ngx_astro_pg_count(use, id)  ngx_astro.counters[(use)->id]++
#define ngx_astro_pg_uncount(use, id)  ngx_astro.counters[(use)->id]--

#define ngx_astro_pg_idle(pg)                                                 \
    ((pg)->state == ngx_astro_pg_up && !(pg)->dead                            \
     && ngx_queue_empty(&(pg)->sent))


ngx_astro_pg_t *ngx_astro_pg_create_use(const ngx_astro_pg_use_t *use);

/*
 * A lazy connection: open() begins to connect it, and is NGX_DECLINED while an
 * attempt that failed is too near.  changed() is called when it is up, when
 * it could not be made or broke, and when the last call has been answered;
 * close() closes one that is idle.
 */
ngx_int_t ngx_astro_pg_open(ngx_astro_pg_t *pg);
void ngx_astro_pg_close(ngx_astro_pg_t *pg);

/* A call with copies of its values; NULL: no memory. */
ngx_astro_pg_op_t *ngx_astro_pg_op(const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data);

/* Sends it on a connection that is up, which owns it from then on. */
void ngx_astro_pg_send(ngx_astro_pg_t *pg, ngx_astro_pg_op_t *op);

/* Calls the handler and frees it. */
void ngx_astro_pg_finish(const ngx_astro_pg_use_t *use, ngx_astro_pg_op_t *op,
    ngx_astro_pg_rc_e rc);

ngx_int_t ngx_astro_pg_results(ngx_astro_pg_t *pg);

/* Sets the timer of the oldest call under way. */
void ngx_astro_pg_arm(ngx_astro_pg_t *pg);


#endif /* _NGX_ASTRO_PG_PRIVATE_H_INCLUDED_ */
