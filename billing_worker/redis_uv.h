
/*
 * Copyright (C) The Astro authors
 *
 * hiredis' asynchronous context on a libuv loop.
 */

#ifndef _BILLING_REDIS_UV_H_INCLUDED_
#define _BILLING_REDIS_UV_H_INCLUDED_


#include <uv.h>


struct redisAsyncContext;

/* What it allocates is freed when hiredis frees the context. */
int billing_redis_uv_attach(struct redisAsyncContext *ac, uv_loop_t *loop);


#endif /* _BILLING_REDIS_UV_H_INCLUDED_ */
