
/*
 * Copyright (C) The Astro authors
 *
 * Pace: a timer sends one batch each time it fires, and fires so often that
 * all users were in some batch within 4 s; the fifth second is for the answer
 * and for a database that is slow.  With few users that is two calls a second,
 * each of which also asks what was barred.
 * After a break the next batch leaves as soon as the last was answered, until
 * everybody was in one; it starts at a random moment of 200 ms, so that the
 * workers of all hosts, who saw the same break, do not come at once.
 *
 * A batch is the users, the issue time of the oldest token of each, and what
 * they were told of sessions.  Several connections of one user are asked for
 * as one, for whoever was told least: an answer goes to each connection, and
 * each writes what is new to it alone.
 *
 * A worker that was killed may have committed something and told nobody.  Its
 * seat tells: generations and tenants are compared once a second, and a change
 * is a break.
 */

#include "ngx_astro_barred.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_revoked.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_told.h"
#include "ngx_astro_users.h"
#include "ngx_astro_whereabouts.h"


#define NGX_ASTRO_HEAL_ROUND_MS   4000      /* all users once */
#define NGX_ASTRO_HEAL_TICK_MS    500       /* between batches, at most */
#define NGX_ASTRO_HEAL_JITTER_MS  200
#define NGX_ASTRO_HEAL_BATCH      256       /* users of one call */
#define NGX_ASTRO_HEAL_URGENT     64        /* then it is everybody's turn */
#define NGX_ASTRO_HEAL_OVERLAP_MS 60000     /* commits seen late */
#define NGX_ASTRO_HEAL_NUM        (NGX_INT64_LEN + 1)


/* one user of a batch and one session */
typedef struct {
    uint64_t                 session;
    int64_t                  ver;
    int64_t                  head;
} ngx_astro_heal_told_t;

typedef struct {
    int64_t                  iat;       /* oldest */
    ngx_uint_t               n;
    ngx_astro_heal_told_t    told[NGX_ASTRO_TOLD_MAX];
} ngx_astro_heal_user_t;


static void ngx_astro_heal_connected(void);
static void ngx_astro_heal_tick(ngx_event_t *ev);
static void ngx_astro_heal_start(ngx_event_t *ev);
static void ngx_astro_heal_posted(ngx_event_t *ev);
static void ngx_astro_heal_seats(void);
static void ngx_astro_heal_next(void);
static void ngx_astro_heal_send(void);
static void ngx_astro_heal_gather(ngx_astro_conn_t *conn, void *ctx);
static void ngx_astro_heal_lacks(ngx_astro_conn_t *conn, void *ctx);
static void ngx_astro_heal_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_heal_session(PGresult *res, int row);
static void ngx_astro_heal_over(ngx_astro_conn_t *conn, void *ctx);
static void ngx_astro_heal_settle(ngx_astro_conn_t *conn, void *ctx);
static void ngx_astro_heal_drop(uint64_t user, int64_t at_ms);
static void ngx_astro_heal_drop_one(ngx_astro_conn_t *conn, void *ctx);


static struct {
    ngx_event_t   timer;
    ngx_event_t   all;                  /* the jitter before a sweep */
    ngx_event_t   post;
    uint64_t      after;                /* the user looked at last */
    ngx_uint_t    sweep;                /* users still to come at once */
    ngx_uint_t    nurgent;
    uint64_t      urgent[NGX_ASTRO_HEAL_URGENT];
    ngx_uint_t    n;                    /* users of the call under way */
    uint64_t      users[NGX_ASTRO_HEAL_BATCH];
    int64_t       since_ms;             /* clock of the database */
    int64_t       dropped_ms;           /* all who had said hello then */
    uint64_t      seats;                /* a sum of all generations */
    unsigned      calling:1;
    unsigned      due:1;                /* a batch is due and was not sent */
    unsigned      since:1;              /* ask for what was barred */
    unsigned      asking:1;             /* the call under way does */
} ngx_astro_heal;


ngx_int_t
ngx_astro_heal_init(void)
{
    ngx_astro_event_init(&ngx_astro_heal.timer, ngx_astro_heal_tick);
    ngx_astro_event_init(&ngx_astro_heal.all, ngx_astro_heal_start);
    ngx_astro_event_init(&ngx_astro_heal.post, ngx_astro_heal_posted);
    ngx_astro_heal.timer.cancelable = 1;
    ngx_astro_heal.all.cancelable = 1;

    ngx_astro_heal.since_ms = (int64_t) (ngx_time()
                                         - ngx_astro_barred_window()) * 1000;
    ngx_astro_heal.since = 1;

    ngx_astro_heal_seats();
    ngx_add_timer(&ngx_astro_heal.timer,
                  ngx_random() % NGX_ASTRO_HEAL_TICK_MS + 1);

    ngx_astro_pg_on_connect(ngx_astro.pg_api, ngx_astro_heal_connected);

    return NGX_OK;
}


/* PostgreSQL is back, or here for the first time. */

static void
ngx_astro_heal_connected(void)
{
    ngx_astro_heal_all();
    ngx_astro_whereabouts_restore();
}


void
ngx_astro_heal_all(void)
{
    if (!ngx_astro_heal.all.timer_set) {
        ngx_add_timer(&ngx_astro_heal.all,
                      ngx_random() % NGX_ASTRO_HEAL_JITTER_MS);
    }
}


static void
ngx_astro_heal_start(ngx_event_t *ev)
{
    ngx_astro_count(HEAL_ALL);

    /* one that has begun begins again: part of it was before the break */

    ngx_astro_heal.sweep = ngx_astro_users_count();
    ngx_astro_heal.since = 1;
    ngx_astro_heal.due = 1;

    ngx_astro_heal_next();
}


void
ngx_astro_heal_user(uint64_t user)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_astro_heal.nurgent; i++) {
        if (ngx_astro_heal.urgent[i] == user) {
            return;
        }
    }

    if (ngx_astro_heal.nurgent == NGX_ASTRO_HEAL_URGENT) {
        ngx_astro_heal_all();
        return;
    }

    ngx_astro_heal.urgent[ngx_astro_heal.nurgent++] = user;

    if (!ngx_astro_heal.post.posted) {
        ngx_post_event(&ngx_astro_heal.post, &ngx_posted_events);
    }
}


void
ngx_astro_heal_barred(void)
{
    ngx_astro_heal.since = 1;

    if (!ngx_astro_heal.post.posted) {
        ngx_post_event(&ngx_astro_heal.post, &ngx_posted_events);
    }
}


void
ngx_astro_heal_hint(u_char *text, size_t len)
{
    ngx_int_t  user;

    user = len > 2 ? ngx_atoi(text + 2, len - 2) : NGX_ERROR;

    if (user <= 0) {
        return;
    }

    /* a hint, no more: what is so is read from the database */

    ngx_astro_heal.since = 1;

    ngx_astro_heal_user(user);
}


static void
ngx_astro_heal_posted(ngx_event_t *ev)
{
    ngx_astro_heal_next();
}


static void
ngx_astro_heal_tick(ngx_event_t *ev)
{
    ngx_msec_t  wait;
    ngx_uint_t  users;

    users = ngx_astro_users_count();
    wait = NGX_ASTRO_HEAL_TICK_MS;

    if (users > NGX_ASTRO_HEAL_BATCH * NGX_ASTRO_HEAL_ROUND_MS
                / NGX_ASTRO_HEAL_TICK_MS)
    {
        wait = NGX_ASTRO_HEAL_ROUND_MS * NGX_ASTRO_HEAL_BATCH / users;
    }

    ngx_add_timer(ev, ngx_max(wait, 1));

    ngx_astro_heal_seats();

    /* what was barred or revoked is known everywhere within a second */

    ngx_astro_heal.since = 1;
    ngx_astro_heal.due = 1;

    ngx_astro_heal_next();
}


static void
ngx_astro_heal_seats(void)
{
    uint64_t    sum;
    ngx_uint_t  i, n;

    if (ngx_astro.seat == ASTRO_NO_SEAT) {
        return;
    }

    n = astro_arena_seats(ngx_astro.arena);
    sum = astro_seats_taken(ngx_astro.arena);

    for (i = 0; i < n; i++) {
        sum = sum * 31 + astro_seat_generation(ngx_astro.arena, i);
    }

    if (ngx_astro_heal.seats && sum != ngx_astro_heal.seats) {
        ngx_astro_heal_all();
    }

    ngx_astro_heal.seats = sum;
}


/* Sends what is most urgent, unless a call is under way. */

static void
ngx_astro_heal_next(void)
{
    ngx_uint_t  n;

    if (ngx_astro_heal.calling || !ngx_astro_pg_is_up(ngx_astro.pg_api)) {
        return;
    }

    ngx_astro_heal.n = 0;

    if (ngx_astro_heal.nurgent) {
        ngx_astro_heal.n = ngx_astro_heal.nurgent;
        ngx_memcpy(ngx_astro_heal.users, ngx_astro_heal.urgent,
                   ngx_astro_heal.nurgent * sizeof(uint64_t));
        ngx_astro_heal.nurgent = 0;

    } else if (ngx_astro_heal.sweep || ngx_astro_heal.due) {

        if (ngx_astro_heal.sweep) {
            n = ngx_min(ngx_astro_heal.sweep, NGX_ASTRO_HEAL_BATCH);

        } else {
            n = ngx_astro_users_count() * NGX_ASTRO_HEAL_TICK_MS
                / NGX_ASTRO_HEAL_ROUND_MS + 1;
            n = ngx_min(n, NGX_ASTRO_HEAL_BATCH);
        }

        ngx_astro_heal.due = 0;
        ngx_astro_heal.n = ngx_astro_users_slice(&ngx_astro_heal.after,
                                                 ngx_astro_heal.users, n);

        ngx_astro_heal.sweep -= ngx_min(ngx_astro_heal.sweep, n);
    }

    if (ngx_astro_heal.n || ngx_astro_heal.since) {
        ngx_astro_heal_send();
    }
}


static void
ngx_astro_heal_send(void)
{
    u_char                 *p[7], *buf, *end[7];
    size_t                  told;
    ngx_uint_t              i, k;
    const char             *values[7];
    ngx_astro_heal_user_t   u;
    char                    since[NGX_INT64_LEN + 1];

    told = ngx_astro_heal.n * NGX_ASTRO_TOLD_MAX;

    buf = ngx_alloc((ngx_astro_heal.n * 2 + told * 4) * NGX_ASTRO_HEAL_NUM
                    + 6 * 3, ngx_astro.log);
    if (buf == NULL) {
        return;
    }

    p[0] = buf;
    p[1] = p[0] + ngx_astro_heal.n * NGX_ASTRO_HEAL_NUM + 3;
    p[2] = p[1] + ngx_astro_heal.n * NGX_ASTRO_HEAL_NUM + 3;
    p[3] = p[2] + told * NGX_ASTRO_HEAL_NUM + 3;
    p[4] = p[3] + told * NGX_ASTRO_HEAL_NUM + 3;
    p[5] = p[4] + told * NGX_ASTRO_HEAL_NUM + 3;

    for (i = 0; i < 6; i++) {
        values[i] = (char *) p[i];
        end[i] = p[i];
        *end[i]++ = '{';
    }

    for (i = 0; i < ngx_astro_heal.n; i++) {

        u.iat = INT64_MAX;
        u.n = 0;

        ngx_astro_users_each(ngx_astro_heal.users[i], ngx_astro_heal_gather,
                             &u);
        ngx_astro_users_each(ngx_astro_heal.users[i], ngx_astro_heal_lacks,
                             &u);

        end[0] = ngx_sprintf(end[0], "%uL,", ngx_astro_heal.users[i]);
        end[1] = ngx_sprintf(end[1], "%L,", u.iat);

        for (k = 0; k < u.n; k++) {
            end[2] = ngx_sprintf(end[2], "%uL,", ngx_astro_heal.users[i]);
            end[3] = ngx_sprintf(end[3], "%uL,", u.told[k].session);
            end[4] = ngx_sprintf(end[4], "%L,", u.told[k].ver);
            end[5] = ngx_sprintf(end[5], "%L,", u.told[k].head);
        }
    }

    for (i = 0; i < 6; i++) {
        if (end[i] != p[i] + 1) {
            end[i]--;
        }

        *end[i]++ = '}';
        *end[i] = '\0';
    }

    values[6] = NULL;
    ngx_astro_heal.asking = ngx_astro_heal.since;

    if (ngx_astro_heal.since) {
        *ngx_sprintf((u_char *) since, "%L", ngx_astro_heal.since_ms) = '\0';
        values[6] = since;
    }

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_heal, values,
                          ngx_astro_heal_done, NULL)
        == NGX_OK)
    {
        ngx_astro_count(HEAL_CALLS);
        ngx_astro_heal.calling = 1;
        ngx_astro_heal.since = 0;
    }

    ngx_free(buf);
}


static void
ngx_astro_heal_gather(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_heal_user_t  *u = ctx;

    int64_t                 head;
    ngx_uint_t              i, k;
    ngx_astro_told_t       *t;

    if (!conn->signed_in) {
        return;
    }

    u->iat = ngx_min(u->iat, conn->token_iat);

    (void) ngx_astro_resume_ask(conn);

    for (i = 0; i < conn->ntold; i++) {
        t = &conn->told[i];

        if (t->done) {
            continue;
        }

        head = ngx_astro_resume_last(conn, t->conv);

        for (k = 0; k < u->n; k++) {
            if (u->told[k].session == t->session) {
                break;
            }
        }

        if (k == NGX_ASTRO_TOLD_MAX) {
            continue;
        }

        if (k == u->n) {
            u->told[k].session = t->session;
            u->told[k].ver = t->ver;
            u->told[k].head = head;
            u->n++;
            continue;
        }

        u->told[k].ver = ngx_min(u->told[k].ver, t->ver);
        u->told[k].head = ngx_min(u->told[k].head, head);
    }
}


/* A session that another device was told of, and this one not. */

static void
ngx_astro_heal_lacks(ngx_astro_conn_t *conn, void *ctx)
{
    ngx_astro_heal_user_t  *u = ctx;

    ngx_uint_t  k;

    for (k = 0; conn->signed_in && k < u->n; k++) {
        if (ngx_astro_told_find(conn, u->told[k].session) == NULL) {
            u->told[k].ver = -1;
        }
    }
}


static void
ngx_astro_heal_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    int        i, n;
    ngx_str_t  kind, state, doc;

    ngx_astro_heal.calling = 0;

    if (rc != NGX_ASTRO_PG_OK) {

        /*
         * Not looked at.  A connection that broke sees to it when it is made
         * again; a call that was refused is made again with the next tick.
         */

        ngx_astro_heal.since |= ngx_astro_heal.asking;

        if (rc != NGX_ASTRO_PG_LOST && !ngx_astro_heal.all.timer_set) {
            ngx_add_timer(&ngx_astro_heal.all, NGX_ASTRO_HEAL_TICK_MS);
        }

        return;
    }

    n = PQntuples(res);

    for (i = 0; i < n; i++) {
        kind = ngx_astro_pg_str(res, i, NGX_ASTRO_H_KIND);

        if (ngx_astro_same(kind.data, kind.len, "session")) {
            ngx_astro_heal_session(res, i);

        } else if (ngx_astro_same(kind.data, kind.len, "account")) {
            state = ngx_astro_pg_str(res, i, NGX_ASTRO_H_STATE);
            ngx_astro_barred_note(ngx_astro_pg_int(res, i, NGX_ASTRO_H_ID),
                                  ngx_astro_same(state.data, state.len,
                                                 "blocked"),
                                  ngx_astro_pg_int(res, i, NGX_ASTRO_H_NUM));

        } else if (ngx_astro_same(kind.data, kind.len, "token")) {
            doc = ngx_astro_pg_str(res, i, NGX_ASTRO_H_DOC);
            ngx_astro_revoked_note(ngx_astro_pg_int(res, i, NGX_ASTRO_H_ID),
                                   doc.data, doc.len,
                                   ngx_astro_pg_int(res, i, NGX_ASTRO_H_NUM));

        } else if (ngx_astro_same(kind.data, kind.len, "drop")) {
            ngx_astro_heal_drop(ngx_astro_pg_int(res, i, NGX_ASTRO_H_ID),
                                ngx_astro_pg_int(res, i, NGX_ASTRO_H_NUM));

        } else if (ngx_astro_same(kind.data, kind.len, "clock")) {
            ngx_astro_heal.since_ms = ngx_astro_pg_int(res, i,
                                                       NGX_ASTRO_H_NUM)
                                      - NGX_ASTRO_HEAL_OVERLAP_MS;
        }
    }

    for (i = 0; i < (int) ngx_astro_heal.n; i++) {
        ngx_astro_users_each(ngx_astro_heal.users[i], ngx_astro_heal_settle,
                             NULL);
    }

    ngx_astro_heal_next();
}


static void
ngx_astro_heal_session(PGresult *res, int row)
{
    uint64_t  session;

    session = ngx_astro_pg_int(res, row, NGX_ASTRO_H_ID);

    ngx_astro_add(HEALED, ngx_astro_sessions_healed(res, row));

    if (ngx_astro_pg_bool(res, row, NGX_ASTRO_H_SETTLED)) {
        ngx_astro_users_each(ngx_astro_pg_int(res, row, NGX_ASTRO_H_NUM),
                             ngx_astro_heal_over, &session);
    }
}


static void
ngx_astro_heal_over(ngx_astro_conn_t *conn, void *ctx)
{
    uint64_t  *session = ctx;

    ngx_astro_told_done(conn, *session);
}


static void
ngx_astro_heal_settle(ngx_astro_conn_t *conn, void *ctx)
{
    (void) ctx;

    if (conn->signed_in) {
        ngx_astro_resume_settle(conn);
    }
}


/*
 * Sockets of a user (0: of all) who said hello up to that instant are closed;
 * whoever has come back since stays.  The same row is read for a minute.
 */

static void
ngx_astro_heal_drop(uint64_t user, int64_t at_ms)
{
    uint64_t    ids[64];
    ngx_uint_t  i, n;

    if (user) {
        ngx_astro_users_each(user, ngx_astro_heal_drop_one, &at_ms);
        return;
    }

    if (at_ms <= ngx_astro_heal.dropped_ms) {
        return;
    }

    ngx_astro_heal.dropped_ms = at_ms;

    do {
        n = ngx_astro_users_after(user, ids, sizeof(ids) / sizeof(ids[0]));

        for (i = 0; i < n; i++) {
            ngx_astro_users_each(ids[i], ngx_astro_heal_drop_one, &at_ms);
            user = ids[i];
        }

    } while (n == sizeof(ids) / sizeof(ids[0]));
}


ngx_uint_t
ngx_astro_heal_dropped(int64_t hello_ms)
{
    return hello_ms <= ngx_astro_heal.dropped_ms;
}


static void
ngx_astro_heal_drop_one(ngx_astro_conn_t *conn, void *ctx)
{
    int64_t  *at_ms = ctx;

    if (conn->signed_in && conn->hello_ms <= *at_ms) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_DRAINING, "disconnected",
                           "resume", 0);
    }
}
