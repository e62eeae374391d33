
/*
 * Copyright (C) The Astro authors
 *
 * The engine: when to look again.
 */

#include "engine_core.h"


/* the gateways need this long after paid_until to have their closings stored */
#define BILLING_CLOSING_MS    150

/* after that, a session that should be over is looked at this often */
#define BILLING_OVERDUE_MS    1000

/* a hold may be this much behind the grid before it is mended out of turn */
#define BILLING_BEHIND_MS     500


void
billing_engine_wait(billing_engine_t *e, int64_t ms)
{
    if (ms < 1) {
        ms = 1;
    }

    if (ms < e->d->wait_ms) {
        e->d->wait_ms = ms;
    }
}


void
billing_engine_schedule(billing_engine_t *e, int64_t capacity)
{
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    billing_engine_wait(e, d->tick_ms - f->est_ms);

    if (capacity < e->reach) {
        billing_engine_wait(e, d->paid_until_ms - f->est_ms
                               - billing_engine_behind(e->s));
        return;
    }

    /* the last of the money is held: the end is known */

    billing_engine_overdue(e);
}


void
billing_engine_overdue(billing_engine_t *e)
{
    int64_t  left;

    left = e->d->paid_until_ms - e->f->est_ms;

    billing_engine_wait(e, (left > 0) ? left + BILLING_CLOSING_MS
                                      : BILLING_OVERDUE_MS);
}


int64_t
billing_engine_grid(billing_engine_t *e)
{
    int64_t  from, now;

    from = e->d->active_ms;
    now = e->f->est_ms + BILLING_EARLY_MS;

    if (from == BILLING_NONE) {
        return now + e->s->tick_ms;
    }

    if (now < from) {
        return from + e->s->tick_ms;
    }

    return from + ((now - from) / e->s->tick_ms + 1) * e->s->tick_ms;
}


/*
 * Who has just come to know a session does not know its grid point.  The hold
 * tells when it was charged last: it reached ahead_ms from there.  If that was
 * at the grid's last point or since, the next one is soon enough; so a worker
 * that takes many thousands over has those to charge that were missed, not all.
 * A hold that reaches too far for that, of a tariff by the minute, tells
 * nothing; one that was cut short tells of too long ago.
 */

int
billing_engine_due(billing_engine_t *e)
{
    int64_t           now, last, point;
    billing_facts_t  *f;

    f = e->f;
    now = f->est_ms + BILLING_EARLY_MS;

    if (f->tick_ms != BILLING_NONE) {
        return now >= f->tick_ms;
    }

    if (f->active_ms == BILLING_NONE || f->paid_until_ms == BILLING_NONE) {
        return 1;
    }

    last = f->paid_until_ms - e->s->ahead_ms;
    point = billing_engine_grid(e) - e->s->tick_ms;

    return last > f->est_ms || last + BILLING_EARLY_MS < point;
}


int64_t
billing_engine_behind(const billing_settings_t *s)
{
    int64_t  behind;

    behind = s->ahead_ms - s->tick_ms - BILLING_BEHIND_MS;

    return (behind > s->ahead_ms / 4) ? behind : s->ahead_ms / 4;
}
