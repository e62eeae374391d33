
/*
 * Copyright (C) The Astro authors
 *
 * restload: HTTP requests, and whether the answers are right.
 *
 *     restload -p PORT [-c CONNECTIONS] [-r RATE] [-d SECONDS] [-w SECONDS]
 *              [-o] FILE
 *
 * FILE has a request on each line, with tabs between:
 *
 *     PATH  TOKEN  TEXT  [BODY]
 *
 * With BODY it is a POST of this JSON, and TOKEN a whole header ("-": none);
 * else a GET.  Requests are made in their order, over and over; each
 * connection, kept alive, makes the next one as soon as it has the answer to
 * its last.  With -r there are so many requests a second instead, by a
 * schedule that does not wait for answers: each takes a connection that has
 * nothing to do, and its age counts from when it was due.  With -o (and no -r)
 * each request is made once, as many as -d gives time for, and all that were
 * made are waited for.  Right is an answer of status 200 whose body has TEXT in
 * it ("-": anything).
 * The first -w seconds are not counted, but for wrong answers.  Prints one line
 * at the end; the first wrong answer goes to stderr.
 *
 * It is one thread, at most two system calls a request and one for all that is
 * ready: about 5 us each, so that it takes little from who is measured.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "load_hist.h"


#define REST_BUFFER  (256 * 1024)       /* the longest answer */
#define REST_EVENTS  256
#define REST_CONNS   4096
#define REST_LATE    10                 /* s, for the answers with -o */


typedef struct {
    char               *head;           /* the request as it is sent */
    size_t              len;
    char               *text;           /* NULL: any body is right */
} rest_request_t;

typedef struct rest_conn_s  rest_conn_t;

struct rest_conn_s {
    int                 fd;
    rest_request_t     *asked;
    uint64_t            since;          /* ns */
    size_t              len;            /* of what was received so far */
    char               *buf;
    rest_conn_t        *next;           /* of those with nothing to do */
};


static int rest_load(const char *name);
static int rest_line(char *line);
static int rest_open(rest_conn_t *c);
static int rest_ask(rest_conn_t *c, uint64_t since);
static int rest_next(rest_conn_t *c);
static void rest_due(void);
static void rest_wait(struct timespec *ts);
static void rest_again(rest_conn_t *c);
static int rest_read(rest_conn_t *c);
static ssize_t rest_whole(rest_conn_t *c, char **body);
static void rest_answer(rest_conn_t *c, char *body, char *end);
static int rest_more(void);
static void rest_run(rest_conn_t *conns, unsigned n);
static void rest_print(void);
static uint64_t rest_now(void);


static struct {
    unsigned            port;
    unsigned            conns;
    double              seconds;
    double              warm;
    double              rate;           /* 0: a closed loop */
    int                 once;
    uint64_t            open;           /* with once: made, and not answered */
    int                 epoll;
    rest_conn_t        *idle;
    uint64_t            first;          /* when the schedule begins */
    uint64_t            asked;          /* of the schedule */

    rest_request_t     *requests;
    size_t              nrequests;
    size_t              next;

    uint64_t            start;          /* of what counts */
    uint64_t            end;
    uint64_t            last;           /* answer, with once */
    uint64_t            done;
    uint64_t            wrong;
    uint64_t            broken;         /* connections */
    load_hist_t         latency;
} rest = { .conns = 64, .seconds = 5, .warm = 0.5, .epoll = -1 };


int
main(int argc, char **argv)
{
    int           opt;
    unsigned      i;
    rest_conn_t  *conns;

    while ((opt = getopt(argc, argv, "p:c:r:d:w:o")) != -1) {

        switch (opt) {

        case 'p':
            rest.port = (unsigned) atoi(optarg);
            break;

        case 'c':
            rest.conns = (unsigned) atoi(optarg);
            break;

        case 'r':
            rest.rate = atof(optarg);
            break;

        case 'd':
            rest.seconds = atof(optarg);
            break;

        case 'w':
            rest.warm = atof(optarg);
            break;

        case 'o':
            rest.once = 1;
            break;

        default:
            return 2;
        }
    }

    if (optind + 1 != argc || rest.port == 0 || rest.conns == 0
        || rest.conns > REST_CONNS || (rest.once && rest.rate > 0)
        || rest_load(argv[optind]) != 0)
    {
        fprintf(stderr, "usage: restload -p PORT [-c CONNECTIONS] "
                "[-r RATE] [-d SECONDS] [-w SECONDS] [-o] FILE\n");
        return 2;
    }

    conns = calloc(rest.conns, sizeof(rest_conn_t));
    rest.epoll = epoll_create1(EPOLL_CLOEXEC);

    if (conns == NULL || rest.epoll < 0) {
        perror("restload");
        return 1;
    }

    for (i = 0; i < rest.conns; i++) {
        if (rest_open(&conns[i]) != 0) {
            perror("restload: connect");
            return 1;
        }
    }

    rest_run(conns, rest.conns);
    rest_print();

    for (i = 0; i < rest.conns; i++) {
        close(conns[i].fd);
        free(conns[i].buf);
    }

    free(conns);

    return 0;
}


static int
rest_load(const char *name)
{
    int      rc;
    FILE    *f;
    char    *line;
    size_t   size;

    f = fopen(name, "r");
    if (f == NULL) {
        perror(name);
        return -1;
    }

    rc = 0;
    line = NULL;
    size = 0;

    while (rc == 0 && getline(&line, &size, f) > 0) {
        rc = rest_line(line);
    }

    free(line);
    fclose(f);

    return rc == 0 && rest.nrequests > 0 ? 0 : -1;
}


static int
rest_line(char *line)
{
    int              len, bare;
    char            *path, *token, *text, *body;
    rest_request_t  *r;

    path = strsep(&line, "\t\n");
    token = strsep(&line, "\t\n");
    text = strsep(&line, "\t\n");
    body = strsep(&line, "\t\n");

    if (path == NULL || token == NULL || text == NULL) {
        return -1;
    }

    r = realloc(rest.requests, (rest.nrequests + 1) * sizeof(rest_request_t));
    if (r == NULL) {
        return -1;
    }

    rest.requests = r;
    r = &rest.requests[rest.nrequests++];

    if (body && *body) {
        bare = strcmp(token, "-") == 0;

        len = asprintf(&r->head, "POST %s HTTP/1.1\r\nHost: localhost\r\n"
                       "%s%sContent-Type: application/json\r\n"
                       "Content-Length: %zu\r\n\r\n%s", path,
                       bare ? "" : token, bare ? "" : "\r\n", strlen(body),
                       body);

    } else {
        len = asprintf(&r->head, "GET %s HTTP/1.1\r\nHost: localhost\r\n"
                       "Authorization: Bearer %s\r\n\r\n", path, token);
    }

    r->len = (size_t) len;
    r->text = strcmp(text, "-") == 0 ? NULL : strdup(text);

    return len < 0 ? -1 : 0;
}


static int
rest_open(rest_conn_t *c)
{
    int                 one;
    struct epoll_event  ev;
    struct sockaddr_in  addr;

    one = 1;
    memset(&addr, 0, sizeof(addr));
    addr.sin_family = AF_INET;
    addr.sin_port = htons((uint16_t) rest.port);
    addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->len = 0;
    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (c->buf == NULL) {
        c->buf = malloc(REST_BUFFER + 1);
    }

    ev.events = EPOLLIN;
    ev.data.ptr = c;

    if (c->fd < 0 || c->buf == NULL
        || setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0
        || connect(c->fd, (struct sockaddr *) &addr, sizeof(addr)) != 0
        || fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0
        || epoll_ctl(rest.epoll, EPOLL_CTL_ADD, c->fd, &ev) != 0)
    {
        return -1;
    }

    return 0;
}


static int
rest_ask(rest_conn_t *c, uint64_t since)
{
    if (rest.once) {

        if (rest.next == rest.nrequests || since >= rest.end) {
            c->asked = NULL;
            return 0;
        }

        rest.open++;
    }

    c->asked = &rest.requests[rest.next++ % rest.nrequests];
    c->len = 0;
    c->since = since;

    /* it fits into an empty socket's buffer */

    return send(c->fd, c->asked->head, c->asked->len, MSG_NOSIGNAL)
           == (ssize_t) c->asked->len ? 0 : -1;
}


/* 1: answered, 2: and it closes, 0: more is to come, -1: broken */

static int
rest_read(rest_conn_t *c)
{
    char     *body;
    ssize_t   n, whole;

    n = recv(c->fd, c->buf + c->len, REST_BUFFER - c->len, 0);

    if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
        return 0;
    }

    if (n <= 0) {
        return -1;
    }

    c->len += (size_t) n;
    c->buf[c->len] = '\0';

    whole = rest_whole(c, &body);

    if (whole < 0 || (whole == 0 && c->len == REST_BUFFER)) {
        return -1;
    }

    if (whole == 0) {
        return 0;
    }

    rest_answer(c, body, c->buf + whole);

    *body = '\0';

    return strcasestr(c->buf, "\r\nConnection: close") ? 2 : 1;
}


/* Length of the whole answer; 0: it has not all come; -1: no length of it */

static ssize_t
rest_whole(rest_conn_t *c, char **body)
{
    char    *end, *p;
    size_t   len;

    end = memmem(c->buf, c->len, "\r\n\r\n", 4);

    if (end == NULL) {
        return 0;
    }

    *body = end + 4;
    p = strcasestr(c->buf, "\r\nContent-Length:");

    if (p == NULL || p > end) {
        return -1;
    }

    len = (size_t) (*body - c->buf) + strtoul(p + 17, NULL, 10);

    return len <= c->len ? (ssize_t) len : 0;
}


static void
rest_answer(rest_conn_t *c, char *body, char *end)
{
    uint64_t         now;
    rest_request_t  *r;

    now = rest_now();
    r = c->asked;

    if (strncmp(c->buf, "HTTP/1.1 200 ", 13) != 0
        || (r->text && memmem(body, (size_t) (end - body), r->text,
                              strlen(r->text)) == NULL))
    {
        if (rest.wrong++ == 0) {
            fprintf(stderr, "wrong: \"%s\" is not in the answer to %.*s:\n%s\n",
                    r->text ? r->text : "", 80, r->head, c->buf);
        }
    }

    if (rest.once) {
        rest.open--;
        rest.last = now;
    }

    if (now >= rest.start && (now < rest.end || rest.once)) {
        rest.done++;
        load_hist_add(&rest.latency, now - c->since);
    }
}


/* What a connection does that has its answer */

static int
rest_next(rest_conn_t *c)
{
    if (rest.rate == 0) {
        return rest_ask(c, rest_now());
    }

    c->next = rest.idle;
    rest.idle = c;

    return 0;
}


/* Makes the requests that are due, as far as there are connections */

static void
rest_due(void)
{
    uint64_t      at;
    rest_conn_t  *c;

    while (rest.rate > 0 && rest.idle) {

        at = rest.first + (uint64_t) ((double) rest.asked * 1e9 / rest.rate);

        if (at > rest_now()) {
            return;
        }

        rest.asked++;

        c = rest.idle;
        rest.idle = c->next;

        if (rest_ask(c, at) != 0) {
            rest_again(c);
        }
    }
}


/* How long nothing is due */

static void
rest_wait(struct timespec *ts)
{
    double  left;

    left = 0.1;

    if (rest.rate > 0 && rest.idle) {
        left = (double) rest.asked / rest.rate
               - (double) (rest_now() - rest.first) / 1e9;

        left = left < 0 ? 0 : left > 0.1 ? 0.1 : left;
    }

    ts->tv_sec = 0;
    ts->tv_nsec = (long) (left * 1e9);
}


/* Whether there is anything to do yet */

static int
rest_more(void)
{
    uint64_t  now;

    now = rest_now();

    if (!rest.once) {
        return now < rest.end;
    }

    return rest.open > 0 && now < rest.end + REST_LATE * 1000000000ull;
}


static void
rest_run(rest_conn_t *conns, unsigned n)
{
    int                 i, rc, ready;
    unsigned            k;
    rest_conn_t        *c;
    struct timespec     ts;
    struct epoll_event  events[REST_EVENTS];

    rest.first = rest_now();
    rest.start = rest.first + (uint64_t) (rest.warm * 1e9);
    rest.end = rest.start + (uint64_t) (rest.seconds * 1e9);

    for (k = 0; k < n; k++) {
        if (rest_next(&conns[k]) != 0) {
            rest.broken++;
        }
    }

    while (rest_more()) {

        rest_due();
        rest_wait(&ts);

        ready = epoll_pwait2(rest.epoll, events, REST_EVENTS, &ts, NULL);

        for (i = 0; i < ready; i++) {
            c = events[i].data.ptr;

            rc = rest_read(c);

            if (rc == 1 && rest_next(c) != 0) {
                rc = -1;
            }

            switch (rc) {

            case -1:
                rest_again(c);
                break;

            case 2:
                close(c->fd);

                if (rest_open(c) != 0 || rest_next(c) != 0) {
                    perror("restload: connect");
                    exit(1);
                }

                break;

            default:
                break;
            }
        }
    }
}


static void
rest_again(rest_conn_t *c)
{
    /* who was done may be closed */

    if (!rest.once || c->asked) {
        rest.broken++;
        rest.open -= (uint64_t) rest.once;
    }

    close(c->fd);

    if (rest_open(c) != 0 || rest_next(c) != 0) {
        perror("restload: connect");
        exit(1);
    }
}


static void
rest_print(void)
{
    if (rest.once) {
        rest.broken += rest.open;

        if (rest.last > rest.start) {
            rest.seconds = (double) (rest.last - rest.start) / 1e9;
        }
    }

    printf("result requests=%llu seconds=%.3f errors=%llu p50_us=%.1f "
           "p99_us=%.1f p999_us=%.1f max_us=%.1f\n",
           (unsigned long long) rest.done, rest.seconds,
           (unsigned long long) (rest.wrong + rest.broken),
           load_hist_quantile(&rest.latency, 0.5) / 1e3,
           load_hist_quantile(&rest.latency, 0.99) / 1e3,
           load_hist_quantile(&rest.latency, 0.999) / 1e3,
           rest.latency.max / 1e3);
}


static uint64_t
rest_now(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + (uint64_t) ts.tv_nsec;
}
