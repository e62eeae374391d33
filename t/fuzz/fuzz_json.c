
/*
 * Copyright (C) The Astro authors
 *
 * The JSON parser against the plain reader of the unit tests, and what is read
 * of the members that it notes.
 */

#include "fuzz.h"
#include "../unit/json_plainly.h"


static void
members(const astro_json_object_t *o, const astro_json_object_t *plain)
{
    size_t                      i;
    int64_t                     number;
    ssize_t                     len;
    uint8_t                     buf[TEXT], *end, escaped[TEXT * 6];
    const astro_json_member_t  *m;

    must(o->n == plain->n);

    for (i = 0; i < o->n; i++) {
        m = &o->member[i];

        must(m->kind == plain->member[i].kind);
        must(m->key_len == plain->member[i].key_len);
        must(m->raw == plain->member[i].raw);
        must(m->raw_len == plain->member[i].raw_len);

        (void) astro_json_int(m, INT64_MIN, INT64_MAX, &number);

        len = astro_json_string(m, buf, sizeof(buf));

        if (m->kind != ASTRO_JSON_STRING) {
            must(len == -1);
            continue;
        }

        must(len >= 0 && (size_t) len <= m->raw_len - 2);
        must(astro_utf8_feed(ASTRO_UTF8_ACCEPT, buf, (size_t) len)
             == ASTRO_UTF8_ACCEPT);
        must(memchr(buf, 0, (size_t) len) == NULL);

        end = astro_json_escape(escaped, escaped + sizeof(escaped), buf,
                                (size_t) len);
        must(end && end - escaped <= len * 6);
    }
}


static int
scalar(void *ctx, int depth, const astro_json_member_t *m)
{
    (void) ctx;

    must(depth >= 0 && depth <= ASTRO_JSON_MAX_DEPTH);
    must(m->raw_len > 0);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int                          rc;
    size_t                       i;
    uint8_t                     *text;
    astro_json_doc_t             doc;

    static astro_json_parser_t  *parser;

    if (parser == NULL) {
        parser = astro_json_parser_create();
        must(parser);
    }

    if (size > TEXT) {
        return 0;
    }

    text = copy_of(data, size);
    rc = astro_json_parse(parser, text, size, &doc);

    must(rc == plainly(text, size));

    if (rc == 0) {
        members(&doc.root, &want.root);
        members(&doc.payload, &want.payload);

        (void) astro_json_unique(text, size);

        for (i = 0; i < doc.root.n; i++) {
            (void) astro_json_scalars(parser, &doc.root.member[i], scalar,
                                      NULL);
        }

    } else {
        must(doc.error && doc.offset <= size);
    }

    free(text);

    return 0;
}
