
/*
 * Copyright (C) The Astro authors
 *
 * Directives, configuration, and the hooks of nginx's life: nothing else.
 */

#include "ngx_astro.h"
#include "ngx_astro_api.h"
#include "astro_deflate.h"
#include "ngx_astro_echo.h"
#include "ngx_astro_handshake.h"
#include "ngx_astro_health.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_ice.h"
#include "ngx_astro_issuer.h"
#include "ngx_astro_limits.h"
#include "ngx_astro_metrics.h"
#include "ngx_astro_shm.h"
#include "ngx_astro_slow.h"
#include "ngx_astro_webhook.h"


static void *ngx_astro_create_conf(ngx_conf_t *cf);
static char *ngx_astro_init_conf(ngx_conf_t *cf, void *conf);
static char *ngx_astro_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_astro_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_astro_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_astro_handler(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_astro_init_module(ngx_cycle_t *cycle);
static ngx_int_t ngx_astro_init_process(ngx_cycle_t *cycle);
static void ngx_astro_exit_process(ngx_cycle_t *cycle);


#define ngx_astro_main(name, set, field)                                      \
    { ngx_string(name), NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1, set,               \
      NGX_HTTP_MAIN_CONF_OFFSET, offsetof(ngx_astro_conf_t, field), NULL }

static ngx_command_t  ngx_astro_commands[] = {

    { ngx_string("astro_zone"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_astro_zone,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_limit"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_astro_limits_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_connections"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE12,
      ngx_astro_limits_connections,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_origin"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_astro_origin,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_issuer"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_2MORE,
      ngx_astro_issuer_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_turn"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_astro_turn,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_redis"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_TAKE1,
      ngx_astro_redis,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_pg_slow"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_1MORE,
      ngx_astro_slow_set,
      NGX_HTTP_MAIN_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("astro_debug"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_astro_conf_t, debug),
      NULL },

    { ngx_string("astro_deflate"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_astro_conf_t, deflate),
      NULL },

    { ngx_string("astro_deflate_takeover"),
      NGX_HTTP_MAIN_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_MAIN_CONF_OFFSET,
      offsetof(ngx_astro_conf_t, deflate_takeover),
      NULL },

    ngx_astro_main("astro_pg", ngx_conf_set_str_slot, pg),
    ngx_astro_main("astro_pg_timeout", ngx_conf_set_msec_slot, pg_timeout),
    ngx_astro_main("astro_pg_queue", ngx_conf_set_num_slot, pg_queue),
    ngx_astro_main("astro_redis_prefix", ngx_conf_set_str_slot, redis_prefix),
    ngx_astro_main("astro_node", ngx_conf_set_str_slot, node),
    ngx_astro_main("astro_jwt_secret_file", ngx_conf_set_str_slot,
                   secret_file),
    ngx_astro_main("astro_jwt_keys", ngx_conf_set_str_slot, keys_file),
    ngx_astro_main("astro_webhook_secrets_file", ngx_conf_set_str_slot,
                   webhook_file),
    ngx_astro_main("astro_otp_key_file", ngx_conf_set_str_slot, otp_file),
    ngx_astro_main("astro_stripe_publishable_key", ngx_conf_set_str_slot,
                   stripe_key),
    ngx_astro_main("astro_razorpay_key_file", ngx_conf_set_str_slot,
                   razorpay_file),
    ngx_astro_main("astro_openapi", ngx_conf_set_str_slot, openapi_file),
    ngx_astro_main("astro_token_ttl", ngx_conf_set_sec_slot, token_ttl),
    ngx_astro_main("astro_refresh_ttl", ngx_conf_set_sec_slot, refresh_ttl),
    ngx_astro_main("astro_thread_pool", ngx_conf_set_str_slot, pool_name),
    ngx_astro_main("astro_max_frame", ngx_conf_set_size_slot, max_frame),
    ngx_astro_main("astro_out_queue", ngx_conf_set_size_slot, out_queue),
    ngx_astro_main("astro_deflate_min_length", ngx_conf_set_size_slot,
                   deflate_min_length),
    ngx_astro_main("astro_deflate_memory", ngx_conf_set_size_slot,
                   deflate_memory),
    ngx_astro_main("astro_deflate_window", ngx_conf_set_num_slot,
                   deflate_window),
    ngx_astro_main("astro_hello_timeout", ngx_conf_set_msec_slot,
                   hello_timeout),
    ngx_astro_main("astro_ping_interval", ngx_conf_set_msec_slot,
                   ping_interval),
    ngx_astro_main("astro_pong_timeout", ngx_conf_set_msec_slot,
                   pong_timeout),
    ngx_astro_main("astro_live_ping", ngx_conf_set_msec_slot, live_ping),
    ngx_astro_main("astro_live_silence", ngx_conf_set_msec_slot,
                   live_silence),
    ngx_astro_main("astro_drain", ngx_conf_set_msec_slot, drain),
    ngx_astro_main("astro_presence_grace", ngx_conf_set_msec_slot,
                   presence_grace),
    ngx_astro_main("astro_node_ttl", ngx_conf_set_msec_slot, node_ttl),
    ngx_astro_main("astro_grace", ngx_conf_set_msec_slot, grace),
    ngx_astro_main("astro_ready", ngx_conf_set_msec_slot, ready),

    { ngx_string("astro_ws"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_astro_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_astro_ws_handler },

    { ngx_string("astro_echo"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_astro_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_astro_echo_handler },

    { ngx_string("astro_api"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_astro_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_astro_api_handler },

    { ngx_string("astro_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_astro_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_astro_metrics_handler },

    { ngx_string("astro_health"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_astro_handler,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      ngx_astro_health_handler },

      ngx_null_command
};


static ngx_http_module_t  ngx_astro_module_ctx = {
    ngx_astro_trace_variables,             /* preconfiguration */
    NULL,                                  /* postconfiguration */

    ngx_astro_create_conf,                 /* create main configuration */
    ngx_astro_init_conf,                   /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    NULL,                                  /* create location configuration */
    NULL                                   /* merge location configuration */
};


ngx_module_t  ngx_astro_module = {
    NGX_MODULE_V1,
    &ngx_astro_module_ctx,                 /* module context */
    ngx_astro_commands,                    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    ngx_astro_init_module,                 /* init module */
    ngx_astro_init_process,                /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_astro_exit_process,                /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_astro_create_conf(ngx_conf_t *cf)
{
    ngx_astro_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_astro_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    conf->limits = ngx_astro_limits_create(cf);
    if (conf->limits == NULL) {
        return NULL;
    }

    conf->token_ttl = NGX_CONF_UNSET;
    conf->refresh_ttl = NGX_CONF_UNSET;
    conf->pg_timeout = NGX_CONF_UNSET_MSEC;
    conf->pg_queue = NGX_CONF_UNSET;
    conf->slow_queue = NGX_CONF_UNSET_UINT;
    conf->slow_timeout = NGX_CONF_UNSET_MSEC;
    conf->slow_idle = NGX_CONF_UNSET_MSEC;
    conf->hello_timeout = NGX_CONF_UNSET_MSEC;
    conf->ping_interval = NGX_CONF_UNSET_MSEC;
    conf->pong_timeout = NGX_CONF_UNSET_MSEC;
    conf->live_ping = NGX_CONF_UNSET_MSEC;
    conf->live_silence = NGX_CONF_UNSET_MSEC;
    conf->drain = NGX_CONF_UNSET_MSEC;
    conf->presence_grace = NGX_CONF_UNSET_MSEC;
    conf->node_ttl = NGX_CONF_UNSET_MSEC;
    conf->grace = NGX_CONF_UNSET_MSEC;
    conf->ready = NGX_CONF_UNSET_MSEC;
    conf->max_frame = NGX_CONF_UNSET_SIZE;
    conf->out_queue = NGX_CONF_UNSET_SIZE;
    conf->deflate = NGX_CONF_UNSET;
    conf->deflate_takeover = NGX_CONF_UNSET;
    conf->deflate_window = NGX_CONF_UNSET;
    conf->deflate_min_length = NGX_CONF_UNSET_SIZE;
    conf->deflate_memory = NGX_CONF_UNSET_SIZE;
    conf->debug = NGX_CONF_UNSET;

    return conf;
}


/*
 * Runs before the locations are merged but after all was parsed: "used" says
 * whether any of them has a handler of ours.
 */

static char *
ngx_astro_init_conf(ngx_conf_t *cf, void *c)
{
    ngx_astro_conf_t  *conf = c;

    ngx_conf_init_value(conf->token_ttl, 12 * 60 * 60);
    ngx_conf_init_value(conf->refresh_ttl, 30 * 24 * 60 * 60);
    ngx_conf_init_msec_value(conf->pg_timeout, 10000);
    ngx_conf_init_value(conf->pg_queue, 8192);
    ngx_conf_init_uint_value(conf->slow_queue, 64);
    ngx_conf_init_msec_value(conf->slow_timeout, 20000);
    ngx_conf_init_msec_value(conf->slow_idle, 60000);
    ngx_conf_init_msec_value(conf->hello_timeout, 10000);
    ngx_conf_init_msec_value(conf->ping_interval, 25000);
    ngx_conf_init_msec_value(conf->pong_timeout, 10000);
    ngx_conf_init_msec_value(conf->live_ping, 4000);
    ngx_conf_init_msec_value(conf->live_silence, 8000);
    ngx_conf_init_msec_value(conf->drain, 3000);
    ngx_conf_init_msec_value(conf->presence_grace, 5000);
    ngx_conf_init_msec_value(conf->node_ttl, 5000);
    ngx_conf_init_msec_value(conf->grace, 60000);
    ngx_conf_init_msec_value(conf->ready, 60000);
    ngx_conf_init_size_value(conf->max_frame, 65536);
    ngx_conf_init_size_value(conf->out_queue, 262144);
    ngx_conf_init_value(conf->deflate, 0);
    ngx_conf_init_value(conf->deflate_takeover, 0);
    ngx_conf_init_value(conf->deflate_window, 12);
    ngx_conf_init_size_value(conf->deflate_min_length, 256);
    ngx_conf_init_size_value(conf->deflate_memory, 16 * 1024 * 1024);
    ngx_conf_init_value(conf->debug, 0);

    if (conf->slow_connections == 0) {
        conf->slow_connections = 2;
    }

    if (conf->redis_prefix.data == NULL) {
        ngx_str_set(&conf->redis_prefix, "astro:");
    }

    if (conf->node.data == NULL) {
        conf->node = cf->cycle->hostname;
    }

    if (!conf->used) {
        return NGX_CONF_OK;
    }

    if (conf->zone == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_zone\" is needed, for example "
                           "\"astro_zone 16m;\"");
        return NGX_CONF_ERROR;
    }

    if (conf->pg.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_pg\" is needed, for example "
                           "\"astro_pg 'host=/run/postgresql dbname=astro "
                           "user=astro_web';\"");
        return NGX_CONF_ERROR;
    }

    if (conf->pg_queue < 1 || conf->pg_queue > 1000000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_pg_queue\" must be from 1 to 1000000");
        return NGX_CONF_ERROR;
    }

    if (conf->node_ttl < 3000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_node_ttl\" must be at least 3s: nodes are "
                           "heard once a second");
        return NGX_CONF_ERROR;
    }

    if (conf->live_silence < conf->live_ping * 2) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_live_silence\" must be at least twice "
                           "\"astro_live_ping\"");
        return NGX_CONF_ERROR;
    }

    if (conf->max_frame < 1024 || conf->max_frame > 16 * 1024 * 1024) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_max_frame\" must be from 1k to 16m");
        return NGX_CONF_ERROR;
    }

    if (conf->out_queue < conf->max_frame + 4096) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_out_queue\" must be larger than "
                           "\"astro_max_frame\" by 4k");
        return NGX_CONF_ERROR;
    }

    if (conf->deflate_window < 9 || conf->deflate_window > 15) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_deflate_window\" must be from 9 to 15, "
                           "not %i", conf->deflate_window);
        return NGX_CONF_ERROR;
    }

    if (conf->deflate_memory < ASTRO_DEFLATE_MIN_LIMIT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_deflate_memory\" must be at least %dk",
                           ASTRO_DEFLATE_MIN_LIMIT / 1024);
        return NGX_CONF_ERROR;
    }

    if (conf->deflate_min_length == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_deflate_min_length\" must be at least 1");
        return NGX_CONF_ERROR;
    }

    if (ngx_astro_keys_read(cf, conf) != NGX_OK
        || ngx_astro_webhook_secrets(cf, conf) != NGX_OK
        || ngx_astro_otp_read(cf, conf) != NGX_OK
        || ngx_astro_pay_read(cf, conf) != NGX_OK
        || ngx_astro_openapi_read(cf, conf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    conf->pool = ngx_thread_pool_add(cf, conf->pool_name.data
                                         ? &conf->pool_name : NULL);
    if (conf->pool == NULL) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* astro_zone size [seats=n] [ring=size] [users=n] */

static char *
ngx_astro_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *conf = c;

    ssize_t            size, ring;
    ngx_int_t          n;
    ngx_str_t         *value, s;
    ngx_uint_t         i, slots;

    if (conf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR || size < (ssize_t) (64 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_zone\" size \"%V\" is invalid or less "
                           "than 256k", &value[1]);
        return NGX_CONF_ERROR;
    }

    conf->arena.seats = 16;
    conf->arena.ring_size = 128 * 1024;
    conf->arena.registry_slots = 65536 * 2;

    for (i = 2; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "seats=", 6) == 0) {

            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 2 || n > ASTRO_ARENA_MAX_SEATS) {
                goto invalid;
            }

            conf->arena.seats = n;
            continue;
        }

        if (ngx_strncmp(value[i].data, "ring=", 5) == 0) {

            s.data = value[i].data + 5;
            s.len = value[i].len - 5;
            ring = ngx_parse_size(&s);

            if (ring < 131072 || (ring & (ring - 1)) || ring > (1 << 30)) {
                goto invalid;
            }

            conf->arena.ring_size = ring;
            continue;
        }

        if (ngx_strncmp(value[i].data, "users=", 6) == 0) {

            n = ngx_atoi(value[i].data + 6, value[i].len - 6);

            if (n < 1 || n > (1 << 28)) {
                goto invalid;
            }

            /* half full at most, so that no user's window is ever */

            for (slots = 64; slots < (ngx_uint_t) n * 2; slots *= 2) {
                /* void */
            }

            conf->arena.registry_slots = slots;
            continue;
        }

        goto invalid;
    }

    if (ngx_astro_shm_add(cf, conf, size) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\" of \"astro_zone\"",
                       &value[i]);

    return NGX_CONF_ERROR;
}


static char *
ngx_astro_origin(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *conf = c;

    ngx_str_t         *value, *origin;
    ngx_uint_t         i;

    if (conf->origins == NULL) {
        conf->origins = ngx_array_create(cf->pool, 4, sizeof(ngx_str_t));
        if (conf->origins == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        origin = ngx_array_push(conf->origins);
        if (origin == NULL) {
            return NGX_CONF_ERROR;
        }

        *origin = value[i];
    }

    return NGX_CONF_OK;
}


/* A name would have to be resolved by a call that blocks: addresses only. */

static char *
ngx_astro_redis(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t  *conf = c;

    ngx_url_t          u;
    ngx_str_t         *value;

    if (conf->redis_addr) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_memzero(&u, sizeof(ngx_url_t));
    u.url = value[1];
    u.no_resolve = 1;

    if (ngx_parse_url(cf->pool, &u) != NGX_OK || u.naddrs == 0 || u.wildcard
        || (u.family != AF_UNIX && u.no_port))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_redis\" takes \"unix:/path\" or "
                           "\"IP-address:port\", not \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    conf->redis = value[1];
    conf->redis_addr = &u.addrs[0];

    return NGX_CONF_OK;
}


static char *
ngx_astro_handler(ngx_conf_t *cf, ngx_command_t *cmd, void *c)
{
    ngx_astro_conf_t          *conf;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "conflicts with another handler of this location";
    }

    clcf->handler = (ngx_http_handler_pt) cmd->post;

    conf = ngx_http_conf_get_module_main_conf(cf, ngx_astro_module);
    conf->used = 1;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_astro_init_module(ngx_cycle_t *cycle)
{
    ngx_astro_conf_t  *conf;

    if (ngx_test_config) {
        return NGX_OK;
    }

    conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_astro_module);

    if (conf == NULL || !conf->used) {
        return NGX_OK;
    }

    return ngx_astro_bells_create(cycle, conf->arena.seats);
}


static ngx_int_t
ngx_astro_init_process(ngx_cycle_t *cycle)
{
    ngx_astro_conf_t  *conf;

    if (ngx_process != NGX_PROCESS_WORKER
        && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    conf = ngx_http_cycle_get_module_main_conf(cycle, ngx_astro_module);

    if (conf == NULL || !conf->used) {
        return NGX_OK;
    }

    return ngx_astro_worker_init(cycle, conf);
}


static void
ngx_astro_exit_process(ngx_cycle_t *cycle)
{
    ngx_astro_worker_exit(cycle);
}
