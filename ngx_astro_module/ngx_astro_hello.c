
/*
 * Copyright (C) The Astro authors
 *
 * The order matters: first the socket is registered, so that live events reach
 * it (and are only noted, as "want", until it is signed in), then the heads
 * are read.  Whatever is committed before that read is in the heads,
 * whatever comes later has been noted: there is no gap between replay and live.
 *
 * Heads are read for many at once, as chat is stored: the hellos that came
 * while the last batch was in flight are the next one, so a batch is one hello
 * when there is little to do, and after a restart thousands come back in
 * hundreds.  A batch that the database refuses goes again in smaller ones.
 */

#include "ngx_astro_gateway.h"
#include "ngx_astro_hello_private.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_listen.h"
#include "ngx_astro_outside.h"
#include "ngx_astro_reauth.h"
#include "ngx_astro_revoked.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_users.h"


#define NGX_ASTRO_HELLO_POS    200      /* conversations in one hello */
#define NGX_ASTRO_HELLO_BATCH  100      /* hellos */


typedef struct {
    ngx_uint_t             n;           /* scalars: two for each */
    ngx_astro_hello_pos_t  pos[NGX_ASTRO_HELLO_POS];
} ngx_astro_hello_said_t;


static ngx_int_t ngx_astro_hello_token(ngx_astro_req_t *req,
    astro_claims_t *claims, astro_jwt_rc_e *rc);
static int ngx_astro_hello_pos(void *ctx, int depth,
    const astro_json_member_t *scalar);
static void ngx_astro_hello_post(ngx_event_t *ev);
static void ngx_astro_hello_send(void);
static ngx_int_t ngx_astro_hello_call(ngx_uint_t n);
static void ngx_astro_hello_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_hello_again(void);
static void ngx_astro_hello_failed(void);
static void ngx_astro_hello_answer(ngx_astro_hello_t *h, PGresult *res,
    int row, int end);


static struct {
    ngx_queue_t   queue;
    ngx_queue_t   sent;
    ngx_uint_t    nsent;
    ngx_uint_t    cap;
    ngx_event_t   post;
} ngx_astro_hello;


void
ngx_astro_hello_init(void)
{
    ngx_queue_init(&ngx_astro_hello.queue);
    ngx_queue_init(&ngx_astro_hello.sent);
    ngx_astro_hello.cap = NGX_ASTRO_HELLO_BATCH;

    ngx_astro_event_init(&ngx_astro_hello.post, ngx_astro_hello_post);
}


void
ngx_astro_handle_hello(ngx_astro_req_t *req)
{
    size_t                      size;
    ngx_int_t                   rc;
    astro_claims_t              claims;
    astro_jwt_rc_e              jwt;
    ngx_astro_conn_t           *conn;
    ngx_astro_hello_t          *h;
    ngx_astro_hello_said_t      said;
    const astro_json_member_t  *m;

    conn = req->conn;

    if (conn->signed_in || conn->hello) {
        ngx_astro_reply_error(conn, req->id, NGX_ASTRO_E_CONFLICT,
                              "hello was said", NULL);
        return;
    }

    ngx_memzero(&claims, sizeof(astro_claims_t));

    if (ngx_astro_hello_token(req, &claims, &jwt) == NGX_AGAIN) {
        return;
    }

    if (jwt != ASTRO_JWT_OK) {
        ngx_astro_count(AUTH_FAILED);

        if (req->id) {
            ngx_astro_reply_error(conn, req->id,
                                  jwt == ASTRO_JWT_EXPIRED
                                      ? NGX_ASTRO_E_TOKEN_EXPIRED
                                      : NGX_ASTRO_E_UNAUTHORIZED,
                                  "no valid token", NULL);
        }

        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_AUTH,
                           jwt == ASTRO_JWT_EXPIRED ? "token expired"
                                                    : "unauthorized",
                           "stop", 0);
        return;
    }

    said.n = 0;
    m = astro_json_get(&req->doc->payload, "pos");

    if (m && (m->kind != ASTRO_JSON_ARRAY
              || astro_json_scalars(ngx_astro.json, m, ngx_astro_hello_pos,
                                    &said)
                 != 0
              || (said.n & 1)))
    {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "pos is an array of at most 200 [conv, seq]",
                              "/payload/pos");
        return;
    }

    size = said.n / 2 * sizeof(ngx_astro_hello_pos_t);
    h = ngx_alloc(sizeof(ngx_astro_hello_t) + size, ngx_astro.log);

    if (h == NULL) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "no memory",
                           "resume", 0);
        return;
    }

    h->conn = conn;
    h->sent = 0;
    h->id = req->id;
    h->token_exp = claims.exp;
    h->came_us = ngx_astro_boot_us();
    h->npos = said.n / 2;
    ngx_memcpy(h->pos, said.pos, size);

    m = astro_json_get(&req->doc->payload, "admin_metrics");
    h->figures = m && m->kind == ASTRO_JSON_BOOL && m->raw[0] == 't';

    m = astro_json_get(&req->doc->payload, "device");

    if (m && m->kind == ASTRO_JSON_STRING) {
        conn->device = ngx_murmur_hash2((u_char *) m->raw, m->raw_len) + 1ULL;
    }

    conn->hello = h;
    ngx_queue_insert_tail(&ngx_astro_hello.queue, &h->link);

    conn->user = claims.user;
    conn->role = claims.role;
    conn->resumed = h->npos > 0;
    ngx_astro_reauth_keep(conn, &claims);

    if (ngx_astro_limits_hello(conn, req->id) != NGX_OK) {
        ngx_astro_hello_forget(conn);
        return;
    }

    rc = ngx_astro_users_add(conn);

    if (rc == NGX_ERROR) {
        ngx_astro_hello_forget(conn);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "no room",
                           "resume", 0);
        return;
    }

    h->first = rc == NGX_DECLINED;
    h->ticket = ngx_astro_listen_ticket();

    /* what else this turn of the loop reads goes with it */

    if (ngx_astro_hello.nsent == 0 && !ngx_astro_hello.post.posted) {
        ngx_post_event(&ngx_astro_hello.post, &ngx_posted_events);
    }
}


/*
 * The token of the hello, or else of the handshake.  NGX_AGAIN: the hello will
 * be handled anew.
 */

static ngx_int_t
ngx_astro_hello_token(ngx_astro_req_t *req, astro_claims_t *claims,
    astro_jwt_rc_e *rc)
{
    ngx_int_t                   held;
    ngx_str_t                   token;
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, "token");

    if (m && m->kind == ASTRO_JSON_STRING) {
        token.data = (u_char *) m->raw + 1;
        token.len = m->raw_len - 2;

    } else {
        token = req->conn->bearer;
    }

    held = ngx_astro_outside_hold(req, &token, rc);

    if (held != NGX_OK) {
        return held;
    }

    *rc = ngx_astro_token_verify(&token, claims);

    if (*rc == ASTRO_JWT_OK && ngx_astro_revoked(claims)) {
        *rc = ASTRO_JWT_MALFORMED;
    }

    return NGX_OK;
}


/* "pos":[["c_8",1041],...]: ids and numbers by turns */

static int
ngx_astro_hello_pos(void *ctx, int depth, const astro_json_member_t *scalar)
{
    ngx_astro_hello_said_t  *said = ctx;

    ngx_uint_t               n;

    n = said->n / 2;

    if (depth != 2 || n == NGX_ASTRO_HELLO_POS) {
        return -1;
    }

    if (said->n++ & 1) {
        return astro_json_int(scalar, 0, INT64_MAX, &said->pos[n].seq);
    }

    if (scalar->kind != ASTRO_JSON_STRING) {
        return -1;
    }

    said->pos[n].conv = astro_id_parse('c', scalar->raw + 1,
                                       scalar->raw_len - 2);

    return said->pos[n].conv ? 0 : -1;
}


void
ngx_astro_hello_resume(void)
{
    ngx_astro_hello_send();
}


void
ngx_astro_hello_forget(ngx_astro_conn_t *conn)
{
    ngx_astro_hello_t  *h;

    h = conn->hello;

    if (h == NULL) {
        return;
    }

    conn->hello = NULL;

    if (h->sent) {
        h->conn = NULL;
        return;
    }

    ngx_queue_remove(&h->link);
    ngx_free(h);
}


static void
ngx_astro_hello_post(ngx_event_t *ev)
{
    ngx_astro_hello_send();
}


/* Without a lease all wait; the first one that opens goes on with them. */

static void
ngx_astro_hello_send(void)
{
    ngx_uint_t          n, npos;
    ngx_queue_t        *q;
    ngx_astro_hello_t  *h;

    while (ngx_astro_hello.nsent == 0 && ngx_astro_gateway_id() != 0) {

        n = 0;
        npos = 0;

        while (n < ngx_astro_hello.cap
               && !ngx_queue_empty(&ngx_astro_hello.queue))
        {
            q = ngx_queue_head(&ngx_astro_hello.queue);
            h = ngx_queue_data(q, ngx_astro_hello_t, link);

            if (!ngx_astro_conn_open(h->conn)) {
                /* told to go meanwhile: must not be entered as present */
                ngx_astro_hello_forget(h->conn);
                continue;
            }

            if (n > 0 && npos + h->npos > 10 * NGX_ASTRO_HELLO_POS) {
                break;
            }

            if (!ngx_astro_listen_heard(h->ticket)) {
                /* what is said on other hosts would be missed */
                break;
            }

            h->sent = 1;
            ngx_queue_remove(q);
            ngx_queue_insert_tail(&ngx_astro_hello.sent, q);

            npos += h->npos;
            n++;
        }

        if (n == 0) {
            return;
        }

        ngx_astro_hello.nsent = n;

        if (ngx_astro_hello_call(npos) != NGX_OK) {
            ngx_astro_hello_failed();
        }
    }
}


static ngx_int_t
ngx_astro_hello_call(ngx_uint_t npos)
{
    u_char             *c, *a, *v, *buf;
    size_t              callers, askers;
    ngx_int_t           rc;
    ngx_uint_t          i, ord;
    ngx_queue_t        *q;
    const char         *values[4];
    ngx_astro_hello_t  *h;
    char                gateway[NGX_INT64_LEN + 1];

    /* each with a comma, and braces and a zero around them */

    callers = ngx_astro_hello.nsent * (NGX_INT64_LEN + 1) + 3;
    askers = npos * (NGX_INT64_LEN + 1) + 3;

    buf = ngx_alloc(callers + askers * 2, ngx_astro.log);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    c = buf;
    a = c + callers;
    v = a + askers;

    values[0] = (char *) c;
    values[1] = gateway;
    values[2] = (char *) a;
    values[3] = (char *) v;

    *c++ = '{';
    *a++ = '{';
    *v++ = '{';

    ord = 0;

    for (q = ngx_queue_head(&ngx_astro_hello.sent);
         q != ngx_queue_sentinel(&ngx_astro_hello.sent);
         q = ngx_queue_next(q))
    {
        h = ngx_queue_data(q, ngx_astro_hello_t, link);

        c = ngx_sprintf(c, "%uL,", h->conn->user);
        ord++;

        for (i = 0; i < h->npos; i++) {
            a = ngx_sprintf(a, "%ui,", ord);
            v = ngx_sprintf(v, "%uL,", h->pos[i].conv);
        }
    }

    /* in the place of the last comma */

    c -= (c[-1] == ',');
    a -= (a[-1] == ',');
    v -= (v[-1] == ',');

    ngx_memcpy(c, "}", 2);
    ngx_memcpy(a, "}", 2);
    ngx_memcpy(v, "}", 2);

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';

    rc = ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_hello_batch,
                           values, ngx_astro_hello_done, NULL);
    ngx_free(buf);

    return rc;
}


static void
ngx_astro_hello_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    int                 row, end, n;
    int64_t             ord;
    ngx_queue_t        *q;
    ngx_astro_hello_t  *h;

    if ((rc == NGX_ASTRO_PG_ERROR || rc == NGX_ASTRO_PG_BUSY)
        && ngx_astro_hello.nsent > 1)
    {
        ngx_astro_hello_again();
        ngx_astro_hello_send();
        return;
    }

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_hello_failed();
        ngx_astro_hello_send();
        return;
    }

    n = PQntuples(res);
    row = 0;

    for (ord = 1; !ngx_queue_empty(&ngx_astro_hello.sent); ord++) {

        q = ngx_queue_head(&ngx_astro_hello.sent);
        ngx_queue_remove(q);
        h = ngx_queue_data(q, ngx_astro_hello_t, link);

        for (end = row; end < n; end++) {
            if (ngx_astro_pg_int(res, end, NGX_ASTRO_HELLO_ORD) != ord) {
                break;
            }
        }

        ngx_astro_hello_answer(h, res, row, end);
        row = end;
    }

    ngx_astro_hello.nsent = 0;
    ngx_astro_hello.cap = ngx_min(ngx_astro_hello.cap * 2,
                                  NGX_ASTRO_HELLO_BATCH);

    ngx_astro_hello_send();
}


/* Puts the batch back where it came from, to go in smaller ones. */

static void
ngx_astro_hello_again(void)
{
    ngx_queue_t        *q;
    ngx_astro_hello_t  *h;

    ngx_astro_hello.cap = ngx_max(ngx_astro_hello.nsent / 2, 1);
    ngx_astro_hello.nsent = 0;

    while (!ngx_queue_empty(&ngx_astro_hello.sent)) {
        q = ngx_queue_last(&ngx_astro_hello.sent);
        ngx_queue_remove(q);
        h = ngx_queue_data(q, ngx_astro_hello_t, link);

        if (h->conn == NULL) {
            ngx_free(h);
            continue;
        }

        h->sent = 0;
        ngx_queue_insert_head(&ngx_astro_hello.queue, q);
    }
}


static void
ngx_astro_hello_failed(void)
{
    ngx_queue_t        *q;
    ngx_astro_conn_t   *conn;
    ngx_astro_hello_t  *h;

    while (!ngx_queue_empty(&ngx_astro_hello.sent)) {
        q = ngx_queue_head(&ngx_astro_hello.sent);
        ngx_queue_remove(q);
        h = ngx_queue_data(q, ngx_astro_hello_t, link);
        conn = h->conn;

        if (conn) {
            conn->hello = NULL;
            ngx_astro_reply_error(conn, h->id, NGX_ASTRO_E_UNAVAILABLE,
                                  "no answer from the database, come back",
                                  NULL);
            ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "unavailable",
                               "resume", 1000);
        }

        ngx_free(h);
    }

    ngx_astro_hello.nsent = 0;
}


/* Takes h; its rows are those from row up to, without, end. */

static void
ngx_astro_hello_answer(ngx_astro_hello_t *h, PGresult *res, int row, int end)
{
    ngx_astro_conn_t  *conn;

    conn = h->conn;

    if (conn && ngx_astro_conn_open(conn)) {

        if (row == end) {
            ngx_astro_count(AUTH_FAILED);
            ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_AUTH, "no such account",
                               "stop", 0);

        } else {
            ngx_astro_hello_reply(h, res, row, end);
        }
    }

    /* not before: what reaches it until then is only noted */

    if (conn) {
        conn->hello = NULL;
    }

    ngx_free(h);
}
