
/*
 * Copyright (C) The Astro authors
 *
 * Routes: payments given back, what clients want to spend at most, coupons,
 * gifts, statements.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"
#include "ngx_astro_session_acts.h"


const ngx_astro_route_row_t  ngx_astro_routes_back[] = {

    { GET, ngx_string("/api/admin/payments"), ADMIN | SLOW, "payments_all",
      "uQlc", 0, NULL },
    { POST, ngx_string("/api/admin/payments/{m}/refund"), ADMIN | MONEY,
      "payment_refund", "upb", OPT, NULL },

    { GET, ngx_string("/api/me/limits"), CLIENT, "limits", "u", 0, NULL },
    { PUT, ngx_string("/api/me/limits"), CLIENT, "limits_edit", "ub", JSON,
      NULL },

    { GET, ngx_string("/api/wallet/statement"), CLIENT | ADVISOR | SLOW,
      "wallet_statement", "uQ", 0, NULL },
    { POST, ngx_string("/api/wallet/coupons"), CLIENT | MONEY,
      "coupon_redeem", "ub", JSON, NULL },
    { GET, ngx_string("/api/admin/coupons"), ADMIN, "coupons", "ulc", 0,
      NULL },
    { POST, ngx_string("/api/admin/coupons"), ADMIN, "coupon_create", "ub",
      JSON, NULL },

    { POST, ngx_string("/api/sessions/{s}/gifts"), CLIENT | MONEY,
      "session_gift", "", JSON, ngx_astro_api_session_act },
    { POST, ngx_string("/api/advisors/{u}/gifts"), CLIENT | MONEY,
      "advisor_gift", "", JSON, ngx_astro_api_session_act },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
