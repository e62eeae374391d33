#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# make run: everything on this machine, with a consultation to watch.
#
#     scripts/run.sh [--no-demo] [--no-wait] [--no-setup]
#
# Installs what is missing, builds, starts private PostgreSQL and Redis, nginx
# and the billing worker, shows a scripted consultation until its money is
# spent, prints URL and logins, and runs until Ctrl-C, which stops all of it.
#
#     --no-demo     starts everything and leaves the consultation out
#     --no-wait     stops everything when the consultation is over
#     --no-setup    does not look for missing packages
#
# Settings, from the environment:
#
#     ASTRO_PORT    8443        HTTPS port
#     ASTRO_LISTEN  127.0.0.1   address it listens at
#     ASTRO_VAR     ./var       where all state is kept
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
child=
started=

for arg in "$@"; do
    case $arg in
    --no-demo)  demo= ;;
    --no-wait)  wait= ;;
    --no-setup) setup= ;;
    -h|--help)  sed -n '/^# make run/,/^$/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *)          die "unknown option \"$arg\"; --help shows them" ;;
    esac
done

# So that everything moves within the twenty seconds of the consultation.
export ASTRO_SETTINGS=${ASTRO_SETTINGS-"astro_debug on
astro_live_ping 1s
astro_live_silence 2s
astro_ready 5s"}
export ASTRO_WORKER_SETTINGS=${ASTRO_WORKER_SETTINGS-"tick_seconds = 2
paid_ahead_seconds = 10
low_seconds = 8"}


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
    "$@" &
    child=$!
    wait "$child"
    child=
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

say "building (the first time takes half a minute)"
make -s -C "$REPO" BUILD="$BUILD" build

trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
started=1

say "starting PostgreSQL and Redis in $VAR"
run "$REPO/scripts/stack.sh" start pg redis

say "migrating and making the demo accounts"
run "$REPO/scripts/stack.sh" migrate
run "$REPO/scripts/stack.sh" seed

say "starting nginx and billing_worker"
run "$REPO/scripts/stack.sh" start nginx worker

if [ -n "$demo" ]; then
    printf '\n'
    run "$PYTHON" "$REPO/scripts/demo.py" \
        --url "https://$LISTEN:$PORT" --ca "$VAR/tls/cert.pem" \
        --pg "$("$REPO/scripts/stack.sh" conninfo)"

    printf '\nbilling_worker audit, of all books:\n'
    "$REPO/scripts/stack.sh" audit | sed 's/^/    /'
fi

[ -n "$wait" ] || exit 0

cat <<TEXT

Astro is up:  https://$LISTEN:$PORT   (self-signed: curl --cacert $VAR/tls/cert.pem)

    logins    client@demo.test   advisor@demo.test   admin@demo.test
              client2..4@demo.test   advisor2..4@demo.test   admin2@demo.test
    password  astro-demo
    try       curl --cacert $VAR/tls/cert.pem https://$LISTEN:$PORT/api/health
    logs      $VAR/log

Ctrl-C stops it.
TEXT

# from here on Ctrl-C is how it ends, and no failure
trap 'exit 0' INT
run sleep infinity
