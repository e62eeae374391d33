
/*
 * Copyright (C) The Astro authors
 *
 * The simulator's billing workers: see sim.h.  There are two; whose lease it
 * is works.  A worker may be stopped at any moment and go on with what it had
 * begun, or die: what it has sent is carried out all the same, or is lost on
 * its way, and so may be the answer.
 *
 * What a worker remembers of an active session it charges by heart, from
 * intervals and a wallet as it read them once, by leases as it read them
 * lately; whatever is more than a tick, or is refused, it reads anew.
 */

#ifndef _SIM_WORKER_H_INCLUDED_
#define _SIM_WORKER_H_INCLUDED_


typedef struct {
    int64_t             due;
    int64_t             tick_ms;
    int                 known_ver;

    int                 by_heart;       /* row, balance, held are set */
    session_row_t       row;
    int64_t             balance;
    int64_t             held;
} memory_t;

/* what is on its way to the database */
typedef struct {
    int                 arrived;        /* or got lost before */
    int                 lost;
    int                 heart;          /* it is a tick */
    int64_t             epoch;
    int64_t             apply_at;
    int64_t             answer_at;
    wish_t              wishes[SESSIONS];
    int                 n;
} batch_t;

typedef struct {
    int                 id;
    int64_t             back_at;        /* it is dead, or stopped, until */
    int64_t             trusted;        /* its lease; true time */
    int64_t             renew_at;
    int64_t             poll_at;
    int64_t             lives_at;
    int64_t             epoch;
    billing_settings_t  settings;
    memory_t            m[SESSIONS];
    gateway_t           lives[GATEWAYS];

    int                 busy;
    batch_t             b;              /* or its answer is on its way */
    batch_t             late;           /* of a connection that was given up */
} worker_t;

typedef struct {
    int                 worlds;
    int                 sessions;
    int                 charges;
    int                 by_heart;       /* of them */
    int                 shared;         /* batches whose wallet was split */
    int                 fenced;
    int                 stale;
    int                 low_balance;
    int                 max_reached;
    int                 cap_reached;
    int                 by_party;
    int                 peer_lost;
    int                 role;
    int                 segments;
    int                 pauses;
    int                 pause_expired;
    int64_t             billed;
} totals_t;


static totals_t  totals;


/* Whether the table of transitions lets the engine do that. */

static int
worker_may(astro_session_state_e from, astro_session_state_e to)
{
    int  event;

    for (event = 0; event < ASTRO_SESSION_EVENTS; event++) {
        if (astro_session_next(from, event, ASTRO_PARTY_SYSTEM) == to) {
            return 1;
        }
    }

    return from == to;
}


/* Its memory is gone. */

static void
worker_forget(worker_t *k)
{
    int  i;

    k->busy = 0;
    k->trusted = 0;
    k->renew_at = 0;

    for (i = 0; i < SESSIONS; i++) {
        k->m[i].due = 0;
        k->m[i].tick_ms = BILLING_NONE;
        k->m[i].by_heart = 0;
    }
}


/* The fence and the batch, in one transaction. */

static void
worker_commit(world_t *w, worker_t *k, batch_t *b)
{
    int  i;

    b->arrived = 1;

    if (w->t < w->away_until || sim_one_in(w, 40)) {
        b->lost = 1;
        return;
    }

    if (!db_fence(w, k->id, b->epoch)) {
        totals.fenced++;
        b->lost = 1;
        return;
    }

    totals.stale += b->heart ? db_tick(w, b->wishes, b->n)
                             : db_apply(w, b->wishes, b->n);

    for (i = 0; i < b->n; i++) {

        if (!b->wishes[i].done) {
            continue;
        }

        totals.charges += (b->wishes[i].d.amount > 0);
        totals.by_heart += (b->heart && b->wishes[i].d.amount > 0);

        w->s[b->wishes[i].session].ended += b->wishes[i].d.settle;
    }

    holds(w, &w->s[0], w->held >= 0 && w->balance >= w->held);
}


/* What the database does with what was sent, whatever became of the sender. */

static void
worker_arrives(world_t *w, worker_t *k)
{
    if (k->late.n > 0 && !k->late.arrived && w->t >= k->late.apply_at) {
        worker_commit(w, k, &k->late);
    }

    if (k->busy && !k->b.arrived && w->t >= k->b.apply_at) {
        worker_commit(w, k, &k->b);
    }
}


/*
 * Its client is warned once, and again only if there was new money or time:
 * whoever is late, or fenced off and does not know it.
 */

static void
worker_low(world_t *w, session_t *s, const wish_t *x)
{
    holds(w, s, s->lows == 0 || w->reliefs > s->low_reliefs);

    s->lows++;
    s->low_reliefs = x->reliefs;
}


static void
worker_answer(world_t *w, worker_t *k)
{
    int        i;
    wish_t    *x;
    memory_t  *m;

    k->busy = 0;

    /* the answer is lost: what happened is in the rows */

    if (k->b.lost || sim_one_in(w, 40)) {

        for (i = 0; i < k->b.n; i++) {
            m = &k->m[k->b.wishes[i].session];
            m->due = w->t;
            m->by_heart = 0;
        }

        return;
    }

    for (i = 0; i < k->b.n; i++) {
        x = &k->b.wishes[i];
        m = &k->m[x->session];

        if (!x->done) {
            m->due = w->t;
            m->by_heart = 0;
            continue;
        }

        if (x->d.low) {
            worker_low(w, &w->s[x->session], x);
        }

        m->tick_ms = x->d.tick_ms;
        m->due = w->t + x->d.wait_ms;

        if (k->b.heart) {
            m->row.charge_no += (x->d.amount > 0);
            m->row.charged += x->d.amount;
            m->row.fee += x->d.fee;
            m->row.billed = x->d.billed_ms;
            m->row.paid_until = x->d.paid_until_ms;
            m->balance -= x->d.amount;
            m->held += x->d.held - m->row.held;
            m->row.held = x->d.held;
            continue;
        }

        m->by_heart = 0;
        m->known_ver = w->s[x->session].row.ver;
        w->s[x->session].nudged = 0;
    }
}


static void
worker_decide(world_t *w, worker_t *k, session_t *s, billing_facts_t *f,
    billing_decision_t *d)
{
    f->tick_ms = k->m[s - w->s].tick_ms;

    holds(w, s, billing_engine_decide(f, &k->settings, d) == BILLING_OK);
    holds(w, s, d->wait_ms > 0);
    holds(w, s, worker_may(f->state, d->state));
    holds(w, s, f->paid_until_ms == BILLING_NONE || !d->apply
                || f->state != d->state
                || d->paid_until_ms >= f->paid_until_ms);
}


static void
worker_wish(world_t *w, worker_t *k, int i, const billing_facts_t *f,
    const billing_decision_t *d, const session_row_t *read)
{
    wish_t  *x;

    x = &k->b.wishes[k->b.n++];

    x->session = i;
    x->ver = f->ver;
    x->rev = read->rev;
    x->charge_no = f->charge_no;
    x->was = f->held;
    x->funds = f->charged + f->held + f->balance - f->wallet_held;
    x->reliefs = w->reliefs;
    x->read = *read;
    x->d = *d;
    x->done = 0;
}


static void
worker_send(world_t *w, worker_t *k, int heart)
{
    int       i;
    batch_t  *b;

    b = &k->b;

    if (b->n == 0) {
        return;
    }

    b->arrived = 0;
    b->lost = 0;
    b->heart = heart;
    b->epoch = k->epoch;
    b->apply_at = w->t + sim_up_to(w, 3) * STEP;
    b->answer_at = b->apply_at + sim_up_to(w, 2) * STEP;
    k->busy = 1;

    if (!w->gives_up || !sim_one_in(w, w->idles ? 4 : 15)
        || (k->late.n > 0 && !k->late.arrived))
    {
        return;
    }

    /*
     * The connection is given up, and all is read anew over another one; but
     * the database has not seen the last of it
     */

    k->late = *b;
    k->late.apply_at = w->t + sim_up_to(w, 2500);
    k->busy = 0;

    for (i = 0; i < b->n; i++) {
        k->m[b->wishes[i].session].due = w->t;
        k->m[b->wishes[i].session].by_heart = 0;
    }
}


/* Charges what is due and remembered; the rest becomes due by the facts. */

static void
worker_by_heart(world_t *w, worker_t *k)
{
    int                  i;
    memory_t            *m;
    session_t           *s;
    billing_facts_t      f;
    billing_decision_t   d;
    billing_segment_t    segments[SEGMENTS];
    billing_interval_t   iv[INTERVALS];

    k->b.n = 0;

    for (i = 0; i < w->n; i++) {
        s = &w->s[i];
        m = &k->m[i];

        if (!m->by_heart || w->t < m->due) {
            continue;
        }

        db_facts(w, &m->row, k->lives, &f, iv, segments);
        f.balance = m->balance;
        f.wallet_held = m->held;

        worker_decide(w, k, s, &f, &d);

        if (!d.apply) {
            m->due = w->t + d.wait_ms;
            continue;
        }

        if (d.state != ASTRO_SESSION_ACTIVE || d.settle
            || d.low_sent != f.low_sent || d.end_ms != f.end_ms
            || d.active_ms != f.active_ms)
        {
            m->by_heart = 0;
            continue;
        }

        worker_wish(w, k, i, &f, &d, &m->row);
    }

    worker_send(w, k, 1);
}


static void
worker_by_facts(world_t *w, worker_t *k)
{
    int                  i, n, at[SESSIONS];
    memory_t            *m;
    billing_claim_t      claims[SESSIONS];
    billing_facts_t      f[SESSIONS];
    billing_decision_t   d[SESSIONS];
    billing_segment_t    segments[SESSIONS][SEGMENTS];
    billing_interval_t   iv[SESSIONS][INTERVALS];

    k->b.n = 0;
    n = 0;

    for (i = 0; i < w->n; i++) {
        m = &k->m[i];

        if (w->t < m->due || m->by_heart || w->s[i].row.settled) {
            continue;
        }

        db_facts(w, &w->s[i].row, w->gw, &f[n], iv[n], segments[n]);
        worker_decide(w, k, &w->s[i], &f[n], &d[n]);
        billing_engine_claim(&f[n], &d[n], &claims[n]);

        m->known_ver = f[n].ver;
        at[n++] = i;
    }

    /* sometimes they go one by one, and the later ones have no money */

    if (n > 1 && !sim_one_in(w, 8)
        && billing_purse_split(claims, (size_t) n, w->balance - w->held))
    {
        totals.shared++;

        for (i = 0; i < n; i++) {
            if (claims[i].need > 0) {
                billing_engine_within(&f[i], claims[i].share);
                worker_decide(w, k, &w->s[at[i]], &f[i], &d[i]);
            }
        }
    }

    for (i = 0; i < n; i++) {
        m = &k->m[at[i]];

        if (d[i].apply) {
            worker_wish(w, k, at[i], &f[i], &d[i], &w->s[at[i]].row);
            continue;
        }

        m->due = w->t + d[i].wait_ms;

        if (f[i].state == ASTRO_SESSION_ACTIVE) {
            m->by_heart = 1;
            m->row = w->s[at[i]].row;
            m->balance = w->balance;
            m->held = w->held;
        }
    }

    worker_send(w, k, 0);
}


static void
worker_run(world_t *w, worker_t *k)
{
    int  i;

    worker_arrives(w, k);

    if (w->t < k->back_at) {
        return;
    }

    if (k->busy) {

        if (w->t >= k->b.answer_at && k->b.arrived) {
            worker_answer(w, k);
        }

        return;
    }

    if (w->t < w->away_until) {
        return;
    }

    if (w->t >= k->renew_at) {
        k->renew_at = w->t + 1000;

        if (db_lease(w, k->id, &k->epoch)) {
            k->trusted = w->t + LEASE_TTL - LEASE_GUARD;

        } else {
            worker_forget(k);
            k->renew_at = w->t + 1000;
        }
    }

    if (w->t >= k->trusted) {
        return;
    }

    if (w->t >= k->lives_at) {
        k->lives_at = w->t + 500 + sim_up_to(w, 1500);
        memcpy(k->lives, w->gw, sizeof(w->gw));
    }

    for (i = 0; i < w->n; i++) {

        if (w->s[i].nudged && !sim_one_in(w, 10)) {
            k->m[i].due = w->t;
            k->m[i].by_heart = 0;
        }

        w->s[i].nudged = 0;

        if (w->t >= k->poll_at && k->m[i].known_ver != w->s[i].row.ver) {
            k->m[i].due = w->t;
            k->m[i].by_heart = 0;
        }
    }

    if (w->t >= k->poll_at) {
        k->poll_at = w->t + 1000;
    }

    worker_by_heart(w, k);

    if (!k->busy) {
        worker_by_facts(w, k);
    }
}


#endif /* _SIM_WORKER_H_INCLUDED_ */
