
/*
 * Copyright (C) The Astro authors
 *
 * Both are one call of the function that REST calls, too.  Whoever else waits
 * is told by a billing worker; nothing is remembered here.
 */

#include "ngx_astro_queue.h"
#include "ngx_astro_session_acts.h"
#include "ngx_astro_sql.h"


static void ngx_astro_queue_ask(ngx_astro_req_t *req,
    const ngx_astro_sql_t *sql, const char *doc);
static void ngx_astro_queue_answered(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


void
ngx_astro_handle_queue_join(ngx_astro_req_t *req)
{
    u_char  *doc;

    doc = ngx_astro_act_doc(req);

    if (doc) {
        ngx_astro_queue_ask(req, &ngx_astro_sql_queue_join, (char *) doc);
        ngx_free(doc);
    }
}


void
ngx_astro_handle_queue_leave(ngx_astro_req_t *req)
{
    ngx_astro_queue_ask(req, &ngx_astro_sql_queue_leave, NULL);
}


static void
ngx_astro_queue_ask(ngx_astro_req_t *req, const ngx_astro_sql_t *sql,
    const char *doc)
{
    char               user[24], advisor[24];
    uint64_t           id;
    const char        *values[3];
    ngx_astro_call_t  *call;

    id = ngx_astro_req_id(req, "advisor", 'u');

    if (id == 0) {
        return;
    }

    *ngx_sprintf((u_char *) user, "%uL", req->conn->user) = '\0';
    *ngx_sprintf((u_char *) advisor, "%uL", id) = '\0';

    values[0] = user;
    values[1] = advisor;
    values[2] = doc;

    call = ngx_astro_call_create(req->conn, req->id, 0);

    if (call
        && ngx_astro_pg_ask(ngx_astro.pg_api, sql, values,
                             ngx_astro_queue_answered, call)
           == NGX_OK)
    {
        return;
    }

    if (call) {
        ngx_astro_call_free(call);
    }

    ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                          "the database is away, try again", NULL);
}


static void
ngx_astro_queue_answered(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    ngx_str_t  body;

    if (rc == NGX_ASTRO_PG_REFUSED) {
        ngx_astro_reply_refused(call->conn, call->id, res);

    } else if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1) {
        ngx_astro_reply_error(call->conn, call->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no answer from the database, try again", NULL);

    } else {
        body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);
        ngx_astro_reply(call->conn, call->id, body.data, body.len);
    }

    ngx_astro_call_free(call);
}
