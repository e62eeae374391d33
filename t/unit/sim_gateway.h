
/*
 * Copyright (C) The Astro authors
 *
 * The simulator's gateways and parties: see sim.h.
 */

#ifndef _SIM_GATEWAY_H_INCLUDED_
#define _SIM_GATEWAY_H_INCLUDED_


static void gateway_close(world_t *w, session_t *s, int row, int64_t life,
    int reason);


/*
 * Nobody takes part from the instant of a pause on, also if it is over already:
 * what was opened before is closed.
 */

static void
gateway_paused(world_t *w, int g, session_t *s)
{
    int       p;
    int64_t   now, life;
    party_t  *party;

    now = sim_life(w, g);
    life = (s->row.state == ASTRO_SESSION_PAUSED)
           ? s->row.state_ms - sim_started(w, g) : now;
    life = (life > now) ? now : (life < 0) ? 0 : life;

    for (p = 0; p < 2; p++) {
        party = &s->party[p];

        if (party->gw == g && party->row != NOBODY
            && (s->row.rows[party->row].cut != OPEN
                || s->row.rows[party->row].close != OPEN))
        {
            gateway_close(w, s, party->row, life, PAUSED);
            party->row = NOBODY;
        }
    }
}


static void
gateway_learn(world_t *w, int g, int i)
{
    if (w->gw[g].known_pauses[i] < w->s[i].row.pauses) {
        w->gw[g].known_pauses[i] = w->s[i].row.pauses;
        gateway_paused(w, g, &w->s[i]);
    }

    w->gw[g].known_ver[i] = w->s[i].row.ver;
    w->gw[g].known_state[i] = w->s[i].row.state;
    w->gw[g].known_paid[i] = w->s[i].row.paid_until;
}


/* The gateway does not serve any more: its clients go elsewhere. */

static void
gateway_gone(world_t *w, int g)
{
    int       i, p;
    party_t  *party;

    w->gw[g].alive = 0;

    for (i = 0; i < w->n; i++) {
        for (p = 0; p < 2; p++) {
            party = &w->s[i].party[p];

            if (party->gw == g) {
                party->gw = NOBODY;
                party->row = NOBODY;
                party->back_at = w->t + sim_up_to(w, 3000);
            }
        }
    }
}


/* api.gateway_renew() */

static void
gateway_renew(world_t *w, int g)
{
    int         i, n;
    row_t      *r;
    gateway_t  *gw;

    gw = &w->gw[g];

    if (w->t < w->away_until) {
        return;
    }

    gw->next_renew = w->t + 900 + sim_up_to(w, 200);

    if (gw->closed) {

        /* 410: it lost its lease */

        gateway_gone(w, g);
        return;
    }

    gw->life = sim_life(w, g);
    gw->renewed = w->t;

    for (i = 0; i < w->n; i++) {

        for (n = 0; n < w->s[i].row.nrows; n++) {
            r = &w->s[i].row.rows[n];

            if (r->gw == g && r->pending != OPEN) {
                db_close(w, &w->s[i], n, r->pending, r->pending_reason);
                r->pending = OPEN;
            }
        }

        if (w->t >= gw->deaf_until && sim_one_in(w, 4)) {
            gateway_learn(w, g, i);
        }
    }
}


static void
gateway_close(world_t *w, session_t *s, int row, int64_t life, int reason)
{
    row_t  *r;

    r = &s->row.rows[row];

    if (r->close != OPEN || r->pending != OPEN) {
        return;
    }

    r->pending = life;
    r->pending_reason = reason;

    /* mostly flushed at once, but never before all that is due has closed */

    if (!sim_one_in(w, 5)) {
        w->gw[r->gw].next_renew = w->t;
    }
}


/* One party of one session, which is connected to this gateway. */

static void
gateway_party(world_t *w, int g, session_t *s, party_t *party, int p)
{
    int         i, row;
    int64_t     now;
    gateway_t  *gw;

    gw = &w->gw[g];
    i = (int) (s - w->s);
    row = party->row;
    now = w->t + gw->skew;

    if (gw->known_state[i] == ASTRO_SESSION_ENDED) {

        if (row != NOBODY) {
            gateway_close(w, s, row, sim_life(w, g), PLAIN);
            party->row = NOBODY;
        }

        return;
    }

    /* its own part of it: stop at paid_until, by itself */

    if (row != NOBODY && gw->known_paid[i] != BILLING_NONE
        && now >= gw->known_paid[i]
        && (gw->known_state[i] == ASTRO_SESSION_ACTIVE || s->strict))
    {
        gateway_close(w, s, row, gw->known_paid[i] - sim_started(w, g),
                      UNPAID);
        party->row = NOBODY;
        party->cut = 1;
        return;
    }

    if (row != NOBODY && gw->known_paid[i] == BILLING_NONE
        && s->row.paid_until != BILLING_NONE)
    {
        s->ignorant += STEP;
    }

    if (row == NOBODY && w->t >= w->away_until
        && (!party->cut || gw->known_paid[i] > now))
    {
        row = db_join(w, s, p, g);

        if (row == NOBODY) {
            return;
        }

        party->row = row;
        party->cut = 0;

        if (!sim_one_in(w, 10)) {
            gateway_learn(w, g, i);
        }
    }
}


static void
gateway_all(world_t *w)
{
    int         g, i, p;
    session_t  *s;
    gateway_t  *gw;

    for (g = 0; g < w->ngw; g++) {
        gw = &w->gw[g];

        if (!sim_works(w, g)) {
            continue;
        }

        for (i = 0; i < w->n; i++) {
            s = &w->s[i];

            if ((gw->known_ver[i] < s->row.ver
                 || gw->known_paid[i] < s->row.paid_until)
                && w->t >= w->away_until && w->t >= gw->deaf_until
                && sim_once_in(w, 1))
            {
                gateway_learn(w, g, i);
            }

            for (p = 0; p < 2; p++) {
                if (s->party[p].gw == g) {
                    gateway_party(w, g, s, &s->party[p], p);
                }
            }
        }

        /*
         * Last of all: a renewal says of every interval that is still open
         * that its party was there until silence_ms ago, for good.
         */

        if (w->t >= gw->next_renew) {
            gateway_renew(w, g);
        }
    }
}


static void
gateway_new(world_t *w)
{
    int         i;
    gateway_t  *gw;

    if (w->ngw == GATEWAYS) {
        return;
    }

    gw = &w->gw[w->ngw];
    memset(gw, 0, sizeof(gateway_t));

    gw->born = w->t;
    gw->skew = sim_one_in(w, 4) ? sim_up_to(w, 4000) - 2000
                                : sim_up_to(w, 40) - 20;
    gw->alive = 1;
    gw->renewed = w->t;

    for (i = 0; i < w->n; i++) {
        gateway_learn(w, w->ngw, i);
    }

    w->ngw++;
}


static int
gateway_some(world_t *w)
{
    int  g;

    g = (int) sim_up_to(w, w->ngw - 1);

    if (sim_works(w, g)) {
        return g;
    }

    for (g = w->ngw - 1; g >= 0; g--) {
        if (sim_works(w, g)) {
            return g;
        }
    }

    return NOBODY;
}


/* A party is gone; its gateway may take a while to notice. */

static void
gateway_drop(world_t *w, session_t *s, int p)
{
    int       g;
    ghost_t  *ghost;
    party_t  *party;

    party = &s->party[p];
    g = party->gw;

    if (g == NOBODY) {
        return;
    }

    party->gw = NOBODY;
    party->back_at = w->t + sim_up_to(w, sim_one_in(w, 4) ? 90000 : 4000);

    if (party->row != NOBODY && s->nghosts < 8) {
        ghost = &s->ghosts[s->nghosts++];
        ghost->row = party->row;
        ghost->last = sim_life(w, g);
        ghost->notice_at = w->t + (sim_one_in(w, 2)
                                   ? sim_up_to(w, SILENCE - STEP) : 0);

    } else if (party->row != NOBODY) {
        gateway_close(w, s, party->row, sim_life(w, g), PLAIN);
    }

    party->row = NOBODY;
    party->cut = 0;
}


static void
gateway_ghosts(world_t *w, session_t *s)
{
    int         n, i;
    int64_t     limit;
    row_t      *r;
    ghost_t    *ghost;
    gateway_t  *gw;

    i = (int) (s - w->s);

    for (n = 0; n < s->nghosts; n++) {
        ghost = &s->ghosts[n];
        r = &s->row.rows[ghost->row];
        gw = &w->gw[r->gw];

        /* whoever it still takes for present it cuts off, too */

        if (sim_works(w, r->gw) && gw->known_paid[i] != BILLING_NONE
            && (gw->known_state[i] == ASTRO_SESSION_ACTIVE || s->strict)
            && w->t + gw->skew >= gw->known_paid[i])
        {
            limit = gw->known_paid[i] - sim_started(w, r->gw);
            gateway_close(w, s, ghost->row,
                          (limit < ghost->last) ? limit : ghost->last,
                          UNPAID);

        } else if (sim_works(w, r->gw) && w->t >= ghost->notice_at) {
            gateway_close(w, s, ghost->row, ghost->last, PLAIN);

        } else if (gw->alive && r->close == OPEN) {
            continue;
        }

        *ghost = s->ghosts[--s->nghosts];
        n--;
    }
}


/* the workers' reaper: closes at the last renewal */

static void
gateway_reap(world_t *w)
{
    int         g, i, n;
    gateway_t  *gw;

    for (g = 0; g < w->ngw; g++) {
        gw = &w->gw[g];

        if (gw->closed || w->t - gw->renewed < REAP + 500
            || w->t < w->away_until + REAP)
        {
            continue;
        }

        gw->closed = 1;

        for (i = 0; i < w->n; i++) {
            for (n = 0; n < w->s[i].row.nrows; n++) {
                if (w->s[i].row.rows[n].gw == g) {
                    db_close(w, &w->s[i], n, gw->life, PLAIN);
                }
            }
        }
    }
}


#endif /* _SIM_GATEWAY_H_INCLUDED_ */
