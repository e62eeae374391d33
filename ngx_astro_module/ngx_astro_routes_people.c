
/*
 * Copyright (C) The Astro authors
 *
 * Routes: profiles, advisors, their clients, reviews, specialties.
 * The columns are explained in ngx_astro_api.h.
 */

#include "ngx_astro_routes.h"


const ngx_astro_route_row_t  ngx_astro_routes_people[] = {

    { GET, ngx_string("/api/me/profile"), ANY, "profile", "u", 0, NULL },
    { PUT, ngx_string("/api/me/profile"), ANY, "profile_edit", "ubm", JSON,
      NULL },

    { GET, ngx_string("/api/advisors"), ANY | SEARCH, "advisors", "uQlc", 0,
      NULL },
    { GET, ngx_string("/api/advisors/nearby"), ANY | SEARCH,
      "advisors_nearby", "uQl", 0, NULL },

    { GET, ngx_string("/api/advisors/me"), ADVISOR, "advisor_me", "u", 0,
      NULL },
    { PUT, ngx_string("/api/advisors/me"), ADVISOR, "advisor_edit", "ubm",
      JSON, NULL },
    { PUT, ngx_string("/api/advisors/me/status"), ADVISOR, "advisor_status",
      "ub", JSON, ngx_astro_api_status },
    { GET, ngx_string("/api/advisors/me/clients"), ADVISOR, "clients", "ulc",
      0, NULL },
    { GET, ngx_string("/api/advisors/me/clients/{u}/note"), ADVISOR, "note",
      "up", 0, NULL },
    { PUT, ngx_string("/api/advisors/me/clients/{u}/note"), ADVISOR,
      "note_edit", "upbm", JSON, NULL },
    { GET, ngx_string("/api/advisors/me/dashboard"), ADVISOR | SLOW,
      "dashboard", "uQ", 0, NULL },
    { GET, ngx_string("/api/advisors/me/figures"), ADVISOR | SLOW, "figures",
      "u", 0, NULL },

    { GET, ngx_string("/api/advisors/{u}"), ANY, "advisor", "up", 0, NULL },
    { GET, ngx_string("/api/advisors/{u}/reviews"), ANY, "reviews", "uplc", 0,
      NULL },

    { GET, ngx_string("/api/favorites"), CLIENT, "favorites", "ulc", 0,
      NULL },
    { PUT, ngx_string("/api/favorites/{u}"), CLIENT, "favorite_add", "up", 0,
      NULL },
    { DELETE, ngx_string("/api/favorites/{u}"), CLIENT, "favorite_remove",
      "up", 0, NULL },

    { GET, ngx_string("/api/sessions/{s}/review"), ANY, "review", "up", 0,
      NULL },
    { POST, ngx_string("/api/sessions/{s}/review"), CLIENT | ADVISOR,
      "review_create", "upb", JSON, NULL },
    { PUT, ngx_string("/api/sessions/{s}/review"), CLIENT, "review_edit",
      "upb", JSON, NULL },
    { PUT, ngx_string("/api/sessions/{s}/review/reply"), ADVISOR,
      "review_reply", "upb", JSON, NULL },
    { PUT, ngx_string("/api/sessions/{s}/review/hidden"), ADMIN,
      "review_hide", "upb", JSON, NULL },

    { GET, ngx_string("/api/specialties"), ANY, "specialties", "u", 0, NULL },
    { POST, ngx_string("/api/specialties"), ADMIN, "specialty_create", "ub",
      JSON, NULL },
    { PUT, ngx_string("/api/specialties/{k}"), ADMIN, "specialty_edit", "upb",
      JSON, NULL },
    { DELETE, ngx_string("/api/specialties/{k}"), ADMIN, "specialty_delete",
      "up", 0, NULL },

    { POST, ngx_string("/api/auth/register/advisor"), 0, "advisor_signup",
      "bh", JSON, ngx_astro_api_hashed },
    { POST, ngx_string("/api/admin/advisors"), ADMIN, "advisor_create", "ubh",
      JSON, ngx_astro_api_hashed },
    { GET, ngx_string("/api/admin/advisors/waiting"), ADMIN | SLOW,
      "advisors_waiting", "ulc", 0, NULL },
    { PUT, ngx_string("/api/admin/advisors/{u}/approval"), ADMIN,
      "advisor_approve", "upb", JSON, NULL },

    { 0, ngx_null_string, 0, NULL, NULL, 0, NULL }
};
