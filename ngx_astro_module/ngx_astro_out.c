
/*
 * Copyright (C) The Astro authors
 *
 * Chunks of 4 KB in a list; a spare few are kept by the worker, so that a
 * message between two clients who read what they get allocates nothing.
 */

#include "ngx_astro_deflate.h"
#include "ngx_astro_out.h"
#include "ngx_astro_ws_old.h"


#define NGX_ASTRO_OUT_CHUNK   4096
#define NGX_ASTRO_OUT_SPARES  256


struct ngx_astro_out_s {
    ngx_astro_out_t  *next;
    u_char           *pos;
    u_char           *last;
    u_char           *end;
};


static ngx_astro_out_t *ngx_astro_out_chunk(size_t len);
static void ngx_astro_out_drop(ngx_astro_out_t *chunk);


static ngx_astro_out_t  *ngx_astro_out_spare;
static ngx_uint_t        ngx_astro_out_nspare;


u_char *
ngx_astro_out_room(ngx_astro_conn_t *conn, size_t len)
{
    u_char           *p;
    ngx_astro_out_t  *chunk;

    chunk = conn->out ? ngx_astro_of(conn->out_tail, ngx_astro_out_t, next)
                      : NULL;

    if (chunk == NULL || (size_t) (chunk->end - chunk->last) < len) {

        chunk = ngx_astro_out_chunk(len);
        if (chunk == NULL) {
            return NULL;
        }

        *conn->out_tail = chunk;
        conn->out_tail = &chunk->next;
    }

    p = chunk->last;
    chunk->last += len;

    conn->out_size += len;
    ngx_astro_add(OUT_QUEUED, len);

    return p;
}


static ngx_astro_out_t *
ngx_astro_out_chunk(size_t len)
{
    size_t            size;
    ngx_astro_out_t  *chunk;

    size = NGX_ASTRO_OUT_CHUNK - sizeof(ngx_astro_out_t);

    if (len <= size && ngx_astro_out_spare) {
        chunk = ngx_astro_out_spare;
        ngx_astro_out_spare = chunk->next;
        ngx_astro_out_nspare--;

    } else {
        size = ngx_max(size, len);

        chunk = ngx_alloc(sizeof(ngx_astro_out_t) + size, ngx_astro.log);
        if (chunk == NULL) {
            return NULL;
        }

        chunk->end = (u_char *) (chunk + 1) + size;
    }

    chunk->next = NULL;
    chunk->pos = (u_char *) (chunk + 1);
    chunk->last = chunk->pos;

    return chunk;
}


static void
ngx_astro_out_drop(ngx_astro_out_t *chunk)
{
    if (ngx_astro_out_nspare < NGX_ASTRO_OUT_SPARES
        && (size_t) (chunk->end - (u_char *) chunk) == NGX_ASTRO_OUT_CHUNK)
    {
        chunk->next = ngx_astro_out_spare;
        ngx_astro_out_spare = chunk;
        ngx_astro_out_nspare++;
        return;
    }

    ngx_free(chunk);
}


ngx_int_t
ngx_astro_out_flush(ngx_astro_conn_t *conn)
{
    ssize_t            n;
    ngx_connection_t  *c;
    ngx_astro_out_t   *chunk;

    c = conn->c;

    while (conn->out) {
        chunk = conn->out;

        if (!c->write->ready) {
            n = NGX_AGAIN;

        } else {
            n = c->send(c, chunk->pos, chunk->last - chunk->pos);
        }

        if (n == NGX_ERROR) {
            return NGX_ERROR;
        }

        if (n == NGX_AGAIN) {
            if (ngx_handle_write_event(c->write, 0) != NGX_OK) {
                return NGX_ERROR;
            }

            return NGX_AGAIN;
        }

        chunk->pos += n;
        conn->out_size -= n;
        ngx_astro_sub(OUT_QUEUED, n);
        ngx_astro_add(BYTES_OUT, n);

        if (chunk->pos < chunk->last) {
            continue;
        }

        conn->out = chunk->next;

        if (conn->out == NULL) {
            conn->out_tail = &conn->out;
        }

        ngx_astro_out_drop(chunk);
    }

    return NGX_OK;
}


/*
 * Closing at once while the peer still sends would reset the connection, and
 * with it our Close frame under way: so, as nginx lingers over requests.
 */

ngx_int_t
ngx_astro_out_shutdown(ngx_astro_conn_t *conn)
{
    ngx_connection_t       *c;
#if (NGX_HTTP_SSL)
    ngx_event_handler_pt    read, write;
#endif

    c = conn->c;
    conn->half = 1;

#if (NGX_HTTP_SSL)
    if (c->ssl) {
        read = c->read->handler;
        write = c->write->handler;

        c->ssl->shutdown_without_free = 1;

        if (ngx_ssl_shutdown(c) == NGX_ERROR) {
            return NGX_ERROR;
        }

        /* the next one, when the connection is closed, frees */

        c->ssl->shutdown_without_free = 0;
        c->read->handler = read;
        c->write->handler = write;
    }
#endif

    if (ngx_shutdown_socket(c->fd, NGX_WRITE_SHUTDOWN) == -1) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_astro_out_free(ngx_astro_conn_t *conn)
{
    ngx_astro_out_t  *chunk;

    while (conn->out) {
        chunk = conn->out;
        conn->out = chunk->next;
        ngx_astro_out_drop(chunk);
    }

    ngx_astro_sub(OUT_QUEUED, conn->out_size);

    conn->out_tail = &conn->out;
    conn->out_size = 0;
}


void
ngx_astro_conn_post(ngx_astro_conn_t *conn)
{
    if (conn->c && !conn->flush.posted) {
        ngx_post_event(&conn->flush, &ngx_posted_events);
    }
}


ngx_int_t
ngx_astro_conn_raw(ngx_astro_conn_t *conn, u_char *p, size_t len)
{
    u_char  *out;

    out = ngx_astro_out_room(conn, len);
    if (out == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(out, p, len);

    return NGX_OK;
}


void
ngx_astro_conn_send(ngx_astro_conn_t *conn, const ngx_astro_msg_t *m,
    ngx_uint_t ephemeral)
{
    if (conn->old && ngx_astro_ws_old_send(conn, m, ephemeral) == NGX_OK) {
        return;
    }

    ngx_astro_conn_queue(conn, ASTRO_WS_TEXT, m, ephemeral);
}


void
ngx_astro_conn_queue(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const ngx_astro_msg_t *m, ngx_uint_t ephemeral)
{
    if (!ngx_astro_conn_open(conn)) {
        return;
    }

    if (conn->out_size + m->len > ngx_astro.conf->out_queue
        && conn->c->write->ready
        && ngx_astro_out_flush(conn) == NGX_ERROR)
    {
        conn->broken = 1;
        ngx_astro_conn_post(conn);
        return;
    }

    /*
     * A queue that was filled within one turn of the loop (the echo of a batch
     * of chat) is empty again: its client had no chance to take any before.
     */

    if (conn->out_size + m->len <= ngx_astro.conf->out_queue) {
        ngx_astro_conn_put(conn, opcode, m);
        return;
    }

    if (ephemeral) {
        ngx_astro_count(EPHEMERAL_DROPPED);
        return;
    }

    ngx_astro_conn_slow(conn);
}


void
ngx_astro_conn_slow(ngx_astro_conn_t *conn)
{
    if (!ngx_astro_conn_open(conn)) {
        return;
    }

    /*
     * The client doesn't read.  Nothing more is queued but the goodbye, which
     * it finds if it ever reads so far before its time to close is up.
     */

    ngx_astro_count(SLOW);
    ngx_log_error(NGX_LOG_INFO, conn->c->log, 0,
                  "client is too slow: %uz bytes wait for it, closing %d",
                  conn->out_size, NGX_ASTRO_CLOSE_SLOW);

    ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_SLOW, "too slow", "resume", 0);
}


void
ngx_astro_conn_put(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const ngx_astro_msg_t *m)
{
    size_t   head;
    u_char  *p;
    u_char   buf[ASTRO_WS_MAX_HEADER];

    if (conn->reader.deflate
        && ngx_astro_deflate_put(conn, opcode, m) == NGX_OK)
    {
        return;
    }

    head = astro_ws_header(buf, (uint8_t) opcode, m->len);
    p = ngx_astro_out_room(conn, head + m->len);

    if (p == NULL) {
        conn->broken = 1;
        ngx_astro_conn_post(conn);
        return;
    }

    p = ngx_cpymem(p, buf, head);
    (void) ngx_astro_msg_copy(p, m);

    ngx_astro_count(MSG_OUT);
    ngx_astro_conn_post(conn);
}


void
ngx_astro_conn_control(ngx_astro_conn_t *conn, ngx_uint_t opcode,
    const u_char *data, size_t len)
{
    size_t   head;
    u_char  *p;
    u_char   buf[ASTRO_WS_MAX_HEADER];

    if (conn->c == NULL || conn->broken) {
        return;
    }

    /* pings answered faster than they are read: as slow as any other */

    if (opcode != ASTRO_WS_CLOSE
        && conn->out_size > ngx_astro.conf->out_queue)
    {
        return;
    }

    head = astro_ws_header(buf, opcode, len);
    p = ngx_astro_out_room(conn, head + len);

    if (p == NULL) {
        conn->broken = 1;
        ngx_astro_conn_post(conn);
        return;
    }

    p = ngx_cpymem(p, buf, head);

    if (len) {
        ngx_memcpy(p, data, len);
    }

    ngx_astro_conn_post(conn);
}
