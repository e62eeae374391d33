
/*
 * Copyright (C) The Astro authors
 *
 * Routes: figures of the whole, for admins.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_stats[] = {

    { GET, ngx_string("/api/admin/stats"), ADMIN|SLOW, "admin_stats", "uQ", 0,
      NULL },
    { GET, ngx_string("/api/admin/analytics"), ADMIN|SLOW, "admin_analytics",
      "uQ", 0, NULL },
    { GET, ngx_string("/api/admin/users/{u}/activity"), ADMIN|SLOW,
      "admin_activity", "uplc", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
