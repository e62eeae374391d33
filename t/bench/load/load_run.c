
/*
 * Copyright (C) The Astro authors
 *
 * See load_run.h.  One thread: the machine's other cores are the server's.
 */

#define _GNU_SOURCE

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

#include "load_run.h"


#define LOAD_EVENTS       512
#define LOAD_SEC          1000000000ull
#define LOAD_BACKLOG      (1024 * 1024)     /* bytes waiting in a sender */
#define LOAD_COMPLAINTS   3                 /* told on stderr, of each kind */


static void load_run_ready(load_conn_t *c);
static void load_run_data(load_conn_t *c, const char *p, const char *last);
static void load_run_gone(load_conn_t *c, load_state_e was, const char *why);
static void load_run_delivered(const load_mark_t *mark);
static void load_run_closed_loop(uint64_t end);
static void load_run_open_loop(uint64_t end);
static void load_run_refill(load_conn_t *c);
static void load_run_send(load_conn_t *c, uint64_t due);
static void load_run_list(load_conn_t *c);
static load_conn_t *load_run_unlist(void);
static void load_run_turn(uint64_t until);
static uint64_t load_run_clock(void);


load_run_t  load_run;

static load_conn_t            *conns;
static load_conn_t           **senders;
static unsigned                nsenders;
static load_conn_t            *listed;      /* senders that may have a turn */
static uint64_t                now;         /* when this event was taken up */
static unsigned                measuring;
static volatile sig_atomic_t   stopped;


int
load_run_init(void)
{
    unsigned  i;

    conns = calloc(load_run.nconns, sizeof(load_conn_t));
    senders = calloc(load_run.nconns, sizeof(load_conn_t *));

    load_world.ready = load_run_ready;
    load_world.data = load_run_data;
    load_world.gone = load_run_gone;
    load_world.peer.epoll = epoll_create1(EPOLL_CLOEXEC);

    if (conns == NULL || senders == NULL || load_world.peer.epoll < 0) {
        return -1;
    }

    for (i = 0; i < load_run.nconns; i++) {
        conns[i].nth = i;
        conns[i].sock.fd = -1;
        conns[i].plan = &load_run.plans[i];
    }

    /* wake at the instant asked for, not up to 50 us later */

    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);

    return 0;
}


void
load_run_setup(void)
{
    unsigned  i, done;
    uint64_t  start, end;

    start = load_run_clock();
    end = start + (uint64_t) (load_run.setup_max * LOAD_SEC);
    done = 0;

    while (done < load_run.nconns && load_run_clock() < end && !stopped) {

        while (load_run.started < load_run.nconns
               && load_run.started - done < load_run.burst)
        {
            load_conn_start(&conns[load_run.started++]);
        }

        load_run_turn(end);
        done = load_run.ready + load_run.failed;
    }

    load_run.setup = (double) (load_run_clock() - start) / LOAD_SEC;

    for (i = 0; i < load_run.nconns; i++) {

        if (conns[i].state != LOAD_READY) {
            load_conn_drop(&conns[i], "not ready in time");
        }

        if (conns[i].state == LOAD_READY && conns[i].plan->text != NULL) {
            senders[nsenders++] = &conns[i];
        }
    }
}


void
load_run_idle(double seconds)
{
    uint64_t  end;

    end = load_run_clock() + (uint64_t) (seconds * LOAD_SEC);

    while (load_run_clock() < end && !stopped) {
        load_run_turn(end);
    }
}


void
load_run_measure(void)
{
    uint64_t  start, end;

    if (nsenders == 0) {
        return;
    }

    measuring = 1;
    start = load_run_clock();
    end = start + (uint64_t) (load_run.seconds * LOAD_SEC);

    if (load_run.rate > 0) {
        load_run_open_loop(end);

    } else {
        load_run_closed_loop(end);
    }

    load_run.elapsed = (double) (load_run_clock() - start) / LOAD_SEC;
    load_run.in_time = load_run.delivered;
}


void
load_run_drain(double seconds)
{
    uint64_t  end;

    end = load_run_clock() + (uint64_t) (seconds * LOAD_SEC);

    while (load_run.delivered < load_run.sent && load_run_clock() < end
           && !stopped)
    {
        load_run_turn(end);
    }
}


void
load_run_stop(void)
{
    stopped = 1;
}


static void
load_run_ready(load_conn_t *c)
{
    (void) c;

    load_run.opened++;
    load_run.ready++;
}


static void
load_run_data(load_conn_t *c, const char *p, const char *last)
{
    load_mark_t  mark;

    if (!measuring) {
        return;
    }

    while ((p = load_mark_find(p, last, &mark)) != NULL) {

        if (mark.sender >= load_run.nconns
            || (mark.sender == c->nth && !load_run.own))
        {
            continue;
        }

        load_run_delivered(&mark);
    }
}


static void
load_run_gone(load_conn_t *c, load_state_e was, const char *why)
{
    unsigned  *n;

    if (was == LOAD_READY) {
        n = &load_run.closed;

    } else {
        n = &load_run.failed;
        load_run.opened += (was == LOAD_STEPPING);
    }

    if ((*n)++ >= LOAD_COMPLAINTS) {
        return;
    }

    fprintf(stderr, "wsload: connection %u: %s", c->nth, why);

    if (was == LOAD_STEPPING && c->step < c->plan->nsteps) {
        fprintf(stderr, ", at step \"%.60s\"", c->plan->step[c->step]);
    }

    if (c->last != NULL) {
        fprintf(stderr, ", got last: %s", c->last);
    }

    fputc('\n', stderr);
}


static void
load_run_delivered(const load_mark_t *mark)
{
    load_conn_t  *sender;

    sender = &conns[mark->sender];

    load_run.delivered++;
    load_hist_add(&load_run.latency, now > mark->due ? now - mark->due : 0);

    if (mark->number != sender->expected) {
        load_run.disorder++;
    }

    sender->expected = mark->number + 1;

    if (sender->outstanding > 0) {
        sender->outstanding--;
    }

    load_run_list(sender);
}


static void
load_run_closed_loop(uint64_t end)
{
    unsigned      i;
    load_conn_t  *c;

    for (i = 0; i < nsenders; i++) {
        load_run_list(senders[i]);
    }

    while (load_run_clock() < end && !stopped) {

        while ((c = load_run_unlist()) != NULL) {
            load_run_refill(c);
        }

        load_run_turn(end);
    }
}


static void
load_run_open_loop(uint64_t end)
{
    double        gap;
    uint64_t      start, due, turn;
    load_conn_t  *c;

    gap = (double) LOAD_SEC / load_run.rate;
    start = load_run_clock();
    due = start;
    turn = 0;

    while (load_run_clock() < end && !stopped) {

        while (due <= load_run_clock() && due < end) {
            c = senders[turn++ % nsenders];

            if (c->state != LOAD_READY
                || load_sock_backlog(&c->sock) > LOAD_BACKLOG)
            {
                load_run.skipped++;

            } else {
                load_run_send(c, due);
                load_run_list(c);
            }

            /* from the start, so that no rounding adds up */

            due = start + (uint64_t) ((double) turn * gap);
        }

        while ((c = load_run_unlist()) != NULL) {
            load_conn_flush(c);
        }

        load_run_turn(due < end ? due : end);
    }
}


static void
load_run_refill(load_conn_t *c)
{
    if (c->state != LOAD_READY) {
        return;
    }

    while (c->outstanding < load_run.window && c->state == LOAD_READY) {
        load_run_send(c, load_run_clock());
    }

    load_conn_flush(c);
}


static void
load_run_send(load_conn_t *c, uint64_t due)
{
    size_t       len;
    load_mark_t  mark;
    static char  text[LOAD_TEXT_MAX];

    mark.due = due;
    mark.sender = c->nth;
    mark.number = c->number++;

    len = load_text_render(c->plan->text, &mark, text);

    if (load_conn_text(c, text, len) != 0) {
        load_conn_drop(c, "no memory");
        return;
    }

    c->outstanding++;
    load_run.sent++;
}


static void
load_run_list(load_conn_t *c)
{
    if (c->listed) {
        return;
    }

    c->listed = 1;
    c->next = listed;
    listed = c;
}


static load_conn_t *
load_run_unlist(void)
{
    load_conn_t  *c;

    c = listed;

    if (c != NULL) {
        listed = c->next;
        c->listed = 0;
    }

    return c;
}


/* One round of the event loop; returns at "until" if nothing happens. */

static void
load_run_turn(uint64_t until)
{
    int                 i, n;
    uint64_t            left;
    struct timespec     wait;
    struct epoll_event  events[LOAD_EVENTS];

    now = load_run_clock();
    left = until > now ? until - now : 0;

    wait.tv_sec = (time_t) (left / LOAD_SEC);
    wait.tv_nsec = (long) (left % LOAD_SEC);

    n = epoll_pwait2(load_world.peer.epoll, events, LOAD_EVENTS, &wait, NULL);

    for (i = 0; i < n; i++) {
        now = load_run_clock();
        load_conn_event(events[i].data.ptr, events[i].events);
    }
}


static uint64_t
load_run_clock(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * LOAD_SEC + (uint64_t) ts.tv_nsec;
}
