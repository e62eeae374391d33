
/*
 * Copyright (C) The Astro authors
 *
 * See load_text.h.  Everything in a mark has a fixed width, so that one is
 * written and found without a division or a search beyond its first '@'.
 */

#define _GNU_SOURCE

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "load_text.h"


#define LOAD_UUID_LEN   36
#define LOAD_DIGITS     20      /* of a 64-bit number in decimal */

typedef struct {
    char         op;            /* 'T', 'N', 'U', or 0: literal bytes */
    const char  *data;          /* of a literal; within text->src */
    size_t       len;
} load_part_t;

struct load_text_s {
    char         *src;
    size_t        max;          /* no rendering is longer */
    unsigned      nparts;
    load_part_t   part[];
};


static load_text_t *load_text_alloc(const char *src);
static const char *load_text_parse(load_text_t *text);
static void load_hex_write(char *dst, uint64_t value, unsigned digits);
static int load_hex_read(const char *p, unsigned digits, uint64_t *value);
static void load_uuid_write(char *dst);
static uint64_t load_random(void);


static const char  load_hex[] = "0123456789abcdef";

static uint64_t  load_counter;      /* of %N */


load_text_t *
load_text_compile(const char *src, const char **why)
{
    load_text_t  *text;

    text = load_text_alloc(src);
    if (text == NULL) {
        *why = "no memory";
        return NULL;
    }

    *why = load_text_parse(text);

    if (*why != NULL) {
        load_text_free(text);
        return NULL;
    }

    return text;
}


void
load_text_free(load_text_t *text)
{
    if (text == NULL) {
        return;
    }

    free(text->src);
    free(text);
}


size_t
load_text_render(const load_text_t *text, const load_mark_t *mark, char *dst)
{
    char               *p;
    unsigned            i;
    const load_part_t  *part;

    p = dst;

    for (i = 0; i < text->nparts; i++) {
        part = &text->part[i];

        switch (part->op) {

        case 'T':
            p[0] = '@';
            load_hex_write(p + 1, mark->due, 16);
            p[17] = ':';
            load_hex_write(p + 18, mark->sender, 6);
            p[24] = ':';
            load_hex_write(p + 25, mark->number, 8);
            p[33] = '@';
            p += LOAD_MARK_LEN;
            break;

        case 'N':
            p += sprintf(p, "%llu", (unsigned long long) ++load_counter);
            break;

        case 'U':
            load_uuid_write(p);
            p += LOAD_UUID_LEN;
            break;

        default:
            memcpy(p, part->data, part->len);
            p += part->len;
        }
    }

    return (size_t) (p - dst);
}


const char *
load_mark_find(const char *p, const char *last, load_mark_t *mark)
{
    uint64_t  due, sender, number;

    while (last - p >= LOAD_MARK_LEN) {

        p = memchr(p, '@', (size_t) (last - p) - LOAD_MARK_LEN + 1);
        if (p == NULL) {
            return NULL;
        }

        if (p[17] == ':' && p[24] == ':' && p[33] == '@'
            && load_hex_read(p + 1, 16, &due) == 0
            && load_hex_read(p + 18, 6, &sender) == 0
            && load_hex_read(p + 25, 8, &number) == 0)
        {
            mark->due = due;
            mark->sender = (uint32_t) sender;
            mark->number = (uint32_t) number;

            return p + LOAD_MARK_LEN;
        }

        p++;
    }

    return NULL;
}


/* Room for as many parts as the source could have at the very most. */

static load_text_t *
load_text_alloc(const char *src)
{
    unsigned      n;
    const char   *p;
    load_text_t  *text;

    n = 1;

    for (p = src; *p != '\0'; p++) {
        n += (*p == '%') ? 2 : 0;
    }

    text = calloc(1, sizeof(load_text_t) + n * sizeof(load_part_t));
    if (text == NULL) {
        return NULL;
    }

    text->src = strdup(src);
    if (text->src == NULL) {
        free(text);
        return NULL;
    }

    return text;
}


static const char *
load_text_parse(load_text_t *text)
{
    int           marked;
    const char   *p, *start;
    load_part_t  *part;

    marked = 0;
    p = text->src;

    while (*p != '\0') {
        part = &text->part[text->nparts++];

        if (*p == '%' && p[1] != '%') {
            part->op = p[1];

            switch (p[1]) {

            case 'T':
                marked = 1;
                text->max += LOAD_MARK_LEN;
                break;

            case 'N':
                text->max += LOAD_DIGITS;
                break;

            case 'U':
                text->max += LOAD_UUID_LEN;
                break;

            default:
                return "unknown % in a template";
            }

            p += 2;
            continue;
        }

        /* a literal: up to the next '%', and of "%%" the second one */

        start = (*p == '%') ? ++p : p;
        p = start + 1 + strcspn(start + 1, "%");

        part->data = start;
        part->len = (size_t) (p - start);
        text->max += part->len;
    }

    if (!marked) {
        return "no %T in a template";
    }

    if (text->max > LOAD_TEXT_MAX) {
        return "template too long";
    }

    return NULL;
}


static void
load_hex_write(char *dst, uint64_t value, unsigned digits)
{
    while (digits-- > 0) {
        dst[digits] = load_hex[value & 0xf];
        value >>= 4;
    }
}


static int
load_hex_read(const char *p, unsigned digits, uint64_t *value)
{
    uint64_t  v;
    unsigned  i, c;

    v = 0;

    for (i = 0; i < digits; i++) {
        c = (unsigned char) p[i];

        if (c - '0' < 10) {
            c -= '0';

        } else if (c - 'a' < 6) {
            c -= 'a' - 10;

        } else {
            return -1;
        }

        v = v << 4 | c;
    }

    *value = v;

    return 0;
}


static void
load_uuid_write(char *dst)
{
    uint64_t  high, low;

    high = (load_random() & ~0xf000ull) | 0x4000ull;
    low = (load_random() & ~(3ull << 62)) | (2ull << 62);

    load_hex_write(dst, high >> 32, 8);
    dst[8] = '-';
    load_hex_write(dst + 9, high >> 16 & 0xffff, 4);
    dst[13] = '-';
    load_hex_write(dst + 14, high & 0xffff, 4);
    dst[18] = '-';
    load_hex_write(dst + 19, low >> 48, 4);
    dst[23] = '-';
    load_hex_write(dst + 24, low & 0xffffffffffffull, 12);
}


/* splitmix64 from a seed of the kernel's: unique enough, and nothing secret */

static uint64_t
load_random(void)
{
    uint64_t         z;
    static uint64_t  state;

    if (state == 0 && getrandom(&state, sizeof(state), 0) < 0) {
        state = (uint64_t) (uintptr_t) &z;
    }

    state += 0x9e3779b97f4a7c15ull;

    z = state;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;

    return z ^ z >> 31;
}
