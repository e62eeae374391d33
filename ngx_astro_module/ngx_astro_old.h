
/*
 * Copyright (C) The Astro authors
 *
 * Paths of the platforms that we replace: other names of routes of ours.  A
 * row of ngx_astro_routes_old.c adds one.
 */

#ifndef _NGX_ASTRO_OLD_H_INCLUDED_
#define _NGX_ASTRO_OLD_H_INCLUDED_


#include "ngx_astro_api.h"


/*
 * A member of the body, or a parameter of the query, that we call otherwise.
 * Of several that come to the same name the first in the body counts, and
 * ours before them all.
 *
 *     from        to         words
 *     "type"      "service"  "voice=audio .."  other values stay as they are
 *     NULL        "service"  "audio"           if nothing else gave it
 *     NULL        "cid"      "new"             the same, and a new UUID
 *     "callId"    "{s}"      NULL              the first id in our path
 *     "callId"    "{c}"      "session"         the conversation of a session
 */
struct ngx_astro_old_name_s {
    const char                  *from;
    const char                  *to;
    const char                  *words;
};

struct ngx_astro_old_row_s {
    ngx_uint_t                   method;
    ngx_str_t                    pattern;
    const char                  *when;      /* "status=accepted"; or NULL */
    ngx_uint_t                   our_method;
    ngx_str_t                    ours;      /* the pattern of our route */
    const ngx_astro_old_name_t  *names;     /* NULL: nothing differs */
};

/* Ends with a row of method 0. */
extern const ngx_astro_old_row_t  ngx_astro_routes_old[];


/* Whether the body has something that our route has in its path. */
ngx_uint_t ngx_astro_old_reads(const ngx_astro_old_row_t *old);

/*
 * The body, which was parsed, becomes one of ours; then the row's handler is
 * called.
 */
ngx_int_t ngx_astro_old_body(ngx_astro_api_ctx_t *ctx);

/* Our name of a parameter of the query. */
void ngx_astro_old_param(ngx_astro_api_ctx_t *ctx, ngx_str_t *name);

/* The name that the client knows a field by, of a JSON pointer of ours. */
const char *ngx_astro_old_field(ngx_astro_api_ctx_t *ctx, const char *field);


#endif /* _NGX_ASTRO_OLD_H_INCLUDED_ */
