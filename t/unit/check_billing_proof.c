
/*
 * Copyright (C) The Astro authors
 *
 * Proof of presence against a marker for each millisecond; the timer heap
 * against a sorted array; the belief about shard leases.
 */

#include "unit.h"
#include "heap.h"
#include "leases.h"
#include "proof.h"
#include "tariff.h"


#define SPAN   4000
#define NODES  400


static int64_t
up_to(int64_t max)
{
    return (int64_t) (unit_random() % ((uint64_t) max + 1));
}


START_TEST(known)
{
    billing_interval_t  iv[] = {
        { 1000, 9000, BILLING_CLIENT, 0, 0 },
        { 2000, 5000, BILLING_ADVISOR, 0, 0 },
        { 4000, 6000, BILLING_ADVISOR, 0, 0 },
        { 8000, 8500, BILLING_ADVISOR, 1, 0 }
    };

    billing_proof_sort(iv, 4);

    ck_assert_int_eq(billing_proof_measure(iv, 4, BILLING_NEVER, 0), 4500);
    ck_assert_int_eq(billing_proof_measure(iv, 4, BILLING_NEVER, 1), 5000);
    ck_assert_int_eq(billing_proof_measure(iv, 4, 5500, 0), 3500);
    ck_assert_int_eq(billing_proof_measure(iv, 4, 2000, 0), 0);
    ck_assert_int_eq(billing_proof_measure(iv, 0, 2000, 0), 0);

    ck_assert_int_eq(billing_proof_instant(iv, 4, 0, 0), 2000);
    ck_assert_int_eq(billing_proof_instant(iv, 4, 4000, 0), 6000);
    ck_assert_int_eq(billing_proof_instant(iv, 4, 4001, 0), 8001);
    ck_assert_int_eq(billing_proof_instant(iv, 4, 4501, 0), BILLING_NEVER);
    ck_assert_int_eq(billing_proof_instant(iv, 4, 4501, 1), 8501);
    ck_assert_int_eq(billing_proof_instant(iv, 0, 0, 1), BILLING_NEVER);

    ck_assert_uint_eq(billing_proof_present(iv, 4), 1u << BILLING_ADVISOR);
}
END_TEST


/* Absences against a marker for each millisecond. */

START_TEST(apart)
{
    int                  round, party, p;
    size_t               i, n;
    int64_t              t, until, sum;
    uint8_t              there[2][SPAN + 1], away[SPAN + 1];
    billing_interval_t  *one, iv[12];

    for (round = 0; round < (int) (2000 * unit_effort); round++) {

        n = (size_t) up_to(12);
        memset(there, 0, sizeof(there));
        memset(away, 0, sizeof(away));

        for (i = 0; i < n; i++) {
            one = &iv[i];
            party = (int) up_to(1);
            one->party = (uint8_t) party;
            one->from_ms = up_to(SPAN - 1);
            one->to_ms = one->from_ms + up_to(SPAN - one->from_ms);
            one->open = up_to(9) == 0;
            one->unpaid = !one->open && up_to(3) == 0;

            for (t = one->from_ms; t < (one->open ? SPAN : one->to_ms); t++) {
                there[party][t] = 1;
            }

            if (one->unpaid) {
                away[one->to_ms] = 1;
            }
        }

        billing_proof_sort(iv, n);
        until = up_to(SPAN);

        /* p: 0 before they met, 1 both there, 2 apart, 3 sent away */

        for (sum = 0, p = 0, t = 0; t < until; t++) {

            if (there[0][t] && there[1][t]) {
                p = 1;
                continue;
            }

            if (p == 1) {
                p = away[t] ? 3 : 2;
            }

            sum += p == 2;
        }

        ck_assert_int_eq(billing_proof_apart(iv, n, until), sum);
    }
}
END_TEST


START_TEST(against_markers)
{
    int                  round, project, party;
    size_t               i, n;
    int64_t              t, cut, sum, to, at[SPAN + 1];
    uint8_t              mark[2][SPAN];
    billing_interval_t   iv[12];

    for (round = 0; round < 4000; round++) {
        n = (size_t) up_to(12);
        project = (int) up_to(1);

        memset(mark, 0, sizeof(mark));

        for (i = 0; i < n; i++) {
            party = (int) up_to(1);

            iv[i].party = (uint8_t) party;
            iv[i].from_ms = up_to(SPAN - 1);
            iv[i].to_ms = iv[i].from_ms
                          + up_to(up_to(3) ? 300 : SPAN - 1 - iv[i].from_ms);
            iv[i].open = (up_to(5) == 0);
            iv[i].unpaid = 0;

            if (iv[i].to_ms > SPAN) {
                iv[i].to_ms = SPAN;
            }

            to = (iv[i].open && project) ? SPAN : iv[i].to_ms;

            for (t = iv[i].from_ms; t < to; t++) {
                mark[party][t] = 1;
            }
        }

        billing_proof_sort(iv, n);

        cut = up_to(SPAN);
        sum = 0;

        for (t = 0; t < SPAN; t++) {
            at[t] = sum;

            if (mark[0][t] && mark[1][t]) {
                sum++;
            }
        }

        at[SPAN] = sum;

        must(billing_proof_measure(iv, n, cut, project) == at[cut]);

        /* the first instant by which so much has come together */

        for (sum = 1; sum <= at[SPAN]; sum += 1 + up_to(50)) {

            for (t = 0; at[t] < sum; t++) { /* void */ }

            must(billing_proof_instant(iv, n, sum, project) == t);
        }

        if (!project) {
            must(billing_proof_instant(iv, n, at[SPAN] + 1, 0)
                 == BILLING_NEVER);
        }
    }
}
END_TEST


START_TEST(heap)
{
    int                   round, i, k, least;
    billing_heap_t        h;
    billing_heap_node_t  *min, nodes[NODES];

    billing_heap_init(&h);
    memset(nodes, 0, sizeof(nodes));

    must(billing_heap_min(&h) == NULL);

    for (round = 0; round < 200000; round++) {
        i = (int) up_to(NODES - 1);

        switch (up_to(3)) {

        case 0:
            billing_heap_remove(&h, &nodes[i]);
            must(nodes[i].place == 0);
            break;

        case 1:
            min = billing_heap_min(&h);

            if (min != NULL) {
                billing_heap_remove(&h, min);
            }

            break;

        default:
            must(billing_heap_set(&h, &nodes[i], up_to(1000)) == BILLING_OK);
        }

        if (round % 16) {
            continue;
        }

        least = -1;

        for (k = 0; k < NODES; k++) {
            if (nodes[k].place == 0) {
                continue;
            }

            must(h.nodes[nodes[k].place - 1] == &nodes[k]);

            if (least == -1 || nodes[k].key < nodes[least].key) {
                least = k;
            }
        }

        min = billing_heap_min(&h);

        if (least == -1) {
            must(min == NULL);

        } else {
            must(min->key == nodes[least].key);
        }
    }

    billing_heap_free(&h);

    for (k = 0; k < NODES; k++) {
        must(nodes[k].place == 0);
    }
}
END_TEST


static int
by_key(const void *one, const void *two)
{
    const int64_t  *a = one, *b = two;

    return (*a > *b) - (*a < *b);
}


START_TEST(heap_sorts)
{
    int                   i, round;
    int64_t               keys[NODES];
    billing_heap_t        h;
    billing_heap_node_t  *min, nodes[NODES];

    for (round = 0; round < 200; round++) {
        billing_heap_init(&h);
        memset(nodes, 0, sizeof(nodes));

        /* many are due at one time */

        for (i = 0; i < NODES; i++) {
            nodes[i].rank = up_to(5000);
            must(billing_heap_set(&h, &nodes[i], up_to(NODES / 8))
                 == BILLING_OK);
        }

        for (i = 0; i < NODES; i += 3) {
            must(billing_heap_set(&h, &nodes[i], up_to(NODES / 8))
                 == BILLING_OK);
        }

        for (i = 0; i < NODES; i++) {
            keys[i] = nodes[i].key * 10000 + nodes[i].rank;
        }

        qsort(keys, NODES, sizeof(int64_t), by_key);

        for (i = 0; i < NODES; i++) {
            min = billing_heap_min(&h);
            must(min->key * 10000 + min->rank == keys[i]);
            billing_heap_remove(&h, min);
        }

        must(billing_heap_min(&h) == NULL);
        billing_heap_free(&h);
    }
}
END_TEST


START_TEST(leases)
{
    uint8_t           gained[BILLING_SHARDS], lost[BILLING_SHARDS];
    billing_lease_t   one[] = { { 3, 7 }, { 255, 1 } };
    billing_lease_t   two[] = { { 3, 8 }, { 4, 1 } };
    billing_lease_t   bad[] = { { 5, 1 }, { 256, 1 } };
    billing_leases_t  l;

    billing_leases_init(&l);
    ck_assert_int_eq(billing_leases_epoch(&l, 3, 0), 0);

    ck_assert_int_eq(billing_leases_renewed(&l, 1000, one, 2, gained, lost),
                     BILLING_OK);
    ck_assert_uint_eq(l.owned, 2);
    ck_assert_uint_eq(gained[3], 1);
    ck_assert_uint_eq(gained[255], 1);
    ck_assert_uint_eq(gained[4], 0);
    ck_assert_int_eq(billing_leases_epoch(&l, 3, 1000), 7);
    ck_assert_int_eq(billing_leases_epoch(&l, 255, 1000), 1);
    ck_assert_int_eq(billing_leases_epoch(&l, 4, 1000), 0);
    ck_assert_int_eq(billing_leases_epoch(&l, -1, 1000), 0);
    ck_assert_int_eq(billing_leases_epoch(&l, 256, 1000), 0);

    /* the instant the renewal was sent + TTL - margin: no more trust */

    ck_assert_int_eq(billing_leases_epoch(&l, 3, 3499), 7);
    ck_assert_int_eq(billing_leases_epoch(&l, 3, 3500), 0);

    /* what is not in the reply is lost; a new epoch is a new beginning */

    ck_assert_int_eq(billing_leases_renewed(&l, 2000, two, 2, gained, lost),
                     BILLING_OK);
    ck_assert_uint_eq(gained[3], 1);
    ck_assert_uint_eq(gained[4], 1);
    ck_assert_uint_eq(lost[255], 1);
    ck_assert_uint_eq(lost[3], 0);
    ck_assert_int_eq(billing_leases_epoch(&l, 3, 4499), 8);
    ck_assert_int_eq(billing_leases_epoch(&l, 255, 2000), 0);

    ck_assert_int_eq(billing_leases_renewed(&l, 2500, two, 2, gained, lost),
                     BILLING_OK);
    ck_assert_uint_eq(gained[3], 0);
    ck_assert_uint_eq(lost[3], 0);

    ck_assert_int_eq(billing_leases_renewed(&l, 9000, bad, 2, gained, lost),
                     BILLING_ERROR);
    ck_assert_int_eq(billing_leases_epoch(&l, 5, 9000), 0);
    ck_assert_int_eq(billing_leases_epoch(&l, 3, 4999), 8);

    billing_leases_drop(&l);
    ck_assert_int_eq(billing_leases_epoch(&l, 3, 2500), 0);
    ck_assert_uint_eq(l.owned, 0);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("billing_proof");

    unit_add(s, "known", known);
    unit_add(s, "apart", apart);
    unit_add(s, "against_markers", against_markers);
    unit_add(s, "heap", heap);
    unit_add(s, "heap_sorts", heap_sorts);
    unit_add(s, "leases", leases);

    return unit_main(s);
}
