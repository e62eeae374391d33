
/*
 * Copyright (C) The Astro authors
 *
 * See load_plan.h.
 */

#define _GNU_SOURCE

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load_plan.h"


static load_plan_t *load_plan_lines(FILE *f, unsigned *n, const char **why);
static const char *load_plan_parse(load_plan_t *plan, const char *line);
static char *load_plan_headers(const char *p);
static const char *load_plan_steps(load_plan_t *plan, char *rest);


load_plan_t *
load_plan_read(const char *file, unsigned *n)
{
    FILE         *f;
    const char   *why;
    load_plan_t  *plans;

    f = fopen(file, "re");
    if (f == NULL) {
        fprintf(stderr, "wsload: \"%s\": %s\n", file, strerror(errno));
        return NULL;
    }

    *n = 0;
    why = "no connections in it";

    plans = load_plan_lines(f, n, &why);
    fclose(f);

    if (plans == NULL) {
        fprintf(stderr, "wsload: \"%s\" line %u: %s\n", file, *n, why);
    }

    return plans;
}


static load_plan_t *
load_plan_lines(FILE *f, unsigned *n, const char **why)
{
    char         *line;
    size_t        size;
    ssize_t       len;
    unsigned      room;
    load_plan_t  *plans, *more;

    line = NULL;
    size = 0;
    room = 0;
    plans = NULL;

    while ((len = getline(&line, &size, f)) > 0) {

        if (line[len - 1] == '\n') {
            line[len - 1] = '\0';
        }

        if (*n == room) {
            room = room > 0 ? room * 2 : 256;

            more = realloc(plans, room * sizeof(load_plan_t));
            if (more == NULL) {
                *why = "no memory";
                goto failed;
            }

            plans = more;
        }

        *why = (*n > LOAD_SENDER_MAX) ? "too many connections"
                                      : load_plan_parse(&plans[*n], line);
        (*n)++;

        if (*why != NULL) {
            goto failed;
        }
    }

    free(line);

    return plans;

failed:

    free(line);
    free(plans);

    return NULL;
}


static const char *
load_plan_parse(load_plan_t *plan, const char *line)
{
    char        *rest, *headers, *template;
    const char  *why;

    memset(plan, 0, sizeof(load_plan_t));

    plan->line = strdup(line);
    if (plan->line == NULL) {
        return "no memory";
    }

    rest = plan->line;
    plan->path = strsep(&rest, "\t");
    headers = strsep(&rest, "\t");
    template = strsep(&rest, "\t");

    if (template == NULL) {
        return "fewer than three fields";
    }

    plan->headers = load_plan_headers(headers);
    if (plan->headers == NULL) {
        return "no memory";
    }

    if (strcmp(template, "-") != 0) {
        plan->text = load_text_compile(template, &why);
        if (plan->text == NULL) {
            return why;
        }
    }

    return load_plan_steps(plan, rest);
}


static char *
load_plan_headers(const char *p)
{
    char        *headers, *dst;
    const char  *end;

    /* one more byte for each '|' at most, and the last line's end */

    headers = malloc(2 * strlen(p) + sizeof("\r\n"));
    if (headers == NULL) {
        return NULL;
    }

    dst = headers;
    *dst = '\0';

    if (strcmp(p, "-") == 0) {
        return headers;
    }

    while (*p != '\0') {
        end = strchrnul(p, '|');
        dst += sprintf(dst, "%.*s\r\n", (int) (end - p), p);
        p = (*end == '|') ? end + 1 : end;
    }

    return headers;
}


static const char *
load_plan_steps(load_plan_t *plan, char *rest)
{
    char      *p;
    unsigned   n;

    if (rest == NULL) {
        return NULL;
    }

    n = 1;

    for (p = rest; *p != '\0'; p++) {
        n += (*p == '\t');
    }

    plan->step = calloc(n, sizeof(char *));
    if (plan->step == NULL) {
        return "no memory";
    }

    while ((p = strsep(&rest, "\t")) != NULL) {

        if (p[0] != '>' && p[0] != '?') {
            return "a step that starts with neither '>' nor '?'";
        }

        plan->step[plan->nsteps++] = p;
    }

    return NULL;
}
