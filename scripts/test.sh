#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# make test: installs what is missing, builds with gcc and with clang, and runs
# everything.  The last line is "N passed, N failed"; exit status 0 only if
# nothing failed.
#
#     scripts/test.sh [stage]...      default: build lint checks integration
#                                     integration-asan deaths
#
#     build         gcc, clang, and gcc with the sanitizers, without a warning
#     lint          clang-tidy, cppcheck, house rules
#     checks        all of these, side by side, as each keeps one core busy:
#     unit          the C units; unit-asan: again under ASan and UBSan;
#                   unit-tsan: what threads share, under ThreadSanitizer
#     web           the web client's modules that know no page, under Node
#     fuzz          the parsers under libFuzzer, 3 s each (FUZZ_SECONDS)
#     integration   against a private stack; integration-asan: again, sanitized
#     deaths        all of these, side by side, as they mostly wait:
#     chaos         kills in mid-session: 200 pairs for a minute, and sanitized
#     trials        short lives in which something dies, and whose books must
#                   be right: 20 (ASTRO_TRIALS)
#     planted       bugs are planted in copies of the tree: a test fails each
#     vendors       vendors that do all that may go wrong, for half a minute:
#                   their books and ours agree

set -uo pipefail
. "$(dirname "$0")/env.sh"
cd "$REPO" || exit 1

ASAN=$BUILD/asan
LOGS=$BUILD/test-logs
passed=0
failed=0
report=
flaky=


stage() {
    printf '\n== test: %s\n' "$*"
    begin=$SECONDS
}


# score NAME PASSED FAILED
score() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    report="$report$(printf '%-22s %4s passed  %3s failed  %4s s' \
            "$1" "$2" "$3" "$((SECONDS - begin))")"$'\n'
}


# step NAME COMMAND...: counts as one test.
step() {
    begun "$@"
    ended "$1"
}


# begun NAME COMMAND...: runs it; how it went says ended NAME.
begun() {
    local name=$1

    shift
    "$@" > "$LOGS/$name.log" 2>&1
    echo $? > "$LOGS/$name.status"
}


ended() {
    local name=$1

    if [ "$(cat "$LOGS/$name.status")" = 0 ]; then
        score "$name" 1 0
        return 0
    fi

    tail -n 60 "$LOGS/$name.log"
    printf '== test: %s FAILED; all it said: %s\n' "$name" "$LOGS/$name.log"
    score "$name" 0 1
    return 1
}


# units NAME ARG...: runs them; how it went says units_verdict NAME.
units() {
    local name=$1

    shift
    begun "$name" make "$@" unit
}


# a part of the rounds: `make unit` and `make soak` have all of them
plain_units() {
    ASTRO_EFFORT="${ASTRO_EFFORT:-0.3}" units unit BUILD="$BUILD"
}


# what is random is for "unit": here each line of it has to run
asan_units() {
    ASTRO_EFFORT="${ASTRO_EFFORT:-0.3}" \
        units unit-asan BUILD="$ASAN" SANITIZE=1
}


tsan_units() {
    units unit-tsan BUILD="$BUILD/tsan" SAN=-fsanitize=thread \
        UNIT="check_ring_threads check_registry"
}


# Check's own summaries say how many there were.
units_verdict() {
    local name=$1 status ran bad

    status=$(cat "$LOGS/$name.status")

    read -r ran bad < <(sed -n 's/^[0-9]*%: Checks: \([0-9]*\), '\
'Failures: \([0-9]*\), Errors: \([0-9]*\).*/\1 \2 \3/p' "$LOGS/$name.log" \
        | awk '{ n += $1; bad += $2 + $3 } END { print n + 0, bad + 0 }')

    if [ $status != 0 ] && [ "$bad" = 0 ]; then
        bad=1
        ran=$((ran + 1))
    fi

    [ "$bad" = 0 ] || grep -vE '^[0-9]+%: .* Failures: 0, Errors: 0$' \
        "$LOGS/$name.log" | tail -n 40

    if [ "$ran" = 0 ]; then
        printf 'no unit test ran\n'
        bad=1
        ran=1
    fi

    score "$name" $((ran - bad)) "$bad"
}


# Each target of t/fuzz is a test; 3 s of it find what is near its corpus.
fuzzes() {
    make BUILD="$BUILD" FUZZ_SECONDS="${FUZZ_SECONDS:-3}" fuzz \
        > "$LOGS/fuzz.log" 2>&1
}


fuzz_verdict() {
    local name=fuzz ran bad

    ran=$(grep -c '^fuzz: .* inputs, ' "$LOGS/$name.log")
    bad=$(find t/fuzz -name 'fuzz_*.c' | wc -l)
    bad=$((bad - ran))

    [ "$bad" = 0 ] || tail -n 60 "$LOGS/$name.log"
    score "$name" "$ran" "$bad"
}


web_units() {
    node --test t/web > "$LOGS/web.log" 2>&1
}


web_verdict() {
    local ran bad

    ran=$(sed -n 's/^# tests //p' "$LOGS/web.log")
    bad=$(sed -n 's/^# \(fail\|cancelled\) //p' "$LOGS/web.log" \
          | awk '{ n += $1 } END { print n + 0 }')

    if [ "${ran:-0}" = 0 ]; then
        ran=1
        bad=1
    fi

    [ "$bad" = 0 ] || tail -n 60 "$LOGS/web.log"
    score web $((ran - bad)) "$bad"
}


# Built before, all at once: two makes must not build the same thing.
checks() {
    make -j 2 BUILD="$BUILD" unit-build fuzz-build > "$LOGS/checks.log" 2>&1 \
        || { tail -n 60 "$LOGS/checks.log"; score checks 0 1; return; }

    (plain_units; tsan_units) &
    pids=($!)
    asan_units &
    pids+=($!)
    fuzzes &
    pids+=($!)
    web_units &
    pids+=($!)
    wait "${pids[@]}"
    pids=()

    units_verdict unit
    units_verdict unit-asan
    units_verdict unit-tsan
    fuzz_verdict
    web_verdict
}


# together NAME BUILD PATH... [-- NAME BUILD PATH...]...: a pytest for each
# group, all at once: they mostly wait, each with servers of its own.
together() {
    local -a group=() names=()
    local arg name i

    pids=()

    for arg in "$@" --; do
        if [ "$arg" != -- ]; then
            group+=("$arg")
            continue
        fi

        names+=("${group[0]}")
        pytests "${group[@]}" > "$LOGS/${group[0]}.log" 2>&1 &
        pids+=($!)
        group=()
    done

    for ((i = 1; ; i++)); do
        kill -0 "${pids[@]}" 2> /dev/null || break
        sleep 1

        if ((i % 20 == 0)); then
            for name in "${names[@]}"; do
                printf '   %s s  %s  %s\n' "$((SECONDS - begin))" "$name" \
                    "$(grep -ao '\[ *[0-9]*%\]$' "$LOGS/$name.log" | tail -n 1)"
            done
        fi
    done

    wait "${pids[@]}"
    pids=()

    group=()

    for arg in "$@" --; do
        if [ "$arg" != -- ]; then
            group+=("$arg")
            continue
        fi

        tail -n 1 "$LOGS/${group[0]}.log"
        again "${group[@]}"
        verdict "${group[0]}"
        group=()
    done
}


# again NAME BUILD PATH...: what failed beside others is tried once more, with
# the machine to itself.  A test that fails twice has failed.  One that passes
# now is named in the report: six files at a time on two cores is not what
# time limits are made for, or it is a rare fault, which only a person can
# tell (one that leaves a stack standing still takes those after it along).
# More than some dozen at once are no accident and are not tried again.
again() {
    local name=$1 bad

    read -r _ bad < <(count "$name")

    if [ "$bad" = 0 ] || [ "$bad" -gt 25 ]; then
        return
    fi

    cat "$LOGS/$name.log"
    printf '\n== test: %s: %s failed; once more, alone\n' "$name" "$bad"
    mv "$LOGS/$name.xml" "$LOGS/$name-first.xml"

    pytests "$@" -n 0 --lf --lfnf none > "$LOGS/$name-again.log" 2>&1 &
    pids=($!)
    wait "${pids[@]}"
    pids=()

    flaky="$flaky$(sed -nE '/^(FAILED|ERROR) /{s///;s/ - .*//;p}' \
                   "$LOGS/$name.log")"$'\n'
}


pytests() {
    local name=$1 build=$2

    shift 2
    export ASTRO_BUILD=$build BUILD=$build
    ASTRO_TEST_SLOW=$(slowness "$build")
    ASTRO_SLOW=$ASTRO_TEST_SLOW
    export ASTRO_TEST_SLOW ASTRO_SLOW

    exec "$PYTHON" -m pytest -q -o cache_dir="$LOGS/$name.cache" --tb=short \
        --durations=8 --junitxml="$LOGS/$name.xml" "$@"
}


# How many passed, and failed, says what pytest wrote.  A second run replaces
# what it ran again.
count() {
    "$PYTHON" - "$LOGS/$1-first.xml" "$LOGS/$1.xml" <<'PY'
import sys
import xml.etree.ElementTree as tree

tests = {}
for file in sys.argv[1:]:
    try:
        root = tree.parse(file).getroot()
    except FileNotFoundError:
        continue
    except tree.ParseError:
        tests[file] = 'failed'
        continue
    for case in root.iter('testcase'):
        what = {child.tag for child in case}
        tests[case.get('classname'), case.get('name')] = (
            'failed' if what & {'failure', 'error'} else
            'skipped' if 'skipped' in what else 'passed')

results = list(tests.values())
print(results.count('passed'), results.count('failed') if tests else 1)
PY
}


# Counts, and shows all that failed.
verdict() {
    local name=$1 ok bad

    read -r ok bad < <(count "$name")

    if [ "$bad" != 0 ]; then
        cat "$LOGS/$name.log"
        [ ! -e "$LOGS/$name-again.log" ] || cat "$LOGS/$name-again.log"
    fi

    score "$name" "$ok" "$bad"
}


slowness() {
    if [ -e "$1/sanitized" ]; then printf 2; else printf 1; fi
}


# What the tests start they stop; they have to be let.
trap 'trap "" INT TERM; [ ${#pids[@]} = 0 ] || kill "${pids[@]}"; wait
      exit 130' INT TERM
pids=()

# These mostly wait: six files at a time.  What is about SQL, or goes a way in C
# that others go, too, is not run again sanitized; two browsers are enough for
# a busy machine, and what waits for people to be gone waits no better twice.
SPREAD=(-n "${ASTRO_TEST_JOBS:-6}" --dist loadfile)
PLAIN='sql|audit_books|earnings|payout_accounts|admin_|statement|rollup|calls'
PLAIN="$PLAIN|gone|docs|web_|packages|tls|alerts|matrix|operating|refunds|caps"
PLAIN="$PLAIN|booking|stats|metrics|money_rows|people|reconcile|old_paths"
PLAIN="$PLAIN|openapi|billing_clocks|billing_pause|billing_live|session_money"
PLAIN="$PLAIN|private|consult_acts"
mapfile -t SANITIZED < <(ls t/integration/test_*.py \
    | grep -vE "/test_($PLAIN)")

# What is sent to a parser, byte by byte, logins, hosts, and what takes longest
# of what the workers do, is looked at sanitized alone: what the other build
# could show, that one shows, too.  The other one has the deaths.
ONCE='rfc6455|rfc7692|misbehave|hostile|hosts|lifecycle|outbox'
ONCE="$ONCE|billing_worker|billing_heart|auth_|ws_|hello|heal"
mapfile -t PLAINLY < <(ls t/integration/test_*.py \
    | grep -vE "/test_($ONCE|web_story)")

# but for what a sanitized build cannot be asked: memory, what is preloaded
PLAINLY+=(t/integration/test_hosts.py::test_a_host_whose_clock_is_late
    t/integration/test_outbox.py::test_a_name_that_nobody_finds_keeps_nothing_waiting
    t/integration/test_misbehave.py::test_{floods,deflate_bombs}
    t/integration/test_misbehave.py::test_messages_that_never_end
    t/integration/test_misbehave.py::test_a_flood_of_connections
    t/integration/test_misbehave.py::test_memory_after_floods)

# two people at their pages, from an account to a review: the longest test of
# all, which would begin last, as its file has one test
STORY=(story "$BUILD" t/integration/test_web_story.py
       t/integration/test_web_story_call.py)

mkdir -p "$LOGS"
rm -rf "$LOGS"/*

CHAOS=(chaos "$BUILD" t/chaos/test_crowd.py --
       chaos-asan "$ASAN" t/chaos/test_chaos.py t/chaos/test_crowd.py)
TRIALS=(trials "$BUILD" t/chaos/test_trials.py)
PLANTED=(planted "$BUILD" t/planted)
VENDORS=(vendors "$BUILD" t/integration/test_payments_at_random.py)

[ $# -gt 0 ] || set -- build lint checks integration integration-asan deaths

"$REPO/scripts/setup.sh" test || { printf '\n0 passed, 1 failed\n'; exit 1; }

for what in "$@"; do
    stage "$what"

    case $what in
    build)
        # each waits for its configure now and then
        begun build-gcc make BUILD="$BUILD" build &
        pids=($!)
        begun build-clang make BUILD="$BUILD/clang" CC=clang build &
        pids+=($!)
        begun build-asan make BUILD="$ASAN" SANITIZE=1 build &
        pids+=($!)
        wait "${pids[@]}"
        pids=()

        ended build-gcc
        ended build-clang
        ended build-asan

        if [ -n "${NGINX_SRC:-}" ]; then
            begin=$SECONDS
            step build-mainline make BUILD="$BUILD" mainline
        fi ;;

    lint)             step lint "$REPO/scripts/lint.sh" ;;
    checks)           checks ;;
    unit)             plain_units; units_verdict unit ;;
    unit-asan)        asan_units; units_verdict unit-asan ;;
    unit-tsan)        tsan_units; units_verdict unit-tsan ;;
    fuzz)             fuzzes; fuzz_verdict ;;
    web)              web_units; web_verdict ;;

    integration)
        mkdir -p "$LOGS/seen"
        export ASTRO_SEEN=$LOGS/seen
        together "${STORY[@]}" -- integration "$BUILD" "${SPREAD[@]}" \
            -n $((${ASTRO_TEST_JOBS:-6} - 1)) "${PLAINLY[@]}"
        unset ASTRO_SEEN ;;

    # with it all of t/integration has run
    integration-asan)
        mkdir -p "$LOGS/seen"
        export ASTRO_SEEN=$LOGS/seen
        together integration-asan "$ASAN" "${SPREAD[@]}" "${SANITIZED[@]}"
        begin=$SECONDS
        step tested t/tested.py "$ASTRO_SEEN"
        unset ASTRO_SEEN ;;

    deaths)
        export ASTRO_VENDOR_SECONDS=${ASTRO_VENDOR_SECONDS:-30}
        together "${CHAOS[@]}" -- "${TRIALS[@]}" -- "${PLANTED[@]}" \
            -- "${VENDORS[@]}"
        unset ASTRO_VENDOR_SECONDS ;;

    chaos)            together "${CHAOS[@]}" ;;
    trials)           together "${TRIALS[@]}" ;;
    planted)          together "${PLANTED[@]}" ;;
    vendors)          ASTRO_VENDOR_SECONDS=30 together "${VENDORS[@]}" ;;
    *)                die "unknown stage \"$what\"" ;;
    esac

    if [ "$what" = build ] && [ $failed != 0 ]; then
        printf '\nnothing else is tried: it does not build\n'
        break
    fi
done

# what the product can do, and which tests have shown it
if ls "$LOGS"/*.xml > /dev/null 2>&1; then
    printf '\n'
    "$PYTHON" t/features.py "$LOGS"/*.xml
fi

printf '\n%s\n' "$report"
[ -z "$flaky" ] \
    || printf 'failed beside others, tried again alone:\n%s\n' "$flaky"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ $failed = 0 ]
