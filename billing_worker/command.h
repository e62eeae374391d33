
/*
 * Copyright (C) The Astro authors
 *
 * Subcommands.  Each lives in a file of its own, which defines one
 * billing_command_t; main.c lists them.
 *
 * What all of them understand (--config, -o, --help) is taken away before, and
 * the options of a command are checked against its table: run() gets the
 * settings, and in argv its own name, then options, each as it stands in the
 * table, a value in the next place, and what else there is, if it takes that.
 */

#ifndef _BILLING_COMMAND_H_INCLUDED_
#define _BILLING_COMMAND_H_INCLUDED_


#include "config.h"


#define BILLING_EXIT_USAGE  2


typedef struct {
    const char                *name;        /* "--since" */
    const char                *value;       /* "DATE"; NULL: it has none */
    const char                *help;        /* one line */
} billing_option_t;

typedef struct {
    const char                *name;
    const char                *help;        /* one line */
    const char                *more;        /* of COMMAND --help; or NULL */
    const char                *operands;    /* "WALLET..."; NULL: none */
    const billing_option_t    *options;     /* the last has no name; or NULL */

    /* returns the status to exit with; config stays the caller's to free */
    int                      (*run)(billing_config_t *config, int argc,
                                    char *const *argv);
} billing_command_t;

/* What a command line came to; the words are those of main()'s argv. */
typedef struct {
    const billing_command_t   *command;
    billing_config_source_t    source;
    int                        argc;
    char                     **argv;
} billing_command_line_t;


/*
 * Returns the status to exit with after help or a complaint, or -1: run it.
 * line is to be freed in any case.
 */
int billing_command_parse(const billing_command_t *const *commands, int argc,
    char *const *argv, billing_command_line_t *line);

void billing_command_free(billing_command_line_t *line);

/*
 * For run(): the value of the last option of that name, "" if it has none,
 * NULL if it was not given.
 */
const char *billing_command_option(const billing_option_t *options, int argc,
    char *const *argv, const char *name);

/* For run(): the next operand from argv[*i] on, *i goes behind it; or NULL. */
const char *billing_command_operand(const billing_option_t *options, int argc,
    char *const *argv, int *i);


#endif /* _BILLING_COMMAND_H_INCLUDED_ */
