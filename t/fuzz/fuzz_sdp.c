
/*
 * Copyright (C) The Astro authors
 *
 * Session descriptions, escaped as the input says, against the plain reader of
 * the unit tests; and the input as it is, which may be no JSON at all.
 */

#include "fuzz.h"

#include "../unit/sdp_plainly.h"


static const uint8_t  *choices;
static size_t          nchoices;


static unsigned
choose(void)
{
    return take(&choices, &nchoices);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char            *text;
    size_t           n, len;
    uint8_t         *s, *raw;
    astro_sdp_rc_e   rc;

    s = copy_of(data, size);
    rc = astro_sdp_check(s, size);
    must((rc == ASTRO_SDP_OK) == (astro_sdp_error(rc)[0] == '\0'));
    free(s);

    /* the text ends at a zero octet; what follows it are choices */

    for (len = 0; len < size && data[len]; len++) { /* void */ }

    choices = data + len;
    nchoices = size - len;

    text = malloc(len + 1);
    raw = malloc(len * 6 + 1);
    must(text && raw);

    memcpy(text, data, len);
    text[len] = '\0';

    n = escaped(text, len, raw, choose);
    s = copy_of(raw, n);

    must(astro_sdp_check(s, n) == plainly(text));

    free(s);
    free(raw);
    free(text);

    return 0;
}
