
/*
 * Copyright (C) The Astro authors
 *
 * What clients of old are sent: our messages in their words.  What is not in
 * the table goes out as it is, and they overlook it.
 */

#include "ngx_astro_out.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_told.h"
#include "ngx_astro_ws_old.h"


/* A message of ours; valid until its handler returns. */
typedef struct {
    ngx_astro_conn_t         *conn;
    ngx_astro_ws_old_t       *old;
    astro_json_doc_t         *doc;
    ngx_str_t                 type;
    ngx_astro_msg_t           m;        /* theirs, as it is made */
} ngx_astro_old_out_t;

/* NGX_OK: m is sent; NGX_DONE: nothing is; NGX_DECLINED: ours is. */
typedef ngx_int_t (*ngx_astro_old_out_pt)(ngx_astro_old_out_t *out);

typedef struct {
    ngx_str_t                 name;
    ngx_astro_old_out_pt      handler;
} ngx_astro_old_said_t;

typedef struct {
    ngx_str_t                 ours;
    ngx_str_t                 theirs;
} ngx_astro_old_field_t;


static const ngx_astro_old_said_t *ngx_astro_old_said(
    const ngx_astro_msg_t *m);
static ngx_int_t ngx_astro_old_out_reply(ngx_astro_old_out_t *out);
static ngx_int_t ngx_astro_old_out_ping(ngx_astro_old_out_t *out);
static ngx_int_t ngx_astro_old_out_chat(ngx_astro_old_out_t *out);
static ngx_int_t ngx_astro_old_out_signal(ngx_astro_old_out_t *out);
static ngx_int_t ngx_astro_old_out_session(ngx_astro_old_out_t *out);
static uint64_t ngx_astro_old_number(const astro_json_object_t *o,
    const char *name, char kind);
static uint64_t ngx_astro_old_session(ngx_astro_old_out_t *out, uint64_t conv);
static u_char *ngx_astro_old_out_id(ngx_astro_old_out_t *out, u_char *p,
    char kind, uint64_t id);


static const ngx_astro_old_said_t  ngx_astro_old_saids[] = {
    { ngx_string("reply"), ngx_astro_old_out_reply },
    { ngx_string("ping"), ngx_astro_old_out_ping },
    { ngx_string("chat_message"), ngx_astro_old_out_chat },
    { ngx_string("signal_offer"), ngx_astro_old_out_signal },
    { ngx_string("signal_answer"), ngx_astro_old_out_signal },
    { ngx_string("signal_ice_candidate"), ngx_astro_old_out_signal },
    { ngx_string("signal_end"), ngx_astro_old_out_signal },
    { ngx_string("session_update"), ngx_astro_old_out_session },
    { ngx_null_string, NULL }
};


/* What is at fault in our message was this in theirs. */

static const ngx_astro_old_field_t  ngx_astro_old_fields[] = {
    { ngx_string("\"/payload/session\""),
      ngx_string("\"/payload/sessionId\"") },
    { ngx_string("\"/session\""), ngx_string("\"/payload/sessionId\"") },
    { ngx_string("\"/payload/conv\""), ngx_string("\"/payload/sessionId\"") },
    { ngx_string("\"/payload/text\""), ngx_string("\"/payload/content\"") },
    { ngx_string("\"/payload/sdp\""), ngx_string("\"/payload/signal/sdp\"") },
    { ngx_string("\"/payload/service\""),
      ngx_string("\"/payload/signal/type\"") },
    { ngx_string("\"/service\""), ngx_string("\"/payload/signal/type\"") },
    { ngx_string("\"/confirm_rate\""),
      ngx_string("\"/payload/signal/type\"") },
    { ngx_string("\"/payload/advisor\""), ngx_string("\"/payload/target\"") },
    { ngx_string("\"/advisor\""), ngx_string("\"/payload/target\"") },
    { ngx_null_string, ngx_null_string }
};


ngx_int_t
ngx_astro_ws_old_send(ngx_astro_conn_t *conn, const ngx_astro_msg_t *m,
    ngx_uint_t ephemeral)
{
    u_char                      *text;
    ngx_int_t                    rc;
    astro_json_doc_t             doc;
    ngx_astro_old_out_t          out;
    const ngx_astro_old_said_t  *said;

    said = ngx_astro_old_said(m);

    if (said == NULL) {
        return NGX_DECLINED;
    }

    text = ngx_alloc(m->len, ngx_astro.log);

    if (text == NULL) {
        conn->broken = 1;
        ngx_astro_conn_post(conn);
        return NGX_OK;
    }

    (void) ngx_astro_msg_copy(text, m);

    out.conn = conn;
    out.old = conn->old;
    out.doc = &doc;
    out.type = said->name;
    ngx_astro_msg_init(&out.m);

    rc = NGX_DECLINED;

    if (astro_json_parse(ngx_astro.json, text, m->len, &doc) == 0) {
        rc = said->handler(&out);
    }

    if (rc == NGX_OK) {
        ngx_astro_conn_queue(conn, ASTRO_WS_TEXT, &out.m, ephemeral);
    }

    ngx_free(text);

    return rc == NGX_DECLINED ? NGX_DECLINED : NGX_OK;
}


/* The type stands first in whatever the server says. */

static const ngx_astro_old_said_t *
ngx_astro_old_said(const ngx_astro_msg_t *m)
{
    u_char                      *p;
    size_t                       n, len;
    ngx_uint_t                   i;
    u_char                       head[48];
    const ngx_astro_old_said_t  *said;

    n = 0;

    for (i = 0; i < m->n && n < sizeof(head); i++) {
        len = ngx_min(m->part[i].len, sizeof(head) - n);
        ngx_memcpy(head + n, m->part[i].data, len);
        n += len;
    }

    if (n < 10 || ngx_memcmp(head, "{\"type\":\"", 9) != 0) {
        return NULL;
    }

    p = ngx_strlchr(head + 9, head + n, '"');

    if (p == NULL) {
        return NULL;
    }

    len = p - head - 9;

    for (said = ngx_astro_old_saids; said->name.len; said++) {

        if (said->name.len == len
            && ngx_memcmp(said->name.data, head + 9, len) == 0)
        {
            return said;
        }
    }

    return NULL;
}


/*
 * Their requests have no id, so what there is a reply to is ours: a hello or a
 * join.  Success says nothing; a refusal becomes their error, except that of a
 * join, which they did not ask for.
 */

static ngx_int_t
ngx_astro_old_out_reply(ngx_astro_old_out_t *out)
{
    size_t                        before;
    int64_t                       id;
    u_char                       *p;
    astro_json_doc_t              doc;
    ngx_astro_ws_old_t           *old;
    const astro_json_member_t    *m, *error, *field;
    const ngx_astro_old_field_t  *f;

    old = out->old;
    error = astro_json_get(&out->doc->root, "error");
    m = astro_json_get(&out->doc->root, "id");

    if (m && astro_json_int(m, 1, INT64_MAX, &id) == 0) {

        if (id == NGX_ASTRO_OLD_JOIN) {
            old->joining = 0;
            ngx_astro_ws_old_post(old);
            return NGX_DONE;
        }

        if (id != NGX_ASTRO_OLD_HELLO) {
            /* it speaks as we do, for once */
            return NGX_DECLINED;
        }

        ngx_astro_ws_old_post(old);
    }

    if (error == NULL) {
        return NGX_DONE;
    }

    ngx_astro_msg_lit(&out->m, "{\"type\":\"error\",\"payload\":");

    field = astro_json_parse(ngx_astro.json, error->raw, error->raw_len, &doc)
            == 0 ? astro_json_get(&doc.root, "field") : NULL;

    for (f = ngx_astro_old_fields; field && f->ours.len; f++) {

        if (f->ours.len == field->raw_len
            && ngx_memcmp(f->ours.data, field->raw, field->raw_len) == 0)
        {
            before = field->raw - error->raw;
            p = (u_char *) field->raw + field->raw_len;

            ngx_astro_msg_add(&out->m, error->raw, before);
            ngx_astro_msg_add(&out->m, f->theirs.data, f->theirs.len);
            ngx_astro_msg_add(&out->m, p,
                              error->raw_len - before - field->raw_len);
            ngx_astro_msg_lit(&out->m, "}");

            return NGX_OK;
        }
    }

    ngx_astro_msg_add(&out->m, error->raw, error->raw_len);
    ngx_astro_msg_lit(&out->m, "}");

    return NGX_OK;
}


static ngx_int_t
ngx_astro_old_out_ping(ngx_astro_old_out_t *out)
{
    ngx_astro_msg_lit(&out->m, "{\"type\":\"ping\",\"payload\":{}}");

    return NGX_OK;
}


/* A page shows at once what it says, so it is not told of that again. */

static ngx_int_t
ngx_astro_old_out_chat(ngx_astro_old_out_t *out)
{
    int64_t                     ts;
    uint64_t                    from, conv;
    ngx_tm_t                    tm;
    u_char                     *p;
    astro_json_object_t        *payload;
    const astro_json_member_t  *m, *text;
    u_char                      mark[19];
    static u_char               buf[256], tail[64];

    payload = &out->doc->payload;
    from = ngx_astro_old_number(payload, "from", 'u');
    conv = ngx_astro_old_number(&out->doc->root, "conv", 'c');
    text = astro_json_get(payload, "text");
    m = astro_json_get(payload, "cid");

    if (text == NULL || text->kind != ASTRO_JSON_STRING) {
        /* deleted */
        return NGX_DONE;
    }

    ngx_astro_ws_old_mark(out->old, mark);

    if (from == out->conn->user && m && m->raw_len == 38
        && ngx_strncasecmp((u_char *) m->raw + 1, mark, 18) == 0)
    {
        return NGX_DONE;
    }

    m = astro_json_get(&out->doc->root, "ts");

    if (m == NULL || astro_json_int(m, 0, INT64_MAX, &ts) != 0) {
        ts = 0;
    }

    p = ngx_cpymem(buf, "{\"type\":\"chat_message\",\"payload\":"
                   "{\"senderId\":", 45);
    p = ngx_astro_old_out_id(out, p, 'u', from);
    p = ngx_cpymem(p, ",\"sessionId\":", 13);
    p = ngx_astro_old_out_id(out, p, 's', ngx_astro_old_session(out, conv));
    p = ngx_cpymem(p, ",\"content\":", 11);

    ngx_astro_msg_add(&out->m, buf, p - buf);
    ngx_astro_msg_add(&out->m, text->raw, text->raw_len);

    /* as JSON has a Date */

    ngx_gmtime(ts / 1000, &tm);
    p = ngx_sprintf(tail, ",\"timestamp\":\"%4d-%02d-%02dT%02d:%02d:%02d.%03LZ"
                    "\"}}", tm.ngx_tm_year, tm.ngx_tm_mon, tm.ngx_tm_mday,
                    tm.ngx_tm_hour, tm.ngx_tm_min, tm.ngx_tm_sec, ts % 1000);

    ngx_astro_msg_add(&out->m, tail, p - tail);

    return NGX_OK;
}


/* "from" is the server's, as in ours; what the payload says of it is not. */

static ngx_int_t
ngx_astro_old_out_signal(ngx_astro_old_out_t *out)
{
    u_char                     *p;
    ngx_uint_t                  plain;
    astro_json_object_t        *payload;
    const astro_json_member_t  *m;
    static u_char               buf[192];

    payload = &out->doc->payload;

    p = ngx_sprintf(buf, "{\"type\":\"%V\",\"payload\":{\"from\":", &out->type);
    p = ngx_astro_old_out_id(out, p, 'u',
                             ngx_astro_old_number(&out->doc->root, "from",
                                                  'u'));
    p = ngx_cpymem(p, ",\"sessionId\":", 13);
    p = ngx_astro_old_out_id(out, p, 's',
                             ngx_astro_old_number(payload, "session", 's'));

    ngx_astro_msg_add(&out->m, buf, p - buf);

    m = astro_json_get(payload, "sdp");

    if (m && m->kind == ASTRO_JSON_STRING) {
        plain = astro_json_get(payload, "plain") != NULL;

        ngx_astro_msg_lit(&out->m, ",\"signal\":{\"sdp\":");

        if (!plain) {
            if (ngx_astro_same(out->type.data, out->type.len, "signal_offer"))
            {
                ngx_astro_msg_lit(&out->m, "{\"type\":\"offer\",\"sdp\":");

            } else {
                ngx_astro_msg_lit(&out->m, "{\"type\":\"answer\",\"sdp\":");
            }
        }

        ngx_astro_msg_add(&out->m, m->raw, m->raw_len);

        if (!plain) {
            ngx_astro_msg_lit(&out->m, "}");
        }

        m = astro_json_get(payload, "kind");

        if (m && m->kind == ASTRO_JSON_STRING) {
            ngx_astro_msg_lit(&out->m, ",\"type\":");
            ngx_astro_msg_add(&out->m, m->raw, m->raw_len);
        }

        ngx_astro_msg_lit(&out->m, "}}}");

        return NGX_OK;
    }

    m = astro_json_get(payload, "candidate");

    if (m) {
        if (m->kind == ASTRO_JSON_NULL) {
            /* the end of candidates; their page would throw */
            return NGX_DONE;
        }

        ngx_astro_msg_lit(&out->m, ",\"signal\":{\"candidate\":");
        ngx_astro_msg_add(&out->m, m->raw, m->raw_len);
        ngx_astro_msg_lit(&out->m, "}");
    }

    ngx_astro_msg_lit(&out->m, "}}");

    return NGX_OK;
}


/* They get it as it is; it says what they take part in. */

static ngx_int_t
ngx_astro_old_out_session(ngx_astro_old_out_t *out)
{
    uint64_t                    id;
    ngx_uint_t                  state;
    astro_json_object_t        *o;
    ngx_astro_old_session_t    *s;
    const astro_json_member_t  *m;

    o = &out->doc->payload;
    s = &out->old->session;
    id = ngx_astro_old_number(o, "session", 's');

    m = astro_json_get(o, "state");
    state = m && m->kind == ASTRO_JSON_STRING
            ? astro_session_state_parse(m->raw + 1, m->raw_len - 2)
            : ASTRO_SESSION_NONE;

    if (id == 0 || (state == ASTRO_SESSION_ENDED && s->id && s->id != id)) {
        return NGX_DECLINED;
    }

    s->id = id;
    s->state = state;
    s->conv = ngx_astro_old_number(o, "conv", 'c');
    s->client = ngx_astro_old_number(o, "client", 'u');
    s->advisor = ngx_astro_old_number(o, "advisor", 'u');
    s->service[0] = '\0';

    m = astro_json_get(o, "service");

    if (m && m->kind == ASTRO_JSON_STRING
        && m->raw_len - 2 < sizeof(s->service))
    {
        *ngx_cpymem(s->service, m->raw + 1, m->raw_len - 2) = '\0';
    }

    out->old->join = (astro_session_bit(state)
                      & astro_session_rule(ASTRO_SESSION_JOIN)->from) != 0
                     && ngx_astro_sessions_joined(out->conn, id) == NULL;

    ngx_astro_ws_old_post(out->old);

    return NGX_DECLINED;
}


static uint64_t
ngx_astro_old_number(const astro_json_object_t *o, const char *name, char kind)
{
    const astro_json_member_t  *m;

    m = astro_json_get(o, name);

    return m && m->kind == ASTRO_JSON_STRING
           ? astro_id_parse(kind, m->raw + 1, m->raw_len - 2) : 0;
}


/* The session in which this conversation goes on now. */

static uint64_t
ngx_astro_old_session(ngx_astro_old_out_t *out, uint64_t conv)
{
    ngx_uint_t         i;
    ngx_astro_conn_t  *conn;
    ngx_astro_join_t  *j;

    conn = out->conn;

    if (out->old->session.conv == conv) {
        return out->old->session.id;
    }

    j = ngx_astro_sessions_joined_conv(conn, conv);

    if (j) {
        return j->session->node.key;
    }

    for (i = 0; i < conn->ntold; i++) {
        if (conn->told[i].conv == conv) {
            return conn->told[i].session;
        }
    }

    return 0;
}


static u_char *
ngx_astro_old_out_id(ngx_astro_old_out_t *out, u_char *p, char kind,
    uint64_t id)
{
    if (id == 0) {
        return ngx_cpymem(p, "null", 4);
    }

    return out->old->numbers ? ngx_sprintf(p, "%uL", id)
                             : ngx_sprintf(p, "\"%c_%uL\"", kind, id);
}
