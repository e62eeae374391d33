
/*
 * Copyright (C) The Astro authors
 *
 * The subcommand run.
 */

#ifndef _BILLING_RUN_H_INCLUDED_
#define _BILLING_RUN_H_INCLUDED_


#include "config.h"


typedef struct {
    const char   *command;
    const char   *file;             /* of the configuration; may be NULL */
    char        **options;
    int           noptions;
} billing_run_args_t;


/*
 * Until SIGTERM or SIGINT.  SIGHUP reads the configuration of args again, into
 * config, which stays the caller's to free.  Returns the status to exit with.
 */
int billing_run(billing_config_t *config, const billing_run_args_t *args);


#endif /* _BILLING_RUN_H_INCLUDED_ */
