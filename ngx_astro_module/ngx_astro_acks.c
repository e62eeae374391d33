
/*
 * Copyright (C) The Astro authors
 *
 * Receipts: how far a receiver says it has got and read.  Those of a moment are
 * stored together, then each is answered, and what rose is told to the other
 * party.  What is lost with a connection to the database is said again by the
 * next one, for they are cumulative.
 */

#include "ngx_astro_chat.h"
#include "ngx_astro_sql.h"


#define NGX_ASTRO_ACKS_BATCH  500
#define NGX_ASTRO_ACKS_QUEUE  20000
#define NGX_ASTRO_ACKS_MS     20        /* for others to come along */
#define NGX_ASTRO_ACKS_MAX    9007199254740991LL


typedef struct {
    ngx_queue_t         link;
    ngx_astro_call_t   *call;           /* arg: the conversation */
    uint64_t            user;
    int64_t             delivered;
    int64_t             read;
} ngx_astro_ack_t;


static ngx_int_t ngx_astro_acks_number(ngx_astro_req_t *req, const char *name,
    const char *field, int64_t *n);
static void ngx_astro_acks_send(ngx_event_t *ev);
static void ngx_astro_acks_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_acks_stored(ngx_astro_ack_t *ack, PGresult *res,
    int row);
static ngx_astro_ack_t *ngx_astro_acks_shift(ngx_queue_t *queue);
static void ngx_astro_acks_free(ngx_astro_ack_t *ack);


static struct {
    ngx_queue_t   queue;
    ngx_queue_t   sent;
    ngx_uint_t    nqueued;
    ngx_uint_t    nsent;
    ngx_event_t   timer;
} ngx_astro_acks;


void
ngx_astro_acks_init(void)
{
    ngx_queue_init(&ngx_astro_acks.queue);
    ngx_queue_init(&ngx_astro_acks.sent);

    ngx_astro_event_init(&ngx_astro_acks.timer, ngx_astro_acks_send);
}


void
ngx_astro_handle_chat_ack(ngx_astro_req_t *req)
{
    int64_t           delivered, read;
    uint64_t          conv;
    ngx_astro_ack_t  *ack;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    if (ngx_astro_acks_number(req, "delivered", "/payload/delivered",
                              &delivered)
        != NGX_OK
        || ngx_astro_acks_number(req, "read", "/payload/read", &read)
           != NGX_OK)
    {
        return;
    }

    if (ngx_astro_acks.nqueued >= NGX_ASTRO_ACKS_QUEUE) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "too many receipts wait, try again", NULL);
        return;
    }

    ack = ngx_alloc(sizeof(ngx_astro_ack_t), ngx_astro.log);

    if (ack) {
        ack->call = ngx_astro_call_create(req->conn, req->id, conv);
    }

    if (ack == NULL || ack->call == NULL) {
        ngx_free(ack);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_INTERNAL,
                              "no memory", NULL);
        return;
    }

    ack->user = req->conn->user;
    ack->delivered = delivered;
    ack->read = read;

    ngx_queue_insert_tail(&ngx_astro_acks.queue, &ack->link);
    ngx_astro_acks.nqueued++;

    if (ngx_astro_acks.nsent == 0 && !ngx_astro_acks.timer.timer_set) {
        ngx_add_timer(&ngx_astro_acks.timer, NGX_ASTRO_ACKS_MS);
    }
}


static ngx_int_t
ngx_astro_acks_number(ngx_astro_req_t *req, const char *name,
    const char *field, int64_t *n)
{
    const astro_json_member_t  *m;

    *n = 0;
    m = astro_json_get(&req->doc->payload, name);

    if (m == NULL || m->kind == ASTRO_JSON_NULL
        || astro_json_int(m, 0, NGX_ASTRO_ACKS_MAX, n) == 0)
    {
        return NGX_OK;
    }

    ngx_astro_count(BAD_MESSAGE);
    ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                          "it is the seq of an event", field);

    return NGX_ERROR;
}


static void
ngx_astro_acks_send(ngx_event_t *ev)
{
    u_char                 *p[4];
    ngx_uint_t              n, i;
    ngx_queue_t            *q;
    const char             *values[4];
    ngx_astro_ack_t        *ack;

    static u_char  buf[4][NGX_ASTRO_ACKS_BATCH * (NGX_INT64_LEN + 1) + 4];

    if (ngx_astro_acks.nsent || ngx_queue_empty(&ngx_astro_acks.queue)) {
        return;
    }

    for (i = 0; i < 4; i++) {
        p[i] = buf[i];
        values[i] = (char *) buf[i];
    }

    for (n = 0; n < NGX_ASTRO_ACKS_BATCH; n++) {

        if (ngx_queue_empty(&ngx_astro_acks.queue)) {
            break;
        }

        q = ngx_queue_head(&ngx_astro_acks.queue);
        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_astro_acks.sent, q);
        ack = ngx_queue_data(q, ngx_astro_ack_t, link);

        for (i = 0; i < 4; i++) {
            *p[i]++ = n ? ',' : '{';
        }

        p[0] = ngx_sprintf(p[0], "%uL", ack->call->arg);
        p[1] = ngx_sprintf(p[1], "%uL", ack->user);
        p[2] = ngx_sprintf(p[2], "%L", ack->delivered);
        p[3] = ngx_sprintf(p[3], "%L", ack->read);
    }

    for (i = 0; i < 4; i++) {
        *p[i]++ = '}';
        *p[i] = '\0';
    }

    ngx_astro_acks.nsent = n;
    ngx_astro_acks.nqueued -= n;

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_chat_acks, values,
                          ngx_astro_acks_done, NULL)
        != NGX_OK)
    {
        ngx_astro_acks_done(NULL, NGX_ASTRO_PG_LOST, NULL);
    }
}


static void
ngx_astro_acks_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_uint_t        i, n;
    ngx_astro_ack_t  *ack;

    n = ngx_astro_acks.nsent;
    ngx_astro_acks.nsent = 0;

    for (i = 0; i < n; i++) {
        ack = ngx_astro_acks_shift(&ngx_astro_acks.sent);

        if (rc == NGX_ASTRO_PG_OK && PQntuples(res) == (int) n) {
            ngx_astro_acks_stored(ack, res, i);

        } else {
            ngx_astro_reply_error(ack->call->conn, ack->call->id,
                                  rc == NGX_ASTRO_PG_LOST
                                  ? NGX_ASTRO_E_UNAVAILABLE
                                  : NGX_ASTRO_E_INTERNAL,
                                  "it was not stored, try again", NULL);
        }

        ngx_astro_acks_free(ack);
    }

    if (!ngx_queue_empty(&ngx_astro_acks.queue)
        && !ngx_astro_acks.timer.timer_set)
    {
        ngx_add_timer(&ngx_astro_acks.timer, NGX_ASTRO_ACKS_MS);
    }
}


static void
ngx_astro_acks_stored(ngx_astro_ack_t *ack, PGresult *res, int row)
{
    u_char             *p;
    u_char              buf[192];
    int64_t             got, seen;
    ngx_str_t           status;
    ngx_astro_msg_t     m;
    ngx_astro_route_t   route;

    status = ngx_astro_pg_str(res, row, 1);

    if (!ngx_astro_same(status.data, status.len, "ok")) {
        ngx_astro_count(DENIED);
        ngx_astro_reply_error(ack->call->conn, ack->call->id,
                              ngx_astro_error_parse(status.data, status.len),
                              "no such conversation of yours",
                              "/payload/conv");
        return;
    }

    got = ngx_astro_pg_int(res, row, 2);
    seen = ngx_astro_pg_int(res, row, 3);

    p = ngx_sprintf(buf, "{\"conv\":\"c_%uL\",\"delivered\":%L,\"read\":%L}",
                    ack->call->arg, got, seen);
    ngx_astro_reply(ack->call->conn, ack->call->id, buf, p - buf);

    if (!ngx_astro_pg_bool(res, row, 5)) {
        return;
    }

    ngx_astro_count(RECEIPTS);

    p = ngx_sprintf(buf, "{\"type\":\"chat_receipt\",\"conv\":\"c_%uL\","
                    "\"payload\":{\"from\":\"u_%uL\",\"delivered\":%L,"
                    "\"read\":%L}}", ack->call->arg, ack->user, got, seen);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.user = ngx_astro_pg_int(res, row, 4);

    ngx_astro_route_user(&route, &m);
}


static ngx_astro_ack_t *
ngx_astro_acks_shift(ngx_queue_t *queue)
{
    ngx_queue_t  *q;

    q = ngx_queue_head(queue);
    ngx_queue_remove(q);

    return ngx_queue_data(q, ngx_astro_ack_t, link);
}


static void
ngx_astro_acks_free(ngx_astro_ack_t *ack)
{
    ngx_astro_call_free(ack->call);
    ngx_free(ack);
}
