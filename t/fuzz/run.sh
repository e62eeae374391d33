#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# Runs fuzz targets, FUZZ_JOBS (2) at a time, each for FUZZ_SECONDS, from the
# corpus that is kept and from what earlier runs found.  `make fuzz` builds them
# first.
#
#     t/fuzz/run.sh NAME...           runs them
#     t/fuzz/run.sh --keep NAME...    what was found goes into t/fuzz/corpus,
#                                     and what that makes needless leaves it
#
# What breaks a target is kept as FUZZ_DIR/crash/NAME-*; the way to run it again
# is printed.  Exit status 0 only if nothing broke.

set -uo pipefail

cd "$(dirname "$0")/../.." || exit 1

FUZZ_DIR=${FUZZ_DIR:-build/fuzz}
FUZZ_SECONDS=${FUZZ_SECONDS:-25}
FUZZ_JOBS=${FUZZ_JOBS:-2}

# an input is at most this long, and takes at most so many seconds
LIMITS=(-max_len=8192 -timeout=20 -rss_limit_mb=1024)


run_one() {
    local name=$1 found=$FUZZ_DIR/found/$1 log=$FUZZ_DIR/$1.log bad

    mkdir -p "$found" "$FUZZ_DIR/crash" "t/fuzz/corpus/$name"

    if "$FUZZ_DIR/fuzz_$name" "${LIMITS[@]}" \
           -max_total_time="$FUZZ_SECONDS" -print_final_stats=1 \
           -artifact_prefix="$FUZZ_DIR/crash/$name-" \
           "$found" "t/fuzz/corpus/$name" > "$log" 2>&1
    then
        printf 'fuzz: %-8s %10s inputs, coverage %s, corpus %s\n' "$name" \
            "$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")" \
            "$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)" \
            "$(sed -n 's/.* corp: \([0-9]*\).*/\1/p' "$log" | tail -n 1)"
        return 0
    fi

    grep -aE 'not so:|ERROR: |runtime error: |SUMMARY: |^    #[0-4] ' "$log" \
        | head -n 20
    bad=$(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1)
    printf 'fuzz: %s BROKE; all it said: %s\n' "$name" "$log"
    [ -z "$bad" ] || printf 'fuzz: again: %s %s\n' \
        "$FUZZ_DIR/fuzz_$name" "$bad"
    return 1
}


# The smallest set of inputs that reaches every place that the old and the new
# do; how often does not count, or there would be ten times as many.
keep_one() {
    local name=$1 new=$FUZZ_DIR/kept/$1 old=t/fuzz/corpus/$1

    mkdir -p "$FUZZ_DIR/found/$name" "$old"
    rm -rf "$new"
    mkdir -p "$new"

    "$FUZZ_DIR/fuzz_$name" "${LIMITS[@]}" -merge=1 -use_counters=0 "$new" "$old" \
        "$FUZZ_DIR/found/$name" > "$FUZZ_DIR/$name.log" 2>&1 || return 1

    rm -rf "$old" "$FUZZ_DIR/found/$name"
    mv "$new" "$old"
    printf 'fuzz: %-8s keeps %s inputs, %s\n' "$name" \
        "$(find "$old" -type f | wc -l)" "$(du -sh --apparent-size "$old" \
                                            | cut -f 1)"
}


what=run_one

if [ "${1:-}" = --keep ]; then
    what=keep_one
    shift
fi

export -f run_one keep_one
export FUZZ_DIR FUZZ_SECONDS
declare -p LIMITS > /dev/null

# arrays are not exported: each job reads this file's
export LIMITS_TEXT="${LIMITS[*]}"

printf '%s\n' "$@" | xargs -P "$FUZZ_JOBS" -I NAME bash -c \
    'read -ra LIMITS <<< "$LIMITS_TEXT"; '"$what"' NAME'
