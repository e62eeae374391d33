
/*
 * Copyright (C) The Astro authors
 *
 * Bodies and queries of paths of old get the names that we have for what is in
 * them.  From there on nobody knows by which path a request came, but for the
 * pointer of a refusal, which gets its old name back.
 */

#include "ngx_astro_old.h"

#include <openssl/rand.h>


#define NGX_ASTRO_OLD_GROWS  80         /* a member, by its new name or value */
#define NGX_ASTRO_OLD_SET    4          /* members that are set, at most */


static const ngx_astro_endpoint_t *ngx_astro_old_choose(
    ngx_astro_api_ctx_t *ctx, const char **field);
static ngx_uint_t ngx_astro_old_is(const astro_json_member_t *m,
    const char *value, size_t len);
static ngx_int_t ngx_astro_old_id(ngx_astro_api_ctx_t *ctx,
    const char **field);
static ngx_int_t ngx_astro_old_rename(ngx_astro_api_ctx_t *ctx);
static const ngx_astro_old_name_t *ngx_astro_old_name(
    ngx_astro_api_ctx_t *ctx, const astro_json_member_t *m);
static ngx_uint_t ngx_astro_old_given(ngx_astro_api_ctx_t *ctx,
    const char *to);
static u_char *ngx_astro_old_value(u_char *p, const char *words,
    const astro_json_member_t *m);
static u_char *ngx_astro_old_set(u_char *p, const ngx_astro_old_name_t *n);
static void ngx_astro_old_found(void *data, ngx_astro_pg_rc_e rc,
    PGresult *res);
static const char *ngx_astro_old_pointer(ngx_astro_api_ctx_t *ctx,
    const char *name, size_t len);


ngx_uint_t
ngx_astro_old_reads(const ngx_astro_old_row_t *old)
{
    const ngx_astro_old_name_t  *n;

    for (n = old->names; n && n->to; n++) {
        if (n->to[0] == '{') {
            return 1;
        }
    }

    return old->when != NULL;
}


ngx_int_t
ngx_astro_old_body(ngx_astro_api_ctx_t *ctx)
{
    ngx_int_t                    rc;
    const char                  *field;
    const char                  *values[2];
    u_char                       user[NGX_INT64_LEN + 1];
    u_char                       session[NGX_INT64_LEN + 1];
    const ngx_astro_endpoint_t  *route;

    field = NULL;
    route = ngx_astro_old_choose(ctx, &field);

    if (route == NULL) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                     "no value that we know", field);
    }

    ctx->route = route;
    ctx->row = route->row;
    rc = NGX_OK;

    if (route->old->names) {

        rc = ngx_astro_old_id(ctx, &field);

        if (rc == NGX_DECLINED) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         "an id is missing", field);
        }

        if (ngx_astro_old_rename(ctx) != NGX_OK) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }

        if (ctx->doc.error) {
            return ngx_astro_api_problem(ctx, NGX_ASTRO_E_BAD_REQUEST,
                                         ctx->doc.error, "");
        }
    }

    if (rc == NGX_AGAIN) {
        *ngx_sprintf(user, "%uL", ctx->claims.user) = '\0';
        *ngx_sprintf(session, "%uL", ctx->path_id[0]) = '\0';

        values[0] = (char *) user;
        values[1] = (char *) session;

        return ngx_astro_api_ask(ctx, &ngx_astro_sql_conversation_of, values,
                                 ngx_astro_old_found);
    }

    return ctx->row->handler ? ctx->row->handler(ctx)
                             : ngx_astro_api_generic(ctx);
}


/* Rows of one method and pattern follow each other. */

static const ngx_astro_endpoint_t *
ngx_astro_old_choose(ngx_astro_api_ctx_t *ctx, const char **field)
{
    const char                   *eq;
    const ngx_astro_old_row_t    *old;
    const astro_json_member_t    *m;
    const ngx_astro_endpoint_t   *e;

    for (e = ctx->route; e->old; e++) {

        old = e->old;

        if (old->method != ctx->row->method
            || old->pattern.len != ctx->row->pattern.len
            || ngx_memcmp(old->pattern.data, ctx->row->pattern.data,
                          old->pattern.len)
               != 0)
        {
            break;
        }

        if (old->when == NULL) {
            return e;
        }

        eq = ngx_strchr(old->when, '=');
        m = astro_json_find(&ctx->doc.root, (u_char *) old->when,
                            eq - old->when);

        if (m && ngx_astro_old_is(m, eq + 1, ngx_strlen(eq + 1))) {
            return e;
        }

        *field = ngx_astro_old_pointer(ctx, old->when, eq - old->when);
    }

    return NULL;
}


/* A string without escapes, true or false. */

static ngx_uint_t
ngx_astro_old_is(const astro_json_member_t *m, const char *value, size_t len)
{
    size_t          raw_len;
    const uint8_t  *raw;

    raw = m->raw;
    raw_len = m->raw_len;

    if (m->kind == ASTRO_JSON_STRING) {
        raw++;
        raw_len -= 2;

    } else if (m->kind != ASTRO_JSON_BOOL) {
        return 0;
    }

    return raw_len == len && ngx_memcmp(raw, value, len) == 0;
}


/*
 * What our route has in its path: NGX_OK if it is there, or nothing is asked
 * for; NGX_AGAIN: it is a session, whose conversation is meant; NGX_DECLINED:
 * it is missing.  What is no id is 0, which names nothing.
 */

static ngx_int_t
ngx_astro_old_id(ngx_astro_api_ctx_t *ctx, const char **field)
{
    const astro_json_member_t   *m;
    const ngx_astro_old_name_t  *n, *first;

    first = NULL;

    for (n = ctx->route->old->names; n->to; n++) {

        if (n->to[0] != '{') {
            continue;
        }

        m = astro_json_get(&ctx->doc.root, n->from);

        if (m == NULL) {
            first = first ? first : n;
            continue;
        }

        if (m->kind == ASTRO_JSON_STRING) {
            ctx->path_id[0] = astro_id_parse(n->words ? 's' : n->to[1],
                                             m->raw + 1, m->raw_len - 2);
        }

        return n->words && ctx->path_id[0] ? NGX_AGAIN : NGX_OK;
    }

    if (first == NULL) {
        return NGX_OK;
    }

    *field = ngx_astro_old_pointer(ctx, first->from, ngx_strlen(first->from));

    return NGX_DECLINED;
}


/* The body anew, into ctx->body and ctx->doc; doc.error: too many members. */

static ngx_int_t
ngx_astro_old_rename(ngx_astro_api_ctx_t *ctx)
{
    size_t                       i;
    u_char                      *p, *buf;
    const astro_json_member_t   *m;
    const ngx_astro_old_name_t  *n;

    buf = ngx_pnalloc(ctx->r->pool, ctx->body.len + 3
                      + (ctx->doc.root.n + NGX_ASTRO_OLD_SET)
                        * NGX_ASTRO_OLD_GROWS);
    if (buf == NULL) {
        return NGX_ERROR;
    }

    p = buf;
    *p++ = '{';

    for (i = 0; i < ctx->doc.root.n; i++) {

        m = &ctx->doc.root.member[i];
        n = ngx_astro_old_name(ctx, m);

        if (n && (n->to[0] == '{' || ngx_astro_old_given(ctx, n->to))) {
            continue;
        }

        *p++ = '"';

        if (n) {
            ctx->old_used |= 1U << (n - ctx->route->old->names);
            p = ngx_cpymem(p, n->to, ngx_strlen(n->to));

        } else {
            p = ngx_cpymem(p, m->key, m->key_len);
        }

        *p++ = '"';
        *p++ = ':';
        p = ngx_astro_old_value(p, n ? n->words : NULL, m);
        *p++ = ',';
    }

    for (n = ctx->route->old->names; n->to; n++) {

        if (n->from || ngx_astro_old_given(ctx, n->to)
            || (ctx->once && ngx_strcmp(n->words, "new") == 0))
        {
            continue;
        }

        p = ngx_astro_old_set(p, n);

        if (p == NULL) {
            return NGX_ERROR;
        }

        *p++ = ',';
    }

    p -= (p[-1] == ',');
    *p++ = '}';
    *p = '\0';

    ctx->body.data = buf;
    ctx->body.len = p - buf;

    if (astro_json_parse(ngx_astro.json, buf, p - buf, &ctx->doc) == 0) {
        ctx->doc.error = NULL;
    }

    return NGX_OK;
}


static const ngx_astro_old_name_t *
ngx_astro_old_name(ngx_astro_api_ctx_t *ctx, const astro_json_member_t *m)
{
    const ngx_astro_old_name_t  *n;

    for (n = ctx->route->old->names; n->to; n++) {
        if (n->from && astro_json_get(&ctx->doc.root, n->from) == m) {
            return n;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_astro_old_given(ngx_astro_api_ctx_t *ctx, const char *to)
{
    const ngx_astro_old_name_t  *n, *names;

    names = ctx->route->old->names;

    for (n = names; n->to; n++) {
        if (ctx->old_used & 1U << (n - names) && ngx_strcmp(n->to, to) == 0) {
            return 1;
        }
    }

    return astro_json_get(&ctx->doc.root, to) != NULL;
}


static u_char *
ngx_astro_old_value(u_char *p, const char *words, const astro_json_member_t *m)
{
    size_t       len;
    const char  *eq;

    for ( /* void */ ; words && *words; words += len + (words[len] == ' ')) {

        len = strcspn(words, " ");
        eq = ngx_strchr(words, '=');

        if (ngx_astro_old_is(m, words, eq - words)) {
            *p++ = '"';
            p = ngx_cpymem(p, eq + 1, words + len - (eq + 1));
            *p++ = '"';

            return p;
        }
    }

    return ngx_cpymem(p, m->raw, m->raw_len);
}


static u_char *
ngx_astro_old_set(u_char *p, const ngx_astro_old_name_t *n)
{
    u_char  r[16];

    if (ngx_strcmp(n->words, "new") != 0) {
        return ngx_sprintf(p, "\"%s\":\"%s\"", n->to, n->words);
    }

    if (RAND_bytes(r, sizeof(r)) != 1) {
        return NULL;
    }

    r[6] = (r[6] & 0x0f) | 0x40;
    r[8] = (r[8] & 0x3f) | 0x80;

    return ngx_sprintf(p, "\"%s\":\"%02xd%02xd%02xd%02xd-%02xd%02xd-"
                       "%02xd%02xd-%02xd%02xd-%02xd%02xd%02xd%02xd%02xd%02xd\"",
                       n->to, r[0], r[1], r[2], r[3], r[4], r[5], r[6], r[7],
                       r[8], r[9], r[10], r[11], r[12], r[13], r[14], r[15]);
}


static void
ngx_astro_old_found(void *data, ngx_astro_pg_rc_e rc, PGresult *res)
{
    ngx_astro_api_ctx_t  *ctx = data;

    if (rc != NGX_ASTRO_PG_OK) {
        ngx_astro_api_answer(ctx, rc, res);
        return;
    }

    /* 0 names nothing */

    ctx->path_id[0] = PQntuples(res) == 1 ? ngx_astro_pg_int(res, 0, 0) : 0;

    ngx_astro_api_finish(ctx, ctx->row->handler ? ctx->row->handler(ctx)
                                                : ngx_astro_api_generic(ctx));
}


void
ngx_astro_old_param(ngx_astro_api_ctx_t *ctx, ngx_str_t *name)
{
    const ngx_astro_old_name_t  *n, *names;

    names = ctx->route->old->names;

    for (n = names; n && n->to; n++) {

        if (n->from && name->len == ngx_strlen(n->from)
            && ngx_memcmp(name->data, n->from, name->len) == 0)
        {
            ctx->old_used |= 1U << (n - names);
            name->data = (u_char *) n->to;
            name->len = ngx_strlen(n->to);
            return;
        }
    }
}


const char *
ngx_astro_old_field(ngx_astro_api_ctx_t *ctx, const char *field)
{
    size_t                       len;
    const ngx_astro_old_name_t  *n, *names, *found;

    names = ctx->route->old->names;
    found = NULL;

    if (names == NULL || field[0] != '/') {
        return field;
    }

    len = strcspn(field + 1, "/");

    for (n = names; n->to; n++) {

        if (n->from == NULL || ngx_strlen(n->to) != len
            || ngx_memcmp(n->to, field + 1, len) != 0)
        {
            continue;
        }

        if (ctx->old_used & 1U << (n - names)) {
            found = n;
            break;
        }

        found = found ? found : n;
    }

    /* not by its old name, but by ours */

    if (found == NULL || (!(ctx->old_used & 1U << (found - names))
                          && astro_json_get(&ctx->doc.root, found->to)))
    {
        return field;
    }

    return ngx_astro_old_pointer(ctx, found->from, ngx_strlen(found->from));
}


static const char *
ngx_astro_old_pointer(ngx_astro_api_ctx_t *ctx, const char *name, size_t len)
{
    u_char  *p;

    p = ngx_pnalloc(ctx->r->pool, len + 2);

    if (p == NULL) {
        return "";
    }

    p[0] = '/';
    *ngx_cpymem(p + 1, name, len) = '\0';

    return (char *) p;
}
