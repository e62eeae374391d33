
/*
 * Copyright (C) The Astro authors
 *
 * The tables of routes joined, the statements made from their rows, and the
 * search of a path.
 */

#include "ngx_astro_api.h"
#include "ngx_astro_old.h"


#define NGX_ASTRO_STATEMENT_MAX  2048
#define NGX_ASTRO_NO_ID          ((uint64_t) -1)   /* the pattern has none */


static const ngx_astro_route_row_t *const  ngx_astro_routes_tables[] = {
    ngx_astro_routes_system,
    ngx_astro_routes_auth,
    ngx_astro_routes_people,
    ngx_astro_routes_consult,
    ngx_astro_routes_booking,
    ngx_astro_routes_chat,
    ngx_astro_routes_wallet,
    ngx_astro_routes_stats,
    ngx_astro_routes_back,
    ngx_astro_routes_admin,
    ngx_astro_routes_pay,
    ngx_astro_routes_payout,
    ngx_astro_routes_private
};

#define NGX_ASTRO_TABLES                                                      \
    (sizeof(ngx_astro_routes_tables) / sizeof(ngx_astro_routes_tables[0]))


static ngx_int_t ngx_astro_routes_alias(ngx_astro_endpoint_t *route,
    ngx_uint_t n, const ngx_astro_old_row_t *old);
static ngx_int_t ngx_astro_routes_statements(ngx_astro_endpoint_t *route,
    ngx_uint_t n);
static ngx_int_t ngx_astro_routes_group(ngx_astro_endpoint_t *route,
    ngx_uint_t n);
static ngx_int_t ngx_astro_routes_alone(ngx_astro_api_ctx_t *ctx,
    const char *const *values);
static const char *ngx_astro_routes_type(char param);
static void ngx_astro_routes_traced(u_char *buf, size_t size,
    const char *type, ngx_uint_t param, ngx_uint_t trace);
static char *ngx_astro_routes_text(u_char *text, u_char *end);
static ngx_int_t ngx_astro_routes_match(const ngx_str_t *pattern,
    ngx_str_t *path, uint64_t *ids);


static ngx_uint_t          ngx_astro_nroutes;
static ngx_astro_endpoint_t  *ngx_astro_routes;


ngx_int_t
ngx_astro_routes_init(void)
{
    ngx_uint_t                    i, n;
    const ngx_astro_old_row_t    *old;
    const ngx_astro_route_row_t  *row;

    n = 0;

    for (i = 0; i < NGX_ASTRO_TABLES; i++) {
        for (row = ngx_astro_routes_tables[i]; row->method; row++) {
            n++;
        }
    }

    for (old = ngx_astro_routes_old; old->method; old++) {
        n++;
    }

    /* and one that is none, behind the last */

    ngx_astro_routes = ngx_calloc((n + 1) * sizeof(ngx_astro_endpoint_t),
                                  ngx_astro.log);
    if (ngx_astro_routes == NULL) {
        return NGX_ERROR;
    }

    ngx_astro_nroutes = n;
    n = 0;

    for (i = 0; i < NGX_ASTRO_TABLES; i++) {
        for (row = ngx_astro_routes_tables[i]; row->method; row++, n++) {

            ngx_astro_routes[n].row = row;

            if ((row->handler == NULL || row->params[0])
                && ngx_astro_routes_statements(&ngx_astro_routes[n], n)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    for (old = ngx_astro_routes_old; old->method; old++, n++) {
        if (ngx_astro_routes_alias(&ngx_astro_routes[n], n, old) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* Another name of a route: its row, but for method, path and what is read. */

static ngx_int_t
ngx_astro_routes_alias(ngx_astro_endpoint_t *route, ngx_uint_t n,
    const ngx_astro_old_row_t *old)
{
    const ngx_str_t        *pattern;
    ngx_astro_endpoint_t   *ours;
    ngx_astro_route_row_t  *row;

    for (ours = ngx_astro_routes; ours->row && ours->old == NULL; ours++) {

        pattern = &ours->row->pattern;

        if (ours->row->method != old->our_method
            || pattern->len != old->ours.len
            || ngx_memcmp(pattern->data, old->ours.data, pattern->len) != 0)
        {
            continue;
        }

        row = ngx_alloc(sizeof(ngx_astro_route_row_t), ngx_astro.log);
        if (row == NULL) {
            return NGX_ERROR;
        }

        *row = *ours->row;
        row->method = old->method;
        row->pattern = old->pattern;

        if (ngx_astro_old_reads(old)) {
            row->body = NGX_ASTRO_BODY_JSON;
        }

        route->row = row;
        route->old = old;

        /* a statement of its own: one is prepared by where it lies */

        return ours->call.text ? ngx_astro_routes_statements(route, n)
                               : NGX_OK;
    }

    ngx_log_error(NGX_LOG_ALERT, ngx_astro.log, 0,
                  "astro: \"%V\" is another name of nothing", &old->pattern);

    return NGX_ERROR;
}


/*
 * From the table alone: nothing that a client sends becomes SQL.  The name has
 * the row's number, for two rows may call one function.
 */

static ngx_int_t
ngx_astro_routes_statements(ngx_astro_endpoint_t *route, ngx_uint_t n)
{
    u_char      *p, *last;
    u_char       args[256], first[512], text[NGX_ASTRO_STATEMENT_MAX];
    ngx_uint_t   i;

    p = args;
    last = args + sizeof(args) - 1;

    for (i = 0; route->row->params[i]; i++) {
        p = ngx_slprintf(p, last, "%s$%ui::%s", i ? ", " : "", i + 1,
                         ngx_astro_routes_type(route->row->params[i]));
    }

    *p = '\0';
    last = text + sizeof(text);

    /* with the request's trace, of what has a parameter at all */

    ngx_astro_routes_traced(first, sizeof(first),
                            ngx_astro_routes_type(route->row->params[0]),
                            1, i + 1);

    route->call.traced = (i > 0);
    route->call.nparams = i;
    route->call.name = ngx_astro_routes_text(text,
                           ngx_slprintf(text, last, "%s.%ui",
                                        route->row->function, n));
    route->call.text = ngx_astro_routes_text(text,
                           ngx_slprintf(text, last,
                                        "SELECT * FROM api.%s(%s%s)",
                                        route->row->function,
                                        i ? (char *) first : "",
                                        ngx_strchr(args, ',')
                                        ? ngx_strchr(args, ',') : ""));

    /*
     * A CASE evaluates one of its branches, and a subquery without references
     * to what is around it when it is first asked for: a function whose answer
     * is replayed is not called.  Its first columns may have other names, for
     * a parameter may be called body.  OFFSET 0 keeps the CASE from being
     * copied for each column.
     */

    ngx_astro_routes_traced(first, sizeof(first), "bigint", i + 1, i + 4);

    route->once.traced = 1;
    route->once.nparams = i + 3;
    route->once.name = ngx_astro_routes_text(text,
                           ngx_slprintf(text, last, "%s.%ui.once",
                                        route->row->function, n));
    route->once.text = ngx_astro_routes_text(text,
                           ngx_slprintf(text, last,
                                        "SELECT (x.r).* FROM (SELECT CASE"
                                        " WHEN (c.k).status IS NULL"
                                        " THEN api.once_keep($%ui, $%ui,"
                                        " (SELECT row_to_json(f)"
                                        " FROM api.%s(%s) f(status, body)))"
                                        " ELSE c.k END AS r"
                                        " FROM (SELECT api.once_claim("
                                        "%s, $%ui::text, $%ui::text)"
                                        " AS k OFFSET 0) c OFFSET 0) x",
                                        i + 1, i + 2, route->row->function,
                                        args, first, i + 2, i + 3));

    if (route->call.name == NULL || route->call.text == NULL
        || route->once.name == NULL || route->once.text == NULL)
    {
        return NGX_ERROR;
    }

    return route->row->handler == ngx_astro_api_grouped
           ? ngx_astro_routes_group(route, n) : NGX_OK;
}


static void
ngx_astro_routes_traced(u_char *buf, size_t size, const char *type,
    ngx_uint_t param, ngx_uint_t trace)
{
    *ngx_snprintf(buf, size - 1, ngx_astro_trace_sql("$%ui::%s", "$%ui"),
                  trace, trace, param, type) = '\0';
}


/* Of a read that may be grouped, each parameter becomes an array. */

static ngx_int_t
ngx_astro_routes_group(ngx_astro_endpoint_t *route, ngx_uint_t n)
{
    u_char      *p, *last;
    u_char       text[NGX_ASTRO_STATEMENT_MAX];
    ngx_uint_t   i;

    last = text + sizeof(text);

    route->many.nparams = route->call.nparams;
    route->many.name = ngx_astro_routes_text(text,
                           ngx_slprintf(text, last, "%s.%ui.group",
                                        route->row->function, n));

    p = ngx_slprintf(text, last, "SELECT * FROM api.%s_group(",
                     route->row->function);

    for (i = 0; route->row->params[i]; i++) {
        p = ngx_slprintf(p, last, "%s$%ui::%s[]", i ? ", " : "", i + 1,
                         ngx_astro_routes_type(route->row->params[i]));
    }

    route->many.text = ngx_astro_routes_text(text,
                                             ngx_slprintf(p, last, ")"));
    route->group = ngx_astro_group_create(&route->many,
                                          ngx_astro_routes_alone, NULL);

    return route->many.name && route->many.text && route->group
           ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_astro_routes_alone(ngx_astro_api_ctx_t *ctx, const char *const *values)
{
    return ngx_astro_api_generic(ctx);
}


static char *
ngx_astro_routes_text(u_char *text, u_char *end)
{
    u_char  *s;

    s = ngx_alloc(end - text + 1, ngx_astro.log);

    if (s) {
        *ngx_cpymem(s, text, end - text) = '\0';
    }

    return (char *) s;
}


static const char *
ngx_astro_routes_type(char param)
{
    switch (param) {

    case 'u':
    case 'p':
    case 'q':
    case 'i':
        return "bigint";

    case 'l':
        return "int";

    case 'b':
    case 'k':
    case 'Q':
        return "json";

    default: /* 'c', 'm', 'r', 's' */
        return "text";
    }
}


const ngx_astro_endpoint_t *
ngx_astro_routes_find(ngx_uint_t method, ngx_str_t *path, uint64_t *ids,
    ngx_uint_t *allowed)
{
    uint64_t                      found[2];
    ngx_uint_t                    i;
    const ngx_astro_endpoint_t   *route;
    const ngx_astro_route_row_t  *row;

    route = NULL;
    *allowed = 0;

    for (i = 0; i < ngx_astro_nroutes; i++) {

        row = ngx_astro_routes[i].row;

        found[0] = NGX_ASTRO_NO_ID;
        found[1] = NGX_ASTRO_NO_ID;

        if (ngx_astro_routes_match(&row->pattern, path, found) != NGX_OK) {
            continue;
        }

        if (row->method != method) {
            *allowed |= row->method;
            continue;
        }

        /* another may have as a word what is no id here */

        if (route == NULL || (found[0] && found[1])) {
            route = &ngx_astro_routes[i];
            ids[0] = (found[0] == NGX_ASTRO_NO_ID) ? 0 : found[0];
            ids[1] = (found[1] == NGX_ASTRO_NO_ID) ? 0 : found[1];
        }

        if (found[0] && found[1]) {
            break;
        }
    }

    return route;
}


static ngx_int_t
ngx_astro_routes_match(const ngx_str_t *pattern, ngx_str_t *path,
    uint64_t *ids)
{
    u_char      *p, *plast, *u, *ulast, *end;
    ngx_uint_t   n;

    n = 0;
    p = pattern->data;
    plast = p + pattern->len;
    u = path->data;
    ulast = u + path->len;

    while (p < plast) {

        if (*p != '{') {

            if (u == ulast || *u != *p) {
                return NGX_DECLINED;
            }

            p++;
            u++;
            continue;
        }

        end = u;

        while (end < ulast && *end != '/') {
            end++;
        }

        if (end == u) {
            return NGX_DECLINED;
        }

        /* what is no id names nothing: 0, which the handler finds missing */

        ids[n++] = astro_id_parse(p[1], u, end - u);

        u = end;
        p += 3;
    }

    return u == ulast ? NGX_OK : NGX_DECLINED;
}
