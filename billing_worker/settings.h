
/*
 * Copyright (C) The Astro authors
 *
 * What settings there are.  A row in settings.c is a setting; the program's
 * help, the table in README.md and conf/billing_worker.conf are checked against
 * it by t/integration/test_docs.py.
 */

#ifndef _BILLING_SETTINGS_H_INCLUDED_
#define _BILLING_SETTINGS_H_INCLUDED_


#include "config.h"


typedef enum {
    BILLING_SETTING_TEXT,
    BILLING_SETTING_NUMBER,
    BILLING_SETTING_LEVEL,
    BILLING_SETTING_ADDRESS,        /* unix:/path, host:port, or nothing */
    BILLING_SETTING_LOOPBACK        /* the same, of this machine alone */
} billing_setting_type_e;

typedef struct {
    const char               *name;
    size_t                    offset;       /* in billing_config_t */
    billing_setting_type_e    type;
    const char               *unit;         /* of a number; or what it is */
    int64_t                   min;
    int64_t                   max;
    int64_t                   number;       /* the default */
    const char               *text;         /* the default */
    unsigned                  start:1;      /* SIGHUP does not take it */
    const char               *help;         /* one line */
} billing_setting_t;



/* the last has no name */
extern const billing_setting_t  billing_settings[];

/*
 * What no setting alone can be blamed for.  BILLING_ERROR: *blamed is a setting
 * to name the place of, error says the rest.
 */
int billing_settings_check(const billing_config_t *config,
    const char **blamed, char *error, size_t size);


#endif /* _BILLING_SETTINGS_H_INCLUDED_ */
