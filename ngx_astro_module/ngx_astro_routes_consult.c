
/*
 * Copyright (C) The Astro authors
 *
 * Routes: sessions.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_consult[] = {

    { GET, ngx_string("/api/sessions/{s}"), ANY, "session", "up", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
