
/*
 * Copyright (C) The Astro authors
 *
 * From a row of billing.facts3() to what the engine decides from.
 */

#include <stdlib.h>
#include <string.h>

#include "batch.h"
#include "intervals.h"
#include "segments.h"


/* the columns of billing.facts3() */
enum {
    BILLING_FACTS_ID = 0,
    BILLING_FACTS_VER,
    BILLING_FACTS_SHARD,
    BILLING_FACTS_CHARGE_NO,
    BILLING_FACTS_STATE,
    BILLING_FACTS_REASON,
    BILLING_FACTS_CLIENT,
    BILLING_FACTS_ADVISOR,
    BILLING_FACTS_CONV,
    BILLING_FACTS_WALLET,
    BILLING_FACTS_RATE,
    BILLING_FACTS_COMMISSION,
    BILLING_FACTS_MAX,
    BILLING_FACTS_STATE_MS,
    BILLING_FACTS_END,
    BILLING_FACTS_ACTIVE,
    BILLING_FACTS_PAID_UNTIL,
    BILLING_FACTS_BILLED,
    BILLING_FACTS_CHARGED,
    BILLING_FACTS_FEE,
    BILLING_FACTS_HELD,
    BILLING_FACTS_LOW_SENT,
    BILLING_FACTS_PAYER,
    BILLING_FACTS_BALANCE,
    BILLING_FACTS_WALLET_HELD,
    BILLING_FACTS_NOW,
    BILLING_FACTS_LEASE,
    BILLING_FACTS_EST,
    BILLING_FACTS_SILENCE,
    BILLING_FACTS_INTERVALS,
    BILLING_FACTS_WHOLE_MINUTE,
    BILLING_FACTS_MIN_MINOR,
    BILLING_FACTS_FREE,
    BILLING_FACTS_MAX_MINOR,
    BILLING_FACTS_SEGMENTS,
    BILLING_FACTS_REV,
    BILLING_FACTS_PROMO,
    BILLING_FACTS_GATEWAYS,
    BILLING_FACTS_CAP_MINOR,
    BILLING_FACTS_COLUMNS
};


static int64_t billing_facts_int(const PGresult *res, int row, int column);
static int billing_facts_gateways(billing_worker_t *w, const char *text,
    size_t n);


int64_t
billing_facts_id(const PGresult *res, int row)
{
    return billing_pg_int(res, row, BILLING_FACTS_ID, 0);
}


int64_t
billing_facts_now(const PGresult *res, int row)
{
    return billing_facts_int(res, row, BILLING_FACTS_NOW);
}


int
billing_facts_read(billing_worker_t *w, const PGresult *res, int row,
    billing_facts_t *f, billing_plan_t *p)
{
    size_t       len;
    const char  *text;

    if (PQnfields(res) != BILLING_FACTS_COLUMNS) {
        return BILLING_ERROR;
    }

    memset(f, 0, sizeof(billing_facts_t));

    text = PQgetvalue(res, row, BILLING_FACTS_STATE);
    len = (size_t) PQgetlength(res, row, BILLING_FACTS_STATE);
    f->state = astro_session_state_parse((const uint8_t *) text, len);
    f->unpaid = (strcmp(PQgetvalue(res, row, BILLING_FACTS_REASON), "unpaid")
                 == 0);

    f->id = billing_facts_int(res, row, BILLING_FACTS_ID);
    f->ver = (int32_t) billing_facts_int(res, row, BILLING_FACTS_VER);
    f->charge_no = (int32_t) billing_facts_int(res, row,
                                               BILLING_FACTS_CHARGE_NO);
    f->tariff.rate = billing_facts_int(res, row, BILLING_FACTS_RATE);
    f->tariff.commission_bps = (int32_t) billing_facts_int(res, row,
                                                  BILLING_FACTS_COMMISSION);
    f->tariff.whole_minute = (billing_pg_bool(res, row,
                                         BILLING_FACTS_WHOLE_MINUTE) != 0);
    f->tariff.min_minor = billing_facts_int(res, row,
                                            BILLING_FACTS_MIN_MINOR);
    f->tariff.free_ms = billing_facts_int(res, row, BILLING_FACTS_FREE);
    f->tariff.max_minor = billing_pg_int(res, row, BILLING_FACTS_MAX_MINOR,
                                         0);
    billing_engine_cap(f, billing_pg_int(res, row, BILLING_FACTS_CAP_MINOR,
                                         0));
    f->max_ms = billing_facts_int(res, row, BILLING_FACTS_MAX);
    f->state_ms = billing_facts_int(res, row, BILLING_FACTS_STATE_MS);
    f->end_ms = billing_facts_int(res, row, BILLING_FACTS_END);
    f->active_ms = billing_facts_int(res, row, BILLING_FACTS_ACTIVE);
    f->paid_until_ms = billing_facts_int(res, row, BILLING_FACTS_PAID_UNTIL);
    f->billed_ms = billing_facts_int(res, row, BILLING_FACTS_BILLED);
    f->charged = billing_facts_int(res, row, BILLING_FACTS_CHARGED);
    f->fee = billing_facts_int(res, row, BILLING_FACTS_FEE);
    f->held = billing_facts_int(res, row, BILLING_FACTS_HELD);
    f->low_sent = (billing_pg_bool(res, row, BILLING_FACTS_LOW_SENT) != 0);
    f->payer = (billing_pg_bool(res, row, BILLING_FACTS_PAYER) != 0);
    f->balance = billing_facts_int(res, row, BILLING_FACTS_BALANCE);
    f->wallet_held = billing_facts_int(res, row, BILLING_FACTS_WALLET_HELD);
    f->now_ms = billing_facts_now(res, row)
                - billing_jumps_since(&w->jumps, f->state_ms);

    /*
     * All other states begin by a gateway's clock, which does not leap: for as
     * long as it lives, what begins is that much behind the database's
     */

    if (f->state != ASTRO_SESSION_RINGING) {
        f->now_ms = billing_lives_now(w, f->now_ms);
    }

    f->lease_ms = billing_facts_int(res, row, BILLING_FACTS_LEASE);
    f->est_ms = billing_facts_int(res, row, BILLING_FACTS_EST);
    f->silence_ms = billing_facts_int(res, row, BILLING_FACTS_SILENCE);

    p->client = billing_facts_int(res, row, BILLING_FACTS_CLIENT);
    p->advisor = billing_facts_int(res, row, BILLING_FACTS_ADVISOR);
    p->conv = billing_facts_int(res, row, BILLING_FACTS_CONV);
    p->ver = f->ver;
    p->rev = (int32_t) billing_facts_int(res, row, BILLING_FACTS_REV);
    p->charge_no = f->charge_no;
    p->held = f->held;
    p->promo = billing_facts_int(res, row, BILLING_FACTS_PROMO);

    text = PQgetvalue(res, row, BILLING_FACTS_INTERVALS);

    if (billing_intervals_parse(text, &w->ticker.intervals,
                                &w->ticker.nintervals, &f->n)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    text = PQgetvalue(res, row, BILLING_FACTS_SEGMENTS);

    if (billing_segments_parse(text, &w->ticker.segments,
                               &w->ticker.nsegments, &f->nsegments)
        != BILLING_OK)
    {
        return BILLING_ERROR;
    }

    f->intervals = w->ticker.intervals;
    f->segments = w->ticker.segments;

    text = PQgetvalue(res, row, BILLING_FACTS_GATEWAYS);

    return billing_facts_gateways(w, text, f->n);
}


/* One for each interval; room for as many as there is for those. */

static int
billing_facts_gateways(billing_worker_t *w, const char *text, size_t n)
{
    size_t    i;
    int64_t  *gateways;

    if (w->ticker.ngateways < n) {
        gateways = realloc(w->ticker.gateways,
                           w->ticker.nintervals * sizeof(int64_t));
        if (gateways == NULL) {
            return BILLING_ERROR;
        }

        w->ticker.gateways = gateways;
        w->ticker.ngateways = w->ticker.nintervals;
    }

    for (i = 0; i < n; i++) {
        if (billing_text_next(&text, &w->ticker.gateways[i]) != 1) {
            return BILLING_ERROR;
        }
    }

    return BILLING_OK;
}


static int64_t
billing_facts_int(const PGresult *res, int row, int column)
{
    return billing_pg_int(res, row, column, BILLING_NONE);
}
