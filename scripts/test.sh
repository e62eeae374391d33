#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# make test: installs what is missing, builds with gcc and with clang, and runs
# everything.  The last line is "N passed, N failed"; exit status 0 only if
# nothing failed.
#
#     scripts/test.sh [stage]...      default: all, in this order
#
#     build         gcc, clang, and gcc with the sanitizers, without a warning
#     lint          clang-tidy, cppcheck, house rules
#     unit          the C units; unit-asan: again under ASan and UBSan;
#                   unit-tsan: what threads share, under ThreadSanitizer
#     fuzz          the parsers under libFuzzer, 20 s each (FUZZ_SECONDS)
#     integration   against a private stack; integration-asan: again, sanitized
#     chaos         kills in mid-session: 200 pairs for a minute, and sanitized

set -uo pipefail
. "$(dirname "$0")/env.sh"
cd "$REPO" || exit 1

ASAN=$BUILD/asan
LOGS=$BUILD/test-logs
passed=0
failed=0
report=


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
    local name=$1

    shift

    if "$@" > "$LOGS/$name.log" 2>&1; then
        score "$name" 1 0
        return 0
    fi

    tail -n 60 "$LOGS/$name.log"
    printf '== test: %s FAILED; all it said: %s\n' "$name" "$LOGS/$name.log"
    score "$name" 0 1
    return 1
}


# Check's own summaries say how many there were.
units() {
    local name=$1 status ran bad

    shift
    make "$@" unit > "$LOGS/$name.log" 2>&1
    status=$?

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


# Each target of t/fuzz is a test; 20 s of it finds what is near its corpus.
fuzzes() {
    local name=fuzz ran bad

    make BUILD="$BUILD" FUZZ_SECONDS="${FUZZ_SECONDS:-20}" fuzz \
        > "$LOGS/$name.log" 2>&1
    ran=$(grep -c '^fuzz: .* inputs, ' "$LOGS/$name.log")
    bad=$(find t/fuzz -name 'fuzz_*.c' | wc -l)
    bad=$((bad - ran))

    [ "$bad" = 0 ] || tail -n 60 "$LOGS/$name.log"
    score "$name" "$ran" "$bad"
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

    for name in "${names[@]}"; do
        tail -n 1 "$LOGS/$name.log"
        verdict "$name"
    done
}


pytests() {
    local name=$1 build=$2

    shift 2
    export ASTRO_BUILD=$build BUILD=$build
    ASTRO_TEST_SLOW=$(slowness "$build")
    ASTRO_SLOW=$ASTRO_TEST_SLOW
    export ASTRO_TEST_SLOW ASTRO_SLOW

    exec "$PYTHON" -m pytest -q -p no:cacheprovider --tb=short \
        --durations=8 --junitxml="$LOGS/$name.xml" "$@"
}


# Counts what pytest wrote, and shows all that failed.
verdict() {
    local name=$1 ok bad

    read -r ok bad < <("$PYTHON" - "$LOGS/$name.xml" <<'PY'
import sys
import xml.etree.ElementTree as tree

try:
    ran = bad = skipped = 0
    for suite in tree.parse(sys.argv[1]).getroot().iter('testsuite'):
        ran += int(suite.get('tests'))
        bad += int(suite.get('failures')) + int(suite.get('errors'))
        skipped += int(suite.get('skipped'))
except (OSError, tree.ParseError):
    ran, bad, skipped = 1, 1, 0
print(max(0, ran - bad - skipped), bad if ran else 1)
PY
)
    [ "$bad" = 0 ] || cat "$LOGS/$name.log"
    score "$name" "$ok" "$bad"
}


slowness() {
    if [ -e "$1/sanitized" ]; then printf 2; else printf 1; fi
}


# What the tests start they stop; they have to be let.
trap 'trap "" INT TERM; [ ${#pids[@]} = 0 ] || kill "${pids[@]}"; wait
      exit 130' INT TERM
pids=()

# These mostly wait: five files at a time.  SQL alone has nothing to sanitize.
SPREAD=(-n "${ASTRO_TEST_JOBS:-5}" --dist loadfile)
mapfile -t SANITIZED < <(ls t/integration/test_*.py | grep -v '/test_sql')

mkdir -p "$LOGS"
rm -f "$LOGS"/*

[ $# -gt 0 ] || set -- build lint unit unit-asan unit-tsan fuzz \
                       integration integration-asan chaos

"$REPO/scripts/setup.sh" test || { printf '\n0 passed, 1 failed\n'; exit 1; }

for what in "$@"; do
    stage "$what"

    case $what in
    build)
        step build-gcc make BUILD="$BUILD" build \
            && begin=$SECONDS \
            && step build-clang make BUILD="$BUILD/clang" CC=clang build
        begin=$SECONDS
        step build-asan make BUILD="$ASAN" SANITIZE=1 build

        if [ -n "${NGINX_SRC:-}" ]; then
            begin=$SECONDS
            step build-mainline make BUILD="$BUILD" mainline
        fi ;;

    lint)             step lint "$REPO/scripts/lint.sh" ;;
    unit)             units unit BUILD="$BUILD" ;;
    unit-asan)        units unit-asan BUILD="$ASAN" SANITIZE=1 ;;
    fuzz)             fuzzes ;;
    unit-tsan)
        units unit-tsan BUILD="$BUILD/tsan" SAN=-fsanitize=thread \
            UNIT="check_ring_threads check_registry" ;;

    integration)
        together integration "$BUILD" "${SPREAD[@]}" t/integration ;;

    integration-asan)
        together integration-asan "$ASAN" "${SPREAD[@]}" "${SANITIZED[@]}" ;;

    chaos)
        together chaos "$BUILD" t/chaos/test_crowd.py -- \
                 chaos-asan "$ASAN" t/chaos ;;
    *)                die "unknown stage \"$what\"" ;;
    esac

    if [ "$what" = build ] && [ $failed != 0 ]; then
        printf '\nnothing else is tried: it does not build\n'
        break
    fi
done

printf '\n%s\n' "$report"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ $failed = 0 ]
