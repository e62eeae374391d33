
/*
 * Copyright (C) The Astro authors
 *
 * Whether a webhook is the vendor's own: signatures over the raw body, made
 * with secrets that vendor and we share.  No secret, no matter how wrong the
 * signature, is compared in a time that depends on it.
 */

#ifndef _ASTRO_WEBHOOK_H_INCLUDED_
#define _ASTRO_WEBHOOK_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_WEBHOOK_SECRETS     8     /* of one vendor, while they rotate */
#define ASTRO_WEBHOOK_SECRET_MIN  16    /* bytes */
#define ASTRO_WEBHOOK_SECRET_MAX  256
#define ASTRO_WEBHOOK_HEADER_MAX  2048
#define ASTRO_WEBHOOK_TOLERANCE   300   /* seconds, either way */


typedef enum {
    ASTRO_WEBHOOK_STRIPE = 0,
    ASTRO_WEBHOOK_RAZORPAY,
    ASTRO_WEBHOOK_VENDORS
} astro_webhook_vendor_e;

typedef enum {
    ASTRO_WEBHOOK_OK = 0,
    ASTRO_WEBHOOK_MALFORMED,    /* the header is not one of this vendor's */
    ASTRO_WEBHOOK_SIGNATURE,    /* it is, and no secret of ours made it */
    ASTRO_WEBHOOK_STALE         /* one did, and too long ago, or to come */
} astro_webhook_rc_e;

typedef struct {
    const uint8_t  *data;
    size_t          len;
} astro_webhook_secret_t;

/* All that are known; the bytes belong to the text they were read from. */
typedef struct {
    size_t                  n[ASTRO_WEBHOOK_VENDORS];
    astro_webhook_secret_t  secrets[ASTRO_WEBHOOK_VENDORS]
                                   [ASTRO_WEBHOOK_SECRETS];
} astro_webhook_secrets_t;


/*
 * Reads lines "<vendor> <secret>"; empty ones and those that begin with # are
 * skipped.  Any of a vendor's secrets will do.  Returns 0, or the number of the
 * line that is wrong, and what is wrong in *why, a text without the secret.
 */
unsigned astro_webhook_secrets_read(astro_webhook_secrets_t *s,
    const uint8_t *text, size_t len, const char **why);

/*
 * header is Stripe-Signature, "t=<unix>,v1=<hex>[,v1=<hex>]...": HMAC-SHA256
 * over "<t>.<body>".  Other schemes than v1 are skipped.  now in seconds.
 *
 * Or X-Razorpay-Signature, "<hex>": HMAC-SHA256 over the body; now is not read.
 */
astro_webhook_rc_e astro_webhook_verify(const astro_webhook_secrets_t *s,
    astro_webhook_vendor_e vendor, const uint8_t *header, size_t header_len,
    const uint8_t *body, size_t len, int64_t now);

/* "stripe", "razorpay" */
const char *astro_webhook_vendor_name(astro_webhook_vendor_e vendor);


#endif /* _ASTRO_WEBHOOK_H_INCLUDED_ */
