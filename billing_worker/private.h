
/*
 * Copyright (C) The Astro authors
 *
 * What becomes of people's data: exports that they asked for, the words of
 * those who wanted to be forgotten, and what is too old.  Any number of workers
 * may do so.
 */

#ifndef _BILLING_PRIVATE_H_INCLUDED_
#define _BILLING_PRIVATE_H_INCLUDED_


#include "command.h"
#include "worker.h"


int billing_private_start(billing_worker_t *w);
void billing_private_stop(billing_worker_t *w);
int billing_private_busy(const billing_worker_t *w);


/* The command retention: removes what is too old, now. */
extern const billing_command_t  billing_retention_command;


#endif /* _BILLING_PRIVATE_H_INCLUDED_ */
