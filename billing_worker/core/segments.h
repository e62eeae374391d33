
/*
 * Copyright (C) The Astro authors
 *
 * Segments: a switch of the mode gives a session another rate from an instant
 * on.  What a segment is charged for is the time that both were there between
 * two such instants.
 *
 * The tariff counts in billable ms, so each segment must know how many there
 * were before it.  As long as an open interval may still prove some more of
 * them, nothing after that instant is billed: so the number is the right one
 * for all that ever is, and what comes to light later takes nothing back.  It
 * is a matter of seconds, until the gateway renews or is closed.
 */

#ifndef _BILLING_SEGMENTS_H_INCLUDED_
#define _BILLING_SEGMENTS_H_INCLUDED_


#include "proof.h"
#include "tariff.h"


/*
 * Sets from_ms of each, as it will be if every open interval just goes on; the
 * intervals are sorted.  Returns the first instant for which that is not
 * proven yet: nothing after it may be billed.  BILLING_NEVER: all is.
 */
int64_t billing_segments_place(billing_segment_t *segments, size_t nsegments,
    const billing_interval_t *iv, size_t n);

/*
 * From an SQL array of {at_ms,rate}, as billing.facts3() writes it; NULL is
 * "".  Into *segments, an array of *size that grows as needed and is the
 * caller's to free; n is how many there are.  BILLING_ERROR: no memory, or
 * they make no sense.
 */
int billing_segments_parse(const char *text, billing_segment_t **segments,
    size_t *size, size_t *n);


#endif /* _BILLING_SEGMENTS_H_INCLUDED_ */
