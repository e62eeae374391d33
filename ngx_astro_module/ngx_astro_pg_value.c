
/*
 * Copyright (C) The Astro authors
 *
 * Reading results and writing parameters, all in text format.
 */

#include "ngx_astro_pg.h"


int64_t
ngx_astro_pg_int(PGresult *res, int row, int column)
{
    return strtoll(PQgetvalue(res, row, column), NULL, 10);
}


ngx_str_t
ngx_astro_pg_str(PGresult *res, int row, int column)
{
    ngx_str_t  s;

    s.data = (u_char *) PQgetvalue(res, row, column);
    s.len = PQgetlength(res, row, column);

    return s;
}


ngx_uint_t
ngx_astro_pg_bool(PGresult *res, int row, int column)
{
    return PQgetvalue(res, row, column)[0] == 't';
}


u_char *
ngx_astro_pg_array_text(u_char *p, ngx_uint_t first, const u_char *s,
    size_t len)
{
    *p++ = first ? '{' : ',';
    *p++ = '"';

    while (len--) {
        if (*s == '"' || *s == '\\') {
            *p++ = '\\';
        }

        *p++ = *s++;
    }

    *p++ = '"';

    return p;
}
