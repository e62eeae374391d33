
/*
 * Copyright (C) The Astro authors
 *
 * Named points: where a test may have this process die.
 *
 * Built with -DBILLING_POINTS (make POINTS=1), the environment says where:
 *
 *   BILLING_POINT=<name>[:<n>[:<signal>]]
 *
 * at the n-th passing (1) the process sends itself that signal (KILL, or STOP),
 * at once and with nothing flushed.  Built otherwise there is nothing: no
 * call, no string.
 *
 * A name is a literal in lower case with hyphens, and stands in one place; the
 * crash trials (t/chaos/trials.py) find all of them in the sources.
 */

#ifndef _BILLING_POINT_H_INCLUDED_
#define _BILLING_POINT_H_INCLUDED_


#ifdef BILLING_POINTS

void billing_point(const char *name);

#define BILLING_POINT(name)  billing_point(name)

#else

#define BILLING_POINT(name)  ((void) 0)

#endif


#endif /* _BILLING_POINT_H_INCLUDED_ */
