#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# make run: everything on this machine, to be one's own client and advisor.
#
#     scripts/run.sh [--no-demo] [--no-wait] [--no-setup] [--no-build]
#
# Installs what is missing, builds, starts private PostgreSQL and Redis, nginx,
# the billing worker, coturn where it is installed, and a Stripe that is none.
# Prints the URL of the pages; meanwhile two scripts hold a consultation until
# its money is spent, so that there is something to watch.  Runs until Ctrl-C,
# which stops all of it.
#
#     --no-demo     starts everything and leaves the consultation out
#     --no-wait     stops everything when the consultation is over
#     --no-setup    does not look for missing packages
#     --no-build    takes what is built
#
# Settings, from the environment:
#
#     ASTRO_PORT    8443        HTTPS port
#     ASTRO_LISTEN  127.0.0.1   address it listens at
#     ASTRO_VAR     ./var       where all state is kept
#     ASTRO_TURN_PORT, ASTRO_VENDOR_PORT  (free ones)  of coturn and Stripe
#     ASTRO_PG      (private)   conninfo of an existing PostgreSQL database,
#                               as its owner, in its place
#     ASTRO_REDIS   (private)   unix:/path or host:port of an existing Redis
#
# scripts/README.md has the rest.

set -euo pipefail
. "$(dirname "$0")/env.sh"

demo=1
wait=1
setup=1
build=1
child=
started=

for arg in "$@"; do
    case $arg in
    --no-demo)  demo= ;;
    --no-wait)  wait= ;;
    --no-setup) setup= ;;
    --no-build) build= ;;
    -h|--help)  sed -n '/^# make run/,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *)          die "unknown option \"$arg\"; --help shows them" ;;
    esac
done

# So that everything moves within the twenty seconds of the script.
export ASTRO_SETTINGS=${ASTRO_SETTINGS-"astro_debug on
astro_live_ping 1s
astro_live_silence 4s
astro_ready 5s"}
export ASTRO_WORKER_SETTINGS=${ASTRO_WORKER_SETTINGS-"tick_seconds = 2
paid_ahead_seconds = 10
low_seconds = 30"}


finish() {
    local status=$?

    trap '' INT TERM HUP
    trap - EXIT

    [ -z "$child" ] || kill "$child" 2> /dev/null || true

    if [ -n "$started" ]; then
        say "stopping"
        "$REPO/scripts/stack.sh" stop || status=1
        say "stopped; what it kept is in $VAR"
    fi

    exit "$status"
}


# In the background, so that a signal is heard at once.
run() {
    local status=0

    "$@" &
    child=$!
    wait "$child" || status=$?
    child=
    return "$status"
}


# A port that nobody has, for datagrams and for streams.
free_port() {
    "$PYTHON" - <<'PY'
import socket

while True:
    with socket.socket() as tcp, \
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        tcp.bind(('127.0.0.1', 0))
        try:
            udp.bind(tcp.getsockname())
        except OSError:
            continue
        print(tcp.getsockname()[1])
        break
PY
}


# What a demo has and a fleet has not.  What is not there is left out.
choose_parts() {
    export ASTRO_DEMO=1

    if ! command -v turnserver > /dev/null; then
        unset ASTRO_TURN_PORT
        say "coturn is not installed: calls go without a relay, which is" \
            "enough on one machine (apt-get install coturn)"

    else
        export ASTRO_TURN_PORT=${ASTRO_TURN_PORT:-$(free_port)}
    fi

    if [ ! -e "$REPO/t/vendors/server.py" ]; then
        unset ASTRO_VENDOR_PORT
        say "t/vendors is not there: wallets cannot be topped up"

    else
        export ASTRO_VENDOR_PORT=${ASTRO_VENDOR_PORT:-$(free_port)}
    fi
}


# The consultation of the scripts, and the proof of all books.
show() {
    run "$PYTHON" "$REPO/scripts/demo.py" \
        --url "$at" --ca "$VAR/tls/cert.pem" \
        --pg "$("$REPO/scripts/stack.sh" conninfo)" || return

    printf '\nbilling_worker audit, of all books:\n'
    "$REPO/scripts/stack.sh" audit | sed 's/^/    /'
}


[ -z "$setup" ] || "$REPO/scripts/setup.sh" run

find_var
export ASTRO_VAR=$VAR

running=$("$REPO/scripts/stack.sh" status | grep running || true)

if [ -n "$running" ]; then
    die "something runs in $VAR already:
$running
Stop it first (Ctrl-C where it was started, or scripts/stack.sh stop), or set
ASTRO_VAR and ASTRO_PORT for a second one."
fi

"$REPO/scripts/stack.sh" port

if [ -n "$build" ]; then
    say "building (the first time takes a minute or two)"
    make -s -C "$REPO" BUILD="$BUILD" build
fi

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
started=1

choose_parts

say "starting PostgreSQL and Redis in $VAR"
run "$REPO/scripts/stack.sh" start pg redis ${ASTRO_TURN_PORT:+turn} \
    ${ASTRO_VENDOR_PORT:+vendor}

say "migrating and making the demo accounts"
run "$REPO/scripts/stack.sh" migrate
run "$REPO/scripts/stack.sh" seed

say "starting nginx and billing_worker"
run "$REPO/scripts/stack.sh" start nginx worker

# what scripts reach it by, and people: the certificate is for both names
at=https://${LISTEN/#0.0.0.0/127.0.0.1}:$PORT
url=$at

case $LISTEN in
127.0.0.1|0.0.0.0) url=https://localhost:$PORT ;;
esac

say "a past for the demo accounts: seven short consultations (once)"
run "$PYTHON" "$REPO/scripts/past.py" --url "$at" --ca "$VAR/tls/cert.pem" \
    || say "that did not work; pages will be emptier, and nothing else"

cat <<TEXT

Astro is up. Open

    $url

Your browser warns once: this machine has signed its certificate itself, and no
authority knows it. Choose "Advanced" and go on. Three doors are on the page,
each its own window:

    the advisor     is online at once, and answers
    the client      finds the advisor, and calls: chat, voice or video
    the operator    watches all of it
TEXT

if [ -n "$demo" ]; then
    printf '\nMeanwhile, two scripts talk until the money is spent:\n\n'
    if ! show; then
        # whoever has opened the pages goes on
        [ -n "$wait" ] || exit 1
        say "the scripts' consultation was not what it should be: see above"
    fi
fi

[ -n "$wait" ] || exit 0

cat <<TEXT

Astro is up:  $url

    logins    client@demo.test   advisor@demo.test   admin@demo.test
              client2..4@demo.test   advisor2..4@demo.test   admin2@demo.test
    password  astro-demo
    try       curl --cacert $VAR/tls/cert.pem $url/api/health
    logs      $VAR/log

Ctrl-C stops it.
TEXT

# from here on Ctrl-C is how it ends, and no failure
trap 'exit 0' INT
run sleep infinity
