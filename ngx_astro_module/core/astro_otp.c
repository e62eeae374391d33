
/*
 * Copyright (C) The Astro authors
 *
 * Codes: see astro_otp.h.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <string.h>

#include "astro_otp.h"


#define ASTRO_OTP_SUM    32
#define ASTRO_OTP_TEXT   512
#define ASTRO_OTP_RANGE  1000000u

/* numbers from here on would make small codes more likely */
#define ASTRO_OTP_FAIR   (UINT32_MAX - UINT32_MAX % ASTRO_OTP_RANGE)


static int astro_otp_sum(const uint8_t *key, size_t key_len, const char *kind,
    const char *id, size_t id_len, const char *text,
    uint8_t sum[ASTRO_OTP_SUM]);
static void astro_otp_hex(char *dst, const uint8_t *src, size_t len);


int
astro_otp_nonce(char nonce[ASTRO_OTP_NONCE + 1])
{
    uint8_t  random[ASTRO_OTP_NONCE / 2];

    if (RAND_bytes(random, sizeof(random)) != 1) {
        return -1;
    }

    astro_otp_hex(nonce, random, sizeof(random));

    return 0;
}


int
astro_otp_code(const uint8_t *key, size_t key_len, const char *nonce,
    size_t nonce_len, char code[ASTRO_OTP_DIGITS + 1])
{
    int       i, n;
    char      round[2];
    size_t    k;
    uint8_t   sum[ASTRO_OTP_SUM];
    uint32_t  number;

    if (nonce_len != ASTRO_OTP_NONCE) {
        return -1;
    }

    for (k = 0; k < nonce_len; k++) {
        if (strchr("0123456789abcdef", nonce[k]) == NULL || !nonce[k]) {
            return -1;
        }
    }

    /* eight draws a round, of which one in 14000 is refused */

    number = UINT32_MAX;

    for (n = 0; n < 10 && number >= ASTRO_OTP_FAIR; n++) {
        round[0] = (char) ('0' + n);
        round[1] = '\0';

        if (astro_otp_sum(key, key_len, "code", nonce, nonce_len, round, sum)
            != 0)
        {
            return -1;
        }

        for (i = 0; i < ASTRO_OTP_SUM && number >= ASTRO_OTP_FAIR; i += 4) {
            number = (uint32_t) sum[i] << 24 | (uint32_t) sum[i + 1] << 16
                     | (uint32_t) sum[i + 2] << 8 | sum[i + 3];
        }
    }

    number %= ASTRO_OTP_RANGE;

    for (i = ASTRO_OTP_DIGITS - 1; i >= 0; i--) {
        code[i] = (char) ('0' + number % 10);
        number /= 10;
    }

    code[ASTRO_OTP_DIGITS] = '\0';

    return 0;
}


int
astro_otp_mac(const uint8_t *key, size_t key_len, const char *kind,
    const char *id, const char *text, char mac[ASTRO_OTP_MAC + 1])
{
    uint8_t  sum[ASTRO_OTP_SUM];

    if (astro_otp_sum(key, key_len, kind, id, strlen(id), text, sum) != 0) {
        return -1;
    }

    astro_otp_hex(mac, sum, sizeof(sum));

    return 0;
}


/* Each part with a NUL behind it: none can be taken for two. */

static int
astro_otp_sum(const uint8_t *key, size_t key_len, const char *kind,
    const char *id, size_t id_len, const char *text,
    uint8_t sum[ASTRO_OTP_SUM])
{
    size_t    kind_len, text_len;
    uint8_t  *p, buf[ASTRO_OTP_TEXT];
    unsigned  n;

    kind_len = strlen(kind) + 1;
    text_len = strlen(text) + 1;

    if (kind_len + id_len + 1 + text_len > sizeof(buf)) {
        return -1;
    }

    p = buf;
    memcpy(p, kind, kind_len);
    p += kind_len;
    memcpy(p, id, id_len);
    p += id_len;
    *p++ = '\0';
    memcpy(p, text, text_len);
    p += text_len;

    n = ASTRO_OTP_SUM;

    return HMAC(EVP_sha256(), key, (int) key_len, buf, (size_t) (p - buf),
                sum, &n) != NULL && n == ASTRO_OTP_SUM ? 0 : -1;
}


static void
astro_otp_hex(char *dst, const uint8_t *src, size_t len)
{
    size_t             i;
    static const char  hex[] = "0123456789abcdef";

    for (i = 0; i < len; i++) {
        dst[i * 2] = hex[src[i] >> 4];
        dst[i * 2 + 1] = hex[src[i] & 0xf];
    }

    dst[len * 2] = '\0';
}
