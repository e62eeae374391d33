
/*
 * Copyright (C) The Astro authors
 *
 * Routes: accounts and tokens.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_auth[] = {

    { POST, ngx_string("/api/auth/register"), 0, "register", "", JSON,
      ngx_astro_api_register },
    { POST, ngx_string("/api/auth/login"), 0, "credentials", "", JSON,
      ngx_astro_api_login },
    { POST, ngx_string("/api/auth/refresh"), 0, "login_refresh", "", OPT,
      ngx_astro_api_refresh },
    { POST, ngx_string("/api/auth/logout"), ANY, "logout", "", OPT,
      ngx_astro_api_logout },

    { POST, ngx_string("/api/auth/otp/request"), 0, "otp_request", "", JSON,
      ngx_astro_api_otp_request },
    { POST, ngx_string("/api/auth/otp/verify"), 0, "otp_verify", "", JSON,
      ngx_astro_api_otp_verify },

    { GET, ngx_string("/api/me/phone"), ANY, "phone", "u", 0, NULL },
    { POST, ngx_string("/api/me/phone"), ANY, "otp_request", "", JSON,
      ngx_astro_api_phone_request },
    { POST, ngx_string("/api/me/phone/verify"), ANY, "otp_verify", "", JSON,
      ngx_astro_api_phone_verify },
    { DELETE, ngx_string("/api/me/phone"), ANY, "phone_remove", "u", 0,
      NULL },

    { GET, ngx_string("/api/me"), ANY, "me", "u", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
