
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
 *
 * There is one queue, so that what somebody says stays in order, and two SQL
 * functions: one stores plain messages by the hundred, the other acts (replies,
 * edits, reactions, whatever has to be looked up) one after the other.  A
 * batch is as much of the queue's head as is of one sort.
 */

#include "ngx_astro_chat.h"
#include "ngx_astro_chat_private.h"
#include "ngx_astro_sessions.h"


#define NGX_ASTRO_CHAT_BATCH    500             /* messages */
#define NGX_ASTRO_CHAT_BYTES    (1024 * 1024)   /* of a batch */
#define NGX_ASTRO_CHAT_QUEUE    20000           /* messages of this worker */
#define NGX_ASTRO_CHAT_WAIT_MS  5000            /* while the database is away */


static const char *const  ngx_astro_chat_types[] = {
    "chat_message", "chat_edit", "chat_delete", "chat_react"
};


static void ngx_astro_chat_send(void);
static void ngx_astro_chat_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_chat_again(ngx_uint_t smaller);
static void ngx_astro_chat_stored(ngx_astro_chat_t *chat, PGresult *res,
    int row);
static void ngx_astro_chat_tell(ngx_astro_chat_t *chat, uint64_t peer,
    int64_t seq, int64_t ts, ngx_str_t *payload);
static void ngx_astro_chat_reply(ngx_astro_chat_t *chat, int64_t seq,
    int64_t ts, ngx_uint_t dup, ngx_str_t *payload);
static void ngx_astro_chat_fail(ngx_astro_chat_t *chat,
    ngx_astro_error_e error, const char *message, const char *field);
static void ngx_astro_chat_free(ngx_astro_chat_t *chat);
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


ngx_astro_chat_t *
ngx_astro_chat_create(ngx_astro_chat_type_e type, uint64_t conv, uint64_t user,
    const u_char *cid, size_t size)
{
    u_char            *p;
    ngx_astro_chat_t  *chat;

    chat = ngx_alloc(sizeof(ngx_astro_chat_t) + NGX_ASTRO_CHAT_HEAD + size,
                     ngx_astro.log);

    if (chat == NULL) {
        return NULL;
    }

    chat->call = NULL;
    chat->ctx = NULL;
    chat->type = type;
    chat->conv = conv;
    chat->user = user;
    chat->due = ngx_current_msec + NGX_ASTRO_CHAT_WAIT_MS;
    chat->came_us = ngx_astro_boot_us();
    chat->act = type != NGX_ASTRO_CHAT_MESSAGE;
    chat->joined = 0;
    chat->retried = 0;
    ngx_memcpy(chat->cid, cid, 36);

    p = ngx_sprintf(chat->payload, "{\"from\":\"u_%uL\",\"cid\":\"%*s\"",
                    user, (size_t) 36, cid);
    chat->len = p - chat->payload;

    return chat;
}


ngx_uint_t
ngx_astro_chat_full(void)
{
    return ngx_astro_chat.nqueued >= NGX_ASTRO_CHAT_QUEUE;
}


void
ngx_astro_chat_push(ngx_astro_chat_t *chat)
{
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
    u_char            *p, *convs, *senders, *types, *cids, *joined, *payloads;
    ngx_uint_t         n, i, acts;
    ngx_queue_t       *q;
    const char        *values[7];
    ngx_astro_chat_t  *chat;

    if (ngx_astro_chat.nsent || ngx_queue_empty(&ngx_astro_chat.queue)) {
        return;
    }

    acts = 0;
    bytes = 0;

    for (n = 0; n < ngx_astro_chat.cap; n++) {
        q = ngx_queue_head(&ngx_astro_chat.queue);

        if (q == ngx_queue_sentinel(&ngx_astro_chat.queue)) {
            break;
        }

        chat = ngx_queue_data(q, ngx_astro_chat_t, link);

        if (n == 0) {
            acts = chat->act;

        } else if (chat->act != acts
                   || bytes + chat->len > NGX_ASTRO_CHAT_BYTES)
        {
            break;
        }

        bytes += chat->len;
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_astro_chat.sent, q);
    }

    ngx_astro_chat.nsent = n;
    ngx_astro_chat.nqueued -= n;

    size = 6 * 4 + n * (2 * (NGX_INT64_LEN + 1) + 16 + 40 + 4 + 4)
           + bytes * 2;

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
    joined = cids + 4 + n * 40;
    payloads = joined + 4 + n * 4;

    values[0] = (char *) convs;
    values[1] = (char *) senders;
    values[2] = (char *) types;
    values[3] = (char *) cids;
    values[4] = (char *) payloads;
    values[5] = acts ? (char *) joined : ASTRO_SESSION_CHAT_STATES_SQL;
    values[6] = ASTRO_SESSION_CHAT_STATES_SQL;

    for (i = 0, q = ngx_queue_head(&ngx_astro_chat.sent);
         i < n;
         i++, q = ngx_queue_next(q))
    {
        chat = ngx_queue_data(q, ngx_astro_chat_t, link);

        convs = ngx_sprintf(convs, "%c%uL", i ? ',' : '{', chat->conv);
        senders = ngx_sprintf(senders, "%c%uL", i ? ',' : '{', chat->user);
        types = ngx_sprintf(types, "%c%s", i ? ',' : '{',
                            ngx_astro_chat_types[chat->type]);
        *cids++ = i ? ',' : '{';
        cids = ngx_cpymem(cids, chat->cid, 36);
        *joined++ = i ? ',' : '{';
        *joined++ = chat->joined ? 't' : 'f';
        payloads = ngx_astro_pg_array_text(payloads, i == 0, chat->payload,
                                           chat->len);
    }

    *convs++ = '}'; *convs = '\0';
    *senders++ = '}'; *senders = '\0';
    *types++ = '}'; *types = '\0';
    *cids++ = '}'; *cids = '\0';
    *joined++ = '}'; *joined = '\0';
    *payloads++ = '}'; *payloads = '\0';

    ngx_astro_count(CHAT_BATCHES);

    if (ngx_astro_pg_call(ngx_astro.pg_chat,
                          acts ? &ngx_astro_sql_chat_acts
                               : &ngx_astro_sql_chat_batch,
                          values, ngx_astro_chat_done, NULL)
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
                                "the database is away, try again", NULL);
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

    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != n) {

        if (n > 1) {
            ngx_astro_chat_again(1);
            return;
        }

        q = ngx_queue_head(&ngx_astro_chat.sent);
        ngx_queue_remove(q);
        ngx_astro_chat.nsent = 0;
        ngx_astro_chat_fail(ngx_queue_data(q, ngx_astro_chat_t, link),
                            NGX_ASTRO_E_INTERNAL, "could not be stored", NULL);
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
    char               *message, *field;
    ngx_uint_t          dup;
    ngx_str_t           status, payload;

    status = ngx_astro_pg_str(res, row, 1);

    if (!ngx_astro_same(status.data, status.len, "ok")) {

        /* the texts are constants of chat_acts.sql */

        message = chat->act ? PQgetvalue(res, row, 7)
                            : "the message was not taken";
        field = chat->act && !PQgetisnull(res, row, 8)
                ? PQgetvalue(res, row, 8) : NULL;

        ngx_astro_chat_fail(chat, ngx_astro_error_parse(status.data,
                                                        status.len),
                            message, field);
        return;
    }

    dup = ngx_astro_pg_bool(res, row, 5);

    if (chat->act) {
        payload = ngx_astro_pg_str(res, row, 6);

    } else {
        payload.data = chat->payload;
        payload.len = chat->len;
    }

    ngx_astro_chat_reply(chat, ngx_astro_pg_int(res, row, 2),
                         ngx_astro_pg_int(res, row, 3), dup, &payload);

    /* a seq of 0: nothing had to be stored */

    if (ngx_astro_pg_int(res, row, 2) && (!dup || chat->retried)) {
        ngx_astro_chat_tell(chat, ngx_astro_pg_int(res, row, 4),
                            ngx_astro_pg_int(res, row, 2),
                            ngx_astro_pg_int(res, row, 3), &payload);
    }

    ngx_astro_chat_free(chat);
}


/* To all sockets of both; to the letter what consult.frame() makes of it. */

static void
ngx_astro_chat_tell(ngx_astro_chat_t *chat, uint64_t peer, int64_t seq,
    int64_t ts, ngx_str_t *payload)
{
    u_char             *p;
    u_char              buf[160];
    ngx_astro_msg_t     m;
    ngx_astro_route_t   route;

    if (chat->type == NGX_ASTRO_CHAT_MESSAGE) {
        ngx_astro_count(CHATS);

    } else {
        ngx_astro_count(CHAT_CHANGES);
    }

    p = ngx_sprintf(buf, "{\"type\":\"%s\",\"conv\":\"c_%uL\","
                    "\"seq\":%L,\"ts\":%L,\"payload\":",
                    ngx_astro_chat_types[chat->type], chat->conv, seq, ts);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_msg_add(&m, payload->data, payload->len);
    ngx_astro_msg_lit(&m, "}");

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.durable = 1;
    route.conv = chat->conv;
    route.seq = seq;

    route.user = peer;
    ngx_astro_route_user(&route, &m);
    route.user = chat->user;
    ngx_astro_route_user(&route, &m);
}


static void
ngx_astro_chat_reply(ngx_astro_chat_t *chat, int64_t seq, int64_t ts,
    ngx_uint_t dup, ngx_str_t *payload)
{
    u_char  *p;
    u_char   buf[160];

    if (chat->call == NULL) {
        ngx_astro_chat_rest_reply(chat, ngx_astro_chat_types[chat->type], seq,
                                  ts, dup, payload);
        return;
    }

    p = ngx_sprintf(buf, "{\"conv\":\"c_%uL\"", chat->conv);

    if (seq) {
        p = ngx_sprintf(p, ",\"seq\":%L,\"ts\":%L", seq, ts);
    }

    p = ngx_sprintf(p, "%s}", dup ? ",\"dup\":true" : "");

    ngx_astro_reply(chat->call->conn, chat->call->id, buf, p - buf);
}


static void
ngx_astro_chat_fail(ngx_astro_chat_t *chat, ngx_astro_error_e error,
    const char *message, const char *field)
{
    if (chat->call == NULL) {
        ngx_astro_chat_rest_fail(chat, error, message, field);

    } else {
        ngx_astro_reply_error(chat->call->conn, chat->call->id, error,
                              message, field);
    }

    if (error == NGX_ASTRO_E_UNPAID) {
        ngx_astro_count(UNPAID);

    } else if (error == NGX_ASTRO_E_NOT_PARTICIPANT
               || error == NGX_ASTRO_E_SESSION_STATE)
    {
        ngx_astro_count(DENIED);
    }

    ngx_astro_chat_free(chat);
}


static void
ngx_astro_chat_free(ngx_astro_chat_t *chat)
{
    if (chat->call) {
        ngx_astro_call_free(chat->call);
    }

    ngx_free(chat);
}
