
/*
 * Copyright (C) The Astro authors
 *
 * The table of REST routes.
 */

#include "ngx_astro_api.h"


#define GET   NGX_HTTP_GET
#define POST  NGX_HTTP_POST
#define ANY   ASTRO_ROLE_ANY
#define JSON  NGX_ASTRO_BODY_JSON
#define RAW   NGX_ASTRO_BODY_RAW


const ngx_astro_route_row_t  ngx_astro_routes[] = {

    { GET, ngx_string("/api/health"), 0, NULL, "", 0,
      ngx_astro_api_health },

    { POST, ngx_string("/api/auth/register"), 0,
      &ngx_astro_sql_register, "", JSON, ngx_astro_api_register },
    { POST, ngx_string("/api/auth/login"), 0,
      &ngx_astro_sql_credentials, "", JSON, ngx_astro_api_login },

    { GET, ngx_string("/api/me"), ANY,
      &ngx_astro_sql_me, "u", 0, NULL },

    { GET, ngx_string("/api/advisors"), ANY,
      &ngx_astro_sql_advisors, "ulc", 0, NULL },
    { GET, ngx_string("/api/advisors/{u}"), ANY,
      &ngx_astro_sql_advisor, "up", 0, NULL },

    { GET, ngx_string("/api/wallet"), ANY,
      &ngx_astro_sql_wallet, "u", 0, NULL },
    { GET, ngx_string("/api/wallet/transactions"), ANY,
      &ngx_astro_sql_wallet_transactions, "ulc", 0, NULL },

    { GET, ngx_string("/api/sessions/{s}"), ANY,
      &ngx_astro_sql_session, "up", 0, NULL },
    { GET, ngx_string("/api/conversations/{c}/messages"), ANY,
      &ngx_astro_sql_messages, "uplc", 0, NULL },

    { POST, ngx_string("/api/webhooks/stripe"), 0,
      &ngx_astro_sql_webhook, "", RAW, ngx_astro_api_webhook_stripe },
    { POST, ngx_string("/api/webhooks/razorpay"), 0,
      &ngx_astro_sql_webhook, "", RAW, ngx_astro_api_webhook_razorpay },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
