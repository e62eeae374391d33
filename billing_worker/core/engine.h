
/*
 * Copyright (C) The Astro authors
 *
 * The engine: from what is known of one session to what shall be done about
 * it now, and when to look again.  No I/O, no clock, no memory of its own.
 *
 * A decision is a proposal: billing.apply() carries it out only if the session
 * is still at the version and charge number it was made for, the wallet can
 * bear it, and the shard is still ours.  Otherwise the facts are read again
 * and decided again, so a decision may be lost or come late, never wrong.
 *
 * Four measures of the time both were there, in ms:
 *   proven     by what leases prove and by closed intervals, not beyond
 *              paid_until, nor beyond a switch of the mode before which more
 *              may come to light: only this is ever charged
 *   possible   the same if every open interval just goes on: nothing that
 *              comes to light later can make it more
 *   capacity   what charged + held pay for
 *   reach      what charged + held + available pay for
 *
 * The money is spent when reach <= proven, it is not when reach > possible;
 * in between the gateways must speak first.
 */

#ifndef _BILLING_ENGINE_H_INCLUDED_
#define _BILLING_ENGINE_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>

#include "astro_session.h"
#include "proof.h"
#include "segments.h"
#include "tariff.h"


/* SQL's NULL where an instant or a maximum is expected */
#define BILLING_NONE  INT64_MIN


typedef struct {
    int64_t                 tick_ms;        /* length of the grid */
    int64_t                 ahead_ms;       /* how far ahead money is held */
    int64_t                 low_ms;         /* warn at this much left */
    int64_t                 ring_ms;        /* ringing ends as missed */
    int64_t                 grace_ms;       /* to come (back) in time */
    int64_t                 apart_ms;       /* all of it; 0: no limit */
    int64_t                 pause_ms;       /* paused by a party; 0: the same */
} billing_settings_t;

typedef struct {
    int64_t                 id;
    int32_t                 ver;
    int32_t                 charge_no;

    astro_session_state_e   state;
    billing_tariff_t        tariff;

    int64_t                 state_ms;       /* when state was entered */
    int64_t                 max_ms;         /* or BILLING_NONE, as below;
                                               max_minor is the tariff's */
    int64_t                 end_ms;
    int64_t                 active_ms;
    int64_t                 paid_until_ms;

    int64_t                 billed_ms;
    int64_t                 charged;
    int64_t                 fee;
    int64_t                 held;

    int64_t                 balance;        /* of the client's wallet */
    int64_t                 wallet_held;

    int64_t                 now_ms;         /* the database's clock */
    int64_t                 lease_ms;       /* the leases', as renewed last */
    int64_t                 est_ms;         /* the leases', by now, guessed */
    int64_t                 silence_ms;     /* how far leases prove behind */
    int64_t                 tick_ms;        /* the grid point to come; NONE */

    billing_interval_t     *intervals;      /* in any order: decide() sorts */
    size_t                  n;
    billing_segment_t      *segments;       /* in order; decide() places them
                                               and gives them to the tariff */
    size_t                  nsegments;

    unsigned                unpaid:1;       /* paused for want of money */
    unsigned                payer:1;        /* the client is a client */
    unsigned                capped:1;       /* the tariff's max_minor is what
                                               the client's caps leave */
    unsigned                low_sent:1;
} billing_facts_t;

typedef struct {
    /* the session's new columns; money that moves is amount, of it fee */
    astro_session_state_e   state;
    const char             *reason;         /* NULL: as state says; or
                                               what is wrong, see below */
    int64_t                 end_ms;
    int64_t                 active_ms;
    int64_t                 paid_until_ms;
    int64_t                 billed_ms;
    int64_t                 amount;
    int64_t                 fee;
    int64_t                 held;

    int64_t                 left_ms;        /* what the money will do for */
    int64_t                 tick_ms;        /* the grid point to come; NONE */
    int64_t                 wait_ms;        /* look again at the latest then */

    unsigned                apply:1;        /* something is to be written */
    unsigned                low_sent:1;
    unsigned                settle:1;       /* release, credit, tell, done */

    /* whom to tell what, once committed */
    unsigned                tick:1;
    unsigned                low:1;
    unsigned                ended:1;
} billing_decision_t;


/*
 * What the client's spend caps leave for this session (0: there are none) is a
 * maximum beside the client's own: the lower one counts, and says why it ended.
 */
void billing_engine_cap(billing_facts_t *f, int64_t cap_minor);

/*
 * BILLING_ERROR: the facts contradict each other (the charge is not what the
 * tariff says of billed_ms, more is held than the wallet holds, a number is
 * out of all bounds); nothing may be done with this session.  d->reason says
 * which, nothing else of d is set.
 */
int billing_engine_decide(billing_facts_t *f, const billing_settings_t *s,
    billing_decision_t *d);


#endif /* _BILLING_ENGINE_H_INCLUDED_ */
