
/*
 * Copyright (C) The Astro authors
 *
 * Payments that clients begin: how vendors call us, and whether a client's
 * browser was really at Razorpay's.  Its signature is over the name of the
 * order, which is ours to know, and of the payment, made with the secret of our
 * key (webhooks have another).  It makes us ask Razorpay, and credits nothing.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_redis.h"
#include "astro_webhook.h"


#define NGX_ASTRO_PAY_FILE  512         /* octets of the file with the key */
#define NGX_ASTRO_PAY_NAME  128         /* of what we are called */
#define NGX_ASTRO_PAY_MAC   64          /* hex digits of a signature */
#define NGX_ASTRO_PAY_ID    64          /* octets of the name of a payment */


typedef struct {
    size_t    id_len;
    size_t    mac_len;
    uint8_t   id[NGX_ASTRO_PAY_ID];
    uint8_t   mac[NGX_ASTRO_PAY_MAC];
} ngx_astro_pay_t;


static ngx_int_t ngx_astro_pay_names(ngx_conf_t *cf, ngx_astro_conf_t *conf,
    const ngx_str_t *razorpay);
static ngx_uint_t ngx_astro_pay_name_ok(const ngx_str_t *name);
static void ngx_astro_pay_nudge(ngx_astro_api_ctx_t *ctx);
static void ngx_astro_pay_known(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_uint_t ngx_astro_pay_signed(const ngx_astro_pay_t *pay,
    const ngx_str_t *order);


ngx_int_t
ngx_astro_pay_read(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    size_t      n;
    u_char     *p, *colon;
    ngx_str_t   name;

    ngx_str_null(&name);

    if (conf->razorpay_file.len) {

        p = ngx_pnalloc(cf->pool, NGX_ASTRO_PAY_FILE);

        if (p == NULL
            || ngx_astro_keys_file(cf, "astro_razorpay_key_file",
                                   &conf->razorpay_file, p,
                                   NGX_ASTRO_PAY_FILE, &n)
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        while (n > 0 && (p[n - 1] == '\n' || p[n - 1] == '\r')) {
            n--;
        }

        colon = ngx_strlchr(p, p + n, ':');

        if (colon) {
            name.data = p;
            name.len = colon - p;
            conf->razorpay_secret.data = colon + 1;
            conf->razorpay_secret.len = p + n - colon - 1;
        }

        if (!ngx_astro_pay_name_ok(&name)
            || conf->razorpay_secret.len < ASTRO_WEBHOOK_SECRET_MIN
            || conf->razorpay_secret.len > ASTRO_WEBHOOK_SECRET_MAX)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"astro_razorpay_key_file\" \"%V\" is not "
                               "KEY_ID:KEY_SECRET, of a secret of %d to %d "
                               "bytes", &conf->razorpay_file,
                               ASTRO_WEBHOOK_SECRET_MIN,
                               ASTRO_WEBHOOK_SECRET_MAX);
            return NGX_ERROR;
        }
    }

    return ngx_astro_pay_names(cf, conf, &name);
}


static ngx_int_t
ngx_astro_pay_names(ngx_conf_t *cf, ngx_astro_conf_t *conf,
    const ngx_str_t *razorpay)
{
    u_char  *p;

    /* the secret one stands where this may by mistake: it must not be told */

    if (conf->stripe_key.len
        && (!ngx_astro_pay_name_ok(&conf->stripe_key)
            || conf->stripe_key.len < 3
            || ngx_strncmp(conf->stripe_key.data, "pk_", 3) != 0))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_stripe_publishable_key\" must begin with "
                           "\"pk_\" and have letters, digits and \"_\"");
        return NGX_ERROR;
    }

    p = ngx_pnalloc(cf->pool, 64 + conf->stripe_key.len + razorpay->len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    conf->pay_names.data = p;
    p = ngx_cpymem(p, "{", 1);

    if (conf->stripe_key.len) {
        p = ngx_sprintf(p, "\"stripe\":\"%V\"", &conf->stripe_key);
    }

    if (razorpay->len) {
        p = ngx_sprintf(p, "%s\"razorpay\":\"%V\"",
                        conf->stripe_key.len ? "," : "", razorpay);
    }

    p = ngx_cpymem(p, "}", 2);
    conf->pay_names.len = p - conf->pay_names.data - 1;

    return NGX_OK;
}


static ngx_uint_t
ngx_astro_pay_name_ok(const ngx_str_t *name)
{
    size_t  i;
    u_char  c;

    for (i = 0; i < name->len; i++) {
        c = name->data[i] | 0x20;

        if ((c < 'a' || c > 'z') && name->data[i] != '_'
            && (name->data[i] < '0' || name->data[i] > '9'))
        {
            return 0;
        }
    }

    return name->len > 0 && name->len <= NGX_ASTRO_PAY_NAME;
}


ngx_int_t
ngx_astro_api_payment_create(ngx_astro_api_ctx_t *ctx)
{
    ctx->after = ngx_astro_pay_nudge;

    return ngx_astro_api_generic(ctx);
}


/* A worker looks once a second; so it is at once. */

static void
ngx_astro_pay_nudge(ngx_astro_api_ctx_t *ctx)
{
    ngx_astro_redis_nudge_outbox();
}


ngx_int_t
ngx_astro_api_payment_confirm(ngx_astro_api_ctx_t *ctx)
{
    char              caller[NGX_INT64_LEN + 1];
    char              payment[NGX_INT64_LEN + 1];
    ssize_t           n;
    const char       *values[2];
    ngx_astro_pay_t  *pay;

    if (ngx_astro.conf->razorpay_secret.len == 0 || ctx->path_id[0] == 0) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                     "no such payment", NULL);
    }

    pay = ngx_palloc(ctx->r->pool, sizeof(ngx_astro_pay_t));
    if (pay == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->data = pay;

    n = astro_json_string(astro_json_get(&ctx->doc.root,
                                         "razorpay_payment_id"),
                          pay->id, NGX_ASTRO_PAY_ID);
    if (n < 1) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "the name that Razorpay gave the payment",
                                     "/razorpay_payment_id");
    }

    pay->id_len = n;

    n = astro_json_string(astro_json_get(&ctx->doc.root,
                                         "razorpay_signature"),
                          pay->mac, NGX_ASTRO_PAY_MAC);
    if (n != NGX_ASTRO_PAY_MAC) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "64 hex digits that Razorpay gave",
                                     "/razorpay_signature");
    }

    pay->mac_len = n;

    *ngx_sprintf((u_char *) caller, "%uL", ctx->claims.user) = '\0';
    *ngx_sprintf((u_char *) payment, "%uL", ctx->path_id[0]) = '\0';

    values[0] = caller;
    values[1] = payment;

    return ngx_astro_api_ask(ctx, &ngx_astro_sql_payment_order, values,
                             ngx_astro_pay_known);
}


static void
ngx_astro_pay_known(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    ngx_int_t  status;
    ngx_str_t  order;

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_api_answer(data, rc, res);
        return;
    }

    if (PQntuples(res) == 0) {
        status = ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                       "no such payment", NULL);
        ngx_astro_api_finish(ctx, status);
        return;
    }

    order = ngx_astro_pg_str(res, 0, 0);

    if (!ngx_astro_pay_signed(ctx->data, &order)) {
        ngx_log_error(NGX_LOG_INFO, ctx->r->connection->log, 0,
                      "checkout refused: the signature is not Razorpay's, "
                      "request %V", &ctx->request_id);

        status = ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                       "the signature is not Razorpay's over "
                                       "this payment of this order",
                                       "/razorpay_signature");

    } else {
        ctx->after = ngx_astro_pay_nudge;
        status = ngx_astro_api_generic(ctx);
    }

    ngx_astro_api_finish(ctx, status);
}


/* Razorpay signs a webhook's body in the same way. */

static ngx_uint_t
ngx_astro_pay_signed(const ngx_astro_pay_t *pay, const ngx_str_t *order)
{
    u_char                   *p;
    u_char                    text[256 + 1 + NGX_ASTRO_PAY_ID];
    astro_webhook_secrets_t   secrets;

    if (order->len > 256) {
        return 0;
    }

    p = ngx_cpymem(text, order->data, order->len);
    *p++ = '|';
    p = ngx_cpymem(p, pay->id, pay->id_len);

    ngx_memzero(&secrets, sizeof(astro_webhook_secrets_t));

    secrets.n[ASTRO_WEBHOOK_RAZORPAY] = 1;
    secrets.secrets[ASTRO_WEBHOOK_RAZORPAY][0].data =
                                           ngx_astro.conf->razorpay_secret.data;
    secrets.secrets[ASTRO_WEBHOOK_RAZORPAY][0].len =
                                            ngx_astro.conf->razorpay_secret.len;

    return astro_webhook_verify(&secrets, ASTRO_WEBHOOK_RAZORPAY, pay->mac,
                                pay->mac_len, text, p - text, 0)
           == ASTRO_WEBHOOK_OK;
}
