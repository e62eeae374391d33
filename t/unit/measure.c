
/*
 * Copyright (C) The Astro authors
 *
 * What the units of core cost, on this machine, now: make unit-measure.  Best
 * of several rounds, in processor time, since the machine may be shared; the
 * ring between two threads in time that passed.
 */

#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "astro_arena.h"
#include "astro_deflate.h"
#include "astro_frame.h"
#include "astro_json.h"
#include "astro_jwt.h"
#include "astro_password.h"
#include "astro_ring.h"
#include "astro_sdp.h"
#include "astro_tick.h"
#include "astro_utf8.h"


#define ROUNDS    7
#define RECORDS   2000000
#define RECORD    200       /* bytes */
#define LARGE     16384
#define TICKS     40000
#define OFFER_HEAD  "{\"type\":\"signal_offer\",\"id\":17,\"payload\":{"      \
                    "\"session\":\"s_17\",\"gen\":1,\"sdp\":\""
#define OFFER     (sizeof(OFFER_HEAD) - 1)
#define KEY       "0123456789abcdef0123456789abcdef"


typedef uint64_t (*measured_pt)(void *data, unsigned n);


static const char  envelope[] =
    "{\"type\":\"chat_message\",\"id\":17,\"payload\":{\"conv\":\"c_8\","
    "\"cid\":\"0b54a6f2-3c1f-4c8e-9f37-1c2f4e5a6b7c\",\"kind\":\"text\","
    "\"text\":\"Namaste, when will I get the promotion that we spoke about "
    "last month, in Mercury retrograde?\"}}";

static astro_keys_t         *keys;
static astro_json_parser_t  *parser;
static uint8_t               text[LARGE], frames[LARGE + 16];
static size_t                frames_len;

static uint8_t               ticks[TICKS * ASTRO_TICK_LINE];
static uint8_t              *ticks_last;

static volatile uint64_t     sink;


static double
now(clockid_t id)
{
    struct timespec  t;

    (void) clock_gettime(id, &t);

    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}


/* seconds for one, the best of some rounds */

static double
measure(measured_pt run, void *data, unsigned n)
{
    int     i;
    double  t, best;

    best = 1e9;

    for (i = 0; i < ROUNDS; i++) {
        t = now(CLOCK_PROCESS_CPUTIME_ID);
        sink += run(data, n);
        t = (now(CLOCK_PROCESS_CPUTIME_ID) - t) / n;

        best = (t < best) ? t : best;
    }

    return best;
}


static uint64_t
run_json(void *data, unsigned n)
{
    uint64_t          sum;
    astro_json_doc_t  doc;

    (void) data;

    for (sum = 0; n; n--) {
        sum += (uint64_t) astro_json_parse(parser, (const uint8_t *) envelope,
                                           sizeof(envelope) - 1, &doc);
        sum += doc.payload.n;
    }

    return sum;
}


/* An offer as browsers make it: escaped, some 5 KB; and its envelope. */

static uint64_t
run_offer(void *data, unsigned n)
{
    size_t           *len = data;
    uint64_t          sum;
    astro_json_doc_t  doc;

    for (sum = 0; n; n--) {
        sum += (uint64_t) astro_json_parse(parser, text, *len, &doc);
        sum += doc.payload.n;
    }

    return sum;
}


static uint64_t
run_sdp(void *data, unsigned n)
{
    size_t    *len = data;
    uint64_t   sum;

    for (sum = 0; n; n--) {
        sum += (uint64_t) astro_sdp_check(text + OFFER, *len - OFFER - 3);
    }

    return sum;
}


static void
measure_sdp(void)
{
    int      i;
    char    *p;
    double   t, whole;
    size_t   len;

    p = (char *) text;
    p += sprintf(p, OFFER_HEAD "v=0\\r\\no=- 46 2 IN IP4 127.0.0.1\\r\\ns=-"
                 "\\r\\nt=0 0\\r\\na=group:BUNDLE 0 1\\r\\n");

    for (i = 0; i < 2; i++) {
        p += sprintf(p, "m=%s 9 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126"
                     "\\r\\na=ice-ufrag:Zd4n\\r\\na=fingerprint:sha-256 "
                     "AB:CD:EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89:AB:CD:"
                     "EF:01:23:45:67:89:AB:CD:EF:01:23:45:67:89\\r\\n",
                     i ? "video" : "audio");

        while (p - (char *) text < 2500 * (i + 1)) {
            p += sprintf(p, "a=rtpmap:111 opus\\/48000\\/2\\r\\na=fmtp:111 "
                         "minptime=10;useinbandfec=1\\r\\na=rtcp-fb:111 "
                         "transport-cc\\r\\n");
        }
    }

    p += sprintf(p, "\"}}");
    len = (size_t) (p - (char *) text);

    whole = measure(run_offer, &len, 20000) * 1e9;
    t = measure(run_sdp, &len, 20000) * 1e9;

    printf("SDP, an offer of %zu bytes       %8.1f ns, %.2f ns/byte"
           " (the JSON: %.1f ns)\n",
           len, t, t / (double) (len - OFFER), whole);
}


static uint64_t
run_tick(void *data, unsigned n)
{
    uint64_t        sum;
    astro_tick_t    t;
    const uint8_t  *p;

    (void) data;

    p = ticks;

    for (sum = 0; n; n--) {

        if (p == ticks_last) {
            p = ticks;
        }

        if (!astro_tick_read(&p, ticks_last, &t)) {
            return 0;
        }

        sum += (uint64_t) (t.client + t.advisor);
    }

    return sum;
}


static uint64_t
run_tick_write(void *data, unsigned n)
{
    unsigned       i;
    astro_tick_t   t;

    (void) data;

    t.ver = 5;
    t.paid_until_ms = 1800000000000;
    t.billed_ms = 615000;
    t.charged = 61500;
    t.earned = 43050;
    t.balance = 938500;
    t.left_s = 9385;

    ticks_last = ticks;

    for (i = 0; i < n; i++) {
        t.session = 700000 + i;
        t.client = 1000000 + i * 77 % 600000;
        t.advisor = 2000000 + i * 79 % 600000;
        ticks_last = astro_tick_write(ticks_last, &t);
    }

    return (uint64_t) (ticks_last - ticks);
}


static uint64_t
run_utf8(void *data, unsigned n)
{
    uint64_t  sum;

    (void) data;

    for (sum = 0; n; n--) {
        sum += astro_utf8_feed(ASTRO_UTF8_ACCEPT, text, LARGE);
    }

    return sum;
}


/* a frame of len octets; a mask of zeros, so that it can be read again */

static void
make_frame(size_t len)
{
    frames[0] = 0x81;
    frames_len = 2;

    if (len < 126) {
        frames[1] = (uint8_t) (0x80 | len);

    } else {
        frames[1] = 0x80 | 126;
        frames[2] = (uint8_t) (len >> 8);
        frames[3] = (uint8_t) len;
        frames_len = 4;
    }

    memset(frames + frames_len, 0, 4);
    frames_len += 4;
    memset(frames + frames_len, 'a', len);
    frames_len += len;
}


static uint64_t
run_frames(void *data, unsigned n)
{
    uint8_t            *pos;
    uint64_t            sum;
    astro_ws_event_t    event;

    for (sum = 0; n; n--) {
        pos = frames;

        while (astro_ws_read(data, &pos, frames + frames_len, &event)
               == ASTRO_WS_EVENT)
        {
            sum += event.len;
        }
    }

    return sum;
}


typedef struct {
    astro_deflate_t    *deflate;
    astro_ws_reader_t   reader;
    struct iovec        text;
    uint8_t             packed[LARGE];
} deflated_t;


static uint64_t
run_deflate(void *data, unsigned n)
{
    uint64_t     sum;
    deflated_t  *d = data;

    for (sum = 0; n; n--) {
        sum += astro_deflate_message(d->deflate, &d->text, 1, d->packed,
                                     d->text.iov_len + ASTRO_DEFLATE_SLACK);
    }

    return sum;
}


static uint64_t
run_ring(void *data, unsigned n)
{
    void      *p;
    size_t     len;
    uint64_t   sum;

    for (sum = 0; n; n--) {
        p = astro_ring_reserve(data, RECORD);

        if (p) {
            memcpy(p, &sum, sizeof(sum));
            sum += (uint64_t) astro_ring_commit(data, RECORD);
        }

        if (astro_ring_peek(data, &len)) {
            sum += len;
            astro_ring_release(data);
        }
    }

    return sum;
}


static void *
produce(void *data)
{
    void      *p;
    unsigned   n;

    for (n = 0; n < RECORDS; n++) {

        while ((p = astro_ring_reserve(data, RECORD)) == NULL) {
            sched_yield();
        }

        memset(p, (int) n, RECORD);
        sink += (uint64_t) astro_ring_commit(data, RECORD);
    }

    return NULL;
}


static double
two_threads(astro_ring_t *ring)
{
    double       t;
    size_t       len;
    unsigned     n;
    pthread_t    thread;
    const void  *p;

    t = now(CLOCK_MONOTONIC);

    if (pthread_create(&thread, NULL, produce, ring) != 0) {
        return 0;
    }

    for (n = 0; n < RECORDS; /* void */ ) {
        p = astro_ring_peek(ring, &len);

        if (p == NULL) {
            sched_yield();
            continue;
        }

        sink += *(const uint8_t *) p;
        astro_ring_release(ring);
        n++;
    }

    (void) pthread_join(thread, NULL);

    return (now(CLOCK_MONOTONIC) - t) / RECORDS;
}


static uint64_t
run_lookup(void *data, unsigned n)
{
    uint64_t  sum;

    for (sum = 0; n; n--) {
        sum += astro_registry_seats(data, 1 + n * 7919ULL % 20000);
    }

    return sum;
}


static uint64_t
run_connect(void *data, unsigned n)
{
    uint64_t  sum;

    for (sum = 0; n; n--) {
        sum += (uint64_t) astro_registry_add(data, 50000 + n, 1);
        astro_registry_remove(data, 50000 + n, 1);
    }

    return sum;
}


static uint64_t
run_reclaim(void *data, unsigned n)
{
    uint64_t  sum;

    for (sum = 0; n; n--) {
        sum += (uint64_t) astro_seat_reclaim(data, NULL, NULL);
    }

    return sum;
}


typedef struct {
    ssize_t   len;
    uint8_t   text[512];
} token_t;


static uint64_t
run_jwt(void *data, unsigned n)
{
    token_t         *token = data;
    uint64_t         sum;
    astro_claims_t   claims;

    for (sum = 0; n; n--) {
        sum += astro_jwt_verify(parser, keys, token->text,
                                (size_t) token->len, 1000, &claims);
    }

    return sum;
}


static uint64_t
run_password(void *data, unsigned n)
{
    uint64_t  sum;

    (void) data;

    for (sum = 0; n; n--) {
        sum += (uint64_t) astro_password_verify("astro-demo", 10, NULL);
    }

    return sum;
}


static void
measure_frames(void)
{
    double              t;
    astro_ws_reader_t   reader;

    astro_ws_reader_init(&reader, 65535);

    make_frame(200);
    t = measure(run_frames, &reader, 500000);
    printf("frame, text of 200 bytes          %8.1f ns  %6.2f GB/s\n",
           t * 1e9, 200 / t / 1e9);

    make_frame(LARGE);
    t = measure(run_frames, &reader, 20000);
    printf("frame, text of 16 KB              %8.1f ns  %6.2f GB/s\n",
           t * 1e9, LARGE / t / 1e9);

    astro_ws_reader_free(&reader);
}


/*
 * A chat message as it is told, the first 0.2 KB and 2 KB of a replay of such;
 * the first of them is what a connection that has no context sees each time.
 */

static void
measure_deflate(int bits, int takeover)
{
    int                    i;
    char                   name[64];
    size_t                 len;
    double                 out, back;
    deflated_t             d;
    astro_ws_ext_t         agreed;
    astro_deflate_pool_t  *pool;
    static uint8_t         replay[2400];

    static const size_t    lens[] = { 230, 2300 };

    for (len = 0; len < sizeof(replay) - sizeof(envelope) - 8; /* void */ ) {
        len += (size_t) sprintf((char *) replay + len, "%08zx%s",
                                len * 2654435761U & 0xffffffff, envelope);
    }

    memset(&agreed, 0, sizeof(agreed));

    agreed.on = 1;
    agreed.server_bits = (uint8_t) bits;
    agreed.client_bits = 15;
    agreed.server_takeover = (unsigned) takeover & 1;

    pool = astro_deflate_pool_create(1 << 20, 4);

    if (pool == NULL) {
        return;
    }

    d.deflate = astro_deflate_create(pool, &agreed);
    astro_ws_reader_init(&d.reader, 65535);
    d.reader.deflate = d.deflate;

    for (i = 0; i < 2 && d.deflate; i++) {
        d.text.iov_base = replay;
        d.text.iov_len = lens[i];

        out = measure(run_deflate, &d, 5000);

        (void) run_deflate(&d, 1);
        len = (size_t) run_deflate(&d, 1);
        back = 0;

        if (!takeover) {
            make_frame(len);
            frames[0] |= ASTRO_WS_RSV1;
            memcpy(frames + frames_len - len, d.packed, len);
            back = measure(run_frames, &d.reader, 5000);
        }

        (void) snprintf(name, sizeof(name), "deflate, %zu bytes, window %d%s",
                        lens[i], bits, takeover ? ", kept" : "");
        printf("%-38s%8.1f us to %zu bytes", name, out * 1e6, len);

        if (back > 0) {
            printf(", back %.1f us", back * 1e6);
        }

        printf("\n");
    }

    astro_ws_reader_free(&d.reader);

    if (d.deflate) {
        astro_deflate_destroy(d.deflate);
    }

    astro_deflate_pool_destroy(pool);
}


static void
measure_utf8(void)
{
    size_t  i;
    double  t;

    memset(text, 'a', LARGE);
    t = measure(run_utf8, NULL, 20000);
    printf("UTF-8, ASCII                      %8.1f ns  %6.2f GB/s\n",
           t * 1e9, LARGE / t / 1e9);

    for (i = 0; i + 4 <= LARGE; i += 4) {
        memcpy(text + i, (i % 28) ? "\xe0\xa4\x95" : "\xe0\xa4\xbe", 3);
        text[i + 3] = ' ';
    }

    t = measure(run_utf8, NULL, 2000);
    printf("UTF-8, Devanagari and spaces      %8.1f ns  %6.2f GB/s\n",
           t * 1e9, LARGE / t / 1e9);
}


static int
measure_arena(void)
{
    int                  seat;
    void                *mem;
    size_t               size;
    double               t;
    uint64_t             user;
    astro_ring_t        *ring;
    astro_arena_t       *arena;
    astro_arena_conf_t   conf = { 16, 131072, 65536 };

    size = astro_arena_footprint(&conf);
    mem = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANONYMOUS,
               -1, 0);

    if (mem == MAP_FAILED
        || astro_arena_format(mem, size, &conf) != ASTRO_ARENA_OK)
    {
        return -1;
    }

    arena = mem;

    for (seat = 0; seat < 4; seat++) {

        if (astro_seat_claim(arena, 0) != seat) {
            return -1;
        }
    }

    for (user = 1; user <= 20000; user++) {

        if (astro_registry_add(arena, user, (int) (user % 4)) != 0) {
            return -1;
        }
    }

    ring = astro_arena_ring(arena, 0, 1, 1);

    t = measure(run_ring, ring, 1000000);
    printf("ring, 200 bytes in and out        %8.1f ns  %6.1f M/s\n", t * 1e9,
           1 / t / 1e6);

    t = two_threads(ring);
    printf("ring, between two threads         %8.1f ns  %6.1f M/s\n", t * 1e9,
           1 / t / 1e6);

    t = measure(run_lookup, arena, 1000000);
    printf("registry, one user's seats        %8.1f ns\n", t * 1e9);

    t = measure(run_connect, arena, 1000000);
    printf("registry, connect and disconnect  %8.1f ns\n", t * 1e9);

    t = measure(run_reclaim, arena, 200);
    printf("seats, a look for dead owners     %8.1f us\n", t * 1e6);

    printf("arena, 16 seats, rings of 128 KB  %8.1f MB\n",
           (double) size / 1e6);

    return 0;
}


int
main(void)
{
    token_t          token;
    astro_claims_t   claims;

    parser = astro_json_parser_create();

    if (parser == NULL) {
        return 1;
    }

    printf("JSON, envelope of %zu bytes        %8.1f ns\n",
           sizeof(envelope) - 1, measure(run_json, NULL, 200000) * 1e9);

    measure_sdp();
    measure_utf8();
    measure_frames();
    measure_deflate(12, 0);
    measure_deflate(15, 0);
    measure_deflate(12, 1);

    printf("tick, a line written              %8.1f ns\n",
           measure(run_tick_write, NULL, TICKS) * 1e9);
    printf("tick, a line read                 %8.1f ns\n",
           measure(run_tick, NULL, TICKS) * 1e9);

    if (measure_arena() != 0) {
        return 1;
    }

    memset(&claims, 0, sizeof(claims));

    claims.user = 1;
    claims.role = ASTRO_ROLE_CLIENT;
    claims.exp = 2000;

    keys = astro_keys_create();

    if (keys == NULL
        || astro_keys_add_secret(keys, (const uint8_t *) KEY, 32) != 0)
    {
        return 1;
    }

    token.len = astro_jwt_issue(keys, &claims, token.text,
                                sizeof(token.text));

    if (token.len < 0) {
        return 1;
    }

    printf("JWT, verify                       %8.1f us\n",
           measure(run_jwt, &token, 20000) * 1e6);
    printf("password, verify                  %8.1f ms\n",
           measure(run_password, NULL, 1) * 1e3);

    astro_keys_destroy(keys);
    astro_json_parser_destroy(parser);

    return 0;
}
