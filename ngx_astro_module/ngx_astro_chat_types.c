
/*
 * Copyright (C) The Astro authors
 *
 * The chat's durable requests, by WebSocket and by REST: what they say is
 * checked here, then they all go into the same batches (ngx_astro_chat.c).
 */

#include "ngx_astro_chat.h"
#include "ngx_astro_chat_private.h"
#include "ngx_astro_sessions.h"
#include "astro_pan.h"

#include <openssl/rand.h>


#define NGX_ASTRO_CHAT_TEXT   16384     /* octets of one text */
#define NGX_ASTRO_CHAT_EMOJI  64
#define NGX_ASTRO_CHAT_MSG    9007199254740991LL

/* what errors call the members of a WebSocket's payload; REST has none */
#define NGX_ASTRO_PAYLOAD     (sizeof("/payload") - 1)


/* The members of a request, and what is wrong with it. */
typedef struct {
    const u_char               *cid;
    const astro_json_member_t  *kind;
    const astro_json_member_t  *text;
    const astro_json_member_t  *emoji;
    const astro_json_member_t  *on;
    int64_t                     msg;    /* or reply_to; 0: none */
    const u_char               *key;    /* Idempotency-Key, a UUID, or NULL */
    u_char                      made[37];

    ngx_astro_error_e           error;
    const char                 *message;
    const char                 *field;
} ngx_astro_chat_in_t;


static void ngx_astro_handle_chat_act(ngx_astro_req_t *req,
    ngx_astro_chat_type_e type);
static void ngx_astro_chat_take(ngx_astro_req_t *req,
    ngx_astro_chat_type_e type, uint64_t conv, ngx_astro_chat_in_t *in,
    ngx_uint_t joined);
static ngx_int_t ngx_astro_chat_read(ngx_astro_chat_in_t *in,
    ngx_astro_chat_type_e type, const astro_json_object_t *o);
static ngx_int_t ngx_astro_chat_read_cid(ngx_astro_chat_in_t *in,
    ngx_astro_chat_type_e type, const astro_json_object_t *o);
static ngx_int_t ngx_astro_chat_read_text(ngx_astro_chat_in_t *in,
    const astro_json_object_t *o);
static ngx_int_t ngx_astro_chat_read_emoji(ngx_astro_chat_in_t *in,
    const astro_json_object_t *o);
static ngx_int_t ngx_astro_chat_wrong(ngx_astro_chat_in_t *in,
    ngx_astro_error_e error, const char *message, const char *field);
static size_t ngx_astro_chat_room(const astro_json_member_t *m);
static u_char *ngx_astro_chat_string(u_char *p, const astro_json_member_t *m);
static ngx_astro_chat_t *ngx_astro_chat_make(ngx_astro_chat_in_t *in,
    ngx_astro_chat_type_e type, uint64_t conv, uint64_t user);
static ngx_int_t ngx_astro_api_chat(ngx_astro_api_ctx_t *ctx,
    ngx_astro_chat_type_e type);
static void ngx_astro_chat_gone(void *data);
static ngx_astro_api_ctx_t *ngx_astro_chat_ctx(ngx_astro_chat_t *chat);


/* WebSocket */

void
ngx_astro_handle_chat_message(ngx_astro_req_t *req)
{
    uint64_t              conv;
    ngx_astro_join_t     *j;
    ngx_astro_error_e     error;
    ngx_astro_chat_in_t   in;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    in.key = NULL;

    if (ngx_astro_chat_read(&in, NGX_ASTRO_CHAT_MESSAGE, &req->doc->payload)
        != NGX_OK)
    {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, in.error, in.message,
                              in.field);
        return;
    }

    j = ngx_astro_sessions_joined_conv(req->conn, conv);

    if (j) {
        error = ngx_astro_sessions_may(j->session, ASTRO_SESSION_CHAT_STATES);

        if (error != NGX_ASTRO_E_MAX) {

            if (error == NGX_ASTRO_E_UNPAID) {
                ngx_astro_count(UNPAID);
            }

            ngx_astro_reply_error(req->conn, req->id, error,
                                  error == NGX_ASTRO_E_UNPAID
                                  ? "the session is paid no further"
                                  : "the session does not take messages now",
                                  NULL);
            return;
        }
    }

    /* who has not joined may be in another's time: the database knows */

    ngx_astro_chat_take(req, NGX_ASTRO_CHAT_MESSAGE, conv, &in, j != NULL);
}


void
ngx_astro_handle_chat_edit(ngx_astro_req_t *req)
{
    ngx_astro_handle_chat_act(req, NGX_ASTRO_CHAT_EDIT);
}


void
ngx_astro_handle_chat_delete(ngx_astro_req_t *req)
{
    ngx_astro_handle_chat_act(req, NGX_ASTRO_CHAT_DELETE);
}


void
ngx_astro_handle_chat_react(ngx_astro_req_t *req)
{
    ngx_astro_handle_chat_act(req, NGX_ASTRO_CHAT_REACT);
}


static void
ngx_astro_handle_chat_act(ngx_astro_req_t *req, ngx_astro_chat_type_e type)
{
    uint64_t             conv;
    ngx_astro_chat_in_t  in;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    in.key = NULL;

    if (ngx_astro_chat_read(&in, type, &req->doc->payload) != NGX_OK) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, in.error, in.message,
                              in.field);
        return;
    }

    ngx_astro_chat_take(req, type, conv, &in, 0);
}


static void
ngx_astro_chat_take(ngx_astro_req_t *req, ngx_astro_chat_type_e type,
    uint64_t conv, ngx_astro_chat_in_t *in, ngx_uint_t joined)
{
    ngx_astro_chat_t  *chat;

    if (ngx_astro_chat_full()) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "too many messages wait, try again", NULL);
        return;
    }

    chat = ngx_astro_chat_make(in, type, conv, req->conn->user);

    if (chat) {
        chat->call = ngx_astro_call_create(req->conn, req->id, conv);
    }

    if (chat == NULL || chat->call == NULL) {
        ngx_free(chat);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    chat->joined = joined;

    if (!joined) {
        chat->act = 1;
    }

    ngx_astro_chat_push(chat);
}


/* what a request says */

static ngx_int_t
ngx_astro_chat_wrong(ngx_astro_chat_in_t *in, ngx_astro_error_e error,
    const char *message, const char *field)
{
    in->error = error;
    in->message = message;
    in->field = field;

    return NGX_ERROR;
}


static ngx_int_t
ngx_astro_chat_read(ngx_astro_chat_in_t *in, ngx_astro_chat_type_e type,
    const astro_json_object_t *o)
{
    const astro_json_member_t  *m;

    in->msg = 0;
    in->kind = NULL;

    if (ngx_astro_chat_read_cid(in, type, o) != NGX_OK) {
        return NGX_ERROR;
    }

    if (type == NGX_ASTRO_CHAT_MESSAGE) {
        in->kind = astro_json_get(o, "kind");

        if (in->kind && (in->kind->kind != ASTRO_JSON_STRING
                         || in->kind->raw_len > 18))
        {
            return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                        "kind is a string of at most 16 bytes",
                                        "/payload/kind");
        }

        if (in->kind
            && !ngx_astro_same(in->kind->raw, in->kind->raw_len, "\"text\"")
            && !ngx_astro_same(in->kind->raw, in->kind->raw_len, "\"emoji\""))
        {
            return ngx_astro_chat_wrong(in, NGX_ASTRO_E_UNSUPPORTED,
                                        "kind is text or emoji",
                                        "/payload/kind");
        }
    }

    if ((type == NGX_ASTRO_CHAT_MESSAGE || type == NGX_ASTRO_CHAT_EDIT)
        && ngx_astro_chat_read_text(in, o) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (type == NGX_ASTRO_CHAT_MESSAGE) {
        m = astro_json_get(o, "reply_to");

        if (m && m->kind != ASTRO_JSON_NULL
            && astro_json_int(m, 1, NGX_ASTRO_CHAT_MSG, &in->msg) != 0)
        {
            return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                        "reply_to is the seq of a message",
                                        "/payload/reply_to");
        }

        return NGX_OK;
    }

    m = astro_json_get(o, "msg");

    if (m == NULL || astro_json_int(m, 1, NGX_ASTRO_CHAT_MSG, &in->msg) != 0) {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                    "msg is the seq of a message",
                                    "/payload/msg");
    }

    return type == NGX_ASTRO_CHAT_REACT ? ngx_astro_chat_read_emoji(in, o)
                                        : NGX_OK;
}


/*
 * A message has a cid, by REST perhaps as Idempotency-Key.  What says how
 * something is to be may have none: doing it twice is doing it once.  It gets
 * one of ours, for the case that the database's answer is lost.
 */

static ngx_int_t
ngx_astro_chat_read_cid(ngx_astro_chat_in_t *in, ngx_astro_chat_type_e type,
    const astro_json_object_t *o)
{
    u_char                      r[16];
    const astro_json_member_t  *m;

    m = astro_json_get(o, "cid");

    if (m == NULL && in->key) {
        in->cid = in->key;
        return NGX_OK;
    }

    if (m == NULL && type != NGX_ASTRO_CHAT_MESSAGE
        && RAND_bytes(r, sizeof(r)) == 1)
    {
        (void) ngx_sprintf(in->made, "%02xd%02xd%02xd%02xd-%02xd%02xd-"
                           "4%01xd%02xd-a%01xd%02xd-%02xd%02xd%02xd%02xd"
                           "%02xd%02xd", r[0], r[1], r[2], r[3], r[4], r[5],
                           r[6] & 15, r[7], r[8] & 15, r[9], r[10], r[11],
                           r[12], r[13], r[14], r[15]);
        in->cid = in->made;
        return NGX_OK;
    }

    if (m == NULL || m->kind != ASTRO_JSON_STRING
        || !astro_uuid_ok(m->raw + 1, m->raw_len - 2))
    {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                    "cid is a UUID", "/payload/cid");
    }

    in->cid = m->raw + 1;

    return NGX_OK;
}


static ngx_int_t
ngx_astro_chat_read_text(ngx_astro_chat_in_t *in, const astro_json_object_t *o)
{
    static u_char  buf[NGX_ASTRO_CHAT_TEXT];

    in->text = astro_json_get(o, "text");

    if (in->text == NULL || in->text->kind != ASTRO_JSON_STRING
        || in->text->raw_len <= 2)
    {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                    "text is a string with something in it",
                                    "/payload/text");
    }

    if (in->text->raw_len > NGX_ASTRO_CHAT_TEXT) {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_TOO_LARGE,
                                    "text is at most 16384 bytes",
                                    "/payload/text");
    }

    if (astro_pan_json(in->text->raw, in->text->raw_len, buf)) {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_UNSUPPORTED,
                                    NGX_ASTRO_CARD_TEXT, "/payload/text");
    }

    return NGX_OK;
}


/* Whole sequences, joiners and all; what is ASCII alone is none. */

static ngx_int_t
ngx_astro_chat_read_emoji(ngx_astro_chat_in_t *in,
    const astro_json_object_t *o)
{
    u_char      buf[NGX_ASTRO_CHAT_EMOJI];
    ssize_t     i, n;
    ngx_uint_t  beyond;

    in->emoji = astro_json_get(o, "emoji");
    n = in->emoji && in->emoji->kind == ASTRO_JSON_STRING
        ? astro_json_string(in->emoji, buf, sizeof(buf)) : -1;
    beyond = 0;

    for (i = 0; i < n; i++) {
        beyond |= buf[i] >= 0x80;

        if (buf[i] <= ' ') {
            beyond = 0;
            break;
        }
    }

    if (!beyond) {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                    "emoji is one of at most 64 bytes",
                                    "/payload/emoji");
    }

    in->on = astro_json_get(o, "on");

    if (in->on == NULL || in->on->kind != ASTRO_JSON_BOOL) {
        return ngx_astro_chat_wrong(in, NGX_ASTRO_E_BAD_REQUEST,
                                    "on is true or false", "/payload/on");
    }

    return NGX_OK;
}


/*
 * A text is stored in one form, whatever its sender's JSON escapes: the same
 * message by WebSocket and by REST is the same message.
 */

static size_t
ngx_astro_chat_room(const astro_json_member_t *m)
{
    return m->escaped ? 2 + 3 * m->raw_len : m->raw_len;
}


static u_char *
ngx_astro_chat_string(u_char *p, const astro_json_member_t *m)
{
    ssize_t  n;

    static u_char  buf[NGX_ASTRO_CHAT_TEXT];

    if (!m->escaped) {
        return ngx_cpymem(p, m->raw, m->raw_len);
    }

    /* it fits: no escape is shorter than what it stands for */

    n = ngx_max(astro_json_string(m, buf, sizeof(buf)), 0);

    *p++ = '"';
    p = astro_json_escape(p, p + 3 * m->raw_len, buf, n);
    *p++ = '"';

    return p;
}


static ngx_astro_chat_t *
ngx_astro_chat_make(ngx_astro_chat_in_t *in, ngx_astro_chat_type_e type,
    uint64_t conv, uint64_t user)
{
    u_char            *p;
    size_t             size;
    ngx_astro_chat_t  *chat;

    size = 64 + 2 * NGX_INT64_LEN;

    if (type == NGX_ASTRO_CHAT_MESSAGE || type == NGX_ASTRO_CHAT_EDIT) {
        size += ngx_astro_chat_room(in->text);

    } else if (type == NGX_ASTRO_CHAT_REACT) {
        size += ngx_astro_chat_room(in->emoji);
    }

    chat = ngx_astro_chat_create(type, conv, user, in->cid, size);

    if (chat == NULL) {
        return NULL;
    }

    p = chat->payload + chat->len;

    if (type == NGX_ASTRO_CHAT_MESSAGE) {
        p = ngx_cpymem(p, ",\"kind\":", 8);
        p = in->kind ? ngx_cpymem(p, in->kind->raw, in->kind->raw_len)
                     : ngx_cpymem(p, "\"text\"", 6);
        p = ngx_cpymem(p, ",\"text\":", 8);
        p = ngx_astro_chat_string(p, in->text);

        if (in->msg) {
            p = ngx_sprintf(p, ",\"reply_to\":%L", in->msg);
            chat->act = 1;
        }

    } else {
        p = ngx_sprintf(p, ",\"msg\":%L", in->msg);

        if (type == NGX_ASTRO_CHAT_EDIT) {
            p = ngx_cpymem(p, ",\"text\":", 8);
            p = ngx_astro_chat_string(p, in->text);

        } else if (type == NGX_ASTRO_CHAT_REACT) {
            p = ngx_cpymem(p, ",\"emoji\":", 9);
            p = ngx_astro_chat_string(p, in->emoji);
            p = ngx_cpymem(p, ",\"on\":", 6);
            p = ngx_cpymem(p, in->on->raw, in->on->raw_len);
        }
    }

    *p++ = '}';
    chat->len = p - chat->payload;

    return chat;
}


/* REST */

ngx_int_t
ngx_astro_api_chat_message(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_api_chat(ctx, NGX_ASTRO_CHAT_MESSAGE);
}


ngx_int_t
ngx_astro_api_chat_edit(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_api_chat(ctx, NGX_ASTRO_CHAT_EDIT);
}


ngx_int_t
ngx_astro_api_chat_delete(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_api_chat(ctx, NGX_ASTRO_CHAT_DELETE);
}


ngx_int_t
ngx_astro_api_chat_react(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_api_chat(ctx, NGX_ASTRO_CHAT_REACT);
}


static ngx_int_t
ngx_astro_api_chat(ngx_astro_api_ctx_t *ctx, ngx_astro_chat_type_e type)
{
    ngx_astro_chat_t     *chat;
    ngx_astro_chat_in_t   in;

    if (ctx->path_id[0] == 0) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                     "no such resource", NULL);
    }

    in.key = ctx->once
             && astro_uuid_ok((u_char *) ctx->once, ngx_strlen(ctx->once))
             ? (u_char *) ctx->once : NULL;

    if (ngx_astro_chat_read(&in, type, &ctx->doc.root) != NGX_OK) {
        return ngx_astro_api_problem(ctx, in.error, in.message,
                                     in.field + NGX_ASTRO_PAYLOAD);
    }

    if (ngx_astro_chat_full()) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "too many messages wait, try again",
                                     NULL);
    }

    chat = ngx_astro_chat_make(&in, type, ctx->path_id[0], ctx->claims.user);

    if (chat == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    chat->cleanup = ngx_http_cleanup_add(ctx->r, 0);

    if (chat->cleanup == NULL) {
        ngx_free(chat);
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    chat->cleanup->handler = ngx_astro_chat_gone;
    chat->cleanup->data = chat;
    chat->ctx = ctx;
    chat->act = 1;

    ctx->r->main->count++;

    ngx_astro_chat_push(chat);

    return NGX_DONE;
}


/* Whoever sent it does not wait for the answer; it is stored all the same. */

static void
ngx_astro_chat_gone(void *data)
{
    ngx_astro_chat_t  *chat = data;

    chat->ctx = NULL;
}


static ngx_astro_api_ctx_t *
ngx_astro_chat_ctx(ngx_astro_chat_t *chat)
{
    ngx_astro_api_ctx_t  *ctx;

    ctx = chat->ctx;

    if (ctx) {
        chat->cleanup->handler = NULL;
        chat->ctx = NULL;
    }

    return ctx;
}


void
ngx_astro_chat_rest_reply(ngx_astro_chat_t *chat, const char *type,
    int64_t seq, int64_t ts, ngx_uint_t dup, ngx_str_t *payload)
{
    u_char               *p, *buf;
    ngx_tm_t              tm;
    ngx_astro_api_ctx_t  *ctx;

    ctx = ngx_astro_chat_ctx(chat);

    if (ctx == NULL) {
        return;
    }

    buf = ngx_pnalloc(ctx->r->pool, 256 + payload->len);

    if (buf == NULL) {
        ngx_astro_api_finish(ctx, NGX_HTTP_INTERNAL_SERVER_ERROR);
        return;
    }

    p = ngx_sprintf(buf, "{\"conv\":\"c_%uL\"", chat->conv);

    if (seq) {
        ngx_gmtime(ts / 1000, &tm);

        p = ngx_sprintf(p, ",\"seq\":%L,\"type\":\"%s\",\"ts\":\"%4d-%02d-%02d"
                        "T%02d:%02d:%02d.%03dZ\",\"from\":\"u_%uL\","
                        "\"payload\":%V", seq, type, tm.ngx_tm_year,
                        tm.ngx_tm_mon, tm.ngx_tm_mday, tm.ngx_tm_hour,
                        tm.ngx_tm_min, tm.ngx_tm_sec, (int) (ts % 1000),
                        chat->user, payload);
    }

    p = ngx_sprintf(p, "%s}", dup ? ",\"dup\":true" : "");

    ngx_astro_api_finish(ctx, ngx_astro_api_send(ctx, dup ? NGX_HTTP_OK
                                                          : NGX_HTTP_CREATED,
                                                 buf, p - buf));
}


void
ngx_astro_chat_rest_fail(ngx_astro_chat_t *chat, ngx_astro_error_e error,
    const char *message, const char *field)
{
    ngx_astro_api_ctx_t  *ctx;

    ctx = ngx_astro_chat_ctx(chat);

    if (ctx) {
        ngx_astro_api_finish(ctx, ngx_astro_api_problem(ctx, error, message,
                             field && ngx_strcmp(field, "/payload/conv") != 0
                             ? field + NGX_ASTRO_PAYLOAD : NULL));
    }
}
