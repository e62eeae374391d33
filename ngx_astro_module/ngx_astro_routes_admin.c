
/*
 * Copyright (C) The Astro authors
 *
 * Routes: what admins do to others, and what of it is written down.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_admin[] = {

    { GET, ngx_string("/api/admin/log"), ADMIN, "admin_log", "uQlc", 0,
      NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
