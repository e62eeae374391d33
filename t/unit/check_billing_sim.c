
/*
 * Copyright (C) The Astro authors
 *
 * The engine in a simulated world: thousands of sessions in virtual time,
 * several on one wallet, with options and switches of the mode, drops, dead and
 * frozen gateways, two workers of which one dies or is stopped at any moment,
 * a database that is away and whose clock jumps, batches and answers that are
 * lost, what is remembered gone stale, top-ups and other spending.  At the end
 * of each, all books must balance, and each total be that of the oracle.
 *
 * ASTRO_SIM=n plays one world again, the one that a failure names.
 */

#include "sim.h"
#include "sim_db.h"
#include "sim_gateway.h"
#include "sim_worker.h"
#include "sim_audit.h"


#define ENDING  240000          /* from here on nothing bad happens */

#ifdef __SANITIZE_ADDRESS__
#define WORLDS  500
#else
#define WORLDS  1500
#endif


static void
play_parties(world_t *w, session_t *s)
{
    int  p, g;

    for (p = 0; p < 2; p++) {

        if (s->party[p].gw != NOBODY) {

            if (sim_once_in(w, 40)) {
                gateway_drop(w, s, p);
            }

            continue;
        }

        g = gateway_some(w);

        if (w->t >= s->party[p].back_at && g != NOBODY) {
            s->party[p].gw = g;
        }
    }

    g = s->party[sim_up_to(w, 1)].gw;

    if (g == NOBODY || !sim_works(w, g) || w->t < w->away_until) {
        return;
    }

    if (sim_once_in(w, (w->t - T0 > ENDING) ? 5 : 300)) {
        db_end(w, s, g);
    }

    if (sim_once_in(w, 15)) {
        db_switch(w, s, g);
    }

    if (s->row.state == ASTRO_SESSION_PAUSED) {
        if (sim_once_in(w, 8)) {
            db_resume(w, s, g);
        }

    } else if (sim_once_in(w, 40)) {
        db_pause(w, s, g);
    }

    if (sim_once_in(w, 4000)) {
        s->row.payer = 0;
        s->row.rev++;
    }
}


static void
play_money(world_t *w)
{
    int      i;
    int64_t  n;

    if (w->t < w->away_until) {
        return;
    }

    if (sim_once_in(w, 60)) {
        n = sim_up_to(w, 20000);
        w->balance += n;
        w->came += n;
        w->reliefs++;

        for (i = 0; i < w->n; i++) {
            w->s[i].nudged = 1;
        }
    }

    if (sim_once_in(w, 40)) {
        n = w->balance - w->held;
        n = sim_one_in(w, 6) ? n : sim_up_to(w, n / 2);
        w->balance -= n;
        w->went += n;
    }

    if (sim_once_in(w, 60)) {
        i = (int) sim_up_to(w, w->n - 1);
        db_cap(w, &w->s[i], sim_up_to(w, w->s[i].row.tariff.rate));
        w->s[i].nudged = 1;
    }
}


static void
play_mishaps(world_t *w, worker_t *k)
{
    int  g, i;

    if (gateway_some(w) == NOBODY) {
        gateway_new(w);
    }

    if (w->t - T0 > ENDING) {
        w->clock = 0;

        /* coarse timeouts may be late by as much as the clock was off */

        for (i = 0; i < w->n; i++) {
            if (w->s[i].row.state_ms > w->t) {
                w->s[i].row.state_ms = w->t;
            }
        }

        return;
    }

    for (i = 0; i < WORKERS; i++) {

        if (sim_once_in(w, 90)) {

            /* killed: it has forgotten all when it is back */

            k[i].back_at = w->t + sim_up_to(w, sim_one_in(w, 4) ? 90000
                                                                : 5000);
            worker_arrives(w, &k[i]);
            worker_forget(&k[i]);

        } else if (sim_once_in(w, 90)) {

            /* stopped: it goes on where it was */

            k[i].back_at = w->t + sim_up_to(w, 8000);
            k[i].b.apply_at += k[i].b.arrived ? 0 : sim_up_to(w, 8000);
        }
    }

    if (sim_once_in(w, 150)) {
        w->away_until = w->t + sim_up_to(w, 15000);
    }

    if (sim_once_in(w, 100)) {
        w->clock = sim_one_in(w, 2) ? 0 : sim_up_to(w, 7200000) - 3600000;
    }

    g = (int) sim_up_to(w, w->ngw - 1);

    if (sim_once_in(w, 60)) {
        w->gw[g].frozen_until = w->t + sim_up_to(w, 12000);
    }

    if (sim_once_in(w, 40)) {
        w->gw[g].deaf_until = w->t + sim_up_to(w, 25000);
    }

    if (sim_once_in(w, 120) && w->ngw < GATEWAYS) {
        gateway_gone(w, g);
        gateway_new(w);
    }
}


static void
play_tariff(world_t *w, billing_tariff_t *t)
{
    t->rate = 1 + sim_up_to(w, w->idles ? 40 : sim_one_in(w, 2) ? 100 : 20000);
    t->commission_bps = (int32_t) sim_up_to(w, 10000);

    if (sim_one_in(w, 2)) {
        return;
    }

    t->whole_minute = (uint8_t) sim_one_in(w, 3);
    t->min_minor = sim_one_in(w, 3) ? sim_up_to(w, t->rate) : 0;
    t->free_ms = sim_one_in(w, 3) ? sim_up_to(w, 60000) : 0;
    t->max_minor = sim_one_in(w, 4) ? 1 + sim_up_to(w, t->rate * 3) : 0;
}


static void
play_init(world_t *w, worker_t *k)
{
    int                 i, p;
    int64_t             ahead;
    session_t          *s;
    billing_settings_t  settings;

    static const int64_t  ticks[] = { 1000, 5000, 15000, 60000 };

    memset(k, 0, WORKERS * sizeof(worker_t));

    w->t = T0;
    w->owner = NOBODY;
    w->unfenced = sim_one_in(w, 6);
    w->gives_up = sim_one_in(w, 3);
    w->idles = w->gives_up && sim_one_in(w, 2);
    w->n = sim_one_in(w, 2) ? 1 : 1 + (int) sim_up_to(w, SESSIONS - 1);

    for (i = 0; i < w->n; i++) {
        s = &w->s[i];

        play_tariff(w, &s->row.tariff);

        s->row.state = ASTRO_SESSION_ACCEPTED;
        s->row.state_ms = w->t;
        s->row.ver = 1;
        s->row.payer = 1;
        s->row.end_ms = BILLING_NONE;
        s->row.active_ms = BILLING_NONE;
        s->row.paid_until = BILLING_NONE;
        s->row.max_ms = sim_one_in(w, 5) ? 1000 + sim_up_to(w, 100000)
                                         : BILLING_NONE;
        s->strict = sim_one_in(w, 2);

        for (p = 0; p < 2; p++) {
            s->party[p].gw = s->party[p].row = NOBODY;
            s->party[p].back_at = w->t + sim_up_to(w, 3000 + 20000 * i);
        }

        w->balance += sim_up_to(w, s->row.tariff.rate
                                   * ((w->n > 1) ? 1 : 5));
    }

    w->first = w->balance;

    settings.tick_ms = w->idles ? 1000 : ticks[sim_up_to(w, 3)];
    ahead = settings.tick_ms * 2;
    settings.ahead_ms = (ahead < 10000) ? 10000 : ahead;
    settings.low_ms = 1000 * sim_up_to(w, 120);
    settings.ring_ms = 45000;
    settings.grace_ms = 60000;
    settings.apart_ms = 0;
    settings.pause_ms = sim_one_in(w, 2) ? 20000 : 0;

    for (i = 0; i < WORKERS; i++) {
        k[i].id = i;
        k[i].settings = settings;
        worker_forget(&k[i]);
    }

    gateway_new(w);
    gateway_new(w);
}


static int
play_settled(const world_t *w)
{
    int  i;

    for (i = 0; i < w->n; i++) {
        if (!w->s[i].row.settled) {
            return 0;
        }
    }

    return 1;
}


static void
play(uint64_t seed, FILE *oracle)
{
    int              i;
    int64_t          before[SESSIONS] = { 0 };

    static world_t   world;
    static worker_t  workers[WORKERS];

    world_t         *w = &world;

    memset(w, 0, sizeof(world_t));

    w->seed = seed;
    w->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    w->random += (w->random == 0);

    play_init(w, workers);

    while (!play_settled(w)) {
        w->t += STEP;

        play_mishaps(w, workers);
        play_money(w);

        for (i = 0; i < w->n; i++) {
            holds(w, &w->s[i], w->t - T0 < SPAN);

            if (w->s[i].row.state != ASTRO_SESSION_ENDED) {
                play_parties(w, &w->s[i]);
            }

            gateway_ghosts(w, &w->s[i]);
        }

        gateway_all(w);

        if (w->t >= w->away_until) {
            gateway_reap(w);
        }

        for (i = 0; i < WORKERS; i++) {
            worker_run(w, &workers[i]);
        }

        for (i = 0; i < w->n; i++) {
            holds(w, &w->s[i], w->s[i].row.charged >= before[i]);
            before[i] = w->s[i].row.charged;
        }
    }

    audit_world(w, oracle);
}


static FILE *
oracle(void)
{
    FILE        *f;
    char         command[512];
    const char  *path;

    path = getenv("ASTRO_ORACLE_HISTORY");

    if (path == NULL) {
        path = (access("t/unit/oracle_history.py", R_OK) == 0)
               ? "t/unit/oracle_history.py" : "oracle_history.py";
    }

    ck_assert_int_lt(snprintf(command, sizeof(command), "/usr/bin/python3 %s",
                              path),
                     (int) sizeof(command));

    f = popen(command, "w");
    ck_assert_ptr_nonnull(f);

    return f;
}


START_TEST(sessions)
{
    int          i, rounds;
    FILE        *f;
    const char  *one;

    one = getenv("ASTRO_SIM");
    rounds = one ? 1 : (int) (WORLDS * unit_effort);
    f = oracle();

    for (i = 0; i < rounds; i++) {
        play(one ? strtoull(one, NULL, 10) : unit_random() >> 16, f);
    }

    ck_assert_int_eq(pclose(f), 0);

    printf("%d worlds, %d sessions, %" PRId64 " s billed in %d charges, %d of "
           "them by heart\n%d proposals came too late, %d were fenced off, "
           "%d times a wallet was split, %d switches of the mode, %d "
           "pauses\n"
           "ended: %d low_balance, %d max_reached, %d cap_reached, %d by a "
           "party, %d peer_lost, %d pause_expired, %d invalid_user_role\n",
           totals.worlds, totals.sessions, totals.billed / 1000,
           totals.charges, totals.by_heart, totals.stale, totals.fenced,
           totals.shared, totals.segments, totals.pauses,
           totals.low_balance, totals.max_reached, totals.cap_reached,
           totals.by_party,
           totals.peer_lost, totals.pause_expired, totals.role);
    fflush(stdout);

    ck_assert_int_eq(totals.worlds, rounds);

    /* a world in which nothing happens proves nothing */

    if (rounds >= 1000) {
        ck_assert_int_gt(totals.by_heart, totals.charges / 10);
        ck_assert_int_gt(totals.stale, 0);
        ck_assert_int_gt(totals.fenced, 0);
        ck_assert_int_gt(totals.shared, 0);
        ck_assert_int_gt(totals.segments, 0);
        ck_assert_int_gt(totals.low_balance, 0);
        ck_assert_int_gt(totals.max_reached, 0);
        ck_assert_int_gt(totals.cap_reached, 0);
        ck_assert_int_gt(totals.by_party, 0);
        ck_assert_int_gt(totals.peer_lost, 0);
        ck_assert_int_gt(totals.pauses, 0);
        ck_assert_int_gt(totals.pause_expired, 0);
        ck_assert_int_gt(totals.role, 0);
    }
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_sim");

    unit_add(s, "sessions", sessions);

    return unit_main(s);
}
