
/*
 * Copyright (C) The Astro authors
 *
 * See the header.
 */

#include "ngx_astro_gateway.h"
#include "ngx_astro_sql.h"
#include "ngx_astro_users.h"
#include "ngx_astro_whereabouts.h"


#define NGX_ASTRO_SLOW_MS     1000      /* an answer: something was stuck */
#define NGX_ASTRO_RESTORE     1000      /* users of one call */
#define NGX_ASTRO_RESTORE_MS  1000      /* after one that was refused */


typedef struct {
    void                (*handler)(void *data, ngx_uint_t ok, PGresult *res);
    void                 *data;
    int64_t               asked_ms;
} ngx_astro_asking_t;


static void ngx_astro_whereabouts_told(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_whereabouts_again(ngx_event_t *ev);
static void ngx_astro_whereabouts_store(void);
static void ngx_astro_whereabouts_stored(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);


static int64_t  ngx_astro_unsteady_until;

static struct {
    ngx_event_t           timer;
    uint64_t              after;        /* users up to this one are entered */
    unsigned              due:1;
    unsigned              calling:1;
} ngx_astro_restore;


/* asking */

ngx_int_t
ngx_astro_whereabouts(const uint64_t *users, ngx_uint_t n,
    void (*handler)(void *data, ngx_uint_t ok, PGresult *res), void *data)
{
    u_char              *p, *buf;
    ngx_int_t            rc;
    ngx_uint_t           i;
    const char          *values[3];
    ngx_astro_asking_t  *asking;
    char                 ttl[NGX_INT64_LEN + 1], grace[NGX_INT64_LEN + 1];

    asking = ngx_alloc(sizeof(ngx_astro_asking_t), ngx_astro.log);
    buf = ngx_alloc(n * (NGX_INT64_LEN + 1) + 3, ngx_astro.log);

    if (asking == NULL || buf == NULL) {
        goto failed;
    }

    asking->handler = handler;
    asking->data = data;
    asking->asked_ms = ngx_astro_boot_ms();

    p = buf;
    *p++ = '{';

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, "%s%uL", i ? "," : "", users[i]);
    }

    *p++ = '}';
    *p = '\0';

    *ngx_sprintf((u_char *) ttl, "%M", ngx_astro.conf->node_ttl) = '\0';
    *ngx_sprintf((u_char *) grace, "%M", ngx_astro.conf->presence_grace) =
        '\0';

    values[0] = (char *) buf;
    values[1] = ttl;
    values[2] = grace;

    rc = ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_whereabouts,
                           values, ngx_astro_whereabouts_told, asking);
    if (rc == NGX_OK) {
        ngx_free(buf);
        return NGX_OK;
    }

failed:

    if (asking) {
        ngx_free(asking);
    }

    if (buf) {
        ngx_free(buf);
    }

    return NGX_ERROR;
}


static void
ngx_astro_whereabouts_told(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_asking_t  *asking = data;

    int64_t              now;

    now = ngx_astro_boot_ms();

    /* whatever kept us from our answer kept others from renewing */

    if (rc != NGX_ASTRO_PG_OK || now - asking->asked_ms > NGX_ASTRO_SLOW_MS) {
        ngx_astro_whereabouts_unsteady();
    }

    asking->handler(asking->data, rc == NGX_ASTRO_PG_OK, res);
    ngx_free(asking);
}


ngx_uint_t
ngx_astro_whereabouts_steady(void)
{
    return ngx_astro_boot_ms() >= ngx_astro_unsteady_until;
}


int64_t
ngx_astro_epoch_ms(void)
{
    ngx_time_t  *tp;

    tp = ngx_timeofday();

    return (int64_t) tp->sec * 1000 + (int64_t) tp->msec;
}


int64_t
ngx_astro_common_ms(void)
{
    if (ngx_astro_timeline_of(0) == 0) {
        /* no lease so far */
        return ngx_astro_epoch_ms();
    }

    return ngx_astro_timeline_of(ngx_astro_life_ms());
}


/*
 * The lease's rows: a batch when the one before was stored.  A batch that was
 * refused goes again after a while; one whose connection broke is begun anew,
 * with all the others, when that is made again.
 */

void
ngx_astro_whereabouts_restore(void)
{
    if (ngx_astro_restore.timer.handler == NULL) {
        ngx_astro_event_init(&ngx_astro_restore.timer,
                             ngx_astro_whereabouts_again);
        ngx_astro_restore.timer.cancelable = 1;
    }

    ngx_astro_restore.after = 0;
    ngx_astro_restore.due = 1;

    if (!ngx_astro_restore.timer.timer_set) {
        ngx_astro_whereabouts_store();
    }
}


static void
ngx_astro_whereabouts_again(ngx_event_t *ev)
{
    ngx_astro_whereabouts_store();
}


static void
ngx_astro_whereabouts_store(void)
{
    char         gateway[NGX_INT64_LEN + 1];
    u_char      *p;
    uint64_t     ids[NGX_ASTRO_RESTORE];
    ngx_uint_t   i, n;
    const char  *values[3];
    u_char       buf[NGX_ASTRO_RESTORE * (NGX_INT64_LEN + 1) + 2];

    /* without a lease, or an answer, whoever brings it goes on */

    if (!ngx_astro_restore.due || ngx_astro_restore.calling
        || ngx_astro_gateway_id() == 0)
    {
        return;
    }

    n = ngx_astro_users_after(ngx_astro_restore.after, ids,
                              NGX_ASTRO_RESTORE);
    if (n == 0) {
        ngx_astro_restore.due = 0;
        return;
    }

    p = buf;

    for (i = 0; i < n; i++) {
        p = ngx_sprintf(p, "%c%uL", i ? ',' : '{', ids[i]);
    }

    *p++ = '}';
    *p = '\0';

    *ngx_sprintf((u_char *) gateway, "%uL", ngx_astro_gateway_id()) = '\0';

    values[0] = gateway;
    values[1] = (char *) buf;
    values[2] = "{}";

    if (ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_presence,
                          values, ngx_astro_whereabouts_stored, NULL)
        == NGX_OK)
    {
        ngx_astro_restore.calling = 1;
        ngx_astro_restore.after = ids[n - 1];
    }
}


static void
ngx_astro_whereabouts_stored(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    (void) data;
    (void) res;

    ngx_astro_restore.calling = 0;

    if (rc == NGX_ASTRO_PG_OK) {
        ngx_astro_whereabouts_store();
        return;
    }

    ngx_astro_restore.after = 0;

    if (rc == NGX_ASTRO_PG_ERROR) {
        ngx_add_timer(&ngx_astro_restore.timer, NGX_ASTRO_RESTORE_MS);
    }
}


void
ngx_astro_whereabouts_unsteady(void)
{
    ngx_astro_unsteady_until = ngx_astro_boot_ms()
                               + (int64_t) ngx_astro.conf->node_ttl;
}
