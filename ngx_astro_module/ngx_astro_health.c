
/*
 * Copyright (C) The Astro authors
 *
 * Ready: REST is answered and new clients can sign in.  Degraded: that is so,
 * but something that only hastens is missing.  A worker that is not ready keeps
 * its WebSockets: what needs no database goes on, the rest is told
 * "unavailable".
 */

#include "ngx_astro_api.h"
#include "ngx_astro_conn.h"
#include "ngx_astro_gateway.h"
#include "ngx_astro_health.h"
#include "ngx_astro_redis.h"


typedef struct {
    ngx_uint_t    ready;
    ngx_uint_t    degraded;
    u_char       *last;
    u_char        json[512];
} ngx_astro_health_t;


static void ngx_astro_health_look(ngx_astro_health_t *h);
static u_char *ngx_astro_health_reason(u_char *p, const char *reason);
static ngx_int_t ngx_astro_health_send(ngx_http_request_t *r,
    ngx_uint_t status, const u_char *json, size_t len);


static void
ngx_astro_health_look(ngx_astro_health_t *h)
{
    u_char      *p;
    u_char       reasons[256];
    ngx_uint_t   pg, lease, redis, seat;

    pg = ngx_astro_pg_is_up(ngx_astro.pg_api);
    lease = ngx_astro_gateway_id() != 0;
    seat = ngx_astro.seat != ASTRO_NO_SEAT;
    redis = ngx_astro.conf->redis.len == 0 || ngx_astro_redis_is_up();

    p = reasons;

    if (!pg) {
        p = ngx_astro_health_reason(p, "postgresql is away");
    }

    if (!lease) {
        p = ngx_astro_health_reason(p, "no lease");
    }

    if (!seat) {
        p = ngx_astro_health_reason(p, "no seat");
    }

    if (!redis) {
        p = ngx_astro_health_reason(p, "redis is away");
    }

    if (ngx_exiting) {
        p = ngx_astro_health_reason(p, "draining");
    }

    /* without a seat other workers are reached through Redis, or not at all */

    h->ready = pg && lease && (seat || redis) && !ngx_exiting;
    h->degraded = !seat || !redis;

    if (p > reasons) {
        p--;
    }

    h->last = ngx_snprintf(h->json, sizeof(h->json),
                           "{\"status\":\"%s\",\"reasons\":[%*s],"
                           "\"postgresql\":\"%s\",\"lease\":\"%s\","
                           "\"seat\":\"%s\",\"redis\":\"%s\","
                           "\"version\":\"" NGX_ASTRO_VERSION "\"}",
                           !h->ready ? "unavailable"
                           : h->degraded ? "degraded" : "ok",
                           (size_t) (p - reasons), reasons,
                           pg ? "up" : "down", lease ? "open" : "none",
                           seat ? "taken" : "none",
                           ngx_astro.conf->redis.len == 0 ? "not used"
                           : redis ? "up" : "down");
}


static u_char *
ngx_astro_health_reason(u_char *p, const char *reason)
{
    return ngx_sprintf(p, "\"%s\",", reason);
}


ngx_int_t
ngx_astro_health_handler(ngx_http_request_t *r)
{
    ngx_int_t           rc;
    ngx_astro_health_t  h;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    if (r->uri.len >= 5
        && ngx_strncmp(r->uri.data + r->uri.len - 5, "/live", 5) == 0)
    {
        return ngx_astro_health_send(r, NGX_HTTP_OK,
                                     (u_char *) "{\"status\":\"live\"}", 17);
    }

    ngx_astro_health_look(&h);

    return ngx_astro_health_send(r, h.ready ? NGX_HTTP_OK
                                            : NGX_HTTP_SERVICE_UNAVAILABLE,
                                 h.json, h.last - h.json);
}


static ngx_int_t
ngx_astro_health_send(ngx_http_request_t *r, ngx_uint_t status,
    const u_char *json, size_t len)
{
    ngx_int_t         rc;
    ngx_buf_t        *b;
    ngx_chain_t       out;
    ngx_table_elt_t  *h;

    b = ngx_create_temp_buf(r->pool, len);
    h = ngx_list_push(&r->headers_out.headers);

    if (b == NULL || h == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));
    h->hash = 1;
    ngx_str_set(&h->key, "Cache-Control");
    ngx_str_set(&h->value, "no-store");

    b->last = ngx_cpymem(b->last, json, len);
    b->last_buf = 1;
    b->last_in_chain = 1;

    r->headers_out.status = status;
    r->headers_out.content_length_n = len;
    ngx_str_set(&r->headers_out.content_type, "application/json");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    out.buf = b;
    out.next = NULL;

    return ngx_http_output_filter(r, &out);
}


/* GET /api/health: the same within REST, and without the database a problem. */

ngx_int_t
ngx_astro_api_health(ngx_astro_api_ctx_t *ctx)
{
    ngx_astro_health_t  h;

    if (!ngx_astro_pg_is_up(ngx_astro.pg_api)) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "PostgreSQL is away", NULL);
    }

    ngx_astro_health_look(&h);

    return ngx_astro_api_send(ctx, h.ready ? NGX_HTTP_OK
                                           : NGX_HTTP_SERVICE_UNAVAILABLE,
                              h.json, h.last - h.json);
}
