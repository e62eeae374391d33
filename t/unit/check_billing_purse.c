
/*
 * Copyright (C) The Astro authors
 *
 * Several sessions on one wallet: how what is left is split, and that all who
 * decide within their shares can be served together.
 */

#include "unit.h"
#include "purse.h"


#define CLAIMS   12
#define T        INT64_C(1763690000000)
#define SILENCE  8000


static const billing_settings_t  settings = {
    .tick_ms = 15000,
    .ahead_ms = 60000,
    .low_ms = 120000,
    .ring_ms = 45000,
    .grace_ms = 60000
};


static int64_t
up_to(int64_t max)
{
    return (int64_t) (unit_random() % ((uint64_t) max + 1));
}


/* small and large alike */

static int64_t
any(int64_t max)
{
    return (int64_t) ((unit_random() >> 1) >> (unit_random() % 63))
           % (max + 1);
}


START_TEST(known)
{
    billing_claim_t  c[3] = {
        { .rate = 6000, .need = 1000 },
        { .rate = 6000, .need = 1000 },
        { .rate = 12000, .need = 5000 }
    };

    ck_assert_int_eq(billing_purse_split(c, 3, 7000), 0);
    ck_assert_int_eq(c[0].share, 1000);
    ck_assert_int_eq(c[1].share, 1000);
    ck_assert_int_eq(c[2].share, 5000);

    ck_assert_int_eq(billing_purse_split(c, 3, 803), 1);
    ck_assert_int_eq(c[0].share, 201);
    ck_assert_int_eq(c[1].share, 201);
    ck_assert_int_eq(c[2].share, 401);

    /* two are satisfied, the third has the rest */

    ck_assert_int_eq(billing_purse_split(c, 3, 6999), 1);
    ck_assert_int_eq(c[0].share, 1000);
    ck_assert_int_eq(c[1].share, 1000);
    ck_assert_int_eq(c[2].share, 4999);

    /* one unit, to the lower id; who needs nothing gets nothing */

    c[0].need = -5;

    ck_assert_int_eq(billing_purse_split(c, 3, 1), 1);
    ck_assert_int_eq(c[0].share, 0);
    ck_assert_int_eq(c[1].share, 1);
    ck_assert_int_eq(c[2].share, 0);

    ck_assert_int_eq(billing_purse_split(c, 3, -7), 1);
    ck_assert_int_eq(c[1].share + c[2].share, 0);
}
END_TEST


/*
 * What is available is given away to the last minor unit and never more; none
 * gets more than it needs; and none is starved: who does not get all that it
 * needs has at least its part by rate, and at most a unit more of the money
 * than what lasts as long as that of any other such.
 */

START_TEST(fair)
{
    int               i, short_of;
    size_t            a, b, n;
    int64_t           available;
    __int128          needs, rates, given;
    billing_claim_t  *p, *q, c[CLAIMS];

    for (i = 0; i < (int) (100000 * unit_effort); i++) {
        n = 1 + (size_t) up_to(CLAIMS - 1);
        needs = 0;
        rates = 0;

        for (a = 0; a < n; a++) {
            c[a].rate = 1 + any((i & 1) ? 1000000000 : INT64_MAX - 1);
            c[a].need = any((i & 2) ? 100000 : INT64_MAX / 4)
                        - ((i & 4) ? 100 : 0);

            if (c[a].need > 0) {
                needs += c[a].need;
                rates += c[a].rate;
            }
        }

        available = (i & 8) ? any(INT64_MAX / 4)
                            : up_to((int64_t) (needs % (INT64_MAX / 2)));

        short_of = billing_purse_split(c, n, available);
        given = 0;

        must(short_of == (needs > available));

        for (a = 0; a < n; a++) {
            p = &c[a];
            given += p->share;

            must(p->share >= 0);
            must(p->share <= ((p->need > 0) ? p->need : 0));

            if (p->need <= 0 || p->share == p->need) {
                continue;
            }

            must((p->share + 1) * rates > (__int128) available * p->rate);

            for (b = 0; b < n; b++) {
                q = &c[b];

                if (q->need <= 0) {
                    continue;
                }

                /* q does not have for longer than p */

                must((__int128) (q->share - 1) * p->rate
                     < (__int128) (p->share + 1) * q->rate);

                if (b > a && q->share < q->need && q->rate == p->rate) {
                    must(p->share >= q->share);
                }
            }
        }

        must(given == (short_of ? available : needs));
    }
}
END_TEST


/* Sessions that run, on one wallet that has not enough for all of them. */

START_TEST(within)
{
    int                  round, i, n;
    int64_t              used, available, wanted, balance, wallet_held;
    billing_claim_t      c[CLAIMS];
    billing_facts_t      f[CLAIMS];
    billing_decision_t   d[CLAIMS];
    billing_interval_t   iv[CLAIMS][2];

    for (round = 0; round < (int) (20000 * unit_effort); round++) {
        n = 1 + (int) up_to(CLAIMS - 1);
        wallet_held = 0;

        memset(f, 0, sizeof(f));
        memset(iv, 0, sizeof(iv));

        for (i = 0; i < n; i++) {
            used = up_to(100000);

            f[i].id = i + 1;
            f[i].ver = 4;
            f[i].state = up_to(3) ? ASTRO_SESSION_ACTIVE
                                  : ASTRO_SESSION_CONNECTING;
            f[i].tariff.rate = 1 + any(100000);
            f[i].tariff.commission_bps = 3000;
            f[i].tariff.whole_minute = (up_to(4) == 0);
            f[i].state_ms = T;
            f[i].max_ms = BILLING_NONE;
            f[i].end_ms = BILLING_NONE;
            f[i].active_ms = BILLING_NONE;
            f[i].paid_until_ms = BILLING_NONE;
            f[i].tick_ms = BILLING_NONE;
            f[i].now_ms = f[i].lease_ms = f[i].est_ms = T + used;
            f[i].silence_ms = SILENCE;
            f[i].payer = 1;
            f[i].intervals = iv[i];
            f[i].n = 2;

            iv[i][1].party = BILLING_ADVISOR;
            iv[i][0].from_ms = iv[i][1].from_ms = T;
            iv[i][0].open = iv[i][1].open = 1;
            iv[i][0].to_ms = iv[i][1].to_ms
                           = T + ((used > SILENCE) ? used - SILENCE : 0);

            if (f[i].state == ASTRO_SESSION_ACTIVE) {
                f[i].active_ms = T;

                /* holds some, perhaps not enough for what was used by now */

                f[i].held = any(200000);
                must(billing_tariff_reach(&f[i].tariff, f[i].held, &used)
                     == 0);
                f[i].paid_until_ms = T + used;
            }

            wallet_held += f[i].held;
        }

        available = any(300000);
        balance = wallet_held + available;

        for (i = 0; i < n; i++) {
            f[i].balance = balance;
            f[i].wallet_held = wallet_held;

            must(billing_engine_decide(&f[i], &settings, &d[i]) == 0);
            billing_engine_claim(&f[i], &d[i], &c[i]);
        }

        if (billing_purse_split(c, (size_t) n, available)) {

            for (i = 0; i < n; i++) {
                if (c[i].need > 0) {
                    billing_engine_within(&f[i], c[i].share);
                    must(billing_engine_decide(&f[i], &settings, &d[i]) == 0);
                }
            }
        }

        wanted = 0;

        for (i = 0; i < n; i++) {
            billing_engine_claim(&f[i], &d[i], &c[i]);
            wanted += (c[i].need > 0) ? c[i].need : 0;

            /* what gateways were told is not taken back */

            must(f[i].paid_until_ms == BILLING_NONE
                 || d[i].paid_until_ms >= f[i].paid_until_ms);
        }

        must(wanted <= available);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_purse");

    unit_add(s, "known", known);
    unit_add(s, "fair", fair);
    unit_add(s, "within", within);

    return unit_main(s);
}
