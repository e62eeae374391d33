
/*
 * Copyright (C) The Astro authors
 *
 * Counters live in the seats of the arena, so any worker can sum all of them,
 * and those of workers that are gone still count.  A sum is
 * astro_<name>; with ?workers=1 what it is made of follows under another name,
 * astro_worker_<name>{worker="<seat>"}, so that no sum() counts anything twice.
 *
 * Each number is read once, while its owner goes on counting: a histogram's
 * count is the sum of the buckets that were read, and so never contradicts
 * them.
 */

#include "ngx_astro_limits.h"
#include "ngx_astro_metrics.h"
#include "ngx_astro_nodes.h"


#define NGX_ASTRO_METRICS_BUF   32768
#define NGX_ASTRO_METRICS_LINE  1024    /* longest that is written at once */
#define NGX_ASTRO_LAG_MAX       600     /* looks that could not be: a minute */


typedef enum {
    NGX_ASTRO_KIND_COUNTER = 0,         /* rows X, L and F */
    NGX_ASTRO_KIND_HISTOGRAM,
    NGX_ASTRO_KIND_GAUGE,
    NGX_ASTRO_KIND_HIGHEST
} ngx_astro_kind_e;

typedef enum {
    NUMBER = 0,
    SECONDS
} ngx_astro_unit_e;

typedef struct {
    ngx_uint_t          first;
    ngx_uint_t          n;
    ngx_astro_kind_e    kind;
    ngx_astro_unit_e    unit;
    const char         *name;
    const char         *labels;         /* of a family: the label's name */
    const char       *(*value)(ngx_uint_t i);
    const char         *help;
} ngx_astro_metric_t;

#define NGX_ASTRO_ROW_X(id, name, help)                                       \
    { NGX_ASTRO_C_ ## id, 1, NGX_ASTRO_KIND_COUNTER, NUMBER, name, "", NULL,  \
      help },

#define NGX_ASTRO_ROW_L(id, name, labels, help)                               \
    { NGX_ASTRO_C_ ## id, 1, NGX_ASTRO_KIND_COUNTER, NUMBER, name, labels,    \
      NULL, help },

#define NGX_ASTRO_ROW_F(id, name, label, n, value, help)                      \
    { NGX_ASTRO_C_ ## id, n, NGX_ASTRO_KIND_COUNTER, NUMBER, name, label,     \
      value, help },

#define NGX_ASTRO_ROW_H(id, name, unit, help)                                 \
    { NGX_ASTRO_C_ ## id, NGX_ASTRO_HIST_SLOTS, NGX_ASTRO_KIND_HISTOGRAM,     \
      unit, name, "", NULL, help },

#define NGX_ASTRO_ROW_G(id, name, help)                                       \
    { NGX_ASTRO_C_ ## id, 1, NGX_ASTRO_KIND_GAUGE, NUMBER, name, "", NULL,    \
      help },

#define NGX_ASTRO_ROW_M(id, name, help)                                       \
    { NGX_ASTRO_C_ ## id, 1, NGX_ASTRO_KIND_HIGHEST, NUMBER, name, "", NULL,  \
      help },

static const ngx_astro_metric_t  ngx_astro_metrics[] = {
    NGX_ASTRO_COUNTERS(NGX_ASTRO_ROW_X, NGX_ASTRO_ROW_L, NGX_ASTRO_ROW_F,
                       NGX_ASTRO_ROW_H)
    NGX_ASTRO_GAUGES_OF(NGX_ASTRO_ROW_G, NGX_ASTRO_ROW_M)
};

#define NGX_ASTRO_NMETRICS                                                    \
    (sizeof(ngx_astro_metrics) / sizeof(ngx_astro_metrics[0]))

typedef struct {
    uint16_t            code;
    const char         *name;
} ngx_astro_close_t;

#define NGX_ASTRO_CLOSE_ROW(id, code, value)  { code, value },

static const ngx_astro_close_t  ngx_astro_closes[] = {
    NGX_ASTRO_CLOSES(NGX_ASTRO_CLOSE_ROW)
};


/* Text that grows; whose memory ran out says so in failed. */
typedef struct {
    ngx_pool_t         *pool;
    ngx_chain_t        *first;
    ngx_chain_t        *last;
    ngx_uint_t          failed;
} ngx_astro_text_t;

/* Which blocks of counters a line is about: all, or one. */
#define NGX_ASTRO_ALL  NGX_ASTRO_METRICS_ALL


static void ngx_astro_metrics_rows(ngx_astro_text_t *t, ngx_int_t worker);
static void ngx_astro_metrics_head(ngx_astro_text_t *t,
    const ngx_astro_metric_t *m, const char *prefix);
static void ngx_astro_metrics_row(ngx_astro_text_t *t,
    const ngx_astro_metric_t *m, ngx_int_t worker);
static void ngx_astro_metrics_histogram(ngx_astro_text_t *t,
    const ngx_astro_metric_t *m, ngx_int_t worker);
static u_char *ngx_astro_metrics_labels(u_char *p, const char *name,
    const char *value, const char *literal, ngx_int_t worker);
static uint64_t ngx_astro_metrics_value(ngx_uint_t i, ngx_astro_kind_e kind,
    ngx_int_t worker);
static ngx_uint_t ngx_astro_metrics_was(ngx_uint_t worker);
static void ngx_astro_metrics_arena(ngx_astro_text_t *t);
static void ngx_astro_metrics_gauge(ngx_astro_text_t *t, const char *name,
    const char *help, uint64_t value);
static void ngx_astro_text(ngx_astro_text_t *t, const char *fmt, ...);


ngx_uint_t
ngx_astro_close_slot(ngx_uint_t code)
{
    ngx_uint_t  i;

    for (i = 0; i < NGX_ASTRO_CLOSED_OTHER; i++) {
        if (ngx_astro_closes[i].code == code) {
            break;
        }
    }

    return i;
}


const char *
ngx_astro_close_name(ngx_uint_t i)
{
    return i < NGX_ASTRO_CLOSE_SLOTS ? ngx_astro_closes[i].name : NULL;
}


/*
 * A worker that was stopped for ten seconds has missed a hundred looks, not
 * one: each counts with the lag it would have had.  Otherwise the longer a
 * worker hangs the fewer would say so.
 */

void
ngx_astro_metrics_tick(ngx_msec_t every)
{
    static uint64_t  due_us;

    uint64_t         now_us, step_us, lag_us, n;
    uint64_t        *spill;
    ngx_uint_t       i;

    now_us = ngx_astro_boot_us();
    step_us = (uint64_t) every * 1000;
    lag_us = due_us && now_us > due_us ? now_us - due_us : 0;

    for (n = 0; n < NGX_ASTRO_LAG_MAX; n++) {
        ngx_astro_observe(LOOP_TIME, lag_us);

        if (lag_us <= step_us) {
            break;
        }

        lag_us -= step_us;
    }

    due_us = now_us + step_us;

    if (ngx_astro.seat != ASTRO_NO_SEAT) {
        return;
    }

    spill = astro_arena_spill(ngx_astro.arena);

    for (i = 0; i < NGX_ASTRO_GAUGES; i++) {

        if (ngx_astro.counters[i]) {
            (void) __atomic_fetch_add(&spill[i], ngx_astro.counters[i],
                                      __ATOMIC_RELAXED);
            ngx_astro.counters[i] = 0;
        }
    }
}


ngx_int_t
ngx_astro_metrics_handler(ngx_http_request_t *r)
{
    off_t              len;
    ngx_int_t          rc, worker;
    ngx_str_t          arg;
    ngx_chain_t       *cl;
    ngx_astro_text_t   t;

    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    rc = ngx_http_discard_request_body(r);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_memzero(&t, sizeof(ngx_astro_text_t));
    t.pool = r->pool;

    ngx_astro_metrics_rows(&t, NGX_ASTRO_ALL);
    ngx_astro_metrics_arena(&t);

    if (ngx_http_arg(r, (u_char *) "workers", 7, &arg) == NGX_OK
        && ngx_astro_same(arg.data, arg.len, "1"))
    {
        /* anything but NGX_ASTRO_ALL: the rows of each */

        worker = 0;
        ngx_astro_metrics_rows(&t, worker);
    }

    if (t.failed) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    t.last->buf->last_buf = 1;
    t.last->buf->last_in_chain = 1;

    len = 0;

    for (cl = t.first; cl; cl = cl->next) {
        len += cl->buf->last - cl->buf->pos;
    }

    r->headers_out.status = NGX_HTTP_OK;
    r->headers_out.content_length_n = len;
    ngx_str_set(&r->headers_out.content_type,
                "text/plain; version=0.0.4; charset=utf-8");
    r->headers_out.content_type_len = r->headers_out.content_type.len;

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    return ngx_http_output_filter(r, t.first);
}


/* All metrics: sums, or each worker's, a block of lines for each metric. */

static void
ngx_astro_metrics_rows(ngx_astro_text_t *t, ngx_int_t worker)
{
    ngx_int_t                  seat, last;
    ngx_uint_t                 i, j, k;
    const ngx_astro_metric_t  *m;

    last = worker == NGX_ASTRO_ALL ? NGX_ASTRO_ALL
                             : (ngx_int_t) astro_arena_seats(ngx_astro.arena);

    for (i = 0; i < NGX_ASTRO_NMETRICS; i = j) {
        m = &ngx_astro_metrics[i];

        ngx_astro_metrics_head(t, m, worker == NGX_ASTRO_ALL ? "" : "worker_");

        /* rows of one name are one metric */

        for (j = i + 1; j < NGX_ASTRO_NMETRICS; j++) {
            if (ngx_strcmp(ngx_astro_metrics[j].name, m->name) != 0) {
                break;
            }
        }

        for (k = i; k < j; k++) {
            for (seat = worker; seat <= last; seat++) {

                if (seat == NGX_ASTRO_ALL || ngx_astro_metrics_was(seat)) {
                    ngx_astro_metrics_row(t, &ngx_astro_metrics[k], seat);
                }
            }
        }
    }
}


static void
ngx_astro_metrics_head(ngx_astro_text_t *t, const ngx_astro_metric_t *m,
    const char *prefix)
{
    const char  *type, *suffix;

    suffix = m->kind == NGX_ASTRO_KIND_COUNTER ? "_total" : "";
    type = m->kind == NGX_ASTRO_KIND_COUNTER ? "counter"
           : m->kind == NGX_ASTRO_KIND_HISTOGRAM ? "histogram" : "gauge";

    ngx_astro_text(t, "# HELP astro_%s%s%s %s\n# TYPE astro_%s%s%s %s\n",
                   prefix, m->name, suffix, m->help,
                   prefix, m->name, suffix, type);
}


static void
ngx_astro_metrics_row(ngx_astro_text_t *t, const ngx_astro_metric_t *m,
    ngx_int_t worker)
{
    u_char       labels[160];
    ngx_uint_t   i;
    const char  *value;

    if (m->kind == NGX_ASTRO_KIND_HISTOGRAM) {
        ngx_astro_metrics_histogram(t, m, worker);
        return;
    }

    for (i = 0; i < m->n; i++) {
        value = m->value ? m->value(i) : NULL;

        if (m->value && value == NULL) {
            return;
        }

        *ngx_astro_metrics_labels(labels, m->labels, value, m->labels, worker)
            = '\0';

        ngx_astro_text(t, "astro_%s%s%s%s %uL\n",
                       worker == NGX_ASTRO_ALL ? "" : "worker_", m->name,
                       m->kind == NGX_ASTRO_KIND_COUNTER ? "_total" : "",
                       labels,
                       ngx_astro_metrics_value(m->first + i, m->kind, worker));
    }
}


static void
ngx_astro_metrics_histogram(ngx_astro_text_t *t, const ngx_astro_metric_t *m,
    ngx_int_t worker)
{
    u_char       labels[160], le[32];
    uint64_t     n, bound, sum;
    ngx_uint_t   i;
    const char  *prefix;

    n = 0;
    prefix = worker == NGX_ASTRO_ALL ? "" : "worker_";

    for (i = 0; i <= NGX_ASTRO_HIST_BUCKETS; i++) {

        n += ngx_astro_metrics_value(m->first + i, m->kind, worker);
        bound = 1ULL << i;

        if (i == NGX_ASTRO_HIST_BUCKETS) {
            *ngx_sprintf(le, "+Inf") = '\0';

        } else if (m->unit == SECONDS) {
            *ngx_sprintf(le, "%uL.%06uL", bound / 1000000, bound % 1000000) =
                '\0';

        } else {
            *ngx_sprintf(le, "%uL", bound) = '\0';
        }

        *ngx_astro_metrics_labels(labels, "le", (char *) le, "", worker) =
            '\0';

        ngx_astro_text(t, "astro_%s%s_bucket%s %uL\n", prefix, m->name, labels,
                       n);
    }

    sum = ngx_astro_metrics_value(m->first + NGX_ASTRO_HIST_SUM, m->kind,
                                  worker);

    *ngx_astro_metrics_labels(labels, NULL, NULL, "", worker) = '\0';

    if (m->unit == SECONDS) {
        ngx_astro_text(t, "astro_%s%s_sum%s %uL.%06uL\n", prefix, m->name,
                       labels, sum / 1000000, sum % 1000000);

    } else {
        ngx_astro_text(t, "astro_%s%s_sum%s %uL\n", prefix, m->name, labels,
                       sum);
    }

    ngx_astro_text(t, "astro_%s%s_count%s %uL\n", prefix, m->name, labels, n);
}


/* {name="value",worker="3"}, of which any part may be missing */

static u_char *
ngx_astro_metrics_labels(u_char *p, const char *name, const char *value,
    const char *literal, ngx_int_t worker)
{
    u_char  *start;

    start = p;
    *p++ = '{';

    if (value) {
        p = ngx_sprintf(p, "%s=\"%s\",", name, value);

    } else if (literal[0]) {
        p = ngx_sprintf(p, "%s,", literal);
    }

    if (worker == (ngx_int_t) astro_arena_seats(ngx_astro.arena)) {
        p = ngx_sprintf(p, "worker=\"none\",");

    } else if (worker != NGX_ASTRO_ALL) {
        p = ngx_sprintf(p, "worker=\"%i\",", worker);
    }

    if (p == start + 1) {
        return start;
    }

    p[-1] = '}';

    return p;
}


/* Was there ever a worker in that seat?  The one after the last: the spill. */

static ngx_uint_t
ngx_astro_metrics_was(ngx_uint_t worker)
{
    if (worker == astro_arena_seats(ngx_astro.arena)) {
        return ngx_astro_metrics_value(NGX_ASTRO_C_LOOP_TIME
                                       + NGX_ASTRO_HIST_SUM,
                                       NGX_ASTRO_KIND_HISTOGRAM, worker)
               != 0;
    }

    return astro_seat_generation(ngx_astro.arena, worker) != 0;
}


static uint64_t
ngx_astro_metrics_value(ngx_uint_t i, ngx_astro_kind_e kind, ngx_int_t worker)
{
    uint64_t   sum, one, taken, *counters;
    ngx_int_t  seat, spill;

    spill = astro_arena_seats(ngx_astro.arena);
    taken = astro_seats_taken(ngx_astro.arena);
    sum = 0;

    for (seat = 0; seat <= spill; seat++) {

        if (worker != NGX_ASTRO_ALL && worker != seat) {
            continue;
        }

        /* what lived with a tenant that is gone lives no more */

        if (i >= NGX_ASTRO_GAUGES && seat < spill
            && !(taken & (1ULL << seat)))
        {
            continue;
        }

        counters = seat == spill ? astro_arena_spill(ngx_astro.arena)
                                 : astro_seat_counters(ngx_astro.arena, seat);
        one = __atomic_load_n(&counters[i], __ATOMIC_RELAXED);

        if (kind == NGX_ASTRO_KIND_HIGHEST) {
            sum = ngx_max(sum, one);

        } else {
            sum += one;
        }
    }

    return sum;
}


uint64_t
ngx_astro_metrics_of(ngx_uint_t counter, ngx_int_t seat)
{
    return ngx_astro_metrics_value(counter, NGX_ASTRO_KIND_COUNTER, seat);
}


static void
ngx_astro_metrics_arena(ngx_astro_text_t *t)
{
    uint64_t              used;
    ngx_uint_t            from, to;
    astro_ring_t         *ring;
    astro_arena_t        *a;
    astro_arena_usage_t   usage;

    a = ngx_astro.arena;
    used = 0;

    for (from = 0; from < astro_arena_seats(a); from++) {
        for (to = 0; to < astro_arena_seats(a); to++) {
            ring = from == to ? NULL : astro_arena_ring(a, from, to, 0);
            used += ring ? astro_ring_used(ring) : 0;
        }
    }

    astro_arena_usage(a, &usage);

    ngx_astro_metrics_gauge(t, "ring_used_bytes",
                            "bytes waiting in rings between workers", used);
    ngx_astro_metrics_gauge(t, "ring_size_bytes", "room in each ring",
                            ngx_astro.conf->arena.ring_size);
    ngx_astro_metrics_gauge(t, "rings", "pairs of workers that have a ring",
                            usage.rings);
    ngx_astro_metrics_gauge(t, "rings_possible",
                            "rings that the zone has room for",
                            usage.ring_slots);
    ngx_astro_metrics_gauge(t, "nodes", "nodes alive, this one included",
                            ngx_astro_nodes_others + 1);
    ngx_astro_metrics_gauge(t, "seatless_workers",
                            "workers of this host without a seat",
                            ngx_astro_nodes_seatless());
    ngx_astro_metrics_gauge(t, "seats_taken",
                            "seats of live or not yet reclaimed workers",
                            __builtin_popcountll(astro_seats_taken(a)));
    ngx_astro_metrics_gauge(t, "seats", "seats in all", astro_arena_seats(a));
    ngx_astro_metrics_gauge(t, "registry_entries",
                            "entries of users at workers",
                            astro_registry_used(a));
    ngx_astro_metrics_gauge(t, "registry_slots", "room for such entries",
                            usage.registry_slots);
    ngx_astro_metrics_gauge(t, "limit_entries",
                            "buckets of astro_limit that are not full",
                            astro_limit_used(a, ngx_astro_boot_us()));
    ngx_astro_metrics_gauge(t, "counted_entries",
                            "users and addresses whose connections are "
                            "counted, at each worker", astro_counts_used(a));
    ngx_astro_metrics_gauge(t, "zone_used_bytes",
                            "shared memory that is in use", usage.used);
    ngx_astro_metrics_gauge(t, "zone_size_bytes", "shared memory in all",
                            usage.size);

    ngx_astro_text(t, "# HELP astro_build_info the build that runs, which "
                   "after a reload need not be the one on disk\n"
                   "# TYPE astro_build_info gauge\n"
                   "astro_build_info{version=\"" NGX_ASTRO_VERSION "\","
                   "nginx=\"" NGINX_VERSION "\",build=\"%s\"} 1\n",
                   ngx_astro_build_id());
}


static void
ngx_astro_metrics_gauge(ngx_astro_text_t *t, const char *name,
    const char *help, uint64_t value)
{
    ngx_astro_text(t, "# HELP astro_%s %s\n# TYPE astro_%s gauge\n"
                   "astro_%s %uL\n", name, help, name, name, value);
}


/* At most NGX_ASTRO_METRICS_LINE octets a call. */

static void
ngx_astro_text(ngx_astro_text_t *t, const char *fmt, ...)
{
    va_list       args;
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    b = t->last ? t->last->buf : NULL;

    if (b == NULL || b->end - b->last < NGX_ASTRO_METRICS_LINE) {

        cl = ngx_alloc_chain_link(t->pool);
        b = cl ? ngx_create_temp_buf(t->pool, NGX_ASTRO_METRICS_BUF) : NULL;

        if (b == NULL) {
            t->failed = 1;
            return;
        }

        cl->buf = b;
        cl->next = NULL;

        if (t->last) {
            t->last->next = cl;

        } else {
            t->first = cl;
        }

        t->last = cl;
    }

    va_start(args, fmt);
    b->last = ngx_vslprintf(b->last, b->end, fmt, args);
    va_end(args);
}
