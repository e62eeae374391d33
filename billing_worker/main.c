
/*
 * Copyright (C) The Astro authors
 *
 * billing_worker: the command line.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "config.h"
#include "run.h"
#include "tariff.h"


#define BILLING_EXIT_USAGE   2
#define BILLING_OPTIONS_MAX  32


static int billing_main_args(int argc, char *const *argv,
    billing_run_args_t *args);
static void billing_main_usage(FILE *f);


int
main(int argc, char *const *argv)
{
    int                 rc;
    char                error[1024];
    char               *options[BILLING_OPTIONS_MAX];
    billing_config_t    config;
    billing_run_args_t  args;

    memset(&args, 0, sizeof(billing_run_args_t));
    args.options = options;

    rc = billing_main_args(argc, argv, &args);

    if (rc >= 0) {
        return rc;
    }

    if (billing_config_load(&config, args.file, args.options, args.noptions,
                            error, sizeof(error))
        != BILLING_OK)
    {
        fprintf(stderr, "billing_worker: %s\n", error);
        return BILLING_EXIT_USAGE;
    }

    if (strcmp(args.command, "audit") == 0) {
        rc = billing_audit(config.pg);

    } else {
        rc = billing_run(&config, &args);
    }

    billing_config_free(&config);

    return rc;
}


/* Returns the status to exit with, or -1 to go on. */

static int
billing_main_args(int argc, char *const *argv, billing_run_args_t *args)
{
    int  i;

    for (i = 1; i < argc; i++) {

        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            billing_main_usage(stdout);
            return EXIT_SUCCESS;
        }

        if (strcmp(argv[i], "--config") == 0 && i + 1 < argc) {
            args->file = argv[++i];
            continue;
        }

        if (strcmp(argv[i], "-o") == 0 && i + 1 < argc) {

            if (args->noptions == BILLING_OPTIONS_MAX) {
                fprintf(stderr, "billing_worker: too many -o\n");
                return BILLING_EXIT_USAGE;
            }

            args->options[args->noptions++] = argv[++i];
            continue;
        }

        if (args->command == NULL
            && (strcmp(argv[i], "run") == 0 || strcmp(argv[i], "audit") == 0))
        {
            args->command = argv[i];
            continue;
        }

        fprintf(stderr, "billing_worker: what is \"%s\"?\n", argv[i]);
        billing_main_usage(stderr);
        return BILLING_EXIT_USAGE;
    }

    if (args->command == NULL) {
        billing_main_usage(stderr);
        return BILLING_EXIT_USAGE;
    }

    return -1;
}


static void
billing_main_usage(FILE *f)
{
    fputs(
"usage: billing_worker run   [--config FILE] [-o KEY=VALUE]...\n"
"       billing_worker audit [--config FILE] [-o KEY=VALUE]...\n"
"       billing_worker --help\n"
"\n"
"  run     meters live sessions and moves the money, until SIGTERM\n"
"  audit   proves the books, also while workers run; prints each violation\n"
"\n"
"Settings come from FILE (\"key = value\" lines, # begins a comment line),\n"
"then from -o, the last one wins:\n"
"\n"
"  pg                  where PostgreSQL is, as libpq has it; required\n"
"  redis               unix:/path or host:port; none: work without Redis\n"
"  redis_prefix        before the names of channels (astro:)\n"
"  tick_seconds        time between two charges of a session (15)\n"
"  paid_ahead_seconds  how far ahead money is held (60)\n"
"  low_seconds         warn when the money will do for no longer (120)\n"
"  ring_seconds        a session that rings longer is missed (45)\n"
"  grace_seconds       to come, or to come back, before peer_lost (60)\n"
"  log_level           error, warn, info, debug (info)\n"
"\n"
"exit status: run: 0 stopped by a signal, 1 could not run, 2 wrong use or\n"
"             setting; audit: 0 all is right, 1 violations, 2 could not look\n",
          f);
}
