
/*
 * Copyright (C) The Astro authors
 *
 * Reading values that astro_json_parse() has noted, and writing strings.  The
 * text is known to be valid here, so nothing is checked twice: every string
 * has its closing quote, every escape its digits, every high surrogate
 * the low one.
 */


#include <string.h>

#include "astro_json_private.h"


static int astro_json_key_is(const astro_json_member_t *m,
    const uint8_t *name, size_t len);
static uint32_t astro_json_unit(const uint8_t *s);
static void astro_json_set_key(astro_json_member_t *m,
    const astro_json_member_t *string);
static const uint8_t *astro_json_skip_space(const uint8_t *s,
    const uint8_t *last);
static const uint8_t *astro_json_skip_string(const uint8_t *s,
    unsigned *escaped);
static const uint8_t *astro_json_skip_scalar(const uint8_t *s,
    const uint8_t *last, astro_json_member_t *m);


const astro_json_member_t *
astro_json_get(const astro_json_object_t *o, const char *name)
{
    return astro_json_find(o, (const uint8_t *) name, strlen(name));
}


const astro_json_member_t *
astro_json_find(const astro_json_object_t *o, const uint8_t *name, size_t len)
{
    size_t                      i;
    const astro_json_member_t  *m;

    for (i = 0; i < o->n; i++) {
        m = &o->member[i];

        if (m->key_escaped) {

            if (astro_json_key_is(m, name, len)) {
                return m;
            }

            continue;
        }

        if (m->key_len == len && memcmp(m->key, name, len) == 0) {
            return m;
        }
    }

    return NULL;
}


static int
astro_json_key_is(const astro_json_member_t *m, const uint8_t *name,
    size_t len)
{
    size_t          n;
    uint8_t         out[4];
    const uint8_t  *s, *last;

    s = m->key;
    last = m->key + m->key_len;

    while (s < last) {
        s = astro_json_unescape(s, out, &n);

        if (n > len || memcmp(out, name, n) != 0) {
            return 0;
        }

        name += n;
        len -= n;
    }

    return len == 0;
}


int
astro_json_int(const astro_json_member_t *m, int64_t min, int64_t max,
    int64_t *n)
{
    int             negative;
    uint64_t        limit, value;
    const uint8_t  *s, *last;

    if (m == NULL || m->kind != ASTRO_JSON_NUMBER) {
        return -1;
    }

    s = m->raw;
    last = m->raw + m->raw_len;

    negative = (*s == '-');
    s += negative;

    limit = (uint64_t) INT64_MAX + (unsigned) negative;
    value = 0;

    for ( /* void */ ; s < last; s++) {

        if (*s < '0' || *s > '9') {
            return -1;
        }

        if (value > (limit - (*s - '0')) / 10) {
            return -1;
        }

        value = value * 10 + (*s - '0');
    }

    /* -2^63 has no positive counterpart */

    *n = negative ? (int64_t) (0 - value) : (int64_t) value;

    return (*n >= min && *n <= max) ? 0 : -1;
}


ssize_t
astro_json_string(const astro_json_member_t *m, uint8_t *buf, size_t size)
{
    size_t          n, len;
    uint8_t         out[4];
    const uint8_t  *s, *last;

    if (m == NULL || m->kind != ASTRO_JSON_STRING) {
        return -1;
    }

    s = m->raw + 1;
    last = m->raw + m->raw_len - 1;

    if (!m->escaped) {
        len = (size_t) (last - s);

        if (len > size) {
            return -1;
        }

        memcpy(buf, s, len);

        return (ssize_t) len;
    }

    len = 0;

    while (s < last) {
        s = astro_json_unescape(s, out, &n);

        if (n > size - len) {
            return -1;
        }

        memcpy(buf + len, out, n);
        len += n;
    }

    return (ssize_t) len;
}


const uint8_t *
astro_json_unescape(const uint8_t *s, uint8_t *out, size_t *n)
{
    uint32_t  c;

    *n = 1;

    if (*s != '\\') {
        out[0] = *s;
        return s + 1;
    }

    switch (s[1]) {

    case 'b':
        out[0] = '\b';
        return s + 2;

    case 'f':
        out[0] = '\f';
        return s + 2;

    case 'n':
        out[0] = '\n';
        return s + 2;

    case 'r':
        out[0] = '\r';
        return s + 2;

    case 't':
        out[0] = '\t';
        return s + 2;

    case 'u':
        break;

    default:
        /* quote, backslash, slash */
        out[0] = s[1];
        return s + 2;
    }

    c = astro_json_unit(s + 2);
    s += 6;

    if (c >= 0xd800 && c <= 0xdbff) {
        c = 0x10000 + ((c - 0xd800) << 10) + (astro_json_unit(s + 2) - 0xdc00);
        s += 6;
    }

    if (c < 0x80) {
        out[0] = (uint8_t) c;
        return s;
    }

    if (c < 0x800) {
        out[0] = (uint8_t) (0xc0 | c >> 6);
        out[1] = (uint8_t) (0x80 | (c & 0x3f));
        *n = 2;
        return s;
    }

    if (c < 0x10000) {
        out[0] = (uint8_t) (0xe0 | c >> 12);
        out[1] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
        out[2] = (uint8_t) (0x80 | (c & 0x3f));
        *n = 3;
        return s;
    }

    out[0] = (uint8_t) (0xf0 | c >> 18);
    out[1] = (uint8_t) (0x80 | (c >> 12 & 0x3f));
    out[2] = (uint8_t) (0x80 | (c >> 6 & 0x3f));
    out[3] = (uint8_t) (0x80 | (c & 0x3f));
    *n = 4;

    return s;
}


static uint32_t
astro_json_unit(const uint8_t *s)
{
    int       i;
    uint32_t  n;

    n = 0;

    for (i = 0; i < 4; i++) {
        n = n << 4 | ((s[i] <= '9') ? s[i] - '0' : (s[i] | 0x20) - 'a' + 10);
    }

    return n;
}


int
astro_json_scalars(astro_json_parser_t *p, const astro_json_member_t *m,
    astro_json_scalar_pt cb, void *ctx)
{
    int                   depth, rc;
    const uint8_t        *s, *next, *last;
    astro_json_member_t   scalar;

    /* the text was parsed before: it is walked without yajl */

    (void) p;

    s = m->raw;
    last = m->raw + m->raw_len;
    depth = 0;

    memset(&scalar, 0, sizeof(astro_json_member_t));

    for ( ;; ) {

        s = astro_json_skip_space(s, last);

        if (s == last) {
            return 0;
        }

        switch (*s) {

        case '[':
        case '{':
            depth++;
            astro_json_set_key(&scalar, NULL);
            s++;
            continue;

        case ']':
        case '}':
            depth--;
            s++;
            continue;

        case ',':
            s++;
            continue;

        default:
            break;
        }

        s = astro_json_skip_scalar(s, last, &scalar);
        next = astro_json_skip_space(s, last);

        if (next < last && *next == ':') {
            astro_json_set_key(&scalar, &scalar);
            s = next + 1;
            continue;
        }

        rc = cb(ctx, depth, &scalar);
        if (rc != 0) {
            return rc;
        }

        astro_json_set_key(&scalar, NULL);
    }
}


/* Makes a string the key of what follows, or forgets the key. */

static void
astro_json_set_key(astro_json_member_t *m, const astro_json_member_t *string)
{
    m->key = string ? string->raw + 1 : NULL;
    m->key_len = string ? string->raw_len - 2 : 0;
    m->key_escaped = string ? string->escaped : 0;
}


static const uint8_t *
astro_json_skip_space(const uint8_t *s, const uint8_t *last)
{
    while (s < last && (*s == ' ' || *s == '\t' || *s == '\n' || *s == '\r')) {
        s++;
    }

    return s;
}


static const uint8_t *
astro_json_skip_scalar(const uint8_t *s, const uint8_t *last,
    astro_json_member_t *m)
{
    unsigned  escaped;

    m->raw = s;
    escaped = 0;

    switch (*s) {

    case '"':
        m->kind = ASTRO_JSON_STRING;
        s = astro_json_skip_string(s, &escaped);
        break;

    case 'n':
        m->kind = ASTRO_JSON_NULL;
        s += 4;
        break;

    case 't':
        m->kind = ASTRO_JSON_BOOL;
        s += 4;
        break;

    case 'f':
        m->kind = ASTRO_JSON_BOOL;
        s += 5;
        break;

    default:
        m->kind = ASTRO_JSON_NUMBER;

        while (s < last && *s != ',' && *s != ']' && *s != '}' && *s > ' ') {
            s++;
        }
    }

    m->raw_len = (size_t) (s - m->raw);
    m->escaped = escaped & 1;

    return s;
}


static const uint8_t *
astro_json_skip_string(const uint8_t *s, unsigned *escaped)
{
    for (s++; *s != '"'; s++) {

        if (*s == '\\') {
            *escaped = 1;
            s++;
        }
    }

    return s + 1;
}


uint8_t *
astro_json_escape(uint8_t *dst, uint8_t *last, const uint8_t *src, size_t len)
{
    size_t             n;
    uint8_t            c, out[6];
    const uint8_t     *end;
    static const char  hex[] = "0123456789abcdef";

    end = src + len;

    while (src < end) {
        c = *src++;

        if (c >= 0x20 && c != '"' && c != '\\') {

            if (dst == last) {
                return NULL;
            }

            *dst++ = c;
            continue;
        }

        out[0] = '\\';
        n = 2;

        switch (c) {

        case '"':
        case '\\':
            out[1] = c;
            break;

        case '\n':
            out[1] = 'n';
            break;

        case '\r':
            out[1] = 'r';
            break;

        case '\t':
            out[1] = 't';
            break;

        default:
            out[1] = 'u';
            out[2] = '0';
            out[3] = '0';
            out[4] = (uint8_t) hex[c >> 4];
            out[5] = (uint8_t) hex[c & 0xf];
            n = 6;
        }

        if ((size_t) (last - dst) < n) {
            return NULL;
        }

        memcpy(dst, out, n);
        dst += n;
    }

    return dst;
}
