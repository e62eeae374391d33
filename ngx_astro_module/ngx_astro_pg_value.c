
/*
 * Copyright (C) The Astro authors
 *
 * Reading results and writing parameters, all in text format.
 */

#include "ngx_astro_pg.h"


static const char *ngx_astro_pg_text(PGresult *res, int field);


ngx_uint_t
ngx_astro_pg_gave_up(const char *sqlstate)
{
    return ngx_strncmp(sqlstate, "40", 2) == 0
           || ngx_strncmp(sqlstate, "53", 2) == 0
           || ngx_strcmp(sqlstate, "55P03") == 0
           || ngx_strcmp(sqlstate, "57014") == 0;
}


void
ngx_astro_pg_refusal(PGresult *res, ngx_astro_pg_refusal_t *refusal)
{
    const char  *code;

    code = ngx_astro_pg_text(res, PG_DIAG_MESSAGE_DETAIL);

    refusal->error = ngx_astro_error_parse((u_char *) code, ngx_strlen(code));
    refusal->message = ngx_astro_pg_text(res, PG_DIAG_MESSAGE_PRIMARY);
    refusal->field = ngx_astro_pg_text(res, PG_DIAG_MESSAGE_HINT);

    if (refusal->field[0] == '\0') {
        refusal->field = NULL;
    }

    refusal->retry_s = strtoul(ngx_astro_pg_text(res, PG_DIAG_COLUMN_NAME),
                               NULL, 10);
}


static const char *
ngx_astro_pg_text(PGresult *res, int field)
{
    const char  *value;

    value = PQresultErrorField(res, field);

    return value ? value : "";
}


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
