
/*
 * Copyright (C) The Astro authors
 *
 * See the header.
 */

#include "astro_tick.h"
#include "ngx_astro_heal.h"
#include "ngx_astro_sessions.h"
#include "ngx_astro_ticks.h"
#include "ngx_astro_users.h"


static void ngx_astro_ticks_client(const astro_tick_t *t);
static void ngx_astro_ticks_advisor(const astro_tick_t *t);
static void ngx_astro_ticks_tell(int64_t user, u_char *text, u_char *last);


void
ngx_astro_ticks_event(u_char *text, size_t len)
{
    ngx_uint_t      client, advisor;
    astro_tick_t    t;
    const uint8_t  *p, *last;

    p = text + ASTRO_TICK_HEAD;
    last = text + len;

    while (p < last) {

        ngx_astro_count(TICKS);

        if (!astro_tick_read(&p, last, &t)) {
            ngx_astro_count(TICKS_BAD);
            continue;
        }

        client = ngx_astro_users_here(t.client);
        advisor = ngx_astro_users_here(t.advisor);

        if (!client && !advisor) {
            continue;
        }

        if (ngx_astro_sessions_paid(t.session, t.ver, t.paid_until_ms)
            != NGX_OK)
        {
            ngx_astro_heal_user(client ? t.client : t.advisor);
        }

        if (t.billed_ms == 0) {
            continue;
        }

        ngx_astro_count(TICKS_TOLD);

        if (client) {
            ngx_astro_ticks_client(&t);
        }

        if (advisor) {
            ngx_astro_ticks_advisor(&t);
        }
    }
}


/* The advisor sees what was earned; what is left is the client's business. */

static void
ngx_astro_ticks_client(const astro_tick_t *t)
{
    u_char  buf[256];

    ngx_astro_ticks_tell(t->client, buf,
                         ngx_sprintf(buf, "{\"type\":\"billing_tick\","
                                     "\"payload\":{\"session\":\"s_%L\","
                                     "\"billed_ms\":%L,\"charged\":%L,"
                                     "\"balance\":%L,\"left_s\":%L}}",
                                     t->session, t->billed_ms, t->charged,
                                     t->balance, t->left_s));
}


static void
ngx_astro_ticks_advisor(const astro_tick_t *t)
{
    u_char  buf[256];

    ngx_astro_ticks_tell(t->advisor, buf,
                         ngx_sprintf(buf, "{\"type\":\"billing_tick\","
                                     "\"payload\":{\"session\":\"s_%L\","
                                     "\"billed_ms\":%L,\"charged\":%L,"
                                     "\"earned\":%L}}",
                                     t->session, t->billed_ms, t->charged,
                                     t->earned));
}


static void
ngx_astro_ticks_tell(int64_t user, u_char *text, u_char *last)
{
    ngx_astro_msg_t    m;
    ngx_astro_route_t  route;

    ngx_memzero(&route, sizeof(ngx_astro_route_t));
    route.to = NGX_ASTRO_TO_USER;
    route.user = user;

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, text, last - text);

    ngx_astro_users_deliver(&route, &m);
}
