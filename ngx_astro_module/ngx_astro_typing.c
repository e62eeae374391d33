
/*
 * Copyright (C) The Astro authors
 *
 * Who is typing: never stored, told to the other party alone.  It ends when the
 * client says so, when it leaves, or 5 s after it was said last; the other
 * party is told in each case.  All wait equally long, so that the queue is in
 * the order in which they end, and one timer does.
 */

#include "ngx_astro_chat.h"
#include "ngx_astro_sessions.h"


#define NGX_ASTRO_TYPING_MS      5000
#define NGX_ASTRO_TYPING_GAP_MS  1000   /* between two that say the same */


static void ngx_astro_typing_begin(ngx_astro_join_t *j);
static void ngx_astro_typing_tell(ngx_astro_join_t *j, const char *on);
static void ngx_astro_typing_timer(ngx_event_t *ev);


static ngx_queue_t  ngx_astro_typing;
static ngx_event_t  ngx_astro_typing_event;


void
ngx_astro_typing_init(void)
{
    ngx_queue_init(&ngx_astro_typing);

    ngx_astro_event_init(&ngx_astro_typing_event, ngx_astro_typing_timer);
    ngx_astro_typing_event.cancelable = 1;
}


void
ngx_astro_handle_chat_typing(ngx_astro_req_t *req)
{
    uint64_t                    conv;
    ngx_astro_join_t           *j;
    const astro_json_member_t  *on;

    conv = ngx_astro_req_id(req, "conv", 'c');
    if (conv == 0) {
        return;
    }

    on = astro_json_get(&req->doc->payload, "on");

    if (on == NULL || on->kind != ASTRO_JSON_BOOL) {
        ngx_astro_count(BAD_MESSAGE);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "on is true or false", "/payload/on");
        return;
    }

    j = ngx_astro_sessions_joined_conv(req->conn, conv);

    if (j == NULL
        || ngx_astro_sessions_may(j->session, ASTRO_SESSION_CHAT_STATES)
           != NGX_ASTRO_E_MAX)
    {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_SESSION_STATE,
                              "no session of the conversation takes messages "
                              "now", "/payload/conv");
        return;
    }

    if (on->raw[0] == 't') {
        ngx_astro_typing_begin(j);

    } else if (j->typing.next) {
        ngx_astro_typing_end(j);
    }

    ngx_astro_reply(req->conn, req->id, (u_char *) "{}", 2);
}


static void
ngx_astro_typing_begin(ngx_astro_join_t *j)
{
    ngx_uint_t  known;

    known = j->typing.next != NULL;

    if (known) {
        ngx_queue_remove(&j->typing);
    }

    j->typing_ends = ngx_current_msec + NGX_ASTRO_TYPING_MS;
    ngx_queue_insert_tail(&ngx_astro_typing, &j->typing);

    if (!ngx_astro_typing_event.timer_set) {
        ngx_add_timer(&ngx_astro_typing_event, NGX_ASTRO_TYPING_MS);
    }

    if (!known
        || ngx_current_msec - j->typing_told >= NGX_ASTRO_TYPING_GAP_MS)
    {
        j->typing_told = ngx_current_msec;
        ngx_astro_typing_tell(j, "true");
    }
}


void
ngx_astro_typing_end(ngx_astro_join_t *j)
{
    ngx_queue_remove(&j->typing);
    j->typing.next = NULL;

    ngx_astro_typing_tell(j, "false");
}


static void
ngx_astro_typing_timer(ngx_event_t *ev)
{
    ngx_queue_t       *q;
    ngx_msec_int_t     left;
    ngx_astro_join_t  *j;

    while (!ngx_queue_empty(&ngx_astro_typing)) {
        q = ngx_queue_head(&ngx_astro_typing);
        j = ngx_queue_data(q, ngx_astro_join_t, typing);

        left = j->typing_ends - ngx_current_msec;

        if (left > 0) {
            ngx_add_timer(ev, left);
            return;
        }

        ngx_astro_typing_end(j);
    }
}


static void
ngx_astro_typing_tell(ngx_astro_join_t *j, const char *on)
{
    u_char             *p;
    u_char              buf[160];
    ngx_astro_msg_t     m;
    ngx_astro_route_t   route;

    p = ngx_sprintf(buf, "{\"type\":\"chat_typing\",\"conv\":\"c_%uL\","
                    "\"payload\":{\"from\":\"u_%uL\",\"on\":%s}}",
                    j->session->conv, j->conn->user, on);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.user = ngx_astro_join_peer(j);

    ngx_astro_route_user(&route, &m);
}
