
/*
 * Copyright (C) The Astro authors
 *
 * The STUN and TURN servers that browsers are told of, with credentials that
 * expire: what coturn calls use-auth-secret.
 */

#ifndef _NGX_ASTRO_ICE_H_INCLUDED_
#define _NGX_ASTRO_ICE_H_INCLUDED_


#include "ngx_astro.h"


/* "astro_turn" */
char *ngx_astro_turn(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* How long what is written below is at most. */
size_t ngx_astro_ice_len(void);

/* Writes the array of RTCIceServer for a user; returns its end. */
u_char *ngx_astro_ice(u_char *p, uint64_t user);


#endif /* _NGX_ASTRO_ICE_H_INCLUDED_ */
