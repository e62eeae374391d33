
/*
 * Copyright (C) The Astro authors
 *
 * The shared memory of one host.
 *
 * Layout, each part on a cache line of its own:
 *
 *     header      sizes and offsets; written by format, read-only ever after
 *     seats       owner, generation; the owner's counters on further lines.
 *                 One more, the spill, is nobody's seat: counters that those
 *                 who found none add up
 *     table       u32 [from][to]: 1 + ring slot, or 0: no ring yet
 *     pairs       u32 [ring slot]: 1 + from * seats + to, or 0: not allotted
 *     registry    u64 [slots]: user << 8 | (seat + 1), or 0: empty
 *     limits      u64 [slots]: see astro_limits.c
 *     counts      u64 [slots]: see astro_counts.c
 *     rings       ring slots, see astro_ring.c
 *
 * Nothing is a pointer, nothing is freed, and there is no lock, so that no
 * one can die with a lock held, nor leave a list half linked.  Each rule below
 * makes every update a single store, or a single compare-and-swap from "nobody"
 * to "me"; a SIGKILL then falls before it or after it.
 *
 * Who writes what
 *
 *     owner word       whoever claims the seat (from 0, or from a dead owner's
 *                      word); its owner (to 0)
 *     generation,      the seat's owner
 *     counters
 *     registry entry,  the owner of the seat named in it
 *     entry of counts
 *     entry of limits  anybody, by compare-and-swap
 *     table, pairs,    the owner of the seat "from"
 *     ring: producer
 *     ring: consumer   the owner of the seat "to"
 *
 * Seats (astro_seats.c)
 *
 * The owner word holds the pid and the start time of the owning process (the
 * low 32 bits of its clock ticks since boot).  Both are known before the claim,
 * so that a single compare-and-swap says who owns the seat, and there is no
 * instant at which a seat has an owner whose start time is still to be written:
 * a pid used again by another process is told from the tenant at any time.
 * A dead owner's word never comes back, as a process dies once and its
 * (pid, start) is not given out again; therefore "was X, still is X" needs no
 * generation in the word.  The generation is for the contents of rings: a
 * record carries that of the seat it was meant for, and a successor drops what
 * was for its predecessor.
 *
 * Claiming, or reclaiming, takes the seat first and cleans up after: from the
 * compare-and-swap on, nobody else may clear that seat's entries, so a
 * reclaimer that is slow, or stopped for an hour, can never wipe what a new
 * tenant has written.  Killed while cleaning, it has left its own pid in the
 * word, which is dead now, and the next one starts the cleaning over.
 *
 *     killed in claim, before the CAS      nothing has happened
 *     killed in claim, after it            a dead owner, its predecessor's
 *                                          entries, or some of them
 *     killed as tenant                     a dead owner, its entries
 *     killed in reclaim, after the CAS     a dead owner, some entries
 *     killed in release, before the store  a dead owner, some entries or none
 *
 * All of which is one case to the next claim or reclaim.
 *
 * The registry (astro_registry.c)
 *
 * A user's entries lie anywhere within a window of 64 slots that the hash of
 * the user picks; a user connected at three seats has three entries.  An entry
 * is one word and says all: it is there or it is not.  Only the owner of the
 * seat in it adds or removes it (from 0, by compare-and-swap, since other seats
 * want empty slots, too; to 0, by a store, since nobody else may touch it).
 * Entries never move, so that a scan of the window cannot miss one that was
 * there all along, and since every look-up scans the whole window, an emptied
 * slot needs no tombstone.
 *
 * The other shape, {user, bitmap of seats} in one slot for each user, needs two
 * words, so there are states between them to die in; its bitmap is flipped by
 * several owners; emptying the slot races with the next owner that sets its bit
 * in it; and reclaiming a seat has to do all that for every user.  Here
 * reclaiming is one scan that stores zeros.  The price: 8 cache lines for
 * a look-up instead of one or two, which is less than 0.1 us.
 *
 * Ordering: an entry is complete in itself, so look-ups need none.  Adding is
 * seq_cst for the sake of "register, then read what was missed".
 *
 * Rings
 *
 * There are as many slots as the memory has room for; they are allotted to
 * pairs of seats in order and stay with them.  Allotting takes the first
 * slot in pairs that is free, or already this pair's: then someone died between
 * the two stores, and goes on to use what was taken, so that no death costs
 * memory.  The slot's number goes into table (release) after the ring
 * was formatted; who finds it there (acquire) finds the ring formatted.  Only
 * the owner of "from" creates, so two never allot for one pair at once; were a
 * tenant wrongly believed dead, both would still arrive at one slot.
 *
 * Tests
 *
 * t/unit/check_kills.c kills a process before each store that claim, release,
 * reclaim, add, remove and the allotting of a ring make, one after the other,
 * and then asks of the survivors: nobody of the dead in the registry, nobody of
 * the living missing, every seat to be had, every ring made and used; and it
 * kills 2500 workers of a crowd that does all of it at random: no record torn,
 * none lost or twice within one pair of generations.  What the store order
 * means to another processor is shown by check_ring_threads.c and
 * check_registry.c, under ThreadSanitizer as well, and only for the machine
 * that they run on.
 */


#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "astro_arena_private.h"


#define ASTRO_ARENA_MAGIC      0x4e45524141525453ULL
#define ASTRO_ARENA_VERSION    2
#define ASTRO_ARENA_MIN_RINGS  12u      /* four seats, all talking */

#define astro_arena_align(n)                                                  \
    (((n) + ASTRO_ARENA_LINE - 1) & ~(uint64_t) (ASTRO_ARENA_LINE - 1))


static int astro_arena_conf_ok(const astro_arena_conf_t *conf);
static void astro_arena_layout(astro_arena_t *h, uint64_t base,
    const astro_arena_conf_t *conf);
static astro_ring_t *astro_arena_ring_at(astro_arena_t *a, uint32_t slot);
static astro_ring_t *astro_arena_allot(astro_arena_t *a, uint32_t pair);


static int
astro_arena_conf_ok(const astro_arena_conf_t *conf)
{
    if (conf->seats < 2 || conf->seats > ASTRO_ARENA_MAX_SEATS) {
        return 0;
    }

    if (astro_ring_footprint(conf->ring_size) == 0) {
        return 0;
    }

    return conf->registry_slots >= 64
           && (conf->registry_slots & (conf->registry_slots - 1)) == 0;
}


/*
 * Fills in everything but id, size, ring_slots and magic.  base is the address
 * of the memory: offsets are such that the parts, not the offsets, are aligned.
 */

static void
astro_arena_layout(astro_arena_t *h, uint64_t base,
    const astro_arena_conf_t *conf)
{
    uint64_t  at;

    memset(h, 0, sizeof(astro_arena_t));

    h->version = ASTRO_ARENA_VERSION;
    h->seats = conf->seats;
    h->ring_size = conf->ring_size;
    h->registry_slots = conf->registry_slots;
    h->counters = ASTRO_ARENA_COUNTERS;
    h->ring_step = astro_arena_align(astro_ring_footprint(conf->ring_size));

    at = astro_arena_align(base + sizeof(astro_arena_t));
    h->seats_at = at - base;

    /* one more: the spill */

    at = astro_arena_align(at + (conf->seats + 1) * sizeof(astro_seat_t));
    h->table_at = at - base;

    at = astro_arena_align(at + conf->seats * conf->seats * sizeof(uint32_t));
    h->pairs_at = at - base;

    at = astro_arena_align(at + conf->seats * (conf->seats - 1)
                                * sizeof(uint32_t));
    h->registry_at = at - base;

    at = astro_arena_align(at + (uint64_t) conf->registry_slots
                                * sizeof(uint64_t));
    h->limits_at = at - base;

    at = astro_arena_align(at + (uint64_t) astro_arena_limit_slots(conf)
                                * sizeof(uint64_t));
    h->counts_at = at - base;

    at = astro_arena_align(at + (uint64_t) astro_arena_count_slots(conf)
                                * sizeof(uint64_t));
    h->rings_at = at - base;
}


size_t
astro_arena_footprint(const astro_arena_conf_t *conf)
{
    astro_arena_t  h;

    if (!astro_arena_conf_ok(conf)) {
        return 0;
    }

    astro_arena_layout(&h, 0, conf);

    /* and a line for memory that does not start at one */

    return h.rings_at + conf->seats * (conf->seats - 1) * h.ring_step
           + ASTRO_ARENA_LINE;
}


astro_arena_rc_e
astro_arena_format(void *mem, size_t size, const astro_arena_conf_t *conf)
{
    uint64_t        n, max;
    astro_arena_t   h, *a;

    if (!astro_arena_conf_ok(conf)) {
        return ASTRO_ARENA_BAD_CONF;
    }

    astro_arena_layout(&h, (uintptr_t) mem, conf);

    if (size < h.rings_at) {
        return ASTRO_ARENA_TOO_SMALL;
    }

    n = (size - h.rings_at) / h.ring_step;
    max = conf->seats * (conf->seats - 1);

    if (n > max) {
        n = max;
    }

    if (n < ASTRO_ARENA_MIN_RINGS && n < max) {
        return ASTRO_ARENA_TOO_SMALL;
    }

    h.id = astro_arena_random();
    h.size = size;
    h.ring_slots = (uint32_t) n;
    h.magic = ASTRO_ARENA_MAGIC;

    a = mem;
    *a = h;

    return ASTRO_ARENA_OK;
}


astro_arena_rc_e
astro_arena_check(void *mem, size_t size, const astro_arena_conf_t *conf)
{
    astro_arena_t   h;
    astro_arena_t  *a = mem;

    if (!astro_arena_conf_ok(conf)) {
        return ASTRO_ARENA_BAD_CONF;
    }

    if (size < sizeof(astro_arena_t)) {
        return ASTRO_ARENA_TOO_SMALL;
    }

    astro_arena_layout(&h, (uintptr_t) mem, conf);

    /* not set by layout, and a consequence of the rest */

    h.magic = ASTRO_ARENA_MAGIC;
    h.id = a->id;
    h.size = size;
    h.ring_slots = a->ring_slots;

    if (memcmp(&h, a, sizeof(astro_arena_t)) != 0) {
        return ASTRO_ARENA_MISMATCH;
    }

    return ASTRO_ARENA_OK;
}


uint64_t
astro_arena_id(const astro_arena_t *a)
{
    return a->id;
}


uint64_t
astro_arena_random(void)
{
    uint64_t         id;
    struct timespec  ts;

    id = 0;

    /* 8 octets are given whole, or not at all: a kernel without getrandom() */

    if (getrandom(&id, sizeof(id), 0) != (ssize_t) sizeof(id)) {
        (void) clock_gettime(CLOCK_REALTIME, &ts);
        id = ((uint64_t) ts.tv_sec << 30 ^ (uint64_t) ts.tv_nsec)
             * 0x9e3779b97f4a7c15ULL ^ (uint64_t) getpid() << 40;
    }

    return id ? id : 1;
}


uint32_t
astro_arena_seats(const astro_arena_t *a)
{
    return a->seats;
}


uint64_t *
astro_arena_spill(astro_arena_t *a)
{
    return astro_arena_seat(a, a->seats)->counters;
}


void
astro_arena_usage(const astro_arena_t *a, astro_arena_usage_t *usage)
{
    uint32_t                 slot;
    const _Atomic uint32_t  *pairs;

    pairs = astro_arena_at(a, a->pairs_at);

    usage->size = a->size;
    usage->rings = 0;
    usage->ring_slots = a->ring_slots;
    usage->registry_slots = a->registry_slots;

    for (slot = 0; slot < a->ring_slots; slot++) {
        if (atomic_load_explicit(&pairs[slot], memory_order_relaxed)) {
            usage->rings++;
        }
    }

    usage->used = a->rings_at + usage->rings * a->ring_step;
}


astro_ring_t *
astro_arena_ring(astro_arena_t *a, int from, int to, int create)
{
    uint32_t           pair, n;
    _Atomic uint32_t  *table;

    if (!astro_arena_seat_ok(a, from) || !astro_arena_seat_ok(a, to)
        || from == to)
    {
        return NULL;
    }

    table = astro_arena_at(a, a->table_at);
    pair = (uint32_t) from * a->seats + (uint32_t) to;

    n = atomic_load_explicit(&table[pair], memory_order_acquire);

    if (n) {
        return astro_arena_ring_at(a, n - 1);
    }

    return create ? astro_arena_allot(a, pair) : NULL;
}


static astro_ring_t *
astro_arena_ring_at(astro_arena_t *a, uint32_t slot)
{
    return astro_arena_at(a, a->rings_at + slot * a->ring_step);
}


static astro_ring_t *
astro_arena_allot(astro_arena_t *a, uint32_t pair)
{
    uint32_t           slot, owner;
    astro_ring_t      *ring;
    _Atomic uint32_t  *pairs, *table;

    pairs = astro_arena_at(a, a->pairs_at);
    table = astro_arena_at(a, a->table_at);

    for (slot = 0; slot < a->ring_slots; slot++) {
        owner = 0;

        if (!atomic_compare_exchange_strong(&pairs[slot], &owner, pair + 1)
            && owner != pair + 1)
        {
            continue;
        }

        ring = astro_arena_ring_at(a, slot);
        astro_ring_init(ring, a->ring_size);

        atomic_store_explicit(&table[pair], slot + 1, memory_order_release);

        return ring;
    }

    return NULL;
}
