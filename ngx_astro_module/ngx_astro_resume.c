
/*
 * Copyright (C) The Astro authors
 *
 * A connection knows the conversations it was told of in hello and those that
 * it got an event of since.  Of a conversation it does not know it takes
 * whatever comes first: it began after hello (or is too old to be among the
 * hundred that hello names, and then the client's own rule finds the hole).
 *
 * While a fetch is under way live events are not sent: the fetch brings them,
 * or "want" tells that another is needed.  So nothing is held in memory for
 * a client, and whatever a ring, Redis or a killed worker dropped is
 * made good by the next event or head that is heard of.
 */

#include "ngx_astro_resume.h"
#include "ngx_astro_sql.h"


#define NGX_ASTRO_POS_MAX   1000        /* conversations of one connection */
#define NGX_ASTRO_PAGE      100         /* events in one fetch */


static ngx_astro_pos_t *ngx_astro_resume_find(ngx_astro_conn_t *conn,
    uint64_t conv);
static ngx_astro_pos_t *ngx_astro_resume_add(ngx_astro_conn_t *conn,
    uint64_t conv);
static void ngx_astro_resume_fetch(ngx_astro_conn_t *conn,
    ngx_astro_pos_t *pos);
static ngx_uint_t ngx_astro_resume_full(ngx_astro_conn_t *conn, size_t len);
static void ngx_astro_resume_fetched(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_int_t ngx_astro_resume_call(ngx_astro_call_t *call, uint64_t conv,
    int64_t after, ngx_uint_t cap, ngx_astro_pg_handler_pt handler);
static void ngx_astro_resume_synced(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


static ngx_astro_pos_t *
ngx_astro_resume_find(ngx_astro_conn_t *conn, uint64_t conv)
{
    ngx_uint_t  i;

    for (i = 0; i < conn->npos; i++) {
        if (conn->pos[i].conv == conv) {
            return &conn->pos[i];
        }
    }

    return NULL;
}


static ngx_astro_pos_t *
ngx_astro_resume_add(ngx_astro_conn_t *conn, uint64_t conv)
{
    ngx_uint_t        size;
    ngx_astro_pos_t  *pos;

    if (conn->npos == conn->pos_size) {

        if (conn->npos >= NGX_ASTRO_POS_MAX) {
            return NULL;
        }

        size = conn->pos_size ? conn->pos_size * 2 : 4;
        pos = ngx_alloc(size * sizeof(ngx_astro_pos_t), ngx_astro.log);

        if (pos == NULL) {
            return NULL;
        }

        if (conn->pos) {
            ngx_memcpy(pos, conn->pos, conn->npos * sizeof(ngx_astro_pos_t));
            ngx_free(conn->pos);
        }

        conn->pos = pos;
        conn->pos_size = size;
    }

    pos = &conn->pos[conn->npos++];
    pos->conv = conv;
    pos->last = 0;
    pos->want = 0;
    pos->fetching = 0;

    return pos;
}


void
ngx_astro_resume_set(ngx_astro_conn_t *conn, uint64_t conv, int64_t last)
{
    ngx_astro_pos_t  *pos;

    pos = ngx_astro_resume_find(conn, conv);

    if (pos == NULL) {
        pos = ngx_astro_resume_add(conn, conv);
        if (pos == NULL) {
            return;
        }

    } else if (pos->last) {
        return;
    }

    pos->last = last;

    /* heard of while hello was under way */

    if (conn->signed_in && pos->want > pos->last) {
        ngx_astro_resume_fetch(conn, pos);
    }
}


void
ngx_astro_resume_event(ngx_astro_conn_t *conn, uint64_t conv, int64_t seq,
    const ngx_astro_msg_t *m)
{
    ngx_astro_pos_t  *pos;

    pos = ngx_astro_resume_find(conn, conv);

    if (pos == NULL) {
        pos = ngx_astro_resume_add(conn, conv);

        if (pos == NULL) {
            ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_RESYNC, "resync",
                               "resume", 0);
            return;
        }

        if (conn->signed_in) {
            pos->last = seq - 1;
        }
    }

    pos->want = ngx_max(pos->want, seq);

    if (!conn->signed_in || pos->fetching || seq <= pos->last) {
        return;
    }

    if (seq == pos->last + 1) {
        pos->last = seq;
        ngx_astro_conn_send(conn, m, 0);
        return;
    }

    ngx_astro_count(HOLES);
    ngx_astro_resume_fetch(conn, pos);
}


void
ngx_astro_resume_head(ngx_astro_conn_t *conn, uint64_t conv, int64_t head)
{
    ngx_astro_pos_t  *pos;

    pos = ngx_astro_resume_find(conn, conv);

    if (pos == NULL || head <= pos->last) {
        return;
    }

    pos->want = ngx_max(pos->want, head);

    if (conn->signed_in && !pos->fetching) {
        ngx_astro_resume_fetch(conn, pos);
    }
}


static void
ngx_astro_resume_fetch(ngx_astro_conn_t *conn, ngx_astro_pos_t *pos)
{
    ngx_astro_call_t  *call;

    if (!ngx_astro_conn_open(conn)) {
        return;
    }

    call = ngx_astro_call_create(conn, 0, pos->conv);

    if (call == NULL
        || ngx_astro_resume_call(call, pos->conv, pos->last, NGX_ASTRO_PAGE,
                                 ngx_astro_resume_fetched)
           != NGX_OK)
    {
        /* the next event or head asks again */
        return;
    }

    pos->fetching = 1;
}


static ngx_int_t
ngx_astro_resume_call(ngx_astro_call_t *call, uint64_t conv, int64_t after,
    ngx_uint_t cap, ngx_astro_pg_handler_pt handler)
{
    char         user[24], id[24], from[24], n[24];
    const char  *values[4];

    *ngx_sprintf((u_char *) user, "%uL", call->conn->user) = '\0';
    *ngx_sprintf((u_char *) id, "%uL", conv) = '\0';
    *ngx_sprintf((u_char *) from, "%L", after) = '\0';
    *ngx_sprintf((u_char *) n, "%ui", cap) = '\0';

    values[0] = user;
    values[1] = id;
    values[2] = from;
    values[3] = n;

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_sync, values,
                          handler, call)
        != NGX_OK)
    {
        ngx_astro_call_free(call);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_astro_resume_fetched(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    int                i, n;
    int64_t            seq;
    ngx_str_t          frame;
    ngx_uint_t         more;
    ngx_astro_msg_t    m;
    ngx_astro_pos_t   *pos;
    ngx_astro_conn_t  *conn;

    conn = call->conn;
    pos = ngx_astro_resume_find(conn, call->arg);

    if (pos == NULL || !ngx_astro_conn_open(conn)) {
        ngx_astro_call_free(call);
        return;
    }

    pos->fetching = 0;

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_call_free(call);
        return;
    }

    n = PQntuples(res);

    for (i = 1; i < n; i++) {
        seq = ngx_astro_pg_int(res, i, 0);

        if (seq <= pos->last) {
            continue;
        }

        frame = ngx_astro_pg_str(res, i, 1);

        if (ngx_astro_resume_full(conn, frame.len)) {
            pos->want = ngx_max(pos->want, seq);
            break;
        }

        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, frame.data, frame.len);

        pos->last = seq;
        ngx_astro_conn_send(conn, &m, 0);
    }

    /* nothing came: what was wanted isn't there (any more), so stop asking */

    more = n > 1 && pos->want > pos->last && !conn->lagging;

    if (more) {
        ngx_astro_resume_fetch(conn, pos);
    }

    ngx_astro_call_free(call);
}


/*
 * A replay is not thrown at a client faster than it reads, lest it be closed
 * for being slow: the rest follows when its queue is empty.
 */

static ngx_uint_t
ngx_astro_resume_full(ngx_astro_conn_t *conn, size_t len)
{
    if (conn->out_size == 0
        || conn->out_size + len <= ngx_astro.conf->out_queue / 2)
    {
        return 0;
    }

    conn->lagging = 1;

    return 1;
}


void
ngx_astro_resume_more(ngx_astro_conn_t *conn)
{
    ngx_uint_t  i;

    if (!conn->signed_in) {
        return;
    }

    for (i = 0; i < conn->npos; i++) {
        if (conn->pos[i].want > conn->pos[i].last
            && !conn->pos[i].fetching)
        {
            ngx_astro_resume_fetch(conn, &conn->pos[i]);
        }
    }
}


void
ngx_astro_resume_ping(ngx_astro_conn_t *conn)
{
    u_char           *p, *last, *buf;
    size_t            size;
    ngx_uint_t        i;
    ngx_astro_msg_t   m;

    size = 40 + conn->npos * 48;
    buf = ngx_alloc(size, ngx_astro.log);

    if (buf == NULL) {
        return;
    }

    last = buf + size;
    p = ngx_cpymem(buf, "{\"type\":\"ping\",\"heads\":{", 24);

    for (i = 0; i < conn->npos; i++) {
        p = ngx_slprintf(p, last, "%s\"c_%uL\":%L", i ? "," : "",
                         conn->pos[i].conv,
                         ngx_max(conn->pos[i].want, conn->pos[i].last));
    }

    p = ngx_cpymem(p, "}}", 2);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_send(conn, &m, 1);

    ngx_free(buf);
}


/*
 * sync {conv, after}: the client has found a hole of its own.  The events go
 * out as they are, whatever was written before; then the reply.
 */

void
ngx_astro_handle_sync(ngx_astro_req_t *req)
{
    int64_t                     after;
    uint64_t                    conv;
    ngx_astro_call_t           *call;
    const astro_json_member_t  *m;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    m = astro_json_get(&req->doc->payload, "after");

    if (m == NULL || astro_json_int(m, 0, INT64_MAX, &after) != 0) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "after is the last seq that you have",
                              "/payload/after");
        return;
    }

    call = ngx_astro_call_create(req->conn, req->id, conv);

    if (call == NULL
        || ngx_astro_resume_call(call, conv, after, NGX_ASTRO_REPLAY_MAX,
                                 ngx_astro_resume_synced)
           != NGX_OK)
    {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_UNAVAILABLE,
                              "the database is away, try again", NULL);
    }
}


static void
ngx_astro_resume_synced(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    int                i, n;
    u_char            *p;
    u_char             buf[128];
    int64_t            head, seq;
    ngx_str_t          frame;
    ngx_astro_msg_t    m;
    ngx_astro_pos_t   *pos;
    ngx_astro_conn_t  *conn;

    conn = call->conn;

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_reply_error(conn, call->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no answer from the database, try again", NULL);
        ngx_astro_call_free(call);
        return;
    }

    n = PQntuples(res);

    if (n == 0) {
        ngx_astro_count(DENIED);
        ngx_astro_reply_error(conn, call->id, NGX_ASTRO_E_NOT_PARTICIPANT,
                              "no conversation of yours", "/payload/conv");
        ngx_astro_call_free(call);
        return;
    }

    head = ngx_astro_pg_int(res, 0, 2);
    seq = 0;

    for (i = 1; i < n; i++) {
        frame = ngx_astro_pg_str(res, i, 1);

        if (i > 1 && ngx_astro_resume_full(conn, frame.len)) {
            break;
        }

        seq = ngx_astro_pg_int(res, i, 0);

        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, frame.data, frame.len);
        ngx_astro_conn_send(conn, &m, 0);
    }

    pos = ngx_astro_resume_find(conn, call->arg);

    if (pos && !pos->fetching && seq > pos->last) {
        pos->last = seq;
    }

    p = ngx_sprintf(buf, "{\"conv\":\"c_%uL\",\"head\":%L,\"more\":%s}",
                    call->arg, head,
                    n > 1 && seq < head ? "true" : "false");

    ngx_astro_reply(conn, call->id, buf, p - buf);
    ngx_astro_call_free(call);
}
