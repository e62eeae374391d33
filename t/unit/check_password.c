
/*
 * Copyright (C) The Astro authors
 *
 * Passwords: ours, and hashes made elsewhere: by hashlib.scrypt with the
 * parameters named, and one from the documentation of passlib.
 */

#include <time.h>

#include "unit.h"

#include "astro_password.h"


#define HASH  "$scrypt$ln=15,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$"                 \
              "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0"


static int
verify(const char *password, const char *hash)
{
    return astro_password_verify(password, strlen(password), hash);
}


static double
seconds(void)
{
    struct timespec  t;

    (void) clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);

    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


START_TEST(ours)
{
    char    a[ASTRO_PASSWORD_HASH_MAX], b[ASTRO_PASSWORD_HASH_MAX];
    char    empty[] = "";
    size_t  i;

    ck_assert_int_eq(astro_password_hash("astro-demo", 10, a), 0);
    ck_assert_int_eq(astro_password_hash("astro-demo", 10, b), 0);

    ck_assert_str_ne(a, b);
    ck_assert_int_eq(strncmp(a, "$scrypt$ln=15,r=8,p=1$", 22), 0);
    ck_assert_uint_eq(strlen(a), 22 + 22 + 1 + 43);

    ck_assert_int_eq(verify("astro-demo", a), 1);
    ck_assert_int_eq(verify("astro-demo", b), 1);
    ck_assert_int_eq(verify("astro-demO", a), 0);
    ck_assert_int_eq(verify("astro-demo ", a), 0);
    ck_assert_int_eq(verify("", a), 0);

    /* any octet counts, a zero too */

    ck_assert_int_eq(astro_password_hash("a\0b", 3, a), 0);
    ck_assert_int_eq(astro_password_verify("a\0b", 3, a), 1);
    ck_assert_int_eq(astro_password_verify("a\0c", 3, a), 0);
    ck_assert_int_eq(astro_password_verify("a", 1, a), 0);

    ck_assert_int_eq(astro_password_hash(empty, 0, a), 0);
    ck_assert_int_eq(verify("", a), 1);

    /* a hash that is not the whole of it */

    for (i = 22; i < strlen(a); i++) {
        b[0] = a[i];
        a[i] = (char) (a[i] == 'A' ? 'B' : 'A');

        if (i % 9 == 0 && i != 44) {
            ck_assert_int_eq(verify("", a), 0);
        }

        a[i] = b[0];
    }
}
END_TEST


START_TEST(theirs)
{
    ck_assert_int_eq(verify("Tr0ub4dor&3", HASH), 1);
    ck_assert_int_eq(verify("Tr0ub4dor&4", HASH), 0);

    /* other costs than ours */

    ck_assert_int_eq(verify("password",
                            "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$"
                            "nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"), 1);
    ck_assert_int_eq(verify("Tr0ub4dor&3",
                            "$scrypt$ln=4,r=1,p=2$AAECAwQFBgcICQoLDA0ODw$"
                            "ZYULFbAhdslf2vJJ6Jmcl7Mm5Y/iws69Do3XH4wuxUI"),
                     1);
}
END_TEST


START_TEST(malformed)
{
    size_t  i, n;
    char    hash[ASTRO_PASSWORD_HASH_MAX];

    static const char *const  bad[] = {
        "",
        "$",
        "$2b$12$EixZaYVK1fsbw1ZfbX3OXePaWxn96p36WQoeG6Lruj3vjPGga31lW",
        "$scrypt$ln=0,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=18,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=15,r=0,p=1$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=15,r=9,p=1$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=15,r=8,p=0$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=15,r=8,p=5$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=-1,r=8,p=1$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=15,r=8$AAECAwQFBgcICQoLDA0ODw$"
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        "$scrypt$ln=15,r=8,p=1$AAECAwQFBgcICQoLDA0ODw=="
        "6JW2ttgDL7OWuxD1AFSd+Pf37LhmZN4kK9VMLbsjSL0",
        HASH "=",
        HASH "A",
        "x" HASH
    };

    for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        ck_assert_msg(verify("Tr0ub4dor&3", bad[i]) == -1, "%s", bad[i]);
    }

    n = strlen(HASH);

    for (i = 0; i < n; i++) {
        memcpy(hash, HASH, i);
        hash[i] = '\0';

        ck_assert_int_eq(verify("Tr0ub4dor&3", hash), -1);
    }

    /* outside the alphabet */

    for (i = 22; i < n; i += 3) {
        memcpy(hash, HASH, n + 1);
        hash[i] = (i & 1) ? '!' : ' ';

        ck_assert_int_eq(verify("Tr0ub4dor&3", hash), -1);
    }
}
END_TEST


/* whether there is such an account is not told by the time it takes */

START_TEST(nobody)
{
    double  known, unknown;

    (void) verify("Tr0ub4dor&3", HASH);

    known = seconds();
    ck_assert_int_eq(verify("Tr0ub4dor&4", HASH), 0);
    known = seconds() - known;

    unknown = seconds();
    ck_assert_int_eq(verify("Tr0ub4dor&4", NULL), 0);
    unknown = seconds() - unknown;

    ck_assert_msg(unknown > known / 3 && unknown < known * 3,
                  "%.3f s for an account, %.3f s for none", known, unknown);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("password");

    unit_add(s, "ours", ours);
    unit_add(s, "theirs", theirs);
    unit_add(s, "malformed", malformed);
    unit_add(s, "nobody", nobody);

    return unit_main(s);
}
