
/*
 * Copyright (C) The Astro authors
 *
 * Redis, which only hastens: nudges come in, events go out.  Everything said
 * here is in PostgreSQL already and will be found there; so what cannot be
 * published is dropped, and what was missed is polled.
 */

#ifndef _BILLING_REDIS_H_INCLUDED_
#define _BILLING_REDIS_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <uv.h>


struct redisAsyncContext;

/* text is NUL-terminated and valid until the handler returns */
typedef void (*billing_redis_handler_pt)(void *data, const char *text);

typedef struct billing_redis_s  billing_redis_t;

/* one of the two connections: a subscribed one can do nothing else */
typedef struct {
    billing_redis_t           *redis;
    struct redisAsyncContext  *ac;          /* NULL: waits for its timer */
    uv_timer_t                 timer;
    int64_t                    backoff;
    int64_t                    since;       /* the attempt began */
    unsigned                   failures;
    unsigned                   pings;       /* unanswered */
    unsigned                   up:1;
    unsigned                   sub:1;
} billing_redis_link_t;

struct billing_redis_s {
    uv_loop_t                 *loop;
    const char                *address;     /* unix:/path, host:port, or "" */
    const char                *prefix;
    billing_redis_handler_pt   nudged;
    void                     (*subscribed)(void *data);
    void                      *data;

    billing_redis_link_t       out;
    billing_redis_link_t       in;

    uint64_t                   published;
    uint64_t                   dropped;     /* Redis was away or slow */
    unsigned                   dropping:1;  /* and it was logged */
    unsigned                   stopped:1;
};


/* Does nothing if the address is "". */
int billing_redis_start(billing_redis_t *r);
void billing_redis_stop(billing_redis_t *r);

/*
 * What waits to be sent is bounded: above half of it ticks are dropped, above
 * all of it everything is.
 */
typedef enum {
    BILLING_REDIS_TICKS = 0,
    BILLING_REDIS_NEWS
} billing_redis_what_e;

/* To <prefix>events; what cannot go now is dropped and counted. */
void billing_redis_publish(billing_redis_t *r, billing_redis_what_e what,
    const char *text, size_t len);

/* To <prefix>nudge: the other workers, and this one. */
void billing_redis_nudge(billing_redis_t *r, const char *text);


#endif /* _BILLING_REDIS_H_INCLUDED_ */
