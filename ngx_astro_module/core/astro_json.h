
/*
 * Copyright (C) The Astro authors
 *
 * JSON in, over yajl's streaming parser: strict RFC 8259, UTF-8 checked, no
 * tree.  One pass validates a text and notes where the members of the root
 * object, and of its member "payload", lie in it, so that relayed bytes
 * are passed through and never re-serialised.  astro_json.c is the only file
 * that includes yajl.
 */

#ifndef _ASTRO_JSON_H_INCLUDED_
#define _ASTRO_JSON_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>


#define ASTRO_JSON_MAX_DEPTH    16
#define ASTRO_JSON_MAX_MEMBERS  24      /* noted of each of the two objects */


typedef enum {
    ASTRO_JSON_NULL = 1,
    ASTRO_JSON_BOOL,
    ASTRO_JSON_NUMBER,
    ASTRO_JSON_STRING,
    ASTRO_JSON_OBJECT,
    ASTRO_JSON_ARRAY
} astro_json_kind_e;

typedef struct {
    const uint8_t      *key;        /* raw, between the quotes */
    size_t              key_len;
    const uint8_t      *raw;        /* the value as it stands in the text */
    size_t              raw_len;
    astro_json_kind_e   kind;
    unsigned            escaped:1;  /* STRING with a backslash in it */
    unsigned            key_escaped:1;
} astro_json_member_t;

typedef struct {
    size_t                n;
    astro_json_member_t   member[ASTRO_JSON_MAX_MEMBERS];
} astro_json_object_t;

typedef struct {
    astro_json_object_t   root;
    astro_json_object_t   payload;  /* empty if there is none */
    const char           *error;    /* static text, when parse failed */
    size_t                offset;   /* of the error, in bytes */
} astro_json_doc_t;

typedef struct astro_json_parser_s  astro_json_parser_t;

/* One for each thread; reused for every text.  NULL: no memory. */
astro_json_parser_t *astro_json_parser_create(void);
void astro_json_parser_destroy(astro_json_parser_t *p);

/*
 * 0 if text is exactly one JSON object; -1 otherwise, with doc->error.
 * Also refused: depth over ASTRO_JSON_MAX_DEPTH; more members than can be
 * noted in the root or in payload; a member of these given twice; \u0000 and
 * lone surrogate escapes anywhere (PostgreSQL can store neither).
 * doc points into text.
 */
int astro_json_parse(astro_json_parser_t *p, const uint8_t *text, size_t len,
    astro_json_doc_t *doc);

/*
 * NULL, or static text: of a text that was parsed, an object at any depth has a
 * member twice, or objects have more members than are looked at (1024 open at
 * a time).
 */
const char *astro_json_unique(const uint8_t *text, size_t len);

/*
 * The member of that name, or NULL.  A key with escapes is the name that it
 * stands for: "\u0066rom" is "from" to whoever parses relayed bytes, so it has
 * to be that to us.
 */
const astro_json_member_t *astro_json_get(const astro_json_object_t *o,
    const char *name);
const astro_json_member_t *astro_json_find(const astro_json_object_t *o,
    const uint8_t *name, size_t len);

/* 0 and *n if m is an integer in [min, max] without fraction or exponent. */
int astro_json_int(const astro_json_member_t *m, int64_t min, int64_t max,
    int64_t *n);

/*
 * Unescapes a STRING into buf; its length, or -1: no string, or longer than
 * size.  The result is valid UTF-8 without U+0000, not terminated.
 */
ssize_t astro_json_string(const astro_json_member_t *m, uint8_t *buf,
    size_t size);

/*
 * Walks the scalars of a value noted by parse (arrays of arrays and such), in
 * order.  depth is 1 for elements of the value itself, path-less.  A callback
 * that returns non-zero ends the walk with that.
 */
typedef int (*astro_json_scalar_pt)(void *ctx, int depth,
    const astro_json_member_t *scalar);
int astro_json_scalars(astro_json_parser_t *p, const astro_json_member_t *m,
    astro_json_scalar_pt cb, void *ctx);

/*
 * Appends src to dst as the inside of a JSON string (no quotes); returns the
 * new end, or NULL if it would pass last.  At most 6 bytes for one.
 */
uint8_t *astro_json_escape(uint8_t *dst, uint8_t *last, const uint8_t *src,
    size_t len);


#endif /* _ASTRO_JSON_H_INCLUDED_ */
