
/*
 * Copyright (C) The Astro authors
 *
 * In order to each socket: for each connection and conversation the highest
 * seq written ("last") and the highest heard of ("want").
 *
 *     seq <= last      dropped: it was written
 *     seq == last + 1  written, and whatever is held and follows it
 *     seq >  last + 1  held for up to 100 ms (ngx_astro_held.h); what has not
 *                      come by then is fetched from PostgreSQL
 *
 * So nothing is written twice or out of order, and whatever a ring, Redis or a
 * killed worker dropped is made good by the next event or head that is heard
 * of.  Heads come with sessions' news and from heal (ngx_astro_heal.h), which
 * reads them every few seconds: a last event that was lost needs no next one.
 *
 * A reconnect with "pos" is the same fetch, at once.  hello registers the
 * socket first and reads the heads afterwards: what is committed before that
 * read is in the heads, what comes later was noted as "want".
 *
 * A conversation that is heard of for the first time begins where the news of
 * its session say.  An event that comes before such news leaves the connection
 * unsure (last < 0) of what there was before: the event is held and heal is
 * asked.  Is there no session to tell (a conversation of old, beyond the
 * hundred of hello), it begins with that event, and the client's own rule
 * (sync) finds the rest.
 */

#ifndef _NGX_ASTRO_RESUME_H_INCLUDED_
#define _NGX_ASTRO_RESUME_H_INCLUDED_


#include "ngx_astro_protocol.h"


#define NGX_ASTRO_REPLAY_MAX  300       /* further behind: page by REST */


/*
 * hello's answer: this socket has "last" of a conversation that reaches to
 * "head".  Fetches what is between at once.
 */
void ngx_astro_resume_from(ngx_astro_conn_t *conn, uint64_t conv,
    int64_t last, int64_t head);

/*
 * Events after "last" are for this socket; void if it knows where it stands
 * in that conversation.
 */
void ngx_astro_resume_set(ngx_astro_conn_t *conn, uint64_t conv, int64_t last);

/* A durable event for a socket that may be anywhere in the conversation. */
void ngx_astro_resume_event(ngx_astro_conn_t *conn, uint64_t conv, int64_t seq,
    const ngx_astro_msg_t *m);

/*
 * The conversation is known to reach so far: what this socket lacks is given
 * its 100 ms to come by itself.
 */
void ngx_astro_resume_head(ngx_astro_conn_t *conn, uint64_t conv,
    int64_t head);

/* The seq last written, or -1: unknown, or unsure. */
int64_t ngx_astro_resume_last(ngx_astro_conn_t *conn, uint64_t conv);

/* Fetches what was heard of and not written yet. */
void ngx_astro_resume_more(ngx_astro_conn_t *conn);

/*
 * Heal's two words to each connection that it looks at: before it asks (1: this
 * one is unsure of something), and when it knows no better.
 */
ngx_uint_t ngx_astro_resume_ask(ngx_astro_conn_t *conn);
void ngx_astro_resume_settle(ngx_astro_conn_t *conn);

/* The connection says goodbye: nothing is held for it; its memory goes. */
void ngx_astro_resume_leave(ngx_astro_conn_t *conn);
void ngx_astro_resume_free(ngx_astro_conn_t *conn);

/* {"type":"ping","heads":{...}} of the user's live conversations */
void ngx_astro_resume_ping(ngx_astro_conn_t *conn);

void ngx_astro_handle_sync(ngx_astro_req_t *req);


#endif /* _NGX_ASTRO_RESUME_H_INCLUDED_ */
