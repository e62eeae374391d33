
/*
 * Copyright (C) The Astro authors
 *
 * Counters live in the seats of the arena, so any worker can sum all of them,
 * and those of workers that are gone still count.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_metrics.h"
#include "ngx_astro_redis.h"


typedef struct {
    const char  *name;
    const char  *help;
} ngx_astro_metric_t;

#define NGX_ASTRO_METRIC_ROW(id, name, help)  { name, help },

static const ngx_astro_metric_t  ngx_astro_metrics[] = {
    NGX_ASTRO_COUNTERS(NGX_ASTRO_METRIC_ROW, NGX_ASTRO_METRIC_ROW)
};


static uint64_t ngx_astro_metrics_sum(ngx_uint_t i);
static u_char *ngx_astro_metrics_gauge(u_char *p, u_char *last,
    const char *name, const char *help, uint64_t value);


static uint64_t
ngx_astro_metrics_sum(ngx_uint_t i)
{
    uint64_t    sum, taken, *counters;
    ngx_uint_t  seat;

    sum = ngx_astro.seat == ASTRO_NO_SEAT ? ngx_astro.counters[i] : 0;
    taken = astro_seats_taken(ngx_astro.arena);

    for (seat = 0; seat < astro_arena_seats(ngx_astro.arena); seat++) {

        /* what lived with a tenant that is gone lives no more */

        if (i >= NGX_ASTRO_GAUGES && !(taken & (1ULL << seat))) {
            continue;
        }

        counters = astro_seat_counters(ngx_astro.arena, seat);
        sum += __atomic_load_n(&counters[i], __ATOMIC_RELAXED);
    }

    return sum;
}


static u_char *
ngx_astro_metrics_gauge(u_char *p, u_char *last, const char *name,
    const char *help, uint64_t value)
{
    return ngx_slprintf(p, last, "# HELP astro_%s %s\n"
                        "# TYPE astro_%s gauge\nastro_%s %uL\n",
                        name, help, name, name, value);
}


ngx_int_t
ngx_astro_metrics_handler(ngx_http_request_t *r)
{
    size_t                     size;
    u_char                    *p, *last;
    ngx_buf_t                 *b;
    ngx_int_t                  rc;
    ngx_uint_t                 i, from, to, used;
    ngx_chain_t                out;
    astro_ring_t              *ring;
    const ngx_astro_metric_t  *m;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    size = (NGX_ASTRO_C_MAX + 8) * 320;

    b = ngx_create_temp_buf(r->pool, size);
    if (b == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    p = b->last;
    last = b->end;

    for (i = 0; i < NGX_ASTRO_C_MAX; i++) {
        m = &ngx_astro_metrics[i];

        if (i >= NGX_ASTRO_GAUGES) {
            p = ngx_astro_metrics_gauge(p, last, m->name, m->help,
                                        ngx_astro_metrics_sum(i));
            continue;
        }

        p = ngx_slprintf(p, last, "# HELP astro_%s_total %s\n"
                         "# TYPE astro_%s_total counter\n"
                         "astro_%s_total %uL\n", m->name, m->help, m->name,
                         m->name, ngx_astro_metrics_sum(i));
    }

    used = 0;

    for (from = 0; from < astro_arena_seats(ngx_astro.arena); from++) {
        for (to = 0; to < astro_arena_seats(ngx_astro.arena); to++) {
            ring = from == to ? NULL
                              : astro_arena_ring(ngx_astro.arena, from, to, 0);
            used += ring ? astro_ring_used(ring) : 0;
        }
    }

    p = ngx_astro_metrics_gauge(p, last, "ring_used_bytes",
                                "bytes waiting in rings between workers",
                                used);
    p = ngx_astro_metrics_gauge(p, last, "seats_taken",
                                "seats of live or not yet reclaimed workers",
                                __builtin_popcountll(
                                    astro_seats_taken(ngx_astro.arena)));
    p = ngx_astro_metrics_gauge(p, last, "seats", "seats in all",
                                astro_arena_seats(ngx_astro.arena));
    p = ngx_astro_metrics_gauge(p, last, "registry_entries",
                                "entries of users at workers",
                                astro_registry_used(ngx_astro.arena));

    b->last = p;
    b->last_buf = 1;
    b->last_in_chain = 1;

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = p - b->pos;
    ngx_str_set(&r->headers_out.content_type,
                "text/plain; version=0.0.4; charset=utf-8");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


ngx_int_t
ngx_astro_api_health(ngx_astro_api_ctx_t *ctx)
{
    u_char      *p;
    u_char       buf[256];
    ngx_uint_t   pg, redis;

    pg = ngx_astro_pg_is_up(ngx_astro.pg_api);
    redis = ngx_astro_redis_is_up();

    if (!pg) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "PostgreSQL is away", NULL);
    }

    p = ngx_sprintf(buf, "{\"status\":\"%s\",\"postgresql\":\"up\","
                    "\"redis\":\"%s\",\"version\":\"" NGX_ASTRO_VERSION
                    "\"}", redis ? "ok" : "degraded", redis ? "up" : "down");

    return ngx_astro_api_send(ctx, NGX_HTTP_OK, buf, p - buf);
}
