
/*
 * Copyright (C) The Astro authors
 *
 * Passwords: scrypt (RFC 7914), salted.  Slow on purpose (about 100 ms and
 * 32 MB at the default cost): call it in a thread, never in an event loop.
 */

#ifndef _ASTRO_PASSWORD_H_INCLUDED_
#define _ASTRO_PASSWORD_H_INCLUDED_


#include <stddef.h>


/* "$scrypt$ln=15,r=8,p=1$<salt>$<hash>", base64 without padding */
#define ASTRO_PASSWORD_HASH_MAX  128
#define ASTRO_PASSWORD_MIN       8      /* bytes; NIST SP 800-63B 5.1.1.2 */
#define ASTRO_PASSWORD_MAX       256

/* 0, or -1: no memory, no randomness. */
int astro_password_hash(const char *password, size_t len,
    char hash[ASTRO_PASSWORD_HASH_MAX]);

/*
 * 1 if it is the password, 0 if not, -1 if hash is malformed.  A NULL hash
 * (no such account) costs the same time and gives 0.
 */
int astro_password_verify(const char *password, size_t len, const char *hash);


#endif /* _ASTRO_PASSWORD_H_INCLUDED_ */
