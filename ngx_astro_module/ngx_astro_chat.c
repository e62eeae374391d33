
/*
 * Copyright (C) The Astro authors
 *
 * Group commit: whatever arrived while the last batch was in flight goes into
 * the next, so batches are small when there is little to do (latency) and large
 * when there is much (throughput), without a timer.
 *
 * A batch that the database refuses goes again in smaller ones until the
 * message that spoils it is alone.  A batch whose answer was lost may have been
 * committed: it goes again as it is, since the cid makes each message
 * idempotent, and what turns out to be stored already is delivered all the
 * same (receivers drop what they have).
 */

#include "ngx_astro_chat.h"
#include "ngx_astro_sessions.h"


#define NGX_ASTRO_CHAT_BATCH    500             /* messages */
#define NGX_ASTRO_CHAT_BYTES    (1024 * 1024)   /* of a batch */
#define NGX_ASTRO_CHAT_QUEUE    20000           /* messages of this worker */
#define NGX_ASTRO_CHAT_TEXT     16384           /* octets of one text */
#define NGX_ASTRO_CHAT_WAIT_MS  5000            /* while the database is away */


typedef struct {
    ngx_queue_t         link;
    ngx_astro_call_t   *call;           /* arg: the conversation */
    uint64_t            user;
    ngx_msec_t          due;
    uint64_t            came_us;
    size_t              len;
    ngx_uint_t          retried;
    u_char              cid[36];
    u_char              payload[1];
} ngx_astro_chat_t;


static ngx_int_t ngx_astro_chat_refuse(ngx_astro_req_t *req,
    ngx_astro_error_e error, const char *message, const char *field);
static void ngx_astro_chat_send(void);
static void ngx_astro_chat_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_chat_again(ngx_uint_t smaller);
static void ngx_astro_chat_stored(ngx_astro_chat_t *chat, PGresult *res,
    int row);
static void ngx_astro_chat_fail(ngx_astro_chat_t *chat,
    ngx_astro_error_e error, const char *message);
static void ngx_astro_chat_timer(ngx_event_t *ev);


static struct {
    ngx_queue_t   queue;
    ngx_queue_t   sent;
    ngx_uint_t    nqueued;
    ngx_uint_t    nsent;
    ngx_uint_t    cap;
    ngx_event_t   post;
    ngx_event_t   timer;
    u_char       *buf;
    size_t        size;
} ngx_astro_chat;


void
ngx_astro_chat_init(void)
{
    ngx_queue_init(&ngx_astro_chat.queue);
    ngx_queue_init(&ngx_astro_chat.sent);
    ngx_astro_chat.cap = NGX_ASTRO_CHAT_BATCH;

    ngx_astro_event_init(&ngx_astro_chat.post, ngx_astro_chat_timer);

    /* not cancelable: a worker that leaves stays for what it has taken */

    ngx_astro_event_init(&ngx_astro_chat.timer, ngx_astro_chat_timer);
}


static ngx_int_t
ngx_astro_chat_refuse(ngx_astro_req_t *req, ngx_astro_error_e error,
    const char *message, const char *field)
{
    ngx_astro_count(BAD_MESSAGE);
    ngx_astro_reply_error(req->conn, req->id, error, message, field);

    return NGX_ERROR;
}


void
ngx_astro_handle_chat_message(ngx_astro_req_t *req)
{
    u_char                     *p;
    size_t                      size;
    int64_t                     reply_to;
    uint64_t                    conv;
    ngx_astro_join_t           *j;
    ngx_astro_chat_t           *chat;
    ngx_astro_error_e           error;
    const astro_json_member_t  *cid, *kind, *text, *to;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    cid = ngx_astro_req_string(req, "cid", 36, 1);
    if (cid == NULL) {
        return;
    }

    if (!astro_uuid_ok(cid->raw + 1, cid->raw_len - 2)) {
        (void) ngx_astro_chat_refuse(req, NGX_ASTRO_E_BAD_REQUEST,
                                     "cid is a UUID", "/payload/cid");
        return;
    }

    kind = ngx_astro_req_string(req, "kind", 16, 0);

    if (kind == NULL && astro_json_get(&req->doc->payload, "kind")) {
        return;
    }

    if (kind && !ngx_astro_same(kind->raw, kind->raw_len, "\"text\"")
        && !ngx_astro_same(kind->raw, kind->raw_len, "\"emoji\""))
    {
        (void) ngx_astro_chat_refuse(req, NGX_ASTRO_E_UNSUPPORTED,
                                     "kind is text or emoji",
                                     "/payload/kind");
        return;
    }

    text = astro_json_get(&req->doc->payload, "text");

    if (text == NULL || text->kind != ASTRO_JSON_STRING || text->raw_len <= 2)
    {
        (void) ngx_astro_chat_refuse(req, NGX_ASTRO_E_BAD_REQUEST,
                                     "text is a string with something in it",
                                     "/payload/text");
        return;
    }

    if (text->raw_len > NGX_ASTRO_CHAT_TEXT) {
        (void) ngx_astro_chat_refuse(req, NGX_ASTRO_E_TOO_LARGE,
                                     "text is at most 16384 bytes",
                                     "/payload/text");
        return;
    }

    reply_to = 0;
    to = astro_json_get(&req->doc->payload, "reply_to");

    if (to && to->kind != ASTRO_JSON_NULL
        && astro_json_int(to, 1, INT64_MAX, &reply_to) != 0)
    {
        (void) ngx_astro_chat_refuse(req, NGX_ASTRO_E_BAD_REQUEST,
                                     "reply_to is the seq of a message",
                                     "/payload/reply_to");
        return;
    }

    j = ngx_astro_sessions_joined_conv(req->conn, conv);

    if (j == NULL) {
        ngx_astro_count(DENIED);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_SESSION_STATE,
                              "join a session of the conversation first",
                              "/payload/conv");
        return;
    }

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

    if (ngx_astro_chat.nqueued >= NGX_ASTRO_CHAT_QUEUE) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "too many messages wait, try again", NULL);
        return;
    }

    size = sizeof(ngx_astro_chat_t) + 160 + text->raw_len
           + (kind ? kind->raw_len : 6);

    chat = ngx_alloc(size, ngx_astro.log);

    if (chat) {
        chat->call = ngx_astro_call_create(req->conn, req->id, conv);
    }

    if (chat == NULL || chat->call == NULL) {
        ngx_free(chat);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    chat->user = req->conn->user;
    chat->due = ngx_current_msec + NGX_ASTRO_CHAT_WAIT_MS;
    chat->came_us = ngx_astro_boot_us();
    chat->retried = 0;
    ngx_memcpy(chat->cid, cid->raw + 1, 36);

    p = ngx_sprintf(chat->payload, "{\"from\":\"u_%uL\",\"cid\":\"%*s\","
                    "\"kind\":", chat->user, (size_t) 36, chat->cid);
    p = kind ? ngx_cpymem(p, kind->raw, kind->raw_len)
             : ngx_cpymem(p, "\"text\"", 6);
    p = ngx_cpymem(p, ",\"text\":", 8);
    p = ngx_cpymem(p, text->raw, text->raw_len);

    if (reply_to) {
        p = ngx_sprintf(p, ",\"reply_to\":%L", reply_to);
    }

    *p++ = '}';
    chat->len = p - chat->payload;

    ngx_queue_insert_tail(&ngx_astro_chat.queue, &chat->link);
    ngx_astro_chat.nqueued++;

    /* the rest of what this turn of the loop reads goes with it */

    if (ngx_astro_chat.nsent == 0 && !ngx_astro_chat.post.posted) {
        ngx_post_event(&ngx_astro_chat.post, &ngx_posted_events);
    }
}


static void
ngx_astro_chat_timer(ngx_event_t *ev)
{
    ngx_astro_chat_send();
}


static void
ngx_astro_chat_send(void)
{
    size_t             bytes, size;
    u_char            *p, *convs, *senders, *types, *cids, *payloads;
    ngx_uint_t         n, i;
    ngx_queue_t       *q;
    const char        *values[6];
    ngx_astro_chat_t  *chat;

    if (ngx_astro_chat.nsent || ngx_queue_empty(&ngx_astro_chat.queue)) {
        return;
    }

    bytes = 0;

    for (n = 0; n < ngx_astro_chat.cap; n++) {
        q = ngx_queue_head(&ngx_astro_chat.queue);

        if (q == ngx_queue_sentinel(&ngx_astro_chat.queue)) {
            break;
        }

        chat = ngx_queue_data(q, ngx_astro_chat_t, link);

        if (n > 0 && bytes + chat->len > NGX_ASTRO_CHAT_BYTES) {
            break;
        }

        bytes += chat->len;
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_astro_chat.sent, q);
    }

    ngx_astro_chat.nsent = n;
    ngx_astro_chat.nqueued -= n;

    size = 5 * 4 + n * (2 * (NGX_INT64_LEN + 1) + 16 + 40 + 4) + bytes * 2;

    if (size > ngx_astro_chat.size) {
        p = ngx_alloc(size * 2, ngx_astro.log);

        if (p == NULL) {
            ngx_astro_chat_again(1);
            return;
        }

        ngx_free(ngx_astro_chat.buf);
        ngx_astro_chat.buf = p;
        ngx_astro_chat.size = size * 2;
    }

    convs = ngx_astro_chat.buf;
    senders = convs + 4 + n * (NGX_INT64_LEN + 1);
    types = senders + 4 + n * (NGX_INT64_LEN + 1);
    cids = types + 4 + n * 16;
    payloads = cids + 4 + n * 40;

    values[0] = (char *) convs;
    values[1] = (char *) senders;
    values[2] = (char *) types;
    values[3] = (char *) cids;
    values[4] = (char *) payloads;
    values[5] = ASTRO_SESSION_CHAT_STATES_SQL;

    for (i = 0, q = ngx_queue_head(&ngx_astro_chat.sent);
         i < n;
         i++, q = ngx_queue_next(q))
    {
        chat = ngx_queue_data(q, ngx_astro_chat_t, link);

        convs = ngx_sprintf(convs, "%c%uL", i ? ',' : '{', chat->call->arg);
        senders = ngx_sprintf(senders, "%c%uL", i ? ',' : '{', chat->user);
        types = ngx_sprintf(types, "%cchat_message", i ? ',' : '{');
        *cids++ = i ? ',' : '{';
        cids = ngx_cpymem(cids, chat->cid, 36);
        payloads = ngx_astro_pg_array_text(payloads, i == 0, chat->payload,
                                           chat->len);
    }

    *convs++ = '}'; *convs = '\0';
    *senders++ = '}'; *senders = '\0';
    *types++ = '}'; *types = '\0';
    *cids++ = '}'; *cids = '\0';
    *payloads++ = '}'; *payloads = '\0';

    ngx_astro_count(CHAT_BATCHES);

    if (ngx_astro_pg_call(ngx_astro.pg_chat, &ngx_astro_sql_chat_batch, values,
                          ngx_astro_chat_done, NULL)
        != NGX_OK)
    {
        ngx_astro_chat_again(0);
    }
}


/*
 * Puts the batch back where it came from.  Who waited too long is told; their
 * message may be stored or not, and the same cid will tell.
 */

static void
ngx_astro_chat_again(ngx_uint_t smaller)
{
    ngx_queue_t       *q;
    ngx_astro_chat_t  *chat;

    if (smaller) {
        ngx_astro_chat.cap = ngx_max(ngx_astro_chat.nsent / 2, 1);
    }

    while (!ngx_queue_empty(&ngx_astro_chat.sent)) {
        q = ngx_queue_last(&ngx_astro_chat.sent);
        ngx_queue_remove(q);

        chat = ngx_queue_data(q, ngx_astro_chat_t, link);

        if ((ngx_msec_int_t) (chat->due - ngx_current_msec) <= 0) {
            ngx_astro_chat_fail(chat, NGX_ASTRO_E_UNAVAILABLE,
                                "the database is away, try again");
            continue;
        }

        chat->retried = 1;
        ngx_queue_insert_head(&ngx_astro_chat.queue, q);
        ngx_astro_chat.nqueued++;
    }

    ngx_astro_chat.nsent = 0;

    if (!ngx_astro_chat.timer.timer_set
        && !ngx_queue_empty(&ngx_astro_chat.queue))
    {
        ngx_add_timer(&ngx_astro_chat.timer, smaller ? 1 : 100);
    }
}


static void
ngx_astro_chat_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    int                i, n;
    uint64_t           now_us;
    ngx_queue_t       *q;
    ngx_astro_chat_t  *chat;

    if (rc == NGX_ASTRO_PG_LOST) {
        ngx_astro_chat_again(0);
        return;
    }

    n = ngx_astro_chat.nsent;

    if (rc == NGX_ASTRO_PG_ERROR || PQntuples(res) != n) {

        if (n > 1) {
            ngx_astro_chat_again(1);
            return;
        }

        q = ngx_queue_head(&ngx_astro_chat.sent);
        ngx_queue_remove(q);
        ngx_astro_chat.nsent = 0;
        ngx_astro_chat_fail(ngx_queue_data(q, ngx_astro_chat_t, link),
                            NGX_ASTRO_E_INTERNAL, "could not be stored");
        ngx_astro_chat_send();
        return;
    }

    now_us = ngx_astro_boot_us();
    ngx_astro_observe(CHAT_SIZE, n);

    for (i = 0; i < n; i++) {
        q = ngx_queue_head(&ngx_astro_chat.sent);
        ngx_queue_remove(q);
        chat = ngx_queue_data(q, ngx_astro_chat_t, link);

        ngx_astro_observe(CHAT_TIME, now_us - chat->came_us);

        ngx_astro_chat_stored(chat, res, i);
    }

    ngx_astro_chat.nsent = 0;
    ngx_astro_chat.cap = ngx_min(ngx_astro_chat.cap * 2, NGX_ASTRO_CHAT_BATCH);

    ngx_astro_chat_send();
}


static void
ngx_astro_chat_stored(ngx_astro_chat_t *chat, PGresult *res, int row)
{
    u_char             *p;
    u_char              buf[160];
    int64_t             seq, ts;
    uint64_t            conv;
    ngx_str_t           status;
    ngx_uint_t          dup;
    ngx_astro_msg_t     m;
    ngx_astro_route_t   route;

    conv = chat->call->arg;
    status = ngx_astro_pg_str(res, row, 1);

    if (!ngx_astro_same(status.data, status.len, "ok")) {
        ngx_astro_chat_fail(chat, ngx_astro_error_parse(status.data,
                                                        status.len),
                            "the message was not taken");
        return;
    }

    seq = ngx_astro_pg_int(res, row, 2);
    ts = ngx_astro_pg_int(res, row, 3);
    dup = ngx_astro_pg_bool(res, row, 5);

    p = ngx_sprintf(buf, "{\"conv\":\"c_%uL\",\"seq\":%L,\"ts\":%L%s}", conv,
                    seq, ts, dup ? ",\"dup\":true" : "");

    ngx_astro_reply(chat->call->conn, chat->call->id, buf, p - buf);

    if (!dup || chat->retried) {

        ngx_astro_count(CHATS);

        /* to the letter what consult.frame() makes of the stored event */

        p = ngx_sprintf(buf, "{\"type\":\"chat_message\",\"conv\":\"c_%uL\","
                        "\"seq\":%L,\"ts\":%L,\"payload\":", conv, seq, ts);

        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, buf, p - buf);
        ngx_astro_msg_add(&m, chat->payload, chat->len);
        ngx_astro_msg_lit(&m, "}");

        ngx_memzero(&route, sizeof(ngx_astro_route_t));
        route.to = NGX_ASTRO_TO_USER;
        route.durable = 1;
        route.conv = conv;
        route.seq = seq;

        route.user = ngx_astro_pg_int(res, row, 4);
        ngx_astro_route_user(&route, &m);
        route.user = chat->user;
        ngx_astro_route_user(&route, &m);
    }

    ngx_astro_call_free(chat->call);
    ngx_free(chat);
}


static void
ngx_astro_chat_fail(ngx_astro_chat_t *chat, ngx_astro_error_e error,
    const char *message)
{
    ngx_astro_reply_error(chat->call->conn, chat->call->id, error, message,
                          NULL);
    ngx_astro_call_free(chat->call);
    ngx_free(chat);
}


void
ngx_astro_handle_chat_typing(ngx_astro_req_t *req)
{
    u_char                     *p;
    u_char                      buf[160];
    uint64_t                    conv;
    ngx_astro_msg_t             m;
    ngx_astro_join_t           *j;
    ngx_astro_route_t           route;
    const astro_json_member_t  *on;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    on = astro_json_get(&req->doc->payload, "on");

    if (on == NULL || on->kind != ASTRO_JSON_BOOL) {
        (void) ngx_astro_chat_refuse(req, NGX_ASTRO_E_BAD_REQUEST,
                                     "on is true or false", "/payload/on");
        return;
    }

    j = ngx_astro_sessions_joined_conv(req->conn, conv);

    if (j == NULL
        || ngx_astro_sessions_may(j->session, ASTRO_SESSION_CHAT_STATES)
           != NGX_ASTRO_E_MAX)
    {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_SESSION_STATE,
                              "no session of the conversation takes messages "
                              "now", "/payload/conv");
        return;
    }

    p = ngx_sprintf(buf, "{\"type\":\"chat_typing\",\"conv\":\"c_%uL\","
                    "\"payload\":{\"from\":\"u_%uL\",\"on\":%*s}}", conv,
                    req->conn->user, on->raw_len, on->raw);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.user = ngx_astro_join_peer(j);

    ngx_astro_route_user(&route, &m);
    ngx_astro_reply(req->conn, req->id, (u_char *) "{}", 2);
}
