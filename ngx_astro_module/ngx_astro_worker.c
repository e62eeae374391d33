
/*
 * Copyright (C) The Astro authors
 *
 * A worker's own state, and the order in which its rooms open and close.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_barred.h"
#include "ngx_astro_chat.h"
#include "ngx_astro_conn.h"
#include "ngx_astro_deflate.h"
#include "ngx_astro_departed.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_hello.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_live.h"
#include "ngx_astro_nodes.h"
#include "ngx_astro_pg.h"
#include "ngx_astro_presence.h"
#include "ngx_astro_resume.h"
#include "ngx_astro_revoked.h"
#include "ngx_astro_router.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_slow.h"
#include "ngx_astro_ticks.h"
#include "ngx_astro_users.h"
#include "ngx_astro_webhook.h"
#include "ngx_astro_whereabouts.h"

#include <time.h>


#define NGX_ASTRO_ERROR_ROW(id, code, status, retry)                          \
    { ngx_string(code), status, retry },


static void ngx_astro_redis_event(u_char *text, size_t len);
static void ngx_astro_redis_user_event(u_char *text, size_t len);


const ngx_astro_error_t  ngx_astro_errors[] = {
    NGX_ASTRO_ERRORS(NGX_ASTRO_ERROR_ROW)
};

ngx_astro_worker_t  ngx_astro;
ngx_connection_t    ngx_astro_fake_connection;

/* of a worker that found no seat */
static uint64_t     ngx_astro_no_counters[ASTRO_ARENA_COUNTERS];


ngx_int_t
ngx_astro_worker_init(ngx_cycle_t *cycle, ngx_astro_conf_t *conf)
{
    ngx_astro.conf = conf;
    ngx_astro.cycle = cycle;
    ngx_astro.log = cycle->log;
    ngx_astro.seat = ASTRO_NO_SEAT;
    ngx_astro.counters = ngx_astro_no_counters;
    ngx_astro_fake_connection.fd = (ngx_socket_t) -1;

    ngx_astro.json = astro_json_parser_create();

    if (ngx_astro.json == NULL || ngx_astro_conns_init(cycle) != NGX_OK
        || ngx_astro_deflate_init() != NGX_OK
        || ngx_astro_tokens_init() != NGX_OK
        || ngx_astro_routes_init() != NGX_OK
        || ngx_astro_webhook_init() != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_astro_users_init();
    ngx_astro_barred_init();
    ngx_astro_revoked_init();
    ngx_astro_sessions_init();
    ngx_astro_whereabouts_unsteady();
    ngx_astro_presence_init();
    ngx_astro_departed_init();
    ngx_astro_hello_init();
    ngx_astro_chat_init();
    ngx_astro_acks_init();
    ngx_astro_typing_init();
    ngx_astro_live_init();

    if (ngx_astro_router_init(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_astro.pg_api = ngx_astro_pg_create(NGX_ASTRO_PG_FOR_CALLS);
    ngx_astro.pg_chat = ngx_astro_pg_create(NGX_ASTRO_PG_FOR_CHAT);
    ngx_astro.pg_lease = ngx_astro_pg_create(NGX_ASTRO_PG_FOR_LEASE);

    if (ngx_astro.pg_api == NULL || ngx_astro.pg_chat == NULL
        || ngx_astro.pg_lease == NULL || ngx_astro_slow_init() != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_astro_gateway_init() != NGX_OK
        || ngx_astro_heal_init() != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_astro_nodes_init(ngx_astro_redis_event);
}


/* Runs for a graceful exit and for a quick one, not for a kill -9. */

void
ngx_astro_worker_exit(ngx_cycle_t *cycle)
{
    if (ngx_astro.json == NULL) {
        return;
    }

    ngx_astro_departed_exit();
    ngx_astro_router_exit();

    /* the seat, and what is counted in it, may be another's from here on */

    ngx_astro.counters = ngx_astro_no_counters;

    ngx_astro_nodes_exit();

    ngx_astro_pg_destroy(ngx_astro.pg_api);
    ngx_astro_pg_destroy(ngx_astro.pg_chat);
    ngx_astro_pg_destroy(ngx_astro.pg_lease);
    ngx_astro_slow_exit();
}


/*
 * What a billing worker published: a session that changed, sessions that were
 * charged, a frame, or how it does; and who barred an account: that it was.
 */

static void
ngx_astro_redis_event(u_char *text, size_t len)
{
    if (len < 2 || text[1] != (text[0] == 'T' ? '\n' : ' ')) {
        return;
    }

    if (text[0] == 'T') {
        ngx_astro_ticks_event(text, len);
        return;
    }

    if (text[0] == 'S') {
        ngx_astro_sessions_event(text, len);
        return;
    }

    if (text[0] == 'U') {
        ngx_astro_redis_user_event(text, len);
        return;
    }

    if (text[0] == 'A') {
        ngx_astro_heal_hint(text, len);
        return;
    }

    if (text[0] == 'M') {
        ngx_astro_live_event(text, len);
    }
}


/* "U <user>[,<user>] <conv> <seq>\n<frame>" */

static void
ngx_astro_redis_user_event(u_char *text, size_t len)
{
    u_char             *p, *eol, *conv;
    uint64_t            user;
    ngx_astro_msg_t     m;
    ngx_astro_route_t   route;

    eol = ngx_strlchr(text, text + len, '\n');

    if (eol == NULL) {
        return;
    }

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, eol + 1, text + len - eol - 1);

    conv = ngx_strlchr(text + 2, eol, ' ');

    if (conv == NULL) {
        return;
    }

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;

    for (p = conv + 1; p < eol && *p >= '0' && *p <= '9'; p++) {
        route.conv = route.conv * 10 + (*p - '0');
    }

    for (p++; p < eol && *p >= '0' && *p <= '9'; p++) {
        route.seq = route.seq * 10 + (*p - '0');
    }

    route.durable = route.conv && route.seq;

    /* every worker of every host hears it: only for sockets of this one */

    user = 0;

    for (p = text + 2; p <= conv; p++) {

        if (*p >= '0' && *p <= '9') {
            user = user * 10 + (*p - '0');
            continue;
        }

        route.user = user;
        ngx_astro_users_deliver(&route, &m);
        user = 0;
    }
}


ngx_astro_error_e
ngx_astro_error_parse(const u_char *code, size_t len)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_ASTRO_E_MAX; i++) {
        if (ngx_astro_errors[i].code.len == len
            && ngx_memcmp(ngx_astro_errors[i].code.data, code, len) == 0)
        {
            return i;
        }
    }

    return NGX_ASTRO_E_INTERNAL;
}


void
ngx_astro_connection_forget(ngx_connection_t *c)
{
    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    if (c->read->posted) {
        ngx_delete_posted_event(c->read);
    }

    if (c->write->posted) {
        ngx_delete_posted_event(c->write);
    }

    /* closing the socket takes it out of epoll */

    if (c->read->active) {
        (void) ngx_del_event(c->read, NGX_READ_EVENT, NGX_CLOSE_EVENT);
    }

    if (c->write->active) {
        (void) ngx_del_event(c->write, NGX_WRITE_EVENT, NGX_CLOSE_EVENT);
    }

    c->read->closed = 1;
    c->write->closed = 1;
    c->fd = (ngx_socket_t) -1;

    ngx_free_connection(c);
}


const char *
ngx_astro_error_name(ngx_uint_t i)
{
    return i < NGX_ASTRO_E_MAX ? (char *) ngx_astro_errors[i].code.data : NULL;
}


int64_t
ngx_astro_boot_ms(void)
{
    return ngx_astro_boot_us() / 1000;
}


uint64_t
ngx_astro_boot_us(void)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_BOOTTIME, &ts);

    return (uint64_t) ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}
