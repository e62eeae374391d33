
/*
 * Copyright (C) The Astro authors
 *
 * Growing texts: see text.h.
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tariff.h"
#include "text.h"


#define BILLING_TEXT_FIRST  256


static int billing_text_room(billing_text_t *t, size_t len);
static void billing_text_separate(billing_text_t *t);


void
billing_text_init(billing_text_t *t)
{
    memset(t, 0, sizeof(billing_text_t));
}


void
billing_text_free(billing_text_t *t)
{
    free(t->data);

    billing_text_init(t);
}


void
billing_text_reset(billing_text_t *t)
{
    t->len = 0;
    t->failed = 0;
}


static int
billing_text_room(billing_text_t *t, size_t len)
{
    char    *data;
    size_t   size;

    if (t->failed) {
        return BILLING_ERROR;
    }

    /* one more for the NUL of billing_text_end() */

    if (t->size - t->len > len) {
        return BILLING_OK;
    }

    size = t->size ? t->size : BILLING_TEXT_FIRST;

    while (size - t->len <= len) {
        size *= 2;
    }

    data = realloc(t->data, size);
    if (data == NULL) {
        t->failed = 1;
        return BILLING_ERROR;
    }

    t->data = data;
    t->size = size;

    return BILLING_OK;
}


void
billing_text_add(billing_text_t *t, const char *data, size_t len)
{
    if (billing_text_room(t, len) != BILLING_OK) {
        return;
    }

    memcpy(t->data + t->len, data, len);
    t->len += len;
}


void
billing_text_str(billing_text_t *t, const char *s)
{
    billing_text_add(t, s, strlen(s));
}


void
billing_text_int(billing_text_t *t, int64_t n)
{
    char      buf[24], *p;
    uint64_t  u;

    /* called for every number of every batch: no printf */

    u = (n < 0) ? 0 - (uint64_t) n : (uint64_t) n;
    p = buf + sizeof(buf);

    do {
        *--p = (char) ('0' + u % 10);
        u /= 10;
    } while (u != 0);

    if (n < 0) {
        *--p = '-';
    }

    billing_text_add(t, p, (size_t) (buf + sizeof(buf) - p));
}


void
billing_text_json(billing_text_t *t, const char *s)
{
    int   n;
    char  buf[8];

    billing_text_add(t, "\"", 1);

    for ( /* void */ ; *s != '\0'; s++) {

        if (*s == '"' || *s == '\\') {
            buf[0] = '\\';
            buf[1] = *s;
            billing_text_add(t, buf, 2);

        } else if ((unsigned char) *s < 0x20) {
            n = snprintf(buf, sizeof(buf), "\\u%04x", (unsigned) *s);
            billing_text_add(t, buf, (size_t) n);

        } else {
            billing_text_add(t, s, 1);
        }
    }

    billing_text_add(t, "\"", 1);
}


const char *
billing_text_end(billing_text_t *t)
{
    if (billing_text_room(t, 0) != BILLING_OK) {
        return NULL;
    }

    t->data[t->len] = '\0';

    return t->data;
}


static void
billing_text_separate(billing_text_t *t)
{
    billing_text_add(t, (t->len == 0) ? "{" : ",", 1);
}


void
billing_text_item(billing_text_t *t, int64_t n)
{
    billing_text_separate(t);
    billing_text_int(t, n);
}


void
billing_text_word(billing_text_t *t, const char *word)
{
    billing_text_separate(t);
    billing_text_str(t, word ? word : "NULL");
}


const char *
billing_text_close(billing_text_t *t)
{
    billing_text_str(t, (t->len == 0) ? "{}" : "}");

    return billing_text_end(t);
}


int
billing_text_next(const char **s, int64_t *n)
{
    char        *end;
    const char  *p;

    for (p = *s; *p == '{' || *p == '}' || *p == ','; p++) { /* void */ }

    if (*p == '\0') {
        return 0;
    }

    errno = 0;
    *n = strtoll(p, &end, 10);

    if (end == p || errno == ERANGE) {
        return BILLING_ERROR;
    }

    *s = end;

    return 1;
}


int
billing_text_number(const char *s, int64_t *n)
{
    char  *end;

    errno = 0;
    *n = strtoll(s, &end, 10);

    if (end == s || *end != '\0' || errno == ERANGE) {
        return BILLING_ERROR;
    }

    return BILLING_OK;
}
