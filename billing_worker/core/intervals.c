
/*
 * Copyright (C) The Astro authors
 *
 * Intervals from text: see intervals.h.
 */

#include <stdlib.h>

#include "intervals.h"
#include "tariff.h"
#include "text.h"


#define BILLING_INTERVALS_FIRST  16


int
billing_intervals_parse(const char *text, billing_interval_t **iv,
    size_t *size, size_t *n)
{
    int                  rc, i;
    size_t               more;
    int64_t              v[5];
    billing_interval_t  *grown;

    *n = 0;

    for ( ;; ) {

        for (i = 0; i < 5; i++) {
            rc = billing_text_next(&text, &v[i]);

            if (rc == 0 && i == 0) {
                return BILLING_OK;
            }

            if (rc != 1) {
                return BILLING_ERROR;
            }
        }

        if (v[0] != BILLING_CLIENT && v[0] != BILLING_ADVISOR) {
            return BILLING_ERROR;
        }

        if (*n == *size) {
            more = *size ? *size * 2 : BILLING_INTERVALS_FIRST;

            grown = realloc(*iv, more * sizeof(billing_interval_t));
            if (grown == NULL) {
                return BILLING_ERROR;
            }

            *iv = grown;
            *size = more;
        }

        (*iv)[*n].party = (uint8_t) v[0];
        (*iv)[*n].from_ms = v[1];
        (*iv)[*n].to_ms = v[2];
        (*iv)[*n].open = (v[3] != 0);
        (*iv)[*n].unpaid = (v[4] != 0);
        (*n)++;
    }
}
