
/*
 * Copyright (C) The Astro authors
 *
 * What must be true in the simulator when all is over: see sim.h.  A marker
 * for every ms says who was there, and that is all this knows of time.
 *
 * Each session is written as a line for oracle_history.py, too, which computes
 * every number of it in exact fractions: see history.h.
 */

#ifndef _SIM_AUDIT_H_INCLUDED_
#define _SIM_AUDIT_H_INCLUDED_


#define SPAN    460000          /* ms: the longest a world is played */
#define MARGIN  2500


static uint8_t  mark[2][SPAN + 2 * MARGIN];


static int64_t
audit_marked(world_t *w, session_t *s, int64_t cut)
{
    int       i;
    row_t    *r;
    int64_t   t, from, to, sum;

    memset(mark, 0, sizeof(mark));

    for (i = 0; i < s->row.nrows; i++) {
        r = &s->row.rows[i];

        from = sim_started(w, r->gw) + r->open - T0 + MARGIN;
        to = sim_started(w, r->gw) - T0 + MARGIN
             + sim_end(r, sim_life(w, r->gw));

        if (to > from) {
            memset(&mark[r->party][from], 1, (size_t) (to - from));
        }
    }

    sum = 0;
    to = cut - T0 + MARGIN;

    for (t = 0; t < SPAN + 2 * MARGIN && t < to; t++) {
        sum += (mark[0][t] && mark[1][t]);
    }

    return sum;
}


/* what the session may charge at most, -1: anything */

static int64_t
audit_max(const session_row_t *r)
{
    int64_t  max;

    max = r->tariff.max_minor;

    if (r->cap != 0 && (max == 0 || r->cap < max)) {
        max = r->cap;
    }

    return max ? max : -1;
}



static void
audit_line(world_t *w, session_t *s, FILE *to)
{
    int                i;
    size_t             n;
    row_t             *r;
    session_row_t     *row;
    billing_tariff_t  *t;

    row = &s->row;
    t = &row->tariff;

    fprintf(to, "%" PRIu64 "|%" PRId64 " %d %d %" PRId64 " %" PRId64 " %"
            PRId64 " %" PRId64 "|", w->seed, t->rate, t->commission_bps,
            t->whole_minute, t->min_minor, t->free_ms,
            audit_max(row),
            (row->max_ms == BILLING_NONE) ? -1 : row->max_ms);

    for (n = 0; n < row->nsegments; n++) {
        fprintf(to, "%s%" PRId64 ":%" PRId64, n ? "," : "",
                row->segments[n].at_ms - T0 + MARGIN, row->segments[n].rate);
    }

    fputc('|', to);

    for (i = 0; i < row->nrows; i++) {
        r = &row->rows[i];
        fprintf(to, "%s%d:%" PRId64 ":%" PRId64, i ? "," : "", r->party,
                sim_started(w, r->gw) + r->open - T0 + MARGIN,
                sim_started(w, r->gw) - T0 + MARGIN
                + sim_end(r, sim_life(w, r->gw)));
    }

    fprintf(to, "|%" PRId64 " %" PRId64 " %s %" PRId64 " %" PRId64 " %" PRId64
            " %" PRId64 "|", row->end_ms - T0 + MARGIN,
            (row->paid_until == BILLING_NONE)
            ? -1 : row->paid_until - T0 + MARGIN,
            row->reason, row->billed, row->charged, row->fee, s->funds);

    for (i = 0; i < s->ncharges; i++) {
        fprintf(to, "%s%" PRId64 ":%" PRId64 ":%" PRId64, i ? "," : "",
                s->at[i], s->amount[i], s->part[i]);
    }

    fputs("|\n", to);
}


static void
audit_session(world_t *w, session_t *s, FILE *oracle)
{
    int             i;
    int64_t         billable, served, cut, charged, fee;
    session_row_t  *r;

    r = &s->row;

    holds(w, s, s->ended == 1);
    holds(w, s, r->held == 0);
    holds(w, s, r->credited == r->charged - r->fee);
    holds(w, s, r->charge_no == s->ncharges);
    holds(w, s, r->max_ms == BILLING_NONE || r->billed <= r->max_ms);
    holds(w, s, r->tariff.max_minor == 0
                || r->charged <= r->tariff.max_minor);
    holds(w, s, r->cap == 0 || r->charged <= r->cap);

    charged = fee = 0;

    for (i = 0; i < s->ncharges; i++) {
        charged += s->amount[i];
        fee += s->part[i];
    }

    holds(w, s, charged == r->charged);
    holds(w, s, fee == r->fee);

    cut = r->end_ms;
    served = audit_marked(w, s, cut);
    billable = 0;

    if (r->paid_until != BILLING_NONE) {
        cut = (cut < r->paid_until) ? cut : r->paid_until;
        billable = audit_marked(w, s, cut);

        /*
         * Gateways that stop at paid_until whatever the state serve nobody
         * beyond what was held, as soon as they have heard of it.
         */

        holds(w, s, !s->strict || served <= billable + s->ignorant);

        /* and within it all is paid for, however far the clocks are off */

        holds(w, s, !s->strict || billable <= r->billed + s->ignorant
                                              + 4 * STEP);
    }

    holds(w, s, r->billed <= billable);

    audit_line(w, s, oracle);

    totals.sessions++;
    totals.segments += (int) r->nsegments;
    totals.pauses += r->pauses;
    totals.billed += r->billed;
    totals.low_balance += (strcmp(r->reason, "low_balance") == 0);
    totals.max_reached += (strcmp(r->reason, "max_reached") == 0);
    totals.cap_reached += (strcmp(r->reason, "cap_reached") == 0);
    totals.by_party += (strcmp(r->reason, "client_ended") == 0);
    totals.peer_lost += (strcmp(r->reason, "peer_lost") == 0);
    totals.pause_expired += (strcmp(r->reason, "pause_expired") == 0);
    totals.role += (strcmp(r->reason, "invalid_user_role") == 0);
}


static void
audit_world(world_t *w, FILE *oracle)
{
    int      i;
    int64_t  charged;

    charged = 0;

    for (i = 0; i < w->n; i++) {
        audit_session(w, &w->s[i], oracle);
        charged += w->s[i].row.charged;
    }

    holds(w, &w->s[0], w->held == 0);
    holds(w, &w->s[0], w->balance == w->first + w->came - w->went - charged);

    totals.worlds++;
}


#endif /* _SIM_AUDIT_H_INCLUDED_ */
