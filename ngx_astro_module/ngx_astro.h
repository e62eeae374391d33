
/*
 * Copyright (C) The Astro authors
 *
 * What every room of the module may know: the configuration, the worker's own
 * state, the error codes; and the counters, by ngx_astro_counters.h.
 */

#ifndef _NGX_ASTRO_H_INCLUDED_
#define _NGX_ASTRO_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>

#include "astro_arena.h"
#include "astro_id.h"
#include "astro_json.h"
#include "astro_jwt.h"
#include "astro_session.h"
#include "astro_webhook.h"
#include "ngx_astro_counters.h"


#define NGX_ASTRO_VERSION  "0.1.0"


typedef struct ngx_astro_conn_s       ngx_astro_conn_t;
typedef struct ngx_astro_pg_s         ngx_astro_pg_t;
typedef struct ngx_astro_session_s    ngx_astro_session_t;
typedef struct ngx_astro_limits_conf_s  ngx_astro_limits_conf_t;
typedef struct ngx_astro_turn_s       ngx_astro_turn_t;


typedef struct {
    ngx_shm_zone_t      *zone;
    astro_arena_conf_t   arena;

    ngx_str_t            pg;
    ngx_str_t            redis;
    ngx_addr_t          *redis_addr;    /* NULL: none */
    ngx_str_t            redis_prefix;
    ngx_str_t            node;
    ngx_str_t            secret_file;
    ngx_str_t            keys_file;
    astro_keys_t        *keys;          /* of our own tokens */
    ngx_str_t            webhook_file;
    astro_webhook_secrets_t  *webhook_secrets;  /* NULL: no webhooks */
    ngx_str_t            otp_file;
    ngx_str_t            otp_key;       /* of codes; empty: none are sent */
    ngx_str_t            stripe_key;    /* the publishable one; or empty */
    ngx_str_t            razorpay_file;
    ngx_str_t            razorpay_secret;   /* of our key; or empty */
    ngx_str_t            pay_names;     /* {"stripe":"pk_.."}, and a NUL */
    ngx_str_t            pool_name;
    ngx_thread_pool_t   *pool;
    ngx_str_t            openapi_file;
    ngx_str_t            openapi;       /* what was in it */
    ngx_array_t         *issuers;       /* of other tokens; NULL: none */
    ngx_array_t         *origins;       /* of ngx_str_t, NULL: same host */

    time_t               token_ttl;
    time_t               refresh_ttl;
    ngx_msec_t           pg_timeout;
    ngx_int_t            pg_queue;
    ngx_uint_t           slow_connections;
    ngx_uint_t           slow_queue;
    ngx_msec_t           slow_timeout;
    ngx_msec_t           slow_idle;
    ngx_msec_t           hello_timeout;
    ngx_msec_t           ping_interval;
    ngx_msec_t           pong_timeout;
    ngx_msec_t           live_ping;
    ngx_msec_t           live_silence;
    ngx_msec_t           drain;
    ngx_msec_t           presence_grace;
    ngx_msec_t           node_ttl;
    ngx_msec_t           grace;
    ngx_msec_t           ready;
    size_t               max_frame;
    size_t               out_queue;
    size_t               deflate_min_length;
    size_t               deflate_memory;    /* bytes, of each worker */
    ngx_int_t            deflate_window;    /* bits */
    ngx_flag_t           deflate;
    ngx_flag_t           deflate_takeover;
    ngx_flag_t           debug;

    ngx_astro_limits_conf_t  *limits;
    ngx_astro_turn_t    *turn;          /* NULL: no ICE servers */

    ngx_uint_t           used;          /* some location asks for us */
} ngx_astro_conf_t;


/* X(id, code, HTTP status, retry): PROTOCOL's one list for both wires */

#define NGX_ASTRO_ERRORS(X)                                                   \
    X(BAD_REQUEST, "bad_request", 400, 0)                                     \
    X(UNAUTHORIZED, "unauthorized", 401, 0)                                   \
    X(TOKEN_EXPIRED, "token_expired", 401, 0)                                 \
    X(FORBIDDEN, "forbidden", 403, 0)                                         \
    X(NOT_FOUND, "not_found", 404, 0)                                         \
    X(CONFLICT, "conflict", 409, 0)                                           \
    X(GONE, "gone", 410, 0)                                                   \
    X(BUSY, "busy", 409, 0)                                                   \
    X(OFFLINE, "offline", 409, 0)                                             \
    X(INSUFFICIENT_BALANCE, "insufficient_balance", 402, 0)                   \
    X(INVALID_USER_ROLE, "invalid_user_role", 403, 0)                         \
    X(SESSION_STATE, "session_state", 409, 0)                                 \
    X(NOT_PARTICIPANT, "not_participant", 404, 0)                             \
    X(RATE_LIMITED, "rate_limited", 429, 1)                                   \
    X(TOO_LARGE, "too_large", 413, 0)                                         \
    X(IDEMPOTENCY_MISMATCH, "idempotency_mismatch", 422, 0)                   \
    X(IDEMPOTENCY_IN_PROGRESS, "idempotency_in_progress", 409, 1)             \
    X(PRECONDITION_FAILED, "precondition_failed", 412, 0)                     \
    X(UNKNOWN_TYPE, "unknown_type", 400, 0)                                   \
    X(UNSUPPORTED, "unsupported", 422, 0)                                     \
    X(UNPAID, "unpaid", 402, 0)                                               \
    X(UNAVAILABLE, "unavailable", 503, 1)                                     \
    X(INTERNAL, "internal", 500, 1)

#define NGX_ASTRO_ERROR_ID(id, code, status, retry)  NGX_ASTRO_E_ ## id,

typedef enum {
    NGX_ASTRO_ERRORS(NGX_ASTRO_ERROR_ID)
    NGX_ASTRO_E_MAX
} ngx_astro_error_e;

typedef char ngx_astro_errors_fit_t[
    NGX_ASTRO_E_MAX <= NGX_ASTRO_ERROR_SLOTS ? 1 : -1];

typedef struct {
    ngx_str_t    code;
    ngx_uint_t   status;
    ngx_uint_t   retry;
} ngx_astro_error_t;

extern const ngx_astro_error_t  ngx_astro_errors[];

/* The error of that code, or INTERNAL: the database said what we don't know. */
ngx_astro_error_e ngx_astro_error_parse(const u_char *code, size_t len);


/*
 * One for each worker process, set up in init_process.  Rooms keep what only
 * they touch in statics of their own.
 */
typedef struct {
    ngx_astro_conf_t        *conf;
    ngx_cycle_t             *cycle;
    ngx_log_t               *log;
    astro_arena_t           *arena;
    ngx_int_t                seat;      /* ASTRO_NO_SEAT: rings are closed */
    uint64_t                *counters;  /* in our seat, or a static */
    astro_json_parser_t     *json;

    ngx_astro_pg_t          *pg_api;    /* REST, hello, sessions, replays */
    ngx_astro_pg_t          *pg_chat;   /* group commit of chat alone */
    ngx_astro_pg_t          *pg_lease;  /* renewals must not queue */
} ngx_astro_worker_t;

extern ngx_astro_worker_t  ngx_astro;
extern ngx_module_t        ngx_astro_module;

/*
 * Timers and posted events of things that are no connections: nginx's debug
 * log reads the fd of ev->data as if it were one.
 */
extern ngx_connection_t    ngx_astro_fake_connection;

#define ngx_astro_event_init(ev, h)                                           \
    (ev)->handler = (h);                                                      \
    (ev)->log = ngx_astro.log;                                                \
    (ev)->data = &ngx_astro_fake_connection

#define ngx_astro_of(ptr, type, field)                                        \
    ((type *) ((u_char *) (ptr) - offsetof(type, field)))


/*
 * Gives back the nginx side of a socket that a library owns and is about to
 * close (libpq).
 */
void ngx_astro_connection_forget(ngx_connection_t *c);

ngx_int_t ngx_astro_worker_init(ngx_cycle_t *cycle, ngx_astro_conf_t *conf);
void ngx_astro_worker_exit(ngx_cycle_t *cycle);

/*
 * CLOCK_BOOTTIME, the clock that leases are counted on; one for all processes
 * of a host.
 */
int64_t ngx_astro_boot_ms(void);
uint64_t ngx_astro_boot_us(void);

#define ngx_astro_same(str, len, literal)                                     \
    ((len) == sizeof(literal) - 1                                             \
     && ngx_memcmp((str), literal, sizeof(literal) - 1) == 0)


#endif /* _NGX_ASTRO_H_INCLUDED_ */
