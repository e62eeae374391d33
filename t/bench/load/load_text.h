
/*
 * Copyright (C) The Astro authors
 *
 * What the load generator sends: templates, compiled once, with places that
 * are filled anew for each message, and the mark by which whoever receives
 * one knows when it was due, who sent it, and which one it was.
 *
 *     %T  a mark         "@<16 hex: ns>:<6 hex: sender>:<8 hex: number>@"
 *     %N  a number       unique in the run, decimal
 *     %U  a UUID v4      fresh for each message
 *     %%  a percent sign
 */

#ifndef _LOAD_TEXT_H_INCLUDED_
#define _LOAD_TEXT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


#define LOAD_MARK_LEN     34
#define LOAD_SENDER_MAX   0xffffff      /* six hex digits */
#define LOAD_TEXT_MAX     65536         /* a longer message is refused */

typedef struct {
    uint64_t  due;          /* ns on the generator's monotonic clock */
    uint32_t  sender;
    uint32_t  number;       /* 0, 1, 2 .. for each sender */
} load_mark_t;

typedef struct load_text_s  load_text_t;


/* NULL: no memory, an unknown %, no %T in it, or too long (*why tells). */
load_text_t *load_text_compile(const char *src, const char **why);
void load_text_free(load_text_t *text);

/* Writes a message of at most LOAD_TEXT_MAX bytes to dst, returns its length */
size_t load_text_render(const load_text_t *text, const load_mark_t *mark,
    char *dst);

/*
 * Looks for a mark in [p, last).  Returns what follows it, with *mark set, or
 * NULL if there is none.
 */
const char *load_mark_find(const char *p, const char *last, load_mark_t *mark);


#endif /* _LOAD_TEXT_H_INCLUDED_ */
