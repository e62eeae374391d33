
/*
 * Copyright (C) The Astro authors
 *
 * The least HTTP that a scraper needs: a request of at most 4 KB, one answer,
 * the end.  Whoever is slow, or one too many, is cut off: 16 connections of 5 s
 * at most, so nobody can cost the worker more than that.  What comes after the
 * request is read and thrown away until the other side closes: closed over
 * unread bytes, a socket takes the answer with it.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "exporter.h"
#include "log.h"
#include "metrics.h"


#define BILLING_EXPORTER_CONNS    16
#define BILLING_EXPORTER_REQUEST  4096
#define BILLING_EXPORTER_MS       5000
#define BILLING_EXPORTER_UNIX     (sizeof("unix:") - 1)


typedef union {
    uv_handle_t             handle;
    uv_stream_t             stream;
    uv_tcp_t                tcp;
    uv_pipe_t               pipe;
} billing_exporter_stream_t;

typedef struct billing_exporter_conn_s  billing_exporter_conn_t;

struct billing_exporter_conn_s {
    billing_exporter_stream_t   u;
    uv_timer_t                  timer;
    uv_write_t                  write;
    uv_shutdown_t               shutdown;
    billing_exporter_t         *exporter;
    billing_exporter_conn_t    *next;
    billing_text_t              head;
    billing_text_t              body;
    size_t                      len;            /* of the request so far */
    unsigned                    handles:2;      /* not closed yet */
    unsigned                    answered:1;
    unsigned                    closing:1;
    char                        request[BILLING_EXPORTER_REQUEST];
};

struct billing_exporter_s {
    billing_exporter_stream_t   u;              /* that listens */
    billing_worker_t           *worker;
    billing_exporter_conn_t    *conns;
    size_t                      n;
    char                       *path;           /* to unlink; or NULL */
    unsigned                    closed:1;
};


static int billing_exporter_bind(billing_exporter_t *e, const char *address);
static int billing_exporter_bind_tcp(billing_exporter_t *e,
    const char *address);
static int billing_exporter_bind_unix(billing_exporter_t *e,
    const char *path);
static void billing_exporter_stale(const char *path);
static void billing_exporter_closed(uv_handle_t *handle);
static void billing_exporter_free(billing_exporter_t *e);
static void billing_exporter_accept(uv_stream_t *stream, int status);
static int billing_exporter_init(billing_exporter_t *e,
    billing_exporter_stream_t *u);
static void billing_exporter_room(uv_handle_t *handle, size_t size,
    uv_buf_t *buf);
static void billing_exporter_read(uv_stream_t *stream, ssize_t n,
    const uv_buf_t *buf);
static void billing_exporter_answer(billing_exporter_conn_t *c);
static const char *billing_exporter_status(billing_exporter_conn_t *c);
static void billing_exporter_written(uv_write_t *write, int status);
static void billing_exporter_shut(uv_shutdown_t *shutdown, int status);
static void billing_exporter_late(uv_timer_t *timer);
static void billing_exporter_end(billing_exporter_conn_t *c);
static void billing_exporter_ended(uv_handle_t *handle);


int
billing_exporter_start(billing_worker_t *w)
{
    int                  rc;
    const char          *address;
    billing_exporter_t  *e;

    address = w->config->metrics_listen;

    if (address[0] == '\0') {
        return BILLING_OK;
    }

    e = calloc(1, sizeof(billing_exporter_t));
    if (e == NULL) {
        return BILLING_ERROR;
    }

    w->exporter = e;
    e->worker = w;

    rc = billing_exporter_init(e, &e->u);

    if (rc == 0) {
        rc = billing_exporter_bind(e, address);
    }

    if (rc == 0) {
        rc = uv_listen(&e->u.stream, BILLING_EXPORTER_CONNS,
                       billing_exporter_accept);
    }

    if (rc != 0) {
        billing_log(BILLING_LOG_ERROR, "cannot listen",
                    billing_log_str("metrics_listen", address),
                    billing_log_str("error", uv_strerror(rc)));
        return BILLING_ERROR;
    }

    billing_log(BILLING_LOG_INFO, "listening",
                billing_log_str("metrics_listen", address));

    return BILLING_OK;
}


static int
billing_exporter_init(billing_exporter_t *e, billing_exporter_stream_t *u)
{
    u->handle.data = e;

    if (e->worker->config->metrics_listen[0] == 'u') {
        return uv_pipe_init(e->worker->loop, &u->pipe, 0);
    }

    return uv_tcp_init(e->worker->loop, &u->tcp);
}


static int
billing_exporter_bind(billing_exporter_t *e, const char *address)
{
    /* config.c has seen to it that it is well formed, and loopback */

    if (address[0] == 'u') {
        return billing_exporter_bind_unix(e, address
                                             + BILLING_EXPORTER_UNIX);
    }

    return billing_exporter_bind_tcp(e, address);
}


static int
billing_exporter_bind_tcp(billing_exporter_t *e, const char *address)
{
    int                  port, rc;
    char                 host[64], *end;
    const char          *colon;
    struct sockaddr_in   in;
    struct sockaddr_in6  in6;

    colon = strrchr(address, ':');
    port = (int) strtol(colon + 1, NULL, 10);

    if (address[0] != '[') {
        snprintf(host, sizeof(host), "%.*s", (int) (colon - address),
                 address);

        rc = uv_ip4_addr(host, port, &in);
        return rc ? rc : uv_tcp_bind(&e->u.tcp, (struct sockaddr *) &in, 0);
    }

    snprintf(host, sizeof(host), "%s", address + 1);
    end = strchr(host, ']');

    if (end != NULL) {
        *end = '\0';
    }

    rc = uv_ip6_addr(host, port, &in6);

    return rc ? rc : uv_tcp_bind(&e->u.tcp, (struct sockaddr *) &in6, 0);
}


static int
billing_exporter_bind_unix(billing_exporter_t *e, const char *path)
{
    int     rc;
    mode_t  mask;

    billing_exporter_stale(path);

    e->path = strdup(path);
    if (e->path == NULL) {
        return UV_ENOMEM;
    }

    /* for owner and group: there is no instant at which it is for all */

    mask = umask(0117);
    rc = uv_pipe_bind(&e->u.pipe, path);
    umask(mask);

    if (rc != 0) {
        free(e->path);
        e->path = NULL;
    }

    return rc;
}


/* A killed worker leaves its socket; one that is answered is somebody's. */

static void
billing_exporter_stale(const char *path)
{
    int                 fd;
    struct stat         st;
    struct sockaddr_un  un;

    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode)
        || strlen(path) >= sizeof(un.sun_path))
    {
        return;
    }

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd == -1) {
        return;
    }

    memset(&un, 0, sizeof(struct sockaddr_un));
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, strlen(path));

    if (connect(fd, (struct sockaddr *) &un, sizeof(struct sockaddr_un)) != 0
        && errno == ECONNREFUSED)
    {
        (void) unlink(path);
    }

    close(fd);
}


void
billing_exporter_stop(billing_worker_t *w)
{
    billing_exporter_t       *e;
    billing_exporter_conn_t  *c;

    e = w->exporter;

    if (e == NULL) {
        return;
    }

    w->exporter = NULL;

    if (e->path != NULL) {
        (void) unlink(e->path);
    }

    for (c = e->conns; c != NULL; c = c->next) {
        billing_exporter_end(c);
    }

    uv_close(&e->u.handle, billing_exporter_closed);
}


static void
billing_exporter_closed(uv_handle_t *handle)
{
    billing_exporter_t  *e;

    e = handle->data;
    e->closed = 1;

    billing_exporter_free(e);
}


/* The last of its connections, or itself, frees it. */

static void
billing_exporter_free(billing_exporter_t *e)
{
    if (!e->closed || e->n != 0) {
        return;
    }

    free(e->path);
    free(e);
}


static void
billing_exporter_accept(uv_stream_t *stream, int status)
{
    billing_exporter_t       *e;
    billing_exporter_conn_t  *c;

    e = stream->data;

    if (status != 0) {
        return;
    }

    c = calloc(1, sizeof(billing_exporter_conn_t));
    if (c == NULL) {
        return;
    }

    if (billing_exporter_init(e, &c->u) != 0) {
        free(c);
        return;
    }

    c->exporter = e;
    c->u.handle.data = c;
    c->timer.data = c;

    billing_text_init(&c->head);
    billing_text_init(&c->body);

    (void) uv_timer_init(e->worker->loop, &c->timer);

    c->handles = 2;
    c->next = e->conns;
    e->conns = c;
    e->n++;

    if (uv_accept(stream, &c->u.stream) != 0
        || e->n > BILLING_EXPORTER_CONNS
        || uv_read_start(&c->u.stream, billing_exporter_room,
                         billing_exporter_read) != 0
        || uv_timer_start(&c->timer, billing_exporter_late,
                          BILLING_EXPORTER_MS, 0) != 0)
    {
        billing_count(SCRAPES_BAD, 1);
        billing_exporter_end(c);
    }
}


static void
billing_exporter_room(uv_handle_t *handle, size_t size, uv_buf_t *buf)
{
    billing_exporter_conn_t  *c;

    (void) size;

    c = handle->data;

    if (c->answered) {
        c->len = 0;
    }

    *buf = uv_buf_init(c->request + c->len,
                       (unsigned) (sizeof(c->request) - c->len));
}


static void
billing_exporter_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
    billing_exporter_conn_t  *c;

    (void) buf;

    c = stream->data;

    if (n < 0) {
        billing_exporter_end(c);
        return;
    }

    if (c->answered) {
        return;
    }

    c->len += (size_t) n;

    if (memmem(c->request, c->len, "\r\n\r\n", 4) != NULL
        || memmem(c->request, c->len, "\n\n", 2) != NULL
        || c->len == sizeof(c->request))
    {
        c->answered = 1;
        billing_exporter_answer(c);
    }
}


static void
billing_exporter_answer(billing_exporter_conn_t *c)
{
    int          head;
    uv_buf_t     bufs[2];
    const char  *status;

    head = (c->len >= 5 && memcmp(c->request, "HEAD ", 5) == 0);
    status = billing_exporter_status(c);

    if (strncmp(status, "200", 3) == 0) {
        billing_count(SCRAPES, 1);
        billing_metrics_text(c->exporter->worker, &c->body);

    } else {
        billing_count(SCRAPES_BAD, 1);
        billing_text_str(&c->body, status);
        billing_text_str(&c->body, "\n");
    }

    billing_text_str(&c->head, "HTTP/1.1 ");
    billing_text_str(&c->head, status);
    billing_text_str(&c->head, "\r\n"
                     "Content-Type: text/plain; version=0.0.4; "
                     "charset=utf-8\r\n"
                     "Connection: close\r\n"
                     "Content-Length: ");
    billing_text_int(&c->head, (int64_t) c->body.len);
    billing_text_str(&c->head, "\r\n\r\n");

    if (billing_text_end(&c->head) == NULL
        || billing_text_end(&c->body) == NULL)
    {
        billing_exporter_end(c);
        return;
    }

    bufs[0] = uv_buf_init(c->head.data, (unsigned) c->head.len);
    bufs[1] = uv_buf_init(c->body.data, (unsigned) c->body.len);

    if (uv_write(&c->write, &c->u.stream, bufs, head ? 1 : 2,
                 billing_exporter_written) != 0)
    {
        billing_exporter_end(c);
    }
}


static const char *
billing_exporter_status(billing_exporter_conn_t *c)
{
    char    *p, *end;
    size_t   len;

    if (c->len == sizeof(c->request)) {
        return "431 Request Header Fields Too Large";
    }

    end = memchr(c->request, '\n', c->len);
    p = memchr(c->request, ' ', c->len);

    if (p == NULL || p > end) {
        return "400 Bad Request";
    }

    len = (size_t) (p - c->request);

    if ((len != 3 || memcmp(c->request, "GET", 3) != 0)
        && (len != 4 || memcmp(c->request, "HEAD", 4) != 0))
    {
        return "405 Method Not Allowed";
    }

    p++;

    for (len = 0; p + len < end && strchr(" ?\r\n", p[len]) == NULL; len++) {
        /* void */
    }

    if (len != 8 || memcmp(p, "/metrics", 8) != 0) {
        return "404 Not Found";
    }

    return "200 OK";
}


static void
billing_exporter_written(uv_write_t *write, int status)
{
    billing_exporter_conn_t  *c;

    c = write->handle->data;

    if (status != 0 || c->closing
        || uv_shutdown(&c->shutdown, &c->u.stream, billing_exporter_shut)
           != 0)
    {
        billing_exporter_end(c);
    }
}


/*
 * The other side closes now, or is late.  c is there until both handles are
 * closed, and libuv calls this before: also if it is closed first, and without
 * looking whether there is a callback.
 */

static void
billing_exporter_shut(uv_shutdown_t *shutdown, int status)
{
    if (status != 0) {
        billing_exporter_end(shutdown->handle->data);
    }
}


static void
billing_exporter_late(uv_timer_t *timer)
{
    billing_exporter_end(timer->data);
}


static void
billing_exporter_end(billing_exporter_conn_t *c)
{
    if (c->closing) {
        return;
    }

    c->closing = 1;

    uv_close(&c->u.handle, billing_exporter_ended);
    uv_close((uv_handle_t *) &c->timer, billing_exporter_ended);
}


static void
billing_exporter_ended(uv_handle_t *handle)
{
    billing_exporter_t        *e;
    billing_exporter_conn_t   *c, **p;

    c = handle->data;
    e = c->exporter;

    if (--c->handles != 0) {
        return;
    }

    for (p = &e->conns; *p != c; p = &(*p)->next) {
        /* void */
    }

    *p = c->next;
    e->n--;

    billing_text_free(&c->head);
    billing_text_free(&c->body);
    free(c);

    billing_exporter_free(e);
}
