
/*
 * Copyright (C) The Astro authors
 *
 * To change keys: the new one is put first in the file, nginx is reloaded, and
 * the old one taken out when the last token of it has expired.  Workers of the
 * old configuration sign with the old key until they have left.
 */

#include "ngx_astro_keys.h"


static void ngx_astro_keys_cleanup(void *data);
static ngx_int_t ngx_astro_keys_secret(ngx_conf_t *cf,
    ngx_astro_conf_t *conf);
static ngx_int_t ngx_astro_keys_set(ngx_conf_t *cf, ngx_astro_conf_t *conf);


ngx_int_t
ngx_astro_keys_read(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    ngx_pool_cleanup_t  *cln;

    if (conf->secret_file.len == 0 && conf->keys_file.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_jwt_keys\" or \"astro_jwt_secret_file\" "
                           "is needed");
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    conf->keys = astro_keys_create();
    if (conf->keys == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_astro_keys_cleanup;
    cln->data = conf->keys;

    if (conf->keys_file.len && ngx_astro_keys_set(cf, conf) != NGX_OK) {
        return NGX_ERROR;
    }

    return conf->secret_file.len ? ngx_astro_keys_secret(cf, conf) : NGX_OK;
}


static void
ngx_astro_keys_cleanup(void *data)
{
    astro_keys_destroy(data);
}


static ngx_int_t
ngx_astro_keys_set(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    int                   rc;
    u_char               *buf;
    size_t                len;
    const char           *why;
    astro_json_parser_t  *parser;

    buf = ngx_alloc(ASTRO_KEYS_TEXT_MAX + 1, cf->log);
    parser = astro_json_parser_create();

    rc = -1;

    if (buf && parser
        && ngx_astro_keys_file(cf, "astro_jwt_keys", &conf->keys_file, buf,
                               ASTRO_KEYS_TEXT_MAX + 1, &len)
           == NGX_OK)
    {
        rc = astro_keys_read(conf->keys, parser, buf, len, ASTRO_KEYS_OWN,
                             &why);
        ngx_explicit_memzero(buf, len);

        if (rc != 0) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"astro_jwt_keys\" \"%V\": %s",
                               &conf->keys_file, why);
        }
    }

    if (parser) {
        astro_json_parser_destroy(parser);
    }

    if (buf) {
        ngx_free(buf);
    }

    return rc == 0 ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_astro_keys_secret(ngx_conf_t *cf, ngx_astro_conf_t *conf)
{
    size_t  n;
    u_char  buf[ASTRO_KEYS_MAX_SECRET + 2];

    if (ngx_astro_keys_file(cf, "astro_jwt_secret_file", &conf->secret_file,
                            buf, sizeof(buf), &n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    while (n > 0 && (buf[n - 1] == '\n' || buf[n - 1] == '\r')) {
        n--;
    }

    if (astro_keys_add_secret(conf->keys, buf, n) != 0) {
        ngx_explicit_memzero(buf, n);
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"astro_jwt_secret_file\" \"%V\" must hold from "
                           "%d to %d bytes, beside 15 other keys at most",
                           &conf->secret_file, ASTRO_KEYS_MIN_SECRET,
                           ASTRO_KEYS_MAX_SECRET);
        return NGX_ERROR;
    }

    ngx_explicit_memzero(buf, n);

    return NGX_OK;
}


ngx_int_t
ngx_astro_keys_file(ngx_conf_t *cf, const char *directive, ngx_str_t *name,
    u_char *buf, size_t size, size_t *len)
{
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_uint_t       mode;
    ngx_file_info_t  fi;

    if (ngx_conf_full_name(cf->cycle, name, 1) != NGX_OK) {
        return NGX_ERROR;
    }

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, ngx_errno,
                           ngx_open_file_n " \"%V\" of \"%s\" failed", name,
                           directive);
        return NGX_ERROR;
    }

    n = -1;

    if (ngx_fd_info(fd, &fi) != NGX_FILE_ERROR) {
        n = ngx_read_fd(fd, buf, size);
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR) {
        ngx_conf_log_error(NGX_LOG_ALERT, cf, ngx_errno,
                           ngx_close_file_n " \"%V\" failed", name);
    }

    if (n < 0 || n == (ssize_t) size) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, n < 0 ? ngx_errno : 0,
                           "\"%s\" \"%V\" cannot be read, or has more than "
                           "%uz bytes", directive, name, size - 1);
        return NGX_ERROR;
    }

    /* whoever reads it can be anyone */

    mode = ngx_file_access(&fi);

    if (mode & (S_IRWXO|S_IWGRP)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%s\" \"%V\" has mode 0%ui%ui%ui, others must "
                           "not get at it (0600, or 0640)", directive, name,
                           mode >> 6, mode >> 3 & 7, mode & 7);
        return NGX_ERROR;
    }

    *len = n;

    return NGX_OK;
}
