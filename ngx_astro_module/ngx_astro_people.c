
/*
 * Copyright (C) The Astro authors
 *
 * Routes of people that are more than a row and a function: a password on its
 * way to the database is hashed in a thread first, and who watches an advisor
 * is told of a new status at once.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_presence.h"
#include "astro_password.h"


static void ngx_astro_api_hashed_done(ngx_astro_password_t *pw);
static void ngx_astro_api_status_after(ngx_astro_api_ctx_t *ctx);


/*
 * The body's password becomes ctx->hash, and stars in the body, which goes on
 * to the function with all that is in it.
 */

ngx_int_t
ngx_astro_api_hashed(ngx_astro_api_ctx_t *ctx)
{
    u_char                     *raw;
    ssize_t                     n;
    ngx_astro_password_t       *pw;
    const astro_json_member_t  *m;

    pw = ngx_pcalloc(ctx->r->pool, sizeof(ngx_astro_password_t));

    if (pw) {
        pw->password.data = ngx_pnalloc(ctx->r->pool, ASTRO_PASSWORD_MAX + 1);
    }

    if (pw == NULL || pw->password.data == NULL) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    m = astro_json_get(&ctx->doc.root, "password");
    n = astro_json_string(m, pw->password.data, ASTRO_PASSWORD_MAX);

    if (n < ASTRO_PASSWORD_MIN) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "password is a string of 8 to 256 bytes",
                                     "/password");
    }

    raw = (u_char *) m->raw;
    ngx_memset(raw + 1, '*', m->raw_len - 2);

    pw->r = ctx->r;
    pw->password.len = n;
    ctx->data = pw;
    ctx->r->main->count++;

    if (ngx_astro_password_post(pw, ngx_astro_api_hashed_done) != NGX_OK) {
        ctx->r->main->count--;
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_UNAVAILABLE,
                                     "too many at once, try again", NULL);
    }

    return NGX_DONE;
}


static void
ngx_astro_api_hashed_done(ngx_astro_password_t *pw)
{
    ngx_int_t             rc;
    ngx_astro_api_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(pw->r, ngx_astro_module);

    if (pw->rc != 0) {
        rc = ngx_astro_api_problem(ctx, NGX_ASTRO_E_INTERNAL,
                                   "internal error", NULL);
    } else {
        ctx->hash = pw->hash;
        rc = ngx_astro_api_generic(ctx);
    }

    /* the reference taken for the thread is given back after the call's own */

    ngx_astro_api_finish(ctx, rc);
}


ngx_int_t
ngx_astro_api_status(ngx_astro_api_ctx_t *ctx)
{
    ctx->after = ngx_astro_api_status_after;

    return ngx_astro_api_generic(ctx);
}


/* Lost with a client that does not wait: then each is read within 5 s. */

static void
ngx_astro_api_status_after(ngx_astro_api_ctx_t *ctx)
{
    ngx_astro_presence_wished(ctx->claims.user);
}
