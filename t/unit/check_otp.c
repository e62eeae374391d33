
/*
 * Copyright (C) The Astro authors
 *
 * Codes that are sent to phones.
 */

#include "unit.h"

#include "astro_otp.h"


static const uint8_t  key[] = "0123456789abcdef0123456789abcdef";


START_TEST(codes)
{
    int   i, k, seen[ASTRO_OTP_DIGITS][10];
    char  nonce[ASTRO_OTP_NONCE + 1], other[ASTRO_OTP_NONCE + 1];
    char  code[ASTRO_OTP_DIGITS + 1], again[ASTRO_OTP_DIGITS + 1];

    memset(seen, 0, sizeof(seen));

    for (i = 0; i < 20000; i++) {
        ck_assert_int_eq(astro_otp_nonce(nonce), 0);
        ck_assert_int_eq(astro_otp_code(key, 32, nonce, 64, code), 0);
        must(strspn(code, "0123456789") == 6 && code[6] == '\0');

        for (k = 0; k < ASTRO_OTP_DIGITS; k++) {
            seen[k][code[k] - '0']++;
        }
    }

    /* 2000 each, with a deviation of 42 */

    for (k = 0; k < ASTRO_OTP_DIGITS; k++) {
        for (i = 0; i < 10; i++) {
            ck_assert_msg(seen[k][i] > 1700 && seen[k][i] < 2300,
                          "digit %d is %d %d times", k, i, seen[k][i]);
        }
    }

    /* module and worker make the same of one nonce, and nobody else does */

    astro_otp_nonce(nonce);
    astro_otp_nonce(other);
    ck_assert_str_ne(nonce, other);

    astro_otp_code(key, 32, nonce, 64, code);
    astro_otp_code(key, 32, nonce, 64, again);
    ck_assert_str_eq(code, again);

    k = 0;

    for (i = 0; i < 20; i++) {
        astro_otp_nonce(nonce);
        astro_otp_code(key, 32, nonce, 64, code);
        astro_otp_code(key, 31, nonce, 64, again);
        k += strcmp(code, again) == 0;
    }

    ck_assert_int_le(k, 1);
}
END_TEST


START_TEST(no_nonces)
{
    char  code[ASTRO_OTP_DIGITS + 1], text[ASTRO_OTP_NONCE + 2];

    memset(text, 'a', sizeof(text));
    ck_assert_int_eq(astro_otp_code(key, 32, text, 64, code), 0);
    ck_assert_int_eq(astro_otp_code(key, 32, text, 63, code), -1);
    ck_assert_int_eq(astro_otp_code(key, 32, text, 65, code), -1);
    ck_assert_int_eq(astro_otp_code(key, 32, text, 0, code), -1);

    text[10] = 'A';
    ck_assert_int_eq(astro_otp_code(key, 32, text, 64, code), -1);

    text[10] = '\0';
    ck_assert_int_eq(astro_otp_code(key, 32, text, 64, code), -1);
}
END_TEST


START_TEST(macs)
{
    char  a[ASTRO_OTP_MAC + 1], b[ASTRO_OTP_MAC + 1];
    char  longest[600];

    ck_assert_int_eq(astro_otp_mac(key, 32, "k", "id", "123456", a), 0);
    ck_assert_int_eq((int) strlen(a), ASTRO_OTP_MAC);
    astro_otp_mac(key, 32, "k", "id", "123456", b);
    ck_assert_str_eq(a, b);

    astro_otp_mac(key, 32, "k", "id", "123457", b);
    ck_assert_str_ne(a, b);
    astro_otp_mac(key, 32, "k", "ie", "123456", b);
    ck_assert_str_ne(a, b);
    astro_otp_mac(key, 32, "l", "id", "123456", b);
    ck_assert_str_ne(a, b);
    astro_otp_mac(key, 31, "k", "id", "123456", b);
    ck_assert_str_ne(a, b);

    /* where one part ends counts */

    astro_otp_mac(key, 32, "k", "id1", "23456", b);
    ck_assert_str_ne(a, b);
    astro_otp_mac(key, 32, "ki", "d", "123456", b);
    ck_assert_str_ne(a, b);

    memset(longest, 'x', sizeof(longest));
    longest[599] = '\0';
    ck_assert_int_eq(astro_otp_mac(key, 32, "k", "id", longest, b), -1);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("otp");

    unit_add(s, "codes", codes);
    unit_add(s, "no_nonces", no_nonces);
    unit_add(s, "macs", macs);

    return unit_main(s);
}
