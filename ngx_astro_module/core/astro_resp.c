
/*
 * Copyright (C) The Astro authors
 *
 * A reply that is not whole is read again from its start when more has come:
 * the lines in it are short, and over a bulk's octets nothing goes, so that is
 * cheap however small the pieces are.
 */


#include "astro_resp.h"


#define ASTRO_RESP_LINE  512    /* the longest line: an error's text */


static astro_resp_rc_e astro_resp_value(uint8_t **pos, uint8_t *last,
    astro_resp_value_t *v, size_t *need);
static astro_resp_rc_e astro_resp_line(uint8_t **pos, uint8_t *last,
    astro_resp_value_t *v, size_t *need);
static int astro_resp_number(const astro_resp_value_t *v, int64_t min,
    int64_t max, int64_t *n);


astro_resp_rc_e
astro_resp_read(uint8_t **pos, uint8_t *last, astro_resp_t *reply,
    size_t *need)
{
    size_t            more;
    int64_t           i;
    uint8_t          *p;
    astro_resp_rc_e   rc;

    p = *pos;
    rc = astro_resp_value(&p, last, &reply->value, &more);

    if (rc == ASTRO_RESP_REPLY && reply->value.kind == ASTRO_RESP_ARRAY) {

        for (i = 0; i < reply->value.n && rc == ASTRO_RESP_REPLY; i++) {
            rc = astro_resp_value(&p, last, &reply->element[i], &more);

            if (rc == ASTRO_RESP_REPLY
                && reply->element[i].kind == ASTRO_RESP_ARRAY)
            {
                return ASTRO_RESP_ERROR;
            }
        }
    }

    if (rc == ASTRO_RESP_MORE) {
        *need = (size_t) (p - *pos) + more;
    }

    if (rc == ASTRO_RESP_REPLY) {
        *pos = p;
    }

    return rc;
}


/* MORE: *pos may have moved, and from there *need octets are necessary. */

static astro_resp_rc_e
astro_resp_value(uint8_t **pos, uint8_t *last, astro_resp_value_t *v,
    size_t *need)
{
    uint8_t           type;
    int64_t           n;
    astro_resp_rc_e   rc;

    if (*pos == last) {
        *need = 1;
        return ASTRO_RESP_MORE;
    }

    type = **pos;
    v->n = 0;
    rc = astro_resp_line(pos, last, v, need);

    if (rc != ASTRO_RESP_REPLY) {
        return rc;
    }

    switch (type) {

    case '+':
        v->kind = ASTRO_RESP_STATUS;
        return ASTRO_RESP_REPLY;

    case '-':
        v->kind = ASTRO_RESP_REFUSAL;
        return ASTRO_RESP_REPLY;

    case ':':
        v->kind = ASTRO_RESP_INT;
        return astro_resp_number(v, INT64_MIN, INT64_MAX, &v->n)
               ? ASTRO_RESP_REPLY : ASTRO_RESP_ERROR;

    case '$':

        if (!astro_resp_number(v, -1, ASTRO_RESP_MAX_BULK, &n)) {
            return ASTRO_RESP_ERROR;
        }

        v->data = *pos;
        v->len = n < 0 ? 0 : (size_t) n;
        v->kind = n < 0 ? ASTRO_RESP_NIL : ASTRO_RESP_BULK;

        if (n < 0) {
            return ASTRO_RESP_REPLY;
        }

        if ((size_t) (last - *pos) < v->len + 2) {
            *need = v->len + 2;
            return ASTRO_RESP_MORE;
        }

        if ((*pos)[v->len] != '\r' || (*pos)[v->len + 1] != '\n') {
            return ASTRO_RESP_ERROR;
        }

        *pos += v->len + 2;
        return ASTRO_RESP_REPLY;

    case '*':

        if (!astro_resp_number(v, -1, ASTRO_RESP_MAX, &n)) {
            return ASTRO_RESP_ERROR;
        }

        v->kind = n < 0 ? ASTRO_RESP_NIL : ASTRO_RESP_ARRAY;
        v->n = n < 0 ? 0 : n;
        return ASTRO_RESP_REPLY;

    default:
        return ASTRO_RESP_ERROR;
    }
}


/* What stands between the type and CR LF; moves *pos only when it is whole. */

static astro_resp_rc_e
astro_resp_line(uint8_t **pos, uint8_t *last, astro_resp_value_t *v,
    size_t *need)
{
    uint8_t  *p, *end;

    end = last - *pos > ASTRO_RESP_LINE ? *pos + ASTRO_RESP_LINE : last;

    for (p = *pos + 1; p < end && *p != '\r'; p++) {
        if (*p == '\n') {
            return ASTRO_RESP_ERROR;
        }
    }

    if (p + 1 >= last) {

        if (p - *pos >= ASTRO_RESP_LINE) {
            return ASTRO_RESP_ERROR;
        }

        *need = (size_t) (last - *pos) + 1;
        return ASTRO_RESP_MORE;
    }

    if (p[0] != '\r' || p[1] != '\n') {
        return ASTRO_RESP_ERROR;
    }

    v->data = *pos + 1;
    v->len = (size_t) (p - v->data);
    *pos = p + 2;

    return ASTRO_RESP_REPLY;
}


static int
astro_resp_number(const astro_resp_value_t *v, int64_t min, int64_t max,
    int64_t *n)
{
    int       negative;
    size_t    i;
    int64_t   value;
    uint8_t   digit;

    i = 0;
    value = 0;
    negative = v->len > 1 && v->data[0] == '-';

    if (negative) {
        i++;
    }

    if (i == v->len || v->len - i > 18) {
        return 0;
    }

    for ( /* void */ ; i < v->len; i++) {
        digit = (uint8_t) (v->data[i] - '0');

        if (digit > 9) {
            return 0;
        }

        value = value * 10 + digit;
    }

    *n = negative ? -value : value;

    return *n >= min && *n <= max;
}
