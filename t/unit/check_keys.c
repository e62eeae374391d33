
/*
 * Copyright (C) The Astro authors
 *
 * Key sets: those of another implementation with the tokens that it signed,
 * its verdict on ours, and sets that are wrong in every way that matters.
 */

#include "unit.h"

#include "astro_jwt.h"


#define NOW       1763690000
#define NOW_TEXT  "1763690000"
#define KEY       "5f0c1de2a4b8973625140f1e2d3c4b5a69788796a5b4c3d2e1f00f1e2d3c"
#define SET       16384
#define CLERK     "https://clerk.test"


static FILE                 *oracle;
static char                  own_set[SET], their_set[SET];
static astro_keys_t         *own, *fetched, *file;
static astro_json_parser_t  *parser;


static const char *const  verdicts[] = {
    [ASTRO_JWT_OK] = "ok",
    [ASTRO_JWT_MALFORMED] = "malformed",
    [ASTRO_JWT_KEY] = "key",
    [ASTRO_JWT_SIGNATURE] = "signature",
    [ASTRO_JWT_EXPIRED] = "expired",
    [ASTRO_JWT_NOT_YET] = "not_yet"
};


/* another implementation reads "<set> <token>" and writes what it found */

static FILE *
check_with_oracle(const char *output)
{
    char   command[512];
    FILE  *f;

    (void) snprintf(command, sizeof(command),
                    "/usr/bin/python3 %soracle_jwt.py check %s %d >%s",
                    access("t/unit/oracle_jwt.py", R_OK) == 0 ? "t/unit/" : "",
                    KEY, NOW, output);

    f = popen(command, "w");
    ck_assert_ptr_nonnull(f);

    return f;
}


/* NULL with *why if it is refused; from a copy of exactly its size */

static astro_keys_t *
read_set(const char *text, size_t len, astro_keys_from_e from,
    const char **why)
{
    int            rc;
    uint8_t       *copy;
    astro_keys_t  *k;

    copy = malloc(len ? len : 1);
    k = astro_keys_create();

    ck_assert_ptr_nonnull(copy);
    ck_assert_ptr_nonnull(k);
    memcpy(copy, text, len);

    *why = NULL;
    rc = astro_keys_read(k, parser, copy, len, from, why);
    free(copy);

    if (rc != 0) {
        ck_assert_ptr_nonnull(*why);
        astro_keys_destroy(k);
        return NULL;
    }

    return k;
}


/* once, before tests are forked: RSA keys take their time; 0: made */

static int
setup(void)
{
    const char  *why;

    parser = astro_json_parser_create();
    oracle = popen(access("t/unit/oracle_jwt.py", R_OK) == 0
                   ? "/usr/bin/python3 t/unit/oracle_jwt.py sets " KEY " "
                     NOW_TEXT
                   : "/usr/bin/python3 oracle_jwt.py sets " KEY " " NOW_TEXT,
                   "r");

    own = astro_keys_create();
    file = astro_keys_create();
    fetched = astro_keys_create();

    if (parser == NULL || oracle == NULL || own == NULL || file == NULL
        || fetched == NULL
        || fgets(own_set, SET, oracle) == NULL
        || fgets(their_set, SET, oracle) == NULL)
    {
        return -1;
    }

    return astro_keys_read(own, parser, (uint8_t *) own_set, strlen(own_set),
                           ASTRO_KEYS_OWN, &why) != 0
           || astro_keys_read(file, parser, (uint8_t *) their_set,
                              strlen(their_set), ASTRO_KEYS_FILE, &why) != 0
           || astro_keys_read(fetched, parser, (uint8_t *) their_set,
                              strlen(their_set), ASTRO_KEYS_FETCHED, &why)
              != 0;
}


START_TEST(theirs)
{
    int               n, ok;
    char              whose[16], expected[16], token[ASTRO_JWT_MAX];
    size_t            len;
    astro_claims_t    claims;
    astro_jwt_rc_e    rc;
    astro_outside_t   who;

    ck_assert_uint_eq(astro_keys_count(own), 4);
    ck_assert_uint_eq(astro_keys_count(fetched), 2);
    ck_assert_uint_eq(astro_keys_count(file), 3);

    ok = 0;

    for (n = 0;
         fscanf(oracle, "%15s %15s %4095s", whose, expected, token) == 3;
         n++)
    {
        len = strlen(token);

        if (strcmp(whose, "own") == 0) {
            rc = astro_jwt_verify(parser, own, (uint8_t *) token, len, NOW,
                                  &claims);

        } else {
            rc = astro_jwt_verify_outside(parser,
                                          whose[0] == 'f' ? file : fetched,
                                          CLERK, "web", (uint8_t *) token,
                                          len, NOW, &who);
        }

        ck_assert_msg(strcmp(verdicts[rc], expected) == 0,
                      "line %d: %s, not %s: %s", n + 1, verdicts[rc],
                      expected, token);

        if (rc != ASTRO_JWT_OK) {
            continue;
        }

        ok++;

        if (whose[0] == 'o' && whose[1] == 'w') {
            ck_assert_uint_eq(claims.user, 17);
            continue;
        }

        ck_assert_str_eq(who.sub, "user_2abc");
        ck_assert(who.email[0] == '\0' || who.email_verified);

        /* to one that expects nobody, somebody is named */

        rc = astro_jwt_verify_outside(parser, file, CLERK, NULL,
                                      (uint8_t *) token, len, NOW, &who);
        ck_assert_int_eq(rc, ASTRO_JWT_MALFORMED);
    }

    ck_assert_int_eq(n, 44);
    ck_assert_int_ge(ok, 14);
}
END_TEST


/* each kind of key signs, and the other side verifies it */

START_TEST(ours)
{
    int               i;
    char              path[64], line[128], expected[128];
    FILE             *f;
    size_t            len;
    ssize_t           n;
    uint8_t           token[ASTRO_JWT_MAX], *small;
    const char       *s, *end, *why;
    char              set[SET];
    astro_keys_t     *k;
    astro_claims_t    claims, back;

    static const char *const  names[] = {
        "ES256 2026-11", "RS256 2026-10", "RS256 old", "HS256 2026-09"
    };

    s = strchr(own_set, '[') + 1;

    for (i = 0; i < 4; i++) {

        /* this key alone: flat objects, so they end with their first brace */

        end = strchr(s, '}') + 1;
        (void) snprintf(set, sizeof(set), "{\"keys\":[%.*s]}",
                        (int) (end - s), s);
        s = end + 1;

        k = read_set(set, strlen(set), ASTRO_KEYS_OWN, &why);
        ck_assert_msg(k != NULL, "%s", why);

        memset(&claims, 0, sizeof(claims));
        claims.user = 5;
        claims.role = ASTRO_ROLE_ADVISOR;
        claims.iat = NOW;
        claims.exp = NOW + 60;
        strcpy(claims.sid, "0123456789abcdef0123456789abcdef");

        n = astro_jwt_issue(k, &claims, token, sizeof(token));
        ck_assert_int_gt(n, 0);

        ck_assert_int_eq(astro_jwt_verify(parser, k, token, (size_t) n, NOW,
                                          &back), ASTRO_JWT_OK);
        ck_assert_int_eq(astro_jwt_verify(parser, own, token, (size_t) n, NOW,
                                          &back), ASTRO_JWT_OK);
        ck_assert_str_eq(back.sid, claims.sid);
        ck_assert_str_eq(back.jti, claims.jti);

        /* no octet beyond size, for the sanitizers */

        for (len = 0; len < (size_t) n; len += 37) {
            small = malloc(len ? len : 1);
            ck_assert_ptr_nonnull(small);
            must(astro_jwt_issue(k, &claims, small, len) == -1);
            free(small);
        }

        /* a changed octet of the signature, or one fewer */

        token[n - 20] ^= 1;
        must(astro_jwt_verify(parser, k, token, (size_t) n, NOW, &back)
             != ASTRO_JWT_OK);
        token[n - 20] ^= 1;
        must(astro_jwt_verify(parser, k, token, (size_t) n - 4, NOW, &back)
             == ASTRO_JWT_SIGNATURE);

        strcpy(path, "/tmp/check_keys.XXXXXX");
        ck_assert_int_ne(mkstemp(path), -1);

        f = check_with_oracle(path);
        ck_assert_int_gt(fprintf(f, "%s %.*s", set, (int) n, token), 0);
        ck_assert_int_eq(pclose(f), 0);

        f = fopen(path, "r");
        ck_assert_ptr_nonnull(f);
        (void) unlink(path);
        ck_assert_ptr_nonnull(fgets(line, sizeof(line), f));
        (void) fclose(f);

        (void) snprintf(expected, sizeof(expected), "%s\n", names[i]);
        ck_assert_str_eq(line, expected);

        astro_keys_destroy(k);
    }
}
END_TEST


/* what our own file may not have: it would be found when it is too late */

START_TEST(wrong_sets)
{
    char           set[SET];
    size_t         i, n;
    const char    *why;
    astro_keys_t  *k;

#define OCT  "\"kty\":\"oct\",\"k\":"                                         \
             "\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr8\""
#define X    "\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\""
#define Y    "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\""
#define EC   "\"kty\":\"EC\",\"crv\":\"P-256\"," X
#define D    "\"d\":\"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE\""

    static const struct {
        const char  *text;
        const char  *why;
    } sets[] = {
        { "", "array" },
        { "[]", "array" },
        { "{}", "array" },
        { "{\"keys\":{}}", "array" },
        { "{\"keys\":[]}", "first key" },
        { "{\"keys\":[1]}", "object" },
        { "{\"keys\":[[]]}", "object" },
        { "{\"keys\":[{}]}", "no \"kid\"" },
        { "{\"keys\":[{" OCT "}]}", "no \"kid\"" },
        { "{\"keys\":[{\"kid\":\"\"," OCT "}]}", "64 letters" },
        { "{\"keys\":[{\"kid\":7," OCT "}]}", "64 letters" },
        { "{\"keys\":[{\"kid\":\"a\\\"b\"," OCT "}]}", "64 letters" },
        { "{\"keys\":[{\"kid\":\"a b\"," OCT "}]}", "64 letters" },
        { "{\"keys\":[{\"kid\":\"1\"," OCT "},{\"kid\":\"1\"," OCT "}]}",
          "same" },
        { "{\"keys\":[{\"kid\":\"1\",\"alg\":\"HS512\"," OCT "}]}", "HS256" },
        { "{\"keys\":[{\"kid\":\"1\",\"alg\":\"RS256\"," OCT "}]}", "HS256" },
        { "{\"keys\":[{\"kid\":\"1\",\"use\":\"enc\"," OCT "}]}", "HS256" },
        { "{\"keys\":[{\"kid\":\"1\",\"kty\":\"OKP\"}]}", "HS256" },
        { "{\"keys\":[{\"kid\":\"1\",\"kty\":\"oct\",\"k\":\"AyM1\"}]}",
          "too small" },
        { "{\"keys\":[{\"kid\":\"1\",\"kty\":\"oct\"}]}", "too small" },
        { "{\"keys\":[{\"kid\":\"1\",\"kty\":\"RSA\",\"n\":\"AyM1\","
          "\"e\":\"AQAB\"}]}", "too small" },
        { "{\"keys\":[{\"kid\":\"1\",\"kty\":\"RSA\",\"n\":\"\","
          "\"e\":\"AQAB\"}]}", "too small" },
        { "{\"keys\":[{\"kid\":\"1\"," EC "}]}", "too small" },
        /* not on the curve: y is x */
        { "{\"keys\":[{\"kid\":\"1\"," EC ",\"y\":"
          "\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\"}]}",
          "too small" },
        { "{\"keys\":[{\"kid\":\"1\"," EC "," Y ",\"d\":"
          "\"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAI\"}]}",
          "does not belong" },
        { "{\"keys\":[{\"kid\":\"1\"," EC "," Y "}]}", "first key" },
        { "{\"keys\":[{\"kid\":\"1\"," EC "," Y "," D "}]} x", "array" }
    };

    for (i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
        k = read_set(sets[i].text, strlen(sets[i].text), ASTRO_KEYS_OWN,
                     &why);

        ck_assert_msg(k == NULL, "%s", sets[i].text);
        ck_assert_msg(strstr(why, sets[i].why) != NULL, "%s: %s",
                      sets[i].text, why);
    }

    /* RFC 7517 appendix A.2's key is right, and each of these is by itself */

    (void) snprintf(set, sizeof(set), "{\"keys\":[{\"kid\":\"1\",%s,%s,%s}, "
                    "{\"kid\":\"2\",%s}\n]}", EC, Y, D, OCT);
    k = read_set(set, strlen(set), ASTRO_KEYS_OWN, &why);
    ck_assert_msg(k != NULL, "%s", why);
    ck_assert_uint_eq(astro_keys_count(k), 2);
    ck_assert_str_eq(astro_key_kid(astro_keys_at(k, 0)), "1");
    ck_assert_int_eq(astro_key_alg(astro_keys_at(k, 0)), ASTRO_ALG_ES256);
    ck_assert_int_eq(astro_key_alg(astro_keys_at(k, 1)), ASTRO_ALG_HS256);
    ck_assert_ptr_null(astro_keys_at(k, 2));
    astro_keys_destroy(k);

    /* more than there is room for: too many of ours, the first of others */

    n = (size_t) sprintf(set, "{\"keys\":[");

    for (i = 0; i < ASTRO_KEYS_MAX + 1; i++) {
        n += (size_t) sprintf(set + n, "%s{\"kid\":\"k%zu\",%s}",
                              i ? "," : "", i, OCT);
    }

    n += (size_t) sprintf(set + n, "]}");

    ck_assert_ptr_null(read_set(set, n, ASTRO_KEYS_OWN, &why));
    ck_assert_ptr_nonnull(strstr(why, "more than 16"));

    k = read_set(set, n, ASTRO_KEYS_FILE, &why);
    ck_assert_uint_eq(astro_keys_count(k), ASTRO_KEYS_MAX);
    ck_assert_int_eq(astro_keys_add_secret(k, (const uint8_t *) KEY, 40),
                     -1);
    astro_keys_destroy(k);

    k = read_set(set, n, ASTRO_KEYS_FETCHED, &why);
    ck_assert_uint_eq(astro_keys_count(k), 0);
    astro_keys_destroy(k);
}
END_TEST


/* cut anywhere, or with any octet changed: refused or read, and no more */

START_TEST(damaged)
{
    int            i;
    char           copy[SET];
    size_t         len;
    const char    *why;
    astro_keys_t  *k;

    len = strlen(their_set);

    for (i = 0; i < 400; i++) {
        memcpy(copy, their_set, len);
        copy[unit_below((unsigned) len)] = (char) unit_random();

        k = read_set(copy, i % 4 ? len : unit_below((unsigned) len),
                     i % 2 ? ASTRO_KEYS_FETCHED : ASTRO_KEYS_OWN, &why);
        astro_keys_destroy(k);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    if (setup() != 0) {
        (void) fprintf(stderr, "no key sets from oracle_jwt.py\n");
        return EXIT_FAILURE;
    }

    s = suite_create("keys");

    unit_add(s, "theirs", theirs);
    unit_add(s, "ours", ours);
    unit_add(s, "wrong_sets", wrong_sets);
    unit_add(s, "damaged", damaged);

    return unit_main(s);
}
