
/*
 * Copyright (C) The Astro authors
 *
 * The command audit: see audit.h.
 *
 * All of it is read in one REPEATABLE READ transaction, so that it may run
 * beside the workers and sees one moment.  It asks for whole tables in an
 * order and merges them: no plan depends on statistics, and memory is the same
 * for ten sessions and ten million.  What must be equal to what is computed
 * here, with the same tariff and proof as the engine's; or by the database,
 * where it is about sums.
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit.h"
#include "audit_parts.h"
#include "clock.h"
#include "tariff.h"


static int billing_audit_main(billing_config_t *config, int argc,
    char *const *argv);
static int billing_audit_run(billing_audit_t *a);
static void billing_audit_keep(billing_audit_t *a);


static const billing_option_t  billing_audit_options[] = {
    { "--json", NULL, "one JSON object a line, the last is the result" },
    { "--progress", NULL, "say how far it is, also if nobody looks" },
    { NULL, NULL, NULL }
};


const billing_command_t  billing_audit_command = {
    "audit",
    "proves the books, also while workers run; prints each violation",
    "exit status: 0 all is right, 1 violations, 2 could not look\n",
    NULL,
    billing_audit_options,
    billing_audit_main
};


static int
billing_audit_main(billing_config_t *config, int argc, char *const *argv)
{
    int              rc, json, progress;
    billing_audit_t  a;

    json = (billing_command_option(billing_audit_options, argc, argv,
                                   "--json") != NULL);
    progress = isatty(STDERR_FILENO)
               || (billing_command_option(billing_audit_options, argc, argv,
                                          "--progress") != NULL);

    memset(&a, 0, sizeof(billing_audit_t));

    billing_report_start(&a.report, json, progress);

    if (billing_snapshot_open(&a.snapshot, config->pg) != BILLING_OK) {
        return BILLING_AUDIT_FAILED;
    }

    rc = billing_audit_run(&a);

    if (rc == BILLING_OK) {
        billing_audit_keep(&a);
    }

    billing_snapshot_close(&a.snapshot);
    free(a.blamed);

    if (rc != BILLING_OK) {

        /* what was found so far is true all the same */

        (void) fflush(stdout);
        return BILLING_AUDIT_FAILED;
    }

    if (billing_report_end(&a.report, &a.totals) != BILLING_OK) {
        perror("billing_worker: audit: cannot write");
        return BILLING_AUDIT_FAILED;
    }

    return a.report.violations ? BILLING_AUDIT_VIOLATION : BILLING_AUDIT_CLEAN;
}


static int
billing_audit_run(billing_audit_t *a)
{
    if (billing_audit_sessions(a) != BILLING_OK
        || billing_audit_others(a) != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    return billing_audit_wallets(a);
}


/*
 * The verdict, for operators to see.  It is as good if it cannot be kept: in a
 * database that may be read alone, say.
 */

static void
billing_audit_keep(billing_audit_t *a)
{
    int          i;
    char         texts[5][24];
    int64_t      numbers[5];
    const char  *values[6];

    numbers[0] = billing_clock() - a->report.started;
    numbers[1] = a->totals.sessions;
    numbers[2] = a->totals.transfers;
    numbers[3] = a->totals.wallets;
    numbers[4] = a->report.violations;

    for (i = 0; i < 5; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%" PRId64, numbers[i]);
        values[i] = texts[i];
    }

    values[5] = a->report.first;

    if (billing_snapshot_done(&a->snapshot, "SELECT billing.audit_done($1, $2,"
                              " $3, $4, $5, $6)", 6, values)
        != BILLING_OK)
    {
        fprintf(stderr, "billing_worker: audit: the verdict is not kept\n");
    }
}


int
billing_audit_blame(billing_audit_t *a, int64_t wallet)
{
    size_t    size;
    int64_t  *blamed;

    if (a->nblamed == a->blamed_size) {
        size = a->blamed_size ? a->blamed_size * 2 : 64;

        blamed = realloc(a->blamed, size * sizeof(int64_t));
        if (blamed == NULL) {
            fprintf(stderr, "billing_worker: audit: out of memory\n");
            return BILLING_ERROR;
        }

        a->blamed = blamed;
        a->blamed_size = size;
    }

    a->blamed[a->nblamed++] = wallet;

    return BILLING_OK;
}
