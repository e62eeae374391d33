
/*
 * Copyright (C) The Astro authors
 *
 * auth_expiring, and auth_refresh with the token to go on with: of the same
 * account in the same role, for everything that the connection holds was given
 * to these.
 */

#include "ngx_astro_barred.h"
#include "ngx_astro_keys.h"
#include "ngx_astro_outside.h"
#include "ngx_astro_reauth.h"
#include "ngx_astro_revoked.h"


#define NGX_ASTRO_REAUTH_WARN_S  60


void
ngx_astro_reauth_keep(ngx_astro_conn_t *conn, const astro_claims_t *claims)
{
    conn->token_iat = claims->iat;
    conn->token_exp_boot_s = claims->exp - ngx_time()
                             + ngx_astro_boot_ms() / 1000;
    conn->expiring = 0;

    ngx_astro_revoked_keep(conn, claims);
}


void
ngx_astro_reauth_warn(ngx_astro_conn_t *conn, int64_t now)
{
    u_char           *p;
    u_char            buf[96];
    ngx_astro_msg_t   m;

    if (conn->expiring || !conn->signed_in
        || now < conn->token_exp_boot_s - NGX_ASTRO_REAUTH_WARN_S)
    {
        return;
    }

    conn->expiring = 1;

    p = ngx_sprintf(buf, "{\"type\":\"auth_expiring\","
                    "\"payload\":{\"expires_in\":%L}}",
                    conn->token_exp_boot_s - now);

    ngx_astro_msg_init(&m);
    ngx_astro_msg_add(&m, buf, p - buf);
    ngx_astro_conn_send(conn, &m, 0);
}


int64_t
ngx_astro_reauth_next(ngx_astro_conn_t *conn)
{
    return conn->expiring || !conn->signed_in
           ? conn->token_exp_boot_s
           : conn->token_exp_boot_s - NGX_ASTRO_REAUTH_WARN_S;
}


void
ngx_astro_handle_auth_refresh(ngx_astro_req_t *req)
{
    u_char                     *p;
    u_char                      buf[64];
    ngx_int_t                   held;
    ngx_str_t                   token;
    astro_claims_t              claims;
    astro_jwt_rc_e              rc;
    const astro_json_member_t  *m;

    m = astro_json_get(&req->doc->payload, "token");

    if (m == NULL || m->kind != ASTRO_JSON_STRING) {
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_BAD_REQUEST,
                              "token is a string", "/payload/token");
        return;
    }

    token.data = (u_char *) m->raw + 1;
    token.len = m->raw_len - 2;

    ngx_memzero(&claims, sizeof(astro_claims_t));
    held = ngx_astro_outside_hold(req, &token, &rc);

    if (held == NGX_AGAIN) {
        return;
    }

    if (held == NGX_OK) {
        rc = ngx_astro_token_verify(&token, &claims);
    }

    if (rc != ASTRO_JWT_OK || ngx_astro_revoked(&claims)
        || ngx_astro_barred(claims.user, claims.iat))
    {
        ngx_astro_count(AUTH_FAILED);
        ngx_astro_reply_error(req->conn, req->id,
                              rc == ASTRO_JWT_EXPIRED
                                  ? NGX_ASTRO_E_TOKEN_EXPIRED
                                  : NGX_ASTRO_E_UNAUTHORIZED,
                              "no valid token", "/payload/token");
        return;
    }

    if (claims.user != req->conn->user || claims.role != req->conn->role) {
        ngx_astro_count(DENIED);
        ngx_astro_reply_error(req->conn, req->id, NGX_ASTRO_E_FORBIDDEN,
                              "a token of somebody else", "/payload/token");
        return;
    }

    ngx_astro_reauth_keep(req->conn, &claims);
    ngx_astro_conn_beat(req->conn);

    p = ngx_sprintf(buf, "{\"token_exp\":%L}", claims.exp);
    ngx_astro_reply(req->conn, req->id, buf, p - buf);
}
