
/*
 * Copyright (C) The Astro authors
 *
 * Routes: what people are given of what we hold of them, and how it goes.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_private[] = {

    { GET, ngx_string("/api/me/export"), ANY, "export", "u", 0, NULL },
    { POST, ngx_string("/api/me/export"), ANY, "export_ask", "u", 0, NULL },
    { GET, ngx_string("/api/me/export/part"), ANY | SLOW, "export_part",
      "uQ", 0, NULL },

    { POST, ngx_string("/api/me/erase"), ANY, "erase", "usib", OPT, NULL },

    { PUT, ngx_string("/api/admin/users/{u}/hold"), ADMIN, "hold_set", "upb",
      JSON, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
