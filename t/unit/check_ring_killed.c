
/*
 * Copyright (C) The Astro authors
 *
 * The ring between two processes of which one or the other is killed at any
 * moment and followed by a successor.
 */

#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>

#include "unit_ring.h"


#define KILLS  500          /* of each of the two processes */


/* what outlives the processes that are killed */

typedef struct {
    _Atomic uint64_t     sent;      /* number of the record committed last */
    _Atomic uint64_t     seen;      /* number of the record handled last */
    _Atomic uint64_t     again;     /* times that one was handled twice */
    _Atomic uint64_t     wrong;
} tally_t;


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

    ring = make_ring(SIZE);
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

    s = suite_create("ring_killed");

    unit_add(s, "killed", killed);

    return unit_main(s);
}
