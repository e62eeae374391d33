
/*
 * Copyright (C) The Astro authors
 *
 * The ring between two threads: the order of loads and stores, under
 * ThreadSanitizer as well, and bells for consumers that sleep.
 */

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <time.h>

#include "unit_ring.h"


#ifdef TSAN
#define THREADS  40000      /* records between two threads */
#else
#define THREADS  400000
#endif


typedef struct {
    astro_ring_t        *ring;
    uint64_t             records;
    int                  bell;      /* an eventfd, or -1: no sleeping */
    uint64_t             naps;
    uint64_t             bells;
} pair_t;


static void *
produce(void *data)
{
    void      *p;
    size_t     len;
    pair_t    *pair = data;
    uint64_t   i, state, one;

    state = 42;
    one = 1;

    for (i = 1; i <= pair->records; i++) {
        len = random_len(&state, astro_ring_max_record(pair->ring));

        while ((p = astro_ring_reserve(pair->ring, len)) == NULL) {
            sched_yield();
        }

        fill(p, i, len);

        if (astro_ring_commit(pair->ring, len)) {
            pair->bells++;

            if (pair->bell != -1 && write(pair->bell, &one, 8) != 8) {
                return data;
            }
        }

        if (pair->bell != -1 && state >> 59 == 0) {
            /* let it fall asleep */
            sched_yield();
            usleep((useconds_t) (state >> 40) % 50);
        }
    }

    return NULL;
}


/* Sleeps on the bell alone: one that is not rung stops it for good. */

static uint64_t
consume(pair_t *pair)
{
    size_t          len;
    uint64_t        expect, rings;
    const void     *p;
    struct pollfd   pfd;

    expect = 1;

    while (expect <= pair->records) {
        p = astro_ring_peek(pair->ring, &len);

        if (p) {

            if (len == 0 || read_mark(p, len) != expect) {
                return expect;
            }

            astro_ring_release(pair->ring);
            expect++;
            continue;
        }

        if (pair->bell == -1) {
            sched_yield();
            continue;
        }

        if (!astro_ring_idle(pair->ring)) {
            continue;
        }

        pair->naps++;

        pfd.fd = pair->bell;
        pfd.events = POLLIN;

        if (poll(&pfd, 1, 10000) != 1 || read(pair->bell, &rings, 8) != 8) {
            return expect;
        }
    }

    return 0;
}


START_TEST(threads)
{
    void       *failed;
    pair_t      pair;
    uint64_t    wrong;
    pthread_t   thread;

    memset(&pair, 0, sizeof(pair_t));

    pair.ring = make_ring(SIZE);
    pair.records = THREADS * unit_effort;
    pair.bell = -1;

    ck_assert_int_eq(pthread_create(&thread, NULL, produce, &pair), 0);

    wrong = consume(&pair);
    ck_assert_msg(wrong == 0, "at record %" PRIu64, wrong);

    (void) pthread_join(thread, &failed);
    ck_assert_uint_eq(astro_ring_used(pair.ring), 0);
}
END_TEST


START_TEST(sleeping)
{
    void       *failed;
    pair_t      pair;
    uint64_t    wrong;
    pthread_t   thread;

    memset(&pair, 0, sizeof(pair_t));

    pair.ring = make_ring(SIZE);
    pair.records = THREADS / 4 * unit_effort;
    pair.bell = eventfd(0, EFD_NONBLOCK);

    ck_assert_int_ne(pair.bell, -1);
    ck_assert_int_eq(pthread_create(&thread, NULL, produce, &pair), 0);

    wrong = consume(&pair);
    ck_assert_msg(wrong == 0, "slept through record %" PRIu64, wrong);

    (void) pthread_join(thread, &failed);
    ck_assert_ptr_null(failed);

    /* it did sleep, and bells were not rung for nothing */

    ck_assert_uint_gt(pair.naps, 10);
    ck_assert_uint_le(pair.bells, pair.records);
}
END_TEST


/*
 * The bell alone, as fast as it goes: both sides meet at the moment at which
 * one falls asleep and the other commits.  The bell is a word here.
 */

typedef struct {
    astro_ring_t        *ring;
    _Atomic uint64_t     bell;
    uint64_t             records;
} dozer_t;


static void *
wake(void *data)
{
    void      *p;
    dozer_t   *d = data;
    uint64_t   i, state, spin;

    state = 7;

    for (i = 1; i <= d->records; i++) {
        state = state * 6364136223846793005ULL + 1442695040888963407ULL;

        /*
         * Two by two: the second about when the first was handled and sleep is
         * near; and then nothing, until it was handled, too.
         */

        if (i & 1) {
            for (spin = 1; astro_ring_used(d->ring); spin++) {

                if (spin % 4096 == 0) {
                    sched_yield();
                }
            }

        } else {
            for (spin = state >> 56; spin; spin--) {
                __asm__ volatile("" ::: "memory");
            }
        }

        while ((p = astro_ring_reserve(d->ring, 8)) == NULL) {
            sched_yield();
        }

        memcpy(p, &i, 8);

        if (astro_ring_commit(d->ring, 8)) {
            atomic_fetch_add(&d->bell, 1);
        }
    }

    return NULL;
}


START_TEST(dozing)
{
    size_t            len;
    dozer_t           d;
    uint64_t          expect, n, heard;
    pthread_t         thread;
    const void       *p;
    struct timespec   now, since;

    memset(&d, 0, sizeof(dozer_t));

    d.ring = make_ring(SIZE);
    d.records = THREADS * 2 * unit_effort;

    ck_assert_int_eq(pthread_create(&thread, NULL, wake, &d), 0);

    heard = 0;

    for (expect = 1; expect <= d.records; /* void */ ) {
        p = astro_ring_peek(d.ring, &len);

        if (p) {
            memcpy(&n, p, 8);
            must(len == 8 && n == expect);
            astro_ring_release(d.ring);
            expect++;
            continue;
        }

        if (!astro_ring_idle(d.ring)) {
            continue;
        }

        /* asleep: only the bell wakes */

        (void) clock_gettime(CLOCK_MONOTONIC, &since);

        for (n = 1; atomic_load(&d.bell) == heard; n++) {

            if (n % 4096) {
                continue;
            }

            sched_yield();
            (void) clock_gettime(CLOCK_MONOTONIC, &now);
            ck_assert_msg(now.tv_sec - since.tv_sec < 5
                          || astro_ring_used(d.ring) == 0,
                          "slept through record %" PRIu64, expect);
        }

        heard = atomic_load(&d.bell);
    }

    (void) pthread_join(thread, NULL);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("ring_threads");

    unit_add(s, "threads", threads);
    unit_add(s, "sleeping", sleeping);
    unit_add(s, "dozing", dozing);

    return unit_main(s);
}
