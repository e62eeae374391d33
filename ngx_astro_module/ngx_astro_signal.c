
/*
 * Copyright (C) The Astro authors
 *
 * The way of a signal: no database, no allocation.  The payload's octets are
 * passed through, except that a member "from" of the client's own making is cut
 * out; who sent it stands beside the payload, in the server's words.
 *
 * Signals for a party that has not joined yet are kept by the sender's worker,
 * at most NGX_ASTRO_KEPT_MAX for NGX_ASTRO_KEPT_MS, and given once,
 * in order.  They die with that worker: a call is set up anew after it.
 */

#include "ngx_astro_signal.h"
#include "astro_sdp.h"


typedef struct {
    ngx_queue_t    link;
    ngx_msec_t     due;
    astro_party_e  to;
    size_t         len;
    u_char         text[1];
} ngx_astro_kept_t;


static void ngx_astro_signal_relay(ngx_astro_req_t *req, ngx_astro_join_t *j);
static ngx_int_t ngx_astro_signal_stale(ngx_astro_req_t *req,
    ngx_astro_join_t *j);
static void ngx_astro_signal_payload(ngx_astro_req_t *req, ngx_astro_msg_t *m);
static ngx_int_t ngx_astro_signal_keep(ngx_astro_session_t *s,
    astro_party_e to, const ngx_astro_msg_t *m);
static void ngx_astro_signal_send(ngx_astro_session_t *s, astro_party_e to,
    const ngx_astro_msg_t *m);


void
ngx_astro_handle_signal(ngx_astro_req_t *req)
{
    uint64_t            id;
    ngx_astro_join_t   *j;
    ngx_astro_error_e   error;

    id = ngx_astro_req_id(req, "session", 's');
    if (id == 0) {
        return;
    }

    j = ngx_astro_sessions_joined(req->conn, id);

    if (j == NULL) {
        ngx_astro_count(DENIED);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_NOT_PARTICIPANT,
                              "join the session first", "/payload/session");
        return;
    }

    error = ngx_astro_sessions_may(j->session, ASTRO_SESSION_SIGNAL_STATES);

    if (error != NGX_ASTRO_E_MAX) {

        if (error == NGX_ASTRO_E_UNPAID) {
            ngx_astro_count(UNPAID);
        }

        ngx_astro_reply_error(req->conn, req->id, error,
                              "the session does not take signals now", NULL);
        return;
    }

    if (ngx_astro_signal_stale(req, j) == NGX_OK) {
        ngx_astro_signal_relay(req, j);
    }
}


/* RFC 8827 section 6.5: a call is encrypted with keys that are not ours. */

void
ngx_astro_handle_signal_sdp(ngx_astro_req_t *req)
{
    astro_sdp_rc_e              rc;
    const astro_json_member_t  *sdp;

    sdp = ngx_astro_req_string(req, "sdp", 65536, 1);
    if (sdp == NULL) {
        return;
    }

    rc = astro_sdp_check(sdp->raw + 1, sdp->raw_len - 2);

    if (rc != ASTRO_SDP_OK) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              astro_sdp_error(rc), "/payload/sdp");
        return;
    }

    ngx_astro_handle_signal(req);
}


/*
 * "gen" counts a party's attempts to set the call up; what still arrives of
 * an older attempt would confuse the newer one.
 */

static ngx_int_t
ngx_astro_signal_stale(ngx_astro_req_t *req, ngx_astro_join_t *j)
{
    int64_t                     gen, *newest;
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, "gen");
    if (m == NULL) {
        return NGX_OK;
    }

    if (astro_json_int(m, 0, 0x7fffffff, &gen) != 0) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "gen is an integer from 0 to 2^31 - 1",
                              "/payload/gen");
        return NGX_ERROR;
    }

    newest = &j->session->gen[ngx_astro_join_party(j) == ASTRO_PARTY_ADVISOR];

    if (gen < *newest) {
        ngx_astro_count(DROPPED_STALE);
        ngx_astro_reply(req->conn, req->id, (u_char *) "{\"stale\":true}", 14);
        return NGX_DECLINED;
    }

    *newest = gen;

    return NGX_OK;
}


static void
ngx_astro_signal_relay(ngx_astro_req_t *req, ngx_astro_join_t *j)
{
    u_char            *p;
    u_char             from[ASTRO_ID_MAX + 32];
    astro_party_e      to;
    ngx_astro_msg_t    m;

    to = ngx_astro_join_party(j) == ASTRO_PARTY_CLIENT ? ASTRO_PARTY_ADVISOR
                                                       : ASTRO_PARTY_CLIENT;

    p = ngx_sprintf(from, "\",\"from\":\"u_%uL\",\"payload\":",
                    req->conn->user);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_lit(&m, "{\"type\":\"");
    ngx_astro_msg_add(&m, req->type.data, req->type.len);
    ngx_astro_msg_add(&m, from, p - from);
    ngx_astro_signal_payload(req, &m);
    ngx_astro_msg_lit(&m, "}");

    if (m.len + sizeof(ngx_astro_route_t)
        > ngx_astro.conf->arena.ring_size / 4)
    {
        /* no ring to another worker would take it */

        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_TOO_LARGE,
                              "a signal is at most a quarter of a ring",
                              "/payload");
        return;
    }

    ngx_astro_count(SIGNALS);

    if (j->session->present & to) {
        ngx_astro_signal_send(j->session, to, &m);

    } else if (ngx_astro_signal_keep(j->session, to, &m) != NGX_OK) {
        ngx_astro_count(DROPPED_KEPT);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_RATE_LIMITED,
                              "too many signals for a party who has not joined",
                              NULL);
        return;
    }

    ngx_astro_reply(req->conn, req->id, (u_char *) "{}", 2);
}


/* The payload without a member "from": what the client says of it is void. */

static void
ngx_astro_signal_payload(ngx_astro_req_t *req, ngx_astro_msg_t *m)
{
    ngx_uint_t                  i;
    const u_char               *cut, *resume, *last;
    const astro_json_object_t  *o;
    const astro_json_member_t  *from;

    o = &req->doc->payload;
    last = req->payload.data + req->payload.len;

    /* also when it is written with escapes: a parser would read the same */

    from = astro_json_get(o, "from");

    if (from == NULL) {
        ngx_astro_msg_add(m, req->payload.data, req->payload.len);
        return;
    }

    i = from - o->member;

    /* with the comma after it, or the one before it if it is the last */

    if (i + 1 < o->n) {
        cut = o->member[i].key - 1;
        resume = o->member[i + 1].key - 1;

    } else {
        cut = i > 0 ? o->member[i - 1].raw + o->member[i - 1].raw_len
                    : o->member[i].key - 1;
        resume = o->member[i].raw + o->member[i].raw_len;
    }

    ngx_astro_msg_add(m, req->payload.data, cut - req->payload.data);
    ngx_astro_msg_add(m, resume, last - resume);
}


static void
ngx_astro_signal_send(ngx_astro_session_t *s, astro_party_e to,
    const ngx_astro_msg_t *m)
{
    ngx_astro_route_t  route;

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.user = to == ASTRO_PARTY_CLIENT ? s->client : s->advisor;
    route.session = s->node.key;

    ngx_astro_route_user(&route, m);
}


static ngx_int_t
ngx_astro_signal_keep(ngx_astro_session_t *s, astro_party_e to,
    const ngx_astro_msg_t *m)
{
    ngx_queue_t       *q;
    ngx_astro_kept_t  *kept;

    while (!ngx_queue_empty(&s->kept)) {
        q = ngx_queue_head(&s->kept);
        kept = ngx_queue_data(q, ngx_astro_kept_t, link);

        if ((ngx_msec_int_t) (kept->due - ngx_current_msec) > 0) {
            break;
        }

        ngx_queue_remove(q);
        ngx_free(kept);
        s->nkept--;
    }

    if (s->nkept == NGX_ASTRO_KEPT_MAX) {
        return NGX_ERROR;
    }

    kept = ngx_alloc(sizeof(ngx_astro_kept_t) + m->len, ngx_astro.log);
    if (kept == NULL) {
        return NGX_ERROR;
    }

    kept->due = ngx_current_msec + NGX_ASTRO_KEPT_MS;
    kept->to = to;
    kept->len = m->len;
    (void) ngx_astro_msg_copy(kept->text, m);

    ngx_queue_insert_tail(&s->kept, &kept->link);
    s->nkept++;

    return NGX_OK;
}


void
ngx_astro_signal_flush(ngx_astro_session_t *s)
{
    ngx_queue_t       *q, *next;
    ngx_astro_msg_t    m;
    ngx_astro_kept_t  *kept;

    for (q = ngx_queue_head(&s->kept);
         q != ngx_queue_sentinel(&s->kept);
         q = next)
    {
        next = ngx_queue_next(q);
        kept = ngx_queue_data(q, ngx_astro_kept_t, link);

        if (!(s->present & kept->to)) {
            continue;
        }

        ngx_queue_remove(q);
        s->nkept--;

        if ((ngx_msec_int_t) (kept->due - ngx_current_msec) > 0) {
            ngx_astro_msg_init(&m);
            ngx_astro_msg_add(&m, kept->text, kept->len);
            ngx_astro_signal_send(s, kept->to, &m);
        }

        ngx_free(kept);
    }
}


void
ngx_astro_signal_forget(ngx_astro_session_t *s)
{
    ngx_queue_t  *q;

    while (!ngx_queue_empty(&s->kept)) {
        q = ngx_queue_head(&s->kept);
        ngx_queue_remove(q);
        ngx_free(ngx_queue_data(q, ngx_astro_kept_t, link));
    }

    s->nkept = 0;
}
