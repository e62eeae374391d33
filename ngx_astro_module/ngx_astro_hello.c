
/*
 * Copyright (C) The Astro authors
 *
 * The order matters: first the socket is registered, so that live events reach
 * it (and are only noted, as "want", until it is signed in), then the heads
 * are read.  Whatever is committed before that read is in the heads,
 * whatever comes later has been noted: there is no gap between replay and live.
 */

#include "ngx_astro_barred.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_hello.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_told.h"
#include "ngx_astro_users.h"


#define NGX_ASTRO_HELLO_POS  200        /* conversations in one hello */


typedef struct {
    ngx_queue_t        link;            /* of those who wait for the lease */
    ngx_astro_conn_t  *conn;
    ngx_uint_t         waiting;
    ngx_uint_t         first;           /* no other socket on this host */
    int64_t            id;
    int64_t            token_exp;
    uint64_t           came_us;
    ngx_uint_t         npos;
    struct {
        uint64_t       conv;
        int64_t        seq;
    }                  pos[NGX_ASTRO_HELLO_POS];
} ngx_astro_hello_t;


static astro_jwt_rc_e ngx_astro_hello_token(ngx_astro_req_t *req,
    astro_claims_t *claims);
static int ngx_astro_hello_pos(void *ctx, int depth,
    const astro_json_member_t *scalar);
static void ngx_astro_hello_call(ngx_astro_conn_t *conn);
static void ngx_astro_hello_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_hello_reply(ngx_astro_conn_t *conn, PGresult *res);
static void ngx_astro_hello_account(ngx_astro_conn_t *conn, ngx_str_t *doc,
    ngx_str_t *name, ngx_str_t *currency, ngx_uint_t *blocked,
    int64_t *valid_from);
static const char *ngx_astro_hello_state(int64_t seq, int64_t head);
static int64_t ngx_astro_hello_asked(ngx_astro_hello_t *h, uint64_t conv);


static ngx_queue_t  ngx_astro_hellos;


void
ngx_astro_hello_init(void)
{
    ngx_queue_init(&ngx_astro_hellos);
}


void
ngx_astro_handle_hello(ngx_astro_req_t *req)
{
    ngx_int_t                   rc;
    astro_claims_t              claims;
    astro_jwt_rc_e              jwt;
    ngx_astro_conn_t           *conn;
    ngx_astro_hello_t          *h;
    const astro_json_member_t  *m;

    conn = req->conn;

    if (conn->signed_in || conn->hello) {
        ngx_astro_reply_error(conn, req->id, NGX_ASTRO_E_CONFLICT,
                              "hello was said", NULL);
        return;
    }

    jwt = ngx_astro_hello_token(req, &claims);

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

    h = ngx_calloc(sizeof(ngx_astro_hello_t), ngx_astro.log);

    if (h == NULL) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "no memory",
                           "resume", 0);
        return;
    }

    h->conn = conn;
    h->id = req->id;
    h->token_exp = claims.exp;
    h->came_us = ngx_astro_boot_us();

    m = astro_json_get(&req->doc->payload, "pos");

    if (m && (m->kind != ASTRO_JSON_ARRAY
              || astro_json_scalars(ngx_astro.json, m, ngx_astro_hello_pos, h)
                 != 0
              || (h->npos & 1)))
    {
        ngx_free(h);
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "pos is an array of at most 200 [conv, seq]",
                              "/payload/pos");
        return;
    }

    h->npos /= 2;

    m = astro_json_get(&req->doc->payload, "device");

    if (m && m->kind == ASTRO_JSON_STRING) {
        conn->device = ngx_murmur_hash2((u_char *) m->raw, m->raw_len) + 1ULL;
    }

    conn->hello = h;
    conn->user = claims.user;
    conn->role = claims.role;
    conn->resumed = h->npos > 0;
    conn->token_iat = claims.iat;
    conn->token_exp_boot_s = claims.exp - ngx_time()
                             + ngx_astro_boot_ms() / 1000;

    if (ngx_astro_limits_hello(conn, req->id) != NGX_OK) {
        return;
    }

    rc = ngx_astro_users_add(conn);

    if (rc == NGX_ERROR) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "no room",
                           "resume", 0);
        return;
    }

    h->first = rc == NGX_DECLINED;

    if (ngx_astro_gateway_id() == 0) {
        h->waiting = 1;
        ngx_queue_insert_tail(&ngx_astro_hellos, &h->link);
        return;
    }

    ngx_astro_hello_call(conn);
}


/* The token of the hello, or else of the handshake. */

static astro_jwt_rc_e
ngx_astro_hello_token(ngx_astro_req_t *req, astro_claims_t *claims)
{
    ngx_str_t                   token;
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, "token");

    if (m && m->kind == ASTRO_JSON_STRING) {
        token.data = (u_char *) m->raw + 1;
        token.len = m->raw_len - 2;

    } else {
        token = req->conn->bearer;
    }

    if (token.len == 0) {
        return ASTRO_JWT_MALFORMED;
    }

    return astro_jwt_verify(ngx_astro.json, ngx_astro.conf->secret.data,
                            ngx_astro.conf->secret.len, token.data, token.len,
                            ngx_time(), claims);
}


/* "pos":[["c_8",1041],...]: ids and numbers by turns */

static int
ngx_astro_hello_pos(void *ctx, int depth, const astro_json_member_t *scalar)
{
    ngx_astro_hello_t  *h = ctx;

    ngx_uint_t          n;

    n = h->npos / 2;

    if (depth != 2 || n == NGX_ASTRO_HELLO_POS) {
        return -1;
    }

    if (h->npos++ & 1) {
        return astro_json_int(scalar, 0, INT64_MAX, &h->pos[n].seq);
    }

    if (scalar->kind != ASTRO_JSON_STRING) {
        return -1;
    }

    h->pos[n].conv = astro_id_parse('c', scalar->raw + 1,
                                    scalar->raw_len - 2);

    return h->pos[n].conv ? 0 : -1;
}


void
ngx_astro_hello_resume(void)
{
    ngx_queue_t        *q;
    ngx_astro_hello_t  *h;

    while (!ngx_queue_empty(&ngx_astro_hellos)) {
        q = ngx_queue_head(&ngx_astro_hellos);
        ngx_queue_remove(q);

        h = ngx_queue_data(q, ngx_astro_hello_t, link);
        h->waiting = 0;

        if (ngx_astro_conn_open(h->conn)) {
            ngx_astro_hello_call(h->conn);
        }
    }
}


void
ngx_astro_hello_forget(ngx_astro_conn_t *conn)
{
    ngx_astro_hello_t  *h;

    h = conn->hello;

    if (h) {
        if (h->waiting) {
            ngx_queue_remove(&h->link);
        }

        ngx_free(h);
        conn->hello = NULL;
    }
}


static void
ngx_astro_hello_call(ngx_astro_conn_t *conn)
{
    u_char             *p, *convs;
    ngx_uint_t          i;
    char                user[24], gateway[24];
    const char         *values[3];
    ngx_astro_call_t   *call;
    ngx_astro_hello_t  *h;

    h = conn->hello;

    call = ngx_astro_call_create(conn, h->id, 0);
    convs = ngx_alloc(h->npos * (NGX_INT64_LEN + 1) + 4, ngx_astro.log);

    if (call == NULL || convs == NULL) {
        goto failed;
    }

    p = convs;
    *p++ = '{';

    for (i = 0; i < h->npos; i++) {
        p = ngx_sprintf(p, "%s%uL", i ? "," : "", h->pos[i].conv);
    }

    *p++ = '}';
    *p = '\0';

    *ngx_sprintf((u_char *) user, "%uL", conn->user) = '\0';
    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';

    values[0] = user;
    values[1] = gateway;
    values[2] = (char *) convs;

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_hello, values,
                          ngx_astro_hello_done, call)
        == NGX_OK)
    {
        ngx_free(convs);
        return;
    }

failed:

    if (convs) {
        ngx_free(convs);
    }

    if (call) {
        ngx_astro_call_free(call);
    }

    ngx_astro_reply_error(conn, h->id, NGX_ASTRO_E_UNAVAILABLE,
                          "the database is away, come back", NULL);
    ngx_astro_hello_forget(conn);
    ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "unavailable",
                       "resume", 1000);
}


static void
ngx_astro_hello_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_call_t  *call = data;

    ngx_astro_conn_t  *conn;

    conn = call->conn;

    if (!ngx_astro_conn_open(conn) || conn->hello == NULL) {
        ngx_astro_call_free(call);
        return;
    }

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_reply_error(conn, call->id, NGX_ASTRO_E_UNAVAILABLE,
                              "no answer from the database, come back", NULL);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "unavailable",
                           "resume", 1000);

    } else if (PQntuples(res) == 0) {
        ngx_astro_count(AUTH_FAILED);
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_AUTH, "no such account",
                           "stop", 0);

    } else {
        ngx_astro_hello_reply(conn, res);
    }

    ngx_astro_hello_forget(conn);
    ngx_astro_call_free(call);
}


static void
ngx_astro_hello_reply(ngx_astro_conn_t *conn, PGresult *res)
{
    int                 i, n;
    u_char             *p, *last, *buf;
    size_t              size;
    int64_t             head, seq, valid_from;
    uint64_t            conv;
    ngx_str_t           doc, kind, name, currency;
    ngx_time_t         *tp;
    ngx_uint_t          blocked, convs;
    ngx_astro_msg_t     m;
    ngx_astro_conf_t   *conf;
    ngx_astro_hello_t  *h;
    ngx_astro_route_t   route;
    u_char              head_buf[64];

    h = conn->hello;
    conf = ngx_astro.conf;
    n = PQntuples(res);

    doc = ngx_astro_pg_str(res, 0, 3);
    ngx_astro_hello_account(conn, &doc, &name, &currency, &blocked,
                            &valid_from);

    if (ngx_astro_barred_conn(conn, blocked, valid_from)) {
        ngx_astro_count(AUTH_FAILED);
        return;
    }

    size = 1024 + name.len + n * 80;
    buf = ngx_alloc(size, ngx_astro.log);

    if (buf == NULL) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "no memory",
                           "resume", 0);
        return;
    }

    last = buf + size;
    tp = ngx_timeofday();

    p = ngx_slprintf(buf, last,
                     "{\"conn\":\"k_%xL\",\"user\":\"u_%uL\",\"role\":\"%s\","
                     "\"name\":%V,\"currency\":%V,\"resumed\":%s,"
                     "\"ping_s\":%M,\"grace_s\":%M,\"max_frame\":%uz,"
                     "\"now\":%L,\"token_exp\":%L,\"convs\":[",
                     conn->id, conn->user, astro_role_name(conn->role),
                     &name, &currency, conn->resumed ? "true" : "false",
                     conf->ping_interval / 1000, conf->grace / 1000,
                     conf->max_frame,
                     (int64_t) tp->sec * 1000 + (int64_t) tp->msec,
                     h->token_exp);

    convs = 0;

    for (i = 1; i < n; i++) {
        kind = ngx_astro_pg_str(res, i, 0);

        if (!ngx_astro_same(kind.data, kind.len, "conv")) {
            continue;
        }

        conv = ngx_astro_pg_int(res, i, 1);
        head = ngx_astro_pg_int(res, i, 2);
        seq = ngx_astro_hello_asked(h, conv);

        p = ngx_slprintf(p, last,
                         "%s{\"conv\":\"c_%uL\",\"head\":%L,\"state\":\"%s\"}",
                         convs++ ? "," : "", conv, head,
                         ngx_astro_hello_state(seq, head));
    }

    *p++ = ']';

    if (conf->debug) {
        p = ngx_slprintf(p, last,
                         ",\"debug\":{\"pid\":%P,\"seat\":%i,"
                         "\"gateway\":%uL}", ngx_pid, ngx_astro.seat,
                         ngx_astro_gateway_id());
    }

    *p++ = '}';

    ngx_astro_reply(conn, h->id, buf, p - buf);
    ngx_free(buf);

    conn->signed_in = 1;
    ngx_astro_count(HELLO);
    ngx_astro_observe(HELLO_TIME, ngx_astro_boot_us() - h->came_us);
    ngx_astro_count(SIGNED_IN);

    if (conn->resumed) {
        ngx_astro_count(RESUMED);
    }

    ngx_astro_conn_beat(conn);

    if (h->first) {
        ngx_astro_presence_arrived(conn->user);
    }

    if (conn->device) {
        ngx_memzero(&route, sizeof(ngx_astro_route_t));
        route.to = NGX_ASTRO_TO_DEVICE;
        route.user = conn->user;
        route.except = conn->id;
        route.arg = conn->device;
        ngx_astro_route_user(&route, NULL);
    }

    /* snapshots, then what was missed */

    for (i = 1; i < n && ngx_astro_conn_open(conn); i++) {
        kind = ngx_astro_pg_str(res, i, 0);
        doc = ngx_astro_pg_str(res, i, 3);
        ngx_astro_msg_init(&m);

        if (ngx_astro_same(kind.data, kind.len, "session")) {
            ngx_astro_told_hello(conn, ngx_astro_pg_int(res, i, 1),
                                 ngx_astro_pg_int(res, i, 2), &doc);

            p = ngx_sprintf(head_buf, "{\"type\":\"session_update\",\"ver\":"
                            "%L,\"payload\":", ngx_astro_pg_int(res, i, 2));
            ngx_astro_msg_add(&m, head_buf, p - head_buf);

        } else if (ngx_astro_same(kind.data, kind.len, "wallet")) {
            ngx_astro_msg_lit(&m, "{\"type\":\"wallet\",\"payload\":");

        } else {
            continue;
        }

        ngx_astro_msg_add(&m, doc.data, doc.len);
        ngx_astro_msg_lit(&m, "}");
        ngx_astro_conn_send(conn, &m, 0);
    }

    for (i = 1; i < n && ngx_astro_conn_open(conn); i++) {
        kind = ngx_astro_pg_str(res, i, 0);

        if (!ngx_astro_same(kind.data, kind.len, "conv")) {
            continue;
        }

        conv = ngx_astro_pg_int(res, i, 1);
        head = ngx_astro_pg_int(res, i, 2);
        seq = ngx_astro_hello_asked(h, conv);

        if (seq < 0 || seq > head || head - seq > NGX_ASTRO_REPLAY_MAX) {
            seq = head;
        }

        ngx_astro_resume_from(conn, conv, seq, head);
    }

    /* what came meanwhile and is not in this answer */

    if (conn->missed || ngx_astro_resume_ask(conn)) {
        ngx_astro_heal_user(conn->user);
    }
}


/* Where a client that has seq stands, for it and for the metrics. */

static const char *
ngx_astro_hello_state(int64_t seq, int64_t head)
{
    if (seq < 0) {
        return "current";
    }

    if (seq == head) {
        ngx_astro_count(RESUME_CURRENT);
        return "current";
    }

    if (seq > head || head - seq > NGX_ASTRO_REPLAY_MAX) {
        ngx_astro_count(RESUME_GAP);
        return "gap";
    }

    ngx_astro_count(RESUME_REPLAY);

    return "replay";
}


/*
 * {"role","name","currency","blocked","valid_from"}; the database's role is the
 * role.
 */

static void
ngx_astro_hello_account(ngx_astro_conn_t *conn, ngx_str_t *doc,
    ngx_str_t *name, ngx_str_t *currency, ngx_uint_t *blocked,
    int64_t *valid_from)
{
    astro_json_doc_t            d;
    const astro_json_member_t  *m;

    ngx_str_set(name, "\"\"");
    ngx_str_set(currency, "\"\"");
    *blocked = 1;
    *valid_from = 0;

    if (astro_json_parse(ngx_astro.json, doc->data, doc->len, &d) != 0) {
        return;
    }

    m = astro_json_get(&d.root, "role");
    if (m && m->kind == ASTRO_JSON_STRING) {
        conn->role = astro_role_parse(m->raw + 1, m->raw_len - 2);
    }

    m = astro_json_get(&d.root, "name");
    if (m) {
        name->data = (u_char *) m->raw;
        name->len = m->raw_len;
    }

    m = astro_json_get(&d.root, "currency");
    if (m) {
        currency->data = (u_char *) m->raw;
        currency->len = m->raw_len;
    }

    m = astro_json_get(&d.root, "blocked");
    *blocked = m == NULL
               || !ngx_astro_same(m->raw, m->raw_len, "false")
               || conn->role == ASTRO_ROLE_NONE;

    m = astro_json_get(&d.root, "valid_from");
    if (m) {
        (void) astro_json_int(m, 0, INT64_MAX, valid_from);
    }
}


/* The seq that the client says it has, or -1: it did not say. */

static int64_t
ngx_astro_hello_asked(ngx_astro_hello_t *h, uint64_t conv)
{
    ngx_uint_t  i;

    for (i = 0; i < h->npos; i++) {
        if (h->pos[i].conv == conv) {
            return h->pos[i].seq;
        }
    }

    return -1;
}
