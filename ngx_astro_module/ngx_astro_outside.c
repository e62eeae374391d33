
/*
 * Copyright (C) The Astro authors
 *
 * What a token of another issuer says is not believed before its signature is
 * checked, but for who is to be asked for the key.  Whoever waits here keeps
 * nothing but a copy of the token.
 */

#include "ngx_astro_keys.h"
#include "ngx_astro_outside.h"
#include "ngx_astro_sql.h"

#include <openssl/sha.h>


#define NGX_ASTRO_ISSUER_NAME  256


struct ngx_astro_outside_s {
    ngx_queue_t            link;        /* of those who wait for keys */
    ngx_astro_issuer_t    *issuer;
    ngx_astro_outside_pt   handler;     /* NULL: forgotten */
    void                  *data;
    ngx_uint_t             gen;         /* of the keys it was verified with */
    ngx_uint_t             queued;
    astro_outside_t        who;
    ngx_str_t              token;       /* behind this */
};

/* A message that is handled anew. */
typedef struct {
    ngx_astro_conn_t      *conn;
    ngx_astro_outside_t   *w;           /* NULL: it was answered */
    ngx_astro_error_e      error;
    ngx_str_t              text;        /* behind this */
} ngx_astro_outside_msg_t;


static astro_jwt_rc_e ngx_astro_outside_verify(ngx_astro_outside_t *w);
static ngx_int_t ngx_astro_outside_owner(ngx_astro_outside_t *w);
static void ngx_astro_outside_owned(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static void ngx_astro_outside_keep(ngx_astro_outside_t *w, PGresult *res);
static void ngx_astro_outside_end(ngx_astro_outside_t *w,
    ngx_astro_error_e error);
static ngx_astro_error_e ngx_astro_outside_error(astro_jwt_rc_e rc);
static void ngx_astro_outside_again(void *data, ngx_astro_error_e error);


ngx_int_t
ngx_astro_outside_ask(const ngx_str_t *token, ngx_astro_outside_pt handler,
    void *data, ngx_astro_outside_t **out, ngx_astro_error_e *error)
{
    char                  name[NGX_ASTRO_ISSUER_NAME];
    ssize_t               n;
    ngx_int_t             rc;
    astro_jwt_rc_e        jwt;
    ngx_astro_issuer_t   *is;
    ngx_astro_outside_t  *w;

    if (ngx_astro.conf->issuers == NULL || token->len == 0
        || ngx_astro_token_known(token))
    {
        return NGX_DECLINED;
    }

    n = astro_jwt_issuer(ngx_astro.json, token->data, token->len, name,
                         sizeof(name));
    is = n < 0 ? NULL : ngx_astro_issuer_find(name, n);

    if (is == NULL) {
        return NGX_DECLINED;
    }

    w = ngx_calloc(sizeof(ngx_astro_outside_t) + token->len, ngx_astro.log);
    if (w == NULL) {
        *error = NGX_ASTRO_E_INTERNAL;
        return NGX_ERROR;
    }

    w->issuer = is;
    w->handler = handler;
    w->data = data;
    w->token.data = (u_char *) (w + 1);
    w->token.len = token->len;
    ngx_memcpy(w->token.data, token->data, token->len);

    jwt = ngx_astro_outside_verify(w);

    if (jwt == ASTRO_JWT_KEY) {

        /* a key that we have not, or not yet */

        rc = ngx_astro_issuer_fetch(is);

        if (rc == NGX_AGAIN) {
            w->queued = 1;
            ngx_queue_insert_tail(&is->waiting, &w->link);
            *out = w;
            return NGX_AGAIN;
        }

        *error = is->keys ? NGX_ASTRO_E_UNAUTHORIZED : NGX_ASTRO_E_UNAVAILABLE;
        ngx_free(w);

        return NGX_ERROR;
    }

    /* keys that were taken away are to be missed, too */

    ngx_astro_issuer_look(is);

    if (jwt != ASTRO_JWT_OK) {
        *error = ngx_astro_outside_error(jwt);
        ngx_free(w);
        return NGX_ERROR;
    }

    if (ngx_astro_outside_owner(w) != NGX_OK) {
        *error = NGX_ASTRO_E_UNAVAILABLE;
        ngx_free(w);
        return NGX_ERROR;
    }

    *out = w;

    return NGX_AGAIN;
}


void
ngx_astro_outside_forget(ngx_astro_outside_t *w)
{
    if (w->queued) {
        ngx_queue_remove(&w->link);
        ngx_free(w);
        return;
    }

    /* the database's answer comes, and frees it */

    w->handler = NULL;
}


static astro_jwt_rc_e
ngx_astro_outside_verify(ngx_astro_outside_t *w)
{
    if (w->issuer->keys == NULL) {
        return ASTRO_JWT_KEY;
    }

    w->gen = w->issuer->gen;

    return astro_jwt_verify_outside(ngx_astro.json, w->issuer->keys,
                                    (char *) w->issuer->name.data,
                                    w->issuer->audience, w->token.data,
                                    w->token.len, ngx_time(), &w->who);
}


static ngx_int_t
ngx_astro_outside_owner(ngx_astro_outside_t *w)
{
    const char  *values[4];

    values[0] = (char *) w->issuer->name.data;
    values[1] = w->who.sub;
    values[2] = w->who.email_verified ? w->who.email : "";
    values[3] = w->who.name;

    return ngx_astro_pg_call(ngx_astro.pg_api, &ngx_astro_sql_outside, values,
                             ngx_astro_outside_owned, w);
}


/* The row: status, body, account, role. */

static void
ngx_astro_outside_owned(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_outside_t  *w = data;

    ngx_astro_error_e  error;

    error = NGX_ASTRO_E_UNAVAILABLE;

    if (rc == NGX_ASTRO_PG_OK && PQntuples(res) == 1) {
        error = NGX_ASTRO_E_UNAUTHORIZED;

        if (ngx_astro_pg_int(res, 0, 0) == NGX_HTTP_OK) {
            error = NGX_ASTRO_E_MAX;
            ngx_astro_outside_keep(w, res);
        }
    }

    ngx_astro_outside_end(w, error);
}


static void
ngx_astro_outside_keep(ngx_astro_outside_t *w, PGresult *res)
{
    u_char          sum[SHA256_DIGEST_LENGTH];
    ngx_str_t       role;
    astro_claims_t  claims;

    ngx_memzero(&claims, sizeof(astro_claims_t));

    role = ngx_astro_pg_str(res, 0, 3);

    claims.user = ngx_astro_pg_int(res, 0, 2);
    claims.role = astro_role_parse(role.data, role.len);
    claims.iat = w->who.iat;
    claims.since = w->who.since;
    claims.exp = w->who.exp + ASTRO_JWT_LEEWAY_OUTSIDE;

    /* a name by which it can be revoked */

    (void) SHA256(w->token.data, w->token.len, sum);
    *ngx_hex_dump((u_char *) claims.jti, sum, ASTRO_JWT_JTI / 2) = '\0';

    if (claims.user && claims.role != ASTRO_ROLE_NONE) {
        ngx_astro_token_keep(&w->token, &claims, w->issuer, w->gen);
    }
}


static void
ngx_astro_outside_end(ngx_astro_outside_t *w, ngx_astro_error_e error)
{
    void                  *data;
    ngx_astro_outside_pt   handler;

    handler = w->handler;
    data = w->data;

    ngx_free(w);

    if (handler) {
        handler(data, error);
    }
}


void
ngx_astro_outside_fetched(ngx_astro_issuer_t *is)
{
    ngx_queue_t           q, *link;
    astro_jwt_rc_e        jwt;
    ngx_astro_outside_t  *w;

    /* a handler may bring others, who wait for the next fetch */

    if (ngx_queue_empty(&is->waiting)) {
        return;
    }

    ngx_queue_init(&q);
    ngx_queue_add(&q, &is->waiting);
    ngx_queue_init(&is->waiting);

    while (!ngx_queue_empty(&q)) {

        link = ngx_queue_head(&q);
        ngx_queue_remove(link);

        w = ngx_queue_data(link, ngx_astro_outside_t, link);
        w->queued = 0;

        jwt = ngx_astro_outside_verify(w);

        if (jwt != ASTRO_JWT_OK) {
            ngx_astro_outside_end(w, is->keys ? ngx_astro_outside_error(jwt)
                                              : NGX_ASTRO_E_UNAVAILABLE);

        } else if (ngx_astro_outside_owner(w) != NGX_OK) {
            ngx_astro_outside_end(w, NGX_ASTRO_E_UNAVAILABLE);
        }
    }
}


static ngx_astro_error_e
ngx_astro_outside_error(astro_jwt_rc_e rc)
{
    return rc == ASTRO_JWT_EXPIRED ? NGX_ASTRO_E_TOKEN_EXPIRED
                                   : NGX_ASTRO_E_UNAUTHORIZED;
}


/* messages */

ngx_int_t
ngx_astro_outside_hold(ngx_astro_req_t *req, const ngx_str_t *token,
    astro_jwt_rc_e *rc)
{
    ngx_int_t                 found;
    ngx_astro_conn_t         *conn;
    ngx_astro_error_e         error;
    ngx_astro_outside_msg_t  *m;

    conn = req->conn;
    m = conn->outside;

    if (m) {

        if (m->w) {
            /* one at a time */
            *rc = ASTRO_JWT_KEY;
            return NGX_ERROR;
        }

        /* this is the message that was held */

        error = m->error;
        *rc = error == NGX_ASTRO_E_TOKEN_EXPIRED ? ASTRO_JWT_EXPIRED
                                                 : ASTRO_JWT_KEY;

        return error == NGX_ASTRO_E_MAX ? NGX_OK : NGX_ERROR;
    }

    if (ngx_astro.conf->issuers == NULL) {
        return NGX_OK;
    }

    m = ngx_alloc(sizeof(ngx_astro_outside_msg_t) + req->text.len,
                  ngx_astro.log);
    if (m == NULL) {
        *rc = ASTRO_JWT_KEY;
        return NGX_ERROR;
    }

    m->conn = conn;
    m->w = NULL;
    m->text.data = (u_char *) (m + 1);
    m->text.len = req->text.len;
    ngx_memcpy(m->text.data, req->text.data, req->text.len);

    found = ngx_astro_outside_ask(token, ngx_astro_outside_again, m, &m->w,
                                  &error);

    if (found == NGX_AGAIN) {
        conn->outside = m;
        return NGX_AGAIN;
    }

    ngx_free(m);

    if (found == NGX_ERROR) {
        *rc = error == NGX_ASTRO_E_TOKEN_EXPIRED ? ASTRO_JWT_EXPIRED
                                                 : ASTRO_JWT_KEY;

        if (error == NGX_ASTRO_E_UNAVAILABLE) {
            ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "unavailable",
                               "resume", 1000);
            return NGX_AGAIN;
        }
    }

    return found == NGX_DECLINED ? NGX_OK : NGX_ERROR;
}


static void
ngx_astro_outside_again(void *data, ngx_astro_error_e error)
{
    ngx_astro_outside_msg_t  *m = data;

    ngx_astro_conn_t  *conn;

    conn = m->conn;
    m->w = NULL;
    m->error = error;

    ngx_astro_conn_ref(conn);

    if (!ngx_astro_conn_open(conn)) {
        /* told to go meanwhile */

    } else if (error == NGX_ASTRO_E_UNAVAILABLE) {
        ngx_astro_conn_bye(conn, NGX_ASTRO_CLOSE_INTERNAL, "unavailable",
                           "resume", 1000);

    } else {
        ngx_astro_protocol_message(conn, m->text.data, m->text.len);
    }

    if (conn->outside == m) {
        conn->outside = NULL;
        ngx_free(m);
    }

    ngx_astro_conn_unref(conn);
}


/*
 * While the message is handled anew m->w is NULL, and it is the caller's above
 * to free.
 */

void
ngx_astro_outside_close(ngx_astro_conn_t *conn)
{
    ngx_astro_outside_msg_t  *m;

    m = conn->outside;

    if (m && m->w) {
        ngx_astro_outside_forget(m->w);
        conn->outside = NULL;
        ngx_free(m);
    }
}
