
/*
 * Copyright (C) The Astro authors
 *
 * A connection's conversations are an array that is looked through from its
 * start: most have a handful, an advisor a hundred.
 *
 * While a fetch is under way live events are written or held as at any other
 * time: rows that were written meanwhile are dropped when they come.  A fetch
 * that brought nothing is repeated only if more was heard of since it left, so
 * that a head which nothing stands behind is not asked for without end.
 *
 * A replay is cut when half of the output queue is full ("lagging") and goes on
 * when it is empty; until then nothing is held or fetched.  A client that has
 * still not emptied it when as much again has come is too slow: 4504.
 */

#include "ngx_astro_heal.h"
#include "ngx_astro_held.h"
#include "ngx_astro_resume_private.h"
#include "ngx_astro_told.h"


#define NGX_ASTRO_POS_MAX   1000        /* conversations of one connection */
#define NGX_ASTRO_PAGE      100         /* events in one fetch */

#define ngx_astro_resume_behind(pos)                                          \
    ((pos)->last >= 0 && (pos)->want > (pos)->last)


static ngx_astro_pos_t *ngx_astro_resume_find(ngx_astro_conn_t *conn,
    uint64_t conv);
static ngx_astro_pos_t *ngx_astro_resume_add(ngx_astro_conn_t *conn,
    uint64_t conv);
static void ngx_astro_resume_held(ngx_astro_conn_t *conn,
    ngx_astro_pos_t *pos);
static void ngx_astro_resume_hole(ngx_astro_conn_t *conn,
    ngx_astro_pos_t *pos);
static void ngx_astro_resume_late(ngx_astro_conn_t *conn);
static void ngx_astro_resume_fetch(ngx_astro_conn_t *conn,
    ngx_astro_pos_t *pos);
static void ngx_astro_resume_fetched(void *data, ngx_astro_pg_rc_e rc,
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

    ngx_memzero(pos, sizeof(ngx_astro_pos_t));
    pos->conv = conv;

    return pos;
}


void
ngx_astro_resume_from(ngx_astro_conn_t *conn, uint64_t conv, int64_t last,
    int64_t head)
{
    ngx_astro_pos_t  *pos;

    ngx_astro_resume_set(conn, conv, last);

    pos = ngx_astro_resume_find(conn, conv);

    if (pos == NULL) {
        return;
    }

    pos->want = ngx_max(pos->want, head);

    if (ngx_astro_resume_behind(pos) && !pos->fetching) {
        ngx_astro_resume_fetch(conn, pos);
    }
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

    } else if (pos->last >= 0) {
        return;
    }

    pos->last = last;
    pos->asked = 0;

    /* heard of while hello was under way, or before the session's news */

    ngx_astro_resume_held(conn, pos);

    if (conn->signed_in && ngx_astro_resume_behind(pos)) {
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

        pos->last = -seq;

        if (conn->signed_in) {
            ngx_astro_heal_user(conn->user);
        }
    }

    pos->want = ngx_max(pos->want, seq);

    if (!conn->signed_in) {
        return;
    }

    if (pos->last >= 0) {

        if (seq <= pos->last) {
            return;
        }

        if (seq == pos->last + 1) {
            pos->last = seq;
            ngx_astro_conn_send(conn, m, 0);

            if (pos->late) {
                /* that hole is filled: what is missing now is another */
                ngx_astro_resume_held(conn, pos);
                pos->since_ms = (uint32_t) ngx_current_msec;
                pos->late = ngx_astro_resume_behind(pos);
            }

            return;
        }

        if (conn->lagging) {

            /* fetched when its queue is empty, if that ever is */

            conn->withheld += m->len;

            if (conn->withheld > ngx_astro.conf->out_queue) {
                ngx_astro_conn_slow(conn);
            }

            return;
        }
    }

    (void) ngx_astro_held_add(conn, conv, seq, m);
    ngx_astro_resume_hole(conn, pos);
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

    if (conn->signed_in) {
        ngx_astro_resume_hole(conn, pos);
    }
}


int64_t
ngx_astro_resume_last(ngx_astro_conn_t *conn, uint64_t conv)
{
    ngx_astro_pos_t  *pos;

    pos = ngx_astro_resume_find(conn, conv);

    return pos && pos->last >= 0 ? pos->last : -1;
}


/* What is held and follows. */

static void
ngx_astro_resume_held(ngx_astro_conn_t *conn, ngx_astro_pos_t *pos)
{
    if (conn->held) {
        pos->last = ngx_astro_held_flush(conn, pos->conv, pos->last);
    }
}


/*
 * Something is missing.  It has 100 ms from the moment in which that was first
 * known: a ring that is read next, a worker that is a little behind.
 */

static void
ngx_astro_resume_hole(ngx_astro_conn_t *conn, ngx_astro_pos_t *pos)
{
    if (pos->fetching) {
        pos->again = 1;
        return;
    }

    if (pos->late || conn->lagging || !ngx_astro_resume_behind(pos)) {
        return;
    }

    pos->late = 1;
    pos->since_ms = (uint32_t) ngx_current_msec;

    if (ngx_astro_held_wait(conn, NGX_ASTRO_HELD_MS, ngx_astro_resume_late)
        != NGX_OK)
    {
        pos->late = 0;
        ngx_astro_resume_fetch(conn, pos);
    }
}


static void
ngx_astro_resume_late(ngx_astro_conn_t *conn)
{
    int32_t           left, next;
    ngx_uint_t        i;
    ngx_astro_pos_t  *pos;

    next = 0;

    for (i = 0; i < conn->npos; i++) {
        pos = &conn->pos[i];

        if (!pos->late) {
            continue;
        }

        if (!ngx_astro_resume_behind(pos)) {
            pos->late = 0;
            continue;
        }

        left = NGX_ASTRO_HELD_MS
               - (int32_t) ((uint32_t) ngx_current_msec - pos->since_ms);

        if (left > 0) {
            next = next ? ngx_min(next, left) : left;
            continue;
        }

        pos->late = 0;

        if (!pos->fetching) {
            ngx_astro_count(HOLES);
            ngx_astro_resume_fetch(conn, pos);
        }
    }

    if (next) {
        (void) ngx_astro_held_wait(conn, next, ngx_astro_resume_late);
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
        /* the next event or head asks again, or heal when it comes by */

        ngx_astro_held_drop(conn, pos->conv);
        return;
    }

    pos->fetching = 1;
    pos->again = 0;
}


ngx_int_t
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
        ngx_astro_held_drop(conn, pos->conv);
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

    ngx_astro_resume_held(conn, pos);

    if (ngx_astro_resume_behind(pos) && !conn->lagging) {

        if (n > NGX_ASTRO_PAGE) {
            ngx_astro_resume_fetch(conn, pos);

        } else if (n > 1 || pos->again) {

            /* committed after this fetch looked; it is on its way */

            ngx_astro_resume_hole(conn, pos);
        }
    }

    ngx_astro_call_free(call);
}


/* The rest follows when the queue is empty. */

ngx_uint_t
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

    conn->withheld = 0;

    for (i = 0; i < conn->npos; i++) {
        if (ngx_astro_resume_behind(&conn->pos[i])
            && !conn->pos[i].fetching)
        {
            ngx_astro_resume_fetch(conn, &conn->pos[i]);
        }
    }
}


ngx_uint_t
ngx_astro_resume_ask(ngx_astro_conn_t *conn)
{
    ngx_uint_t        i, unsure;
    ngx_astro_pos_t  *pos;

    unsure = 0;

    for (i = 0; i < conn->npos; i++) {
        pos = &conn->pos[i];

        if (pos->last < 0) {
            pos->asked = 1;
            unsure = 1;

        } else if (pos->want > pos->last) {

            /* a fetch that failed, and nothing was heard of since */

            ngx_astro_resume_hole(conn, pos);
        }
    }

    return unsure;
}


void
ngx_astro_resume_settle(ngx_astro_conn_t *conn)
{
    ngx_uint_t  i;

    for (i = 0; i < conn->npos; i++) {
        if (conn->pos[i].last < 0 && conn->pos[i].asked) {
            ngx_astro_resume_set(conn, conn->pos[i].conv,
                                 -conn->pos[i].last - 1);
        }
    }
}


void
ngx_astro_resume_wrote(ngx_astro_conn_t *conn, uint64_t conv, int64_t seq)
{
    ngx_astro_pos_t  *pos;

    pos = ngx_astro_resume_find(conn, conv);

    if (pos && seq > pos->last) {
        pos->last = seq;
        ngx_astro_resume_held(conn, pos);
    }
}


void
ngx_astro_resume_leave(ngx_astro_conn_t *conn)
{
    ngx_astro_held_free(conn);
}


void
ngx_astro_resume_free(ngx_astro_conn_t *conn)
{
    if (conn->pos) {
        ngx_free(conn->pos);
    }

    ngx_astro_told_free(conn);
}


/*
 * The heads as far as anybody knows: a client that finds itself behind asks by
 * sync, whatever this worker believes to have written.
 */

void
ngx_astro_resume_ping(ngx_astro_conn_t *conn)
{
    u_char            *p;
    u_char             buf[64 + NGX_ASTRO_TOLD_MAX * 48];
    ngx_uint_t         i, n;
    ngx_astro_msg_t    m;
    ngx_astro_pos_t   *pos;
    ngx_astro_told_t  *t;

    n = 0;
    p = ngx_cpymem(buf, "{\"type\":\"ping\",\"heads\":{", 24);

    for (i = 0; i < conn->ntold; i++) {
        t = &conn->told[i];
        pos = t->done ? NULL : ngx_astro_resume_find(conn, t->conv);

        if (i && t[-1].conv == t->conv && !t[-1].done) {
            /* one session ends as the next begins */
            continue;
        }

        if (pos && pos->last >= 0) {
            p = ngx_sprintf(p, "%s\"c_%uL\":%L", n++ ? "," : "", t->conv,
                            ngx_max(pos->want, pos->last));
        }
    }

    p = ngx_cpymem(p, "}}", 2);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_send(conn, &m, 1);
}
