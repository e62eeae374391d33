
/*
 * Copyright (C) The Astro authors
 *
 * A worker that has no "astro_deflate" holds no pool, and its connections have
 * conn->reader.deflate == NULL: that is all that they know of compression.
 */

#include "ngx_astro_deflate.h"
#include "ngx_astro_out.h"


/* Of messages this short the higher levels make nothing shorter. */
#define NGX_ASTRO_DEFLATE_LEVEL    4

#define NGX_ASTRO_DEFLATE_SCRATCH  65536


static void ngx_astro_deflate_gauge(void);


static astro_deflate_pool_t  *ngx_astro_deflate_pool;
static u_char                *ngx_astro_deflate_scratch;
static size_t                 ngx_astro_deflate_scratch_size;


ngx_int_t
ngx_astro_deflate_init(void)
{
    if (!ngx_astro.conf->deflate) {
        return NGX_OK;
    }

    ngx_astro_deflate_pool =
        astro_deflate_pool_create(ngx_astro.conf->deflate_memory,
                                  NGX_ASTRO_DEFLATE_LEVEL);

    if (ngx_astro_deflate_pool == NULL) {
        ngx_log_error(NGX_LOG_EMERG, ngx_astro.log, 0,
                      "no memory for \"astro_deflate\"");
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_astro_deflate_offer(const ngx_str_t *line, astro_ws_ext_t *agreed)
{
    astro_ws_ext_conf_t  wanted;

    wanted.bits = (uint8_t) ngx_astro.conf->deflate_window;
    wanted.takeover = ngx_astro.conf->deflate_takeover ? 1 : 0;

    return astro_ws_ext_offer(ngx_astro_deflate_pool ? &wanted : NULL,
                              line->data, line->len, agreed) == 0
           ? NGX_OK : NGX_DECLINED;
}


u_char *
ngx_astro_deflate_agree(ngx_astro_conn_t *conn, const astro_ws_ext_t *agreed,
    u_char *p)
{
    size_t   n;
    uint8_t  value[ASTRO_WS_EXT_ANSWER];

    conn->reader.deflate = astro_deflate_create(ngx_astro_deflate_pool,
                                                agreed);

    if (conn->reader.deflate == NULL) {
        ngx_astro_count(DEFLATE_REFUSED);
        return p;
    }

    ngx_astro_count(DEFLATE);
    ngx_astro_deflate_gauge();

    n = astro_ws_ext_answer(agreed, value);

    return ngx_sprintf(p, "Sec-WebSocket-Extensions: %*s" CRLF, n, value);
}


ngx_int_t
ngx_astro_deflate_put(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const ngx_astro_msg_t *m)
{
    size_t        n, head;
    u_char       *p;
    u_char        buf[ASTRO_WS_MAX_HEADER];
    ngx_uint_t    i;
    struct iovec  part[NGX_ASTRO_MSG_PARTS];

    if (m->len < ngx_astro.conf->deflate_min_length) {
        return NGX_DECLINED;
    }

    if (ngx_astro_deflate_scratch_size < m->len + ASTRO_DEFLATE_SLACK) {

        n = ngx_max(m->len + ASTRO_DEFLATE_SLACK, NGX_ASTRO_DEFLATE_SCRATCH);

        p = ngx_alloc(n, ngx_astro.log);
        if (p == NULL) {
            return NGX_DECLINED;
        }

        if (ngx_astro_deflate_scratch) {
            ngx_free(ngx_astro_deflate_scratch);
        }

        ngx_astro_deflate_scratch = p;
        ngx_astro_deflate_scratch_size = n;
    }

    for (i = 0; i < m->n; i++) {
        part[i].iov_base = m->part[i].data;
        part[i].iov_len = m->part[i].len;
    }

    /* the result has to be shorter, also by what its header may be longer */

    n = astro_deflate_message(conn->reader.deflate, part, (unsigned) m->n,
                              ngx_astro_deflate_scratch,
                              m->len + ASTRO_INFLATE_TAIL_LEN);

    if (n == 0) {
        return NGX_DECLINED;
    }

    head = astro_ws_header(buf, (uint8_t) (opcode | ASTRO_WS_RSV1), n);
    p = ngx_astro_out_room(conn, head + n);

    if (p == NULL) {
        conn->broken = 1;
        ngx_astro_conn_post(conn);
        return NGX_OK;
    }

    p = ngx_cpymem(p, buf, head);
    ngx_memcpy(p, ngx_astro_deflate_scratch, n);

    ngx_astro_count(MSG_OUT);
    ngx_astro_add(DEFLATE_OUT_PLAIN, m->len);
    ngx_astro_add(DEFLATE_OUT, n);
    ngx_astro_conn_post(conn);

    return NGX_OK;
}


void
ngx_astro_deflate_heard(const astro_ws_event_t *event)
{
    ngx_astro_add(DEFLATE_IN, event->deflated_len);
    ngx_astro_add(DEFLATE_IN_PLAIN, event->len);
    ngx_astro_deflate_gauge();
}


void
ngx_astro_deflate_free(ngx_astro_conn_t *conn)
{
    if (conn->reader.deflate == NULL) {
        return;
    }

    astro_ws_reader_free(&conn->reader);
    astro_deflate_destroy(conn->reader.deflate);

    conn->reader.deflate = NULL;
    ngx_astro_deflate_gauge();
}


static void
ngx_astro_deflate_gauge(void)
{
    ngx_astro.counters[NGX_ASTRO_C_DEFLATE_MEMORY] =
        astro_deflate_pool_used(ngx_astro_deflate_pool);
}
