
/*
 * Copyright (C) The Astro authors
 *
 * Reads one password, a line on standard input, and prints its hash, as it is
 * kept in the database.  A password is no argument: arguments can be seen by
 * every user of the machine.
 */


#include <stdio.h>
#include <string.h>

#include <openssl/crypto.h>

#include "astro_password.h"


static const char  usage[] =
    "usage: astro_password < FILE\n"
    "Reads one password, a line on standard input, and prints its scrypt\n"
    "hash for the account table.  The password has %d to %d bytes.\n";


int
main(int argc, char **argv)
{
    int     rc;
    char    line[ASTRO_PASSWORD_MAX + 2], hash[ASTRO_PASSWORD_HASH_MAX];
    size_t  len;

    if (argc > 1) {
        rc = strcmp(argv[1], "--help") != 0;

        (void) fprintf(rc ? stderr : stdout, usage, ASTRO_PASSWORD_MIN,
                       ASTRO_PASSWORD_MAX);
        return rc ? 2 : 0;
    }

    if (fgets(line, sizeof(line), stdin) == NULL) {
        (void) fprintf(stderr, "astro_password: no password on standard"
                       " input\n");
        return 2;
    }

    len = strcspn(line, "\n");

    if (len < ASTRO_PASSWORD_MIN || len > ASTRO_PASSWORD_MAX) {
        (void) fprintf(stderr, "astro_password: the password must have %d to"
                       " %d bytes\n", ASTRO_PASSWORD_MIN, ASTRO_PASSWORD_MAX);
        return 2;
    }

    rc = astro_password_hash(line, len, hash);

    OPENSSL_cleanse(line, sizeof(line));

    if (rc != 0) {
        (void) fprintf(stderr, "astro_password: no memory or no"
                       " randomness\n");
        return 1;
    }

    return printf("%s\n", hash) < 0 || fflush(stdout) != 0;
}
