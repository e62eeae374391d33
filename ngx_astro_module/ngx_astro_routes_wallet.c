
/*
 * Copyright (C) The Astro authors
 *
 * Routes: money.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_wallet[] = {

    { GET, ngx_string("/api/wallet"), ANY, "wallet", "u", 0,
      ngx_astro_api_grouped },
    { GET, ngx_string("/api/wallet/transactions"), ANY, "wallet_transactions",
      "ulc", 0, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
