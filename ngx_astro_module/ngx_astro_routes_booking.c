
/*
 * Copyright (C) The Astro authors
 *
 * Routes: working hours and slots, bookings, who waits, what one was told.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"
#include "ngx_astro_session_acts.h"


const ngx_astro_route_row_t  ngx_astro_routes_booking[] = {

    { GET, ngx_string("/api/advisors/me/schedule"), ADVISOR, "schedule", "u",
      0, NULL },
    { PUT, ngx_string("/api/advisors/me/schedule"), ADVISOR, "schedule_edit",
      "ubm", JSON, NULL },
    { GET, ngx_string("/api/advisors/{u}/slots"), ANY, "slots", "upQ", 0,
      NULL },

    { GET, ngx_string("/api/bookings"), ANY, "bookings", "uQlc", 0, NULL },
    { POST, ngx_string("/api/bookings"), CLIENT, "booking_create", "ub", JSON,
      NULL },
    { GET, ngx_string("/api/bookings/{b}"), ANY, "booking", "up", 0, NULL },
    { POST, ngx_string("/api/bookings/{b}/confirm"), ADVISOR,
      "booking_confirm", "up", 0, NULL },
    { POST, ngx_string("/api/bookings/{b}/decline"), ADVISOR,
      "booking_decline", "upb", OPT, NULL },
    { POST, ngx_string("/api/bookings/{b}/cancel"), CLIENT | ADVISOR,
      "booking_cancel", "upb", OPT, NULL },
    { POST, ngx_string("/api/bookings/{b}/start"), CLIENT | ADVISOR,
      "booking_start", "", OPT, ngx_astro_api_session_act },

    { GET, ngx_string("/api/advisors/{u}/queue"), CLIENT, "queue", "up", 0,
      NULL },
    { PUT, ngx_string("/api/advisors/{u}/queue"), CLIENT, "queue_join", "upb",
      OPT, NULL },
    { DELETE, ngx_string("/api/advisors/{u}/queue"), CLIENT, "queue_leave",
      "up", 0, NULL },

    { GET, ngx_string("/api/notifications"), ANY, "notifications", "ulc", 0,
      NULL },
    { PUT, ngx_string("/api/notifications/read"), ANY, "notifications_read",
      "ub", JSON, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
