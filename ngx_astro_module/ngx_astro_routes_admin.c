
/*
 * Copyright (C) The Astro authors
 *
 * Routes: what admins do to others, and what of it is written down.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"
#include "ngx_astro_session_acts.h"


const ngx_astro_route_row_t  ngx_astro_routes_admin[] = {

    { GET, ngx_string("/api/admin/log"), ADMIN | SLOW, "admin_log", "uQlc",
      0, NULL },

    { GET, ngx_string("/api/admin/users"), ADMIN | SEARCH | SLOW,
      "admin_users", "uQlc", 0, NULL },
    { GET, ngx_string("/api/admin/users/{u}"), ADMIN, "admin_user", "up", 0,
      NULL },
    { PUT, ngx_string("/api/admin/users/{u}"), ADMIN, "admin_user_edit",
      "upb", JSON, NULL },
    { PUT, ngx_string("/api/admin/users/{u}/blocked"), ADMIN,
      "admin_user_block", "", JSON, ngx_astro_api_session_act },
    { POST, ngx_string("/api/admin/users/{u}/logout"), ADMIN,
      "admin_user_logout", "up", 0, NULL },

    { GET, ngx_string("/api/admin/sessions"), ADMIN | SLOW,
      "admin_sessions", "uQlc", 0, NULL },
    { POST, ngx_string("/api/admin/sessions/{s}/end"), ADMIN,
      "admin_session_end", "", OPT, ngx_astro_api_session_act },
    { POST, ngx_string("/api/admin/disconnect"), ADMIN, "admin_disconnect",
      "ub", OPT, NULL },

    { POST, ngx_string("/api/sessions/{s}/dispute"), CLIENT | ADVISOR | SLOW,
      "dispute_create", "upb", JSON, NULL },
    { GET, ngx_string("/api/sessions/{s}/dispute"), CLIENT | ADVISOR,
      "dispute", "up", 0, NULL },
    { GET, ngx_string("/api/admin/disputes"), ADMIN | SLOW, "disputes",
      "uQlc", 0, NULL },
    { GET, ngx_string("/api/admin/disputes/{d}"), ADMIN | SLOW,
      "admin_dispute", "up", 0, NULL },
    { POST, ngx_string("/api/admin/disputes/{d}/decision"), ADMIN,
      "dispute_decide", "upb", JSON, NULL },
    { GET, ngx_string("/api/admin/disputes/{d}/transcript"), ADMIN | SLOW,
      "dispute_transcript", "uplc", 0, NULL },

    { GET, ngx_string("/api/admin/books"), ADMIN, "admin_books", "u", 0,
      NULL },

    { GET, ngx_string("/api/admin/config"), ADMIN, "config", "uQ", 0, NULL },
    { PUT, ngx_string("/api/admin/config"), ADMIN, "config_edit", "ub", JSON,
      NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
