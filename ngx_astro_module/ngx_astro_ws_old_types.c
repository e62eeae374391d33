
/*
 * Copyright (C) The Astro authors
 *
 * What each type of the clients of old becomes: one of our messages, which goes
 * through ngx_astro_protocol_message() as if it had come so.
 */

#include "ngx_astro_told.h"
#include "ngx_astro_ws_old_private.h"

#include <openssl/rand.h>


static ngx_int_t ngx_astro_old_peer(ngx_astro_old_in_t *in, const char *name,
    uint64_t *peer);
static void ngx_astro_old_ours(ngx_astro_old_in_t *in, ngx_str_t type,
    uint64_t session);
static void ngx_astro_old_core(ngx_astro_old_in_t *in);
static void ngx_astro_old_wrong(ngx_astro_old_in_t *in, const char *message,
    const char *field);
static void ngx_astro_old_invite(ngx_astro_old_in_t *in,
    const astro_json_member_t *service);
static void ngx_astro_old_mode(ngx_astro_old_in_t *in,
    const astro_json_member_t *service);


/* reading */

ngx_int_t
ngx_astro_old_id(ngx_astro_old_in_t *in, const char *name, char kind,
    uint64_t *id)
{
    int64_t                     n;
    u_char                     *p;
    char                        field[64];
    const astro_json_member_t  *m;

    *id = 0;
    m = astro_json_get(in->payload, name);

    if (m == NULL || m->kind == ASTRO_JSON_NULL) {
        return NGX_OK;
    }

    if (astro_json_int(m, 0, ASTRO_ID_TOP, &n) == 0) {
        in->old->numbers = n != 0 || in->old->numbers;
        *id = n;
        return NGX_OK;
    }

    if (m->kind == ASTRO_JSON_STRING && !m->escaped) {
        *id = astro_id_parse(kind, m->raw + 1, m->raw_len - 2);

        if (*id) {
            in->old->numbers = 0;
            return NGX_OK;
        }
    }

    p = ngx_snprintf((u_char *) field, sizeof(field) - 1, "/payload/%s", name);
    *p = '\0';

    ngx_astro_old_wrong(in, "an id, as the server gave it", field);

    return NGX_ERROR;
}


/*
 * Who the message is for is the other party, if it says so and we know.
 * NGX_ERROR: it is somebody else, and the client was told.
 */

static ngx_int_t
ngx_astro_old_peer(ngx_astro_old_in_t *in, const char *name, uint64_t *peer)
{
    u_char                   *p;
    uint64_t                  id, other;
    char                      field[64];
    ngx_astro_old_session_t  *s;

    if (ngx_astro_old_id(in, name, 'u', &id) != NGX_OK) {
        return NGX_ERROR;
    }

    s = &in->old->session;
    *peer = id;

    if (in->session == 0 || in->session != s->id) {
        return NGX_OK;
    }

    other = in->conn->user == s->client ? s->advisor : s->client;

    if (id == 0 || id == other) {
        return NGX_OK;
    }

    p = ngx_snprintf((u_char *) field, sizeof(field) - 1, "/payload/%s", name);
    *p = '\0';

    ngx_astro_count(DENIED);

    if (ngx_astro_limits_message(in->conn, NGX_ASTRO_L_OTHER, 0) == NGX_OK) {
        ngx_astro_reply_error(in->conn, 0, NGX_ASTRO_E_NOT_PARTICIPANT,
                              "is not the other party of the session", field);
    }

    return NGX_ERROR;
}


static void
ngx_astro_old_wrong(ngx_astro_old_in_t *in, const char *message,
    const char *field)
{
    ngx_astro_count(BAD_MESSAGE);

    if (ngx_astro_limits_message(in->conn, NGX_ASTRO_L_OTHER, 0) == NGX_OK) {
        ngx_astro_reply_error(in->conn, 0, NGX_ASTRO_E_BAD_REQUEST, message,
                              field);
    }
}


/* making ours */

static void
ngx_astro_old_ours(ngx_astro_old_in_t *in, ngx_str_t type, uint64_t session)
{
    u_char  *p;

    p = ngx_snprintf(in->buf, sizeof(in->buf),
                     "{\"type\":\"%V\",\"payload\":{\"session\":\"s_%uL\"",
                     &type, session);

    ngx_astro_msg_init(&in->m);
    ngx_astro_msg_add(&in->m, in->buf, p - in->buf);
}


static void
ngx_astro_old_core(ngx_astro_old_in_t *in)
{
    u_char  *p, *text;

    ngx_astro_msg_lit(&in->m, "}}");

    text = ngx_alloc(in->m.len, ngx_astro.log);

    if (text == NULL) {
        ngx_astro_reply_error(in->conn, 0, NGX_ASTRO_E_INTERNAL, "no memory",
                              NULL);
        return;
    }

    p = ngx_astro_msg_copy(text, &in->m);
    ngx_astro_protocol_message(in->conn, text, p - text);

    ngx_free(text);
}


/* their types */

/* It was signed in by its token; this is answered, and checked. */

void
ngx_astro_old_auth(ngx_astro_old_in_t *in)
{
    if (ngx_astro_limits_message(in->conn, NGX_ASTRO_L_OTHER, 0) != NGX_OK
        || ngx_astro_old_id(in, "userId", 'u', &in->old->claimed) != NGX_OK)
    {
        return;
    }

    in->old->greet = 1;
    ngx_astro_ws_old_post(in->old);
}


void
ngx_astro_old_chat(ngx_astro_old_in_t *in)
{
    u_char                     *p;
    uint64_t                    conv, more, peer;
    ngx_astro_join_t           *j;
    ngx_astro_told_t           *told;
    const astro_json_member_t  *text;

    if (ngx_astro_old_peer(in, "recipientId", &peer) != NGX_OK) {
        return;
    }

    j = ngx_astro_sessions_joined(in->conn, in->session);
    told = ngx_astro_told_find(in->conn, in->session);

    conv = j ? j->session->conv
           : in->session && in->session == in->old->session.id
           ? in->old->session.conv : told ? told->conv : 0;

    if (conv == 0) {
        ngx_astro_old_wrong(in, "sessionId is a session of yours",
                            "/payload/sessionId");
        return;
    }

    text = astro_json_get(in->payload, "content");

    if (text == NULL || text->kind != ASTRO_JSON_STRING) {
        ngx_astro_old_wrong(in, "content is a string", "/payload/content");
        return;
    }

    if (RAND_bytes((u_char *) &more, sizeof(uint64_t)) != 1) {
        ngx_astro_reply_error(in->conn, 0, NGX_ASTRO_E_INTERNAL, "no cid",
                              NULL);
        return;
    }

    p = ngx_sprintf(in->buf, "{\"type\":\"chat_message\",\"payload\":"
                    "{\"conv\":\"c_%uL\",\"cid\":\"", conv);
    ngx_astro_ws_old_mark(in->old, p);
    p = ngx_sprintf(p + 18, "-a%03xL-%012xL\",\"text\":", more >> 52,
                    more & 0xffffffffffff);

    ngx_astro_msg_init(&in->m);
    ngx_astro_msg_add(&in->m, in->buf, p - in->buf);
    ngx_astro_msg_add(&in->m, text->raw, text->raw_len);
    ngx_astro_old_core(in);
}


ngx_int_t
ngx_astro_old_signal(ngx_astro_old_in_t *in, astro_json_doc_t *signal)
{
    astro_json_doc_t            doc;
    const astro_json_member_t  *m;

    m = astro_json_get(in->payload, "signal");

    if (m && m->kind == ASTRO_JSON_OBJECT
        && astro_json_parse(ngx_astro.json, m->raw, m->raw_len,
                            signal ? signal : &doc)
           == 0)
    {
        if (signal) {
            return NGX_OK;
        }

        m = astro_json_get(&doc.root, "sdp");

        if (m == NULL) {
            m = astro_json_get(&doc.root, "candidate");
        }

        return m && m->kind != ASTRO_JSON_NULL ? NGX_OK : NGX_DECLINED;
    }

    if (signal) {
        ngx_astro_old_wrong(in, "signal is an object", "/payload/signal");
    }

    return NGX_DECLINED;
}


/*
 * signal.sdp is what createOffer() gave, {type, sdp}, or the text alone; an
 * offer without one asks for a call.
 */

void
ngx_astro_old_sdp(ngx_astro_old_in_t *in)
{
    uint64_t                    peer;
    ngx_uint_t                  plain;
    astro_json_doc_t            signal, inner;
    const astro_json_member_t  *sdp, *service;

    if (ngx_astro_old_signal(in, &signal) != NGX_OK) {
        return;
    }

    sdp = astro_json_get(&signal.root, "sdp");
    service = astro_json_get(&signal.root, "type");
    plain = sdp && sdp->kind == ASTRO_JSON_STRING;

    if ((sdp == NULL || sdp->kind == ASTRO_JSON_NULL)
        && ngx_astro_same(in->type->name.data, in->type->name.len,
                          "signal_offer"))
    {
        ngx_astro_old_invite(in, service);
        return;
    }

    if (sdp && sdp->kind == ASTRO_JSON_OBJECT
        && astro_json_parse(ngx_astro.json, sdp->raw, sdp->raw_len, &inner)
           == 0)
    {
        sdp = astro_json_get(&inner.root, "sdp");
    }

    if (sdp == NULL || sdp->kind != ASTRO_JSON_STRING) {
        ngx_astro_old_wrong(in, "sdp is a description, or its text",
                            "/payload/signal/sdp");
        return;
    }

    if (ngx_astro_old_peer(in, "target", &peer) != NGX_OK) {
        return;
    }

    ngx_astro_old_ours(in, in->type->name, in->session);
    ngx_astro_msg_lit(&in->m, ",\"sdp\":");
    ngx_astro_msg_add(&in->m, sdp->raw, sdp->raw_len);

    if (plain) {
        ngx_astro_msg_lit(&in->m, ",\"plain\":true");
    }

    if (service && service->kind == ASTRO_JSON_STRING
        && service->raw_len < 34)
    {
        ngx_astro_msg_lit(&in->m, ",\"kind\":");
        ngx_astro_msg_add(&in->m, service->raw, service->raw_len);
    }

    ngx_astro_old_core(in);
}


void
ngx_astro_old_candidate(ngx_astro_old_in_t *in)
{
    uint64_t                    peer;
    astro_json_doc_t            signal;
    const astro_json_member_t  *m;

    if (ngx_astro_old_signal(in, &signal) != NGX_OK
        || ngx_astro_old_peer(in, "target", &peer) != NGX_OK)
    {
        return;
    }

    ngx_astro_old_ours(in, in->type->name, in->session);
    m = astro_json_get(&signal.root, "candidate");

    if (m) {
        ngx_astro_msg_lit(&in->m, ",\"candidate\":");
        ngx_astro_msg_add(&in->m, m->raw, m->raw_len);
    }

    ngx_astro_old_core(in);
}


void
ngx_astro_old_hang_up(ngx_astro_old_in_t *in)
{
    uint64_t  peer;

    if (ngx_astro_old_peer(in, "target", &peer) != NGX_OK) {
        return;
    }

    ngx_astro_old_ours(in, in->type->name, in->session);
    ngx_astro_old_core(in);
}


void
ngx_astro_old_update(ngx_astro_old_in_t *in)
{
    uint64_t          peer;
    astro_json_doc_t  signal;

    if (ngx_astro_old_signal(in, &signal) == NGX_OK
        && ngx_astro_old_peer(in, "target", &peer) == NGX_OK)
    {
        ngx_astro_old_mode(in, astro_json_get(&signal.root, "type"));
    }
}


void
ngx_astro_old_end(ngx_astro_old_in_t *in)
{
    uint64_t   peer;
    ngx_str_t  ours = ngx_string("session_end");

    if (ngx_astro_old_peer(in, "participantId", &peer) != NGX_OK) {
        return;
    }

    ngx_astro_old_ours(in, ours, in->session);
    ngx_astro_old_core(in);
}


/*
 * No session: one is started.  One that rings: its advisor accepts it.  One
 * that is there: its service changes, if it is another.
 */

static void
ngx_astro_old_invite(ngx_astro_old_in_t *in,
    const astro_json_member_t *service)
{
    u_char                   *p;
    uint64_t                  peer, more;
    ngx_str_t                 accept = ngx_string("session_accept");
    ngx_astro_old_session_t  *s;

    s = &in->old->session;

    if (ngx_astro_old_peer(in, "target", &peer) != NGX_OK) {
        return;
    }

    if (in->session && in->session == s->id
        && (astro_session_bit(s->state) & NGX_ASTRO_OLD_RINGS))
    {
        if (in->conn->user == s->advisor) {
            ngx_astro_old_ours(in, accept, in->session);
            ngx_astro_old_core(in);
            return;
        }

        (void) ngx_astro_limits_message(in->conn, NGX_ASTRO_L_SIGNAL, 0);
        return;
    }

    if (in->session) {
        ngx_astro_old_mode(in, service);
        return;
    }

    if (peer == 0) {
        ngx_astro_old_wrong(in, "target is an advisor", "/payload/target");
        return;
    }

    if (service == NULL || service->kind != ASTRO_JSON_STRING) {
        ngx_astro_old_wrong(in, "type is audio or video",
                            "/payload/signal/type");
        return;
    }

    if (RAND_bytes((u_char *) &more, sizeof(uint64_t)) != 1) {
        ngx_astro_reply_error(in->conn, 0, NGX_ASTRO_E_INTERNAL, "no cid",
                              NULL);
        return;
    }

    p = ngx_sprintf(in->buf, "{\"type\":\"session_start\",\"payload\":"
                    "{\"advisor\":\"u_%uL\",\"cid\":\"", peer);
    ngx_astro_ws_old_mark(in->old, p);
    p = ngx_sprintf(p + 18, "-a%03xL-%012xL\",\"service\":", more >> 52,
                    more & 0xffffffffffff);

    ngx_astro_msg_init(&in->m);
    ngx_astro_msg_add(&in->m, in->buf, p - in->buf);
    ngx_astro_msg_add(&in->m, service->raw, service->raw_len);
    ngx_astro_old_core(in);
}


static void
ngx_astro_old_mode(ngx_astro_old_in_t *in, const astro_json_member_t *service)
{
    size_t                    len;
    ngx_str_t                 mode = ngx_string("session_mode");
    ngx_astro_old_session_t  *s;

    s = &in->old->session;

    if (service == NULL || service->kind != ASTRO_JSON_STRING) {
        ngx_astro_old_wrong(in, "type is audio or video",
                            "/payload/signal/type");
        return;
    }

    len = ngx_strlen(s->service);

    if (in->session == s->id && len && service->raw_len - 2 == len
        && ngx_memcmp(service->raw + 1, s->service, len) == 0)
    {
        (void) ngx_astro_limits_message(in->conn, NGX_ASTRO_L_SIGNAL, 0);
        return;
    }

    ngx_astro_old_ours(in, mode, in->session);
    ngx_astro_msg_lit(&in->m, ",\"service\":");
    ngx_astro_msg_add(&in->m, service->raw, service->raw_len);
    ngx_astro_old_core(in);
}
