
/*
 * Copyright (C) The Astro authors
 *
 * Signatures of webhooks: the vendors' own packages made some of them (see
 * t/integration/test_webhooks.py for the live judges), damage of every kind,
 * rotation, time.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "unit.h"

#include "astro_webhook.h"


#define NOW     1763690000
#define FIRST   "whsec_first_0123456789"
#define SECOND  "whsec_second_0123456789"
#define HEX     (64 + 1)


static astro_webhook_secrets_t  known;

static const char  file[] =
    "# made for tests\n"
    "\n"
    "stripe " FIRST "\n"
    "  stripe\t" SECOND " \r\n"
    "razorpay razorpay secret with blanks\n";


static void
setup(void)
{
    const char  *why;

    /* files() looks at what came of it */

    (void) astro_webhook_secrets_read(&known, (const uint8_t *) file,
                                      sizeof(file) - 1, &why);
}


/* hex of HMAC-SHA256, by the plain way to ask OpenSSL for it */

static const char *
mac(char hex[HEX], const char *secret, const char *before, const char *body)
{
    char      text[8192];
    size_t    i;
    uint8_t   raw[32];
    unsigned  n;

    (void) snprintf(text, sizeof(text), "%s%s", before, body);

    ck_assert_ptr_nonnull(HMAC(EVP_sha256(), secret, (int) strlen(secret),
                               (const uint8_t *) text, strlen(text), raw,
                               &n));

    for (i = 0; i < 32; i++) {
        (void) snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    }

    return hex;
}


/* header and body of exactly their size, for the sanitizers */

static astro_webhook_rc_e
verify(astro_webhook_vendor_e vendor, const char *header, const char *body,
    int64_t now)
{
    size_t               n, m;
    uint8_t             *h, *b;
    astro_webhook_rc_e   rc;

    n = strlen(header);
    m = strlen(body);
    h = malloc(n ? n : 1);
    b = malloc(m ? m : 1);
    ck_assert(h && b);
    memcpy(h, header, n);
    memcpy(b, body, m);

    rc = astro_webhook_verify(&known, vendor, h, n, b, m, now);

    free(h);
    free(b);

    return rc;
}


static astro_webhook_rc_e
stripe(const char *header, const char *body, int64_t now)
{
    return verify(ASTRO_WEBHOOK_STRIPE, header, body, now);
}


/* t=..,v1=.. made with a secret */

static const char *
sign(char header[256], const char *secret, int64_t at, const char *body)
{
    char  hex[HEX], before[32];

    (void) snprintf(before, sizeof(before), "%" PRId64 ".", at);
    (void) snprintf(header, 256, "t=%" PRId64 ",v1=%s", at,
                    mac(hex, secret, before, body));

    return header;
}


START_TEST(theirs)
{
    /* stripe 20.4.1: webhooks.generateTestHeaderString() */

    ck_assert_int_eq(stripe("t=1763690000,v1=0443bbafe78380128ef210007d6c5430"
                            "3737d98b5382fc76ef853f54e2347920",
                            "{\"id\":\"evt_1\"}", NOW),
                     ASTRO_WEBHOOK_OK);

    /* razorpay 2.9.8: validateWebhookSignature() says yes */

    ck_assert_int_eq(verify(ASTRO_WEBHOOK_RAZORPAY,
                            "e176b9b1e262bee45d51e0b2c9f9fcb7"
                            "a51e0053629bf0997afcdabdacc4e7d3",
                            "{\"id\":\"evt_1\"}", NOW),
                     ASTRO_WEBHOOK_OK);
}
END_TEST


START_TEST(ours)
{
    char  h[256], hex[HEX];

    ck_assert_int_eq(stripe(sign(h, FIRST, NOW, "{\"id\":1}"), "{\"id\":1}",
                            NOW),
                     ASTRO_WEBHOOK_OK);
    ck_assert_int_eq(stripe(sign(h, SECOND, NOW, ""), "", NOW),
                     ASTRO_WEBHOOK_OK);
    ck_assert_int_eq(stripe(sign(h, "whsec_third_0123456789", NOW, "x"), "x",
                            NOW),
                     ASTRO_WEBHOOK_SIGNATURE);

    /* one vendor's secret is nothing to the other, nor its way to sign */

    ck_assert_int_eq(stripe(sign(h, "razorpay secret with blanks", NOW, "x"),
                            "x", NOW),
                     ASTRO_WEBHOOK_SIGNATURE);
    ck_assert_int_eq(verify(ASTRO_WEBHOOK_RAZORPAY, mac(hex, FIRST, "", "x"),
                            "x", NOW),
                     ASTRO_WEBHOOK_SIGNATURE);
    ck_assert_int_eq(verify(ASTRO_WEBHOOK_RAZORPAY,
                            mac(hex, "razorpay secret with blanks", "", "x"),
                            "x", 0),
                     ASTRO_WEBHOOK_OK);
    ck_assert_int_eq(verify(ASTRO_WEBHOOK_RAZORPAY,
                            sign(h, FIRST, NOW, "x"), "x", NOW),
                     ASTRO_WEBHOOK_MALFORMED);
}
END_TEST


START_TEST(tolerance)
{
    char     h[256];
    int64_t  off;

    for (off = -302; off <= 302; off++) {
        (void) sign(h, FIRST, NOW + off, "x");
        must(stripe(h, "x", NOW) == ((off < -300 || off > 300)
                                     ? ASTRO_WEBHOOK_STALE
                                     : ASTRO_WEBHOOK_OK));
    }

    /* forged and old is forged */

    (void) sign(h, "whsec_third_0123456789", NOW - 1000, "x");
    ck_assert_int_eq(stripe(h, "x", NOW), ASTRO_WEBHOOK_SIGNATURE);
}
END_TEST


START_TEST(forms)
{
    char  h[512], t[16], a[HEX], b[HEX];

#define is(rc, ...)                                                           \
    do {                                                                      \
        (void) snprintf(h, sizeof(h), __VA_ARGS__);                           \
        ck_assert_int_eq(stripe(h, "x", NOW), rc);                            \
    } while (0)

    (void) snprintf(t, sizeof(t), "%d.", NOW);
    (void) mac(a, FIRST, t, "x");
    (void) mac(b, "nobody's", t, "x");

    is(ASTRO_WEBHOOK_OK, "t=%d,v1=%s,v1=%s", NOW, b, a);
    is(ASTRO_WEBHOOK_OK, "t=%d,v1=%s,v1=%s", NOW, a, b);
    is(ASTRO_WEBHOOK_OK, "v1=%s,t=%d", a, NOW);
    is(ASTRO_WEBHOOK_OK, "t=%d,v0=zz,v1=%s,,v2=%s,", NOW, a, b);
    is(ASTRO_WEBHOOK_SIGNATURE, "t=%d,v1=%s", NOW, b);
    is(ASTRO_WEBHOOK_SIGNATURE, "t=0%d,v1=%s", NOW, a);
    is(ASTRO_WEBHOOK_SIGNATURE, "t=%d,v1=%s", NOW - 1, a);

    /* an older scheme is not a way in */

    is(ASTRO_WEBHOOK_MALFORMED, "t=%d,v0=%s", NOW, a);

    is(ASTRO_WEBHOOK_MALFORMED, "%s", "");
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d", NOW);
    is(ASTRO_WEBHOOK_MALFORMED, "v1=%s", a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=,v1=%s", a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=-%d,v1=%s", NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d ,v1=%s", NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d, v1=%s", NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=9999999999999,v1=%s", a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d,t=%d,v1=%s", NOW, NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d,v1=%.63s", NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d,v1=%sa", NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d,v1=%.63sG", NOW, a);
    is(ASTRO_WEBHOOK_MALFORMED, "t=%d,v1=%.63sA", NOW, a);
}
END_TEST


START_TEST(too_many)
{
    char    h[4096], hex[HEX];
    size_t  n, i;

    n = (size_t) snprintf(h, sizeof(h), "t=%d", NOW);
    (void) mac(hex, FIRST, "1763690000.", "x");

    for (i = 0; i < 8; i++) {
        n += (size_t) snprintf(h + n, sizeof(h) - n, ",v1=%s", hex);
    }

    ck_assert_int_eq(stripe(h, "x", NOW), ASTRO_WEBHOOK_OK);
    (void) snprintf(h + n, sizeof(h) - n, ",v1=%s", hex);
    ck_assert_int_eq(stripe(h, "x", NOW), ASTRO_WEBHOOK_MALFORMED);

    memset(h + n, ',', 3000 - n);
    h[3000] = '\0';
    ck_assert_int_eq(stripe(h, "x", NOW), ASTRO_WEBHOOK_MALFORMED);
}
END_TEST


START_TEST(any_bit)
{
    int          bit;
    char         h[256], copy[256], text[64];
    size_t       i;
    const char  *body = "{\"id\":\"evt_1\",\"amount\":5000}";

    (void) sign(h, FIRST, NOW, body);

    /* of the body */

    for (i = 0; i < strlen(body); i++) {
        for (bit = 0; bit < 8; bit++) {
            (void) snprintf(text, sizeof(text), "%s", body);
            text[i] = (char) (text[i] ^ (1 << bit));

            must(text[i] == '\0'
                 || stripe(h, text, NOW) == ASTRO_WEBHOOK_SIGNATURE);
        }
    }

    /* of the header: nothing but itself is right */

    for (i = 0; i < strlen(h); i++) {
        for (bit = 0; bit < 8; bit++) {
            (void) snprintf(copy, sizeof(copy), "%s", h);
            copy[i] = (char) (copy[i] ^ (1 << bit));

            must(copy[i] == '\0'
                 || stripe(copy, body, NOW) != ASTRO_WEBHOOK_OK);
        }
    }

    /* one more, one less */

    (void) snprintf(text, sizeof(text), "%s ", body);
    ck_assert_int_eq(stripe(h, text, NOW), ASTRO_WEBHOOK_SIGNATURE);
    text[strlen(body) - 1] = '\0';
    ck_assert_int_eq(stripe(h, text, NOW), ASTRO_WEBHOOK_SIGNATURE);
}
END_TEST


static unsigned
reads(const char *text, const char *about)
{
    unsigned                  line;
    const char               *why;
    astro_webhook_secrets_t   s;

    line = astro_webhook_secrets_read(&s, (const uint8_t *) text,
                                      strlen(text), &why);

    ck_assert((line == 0) == (why == NULL));
    ck_assert(why == NULL || strstr(why, about) != NULL);

    return line;
}


START_TEST(files)
{
    char    text[4096];
    size_t  i, n;

    ck_assert_uint_eq(known.n[ASTRO_WEBHOOK_STRIPE], 2);
    ck_assert_uint_eq(known.n[ASTRO_WEBHOOK_RAZORPAY], 1);
    ck_assert_uint_eq(known.secrets[ASTRO_WEBHOOK_STRIPE][1].len,
                      strlen(SECOND));

    ck_assert_uint_eq(reads("", ""), 0);
    ck_assert_uint_eq(reads("#\n\n", ""), 0);
    ck_assert_uint_eq(reads("stripe 0123456789abcdef", ""), 0);
    ck_assert_uint_eq(reads("\n\nstripe 0123456789abcde\n", "16"), 3);
    ck_assert_uint_eq(reads("stripe\n", "16"), 1);
    ck_assert_uint_eq(reads("strip 0123456789abcdef\n", "neither"), 1);
    ck_assert_uint_eq(reads("stripes 0123456789abcdef\n", "neither"), 1);

    for (i = 0, n = 0; i < 9; i++) {
        n += (size_t) snprintf(text + n, sizeof(text) - n,
                               "stripe 0123456789abcdef\n");
    }

    ck_assert_uint_eq(reads(text, "8"), 9);

    memset(text, 'a', sizeof(text));
    memcpy(text, "stripe ", 7);
    text[7 + 257] = '\0';
    ck_assert_uint_eq(reads(text, "256"), 1);
    text[7 + 256] = '\0';
    ck_assert_uint_eq(reads(text, ""), 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    setup();

    s = suite_create("webhook");

    unit_add(s, "theirs", theirs);
    unit_add(s, "ours", ours);
    unit_add(s, "tolerance", tolerance);
    unit_add(s, "forms", forms);
    unit_add(s, "too_many", too_many);
    unit_add(s, "any_bit", any_bit);
    unit_add(s, "files", files);

    return unit_main(s);
}
