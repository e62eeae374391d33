
/*
 * Copyright (C) The Astro authors
 *
 * One session's random history: parties come and go, are cut off when the paid
 * time is over, the mode is switched, money comes and goes; the engine decides
 * at random instants from what is known by then.  What came of it is written
 * as one line, from which oracle_history.py computes all numbers anew.
 *
 *     SEED|rate bps whole min free max_minor max_ms
 *         |at:rate,...              segments
 *         |party:from:to,...        intervals, as they were closed at last
 *         |end paid_until reason billed charged fee funds
 *         |billed:amount:fee,...    charges
 *         |at:committed:paid_until:segments:intervals,...
 *
 * Instants are ms from the beginning; -1 is none.  funds: charged and what was
 * available besides when the end was decided.  In the last field are decisions
 * that moved paid_until while all was known and both were there: committed
 * money lasts until then, by so many of the segments and intervals.
 *
 * Included once: everything is static.
 */

#ifndef _HISTORY_H_INCLUDED_
#define _HISTORY_H_INCLUDED_


#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"


#define HISTORY_T0         INT64_C(1763690000000)
#define HISTORY_INTERVALS  64
#define HISTORY_SEGMENTS   6
#define HISTORY_STEPS      4000
#define HISTORY_TEXT       8192


typedef struct {
    int                  party;
    int64_t              from;
    int64_t              to;            /* -1: is there */
    int64_t              seen;          /* its gateway's last renewal */
    int64_t              told_at;       /* when the row is closed */
    int                  closed;        /* it is */
    int                  unpaid;
} history_row_t;

typedef struct {
    uint64_t             seed;
    uint64_t             random;
    int64_t              t;
    int64_t              silence;
    int64_t              decide_at;
    int64_t              over_at;       /* then somebody ends it */
    int64_t              funds;         /* when the end was decided */

    billing_settings_t   settings;
    billing_facts_t      row;           /* the database's */
    billing_interval_t   iv[HISTORY_INTERVALS];
    billing_segment_t    segments[HISTORY_SEGMENTS];
    history_row_t        rows[HISTORY_INTERVALS];
    int                  nrows;
    int                  here[2];       /* its row; -1: not there */
    int                  wants[2];      /* to be there */
    int                  deaf;          /* gateways hear late of the end */
    int                  settled;
    const char          *reason;

    char                 charges[HISTORY_TEXT];
    size_t               ncharges;
    char                 paid[HISTORY_TEXT];
    size_t               npaid;

    const char          *wrong;
} history_t;


static uint64_t
history_next(history_t *h)
{
    h->random ^= h->random >> 12;
    h->random ^= h->random << 25;
    h->random ^= h->random >> 27;

    return (h->random * UINT64_C(2685821657736338717)) >> 16;
}


static int64_t
history_up_to(history_t *h, int64_t max)
{
    return (int64_t) (history_next(h) % ((uint64_t) max + 1));
}


static int
history_one_in(history_t *h, int64_t n)
{
    return history_up_to(h, n - 1) == 0;
}


static void
history_leave(history_t *h, int party, int64_t to, int64_t delay)
{
    history_row_t  *r;

    r = &h->rows[h->here[party]];
    h->here[party] = -1;

    r->to = (to < r->from) ? r->from : to;
    r->told_at = h->t + delay;
}


static void
history_come(history_t *h, int party)
{
    int64_t         from;
    history_row_t  *r;

    if (h->nrows == HISTORY_INTERVALS
        || (h->row.paid_until_ms != BILLING_NONE
            && h->row.paid_until_ms <= h->t))
    {
        return;
    }

    /* stored a little later, but never before the last switch */

    from = h->t - (history_one_in(h, 3) ? history_up_to(h, 200) : 0);

    if (h->row.nsegments > 0
        && from < h->segments[h->row.nsegments - 1].at_ms)
    {
        from = h->segments[h->row.nsegments - 1].at_ms;
    }

    r = &h->rows[h->nrows];
    memset(r, 0, sizeof(history_row_t));

    r->party = party;
    r->from = from;
    r->to = -1;
    r->seen = from;

    h->here[party] = h->nrows++;
    h->row.ver++;
}


/* What happens to the parties until the instant to. */

static void
history_parties(history_t *h, int64_t to)
{
    int             p;
    int64_t         cut, late;
    history_row_t  *r;

    cut = h->row.paid_until_ms;

    for (p = 0; p < 2; p++) {

        if (h->here[p] == -1) {
            continue;
        }

        r = &h->rows[h->here[p]];

        /* the gateways stop by themselves: nothing after that is billed */

        if (cut != BILLING_NONE && cut <= to) {
            late = (h->deaf && history_one_in(h, 3)) ? history_up_to(h, 3000)
                                                     : 0;
            r->unpaid = 1;
            history_leave(h, p, cut + late,
                          to - h->t + late + history_up_to(h, 300));
        }
    }

    h->t = to;

    for (p = 0; p < 2; p++) {

        if (h->here[p] == -1) {

            if (h->wants[p] && h->row.state != ASTRO_SESSION_ENDED) {
                history_come(h, p);
            }

            h->wants[p] |= history_one_in(h, 8);
            continue;
        }

        r = &h->rows[h->here[p]];

        if (r->seen < to && !history_one_in(h, 4)) {
            r->seen = to;
        }

        if (history_one_in(h, 25) || h->row.state == ASTRO_SESSION_ENDED) {
            h->wants[p] = history_one_in(h, 2);

            if (history_one_in(h, 4)) {

                /* its gateway is dead: it ends at the last renewal */

                history_leave(h, p, r->seen, 5000);

            } else {
                history_leave(h, p, to, history_up_to(h, h->silence));
            }
        }
    }
}


static void
history_rows(history_t *h)
{
    int             i;
    history_row_t  *r;

    for (i = 0; i < h->nrows; i++) {
        r = &h->rows[i];

        if (r->closed || r->to == -1 || h->t < r->told_at) {
            continue;
        }

        r->closed = 1;
        h->row.ver++;

        if (h->row.state == ASTRO_SESSION_ACTIVE && !r->unpaid) {
            h->row.state = ASTRO_SESSION_RECONNECTING;
            h->row.state_ms = h->t;
        }
    }
}


/* billing.facts3(); returns whether all that has happened is known */

static int
history_facts(history_t *h)
{
    int                  i, known;
    int64_t              proven;
    history_row_t       *r;
    billing_interval_t  *iv;

    known = 1;

    for (i = 0; i < h->nrows; i++) {
        r = &h->rows[i];
        iv = &h->iv[i];

        proven = r->seen - h->silence;

        iv->party = (uint8_t) r->party;
        iv->from_ms = HISTORY_T0 + r->from;
        iv->open = !r->closed;
        iv->unpaid = (r->closed && r->unpaid);
        iv->to_ms = HISTORY_T0 + (r->closed ? r->to
                                  : (proven > r->from) ? proven : r->from);

        known &= (r->closed || r->to == -1);
    }

    h->row.n = (size_t) h->nrows;
    h->row.intervals = h->iv;

    return known;
}


/* The row has instants from the beginning, the engine gets real ones. */

static int64_t
history_instant(int64_t ms, int64_t by)
{
    return (ms == BILLING_NONE) ? ms : ms + by;
}


static void
history_shift(billing_facts_t *f, int64_t by)
{
    size_t  i;

    f->state_ms += by;
    f->end_ms = history_instant(f->end_ms, by);
    f->active_ms = history_instant(f->active_ms, by);
    f->paid_until_ms = history_instant(f->paid_until_ms, by);
    f->tick_ms = history_instant(f->tick_ms, by);

    for (i = 0; i < f->nsegments; i++) {
        f->segments[i].at_ms += by;
    }
}


static void
history_apply(history_t *h, const billing_decision_t *d)
{
    billing_facts_t  *f;

    f = &h->row;

    if (f->balance - d->amount
        < f->wallet_held + d->held - f->held)
    {
        h->wrong = "held more than there is";
        return;
    }

    if (d->amount > 0) {
        h->ncharges += (size_t) snprintf(h->charges + h->ncharges,
                                         HISTORY_TEXT - h->ncharges,
                                         "%s%" PRId64 ":%" PRId64 ":%" PRId64,
                                         h->ncharges ? "," : "",
                                         d->billed_ms, d->amount, d->fee);
        f->charge_no++;
    }

    if (f->state != ASTRO_SESSION_ENDED && d->state == ASTRO_SESSION_ENDED) {
        h->reason = d->reason;
        h->funds = f->charged + f->held + f->balance - f->wallet_held;
    }

    if (f->state != d->state) {
        f->state_ms = h->t;
    }

    f->balance -= d->amount;
    f->wallet_held += d->held - f->held;
    f->held = d->held;
    f->charged += d->amount;
    f->fee += d->fee;
    f->billed_ms = d->billed_ms;
    f->state = d->state;
    f->end_ms = history_instant(d->end_ms, -HISTORY_T0);
    f->active_ms = history_instant(d->active_ms, -HISTORY_T0);
    f->paid_until_ms = history_instant(d->paid_until_ms, -HISTORY_T0);
    f->tick_ms = history_instant(d->tick_ms, -HISTORY_T0);
    f->low_sent = d->low_sent;

    h->settled = d->settle;
}


static void
history_decide(history_t *h)
{
    int                 known;
    billing_facts_t     f;
    billing_decision_t  d;
    billing_segment_t   segments[HISTORY_SEGMENTS];

    known = history_facts(h);

    f = h->row;
    memcpy(segments, h->segments, sizeof(segments));
    f.segments = segments;
    f.now_ms = f.lease_ms = f.est_ms = HISTORY_T0 + h->t;
    f.silence_ms = h->silence;

    history_shift(&f, HISTORY_T0);

    if (billing_engine_decide(&f, &h->settings, &d) != BILLING_OK) {
        h->wrong = "the engine says that the books contradict each other";
        return;
    }

    h->decide_at = h->t + (history_one_in(h, 3) ? history_up_to(h, 20000)
                                                : d.wait_ms);

    if (!d.apply) {
        return;
    }

    if (history_one_in(h, 20)) {
        h->decide_at = h->t;
        return;
    }

    if (f.paid_until_ms != BILLING_NONE && f.state == d.state
        && d.paid_until_ms < f.paid_until_ms)
    {
        h->wrong = "paid_until was taken back";
        return;
    }

    history_apply(h, &d);

    if (known && h->here[0] != -1 && h->here[1] != -1
        && d.state == ASTRO_SESSION_ACTIVE
        && d.paid_until_ms != f.paid_until_ms && history_one_in(h, 2)
        && h->npaid < HISTORY_TEXT - 128)
    {
        h->npaid += (size_t) snprintf(h->paid + h->npaid,
                                      HISTORY_TEXT - h->npaid,
                                      "%s%" PRId64 ":%" PRId64 ":%" PRId64
                                      ":%zu:%d", h->npaid ? "," : "", h->t,
                                      h->row.charged + h->row.held,
                                      h->row.paid_until_ms,
                                      h->row.nsegments, h->nrows);
    }
}


/* api.session_switch() */

static void
history_switch(history_t *h)
{
    int                 i;
    int64_t             at, rate, old, more, ahead, upto[2];
    billing_facts_t    *f;
    billing_segment_t  *s;

    f = &h->row;

    if (f->nsegments == HISTORY_SEGMENTS
        || f->state == ASTRO_SESSION_ENDED)
    {
        return;
    }

    (void) history_facts(h);

    upto[0] = upto[1] = INT64_MIN;

    for (i = 0; i < h->nrows; i++) {
        if (h->iv[i].to_ms > upto[h->iv[i].party]) {
            upto[h->iv[i].party] = h->iv[i].to_ms;
        }
    }

    at = (upto[0] < upto[1]) ? upto[0] : upto[1];
    at = (at == INT64_MIN) ? 0 : at - HISTORY_T0;
    at = (at < h->t) ? h->t : at;

    s = &h->segments[f->nsegments];
    old = f->nsegments ? s[-1].rate : f->tariff.rate;
    rate = 1 + history_up_to(h, 2 * old + 10);

    if (f->nsegments && at < s[-1].at_ms) {
        at = s[-1].at_ms;
    }

    ahead = (f->paid_until_ms == BILLING_NONE || f->paid_until_ms < at)
            ? 0 : f->paid_until_ms - at;
    more = 0;

    if (ahead > 0 && f->tariff.whole_minute) {
        more = (rate > old) ? old + (rate - old) * ((ahead + 59999) / 60000)
                            : rate;

    } else if (ahead > 0 && rate > old) {
        more = ((rate - old) * ahead + 59999) / 60000;
    }

    if (more > f->balance - f->wallet_held
        || (f->tariff.max_minor != 0
            && f->charged + f->held + more > f->tariff.max_minor))
    {
        return;
    }

    s->at_ms = at;
    s->rate = rate;

    f->held += more;
    f->wallet_held += more;
    f->nsegments++;
    f->ver++;
}


static void
history_money(history_t *h)
{
    billing_facts_t  *f;

    f = &h->row;

    if (history_one_in(h, 30)) {
        f->balance += history_up_to(h, f->tariff.rate * 2);
        h->decide_at = h->t;
    }

    if (history_one_in(h, 20)) {
        f->balance -= history_up_to(h, f->balance - f->wallet_held);
    }
}


static void
history_init(history_t *h, uint64_t seed)
{
    billing_facts_t   *f;
    billing_tariff_t  *t;

    static const int64_t  ticks[] = { 1000, 5000, 15000, 60000 };

    memset(h, 0, sizeof(history_t));

    h->seed = seed;
    h->random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    h->random += (h->random == 0);
    (void) history_next(h);

    f = &h->row;
    t = &f->tariff;

    h->t = 1000;
    h->deaf = history_one_in(h, 4);
    h->silence = history_one_in(h, 3) ? 0 : history_up_to(h, 8000);
    h->settings.tick_ms = ticks[history_up_to(h, 3)];
    h->settings.ahead_ms = h->settings.tick_ms + 3000
                           + history_up_to(h, 60000);
    h->settings.low_ms = history_up_to(h, 120000);
    h->settings.ring_ms = 45000;
    h->settings.grace_ms = 5000 + history_up_to(h, 60000);

    t->rate = 1 + history_up_to(h, history_one_in(h, 2) ? 100 : 30000);
    t->commission_bps = (int32_t) history_up_to(h, 10000);

    if (history_one_in(h, 2)) {
        t->whole_minute = (uint8_t) history_one_in(h, 3);
        t->min_minor = history_one_in(h, 3) ? history_up_to(h, t->rate) : 0;
        t->free_ms = history_one_in(h, 3) ? history_up_to(h, 90000) : 0;
        t->max_minor = history_one_in(h, 3)
                       ? 1 + history_up_to(h, t->rate * 3) : 0;
    }

    f->id = 1;
    f->ver = 1;
    f->state = ASTRO_SESSION_ACCEPTED;
    f->max_ms = history_one_in(h, 5) ? 1 + history_up_to(h, 200000)
                                     : BILLING_NONE;
    f->end_ms = BILLING_NONE;
    f->active_ms = BILLING_NONE;
    f->paid_until_ms = BILLING_NONE;
    f->tick_ms = BILLING_NONE;
    f->balance = history_up_to(h, t->rate * 5);
    f->payer = 1;
    f->segments = h->segments;

    h->here[0] = h->here[1] = -1;
    h->wants[0] = h->wants[1] = 1;
    h->over_at = history_up_to(h, 400000);
    h->reason = "none";
}


/* Plays it to its end.  NULL, or what is wrong. */

static const char *
history_play(history_t *h, uint64_t seed)
{
    int               i;
    int64_t           to, step;
    billing_facts_t  *f;

    static const int64_t  steps[] = { 20, 300, 3000, 15000 };

    history_init(h, seed);
    f = &h->row;

    for (i = 0; i < HISTORY_STEPS && !h->settled; i++) {
        step = 1 + history_up_to(h, steps[history_up_to(h, 3)]);
        to = h->t + step;

        if (h->decide_at > h->t && h->decide_at < to) {
            to = h->decide_at;
        }

        history_parties(h, to);
        history_rows(h);

        if (f->state != ASTRO_SESSION_ENDED) {
            history_money(h);

            if (history_one_in(h, 15)) {
                history_switch(h);
            }

            if (h->t >= h->over_at) {
                f->state = ASTRO_SESSION_ENDED;
                f->state_ms = h->t;
                f->end_ms = h->t;
                f->ver++;
                h->reason = "client_ended";
                h->funds = f->charged + f->held + f->balance - f->wallet_held;
                h->decide_at = h->t;
            }
        }

        if (h->t >= h->decide_at || history_one_in(h, 6)) {
            history_decide(h);
        }

        if (h->wrong != NULL) {
            return h->wrong;
        }
    }

    if (!h->settled) {
        return "it is never settled";
    }

    if (f->held != 0 || f->wallet_held != 0) {
        return "it holds money after its end";
    }

    return NULL;
}


static void
history_write(history_t *h, FILE *to)
{
    int                i;
    size_t             n;
    history_row_t     *r;
    billing_facts_t   *f;
    billing_tariff_t  *t;

    f = &h->row;
    t = &f->tariff;

    fprintf(to, "%" PRIu64 "|%" PRId64 " %d %d %" PRId64 " %" PRId64 " %"
            PRId64 " %" PRId64 "|", h->seed, t->rate, t->commission_bps,
            t->whole_minute, t->min_minor, t->free_ms,
            t->max_minor ? t->max_minor : -1,
            (f->max_ms == BILLING_NONE) ? -1 : f->max_ms);

    for (n = 0; n < f->nsegments; n++) {
        fprintf(to, "%s%" PRId64 ":%" PRId64, n ? "," : "",
                h->segments[n].at_ms, h->segments[n].rate);
    }

    fputc('|', to);

    for (i = 0; i < h->nrows; i++) {
        r = &h->rows[i];
        fprintf(to, "%s%d:%" PRId64 ":%" PRId64, i ? "," : "", r->party,
                r->from, (r->to == -1) ? h->t : r->to);
    }

    fprintf(to, "|%" PRId64 " %" PRId64 " %s %" PRId64 " %" PRId64 " %" PRId64
            " %" PRId64 "|%s|%s\n", f->end_ms,
            (f->paid_until_ms == BILLING_NONE) ? -1 : f->paid_until_ms,
            h->reason, f->billed_ms, f->charged, f->fee, h->funds,
            h->charges, h->paid);
}


#endif /* _HISTORY_H_INCLUDED_ */
