
/*
 * Copyright (C) The Astro authors
 *
 * A growing text: arrays for SQL, frames for Redis, lines of the log.  A
 * failed allocation is remembered, further appends do nothing, and
 * billing_text_end() says so: callers check once.
 */

#ifndef _BILLING_TEXT_H_INCLUDED_
#define _BILLING_TEXT_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>


typedef struct {
    char    *data;              /* owned, NUL-terminated after end() */
    size_t   len;
    size_t   size;
    int      failed;
} billing_text_t;


void billing_text_init(billing_text_t *t);
void billing_text_free(billing_text_t *t);

/* Makes it empty again and keeps the memory. */
void billing_text_reset(billing_text_t *t);

void billing_text_add(billing_text_t *t, const char *data, size_t len);
void billing_text_str(billing_text_t *t, const char *s);
void billing_text_int(billing_text_t *t, int64_t n);

/* A JSON string with its quotes. */
void billing_text_json(billing_text_t *t, const char *s);

/* The text, or NULL if memory was short.  Valid until the next append. */
const char *billing_text_end(billing_text_t *t);


/*
 * Elements of an SQL array: add them one by one, then billing_text_close().
 * There is no quoting: a word must need none.
 */
void billing_text_item(billing_text_t *t, int64_t n);
void billing_text_word(billing_text_t *t, const char *word);   /* NULL: NULL */
const char *billing_text_close(billing_text_t *t);

/*
 * The next number of an SQL array of integers of any dimension; 0 at its end.
 * BILLING_ERROR if there is something else, or a number that does not fit.
 */
int billing_text_next(const char **s, int64_t *n);

/* A whole number with nothing around it. */
int billing_text_number(const char *s, int64_t *n);


#endif /* _BILLING_TEXT_H_INCLUDED_ */
