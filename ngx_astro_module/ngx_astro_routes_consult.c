
/*
 * Copyright (C) The Astro authors
 *
 * Routes: sessions.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"
#include "ngx_astro_session_acts.h"


const ngx_astro_route_row_t  ngx_astro_routes_consult[] = {

    { GET, ngx_string("/api/sessions"), ANY, "sessions", "uQlc", 0, NULL },
    { POST, ngx_string("/api/sessions"), ANY | MONEY, "session_start",
      "", JSON, ngx_astro_api_session_act },

    { GET, ngx_string("/api/sessions/{s}"), ANY, "session", "up", 0, NULL },
    { GET, ngx_string("/api/sessions/{s}/status"), ANY, "session_status",
      "up", 0, NULL },
    { GET, ngx_string("/api/sessions/{s}/transcript"), ANY,
      "session_transcript", "uplc", 0, NULL },

    { POST, ngx_string("/api/sessions/{s}/accept"), ANY, "session_accept", "",
      OPT, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/reject"), ANY, "session_reject", "",
      OPT, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/cancel"), ANY, "session_cancel", "",
      OPT, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/end"), ANY, "session_end", "", OPT,
      ngx_astro_api_session_act },

    { POST, ngx_string("/api/sessions/{s}/pause"), ANY, "session_pause", "",
      OPT, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/resume"), ANY, "session_resume", "",
      OPT, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/mode"), ANY | MONEY,
      "session_mode", "", JSON, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/extend"), ANY | MONEY,
      "session_extend", "", JSON, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/media"), ANY, "session_media", "",
      JSON, ngx_astro_api_session_act },
    { POST, ngx_string("/api/sessions/{s}/quality"), ANY, "session_quality",
      "", JSON, ngx_astro_api_session_act },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
