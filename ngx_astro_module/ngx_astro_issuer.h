
/*
 * Copyright (C) The Astro authors
 *
 * Issuers of tokens that are not ours, and their keys: from a file, or fetched
 * from a location of this nginx, whose proxy and cache do the rest.
 */

#ifndef _NGX_ASTRO_ISSUER_H_INCLUDED_
#define _NGX_ASTRO_ISSUER_H_INCLUDED_


#include "ngx_astro.h"


typedef struct ngx_astro_issuer_s  ngx_astro_issuer_t;

struct ngx_astro_issuer_s {
    ngx_str_t            name;          /* "iss"; NUL-terminated */
    char                *audience;      /* NULL: tokens for nobody named */
    ngx_str_t            file;
    ngx_addr_t          *addr;          /* NULL: keys are in the file */
    ngx_str_t            host;
    ngx_str_t            uri;
    ngx_msec_t           refresh;

    /* each worker's own */
    astro_keys_t        *keys;          /* NULL: there were none yet */
    ngx_uint_t           gen;           /* of keys: tokens of others are out */
    u_char               sum[32];       /* of the text they were read from */
    int64_t              tried_ms;      /* boot clock; 0: never */
    ngx_connection_t    *c;             /* being fetched */
    ngx_event_t          timer;
    u_char              *buf;
    size_t               len;
    ngx_queue_t          waiting;       /* of outside.c */
};


/* astro_issuer iss [audience=aud] keys=path|fetch=url [refresh=time] */
char *ngx_astro_issuer_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

ngx_astro_issuer_t *ngx_astro_issuer_find(const char *name, size_t len);

/* Keys that are older than "refresh" are fetched, and nobody waits. */
void ngx_astro_issuer_look(ngx_astro_issuer_t *is);

/*
 * NGX_AGAIN: they are being fetched, ngx_astro_outside_fetched() will be
 * called; NGX_DECLINED: they were a moment ago, or come from a file.
 */
ngx_int_t ngx_astro_issuer_fetch(ngx_astro_issuer_t *is);


#endif /* _NGX_ASTRO_ISSUER_H_INCLUDED_ */
