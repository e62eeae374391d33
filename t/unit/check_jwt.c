
/*
 * Copyright (C) The Astro authors
 *
 * Tokens: those of another implementation and its verdict on ours, RFC 7515's
 * own example, and damage of every kind.
 */

#include "unit.h"

#include "astro_jwt.h"


#define NOW  1763690000
#define KEY  "5f0c1de2a4b8973625140f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c4b5a"


static astro_keys_t         *keys;
static astro_json_parser_t  *parser;


static const char *const  verdicts[] = {
    [ASTRO_JWT_OK] = "ok",
    [ASTRO_JWT_MALFORMED] = "malformed",
    [ASTRO_JWT_KEY] = "key",
    [ASTRO_JWT_SIGNATURE] = "signature",
    [ASTRO_JWT_EXPIRED] = "expired",
    [ASTRO_JWT_NOT_YET] = "not_yet"
};


static astro_keys_t *
of_secret(const void *secret, size_t len)
{
    astro_keys_t  *k;

    k = astro_keys_create();
    ck_assert_ptr_nonnull(k);
    ck_assert_int_eq(astro_keys_add_secret(k, secret, len), 0);

    return k;
}


/* output of "make" is read, input of "read" written and its output kept */

static FILE *
oracle(const char *what, const char *output)
{
    char         command[512];
    FILE        *f;
    const char  *path;

    path = "oracle_jwt.py";

    if (access("t/unit/oracle_jwt.py", R_OK) == 0) {
        path = "t/unit/oracle_jwt.py";
    }

    (void) snprintf(command, sizeof(command),
                    "/usr/bin/python3 %s %s %s %d %s%s", path, what, KEY, NOW,
                    output ? ">" : "", output ? output : "");

    f = popen(command, output ? "w" : "r");
    ck_assert_ptr_nonnull(f);

    return f;
}


static astro_jwt_rc_e
verify(const char *token, size_t len, astro_claims_t *claims)
{
    uint8_t         *copy;
    astro_jwt_rc_e   rc;

    /* of exactly its size, for the sanitizers */

    copy = malloc(len ? len : 1);
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, token, len);

    rc = astro_jwt_verify(parser, keys, copy, len, NOW, claims);
    free(copy);

    return rc;
}


START_TEST(theirs)
{
    int              n, ok;
    FILE            *f;
    char             expected[16], token[ASTRO_JWT_MAX];
    astro_claims_t   claims;
    astro_jwt_rc_e   rc;

    f = oracle("make", NULL);
    ok = 0;

    for (n = 0; fscanf(f, "%15s %4095s", expected, token) == 2; n++) {
        rc = verify(token, strlen(token), &claims);

        ck_assert_msg(strcmp(verdicts[rc], expected) == 0,
                      "line %d: %s, not %s: %s", n + 1, verdicts[rc],
                      expected, token);

        if (rc == ASTRO_JWT_OK) {
            ok++;
            ck_assert_uint_ne(claims.user, 0);
            ck_assert_int_ne(claims.role, ASTRO_ROLE_NONE);
            ck_assert_int_gt(claims.exp, NOW);
        }

        if (n == 0) {
            ck_assert_uint_eq(claims.user, 17);
            ck_assert_int_eq(claims.role, ASTRO_ROLE_CLIENT);
            ck_assert_int_eq(claims.iat, NOW);
            ck_assert_int_eq(claims.exp, NOW + 3600);
            ck_assert_str_eq(claims.jti, "0123456789abcdef0123456789abcdef");
        }
    }

    ck_assert_int_eq(pclose(f), 0);
    ck_assert_int_gt(n, 60);
    ck_assert_int_gt(ok, 10);
}
END_TEST


START_TEST(ours)
{
    FILE             *f;
    char              file[64], line[256], expected[256];
    ssize_t           n;
    uint8_t           token[ASTRO_JWT_MAX];
    astro_claims_t    claims, back;

    memset(&claims, 0, sizeof(claims));

    claims.user = 72057594037927935;
    claims.role = ASTRO_ROLE_ADVISOR;
    claims.iat = NOW;
    claims.exp = NOW + 43200;

    n = astro_jwt_issue(keys, &claims, token, sizeof(token));
    ck_assert_int_gt(n, 0);
    ck_assert_uint_eq(strspn(claims.jti, "0123456789abcdef"), 32);

    ck_assert_int_eq(verify((char *) token, (size_t) n, &back), ASTRO_JWT_OK);
    ck_assert_uint_eq(back.user, claims.user);
    ck_assert_int_eq(back.role, claims.role);
    ck_assert_int_eq(back.iat, claims.iat);
    ck_assert_int_eq(back.exp, claims.exp);
    ck_assert_str_eq(back.jti, claims.jti);

    /* what the other side reads in it */

    (void) snprintf(expected, sizeof(expected),
                    "u_72057594037927935 advisor %d %d %s\n", NOW,
                    NOW + 43200, claims.jti);

    strcpy(file, "/tmp/check_jwt.XXXXXX");
    ck_assert_int_ne(mkstemp(file), -1);

    f = oracle("read", file);
    ck_assert_uint_eq(fwrite(token, 1, (size_t) n, f), (size_t) n);
    ck_assert_int_eq(pclose(f), 0);

    f = fopen(file, "r");
    ck_assert_ptr_nonnull(f);
    (void) unlink(file);
    ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
    (void) fclose(f);

    ck_assert_str_eq(line, expected);
}
END_TEST


/* RFC 7515 appendix A.1: signed right, and not meant for us */

START_TEST(rfc)
{
    uint8_t          key[64];
    ssize_t          n;
    astro_keys_t    *theirs;
    astro_claims_t   claims;
    astro_jwt_rc_e   rc;
    char             token[] =
        "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
        ".eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt"
        "cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
        ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
    static const char  k[] =
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4h"
        "cgUuTwjAzZr1Z9CAow";

    n = astro_base64url_decode(key, sizeof(key), (const uint8_t *) k,
                               strlen(k));
    ck_assert_int_eq(n, 64);

    theirs = of_secret(key, 64);

    rc = astro_jwt_verify(parser, theirs, (uint8_t *) token, strlen(token),
                          1300819000, &claims);
    ck_assert_int_eq(rc, ASTRO_JWT_MALFORMED);

    token[45]++;
    rc = astro_jwt_verify(parser, theirs, (uint8_t *) token, strlen(token),
                          1300819000, &claims);
    ck_assert_int_eq(rc, ASTRO_JWT_SIGNATURE);

    astro_keys_destroy(theirs);
}
END_TEST


/* every single octet, changed in every bit: no token but the one issued */

START_TEST(damaged)
{
    int              bit;
    char             copy[ASTRO_JWT_MAX + 8];
    size_t           len, i;
    ssize_t          n;
    uint8_t          token[ASTRO_JWT_MAX];
    astro_keys_t    *other;
    astro_claims_t   claims;

    memset(&claims, 0, sizeof(claims));

    claims.user = 5;
    claims.role = ASTRO_ROLE_CLIENT;
    claims.iat = NOW;
    claims.exp = NOW + 60;

    n = astro_jwt_issue(keys, &claims, token, sizeof(token));
    ck_assert_int_gt(n, 0);

    len = (size_t) n;
    memcpy(copy, token, len);

    for (i = 0; i < len; i++) {
        for (bit = 0; bit < 8; bit++) {
            copy[i] ^= (char) (1 << bit);

            must(verify(copy, len, &claims) != ASTRO_JWT_OK);

            copy[i] ^= (char) (1 << bit);
        }

        must(verify(copy, i, &claims) != ASTRO_JWT_OK);
    }

    must(verify(copy, len, &claims) == ASTRO_JWT_OK);

    for (i = 0; i < 4; i++) {
        copy[len] = "=. A"[i];
        must(verify(copy, len + 1, &claims) != ASTRO_JWT_OK);
    }

    /* another key, and none at all */

    other = of_secret(KEY, strlen(KEY) - 1);
    must(astro_jwt_verify(parser, other, token, len, NOW, &claims)
         == ASTRO_JWT_SIGNATURE);
    astro_keys_destroy(other);

    other = astro_keys_create();
    must(astro_jwt_verify(parser, other, token, len, NOW, &claims)
         == ASTRO_JWT_KEY);
    astro_keys_destroy(other);

    memset(copy, 'A', ASTRO_JWT_MAX + 1);
    must(verify(copy, ASTRO_JWT_MAX + 1, &claims) == ASTRO_JWT_MALFORMED);
    must(verify("", 0, &claims) == ASTRO_JWT_MALFORMED);
    must(verify(".", 1, &claims) == ASTRO_JWT_MALFORMED);
    must(verify("..", 2, &claims) == ASTRO_JWT_MALFORMED);
}
END_TEST


/* a key that is too short is none */

START_TEST(short_key)
{
    astro_keys_t  *k;

    k = astro_keys_create();

    ck_assert_int_eq(astro_keys_add_secret(k, (const uint8_t *) KEY, 31), -1);
    ck_assert_int_eq(astro_keys_add_secret(k, (const uint8_t *) KEY, 0), -1);
    ck_assert_uint_eq(astro_keys_count(k), 0);
    ck_assert_int_eq(astro_keys_add_secret(k, (const uint8_t *) KEY, 32), 0);
    ck_assert_uint_eq(astro_keys_count(k), 1);

    astro_keys_destroy(k);
}
END_TEST


START_TEST(issuing)
{
    size_t           size;
    ssize_t          n;
    uint8_t          token[512];
    astro_keys_t    *none;
    astro_claims_t   claims;

    memset(&claims, 0, sizeof(claims));

    claims.user = 5;
    claims.role = ASTRO_ROLE_CLIENT;
    claims.exp = NOW;
    strcpy(claims.jti, "0123456789abcdef0123456789abcdef");

    n = astro_jwt_issue(keys, &claims, token, sizeof(token));
    ck_assert_int_gt(n, 0);
    ck_assert_str_eq(claims.jti, "0123456789abcdef0123456789abcdef");

    strcpy(claims.sid, "../../../../../../../../../../..");
    ck_assert_int_eq(astro_jwt_issue(keys, &claims, token, sizeof(token)),
                     -1);
    claims.sid[0] = '\0';

    /* no octet beyond size, for the sanitizers */

    for (size = 0; size <= (size_t) n; size++) {
        uint8_t  *buf;

        buf = malloc(size ? size : 1);
        ck_assert_ptr_nonnull(buf);
        must(astro_jwt_issue(keys, &claims, buf, size)
             == (size < (size_t) n ? -1 : n));
        free(buf);
    }

    none = astro_keys_create();
    ck_assert_int_eq(astro_jwt_issue(none, &claims, token, sizeof(token)),
                     -1);
    astro_keys_destroy(none);

    claims.user = 0;
    ck_assert_int_eq(astro_jwt_issue(keys, &claims, token, sizeof(token)),
                     -1);
    claims.user = 1;
    claims.role = ASTRO_ROLE_ANY;
    ck_assert_int_eq(astro_jwt_issue(keys, &claims, token, sizeof(token)),
                     -1);
    claims.role = ASTRO_ROLE_ADMIN;
    strcpy(claims.jti, "\",\"role\":\"admin\",\"x\":\"");
    ck_assert_int_eq(astro_jwt_issue(keys, &claims, token, sizeof(token)),
                     -1);
}
END_TEST


START_TEST(roles)
{
    ck_assert_str_eq(astro_role_name(ASTRO_ROLE_CLIENT), "client");
    ck_assert_str_eq(astro_role_name(ASTRO_ROLE_ADVISOR), "advisor");
    ck_assert_str_eq(astro_role_name(ASTRO_ROLE_ADMIN), "admin");
    ck_assert_str_eq(astro_role_name(ASTRO_ROLE_NONE), "");
    ck_assert_str_eq(astro_role_name(ASTRO_ROLE_ANY), "");

    ck_assert_int_eq(astro_role_parse((const uint8_t *) "admin", 5),
                     ASTRO_ROLE_ADMIN);
    ck_assert_int_eq(astro_role_parse((const uint8_t *) "admin", 4), 0);
    ck_assert_int_eq(astro_role_parse((const uint8_t *) "Admin", 5), 0);
    ck_assert_int_eq(astro_role_parse((const uint8_t *) "", 0), 0);
}
END_TEST


static ssize_t
decode(const char *s, uint8_t *out, size_t size)
{
    return astro_base64url_decode(out, size, (const uint8_t *) s, strlen(s));
}


START_TEST(base64url)
{
    int       i;
    size_t    n, len, at;
    uint8_t   src[48], text[80], back[48], out[8];

    /* RFC 4648 section 10, without padding */

    static const char *const  vectors[] = {
        "", "Zg", "Zm8", "Zm9v", "Zm9vYg", "Zm9vYmE", "Zm9vYmFy"
    };

    for (n = 0; n < 7; n++) {
        len = strlen(vectors[n]);

        ck_assert_int_eq(astro_base64url_encode(text, sizeof(text),
                                                (const uint8_t *) "foobar",
                                                n), (ssize_t) len);
        ck_assert_int_eq(memcmp(text, vectors[n], len), 0);
        ck_assert_int_eq(decode(vectors[n], out, sizeof(out)), (ssize_t) n);
        ck_assert_int_eq(memcmp(out, "foobar", n), 0);

        if (n) {
            ck_assert_int_eq(decode(vectors[n], out, n - 1), -1);
            ck_assert_int_eq(astro_base64url_encode(text, len - 1, src, n),
                             -1);
        }
    }

    ck_assert_int_eq(decode("-_-_", out, 8), 3);
    ck_assert_int_eq(memcmp(out, "\xfb\xff\xbf", 3), 0);

    /* not canonical, or not the alphabet */

    ck_assert_int_eq(decode("Zh", out, 8), -1);
    ck_assert_int_eq(decode("Zm9", out, 8), -1);
    ck_assert_int_eq(decode("A", out, 8), -1);
    ck_assert_int_eq(decode("AAAAA", out, 8), -1);
    ck_assert_int_eq(decode("Zg==", out, 8), -1);
    ck_assert_int_eq(decode("+/+/", out, 8), -1);
    ck_assert_int_eq(decode("Zm9v ", out, 8), -1);
    ck_assert_int_eq(decode("Zm\n9v", out, 8), -1);

    for (i = 0; i < 20000; i++) {
        len = unit_below(sizeof(src) + 1);

        for (at = 0; at < len; at++) {
            src[at] = (uint8_t) unit_random();
        }

        n = (size_t) astro_base64url_encode(text, sizeof(text), src, len);

        must(n == (len * 4 + 2) / 3);
        must(astro_base64url_decode(back, len, text, n) == (ssize_t) len);
        must(memcmp(src, back, len) == 0);

        if (n) {
            /* one spelling: any other character decodes to other octets */

            at = unit_below(n);
            text[at] = (uint8_t) (text[at] ^ (1 << unit_below(8)));

            must(astro_base64url_decode(back, len, text, n) == -1
                 || memcmp(src, back, len) != 0);
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    parser = astro_json_parser_create();
    keys = astro_keys_create();

    if (parser == NULL || keys == NULL
        || astro_keys_add_secret(keys, (const uint8_t *) KEY, strlen(KEY))
           != 0)
    {
        return EXIT_FAILURE;
    }

    s = suite_create("jwt");

    unit_add(s, "theirs", theirs);
    unit_add(s, "ours", ours);
    unit_add(s, "rfc", rfc);
    unit_add(s, "damaged", damaged);
    unit_add(s, "short_key", short_key);
    unit_add(s, "issuing", issuing);
    unit_add(s, "roles", roles);
    unit_add(s, "base64url", base64url);

    return unit_main(s);
}
