
/*
 * Copyright (C) The Astro authors
 *
 * Every statement that the module sends, but for those that routes make of
 * their rows (ngx_astro_routes.c).  Each is one call of one function in
 * the schema api; sql/README.md says what they return.
 */

#ifndef _NGX_ASTRO_SQL_H_INCLUDED_
#define _NGX_ASTRO_SQL_H_INCLUDED_


#include "ngx_astro_pg.h"


extern const ngx_astro_sql_t  ngx_astro_sql_register;
extern const ngx_astro_sql_t  ngx_astro_sql_credentials;
extern const ngx_astro_sql_t  ngx_astro_sql_login_open;
extern const ngx_astro_sql_t  ngx_astro_sql_login_refresh;
extern const ngx_astro_sql_t  ngx_astro_sql_logout;
extern const ngx_astro_sql_t  ngx_astro_sql_outside;
extern const ngx_astro_sql_t  ngx_astro_sql_otp_request;
extern const ngx_astro_sql_t  ngx_astro_sql_otp_verify;
extern const ngx_astro_sql_t  ngx_astro_sql_webhook;
extern const ngx_astro_sql_t  ngx_astro_sql_webhook_group;
extern const ngx_astro_sql_t  ngx_astro_sql_payment_order;

extern const ngx_astro_sql_t  ngx_astro_sql_hello_batch;
extern const ngx_astro_sql_t  ngx_astro_sql_sync;
extern const ngx_astro_sql_t  ngx_astro_sql_presence;
extern const ngx_astro_sql_t  ngx_astro_sql_presence_left;
extern const ngx_astro_sql_t  ngx_astro_sql_whereabouts;
extern const ngx_astro_sql_t  ngx_astro_sql_conversation_of;
extern const ngx_astro_sql_t  ngx_astro_sql_session_begin;
extern const ngx_astro_sql_t  ngx_astro_sql_booking_start;
extern const ngx_astro_sql_t  ngx_astro_sql_booking_start_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_gift;
extern const ngx_astro_sql_t  ngx_astro_sql_advisor_gift;
extern const ngx_astro_sql_t  ngx_astro_sql_queue_join;
extern const ngx_astro_sql_t  ngx_astro_sql_queue_leave;
extern const ngx_astro_sql_t  ngx_astro_sql_session_pause;
extern const ngx_astro_sql_t  ngx_astro_sql_session_pause_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_resume;
extern const ngx_astro_sql_t  ngx_astro_sql_session_resume_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_mode;
extern const ngx_astro_sql_t  ngx_astro_sql_session_mode_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_extend;
extern const ngx_astro_sql_t  ngx_astro_sql_session_extend_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_media;
extern const ngx_astro_sql_t  ngx_astro_sql_session_media_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_quality;
extern const ngx_astro_sql_t  ngx_astro_sql_admin_session_end;
extern const ngx_astro_sql_t  ngx_astro_sql_admin_session_end_once;
extern const ngx_astro_sql_t  ngx_astro_sql_admin_user_block;
extern const ngx_astro_sql_t  ngx_astro_sql_admin_user_block_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_quality_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_apply;
extern const ngx_astro_sql_t  ngx_astro_sql_session_apply_once;
extern const ngx_astro_sql_t  ngx_astro_sql_session_join;
extern const ngx_astro_sql_t  ngx_astro_sql_chat_batch;
extern const ngx_astro_sql_t  ngx_astro_sql_chat_acts;
extern const ngx_astro_sql_t  ngx_astro_sql_chat_acks;
extern const ngx_astro_sql_t  ngx_astro_sql_heal;
extern const ngx_astro_sql_t  ngx_astro_sql_gateway_open;
extern const ngx_astro_sql_t  ngx_astro_sql_gateway_renew;
extern const ngx_astro_sql_t  ngx_astro_sql_gateway_close;
extern const ngx_astro_sql_t  ngx_astro_sql_gateway_intervals;


/* columns of api.session_outcome */

enum {
    NGX_ASTRO_O_STATUS = 0,
    NGX_ASTRO_O_BODY,
    NGX_ASTRO_O_DUP,
    NGX_ASTRO_O_SESSION,
    NGX_ASTRO_O_VER,
    NGX_ASTRO_O_STATE,
    NGX_ASTRO_O_PAID_UNTIL,
    NGX_ASTRO_O_CLIENT,
    NGX_ASTRO_O_ADVISOR,
    NGX_ASTRO_O_CONV,
    NGX_ASTRO_O_HEAD,
    NGX_ASTRO_O_SNAPSHOT,
    NGX_ASTRO_O_INTERVAL,
    NGX_ASTRO_O_EVENT_SEQ,
    NGX_ASTRO_O_EVENT_FRAME
};

/* columns of api.heal() */

enum {
    NGX_ASTRO_H_KIND = 0,
    NGX_ASTRO_H_ID,
    NGX_ASTRO_H_NUM,
    NGX_ASTRO_H_VER,
    NGX_ASTRO_H_STATE,
    NGX_ASTRO_H_PAID_UNTIL,
    NGX_ASTRO_H_CLIENT,
    NGX_ASTRO_H_ADVISOR,
    NGX_ASTRO_H_CONV,
    NGX_ASTRO_H_HEAD,
    NGX_ASTRO_H_START,
    NGX_ASTRO_H_SETTLED,
    NGX_ASTRO_H_DOC
};


#endif /* _NGX_ASTRO_SQL_H_INCLUDED_ */
