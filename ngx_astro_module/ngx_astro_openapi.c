
/*
 * Copyright (C) The Astro authors
 *
 * GET /api/openapi.json: a file, read with the configuration.
 */

#include "ngx_astro_api.h"


#define NGX_ASTRO_OPENAPI_MAX  (4 * 1024 * 1024)


ngx_int_t
ngx_astro_openapi_read(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    if (conf->openapi_file.len == 0) {
        return NGX_OK;
    }

    if (ngx_conf_full_name(cf->cycle, &conf->openapi_file, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(conf->openapi_file.data, NGX_FILE_RDONLY,
                       NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of \"astro_openapi\" "
                           "failed", &conf->openapi_file);
        return NGX_ERROR;
    }

    n = -1;

    if (ngx_fd_info(fd, &fi) != NGX_FILE_ERROR
        && ngx_file_size(&fi) <= NGX_ASTRO_OPENAPI_MAX)
    {
        conf->openapi.data = ngx_pnalloc(cf->pool, ngx_file_size(&fi) + 1);

        if (conf->openapi.data) {
            n = ngx_read_fd(fd, conf->openapi.data, ngx_file_size(&fi));
        }
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed",
                           &conf->openapi_file);
    }

    if (n <= 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_openapi\" \"%V\" cannot be read, or is "
                           "empty, or larger than 4m", &conf->openapi_file);
        return NGX_ERROR;
    }

    conf->openapi.len = n;

    return NGX_OK;
}


ngx_int_t
ngx_astro_api_openapi(ngx_astro_api_ctx_t *ctx)
{
    ngx_str_t  *file;

    file = &ngx_astro.conf->openapi;

    if (file->len == 0) {
        return ngx_astro_api_problem(ctx, NGX_ASTRO_E_NOT_FOUND,
                                     "no such resource", NULL);
    }

    ctx->etag.data = ngx_pnalloc(ctx->r->pool, 8);

    if (ctx->etag.data) {
        ctx->etag.len = ngx_sprintf(ctx->etag.data, "%08xD",
                                    ngx_crc32_long(file->data, file->len))
                        - ctx->etag.data;
    }

    return ngx_astro_api_send(ctx, NGX_HTTP_OK, file->data, file->len);
}
