
/*
 * Copyright (C) The Astro authors
 *
 * A run of the load generator: open every connection, then hold them idle, or
 * send in a closed loop (each sender keeps "window" messages on their way) or
 * in an open one (so many a second in all, whatever comes back), and count.
 *
 * A message is delivered when another connection than its sender receives its
 * mark (see "own").  Its latency runs from the instant it was due: in an open
 * loop that is the schedule's, so a generator or a server that falls behind
 * cannot hide it.
 */

#ifndef _LOAD_RUN_H_INCLUDED_
#define _LOAD_RUN_H_INCLUDED_


#include "load_conn.h"
#include "load_hist.h"


typedef struct {
    /* set before the run */
    load_plan_t   *plans;
    unsigned       nconns;
    unsigned       burst;       /* connections being opened at a time */
    unsigned       window;      /* closed loop, if rate is 0 */
    double         rate;        /* messages/s in all */
    double         seconds;     /* of measuring */
    double         setup_max;   /* s; what is not ready by then has failed */
    unsigned       own:1;       /* a sender's own receipt counts too */

    /* found out */
    unsigned       started;
    unsigned       opened;      /* upgraded */
    unsigned       ready;
    unsigned       failed;      /* before they were ready */
    unsigned       closed;      /* after that */
    double         setup;       /* s until the last one was ready */
    double         elapsed;     /* s of measuring */
    uint64_t       sent;
    uint64_t       delivered;   /* until the end of the drain */
    uint64_t       in_time;     /* of them within "elapsed" */
    uint64_t       disorder;    /* not the one that was next of its sender */
    uint64_t       skipped;     /* not sent: too much in front of it */
    load_hist_t    latency;
} load_run_t;


extern load_run_t  load_run;


/* 0, or -1 if there is no memory or no epoll. */
int load_run_init(void);

/* Opens all; returns when each is ready, failed, or late. */
void load_run_setup(void);

/* Answers pings and nothing else, for "seconds" or until it is stopped. */
void load_run_idle(double seconds);

/* Sends for load_run.seconds. */
void load_run_measure(void);

/* Waits for what is still on its way, at most so long. */
void load_run_drain(double seconds);

/* From a signal handler: ends the phase that runs, and all later ones. */
void load_run_stop(void);


#endif /* _LOAD_RUN_H_INCLUDED_ */
