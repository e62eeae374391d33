
/*
 * Copyright (C) The Astro authors
 *
 * A second reader of JSON, written plainly from RFC 8259's grammar, by
 * recursive descent, without yajl and without a thought of speed.  It refuses
 * what astro_json_parse() promises to refuse, and notes the same members.
 */

#ifndef _ASTRO_JSON_PLAINLY_H_INCLUDED_
#define _ASTRO_JSON_PLAINLY_H_INCLUDED_


#include "unit.h"

#include "astro_json.h"
#include "astro_utf8.h"


#define TEXT  8192      /* the longest text, in bytes */


typedef struct {
    const uint8_t  *s, *last;
    int             depth;
} reader_t;


/* what it found */

static astro_json_doc_t  want;


static int value(reader_t *r, astro_json_object_t *o, int is_root);


static int
space(reader_t *r)
{
    while (r->s < r->last && strchr(" \t\r\n", *r->s) && *r->s) {
        r->s++;
    }

    return r->s < r->last ? *r->s : -1;
}


static int
hex(reader_t *r, uint32_t *unit)
{
    int  i, c;

    *unit = 0;

    for (i = 0; i < 4; i++) {

        if (r->s == r->last) {
            return -1;
        }

        c = *r->s++;

        if (c == 0 || strchr("0123456789abcdefABCDEF", c) == NULL) {
            return -1;
        }

        *unit = *unit * 16 + (uint32_t) (c <= '9' ? c - '0'
                                                  : (c | 32) - 'a' + 10);
    }

    return 0;
}


static int
string(reader_t *r, int *escaped)
{
    int       c;
    uint32_t  unit, low;

    *escaped = 0;

    for (r->s++; r->s < r->last; /* void */ ) {
        c = *r->s++;

        if (c == '"') {
            return 0;
        }

        if (c < 0x20) {
            return -1;
        }

        if (c != '\\') {
            continue;
        }

        *escaped = 1;

        if (r->s == r->last) {
            return -1;
        }

        c = *r->s++;

        if (c && strchr("\"\\/bfnrt", c)) {
            continue;
        }

        if (c != 'u' || hex(r, &unit) != 0 || unit == 0) {
            return -1;
        }

        if (unit >= 0xdc00 && unit < 0xe000) {
            return -1;
        }

        if (unit < 0xd800 || unit >= 0xe000) {
            continue;
        }

        if (r->last - r->s < 6 || r->s[0] != '\\' || r->s[1] != 'u') {
            return -1;
        }

        r->s += 2;

        if (hex(r, &low) != 0 || low < 0xdc00 || low >= 0xe000) {
            return -1;
        }
    }

    return -1;
}


static int
digits(reader_t *r)
{
    const uint8_t  *start;

    start = r->s;

    while (r->s < r->last && *r->s >= '0' && *r->s <= '9') {
        r->s++;
    }

    return r->s == start ? -1 : 0;
}


static int
number(reader_t *r)
{
    if (*r->s == '-') {
        r->s++;
    }

    if (r->s < r->last && *r->s == '0') {
        r->s++;

    } else if (digits(r) != 0) {
        return -1;
    }

    if (r->s < r->last && *r->s == '.') {
        r->s++;

        if (digits(r) != 0) {
            return -1;
        }
    }

    if (r->s < r->last && (*r->s | 32) == 'e') {
        r->s++;

        if (r->s < r->last && (*r->s == '+' || *r->s == '-')) {
            r->s++;
        }

        return digits(r);
    }

    return 0;
}


static int
word(reader_t *r, const char *s)
{
    size_t  n;

    n = strlen(s);

    if ((size_t) (r->last - r->s) < n || memcmp(r->s, s, n) != 0) {
        return -1;
    }

    r->s += n;

    return 0;
}


static size_t
plain_key(const uint8_t *s, size_t n, char *out, size_t size)
{
    ssize_t              length;
    astro_json_member_t  m;

    /* a helper of the unit's, itself tested below */

    memset(&m, 0, sizeof(m));

    m.kind = ASTRO_JSON_STRING;
    m.raw = s - 1;
    m.raw_len = n + 2;
    m.escaped = memchr(s, '\\', n) != NULL;

    length = astro_json_string(&m, (uint8_t *) out, size);
    must(length >= 0);

    return (size_t) length;
}


static int
twice(const astro_json_object_t *o)
{
    char        a[TEXT], b[TEXT];
    size_t      i, na, nb;

    na = plain_key(o->member[o->n].key, o->member[o->n].key_len, a, TEXT);

    for (i = 0; i < o->n; i++) {
        nb = plain_key(o->member[i].key, o->member[i].key_len, b, TEXT);

        if (na == nb && memcmp(a, b, na) == 0) {
            return 1;
        }
    }

    return 0;
}


static int
object(reader_t *r, astro_json_object_t *o, int is_root)
{
    int                   escaped, is_payload;
    char                  name[TEXT];
    astro_json_member_t  *m, none;

    if (++r->depth > ASTRO_JSON_MAX_DEPTH) {
        return -1;
    }

    r->s++;

    if (space(r) == '}') {
        r->s++;
        r->depth--;
        return 0;
    }

    for ( ;; ) {

        if (space(r) != '"') {
            return -1;
        }

        if (o && o->n == ASTRO_JSON_MAX_MEMBERS) {
            return -1;
        }

        m = o ? &o->member[o->n] : &none;
        m->key = r->s + 1;

        if (string(r, &escaped) != 0) {
            return -1;
        }

        m->key_len = (size_t) (r->s - m->key) - 1;
        m->key_escaped = (unsigned) escaped & 1;

        if (o && twice(o)) {
            return -1;
        }

        if (space(r) != ':') {
            return -1;
        }

        r->s++;

        if (space(r) < 0) {
            return -1;
        }

        m->raw = r->s;
        m->escaped = 0;

        switch (*r->s) {

        case '{': m->kind = ASTRO_JSON_OBJECT; break;
        case '[': m->kind = ASTRO_JSON_ARRAY; break;
        case 't': case 'f': m->kind = ASTRO_JSON_BOOL; break;
        case 'n': m->kind = ASTRO_JSON_NULL; break;
        case '"': m->kind = ASTRO_JSON_STRING; break;
        default: m->kind = ASTRO_JSON_NUMBER;
        }

        is_payload = 0;

        if (is_root && m->kind == ASTRO_JSON_OBJECT) {
            is_payload = plain_key(m->key, m->key_len, name, TEXT) == 7
                         && memcmp(name, "payload", 7) == 0;
        }

        if (o) {
            o->n++;
        }

        if (value(r, is_payload ? &want.payload : NULL, 0) != 0) {
            return -1;
        }

        m->raw_len = (size_t) (r->s - m->raw);

        if (m->kind == ASTRO_JSON_STRING) {
            m->escaped = memchr(m->raw, '\\', m->raw_len) != NULL;
        }

        switch (space(r)) {

        case ',':
            r->s++;
            continue;

        case '}':
            r->s++;
            r->depth--;
            return 0;

        default:
            return -1;
        }
    }
}


static int
array(reader_t *r)
{
    if (++r->depth > ASTRO_JSON_MAX_DEPTH) {
        return -1;
    }

    r->s++;

    if (space(r) == ']') {
        r->s++;
        r->depth--;
        return 0;
    }

    for ( ;; ) {

        if (space(r) < 0 || value(r, NULL, 0) != 0) {
            return -1;
        }

        switch (space(r)) {

        case ',':
            r->s++;
            continue;

        case ']':
            r->s++;
            r->depth--;
            return 0;

        default:
            return -1;
        }
    }
}


static int
value(reader_t *r, astro_json_object_t *o, int is_root)
{
    int  escaped;

    switch (*r->s) {

    case '{':
        return object(r, o, is_root);

    case '[':
        return array(r);

    case '"':
        return string(r, &escaped);

    case 't':
        return word(r, "true");

    case 'f':
        return word(r, "false");

    case 'n':
        return word(r, "null");

    default:
        return number(r);
    }
}


static int
plainly(const uint8_t *s, size_t n)
{
    reader_t  r;

    want.root.n = 0;
    want.payload.n = 0;

    if (astro_utf8_feed(ASTRO_UTF8_ACCEPT, s, n) != ASTRO_UTF8_ACCEPT) {
        return -1;
    }

    r.s = s;
    r.last = s + n;
    r.depth = 0;

    if (space(&r) != '{' || value(&r, &want.root, 1) != 0) {
        return -1;
    }

    return space(&r) == -1 ? 0 : -1;
}


#endif /* _ASTRO_JSON_PLAINLY_H_INCLUDED_ */
