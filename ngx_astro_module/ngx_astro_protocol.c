
/*
 * Copyright (C) The Astro authors
 *
 * One pass of the JSON parser finds the envelope and the members of the
 * payload; then one look into the table of types.
 */

#include "ngx_astro_chat.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_hello.h"
#include "ngx_astro_live.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_protocol.h"
#include "ngx_astro_queue.h"
#include "ngx_astro_reauth.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_session_acts.h"
#include "ngx_astro_signal.h"
#include "ngx_astro_trace.h"


#define NGX_ASTRO_MAX_ID  9007199254740991LL    /* 2^53 - 1: JavaScript's */


typedef struct {
    ngx_str_t               name;
    ngx_astro_handler_pt    handler;
    ngx_uint_t              roles;      /* who may; 0: before hello too */
    ngx_astro_class_e       class;      /* for astro_limit */
} ngx_astro_type_t;


static void ngx_astro_handle(const ngx_astro_type_t *type,
    ngx_astro_req_t *req);
static void ngx_astro_malformed(ngx_astro_conn_t *conn, int64_t id,
    const char *message, const char *field);
static void ngx_astro_handle_ping(ngx_astro_req_t *req);
static void ngx_astro_handle_pong(ngx_astro_req_t *req);


static const ngx_astro_type_t  ngx_astro_types[] = {

    { ngx_string("signal_ice_candidate"),
      ngx_astro_handle_signal, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SIGNAL },
    { ngx_string("signal_offer"),
      ngx_astro_handle_signal_sdp, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SIGNAL },
    { ngx_string("signal_answer"),
      ngx_astro_handle_signal_sdp, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SIGNAL },
    { ngx_string("signal_end"),
      ngx_astro_handle_signal, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SIGNAL },

    { ngx_string("chat_message"),
      ngx_astro_handle_chat_message, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_CHAT },
    { ngx_string("chat_typing"),
      ngx_astro_handle_chat_typing, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_TYPING },
    { ngx_string("chat_ack"),
      ngx_astro_handle_chat_ack, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_OTHER },
    { ngx_string("chat_react"),
      ngx_astro_handle_chat_react, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_CHAT },
    { ngx_string("chat_edit"),
      ngx_astro_handle_chat_edit, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_CHAT },
    { ngx_string("chat_delete"),
      ngx_astro_handle_chat_delete, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_CHAT },

    { ngx_string("session_start"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_accept"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_reject"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_cancel"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_join"),
      ngx_astro_handle_session_join, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_end"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_pause"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_resume"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_mode"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_extend"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_media"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },
    { ngx_string("session_quality"),
      ngx_astro_handle_session_act, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_SESSION },

    { ngx_string("queue_join"),
      ngx_astro_handle_queue_join, ASTRO_ROLE_CLIENT,
      NGX_ASTRO_L_SESSION },
    { ngx_string("queue_leave"),
      ngx_astro_handle_queue_leave, ASTRO_ROLE_CLIENT,
      NGX_ASTRO_L_SESSION },

    { ngx_string("presence_watch"),
      ngx_astro_handle_presence_watch, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_OTHER },
    { ngx_string("sync"),
      ngx_astro_handle_sync, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_OTHER },

    { ngx_string("admin_metrics"),
      ngx_astro_handle_admin_metrics, ASTRO_ROLE_ADMIN,
      NGX_ASTRO_L_OTHER },

    { ngx_string("auth_refresh"),
      ngx_astro_handle_auth_refresh, ASTRO_ROLE_ANY,
      NGX_ASTRO_L_OTHER },

    { ngx_string("hello"), ngx_astro_handle_hello, 0,
      NGX_ASTRO_L_OTHER },
    { ngx_string("ping"), ngx_astro_handle_ping, 0,
      NGX_ASTRO_L_OTHER },
    { ngx_string("pong"), ngx_astro_handle_pong, 0,
      NGX_ASTRO_L_OTHER },

    { ngx_null_string, NULL, 0, 0 }
};

#define NGX_ASTRO_NTYPES                                                      \
    (sizeof(ngx_astro_types) / sizeof(ngx_astro_types[0]) - 1)

/* after the types: a type that is not there, and what has none */
#define NGX_ASTRO_TYPE_UNKNOWN    NGX_ASTRO_NTYPES
#define NGX_ASTRO_TYPE_MALFORMED  (NGX_ASTRO_NTYPES + 1)

typedef char ngx_astro_types_fit_t[
    NGX_ASTRO_TYPE_MALFORMED < NGX_ASTRO_TYPE_SLOTS ? 1 : -1];


const char *
ngx_astro_type_name(ngx_uint_t i)
{
    if (i < NGX_ASTRO_NTYPES) {
        return (char *) ngx_astro_types[i].name.data;
    }

    return i == NGX_ASTRO_TYPE_UNKNOWN ? "unknown"
           : i == NGX_ASTRO_TYPE_MALFORMED ? "malformed" : NULL;
}


void
ngx_astro_protocol_message(ngx_astro_conn_t *conn, u_char *text, size_t len)
{
    astro_json_doc_t            doc;
    ngx_astro_req_t             req;
    const ngx_astro_type_t     *t;
    const astro_json_member_t  *m;

    if (astro_json_parse(ngx_astro.json, text, len, &doc) != 0) {
        ngx_astro_malformed(conn, 0, doc.error, NULL);
        return;
    }

    req.conn = conn;
    req.doc = &doc;
    req.id = 0;
    req.text.data = text;
    req.text.len = len;

    m = astro_json_get(&doc.root, "id");

    if (m && astro_json_int(m, 1, NGX_ASTRO_MAX_ID, &req.id) != 0) {
        ngx_astro_malformed(conn, 0, "an id is an integer from 1 to 2^53 - 1",
                            "/id");
        return;
    }

    m = astro_json_get(&doc.root, "type");

    if (m == NULL || m->kind != ASTRO_JSON_STRING || m->escaped) {
        ngx_astro_malformed(conn, req.id, "a message has a type", "/type");
        return;
    }

    req.type.data = (u_char *) m->raw + 1;
    req.type.len = m->raw_len - 2;

    m = astro_json_get(&doc.root, "payload");

    if (m == NULL) {
        ngx_str_set(&req.payload, "{}");

    } else if (m->kind == ASTRO_JSON_OBJECT) {
        req.payload.data = (u_char *) m->raw;
        req.payload.len = m->raw_len;

    } else {
        ngx_astro_malformed(conn, req.id, "a payload is an object",
                            "/payload");
        return;
    }

    for (t = ngx_astro_types; t->name.len; t++) {

        if (t->name.len != req.type.len
            || ngx_memcmp(t->name.data, req.type.data, t->name.len) != 0)
        {
            continue;
        }

        ngx_astro_count_of(MSG_IN, t - ngx_astro_types);

        if (ngx_astro_limits_message(conn, t->class, req.id) != NGX_OK) {
            return;
        }

        if (t->roles == 0) {
            ngx_astro_handle(t, &req);
            return;
        }

        if (!conn->signed_in) {
            ngx_astro_count(DENIED);
            ngx_astro_reply_error(conn, req.id, NGX_ASTRO_E_UNAUTHORIZED,
                                  "say hello first", NULL);
            return;
        }

        if (!(t->roles & conn->role)) {
            ngx_astro_count(DENIED);
            ngx_astro_reply_error(conn, req.id, NGX_ASTRO_E_FORBIDDEN,
                                  "not for this role", NULL);
            return;
        }

        ngx_astro_handle(t, &req);
        return;
    }

    ngx_astro_count_of(MSG_IN, NGX_ASTRO_TYPE_UNKNOWN);

    if (ngx_astro_limits_message(conn, NGX_ASTRO_L_OTHER, req.id) != NGX_OK) {
        return;
    }

    ngx_astro_reply_error(conn, req.id, NGX_ASTRO_E_UNKNOWN_TYPE,
                          "no such type of message", "/type");
}


/* What it asks of the database now is asked in its name. */

static void
ngx_astro_handle(const ngx_astro_type_t *type, ngx_astro_req_t *req)
{
    ngx_astro_trace_message(req->conn, req->id, req->doc);
    type->handler(req);
    ngx_astro_trace_end();
}


/* What is no message at all: refusing it is limited as well. */

static void
ngx_astro_malformed(ngx_astro_conn_t *conn, int64_t id, const char *message,
    const char *field)
{
    ngx_astro_count(BAD_MESSAGE);
    ngx_astro_count_of(MSG_IN, NGX_ASTRO_TYPE_MALFORMED);

    if (ngx_astro_limits_message(conn, NGX_ASTRO_L_OTHER, id) == NGX_OK) {
        ngx_astro_reply_error(conn, id, NGX_ASTRO_E_BAD_REQUEST, message,
                              field);
    }
}


static void
ngx_astro_handle_ping(ngx_astro_req_t *req)
{
    ngx_astro_msg_t  m;

    if (req->id) {
        ngx_astro_reply(req->conn, req->id, (u_char *) "{}", 2);
        return;
    }

    ngx_astro_msg_init(&m);

    if (req->conn->bare) {
        ngx_astro_msg_lit(&m, "{\"type\":\"pong\",\"payload\":{}}");

    } else {
        ngx_astro_msg_lit(&m, "{\"type\":\"pong\"}");
    }

    ngx_astro_conn_send(req->conn, &m, 1);
}


/* Any octet is proof of life; the type exists to be no error. */

static void
ngx_astro_handle_pong(ngx_astro_req_t *req)
{
    (void) req;
}


void
ngx_astro_reply(ngx_astro_conn_t *conn, int64_t id, const u_char *payload,
    size_t len)
{
    u_char           *p;
    u_char            buf[64];
    ngx_astro_msg_t   m;

    if (id == 0) {
        return;
    }

    p = ngx_sprintf(buf, "{\"type\":\"reply\",\"id\":%L,\"payload\":", id);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_msg_add(&m, payload, len);
    ngx_astro_msg_lit(&m, "}");

    ngx_astro_conn_send(conn, &m, 0);
}


static u_char *
ngx_astro_reply_head(u_char *p, int64_t id)
{
    p = ngx_cpymem(p, "{\"type\":\"reply\",", 16);

    if (id) {
        p = ngx_sprintf(p, "\"id\":%L,", id);
    }

    return p;
}


void
ngx_astro_reply_error(ngx_astro_conn_t *conn, int64_t id,
    ngx_astro_error_e error, const char *message, const char *field)
{
    u_char                   *p;
    u_char                    buf[512];
    ngx_astro_msg_t           m;
    const ngx_astro_error_t  *e;

    e = &ngx_astro_errors[error];

    ngx_astro_count_of(ERRORS, error);

    p = ngx_astro_reply_head(buf, id);
    p = ngx_slprintf(p, buf + sizeof(buf),
                     "\"error\":{\"code\":\"%V\",\"message\":\"%s\","
                     "\"retry\":%s", &e->code, message,
                     e->retry ? "true" : "false");

    if (field) {
        p = ngx_slprintf(p, buf + sizeof(buf), ",\"field\":\"%s\"", field);
    }

    p = ngx_slprintf(p, buf + sizeof(buf), "}}");

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_send(conn, &m, 0);
}


void
ngx_astro_reply_sql_error(ngx_astro_conn_t *conn, int64_t id, ngx_str_t *body)
{
    u_char                     *p;
    u_char                      buf[128];
    ngx_astro_error_e           error;
    ngx_astro_msg_t             m;
    astro_json_doc_t            doc;
    const astro_json_member_t  *code;

    error = NGX_ASTRO_E_INTERNAL;

    if (astro_json_parse(ngx_astro.json, body->data, body->len, &doc) == 0) {
        code = astro_json_get(&doc.root, "code");

        if (code && code->raw_len > 2) {
            error = ngx_astro_error_parse(code->raw + 1, code->raw_len - 2);
        }
    }

    if (error == NGX_ASTRO_E_INTERNAL) {
        ngx_astro_reply_error(conn, id, error, "internal error", NULL);
        return;
    }

    if (ngx_astro_errors[error].status == 403
        || ngx_astro_errors[error].status == 404)
    {
        ngx_astro_count(DENIED);
    }

    ngx_astro_count_of(ERRORS, error);

    p = ngx_astro_reply_head(buf, id);
    p = ngx_sprintf(p, "\"error\":{\"retry\":%s,",
                    ngx_astro_errors[error].retry ? "true" : "false");

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_msg_add(&m, body->data + 1, body->len - 1);
    ngx_astro_msg_lit(&m, "}");

    ngx_astro_conn_send(conn, &m, 0);
}


void
ngx_astro_reply_refused(ngx_astro_conn_t *conn, int64_t id, PGresult *res)
{
    u_char                   *p;
    u_char                    message[256], field[128];
    ngx_astro_pg_refusal_t    refusal;

    ngx_astro_pg_refusal(res, &refusal);

    p = astro_json_escape(message, message + sizeof(message) - 1,
                          (u_char *) refusal.message,
                          ngx_strlen(refusal.message));
    *(p ? p : message) = '\0';

    p = refusal.field
        ? astro_json_escape(field, field + sizeof(field) - 1,
                            (u_char *) refusal.field,
                            ngx_strlen(refusal.field))
        : NULL;

    if (p) {
        *p = '\0';
    }

    if (ngx_astro_errors[refusal.error].status == 403
        || ngx_astro_errors[refusal.error].status == 404)
    {
        ngx_astro_count(DENIED);
    }

    ngx_astro_reply_error(conn, id, refusal.error, (char *) message,
                          p ? (char *) field : NULL);
}


uint64_t
ngx_astro_req_id(ngx_astro_req_t *req, const char *name, char kind)
{
    uint64_t                    id;
    char                        field[64], message[64];
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, name);

    id = m && m->kind == ASTRO_JSON_STRING && !m->escaped
         ? astro_id_parse(kind, m->raw + 1, m->raw_len - 2) : 0;

    if (id == 0) {
        ngx_astro_count(BAD_MESSAGE);
        *ngx_snprintf((u_char *) field, sizeof(field) - 1, "/payload/%s",
                      name) = '\0';
        *ngx_snprintf((u_char *) message, sizeof(message) - 1,
                      "%s is an id like %c_1", name, kind) = '\0';
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              message, field);
    }

    return id;
}


const astro_json_member_t *
ngx_astro_req_string(ngx_astro_req_t *req, const char *name, size_t max,
    ngx_uint_t required)
{
    char                        field[64], message[64];
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, name);

    if (m && m->kind == ASTRO_JSON_STRING && m->raw_len >= 2
        && m->raw_len - 2 <= max)
    {
        return m;
    }

    if (m == NULL && !required) {
        return NULL;
    }

    ngx_astro_count(BAD_MESSAGE);
    *ngx_snprintf((u_char *) field, sizeof(field) - 1, "/payload/%s", name) =
        '\0';
    *ngx_snprintf((u_char *) message, sizeof(message) - 1,
                  "%s is a string of at most %uz bytes", name, max) = '\0';
    ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                          message, field);

    return NULL;
}


ngx_astro_call_t *
ngx_astro_call_create(ngx_astro_conn_t *conn, int64_t id, uint64_t arg)
{
    ngx_astro_call_t  *call;

    call = ngx_alloc(sizeof(ngx_astro_call_t), ngx_astro.log);
    if (call == NULL) {
        return NULL;
    }

    call->conn = conn;
    call->id = id;
    call->arg = arg;
    call->gateway = ngx_astro_gateway_id();

    ngx_astro_conn_ref(conn);

    return call;
}


void
ngx_astro_call_free(ngx_astro_call_t *call)
{
    ngx_astro_conn_unref(call->conn);
    ngx_free(call);
}
