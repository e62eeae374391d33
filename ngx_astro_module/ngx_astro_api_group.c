
/*
 * Copyright (C) The Astro authors
 *
 * Requests that come at the same time are answered by one statement.  Most of
 * what a small read costs is the statement around it: on its way, its start,
 * its end; of a small write it is the commit.  That is paid once for all that a
 * worker has read from its sockets in one turn of the loop, and for those that
 * came while the statement before was under way, without a timer.  So groups
 * are of one when there is little to do, and large when there is much.
 *
 * An answer is as fresh as that of a call of its own: the statement begins
 * after the request has come, and is committed before anybody is answered.
 * Each row says for which place of the group it is, and that is looked at
 * before anything is sent.
 *
 * A group that the database refuses is asked for one by one, so that only
 * whoever is at fault hears of it.
 *
 * What a group needs of a request is in the request's memory, and its cleanup
 * takes it out.
 */

#include "ngx_astro_api.h"


#define NGX_ASTRO_GROUP_MAX    256      /* requests of a statement */
#define NGX_ASTRO_GROUP_WAIT   4096     /* requests without a statement */

/* the same in octets of what is asked; a statement has one request at least */

#define NGX_ASTRO_GROUP_OCTETS  (1024 * 1024)
#define NGX_ASTRO_WAIT_OCTETS   (32 * 1024 * 1024)


typedef struct ngx_astro_member_s  ngx_astro_member_t;

struct ngx_astro_member_s {
    ngx_queue_t                   link;     /* while it waits */
    ngx_astro_member_t          **place;    /* in the group; NULL: it waits */
    ngx_astro_group_t            *group;
    ngx_astro_api_ctx_t          *ctx;
    ngx_http_cleanup_t           *cleanup;
    size_t                        octets;   /* of values */
    const char                   *values[1];
};

struct ngx_astro_group_s {
    const ngx_astro_sql_t        *many;
    ngx_astro_group_alone_pt      alone;
    ngx_astro_group_done_pt       done;
    ngx_queue_t                   waiting;
    ngx_uint_t                    nwaiting;
    size_t                        octets;   /* of those that wait */
    ngx_event_t                   post;
    ngx_uint_t                    n;        /* 0: no statement under way */
    ngx_astro_member_t           *member[NGX_ASTRO_GROUP_MAX];
                                            /* of it; NULL: it has gone */
};


static ngx_int_t ngx_astro_group_wait(ngx_astro_group_t *group,
    ngx_astro_member_t *m);
static void ngx_astro_group_gone(void *data);
static void ngx_astro_group_send(ngx_event_t *ev);
static ngx_int_t ngx_astro_group_call(ngx_astro_group_t *group);
static void ngx_astro_group_done(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static ngx_uint_t ngx_astro_group_fits(ngx_astro_group_t *group,
    PGresult *res);


ngx_astro_group_t *
ngx_astro_group_create(const ngx_astro_sql_t *many,
    ngx_astro_group_alone_pt alone, ngx_astro_group_done_pt done)
{
    ngx_astro_group_t  *group;

    group = ngx_calloc(sizeof(ngx_astro_group_t), ngx_astro.log);

    if (group) {
        group->many = many;
        group->alone = alone;
        group->done = done;
        ngx_queue_init(&group->waiting);
        ngx_astro_event_init(&group->post, ngx_astro_group_send);
    }

    return group;
}


ngx_int_t
ngx_astro_api_grouped(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t    rc;
    const char  *values[NGX_ASTRO_API_PARAMS];

    rc = ngx_astro_api_values(ctx, values);

    return rc == NGX_DECLINED
           ? ngx_astro_group_join(ctx->route->group, ctx, values) : rc;
}


ngx_int_t
ngx_astro_group_join(ngx_astro_group_t *group, ngx_astro_api_ctx_t *ctx,
    const char *const *values)
{
    int                  i, n;
    ngx_astro_member_t  *m;

    n = group->many->nparams;

    m = ngx_palloc(ctx->r->pool,
                   sizeof(ngx_astro_member_t) + n * sizeof(char *));
    if (m == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    m->place = NULL;
    m->group = group;
    m->ctx = ctx;
    m->octets = 0;

    for (i = 0; i < n; i++) {
        m->values[i] = values[i];
        m->octets += values[i] ? ngx_strlen(values[i]) : 0;
    }

    if (group->nwaiting >= NGX_ASTRO_GROUP_WAIT
        || group->octets + m->octets > NGX_ASTRO_WAIT_OCTETS)
    {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "too many at once, try again", NULL);
    }

    return ngx_astro_group_wait(group, m);
}


static ngx_int_t
ngx_astro_group_wait(ngx_astro_group_t *group, ngx_astro_member_t *m)
{
    m->cleanup = ngx_http_cleanup_add(m->ctx->r, 0);

    if (m->cleanup == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    m->cleanup->handler = ngx_astro_group_gone;
    m->cleanup->data = m;

    ngx_queue_insert_tail(&group->waiting, &m->link);
    group->nwaiting++;
    group->octets += m->octets;
    m->ctx->r->main->count++;

    /* what else this turn of the loop reads goes with it */

    if (group->n == 0 && !group->post.posted) {
        ngx_post_event(&group->post, &ngx_posted_events);
    }

    return NGX_DONE;
}


static void
ngx_astro_group_gone(void *data)
{
    ngx_astro_member_t  *m = data;

    if (m->place) {
        *m->place = NULL;
        return;
    }

    ngx_queue_remove(&m->link);
    m->group->nwaiting--;
    m->group->octets -= m->octets;
}


static void
ngx_astro_group_send(ngx_event_t *ev)
{
    size_t               octets;
    ngx_queue_t         *q;
    ngx_astro_group_t   *group;
    ngx_astro_member_t  *m;

    group = ngx_astro_of(ev, ngx_astro_group_t, post);

    if (group->n || group->nwaiting == 0) {
        return;
    }

    octets = 0;

    while (group->n < NGX_ASTRO_GROUP_MAX && group->nwaiting) {
        q = ngx_queue_head(&group->waiting);
        m = ngx_queue_data(q, ngx_astro_member_t, link);
        octets += m->octets;

        if (group->n && octets > NGX_ASTRO_GROUP_OCTETS) {
            break;
        }

        ngx_queue_remove(q);
        group->nwaiting--;
        group->octets -= m->octets;

        m->place = &group->member[group->n];
        group->member[group->n++] = m;
    }

    if (ngx_astro_group_call(group) != NGX_OK) {
        ngx_astro_group_done(group, NGX_ASTRO_PG_LOST, NULL);
    }
}


/* Each parameter of all becomes an array of texts. */

static ngx_int_t
ngx_astro_group_call(ngx_astro_group_t *group)
{
    int                     i;
    u_char                 *p, *buf;
    size_t                  size;
    ngx_int_t               rc;
    ngx_uint_t              j;
    const char             *value;
    const char             *values[NGX_ASTRO_API_PARAMS];
    const ngx_astro_sql_t  *many;

    many = group->many;
    size = many->nparams * 2;

    for (i = 0; i < many->nparams; i++) {
        for (j = 0; j < group->n; j++) {
            value = group->member[j]->values[i];
            size += value ? ngx_strlen(value) * 2 + 4 : sizeof(",NULL");
        }
    }

    buf = ngx_alloc(size, ngx_astro.log);

    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = buf;

    for (i = 0; i < many->nparams; i++) {
        values[i] = (char *) p;

        for (j = 0; j < group->n; j++) {
            value = group->member[j]->values[i];

            if (value) {
                p = ngx_astro_pg_array_text(p, j == 0, (u_char *) value,
                                            ngx_strlen(value));
                continue;
            }

            *p++ = j ? ',' : '{';
            p = ngx_cpymem(p, "NULL", 4);
        }

        *p++ = '}';
        *p++ = '\0';
    }

    rc = ngx_astro_pg_call(ngx_astro.pg_api, many, values,
                           ngx_astro_group_done, group);
    ngx_free(buf);

    return rc;
}


static void
ngx_astro_group_done(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_group_t  *group = data;

    ngx_int_t             status;
    ngx_uint_t            i, alone;
    ngx_astro_member_t   *m;
    ngx_astro_api_ctx_t  *ctx;

    ngx_astro_observe(GROUP_SIZE, group->n);

    alone = rc != NGX_ASTRO_PG_LOST
            && (rc != NGX_ASTRO_PG_OK || !ngx_astro_group_fits(group, res));

    if (group->done && !alone) {
        group->done(res, group->n);
    }

    for (i = 0; i < group->n; i++) {

        m = group->member[i];

        if (m == NULL) {
            continue;
        }

        ctx = m->ctx;
        m->cleanup->handler = NULL;

        if (alone) {
            status = group->alone(ctx, m->values);

        } else if (rc == NGX_ASTRO_PG_OK) {
            status = ngx_astro_api_row(ctx, res, i);

        } else {
            status = ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                           "the database is away, try again",
                                           NULL);
        }

        /* this may end others: their places are NULL then */

        ngx_astro_api_finish(ctx, status);
    }

    group->n = 0;

    /* those who were answered may ask again: with what the next turn reads */

    if (group->nwaiting && !group->post.posted) {
        ngx_post_event(&group->post, &ngx_posted_next_events);
    }
}


/* Is there a row for each member, in the place where it is? */

static ngx_uint_t
ngx_astro_group_fits(ngx_astro_group_t *group, PGresult *res)
{
    int         column;
    ngx_uint_t  i;

    column = PQnfields(res) - 1;

    if ((ngx_uint_t) PQntuples(res) != group->n || column < 2) {
        return 0;
    }

    for (i = 0; i < group->n; i++) {
        if (ngx_astro_pg_int(res, i, column) != (int64_t) i + 1) {
            return 0;
        }
    }

    return 1;
}
