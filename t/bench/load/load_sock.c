
/*
 * Copyright (C) The Astro authors
 *
 * See load_sock.h.  Certificates are not verified: what is loaded is a server
 * on this machine with a certificate it made itself.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load_sock.h"


#define LOAD_OUT_SIZE  512      /* first allocation; doubles */


static int load_sock_bind(int fd, const load_peer_t *peer, unsigned nth);
static int load_sock_watch(load_sock_t *s, const load_peer_t *peer, void *tag,
    int writable);
static int load_sock_handshake(load_sock_t *s, const load_peer_t *peer,
    void *tag);
static ssize_t load_sock_write(load_sock_t *s, const uint8_t *p, size_t len);


int
load_sock_open(load_sock_t *s, const load_peer_t *peer, unsigned nth,
    void *tag)
{
    int                 one;
    struct epoll_event  ev;

    memset(s, 0, sizeof(load_sock_t));

    s->fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (s->fd < 0) {
        return -1;
    }

    one = 1;
    ev.events = EPOLLIN|EPOLLOUT;
    ev.data.ptr = tag;

    if (setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0
        || load_sock_bind(s->fd, peer, nth) != 0
        || epoll_ctl(peer->epoll, EPOLL_CTL_ADD, s->fd, &ev) != 0)
    {
        load_sock_close(s);
        return -1;
    }

    s->watched = 1;

    if (connect(s->fd, (const struct sockaddr *) &peer->addr,
                sizeof(peer->addr)) != 0
        && errno != EINPROGRESS)
    {
        load_sock_close(s);
        return -1;
    }

    return 0;
}


int
load_sock_connect(load_sock_t *s, const load_peer_t *peer, void *tag)
{
    int        err;
    socklen_t  len;

    if (!s->connected) {
        err = 0;
        len = sizeof(err);

        if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &err, &len) != 0) {
            return -1;
        }

        if (err != 0) {
            errno = err;
            return -1;
        }

        s->connected = 1;

        if (peer->tls != NULL) {
            s->ssl = SSL_new(peer->tls);

            if (s->ssl == NULL || SSL_set_fd(s->ssl, s->fd) != 1) {
                errno = ENOMEM;
                return -1;
            }
        }
    }

    if (s->ssl != NULL) {
        return load_sock_handshake(s, peer, tag);
    }

    return 1;
}


ssize_t
load_sock_read(load_sock_t *s, uint8_t *buf, size_t size)
{
    int      n;
    ssize_t  got;

    if (s->ssl != NULL) {
        ERR_clear_error();

        n = SSL_read(s->ssl, buf, (int) size);
        if (n > 0) {
            return n;
        }

        return SSL_get_error(s->ssl, n) == SSL_ERROR_WANT_READ ? 0 : -1;
    }

    do {
        got = read(s->fd, buf, size);
    } while (got < 0 && errno == EINTR);

    if (got > 0) {
        return got;
    }

    return (got < 0 && errno == EAGAIN) ? 0 : -1;
}


uint8_t *
load_sock_room(load_sock_t *s, size_t len)
{
    size_t    size;
    uint8_t  *p;

    if (s->len + len > s->size && s->sent > 0) {
        memmove(s->out, s->out + s->sent, s->len - s->sent);
        s->len -= s->sent;
        s->sent = 0;
    }

    if (s->len + len > s->size) {
        size = s->size > 0 ? s->size : LOAD_OUT_SIZE;

        while (size < s->len + len) {
            size *= 2;
        }

        p = realloc(s->out, size);
        if (p == NULL) {
            return NULL;
        }

        s->out = p;
        s->size = size;
    }

    return s->out + s->len;
}


int
load_sock_flush(load_sock_t *s, const load_peer_t *peer, void *tag)
{
    ssize_t  n;

    while (s->sent < s->len) {

        n = load_sock_write(s, s->out + s->sent, s->len - s->sent);
        if (n < 0) {
            return -1;
        }

        if (n == 0) {
            return load_sock_watch(s, peer, tag, 1);
        }

        s->sent += (size_t) n;
    }

    s->sent = 0;
    s->len = 0;

    return load_sock_watch(s, peer, tag, 0);
}


void
load_sock_close(load_sock_t *s)
{
    if (s->ssl != NULL) {
        SSL_free(s->ssl);
        s->ssl = NULL;
    }

    if (s->fd >= 0) {
        close(s->fd);
        s->fd = -1;
    }

    free(s->out);
    s->out = NULL;
    s->sent = s->len = s->size = 0;
}


/*
 * Connections from one address to one port are limited by the number of local
 * ports, about 28,000.  All of 127/8 is ours, so several sources lift that.
 */

static int
load_sock_bind(int fd, const load_peer_t *peer, unsigned nth)
{
    int                 one;
    struct sockaddr_in  local;

    if (peer->sources == 0) {
        return 0;
    }

    one = 1;

    memset(&local, 0, sizeof(local));
    local.sin_family = AF_INET;
    local.sin_addr.s_addr = htonl(0x7f000101 + nth % peer->sources);

    /* the port is chosen by connect(), which knows the other end */

    if (setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one))
        != 0)
    {
        return -1;
    }

    return bind(fd, (const struct sockaddr *) &local, sizeof(local));
}


static int
load_sock_watch(load_sock_t *s, const load_peer_t *peer, void *tag,
    int writable)
{
    struct epoll_event  ev;

    if (s->watched == (unsigned) writable) {
        return 0;
    }

    ev.events = writable ? (EPOLLIN|EPOLLOUT) : EPOLLIN;
    ev.data.ptr = tag;

    if (epoll_ctl(peer->epoll, EPOLL_CTL_MOD, s->fd, &ev) != 0) {
        return -1;
    }

    s->watched = writable ? 1 : 0;

    return 0;
}


static int
load_sock_handshake(load_sock_t *s, const load_peer_t *peer, void *tag)
{
    int  rc;

    ERR_clear_error();

    rc = SSL_connect(s->ssl);
    if (rc == 1) {
        return 1;
    }

    switch (SSL_get_error(s->ssl, rc)) {

    case SSL_ERROR_WANT_READ:
        return load_sock_watch(s, peer, tag, 0);

    case SSL_ERROR_WANT_WRITE:
        return load_sock_watch(s, peer, tag, 1);

    default:
        errno = EPROTO;
        return -1;
    }
}


/* Bytes written, 0: none for now, -1: broken. */

static ssize_t
load_sock_write(load_sock_t *s, const uint8_t *p, size_t len)
{
    int      n;
    ssize_t  put;

    if (s->ssl != NULL) {
        ERR_clear_error();

        n = SSL_write(s->ssl, p, (int) len);
        if (n > 0) {
            return n;
        }

        return SSL_get_error(s->ssl, n) == SSL_ERROR_WANT_WRITE ? 0 : -1;
    }

    do {
        put = send(s->fd, p, len, MSG_NOSIGNAL);
    } while (put < 0 && errno == EINTR);

    if (put >= 0) {
        return put;
    }

    return errno == EAGAIN ? 0 : -1;
}
