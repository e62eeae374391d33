
/*
 * Copyright (C) The Astro authors
 *
 * The echo of "astro_echo".
 */

#include "ngx_astro_echo.h"
#include "ngx_astro_handshake.h"
#include "ngx_astro_out.h"


/* for the heartbeat: what an echo never does is due in thousands of years */
#define NGX_ASTRO_ECHO_NEVER_MS  ((int64_t) 1 << 50)


ngx_int_t
ngx_astro_echo_handler(ngx_http_request_t *r)
{
    return ngx_astro_ws_upgrade(r, 1);
}


void
ngx_astro_echo_start(ngx_astro_conn_t *conn)
{
    conn->token_exp_boot_s = NGX_ASTRO_ECHO_NEVER_MS / 1000;
    conn->heads_ms = NGX_ASTRO_ECHO_NEVER_MS;

    ngx_add_timer(conn->c->read, ngx_astro.conf->ping_interval);
}


void
ngx_astro_echo_message(ngx_astro_conn_t *conn, const astro_ws_event_t *event)
{
    ngx_astro_msg_t  m;

    if (!ngx_astro_conn_open(conn)) {
        return;
    }

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, event->data, event->len);

    ngx_astro_conn_queue(conn, event->opcode, &m, 0);
}
