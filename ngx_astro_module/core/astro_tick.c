
/*
 * Copyright (C) The Astro authors
 *
 * Tens of thousands of lines a second come to each gateway, most of them about
 * people who are elsewhere: reading one costs less than looking them up.
 */

#include <string.h>

#include "astro_id.h"
#include "astro_tick.h"


#define ASTRO_TICK_NUMBERS  10
#define ASTRO_TICK_DIGITS   19          /* of INT64_MAX */


/* in the order of the line, which is that of the struct */

static const uint64_t  astro_tick_top[ASTRO_TICK_NUMBERS] = {
    ASTRO_ID_TOP, INT32_MAX, INT64_MAX, ASTRO_ID_TOP, ASTRO_ID_TOP,
    INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX
};

/* the ids: there is no number 0 */

#define ASTRO_TICK_IDS  ((1u << 0) | (1u << 3) | (1u << 4))


static void astro_tick_numbers(const astro_tick_t *t, int64_t *n);
static uint8_t *astro_tick_put(uint8_t *p, uint64_t n);
static int astro_tick_line(const uint8_t *p, const uint8_t *last,
    uint64_t *n);


uint8_t *
astro_tick_write(uint8_t *p, const astro_tick_t *t)
{
    int      i;
    int64_t  n[ASTRO_TICK_NUMBERS];

    astro_tick_numbers(t, n);

    for (i = 0; i < ASTRO_TICK_NUMBERS; i++) {

        if (n[i] < (int64_t) (ASTRO_TICK_IDS >> i & 1)
            || (uint64_t) n[i] > astro_tick_top[i])
        {
            return NULL;
        }

        p = astro_tick_put(p, (uint64_t) n[i]);
        *p++ = i == ASTRO_TICK_NUMBERS - 1 ? '\n' : ' ';
    }

    return p;
}


static void
astro_tick_numbers(const astro_tick_t *t, int64_t *n)
{
    n[0] = t->session;
    n[1] = t->ver;
    n[2] = t->paid_until_ms;
    n[3] = t->client;
    n[4] = t->advisor;
    n[5] = t->billed_ms;
    n[6] = t->charged;
    n[7] = t->earned;
    n[8] = t->balance;
    n[9] = t->left_s;
}


static uint8_t *
astro_tick_put(uint8_t *p, uint64_t n)
{
    size_t    len;
    uint8_t   buf[ASTRO_TICK_DIGITS], *first;

    first = buf + sizeof(buf);

    do {
        *--first = (uint8_t) ('0' + n % 10);
        n /= 10;
    } while (n);

    len = (size_t) (buf + sizeof(buf) - first);
    memcpy(p, first, len);

    return p + len;
}


int
astro_tick_read(const uint8_t **pos, const uint8_t *last, astro_tick_t *t)
{
    uint64_t        n[ASTRO_TICK_NUMBERS];
    const uint8_t  *p, *eol;

    p = *pos;
    eol = memchr(p, '\n', (size_t) (last - p));

    /* a line without an end was cut off: a shorter number is still a number */

    if (eol == NULL) {
        *pos = last;
        return 0;
    }

    *pos = eol + 1;

    if (!astro_tick_line(p, eol, n)) {
        return 0;
    }

    t->session = (int64_t) n[0];
    t->ver = (int64_t) n[1];
    t->paid_until_ms = (int64_t) n[2];
    t->client = (int64_t) n[3];
    t->advisor = (int64_t) n[4];
    t->billed_ms = (int64_t) n[5];
    t->charged = (int64_t) n[6];
    t->earned = (int64_t) n[7];
    t->balance = (int64_t) n[8];
    t->left_s = (int64_t) n[9];

    return 1;
}


static int
astro_tick_line(const uint8_t *p, const uint8_t *last, uint64_t *n)
{
    int             i;
    uint64_t        u;
    const uint8_t  *first;

    for (i = 0; i < ASTRO_TICK_NUMBERS; i++) {

        if (i > 0 && (p == last || *p++ != ' ')) {
            return 0;
        }

        u = 0;

        /* 19 digits fit into 64 bits; a 20th is one too many for the blank */

        for (first = p;
             p < last && *p >= '0' && *p <= '9'
             && p - first < ASTRO_TICK_DIGITS;
             p++)
        {
            u = u * 10 + (*p - '0');
        }

        if (p == first || (*first == '0' && p - first > 1)
            || u > astro_tick_top[i] || u < (ASTRO_TICK_IDS >> i & 1))
        {
            return 0;
        }

        n[i] = u;
    }

    return p == last;
}
