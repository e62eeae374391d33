
/*
 * Copyright (C) The Astro authors
 *
 * The audit: proves the books, at any time.
 */

#ifndef _BILLING_AUDIT_H_INCLUDED_
#define _BILLING_AUDIT_H_INCLUDED_


#define BILLING_AUDIT_CLEAN      0
#define BILLING_AUDIT_VIOLATION  1
#define BILLING_AUDIT_FAILED     2


/* Prints what it finds on stdout; what keeps it from looking, on stderr. */
int billing_audit(const char *conninfo);


#endif /* _BILLING_AUDIT_H_INCLUDED_ */
