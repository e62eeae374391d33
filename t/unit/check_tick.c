
/*
 * Copyright (C) The Astro authors
 *
 * Ticks between billing worker and gateways: what goes in comes out, and of a
 * damaged message only whole lines that say something possible.
 */

#include "unit.h"

#include "astro_id.h"
#include "astro_tick.h"


#define LINE  "7 3 1700000060000 11 12 15000 1500 1050 98500 120\n"


static const astro_tick_t  sample = {
    7, 3, 1700000060000, 11, 12, 15000, 1500, 1050, 98500, 120
};

static const astro_tick_t  top = {
    ASTRO_ID_TOP, INT32_MAX, INT64_MAX, ASTRO_ID_TOP, ASTRO_ID_TOP,
    INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX
};


/* One line, its memory of exactly that size, for the sanitizers. */

static int
reads(const char *text, size_t len, astro_tick_t *t)
{
    int             rc;
    uint8_t        *copy;
    const uint8_t  *p;

    copy = malloc(len ? len : 1);
    must(copy);
    memcpy(copy, text, len);

    p = copy;
    rc = astro_tick_read(&p, copy + len, t);
    must(p > copy && p <= copy + len);

    free(copy);

    return rc;
}


START_TEST(line)
{
    uint8_t        p[ASTRO_TICK_LINE];
    astro_tick_t   t;

    must(astro_tick_write(p, &sample) == p + sizeof(LINE) - 1);
    must(memcmp(p, LINE, sizeof(LINE) - 1) == 0);

    memset(&t, 0, sizeof(t));
    must(reads(LINE, sizeof(LINE) - 1, &t) == 1);
    must(memcmp(&t, &sample, sizeof(t)) == 0);
}
END_TEST


START_TEST(bounds)
{
    size_t         i;
    uint8_t        p[ASTRO_TICK_LINE], *last;
    int64_t       *n;
    astro_tick_t   t, u;

    last = astro_tick_write(p, &top);
    must(last != NULL && last <= p + ASTRO_TICK_LINE);
    must(reads((char *) p, (size_t) (last - p), &t) == 1);
    must(memcmp(&t, &top, sizeof(t)) == 0);

    /* each number of it, one below the least and one above the greatest */

    for (i = 0; i < sizeof(t) / sizeof(int64_t); i++) {
        u = sample;
        n = (int64_t *) &u + i;

        *n = (i == 0 || i == 3 || i == 4) ? 0 : -1;
        must(astro_tick_write(p, &u) == NULL);
        *n += 1;
        must(astro_tick_write(p, &u) != NULL);

        *n = ((const int64_t *) &top)[i];
        must(astro_tick_write(p, &u) != NULL);

        if (*n != INT64_MAX) {
            *n += 1;
            must(astro_tick_write(p, &u) == NULL);
        }
    }
}
END_TEST


START_TEST(lies)
{
    size_t        i;
    astro_tick_t  t;

    static const char *const  cases[] = {
        "\n", " \n", "x\n",
        "7 3 1700000060000 11 12 15000 1500 1050 98500\n",
        "7 3 1700000060000 11 12 15000 1500 1050 98500 \n",
        "7 3 1700000060000 11 12 15000 1500 1050 98500 120 \n",
        "7 3 1700000060000 11 12 15000 1500 1050 98500 120 1\n",
        " 7 3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7  3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7\t3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7 3 1700000060000 11 12 15000 1500 1050 98500 120\r\n",
        "7 -3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7 +3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "07 3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7 03 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "0 3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7 3 1700000060000 0 12 15000 1500 1050 98500 120\n",
        "7 3 1700000060000 11 0 15000 1500 1050 98500 120\n",
        "7 2147483648 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "72057594037927936 3 1700000060000 11 12 15000 1500 1050 98500 120\n",
        "7 3 9223372036854775808 11 12 15000 1500 1050 98500 120\n",
        "7 3 9999999999999999999 11 12 15000 1500 1050 98500 120\n",
        "7 3 18446744073709551617 11 12 15000 1500 1050 98500 120\n",
        "7 3 1700000060000 11 12 15000 1500 1050 98500 99999999999999999999\n",
    };

    for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        ck_assert_msg(reads(cases[i], strlen(cases[i]), &t) == 0, "%zu: %s",
                      i, cases[i]);
    }

    /* cut off anywhere: the last number might have been longer */

    for (i = 1; i < sizeof(LINE) - 1; i++) {
        must(reads(LINE, i, &t) == 0);
    }
}
END_TEST


/* What is wrong with one line is not the next one's fault. */

START_TEST(goes_on)
{
    int             n, good;
    astro_tick_t    t;
    const uint8_t  *p, *last;

    static const char  text[] = LINE "nonsense\n" LINE "\n" LINE "7 3 17";

    p = (const uint8_t *) text;
    last = p + sizeof(text) - 1;
    good = 0;

    for (n = 0; p < last; n++) {
        good += astro_tick_read(&p, last, &t);
    }

    must(n == 6 && good == 3 && p == last);
}
END_TEST


START_TEST(noise)
{
    int             i;
    size_t          len, at;
    uint8_t         p[4 * ASTRO_TICK_LINE], again[ASTRO_TICK_LINE], *last;
    astro_tick_t    t;
    const uint8_t  *pos, *from;

    for (i = 0; i < (int) (100000 * unit_effort); i++) {
        last = astro_tick_write(p, &sample);
        last = astro_tick_write(last, &top);
        last = astro_tick_write(last, &sample);
        len = (size_t) (last - p);

        for (at = unit_random() % 4; at; at--) {
            p[unit_random() % len] = unit_random() % 2
                                     ? (uint8_t) unit_random()
                                     : (uint8_t) " \n0179"[unit_random() % 6];
        }

        for (pos = p; pos < last; /* void */ ) {
            from = pos;

            if (astro_tick_read(&pos, last, &t)) {
                must(astro_tick_write(again, &t) == again + (pos - from));
                must(memcmp(again, from, (size_t) (pos - from)) == 0);
            }

            must(pos > from);
        }
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("tick");

    unit_add(s, "line", line);
    unit_add(s, "bounds", bounds);
    unit_add(s, "lies", lies);
    unit_add(s, "goes_on", goes_on);
    unit_add(s, "noise", noise);

    return unit_main(s);
}
