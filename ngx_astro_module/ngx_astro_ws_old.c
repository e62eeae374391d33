
/*
 * Copyright (C) The Astro authors
 *
 * What clients of old say.  They never join a session: whoever is connected
 * takes part in the live session of their user.  So a message about a session
 * waits until the join was answered, and a signal while it still rings waits
 * until it does not.
 */

#include "ngx_astro_hello.h"
#include "ngx_astro_outside.h"
#include "ngx_astro_told.h"
#include "ngx_astro_ws_old_private.h"

#include <openssl/rand.h>


#define NGX_ASTRO_OLD_HELD       64
#define NGX_ASTRO_OLD_HELD_SIZE  131072


typedef struct {
    ngx_queue_t                  link;
    unsigned                     asked:1;   /* a join was asked for it */
    size_t                       len;
    u_char                       text[1];
} ngx_astro_old_held_t;


static ngx_int_t ngx_astro_old_begin(ngx_astro_conn_t *conn,
    const astro_json_member_t *token);
static ngx_int_t ngx_astro_old_ours_after_all(ngx_astro_conn_t *conn);
static const ngx_astro_old_type_t *ngx_astro_old_type(astro_json_doc_t *doc);
static ngx_int_t ngx_astro_old_take(ngx_astro_ws_old_t *old,
    const ngx_astro_old_type_t *type, astro_json_doc_t *doc, u_char *text,
    size_t len, ngx_astro_old_held_t *held);
static ngx_int_t ngx_astro_old_hold(ngx_astro_ws_old_t *old, u_char *text,
    size_t len, ngx_uint_t asked);
static void ngx_astro_old_go_on(ngx_event_t *ev);
static void ngx_astro_old_greet(ngx_astro_ws_old_t *old);
static void ngx_astro_old_ask(ngx_astro_ws_old_t *old);


static const ngx_astro_old_type_t  ngx_astro_old_types[] = {

    { ngx_string("authenticate"), ngx_astro_old_auth,
      NGX_ASTRO_OLD_ONLY|NGX_ASTRO_OLD_AUTH },
    { ngx_string("auth"), ngx_astro_old_auth,
      NGX_ASTRO_OLD_ONLY|NGX_ASTRO_OLD_AUTH },

    { ngx_string("chat_message"), ngx_astro_old_chat, 0 },

    { ngx_string("signal_offer"), ngx_astro_old_sdp,
      NGX_ASTRO_OLD_SIGNAL },
    { ngx_string("signal_answer"), ngx_astro_old_sdp,
      NGX_ASTRO_OLD_SIGNAL },
    { ngx_string("signal_ice_candidate"), ngx_astro_old_candidate,
      NGX_ASTRO_OLD_SIGNAL },
    { ngx_string("signal_end"), ngx_astro_old_hang_up,
      NGX_ASTRO_OLD_SIGNAL },

    { ngx_string("signal_update"), ngx_astro_old_update,
      NGX_ASTRO_OLD_ONLY },
    { ngx_string("end_session"), ngx_astro_old_end,
      NGX_ASTRO_OLD_ONLY },

    { ngx_null_string, NULL, 0 }
};


ngx_int_t
ngx_astro_ws_old_heard(ngx_astro_conn_t *conn, u_char *text, size_t len)
{
    ngx_astro_msg_t              m;
    astro_json_doc_t             doc;
    const astro_json_member_t   *said;
    const ngx_astro_old_type_t  *type;

    if (conn->old == NULL
        && (conn->signed_in || conn->hello || conn->outside))
    {
        /* it has said hello: one of ours, whatever it offered */
        conn->bare = 0;
        return NGX_DECLINED;
    }

    if (ngx_astro_same(text, len, "ping")) {

        if (conn->old) {
            conn->old->silent = 0;
        }

        if (ngx_astro_limits_message(conn, NGX_ASTRO_L_OTHER, 0) == NGX_OK) {
            ngx_astro_msg_init(&m);
            ngx_astro_msg_lit(&m, "pong");
            ngx_astro_conn_send(conn, &m, 1);
        }

        return NGX_OK;
    }

    if (astro_json_parse(ngx_astro.json, text, len, &doc) != 0) {
        return NGX_DECLINED;
    }

    type = ngx_astro_old_type(&doc);

    if (type == NULL) {
        said = astro_json_get(&doc.root, "type");

        if (conn->old && conn->old->silent && said
            && ngx_astro_same(said->raw, said->raw_len, "\"hello\""))
        {
            return ngx_astro_old_ours_after_all(conn);
        }

        return NGX_DECLINED;
    }

    if (conn->old == NULL) {

        if (!(type->flags & NGX_ASTRO_OLD_ONLY) && conn->bearer.len == 0) {
            return NGX_DECLINED;
        }

        if (ngx_astro_old_begin(conn, type->flags & NGX_ASTRO_OLD_AUTH
                                      ? astro_json_get(&doc.payload, "token")
                                      : NULL)
            != NGX_OK)
        {
            return NGX_OK;
        }
    }

    conn->old->silent = 0;

    return ngx_astro_old_take(conn->old, type, &doc, text, len, NULL);
}


/*
 * NGX_DECLINED: nothing is left of who it was taken for, and its hello is the
 * first.  NGX_OK: what was asked for in its name is under way, and the answer
 * would be taken for one to the client; so it comes anew.
 */

static ngx_int_t
ngx_astro_old_ours_after_all(ngx_astro_conn_t *conn)
{
    ngx_uint_t  i, busy;

    busy = conn->old->joining;

    for (i = 0; i < conn->npos; i++) {
        busy |= conn->pos[i].fetching;
    }

    if (busy) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_RESYNC, "resync", "resume",
                           0);
        return NGX_OK;
    }

    ngx_astro_ws_old_free(conn);
    ngx_astro_hello_forget(conn);
    ngx_astro_outside_close(conn);
    ngx_astro_conn_leave(conn);
    ngx_astro_told_free(conn);

    conn->npos = 0;
    conn->missed = 0;
    conn->bare = 0;

    ngx_add_timer(conn->c->read, ngx_astro.conf->hello_timeout);

    return NGX_DECLINED;
}


ngx_int_t
ngx_astro_ws_old_silent(ngx_astro_conn_t *conn)
{
    if (!conn->bare || conn->old || conn->bearer.len == 0) {
        return NGX_DECLINED;
    }

    ngx_add_timer(conn->c->read, ngx_astro.conf->hello_timeout);

    if (ngx_astro_old_begin(conn, NULL) == NGX_OK) {
        conn->old->silent = 1;
    }

    return NGX_OK;
}


ngx_msec_t
ngx_astro_ws_old_wait(ngx_astro_conn_t *conn)
{
    ngx_msec_t  ms;

    ms = ngx_astro.conf->hello_timeout;

    return conn->bare && conn->bearer.len ? ngx_min(ms, NGX_ASTRO_OLD_WAIT_MS)
                                          : ms;
}


void
ngx_astro_ws_old_free(ngx_astro_conn_t *conn)
{
    ngx_queue_t         *q;
    ngx_astro_ws_old_t  *old;

    old = conn->old;

    if (old == NULL) {
        return;
    }

    conn->old = NULL;

    if (old->event.posted) {
        ngx_delete_posted_event(&old->event);
    }

    while (!ngx_queue_empty(&old->held)) {
        q = ngx_queue_head(&old->held);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_astro_old_held_t, link));
    }

    ngx_free(old);
}


void
ngx_astro_ws_old_mark(ngx_astro_ws_old_t *old, u_char *cid)
{
    /* version 4: 60 bits are ours to choose */

    (void) ngx_sprintf(cid, "%08xL-%04xL-4%03xL",
                       old->mark & 0xffffffff, (old->mark >> 32) & 0xffff,
                       (old->mark >> 48) & 0xfff);
}


void
ngx_astro_ws_old_post(ngx_astro_ws_old_t *old)
{
    if (!old->event.posted) {
        ngx_post_event(&old->event, &ngx_posted_events);
    }
}


/* Says hello in its place. */

static ngx_int_t
ngx_astro_old_begin(ngx_astro_conn_t *conn, const astro_json_member_t *token)
{
    u_char              *p, *text;
    size_t               len;
    ngx_astro_ws_old_t  *old;

    len = token && token->kind == ASTRO_JSON_STRING ? token->raw_len : 0;

    old = ngx_calloc(sizeof(ngx_astro_ws_old_t), ngx_astro.log);
    text = ngx_alloc(len + 96, ngx_astro.log);

    if (old == NULL || text == NULL
        || RAND_bytes((u_char *) &old->mark, sizeof(uint64_t)) != 1)
    {
        ngx_free(old);
        ngx_free(text);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "no memory",
                           "resume", 0);
        return NGX_ERROR;
    }

    old->conn = conn;
    old->event.handler = ngx_astro_old_go_on;
    old->event.log = ngx_astro.log;
    old->event.data = old;
    ngx_queue_init(&old->held);

    conn->old = old;

    p = ngx_sprintf(text, "{\"type\":\"hello\",\"id\":%L,\"payload\":{",
                    NGX_ASTRO_OLD_HELLO);

    if (len) {
        p = ngx_cpymem(p, "\"token\":", 8);
        p = ngx_cpymem(p, token->raw, len);
    }

    p = ngx_cpymem(p, "}}", 2);

    ngx_astro_protocol_message(conn, text, p - text);

    ngx_explicit_memzero(text, p - text);
    ngx_free(text);

    return NGX_OK;
}


static const ngx_astro_old_type_t *
ngx_astro_old_type(astro_json_doc_t *doc)
{
    const astro_json_member_t   *m;
    const ngx_astro_old_type_t  *t;

    m = astro_json_get(&doc->root, "type");

    if (m == NULL || m->kind != ASTRO_JSON_STRING || m->escaped) {
        return NULL;
    }

    for (t = ngx_astro_old_types; t->name.len; t++) {

        if (t->name.len == m->raw_len - 2
            && ngx_memcmp(t->name.data, m->raw + 1, t->name.len) == 0)
        {
            break;
        }
    }

    if (t->name.len == 0) {
        return NULL;
    }

    /* they may speak as we do */

    return (astro_json_get(&doc->payload, "session")
            || astro_json_get(&doc->payload, "conv")) ? NULL : t;
}


/*
 * Handles it, or keeps it until it can be.  NGX_AGAIN, of one that was held: it
 * still has to wait.
 */

static ngx_int_t
ngx_astro_old_take(ngx_astro_ws_old_t *old, const ngx_astro_old_type_t *type,
    astro_json_doc_t *doc, u_char *text, size_t len,
    ngx_astro_old_held_t *held)
{
    ngx_uint_t                state, asked;
    ngx_astro_old_in_t        in;
    ngx_astro_old_session_t  *s;

    in.conn = old->conn;
    in.old = old;
    in.type = type;
    in.payload = &doc->payload;
    in.session = 0;

    if (type->flags & NGX_ASTRO_OLD_AUTH) {
        type->handler(&in);
        return NGX_OK;
    }

    asked = held && held->asked;

    if (!old->conn->signed_in || old->joining
        || (held == NULL && old->nheld && old->event.posted))
    {
        return held ? NGX_AGAIN : ngx_astro_old_hold(old, text, len, 0);
    }

    if (ngx_astro_old_id(&in, "sessionId", 's', &in.session) != NGX_OK) {
        return NGX_OK;
    }

    s = &old->session;

    if (in.session && in.session == s->id) {
        state = astro_session_bit(s->state);

        if ((state & astro_session_rule(ASTRO_SESSION_JOIN)->from)
            && ngx_astro_sessions_joined(old->conn, s->id) == NULL && !asked)
        {
            old->join = 1;
            ngx_astro_ws_old_post(old);

            if (held) {
                held->asked = 1;
                return NGX_AGAIN;
            }

            return ngx_astro_old_hold(old, text, len, 1);
        }

        /* an invitation is about the ringing itself */

        if ((type->flags & NGX_ASTRO_OLD_SIGNAL)
            && (state & NGX_ASTRO_OLD_RINGS)
            && ngx_astro_old_signal(&in, NULL) == NGX_OK)
        {
            return held ? NGX_AGAIN : ngx_astro_old_hold(old, text, len, 0);
        }
    }

    type->handler(&in);

    return NGX_OK;
}


static ngx_int_t
ngx_astro_old_hold(ngx_astro_ws_old_t *old, u_char *text, size_t len,
    ngx_uint_t asked)
{
    ngx_astro_old_held_t  *held;

    held = NULL;

    if (old->nheld < NGX_ASTRO_OLD_HELD
        && old->held_size + len <= NGX_ASTRO_OLD_HELD_SIZE)
    {
        held = ngx_alloc(sizeof(ngx_astro_old_held_t) + len, ngx_astro.log);
    }

    if (held == NULL) {
        if (ngx_astro_limits_message(old->conn, NGX_ASTRO_L_OTHER, 0)
            == NGX_OK)
        {
            ngx_astro_reply_error(old->conn, 0, NGX_ASTRO_E_RATE_LIMITED,
                                  "too much waits for the session", NULL);
        }

        return NGX_OK;
    }

    held->asked = asked;
    held->len = len;
    ngx_memcpy(held->text, text, len);

    ngx_queue_insert_tail(&old->held, &held->link);
    old->nheld++;
    old->held_size += len;

    return NGX_OK;
}


/* Something that was waited for has come: hello's answer, a join's, news. */

static void
ngx_astro_old_go_on(ngx_event_t *ev)
{
    ngx_int_t              rc;
    ngx_uint_t             n;
    ngx_queue_t           *q;
    astro_json_doc_t       doc;
    ngx_astro_conn_t      *conn;
    ngx_astro_ws_old_t    *old;
    ngx_astro_old_held_t  *held;

    old = ev->data;
    conn = old->conn;

    if (!ngx_astro_conn_open(conn) || !conn->signed_in) {
        return;
    }

    ngx_astro_old_greet(old);
    ngx_astro_old_ask(old);

    /* each once: those that must wait go to the end, in their order */

    for (n = old->nheld; n && ngx_astro_conn_open(conn); n--) {

        q = ngx_queue_head(&old->held);
        held = ngx_queue_data(q, ngx_astro_old_held_t, link);
        ngx_queue_remove(q);

        /* was parsed when it came */

        rc = astro_json_parse(ngx_astro.json, held->text, held->len, &doc)
             ? NGX_OK
             : ngx_astro_old_take(old, ngx_astro_old_type(&doc), &doc,
                                  held->text, held->len, held);

        if (rc == NGX_AGAIN) {
            ngx_queue_insert_tail(&old->held, q);
            continue;
        }

        old->nheld--;
        old->held_size -= held->len;
        ngx_free(held);
    }
}


static void
ngx_astro_old_greet(ngx_astro_ws_old_t *old)
{
    u_char            *p;
    u_char             buf[96];
    ngx_astro_msg_t    m;
    ngx_astro_conn_t  *conn;

    if (!old->greet) {
        return;
    }

    old->greet = 0;
    conn = old->conn;

    if (old->claimed && old->claimed != conn->user) {
        /* who one is the token says; the page believes something else */

        ngx_astro_count(DENIED);
        ngx_astro_reply_error(conn, 0, NGX_ASTRO_E_FORBIDDEN,
                              "you are signed in as somebody else",
                              "/payload/userId");
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_FORBIDDEN, "another user",
                           "stop", 0);
        return;
    }

    p = ngx_sprintf(buf, old->numbers
                         ? "{\"type\":\"auth_success\",\"payload\":"
                           "{\"userId\":%uL}}"
                         : "{\"type\":\"auth_success\",\"payload\":"
                           "{\"userId\":\"u_%uL\"}}", conn->user);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_send(conn, &m, 0);
}


static void
ngx_astro_old_ask(ngx_astro_ws_old_t *old)
{
    if (!old->join || old->joining) {
        return;
    }

    old->join = 0;

    if (ngx_astro_sessions_joined(old->conn, old->session.id)) {
        return;
    }

    /* a failure at once is a reply, too */

    old->joining = 1;
    ngx_astro_sessions_join(old->conn, old->session.id, NGX_ASTRO_OLD_JOIN);
}
