
/*
 * Copyright (C) The Astro authors
 *
 * The command reconcile: asks the vendor for the events of the last days, so
 * that a webhook that was lost is made up for, once; and lists what is parked.
 */

#ifndef _BILLING_RECONCILE_H_INCLUDED_
#define _BILLING_RECONCILE_H_INCLUDED_


#include "command.h"


extern const billing_command_t  billing_reconcile_command;


#endif /* _BILLING_RECONCILE_H_INCLUDED_ */
