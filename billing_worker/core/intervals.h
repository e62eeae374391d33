
/*
 * Copyright (C) The Astro authors
 *
 * Intervals as billing.facts3() and billing.audit_sessions() write them: an SQL
 * array of {party,from_ms,to_ms,open,unpaid}.
 */

#ifndef _BILLING_INTERVALS_H_INCLUDED_
#define _BILLING_INTERVALS_H_INCLUDED_


#include "proof.h"


/*
 * Into *iv, an array of *size that grows as needed and is the caller's to free;
 * n is how many there are.  BILLING_ERROR: no memory, or they make no sense.
 */
int billing_intervals_parse(const char *text, billing_interval_t **iv,
    size_t *size, size_t *n);


#endif /* _BILLING_INTERVALS_H_INCLUDED_ */
