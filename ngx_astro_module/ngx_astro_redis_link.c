
/*
 * Copyright (C) The Astro authors
 *
 * The socket is nginx's own, edge-triggered, read in pieces of 16 KB; what
 * has arrived of a reply waits in hiredis' reader, which gives the memory of a
 * large one back after it.
 */

#include "ngx_astro_redis_link.h"


#define NGX_ASTRO_LINK_BACKOFF_MIN  50
#define NGX_ASTRO_LINK_BACKOFF_MAX  2000
#define NGX_ASTRO_LINK_WATCH_MS     1000
#define NGX_ASTRO_LINK_SILENCE_MS   5000
#define NGX_ASTRO_LINK_BUF          16384       /* at rest */
#define NGX_ASTRO_LINK_READS        32          /* in one turn */


static void ngx_astro_link_connect(ngx_astro_link_t *l);
static ngx_connection_t *ngx_astro_link_socket(const char **why);
static void ngx_astro_link_timer(ngx_event_t *ev);
static void ngx_astro_link_close(ngx_astro_link_t *l, const char *why);
static void ngx_astro_link_read_handler(ngx_event_t *rev);
static const char *ngx_astro_link_read(ngx_astro_link_t *l);
static const char *ngx_astro_link_replies(ngx_astro_link_t *l);
static void ngx_astro_link_write_handler(ngx_event_t *wev);
static void ngx_astro_link_flush_handler(ngx_event_t *ev);
static void ngx_astro_link_flush(ngx_astro_link_t *l);
static ngx_int_t ngx_astro_link_room(ngx_astro_link_buf_t *b, size_t size);


static ngx_uint_t  ngx_astro_link_stopping;


void
ngx_astro_link_start(ngx_astro_link_t *l)
{
    l->backoff = NGX_ASTRO_LINK_BACKOFF_MIN;

    ngx_astro_event_init(&l->timer, ngx_astro_link_timer);
    ngx_astro_event_init(&l->flush, ngx_astro_link_flush_handler);
    l->timer.cancelable = 1;

    ngx_astro_link_connect(l);
}


void
ngx_astro_link_stop(ngx_astro_link_t *l)
{
    ngx_astro_link_stopping = 1;

    if (l->connected) {
        ngx_astro_link_flush(l);
    }

    ngx_astro_link_close(l, "stopping");
}


static void
ngx_astro_link_connect(ngx_astro_link_t *l)
{
    int                rc;
    ngx_err_t          err;
    const char        *why;
    ngx_connection_t  *c;

    c = ngx_astro_link_socket(&why);

    if (c == NULL) {
        ngx_astro_link_close(l, why);
        return;
    }

    c->data = l;
    c->read->handler = ngx_astro_link_read_handler;
    c->write->handler = ngx_astro_link_write_handler;

    l->c = c;
    l->begun = l->asked;
    l->reader = redisReaderCreate();

    if (l->reader == NULL) {
        ngx_astro_link_close(l, "no memory");
        return;
    }

    rc = connect(c->fd, ngx_astro.conf->redis_addr->sockaddr,
                 ngx_astro.conf->redis_addr->socklen);
    err = rc == -1 ? ngx_socket_errno : 0;

    if (err && err != NGX_EINPROGRESS) {
        ngx_astro_link_close(l, strerror(err));
        return;
    }

    if (!(ngx_add_conn ? ngx_add_conn(c) == NGX_OK
                       : ngx_handle_read_event(c->read, 0) == NGX_OK
                         && ngx_handle_write_event(c->write, 0) == NGX_OK))
    {
        ngx_astro_link_close(l, "no event");
        return;
    }

    /* the first words go as soon as the socket can be written to */

    ngx_add_timer(&l->timer, NGX_ASTRO_LINK_WATCH_MS);
    l->open(l);
}


static ngx_connection_t *
ngx_astro_link_socket(const char **why)
{
    ngx_socket_t       s;
    ngx_connection_t  *c;

    s = ngx_socket(ngx_astro.conf->redis_addr->sockaddr->sa_family, SOCK_STREAM,
                   0);

    if (s == (ngx_socket_t) -1) {
        *why = "no socket";
        return NULL;
    }

    c = ngx_get_connection(s, ngx_astro.log);

    if (c == NULL) {
        *why = "no connection slot";
        (void) ngx_close_socket(s);
        return NULL;
    }

    c->type = SOCK_STREAM;
    c->recv = ngx_recv;
    c->send = ngx_send;
    c->log = ngx_astro.log;
    c->read->log = ngx_astro.log;
    c->write->log = ngx_astro.log;
    c->number = ngx_atomic_fetch_add(ngx_connection_counter, 1);

    if (ngx_nonblocking(s) == -1) {
        *why = "no nonblocking socket";
        ngx_close_connection(c);
        return NULL;
    }

    if (ngx_astro.conf->redis_addr->sockaddr->sa_family != AF_UNIX) {
        (void) ngx_tcp_nodelay(c);
    }

    return c;
}


static void
ngx_astro_link_timer(ngx_event_t *ev)
{
    ngx_astro_link_t  *l;

    l = ngx_astro_of(ev, ngx_astro_link_t, timer);

    if (l->c == NULL) {
        ngx_astro_link_connect(l);
        return;
    }

    if (l->asked == l->answered) {
        ngx_astro_link_ping(l);

    } else if (ngx_current_msec - l->heard >= NGX_ASTRO_LINK_SILENCE_MS) {
        ngx_astro_link_close(l, "no answer");
        return;
    }

    ngx_add_timer(ev, NGX_ASTRO_LINK_WATCH_MS);
}


/* And makes it anew after a while. */

static void
ngx_astro_link_close(ngx_astro_link_t *l, const char *why)
{
    ngx_uint_t  up;

    up = l->up;
    l->up = 0;
    l->connected = 0;

    if (l->c) {
        ngx_close_connection(l->c);
        l->c = NULL;
    }

    if (l->flush.posted) {
        ngx_delete_posted_event(&l->flush);
    }

    if (l->reader) {
        redisReaderFree(l->reader);
        l->reader = NULL;
    }

    if (l->out.start) {
        ngx_free(l->out.start);
        ngx_memzero(&l->out, sizeof(ngx_astro_link_buf_t));
    }

    if (up) {
        ngx_astro_sub(REDIS_UP, 1);
    }

    if (ngx_astro_link_stopping) {
        return;
    }

    ngx_log_error(NGX_LOG_ERR, ngx_astro.log, 0,
                  "astro: Redis %V, %s: %s; next attempt in %M ms",
                  &ngx_astro.conf->redis, l->name, why, l->backoff);

    ngx_add_timer(&l->timer, l->backoff);
    l->backoff = ngx_min(l->backoff * 2, NGX_ASTRO_LINK_BACKOFF_MAX);

    if (up) {
        l->lost(l);
    }

    l->answered = l->asked;
}


void
ngx_astro_link_up(ngx_astro_link_t *l)
{
    l->up = 1;
    l->backoff = NGX_ASTRO_LINK_BACKOFF_MIN;

    ngx_astro_count(REDIS_CONNECTS);
    ngx_astro_count(REDIS_UP);
}


static void
ngx_astro_link_read_handler(ngx_event_t *rev)
{
    const char              *why;
    ngx_connection_t        *c;
    ngx_astro_link_t  *l;

    c = rev->data;
    l = c->data;

    /* worker_shutdown_timeout ends clients; the last of them need us */
    c->close = 0;
    c->error = 0;

    why = ngx_astro_link_read(l);

    if (why) {
        ngx_astro_link_close(l, why);
    }

    l->settled();
}


/* NULL, or why the link is to be closed. */

static const char *
ngx_astro_link_read(ngx_astro_link_t *l)
{
    ssize_t      n;
    ngx_uint_t   i;
    const char  *why;
    static char  buf[NGX_ASTRO_LINK_BUF];

    for (i = 0; i < NGX_ASTRO_LINK_READS; i++) {

        n = l->c->recv(l->c, (u_char *) buf, sizeof(buf));

        if (n == NGX_AGAIN) {
            break;
        }

        if (n == NGX_ERROR || n == 0) {
            return n ? "reading failed" : "closed";
        }

        l->heard = ngx_current_msec;

        why = redisReaderFeed(l->reader, buf, n) == REDIS_OK
              ? ngx_astro_link_replies(l) : "no memory";

        if (why) {
            return why;
        }

        if (!l->c->read->ready) {
            break;
        }
    }

    if (i == NGX_ASTRO_LINK_READS) {
        ngx_post_event(l->c->read, &ngx_posted_next_events);
        return NULL;
    }

    return ngx_handle_read_event(l->c->read, 0) == NGX_OK ? NULL : "no event";
}


/* Those that have arrived whole; the reader keeps the rest. */

static const char *
ngx_astro_link_replies(ngx_astro_link_t *l)
{
    void       *reply;
    ngx_int_t   rc;

    for ( ;; ) {

        if (redisReaderGetReply(l->reader, &reply) != REDIS_OK) {
            return "not a reply of Redis";
        }

        if (reply == NULL) {
            return NULL;
        }

        rc = l->reply(l, reply);
        freeReplyObject(reply);

        if (rc != NGX_OK) {
            return "an unexpected reply";
        }
    }
}


static void
ngx_astro_link_write_handler(ngx_event_t *wev)
{
    int                      err;
    socklen_t                len;
    ngx_connection_t        *c;
    ngx_astro_link_t  *l;

    c = wev->data;
    l = c->data;

    if (!l->connected) {
        err = 0;
        len = sizeof(int);

        if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &err, &len) == -1 || err) {
            ngx_astro_link_close(l, strerror(err ? err : ngx_socket_errno));
            return;
        }

        l->connected = 1;
    }

    ngx_astro_link_flush(l);
}


static void
ngx_astro_link_flush_handler(ngx_event_t *ev)
{
    ngx_astro_link_t  *l;

    l = ngx_astro_of(ev, ngx_astro_link_t, flush);

    if (l->connected) {
        ngx_astro_link_flush(l);
    }
}


/* May close the link. */

static void
ngx_astro_link_flush(ngx_astro_link_t *l)
{
    ssize_t                 n;
    ngx_astro_link_buf_t  *b;

    b = &l->out;

    while (b->pos < b->last) {
        n = l->c->send(l->c, b->pos, b->last - b->pos);

        if (n == NGX_ERROR) {
            ngx_astro_link_close(l, "writing failed");
            return;
        }

        if (n == NGX_AGAIN) {
            break;
        }

        b->pos += n;
    }

    if (b->pos == b->last) {

        if (b->end - b->start > NGX_ASTRO_LINK_BUF) {
            ngx_free(b->start);
            ngx_memzero(b, sizeof(ngx_astro_link_buf_t));
        }

        b->pos = b->start;
        b->last = b->start;
    }

    if (ngx_handle_write_event(l->c->write, 0) != NGX_OK) {
        ngx_astro_link_close(l, "no event");
    }
}


u_char *
ngx_astro_link_command(ngx_astro_link_t *l, size_t size)
{
    if (l->c == NULL
        || l->asked - l->answered >= NGX_ASTRO_LINK_ASKED
        || ngx_astro_link_room(&l->out, size) != NGX_OK)
    {
        return NULL;
    }

    if (l->asked == l->answered) {
        l->heard = ngx_current_msec;
    }

    l->asked++;

    if (!l->flush.posted) {
        ngx_post_event(&l->flush, &ngx_posted_events);
    }

    return l->out.last;
}


void
ngx_astro_link_ping(ngx_astro_link_t *l)
{
    u_char  *p;

    p = ngx_astro_link_command(l, sizeof("PING\r\n"));

    if (p == NULL) {
        return;
    }

    l->out.last = ngx_cpymem(p, "PING\r\n", sizeof("PING\r\n") - 1);

    if (l->pinged) {
        l->pinged(l);
    }
}


/* Room for size octets behind last; never more than LINK_OUT in all. */

static ngx_int_t
ngx_astro_link_room(ngx_astro_link_buf_t *b, size_t size)
{
    u_char  *p;
    size_t   used, have;

    if ((size_t) (b->end - b->last) >= size) {
        return NGX_OK;
    }

    used = b->last - b->pos;
    have = b->end - b->start;

    if (used + size > NGX_ASTRO_LINK_OUT) {
        return NGX_ERROR;
    }

    /* moving what is there is cheaper than growing, but not every time */

    if (used + size <= have / 2) {
        ngx_memmove(b->start, b->pos, used);
        b->pos = b->start;
        b->last = b->start + used;
        return NGX_OK;
    }

    have = ngx_max(ngx_min(have * 2, NGX_ASTRO_LINK_OUT), used + size);
    have = ngx_max(have, NGX_ASTRO_LINK_BUF);

    p = ngx_alloc(have, ngx_astro.log);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (b->start) {
        ngx_memcpy(p, b->pos, used);
        ngx_free(b->start);
    }

    b->start = p;
    b->pos = p;
    b->last = p + used;
    b->end = p + have;

    return NGX_OK;
}
