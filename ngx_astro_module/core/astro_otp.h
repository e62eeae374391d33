
/*
 * Copyright (C) The Astro authors
 *
 * Codes of six digits that are sent to a phone.  Module and billing worker have
 * the same key; what they tell each other through the database is a nonce, so
 * that the code itself stands in no table, not even for a moment.
 */

#ifndef _ASTRO_OTP_H_INCLUDED_
#define _ASTRO_OTP_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define ASTRO_OTP_DIGITS   6
#define ASTRO_OTP_NONCE    64       /* hex digits */
#define ASTRO_OTP_MAC      64       /* hex digits */
#define ASTRO_OTP_KEY_MIN  32       /* bytes */
#define ASTRO_OTP_KEY_MAX  256


/* A nonce of fresh randomness, terminated; -1: there is none. */
int astro_otp_nonce(char nonce[ASTRO_OTP_NONCE + 1]);

/*
 * The code of a nonce, terminated: each of the million is as likely, and who
 * has not the key cannot tell which.  -1: no nonce.
 */
int astro_otp_code(const uint8_t *key, size_t key_len, const char *nonce,
    size_t nonce_len, char code[ASTRO_OTP_DIGITS + 1]);

/*
 * HMAC-SHA256 of a text, in hex, terminated; kind keeps one use of the key from
 * being another's.
 */
int astro_otp_mac(const uint8_t *key, size_t key_len, const char *kind,
    const char *id, const char *text, char mac[ASTRO_OTP_MAC + 1]);


#endif /* _ASTRO_OTP_H_INCLUDED_ */
