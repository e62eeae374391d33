
/*
 * Copyright (C) The Astro authors
 *
 * Slow reports: calls that may take seconds, on connections of their own, so
 * that nobody's wallet waits behind them.  Each connection has one call at a
 * time; the others wait in a queue that all share.  One is made when somebody
 * waits and the others are busy, and closed when it was idle for a while.
 */

#ifndef _NGX_ASTRO_SLOW_H_INCLUDED_
#define _NGX_ASTRO_SLOW_H_INCLUDED_


#include "ngx_astro_pg.h"


/* "astro_pg_slow" */
char *ngx_astro_slow_set(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

ngx_int_t ngx_astro_slow_init(void);
void ngx_astro_slow_exit(void);

/*
 * As ngx_astro_pg_call(), for a user.  NGX_BUSY: too many wait; NGX_DECLINED:
 * too many of this user wait or are being made.  What waits for as long as a
 * call may take is BUSY, and was never sent.
 */
ngx_int_t ngx_astro_slow_call(uint64_t user, const ngx_astro_sql_t *sql,
    const char *const *values, ngx_astro_pg_handler_pt handler, void *data);

/*
 * Takes the call with that data back, if it was not sent yet: its handler is
 * not called.  NGX_DECLINED: it is under way.
 */
ngx_int_t ngx_astro_slow_cancel(void *data);


#endif /* _NGX_ASTRO_SLOW_H_INCLUDED_ */
