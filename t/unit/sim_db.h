
/*
 * Copyright (C) The Astro authors
 *
 * The simulator's database: see sim.h.  What is here is what the functions of
 * sql/ do, with their conditions, and no more.
 */

#ifndef _SIM_DB_H_INCLUDED_
#define _SIM_DB_H_INCLUDED_


/* one element of billing.apply() or billing.tick() */
typedef struct {
    int                 session;
    int                 ver;
    int                 rev;
    int                 charge_no;
    int64_t             was;            /* held */
    int64_t             funds;          /* for the oracle */
    int                 reliefs;
    session_row_t       read;           /* what it was decided from */
    billing_decision_t  d;
    int                 done;
} wish_t;


static int
db_open_rows(const session_row_t *r, int party)
{
    int  i, n;

    n = 0;

    for (i = 0; i < r->nrows; i++) {
        n += (r->rows[i].party == party && r->rows[i].close == OPEN);
    }

    return n;
}


static void
db_state(world_t *w, session_t *s, astro_session_state_e state)
{
    if (s->row.state != state) {
        s->row.state = state;
        s->row.state_ms = sim_clock(w);
    }

    s->row.ver++;
    s->nudged = 1;
}


/* The closing of an interval, by a renewal or by the reaper. */

static void
db_close(world_t *w, session_t *s, int i, int64_t life, int reason)
{
    row_t  *r;

    r = &s->row.rows[i];

    if (r->close != OPEN) {
        return;
    }

    r->close = sim_end(r, life);
    r->reason = reason;
    s->row.rev++;

    if (s->row.state == ASTRO_SESSION_ACTIVE && reason != UNPAID
        && db_open_rows(&s->row, r->party) == 0)
    {
        db_state(w, s, ASTRO_SESSION_RECONNECTING);
    }

    s->nudged = 1;
}


/* api.session_join(); the new interval, or NOBODY */

static int
db_join(world_t *w, session_t *s, int party, int g)
{
    row_t    *r;
    int64_t   open, last;

    if (w->gw[g].closed || s->row.state == ASTRO_SESSION_ENDED
        || s->row.state == ASTRO_SESSION_PAUSED
        || s->row.nrows == INTERVALS)
    {
        return NOBODY;
    }

    open = sim_life(w, g);

    if (s->row.nsegments > 0) {
        last = s->row.segments[s->row.nsegments - 1].at_ms;

        if (open < last - sim_started(w, g)) {
            open = last - sim_started(w, g);
        }
    }

    r = &s->row.rows[s->row.nrows];
    r->party = party;
    r->gw = g;
    r->open = open;
    r->close = OPEN;
    r->cut = OPEN;
    r->pending = OPEN;
    r->reason = PLAIN;

    db_state(w, s, (s->row.state == ASTRO_SESSION_ACCEPTED)
                   ? ASTRO_SESSION_CONNECTING : s->row.state);

    return s->row.nrows++;
}


/* What the intervals prove, by leases as they were renewed last. */

static void
db_intervals(world_t *w, const session_row_t *r, const gateway_t *lives,
    billing_interval_t *iv)
{
    int           i;
    int64_t       started, proven;
    const row_t  *row;

    for (i = 0; i < r->nrows; i++) {
        row = &r->rows[i];
        started = sim_started(w, row->gw);
        proven = lives[row->gw].life - (lives[row->gw].closed ? 0 : SILENCE);

        iv[i].party = (uint8_t) row->party;
        iv[i].from_ms = started + row->open;
        iv[i].open = (row->close == OPEN && !lives[row->gw].closed
                      && (row->cut == OPEN || proven < row->cut));
        iv[i].unpaid = (row->cut != OPEN || (row->close != OPEN
                                             && row->reason != PLAIN));
        iv[i].to_ms = started + sim_end(row, proven);
    }
}


/*
 * billing.facts3(): of a session's row and the leases as they are, or as
 * somebody remembers them.
 */

static void
db_facts(world_t *w, const session_row_t *r, const gateway_t *lives,
    billing_facts_t *f, billing_interval_t *iv, billing_segment_t *segments)
{
    int               i;
    int64_t           at, age;
    const gateway_t  *gw;

    memset(f, 0, sizeof(billing_facts_t));

    db_intervals(w, r, lives, iv);
    memcpy(segments, r->segments, sizeof(r->segments));

    f->id = 1;
    f->ver = r->ver;
    f->charge_no = r->charge_no;
    f->state = r->state;
    f->tariff = r->tariff;
    billing_engine_cap(f, r->cap);
    f->state_ms = r->state_ms;
    f->max_ms = r->max_ms;
    f->end_ms = r->end_ms;
    f->active_ms = r->active_ms;
    f->paid_until_ms = r->paid_until;
    f->billed_ms = r->billed;
    f->charged = r->charged;
    f->fee = r->fee;
    f->held = r->held;
    f->balance = w->balance;
    f->wallet_held = w->held;
    f->now_ms = sim_clock(w);
    f->silence_ms = SILENCE;
    f->low_sent = (r->low_sent != 0);
    f->payer = (r->payer != 0);
    f->intervals = iv;
    f->n = (size_t) r->nrows;
    f->segments = segments;
    f->nsegments = r->nsegments;
    f->lease_ms = BILLING_NONE;
    f->est_ms = BILLING_NONE;

    for (i = 0; i < r->nrows; i++) {
        gw = &lives[r->rows[i].gw];

        if (gw->closed) {
            continue;
        }

        at = sim_started(w, r->rows[i].gw) + gw->life;
        at = (at > iv[i].from_ms) ? at : iv[i].from_ms;
        age = w->t - gw->renewed;
        age = (age > 3000) ? 3000 : age;

        if (at > f->lease_ms) {
            f->lease_ms = at;
        }

        if (at + age > f->est_ms) {
            f->est_ms = at + age;
        }
    }

    if (f->lease_ms == BILLING_NONE) {
        f->lease_ms = sim_clock(w);
        f->est_ms = sim_clock(w);
    }
}


/* billing.lease(): whether it is this owner's now */

static int
db_lease(world_t *w, int owner, int64_t *epoch)
{
    int64_t  now;

    now = sim_clock(w);

    if (w->owner == owner && w->expires > now) {
        w->expires = now + LEASE_TTL;

    } else if (w->expires <= now || w->expires > now + 2 * LEASE_TTL) {
        w->owner = owner;
        w->epoch++;
        w->expires = now + LEASE_TTL;
    }

    *epoch = w->epoch;

    return w->owner == owner && w->expires > now;
}


/* billing.fence() */

static int
db_fence(world_t *w, int owner, int64_t epoch)
{
    return w->unfenced
           || (w->owner == owner && w->epoch == epoch
               && w->expires > sim_clock(w));
}


/*
 * Whether what was decided from is what there is: by the columns themselves,
 * not by the counters that stand for them.  What is not so was a lost race.
 * (Time billed meanwhile that cost nothing, or a longer reach of the same
 * money, changes no decision: both only ever go forward.)
 */

static int
db_unmoved(const session_row_t *read, const session_row_t *r)
{
    int     i;
    size_t  n;

    for (i = 0; i < r->nrows && i < read->nrows; i++) {
        if (r->rows[i].close != read->rows[i].close
            || r->rows[i].cut != read->rows[i].cut)
        {
            return 0;
        }
    }

    for (n = 0; n < r->nsegments && n < read->nsegments; n++) {
        if (r->segments[n].at_ms != read->segments[n].at_ms
            || r->segments[n].rate != read->segments[n].rate)
        {
            return 0;
        }
    }

    return r->nrows == read->nrows && r->nsegments == read->nsegments
           && r->state == read->state && r->end_ms == read->end_ms
           && r->payer == read->payer && r->settled == read->settled
           && r->billed >= read->billed && r->charged == read->charged
           && r->fee == read->fee && r->held == read->held
           && r->paid_until >= read->paid_until
           && r->low_sent == read->low_sent;
}


/* The transfer, the wallet and the session. */

static void
db_book(world_t *w, session_t *s, const wish_t *x)
{
    session_row_t             *r;
    const billing_decision_t  *d;

    d = &x->d;
    r = &s->row;

    holds(w, s, db_unmoved(&x->read, r));

    if (d->amount > 0) {
        holds(w, s, s->ncharges < CHARGES);
        holds(w, s, d->fee >= 0 && d->fee <= d->amount);

        s->at[s->ncharges] = d->billed_ms;
        s->amount[s->ncharges] = d->amount;
        s->part[s->ncharges] = d->fee;
        s->ncharges++;
        r->charge_no++;
    }

    w->balance -= d->amount;
    w->held += d->held - r->held;

    if (d->held < r->held) {
        w->reliefs++;
    }

    r->held = d->held;
    r->charged += d->amount;
    r->fee += d->fee;
    r->billed = d->billed_ms;
    r->paid_until = d->paid_until_ms;
}


/* billing.apply(): returns how many were too late, or had no money */

static int
db_apply(world_t *w, wish_t *wishes, int n)
{
    int             i, missed;
    int64_t         need, needed, available;
    wish_t         *x;
    session_t      *s;
    session_row_t  *r;

    needed = 0;
    missed = 0;
    available = w->balance - w->held;

    for (i = 0; i < n; i++) {
        x = &wishes[i];
        s = &w->s[x->session];
        r = &s->row;
        x->done = 0;

        if (r->settled || r->ver != x->ver || r->charge_no != x->charge_no
            || r->rev != x->rev || r->held != x->was
            || r->billed > x->d.billed_ms
            || (r->state == x->d.state && r->paid_until > x->d.paid_until_ms))
        {
            missed++;
            continue;
        }

        need = x->d.amount + x->d.held - r->held;
        needed += (need > 0) ? need : 0;

        if (need > 0 && needed > available) {
            missed++;
            continue;
        }

        db_book(w, s, x);

        r->rev++;
        r->active_ms = x->d.active_ms;
        r->end_ms = x->d.end_ms;
        r->low_sent = x->d.low_sent;
        x->done = 1;

        if (x->d.reason != NULL || x->d.state != r->state) {
            r->reason = x->d.reason;
            s->funds = x->funds;
        }

        if (x->d.settle) {
            r->credited = r->charged - r->fee;
            r->settled = 1;
            w->reliefs++;

            if (strcmp(r->reason, "low_balance") != 0) {
                s->funds = x->funds;
            }
        }

        if (r->state != ASTRO_SESSION_ACTIVE || x->d.state != r->state) {
            db_state(w, s, x->d.state);
        }
    }

    return missed;
}


/* billing.tick() */

static int
db_tick(world_t *w, wish_t *wishes, int n)
{
    int             i, missed;
    wish_t         *x;
    session_row_t  *r;

    missed = 0;

    for (i = 0; i < n; i++) {
        x = &wishes[i];
        r = &w->s[x->session].row;

        x->done = (r->state == ASTRO_SESSION_ACTIVE && !r->settled
                   && r->ver == x->ver && r->rev == x->rev
                   && r->charge_no == x->charge_no && r->held == x->was
                   && r->billed <= x->d.billed_ms
                   && r->paid_until <= x->d.paid_until_ms
                   && w->balance - w->held
                      >= x->d.amount + x->d.held - x->was);

        if (x->done) {
            db_book(w, &w->s[x->session], x);

        } else {
            missed++;
        }
    }

    return missed;
}


/* consult.proven_of(), or INT64_MIN */

static int64_t
db_proven_of(world_t *w, const session_row_t *r)
{
    int                 i;
    int64_t             upto[2];
    billing_interval_t  iv[INTERVALS];

    upto[0] = upto[1] = INT64_MIN;

    db_intervals(w, r, w->gw, iv);

    for (i = 0; i < r->nrows; i++) {
        if (iv[i].to_ms > upto[iv[i].party]) {
            upto[iv[i].party] = iv[i].to_ms;
        }
    }

    return (upto[0] < upto[1]) ? upto[0] : upto[1];
}


/* api.session_pause() */

static void
db_pause(world_t *w, session_t *s, int g)
{
    int             i;
    int64_t         at, proven;
    row_t          *row;
    session_row_t  *r;

    r = &s->row;

    if (r->state != ASTRO_SESSION_ACTIVE
        && r->state != ASTRO_SESSION_RECONNECTING)
    {
        return;
    }

    at = sim_started(w, g) + sim_life(w, g);
    proven = db_proven_of(w, r);
    at = (proven > at) ? proven : at;

    for (i = 0; i < r->nrows; i++) {
        row = &r->rows[i];

        if (row->close == OPEN) {
            row->cut = at - sim_started(w, row->gw);
            row->cut = (row->cut < row->open) ? row->open : row->cut;
        }
    }

    db_state(w, s, ASTRO_SESSION_PAUSED);
    r->state_ms = at;
    r->pauses++;
    r->rev++;
}


/* api.session_resume() */

static void
db_resume(world_t *w, session_t *s, int g)
{
    int             i;
    row_t          *row;
    session_row_t  *r;

    r = &s->row;

    for (i = 0; i < r->nrows; i++) {
        row = &r->rows[i];

        if (row->close == OPEN) {
            row->close = sim_end(row, w->gw[row->gw].life);
            row->reason = PAUSED;
        }
    }

    db_state(w, s, ASTRO_SESSION_RECONNECTING);
    r->state_ms = sim_started(w, g) + sim_life(w, g);
    r->rev++;
}


/* api.session_switch() */

static void
db_switch(world_t *w, session_t *s, int g)
{
    int64_t             at, old, rate, more, ahead, proven;
    session_row_t      *r;
    billing_segment_t  *last;

    r = &s->row;

    if (r->nsegments == SEGMENTS || r->state == ASTRO_SESSION_ENDED) {
        return;
    }

    at = sim_started(w, g) + sim_life(w, g);
    last = r->nsegments ? &r->segments[r->nsegments - 1] : NULL;
    proven = db_proven_of(w, r);
    at = (proven > at) ? proven : at;

    if (last != NULL && last->at_ms > at) {
        at = last->at_ms;
    }

    old = last ? last->rate : r->tariff.rate;
    rate = 1 + sim_up_to(w, 2 * old);
    ahead = (r->paid_until == BILLING_NONE || r->paid_until < at)
            ? 0 : r->paid_until - at;
    more = 0;

    if (ahead > 0 && r->tariff.whole_minute) {
        more = (rate > old) ? old + (rate - old) * ((ahead + 59999) / 60000)
                            : rate;

    } else if (ahead > 0 && rate > old) {
        more = ((rate - old) * ahead + 59999) / 60000;
    }

    if (more > w->balance - w->held
        || (r->tariff.max_minor != 0
            && r->charged + r->held + more > r->tariff.max_minor)
        || (r->cap != 0 && r->charged + r->held + more > r->cap))
    {
        return;
    }

    r->held += more;
    w->held += more;
    r->segments[r->nsegments].at_ms = at;
    r->segments[r->nsegments].rate = rate;
    r->nsegments++;

    w->reliefs++;
    db_state(w, s, r->state);
}


/* consult.cap_again(): its client wants to spend so much more on it at most */

static void
db_cap(world_t *w, session_t *s, int64_t more)
{
    int64_t         cap;
    session_row_t  *r;

    r = &s->row;

    cap = r->charged + r->held + more;
    cap = (cap < r->tariff.min_minor) ? r->tariff.min_minor : cap;
    cap = cap ? cap : 1;

    if (r->state == ASTRO_SESSION_ENDED || (r->cap != 0 && r->cap <= cap)) {
        return;
    }

    r->cap = cap;
    r->rev++;
    w->reliefs++;
    db_state(w, s, r->state);
}


/* api.session_apply(), event 'end' */

static void
db_end(world_t *w, session_t *s, int g)
{
    if (s->row.state == ASTRO_SESSION_ENDED) {
        return;
    }

    s->row.end_ms = sim_started(w, g) + sim_life(w, g);
    s->row.reason = "client_ended";
    db_state(w, s, ASTRO_SESSION_ENDED);
}


#endif /* _SIM_DB_H_INCLUDED_ */
