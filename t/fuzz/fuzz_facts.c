
/*
 * Copyright (C) The Astro authors
 *
 * What comes from SQL as text, "intervals|segments|numbers": whatever it is,
 * it is read or refused, and what the engine then decides keeps its promises.
 */

#include "fuzz.h"

#include "engine.h"
#include "intervals.h"
#include "text.h"


#define NUMBERS  16


static const billing_settings_t  settings = {
    .tick_ms = 15000,
    .ahead_ms = 60000,
    .low_ms = 120000,
    .ring_ms = 45000,
    .grace_ms = 60000
};


static void
decide(billing_facts_t *f, const int64_t *v)
{
    int64_t             amount, more;
    billing_decision_t  d;

    f->state = (astro_session_state_e) ((uint64_t) v[0] % 10);
    f->tariff.rate = v[1];
    f->tariff.commission_bps = (int32_t) (v[2] & 0x7fff);
    f->tariff.whole_minute = (uint8_t) (v[3] & 1);
    f->payer = (v[3] & 2) == 0;
    f->tariff.min_minor = v[4];
    f->tariff.free_ms = v[5];
    f->tariff.max_minor = v[6];
    f->max_ms = v[7] ? v[7] : BILLING_NONE;
    f->end_ms = v[8] ? v[8] : BILLING_NONE;
    f->paid_until_ms = v[9] ? v[9] : BILLING_NONE;
    f->active_ms = f->paid_until_ms;
    f->billed_ms = v[10];
    f->held = v[11];
    f->wallet_held = v[11];
    f->balance = v[12];
    f->now_ms = f->lease_ms = f->est_ms = v[13];
    f->tick_ms = BILLING_NONE;
    f->silence_ms = v[14] & 0xffff;

    /* books that agree are looked into deeper */

    if (billing_tariff_charged(&f->tariff, f->billed_ms, &f->charged)
        != BILLING_OK
        || billing_tariff_fee(&f->tariff, f->charged, &f->fee) != BILLING_OK
        || billing_engine_decide(f, &settings, &d) != BILLING_OK)
    {
        return;
    }

    must(d.wait_ms > 0);
    must(d.amount >= 0 && d.fee >= 0 && d.fee <= d.amount);
    must(d.held >= 0);
    must(d.amount + d.held - f->held <= f->balance - f->wallet_held);
    must(d.billed_ms >= f->billed_ms);

    must(billing_tariff_charged(&f->tariff, d.billed_ms, &amount) == 0);
    must(amount == f->charged + d.amount);

    must(billing_tariff_reach(&f->tariff, amount, &more) == 0);
    must(more >= d.billed_ms || f->tariff.max_minor != 0);
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char             *text, *rest, *numbers;
    size_t            n, nsegments, sizes[2] = { 0, 0 };
    int64_t           v[NUMBERS] = { 0 };
    const char       *p;
    billing_facts_t   f;

    text = malloc(size + 1);
    must(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';

    memset(&f, 0, sizeof(billing_facts_t));

    rest = strchr(text, '|');

    if (rest != NULL) {
        *rest++ = '\0';
        numbers = strchr(rest, '|');

        if (numbers != NULL) {
            *numbers++ = '\0';
            p = numbers;

            for (n = 0; n < NUMBERS; n++) {
                if (billing_text_next(&p, &v[n]) != 1) {
                    break;
                }
            }
        }
    }

    if (billing_intervals_parse(text, &f.intervals, &sizes[0], &n) == 0) {
        f.n = n;

        if (rest != NULL
            && billing_segments_parse(rest, &f.segments, &sizes[1],
                                      &nsegments) == 0)
        {
            f.nsegments = nsegments;
        }

        decide(&f, v);
    }

    free(f.intervals);
    free(f.segments);
    free(text);

    return 0;
}
