
/*
 * Copyright (C) The Astro authors
 *
 * Signatures of webhooks, and the file with the secrets.  Input: a kind, the
 * length of the header, header, body.  What was not signed here is never
 * right; what was is, whatever stands around it.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fuzz.h"

#include "astro_webhook.h"


#define NOW     1700000000
#define SECRET  "0123456789abcdef"


static void
read_file(const uint8_t *data, size_t size)
{
    size_t                    i, k;
    uint8_t                  *copy;
    unsigned                  line;
    const char               *why;
    const uint8_t            *p;
    astro_webhook_secrets_t   s;

    copy = copy_of(data, size);
    line = astro_webhook_secrets_read(&s, copy, size, &why);

    must((line == 0) == (why == NULL));

    for (i = 0; i < ASTRO_WEBHOOK_VENDORS; i++) {
        must(s.n[i] <= ASTRO_WEBHOOK_SECRETS);

        for (k = 0; k < s.n[i]; k++) {
            p = s.secrets[i][k].data;
            must(p > copy && p + s.secrets[i][k].len <= copy + size);
            must(s.secrets[i][k].len >= ASTRO_WEBHOOK_SECRET_MIN);
            must(s.secrets[i][k].len <= ASTRO_WEBHOOK_SECRET_MAX);
            must(memchr(p, '\n', s.secrets[i][k].len) == NULL);
        }
    }

    free(copy);
}


static void
sign(const uint8_t *body, size_t len, const astro_webhook_secrets_t *s)
{
    char      header[128];
    size_t    i, n;
    uint8_t   mac[32], text[4096];
    unsigned  k;

    n = (size_t) snprintf((char *) text, sizeof(text), "%d.", NOW);
    memcpy(text + n, body, len);
    must(HMAC(EVP_sha256(), SECRET, 16, text, n + len, mac, &k));

    n = (size_t) snprintf(header, sizeof(header), "t=%d,v1=", NOW);

    for (i = 0; i < 32; i++) {
        n += (size_t) snprintf(header + n, 3, "%02x", mac[i]);
    }

    must(astro_webhook_verify(s, ASTRO_WEBHOOK_STRIPE,
                              (const uint8_t *) header, n, body, len, NOW)
         == ASTRO_WEBHOOK_OK);
    must(astro_webhook_verify(s, ASTRO_WEBHOOK_STRIPE,
                              (const uint8_t *) header, n, body, len,
                              NOW + 301)
         == ASTRO_WEBHOOK_STALE);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                    n;
    uint8_t                  *header, *body;
    unsigned                  kind;
    const char               *why;
    astro_webhook_rc_e        rc;
    astro_webhook_secrets_t   s;

    static const uint8_t  file[] = "stripe " SECRET "\nrazorpay " SECRET "\n";

    kind = take(&data, &size);

    if (size > 2048) {
        return 0;
    }

    if (kind % 4 == 0) {
        read_file(data, size);
        return 0;
    }

    must(astro_webhook_secrets_read(&s, file, sizeof(file) - 1, &why) == 0);

    n = take(&data, &size);
    n = n < size ? n : size;

    header = copy_of(data, n);
    body = copy_of(data + n, size - n);

    rc = astro_webhook_verify(&s, (kind & 1) ? ASTRO_WEBHOOK_STRIPE
                                             : ASTRO_WEBHOOK_RAZORPAY,
                              header, n, body, size - n, NOW);

    must(rc != ASTRO_WEBHOOK_OK && rc != ASTRO_WEBHOOK_STALE);

    sign(body, size - n, &s);

    free(header);
    free(body);

    return 0;
}
