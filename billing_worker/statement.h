
/*
 * Copyright (C) The Astro authors
 *
 * The command statement: an account's movements between two days, on stdout as
 * CSV or JSON, as they are read: its memory does not grow with them.
 */

#ifndef _BILLING_STATEMENT_H_INCLUDED_
#define _BILLING_STATEMENT_H_INCLUDED_


#include "command.h"


extern const billing_command_t  billing_statement_command;


#endif /* _BILLING_STATEMENT_H_INCLUDED_ */
