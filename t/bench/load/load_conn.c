
/*
 * Copyright (C) The Astro authors
 *
 * See load_conn.h.  All connections read into one large buffer; only what is
 * left of an unfinished frame is copied aside, to be put in front of what
 * comes next.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "load_conn.h"
#include "load_frame.h"


#define LOAD_IN_SIZE    (1024 * 1024)
#define LOAD_REQUEST    16384

/* The key is the sample of RFC 6455, so that the right answer is known. */
#define LOAD_KEY        "dGhlIHNhbXBsZSBub25jZQ=="
#define LOAD_ACCEPT     "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


static void load_conn_request(load_conn_t *c);
static void load_conn_input(load_conn_t *c);
static uint8_t *load_conn_upgraded(load_conn_t *c, uint8_t *p,
    const uint8_t *last);
static uint8_t *load_conn_frames(load_conn_t *c, uint8_t *p,
    const uint8_t *last);
static void load_conn_frame(load_conn_t *c, unsigned op, const char *p,
    size_t len);
static void load_conn_message(load_conn_t *c, const char *p, size_t len);
static void load_conn_steps(load_conn_t *c, const char *p, size_t len);
static void load_conn_keep_rest(load_conn_t *c, const uint8_t *p, size_t len);
static void load_conn_keep_last(load_conn_t *c, const char *p, size_t len);
static void load_conn_closing(load_conn_t *c, const char *p, size_t len);
static int load_conn_put(load_conn_t *c, unsigned op, const char *p,
    size_t len);


load_world_t  load_world;

static uint8_t  load_in[LOAD_IN_SIZE];


void
load_conn_start(load_conn_t *c)
{
    c->state = LOAD_CONNECTING;

    if (load_sock_open(&c->sock, &load_world.peer, c->nth, c) != 0) {
        load_conn_drop(c, strerror(errno));
    }
}


void
load_conn_event(load_conn_t *c, uint32_t events)
{
    int  rc;

    if (c->state == LOAD_CLOSED) {
        return;
    }

    if (c->state == LOAD_CONNECTING) {

        errno = 0;

        rc = load_sock_connect(&c->sock, &load_world.peer, c);
        if (rc < 0) {
            load_conn_drop(c, strerror(errno));
            return;
        }

        if (rc == 0) {
            return;
        }

        load_conn_request(c);
        return;
    }

    if (events & EPOLLOUT) {
        load_conn_flush(c);
    }

    if ((events & (EPOLLIN|EPOLLHUP|EPOLLERR)) && c->state != LOAD_CLOSED) {
        load_conn_input(c);
    }
}


int
load_conn_text(load_conn_t *c, const char *p, size_t len)
{
    return load_conn_put(c, LOAD_OP_TEXT, p, len);
}


void
load_conn_flush(load_conn_t *c)
{
    if (c->state == LOAD_CLOSED) {
        return;
    }

    if (load_sock_flush(&c->sock, &load_world.peer, c) != 0) {
        load_conn_drop(c, "broken while writing");
    }
}


void
load_conn_drop(load_conn_t *c, const char *why)
{
    load_state_e  was;

    was = c->state;
    if (was == LOAD_CLOSED) {
        return;
    }

    c->state = LOAD_CLOSED;
    load_sock_close(&c->sock);

    load_world.gone(c, was, why);

    free(c->rest);
    free(c->last);
    c->rest = NULL;
    c->last = NULL;
}


static void
load_conn_request(load_conn_t *c)
{
    int    len;
    char  *dst;

    dst = (char *) load_sock_room(&c->sock, LOAD_REQUEST);
    if (dst == NULL) {
        load_conn_drop(c, "no memory");
        return;
    }

    len = snprintf(dst, LOAD_REQUEST,
                   "GET %s HTTP/1.1\r\n"
                   "Host: %s\r\n"
                   "Upgrade: websocket\r\n"
                   "Connection: Upgrade\r\n"
                   "Sec-WebSocket-Version: 13\r\n"
                   "Sec-WebSocket-Key: " LOAD_KEY "\r\n"
                   "%s\r\n",
                   c->plan->path, load_world.host, c->plan->headers);

    if (len >= LOAD_REQUEST) {
        load_conn_drop(c, "upgrade request too long");
        return;
    }

    c->sock.len += (size_t) len;
    c->state = LOAD_UPGRADING;

    load_conn_flush(c);
}


static void
load_conn_input(load_conn_t *c)
{
    size_t    held, room;
    ssize_t   n;
    uint8_t  *p, *last;

    do {
        held = c->rest_len;
        room = LOAD_IN_SIZE - held;

        if (room == 0) {
            load_conn_drop(c, "frame too large");
            return;
        }

        n = load_sock_read(&c->sock, load_in + held, room);

        if (n == 0) {
            break;
        }

        if (n < 0) {
            load_conn_drop(c, "closed without a close frame");
            return;
        }

        if (held > 0) {
            memcpy(load_in, c->rest, held);
            c->rest_len = 0;
        }

        p = load_in;
        last = p + held + n;

        if (c->state == LOAD_UPGRADING) {
            p = load_conn_upgraded(c, p, last);
        }

        if (c->state == LOAD_STEPPING || c->state == LOAD_READY) {
            p = load_conn_frames(c, p, last);
        }

        if (c->state == LOAD_CLOSED) {
            return;
        }

        load_conn_keep_rest(c, p, (size_t) (last - p));

        /* level-triggered: but for TLS, epoll tells of what is left */

    } while (c->state != LOAD_CLOSED && c->sock.ssl != NULL);

    load_conn_flush(c);
}


/* Returns what follows the answer's head, or p if that is not whole yet. */

static uint8_t *
load_conn_upgraded(load_conn_t *c, uint8_t *p, const uint8_t *last)
{
    size_t    len;
    uint8_t  *end;

    end = memmem(p, (size_t) (last - p), "\r\n\r\n", 4);
    if (end == NULL) {
        return p;
    }

    end += 4;
    len = (size_t) (end - p);

    if (len < 12 || memcmp(p, "HTTP/1.1 101", 12) != 0) {
        load_conn_keep_last(c, (char *) p, strcspn((char *) p, "\r\n"));
        load_conn_drop(c, "upgrade refused");
        return p;
    }

    if (memmem(p, len, LOAD_ACCEPT, sizeof(LOAD_ACCEPT) - 1) == NULL) {
        load_conn_drop(c, "wrong Sec-WebSocket-Accept");
        return p;
    }

    c->state = LOAD_STEPPING;
    load_conn_steps(c, "", 0);

    return end;
}


/* Returns the start of the first frame that is not whole yet. */

static uint8_t *
load_conn_frames(load_conn_t *c, uint8_t *p, const uint8_t *last)
{
    int64_t       n;
    load_frame_t  frame;

    while (c->state != LOAD_CLOSED) {

        n = load_frame_read(p, (size_t) (last - p), &frame);
        if (n == 0) {
            break;
        }

        if (n < 0) {
            load_conn_drop(c, "masked frame from the server");
            break;
        }

        load_conn_frame(c, frame.op, frame.data, frame.len);
        p += n;
    }

    return p;
}


static void
load_conn_frame(load_conn_t *c, unsigned op, const char *p, size_t len)
{
    switch (op) {

    case LOAD_OP_PING:
        if (load_conn_put(c, LOAD_OP_PONG, p, len) != 0) {
            load_conn_drop(c, "no memory");
        }

        break;

    case LOAD_OP_PONG:
        break;

    case LOAD_OP_CLOSE:
        load_conn_closing(c, p, len);
        break;

    default:
        load_conn_message(c, p, len);
    }
}


/* A fragment is taken for a message: nothing measured here is fragmented. */

static void
load_conn_message(load_conn_t *c, const char *p, size_t len)
{
    size_t  n;

    if (load_world.ping != NULL) {
        n = strlen(load_world.ping);

        if (len >= n && memcmp(p, load_world.ping, n) == 0) {

            if (load_conn_text(c, load_world.pong, strlen(load_world.pong))
                != 0)
            {
                load_conn_drop(c, "no memory");
            }

            return;
        }
    }

    if (c->state == LOAD_READY) {
        load_world.data(c, p, p + len);
        return;
    }

    load_conn_steps(c, p, len);
}


/*
 * Goes on in the plan.  [p, len) is a message that came in (none for the first
 * time); it may satisfy one wait, since a wait means "something new".
 */

static void
load_conn_steps(load_conn_t *c, const char *p, size_t len)
{
    const char  *step;

    if (len > 0) {
        load_conn_keep_last(c, p, len);
    }

    while (c->step < c->plan->nsteps) {
        step = c->plan->step[c->step];

        if (step[0] == '?') {

            if (len == 0
                || memmem(p, len, step + 1, strlen(step + 1)) == NULL)
            {
                return;
            }

            len = 0;

        } else if (load_conn_text(c, step + 1, strlen(step + 1)) != 0) {
            load_conn_drop(c, "no memory");
            return;
        }

        c->step++;
    }

    free(c->last);
    c->last = NULL;

    c->state = LOAD_READY;
    load_world.ready(c);
}


static void
load_conn_keep_rest(load_conn_t *c, const uint8_t *p, size_t len)
{
    uint8_t  *rest;

    if (len == 0) {
        free(c->rest);
        c->rest = NULL;
        c->rest_len = 0;
        return;
    }

    rest = realloc(c->rest, len);
    if (rest == NULL) {
        load_conn_drop(c, "no memory");
        return;
    }

    memcpy(rest, p, len);
    c->rest = rest;
    c->rest_len = len;
}


/* For the report of a set-up that failed: no memory, no report. */

static void
load_conn_keep_last(load_conn_t *c, const char *p, size_t len)
{
    free(c->last);
    c->last = strndup(p, len < LOAD_LAST_MAX ? len : LOAD_LAST_MAX);
}


static void
load_conn_closing(load_conn_t *c, const char *p, size_t len)
{
    char      why[160];
    unsigned  code;

    code = 1005;

    if (len >= 2) {
        code = (unsigned) (unsigned char) p[0] << 8 | (unsigned char) p[1];
        p += 2;
        len -= 2;
    }

    snprintf(why, sizeof(why), "closed by the server: %u %.*s", code,
             (int) len, p);

    load_conn_drop(c, why);
}


static int
load_conn_put(load_conn_t *c, unsigned op, const char *p, size_t len)
{
    uint8_t  *dst;

    dst = load_sock_room(&c->sock, LOAD_FRAME_HEAD + len);
    if (dst == NULL) {
        return -1;
    }

    c->sock.len += load_frame_write(dst, op, p, len);

    return 0;
}
