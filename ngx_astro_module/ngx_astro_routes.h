
/*
 * Copyright (C) The Astro authors
 *
 * Short names for the tables of routes; no one else includes it.
 */

#ifndef _NGX_ASTRO_ROUTES_H_INCLUDED_
#define _NGX_ASTRO_ROUTES_H_INCLUDED_


#include "ngx_astro_api.h"


#define GET      NGX_HTTP_GET
#define POST     NGX_HTTP_POST
#define PUT      NGX_HTTP_PUT
#define PATCH    NGX_HTTP_PATCH
#define DELETE   NGX_HTTP_DELETE

#define ANY      ASTRO_ROLE_ANY
#define CLIENT   ASTRO_ROLE_CLIENT
#define ADVISOR  ASTRO_ROLE_ADVISOR
#define ADMIN    ASTRO_ROLE_ADMIN

#define SEARCH   NGX_ASTRO_API_SEARCH
#define MONEY    NGX_ASTRO_API_MONEY
#define SLOW     NGX_ASTRO_API_SLOW

#define JSON     NGX_ASTRO_BODY_JSON
#define OPT      NGX_ASTRO_BODY_OPTIONAL
#define RAW      NGX_ASTRO_BODY_RAW


#endif /* _NGX_ASTRO_ROUTES_H_INCLUDED_ */
