
/*
 * Copyright (C) The Astro authors
 *
 * The command run: until SIGTERM or SIGINT; SIGHUP reads the configuration
 * again.
 */

#ifndef _BILLING_RUN_H_INCLUDED_
#define _BILLING_RUN_H_INCLUDED_


#include "command.h"


extern const billing_command_t  billing_run_command;


#endif /* _BILLING_RUN_H_INCLUDED_ */
