
/*
 * Copyright (C) The Astro authors
 *
 * Vendors tell us of payments: POST /api/webhooks/<vendor>.
 */

#ifndef _NGX_ASTRO_WEBHOOK_H_INCLUDED_
#define _NGX_ASTRO_WEBHOOK_H_INCLUDED_


#include "ngx_astro_api.h"


/* Reads astro_webhook_secrets_file, if there is one. */
ngx_int_t ngx_astro_webhook_secrets(ngx_conf_t *cf, ngx_astro_conf_t *conf);

ngx_int_t ngx_astro_webhook_init(void);


#endif /* _NGX_ASTRO_WEBHOOK_H_INCLUDED_ */
