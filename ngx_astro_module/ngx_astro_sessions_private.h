
/*
 * Copyright (C) The Astro authors
 *
 * Between ngx_astro_sessions.c (what is known of a session) and
 * ngx_astro_joins.c (who takes part in it); for nobody else.
 */

#ifndef _NGX_ASTRO_SESSIONS_PRIVATE_H_INCLUDED_
#define _NGX_ASTRO_SESSIONS_PRIVATE_H_INCLUDED_


#include "ngx_astro_sessions.h"


/* One piece of news of a session, whichever way it came. */
typedef struct {
    uint64_t                 session;
    uint64_t                 client;
    uint64_t                 advisor;
    uint64_t                 conv;
    int64_t                  head;
    int64_t                  start;     /* head when it began; -1: unknown */
    int64_t                  paid_until_ms;
    ngx_int_t                ver;
    astro_session_state_e    state;
    ngx_str_t                snapshot;
} ngx_astro_news_t;


ngx_astro_session_t *ngx_astro_sessions_find(uint64_t id);
ngx_astro_session_t *ngx_astro_sessions_create(const ngx_astro_news_t *news);

/* Frees it; nobody may take part any more. */
void ngx_astro_sessions_drop(ngx_astro_session_t *s);

/* Each session known here. */
void ngx_astro_sessions_each(void (*fn)(ngx_astro_session_t *s));

/* NGX_DECLINED: the row tells of an error. */
ngx_int_t ngx_astro_sessions_news(ngx_astro_news_t *news, PGresult *res,
    int row);

/* What is open since before the pause is closed. */
void ngx_astro_sessions_paused(ngx_astro_session_t *s);

/* When those of a paused session left, in our lease's own milliseconds. */
int64_t ngx_astro_sessions_pause_life(ngx_astro_session_t *s);

/* Has those join again who should be in it and are not. */
void ngx_astro_sessions_rejoin(ngx_astro_session_t *s);

void ngx_astro_join_close(ngx_astro_join_t *j, int64_t life_ms,
    const char *reason);

/* The last of a session that has not ended drops the session. */
void ngx_astro_join_remove(ngx_astro_join_t *j, const char *reason);


#endif /* _NGX_ASTRO_SESSIONS_PRIVATE_H_INCLUDED_ */
