
/*
 * Copyright (C) The Astro authors
 *
 * A single-producer single-consumer ring of records in shared memory.
 *
 * Layout, in bytes from the start of the ring; nothing is a pointer:
 *
 *     0    magic, size            written by init alone
 *     64   tail, at, rung,        written by the producer alone
 *          head_seen
 *     128  head, next, asleep,    written by the consumer alone
 *          tail_seen
 *     192  size bytes of records
 *
 * Every word has one writer, so no update is ever a read-modify-write, and a
 * writer that dies leaves at most one store undone.  The three groups lie in
 * cache lines of their own: each side writes to one line that the other reads.
 *
 * head and tail count bytes since the ring was made; they are never reset (at
 * 10 GB/s a u64 lasts 58 years), so tail - head is what is in use and no value
 * of either ever comes again.  The place of a position is its low bits.
 *
 * A record is a header of 8 bytes (u32 length, u32 tag), then its bytes, then
 * padding up to a multiple of 8.  Records lie in one piece: where one does not
 * fit before the end of the memory, the rest is skipped by a header with the
 * length ASTRO_RING_PAD, and the record starts at the beginning.  That is why
 * a record may be a quarter of the ring: rest and record together then always
 * fit into an empty one.  The tag is the position mixed with a constant; a
 * header that was overwritten, or that belongs to an earlier lap, does not
 * have it.
 *
 * Ordering.  The producer fills the record, then stores tail (release); the
 * consumer loads tail (acquire) and only then reads the record: it cannot see
 * a tail without the bytes under it.  The consumer reads, then stores head
 * (release); the producer loads head (acquire) and only then overwrites: it
 * cannot write under a reader.  Nothing else is shared.  head_seen and
 * tail_seen are each side's last look at the other's index, to save loading
 * it anew each time: an old value is a lower bound, and so merely pessimistic.
 *
 * The doorbell.  A consumer that sleeps has to be woken, and waking is a system
 * call, so it is done once for a sleep.  Sleeps are counted: before it sleeps,
 * the consumer stores the next number in asleep and then looks at tail; the
 * producer stores tail and then looks at asleep.  That is Dekker's pattern: all
 * four accesses are seq_cst, so they have one order that both sides agree on,
 * and whichever store comes second, the load behind it sees the other's.
 * Release and acquire would not do, they let each side's load pass its own
 * store, and then both could read the old value: the record lies there and
 * nobody rings.  So either the consumer sees the record and does not sleep, or
 * the producer sees the sleep and rings; both may happen, which costs a
 * needless wake-up.
 *
 * The producer keeps in rung the last sleep that it has rung for: asleep = rung
 * says that the consumer is awake, or that a bell is on its way to it.  A
 * position would not do for a number: woken needlessly, the consumer sleeps
 * again where it slept before, and that sleep needs a bell of its own.  A new
 * ring starts with a sleep not rung for, since it comes to be while its
 * consumer may sleep and cannot know of it.
 *
 * What a SIGKILL leaves:
 *
 *     producer, before the store of tail     nothing: what was written lies
 *                                            beyond tail, the successor's
 *                                            reserve gives the same place
 *     producer, after it, before the bell    a record that the consumer may
 *                                            sleep on.  With rung not yet
 *                                            written the next commit rings;
 *                                            a successor that takes over calls
 *                                            astro_ring_adopt() so that the
 *                                            other case rings as well, and
 *                                            whoever claims a seat rings all
 *                                            bells anyway
 *     consumer, before the store of head     the record is there still, and its
 *                                            successor gets it again: a record
 *                                            is seen once unless its reader
 *                                            died while it had it in hand
 *     consumer, anywhere in idle             a sleep that nobody sleeps: one
 *                                            needless bell
 *
 * A successor goes on with no more than the words above: next and at mean
 * nothing before a peek or a reserve of its own.
 *
 * t/unit/check_kills.c brings about each of these, at every single store.
 */


#include <stdatomic.h>
#include <string.h>

#include "astro_ring.h"


#define ASTRO_RING_MAGIC     0x52495247u
#define ASTRO_RING_TAG       0x5bd1e995u
#define ASTRO_RING_PAD       0xffffffffu
#define ASTRO_RING_MIN_SIZE  4096
#define ASTRO_RING_MAX_SIZE  (1u << 30)
#define ASTRO_RING_LINE      64

#define astro_ring_align(n)  (((n) + 7) & ~(uint64_t) 7)


typedef struct {
    uint32_t           len;         /* or ASTRO_RING_PAD */
    uint32_t           tag;
} astro_ring_record_t;

struct astro_ring_s {
    uint32_t           magic;
    uint32_t           size;
    uint8_t            pad0[ASTRO_RING_LINE - 8];

    _Atomic uint64_t   tail;
    uint64_t           at;          /* place of the record reserved last */
    uint64_t           rung;        /* the sleep that was rung for last */
    uint64_t           head_seen;
    uint8_t            pad1[ASTRO_RING_LINE - 32];

    _Atomic uint64_t   head;
    _Atomic uint64_t   asleep;      /* number of the last sleep */
    uint64_t           next;        /* head after the record peeked last */
    uint64_t           tail_seen;
    uint8_t            pad2[ASTRO_RING_LINE - 32];

    uint8_t            data[];
};


static astro_ring_record_t *astro_ring_record(astro_ring_t *ring,
    uint64_t position);
static uint32_t astro_ring_tag(uint64_t position);
static const void *astro_ring_fault(astro_ring_t *ring, uint64_t tail,
    size_t *len);


size_t
astro_ring_footprint(size_t size)
{
    if (size < ASTRO_RING_MIN_SIZE || size > ASTRO_RING_MAX_SIZE
        || (size & (size - 1)))
    {
        return 0;
    }

    return sizeof(astro_ring_t) + size;
}


void
astro_ring_init(astro_ring_t *ring, size_t size)
{
    /* head and tail are zero already */

    ring->magic = ASTRO_RING_MAGIC;
    ring->size = (uint32_t) size;

    atomic_store_explicit(&ring->asleep, 1, memory_order_relaxed);
}


void
astro_ring_adopt(astro_ring_t *ring)
{
    ring->rung = 0;
}


size_t
astro_ring_max_record(const astro_ring_t *ring)
{
    return ring->size / 4;
}


void *
astro_ring_reserve(astro_ring_t *ring, size_t len)
{
    uint64_t              tail, need, rest;
    astro_ring_record_t  *record;

    if (len == 0 || len > ring->size / 4) {
        return NULL;
    }

    tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    need = sizeof(astro_ring_record_t) + astro_ring_align(len);
    rest = ring->size - (tail & (ring->size - 1));

    ring->at = tail;

    if (rest < need) {
        /* skip to the start: the rest counts as used, too */
        ring->at = tail + rest;
        need += rest;
    }

    if (tail + need - ring->head_seen > ring->size) {

        ring->head_seen = atomic_load_explicit(&ring->head,
                                               memory_order_acquire);

        if (tail + need - ring->head_seen > ring->size) {
            return NULL;
        }
    }

    if (ring->at != tail) {
        record = astro_ring_record(ring, tail);
        record->len = ASTRO_RING_PAD;
        record->tag = astro_ring_tag(tail);
    }

    return astro_ring_record(ring, ring->at) + 1;
}


int
astro_ring_commit(astro_ring_t *ring, size_t len)
{
    uint64_t              asleep;
    astro_ring_record_t  *record;

    record = astro_ring_record(ring, ring->at);
    record->len = (uint32_t) len;
    record->tag = astro_ring_tag(ring->at);

    /* release, and the first half of Dekker's pattern */

    atomic_store_explicit(&ring->tail,
                          ring->at + sizeof(astro_ring_record_t)
                          + astro_ring_align(len),
                          memory_order_seq_cst);

    asleep = atomic_load_explicit(&ring->asleep, memory_order_seq_cst);

    if (asleep == ring->rung) {
        return 0;
    }

    ring->rung = asleep;

    return 1;
}


const void *
astro_ring_peek(astro_ring_t *ring, size_t *len)
{
    uint64_t              head, tail, size;
    astro_ring_record_t  *record;

    *len = 0;

    head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    tail = ring->tail_seen;

    if (tail - head - 1 >= ring->size) {
        /* nothing known of, or a predecessor's look that is behind head */
        tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
        ring->tail_seen = tail;
    }

    if (head == tail) {
        return NULL;
    }

    record = astro_ring_record(ring, head);

    if (tail - head > ring->size || record->tag != astro_ring_tag(head)) {
        return astro_ring_fault(ring, tail, len);
    }

    if (record->len == ASTRO_RING_PAD) {

        /* the record behind it was committed together with the pad */

        head += ring->size - (head & (ring->size - 1));

        if (head >= tail) {
            return astro_ring_fault(ring, tail, len);
        }

        record = astro_ring_record(ring, head);

        if (record->tag != astro_ring_tag(head)) {
            return astro_ring_fault(ring, tail, len);
        }
    }

    size = sizeof(astro_ring_record_t) + astro_ring_align(record->len);

    if (record->len == 0 || record->len > ring->size / 4
        || size > tail - head
        || size > ring->size - (head & (ring->size - 1)))
    {
        return astro_ring_fault(ring, tail, len);
    }

    ring->next = head + size;
    *len = record->len;

    return record + 1;
}


void
astro_ring_release(astro_ring_t *ring)
{
    atomic_store_explicit(&ring->head, ring->next, memory_order_release);
}


/*
 * The bytes under head make no sense, so where the next record starts is not
 * known either: all that was committed is given up.
 */

static const void *
astro_ring_fault(astro_ring_t *ring, uint64_t tail, size_t *len)
{
    ring->next = tail;
    *len = 0;

    astro_ring_release(ring);

    return ring->data;
}


int
astro_ring_idle(astro_ring_t *ring)
{
    uint64_t  head, asleep;

    head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    asleep = atomic_load_explicit(&ring->asleep, memory_order_relaxed);

    /* the second half of Dekker's pattern */

    atomic_store_explicit(&ring->asleep, asleep + 1, memory_order_seq_cst);

    return head == atomic_load_explicit(&ring->tail, memory_order_seq_cst);
}


size_t
astro_ring_used(const astro_ring_t *ring)
{
    uint64_t  head, used;

    /* head first: a tail loaded later is never behind it */

    head = atomic_load_explicit(&ring->head, memory_order_acquire);
    used = atomic_load_explicit(&ring->tail, memory_order_acquire) - head;

    return (used > ring->size) ? ring->size : (size_t) used;
}


static astro_ring_record_t *
astro_ring_record(astro_ring_t *ring, uint64_t position)
{
    return (astro_ring_record_t *) &ring->data[position & (ring->size - 1)];
}


static uint32_t
astro_ring_tag(uint64_t position)
{
    return (uint32_t) (position >> 3) ^ ASTRO_RING_TAG;
}
