
/*
 * Copyright (C) The Astro authors
 *
 * Segments: see segments.h.
 */

#include <stdlib.h>

#include "segments.h"
#include "text.h"


#define BILLING_SEGMENTS_FIRST  4


int64_t
billing_segments_place(billing_segment_t *segments, size_t nsegments,
    const billing_interval_t *iv, size_t n)
{
    size_t   i;
    int64_t  open, proven;

    open = BILLING_NEVER;

    for (i = 0; i < nsegments; i++) {
        segments[i].from_ms = billing_proof_measure(iv, n, segments[i].at_ms,
                                                    BILLING_PROJECT);

        if (open != BILLING_NEVER) {
            continue;
        }

        proven = billing_proof_measure(iv, n, segments[i].at_ms,
                                       BILLING_PROVEN);

        if (proven != segments[i].from_ms) {
            open = segments[i].at_ms;
        }
    }

    return open;
}


int
billing_segments_parse(const char *text, billing_segment_t **segments,
    size_t *size, size_t *n)
{
    int                 rc;
    size_t              more;
    int64_t             at_ms, rate;
    billing_segment_t  *grown;

    *n = 0;

    for ( ;; ) {
        rc = billing_text_next(&text, &at_ms);

        if (rc == 0) {
            return BILLING_OK;
        }

        if (rc != 1 || billing_text_next(&text, &rate) != 1 || rate <= 0) {
            return BILLING_ERROR;
        }

        if (*n > 0 && at_ms < (*segments)[*n - 1].at_ms) {
            return BILLING_ERROR;
        }

        if (*n == *size) {
            more = *size ? *size * 2 : BILLING_SEGMENTS_FIRST;

            grown = realloc(*segments, more * sizeof(billing_segment_t));
            if (grown == NULL) {
                return BILLING_ERROR;
            }

            *segments = grown;
            *size = more;
        }

        (*segments)[*n].at_ms = at_ms;
        (*segments)[*n].rate = rate;
        (*segments)[*n].from_ms = 0;
        (*n)++;
    }
}
