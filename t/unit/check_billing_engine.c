
/*
 * Copyright (C) The Astro authors
 *
 * What the engine decides in the situations that it is made for, one by one.
 * check_billing_sim.c plays them in all orders.
 */

#include "unit.h"
#include "engine.h"


#define T        INT64_C(1763690000000)
#define SILENCE  8000


static const billing_settings_t  settings = {
    .tick_ms = 15000,
    .ahead_ms = 60000,
    .low_ms = 120000,
    .ring_ms = 45000,
    .grace_ms = 60000
};


/* 60.00 a minute, 30 % to the platform; both joined and nothing billed yet */

static void
facts(billing_facts_t *f, billing_interval_t *iv, int64_t now,
    int64_t balance)
{
    memset(f, 0, sizeof(billing_facts_t));
    memset(iv, 0, 8 * sizeof(billing_interval_t));

    f->id = 1;
    f->ver = 4;
    f->state = ASTRO_SESSION_CONNECTING;
    f->tariff.rate = 6000;
    f->tariff.commission_bps = 3000;
    f->state_ms = T;
    f->max_ms = BILLING_NONE;
    f->end_ms = BILLING_NONE;
    f->active_ms = BILLING_NONE;
    f->paid_until_ms = BILLING_NONE;
    f->tick_ms = BILLING_NONE;
    f->balance = balance;
    f->now_ms = now;
    f->lease_ms = now;
    f->est_ms = now;
    f->silence_ms = SILENCE;
    f->payer = 1;
    f->intervals = iv;
    f->n = 2;

    iv[0].party = BILLING_CLIENT;
    iv[0].from_ms = T + 1000;
    iv[1].party = BILLING_ADVISOR;
    iv[1].from_ms = T + 3000;
    iv[0].open = iv[1].open = 1;
    iv[0].to_ms = (now - SILENCE > T + 1000) ? now - SILENCE : T + 1000;
    iv[1].to_ms = (now - SILENCE > T + 3000) ? now - SILENCE : T + 3000;
}


/* the same, active since T + 3000 with all the money held */

static void
active(billing_facts_t *f, billing_interval_t *iv, int64_t now,
    int64_t balance, int64_t held)
{
    int64_t  reach;

    facts(f, iv, now, balance);

    ck_assert_int_eq(billing_tariff_reach(&f->tariff, held, &reach), 0);

    f->state = ASTRO_SESSION_ACTIVE;
    f->active_ms = T + 3000;
    f->paid_until_ms = T + 3000 + reach;
    f->held = held;
    f->wallet_held = held;
}


static void
close_both(billing_interval_t *iv, int64_t at, int unpaid)
{
    int  i;

    for (i = 0; i < 2; i++) {
        iv[i].open = 0;
        iv[i].to_ms = at;
        iv[i].unpaid = (uint8_t) unpaid;
    }
}


/* The worker was away when the second came: billed from there all the same. */

START_TEST(activates)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    facts(&f, iv, T + 5000, 1000000);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 1);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ACTIVE);
    ck_assert_int_eq(d.active_ms, T + 3000);
    ck_assert_int_eq(d.amount, 0);

    /* 2 s that are over and 60 s ahead, to the last ms that 6200 pay for */

    ck_assert_int_eq(d.held, 6200);
    ck_assert_int_eq(d.paid_until_ms, T + 3000 + 62009);
    ck_assert_int_eq(d.tick_ms, T + 18000);
    ck_assert_int_eq(d.wait_ms, 13000);
    ck_assert_uint_eq(d.low, 0);
}
END_TEST


START_TEST(holds_what_there_is)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    facts(&f, iv, T + 3000, 2000);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ACTIVE);
    ck_assert_int_eq(d.held, 2000);
    ck_assert_int_eq(d.paid_until_ms, T + 3000 + 20009);
    ck_assert_uint_eq(d.low, 1);
    ck_assert_uint_eq(d.low_sent, 1);
    ck_assert_int_eq(d.left_ms, 20009);

    /* what other sessions hold is not there */

    facts(&f, iv, T + 3000, 2000);
    f.wallet_held = 1500;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.held, 500);
    ck_assert_int_eq(d.paid_until_ms, T + 3000 + 5009);
}
END_TEST


START_TEST(nothing_to_hold)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    facts(&f, iv, T + 5000, 700);
    f.wallet_held = 700;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ENDED);
    ck_assert_str_eq(d.reason, "low_balance");
    ck_assert_int_eq(d.amount, 0);
    ck_assert_int_eq(d.billed_ms, 0);
    ck_assert_uint_eq(d.settle, 1);
}
END_TEST


START_TEST(one_is_not_both)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    facts(&f, iv, T + 5000, 1000000);
    f.n = 1;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 0);
    ck_assert_int_eq(d.wait_ms, 55000);

    /* two devices of one party are not two parties */

    f.n = 2;
    iv[1].party = BILLING_CLIENT;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 0);
}
END_TEST


START_TEST(ticks)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    /* at T + 33000 leases prove 22000 ms */

    active(&f, iv, T + 33000, 100000, 7500);
    f.tick_ms = T + 33000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ACTIVE);
    ck_assert_int_eq(d.billed_ms, 22000);
    ck_assert_int_eq(d.amount, 2200);
    ck_assert_int_eq(d.fee, 660);
    ck_assert_uint_eq(d.tick, 1);

    /* 30 s used, 60 s ahead */

    ck_assert_int_eq(d.amount + d.held, 9000);
    ck_assert_int_eq(d.paid_until_ms, T + 3000 + 90009);
    ck_assert_int_eq(d.tick_ms, T + 48000);
    ck_assert_int_eq(d.wait_ms, 15000);

    /* not before its time */

    active(&f, iv, T + 30000, 100000, 7500);
    f.tick_ms = T + 33000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 0);
    ck_assert_int_eq(d.wait_ms, 3000);

    /* a top-up is held at once if the hold had stopped short */

    active(&f, iv, T + 30000, 100000, 5000);
    f.tick_ms = T + 33000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 1);
    ck_assert_int_eq(d.amount, 0);
    ck_assert_int_eq(d.held, 8700);
}
END_TEST


/*
 * Who does not know the grid point sees by the hold when the last charge was:
 * at the point of T + 33000 or since, or before it, or that it cannot be told.
 */

START_TEST(known_anew)
{
    int64_t             at;
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    for (at = 32000; at < 35000; at++) {
        active(&f, iv, T + 35000, 100000, 9300);
        f.paid_until_ms = T + at + settings.ahead_ms;

        ck_assert_int_eq(billing_engine_decide(&f, &settings, &d),
                         BILLING_OK);
        ck_assert_int_eq(d.tick_ms, T + 48000);
        ck_assert_uint_eq(d.tick, at < 33000 - 50);

        if (at >= 33000 - 50) {
            ck_assert_uint_eq(d.apply, 0);
            ck_assert_int_eq(d.wait_ms, 13000);
        }
    }

    active(&f, iv, T + 35000, 100000, 9300);
    f.paid_until_ms = T + 35001 + settings.ahead_ms;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.tick, 1);
    ck_assert_int_eq(d.tick_ms, T + 48000);
}
END_TEST


/* A late timer moves one tick, not the grid. */

START_TEST(grid)
{
    int                 i;
    int64_t             at, late;
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    at = T + 3000;

    for (i = 1; i <= 200; i++) {
        late = (int64_t) unit_below(900);

        active(&f, iv, at + 15000 + late, 100000000, 50000000);
        f.tick_ms = at + 15000;

        ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), 0);
        ck_assert_int_eq(d.tick_ms, T + 3000 + 15000 * (i + 1));
        ck_assert_int_eq(d.wait_ms, 15000 - late);

        at += 15000;
    }
}
END_TEST


/* The gateways stopped at paid_until: that instant, to the minor unit. */

START_TEST(exhausts)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    active(&f, iv, T + 23200, 2000, 2000);
    close_both(iv, f.paid_until_ms, 1);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ENDED);
    ck_assert_str_eq(d.reason, "low_balance");
    ck_assert_int_eq(d.billed_ms, 20009);
    ck_assert_int_eq(d.amount, 2000);
    ck_assert_int_eq(d.fee, 600);
    ck_assert_int_eq(d.held, 0);
    ck_assert_int_eq(d.end_ms, T + 3000 + 20009);
    ck_assert_uint_eq(d.settle, 1);
    ck_assert_uint_eq(d.ended, 1);

    /* a gateway that went on regardless: not one ms more */

    active(&f, iv, T + 60000, 2000, 2000);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.billed_ms, 20009);
    ck_assert_int_eq(d.amount, 2000);
    ck_assert_int_eq(d.end_ms, T + 3000 + 20009);

    /* one gateway has spoken, the other not: wait, and do not end yet */

    active(&f, iv, T + 23200, 2000, 2000);
    iv[0].open = 0;
    iv[0].unpaid = 1;
    iv[0].to_ms = f.paid_until_ms;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ACTIVE);
    ck_assert_int_le(d.wait_ms, 250);
}
END_TEST


START_TEST(late_top_up)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    active(&f, iv, T + 25000, 3000, 2000);
    close_both(iv, f.paid_until_ms, 1);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_RECONNECTING);
    ck_assert_ptr_null(d.reason);
    ck_assert_int_eq(d.amount, 2000);
    ck_assert_int_eq(d.held, 1000);

    /* 30009 ms in all, 20009 used: 10000 from now on */

    ck_assert_int_eq(d.paid_until_ms, T + 35000);

    /* they are back: the pause is not billed, and not lost */

    f.state = ASTRO_SESSION_RECONNECTING;
    f.paid_until_ms = d.paid_until_ms;
    f.charged = 2000;
    f.fee = 600;
    f.billed_ms = 20009;
    f.charge_no = 1;
    f.balance = 1000;
    f.wallet_held = f.held = 1000;
    f.now_ms = f.lease_ms = f.est_ms = T + 26500;
    f.n = 4;
    iv[2].party = BILLING_CLIENT;
    iv[3].party = BILLING_ADVISOR;
    iv[2].from_ms = iv[2].to_ms = T + 26000;
    iv[3].from_ms = iv[3].to_ms = T + 26400;
    iv[2].open = iv[3].open = 1;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ACTIVE);
    ck_assert_int_eq(d.paid_until_ms, T + 36400);
    ck_assert_int_eq(d.active_ms, T + 3000);
    ck_assert_int_eq(d.amount, 0);
}
END_TEST


/*
 * While the advisor is gone the client's gateway passes paid_until, too.  There
 * is money: it is told once, by a paid_until ahead, that it may come back.
 */

START_TEST(called_back)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    active(&f, iv, T + 24000, 100000, 2000);
    f.state = ASTRO_SESSION_RECONNECTING;
    f.state_ms = T + 10500;
    close_both(iv, f.paid_until_ms, 1);
    iv[1].to_ms = T + 10000;
    iv[1].unpaid = 0;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_RECONNECTING);
    ck_assert_uint_eq(d.apply, 1);
    ck_assert_int_eq(d.amount, 700);
    ck_assert_int_eq(d.paid_until_ms, T + 24000 + 60009);

    /* told already */

    f.paid_until_ms = d.paid_until_ms;
    f.charged = d.amount;
    f.billed_ms = d.billed_ms;
    f.fee = d.fee;
    f.balance -= d.amount;
    f.held = f.wallet_held = d.held;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 0);
}
END_TEST


START_TEST(settles)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    /* ended, one gateway has not closed yet and may still prove more */

    active(&f, iv, T + 13000, 100000, 7500);
    f.state = ASTRO_SESSION_ENDED;
    f.end_ms = T + 12500;
    iv[0].open = 0;
    iv[0].to_ms = T + 12600;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 0);
    ck_assert_int_le(d.wait_ms, 250);

    /* all closed */

    iv[1].open = 0;
    iv[1].to_ms = T + 12700;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.settle, 1);
    ck_assert_int_eq(d.billed_ms, 9500);
    ck_assert_int_eq(d.amount, 950);
    ck_assert_int_eq(d.held, 0);
    ck_assert_ptr_null(d.reason);
    ck_assert_int_eq(d.end_ms, T + 12500);

    /* not closed, but proven beyond the end: nothing can change any more */

    active(&f, iv, T + 25000, 100000, 7500);
    f.state = ASTRO_SESSION_ENDED;
    f.end_ms = T + 12500;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.settle, 1);
    ck_assert_int_eq(d.amount, 950);

    /* joined, but never active: nothing to pay */

    facts(&f, iv, T + 25000, 100000);
    f.state = ASTRO_SESSION_ENDED;
    f.end_ms = T + 12500;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.settle, 1);
    ck_assert_int_eq(d.amount, 0);
    ck_assert_int_eq(d.billed_ms, 0);
}
END_TEST


START_TEST(times_out)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    facts(&f, iv, T + 44999, 100000);
    f.state = ASTRO_SESSION_RINGING;
    f.n = 0;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 0);
    ck_assert_int_eq(d.wait_ms, 1);

    f.now_ms = T + 45000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ENDED);
    ck_assert_str_eq(d.reason, "missed");
    ck_assert_uint_eq(d.settle, 1);

    facts(&f, iv, T + 60000, 100000);
    f.state = ASTRO_SESSION_ACCEPTED;
    f.n = 0;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_str_eq(d.reason, "peer_lost");
    ck_assert_uint_eq(d.settle, 1);
    ck_assert_int_eq(d.amount, 0);

    /* the advisor went at T + 10000 and did not come back */

    active(&f, iv, T + 75000, 100000, 7500);
    f.state = ASTRO_SESSION_RECONNECTING;
    f.state_ms = T + 15000;
    iv[1].open = 0;
    iv[1].to_ms = T + 10000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_str_eq(d.reason, "peer_lost");
    ck_assert_int_eq(d.amount, 700);
    ck_assert_int_eq(d.held, 0);
    ck_assert_uint_eq(d.settle, 1);
}
END_TEST


START_TEST(maximum)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    facts(&f, iv, T + 3000, 1000000);
    f.max_ms = 10000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.held, 1000);
    ck_assert_int_eq(d.paid_until_ms, T + 13000);
    ck_assert_int_eq(d.left_ms, 10000);
    ck_assert_uint_eq(d.low, 0);

    f.state = ASTRO_SESSION_ACTIVE;
    f.active_ms = T + 3000;
    f.paid_until_ms = T + 13000;
    f.held = f.wallet_held = 1000;
    f.now_ms = f.est_ms = f.lease_ms = T + 13200;
    close_both(iv, T + 13000, 1);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ENDED);
    ck_assert_str_eq(d.reason, "max_reached");
    ck_assert_int_eq(d.billed_ms, 10000);
    ck_assert_int_eq(d.amount, 1000);

    /* what the client's caps leave is one, too; the lower one is the reason */

    f.max_ms = BILLING_NONE;
    f.tariff.max_minor = 1500;
    billing_engine_cap(&f, 999);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_str_eq(d.reason, "cap_reached");
    ck_assert_int_eq(d.amount, 999);

    f.tariff.max_minor = 999;
    billing_engine_cap(&f, 1500);

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_str_eq(d.reason, "max_reached");
}
END_TEST


START_TEST(payer)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    active(&f, iv, T + 33000, 100000, 7500);
    f.payer = 0;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.state, ASTRO_SESSION_ENDED);
    ck_assert_str_eq(d.reason, "invalid_user_role");
    ck_assert_int_eq(d.amount, 0);
    ck_assert_int_eq(d.billed_ms, 0);
    ck_assert_int_eq(d.held, 0);
    ck_assert_uint_eq(d.settle, 1);

    facts(&f, iv, T + 5000, 100000);
    f.payer = 0;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_str_eq(d.reason, "invalid_user_role");
}
END_TEST


START_TEST(warns_once)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    /* 200 s in all, 30 used: 170 left, the warning is due in 50 s */

    active(&f, iv, T + 33000, 20000, 9000);
    f.tick_ms = T + 48000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.low, 0);

    /* crossed, though no tick is due */

    active(&f, iv, T + 84000, 20000, 14000);
    f.tick_ms = T + 93000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.apply, 1);
    ck_assert_uint_eq(d.low, 1);
    ck_assert_uint_eq(d.low_sent, 1);
    ck_assert_int_eq(d.amount, 0);
    ck_assert_int_eq(d.left_ms, 200009 - 81000);

    /* once */

    f.low_sent = 1;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.low, 0);
    ck_assert_uint_eq(d.apply, 0);

    /* armed again by money */

    f.balance += 10000;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_uint_eq(d.low, 0);
    ck_assert_uint_eq(d.low_sent, 0);
    ck_assert_uint_eq(d.apply, 1);
}
END_TEST


/*
 * A gateway that is gone had an hour more on its clock than the one that both
 * are at now: the leases' instant is before most of what is proven.
 */

START_TEST(another_clock)
{
    billing_facts_t     f;
    billing_decision_t  d;
    billing_interval_t  iv[8];

    active(&f, iv, T + 603000, 100000, 1000);
    close_both(iv, T + 603000, 0);
    f.paid_until_ms = T + 603000;

    memcpy(&iv[2], iv, 2 * sizeof(billing_interval_t));
    f.n = 4;
    f.lease_ms = f.est_ms = T - 3500000;
    iv[2].open = iv[3].open = 1;
    iv[2].from_ms = iv[3].from_ms = f.lease_ms - 10000;
    iv[2].to_ms = iv[3].to_ms = f.lease_ms - SILENCE;

    ck_assert_int_eq(billing_engine_decide(&f, &settings, &d), BILLING_OK);
    ck_assert_int_eq(d.amount, (600000 + 10000 - SILENCE) / 10);
    ck_assert_int_eq(d.held, 0);
    ck_assert_int_le(d.amount + d.held - f.held, f.balance - f.wallet_held);
}
END_TEST


#define refused(f, why)                                                       \
    do {                                                                      \
        billing_decision_t  d;                                                \
                                                                              \
        ck_assert_int_eq(billing_engine_decide(f, &settings, &d),             \
                         BILLING_ERROR);                                      \
        ck_assert_msg(strstr(d.reason, why) != NULL, "%s", d.reason);         \
    } while (0)


START_TEST(contradictions)
{
    billing_facts_t     f;
    billing_interval_t  iv[8];

    active(&f, iv, T + 33000, 100000, 7500);
    f.charged = 1;
    refused(&f, "charged is not");

    active(&f, iv, T + 33000, 100000, 7500);
    f.fee = 1;
    refused(&f, "fee is not");

    active(&f, iv, T + 33000, 100000, 7500);
    f.wallet_held = 7499;
    refused(&f, "more than its wallet");

    active(&f, iv, T + 33000, 7499, 7500);
    refused(&f, "more than it has");

    active(&f, iv, T + 33000, 100000, 7500);
    f.tariff.rate = 0;
    refused(&f, "the tariff");

    active(&f, iv, T + 33000, 100000, 7500);
    f.state = ASTRO_SESSION_NONE;
    refused(&f, "no decision comes");

    active(&f, iv, T + 33000, 100000, 7500);
    f.paid_until_ms = INT64_MAX;
    refused(&f, "an instant");

    active(&f, iv, T + 33000, 100000, 7500);
    f.est_ms = BILLING_NONE;
    refused(&f, "an instant");

    active(&f, iv, T + 33000, 100000, 7500);
    iv[0].to_ms = iv[0].from_ms - 1;
    refused(&f, "an interval is none");

    active(&f, iv, T + 33000, 100000, 7500);
    iv[0].to_ms = f.lease_ms + 1;
    refused(&f, "beyond all leases");

    active(&f, iv, T + 33000, 100000, 7500);
    f.est_ms = f.lease_ms - 1;
    refused(&f, "the leases' clock");

    active(&f, iv, T + 33000, 100000, 7500);
    f.charge_no = -1;
    refused(&f, "less than nothing");

    active(&f, iv, T + 33000, INT64_MAX, 7500);
    refused(&f, "out of all bounds");
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_engine");

    unit_add(s, "activates", activates);
    unit_add(s, "holds_what_there_is", holds_what_there_is);
    unit_add(s, "nothing_to_hold", nothing_to_hold);
    unit_add(s, "one_is_not_both", one_is_not_both);
    unit_add(s, "ticks", ticks);
    unit_add(s, "known_anew", known_anew);
    unit_add(s, "grid", grid);
    unit_add(s, "exhausts", exhausts);
    unit_add(s, "late_top_up", late_top_up);
    unit_add(s, "called_back", called_back);
    unit_add(s, "settles", settles);
    unit_add(s, "times_out", times_out);
    unit_add(s, "maximum", maximum);
    unit_add(s, "payer", payer);
    unit_add(s, "warns_once", warns_once);
    unit_add(s, "another_clock", another_clock);
    unit_add(s, "contradictions", contradictions);

    return unit_main(s);
}
