
/*
 * Copyright (C) The Astro authors
 *
 * Routes: what advisors earn and are paid.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_payout[] = {

    { GET, ngx_string("/api/advisors/me/earnings"), ADVISOR | SLOW, "earnings",
      "uQ", 0, NULL },
    { GET, ngx_string("/api/advisors/me/payouts"), ADVISOR, "payouts", "ulc",
      0, NULL },
    { GET, ngx_string("/api/advisors/me/payouts/account"), ADVISOR,
      "payout_account", "u", 0, NULL },
    { POST, ngx_string("/api/advisors/me/payouts/account"), ADVISOR,
      "payout_account_open", "ub", JSON, NULL },

    { GET, ngx_string("/api/admin/payouts"), ADMIN | SLOW, "payouts_list",
      "ulc", 0, NULL },
    { POST, ngx_string("/api/admin/payouts"), ADMIN, "payouts_process", "ub",
      OPT, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
