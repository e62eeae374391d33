
/*
 * Copyright (C) The Astro authors
 *
 * Each handler checks the form of its message and asks the table of
 * transitions (astro_session.h) what is allowed; the database lets one of
 * several racing requests win.
 */

#include "ngx_astro_gateway.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_session_types.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_sql.h"


#define NGX_ASTRO_MAX_MINUTES  1440


static void ngx_astro_session_started(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_session_apply(ngx_astro_req_t *req,
    astro_session_event_e event);
static void ngx_astro_session_applied(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_session_failed(ngx_astro_call_t *call,
    ngx_astro_pg_rc_e rc, PGresult *res);
static void ngx_astro_session_reply(ngx_astro_call_t *call, PGresult *res,
    ngx_uint_t ice);


void
ngx_astro_handle_session_start(ngx_astro_req_t *req)
{
    int64_t                     minutes;
    uint64_t                    advisor;
    ngx_astro_call_t           *call;
    const char                 *values[7];
    char                        user[24], to[24], service[16], cid[40];
    char                        max_ms[24], ready[24];
    const astro_json_member_t  *m, *id;

    advisor = ngx_astro_req_id(req, "advisor", 'u');
    if (advisor == 0) {
        return;
    }

    m = astro_json_get(&req->doc->payload, "service");

    if (m == NULL
        || (!ngx_astro_same(m->raw, m->raw_len, "\"chat\"")
            && !ngx_astro_same(m->raw, m->raw_len, "\"audio\"")
            && !ngx_astro_same(m->raw, m->raw_len, "\"video\"")))
    {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "service is chat, audio or video",
                              "/payload/service");
        return;
    }

    id = ngx_astro_req_string(req, "cid", 36, 1);
    if (id == NULL) {
        return;
    }

    if (!astro_uuid_ok(id->raw + 1, id->raw_len - 2)) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "cid is a UUID", "/payload/cid");
        return;
    }

    values[4] = NULL;

    *ngx_sprintf((u_char *) service, "%*s", m->raw_len - 2, m->raw + 1) =
        '\0';
    *ngx_sprintf((u_char *) cid, "%*s", (size_t) 36, id->raw + 1) = '\0';

    m = astro_json_get(&req->doc->payload, "max_minutes");

    if (m) {
        if (astro_json_int(m, 1, NGX_ASTRO_MAX_MINUTES, &minutes) != 0) {
            ngx_astro_count(BAD_MESSAGE);
            ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                                  "max_minutes is an integer from 1 to 1440",
                                  "/payload/max_minutes");
            return;
        }

        *ngx_sprintf((u_char *) max_ms, "%L", minutes * 60000) = '\0';
        values[4] = max_ms;
    }

    *ngx_sprintf((u_char *) user, "%uL", req->conn->user) = '\0';
    *ngx_sprintf((u_char *) to, "%uL", advisor) = '\0';
    *ngx_sprintf((u_char *) ready, "%M", ngx_astro.conf->ready) = '\0';

    values[0] = user;
    values[1] = to;
    values[2] = service;
    values[3] = cid;
    values[5] = ready;
    values[6] = "true";

    call = ngx_astro_call_create(req->conn, req->id, 0);

    if (call == NULL) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_session_start,
                          values, ngx_astro_session_started, call)
        != NGX_OK)
    {
        ngx_astro_call_free(call);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "the database is away, try again", NULL);
    }
}


static void
ngx_astro_session_started(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    ngx_str_t  state;

    if (ngx_astro_session_failed(call, rc, res) != NGX_OK) {
        return;
    }

    ngx_astro_session_reply(call, res, 1);

    state = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_STATE);

    /*
     * And it rings.  A repeat too: whoever asked first may not have lived to
     * let it.
     */

    if (ngx_astro_same(state.data, state.len, "ringing")) {

        ngx_astro_sessions_outcome(res, 0);

        /* the billing worker counts how long */

        ngx_astro_redis_nudge(ngx_astro_pg_int(res, 0, NGX_ASTRO_O_SESSION));
    }

    ngx_astro_call_free(call);
}


void
ngx_astro_handle_session_accept(ngx_astro_req_t *req)
{
    ngx_astro_session_apply(req, ASTRO_SESSION_ACCEPT);
}


void
ngx_astro_handle_session_reject(ngx_astro_req_t *req)
{
    ngx_astro_session_apply(req, ASTRO_SESSION_REJECT);
}


void
ngx_astro_handle_session_cancel(ngx_astro_req_t *req)
{
    ngx_astro_session_apply(req, ASTRO_SESSION_CANCEL);
}


void
ngx_astro_handle_session_end(ngx_astro_req_t *req)
{
    ngx_astro_session_apply(req, ASTRO_SESSION_END);
}


void
ngx_astro_handle_session_join(ngx_astro_req_t *req)
{
    uint64_t  id;

    id = ngx_astro_req_id(req, "session", 's');

    if (id) {
        ngx_astro_sessions_join(req->conn, id, req->id);
    }
}


static void
ngx_astro_session_apply(ngx_astro_req_t *req, astro_session_event_e event)
{
    char                         user[24], sid[24], gateway[24], life[24];
    uint64_t                     id;
    const char                  *values[9];
    ngx_astro_call_t            *call;
    const astro_session_rule_t  *rule;

    id = ngx_astro_req_id(req, "session", 's');
    if (id == 0) {
        return;
    }

    if (ngx_astro_gateway_id() == 0) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no lease yet, try again", NULL);
        return;
    }

    rule = astro_session_rule(event);

    *ngx_sprintf((u_char *) user, "%uL", req->conn->user) = '\0';
    *ngx_sprintf((u_char *) sid, "%uL", id) = '\0';
    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';
    *ngx_sprintf((u_char *) life, "%L", ngx_astro_life_ms()) = '\0';

    values[0] = user;
    values[1] = sid;
    values[2] = astro_session_event_name(event);
    values[3] = rule->from_sql;
    values[4] = astro_session_state_name(rule->to);
    values[5] = rule->parties == ASTRO_PARTY_CLIENT ? "{client}"
                : rule->parties == ASTRO_PARTY_ADVISOR ? "{advisor}"
                : "{client,advisor}";
    values[6] = rule->reason;
    values[7] = gateway;
    values[8] = life;

    call = ngx_astro_call_create(req->conn, req->id, event);

    if (call == NULL) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_session_apply,
                          values, ngx_astro_session_applied, call)
        != NGX_OK)
    {
        ngx_astro_call_free(call);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "the database is away, try again", NULL);
    }
}


static void
ngx_astro_session_applied(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    if (ngx_astro_session_failed(call, rc, res) != NGX_OK) {
        return;
    }

    ngx_astro_session_reply(call, res, call->arg == ASTRO_SESSION_ACCEPT);
    ngx_astro_sessions_outcome(res, 0);
    ngx_astro_redis_nudge(ngx_astro_pg_int(res, 0, NGX_ASTRO_O_SESSION));

    ngx_astro_call_free(call);
}


/*
 * An answer that was lost may have been a success: session_start is repeated
 * under its cid, and each transition finds itself done.
 */

static ngx_int_t
ngx_astro_session_failed(ngx_astro_call_t *call, ngx_astro_pg_rc_e rc,
    PGresult *res)
{
    ngx_str_t  body;

    if (rc == NGX_ASTRO_PG_REFUSED) {
        ngx_astro_reply_refused(call->conn, call->id, res);
        ngx_astro_call_free(call);
        return NGX_ERROR;
    }

    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1) {
        ngx_astro_reply_error(call->conn, call->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no answer from the database, try again", NULL);
        ngx_astro_call_free(call);
        return NGX_ERROR;
    }

    if (ngx_astro_pg_int(res, 0, NGX_ASTRO_O_STATUS) >= 300) {
        body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);
        ngx_astro_reply_sql_error(call->conn, call->id, &body);
        ngx_astro_call_free(call);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_astro_session_reply(ngx_astro_call_t *call, PGresult *res, ngx_uint_t ice)
{
    u_char     *p, *buf;
    ngx_str_t   body;

    body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);

    buf = ngx_alloc(body.len + 64, ngx_astro.log);

    if (buf == NULL) {
        ngx_astro_reply(call->conn, call->id, body.data, body.len);
        return;
    }

    /* {...} and two members more */

    p = ngx_cpymem(buf, body.data, body.len - 1);

    if (ice) {
        p = ngx_cpymem(p, ",\"ice_servers\":[]", 17);
    }

    if (ngx_astro_pg_bool(res, 0, NGX_ASTRO_O_DUP)) {
        p = ngx_cpymem(p, ",\"dup\":true", 11);
    }

    *p++ = '}';

    ngx_astro_reply(call->conn, call->id, buf, p - buf);
    ngx_free(buf);
}
