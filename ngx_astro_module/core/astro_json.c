
/*
 * Copyright (C) The Astro authors
 *
 * One pass over a JSON text with yajl, noting where the members of the root
 * object and of "payload" lie.
 *
 * What yajl lets through and RFC 8259 or our store does not is looked for
 * before it sees the text, see astro_json_sweep.c.
 *
 * Where a value ends is what yajl has consumed when it calls back: exactly the
 * last octet of the token, for it un-reads the one that ended a number.  Where
 * it starts follows from the end of the token before.  yajl's own pointer to a
 * string says no more than whether it has escapes: then it is in a buffer of
 * yajl's, and else where we know it to be.
 *
 * The handle lives for many texts: "allow_multiple_values" has it wait for the
 * next one when a text is over.  That holds only after a text that was
 * taken; anything else may leave half a token in the lexer, so the handle is
 * thrown away then.  yajl's stack of states holds 128 levels before it grows;
 * our limit on depth is well below, and its only buffer that grows is that of
 * the longest string with escapes so far, which the caller's limit on texts
 * bounds.
 */


#include <stdlib.h>
#include <string.h>

#include <yajl/yajl_parse.h>

#include "astro_json_private.h"


struct astro_json_parser_s {
    yajl_handle            handle;      /* NULL: to be made anew */

    /* of the text at hand */
    const uint8_t         *text;
    size_t                 len;
    size_t                 at;          /* end of the last token in object */
    astro_json_doc_t      *doc;
    astro_json_object_t   *object;      /* whose members come now, or NULL */
    unsigned               depth;
    unsigned               in_payload:1;
    unsigned               done:1;      /* the root object is closed */
};


static int astro_json_fail(astro_json_parser_t *p, const char *error,
    size_t offset);
static size_t astro_json_trim(const uint8_t *text, size_t len);
static int astro_json_refuse(astro_json_parser_t *p, const char *error);
static int astro_json_value(astro_json_parser_t *p, astro_json_kind_e kind,
    const uint8_t *string);
static int astro_json_open(astro_json_parser_t *p, astro_json_kind_e kind);
static int astro_json_close(astro_json_parser_t *p);

static int astro_json_on_null(void *ctx);
static int astro_json_on_boolean(void *ctx, int value);
static int astro_json_on_number(void *ctx, const char *s, size_t len);
static int astro_json_on_string(void *ctx, const unsigned char *s,
    size_t len);
static int astro_json_on_start_map(void *ctx);
static int astro_json_on_map_key(void *ctx, const unsigned char *s,
    size_t len);
static int astro_json_on_end_map(void *ctx);
static int astro_json_on_start_array(void *ctx);
static int astro_json_on_end_array(void *ctx);


/* with a number callback yajl converts no numbers by itself */

static yajl_callbacks  astro_json_callbacks = {
    .yajl_null = astro_json_on_null,
    .yajl_boolean = astro_json_on_boolean,
    .yajl_number = astro_json_on_number,
    .yajl_string = astro_json_on_string,
    .yajl_start_map = astro_json_on_start_map,
    .yajl_map_key = astro_json_on_map_key,
    .yajl_end_map = astro_json_on_end_map,
    .yajl_start_array = astro_json_on_start_array,
    .yajl_end_array = astro_json_on_end_array
};


astro_json_parser_t *
astro_json_parser_create(void)
{
    return calloc(1, sizeof(astro_json_parser_t));
}


void
astro_json_parser_destroy(astro_json_parser_t *p)
{
    if (p == NULL) {
        return;
    }

    if (p->handle) {
        yajl_free(p->handle);
    }

    free(p);
}


int
astro_json_parse(astro_json_parser_t *p, const uint8_t *text, size_t len,
    astro_json_doc_t *doc)
{
    doc->root.n = 0;
    doc->payload.n = 0;
    doc->error = NULL;
    doc->offset = 0;

    p->text = text;
    p->len = astro_json_trim(text, len);
    p->at = 0;
    p->doc = doc;
    p->object = NULL;
    p->depth = 0;
    p->in_payload = 0;
    p->done = 0;

    /* the handle does not see a text that fails here, and stays */

    doc->error = astro_json_sweep(text, p->len, &doc->offset);

    if (doc->error) {
        return -1;
    }

    if (p->handle == NULL) {
        p->handle = yajl_alloc(&astro_json_callbacks, NULL, p);

        if (p->handle == NULL) {
            return astro_json_fail(p, "no memory", 0);
        }

        /* UTF-8 was checked, and better */

        if (!yajl_config(p->handle, yajl_allow_multiple_values, 1)
            || !yajl_config(p->handle, yajl_dont_validate_strings, 1))
        {
            return astro_json_fail(p, "no memory", 0);
        }
    }

    if (yajl_parse(p->handle, text, p->len) != yajl_status_ok) {
        return astro_json_fail(p, "malformed JSON",
                               yajl_get_bytes_consumed(p->handle));
    }

    if (!p->done) {
        return astro_json_fail(p, "JSON text is not complete", p->len);
    }

    if (p->at != p->len) {
        /* the start of a scalar, kept by the lexer for more input */
        return astro_json_fail(p, "more than one JSON value", p->at);
    }

    return 0;
}


/* Keeps the first error; the next text gets a new handle. */

static int
astro_json_fail(astro_json_parser_t *p, const char *error, size_t offset)
{
    if (p->doc->error == NULL) {
        p->doc->error = error;
        p->doc->offset = offset;
    }

    if (p->handle) {
        yajl_free(p->handle);
        p->handle = NULL;
    }

    return -1;
}


static size_t
astro_json_trim(const uint8_t *text, size_t len)
{
    while (len && (text[len - 1] == ' ' || text[len - 1] == '\n'
                   || text[len - 1] == '\r' || text[len - 1] == '\t'))
    {
        len--;
    }

    return len;
}


/* Ends the parse from within a callback. */

static int
astro_json_refuse(astro_json_parser_t *p, const char *error)
{
    p->doc->error = error;
    p->doc->offset = yajl_get_bytes_consumed(p->handle);

    return 0;
}


/* A scalar is over, or the first octet of a container was read. */

static int
astro_json_value(astro_json_parser_t *p, astro_json_kind_e kind,
    const uint8_t *string)
{
    size_t                end;
    const uint8_t        *s;
    astro_json_member_t  *m;

    if (p->object == NULL) {

        if (p->depth == 0) {
            return astro_json_refuse(p, p->done ? "more than one JSON value"
                                                : "JSON text is no object");
        }

        return 1;
    }

    /* the key made the member; its value is what follows the colon */

    m = &p->object->member[p->object->n - 1];
    end = yajl_get_bytes_consumed(p->handle);
    s = p->text + p->at;

    while (*s == ':' || *s == ' ' || *s == '\n' || *s == '\r' || *s == '\t') {
        s++;
    }

    m->kind = kind;
    m->raw = s;
    m->raw_len = (size_t) (p->text + end - s);

    /* a string with escapes is in a buffer of yajl's */

    m->escaped = (kind == ASTRO_JSON_STRING && string != s + 1);

    p->at = end;

    return 1;
}


static int
astro_json_open(astro_json_parser_t *p, astro_json_kind_e kind)
{
    astro_json_member_t  *m;

    if (p->depth == 0 && kind == ASTRO_JSON_OBJECT && !p->done) {
        p->object = &p->doc->root;
        p->at = yajl_get_bytes_consumed(p->handle);
        p->depth = 1;
        return 1;
    }

    if (!astro_json_value(p, kind, NULL)) {
        return 0;
    }

    if (p->depth == ASTRO_JSON_MAX_DEPTH) {
        return astro_json_refuse(p, "JSON text is nested too deeply");
    }

    p->depth++;

    if (p->object == NULL) {
        return 1;
    }

    m = &p->object->member[p->object->n - 1];
    p->object = NULL;

    if (p->depth == 2 && kind == ASTRO_JSON_OBJECT
        && m == astro_json_get(&p->doc->root, "payload"))
    {
        p->object = &p->doc->payload;
        p->in_payload = 1;
    }

    return 1;
}


static int
astro_json_close(astro_json_parser_t *p)
{
    size_t                end;
    astro_json_member_t  *m;

    p->depth--;

    if (p->depth == 1) {
        p->object = &p->doc->root;
        p->in_payload = 0;

    } else if (p->depth == 2 && p->in_payload) {
        p->object = &p->doc->payload;

    } else if (p->depth == 0) {
        p->object = NULL;
        p->at = yajl_get_bytes_consumed(p->handle);
        p->done = 1;
        return 1;

    } else {
        return 1;
    }

    /* what was closed is the value of the last member */

    end = yajl_get_bytes_consumed(p->handle);

    m = &p->object->member[p->object->n - 1];
    m->raw_len = (size_t) (p->text + end - m->raw);

    p->at = end;

    return 1;
}


static int
astro_json_on_null(void *ctx)
{
    return astro_json_value(ctx, ASTRO_JSON_NULL, NULL);
}


static int
astro_json_on_boolean(void *ctx, int value)
{
    (void) value;

    return astro_json_value(ctx, ASTRO_JSON_BOOL, NULL);
}


static int
astro_json_on_number(void *ctx, const char *s, size_t len)
{
    (void) s;
    (void) len;

    return astro_json_value(ctx, ASTRO_JSON_NUMBER, NULL);
}


static int
astro_json_on_string(void *ctx, const unsigned char *s, size_t len)
{
    (void) len;

    return astro_json_value(ctx, ASTRO_JSON_STRING, s);
}


static int
astro_json_on_start_map(void *ctx)
{
    return astro_json_open(ctx, ASTRO_JSON_OBJECT);
}


static int
astro_json_on_map_key(void *ctx, const unsigned char *key, size_t len)
{
    size_t                end;
    const uint8_t        *s;
    astro_json_member_t  *m;
    astro_json_parser_t  *p = ctx;

    if (p->object == NULL) {
        return 1;
    }

    if (p->object->n == ASTRO_JSON_MAX_MEMBERS) {
        return astro_json_refuse(p, "too many members in a JSON object");
    }

    if (astro_json_find(p->object, key, len)) {
        return astro_json_refuse(p, "a member is given twice");
    }

    end = yajl_get_bytes_consumed(p->handle);
    s = p->text + p->at;

    while (*s != '"') {
        /* white space and the comma */
        s++;
    }

    s++;

    m = &p->object->member[p->object->n++];

    m->key = s;
    m->key_len = (size_t) (p->text + end - s) - 1;
    m->key_escaped = (s != key);

    p->at = end;

    return 1;
}


static int
astro_json_on_end_map(void *ctx)
{
    return astro_json_close(ctx);
}


static int
astro_json_on_start_array(void *ctx)
{
    return astro_json_open(ctx, ASTRO_JSON_ARRAY);
}


static int
astro_json_on_end_array(void *ctx)
{
    return astro_json_close(ctx);
}
