
/*
 * Copyright (C) The Astro authors
 *
 * The ring.  Every record says its number and its length and is filled by a
 * rule, so that one that is torn, lost, repeated or out of turn is seen at
 * once: against a model, between two threads, and between processes of which
 * one or the other is killed at any instant and followed by a successor.
 */

#include <pthread.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "unit.h"

#include "astro_ring.h"


#define SIZE     4096
#define THREADS  400000     /* records between two threads */
#define KILLS    150        /* of each of the two processes */


/* in front of every record; the rest is bytes of (number + offset) */

typedef struct {
    uint64_t             number;
    uint64_t             len;
} mark_t;

typedef struct {
    astro_ring_t        *ring;
    uint64_t             records;
    int                  bell;      /* an eventfd, or -1: no sleeping */
    uint64_t             naps;
    uint64_t             bells;
} pair_t;

/* what outlives the processes that are killed */

typedef struct {
    _Atomic uint64_t     sent;      /* number of the record committed last */
    _Atomic uint64_t     seen;      /* number of the record handled last */
    _Atomic uint64_t     again;     /* times that one was handled twice */
    _Atomic uint64_t     wrong;
} tally_t;


static astro_ring_t *
make(size_t size)
{
    size_t         n;
    astro_ring_t  *ring;

    n = astro_ring_footprint(size);
    ck_assert_uint_ge(n, size);

    ring = mmap(NULL, n, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
                0);
    ck_assert_ptr_ne(ring, MAP_FAILED);

    astro_ring_init(ring, size);

    return ring;
}


static size_t
random_len(uint64_t *state, size_t max)
{
    *state = *state * 6364136223846793005ULL + 1442695040888963407ULL;

    if ((*state >> 60) == 0) {
        return max - (*state >> 40) % 16;
    }

    return sizeof(mark_t) + (*state >> 33) % 200;
}


static void
fill(void *p, uint64_t number, size_t len)
{
    size_t    i;
    mark_t    mark;
    uint8_t  *s;

    mark.number = number;
    mark.len = len;
    memcpy(p, &mark, sizeof(mark_t));

    s = p;

    for (i = sizeof(mark_t); i < len; i++) {
        s[i] = (uint8_t) (number + i);
    }
}


/* the record's number, or 0: it is not what was filled in */

static uint64_t
read_mark(const void *p, size_t len)
{
    size_t          i;
    mark_t          mark;
    const uint8_t  *s;

    if (len < sizeof(mark_t) || ((uintptr_t) p & 7)) {
        return 0;
    }

    memcpy(&mark, p, sizeof(mark_t));

    if (mark.len != len) {
        return 0;
    }

    s = p;

    for (i = sizeof(mark_t); i < len; i++) {

        if (s[i] != (uint8_t) (mark.number + i)) {
            return 0;
        }
    }

    return mark.number;
}


START_TEST(sizes)
{
    size_t         len;
    astro_ring_t  *ring;

    ck_assert_uint_eq(astro_ring_footprint(0), 0);
    ck_assert_uint_eq(astro_ring_footprint(2048), 0);
    ck_assert_uint_eq(astro_ring_footprint(4095), 0);
    ck_assert_uint_eq(astro_ring_footprint(5000), 0);
    ck_assert_uint_eq(astro_ring_footprint((size_t) 1 << 40), 0);
    ck_assert_uint_gt(astro_ring_footprint(131072), 131072);

    ring = make(SIZE);

    ck_assert_uint_eq(astro_ring_max_record(ring), SIZE / 4);
    ck_assert_ptr_null(astro_ring_reserve(ring, SIZE / 4 + 1));
    ck_assert_ptr_null(astro_ring_reserve(ring, SIZE_MAX));
    ck_assert_ptr_null(astro_ring_reserve(ring, 0));
    ck_assert_ptr_null(astro_ring_peek(ring, &len));
    ck_assert_uint_eq(astro_ring_used(ring), 0);

    /* as every other record, wherever the ring is */

    for (len = 0; len < 200; len++) {
        ck_assert_ptr_nonnull(astro_ring_reserve(ring, SIZE / 4));
        fill(astro_ring_reserve(ring, SIZE / 4), len + 1, SIZE / 4);
        (void) astro_ring_commit(ring, SIZE / 4);

        if (len % 3 == 0) {
            fill(astro_ring_reserve(ring, 17), 1, 17);
            (void) astro_ring_commit(ring, 17);
        }

        while (astro_ring_used(ring)) {
            size_t       n;
            const void  *p;

            p = astro_ring_peek(ring, &n);
            ck_assert_uint_ne(read_mark(p, n), 0);
            astro_ring_release(ring);
        }
    }
}
END_TEST


/* One thread against a list: also what is not visible, and how much fits. */

START_TEST(model)
{
    int            i, full;
    void          *p, *q;
    size_t         len, n, used;
    uint64_t       first, last, state, expect;
    const void    *r;
    astro_ring_t  *ring;

    ring = make(SIZE);

    first = 1;
    last = 0;
    full = 0;
    state = unit_random();

    for (i = 0; i < (int) (400000 * unit_effort); i++) {

        if (unit_below(2)) {
            len = random_len(&state, astro_ring_max_record(ring));

            p = astro_ring_reserve(ring, len);

            if (p == NULL) {
                full++;

                /* no room for this and, at worst, as much to the end */
                used = astro_ring_used(ring);
                must(used + 2 * (len + 15) > SIZE);
                continue;
            }

            /* the same place again, also after a smaller or larger one */

            (void) astro_ring_reserve(ring, 1 + unit_below(1000));

            q = astro_ring_reserve(ring, len);
            must(p == q);

            if (first > last) {
                must(astro_ring_peek(ring, &n) == NULL);
            }

            fill(p, last + 1, len);

            if (unit_below(8) == 0) {
                /* thought better of it */
                continue;
            }

            (void) astro_ring_commit(ring, len);
            last++;
            continue;
        }

        r = astro_ring_peek(ring, &n);

        if (first > last) {
            must(r == NULL);
            must(astro_ring_used(ring) == 0);
            continue;
        }

        expect = read_mark(r, n);
        must(expect == first);

        if (unit_below(8)) {
            astro_ring_release(ring);
            first++;
        }
    }

    ck_assert_int_gt(full, 0);
}
END_TEST


/* a record may turn out shorter than what was reserved for it */

START_TEST(shorter)
{
    int            i;
    void          *p;
    size_t         len, n;
    const void    *r;
    astro_ring_t  *ring;

    ring = make(SIZE);

    for (i = 1; i < 20000; i++) {
        n = 16 + unit_below(astro_ring_max_record(ring) - 15);
        p = astro_ring_reserve(ring, n);
        must(p != NULL);

        n = 16 + unit_below(n - 15);
        fill(p, (uint64_t) i, n);
        (void) astro_ring_commit(ring, n);

        r = astro_ring_peek(ring, &len);
        must(len == n && read_mark(r, len) == (uint64_t) i);
        astro_ring_release(ring);
        must(astro_ring_used(ring) == 0);
    }
}
END_TEST


/* one bell for each sleep, whatever else happens */

START_TEST(bells)
{
    size_t         len;
    astro_ring_t  *ring;

    ring = make(SIZE);

    /* a new ring: the consumer may sleep and not know of it */

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 0);

    ck_assert_int_eq(astro_ring_idle(ring), 0);

    while (astro_ring_peek(ring, &len)) {
        astro_ring_release(ring);
    }

    /* awake: none but the one for the sleep that was not slept */

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    (void) astro_ring_commit(ring, 16);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 0);

    while (astro_ring_peek(ring, &len)) {
        astro_ring_release(ring);
    }

    /* asleep, woken for nothing, asleep at the same place */

    ck_assert_int_eq(astro_ring_idle(ring), 1);
    ck_assert_int_eq(astro_ring_idle(ring), 1);

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);

    ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
    astro_ring_release(ring);
    ck_assert_int_eq(astro_ring_idle(ring), 1);
    ck_assert_int_eq(astro_ring_idle(ring), 1);

    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 0);

    /* the producer died before it rang: its successor does */

    astro_ring_adopt(ring);
    ck_assert_ptr_nonnull(astro_ring_reserve(ring, 16));
    ck_assert_int_eq(astro_ring_commit(ring, 16), 1);
}
END_TEST


/* Records that a fault wrote over: the ring empties itself and goes on. */

START_TEST(overwritten)
{
    int            i, n;
    size_t         len, at, bytes;
    uint8_t       *memory;
    const void    *p;
    astro_ring_t  *ring;

    bytes = astro_ring_footprint(SIZE);

    for (i = 0; i < 3000; i++) {
        ring = make(SIZE);
        memory = (uint8_t *) ring;

        for (n = (int) unit_below(30); n >= 0; n--) {

            if (astro_ring_reserve(ring, 200) == NULL) {
                astro_ring_release(ring);
            }

            p = astro_ring_reserve(ring, 200);

            if (p) {
                fill((void *) (uintptr_t) p, 1, 200);
                (void) astro_ring_commit(ring, 200);
            }

            if (unit_below(2) && astro_ring_peek(ring, &len)) {
                astro_ring_release(ring);
            }
        }

        /* not the indexes, which nobody could check */

        for (n = (int) unit_below(400); n >= 0; n--) {
            at = bytes - SIZE + unit_below(SIZE);
            memory[at] = (uint8_t) unit_random();
        }

        for (n = 0; n < 1000; n++) {
            p = astro_ring_peek(ring, &len);

            if (p == NULL) {
                break;
            }

            must(len <= SIZE / 4);
            must((const uint8_t *) p + len <= memory + bytes);
            astro_ring_release(ring);
        }

        must(n < 1000);
        must(astro_ring_used(ring) == 0);

        /* and works again */

        p = astro_ring_reserve(ring, 100);
        must(p != NULL);
        fill((void *) (uintptr_t) p, 7, 100);
        (void) astro_ring_commit(ring, 100);

        p = astro_ring_peek(ring, &len);
        must(p && len == 100 && read_mark(p, len) == 7);

        (void) munmap(ring, bytes);
    }
}
END_TEST


/* a record whose header is not its own is told, not read */

START_TEST(fault_is_told)
{
    void          *p;
    size_t         len;
    uint32_t       value;
    astro_ring_t  *ring;

    for (value = 0; value < 2; value++) {
        ring = make(SIZE);

        p = astro_ring_reserve(ring, 100);
        (void) astro_ring_commit(ring, 100);

        /* the length, or the tag */

        memset((uint8_t *) p - 8 + 4 * value, 0x7f, 4);

        ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
        ck_assert_uint_eq(len, 0);
        ck_assert_ptr_null(astro_ring_peek(ring, &len));

        /* releasing what was told does not take what comes */

        p = astro_ring_reserve(ring, 100);
        fill(p, 3, 100);
        (void) astro_ring_commit(ring, 100);
        astro_ring_release(ring);

        p = (void *) (uintptr_t) astro_ring_peek(ring, &len);
        ck_assert_uint_eq(read_mark(p, len), 3);
    }

    /* more than was ever committed */

    ring = make(SIZE);

    p = astro_ring_reserve(ring, 100);
    (void) astro_ring_commit(ring, 100);

    value = 500;
    memcpy((uint8_t *) p - 8, &value, 4);

    ck_assert_ptr_nonnull(astro_ring_peek(ring, &len));
    ck_assert_uint_eq(len, 0);
    ck_assert_uint_eq(astro_ring_used(ring), 0);
}
END_TEST


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

    pair.ring = make(SIZE);
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

    pair.ring = make(SIZE);
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

    d.ring = make(SIZE);
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


/* The numbers go on where the dead one left off: what it committed is sent. */

static void
produce_for_ever(astro_ring_t *ring, tally_t *t)
{
    void      *p;
    size_t     len;
    uint64_t   n, state;

    astro_ring_adopt(ring);

    for ( ;; ) {
        n = atomic_load(&t->sent) + 1;
        state = n * 0x9e3779b97f4a7c15ULL;
        len = random_len(&state, astro_ring_max_record(ring));

        p = astro_ring_reserve(ring, len);

        if (p == NULL) {
            sched_yield();
            continue;
        }

        fill(p, n, len);

        /*
         * Killed between these two, the successor sends n again, which is the
         * harness's doing: see the consumer.
         */

        (void) astro_ring_commit(ring, len);
        atomic_store(&t->sent, n);
    }
}


static void
consume_for_ever(astro_ring_t *ring, tally_t *t)
{
    size_t       len;
    uint64_t     n, seen;
    const void  *p;

    for ( ;; ) {
        p = astro_ring_peek(ring, &len);

        if (p == NULL) {
            (void) astro_ring_idle(ring);
            sched_yield();
            continue;
        }

        n = len ? read_mark(p, len) : 0;
        seen = atomic_load(&t->seen);

        if (n == seen && n) {
            atomic_fetch_add(&t->again, 1);

        } else if (n != seen + 1) {
            atomic_store(&t->wrong, n ? n : UINT64_MAX);
        }

        if (n) {
            atomic_store(&t->seen, n);
        }

        astro_ring_release(ring);
    }
}


static pid_t
start(void (*run)(astro_ring_t *, tally_t *), astro_ring_t *ring, tally_t *t)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        run(ring, t);
        _exit(0);
    }

    ck_assert_int_gt(pid, 0);

    return pid;
}


/*
 * A record is handled twice only where its reader was killed with it in hand,
 * or its writer before it could note that it was sent: at most once for each
 * death.
 */

START_TEST(killed)
{
    int               i, who, kills;
    pid_t             pid[2];
    tally_t          *t;
    uint64_t          before;
    astro_ring_t     *ring;
    struct timespec   nap;

    t = mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS, -1,
             0);
    ck_assert_ptr_ne(t, MAP_FAILED);

    ring = make(SIZE);
    kills = (int) (KILLS * 2 * unit_effort);

    pid[0] = start(produce_for_ever, ring, t);
    pid[1] = start(consume_for_ever, ring, t);

    for (i = 0; i < kills; i++) {
        nap.tv_sec = 0;
        nap.tv_nsec = (long) unit_below(unit_below(2) ? 200000 : 6000000);
        (void) nanosleep(&nap, NULL);

        who = (int) unit_below(2);

        ck_assert_int_eq(kill(pid[who], SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid[who], NULL, 0), pid[who]);

        pid[who] = start(who ? consume_for_ever : produce_for_ever, ring, t);

        ck_assert_msg(atomic_load(&t->wrong) == 0,
                      "got %" PRIu64 " where %" PRIu64 " was due",
                      atomic_load(&t->wrong), atomic_load(&t->seen));
    }

    /* both live: it goes on */

    before = atomic_load(&t->seen);

    for (i = 0; i < 5000 && atomic_load(&t->seen) < before + 100; i++) {
        usleep(1000);
    }

    ck_assert_uint_ge(atomic_load(&t->seen), before + 100);

    for (who = 0; who < 2; who++) {
        ck_assert_int_eq(kill(pid[who], SIGKILL), 0);
        ck_assert_int_eq(waitpid(pid[who], NULL, 0), pid[who]);
    }

    ck_assert_uint_eq(atomic_load(&t->wrong), 0);
    ck_assert_uint_le(atomic_load(&t->again), (uint64_t) kills);
}
END_TEST


int
main(void)
{
    Suite  *s;

    s = suite_create("ring");

    unit_add(s, "sizes", sizes);
    unit_add(s, "model", model);
    unit_add(s, "shorter", shorter);
    unit_add(s, "bells", bells);
    unit_add(s, "overwritten", overwritten);
    unit_add(s, "fault_is_told", fault_is_told);
    unit_add(s, "threads", threads);
    unit_add(s, "sleeping", sleeping);
    unit_add(s, "dozing", dozing);
    unit_add(s, "killed", killed);

    return unit_main(s);
}
