
/*
 * Copyright (C) The Astro authors
 *
 * Routes: payments that clients begin.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_pay[] = {

    { POST, ngx_string("/api/payments"), CLIENT | MONEY, "payment_create",
      "ubk", JSON, ngx_astro_api_payment_create },
    { GET, ngx_string("/api/payments/{p}"), CLIENT, "payment", "upk", 0,
      NULL },
    { POST, ngx_string("/api/payments/{p}/confirm"), CLIENT | MONEY,
      "payment_confirm", "upbk", JSON, ngx_astro_api_payment_confirm },

    { GET, ngx_string("/api/admin/payments/flagged"), ADMIN | SLOW,
      "payments_flagged", "ulc", 0, NULL },
    { POST, ngx_string("/api/admin/payments/{p}/clear"), ADMIN,
      "payment_clear", "upb", OPT, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
