
/*
 * Copyright (C) The Astro authors
 *
 * billing_worker: its commands.  Each has a file of its own: see command.h.
 */

#include <stdio.h>

#include "audit.h"
#include "command.h"
#include "outbox.h"
#include "payouts.h"
#include "private.h"
#include "reconcile.h"
#include "run.h"
#include "statement.h"
#include "tariff.h"


static const billing_command_t *const  billing_main_commands[] = {
    &billing_run_command,
    &billing_audit_command,
    &billing_payouts_command,
    &billing_outbox_command,
    &billing_statement_command,
    &billing_reconcile_command,
    &billing_retention_command,
    NULL
};


int
main(int argc, char *const *argv)
{
    int                     rc;
    char                    error[1024];
    billing_config_t        config;
    billing_command_line_t  line;

    rc = billing_command_parse(billing_main_commands, argc, argv, &line);

    if (rc >= 0) {
        billing_command_free(&line);
        return rc;
    }

    if (billing_config_load(&config, &line.source, error, sizeof(error))
        != BILLING_OK)
    {
        fprintf(stderr, "billing_worker: %s\n", error);
        billing_command_free(&line);
        return BILLING_EXIT_USAGE;
    }

    rc = line.command->run(&config, line.argc, line.argv);

    billing_config_free(&config);
    billing_command_free(&line);

    return rc;
}
