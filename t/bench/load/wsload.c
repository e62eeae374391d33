
/*
 * Copyright (C) The Astro authors
 *
 * wsload: a WebSocket load generator that knows no server.  What it sends and
 * to where is in a connection file (load_plan.h); what it counts, and how, in
 * load_run.h.  Options: see load_usage[].
 *
 * Prints one line for each phase, on stdout:
 *
 *     ready opened=400 failed=0 ready=400 setup_s=0.061 ready_per_s=6557
 *     holding                                             with -i
 *     stop                                                sending is over
 *     result sent=... delivered=... lost=...              see load_report()
 *
 * Exit code: 0, 1 if no connection was ready, 2 if it could not run.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "load_run.h"


typedef struct {
    const char  *file;
    const char  *address;
    int          port;
    double       hold;          /* s; 0: measure */
    double       quiet;         /* s between set-up and load */
    unsigned     tls:1;
} load_options_t;


static int load_options(load_options_t *o, int argc, char **argv);
static int load_target(const load_options_t *o);
static SSL_CTX *load_tls(void);
static void load_files(void);
static void load_signal(int signo);
static void load_report(void);


static const char  load_usage[] =
    "usage: wsload [options] FILE\n"
    "  -H ADDRESS   of the server (127.0.0.1)\n"
    "  -p PORT      of the server\n"
    "  -t           TLS, certificate not verified\n"
    "  -w N         closed loop: N messages of each sender on their way (1)\n"
    "  -r N         open loop: N messages a second in all\n"
    "  -d SECONDS   of sending (5)\n"
    "  -i SECONDS   send nothing: hold the connections, until SIGTERM at most\n"
    "  -q SECONDS   quiet time between set-up and load (0.5)\n"
    "  -s SECONDS   at most for the set-up (60)\n"
    "  -b N         connections being opened at a time (256)\n"
    "  -n N         spread over the N source addresses 127.0.1.1 ..\n"
    "  -o           a sender's own receipt counts as a delivery too\n"
    "  -a TEXT=TEXT answer a message that starts with the one by the other\n";

static const double  load_drain = 2.0;      /* s */


int
main(int argc, char **argv)
{
    load_options_t  o;

    if (load_options(&o, argc, argv) != 0) {
        fputs(load_usage, stderr);
        return 2;
    }

    load_run.plans = load_plan_read(o.file, &load_run.nconns);

    if (load_run.plans == NULL || load_target(&o) != 0
        || load_run_init() != 0)
    {
        return 2;
    }

    load_files();
    signal(SIGTERM, load_signal);
    signal(SIGINT, load_signal);
    signal(SIGPIPE, SIG_IGN);
    setvbuf(stdout, NULL, _IOLBF, 0);

    load_run_setup();

    printf("ready opened=%u failed=%u ready=%u setup_s=%.3f ready_per_s=%.0f\n",
           load_run.opened, load_run.failed, load_run.ready, load_run.setup,
           load_run.ready / load_run.setup);

    if (load_run.ready == 0) {
        return 1;
    }

    load_run_idle(o.quiet);

    if (o.hold > 0) {
        puts("holding");
        load_run_idle(o.hold);

    } else {
        load_run_measure();
        puts("stop");
        load_run_drain(load_drain);
    }

    load_report();

    return 0;
}


static int
load_options(load_options_t *o, int argc, char **argv)
{
    int    opt;
    char  *pong;

    memset(o, 0, sizeof(load_options_t));

    o->address = "127.0.0.1";
    o->quiet = 0.5;
    load_run.burst = 256;
    load_run.window = 1;
    load_run.seconds = 5;
    load_run.setup_max = 60;

    while ((opt = getopt(argc, argv, "H:p:tw:r:d:i:q:s:b:n:oa:")) != -1) {

        switch (opt) {

        case 'H':
            o->address = optarg;
            break;

        case 'p':
            o->port = atoi(optarg);
            break;

        case 't':
            o->tls = 1;
            break;

        case 'w':
            load_run.window = (unsigned) strtoul(optarg, NULL, 10);
            break;

        case 'r':
            load_run.rate = atof(optarg);
            break;

        case 'd':
            load_run.seconds = atof(optarg);
            break;

        case 'i':
            o->hold = atof(optarg);
            break;

        case 'q':
            o->quiet = atof(optarg);
            break;

        case 's':
            load_run.setup_max = atof(optarg);
            break;

        case 'b':
            load_run.burst = (unsigned) strtoul(optarg, NULL, 10);
            break;

        case 'n':
            load_world.peer.sources = (unsigned) strtoul(optarg, NULL, 10);
            break;

        case 'o':
            load_run.own = 1;
            break;

        case 'a':
            pong = strchr(optarg, '=');
            if (pong == NULL) {
                return -1;
            }

            *pong = '\0';
            load_world.ping = optarg;
            load_world.pong = pong + 1;
            break;

        default:
            return -1;
        }
    }

    if (optind + 1 != argc || o->port < 1 || o->port > 65535
        || load_run.burst == 0 || load_run.window == 0)
    {
        return -1;
    }

    o->file = argv[optind];

    return 0;
}


static int
load_target(const load_options_t *o)
{
    static char  host[64];

    load_world.peer.addr.sin_family = AF_INET;
    load_world.peer.addr.sin_port = htons((uint16_t) o->port);

    if (inet_pton(AF_INET, o->address, &load_world.peer.addr.sin_addr) != 1) {
        fprintf(stderr, "wsload: \"%s\" is no IPv4 address\n", o->address);
        return -1;
    }

    snprintf(host, sizeof(host), "%s:%d", o->address, o->port);
    load_world.host = host;

    if (o->tls) {
        load_world.peer.tls = load_tls();

        if (load_world.peer.tls == NULL) {
            fputs("wsload: no TLS context\n", stderr);
            return -1;
        }
    }

    return 0;
}


static SSL_CTX *
load_tls(void)
{
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_client_method());
    if (ctx == NULL) {
        return NULL;
    }

    SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);

    /* what is written again may have moved: buffers grow */

    SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE
                          |SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                          |SSL_MODE_RELEASE_BUFFERS);

    if (SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) != 1) {
        SSL_CTX_free(ctx);
        return NULL;
    }

    return ctx;
}


/* As many descriptors as we may have. */

static void
load_files(void)
{
    struct rlimit  limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return;
    }

    limit.rlim_cur = limit.rlim_max;

    if (setrlimit(RLIMIT_NOFILE, &limit) != 0
        || limit.rlim_max < load_run.nconns + 16)
    {
        fprintf(stderr, "wsload: %u connections, but only %llu files\n",
                load_run.nconns, (unsigned long long) limit.rlim_max);
    }
}


static void
load_signal(int signo)
{
    (void) signo;

    load_run_stop();
}


/* "lost" counts what no one had received when the drain was over. */

static void
load_report(void)
{
    load_run_t  *r;

    r = &load_run;

    printf("result sent=%llu delivered=%llu lost=%lld disorder=%llu "
           "skipped=%llu closed=%u seconds=%.3f in_time=%llu rate=%.0f "
           "p50_us=%.1f p99_us=%.1f p999_us=%.1f max_us=%.1f\n",
           (unsigned long long) r->sent, (unsigned long long) r->delivered,
           (long long) (r->sent - r->delivered),
           (unsigned long long) r->disorder, (unsigned long long) r->skipped,
           r->closed, r->elapsed, (unsigned long long) r->in_time,
           r->elapsed > 0 ? (double) r->in_time / r->elapsed : 0.0,
           (double) load_hist_quantile(&r->latency, 0.50) / 1e3,
           (double) load_hist_quantile(&r->latency, 0.99) / 1e3,
           (double) load_hist_quantile(&r->latency, 0.999) / 1e3,
           (double) r->latency.max / 1e3);
}
