
/*
 * Copyright (C) The Astro authors
 *
 * Each act asks the table of transitions (astro_session.h) what is allowed; its
 * SQL function reads the fields, and lets one of several racing requests win.
 */

#include "ngx_astro_gateway.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_ice.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_router.h"
#include "ngx_astro_session_acts.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_trace.h"


#define NGX_ASTRO_ACT_PARAMS  9         /* and two for Idempotency-Key */

#define NGX_ASTRO_ACT_RINGS   0x1       /* news of it only while it rings */
#define NGX_ASTRO_ACT_ICE     0x2       /* the answer has ICE servers */
#define NGX_ASTRO_ACT_RELAY   0x4       /* no news; a frame for the peer */
#define NGX_ASTRO_ACT_SAMPLE  0x8       /* of a connection's quality */
#define NGX_ASTRO_ACT_BARS    0x10      /* somebody is kept out from now on */
#define NGX_ASTRO_ACT_EVENT   0x20      /* no news; an event for both */


#define ngx_astro_act_sql(name)                                               \
    &ngx_astro_sql_ ## name, &ngx_astro_sql_ ## name ## _once


/*
 * params: what the function is given, in order:
 *
 *     'u'  the caller          's'  the session       'd'  the document
 *     'g'  our lease           'l'  its milliseconds  'f'  from which states
 *     't'  to which state      'p'  whose it is       'r'  the reason
 *     'e'  the event's name    'o'  Idempotency-Key   'y'  astro_ready
 *     'v'  true
 */

typedef struct {
    ngx_str_t               name;       /* of the message and the route */
    astro_session_event_e   event;
    const ngx_astro_sql_t  *sql;
    const ngx_astro_sql_t  *once;       /* NULL: it has the key itself */
    const char             *params;
    ngx_uint_t              flags;
} ngx_astro_act_t;

typedef struct {
    const char             *value[NGX_ASTRO_ACT_PARAMS + 2];
    char                    user[24];
    char                    session[24];
    char                    gateway[24];
    char                    life[24];
    char                    ready[24];
} ngx_astro_act_args_t;


static const ngx_astro_act_t *ngx_astro_act_find(const u_char *name,
    size_t len);
static ngx_int_t ngx_astro_act_args(ngx_astro_act_args_t *args,
    const ngx_astro_act_t *act, uint64_t user, uint64_t session,
    const char *doc, const char *once);
static void ngx_astro_act_answered(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_act_api_answered(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static u_char *ngx_astro_act_body(const ngx_astro_act_t *act, uint64_t user,
    PGresult *res, size_t *len);
static void ngx_astro_act_tell(const ngx_astro_act_t *act, uint64_t user,
    PGresult *res);
static void ngx_astro_act_relay(uint64_t user, PGresult *res);
static void ngx_astro_act_event(PGresult *res);
static void ngx_astro_act_sample(PGresult *res);


static const ngx_astro_act_t  ngx_astro_acts[] = {

    { ngx_string("session_start"), ASTRO_SESSION_EVENTS,
      &ngx_astro_sql_session_begin, NULL, "udoyv",
      NGX_ASTRO_ACT_RINGS|NGX_ASTRO_ACT_ICE },

    /* of a booking: it stands in the path where a session does */
    { ngx_string("booking_start"), ASTRO_SESSION_EVENTS,
      ngx_astro_act_sql(booking_start), "usy", NGX_ASTRO_ACT_ICE },

    { ngx_string("session_accept"), ASTRO_SESSION_ACCEPT,
      ngx_astro_act_sql(session_apply), "useftprgl", NGX_ASTRO_ACT_ICE },
    { ngx_string("session_reject"), ASTRO_SESSION_REJECT,
      ngx_astro_act_sql(session_apply), "useftprgl", 0 },
    { ngx_string("session_cancel"), ASTRO_SESSION_CANCEL,
      ngx_astro_act_sql(session_apply), "useftprgl", 0 },
    { ngx_string("session_end"), ASTRO_SESSION_END,
      ngx_astro_act_sql(session_apply), "useftprgl", 0 },

    { ngx_string("session_pause"), ASTRO_SESSION_PAUSE,
      ngx_astro_act_sql(session_pause), "usdglf", 0 },
    { ngx_string("session_resume"), ASTRO_SESSION_RESUME,
      ngx_astro_act_sql(session_resume), "usdglf", 0 },
    { ngx_string("session_mode"), ASTRO_SESSION_MODE,
      ngx_astro_act_sql(session_mode), "usdglf", 0 },
    { ngx_string("session_extend"), ASTRO_SESSION_EXTEND,
      ngx_astro_act_sql(session_extend), "usdglf", 0 },

    { ngx_string("session_media"), ASTRO_SESSION_MEDIA,
      ngx_astro_act_sql(session_media), "usdglf", NGX_ASTRO_ACT_RELAY },
    { ngx_string("session_quality"), ASTRO_SESSION_MEDIA,
      ngx_astro_act_sql(session_quality), "usdglf",
      NGX_ASTRO_ACT_RELAY|NGX_ASTRO_ACT_SAMPLE },

    /* of admins, by REST alone */
    { ngx_string("admin_session_end"), ASTRO_SESSION_END,
      ngx_astro_act_sql(admin_session_end), "usdglf", 0 },

    /* an account stands where a session does; its own ends, if there is one */
    { ngx_string("admin_user_block"), ASTRO_SESSION_END,
      ngx_astro_act_sql(admin_user_block), "usdglf", NGX_ASTRO_ACT_BARS },

    /* the second: an advisor stands where a session does */
    { ngx_string("session_gift"), ASTRO_SESSION_EVENTS,
      &ngx_astro_sql_session_gift, NULL, "usdo", NGX_ASTRO_ACT_EVENT },
    { ngx_string("advisor_gift"), ASTRO_SESSION_EVENTS,
      &ngx_astro_sql_advisor_gift, NULL, "usdo", NGX_ASTRO_ACT_EVENT },

    { ngx_null_string, 0, NULL, NULL, NULL, 0 }
};


static const ngx_astro_act_t *
ngx_astro_act_find(const u_char *name, size_t len)
{
    const ngx_astro_act_t  *act;

    for (act = ngx_astro_acts; act->name.len; act++) {
        if (act->name.len == len
            && ngx_memcmp(act->name.data, name, len) == 0)
        {
            return act;
        }
    }

    return NULL;
}


/* NGX_DECLINED: we have no lease now. */

static ngx_int_t
ngx_astro_act_args(ngx_astro_act_args_t *args, const ngx_astro_act_t *act,
    uint64_t user, uint64_t session, const char *doc, const char *once)
{
    const char                  *p, **value;
    const astro_session_rule_t  *rule;

    if (ngx_astro_gateway_id() == 0) {
        return NGX_DECLINED;
    }

    rule = astro_session_rule(act->event);
    value = args->value;

    *ngx_sprintf((u_char *) args->user, "%uL", user) = '\0';
    *ngx_sprintf((u_char *) args->session, "%uL", session) = '\0';
    *ngx_sprintf((u_char *) args->gateway, "%uL", ngx_astro_gateway_id()) =
        '\0';
    *ngx_sprintf((u_char *) args->life, "%L", ngx_astro_life_ms()) = '\0';
    *ngx_sprintf((u_char *) args->ready, "%M", ngx_astro.conf->ready) = '\0';

    for (p = act->params; *p; p++, value++) {

        switch (*p) {

        case 'u':
            *value = args->user;
            break;

        case 's':
            *value = args->session;
            break;

        case 'd':
            *value = doc;
            break;

        case 'g':
            *value = args->gateway;
            break;

        case 'l':
            *value = args->life;
            break;

        case 'f':
            *value = rule->from_sql;
            break;

        case 't':
            *value = astro_session_state_name(rule->to);
            break;

        case 'p':
            *value = rule->parties == ASTRO_PARTY_CLIENT ? "{client}"
                     : rule->parties == ASTRO_PARTY_ADVISOR ? "{advisor}"
                     : "{client,advisor}";
            break;

        case 'r':
            *value = rule->reason;
            break;

        case 'e':
            *value = astro_session_event_name(act->event);
            break;

        case 'o':
            *value = once;
            break;

        case 'y':
            *value = args->ready;
            break;

        default: /* 'v' */
            *value = "true";
        }
    }

    return NGX_OK;
}


/* by WebSocket */

void
ngx_astro_handle_session_act(ngx_astro_req_t *req)
{
    u_char                 *doc;
    uint64_t                id;
    ngx_int_t               rc;
    ngx_astro_call_t       *call;
    ngx_astro_act_args_t    args;
    const ngx_astro_act_t  *act;

    act = ngx_astro_act_find(req->type.data, req->type.len);
    id = 0;

    if (act->params[1] == 's') {
        id = ngx_astro_req_id(req, "session", 's');

        if (id == 0) {
            return;
        }
    }

    doc = ngx_astro_act_doc(req);
    if (doc == NULL) {
        return;
    }

    call = NULL;
    rc = ngx_astro_act_args(&args, act, req->conn->user, id, (char *) doc,
                            NULL);

    if (rc == NGX_OK) {
        call = ngx_astro_call_create(req->conn, req->id,
                                     act - ngx_astro_acts);
        rc = call ? ngx_astro_pg_ask(ngx_astro.pg_api, act->sql, args.value,
                                      ngx_astro_act_answered, call)
                  : NGX_ERROR;
    }

    ngx_free(doc);

    if (rc == NGX_OK) {
        return;
    }

    if (call) {
        ngx_astro_call_free(call);
    }

    ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                          rc == NGX_DECLINED ? "no lease yet, try again"
                          : "the database is away, try again", NULL);
}


u_char *
ngx_astro_act_doc(ngx_astro_req_t *req)
{
    u_char      *doc;
    const char  *error;

    if (req->payload.len > NGX_ASTRO_BODY_MAX) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_TOO_LARGE,
                              "a payload is at most 16384 bytes", "/payload");
        return NULL;
    }

    error = astro_json_unique(req->payload.data, req->payload.len);

    if (error) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              error, "/payload");
        return NULL;
    }

    doc = ngx_alloc(req->payload.len + 1, ngx_astro.log);

    if (doc == NULL) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return NULL;
    }

    *ngx_cpymem(doc, req->payload.data, req->payload.len) = '\0';

    return doc;
}


/*
 * An answer that was lost may have been a success: session_start is repeated
 * under its cid, and each transition finds itself done.
 */

static void
ngx_astro_act_answered(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    size_t                  len;
    u_char                 *buf;
    ngx_str_t               body;
    const ngx_astro_act_t  *act;

    act = &ngx_astro_acts[call->arg];

    if (rc == NGX_ASTRO_PG_REFUSED) {
        ngx_astro_reply_refused(call->conn, call->id, res);

    } else if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1) {
        ngx_astro_reply_error(call->conn, call->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no answer from the database, try again", NULL);

    } else if (ngx_astro_pg_int(res, 0, NGX_ASTRO_O_STATUS) >= 300) {
        body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);
        ngx_astro_reply_sql_error(call->conn, call->id, &body);

    } else {
        buf = ngx_astro_act_body(act, call->conn->user, res, &len);

        if (buf) {
            ngx_astro_reply(call->conn, call->id, buf, len);
            ngx_free(buf);

        } else {
            ngx_astro_reply_error(call->conn, call->id, NGX_ASTRO_E_INTERNAL,
                                  "no memory", NULL);
        }

        ngx_astro_trace_message(call->conn, call->id, NULL);
        ngx_astro_act_tell(act, call->conn->user, res);
        ngx_astro_trace_end();
    }

    ngx_astro_call_free(call);
}


/* by REST */

ngx_int_t
ngx_astro_api_session_act(ngx_astro_api_ctx_t *ctx)
{
    const char             *name, *doc;
    ngx_astro_act_args_t    args;
    const ngx_astro_act_t  *act;
    const ngx_astro_sql_t  *sql;

    name = ctx->row->function;
    act = ngx_astro_act_find((u_char *) name, ngx_strlen(name));

    if (act->params[1] == 's' && ctx->path_id[0] == 0) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                     "no such resource", NULL);
    }

    ctx->data = (void *) act;
    doc = ctx->body.data ? (char *) ctx->body.data : "{}";

    if (ngx_astro_act_args(&args, act, ctx->claims.user, ctx->path_id[0], doc,
                           ctx->once)
        != NGX_OK)
    {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "no lease yet, try again", NULL);
    }

    sql = act->sql;

    if (ctx->once && act->once) {
        args.value[sql->nparams] = ctx->once;
        args.value[sql->nparams + 1] = ngx_astro_api_once_hash(ctx);

        if (args.value[sql->nparams + 1] == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        sql = act->once;
    }

    return ngx_astro_api_ask(ctx, sql, args.value,
                             ngx_astro_act_api_answered);
}


static void
ngx_astro_act_api_answered(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    size_t                  len;
    u_char                 *buf;
    ngx_int_t               status;
    const ngx_astro_act_t  *act;

    act = ctx->data;

    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1
        || ngx_astro_pg_int(res, 0, NGX_ASTRO_O_STATUS) >= 300)
    {
        ngx_astro_api_answer(ctx, rc, res);
        return;
    }

    /* of an answer that was kept all were told then: see api.act_kept() */

    if (PQgetisnull(res, 0, NGX_ASTRO_O_DUP)) {
        ctx->replayed = 1;

    } else {
        ngx_astro_trace_request(ctx);
        ngx_astro_act_tell(act, ctx->claims.user, res);
        ngx_astro_trace_end();
    }

    buf = ngx_astro_act_body(act, ctx->claims.user, res, &len);

    if (buf == NULL) {
        ngx_astro_api_finish(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    status = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_STATUS);

    if (ctx->once && (act->flags & NGX_ASTRO_ACT_RINGS)
        && ngx_astro_pg_bool(res, 0, NGX_ASTRO_O_DUP))
    {
        ctx->replayed = 1;
        status = NGX_HTTP_CREATED;
    }

    status = ngx_astro_api_send(ctx, status, buf, len);

    ngx_free(buf);
    ngx_astro_api_finish(ctx, status);
}


/* either way */

/* The function's body, {...}, and members that it cannot know. */

static u_char *
ngx_astro_act_body(const ngx_astro_act_t *act, uint64_t user, PGresult *res,
    size_t *len)
{
    u_char     *p, *buf;
    ngx_str_t   body;

    body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);

    buf = ngx_alloc(body.len + 64 + ngx_astro_ice_len(), ngx_astro.log);

    if (buf == NULL) {
        return NULL;
    }

    p = ngx_cpymem(buf, body.data, body.len - 1);

    if (act->flags & NGX_ASTRO_ACT_ICE) {
        p = ngx_cpymem(p, ",\"ice_servers\":", 15);
        p = ngx_astro_ice(p, user);
    }

    if (ngx_astro_pg_bool(res, 0, NGX_ASTRO_O_DUP)) {
        p = ngx_cpymem(p, ",\"dup\":true", 11);
    }

    *p++ = '}';
    *len = p - buf;

    return buf;
}


static void
ngx_astro_act_tell(const ngx_astro_act_t *act, uint64_t user, PGresult *res)
{
    ngx_str_t  state;

    if (act->flags & NGX_ASTRO_ACT_EVENT) {
        ngx_astro_act_event(res);
        return;
    }

    if (act->flags & NGX_ASTRO_ACT_RELAY) {
        ngx_astro_act_relay(user, res);

        if (act->flags & NGX_ASTRO_ACT_SAMPLE) {
            ngx_astro_act_sample(res);
        }

        return;
    }

    /*
     * A repeat rings, too: whoever asked first may not have lived to let it.
     * But nothing is told of what a session has become since.
     */

    if (act->flags & NGX_ASTRO_ACT_RINGS) {
        state = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_STATE);

        if (!ngx_astro_same(state.data, state.len, "ringing")) {
            return;
        }
    }

    if (act->flags & NGX_ASTRO_ACT_BARS) {

        /* the others look within half a second */

        ngx_astro_heal_barred();

        if (PQgetisnull(res, 0, NGX_ASTRO_O_SESSION)) {
            return;
        }
    }

    ngx_astro_sessions_outcome(res, 0);

    /* the billing worker counts how long */

    ngx_astro_redis_nudge(ngx_astro_pg_int(res, 0, NGX_ASTRO_O_SESSION));
}


static void
ngx_astro_act_relay(uint64_t user, PGresult *res)
{
    uint64_t           client, advisor;
    ngx_str_t          frame;
    ngx_astro_msg_t    m;
    ngx_astro_route_t  route;

    client = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_CLIENT);
    advisor = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_ADVISOR);
    frame = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_EVENT_FRAME);

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.user = (user == client) ? advisor : client;

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, frame.data, frame.len);

    ngx_astro_route_user(&route, &m);
}


/*
 * Told once, with the answer that made it: whoever repeats that gets no frame,
 * and who was not told finds it by the conversation's head.
 */

static void
ngx_astro_act_event(PGresult *res)
{
    ngx_str_t          frame;
    ngx_astro_msg_t    m;
    ngx_astro_route_t  route;

    if (PQgetisnull(res, 0, NGX_ASTRO_O_EVENT_FRAME)) {
        return;
    }

    frame = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_EVENT_FRAME);

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.durable = 1;
    route.conv = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_CONV);
    route.seq = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_EVENT_SEQ);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, frame.data, frame.len);

    route.user = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_CLIENT);
    ngx_astro_route_user(&route, &m);
    route.user = ngx_astro_pg_int(res, 0, NGX_ASTRO_O_ADVISOR);
    ngx_astro_route_user(&route, &m);

    if (!PQgetisnull(res, 0, NGX_ASTRO_O_SESSION)) {
        ngx_astro_redis_nudge(ngx_astro_pg_int(res, 0, NGX_ASTRO_O_SESSION));
    }
}


static void
ngx_astro_act_sample(PGresult *res)
{
    double                      loss;
    int64_t                     rtt, jitter;
    ngx_str_t                   body;
    astro_json_doc_t            doc;
    const astro_json_member_t  *m;

    body = ngx_astro_pg_str(res, 0, NGX_ASTRO_O_BODY);

    if (astro_json_parse(ngx_astro.json, body.data, body.len, &doc) != 0) {
        return;
    }

    m = astro_json_get(&doc.root, "rtt");

    if (m && astro_json_int(m, 0, 60000, &rtt) == 0) {
        ngx_astro_observe(CALL_RTT, rtt * 1000);
    }

    m = astro_json_get(&doc.root, "jitter");

    if (m && astro_json_int(m, 0, 60000, &jitter) == 0) {
        ngx_astro_observe(CALL_JITTER, jitter * 1000);
    }

    m = astro_json_get(&doc.root, "loss");

    if (m && m->kind == ASTRO_JSON_NUMBER) {
        /* another member follows it, so it ends */
        loss = strtod((char *) m->raw, NULL) * 10000 + 0.5;
        ngx_astro_observe(CALL_LOSS, (uint64_t) loss);
    }

    m = astro_json_get(&doc.root, "poor");

    if (m && ngx_astro_same(m->raw, m->raw_len, "true")) {
        ngx_astro_count(CALLS_POOR);
    }
}


/* joining */

void
ngx_astro_handle_session_join(ngx_astro_req_t *req)
{
    uint64_t  id;

    id = ngx_astro_req_id(req, "session", 's');

    if (id) {
        ngx_astro_sessions_join(req->conn, id, req->id);
    }
}


void
ngx_astro_act_joined(ngx_astro_call_t *call, ngx_str_t *body)
{
    u_char  *p, *buf, *at;

    static const char  empty[] = "\"ice_servers\":[]";

    at = ngx_strnstr(body->data, (char *) empty, body->len);
    buf = NULL;

    if (call->id && at) {
        buf = ngx_alloc(body->len + ngx_astro_ice_len(), ngx_astro.log);
    }

    if (buf == NULL) {
        ngx_astro_reply(call->conn, call->id, body->data, body->len);
        return;
    }

    at += sizeof(empty) - 1 - 2;

    p = ngx_cpymem(buf, body->data, at - body->data);
    p = ngx_astro_ice(p, call->conn->user);
    p = ngx_cpymem(p, at + 2, body->data + body->len - (at + 2));

    ngx_astro_reply(call->conn, call->id, buf, p - buf);
    ngx_free(buf);
}
