#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# Installs the Debian packages that are missing, and for the tests some packages
# of npm's, into build/:
#
#     scripts/setup.sh [run|test|bench]...      default: run
#
# Each set holds what the one before it needs.  As root, or as a user with
# sudo.  While it installs, Debian's own habit of starting every service it
# installs is switched off: this project starts its private ones itself.

set -euo pipefail

RUN="nginx nginx-dev postgresql-15 postgresql-client-15 redis-server
     gcc make libc6-dev pkg-config libpq-dev libyajl-dev libhiredis-dev
     libcurl4-openssl-dev ca-certificates
     libuv1-dev libssl-dev zlib1g-dev libpcre2-dev libxslt1-dev libgd-dev
     libgeoip-dev libperl-dev libxml2-dev openssl util-linux
     python3 python3-websockets python3-psycopg"

TEST="check clang libclang-rt-14-dev clang-tidy cppcheck python3-pytest
      python3-pytest-xdist python3-hypothesis python3-redis python3-jwt
      python3-cryptography
      prometheus libfaketime coturn chromium-headless-shell curl"

BENCH="libnginx-mod-nchan wrk"


say() {
    printf '== setup: %s\n' "$*"
}


die() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}


# The names, of those given, that are not installed.
missing() {
    local have

    have=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' "$@" 2>/dev/null \
           | awk '$2 == "installed" { print $1 }' || true)

    comm -23 <(printf '%s\n' "$@" | sort -u) <(printf '%s\n' "$have" | sort -u)
}


# Runs as root.  The policy file tells Debian's packages to start nothing; one
# that is there already belongs to someone else and stays as it is.
install_packages() {
    local log policy=/usr/sbin/policy-rc.d

    log=$(mktemp /tmp/astro-apt.XXXXXX)

    if [ ! -e "$policy" ]; then
        trap 'rm -f /usr/sbin/policy-rc.d' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' > "$policy"
        chmod 755 "$policy"
    fi

    export DEBIAN_FRONTEND=noninteractive

    say "apt-get update"

    if ! apt-get -q -o DPkg::Lock::Timeout=120 update > "$log" 2>&1; then
        say "apt-get update failed; trying with the package lists there are"
    fi

    say "apt-get install: $*"

    if ! apt-get -q -y -o DPkg::Lock::Timeout=120 install \
             --no-install-recommends "$@" >> "$log" 2>&1
    then
        tail -n 15 "$log" >&2
        die "apt-get could not install the packages above (all of it: $log).
       Is this machine online, and Debian 12 in its apt sources?  Without a
       network, install these by other means and run this again:
         $*"
    fi

    rm -f "$log"
}


if [ "${1:-}" = --as-root ]; then
    shift
    install_packages "$@"
    exit 0
fi

# npm may have come from elsewhere, within another nodejs package.
node() {
    command -v node > /dev/null && command -v npm > /dev/null \
        || printf 'nodejs npm'
}


# Another WebSocket client and vendors' own packages, those of the lock file,
# for the tests.
install_peers() {
    local from to log

    from=$(cd "$(dirname "$0")/../t/integration/peers" && pwd)
    to=$(cd "$(dirname "$0")/.." && pwd)/build/test-peers
    log=$to/npm.log

    [ -d "$to/node_modules" ] \
        && cmp -s "$from/package-lock.json" "$to/package-lock.json" && return

    say "npm ci: ws, jose, stripe, razorpay, redocly, axe-core," \
        "into build/test-peers"
    rm -rf "$to"
    mkdir -p "$to"
    cp "$from/package.json" "$to"

    (cp "$from/package-lock.json" "$to/package-lock.json.new" \
         && cd "$to" && mv package-lock.json.new package-lock.json \
         && npm ci --ignore-scripts --no-audit --no-fund) > "$log" 2>&1 \
        || { tail -n 15 "$log" >&2; rm -rf "$to/node_modules"
             die "npm could not install the tests' other client (all it said:
       $log).  Is this machine online?"; }
}


[ $# -gt 0 ] || set -- run
want=
peers=

for set in "$@"; do
    case $set in
    run)    want="$want $RUN" ;;
    test)   want="$want $RUN $TEST $(node)" peers=1 ;;
    bench)  want="$want $RUN $TEST $BENCH $(node)" ;;

    *)      die "unknown set \"$set\"; there are: run test bench" ;;
    esac
done

command -v dpkg-query > /dev/null \
    || die "this is not Debian: install by other means: $want"

lack=$(missing $want)

if [ -z "$lack" ]; then
    say "all packages are there"
    [ -z "$peers" ] || { install_peers; "$(dirname "$0")/docs.sh"; }
    exit 0
fi

. /etc/os-release

if [ "${VERSION_CODENAME:-}" != bookworm ]; then
    say "made for Debian 12 (bookworm), this is ${PRETTY_NAME:-unknown};" \
        "trying all the same"
fi

if [ "$(id -u)" = 0 ]; then
    "$0" --as-root $lack

elif command -v sudo > /dev/null; then
    say "these packages are missing and sudo installs them:" $lack
    sudo -- "$0" --as-root $lack \
        || die "sudo could not install them; as root: apt-get install" $lack

else
    die "packages are missing, and there is neither root nor sudo.  As root:
       apt-get install --no-install-recommends" $lack
fi

lack=$(missing $want)
[ -z "$lack" ] || die "still missing after the installation:" $lack
[ -z "$peers" ] || { install_peers; "$(dirname "$0")/docs.sh"; }
say "done"
