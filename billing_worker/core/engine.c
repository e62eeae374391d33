
/*
 * Copyright (C) The Astro authors
 *
 * The engine: see engine.h.
 *
 * What keeps a client from ever paying for what was not given: a charge is of
 * proven time only, cut at paid_until, where the gateways cut too.  What keeps
 * an advisor from ever working unpaid: paid_until is the projection of what is
 * held, and what is held can be spent by nobody else.
 */

#include <string.h>

#include "engine_core.h"


static int billing_engine_ringing(billing_engine_t *e);
static int billing_engine_waiting(billing_engine_t *e);
static int64_t billing_engine_grace(billing_engine_t *e);
static int billing_engine_paused(billing_engine_t *e);
static int billing_engine_activate(billing_engine_t *e);
static int billing_engine_active(billing_engine_t *e);
static int billing_engine_apart(billing_engine_t *e);
static int billing_engine_settle(billing_engine_t *e);
static int billing_engine_end(billing_engine_t *e, const char *reason,
    int64_t end_ms, int64_t ms);
static int billing_engine_exhaust(billing_engine_t *e);
static void billing_engine_compare(billing_engine_t *e);


int
billing_engine_decide(billing_facts_t *f, const billing_settings_t *s,
    billing_decision_t *d)
{
    int               rc;
    billing_engine_t  e;

    memset(&e, 0, sizeof(billing_engine_t));

    e.f = f;
    e.s = s;
    e.d = d;

    if (billing_engine_init(&e) != BILLING_OK) {
        return BILLING_ERROR;
    }

    switch (f->state) {

    case ASTRO_SESSION_REQUESTED:
    case ASTRO_SESSION_QUEUED:
        rc = BILLING_OK;
        break;

    case ASTRO_SESSION_RINGING:
        rc = billing_engine_ringing(&e);
        break;

    case ASTRO_SESSION_ACCEPTED:
    case ASTRO_SESSION_CONNECTING:
    case ASTRO_SESSION_RECONNECTING:
    case ASTRO_SESSION_PAUSED:
        rc = billing_engine_waiting(&e);
        break;

    case ASTRO_SESSION_ACTIVE:
        rc = billing_engine_active(&e);
        break;

    case ASTRO_SESSION_ENDED:
        rc = billing_engine_settle(&e);
        break;

    default:
        rc = BILLING_ERROR;
    }

    if (rc != BILLING_OK) {

        if (d->reason == NULL) {
            d->reason = "no decision comes of the state or the tariff";
        }

        return rc;
    }

    if (d->state != ASTRO_SESSION_ENDED) {
        billing_engine_left(&e);
    }

    billing_engine_compare(&e);

    return BILLING_OK;
}


static int
billing_engine_ringing(billing_engine_t *e)
{
    billing_facts_t  *f;

    f = e->f;

    if (f->now_ms - f->state_ms >= e->s->ring_ms) {
        return billing_engine_end(e, "missed", f->now_ms, f->billed_ms);
    }

    billing_engine_wait(e, f->state_ms + e->s->ring_ms - f->now_ms);

    return BILLING_OK;
}


/* accepted, connecting, reconnecting, paused: not billed until both are in */

static int
billing_engine_waiting(billing_engine_t *e)
{
    int64_t           grace;
    billing_facts_t  *f;

    f = e->f;

    if (e->both && (f->state != ASTRO_SESSION_PAUSED || f->unpaid)) {
        return billing_engine_activate(e);
    }

    if (!f->payer) {
        return billing_engine_end(e, "invalid_user_role", BILLING_NONE,
                                  f->billed_ms);
    }

    if (f->paid_until_ms != BILLING_NONE && billing_engine_exhausted(e)) {
        return billing_engine_exhaust(e);
    }

    if (f->state == ASTRO_SESSION_PAUSED && !f->unpaid) {
        return billing_engine_paused(e);
    }

    if (f->state != ASTRO_SESSION_PAUSED) {

        grace = billing_engine_grace(e);

        if (grace <= 0) {
            return billing_engine_end(e, "peer_lost", billing_engine_last(e),
                                      e->spent);
        }

        billing_engine_wait(e, grace);
    }

    if (f->paid_until_ms == BILLING_NONE) {
        return BILLING_OK;
    }

    if (billing_engine_cut_off(e)) {
        return billing_engine_apart(e);
    }

    billing_engine_overdue(e);

    return billing_engine_charge(e, e->spent);
}


/*
 * By a party, who may have it on again.  Nobody has an open interval as soon as
 * their gateways hear of it; what is held stays held.
 */

static int
billing_engine_paused(billing_engine_t *e)
{
    int64_t           left;
    billing_facts_t  *f;

    f = e->f;

    if (e->s->pause_ms) {

        left = f->state_ms + e->s->pause_ms - f->now_ms;

        if (left <= 0) {
            return billing_engine_end(e, "pause_expired", f->state_ms,
                                      e->spent);
        }

        billing_engine_wait(e, left);
    }

    if (f->paid_until_ms == BILLING_NONE) {
        return BILLING_OK;
    }

    return billing_engine_charge(e, e->spent);
}


/*
 * How long they may still take to come: of this time, and of all such times of
 * the session, so that nobody keeps the other one waiting unpaid for ever by
 * coming back for a moment now and then.
 */

static int64_t
billing_engine_grace(billing_engine_t *e)
{
    int64_t           left, all;
    billing_facts_t  *f;

    f = e->f;

    left = f->state_ms + e->s->grace_ms - f->now_ms;

    if (e->s->apart_ms == 0) {
        return left;
    }

    all = e->s->apart_ms - billing_proof_apart(f->intervals, f->n, f->est_ms);

    return (all < left) ? all : left;
}


/*
 * Both are there.  They may have been for a while, as the worker may have been
 * away: what is billable starts when the second of them came, and paid_until
 * is counted from there.
 */

static int
billing_engine_activate(billing_engine_t *e)
{
    int64_t              capacity, so_far;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (!f->payer) {
        return billing_engine_end(e, "invalid_user_role", BILLING_NONE,
                                  f->billed_ms);
    }

    if (billing_engine_exhausted(e)
        || (e->funds == 0 && f->tariff.free_ms <= e->spent))
    {
        return billing_engine_exhaust(e);
    }

    if (e->reach <= e->spent) {
        billing_engine_wait(e, BILLING_POLL_MS);
        return BILLING_OK;
    }

    so_far = billing_proof_measure(f->intervals, f->n, f->est_ms,
                                   BILLING_PROJECT);

    if (billing_engine_hold(e, so_far + e->s->ahead_ms, &capacity)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    d->state = ASTRO_SESSION_ACTIVE;
    d->paid_until_ms = billing_proof_instant(f->intervals, f->n, capacity,
                                             BILLING_PROJECT);

    if (f->active_ms == BILLING_NONE) {
        d->active_ms = billing_proof_instant(f->intervals, f->n, 0,
                                             BILLING_PROJECT);
    }

    if (billing_engine_low(e) != BILLING_OK) {
        return BILLING_ERROR;
    }

    d->tick_ms = billing_engine_grid(e);

    billing_engine_schedule(e, capacity);

    return BILLING_OK;
}


static int
billing_engine_active(billing_engine_t *e)
{
    int                  due, behind;
    int64_t              capacity, so_far;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (!f->payer) {
        return billing_engine_end(e, "invalid_user_role", BILLING_NONE,
                                  f->billed_ms);
    }

    if (billing_engine_exhausted(e)) {
        return billing_engine_exhaust(e);
    }

    if (!e->both) {
        return billing_engine_apart(e);
    }

    due = billing_engine_due(e);

    behind = (f->paid_until_ms == BILLING_NONE
              || f->paid_until_ms - f->est_ms
                 <= billing_engine_behind(e->s));

    capacity = e->capacity;

    if (due && billing_engine_charge(e, e->spent) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (due || f->tick_ms == BILLING_NONE) {
        d->tick_ms = billing_engine_grid(e);
    }

    if (due || behind) {
        so_far = billing_proof_measure(f->intervals, f->n, f->est_ms,
                                       BILLING_PROJECT);

        if (billing_engine_hold(e, so_far + e->s->ahead_ms, &capacity)
            != BILLING_OK)
        {
            return BILLING_ERROR;
        }

        d->paid_until_ms = billing_proof_instant(f->intervals, f->n, capacity,
                                                 BILLING_PROJECT);

        /* what gateways were told is not taken back */

        if (f->paid_until_ms != BILLING_NONE
            && d->paid_until_ms < f->paid_until_ms)
        {
            d->paid_until_ms = f->paid_until_ms;
        }
    }

    if (billing_engine_low(e) != BILLING_OK) {
        return BILLING_ERROR;
    }

    billing_engine_schedule(e, capacity);

    return BILLING_OK;
}


/*
 * A party is gone, or the gateways cut both off as the paid time was over.  If
 * there is money for certain, the gateways are told that they may come back:
 * by the state, and by a paid_until that lies ahead again.  They come back
 * later than the lease's instant, so what they may use then is no more than
 * what is held.
 */

static int
billing_engine_apart(billing_engine_t *e)
{
    int64_t              capacity, ahead;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (billing_engine_charge(e, e->spent) != BILLING_OK) {
        return BILLING_ERROR;
    }

    if (e->reach <= e->possible) {
        billing_engine_wait(e, BILLING_POLL_MS);
        return BILLING_OK;
    }

    if (billing_engine_hold(e, e->possible + e->s->ahead_ms, &capacity)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    ahead = f->lease_ms + capacity - e->possible;

    if (f->paid_until_ms == BILLING_NONE || f->paid_until_ms < ahead) {
        d->paid_until_ms = ahead;
    }

    d->state = ASTRO_SESSION_RECONNECTING;
    d->tick_ms = BILLING_NONE;

    if (f->state != ASTRO_SESSION_RECONNECTING) {
        billing_engine_wait(e, e->s->grace_ms);
    }

    return BILLING_OK;
}


/* ended by somebody, and not yet paid for */

static int
billing_engine_settle(billing_engine_t *e)
{
    billing_facts_t  *f;

    f = e->f;

    if (!f->payer) {
        return billing_engine_end(e, "invalid_user_role", BILLING_NONE,
                                  f->billed_ms);
    }

    if (e->possible != e->proven && !billing_engine_exhausted(e)) {
        billing_engine_wait(e, BILLING_POLL_MS);
        return BILLING_OK;
    }

    e->d->settle = 1;

    return billing_engine_charge(e, e->spent);
}


/* end_ms BILLING_NONE: the instant that ms brings the session to */

static int
billing_engine_end(billing_engine_t *e, const char *reason, int64_t end_ms,
    int64_t ms)
{
    int64_t              final;
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (end_ms == BILLING_NONE) {
        end_ms = billing_proof_instant(f->intervals, f->n, ms,
                                       BILLING_PROJECT);

        /*
         * of what may still be proven, some may be before what is: then they
         * were there for ms only later, and nothing billed is after the end
         */

        if (end_ms != BILLING_NEVER
            && billing_proof_measure(f->intervals, f->n, end_ms,
                                     BILLING_PROVEN) < ms)
        {
            end_ms = billing_proof_instant(f->intervals, f->n, ms,
                                           BILLING_PROVEN);
        }

        if (end_ms == BILLING_NEVER) {
            end_ms = billing_engine_last(e);
        }
    }

    if (billing_engine_charge(e, ms) != BILLING_OK) {
        return BILLING_ERROR;
    }

    d->state = ASTRO_SESSION_ENDED;
    d->reason = reason;
    d->end_ms = end_ms;
    d->tick_ms = BILLING_NONE;
    d->ended = 1;

    /* settled at once, unless a gateway may still prove more than ms */

    final = billing_engine_measure(e, end_ms, BILLING_PROJECT);

    if (final <= ms || billing_engine_exhausted(e) || !f->payer) {
        d->settle = 1;
        return BILLING_OK;
    }

    billing_engine_wait(e, BILLING_POLL_MS);

    return BILLING_OK;
}


static int
billing_engine_exhaust(billing_engine_t *e)
{
    const char  *reason;

    reason = !billing_engine_maximum(e) ? "low_balance"
             : billing_engine_capped(e) ? "cap_reached" : "max_reached";

    return billing_engine_end(e, reason, BILLING_NONE, e->spent);
}


static void
billing_engine_compare(billing_engine_t *e)
{
    billing_facts_t     *f;
    billing_decision_t  *d;

    f = e->f;
    d = e->d;

    if (d->settle) {
        d->held = 0;
    }

    d->apply = (d->settle || d->state != f->state || d->amount != 0
                || d->billed_ms != f->billed_ms || d->held != f->held
                || d->end_ms != f->end_ms || d->active_ms != f->active_ms
                || d->paid_until_ms != f->paid_until_ms
                || d->low_sent != f->low_sent);
}
