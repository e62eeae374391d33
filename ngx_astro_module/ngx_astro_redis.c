
/*
 * Copyright (C) The Astro authors
 *
 * Replies are read by hiredis; the rest of it, its asynchronous context, is not
 * used here (the billing worker does): it keeps a callback for each channel
 * and loses it when an UNSUBSCRIBE and the SUBSCRIBE after it are under way
 * together (a user who reconnects), and what waits to be sent to a Redis
 * that has stopped grows without end.  A command is written into the buffer
 * that goes out, once for each turn of the event loop.
 */

#include "ngx_astro_redis.h"
#include "ngx_astro_redis_link.h"
#include "ngx_astro_trace.h"


#define NGX_ASTRO_REDIS_NO_TOKEN  ((uint64_t) -1)

#define ngx_astro_redis_token(i)                                              \
    ngx_astro_redis_tokens[(i) & (NGX_ASTRO_LINK_ASKED - 1)]


static void ngx_astro_redis_nudge_text(u_char *text, size_t len);
static void ngx_astro_redis_in_open(ngx_astro_link_t *l);
static ngx_int_t ngx_astro_redis_in_reply(ngx_astro_link_t *l,
    redisReply *r);
static void ngx_astro_redis_in_lost(ngx_astro_link_t *l);
static ngx_int_t ngx_astro_redis_out_reply(ngx_astro_link_t *l,
    redisReply *r);
static void ngx_astro_redis_out_pinged(ngx_astro_link_t *l);
static void ngx_astro_redis_out_lost(ngx_astro_link_t *l);


static ngx_astro_link_t             ngx_astro_redis_in;
static ngx_astro_link_t             ngx_astro_redis_out;
static const ngx_astro_redis_on_t  *ngx_astro_redis_on;
static const ngx_str_t             *ngx_astro_redis_channels;
static ngx_uint_t                   ngx_astro_redis_nchannels;
static uint64_t                    *ngx_astro_redis_tokens;


ngx_int_t
ngx_astro_redis_start(const ngx_astro_redis_on_t *on,
    const ngx_str_t *channels, ngx_uint_t n)
{
    if (ngx_astro.conf->redis_addr == NULL) {
        return NGX_OK;
    }

    ngx_astro_redis_tokens = ngx_alloc(NGX_ASTRO_LINK_ASKED
                                       * sizeof(uint64_t), ngx_astro.log);
    if (ngx_astro_redis_tokens == NULL) {
        return NGX_ERROR;
    }

    ngx_astro_redis_on = on;
    ngx_astro_redis_channels = channels;
    ngx_astro_redis_nchannels = n;

    ngx_astro_redis_in.name = "listening";
    ngx_astro_redis_in.open = ngx_astro_redis_in_open;
    ngx_astro_redis_in.reply = ngx_astro_redis_in_reply;
    ngx_astro_redis_in.lost = ngx_astro_redis_in_lost;

    ngx_astro_redis_out.name = "publishing";
    ngx_astro_redis_out.open = ngx_astro_link_ping;
    ngx_astro_redis_out.pinged = ngx_astro_redis_out_pinged;
    ngx_astro_redis_out.reply = ngx_astro_redis_out_reply;
    ngx_astro_redis_out.lost = ngx_astro_redis_out_lost;

    ngx_astro_redis_in.settled = on->settled;
    ngx_astro_redis_out.settled = on->settled;

    ngx_astro_link_start(&ngx_astro_redis_in);
    ngx_astro_link_start(&ngx_astro_redis_out);

    return NGX_OK;
}


void
ngx_astro_redis_stop(void)
{
    ngx_astro_link_stop(&ngx_astro_redis_out);
    ngx_astro_link_stop(&ngx_astro_redis_in);
}


ngx_uint_t
ngx_astro_redis_listens(void)
{
    return ngx_astro_redis_in.up;
}


ngx_uint_t
ngx_astro_redis_is_up(void)
{
    return ngx_astro_redis_in.up && ngx_astro_redis_out.up;
}


/* the link that listens */

static void
ngx_astro_redis_in_open(ngx_astro_link_t *l)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_astro_redis_nchannels; i++) {
        (void) ngx_astro_redis_subscribe(ngx_astro_redis_channels[i].data,
                                         ngx_astro_redis_channels[i].len, 1);
    }
}


static void
ngx_astro_redis_in_lost(ngx_astro_link_t *l)
{
    (void) l;

    ngx_astro_redis_on->deaf();
}


ngx_int_t
ngx_astro_redis_subscribe(const u_char *channel, size_t len, ngx_uint_t on)
{
    u_char     *p;
    ngx_str_t  *prefix;

    prefix = &ngx_astro.conf->redis_prefix;
    p = ngx_astro_link_command(&ngx_astro_redis_in,
                                64 + prefix->len + len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    p = ngx_sprintf(p, "*2\r\n%s\r\n$%uz\r\n%V",
                    on ? "$9\r\nSUBSCRIBE" : "$11\r\nUNSUBSCRIBE",
                    prefix->len + len, prefix);
    p = ngx_cpymem(p, channel, len);
    ngx_astro_redis_in.out.last = ngx_cpymem(p, "\r\n", 2);

    return NGX_OK;
}


uint64_t
ngx_astro_redis_asked(void)
{
    return ngx_astro_redis_in.asked;
}


uint64_t
ngx_astro_redis_answered(void)
{
    return ngx_astro_redis_in.answered;
}


static ngx_int_t
ngx_astro_redis_in_reply(ngx_astro_link_t *l, redisReply *r)
{
    ngx_str_t     channel;
    redisReply  **e;

    e = r->element;

    if (r->type != REDIS_REPLY_ARRAY || r->elements < 2
        || e[0]->type != REDIS_REPLY_STRING
        || e[1]->type != REDIS_REPLY_STRING)
    {
        return NGX_ERROR;
    }

    channel.data = (u_char *) e[1]->str;
    channel.len = e[1]->len;

    if (channel.len >= ngx_astro.conf->redis_prefix.len) {
        channel.data += ngx_astro.conf->redis_prefix.len;
        channel.len -= ngx_astro.conf->redis_prefix.len;
    }

    if (ngx_astro_same(e[0]->str, e[0]->len, "message")) {

        if (r->elements == 3 && e[2]->type == REDIS_REPLY_STRING) {
            ngx_astro_count(REDIS_EVENTS);
            ngx_astro_redis_on->message(&channel, (u_char *) e[2]->str,
                                        e[2]->len);
        }

        return NGX_OK;
    }

    /* an answer: to SUBSCRIBE, UNSUBSCRIBE or PING */

    l->answered++;

    if (ngx_astro_same(e[0]->str, e[0]->len, "subscribe")) {
        ngx_astro_redis_on->subscribed(&channel);
    }

    if (!l->up && l->answered - l->begun == ngx_astro_redis_nchannels) {
        ngx_astro_link_up(l);
        ngx_astro_redis_on->listening();
    }

    return NGX_OK;
}


/* the link that speaks */

static ngx_int_t
ngx_astro_redis_out_reply(ngx_astro_link_t *l, redisReply *r)
{
    uint64_t  token;

    if (l->asked == l->answered) {
        return NGX_ERROR;
    }

    token = ngx_astro_redis_token(l->answered++);

    if (!l->up) {

        /* a Redis that is loading, or wants a password, is of no use */

        if (r->type != REDIS_REPLY_STATUS) {
            return NGX_ERROR;
        }

        ngx_astro_link_up(l);
        ngx_astro_redis_on->speaking();
        return NGX_OK;
    }

    if (token != NGX_ASTRO_REDIS_NO_TOKEN) {

        if (r->type != REDIS_REPLY_INTEGER) {
            return NGX_ERROR;
        }

        ngx_astro_redis_on->published(token, (ngx_uint_t) r->integer);
    }

    return NGX_OK;
}


static void
ngx_astro_redis_out_pinged(ngx_astro_link_t *l)
{
    ngx_astro_redis_token(l->asked - 1) = NGX_ASTRO_REDIS_NO_TOKEN;
}


static void
ngx_astro_redis_out_lost(ngx_astro_link_t *l)
{
    uint64_t    i;
    ngx_uint_t  lost;

    lost = 0;

    for (i = l->answered; i != l->asked; i++) {
        lost += ngx_astro_redis_token(i) != NGX_ASTRO_REDIS_NO_TOKEN;
    }

    ngx_astro_redis_on->mute(lost);
}


u_char *
ngx_astro_redis_publish(const u_char *channel, size_t channel_len,
    size_t len, uint64_t token)
{
    u_char     *p, *text;
    ngx_str_t  *prefix;

    if (!ngx_astro_redis_out.up) {
        return NULL;
    }

    prefix = &ngx_astro.conf->redis_prefix;
    p = ngx_astro_link_command(&ngx_astro_redis_out,
                                128 + prefix->len + channel_len + len);
    if (p == NULL) {
        return NULL;
    }

    ngx_astro_redis_token(ngx_astro_redis_out.asked - 1) = token;

    p = ngx_sprintf(p, "*3\r\n$7\r\nPUBLISH\r\n$%uz\r\n%V",
                    prefix->len + channel_len, prefix);
    p = ngx_cpymem(p, channel, channel_len);
    text = ngx_sprintf(p, "\r\n$%uz\r\n", len);
    ngx_astro_redis_out.out.last = ngx_cpymem(text + len, "\r\n", 2);

    return text;
}


uint64_t
ngx_astro_redis_said(void)
{
    return ngx_astro_redis_out.asked;
}


uint64_t
ngx_astro_redis_replied(void)
{
    return ngx_astro_redis_out.answered;
}


void
ngx_astro_redis_nudge(uint64_t session)
{
    u_char  *p;
    size_t   len;
    u_char   number[NGX_INT64_LEN];
    u_char   name[NGX_INT64_LEN + NGX_ASTRO_TRACE_MAX + 2];

    /* a billing worker of before makes nothing of it */

    p = ngx_sprintf(name, "r%uL ", session);
    len = ngx_astro_trace_text(p);

    if (len) {
        ngx_astro_redis_nudge_text(name, p + len - name);
    }

    ngx_astro_redis_nudge_text(number, ngx_sprintf(number, "%uL", session)
                                       - number);
}


void
ngx_astro_redis_nudge_inbox(void)
{
    ngx_astro_redis_nudge_text((u_char *) "inbox", 5);
}


void
ngx_astro_redis_nudge_outbox(void)
{
    ngx_astro_redis_nudge_text((u_char *) "outbox", 6);
}


static void
ngx_astro_redis_nudge_text(u_char *text, size_t len)
{
    u_char  *p;

    p = ngx_astro_redis_publish((u_char *) "nudge", 5, len,
                                NGX_ASTRO_REDIS_NO_TOKEN);
    if (p) {
        ngx_memcpy(p, text, len);
    }
}
