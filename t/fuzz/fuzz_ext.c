
/*
 * Copyright (C) The Astro authors
 *
 * Sec-WebSocket-Extensions.  Input: what we want, a header line.  What was
 * agreed is within it, and our answer is an offer that we would take again.
 */

#include "fuzz.h"

#include "astro_ws_ext.h"


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                   rc;
    size_t                n;
    uint8_t              *line, buf[ASTRO_WS_EXT_ANSWER];
    unsigned              flags;
    astro_ws_ext_t        agreed, again;
    astro_ws_ext_conf_t   conf;

    flags = take(&data, &size);

    conf.bits = (uint8_t) (9 + (flags & 7) % 7);
    conf.takeover = flags >> 3 & 1;

    line = copy_of(data, size);

    memset(&agreed, 0, sizeof(agreed));
    rc = astro_ws_ext_offer(&conf, line, size, &agreed);

    memset(&again, 0, sizeof(again));
    must(astro_ws_ext_offer(NULL, line, size, &again) == rc);
    must(!again.on);

    free(line);

    must(rc == 0 || rc == -1);

    if (!agreed.on) {
        return 0;
    }

    must(agreed.server_bits >= 9 && agreed.server_bits <= conf.bits);
    must(agreed.client_bits >= 8 && agreed.client_bits <= 15);
    must(!agreed.say_client_bits || agreed.client_bits <= conf.bits);
    must(conf.takeover || (!agreed.server_takeover && !agreed.client_takeover));

    n = astro_ws_ext_answer(&agreed, buf);
    must(n < ASTRO_WS_EXT_ANSWER);

    line = copy_of(buf, n);
    must(astro_ws_ext_offer(&conf, line, n, &again) == 0);
    free(line);

    must(again.on);
    must(again.server_bits == agreed.server_bits);
    must(again.server_takeover == agreed.server_takeover);
    must(again.client_takeover == agreed.client_takeover);
    must(!agreed.say_client_bits || again.client_bits == agreed.client_bits);

    return 0;
}
