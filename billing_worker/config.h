
/*
 * Copyright (C) The Astro authors
 *
 * Settings: defaults, then the file, then -o key=value in order.
 */

#ifndef _BILLING_CONFIG_H_INCLUDED_
#define _BILLING_CONFIG_H_INCLUDED_


#include <stdint.h>


typedef struct {
    char     *pg;                   /* a libpq conninfo; never NULL */
    char     *redis;                /* unix:/path, host:port, or "" */
    char     *redis_prefix;
    int64_t   tick_seconds;
    int64_t   paid_ahead_seconds;
    int64_t   low_seconds;
    int64_t   ring_seconds;
    int64_t   grace_seconds;
    int64_t   log_level;            /* billing_log_level_e */
} billing_config_t;


/*
 * file may be NULL; options are the "key=value" of -o.  BILLING_ERROR: what is
 * wrong, naming the setting and where it stands, is in error, and nothing is
 * left to free.
 */
int billing_config_load(billing_config_t *config, const char *file,
    char *const *options, int noptions, char *error, size_t size);

void billing_config_free(billing_config_t *config);


#endif /* _BILLING_CONFIG_H_INCLUDED_ */
