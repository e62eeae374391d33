
/*
 * Copyright (C) The Astro authors
 *
 * One name for a request from its first log line to the database's and the
 * billing worker's: "<request id> <traceparent>", or of a message on a
 * WebSocket "<connection>-<id>" and, if the message has one, its traceparent.
 *
 * What a handler asks of the database within the turn of the loop that began
 * with a request is asked under that name; statements whose row is "traced"
 * take it along as their last parameter, and set it for their transaction.
 * What is gathered from many (group commits, groups of reads) has none; of
 * webhooks each row is given its own.
 */

#ifndef _NGX_ASTRO_TRACE_H_INCLUDED_
#define _NGX_ASTRO_TRACE_H_INCLUDED_


#include "ngx_astro.h"
#include "ngx_astro_conn.h"
#include "astro_trace.h"


struct ngx_astro_api_ctx_s;

#define NGX_ASTRO_TRACE_MAX                                                   \
    (ASTRO_REQUEST_ID_MAX + 1 + ASTRO_TRACEPARENT_LEN + 1)

/*
 * A parameter of a statement, which sets the trace by the way, before the
 * function is called: no statement more, and about a microsecond.  What is too
 * long for application_name is cut off here, as PostgreSQL would do it with a
 * NOTICE each time: it is behind the name that the connection has.
 */
#define ngx_astro_trace_sql(param, trace)                                     \
    "CASE WHEN set_config('astro.trace', " trace "::text, true) IS NULL"      \
    " OR set_config('application_name',"                                      \
    " left(current_setting('application_name') || ' ' || " trace ", 63)"      \
    ", true) IS NULL"                                                         \
    " THEN NULL ELSE " param " END"

/* Of a REST request: reads X-Request-Id and traceparent, or makes them. */
ngx_int_t ngx_astro_trace_begin(struct ngx_astro_api_ctx_s *ctx);

/*
 * From now on, until _end(): these are never within each other.  doc: of the
 * message, while there is one.
 */
void ngx_astro_trace_request(struct ngx_astro_api_ctx_s *ctx);
void ngx_astro_trace_message(ngx_astro_conn_t *conn, int64_t id,
    astro_json_doc_t *doc);
void ngx_astro_trace_end(void);

/* Writes the name of now, NUL-terminated; its length, 0: there is none. */
size_t ngx_astro_trace_text(u_char buf[NGX_ASTRO_TRACE_MAX]);

/* the variables $astro_...: for preconfiguration */
ngx_int_t ngx_astro_trace_variables(ngx_conf_t *cf);


#endif /* _NGX_ASTRO_TRACE_H_INCLUDED_ */
