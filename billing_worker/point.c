
/*
 * Copyright (C) The Astro authors
 *
 * Named points: see point.h.
 */

#include "point.h"


#ifdef BILLING_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>


void
billing_point(const char *name)
{
    size_t       len;
    const char  *wanted;

    static long  left = -1;
    static int   signum;

    wanted = getenv("BILLING_POINT");

    if (wanted == NULL) {
        return;
    }

    len = strlen(name);

    if (strncmp(wanted, name, len) != 0
        || (wanted[len] != '\0' && wanted[len] != ':'))
    {
        return;
    }

    if (left == -1) {
        left = (wanted[len] == ':') ? strtol(wanted + len + 1, NULL, 10)
                                     : 1;
        signum = strstr(wanted, ":STOP") ? SIGSTOP : SIGKILL;
    }

    if (left > 0 && --left == 0) {
        raise(signum);
    }
}


#else

/* a unit of C holds one declaration at least */
typedef int  billing_point_none_t;

#endif
