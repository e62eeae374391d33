
/*
 * Copyright (C) The Astro authors
 *
 * What a hello is answered with, from the rows of hello_batch.
 */

#include "ngx_astro_barred.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_hello_private.h"
#include "ngx_astro_live.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_told.h"


static void ngx_astro_hello_account(ngx_astro_conn_t *conn, ngx_str_t *doc,
    ngx_str_t *name, ngx_str_t *currency, ngx_uint_t *blocked,
    int64_t *valid_from);
static const char *ngx_astro_hello_state(int64_t seq, int64_t head);
static int64_t ngx_astro_hello_asked(ngx_astro_hello_t *h, uint64_t conv);


void
ngx_astro_hello_reply(ngx_astro_hello_t *h, PGresult *res, int row, int end)
{
    int                 i;
    u_char             *p, *last, *buf;
    size_t              size;
    int64_t             head, seq, valid_from;
    uint64_t            conv;
    ngx_str_t           doc, kind, name, currency;
    ngx_time_t         *tp;
    ngx_uint_t          blocked, convs;
    ngx_astro_msg_t     m;
    ngx_astro_conn_t   *conn;
    ngx_astro_conf_t   *conf;
    ngx_astro_route_t   route;
    u_char              head_buf[64];

    conn = h->conn;
    conf = ngx_astro.conf;

    doc = ngx_astro_pg_str(res, row, NGX_ASTRO_HELLO_DOC);
    ngx_astro_hello_account(conn, &doc, &name, &currency, &blocked,
                            &valid_from);

    if (ngx_astro_barred_conn(conn, blocked, valid_from)) {
        ngx_astro_count(AUTH_FAILED);
        return;
    }

    /* all were told to go while this answer was on its way */

    if (ngx_astro_heal_dropped(ngx_astro_pg_int(res, row,
                                                NGX_ASTRO_HELLO_NUM)))
    {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_DRAINING, "disconnected",
                           "resume", 0);
        return;
    }

    size = 1024 + name.len + (end - row) * 80;
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

    for (i = row + 1; i < end; i++) {
        kind = ngx_astro_pg_str(res, i, NGX_ASTRO_HELLO_KIND);

        if (!ngx_astro_same(kind.data, kind.len, "conv")) {
            continue;
        }

        conv = ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_ID);
        head = ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_NUM);
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
    conn->hello_ms = ngx_astro_pg_int(res, row, NGX_ASTRO_HELLO_NUM);
    ngx_astro_count(HELLO);
    ngx_astro_observe(HELLO_TIME, ngx_astro_boot_us() - h->came_us);
    ngx_astro_count(SIGNED_IN);

    if (conn->resumed) {
        ngx_astro_count(RESUMED);
    }

    ngx_astro_conn_beat(conn);

    if (h->figures && conn->role == ASTRO_ROLE_ADMIN) {
        (void) ngx_astro_live_add(conn);
    }

    if (h->first) {
        ngx_astro_presence_arrived(conn->user);
    }

    if (conn->device) {
        ngx_memzero(&route, sizeof(ngx_astro_route_t));
        route.to = NGX_ASTRO_TO_DEVICE;
        route.user = conn->user;
        route.except = conn->id;
        route.seq = conn->hello_ms;
        route.arg = conn->device;
        ngx_astro_route_user(&route, NULL);
    }

    /* snapshots, then what was missed */

    for (i = row + 1; i < end && ngx_astro_conn_open(conn); i++) {
        kind = ngx_astro_pg_str(res, i, NGX_ASTRO_HELLO_KIND);
        doc = ngx_astro_pg_str(res, i, NGX_ASTRO_HELLO_DOC);
        ngx_astro_msg_init(&m);

        if (ngx_astro_same(kind.data, kind.len, "session")) {
            ngx_astro_told_hello(conn,
                                 ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_ID),
                                 ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_NUM),
                                 &doc);

            p = ngx_sprintf(head_buf, "{\"type\":\"session_update\",\"ver\":"
                            "%L,\"payload\":",
                            ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_NUM));
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

    for (i = row + 1; i < end && ngx_astro_conn_open(conn); i++) {
        kind = ngx_astro_pg_str(res, i, NGX_ASTRO_HELLO_KIND);

        if (!ngx_astro_same(kind.data, kind.len, "conv")) {
            continue;
        }

        conv = ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_ID);
        head = ngx_astro_pg_int(res, i, NGX_ASTRO_HELLO_NUM);
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
