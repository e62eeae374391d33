
/*
 * Copyright (C) The Astro authors
 *
 * Routes: conversations.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_chat[] = {

    { GET, ngx_string("/api/conversations"), ANY, "conversations", "ulc",
      0, NULL },
    { POST, ngx_string("/api/conversations"), CLIENT, "conversation_open",
      "ub", JSON, NULL },
    { GET, ngx_string("/api/conversations/{c}"), ANY, "conversation", "up",
      0, NULL },

    { GET, ngx_string("/api/conversations/{c}/messages"), ANY, "messages",
      "uplc", 0, NULL },
    { POST, ngx_string("/api/conversations/{c}/messages"), ANY, "chat_message",
      "", JSON, ngx_astro_api_chat_message },
    { POST, ngx_string("/api/conversations/{c}/edits"), ANY, "chat_edit",
      "", JSON, ngx_astro_api_chat_edit },
    { POST, ngx_string("/api/conversations/{c}/deletions"), ANY,
      "chat_delete", "", JSON, ngx_astro_api_chat_delete },
    { POST, ngx_string("/api/conversations/{c}/reactions"), ANY, "chat_react",
      "", JSON, ngx_astro_api_chat_react },

    /* of old; there is no other way to ask by who talks */
    { GET, ngx_string("/api/messages/{u}/{u}"), ANY, "messages_between",
      "upqlc", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
