
/*
 * Copyright (C) The Astro authors
 *
 * One small block for a connection that waits for something, with its timer
 * and a queue of copies.  The block goes when neither is of use any more.
 */

#include "ngx_astro_held.h"


struct ngx_astro_held_s {
    ngx_astro_conn_t   *conn;
    ngx_event_t         timer;
    void              (*late)(ngx_astro_conn_t *conn);
    ngx_queue_t         events;
    ngx_uint_t          n;
    size_t              bytes;
};

typedef struct {
    ngx_queue_t         link;
    uint64_t            conv;
    int64_t             seq;
    size_t              len;
    u_char              text[1];
} ngx_astro_held_event_t;


static ngx_astro_held_t *ngx_astro_held_get(ngx_astro_conn_t *conn);
static void ngx_astro_held_remove(ngx_astro_held_t *h,
    ngx_astro_held_event_t *e);
static void ngx_astro_held_tidy(ngx_astro_conn_t *conn);
static void ngx_astro_held_timer(ngx_event_t *ev);


static size_t  ngx_astro_held_bytes;    /* of all connections */


static ngx_astro_held_t *
ngx_astro_held_get(ngx_astro_conn_t *conn)
{
    ngx_astro_held_t  *h;

    if (conn->held) {
        return conn->held;
    }

    if (!ngx_astro_conn_open(conn)) {
        /* it has said goodbye, and nothing would free it again */
        return NULL;
    }

    h = ngx_calloc(sizeof(ngx_astro_held_t), ngx_astro.log);
    if (h == NULL) {
        return NULL;
    }

    h->conn = conn;
    ngx_queue_init(&h->events);

    ngx_astro_event_init(&h->timer, ngx_astro_held_timer);
    h->timer.cancelable = 1;

    conn->held = h;

    return h;
}


ngx_int_t
ngx_astro_held_add(ngx_astro_conn_t *conn, uint64_t conv, int64_t seq,
    const ngx_astro_msg_t *m)
{
    ngx_queue_t             *q;
    ngx_astro_held_t        *h;
    ngx_astro_held_event_t  *e;

    h = ngx_astro_held_get(conn);

    if (h == NULL
        || h->n >= NGX_ASTRO_HELD_MAX
        || h->bytes + m->len > NGX_ASTRO_HELD_BYTES
        || ngx_astro_held_bytes + m->len > NGX_ASTRO_HELD_ALL_BYTES)
    {
        return NGX_DECLINED;
    }

    /* in order of seq; the newest are nearly always the highest */

    for (q = ngx_queue_last(&h->events);
         q != ngx_queue_sentinel(&h->events);
         q = ngx_queue_prev(q))
    {
        e = ngx_queue_data(q, ngx_astro_held_event_t, link);

        if (e->conv == conv && e->seq == seq) {
            return NGX_DECLINED;
        }

        if (e->seq < seq) {
            break;
        }
    }

    e = ngx_alloc(sizeof(ngx_astro_held_event_t) + m->len, ngx_astro.log);
    if (e == NULL) {
        return NGX_DECLINED;
    }

    e->conv = conv;
    e->seq = seq;
    e->len = m->len;
    (void) ngx_astro_msg_copy(e->text, m);

    ngx_queue_insert_after(q, &e->link);

    h->n++;
    h->bytes += e->len;
    ngx_astro_held_bytes += e->len;

    ngx_astro_count(HELD);

    return NGX_OK;
}


static void
ngx_astro_held_remove(ngx_astro_held_t *h, ngx_astro_held_event_t *e)
{
    ngx_queue_remove(&e->link);

    h->n--;
    h->bytes -= e->len;
    ngx_astro_held_bytes -= e->len;

    ngx_free(e);
}


int64_t
ngx_astro_held_flush(ngx_astro_conn_t *conn, uint64_t conv, int64_t last)
{
    ngx_queue_t             *q, *next;
    ngx_astro_msg_t          m;
    ngx_astro_held_t        *h;
    ngx_astro_held_event_t  *e;

    h = conn->held;

    if (h == NULL) {
        return last;
    }

    for (q = ngx_queue_head(&h->events);
         q != ngx_queue_sentinel(&h->events);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_astro_held_event_t, link);

        if (e->conv != conv) {
            continue;
        }

        if (e->seq > last + 1) {
            break;
        }

        if (e->seq == last + 1) {

            ngx_astro_msg_init(&m);
            ngx_astro_msg_add(&m, e->text, e->len);
            ngx_astro_conn_send(conn, &m, 0);

            if (conn->held == NULL) {
                /* it was too slow, and what was held went with the goodbye */
                return last;
            }

            last = e->seq;
        }

        ngx_astro_held_remove(h, e);
    }

    ngx_astro_held_tidy(conn);

    return last;
}


void
ngx_astro_held_drop(ngx_astro_conn_t *conn, uint64_t conv)
{
    ngx_queue_t             *q, *next;
    ngx_astro_held_t        *h;
    ngx_astro_held_event_t  *e;

    h = conn->held;

    if (h == NULL) {
        return;
    }

    for (q = ngx_queue_head(&h->events);
         q != ngx_queue_sentinel(&h->events);
         q = next)
    {
        next = ngx_queue_next(q);
        e = ngx_queue_data(q, ngx_astro_held_event_t, link);

        if (e->conv == conv) {
            ngx_astro_held_remove(h, e);
        }
    }

    ngx_astro_held_tidy(conn);
}


static void
ngx_astro_held_tidy(ngx_astro_conn_t *conn)
{
    if (conn->held->n == 0 && !conn->held->timer.timer_set) {
        ngx_astro_held_free(conn);
    }
}


ngx_int_t
ngx_astro_held_wait(ngx_astro_conn_t *conn, ngx_msec_t ms,
    void (*late)(ngx_astro_conn_t *conn))
{
    ngx_astro_held_t  *h;

    h = ngx_astro_held_get(conn);

    if (h == NULL) {
        return NGX_ERROR;
    }

    h->late = late;

    if (!h->timer.timer_set) {
        ngx_add_timer(&h->timer, ms);
    }

    return NGX_OK;
}


static void
ngx_astro_held_timer(ngx_event_t *ev)
{
    ngx_astro_conn_t  *conn;
    ngx_astro_held_t  *h;

    h = ngx_astro_of(ev, ngx_astro_held_t, timer);
    conn = h->conn;

    h->late(conn);

    if (conn->held) {
        ngx_astro_held_tidy(conn);
    }
}


void
ngx_astro_held_free(ngx_astro_conn_t *conn)
{
    ngx_queue_t       *q;
    ngx_astro_held_t  *h;

    h = conn->held;

    if (h == NULL) {
        return;
    }

    conn->held = NULL;

    if (h->timer.timer_set) {
        ngx_del_timer(&h->timer);
    }

    while (!ngx_queue_empty(&h->events)) {
        q = ngx_queue_head(&h->events);
        ngx_astro_held_remove(h, ngx_queue_data(q, ngx_astro_held_event_t,
                                                link));
    }

    ngx_free(h);
}
