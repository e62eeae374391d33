
/*
 * Copyright (C) The Astro authors
 *
 * The engine in a simulated world: thousands of sessions in virtual time with
 * drops, dead and frozen gateways, a worker and a database that go away, lost
 * batches, top-ups and other spending.  At the end of each, money and time are
 * compared with markers for every millisecond that know nothing of the engine.
 *
 * ASTRO_SIM=n plays one session again, the one that a failure names.
 */

#include "unit.h"
#include "billing_world.h"


#define SPAN    460000          /* ms: the longest a session is played */
#define ENDING  240000          /* from here on nothing bad happens */


#define holds(cond)                                                           \
    do {                                                                      \
        if (!(cond)) {                                                        \
            ck_abort_msg("%s: ASTRO_SIM=%" PRIu64 " at %" PRId64 " ms, %s",   \
                         #cond, play_seed, w->t - T0,                         \
                         w->reason ? w->reason : "not ended");                \
        }                                                                     \
    } while (0)


typedef struct {
    int                   busy;
    int64_t               due;
    int64_t               back_at;          /* the worker is dead until */
    int64_t               poll_at;
    int64_t               tick_ms;
    int64_t               apply_at;
    int                   known_ver;
    int                   ended;            /* session_end events */
    int                   lows;
    int                   low_topups;       /* known at the last warning */
    int                   decided_topups;

    billing_facts_t       facts;
    billing_interval_t    iv[INTERVALS];
    billing_decision_t    decision;
    billing_settings_t    settings;
} worker_t;

typedef struct {
    int                   sessions;
    int                   charges;
    int                   low_balance;
    int                   max_reached;
    int                   by_party;
    int                   peer_lost;
    int                   role;
    int                   stale;
    int64_t               billed;
} totals_t;


static uint64_t  play_seed;
static uint8_t   mark[2][SPAN + 1000];


/* Whether the table of transitions lets the engine do that. */

static int
play_may(astro_session_state_e from, astro_session_state_e to)
{
    int  event;

    for (event = 0; event < ASTRO_SESSION_EVENTS; event++) {
        if (astro_session_next(from, event, ASTRO_PARTY_SYSTEM) == to) {
            return 1;
        }
    }

    return from == to;
}


static void
play_worker(world_t *w, worker_t *k, totals_t *totals)
{
    int                  rc;
    billing_decision_t  *d;

    d = &k->decision;

    if (w->t < k->back_at || w->t < w->away_until) {
        k->busy = 0;
        return;
    }

    if (k->busy) {

        if (w->t < k->apply_at) {
            return;
        }

        k->busy = 0;
        k->due = w->t;

        /* lost on its way there: nothing happened, it is read again */

        if (world_up_to(w, 40) == 0) {
            return;
        }

        if (!world_apply(w, &k->facts, d)) {
            totals->stale++;
            return;
        }

        totals->charges += (d->amount > 0);

        holds(w->balance >= w->wallet_held && w->wallet_held >= 0);

        /* what gateways were told is not taken back, but for their skew */

        holds(k->facts.paid_until_ms == BILLING_NONE
              || w->paid_until >= k->facts.paid_until_ms - 2 * STEP);
        holds(w->held >= 0 && w->wallet_held >= w->held);

        if (d->settle) {
            k->ended++;
        }

        if (d->low) {
            holds(k->lows == 0 || w->topups > k->low_topups);
            k->lows++;
            k->low_topups = k->decided_topups;
        }

        if (d->state == ASTRO_SESSION_ENDED && d->ended
            && strcmp(d->reason, "low_balance") == 0
            && w->topups == k->decided_topups)
        {
            /* not one millisecond more could have been had */

            holds(((__int128) w->tariff.rate * (w->billed + 1) / 60000
                  > w->charged + w->balance - w->wallet_held)
                 || w->charged + w->balance - w->wallet_held == 0);
        }

        /* the reply was lost on its way back: the same, but it happened */

        if (world_up_to(w, 40) == 0) {
            return;
        }

        k->known_ver = w->ver;
        k->tick_ms = d->tick_ms;
        k->due = w->t + d->wait_ms;
        w->nudged = 0;

        return;
    }

    if (w->nudged) {
        w->nudged = 0;

        if (world_up_to(w, 9)) {
            k->due = w->t;
        }
    }

    if (w->t >= k->poll_at) {
        k->poll_at = w->t + 1000;

        if (k->known_ver != w->ver) {
            k->due = w->t;
        }
    }

    if (w->t < k->due) {
        return;
    }

    world_facts(w, &k->facts, k->iv);
    k->facts.tick_ms = k->tick_ms;
    k->decided_topups = w->topups;

    rc = billing_engine_decide(&k->facts, &k->settings, d);
    holds(rc == BILLING_OK);
    holds(d->wait_ms > 0);
    holds(play_may(k->facts.state, d->state));

    k->known_ver = w->ver;

    if (!d->apply) {
        k->due = w->t + d->wait_ms;
        return;
    }

    k->busy = 1;
    k->apply_at = w->t + world_up_to(w, 3) * STEP;
}


static void
play_mishaps(world_t *w, worker_t *k)
{
    int  p, g;

    for (p = 0; p < 2; p++) {

        if (w->party[p].gw != -1) {
            if (world_once_in(w, 40)) {
                world_drop(w, p);
            }

            continue;
        }

        g = world_some_gateway(w);

        if (w->t >= w->party[p].back_at && g != -1) {
            w->party[p].gw = g;
        }
    }

    if (world_once_in(w, 60)) {
        w->balance += world_up_to(w, 20000);
        w->topups++;
        w->nudged = 1;
    }

    if (world_once_in(w, 40)) {
        w->balance -= world_up_to(w, w->balance - w->wallet_held);
    }

    if (w->t - T0 > ENDING) {
        return;
    }

    if (world_once_in(w, 90)) {
        k->back_at = w->t + world_up_to(w, world_up_to(w, 3) ? 5000 : 90000);
        k->tick_ms = BILLING_NONE;
    }

    if (world_once_in(w, 150)) {
        w->away_until = w->t + world_up_to(w, 15000);
    }

    g = (int) world_up_to(w, w->ngw - 1);

    if (world_once_in(w, 60)) {
        w->gw[g].frozen_until = w->t + world_up_to(w, 12000);
    }

    if (world_once_in(w, 120) && w->ngw < GATEWAYS) {
        w->gw[g].alive = 0;

        for (p = 0; p < 2; p++) {
            if (w->party[p].gw == g) {
                w->party[p].gw = -1;
                w->party[p].row = -1;
                w->party[p].back_at = w->t + world_up_to(w, 3000);
            }
        }

        (void) world_new_gateway(w);
    }

    if (world_once_in(w, 20000)) {
        w->payer = 0;
    }
}


/* api.session_apply(), event 'end' */

static void
play_end(world_t *w)
{
    int  p;

    if (w->state == ASTRO_SESSION_ENDED || w->t < w->away_until) {
        return;
    }

    p = (int) world_up_to(w, 1);

    if (w->party[p].gw == -1 || !world_works(w, w->party[p].gw)) {
        return;
    }

    w->end_ms = world_started(w, w->party[p].gw)
                + world_life(w, w->party[p].gw);
    w->reason = "client_ended";
    w->ended_at = w->t;
    world_state(w, ASTRO_SESSION_ENDED, w->t);
}


static int64_t
play_marked(world_t *w, int64_t cut)
{
    int        i;
    row_t     *r;
    int64_t    t, from, to, sum;

    memset(mark, 0, sizeof(mark));

    for (i = 0; i < w->nrows; i++) {
        r = &w->rows[i];

        from = world_started(w, r->gw) + r->open - T0 + 500;
        to = world_started(w, r->gw) - T0 + 500
             + ((r->close == -1) ? world_life(w, r->gw) : r->close);

        for (t = from; t < to; t++) {
            mark[r->party][t] = 1;
        }
    }

    sum = 0;

    for (t = 0; t < SPAN + 1000 && t < cut - T0 + 500; t++) {
        sum += (mark[0][t] && mark[1][t]);
    }

    return sum;
}


static void
play_audit(world_t *w, worker_t *k, totals_t *totals)
{
    int64_t  billable, served, cut, charged;

    holds(k->ended == 1);
    holds(w->held == 0 && w->wallet_held == 0);
    holds(w->credited == w->charged - w->fee);

    cut = w->end_ms;
    served = play_marked(w, cut);

    if (w->paid_until == BILLING_NONE) {
        billable = 0;

    } else {
        cut = (cut < w->paid_until) ? cut : w->paid_until;
        billable = play_marked(w, cut);

        /*
         * Gateways that stop at paid_until whatever the state serve nobody
         * beyond what was held, as soon as they have heard of it.
         */

        holds(!w->strict || served <= billable + w->ignorant);
    }

    charged = (int64_t) ((__int128) w->tariff.rate * w->billed / 60000);

    holds(w->charged == charged);
    holds(w->fee == charged * w->tariff.commission_bps / 10000);
    holds(w->max_ms == BILLING_NONE || w->billed <= w->max_ms);
    holds(w->billed == billable
         || (w->billed < billable && strcmp(w->reason, "low_balance") == 0));

    totals->sessions++;
    totals->billed += w->billed;
    totals->low_balance += (strcmp(w->reason, "low_balance") == 0);
    totals->max_reached += (strcmp(w->reason, "max_reached") == 0);
    totals->by_party += (strcmp(w->reason, "client_ended") == 0);
    totals->peer_lost += (strcmp(w->reason, "peer_lost") == 0);
    totals->role += (strcmp(w->reason, "invalid_user_role") == 0);
}


static void
play(totals_t *totals)
{
    int64_t    before, ahead;
    world_t   *w, world;
    worker_t  *k, worker;

    static const int64_t  ticks[] = { 1000, 5000, 15000, 60000 };

    w = &world;
    k = &worker;

    memset(w, 0, sizeof(world_t));
    memset(k, 0, sizeof(worker_t));

    w->seed = play_seed ? play_seed : 1;
    w->t = T0;

    w->state = ASTRO_SESSION_ACCEPTED;
    w->state_ms = w->t;
    w->ver = 1;
    w->payer = 1;
    w->end_ms = BILLING_NONE;
    w->active_ms = BILLING_NONE;
    w->paid_until = BILLING_NONE;
    w->max_ms = world_up_to(w, 4) ? BILLING_NONE
                                  : 1000 + world_up_to(w, 100000);
    w->strict = (int) world_up_to(w, 1);
    w->tariff.rate = 1 + world_up_to(w, world_up_to(w, 1) ? 100 : 20000);
    w->tariff.commission_bps = (int32_t) world_up_to(w, 10000);
    w->balance = world_up_to(w, w->tariff.rate * 3);

    k->tick_ms = BILLING_NONE;
    k->settings.tick_ms = ticks[world_up_to(w, 3)];
    ahead = k->settings.tick_ms * 2;
    k->settings.ahead_ms = (ahead < 10000) ? 10000 : ahead;
    k->settings.low_ms = 1000 * world_up_to(w, 120);
    k->settings.ring_ms = 45000;
    k->settings.grace_ms = 60000;

    (void) world_new_gateway(w);
    (void) world_new_gateway(w);

    w->party[0].gw = w->party[1].gw = -1;
    w->party[0].row = w->party[1].row = -1;
    w->party[0].back_at = w->t + world_up_to(w, 3000);
    w->party[1].back_at = w->t + world_up_to(w, 3000);

    before = 0;

    while (!w->settled) {
        w->t += STEP;

        holds(w->t - T0 < SPAN);

        if (w->state != ASTRO_SESSION_ENDED) {
            play_mishaps(w, k);
        }

        if (w->t - T0 > ENDING && world_once_in(w, 5)) {
            play_end(w);

        } else if (world_once_in(w, 200)) {
            play_end(w);
        }

        world_ghosts(w);
        world_gateway(w);

        if (w->t >= w->away_until && w->t >= k->back_at) {
            world_reap(w);
        }

        play_worker(w, k, totals);

        holds(w->charged >= before);
        before = w->charged;
    }

    play_audit(w, k, totals);
}


START_TEST(sessions)
{
    int          i, rounds;
    totals_t     totals;
    const char  *one;

    memset(&totals, 0, sizeof(totals_t));

    one = getenv("ASTRO_SIM");
    rounds = one ? 1 : (int) (1500 * unit_effort);

    for (i = 0; i < rounds; i++) {
        play_seed = one ? strtoull(one, NULL, 10) : unit_random();
        play(&totals);
    }

    printf("%d sessions, %" PRId64 " s billed in %d charges, %d proposals "
           "came too late\nended: %d low_balance, %d max_reached, %d by a "
           "party, %d peer_lost, %d invalid_user_role\n",
           totals.sessions, totals.billed / 1000, totals.charges,
           totals.stale, totals.low_balance, totals.max_reached,
           totals.by_party, totals.peer_lost, totals.role);
    fflush(stdout);

    ck_assert_int_eq(totals.sessions, rounds);

    /* a world in which nothing happens proves nothing */

    if (rounds >= 500) {
        ck_assert_int_gt(totals.low_balance, 0);
        ck_assert_int_gt(totals.max_reached, 0);
        ck_assert_int_gt(totals.by_party, 0);
        ck_assert_int_gt(totals.peer_lost, 0);
        ck_assert_int_gt(totals.role, 0);
        ck_assert_int_gt(totals.stale, 0);
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
