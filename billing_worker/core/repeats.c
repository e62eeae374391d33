
/*
 * Copyright (C) The Astro authors
 *
 * How often the same may be said: see repeats.h.
 */

#include <string.h>

#include "repeats.h"


int
billing_repeats_may(billing_repeats_t *r, const char *text, int64_t second,
    uint64_t *left_out)
{
    unsigned           i;
    billing_repeat_t  *t;

    *left_out = 0;

    for (i = 0; i < r->n; i++) {
        if (r->texts[i].text == text
            || strcmp(r->texts[i].text, text) == 0)
        {
            break;
        }
    }

    if (i == BILLING_REPEATS_TEXTS) {
        return 1;
    }

    t = &r->texts[i];

    if (i == r->n) {
        memset(t, 0, sizeof(billing_repeat_t));
        t->text = text;
        t->second = second;
        r->n++;
    }

    if (t->second != second) {
        t->second = second;
        t->n = 0;
    }

    if (t->n == BILLING_REPEATS_BURST) {
        t->left_out++;
        return 0;
    }

    t->n++;
    *left_out = t->left_out;
    t->left_out = 0;

    return 1;
}
