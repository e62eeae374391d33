
/*
 * Copyright (C) The Astro authors
 *
 * Routes: health, and what vendors send.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_system[] = {

    { GET, ngx_string("/api/health"), 0, "health", "", 0,
      ngx_astro_api_health },
    { GET, ngx_string("/api/openapi.json"), 0, "openapi", "", 0,
      ngx_astro_api_openapi },

    { POST, ngx_string("/api/webhooks/stripe"), 0, "webhook", "", RAW,
      ngx_astro_api_webhook_stripe },
    { POST, ngx_string("/api/webhooks/razorpay"), 0, "webhook", "", RAW,
      ngx_astro_api_webhook_razorpay },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
