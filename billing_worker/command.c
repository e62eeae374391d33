
/*
 * Copyright (C) The Astro authors
 *
 * The command line: see command.h.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"


static int billing_command_word(const billing_command_t *const *commands,
    billing_command_line_t *line, int argc, char *const *argv, int *i);
static int billing_command_common(billing_command_line_t *line, int argc,
    char *const *argv, int *i);
static int billing_command_own(billing_command_line_t *line, int argc,
    char *const *argv, int *i);
static const billing_option_t *billing_command_known(
    const billing_option_t *options, const char *name, size_t len);
static int billing_command_wrong(const billing_command_line_t *line,
    const char *word, const char *what, const char *value);
static void billing_command_usage(FILE *f,
    const billing_command_t *const *commands);
static void billing_command_help(FILE *f, const billing_command_t *command);
static void billing_command_synopsis(FILE *f, const billing_command_t *c);


int
billing_command_parse(const billing_command_t *const *commands, int argc,
    char *const *argv, billing_command_line_t *line)
{
    int  i, rc;

    memset(line, 0, sizeof(billing_command_line_t));

    /* "--name=value" makes two words of one */

    line->argv = calloc(2 * (size_t) argc + 1, sizeof(char *));
    line->source.options = calloc((size_t) argc + 1, sizeof(char *));

    if (line->argv == NULL || line->source.options == NULL) {
        return billing_command_wrong(line, "out of memory", "", "");
    }

    for (i = 1; i < argc; i++) {

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {

            if (line->command != NULL) {
                billing_command_help(stdout, line->command);

            } else {
                billing_command_usage(stdout, commands);
            }

            return EXIT_SUCCESS;
        }

        rc = billing_command_word(commands, line, argc, argv, &i);

        if (rc != EXIT_SUCCESS) {
            return rc;
        }
    }

    if (line->command == NULL) {
        billing_command_usage(stderr, commands);
        return BILLING_EXIT_USAGE;
    }

    return -1;
}


void
billing_command_free(billing_command_line_t *line)
{
    free(line->argv);
    free(line->source.options);

    memset(line, 0, sizeof(billing_command_line_t));
}


static int
billing_command_word(const billing_command_t *const *commands,
    billing_command_line_t *line, int argc, char *const *argv, int *i)
{
    size_t  n;

    if (strcmp(argv[*i], "--config") == 0 || strcmp(argv[*i], "-o") == 0) {
        return billing_command_common(line, argc, argv, i);
    }

    if (line->command != NULL) {
        return billing_command_own(line, argc, argv, i);
    }

    for (n = 0; commands[n] != NULL; n++) {

        if (strcmp(commands[n]->name, argv[*i]) == 0) {
            line->command = commands[n];
            line->argv[line->argc++] = argv[*i];
            return EXIT_SUCCESS;
        }
    }

    fprintf(stderr, "billing_worker: what is \"%s\"?\n", argv[*i]);
    billing_command_usage(stderr, commands);

    return BILLING_EXIT_USAGE;
}


static int
billing_command_common(billing_command_line_t *line, int argc,
    char *const *argv, int *i)
{
    int  file;

    file = (strcmp(argv[*i], "--config") == 0);

    if (*i + 1 == argc) {
        return billing_command_wrong(line, argv[*i], " needs a value", "");
    }

    (*i)++;

    if (file) {
        line->source.file = argv[*i];

    } else {
        line->source.options[line->source.noptions++] = argv[*i];
    }

    return EXIT_SUCCESS;
}


static int
billing_command_own(billing_command_line_t *line, int argc,
    char *const *argv, int *i)
{
    char                    *word, *value;
    const billing_option_t  *o;

    word = argv[*i];

    if (word[0] != '-' || word[1] == '\0') {

        if (line->command->operands == NULL) {
            return billing_command_wrong(line, "what is \"", word, "\"?");
        }

        line->argv[line->argc++] = word;
        return EXIT_SUCCESS;
    }

    value = strchr(word, '=');

    o = billing_command_known(line->command->options, word,
                              (value != NULL) ? (size_t) (value - word)
                                              : strlen(word));

    if (o == NULL) {
        return billing_command_wrong(line, "what is \"", word, "\"?");
    }

    if (o->value == NULL && value != NULL) {
        return billing_command_wrong(line, o->name, " takes no value", "");
    }

    line->argv[line->argc++] = (char *) o->name;

    if (o->value == NULL) {
        return EXIT_SUCCESS;
    }

    if (value != NULL) {
        line->argv[line->argc++] = value + 1;
        return EXIT_SUCCESS;
    }

    if (*i + 1 == argc) {
        return billing_command_wrong(line, o->name, " needs a value: ",
                                     o->value);
    }

    line->argv[line->argc++] = argv[++(*i)];

    return EXIT_SUCCESS;
}


const char *
billing_command_option(const billing_option_t *options, int argc,
    char *const *argv, const char *name)
{
    int                      i;
    const char              *found;
    const billing_option_t  *o;

    found = NULL;

    for (i = 1; i < argc; i++) {

        o = billing_command_known(options, argv[i], strlen(argv[i]));

        if (o == NULL) {
            continue;
        }

        if (o->value != NULL) {
            i++;
        }

        if (strcmp(o->name, name) == 0) {
            found = (o->value != NULL) ? argv[i] : "";
        }
    }

    return found;
}


const char *
billing_command_operand(const billing_option_t *options, int argc,
    char *const *argv, int *i)
{
    const billing_option_t  *o;

    while (*i < argc) {

        o = billing_command_known(options, argv[*i], strlen(argv[*i]));

        if (o == NULL) {
            return argv[(*i)++];
        }

        *i += (o->value != NULL) ? 2 : 1;
    }

    return NULL;
}


static const billing_option_t *
billing_command_known(const billing_option_t *options, const char *name,
    size_t len)
{
    const billing_option_t  *o;

    for (o = options; o != NULL && o->name != NULL; o++) {

        if (strlen(o->name) == len && memcmp(o->name, name, len) == 0) {
            return o;
        }
    }

    return NULL;
}


/* What is wrong comes in three pieces. */

static int
billing_command_wrong(const billing_command_line_t *line, const char *word,
    const char *what, const char *value)
{
    fputs("billing_worker", stderr);

    if (line->command != NULL) {
        fprintf(stderr, ": %s", line->command->name);
    }

    fprintf(stderr, ": %s%s%s\n", word, what, value);

    if (line->command != NULL) {
        fprintf(stderr, "billing_worker %s --help tells\n",
                line->command->name);
    }

    return BILLING_EXIT_USAGE;
}


static void
billing_command_usage(FILE *f, const billing_command_t *const *commands)
{
    size_t  n;

    fputs("usage: billing_worker COMMAND [--config FILE] [-o KEY=VALUE]...\n"
          "       billing_worker COMMAND --help\n"
          "       billing_worker --help\n"
          "\n", f);

    for (n = 0; commands[n] != NULL; n++) {
        fprintf(f, "  %-10s %s\n", commands[n]->name, commands[n]->help);
    }

    fputs("\n"
          "Settings come from FILE (\"key = value\" lines, # begins a comment "
          "line), then\n"
          "from -o, the last one wins.  Those with a * are taken at the next "
          "start only,\n"
          "the others also by SIGHUP.  After each its unit and range.\n"
          "\n", f);

    billing_config_help(f);
}


static void
billing_command_help(FILE *f, const billing_command_t *command)
{
    const billing_option_t  *o;

    fputs("usage: billing_worker ", f);
    billing_command_synopsis(f, command);
    fprintf(f, "\n%s\n", command->help);

    if (command->options != NULL) {
        fputs("\n", f);

        for (o = command->options; o->name != NULL; o++) {
            fprintf(f, "  %s%s%s\n      %s\n", o->name,
                    (o->value != NULL) ? " " : "",
                    (o->value != NULL) ? o->value : "", o->help);
        }
    }

    if (command->more != NULL) {
        fprintf(f, "\n%s", command->more);
    }

    fputs("\nbilling_worker --help has the settings.\n", f);
}


static void
billing_command_synopsis(FILE *f, const billing_command_t *c)
{
    const billing_option_t  *o;

    fprintf(f, "%s [--config FILE] [-o KEY=VALUE]...", c->name);

    for (o = c->options; o != NULL && o->name != NULL; o++) {
        fprintf(f, " [%s%s%s]", o->name, (o->value != NULL) ? " " : "",
                (o->value != NULL) ? o->value : "");
    }

    if (c->operands != NULL) {
        fprintf(f, " %s", c->operands);
    }

    fputs("\n", f);
}
