
/*
 * Copyright (C) The Astro authors
 *
 * Reading, the heartbeat, and the ways in which a connection ends.
 *
 * Input is read into one buffer of the worker and parsed there; an idle
 * connection owns none.  The read event's timer is the heartbeat
 * (non-cancelable, so that a worker which is shutting down waits for its
 * clients); the write event's timer first spreads the goodbyes of a shutdown,
 * then bounds how long a peer may take over its own Close frame.
 */

#include "ngx_astro_conn.h"
#include "ngx_astro_deflate.h"
#include "ngx_astro_drain.h"
#include "ngx_astro_echo.h"
#include "ngx_astro_hello.h"
#include "ngx_astro_out.h"
#include "ngx_astro_outside.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_protocol.h"
#include "ngx_astro_reauth.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_throttle.h"
#include "ngx_astro_users.h"
#include "ngx_astro_ws_old.h"


#define NGX_ASTRO_RECV_SIZE    65536
#define NGX_ASTRO_READ_BUDGET  16       /* reads of one client in one turn */
#define NGX_ASTRO_LINGER_MS    2000
#define NGX_ASTRO_HASTY_SIZE   4096     /* of a read, once it was too much */
#define NGX_ASTRO_DENSE_SIZE   1024     /* if it may be compressed 600 times */
#define NGX_ASTRO_TURN_FRAMES  512      /* so many, and others have a turn */


static void ngx_astro_conn_read_handler(ngx_event_t *rev);
static void ngx_astro_conn_write_handler(ngx_event_t *wev);
static ngx_uint_t ngx_astro_conn_feed(ngx_astro_conn_t *conn, u_char *p,
    u_char *last);
static void ngx_astro_conn_message(ngx_astro_conn_t *conn,
    astro_ws_event_t *event);
static void ngx_astro_conn_closed_by_peer(ngx_astro_conn_t *conn,
    astro_ws_event_t *event);
static void ngx_astro_conn_heartbeat(ngx_astro_conn_t *conn);
static void ngx_astro_conn_close_frame(ngx_astro_conn_t *conn,
    ngx_uint_t code, const char *reason);
static void ngx_astro_conn_close(ngx_astro_conn_t *conn);


static ngx_queue_t   ngx_astro_conns;
static uint64_t      ngx_astro_conn_serial;
static u_char       *ngx_astro_recv_buf;


ngx_int_t
ngx_astro_conns_init(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_astro_conns);
    ngx_astro_throttle_init();
    ngx_astro_drain_init();

    ngx_astro_recv_buf = ngx_alloc(NGX_ASTRO_RECV_SIZE, cycle->log);

    return ngx_astro_recv_buf ? NGX_OK : NGX_ERROR;
}


ngx_astro_conn_t *
ngx_astro_conn_create(ngx_connection_t *c)
{
    ngx_astro_conn_t  *conn;

    conn = ngx_calloc(sizeof(ngx_astro_conn_t), c->log);
    if (conn == NULL) {
        return NULL;
    }

    /* unique on the host: pids of live workers differ */

    conn->id = ((uint64_t) ngx_pid << 40) | ++ngx_astro_conn_serial;
    conn->c = c;
    conn->refs = 1;
    conn->out_tail = &conn->out;

    ngx_queue_init(&conn->joins);
    ngx_queue_init(&conn->watches);

    astro_ws_reader_init(&conn->reader, ngx_astro.conf->max_frame);

    conn->flush.handler = ngx_astro_conn_flush_handler;
    conn->flush.log = ngx_astro.log;
    conn->flush.data = conn;

    return conn;
}


ngx_int_t
ngx_astro_conn_start(ngx_astro_conn_t *conn, u_char *early, size_t len)
{
    int64_t            now;
    ngx_uint_t         frames;
    ngx_connection_t  *c;

    c = conn->c;
    now = ngx_astro_boot_ms();

    c->data = conn;
    c->idle = 1;
    c->log->action = "serving a websocket";
    c->read->handler = ngx_astro_conn_read_handler;
    c->write->handler = ngx_astro_conn_write_handler;

    ngx_queue_insert_tail(&ngx_astro_conns, &conn->link);

    ngx_astro_count(CONNECTIONS);
    ngx_astro_count(OPEN);

    conn->rx_ms = now;
    conn->ping_ms = now + ngx_astro.conf->ping_interval;
    conn->heads_ms = conn->ping_ms;

    if (conn->echo) {
        ngx_astro_echo_start(conn);

    } else {
        ngx_add_timer(c->read, ngx_astro_ws_old_wait(conn));
    }

    if (len) {
        frames = ngx_astro_conn_feed(conn, early, early + len);
        (void) ngx_astro_throttle(conn, frames, len);
    }

    if (ngx_exiting || ngx_terminate) {
        ngx_astro_drain_conn(conn);
    }

    ngx_astro_conn_post(conn);

    if (conn->throttled) {
        return NGX_OK;
    }

    if (c->read->ready) {
        ngx_post_event(c->read, &ngx_posted_events);
        return NGX_OK;
    }

    return ngx_handle_read_event(c->read, 0);
}


/* Before start only: nothing knows of the connection yet. */

void
ngx_astro_conn_free(ngx_astro_conn_t *conn)
{
    conn->c = NULL;
    ngx_astro_limits_close(&conn->limits);
    ngx_astro_conn_unref(conn);
}


void
ngx_astro_conn_unref(ngx_astro_conn_t *conn)
{
    if (--conn->refs) {
        return;
    }

    ngx_astro_out_free(conn);
    ngx_astro_deflate_free(conn);
    astro_ws_reader_free(&conn->reader);

    if (conn->bearer.data) {
        ngx_explicit_memzero(conn->bearer.data, conn->bearer.len);
        ngx_free(conn->bearer.data);
    }

    ngx_astro_resume_free(conn);
    ngx_free(conn);
}


ngx_uint_t
ngx_astro_conns_none(void)
{
    return ngx_queue_empty(&ngx_astro_conns);
}


static void
ngx_astro_conn_read_handler(ngx_event_t *rev)
{
    size_t             size;
    ssize_t            n;
    ngx_uint_t         i, frames;
    ngx_connection_t  *c;
    ngx_astro_conn_t  *conn;

    c = rev->data;
    conn = c->data;

    if (c->close) {
        c->close = 0;

        if (c->error) {
            /* worker_shutdown_timeout: no time for words is left */
            ngx_astro_conn_close(conn);
            return;
        }

        ngx_astro_drain_conn(conn);
        return;
    }

    if (rev->timedout) {
        rev->timedout = 0;
        ngx_astro_conn_heartbeat(conn);

        if (conn->broken) {
            ngx_astro_conn_close(conn);
        }

        return;
    }

    if (conn->throttled) {
        return;
    }

    for (i = 0; i < NGX_ASTRO_READ_BUDGET; i++) {

        /* all of a read is handled before the throttle is asked */

        size = conn->reader.deflate ? NGX_ASTRO_DENSE_SIZE
               : conn->hasty ? NGX_ASTRO_HASTY_SIZE : NGX_ASTRO_RECV_SIZE;

        n = c->recv(c, ngx_astro_recv_buf, size);

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == 0 && conn->discard && conn->out) {
            /* the client has ended its half, and may still read our Close */
            conn->finish = 1;
            return;
        }

        if (n == 0 || n == NGX_ERROR) {
            ngx_astro_conn_close(conn);
            return;
        }

        ngx_astro_add(BYTES_IN, n);

        if (conn->discard) {
            continue;
        }

        conn->rx_ms = ngx_astro_boot_ms();

        ngx_astro_sessions_heard(conn);

        frames = ngx_astro_conn_feed(conn, ngx_astro_recv_buf,
                                     ngx_astro_recv_buf + n);

        if (conn->broken) {
            ngx_astro_conn_close(conn);
            return;
        }

        if (ngx_astro_throttle(conn, frames, n)) {
            return;
        }

        if (frames > NGX_ASTRO_TURN_FRAMES) {
            ngx_post_event(rev, &ngx_posted_next_events);
            return;
        }

        if (!rev->ready) {
            break;
        }
    }

    if (rev->ready && i == NGX_ASTRO_READ_BUDGET) {
        ngx_post_event(rev, &ngx_posted_next_events);
        return;
    }

    if (ngx_handle_read_event(rev, 0) != NGX_OK) {
        ngx_astro_conn_close(conn);
    }
}


/* How many frames there were, as far as they can be told apart. */

static ngx_uint_t
ngx_astro_conn_feed(ngx_astro_conn_t *conn, u_char *p, u_char *last)
{
    ngx_uint_t        n;
    astro_ws_event_t  event;

    for (n = 0; ; n++) {

        switch (astro_ws_read(&conn->reader, &p, last, &event)) {

        case ASTRO_WS_MORE:
            ngx_astro_throttle_unfinished(conn);
            return n;

        case ASTRO_WS_ERROR:

            ngx_astro_count(BAD_FRAME);
            ngx_log_error(NGX_LOG_INFO, conn->c->log, 0,
                          "client sent a bad frame: %s", event.reason);

            if (!conn->closing) {
                ngx_astro_conn_close_frame(conn, event.code, event.reason);
            }

            /* what follows makes no sense any more */

            conn->discard = 1;
            ngx_astro_conn_post(conn);
            return n;

        case ASTRO_WS_EVENT:
            break;
        }

        switch (event.opcode) {

        case ASTRO_WS_CLOSE:
            ngx_astro_conn_closed_by_peer(conn, &event);
            return n;

        case ASTRO_WS_PING:
            if (!conn->closing) {
                ngx_astro_conn_control(conn, ASTRO_WS_PONG, event.data,
                                       event.len);
            }

            break;

        case ASTRO_WS_PONG:
            break;

        default:
            conn->begun_ms = 0;

            if (event.deflated_len) {
                /* what it was inflated to is work as well */
                n += event.len / NGX_ASTRO_FRAME_BYTES;
            }

            ngx_astro_conn_message(conn, &event);
        }

        if (conn->broken) {
            return n;
        }
    }
}


static void
ngx_astro_conn_message(ngx_astro_conn_t *conn, astro_ws_event_t *event)
{
    if (event->deflated_len) {
        ngx_astro_deflate_heard(event);
    }

    if (conn->closing || conn->broken) {
        return;
    }

    if (conn->echo) {
        ngx_astro_echo_message(conn, event);
        return;
    }

    if (event->opcode == ASTRO_WS_BINARY) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_conn_bye(conn, ASTRO_WS_CLOSE_UNSUPPORTED,
                           "binary message", "stop", 0);
        return;
    }

    if (conn->bare
        && ngx_astro_ws_old_heard(conn, event->data, event->len) == NGX_OK)
    {
        return;
    }

    ngx_astro_protocol_message(conn, event->data, event->len);
}


/* RFC 6455 section 5.5.1: answer a Close with its own code, once. */

static void
ngx_astro_conn_closed_by_peer(ngx_astro_conn_t *conn, astro_ws_event_t *event)
{
    u_char  code[2];

    if (!conn->closing) {
        conn->closing = 1;
        conn->code = NGX_ASTRO_CLOSED_PEER;

        if (event->code == ASTRO_WS_CLOSE_NO_STATUS) {
            ngx_astro_conn_control(conn, ASTRO_WS_CLOSE, NULL, 0);

        } else {
            code[0] = event->code >> 8;
            code[1] = event->code & 0xff;
            ngx_astro_conn_control(conn, ASTRO_WS_CLOSE, code, 2);
        }
    }

    /*
     * Nothing that follows is of any meaning (section 5.5.1).  The server ends
     * TCP first (section 7.1.1): its half, when the answer is written.
     */

    conn->discard = 1;
    ngx_add_timer(conn->c->write, NGX_ASTRO_LINGER_MS);
    ngx_astro_conn_post(conn);
    ngx_astro_conn_leave(conn);
}


static void
ngx_astro_conn_write_handler(ngx_event_t *wev)
{
    ngx_connection_t  *c;
    ngx_astro_conn_t  *conn;

    c = wev->data;
    conn = c->data;

    if (wev->timedout) {
        wev->timedout = 0;

        if (conn->closing) {
            ngx_astro_conn_close(conn);
            return;
        }

        ngx_astro_drain_bye(conn);
        return;
    }

    ngx_astro_conn_flush_handler(&conn->flush);
}


/* The flush event: the only place besides the handlers above that closes. */

void
ngx_astro_conn_flush_handler(ngx_event_t *ev)
{
    ngx_int_t          rc;
    ngx_astro_conn_t  *conn;

    conn = ev->data;

    if (conn->c == NULL) {
        return;
    }

    if (conn->broken) {
        ngx_astro_conn_close(conn);
        return;
    }

    rc = ngx_astro_out_flush(conn);

    if (rc == NGX_ERROR || (rc == NGX_OK && conn->finish)) {
        ngx_astro_conn_close(conn);
        return;
    }

    if (rc == NGX_OK && conn->lagging) {
        conn->lagging = 0;
        ngx_astro_resume_more(conn);
    }

    if (rc == NGX_OK && conn->discard && !conn->half
        && ngx_astro_out_shutdown(conn) != NGX_OK)
    {
        ngx_astro_conn_close(conn);
    }
}


void
ngx_astro_conn_bye(ngx_astro_conn_t *conn, ngx_uint_t code,
    const char *reason, const char *action, ngx_msec_t after)
{
    u_char           *p;
    u_char            buf[256];
    ngx_astro_msg_t   m;

    if (!ngx_astro_conn_open(conn)) {
        return;
    }

    if (conn->echo) {
        ngx_astro_conn_close_frame(conn, code, reason);
        return;
    }

    p = ngx_snprintf(buf, sizeof(buf),
                     "{\"type\":\"bye\",\"payload\":{\"code\":%ui,"
                     "\"reason\":\"%s\",\"action\":\"%s\",\"after_ms\":%M}}",
                     code, reason, action, after);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_put(conn, ASTRO_WS_TEXT, &m);

    ngx_astro_conn_close_frame(conn, code, reason);
}


static void
ngx_astro_conn_close_frame(ngx_astro_conn_t *conn, ngx_uint_t code,
    const char *reason)
{
    size_t  len;
    u_char  buf[ASTRO_WS_MAX_CONTROL];

    len = ngx_min(ngx_strlen(reason), sizeof(buf) - 2);

    buf[0] = code >> 8;
    buf[1] = code & 0xff;
    ngx_memcpy(buf + 2, reason, len);

    ngx_astro_conn_control(conn, ASTRO_WS_CLOSE, buf, len + 2);

    conn->closing = 1;
    conn->code = code;

    if (conn->c) {
        ngx_add_timer(conn->c->write, NGX_ASTRO_LINGER_MS);
    }

    /*
     * From here on the user is no longer here: presence, and what they are
     * billed for, end with the goodbye and not with the peer's answer to it.
     */

    ngx_astro_conn_leave(conn);
}


void
ngx_astro_conn_leave(ngx_astro_conn_t *conn)
{
    ngx_astro_sessions_leave(conn);
    ngx_astro_presence_leave(conn);
    ngx_astro_users_remove(conn);
    ngx_astro_limits_leave(conn);
    ngx_astro_resume_leave(conn);
}


void
ngx_astro_conn_beat(ngx_astro_conn_t *conn)
{
    int64_t  now, next;

    if (conn->c == NULL || !conn->signed_in) {
        return;
    }

    now = ngx_astro_boot_ms();

    if (!ngx_queue_empty(&conn->joins)) {
        conn->ping_ms = ngx_min(conn->ping_ms,
                                now + (int64_t) ngx_astro.conf->live_ping);
    }

    next = ngx_min(conn->ping_ms, ngx_astro_reauth_next(conn) * 1000);

    ngx_add_timer(conn->c->read, ngx_max(next - now, 1));
}


static void
ngx_astro_conn_heartbeat(ngx_astro_conn_t *conn)
{
    int64_t            now, dead, next;
    ngx_uint_t         live;
    ngx_astro_conf_t  *conf;

    conf = ngx_astro.conf;
    now = ngx_astro_boot_ms();

    if (conn->closing) {
        /* the write timer sees to the end */
        return;
    }

    if (conn->hello) {
        /* said, but not answered: the database is slow or away */
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "unavailable",
                           "resume", 1000);
        return;
    }

    if (!conn->signed_in && !conn->echo
        && ngx_astro_ws_old_silent(conn) == NGX_OK)
    {
        return;
    }

    if (!conn->signed_in && !conn->echo) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_NO_HELLO, "no hello",
                           "stop", 0);
        return;
    }

    dead = conn->rx_ms + conf->ping_interval + conf->pong_timeout;

    if (now >= dead) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_NO_PONG, "no pong",
                           "resume", 0);
        return;
    }

    if (conn->begun_ms && now - conn->begun_ms >= dead - conn->rx_ms) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_BAD, "unfinished message",
                           "reconnect", 0);
        return;
    }

    if (now / 1000 >= conn->token_exp_boot_s) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_AUTH, "token expired",
                           "reconnect", 0);
        return;
    }

    ngx_astro_reauth_warn(conn, now / 1000);

    live = !ngx_queue_empty(&conn->joins);
    next = dead;

    if (live) {
        ngx_astro_sessions_silent(conn, now);
        next = ngx_min(next, conn->rx_ms + (int64_t) conf->live_silence);

        if (next <= now) {
            next = dead;
        }
    }

    if (now >= conn->ping_ms) {
        ngx_astro_conn_control(conn, ASTRO_WS_PING, NULL, 0);
        conn->ping_ms = now + (live ? conf->live_ping : conf->ping_interval);
    }

    if (now >= conn->heads_ms) {
        ngx_astro_resume_ping(conn);
        ngx_astro_resume_more(conn);
        conn->heads_ms = now + conf->ping_interval;
    }

    next = ngx_min(next, ngx_min(conn->ping_ms, conn->heads_ms));
    next = ngx_min(next, ngx_astro_reauth_next(conn) * 1000);

    ngx_add_timer(conn->c->read, ngx_max(next - now, 1));
}


static void
ngx_astro_conn_close(ngx_astro_conn_t *conn)
{
    ngx_connection_t  *c;

    c = conn->c;

    if (c == NULL) {
        return;
    }

    ngx_astro_conn_leave(conn);
    ngx_astro_hello_forget(conn);
    ngx_astro_outside_close(conn);
    ngx_astro_ws_old_free(conn);

    if (conn->flush.posted) {
        ngx_delete_posted_event(&conn->flush);
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    ngx_astro_throttle_end(conn);
    ngx_astro_limits_close(&conn->limits);

    ngx_queue_remove(&conn->link);
    ngx_astro_count(CLOSED);
    ngx_astro_count_of(CLOSES, ngx_astro_close_slot(conn->code));
    ngx_astro_sub(OPEN, 1);

    if (conn->out) {
        /* what TLS has begun to write it must not mix with a goodbye */
        c->timedout = 1;
    }

    ngx_astro_out_free(conn);
    ngx_astro_deflate_free(conn);

    conn->c = NULL;
    conn->closing = 1;
    c->idle = 0;
    c->data = NULL;

    ngx_http_close_connection(c);

    ngx_astro_conn_unref(conn);

    ngx_astro_drain_closed();
}
