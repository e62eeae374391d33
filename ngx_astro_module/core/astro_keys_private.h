
/*
 * Copyright (C) The Astro authors
 *
 * A key from inside: for astro_keys.c, which reads it, and astro_keys_sign.c,
 * which uses it.
 */

#ifndef _ASTRO_KEYS_PRIVATE_H_INCLUDED_
#define _ASTRO_KEYS_PRIVATE_H_INCLUDED_


#include <openssl/evp.h>

#include "astro_keys.h"


struct astro_key_s {
    astro_alg_e   alg;
    char          kid[ASTRO_KEYS_KID_MAX + 1];
    uint8_t      *secret;           /* HS256 */
    size_t        secret_len;
    EVP_PKEY     *pkey;             /* all others */
    unsigned      is_private:1;     /* can sign */
};


struct astro_keys_s {
    size_t        n;
    astro_key_t   key[ASTRO_KEYS_MAX];
};


#endif /* _ASTRO_KEYS_PRIVATE_H_INCLUDED_ */
