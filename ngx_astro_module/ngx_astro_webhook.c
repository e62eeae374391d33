
/*
 * Copyright (C) The Astro authors
 *
 * A webhook is verified over the octets as they came, stored, and answered
 * when that is committed; the billing worker then does what it says, once.
 * Whatever is not answered with 2xx is sent again by the vendor for days, so
 * nothing here has to be tried twice.
 *
 * Those that were verified while a call is under way go together in the next
 * one, and are committed at once: a vendor that was away for an hour comes back
 * with thousands.  If that call is refused, each goes for itself.
 *
 * No session, no cookie, no bearer token proves anything here: the signature
 * alone does.
 */

#include "ngx_astro_limits.h"
#include "ngx_astro_redis.h"
#include "ngx_astro_webhook.h"
#include "astro_utf8.h"
#include "astro_webhook.h"


#define NGX_ASTRO_WEBHOOK_FILE  16384   /* octets of the file with secrets */


static ngx_int_t ngx_astro_webhook(ngx_astro_api_ctx_t *ctx,
    astro_webhook_vendor_e vendor, const char *header);
static ngx_int_t ngx_astro_webhook_refuse(ngx_astro_api_ctx_t *ctx,
    astro_webhook_rc_e rc);
static char *ngx_astro_webhook_trace(ngx_astro_api_ctx_t *ctx);
static ngx_int_t ngx_astro_webhook_alone(ngx_astro_api_ctx_t *ctx,
    const char *const *values);
static void ngx_astro_webhook_stored(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_webhook_done(PGresult *res, ngx_uint_t n);
static ngx_uint_t ngx_astro_webhook_count(PGresult *res, int row);


/* of all vendors */
static ngx_astro_group_t  *ngx_astro_webhooks;


ngx_int_t
ngx_astro_webhook_init(void)
{
    ngx_astro_webhooks = ngx_astro_group_create(&ngx_astro_sql_webhook_group,
                                                ngx_astro_webhook_alone,
                                                ngx_astro_webhook_done);

    return ngx_astro_webhooks ? NGX_OK : NGX_ERROR;
}


ngx_int_t
ngx_astro_webhook_secrets(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    u_char                   *buf;
    ssize_t                   n;
    unsigned                  line;
    ngx_uint_t                mode;
    ngx_fd_t                  fd;
    const char               *why;
    ngx_file_info_t           fi;
    astro_webhook_secrets_t  *secrets;

    if (conf->webhook_file.len == 0) {
        return NGX_OK;
    }

    if (ngx_conf_full_name(cf->cycle, &conf->webhook_file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    buf = ngx_pnalloc(cf->pool, NGX_ASTRO_WEBHOOK_FILE);
    secrets = ngx_pcalloc(cf->pool, sizeof(astro_webhook_secrets_t));

    if (buf == NULL || secrets == NULL) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(conf->webhook_file.data, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of "
                           "\"astro_webhook_secrets_file\" failed",
                           &conf->webhook_file);
        return NGX_ERROR;
    }

    n = -1;

    if (ngx_fd_info(fd, &fi) != NGX_FILE_ERROR) {
        n = ngx_read_fd(fd, buf, NGX_ASTRO_WEBHOOK_FILE);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed",
                           &conf->webhook_file);
    }

    if (n < 0 || n == NGX_ASTRO_WEBHOOK_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, n < 0 ? ngx_errno : 0,
                           "\"astro_webhook_secrets_file\" \"%V\" cannot be "
                           "read, or has more than %d bytes",
                           &conf->webhook_file, NGX_ASTRO_WEBHOOK_FILE - 1);
        return NGX_ERROR;
    }

    /* whoever reads it can credit himself */

    mode = ngx_file_access(&fi);

    if (mode & (S_IRWXO|S_IWGRP)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_webhook_secrets_file\" \"%V\" has mode "
                           "0%ui%ui%ui, others must not get at it (0600, or "
                           "0640)", &conf->webhook_file, mode >> 6,
                           mode >> 3 & 7, mode & 7);
        return NGX_ERROR;
    }

    line = astro_webhook_secrets_read(secrets, buf, n, &why);

    if (line) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "%s in line %ud of \"astro_webhook_secrets_file\" "
                           "\"%V\"", why, line, &conf->webhook_file);
        return NGX_ERROR;
    }

    conf->webhook_secrets = secrets;

    return NGX_OK;
}


ngx_int_t
ngx_astro_api_webhook_stripe(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_webhook(ctx, ASTRO_WEBHOOK_STRIPE, "stripe-signature");
}


ngx_int_t
ngx_astro_api_webhook_razorpay(ngx_astro_api_ctx_t *ctx)
{
    return ngx_astro_webhook(ctx, ASTRO_WEBHOOK_RAZORPAY,
                             "x-razorpay-signature");
}


static ngx_int_t
ngx_astro_webhook(ngx_astro_api_ctx_t *ctx, astro_webhook_vendor_e vendor,
    const char *header)
{
    const char                     *values[3];
    astro_webhook_rc_e              rc;
    const ngx_table_elt_t          *h;
    const astro_webhook_secrets_t  *secrets;

    secrets = ngx_astro.conf->webhook_secrets;

    if (secrets == NULL || secrets->n[vendor] == 0) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                     "no such resource", NULL);
    }

    h = ngx_astro_header(ctx->r, header, ngx_strlen(header));

    rc = h ? astro_webhook_verify(secrets, vendor, h->value.data,
                                  h->value.len, ctx->body.data,
                                  ctx->body.len, ngx_time())
           : ASTRO_WEBHOOK_MALFORMED;

    if (rc != ASTRO_WEBHOOK_OK) {
        return ngx_astro_webhook_refuse(ctx, rc);
    }

    /* it is the vendor's; is it text that the database takes? */

    if (ngx_strlchr(ctx->body.data, ctx->body.data + ctx->body.len, '\0')
        || astro_utf8_feed(ASTRO_UTF8_ACCEPT, ctx->body.data, ctx->body.len)
           != ASTRO_UTF8_ACCEPT)
    {
        ngx_astro_count(WEBHOOKS_BAD);
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "a body is JSON in UTF-8", "");
    }

    ctx->body.data[ctx->body.len] = '\0';

    values[0] = astro_webhook_vendor_name(vendor);
    values[1] = (char *) ctx->body.data;
    values[2] = ngx_astro_webhook_trace(ctx);

    return values[2] ? ngx_astro_group_join(ngx_astro_webhooks, ctx, values)
                     : NGX_HTTP_INTERNAL_SERVER_ERROR;
}


static ngx_int_t
ngx_astro_webhook_refuse(ngx_astro_api_ctx_t *ctx, astro_webhook_rc_e rc)
{
    const char  *why;

    switch (rc) {

    case ASTRO_WEBHOOK_STALE:
        ngx_astro_count(WEBHOOKS_STALE);
        why = "the signature is more than 300 s off";
        break;

    case ASTRO_WEBHOOK_SIGNATURE:
        ngx_astro_count(WEBHOOKS_FORGED);
        why = "the signature is not the vendor's over this body";
        break;

    default:
        ngx_astro_count(WEBHOOKS_UNSIGNED);
        why = "there is no signature of this vendor's form";
    }

    ngx_log_error(NGX_LOG_INFO, ctx->r->connection->log, 0,
                  "webhook refused: %s, request %V", why, &ctx->request_id);

    return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST, why, NULL);
}


/* Each row keeps the name of its own request. */

static char *
ngx_astro_webhook_trace(ngx_astro_api_ctx_t *ctx)
{
    size_t   len;
    u_char  *p, buf[NGX_ASTRO_TRACE_MAX];

    ngx_astro_trace_request(ctx);
    len = ngx_astro_trace_text(buf);
    ngx_astro_trace_end();

    p = ngx_pnalloc(ctx->r->pool, len + 1);

    if (p) {
        ngx_memcpy(p, buf, len + 1);
    }

    return (char *) p;
}


static ngx_int_t
ngx_astro_webhook_alone(ngx_astro_api_ctx_t *ctx, const char *const *values)
{
    return ngx_astro_api_ask(ctx, &ngx_astro_sql_webhook, values,
                             ngx_astro_webhook_stored);
}


static void
ngx_astro_webhook_stored(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    if (rc != NGX_ASTRO_PG_OK || PQntuples(res) != 1) {
        ngx_astro_count(WEBHOOKS_FAILED);

    } else if (ngx_astro_webhook_count(res, 0)) {
        ngx_astro_redis_nudge_inbox();
    }

    ngx_astro_api_answer(data, rc, res);
}


static void
ngx_astro_webhook_done(PGresult *res, ngx_uint_t n)
{
    ngx_uint_t  i, stored;

    if (res == NULL) {
        ngx_astro_add(WEBHOOKS_FAILED, n);
        return;
    }

    stored = 0;

    for (i = 0; i < n; i++) {
        stored += ngx_astro_webhook_count(res, i);
    }

    if (stored) {
        ngx_astro_redis_nudge_inbox();
    }
}


/* 1: it is stored, and was not before */

static ngx_uint_t
ngx_astro_webhook_count(PGresult *res, int row)
{
    if (ngx_astro_pg_int(res, row, 0) >= 300) {
        ngx_astro_count(WEBHOOKS_BAD);
        return 0;
    }

    if (ngx_astro_pg_bool(res, row, 2)) {
        ngx_astro_count(WEBHOOKS_AGAIN);
        return 0;
    }

    ngx_astro_count(WEBHOOKS_STORED);

    return 1;
}
