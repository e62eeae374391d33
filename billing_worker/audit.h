
/*
 * Copyright (C) The Astro authors
 *
 * The command audit: proves the books, at any time.  Prints what it finds on
 * stdout; what keeps it from looking, on stderr.
 */

#ifndef _BILLING_AUDIT_H_INCLUDED_
#define _BILLING_AUDIT_H_INCLUDED_


#include "command.h"


#define BILLING_AUDIT_CLEAN      0
#define BILLING_AUDIT_VIOLATION  1
#define BILLING_AUDIT_FAILED     2


extern const billing_command_t  billing_audit_command;


#endif /* _BILLING_AUDIT_H_INCLUDED_ */
