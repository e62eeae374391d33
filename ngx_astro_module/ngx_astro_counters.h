
/*
 * Copyright (C) The Astro authors
 *
 * The table of what is counted.  Each worker has its own block of counters, in
 * its seat of the arena: plain increments, no one else writes there, and anyone
 * may sum all blocks.  What a worker that is gone has counted stays where it
 * is, under its successor; only gauges begin anew.
 *
 * A row adds a metric, nothing else does:
 *
 *     X(id, name, help)            the counter astro_<name>_total
 *     L(id, name, labels, help)    the same with labels; rows of one name stand
 *                                  together, the first one's help is the help
 *     F(id, name, label, n, value, help)
 *                                  n counters; value(i) is the label's value
 *     H(id, name, unit, help)      a histogram: SECONDS (observed in
 *                                  microseconds) or NUMBER
 *     G(id, name, help)            the gauge astro_<name>: summed over workers
 *     M(id, name, help)            a gauge of which the highest is told
 */

#ifndef _NGX_ASTRO_COUNTERS_H_INCLUDED_
#define _NGX_ASTRO_COUNTERS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>

#include "astro_arena.h"


#define NGX_ASTRO_TYPE_SLOTS   48       /* types of messages, and two more */
#define NGX_ASTRO_ERROR_SLOTS  32
#define NGX_ASTRO_LIMIT_SLOTS  16


#define NGX_ASTRO_COUNTERS(X, L, F, H)                                        \
    X(CONNECTIONS, "connections_opened", "WebSocket connections accepted")    \
    X(CLOSED, "connections_closed", "WebSocket connections closed")           \
    F(CLOSES, "closes", "code", NGX_ASTRO_CLOSE_SLOTS, ngx_astro_close_name,  \
      "WebSocket connections closed, by the code that was sent; peer: the "   \
      "client closed it, reset: it ended without a word")                     \
    X(HANDSHAKE_REFUSED, "handshakes_refused", "upgrade requests refused")    \
    L(REFUSED_USER, "connections_refused", "limit=\"user\"",                  \
      "connections over the number in astro_connections")                     \
    L(REFUSED_ADDRESS, "connections_refused", "limit=\"address\"", "")        \
    X(HELLO, "hello", "connections signed in")                                \
    X(RESUMED, "resumed", "connections signed in with a position")            \
    L(RESUME_CURRENT, "resumes", "outcome=\"current\"",                       \
      "conversations of those that came back, by what they had missed")       \
    L(RESUME_REPLAY, "resumes", "outcome=\"replay\"", "")                     \
    L(RESUME_GAP, "resumes", "outcome=\"gap\"", "")                           \
    F(MSG_IN, "messages_in", "type", NGX_ASTRO_TYPE_SLOTS,                    \
      ngx_astro_type_name, "messages received, by type")                      \
    X(MSG_OUT, "messages_out", "messages sent")                               \
    X(BYTES_IN, "bytes_in", "bytes received on WebSockets")                   \
    X(BYTES_OUT, "bytes_out", "bytes sent on WebSockets")                     \
    X(BAD_FRAME, "bad_frames", "connections ended for an RFC 6455 violation") \
    X(BAD_MESSAGE, "bad_messages", "messages that were not valid JSON or "    \
      "lacked a field")                                                       \
    F(ERRORS, "errors", "code", NGX_ASTRO_ERROR_SLOTS, ngx_astro_error_name,  \
      "errors told to clients, on both wires, by code")                       \
    X(DENIED, "denied", "messages refused for who sent them")                 \
    X(SIGNALS, "signals", "signals relayed")                                  \
    X(CHATS, "chats", "chat messages stored")                                 \
    X(CHAT_CHANGES, "chat_changes", "edits, deletions and reactions stored")  \
    X(CHAT_BATCHES, "chat_batches", "transactions that stored these")         \
    X(RECEIPTS, "receipts", "receipts that rose, told to the other party")    \
    X(UNPAID, "unpaid", "messages refused because paid_until had passed")     \
    X(SLOW, "slow_clients", "connections closed 4504")                        \
    F(LIMITED, "limited", "class", NGX_ASTRO_LIMIT_SLOTS,                     \
      ngx_astro_limit_name, "refused by astro_limit, by class; frame: "       \
      "times a client was not read for a while")                              \
    L(EPHEMERAL_DROPPED, "dropped", "policy=\"queue\"",                       \
      "ephemeral messages dropped: the client's queue was full, a later "     \
      "attempt is known, too many wait for who has not joined, or over the "  \
      "limit")                                                                \
    L(DROPPED_STALE, "dropped", "policy=\"stale\"", "")                       \
    L(DROPPED_KEPT, "dropped", "policy=\"kept\"", "")                         \
    L(DROPPED_LIMIT, "dropped", "policy=\"limit\"", "")                       \
    X(RING_OUT, "ring_records", "records sent to other workers")              \
    L(RING_FULL, "ring_full", "policy=\"drop\"",                              \
      "records that found no room in the peer's ring: dropped, or durable "   \
      "ones that the receiver fetches")                                       \
    L(RING_FULL_DURABLE, "ring_full", "policy=\"resync\"", "")                \
    X(RING_STALE, "ring_stale", "records for a dead tenant of a seat")        \
    X(BELLS, "doorbells", "wake-ups of other workers")                        \
    X(WAKEUPS, "wakeups", "wake-ups by other workers")                        \
    X(HELD, "events_held", "events that came before their turn")              \
    X(HOLES, "holes_fetched", "gaps in a conversation fetched again")         \
    X(HEAL_CALLS, "heal_calls", "looks at what users were not told")          \
    X(HEAL_ALL, "heal_sweeps", "looks at all users, after a break")           \
    X(HEALED, "healed", "connections told what had been lost on its way")     \
    X(BARRED, "barred", "connections closed: blocked, or token revoked")      \
    X(SEATS_RECLAIMED, "seats_reclaimed", "seats of dead workers taken over") \
    X(HTTP_REQUESTS, "http_requests", "REST requests")                        \
    X(HTTP_ERRORS, "http_errors", "REST requests answered 4xx or 5xx")        \
    L(HTTP_2XX, "http_responses", "status=\"2xx\"",                           \
      "REST requests answered, by class of status")                           \
    L(HTTP_3XX, "http_responses", "status=\"3xx\"", "")                       \
    L(HTTP_4XX, "http_responses", "status=\"4xx\"", "")                       \
    L(HTTP_5XX, "http_responses", "status=\"5xx\"", "")                       \
    X(AUTH_FAILED, "auth_failed", "tokens and passwords refused")             \
    X(KEY_FETCHES, "key_fetches", "keys of other issuers were asked for")     \
    X(KEY_FETCHES_FAILED, "key_fetches_failed",                               \
      "they did not come; those of before go on being used")                  \
    L(WEBHOOKS_STORED, "webhooks", "outcome=\"stored\"",                      \
      "webhooks of vendors: stored; known already; without a signature of "   \
      "the vendor's form; with a wrong one; with one too old or to come; no " \
      "JSON; not stored, the database failed")                                \
    L(WEBHOOKS_AGAIN, "webhooks", "outcome=\"duplicate\"", "")                \
    L(WEBHOOKS_UNSIGNED, "webhooks", "outcome=\"unsigned\"", "")              \
    L(WEBHOOKS_FORGED, "webhooks", "outcome=\"forged\"", "")                  \
    L(WEBHOOKS_STALE, "webhooks", "outcome=\"stale\"", "")                    \
    L(WEBHOOKS_BAD, "webhooks", "outcome=\"malformed\"", "")                  \
    L(WEBHOOKS_FAILED, "webhooks", "outcome=\"failed\"", "")                  \
    X(PG_CALLS, "pg_calls", "calls of SQL functions")                         \
    X(PG_FAILED, "pg_failed", "calls that failed or were lost")               \
    X(PG_CONNECTS, "pg_connects", "connections made to PostgreSQL")           \
    X(PG_SLOW_CALLS, "pg_slow_calls", "calls of slow reports")                \
    X(PG_SLOW_FAILED, "pg_slow_failed", "slow reports that failed")           \
    X(PG_SLOW_REFUSED, "pg_slow_refused", "slow reports refused: too many")   \
    X(PG_SLOW_CONNECTS, "pg_slow_connects", "connections for reports made")   \
    X(REDIS_CONNECTS, "redis_connects", "connections made to Redis")          \
    X(REDIS_EVENTS, "redis_events", "events received from Redis")             \
    X(CALLS_POOR, "call_samples_poor", "measurements of calls that were poor")\
    X(TICKS, "ticks", "charges heard of from billing workers, of anybody")    \
    X(TICKS_BAD, "ticks_bad", "the same that could not be read")              \
    X(TICKS_TOLD, "ticks_told", "the same of users connected here")           \
    X(LEASES, "gateway_leases", "gateway leases opened")                      \
    X(DEFLATE, "deflate_agreed", "connections that agreed on compression")    \
    X(DEFLATE_REFUSED, "deflate_refused", "connections that were refused "    \
      "compression: its memory was used up")                                  \
    X(DEFLATE_IN, "deflate_in_bytes", "bytes of messages received, "          \
      "compressed")                                                           \
    X(DEFLATE_IN_PLAIN, "deflate_in_plain_bytes", "the same when inflated")   \
    X(DEFLATE_OUT_PLAIN, "deflate_out_plain_bytes", "bytes of messages sent " \
      "compressed, before that")                                              \
    X(DEFLATE_OUT, "deflate_out_bytes", "the same as sent")                   \
    X(NODE_OUT, "node_records", "records published to other nodes")           \
    X(NODE_IN, "node_records_received", "records of other nodes")             \
    X(NODE_NOBODY, "node_records_spared", "records not published: nobody "    \
      "was there to hear them a moment ago")                                  \
    X(NODE_DROPPED, "node_records_dropped", "records that other nodes did "   \
      "not get: Redis was away or behind")                                    \
    X(NODE_BAD, "node_records_bad", "records of another version, or none")    \
    X(NODES_LOST, "nodes_lost", "other nodes that fell silent, as each "      \
      "worker found")                                                         \
    H(RELAY_TIME, "relay_seconds", SECONDS,                                   \
      "how long a record waited in the ring to another worker")               \
    H(HELLO_TIME, "hello_seconds", SECONDS,                                   \
      "from hello to its reply")                                              \
    H(CHAT_TIME, "chat_commit_seconds", SECONDS,                              \
      "from a chat message received to its commit")                           \
    H(CHAT_SIZE, "chat_batch_messages", NUMBER,                               \
      "chat messages stored by one transaction")                              \
    H(PG_TIME, "pg_call_seconds", SECONDS,                                    \
      "from the call of a SQL function to its answer")                        \
    H(PG_SLOW_TIME, "pg_slow_call_seconds", SECONDS,                          \
      "the same of slow reports, with their waiting")                         \
    H(HTTP_TIME, "http_request_seconds", SECONDS,                             \
      "from a REST request's header to its answer")                           \
    H(GROUP_SIZE, "http_group_requests", NUMBER,                              \
      "REST requests that one statement answered")                       \
    H(CALL_RTT, "call_rtt_seconds", SECONDS,                                  \
      "round trips of calls, as parties have measured them")                  \
    H(CALL_JITTER, "call_jitter_seconds", SECONDS,                            \
      "the same of jitter")                                                   \
    H(CALL_LOSS, "call_loss_myriadths", NUMBER,                               \
      "the same of packets lost, of ten thousand")                            \
    H(LOOP_TIME, "loop_lag_seconds", SECONDS,                                 \
      "how late a worker was for what was due, looked at ten times a second; "\
      "a look that could not be is counted as well")

#define NGX_ASTRO_GAUGES_OF(G, M)                                             \
    G(OPEN, "connections", "WebSocket connections open now")                  \
    G(SIGNED_IN, "signed_in", "connections signed in now")                    \
    G(JOINED, "joined", "connections in a session now")                       \
    G(PG_UP, "pg_up", "connections to PostgreSQL that are up, but for those " \
      "of slow reports")                                                      \
    G(PG_WAITING, "pg_queue", "calls that wait for a connection")             \
    G(PG_INFLIGHT, "pg_in_flight", "calls that wait for their answer")        \
    G(PG_SLOW_UP, "pg_slow_up", "connections for slow reports that are up; "  \
      "they are closed when nobody needs them")                               \
    G(PG_SLOW_WAITING, "pg_slow_queue", "slow reports that wait")             \
    G(PG_SLOW_INFLIGHT, "pg_slow_in_flight", "slow reports under way")        \
    G(REDIS_UP, "redis_up", "connections to Redis that are up")               \
    G(OUT_QUEUED, "out_queued_bytes", "bytes waiting for slow clients")       \
    G(DEFLATE_MEMORY, "deflate_memory_bytes", "bytes that compression holds") \
    G(THROTTLED, "throttled", "clients that are not read for a while")        \
    M(RING_HIGH, "ring_high_bytes", "most that ever waited in one ring to "   \
      "a worker that lives")


/* X(name, code, value of the label); 0 and 1 are no codes but ways to go */

#define NGX_ASTRO_CLOSES(X)                                                   \
    X(RESET, 0, "reset")                                                      \
    X(PEER, 1, "peer")                                                        \
    X(PROTOCOL, 1002, "1002")                                                 \
    X(UNSUPPORTED, 1003, "1003")                                              \
    X(DATA, 1007, "1007")                                                     \
    X(TOO_LARGE, 1009, "1009")                                                \
    X(FAILED, 1011, "1011")                                                   \
    X(BAD, 4400, "4400")                                                      \
    X(AUTH, 4401, "4401")                                                     \
    X(FORBIDDEN, 4403, "4403")                                                \
    X(VERSION, 4406, "4406")                                                  \
    X(NO_HELLO, 4408, "4408")                                                 \
    X(REPLACED, 4409, "4409")                                                 \
    X(TOO_MANY, 4429, "4429")                                                 \
    X(INTERNAL, 4500, "4500")                                                 \
    X(DRAINING, 4503, "4503")                                                 \
    X(SLOW, 4504, "4504")                                                     \
    X(RESYNC, 4505, "4505")                                                   \
    X(NO_PONG, 4510, "4510")                                                  \
    X(OTHER, 0xffff, "other")

#define NGX_ASTRO_CLOSE_ID(name, code, value)  NGX_ASTRO_CLOSED_ ## name,

enum {
    NGX_ASTRO_CLOSES(NGX_ASTRO_CLOSE_ID)
    NGX_ASTRO_CLOSE_SLOTS
};


/*
 * A histogram is a bucket for each power of two, one for what is above, and the
 * sum.  Buckets are not cumulative here; Prometheus' are, and are made when
 * they are asked for.
 */

#define NGX_ASTRO_HIST_BUCKETS  24      /* to 2^23: 8.4 s */
#define NGX_ASTRO_HIST_SUM      (NGX_ASTRO_HIST_BUCKETS + 1)
#define NGX_ASTRO_HIST_SLOTS    (NGX_ASTRO_HIST_BUCKETS + 2)


#define NGX_ASTRO_ID_X(id, name, help)          NGX_ASTRO_C_ ## id,
#define NGX_ASTRO_ID_L(id, name, labels, help)  NGX_ASTRO_C_ ## id,

#define NGX_ASTRO_ID_F(id, name, label, n, value, help)                       \
    NGX_ASTRO_C_ ## id,                                                       \
    NGX_ASTRO_C_ ## id ## _LAST = NGX_ASTRO_C_ ## id + (n) - 1,

#define NGX_ASTRO_ID_H(id, name, unit, help)                                  \
    NGX_ASTRO_ID_F(id, name, "", NGX_ASTRO_HIST_SLOTS, NULL, help)

typedef enum {
    NGX_ASTRO_COUNTERS(NGX_ASTRO_ID_X, NGX_ASTRO_ID_L, NGX_ASTRO_ID_F,
                       NGX_ASTRO_ID_H)
    NGX_ASTRO_GAUGES_OF(NGX_ASTRO_ID_X, NGX_ASTRO_ID_X)
    NGX_ASTRO_C_MAX
} ngx_astro_counter_e;

/* the first gauge: from here on a successor begins anew */
#define NGX_ASTRO_GAUGES  NGX_ASTRO_C_OPEN

/* not enough room in a seat: raise ASTRO_ARENA_COUNTERS */
typedef char ngx_astro_counters_fit_t[
    NGX_ASTRO_C_MAX <= ASTRO_ARENA_COUNTERS ? 1 : -1];


#define ngx_astro_count(id)       ngx_astro.counters[NGX_ASTRO_C_ ## id]++
#define ngx_astro_add(id, n)      ngx_astro.counters[NGX_ASTRO_C_ ## id] += (n)
#define ngx_astro_sub(id, n)      ngx_astro.counters[NGX_ASTRO_C_ ## id] -= (n)

/* the i-th of a family */
#define ngx_astro_count_of(id, i)                                             \
    ngx_astro.counters[NGX_ASTRO_C_ ## id + (i)]++

/* value: microseconds, or a number */
#define ngx_astro_observe(id, value)                                          \
    ngx_astro_histogram(ngx_astro.counters, NGX_ASTRO_C_ ## id, value)

static ngx_inline void
ngx_astro_histogram(uint64_t *counters, ngx_uint_t first, uint64_t value)
{
    ngx_uint_t  i;

    /* the lowest i with value <= 2^i */

    i = value <= 1 ? 0 : 64 - __builtin_clzll(value - 1);

    counters[first + ngx_min(i, NGX_ASTRO_HIST_BUCKETS)]++;
    counters[first + NGX_ASTRO_HIST_SUM] += value;
}


/* Values of labels; NULL: no such slot. */
const char *ngx_astro_close_name(ngx_uint_t i);
const char *ngx_astro_type_name(ngx_uint_t i);
const char *ngx_astro_error_name(ngx_uint_t i);
const char *ngx_astro_limit_name(ngx_uint_t i);

/* The slot of a close code, or of one of the two that are none. */
ngx_uint_t ngx_astro_close_slot(ngx_uint_t code);


#endif /* _NGX_ASTRO_COUNTERS_H_INCLUDED_ */
