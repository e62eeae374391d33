
/*
 * Copyright (C) The Astro authors
 *
 * A handful of entries, looked through one by one.
 */

#include "ngx_astro_told.h"


static ngx_astro_told_t *ngx_astro_told_add(ngx_astro_conn_t *conn,
    uint64_t session, uint64_t conv);


ngx_astro_told_t *
ngx_astro_told_find(ngx_astro_conn_t *conn, uint64_t session)
{
    ngx_uint_t  i;

    for (i = 0; i < conn->ntold; i++) {
        if (conn->told[i].session == session) {
            return &conn->told[i];
        }
    }

    return NULL;
}


/* In the place of one that is over, or else of the oldest. */

static ngx_astro_told_t *
ngx_astro_told_add(ngx_astro_conn_t *conn, uint64_t session, uint64_t conv)
{
    ngx_uint_t         i, n;
    ngx_astro_told_t  *t;

    if (conn->told == NULL) {
        conn->told = ngx_alloc(NGX_ASTRO_TOLD_MAX * sizeof(ngx_astro_told_t),
                               ngx_astro.log);
        if (conn->told == NULL) {
            return NULL;
        }
    }

    if (conn->ntold == NGX_ASTRO_TOLD_MAX) {

        for (n = 0; n < NGX_ASTRO_TOLD_MAX - 1; n++) {
            if (conn->told[n].done) {
                break;
            }
        }

        if (!conn->told[n].done) {
            n = 0;
        }

        for (i = n; i + 1 < NGX_ASTRO_TOLD_MAX; i++) {
            conn->told[i] = conn->told[i + 1];
        }

        conn->ntold--;
    }

    t = &conn->told[conn->ntold++];

    ngx_memzero(t, sizeof(ngx_astro_told_t));
    t->session = session;
    t->conv = conv;
    t->ver = -1;

    return t;
}


ngx_int_t
ngx_astro_told_news(ngx_astro_conn_t *conn, uint64_t session, uint64_t conv,
    ngx_int_t ver, astro_session_state_e state)
{
    ngx_astro_told_t  *t;

    t = ngx_astro_told_find(conn, session);

    if (t == NULL) {

        if (state == ASTRO_SESSION_ENDED) {
            return NGX_DECLINED;
        }

        t = ngx_astro_told_add(conn, session, conv);

        if (t == NULL) {
            return NGX_OK;
        }
    }

    if (ver <= t->ver) {
        return NGX_DECLINED;
    }

    t->ver = ver;
    t->ended = state == ASTRO_SESSION_ENDED;

    return NGX_OK;
}


void
ngx_astro_told_hello(ngx_astro_conn_t *conn, uint64_t session, ngx_int_t ver,
    const ngx_str_t *snapshot)
{
    uint64_t                    conv;
    astro_json_doc_t            doc;
    const astro_json_member_t  *m;

    if (astro_json_parse(ngx_astro.json, snapshot->data, snapshot->len, &doc)
        != 0)
    {
        return;
    }

    m = astro_json_get(&doc.root, "conv");

    conv = m && m->kind == ASTRO_JSON_STRING
           ? astro_id_parse('c', m->raw + 1, m->raw_len - 2) : 0;

    if (conv) {
        (void) ngx_astro_told_news(conn, session, conv, ver,
                                   ASTRO_SESSION_NONE);
    }
}


void
ngx_astro_told_done(ngx_astro_conn_t *conn, uint64_t session)
{
    ngx_astro_told_t  *t;

    t = ngx_astro_told_find(conn, session);

    if (t && t->ended) {
        t->done = 1;
    }
}


void
ngx_astro_told_free(ngx_astro_conn_t *conn)
{
    if (conn->told) {
        ngx_free(conn->told);
        conn->told = NULL;
        conn->ntold = 0;
    }
}
