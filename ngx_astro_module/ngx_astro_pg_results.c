
/*
 * Copyright (C) The Astro authors
 *
 * What comes back on a connection, and whose it is.
 */

#include "ngx_astro_pg_private.h"


static const char *ngx_astro_pg_field(PGresult *res, int field);
static void ngx_astro_pg_unprepare(ngx_astro_pg_t *pg,
    const ngx_astro_sql_t *sql);


/*
 * Each of a call's one or two results ends with a NULL; a Sync's result comes
 * alone.  A NULL where a result was due means nothing more has arrived.
 */

ngx_int_t
ngx_astro_pg_results(ngx_astro_pg_t *pg)
{
    PGconn             *conn;
    PGresult           *res;
    ExecStatusType      status;
    ngx_astro_pg_op_t  *op;

    conn = pg->conn;

    while (!ngx_queue_empty(&pg->sent)) {

        if (PQisBusy(conn)) {
            return NGX_OK;
        }

        op = ngx_queue_data(ngx_queue_head(&pg->sent), ngx_astro_pg_op_t,
                            queue);

        res = PQgetResult(conn);

        if (res == NULL) {
            if (op->pending > 0) {
                op->pending--;
                continue;
            }

            return PQstatus(conn) == CONNECTION_OK ? NGX_OK : NGX_ERROR;
        }

        status = PQresultStatus(res);

        if (status == PGRES_PIPELINE_SYNC) {
            PQclear(res);
            ngx_queue_remove(&op->queue);
            pg->nsent--;
            ngx_astro_pg_uncount(pg->use, in_flight);

            if (pg->timeout.timer_set) {
                ngx_del_timer(&pg->timeout);
            }

            ngx_astro_pg_arm(pg);
            ngx_astro_pg_finish(pg->use, op,
                                op->refused ? NGX_ASTRO_PG_REFUSED
                                : op->busy ? NGX_ASTRO_PG_BUSY
                                : op->failed || op->res == NULL
                                ? NGX_ASTRO_PG_ERROR : NGX_ASTRO_PG_OK);

            if (pg->changed && ngx_astro_pg_idle(pg)) {
                pg->changed(pg);
            }

            if (pg->state != ngx_astro_pg_up || pg->conn != conn) {
                return NGX_OK;
            }

            continue;
        }

        if (status == PGRES_TUPLES_OK) {
            PQclear(op->res);
            op->res = res;
            continue;
        }

        if (status == PGRES_COMMAND_OK) {
            op->parsing = 0;

        } else {
            op->failed = 1;

            if (ngx_strcmp(ngx_astro_pg_field(res, PG_DIAG_SQLSTATE), "AS400")
                == 0)
            {
                op->refused = 1;
                PQclear(op->res);
                op->res = res;
                continue;
            }

            if (status != PGRES_PIPELINE_ABORTED) {

                op->busy = ngx_astro_pg_gave_up(
                               ngx_astro_pg_field(res, PG_DIAG_SQLSTATE));

                /* not the context: it would quote what people wrote */

                ngx_log_error(NGX_LOG_ERR, ngx_astro.log, 0,
                              "astro: api.%s failed: %s %s, request: %s",
                              op->sql->name,
                              ngx_astro_pg_field(res, PG_DIAG_SQLSTATE),
                              ngx_astro_pg_field(res,
                                                 PG_DIAG_MESSAGE_PRIMARY),
                              op->values[op->sql->nparams]
                              ? op->values[op->sql->nparams] : "-");
            }

            if (op->parsing) {
                ngx_astro_pg_unprepare(pg, op->sql);
            }

            if (PQstatus(conn) != CONNECTION_OK) {
                PQclear(res);
                return NGX_ERROR;
            }
        }

        PQclear(res);
    }

    /* the server may speak unasked: a notice, or its farewell */

    if (PQstatus(conn) != CONNECTION_OK) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


static const char *
ngx_astro_pg_field(PGresult *res, int field)
{
    const char  *value;

    value = PQresultErrorField(res, field);

    return value ? value : "-";
}


/* A Parse that failed must be sent again with the next call. */

static void
ngx_astro_pg_unprepare(ngx_astro_pg_t *pg, const ngx_astro_sql_t *sql)
{
    ngx_uint_t  i;

    for (i = 0; i < pg->nprepared; i++) {
        if (pg->prepared[i] == sql) {
            pg->prepared[i] = pg->prepared[--pg->nprepared];
            return;
        }
    }
}


void
ngx_astro_pg_finish(const ngx_astro_pg_use_t *use, ngx_astro_pg_op_t *op,
    ngx_astro_pg_rc_e rc)
{
    if (rc >= NGX_ASTRO_PG_ERROR) {
        ngx_astro_pg_count(use, failed);
    }

    ngx_astro_histogram(ngx_astro.counters, use->time,
                        ngx_astro_boot_us() - op->called_us);

    op->handler(op->data, rc, rc == NGX_ASTRO_PG_OK
                              || rc == NGX_ASTRO_PG_REFUSED ? op->res : NULL);

    PQclear(op->res);
    ngx_free(op);
}
