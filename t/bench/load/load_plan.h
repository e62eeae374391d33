
/*
 * Copyright (C) The Astro authors
 *
 * The connection file: what each connection of the load generator does.  One
 * line for each connection, fields separated by tabs:
 *
 *     path       of the upgrade request
 *     headers    more lines of it, '|' between them, or '-'
 *     template   of the messages it sends (load_text.h), or '-': it only
 *                receives
 *     step ...   before it counts as ready, in order:
 *                    >TEXT   send TEXT as it is
 *                    ?TEXT   wait for a message that contains TEXT
 *
 * Connections are started in the order of the file, so those who wait for
 * others come after them.
 */

#ifndef _LOAD_PLAN_H_INCLUDED_
#define _LOAD_PLAN_H_INCLUDED_


#include "load_text.h"


typedef struct {
    char         *line;         /* owns path and steps */
    char         *path;
    char         *headers;      /* each ended by CR LF */
    load_text_t  *text;         /* NULL: only receives */
    unsigned      nsteps;
    char        **step;
} load_plan_t;


/*
 * Reads the file into an array of *n plans.  NULL after telling the reason
 * on stderr.  The plans live as long as the process.
 */
load_plan_t *load_plan_read(const char *file, unsigned *n);


#endif /* _LOAD_PLAN_H_INCLUDED_ */
