
/*
 * Copyright (C) The Astro authors
 *
 * systemd: see notify.h.
 *
 * READY=1 is said when the database has answered: leases are held, or others
 * hold them all.  The watchdog is fed from the loop, and only while there is
 * progress of the kind that is designed for.  A database that is away is no
 * reason to be killed: then the connection is being made again and again, and
 * that is what has to go on.  What nothing but a new process can mend is a
 * connection that neither works nor tries, renewals that have stopped although
 * it works, and sessions that are due while none is looked at.
 */

#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "clock.h"
#include "log.h"
#include "metrics.h"
#include "notify.h"


#define BILLING_NOTIFY_LOOK_MS     500
#define BILLING_NOTIFY_STATUS_MS   10000

/* a connection tries for 5 s, after at most 2 s; a call gets 15 s */
#define BILLING_NOTIFY_CONNECT_MS  15000
#define BILLING_NOTIFY_RENEW_MS    30000
#define BILLING_NOTIFY_DUE_MS      60000


struct billing_notify_s {
    uv_timer_t           timer;
    billing_worker_t    *worker;
    int                  fd;
    int64_t              watchdog_ms;   /* half of what systemd waits; 0: no */
    int64_t              fed;
    int64_t              told;          /* STATUS= */
    int64_t              moved;         /* when a session was looked at last */
    uint64_t             due;           /* how many had been */
    struct sockaddr_un   to;
    socklen_t            len;
    unsigned             ready:1;
    unsigned             starved:1;     /* and it was logged */
};


static int billing_notify_address(billing_notify_t *n, const char *path);
static int64_t billing_notify_watchdog(void);
static void billing_notify_timer(uv_timer_t *timer);
static void billing_notify_feed(billing_notify_t *n, int64_t now);
static const char *billing_notify_stuck(billing_notify_t *n, int64_t now);
static void billing_notify_status(billing_notify_t *n);
static void billing_notify_send(billing_notify_t *n, const char *text);
static void billing_notify_closed(uv_handle_t *handle);


int
billing_notify_start(billing_worker_t *w)
{
    const char        *path;
    billing_notify_t  *n;

    path = getenv("NOTIFY_SOCKET");

    if (path == NULL || path[0] == '\0') {
        return BILLING_OK;
    }

    n = calloc(1, sizeof(billing_notify_t));
    if (n == NULL) {
        return BILLING_ERROR;
    }

    if (billing_notify_address(n, path) != BILLING_OK) {
        billing_log(BILLING_LOG_ERROR, "cannot use NOTIFY_SOCKET",
                    billing_log_str("socket", path));
        free(n);
        return BILLING_ERROR;
    }

    n->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (n->fd == -1) {
        free(n);
        return BILLING_ERROR;
    }

    if (uv_timer_init(w->loop, &n->timer) != 0) {
        (void) close(n->fd);
        free(n);
        return BILLING_ERROR;
    }

    n->worker = w;
    n->timer.data = n;
    n->watchdog_ms = billing_notify_watchdog();
    n->moved = billing_clock();
    w->notify = n;

    return uv_timer_start(&n->timer, billing_notify_timer, 0,
                          (n->watchdog_ms > 0
                           && n->watchdog_ms < BILLING_NOTIFY_LOOK_MS)
                          ? (uint64_t) n->watchdog_ms
                          : BILLING_NOTIFY_LOOK_MS)
           ? BILLING_ERROR : BILLING_OK;
}


/* a path, or with @ a name in the abstract namespace */

static int
billing_notify_address(billing_notify_t *n, const char *path)
{
    size_t  len;

    len = strlen(path);

    if ((path[0] != '/' && path[0] != '@') || len < 2
        || len >= sizeof(n->to.sun_path))
    {
        return BILLING_ERROR;
    }

    n->to.sun_family = AF_UNIX;
    memcpy(n->to.sun_path, path, len);

    n->len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + len);

    if (path[0] == '@') {
        n->to.sun_path[0] = '\0';

    } else {
        n->len++;
    }

    return BILLING_OK;
}


static int64_t
billing_notify_watchdog(void)
{
    int64_t      us, pid;
    const char  *usec, *whose;

    usec = getenv("WATCHDOG_USEC");
    whose = getenv("WATCHDOG_PID");

    if (usec == NULL || billing_text_number(usec, &us) != BILLING_OK
        || us < 1000)
    {
        return 0;
    }

    if (whose != NULL
        && (billing_text_number(whose, &pid) != BILLING_OK
            || pid != getpid()))
    {
        return 0;
    }

    return (us / 2000 > 0) ? us / 2000 : 1;
}


void
billing_notify_stop(billing_worker_t *w)
{
    if (w->notify == NULL) {
        return;
    }

    close(w->notify->fd);
    uv_close((uv_handle_t *) &w->notify->timer, billing_notify_closed);

    w->notify = NULL;
}


static void
billing_notify_closed(uv_handle_t *handle)
{
    free(handle->data);
}


static void
billing_notify_timer(uv_timer_t *timer)
{
    int64_t            now;
    billing_notify_t  *n;
    billing_worker_t  *w;

    n = timer->data;
    w = n->worker;
    now = billing_clock();

    if (!n->ready && (w->leases.owned > 0 || w->shards.standing_by)) {
        n->ready = 1;
        billing_notify_send(n, "READY=1");
    }

    billing_notify_feed(n, now);

    if (n->ready && !w->stopping
        && now - n->told >= BILLING_NOTIFY_STATUS_MS)
    {
        n->told = now;
        billing_notify_status(n);
    }
}


static void
billing_notify_feed(billing_notify_t *n, int64_t now)
{
    const char  *why;

    if (n->watchdog_ms == 0) {
        return;
    }

    why = billing_notify_stuck(n, now);

    if (why != NULL) {

        if (!n->starved) {
            n->starved = 1;
            billing_log(BILLING_LOG_ERROR, "no progress, the watchdog is not "
                        "fed", billing_log_str("reason", why));
        }

        return;
    }

    n->starved = 0;

    if (now - n->fed >= n->watchdog_ms - BILLING_NOTIFY_LOOK_MS / 2) {
        n->fed = now;
        billing_notify_send(n, "WATCHDOG=1");
    }
}


/* NULL: all goes as it is designed to. */

static const char *
billing_notify_stuck(billing_notify_t *n, int64_t now)
{
    uint64_t              due;
    billing_worker_t     *w;
    billing_heap_node_t  *node;

    w = n->worker;
    due = billing_metrics.counters[BILLING_M_DUE];

    if (due != n->due) {
        n->due = due;
        n->moved = now;
    }

    if (!billing_pg_ready(&w->lease)) {

        n->moved = now;

        return (now - w->lease.since > BILLING_NOTIFY_CONNECT_MS)
               ? "the connection neither works nor is made" : NULL;
    }

    if (!w->stopping
        && now - w->shards.renewed > BILLING_NOTIFY_RENEW_MS
        && now - w->lease.since > BILLING_NOTIFY_RENEW_MS)
    {
        return "leases are not renewed";
    }

    node = billing_heap_min(&w->sessions.heap);

    if (!w->stopping && node != NULL
        && now - node->key > BILLING_NOTIFY_DUE_MS
        && now - n->moved > BILLING_NOTIFY_DUE_MS)
    {
        return "sessions are due and none is looked at";
    }

    return NULL;
}


static void
billing_notify_status(billing_notify_t *n)
{
    char               text[160];
    billing_worker_t  *w;

    w = n->worker;

    if (w->leases.owned == 0) {
        billing_notify_send(n, "STATUS=standing by, others hold all shards");
        return;
    }

    snprintf(text, sizeof(text), "STATUS=%u shards, %zu sessions, database %s",
             w->leases.owned, w->sessions.n,
             billing_pg_ready(&w->lease) ? "connected" : "away");

    billing_notify_send(n, text);
}


void
billing_notify_reloading(billing_worker_t *w)
{
    char             text[64];
    struct timespec  t;

    clock_gettime(CLOCK_MONOTONIC, &t);

    snprintf(text, sizeof(text), "RELOADING=1\nMONOTONIC_USEC=%" PRId64,
             (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000);

    billing_notify_send(w->notify, text);
}


void
billing_notify_reloaded(billing_worker_t *w)
{
    billing_notify_send(w->notify, "READY=1");
}


void
billing_notify_stopping(billing_worker_t *w)
{
    billing_notify_send(w->notify, "STOPPING=1");
}


/* What systemd does not take now it does not hear; it is said again. */

static void
billing_notify_send(billing_notify_t *n, const char *text)
{
    if (n != NULL
        && sendto(n->fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT,
                  (struct sockaddr *) &n->to, n->len)
           == -1)
    {
        billing_log(BILLING_LOG_DEBUG, "systemd does not listen",
                    billing_log_str("error", strerror(errno)));
    }
}
