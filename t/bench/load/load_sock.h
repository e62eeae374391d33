
/*
 * Copyright (C) The Astro authors
 *
 * A non-blocking TCP socket of the load generator, with TLS if wanted, in an
 * epoll set, and with a buffer for what the kernel did not take yet.
 */

#ifndef _LOAD_SOCK_H_INCLUDED_
#define _LOAD_SOCK_H_INCLUDED_


#include <netinet/in.h>
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


typedef struct {
    struct sockaddr_in  addr;
    SSL_CTX            *tls;        /* NULL: plain */
    unsigned            sources;    /* spread over 127.0.1.1 and so on; 0: no */
    int                 epoll;
} load_peer_t;

typedef struct {
    int        fd;                  /* -1: closed */
    unsigned   connected:1;         /* TCP is, TLS may not be yet */
    unsigned   watched:1;           /* for being writable */
    SSL       *ssl;
    uint8_t   *out;                 /* [sent, len) is still to be written */
    size_t     sent;
    size_t     len;
    size_t     size;
} load_sock_t;


/* Starts to connect; "tag" comes back in epoll's data.ptr.  0 or -1, errno. */
int load_sock_open(load_sock_t *s, const load_peer_t *peer, unsigned nth,
    void *tag);

/* Goes on connecting: 1 done, 0 not yet, -1 failed (errno may tell). */
int load_sock_connect(load_sock_t *s, const load_peer_t *peer, void *tag);

/* Bytes read, 0: nothing for now, -1: closed or broken. */
ssize_t load_sock_read(load_sock_t *s, uint8_t *buf, size_t size);

/* Room for "len" bytes after what is buffered, or NULL; fill it, then add to
 * s->len what was used. */
uint8_t *load_sock_room(load_sock_t *s, size_t len);

/* Writes what the kernel takes and watches for the rest.  0 or -1. */
int load_sock_flush(load_sock_t *s, const load_peer_t *peer, void *tag);

/* Bytes not written yet. */
#define load_sock_backlog(s)  ((s)->len - (s)->sent)

/* Frees everything; safe to call twice. */
void load_sock_close(load_sock_t *s);


#endif /* _LOAD_SOCK_H_INCLUDED_ */
