
/*
 * Copyright (C) The Astro authors
 *
 * Routes: advisors and profiles.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_people[] = {

    { GET, ngx_string("/api/advisors"), ANY, "advisors", "ulc", 0, NULL },
    { GET, ngx_string("/api/advisors/{u}"), ANY, "advisor", "up", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
