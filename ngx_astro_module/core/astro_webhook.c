
/*
 * Copyright (C) The Astro authors
 *
 * Signatures of webhooks: see astro_webhook.h.
 *
 * What a header is made of is looked at octet by octet and never copied but
 * into places of fixed size.  Every signature of a header is compared with
 * what every secret makes of the body, also after one has matched: how long it
 * takes says nothing but how many there are.
 */

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <string.h>

#include "astro_webhook.h"


#define ASTRO_WEBHOOK_MAC    32
#define ASTRO_WEBHOOK_MACS   8      /* v1= that are looked at; more: no */
#define ASTRO_WEBHOOK_TIME   12     /* digits */


/* the signatures of a header, and what is signed before the body */
typedef struct {
    size_t          n;
    uint8_t         macs[ASTRO_WEBHOOK_MACS][ASTRO_WEBHOOK_MAC];
    const uint8_t  *time;           /* digits, NULL: there is none */
    size_t          time_len;
    int64_t         at;
} astro_webhook_header_t;


static int astro_webhook_stripe(astro_webhook_header_t *h, const uint8_t *p,
    size_t len);
static int astro_webhook_time(astro_webhook_header_t *h, const uint8_t *p,
    size_t len);
static int astro_webhook_hex(uint8_t mac[ASTRO_WEBHOOK_MAC], const uint8_t *p,
    size_t len);
static int astro_webhook_mac(const astro_webhook_secret_t *secret,
    const astro_webhook_header_t *h, const uint8_t *body, size_t len,
    uint8_t mac[ASTRO_WEBHOOK_MAC]);
static const char *astro_webhook_line(astro_webhook_secrets_t *s,
    const uint8_t *p, const uint8_t *last);


static const char *const  astro_webhook_vendors[] = { "stripe", "razorpay" };


const char *
astro_webhook_vendor_name(astro_webhook_vendor_e vendor)
{
    return astro_webhook_vendors[vendor];
}


astro_webhook_rc_e
astro_webhook_verify(const astro_webhook_secrets_t *s,
    astro_webhook_vendor_e vendor, const uint8_t *header, size_t header_len,
    const uint8_t *body, size_t len, int64_t now)
{
    int                     same;
    size_t                  i, k;
    uint8_t                 mac[ASTRO_WEBHOOK_MAC];
    astro_webhook_header_t  h;

    memset(&h, 0, sizeof(astro_webhook_header_t));

    if (header_len > ASTRO_WEBHOOK_HEADER_MAX) {
        return ASTRO_WEBHOOK_MALFORMED;
    }

    if (vendor == ASTRO_WEBHOOK_STRIPE) {

        if (astro_webhook_stripe(&h, header, header_len) != 0) {
            return ASTRO_WEBHOOK_MALFORMED;
        }

    } else {

        if (astro_webhook_hex(h.macs[0], header, header_len) != 0) {
            return ASTRO_WEBHOOK_MALFORMED;
        }

        h.n = 1;
    }

    same = 0;

    for (i = 0; i < s->n[vendor]; i++) {

        if (astro_webhook_mac(&s->secrets[vendor][i], &h, body, len, mac)
            != 0)
        {
            continue;
        }

        for (k = 0; k < h.n; k++) {
            same |= (CRYPTO_memcmp(mac, h.macs[k], ASTRO_WEBHOOK_MAC) == 0);
        }
    }

    OPENSSL_cleanse(mac, sizeof(mac));

    if (!same) {
        return ASTRO_WEBHOOK_SIGNATURE;
    }

    if (h.time != NULL
        && (h.at < now - ASTRO_WEBHOOK_TOLERANCE
            || h.at > now + ASTRO_WEBHOOK_TOLERANCE))
    {
        return ASTRO_WEBHOOK_STALE;
    }

    return ASTRO_WEBHOOK_OK;
}


/* One t, at least one v1; what is not ours to know is skipped. */

static int
astro_webhook_stripe(astro_webhook_header_t *h, const uint8_t *p, size_t len)
{
    const uint8_t  *last, *end;

    last = p + len;

    while (p < last) {

        end = memchr(p, ',', (size_t) (last - p));

        if (end == NULL) {
            end = last;
        }

        if (end - p > 2 && p[0] == 't' && p[1] == '=') {

            if (h->time != NULL
                || astro_webhook_time(h, p + 2, (size_t) (end - p) - 2) != 0)
            {
                return -1;
            }

        } else if (end - p > 3 && memcmp(p, "v1=", 3) == 0) {

            if (h->n == ASTRO_WEBHOOK_MACS
                || astro_webhook_hex(h->macs[h->n], p + 3,
                                     (size_t) (end - p) - 3)
                   != 0)
            {
                return -1;
            }

            h->n++;
        }

        p = (end < last) ? end + 1 : last;
    }

    return (h->time != NULL && h->n > 0) ? 0 : -1;
}


static int
astro_webhook_time(astro_webhook_header_t *h, const uint8_t *p, size_t len)
{
    size_t  i;

    if (len == 0 || len > ASTRO_WEBHOOK_TIME) {
        return -1;
    }

    h->at = 0;

    for (i = 0; i < len; i++) {

        if (p[i] < '0' || p[i] > '9') {
            return -1;
        }

        h->at = h->at * 10 + (p[i] - '0');
    }

    /* signed as it was written, with its leading zeros */

    h->time = p;
    h->time_len = len;

    return 0;
}


static int
astro_webhook_hex(uint8_t mac[ASTRO_WEBHOOK_MAC], const uint8_t *p,
    size_t len)
{
    size_t   i;
    uint8_t  digit;

    if (len != (size_t) ASTRO_WEBHOOK_MAC * 2) {
        return -1;
    }

    for (i = 0; i < len; i++) {

        if (p[i] >= '0' && p[i] <= '9') {
            digit = (uint8_t) (p[i] - '0');

        } else if (p[i] >= 'a' && p[i] <= 'f') {
            digit = (uint8_t) (p[i] - 'a' + 10);

        } else {
            return -1;
        }

        mac[i / 2] = (uint8_t) ((i % 2) ? (mac[i / 2] | digit)
                                        : (digit << 4));
    }

    return 0;
}


static int
astro_webhook_mac(const astro_webhook_secret_t *secret,
    const astro_webhook_header_t *h, const uint8_t *body, size_t len,
    uint8_t mac[ASTRO_WEBHOOK_MAC])
{
    int           ok;
    size_t        n;
    EVP_PKEY     *key;
    EVP_MD_CTX   *ctx;

    n = ASTRO_WEBHOOK_MAC;
    ctx = EVP_MD_CTX_new();
    key = EVP_PKEY_new_mac_key(EVP_PKEY_HMAC, NULL, secret->data,
                               (int) secret->len);

    ok = (ctx != NULL && key != NULL
          && EVP_DigestSignInit(ctx, NULL, EVP_sha256(), NULL, key) == 1
          && (h->time == NULL
              || (EVP_DigestSignUpdate(ctx, h->time, h->time_len) == 1
                  && EVP_DigestSignUpdate(ctx, ".", 1) == 1))
          && EVP_DigestSignUpdate(ctx, body, len) == 1
          && EVP_DigestSignFinal(ctx, mac, &n) == 1
          && n == ASTRO_WEBHOOK_MAC);

    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);

    return ok ? 0 : -1;
}


unsigned
astro_webhook_secrets_read(astro_webhook_secrets_t *s, const uint8_t *text,
    size_t len, const char **why)
{
    unsigned        n;
    const uint8_t  *p, *end, *last;

    memset(s, 0, sizeof(astro_webhook_secrets_t));

    p = text;
    last = text + len;

    for (n = 1; p < last; n++) {

        end = memchr(p, '\n', (size_t) (last - p));

        if (end == NULL) {
            end = last;
        }

        *why = astro_webhook_line(s, p, end);

        if (*why != NULL) {
            return n;
        }

        p = (end < last) ? end + 1 : last;
    }

    *why = NULL;

    return 0;
}


static const char *
astro_webhook_line(astro_webhook_secrets_t *s, const uint8_t *p,
    const uint8_t *last)
{
    size_t                   i, len;
    const uint8_t           *word;
    astro_webhook_secret_t  *secret;

#define astro_webhook_blank(c)  ((c) == ' ' || (c) == '\t' || (c) == '\r')

    while (p < last && astro_webhook_blank(*p)) {
        p++;
    }

    while (p < last && astro_webhook_blank(last[-1])) {
        last--;
    }

    if (p == last || *p == '#') {
        return NULL;
    }

    word = p;

    while (p < last && !astro_webhook_blank(*p)) {
        p++;
    }

    len = (size_t) (p - word);

    for (i = 0; i < ASTRO_WEBHOOK_VENDORS; i++) {

        if (strlen(astro_webhook_vendors[i]) == len
            && memcmp(astro_webhook_vendors[i], word, len) == 0)
        {
            break;
        }
    }

    if (i == ASTRO_WEBHOOK_VENDORS) {
        return "the vendor is neither stripe nor razorpay";
    }

    while (p < last && astro_webhook_blank(*p)) {
        p++;
    }

    len = (size_t) (last - p);

    if (len < ASTRO_WEBHOOK_SECRET_MIN || len > ASTRO_WEBHOOK_SECRET_MAX) {
        return "a secret has from 16 to 256 bytes";
    }

    if (s->n[i] == ASTRO_WEBHOOK_SECRETS) {
        return "a vendor has at most 8 secrets";
    }

    secret = &s->secrets[i][s->n[i]++];
    secret->data = p;
    secret->len = len;

    return NULL;
}
