
/*
 * Copyright (C) The Astro authors
 *
 * Chat: stored first, then replied to, then delivered.
 */

#ifndef _NGX_ASTRO_CHAT_H_INCLUDED_
#define _NGX_ASTRO_CHAT_H_INCLUDED_


#include "ngx_astro_protocol.h"


void ngx_astro_chat_init(void);
void ngx_astro_acks_init(void);
void ngx_astro_typing_init(void);

void ngx_astro_handle_chat_message(ngx_astro_req_t *req);
void ngx_astro_handle_chat_edit(ngx_astro_req_t *req);
void ngx_astro_handle_chat_delete(ngx_astro_req_t *req);
void ngx_astro_handle_chat_react(ngx_astro_req_t *req);
void ngx_astro_handle_chat_ack(ngx_astro_req_t *req);
void ngx_astro_handle_chat_typing(ngx_astro_req_t *req);


#endif /* _NGX_ASTRO_CHAT_H_INCLUDED_ */
