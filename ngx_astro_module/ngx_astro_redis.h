
/*
 * Copyright (C) The Astro authors
 *
 * Two links to Redis: one that listens (it has subscribed, and may then say
 * nothing else), one that speaks.  Both are made again for as long as the
 * worker lives.  What goes over them is ngx_astro_nodes.c's business.
 */

#ifndef _NGX_ASTRO_REDIS_H_INCLUDED_
#define _NGX_ASTRO_REDIS_H_INCLUDED_


#include "ngx_astro.h"


/*
 * Whoever uses the links.  No handler may stop them; what is pointed to is
 * valid until the handler returns; channels come without the prefix.
 */
typedef struct {
    void  (*message)(ngx_str_t *channel, u_char *text, size_t len);
    void  (*subscribed)(ngx_str_t *channel);
    /* so many had subscribed; token: as it was given to publish */
    void  (*published)(uint64_t token, ngx_uint_t receivers);
    /* of what was read at once all has been told */
    void  (*settled)(void);

    void  (*listening)(void);   /* the channels of "start" are subscribed */
    void  (*deaf)(void);        /* ... no more, and no other either */
    void  (*speaking)(void);
    void  (*mute)(ngx_uint_t lost);     /* publishes without an answer */
} ngx_astro_redis_on_t;


/* channels: subscribed at each connection; both live as long as the worker */
ngx_int_t ngx_astro_redis_start(const ngx_astro_redis_on_t *on,
    const ngx_str_t *channels, ngx_uint_t n);

/* exit_process: what can be sent at once is, the rest is dropped. */
void ngx_astro_redis_stop(void);

ngx_uint_t ngx_astro_redis_listens(void);
ngx_uint_t ngx_astro_redis_is_up(void);         /* both */

/*
 * Where to write the len octets of a message that is being published, at
 * once; or NULL: the link is down or has too much to send.
 */
u_char *ngx_astro_redis_publish(const u_char *channel, size_t channel_len,
    size_t len, uint64_t token);

/*
 * Subscribes to a channel, or ends that.  They take effect in order: when as
 * many are answered as were asked when this returned, it has.  NGX_ERROR: the
 * link is down.
 */
ngx_int_t ngx_astro_redis_subscribe(const u_char *channel, size_t len,
    ngx_uint_t on);
uint64_t ngx_astro_redis_asked(void);
uint64_t ngx_astro_redis_answered(void);

/*
 * How much was asked of the link that speaks, and answered: within published(),
 * what was asked before that publish and with it.
 */
uint64_t ngx_astro_redis_said(void);
uint64_t ngx_astro_redis_replied(void);

/* Tells the billing workers to look at a session now; may be lost. */
void ngx_astro_redis_nudge(uint64_t session);

/* The same of a webhook that has come. */
void ngx_astro_redis_nudge_inbox(void);

/* The same of a call to a vendor that was written down. */
void ngx_astro_redis_nudge_outbox(void);


#endif /* _NGX_ASTRO_REDIS_H_INCLUDED_ */
