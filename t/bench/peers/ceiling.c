
/*
 * Copyright (C) The Astro authors
 *
 * ceiling: the least that a WebSocket relay can do on this kernel.  Threads
 * with an epoll set and a listening socket each; one read and one write for
 * whatever a sender had to say; frames are unmasked and nothing else is done
 * with them: no validation, no accounts, no limits, no second chance.  It is
 * not a server to use: it is what the figures of servers are held against.
 *
 *     ceiling PORT [THREADS]
 *
 * A connection to /sub/cN receives what the one to /pub/cN sends, N < 2^20.
 * Every client must use the key of RFC 6455's sample handshake, whose answer
 * is a constant.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>


#define CEILING_FILES    (1 << 20)
#define CEILING_IDS      (1 << 20)
#define CEILING_BUFFER   (256 * 1024)
#define CEILING_EVENTS   512
#define CEILING_BACKLOG  8192

static const char  ceiling_answer[] =
    "HTTP/1.1 101 Switching Protocols\r\n"
    "Upgrade: websocket\r\n"
    "Connection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";


/* By descriptor.  A connection stays with the thread that accepted it. */

typedef struct {
    int        publishes;       /* id + 1; 0: it does not */
    unsigned   upgraded:1;
    uint8_t   *rest;            /* start of a frame that is not whole yet */
    size_t     rest_len;
} ceiling_conn_t;

typedef struct {
    int       epoll;
    int       listener;
    uint8_t   in[CEILING_BUFFER];
    uint8_t   out[CEILING_BUFFER];
} ceiling_thread_t;


static int ceiling_listen(void);
static void *ceiling_run(void *data);
static void ceiling_accept(ceiling_thread_t *t);
static void ceiling_read(ceiling_thread_t *t, int fd);
static int ceiling_upgrade(int fd, const char *request);
static int ceiling_relay(ceiling_thread_t *t, int fd, size_t len);
static size_t ceiling_unmask(ceiling_thread_t *t, size_t len, size_t *used);
static int ceiling_write(int fd, const uint8_t *p, size_t len);
static void ceiling_close(int fd);


static int              ceiling_port;
static ceiling_conn_t   ceiling_conns[CEILING_FILES];
static int              ceiling_subs[CEILING_IDS];      /* fd; 0: nobody */


int
main(int argc, char **argv)
{
    int                i, threads;
    pthread_t          thread;
    struct rlimit      limit;
    ceiling_thread_t  *t;

    ceiling_port = argc > 1 ? atoi(argv[1]) : 0;
    threads = argc > 2 ? atoi(argv[2]) : 2;

    if (ceiling_port < 1 || ceiling_port > 65535 || threads < 1) {
        fputs("usage: ceiling PORT [THREADS]\n", stderr);
        return 2;
    }

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }

    for (i = 0; i < threads; i++) {

        t = calloc(1, sizeof(ceiling_thread_t));
        if (t == NULL) {
            fputs("ceiling: no memory\n", stderr);
            return 1;
        }

        t->listener = ceiling_listen();
        if (t->listener < 0
            || pthread_create(&thread, NULL, ceiling_run, t) != 0)
        {
            fprintf(stderr, "ceiling: port %d: %s\n", ceiling_port,
                    strerror(errno));
            free(t);
            return 1;
        }
    }

    for ( ;; ) {
        pause();
    }
}


static int
ceiling_listen(void)
{
    int                 fd, one;
    struct sockaddr_in  addr;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK|SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }

    one = 1;

    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t) ceiling_port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0
        || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0
        || bind(fd, (struct sockaddr *) &addr, sizeof(addr)) != 0
        || listen(fd, CEILING_BACKLOG) != 0)
    {
        close(fd);
        return -1;
    }

    return fd;
}


static void *
ceiling_run(void *data)
{
    int                  i, n;
    ceiling_thread_t    *t;
    struct epoll_event   ev, events[CEILING_EVENTS];

    t = data;

    ev.events = EPOLLIN;
    ev.data.fd = t->listener;

    t->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (t->epoll < 0
        || epoll_ctl(t->epoll, EPOLL_CTL_ADD, t->listener, &ev) != 0)
    {
        perror("ceiling: epoll");
        exit(1);
    }

    for ( ;; ) {
        n = epoll_wait(t->epoll, events, CEILING_EVENTS, -1);

        for (i = 0; i < n; i++) {

            if (events[i].data.fd == t->listener) {
                ceiling_accept(t);

            } else {
                ceiling_read(t, events[i].data.fd);
            }
        }
    }

    return NULL;
}


static void
ceiling_accept(ceiling_thread_t *t)
{
    int                 fd, one;
    struct epoll_event  ev;

    one = 1;

    while ((fd = accept4(t->listener, NULL, NULL, SOCK_NONBLOCK|SOCK_CLOEXEC))
           >= 0)
    {
        ev.events = EPOLLIN;
        ev.data.fd = fd;

        memset(&ceiling_conns[fd % CEILING_FILES], 0, sizeof(ceiling_conn_t));

        if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0
            || epoll_ctl(t->epoll, EPOLL_CTL_ADD, fd, &ev) != 0)
        {
            close(fd);
        }
    }
}


static void
ceiling_read(ceiling_thread_t *t, int fd)
{
    size_t           held;
    ssize_t          n;
    ceiling_conn_t  *c;

    c = &ceiling_conns[fd % CEILING_FILES];
    held = c->rest_len;

    n = read(fd, t->in + held, CEILING_BUFFER - 1 - held);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return;
    }

    if (n <= 0) {
        ceiling_close(fd);
        return;
    }

    if (held > 0) {
        memcpy(t->in, c->rest, held);
        c->rest_len = 0;
    }

    if (c->upgraded) {
        n = ceiling_relay(t, fd, held + (size_t) n);

    } else {
        t->in[n] = '\0';
        n = ceiling_upgrade(fd, (const char *) t->in);
    }

    if (n != 0) {
        ceiling_close(fd);
    }
}


/* A request comes in one piece: it is small and the first thing sent. */

static int
ceiling_upgrade(int fd, const char *request)
{
    int              id;
    ceiling_conn_t  *c;

    c = &ceiling_conns[fd % CEILING_FILES];

    if (sscanf(request, "GET /sub/c%d", &id) == 1 && id >= 0
        && id < CEILING_IDS)
    {
        __atomic_store_n(&ceiling_subs[id], fd, __ATOMIC_RELEASE);

    } else if (sscanf(request, "GET /pub/c%d", &id) == 1 && id >= 0
               && id < CEILING_IDS)
    {
        c->publishes = id + 1;

    } else {
        return -1;
    }

    c->upgraded = 1;

    return ceiling_write(fd, (const uint8_t *) ceiling_answer,
                         sizeof(ceiling_answer) - 1);
}


static int
ceiling_relay(ceiling_thread_t *t, int fd, size_t len)
{
    int              to;
    size_t           out, used;
    uint8_t         *rest;
    ceiling_conn_t  *c;

    c = &ceiling_conns[fd % CEILING_FILES];

    out = ceiling_unmask(t, len, &used);

    if (used < len) {
        rest = realloc(c->rest, len - used);
        if (rest == NULL) {
            return -1;
        }

        memcpy(rest, t->in + used, len - used);
        c->rest = rest;
        c->rest_len = len - used;
    }

    if (out == 0 || c->publishes == 0) {
        return 0;
    }

    to = __atomic_load_n(&ceiling_subs[c->publishes - 1], __ATOMIC_ACQUIRE);

    if (to > 0) {
        (void) ceiling_write(to, t->out, out);
    }

    return 0;
}


/* From t->in to t->out; returns the bytes there, *used those taken. */

static size_t
ceiling_unmask(ceiling_thread_t *t, size_t len, size_t *used)
{
    size_t          n, i, head;
    uint8_t        *dst;
    uint32_t        key;
    uint64_t        wide, word;
    const uint8_t  *p, *last, *src;

    p = t->in;
    last = p + len;
    dst = t->out;

    while (last - p >= 8) {
        n = p[1] & 0x7f;
        head = 2;

        if (n == 126) {
            n = (size_t) p[2] << 8 | p[3];
            head = 4;
        }

        if ((size_t) (last - p) < head + 4 + n) {
            break;
        }

        memcpy(dst, p, head);
        dst[1] &= 0x7f;
        dst += head;

        memcpy(&key, p + head, 4);
        wide = (uint64_t) key << 32 | key;
        src = p + head + 4;

        for (i = 0; i + 8 <= n; i += 8) {
            memcpy(&word, src + i, 8);
            word ^= wide;
            memcpy(dst + i, &word, 8);
        }

        for ( /* void */ ; i < n; i++) {
            dst[i] = src[i] ^ p[head + (i & 3)];
        }

        dst += n;
        p = src + n;
    }

    *used = (size_t) (p - t->in);

    return (size_t) (dst - t->out);
}


/* A receiver whose buffer is full stops this thread until it has read. */

static int
ceiling_write(int fd, const uint8_t *p, size_t len)
{
    ssize_t        n;
    struct pollfd  pfd;

    while (len > 0) {
        n = send(fd, p, len, MSG_NOSIGNAL);

        if (n >= 0) {
            p += n;
            len -= (size_t) n;
            continue;
        }

        if (errno != EAGAIN && errno != EINTR) {
            return -1;
        }

        pfd.fd = fd;
        pfd.events = POLLOUT;
        (void) poll(&pfd, 1, 1000);
    }

    return 0;
}


static void
ceiling_close(int fd)
{
    ceiling_conn_t  *c;

    c = &ceiling_conns[fd % CEILING_FILES];

    free(c->rest);
    memset(c, 0, sizeof(ceiling_conn_t));
    close(fd);
}
