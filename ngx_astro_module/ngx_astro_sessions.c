
/*
 * Copyright (C) The Astro authors
 *
 * A session is known here while a client of this worker takes part in it.
 *
 * What is known only ever moves forward: by version, and within a version by
 * paid_until, which nothing but the session's own transitions shortens.  So the
 * same news may come by reply, ring, Redis and renewal, in any order.
 *
 * At paid_until this worker stops relaying on its own clock and closes its
 * clients' intervals at exactly that instant, whatever else is alive.  It opens
 * them again when it hears that the session goes on.
 */

#include "ngx_astro_doubts.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_sessions_private.h"
#include "ngx_astro_signal.h"
#include "ngx_astro_told.h"
#include "ngx_astro_users.h"


#define NGX_ASTRO_ENDED_MS  30000


static ngx_uint_t ngx_astro_sessions_hear(const ngx_astro_news_t *news);
static void ngx_astro_sessions_learn(ngx_astro_session_t *s,
    const ngx_astro_news_t *news);
static void ngx_astro_sessions_present(ngx_astro_session_t *s,
    const ngx_str_t *snapshot);
static void ngx_astro_sessions_arm(ngx_astro_session_t *s);
static void ngx_astro_sessions_deadline(ngx_event_t *ev);
static void ngx_astro_sessions_unpaid(ngx_astro_session_t *s);
static void ngx_astro_sessions_due_one(ngx_astro_session_t *s);


static ngx_rbtree_t       ngx_astro_sessions;
static ngx_rbtree_node_t  ngx_astro_sessions_sentinel;
static ngx_uint_t         ngx_astro_nsessions;


void
ngx_astro_sessions_init(void)
{
    ngx_rbtree_init(&ngx_astro_sessions, &ngx_astro_sessions_sentinel,
                    ngx_rbtree_insert_value);
    ngx_astro_doubts_init();
}


ngx_uint_t
ngx_astro_sessions_count(void)
{
    return ngx_astro_nsessions;
}


ngx_astro_session_t *
ngx_astro_sessions_find(uint64_t id)
{
    ngx_rbtree_node_t  *node;

    node = ngx_astro_sessions.root;

    while (node != &ngx_astro_sessions_sentinel) {
        if (node->key == id) {
            return (ngx_astro_session_t *) node;
        }

        node = id < node->key ? node->left : node->right;
    }

    return NULL;
}


ngx_astro_session_t *
ngx_astro_sessions_create(const ngx_astro_news_t *news)
{
    ngx_astro_session_t  *s;

    s = ngx_calloc(sizeof(ngx_astro_session_t), ngx_astro.log);
    if (s == NULL) {
        return NULL;
    }

    s->node.key = news->session;
    s->conv = news->conv;
    s->client = news->client;
    s->advisor = news->advisor;
    s->ver = -1;
    s->pauses = -1;

    ngx_queue_init(&s->joins);
    ngx_queue_init(&s->kept);

    ngx_astro_event_init(&s->deadline, ngx_astro_sessions_deadline);
    s->deadline.cancelable = 1;

    ngx_rbtree_insert(&ngx_astro_sessions, &s->node);
    ngx_astro_nsessions++;

    return s;
}


/* Nobody here takes part any more. */

void
ngx_astro_sessions_drop(ngx_astro_session_t *s)
{
    if (s->deadline.timer_set) {
        ngx_del_timer(&s->deadline);
    }

    ngx_astro_signal_forget(s);

    ngx_rbtree_delete(&ngx_astro_sessions, &s->node);
    ngx_astro_nsessions--;

    ngx_free(s);
}


ngx_astro_error_e
ngx_astro_sessions_may(ngx_astro_session_t *s, ngx_uint_t states)
{
    if (s->unpaid) {
        return NGX_ASTRO_E_UNPAID;
    }

    if (!(astro_session_bit(s->state) & states)) {
        return NGX_ASTRO_E_SESSION_STATE;
    }

    /*
     * Once it was paid for, in any state: were both parties back and the
     * billing worker dead, they would talk for nothing.
     */

    if ((s->state == ASTRO_SESSION_ACTIVE || s->paid_until_ms)
        && ngx_astro_timeline_of(ngx_astro_life_ms()) >= s->paid_until_ms)
    {
        return NGX_ASTRO_E_UNPAID;
    }

    return NGX_ASTRO_E_MAX;
}


/* news */

ngx_int_t
ngx_astro_sessions_news(ngx_astro_news_t *news, PGresult *res, int row)
{
    ngx_str_t  state;

    if (ngx_astro_pg_int(res, row, NGX_ASTRO_O_STATUS) >= 300
        || PQgetisnull(res, row, NGX_ASTRO_O_STATE))
    {
        return NGX_DECLINED;
    }

    state = ngx_astro_pg_str(res, row, NGX_ASTRO_O_STATE);

    news->session = ngx_astro_pg_int(res, row, NGX_ASTRO_O_SESSION);
    news->ver = ngx_astro_pg_int(res, row, NGX_ASTRO_O_VER);
    news->state = astro_session_state_parse(state.data, state.len);
    news->paid_until_ms = ngx_astro_pg_int(res, row, NGX_ASTRO_O_PAID_UNTIL);
    news->client = ngx_astro_pg_int(res, row, NGX_ASTRO_O_CLIENT);
    news->advisor = ngx_astro_pg_int(res, row, NGX_ASTRO_O_ADVISOR);
    news->conv = ngx_astro_pg_int(res, row, NGX_ASTRO_O_CONV);
    news->head = ngx_astro_pg_int(res, row, NGX_ASTRO_O_HEAD);
    news->snapshot = ngx_astro_pg_str(res, row, NGX_ASTRO_O_SNAPSHOT);
    news->start = news->state == ASTRO_SESSION_RINGING ? news->head : -1;

    return NGX_OK;
}


void
ngx_astro_sessions_outcome(PGresult *res, int row)
{
    u_char                *p;
    u_char                 buf[256];
    ngx_str_t              frame;
    ngx_astro_msg_t        m;
    ngx_astro_news_t       news;
    ngx_astro_route_t      route;
    ngx_astro_session_t   *s;

    if (ngx_astro_sessions_news(&news, res, row) != NGX_OK) {
        return;
    }

    s = ngx_astro_sessions_find(news.session);

    if (news.snapshot.len == 0 || (s && s->ver >= news.ver)) {
        /* nothing that others would not know: a look at the head, money */
        (void) ngx_astro_sessions_hear(&news);

    } else {
        p = ngx_sprintf(buf, "S %uL %i %s %L %uL %uL %uL %L\n", news.session,
                        news.ver, astro_session_state_name(news.state),
                        news.paid_until_ms, news.client, news.advisor,
                        news.conv, news.head);

        ngx_memzero(&route, sizeof(ngx_astro_route_t));
        route.to = NGX_ASTRO_TO_SESSION;

        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, buf, p - buf);
        ngx_astro_msg_add(&m, news.snapshot.data, news.snapshot.len);

        ngx_astro_route_pair(&route, news.client, news.advisor, &m);
    }

    if (PQgetisnull(res, row, NGX_ASTRO_O_EVENT_SEQ)) {
        return;
    }

    frame = ngx_astro_pg_str(res, row, NGX_ASTRO_O_EVENT_FRAME);

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.durable = 1;
    route.conv = news.conv;
    route.seq = ngx_astro_pg_int(res, row, NGX_ASTRO_O_EVENT_SEQ);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, frame.data, frame.len);

    route.user = news.client;
    ngx_astro_route_user(&route, &m);
    route.user = news.advisor;
    ngx_astro_route_user(&route, &m);
}


void
ngx_astro_sessions_deliver(ngx_astro_route_t *route, const ngx_astro_msg_t *m)
{
    u_char  *p, *buf;

    (void) route;

    /* from this worker it comes in two pieces, from another in one */

    if (m->n == 1) {
        ngx_astro_sessions_event(m->part[0].data, m->len);
        return;
    }

    buf = ngx_alloc(m->len, ngx_astro.log);
    if (buf == NULL) {
        return;
    }

    p = ngx_astro_msg_copy(buf, m);
    ngx_astro_sessions_event(buf, p - buf);
    ngx_free(buf);
}


static uint64_t
ngx_astro_sessions_number(u_char **pos, u_char *last)
{
    u_char    *p;
    uint64_t   n;

    n = 0;

    for (p = *pos; p < last && *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');
    }

    while (p < last && *p == ' ') {
        p++;
    }

    *pos = p;

    return n;
}


void
ngx_astro_sessions_event(u_char *text, size_t len)
{
    u_char            *p, *last, *eol, *state;
    ngx_astro_news_t   news;

    last = text + len;
    eol = ngx_strlchr(text, last, '\n');

    if (eol == NULL || len < 2 || text[0] != 'S' || text[1] != ' ') {
        return;
    }

    p = text + 2;
    news.session = ngx_astro_sessions_number(&p, eol);
    news.ver = ngx_astro_sessions_number(&p, eol);

    state = p;
    while (p < eol && *p != ' ') { p++; }
    news.state = astro_session_state_parse(state, p - state);
    while (p < eol && *p == ' ') { p++; }

    news.paid_until_ms = ngx_astro_sessions_number(&p, eol);
    news.client = ngx_astro_sessions_number(&p, eol);
    news.advisor = ngx_astro_sessions_number(&p, eol);
    news.conv = ngx_astro_sessions_number(&p, eol);
    news.head = ngx_astro_sessions_number(&p, eol);
    news.start = news.state == ASTRO_SESSION_RINGING ? news.head : -1;
    news.snapshot.data = eol + 1;
    news.snapshot.len = last - eol - 1;

    if (p != eol || news.session == 0 || news.state == ASTRO_SESSION_NONE) {
        return;
    }

    (void) ngx_astro_sessions_hear(&news);
}


ngx_int_t
ngx_astro_sessions_paid(uint64_t session, ngx_int_t ver, int64_t paid_until_ms)
{
    ngx_astro_news_t      news;
    ngx_astro_session_t  *s;

    s = ngx_astro_sessions_find(session);

    /* nobody here takes part */

    if (s == NULL) {
        return NGX_OK;
    }

    if (ver > s->ver) {
        return NGX_DECLINED;
    }

    ngx_memzero(&news, sizeof(ngx_astro_news_t));
    news.ver = ver;
    news.paid_until_ms = paid_until_ms;

    ngx_astro_sessions_learn(s, &news);

    return NGX_OK;
}


ngx_uint_t
ngx_astro_sessions_healed(PGresult *res, int row)
{
    ngx_str_t         state;
    ngx_astro_news_t  news;

    state = ngx_astro_pg_str(res, row, NGX_ASTRO_H_STATE);

    news.session = ngx_astro_pg_int(res, row, NGX_ASTRO_H_ID);
    news.ver = ngx_astro_pg_int(res, row, NGX_ASTRO_H_VER);
    news.state = astro_session_state_parse(state.data, state.len);
    news.paid_until_ms = ngx_astro_pg_int(res, row, NGX_ASTRO_H_PAID_UNTIL);
    news.client = ngx_astro_pg_int(res, row, NGX_ASTRO_H_CLIENT);
    news.advisor = ngx_astro_pg_int(res, row, NGX_ASTRO_H_ADVISOR);
    news.conv = ngx_astro_pg_int(res, row, NGX_ASTRO_H_CONV);
    news.head = ngx_astro_pg_int(res, row, NGX_ASTRO_H_HEAD);
    news.start = PQgetisnull(res, row, NGX_ASTRO_H_START)
                 ? -1 : ngx_astro_pg_int(res, row, NGX_ASTRO_H_START);
    news.snapshot = ngx_astro_pg_str(res, row, NGX_ASTRO_H_DOC);

    return ngx_astro_sessions_hear(&news);
}


typedef struct {
    const ngx_astro_msg_t   *m;         /* session_update */
    const ngx_astro_msg_t   *ring;      /* session_incoming, or NULL */
    const ngx_astro_news_t  *news;
    ngx_uint_t               told;
} ngx_astro_tell_t;


static void
ngx_astro_sessions_tell_one(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_tell_t  *tell = ctx;

    const ngx_astro_news_t  *news;

    news = tell->news;

    if (!conn->signed_in) {
        /* hello's answer may be older: heal is asked when it is here */
        conn->missed = 1;
        return;
    }

    if (tell->m
        && ngx_astro_told_news(conn, news->session, news->conv, news->ver,
                               news->state)
           == NGX_OK)
    {
        ngx_astro_conn_send(conn, tell->m, 0);

        if (tell->ring && conn->user == news->advisor) {
            ngx_astro_conn_send(conn, tell->ring, 0);
        }

        tell->told++;
    }

    if (news->start >= 0) {

        /* a conversation that may be new: whatever comes is after this */

        ngx_astro_resume_set(conn, news->conv, news->start);

    } else if (news->state != ASTRO_SESSION_ENDED
               && ngx_astro_resume_last(conn, news->conv) < 0)
    {
        /* its beginning was lost */

        ngx_astro_heal_user(conn->user);
    }

    ngx_astro_resume_head(conn, news->conv, news->head);
}


/* Returns how many connections were told. */

static ngx_uint_t
ngx_astro_sessions_hear(const ngx_astro_news_t *news)
{
    u_char                buf[64], rung[64];
    ngx_astro_msg_t       m, ring;
    ngx_astro_tell_t      tell;
    ngx_astro_session_t  *s;

    tell.news = news;
    tell.m = NULL;
    tell.ring = NULL;
    tell.told = 0;

    if (news->snapshot.len) {
        ngx_astro_msg_init(&m);
        ngx_astro_msg_add(&m, buf,
                          ngx_sprintf(buf, "{\"type\":\"session_update\","
                                      "\"ver\":%i,\"payload\":", news->ver)
                          - buf);
        ngx_astro_msg_add(&m, news->snapshot.data, news->snapshot.len);
        ngx_astro_msg_lit(&m, "}");
        tell.m = &m;
    }

    if (news->snapshot.len && news->state == ASTRO_SESSION_RINGING) {

        /* every device of the advisor rings once, whoever said so first */

        ngx_astro_msg_init(&ring);
        ngx_astro_msg_add(&ring, rung,
                          ngx_sprintf(rung, "{\"type\":\"session_incoming\","
                                      "\"ver\":%i,\"payload\":", news->ver)
                          - rung);
        ngx_astro_msg_add(&ring, news->snapshot.data, news->snapshot.len);
        ngx_astro_msg_lit(&ring, "}");
        tell.ring = &ring;
    }

    ngx_astro_users_each(news->client, ngx_astro_sessions_tell_one, &tell);
    ngx_astro_users_each(news->advisor, ngx_astro_sessions_tell_one, &tell);

    /* telling may have closed the last client that took part */

    s = ngx_astro_sessions_find(news->session);

    if (s && (news->snapshot.len || news->ver <= s->ver)) {
        ngx_astro_sessions_learn(s, news);
    }

    return tell.told;
}


static void
ngx_astro_sessions_learn(ngx_astro_session_t *s, const ngx_astro_news_t *news)
{
    int64_t            pauses;
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    s->head = ngx_max(s->head, news->head);

    if (news->ver < s->ver || s->state == ASTRO_SESSION_ENDED) {
        return;
    }

    if (news->ver == s->ver) {

        if (news->paid_until_ms > s->paid_until_ms) {
            s->paid_until_ms = news->paid_until_ms;

            if (ngx_astro_timeline_of(ngx_astro_life_ms())
                < s->paid_until_ms)
            {
                s->unpaid = 0;
            }

            ngx_astro_sessions_arm(s);
            ngx_astro_sessions_rejoin(s);
        }

        return;
    }

    s->ver = news->ver;
    s->state = news->state;
    s->paid_until_ms = news->paid_until_ms;

    if (s->state == ASTRO_SESSION_ENDED) {

        /*
         * The books are closed a moment later, by the billing worker, and with
         * them comes the event session_end.  Should nobody say so, it is found
         * as the head of the conversation with the lease's renewal: so the
         * session is still looked at for a while.
         */

        ngx_add_timer(&s->deadline, NGX_ASTRO_ENDED_MS);

        while (!ngx_queue_empty(&s->joins)) {
            q = ngx_queue_head(&s->joins);
            j = ngx_queue_data(q, ngx_astro_join_t, session_link);
            ngx_astro_join_remove(j, "ended");
        }

        return;
    }

    if (s->state != ASTRO_SESSION_ACTIVE
        || ngx_astro_timeline_of(ngx_astro_life_ms()) < s->paid_until_ms)
    {
        s->unpaid = 0;
    }

    pauses = s->pauses;

    ngx_astro_sessions_present(s, &news->snapshot);

    if (s->state == ASTRO_SESSION_PAUSED
        || (pauses != -1 && s->pauses > pauses))
    {
        ngx_astro_sessions_paused(s);
    }

    ngx_astro_sessions_arm(s);
    ngx_astro_sessions_rejoin(s);
    ngx_astro_signal_flush(s);
}


static int
ngx_astro_sessions_present_one(void *ctx, int depth,
    const astro_json_member_t *scalar)
{
    ngx_astro_session_t  *s = ctx;

    uint64_t              user;

    if (depth == 1 && scalar->kind == ASTRO_JSON_STRING) {
        user = astro_id_parse('u', scalar->raw + 1, scalar->raw_len - 2);

        if (user == s->client) {
            s->present |= ASTRO_PARTY_CLIENT;

        } else if (user == s->advisor) {
            s->present |= ASTRO_PARTY_ADVISOR;
        }
    }

    return 0;
}


static void
ngx_astro_sessions_present(ngx_astro_session_t *s, const ngx_str_t *snapshot)
{
    astro_json_doc_t            doc;
    const astro_json_member_t  *m;

    s->present = 0;

    if (astro_json_parse(ngx_astro.json, snapshot->data, snapshot->len, &doc)
        != 0)
    {
        return;
    }

    m = astro_json_get(&doc.root, "since");
    if (m == NULL || astro_json_int(m, 0, INT64_MAX, &s->since_ms) != 0) {
        s->since_ms = 0;
    }

    m = astro_json_get(&doc.root, "pauses");
    if (m == NULL || astro_json_int(m, 0, INT64_MAX, &s->pauses) != 0) {
        s->pauses = 0;
    }

    m = astro_json_get(&doc.root, "present");

    if (m && m->kind == ASTRO_JSON_ARRAY) {
        (void) astro_json_scalars(ngx_astro.json, m,
                                  ngx_astro_sessions_present_one, s);
    }
}


/* paid_until */

static void
ngx_astro_sessions_arm(ngx_astro_session_t *s)
{
    int64_t  left;

    if (s->state != ASTRO_SESSION_ACTIVE || s->unpaid) {
        if (s->deadline.timer_set) {
            ngx_del_timer(&s->deadline);
        }

        return;
    }

    left = s->paid_until_ms - ngx_astro_timeline_of(ngx_astro_life_ms());

    ngx_add_timer(&s->deadline, ngx_max(left, 1));
}


static void
ngx_astro_sessions_deadline(ngx_event_t *ev)
{
    ngx_astro_session_t  *s;

    s = ngx_astro_of(ev, ngx_astro_session_t, deadline);

    if (s->state == ASTRO_SESSION_ENDED) {
        ngx_astro_sessions_drop(s);
        return;
    }

    if (ngx_astro_timeline_of(ngx_astro_life_ms()) < s->paid_until_ms) {
        ngx_astro_sessions_arm(s);
        return;
    }

    ngx_astro_sessions_unpaid(s);
}


static void
ngx_astro_sessions_unpaid(ngx_astro_session_t *s)
{
    u_char             *p;
    u_char              buf[256];
    int64_t             life;
    ngx_queue_t        *q;
    ngx_astro_msg_t     m;
    ngx_astro_join_t   *j;

    s->unpaid = 1;
    life = ngx_max(ngx_astro_life_of(s->paid_until_ms), 0);

    ngx_log_error(NGX_LOG_INFO, ngx_astro.log, 0,
                  "astro: session %uL is paid no further, paused",
                  (uint64_t) s->node.key);

    p = ngx_sprintf(buf, "{\"type\":\"session_update\",\"ver\":%i,\"payload\":"
                    "{\"session\":\"s_%uL\",\"conv\":\"c_%uL\",\"ver\":%i,"
                    "\"state\":\"paused\",\"reason\":\"unpaid\"}}", s->ver,
                    (uint64_t) s->node.key, s->conv, s->ver);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);

    for (q = ngx_queue_head(&s->joins);
         q != ngx_queue_sentinel(&s->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, session_link);
        ngx_astro_join_close(j, life, "unpaid");
        ngx_astro_conn_send(j->conn, &m, 1);
    }
}


/* for the lease */

static void
ngx_astro_sessions_due_one(ngx_astro_session_t *s)
{
    int64_t            now;
    ngx_queue_t       *q;
    ngx_astro_join_t  *j;

    if (s->state == ASTRO_SESSION_ACTIVE && !s->unpaid
        && ngx_astro_timeline_of(ngx_astro_life_ms()) >= s->paid_until_ms)
    {
        ngx_astro_sessions_unpaid(s);
    }

    now = ngx_astro_boot_ms();

    for (q = ngx_queue_head(&s->joins);
         q != ngx_queue_sentinel(&s->joins);
         q = ngx_queue_next(q))
    {
        j = ngx_queue_data(q, ngx_astro_join_t, session_link);
        ngx_astro_sessions_silent(j->conn, now);
    }
}


void
ngx_astro_sessions_due(void)
{
    ngx_astro_sessions_each(ngx_astro_sessions_due_one);
}


void
ngx_astro_sessions_each(void (*fn)(ngx_astro_session_t *s))
{
    ngx_rbtree_node_t  *node;

    if (ngx_astro_nsessions == 0) {
        return;
    }

    for (node = ngx_rbtree_min(ngx_astro_sessions.root,
                               &ngx_astro_sessions_sentinel);
         node;
         node = ngx_rbtree_next(&ngx_astro_sessions, node))
    {
        fn((ngx_astro_session_t *) node);
    }
}


void
ngx_astro_sessions_watch(ngx_uint_t n, u_char *ids, u_char *vers)
{
    ngx_uint_t            i;
    ngx_rbtree_node_t    *node, *next;
    ngx_astro_session_t  *s;

    static uint64_t  after;

    n = ngx_min(n, ngx_astro_nsessions);
    next = NULL;
    node = ngx_astro_sessions.root;

    while (node != &ngx_astro_sessions_sentinel) {
        if (node->key > after) {
            next = node;
            node = node->left;

        } else {
            node = node->right;
        }
    }

    *ids++ = '{';
    *vers++ = '{';

    for (i = 0; i < n; i++) {

        if (next == NULL) {
            next = ngx_rbtree_min(ngx_astro_sessions.root,
                                  &ngx_astro_sessions_sentinel);
        }

        s = (ngx_astro_session_t *) next;
        after = s->node.key;

        ids = ngx_sprintf(ids, "%s%uL", i ? "," : "", after);
        vers = ngx_sprintf(vers, "%s%i", i ? "," : "", ngx_max(s->ver, 0));

        next = ngx_rbtree_next(&ngx_astro_sessions, next);
    }

    *ids++ = '}'; *ids = '\0';
    *vers++ = '}'; *vers = '\0';
}
