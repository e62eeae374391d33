
/*
 * Copyright (C) The Astro authors
 *
 * sync {conv, after}: the client has found a hole of its own.  The events go
 * out as they are, whatever was written before; then the reply.
 */

#include "ngx_astro_resume_private.h"


static void ngx_astro_sync_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


void
ngx_astro_handle_sync(ngx_astro_req_t *req)
{
    int64_t                     after;
    uint64_t                    conv;
    ngx_astro_call_t           *call;
    const astro_json_member_t  *m;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    m = astro_json_get(&req->doc->payload, "after");

    if (m == NULL || astro_json_int(m, 0, INT64_MAX, &after) != 0) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "after is the last seq that you have",
                              "/payload/after");
        return;
    }

    call = ngx_astro_call_create(req->conn, req->id, conv);

    if (call == NULL
        || ngx_astro_resume_call(call, conv, after, NGX_ASTRO_REPLAY_MAX,
                                 ngx_astro_sync_done)
           != NGX_OK)
    {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "the database is away, try again", NULL);
    }
}


static void
ngx_astro_sync_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    int                i, n;
    u_char            *p;
    u_char             buf[128];
    int64_t            head, seq;
    ngx_str_t          frame;
    ngx_astro_msg_t    m;
    ngx_astro_conn_t  *conn;

    conn = call->conn;

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_reply_error(conn, call->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no answer from the database, try again", NULL);
        ngx_astro_call_free(call);
        return;
    }

    n = PQntuples(res);

    if (n == 0) {
        ngx_astro_count(DENIED);
        ngx_astro_reply_error(conn, call->id, NGX_ASTRO_E_NOT_PARTICIPANT,
                              "no conversation of yours", "/payload/conv");
        ngx_astro_call_free(call);
        return;
    }

    head = ngx_astro_pg_int(res, 0, 2);
    seq = 0;

    for (i = 1; i < n; i++) {
        frame = ngx_astro_pg_str(res, i, 1);

        if (i > 1 && ngx_astro_resume_full(conn, frame.len)) {
            break;
        }

        seq = ngx_astro_pg_int(res, i, 0);

        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, frame.data, frame.len);
        ngx_astro_conn_send(conn, &m, 0);
    }

    ngx_astro_resume_wrote(conn, call->arg, seq);

    p = ngx_sprintf(buf, "{\"conv\":\"c_%uL\",\"head\":%L,\"more\":%s}",
                    call->arg, head,
                    n > 1 && seq < head ? "true" : "false");

    ngx_astro_reply(conn, call->id, buf, p - buf);
    ngx_astro_call_free(call);
}
