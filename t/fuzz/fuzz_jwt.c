
/*
 * Copyright (C) The Astro authors
 *
 * Tokens.  Input: a kind, then either a token as it comes from a stranger, or
 * header and claims that are signed here with our key, so that what is behind
 * the signature is reached, too.
 */

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "fuzz.h"

#include "astro_jwt.h"


#define KEY   ((const uint8_t *) "0123456789abcdef0123456789abcdef")
#define NOW   1700000000
#define TEXT  8192


static astro_keys_t  *keys;

static const uint8_t  header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";


static void
verify(astro_json_parser_t *parser, const uint8_t *token, size_t len,
    int is_signed)
{
    uint8_t          *copy;
    astro_claims_t    claims;
    astro_jwt_rc_e    rc;

    copy = copy_of(token, len);
    rc = astro_jwt_verify(parser, keys, copy, len, NOW, &claims);
    free(copy);

    must(rc <= ASTRO_JWT_NOT_YET);

    if (rc == ASTRO_JWT_OK) {
        must(is_signed);
        must(claims.user != 0);
        must(claims.role == ASTRO_ROLE_CLIENT
             || claims.role == ASTRO_ROLE_ADVISOR
             || claims.role == ASTRO_ROLE_ADMIN);
        must(claims.exp > NOW);
        must(memchr(claims.jti, 0, sizeof(claims.jti)));
    }
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t                       head;
    ssize_t                      n, m;
    uint8_t                      token[TEXT], mac[32], back[TEXT];
    unsigned                     kind, len;

    static astro_json_parser_t  *parser;

    if (parser == NULL) {
        parser = astro_json_parser_create();
        keys = astro_keys_create();
        must(parser && keys && astro_keys_add_secret(keys, KEY, 32) == 0);
    }

    kind = take(&data, &size);

    if (size > 2048) {
        return 0;
    }

    if ((kind & 1) == 0) {
        verify(parser, data, size, 0);

        /* what decodes encodes to the same again */

        n = astro_base64url_decode(back, sizeof(back), data, size);

        if (n >= 0) {
            m = astro_base64url_encode(token, sizeof(token), back, (size_t) n);
            must(m == (ssize_t) size && memcmp(token, data, size) == 0);
        }

        return 0;
    }

    /* the header is ours, or the first part of the input */

    if (kind & 2) {
        head = size / 4;
        n = astro_base64url_encode(token, sizeof(token), data, head);
        data += head;
        size -= head;

    } else {
        n = astro_base64url_encode(token, sizeof(token), header,
                                   sizeof(header) - 1);
    }

    must(n >= 0);
    token[n++] = '.';

    m = astro_base64url_encode(token + n, sizeof(token) - (size_t) n, data,
                               size);
    must(m >= 0);
    n += m;

    must(HMAC(EVP_sha256(), KEY, 32, token, (size_t) n, mac, &len));
    token[n++] = '.';

    m = astro_base64url_encode(token + n, sizeof(token) - (size_t) n, mac,
                               sizeof(mac));
    must(m == 43);

    verify(parser, token, (size_t) (n + m), 1);

    return 0;
}
