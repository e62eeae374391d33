
/*
 * Copyright (C) The Astro authors
 *
 * See the header.
 */

#include "ngx_astro_hello.h"
#include "ngx_astro_listen.h"
#include "ngx_astro_nodes.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_users.h"


#define NGX_ASTRO_PATIENCE_MS  250
#define NGX_ASTRO_WALK         1000     /* subscriptions under way at once */
#define NGX_ASTRO_HERE         512      /* users in one HERE */


static void ngx_astro_listen_walk(void);
static ngx_int_t ngx_astro_listen_ask(uint64_t user, ngx_uint_t on);
static void ngx_astro_listen_here(void);
static void ngx_astro_listen_patience(ngx_event_t *ev);
static uint64_t ngx_astro_listen_number(u_char *p, size_t len);


static struct {
    uint64_t             walked;        /* users up to this one are done */
    uint64_t             waived;        /* tickets that wait no longer */
    ngx_event_t          patience;

    ngx_uint_t           nhere;
    u_char               here[NGX_ASTRO_HERE * 8];

    unsigned             walking:1;
    unsigned             walk_on:1;     /* subscribes, or unsubscribes */
} ngx_astro_l;


void
ngx_astro_listen_init(void)
{
    ngx_astro_event_init(&ngx_astro_l.patience, ngx_astro_listen_patience);
    ngx_astro_l.patience.cancelable = 1;
}


/* subscriptions */

void
ngx_astro_listen(uint64_t user, ngx_uint_t on)
{
    /* who leaves while all are being unsubscribed is not met any more */

    if (ngx_astro_nodes_others || (ngx_astro_l.walking && !on)) {
        (void) ngx_astro_listen_ask(user, on);
    }
}


static ngx_int_t
ngx_astro_listen_ask(uint64_t user, ngx_uint_t on)
{
    size_t  len;
    u_char  channel[NGX_INT64_LEN + 2];

    len = ngx_sprintf(channel, "u:%uL", user) - channel;

    return ngx_astro_redis_subscribe(channel, len, on);
}


/*
 * Goes over all users of this worker, NGX_ASTRO_WALK subscriptions at a time.
 * Who comes or leaves meanwhile says so in the same queue, so that what is
 * asked last is what is meant.
 */

void
ngx_astro_listen_all(ngx_uint_t on)
{
    ngx_astro_l.walking = 1;
    ngx_astro_l.walk_on = on;
    ngx_astro_l.walked = 0;

    ngx_astro_listen_walk();
}


static void
ngx_astro_listen_walk(void)
{
    uint64_t    users[64];
    ngx_uint_t  i, n;

    while (ngx_astro_l.walking
           && ngx_astro_redis_asked() - ngx_astro_redis_answered()
              < NGX_ASTRO_WALK)
    {
        n = ngx_astro_users_after(ngx_astro_l.walked, users, 64);

        for (i = 0; i < n; i++) {

            if (ngx_astro_listen_ask(users[i], ngx_astro_l.walk_on)
                != NGX_OK)
            {
                /* deaf: whoever listens again walks anew */
                ngx_astro_l.walking = 0;
                return;
            }

            ngx_astro_l.walked = users[i];
        }

        if (n == 0) {

            if (ngx_astro_redis_asked() != ngx_astro_redis_answered()) {
                return;
            }

            ngx_astro_l.walking = 0;

            if (ngx_astro_l.walk_on) {
                (void) ngx_astro_nodes_say(ASTRO_RECORD_FORGET, NULL, 0);

                /* what was said before we listened */
                ngx_astro_nodes_heal();
            }
        }
    }
}


void
ngx_astro_listen_subscribed(ngx_str_t *channel)
{
    uint64_t  user;

    /* after a walk FORGET says it of everybody */

    if (ngx_astro_l.walking || ngx_astro_nodes_others == 0
        || channel->len < 3 || channel->data[0] != 'u')
    {
        return;
    }

    user = ngx_astro_listen_number(channel->data + 2, channel->len - 2);

    if (ngx_astro_l.nhere == NGX_ASTRO_HERE) {
        ngx_astro_listen_here();
    }

    astro_record_put_u64(ngx_astro_l.here + 8 * ngx_astro_l.nhere++, user);
}


static void
ngx_astro_listen_here(void)
{
    /* lost, it ends by itself in NGX_ASTRO_NOBODY_MS */

    (void) ngx_astro_nodes_say(ASTRO_RECORD_HERE, ngx_astro_l.here,
                               8 * ngx_astro_l.nhere);
    ngx_astro_l.nhere = 0;
}


void
ngx_astro_listen_settled(void)
{
    if (ngx_astro_l.nhere) {
        ngx_astro_listen_here();
    }

    if (ngx_astro_l.walking) {
        ngx_astro_listen_walk();
    }

    if (ngx_astro_l.patience.timer_set) {
        ngx_astro_hello_resume();

        if (ngx_astro_redis_asked() == ngx_astro_redis_answered()) {
            ngx_del_timer(&ngx_astro_l.patience);
        }
    }
}


uint64_t
ngx_astro_listen_ticket(void)
{
    uint64_t  ticket;

    if (ngx_astro_nodes_others == 0 || !ngx_astro_redis_listens()) {
        return 0;
    }

    ticket = ngx_astro_redis_asked();

    if (!ngx_astro_listen_heard(ticket) && !ngx_astro_l.patience.timer_set) {
        ngx_add_timer(&ngx_astro_l.patience, NGX_ASTRO_PATIENCE_MS);
    }

    return ticket;
}


ngx_uint_t
ngx_astro_listen_heard(uint64_t ticket)
{
    return ticket <= ngx_astro_redis_answered()
           || ticket <= ngx_astro_l.waived
           || !ngx_astro_redis_listens();
}


static void
ngx_astro_listen_patience(ngx_event_t *ev)
{
    ngx_astro_l.waived = ngx_astro_redis_asked();
    ngx_astro_hello_resume();
}


static uint64_t
ngx_astro_listen_number(u_char *p, size_t len)
{
    uint64_t  n;

    for (n = 0; len && *p >= '0' && *p <= '9'; len--) {
        n = n * 10 + (*p++ - '0');
    }

    return n;
}


void
ngx_astro_listen_deaf(void)
{
    ngx_astro_l.walking = 0;
    ngx_astro_l.nhere = 0;

    if (ngx_astro_l.patience.timer_set) {
        ngx_del_timer(&ngx_astro_l.patience);
    }

    ngx_astro_hello_resume();
}
