
/*
 * Copyright (C) The Astro authors
 *
 * Routes: conversations.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_chat[] = {

    { GET, ngx_string("/api/conversations/{c}/messages"), ANY, "messages",
      "uplc", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
