
/*
 * Copyright (C) The Astro authors
 *
 * The simulator of check_billing_sim.c: a world in virtual time with one
 * wallet, up to four sessions on it, gateways, a database and two billing
 * workers.  What it is made of:
 *
 *     sim_db.h        the database: rows that change only as the functions of
 *                     SQL change them; it knows nothing of how it is decided
 *     sim_gateway.h   gateways that renew, freeze and die, and the parties
 *     sim_worker.h    the workers: they read, decide, write, and remember
 *     sim_audit.h     what must be true of a session when it is over
 *
 * Each is included once, in this order: everything is static.
 */

#ifndef _SIM_H_INCLUDED_
#define _SIM_H_INCLUDED_


#include "unit.h"
#include "engine.h"
#include "purse.h"


#define STEP         20         /* ms of virtual time */
#define T0           INT64_C(1763690000000)
#define GATEWAYS     24
#define SESSIONS     4
#define INTERVALS    192
#define SEGMENTS     12
#define CHARGES      1024
#define WORKERS      2
#define SILENCE      8000
#define REAP         5000
#define LEASE_TTL    3000
#define LEASE_GUARD  500
#define NOBODY       -1
#define OPEN         -1         /* close of an interval that is not closed */

#define PLAIN        0
#define UNPAID       1
#define PAUSED       2


typedef struct {
    int64_t                born;            /* true time */
    int64_t                skew;            /* of started_ms */
    int64_t                next_renew;
    int64_t                frozen_until;
    int64_t                deaf_until;      /* it hears no news */
    int                    alive;

    /* what it knows of each session */
    int64_t                known_paid[SESSIONS];
    int                    known_ver[SESSIONS];
    int                    known_pauses[SESSIONS];
    astro_session_state_e  known_state[SESSIONS];

    /* the row */
    int64_t                life;
    int64_t                renewed;         /* true time */
    int                    closed;
} gateway_t;

typedef struct {
    int                    party;
    int                    gw;
    int64_t                open;            /* life_ms */
    int64_t                close;           /* OPEN, or in the row */
    int64_t                cut;             /* OPEN, or by a pause */
    int                    reason;

    int64_t                pending;         /* OPEN, or the closing to flush */
    int                    pending_reason;
} row_t;

typedef struct {
    int                    gw;              /* NOBODY: not connected */
    int                    row;             /* its interval, or NOBODY */
    int                    cut;             /* by its gateway, unpaid */
    int64_t                back_at;         /* true time */
} party_t;

/* a party that is gone, its gateway not having noticed yet */
typedef struct {
    int                    row;
    int64_t                last;            /* life_ms of the last byte */
    int64_t                notice_at;
} ghost_t;

/* a session's row, with its intervals and segments */
typedef struct {
    int64_t                state_ms, max_ms, end_ms, active_ms, paid_until;
    int64_t                billed, charged, fee, held, credited;
    int                    ver, rev, charge_no, low_sent, settled, payer;
    int64_t                cap;             /* cap_minor; 0: none */
    int                    pauses;
    astro_session_state_e  state;
    const char            *reason;
    billing_tariff_t       tariff;
    billing_segment_t      segments[SEGMENTS];
    size_t                 nsegments;
    row_t                  rows[INTERVALS];
    int                    nrows;
} session_row_t;

typedef struct {
    session_row_t          row;

    party_t                party[2];
    ghost_t                ghosts[8];
    int                    nghosts;

    /* what the journal says */
    int64_t                at[CHARGES];     /* billed_ms after it */
    int64_t                amount[CHARGES];
    int64_t                part[CHARGES];   /* of it the platform's */
    int                    ncharges;

    int64_t                funds;           /* at its end */
    int64_t                ignorant;        /* ms of a gateway in the dark */
    int                    nudged;          /* somebody told the worker */
    int                    strict;          /* gateways cut in any state */
    int                    ended;           /* session_end events */
    int                    lows;
    int                    low_reliefs;
} session_t;

typedef struct {
    uint64_t               seed;
    uint64_t               random;
    int64_t                t;               /* true time */
    int64_t                away_until;      /* the database */
    int64_t                clock;           /* how far its clock is off */

    gateway_t              gw[GATEWAYS];
    int                    ngw;
    session_t              s[SESSIONS];
    int                    n;

    /* the wallet's row; what came and went besides sessions */
    int64_t                balance;
    int64_t                held;
    int64_t                first;
    int64_t                came;
    int64_t                went;

    int                    reliefs;         /* what may give a session time */

    /* the shard's row */
    int                    owner;
    int64_t                epoch;
    int64_t                expires;         /* by the database's clock */
    int                    unfenced;        /* the fence does nothing */
    int                    gives_up;        /* connections with late batches */
    int                    idles;           /* often, and ticks cost nothing */
} world_t;


#define holds(world, one, cond)                                               \
    do {                                                                      \
        if (!(cond)) {                                                        \
            ck_abort_msg("%s: ASTRO_SIM=%" PRIu64 " at %" PRId64 " ms, "      \
                         "session %d, %s", #cond, (world)->seed,              \
                         (world)->t - T0, (int) ((one) - (world)->s),         \
                         (one)->row.reason ? (one)->row.reason                \
                                           : "not ended");                    \
        }                                                                     \
    } while (0)


static uint64_t
sim_next(world_t *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;

    return w->random * UINT64_C(2685821657736338717);
}


static int64_t
sim_up_to(world_t *w, int64_t max)
{
    return (int64_t) (sim_next(w) % ((uint64_t) max + 1));
}


static int
sim_one_in(world_t *w, int64_t n)
{
    return sim_up_to(w, n - 1) == 0;
}


/* true about once in that many seconds of virtual time */

static int
sim_once_in(world_t *w, int64_t seconds)
{
    return sim_one_in(w, seconds * 1000 / STEP);
}


/* The database's clock: it jumps. */

static int64_t
sim_clock(world_t *w)
{
    return w->t + w->clock;
}


static int64_t
sim_life(world_t *w, int g)
{
    return w->t - w->gw[g].born;
}


/* The instant of life 0 on the timeline. */

static int64_t
sim_started(world_t *w, int g)
{
    return w->gw[g].born + w->gw[g].skew;
}


/* Where an interval ends by its row; open: where it would, closed at life. */

static int64_t
sim_end(const row_t *r, int64_t life)
{
    life = (r->close == OPEN) ? life : r->close;
    life = (r->cut != OPEN && life > r->cut) ? r->cut : life;

    return (life > r->open) ? life : r->open;
}


static int
sim_works(world_t *w, int g)
{
    return w->gw[g].alive && w->t >= w->gw[g].frozen_until;
}


#endif /* _SIM_H_INCLUDED_ */
