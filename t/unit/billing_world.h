
/*
 * Copyright (C) The Astro authors
 *
 * A small world for check_billing_sim.c, in virtual time: one wallet, one
 * session, gateways that renew, freeze and die, parties that come and go, a
 * database that is away at times, and rows that change only as the SQL
 * functions change them.  It knows nothing of how the engine decides.
 *
 * Included once: everything is static.
 */

#ifndef _BILLING_WORLD_H_INCLUDED_
#define _BILLING_WORLD_H_INCLUDED_


#include <inttypes.h>
#include <string.h>

#include "engine.h"


#define STEP       20           /* ms of virtual time */
#define T0         INT64_C(1763690000000)
#define GATEWAYS   12
#define INTERVALS  512
#define SILENCE    8000
#define REAP       5000

#define PLAIN      0
#define UNPAID     1


typedef struct {
    int64_t                born;            /* true time */
    int64_t                skew;            /* of started_ms */
    int64_t                next_renew;
    int64_t                frozen_until;
    int64_t                known_paid;
    int                    known_ver;
    int                    alive;
    astro_session_state_e  known_state;

    /* the row */
    int64_t                life;
    int64_t                renewed;         /* true time */
    int                    closed;
} gateway_t;

typedef struct {
    int                    party;
    int                    gw;
    int64_t                open;            /* life_ms */
    int64_t                close;           /* -1: open, in the row */
    int                    reason;

    int64_t                pending;         /* -1, or the closing to flush */
    int                    pending_reason;
} row_t;

typedef struct {
    int                    gw;              /* -1: not connected */
    int                    row;             /* its interval; -1: none */
    int                    cut;             /* by its gateway, unpaid */
    int64_t                back_at;         /* true time */
} party_t;

/* a party that is gone, its gateway not having noticed yet */
typedef struct {
    int                    row;
    int64_t                last;            /* life_ms of the last byte */
    int64_t                notice_at;
} ghost_t;

typedef struct {
    uint64_t               seed;
    int64_t                t;               /* true time */
    int64_t                away_until;      /* the database */

    gateway_t              gw[GATEWAYS];
    int                    ngw;
    row_t                  rows[INTERVALS];
    int                    nrows;
    party_t                party[2];
    ghost_t                ghosts[8];
    int                    nghosts;

    /* the session's and the wallet's rows */
    int64_t                balance;
    int64_t                wallet_held;
    int64_t                state_ms, max_ms, end_ms, active_ms, paid_until;
    int64_t                billed, charged, fee, held, credited;
    int64_t                ended_at;        /* true time */
    int                    ver, charge_no, low_sent, settled, payer;
    astro_session_state_e  state;
    const char            *reason;
    billing_tariff_t       tariff;

    int                    nudged;          /* somebody told the worker */
    int                    strict;          /* gateways cut in any state */
    int                    topups;
    int64_t                ignorant;        /* ms of a gateway in the dark */
} world_t;


static uint64_t
world_next(world_t *w)
{
    w->seed ^= w->seed >> 12;
    w->seed ^= w->seed << 25;
    w->seed ^= w->seed >> 27;

    return w->seed * UINT64_C(2685821657736338717);
}


static int64_t
world_up_to(world_t *w, int64_t max)
{
    return (int64_t) (world_next(w) % ((uint64_t) max + 1));
}


/* true about once in that many seconds of virtual time */

static int
world_once_in(world_t *w, int64_t seconds)
{
    return world_up_to(w, seconds * 1000 / STEP - 1) == 0;
}


static int64_t
world_life(world_t *w, int g)
{
    return w->t - w->gw[g].born;
}


/* The instant on the timeline: by the gateway itself, or by its row. */

static int64_t
world_started(world_t *w, int g)
{
    return w->gw[g].born + w->gw[g].skew;
}


static int
world_works(world_t *w, int g)
{
    return w->gw[g].alive && w->t >= w->gw[g].frozen_until;
}


static void
world_state(world_t *w, astro_session_state_e state, int64_t now)
{
    if (w->state != state) {
        w->state = state;
        w->state_ms = now;
    }

    w->ver++;
    w->nudged = 1;
}


static int
world_open_rows(world_t *w, int party)
{
    int  i, n;

    n = 0;

    for (i = 0; i < w->nrows; i++) {
        n += (w->rows[i].party == party && w->rows[i].close == -1);
    }

    return n;
}


static void
world_learn(world_t *w, int g)
{
    w->gw[g].known_ver = w->ver;
    w->gw[g].known_state = w->state;
    w->gw[g].known_paid = w->paid_until;
}


static void
world_row_close(world_t *w, int i, int64_t life, int reason)
{
    row_t  *r;

    r = &w->rows[i];

    if (r->close != -1) {
        return;
    }

    r->close = (life < r->open) ? r->open : life;
    r->reason = reason;

    if (w->state == ASTRO_SESSION_ACTIVE && reason != UNPAID
        && world_open_rows(w, r->party) == 0)
    {
        world_state(w, ASTRO_SESSION_RECONNECTING, w->t);
    }

    w->nudged = 1;
}


/* api.gateway_renew() */

static void
world_renew(world_t *w, int g)
{
    int         i;
    row_t      *r;
    gateway_t  *gw;

    gw = &w->gw[g];

    if (w->t < w->away_until) {
        return;
    }

    gw->next_renew = w->t + 900 + world_up_to(w, 200);

    if (gw->closed) {

        /* 410: it lost its lease, its clients are sent away */

        gw->alive = 0;

        for (i = 0; i < 2; i++) {
            if (w->party[i].gw == g) {
                w->party[i].gw = -1;
                w->party[i].back_at = w->t + world_up_to(w, 3000);
            }
        }

        return;
    }

    gw->life = world_life(w, g);
    gw->renewed = w->t;

    for (i = 0; i < w->nrows; i++) {
        r = &w->rows[i];

        if (r->gw == g && r->pending != -1) {
            world_row_close(w, i, r->pending, r->pending_reason);
            r->pending = -1;
        }
    }

    if (world_up_to(w, 3) == 0) {
        world_learn(w, g);
    }
}


static void
world_interval_end(world_t *w, int row, int64_t life, int reason)
{
    row_t  *r;

    r = &w->rows[row];

    if (r->close != -1 || r->pending != -1) {
        return;
    }

    r->pending = life;
    r->pending_reason = reason;

    /* mostly flushed at once, but never before all that is due has closed */

    if (world_up_to(w, 4)) {
        w->gw[r->gw].next_renew = w->t;
    }
}


/* api.session_join() */

static void
world_join(world_t *w, int p, int g)
{
    row_t  *r;

    if (w->t < w->away_until || w->gw[g].closed
        || w->state == ASTRO_SESSION_ENDED || w->nrows == INTERVALS)
    {
        return;
    }

    r = &w->rows[w->nrows];
    r->party = p;
    r->gw = g;
    r->open = world_life(w, g);
    r->close = -1;
    r->pending = -1;

    w->party[p].row = w->nrows++;
    w->party[p].cut = 0;

    if (w->state == ASTRO_SESSION_ACCEPTED) {
        world_state(w, ASTRO_SESSION_CONNECTING, w->t);

    } else {
        w->ver++;
        w->nudged = 1;
    }

    if (world_up_to(w, 9)) {
        world_learn(w, g);
    }
}


static void
world_gateway(world_t *w)
{
    int         p, row;
    int64_t     now;
    gateway_t  *gw;
    int         g;

    for (g = 0; g < w->ngw; g++) {
        gw = &w->gw[g];

        if (!world_works(w, g)) {
            continue;
        }

        if ((gw->known_ver < w->ver || gw->known_paid < w->paid_until)
            && w->t >= w->away_until
            && world_once_in(w, 1))
        {
            world_learn(w, g);
        }

        now = w->t + gw->skew;

        for (p = 0; p < 2; p++) {

            if (w->party[p].gw != g) {
                continue;
            }

            row = w->party[p].row;

            if (gw->known_state == ASTRO_SESSION_ENDED) {

                if (row != -1) {
                    world_interval_end(w, row, world_life(w, g), PLAIN);
                    w->party[p].row = -1;
                }

                continue;
            }

            /* the gateway's own part of it: stop at paid_until, by itself */

            if (row != -1 && gw->known_paid != BILLING_NONE
                && now >= gw->known_paid
                && (gw->known_state == ASTRO_SESSION_ACTIVE || w->strict))
            {
                world_interval_end(w, row, gw->known_paid
                                           - world_started(w, g), UNPAID);
                w->party[p].row = -1;
                w->party[p].cut = 1;
                continue;
            }

            if (row != -1 && gw->known_paid == BILLING_NONE
                && w->paid_until != BILLING_NONE)
            {
                w->ignorant += STEP;
            }

            if (row == -1
                && (!w->party[p].cut || gw->known_paid > now))
            {
                world_join(w, p, g);
            }
        }

        /*
         * Last of all: a renewal says of every interval that is still open
         * that its party was there until silence_ms ago, for good.
         */

        if (w->t >= gw->next_renew) {
            world_renew(w, g);
        }
    }
}


static int
world_new_gateway(world_t *w)
{
    gateway_t  *gw;

    if (w->ngw == GATEWAYS) {
        return -1;
    }

    gw = &w->gw[w->ngw];
    memset(gw, 0, sizeof(gateway_t));

    gw->born = w->t;
    gw->skew = world_up_to(w, 40) - 20;
    gw->alive = 1;
    gw->renewed = w->t;
    gw->known_paid = BILLING_NONE;
    world_learn(w, w->ngw);

    return w->ngw++;
}


static int
world_some_gateway(world_t *w)
{
    int  g;

    g = (int) world_up_to(w, w->ngw - 1);

    if (world_works(w, g)) {
        return g;
    }

    for (g = w->ngw - 1; g >= 0; g--) {
        if (world_works(w, g)) {
            return g;
        }
    }

    return -1;
}


static void
world_drop(world_t *w, int p)
{
    int       g;
    ghost_t  *ghost;

    g = w->party[p].gw;

    if (g == -1) {
        return;
    }

    w->party[p].gw = -1;
    w->party[p].back_at = w->t + world_up_to(w, world_up_to(w, 3) ? 4000
                                                                  : 90000);

    if (w->party[p].row != -1 && w->nghosts < 8) {
        ghost = &w->ghosts[w->nghosts++];
        ghost->row = w->party[p].row;
        ghost->last = world_life(w, g);
        ghost->notice_at = w->t + (world_up_to(w, 1)
                                   ? 0 : world_up_to(w, SILENCE - STEP));

    } else if (w->party[p].row != -1) {
        world_interval_end(w, w->party[p].row, world_life(w, g), PLAIN);
    }

    w->party[p].row = -1;
    w->party[p].cut = 0;
}


static void
world_ghosts(world_t *w)
{
    int         i;
    int64_t     limit;
    row_t      *r;
    ghost_t    *ghost;

    for (i = 0; i < w->nghosts; i++) {
        ghost = &w->ghosts[i];
        r = &w->rows[ghost->row];

        /* the gateway cuts whoever it still takes for present, too */

        if (world_works(w, r->gw)
            && w->gw[r->gw].known_paid != BILLING_NONE
            && (w->gw[r->gw].known_state == ASTRO_SESSION_ACTIVE
                || w->strict)
            && w->t + w->gw[r->gw].skew >= w->gw[r->gw].known_paid)
        {
            limit = w->gw[r->gw].known_paid - world_started(w, r->gw);

            world_interval_end(w, ghost->row,
                               (limit < ghost->last) ? limit : ghost->last,
                               UNPAID);
            *ghost = w->ghosts[--w->nghosts];
            i--;
            continue;
        }

        if (!w->gw[r->gw].alive || r->close != -1) {
            *ghost = w->ghosts[--w->nghosts];
            i--;
            continue;
        }

        if (w->t >= ghost->notice_at && world_works(w, r->gw)) {
            world_interval_end(w, ghost->row, ghost->last, PLAIN);
            *ghost = w->ghosts[--w->nghosts];
            i--;
        }
    }
}


/* the worker's reaper: closes at the last renewal */

static void
world_reap(world_t *w)
{
    int         g, i;
    gateway_t  *gw;

    for (g = 0; g < w->ngw; g++) {
        gw = &w->gw[g];

        if (gw->closed || w->t - gw->renewed < REAP + 500
            || w->t < w->away_until + REAP)
        {
            continue;
        }

        gw->closed = 1;

        for (i = 0; i < w->nrows; i++) {
            if (w->rows[i].gw == g) {
                world_row_close(w, i, gw->life, PLAIN);
            }
        }
    }
}


/* billing.facts() */

static void
world_facts(world_t *w, billing_facts_t *f, billing_interval_t *iv)
{
    int         i, g;
    row_t      *r;
    int64_t     age, at;
    gateway_t  *gw;

    memset(f, 0, sizeof(billing_facts_t));

    f->id = 1;
    f->ver = w->ver;
    f->charge_no = w->charge_no;
    f->state = w->state;
    f->tariff = w->tariff;
    f->state_ms = w->state_ms;
    f->max_ms = w->max_ms;
    f->end_ms = w->end_ms;
    f->active_ms = w->active_ms;
    f->paid_until_ms = w->paid_until;
    f->billed_ms = w->billed;
    f->charged = w->charged;
    f->fee = w->fee;
    f->held = w->held;
    f->balance = w->balance;
    f->wallet_held = w->wallet_held;
    f->now_ms = w->t;
    f->silence_ms = SILENCE;
    f->low_sent = w->low_sent;
    f->payer = w->payer;
    f->intervals = iv;
    f->n = (size_t) w->nrows;
    f->lease_ms = BILLING_NONE;
    f->est_ms = BILLING_NONE;

    for (i = 0; i < w->nrows; i++) {
        r = &w->rows[i];
        g = r->gw;
        gw = &w->gw[g];

        iv[i].party = (uint8_t) r->party;
        iv[i].from_ms = world_started(w, g) + r->open;
        iv[i].open = (r->close == -1);
        iv[i].unpaid = (r->close != -1 && r->reason == UNPAID);

        if (r->close != -1) {
            iv[i].to_ms = world_started(w, g) + r->close;
            at = iv[i].to_ms;

        } else {
            at = gw->life - SILENCE;
            iv[i].to_ms = world_started(w, g) + ((at > r->open) ? at
                                                                : r->open);
            at = iv[i].from_ms;
        }

        if (gw->closed) {
            continue;
        }

        if (world_started(w, g) + gw->life > at) {
            at = world_started(w, g) + gw->life;
        }

        age = w->t - gw->renewed;

        if (at > f->lease_ms) {
            f->lease_ms = at;
        }

        at += (age > 3000) ? 3000 : age;

        if (at > f->est_ms) {
            f->est_ms = at;
        }
    }

    if (f->lease_ms == BILLING_NONE) {
        f->lease_ms = w->t;
        f->est_ms = w->t;
    }
}


/* billing.apply(); 0: not applied */

static int
world_apply(world_t *w, const billing_facts_t *f, const billing_decision_t *d)
{
    int64_t  need;

    if (w->ver != f->ver || w->charge_no != f->charge_no || w->settled
        || w->billed > d->billed_ms
        || (w->state == d->state && w->paid_until > d->paid_until_ms))
    {
        return 0;
    }

    need = d->amount + d->held - w->held;

    if (need > w->balance - w->wallet_held) {
        return 0;
    }

    w->balance -= d->amount;
    w->wallet_held += d->held - w->held;
    w->held = d->held;
    w->charged += d->amount;
    w->fee += d->fee;
    w->billed = d->billed_ms;
    w->charge_no += (d->amount > 0);
    w->active_ms = d->active_ms;
    w->paid_until = d->paid_until_ms;
    w->end_ms = d->end_ms;
    w->low_sent = d->low_sent;

    if (d->state == ASTRO_SESSION_ENDED && w->state != ASTRO_SESSION_ENDED) {
        w->ended_at = w->t;
    }

    if (d->reason != NULL || d->state != w->state) {
        w->reason = d->reason;
    }

    if (d->settle) {
        w->credited = w->charged - w->fee;
        w->settled = 1;
    }

    if (w->state != ASTRO_SESSION_ACTIVE || d->state != w->state) {
        world_state(w, d->state, w->t);
    }

    return 1;
}


#endif /* _BILLING_WORLD_H_INCLUDED_ */
