#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# Reads the sources without running them: the house rules that need no
# compiler, shell and Python syntax, clang-tidy, cppcheck.
#
#     scripts/lint.sh [rules|syntax|tidy|cppcheck]...       default: all
#
# Needs the module configured (make build): clang-tidy reads the flags from
# there.  Exit status 0 only if nothing was found.

set -uo pipefail
. "$(dirname "$0")/env.sh"
cd "$REPO" || exit 1

CORE_FLAGS="-std=gnu11 -Wall -Wextra -I ngx_astro_module/core
            -I billing_worker -I billing_worker/core -I/usr/include/postgresql"

failed=0


found() {
    printf 'lint: %s:\n%s\n' "$1" "$2"
    failed=1
}


sources() {
    find "$@" -name '*.[ch]' | sort
}


# of the web client, what is ours
pages() {
    find web t/web -name vendor -prune -o -name '*.js' -print \
        -o -name '*.mjs' -print -o -name '*.css' -print | sort
}


# nginx's style, as far as grep can see it.
rules() {
    local out file lines

    out=$(grep -nP '.{81,}|\t| +$' $(sources ngx_astro_module billing_worker t) \
          | cut -c 1-120)
    [ -z "$out" ] || found "over 80 columns, a tab, or blanks at the end" "$out"

    out=$(grep -nP '(^|[^:"])//' $(sources ngx_astro_module billing_worker t) \
          | grep -v '"[^"]*//')
    [ -z "$out" ] || found "// comment" "$out"

    out=$(grep -nP '\bassert\(' $(sources ngx_astro_module billing_worker))
    [ -z "$out" ] || found "assert() in a server" "$out"

    # metrics.c prints seconds
    out=$(grep -nP '\b(float|double|strtod|atof)\b' \
              $(sources billing_worker | grep -v '/metrics\.c$'))
    [ -z "$out" ] || found "not exact, and this is about money" "$out"

    out=$(grep -nP '.{81,}|\t| +$' $(pages) | cut -c 1-120)
    [ -z "$out" ] || found "over 80 columns, a tab, or blanks at the end" "$out"

    out=$(cd web/vendor && sha256sum --quiet -c SHA256SUMS 2>&1) \
        || found "web/vendor: not what its README says" "$out"

    out=
    for file in $(sources ngx_astro_module billing_worker; pages); do
        lines=$(wc -l < "$file")
        [ "$lines" -le 800 ] || out="$out$file: $lines lines "
    done
    [ -z "$out" ] || found "more than one idea in a file?" "$out"
}


syntax() {
    local file out

    for file in $(grep -lE '^#!.*(bash|/sh)' -r scripts .ci t/bench 2> /dev/null)
    do
        out=$(bash -n "$file" 2>&1) || found "$file" "$out"
    done

    out=$(find scripts t -name '*.py' -print0 | xargs -0 "$PYTHON" -c '
import ast
import sys

for name in sys.argv[1:]:
    try:
        with open(name, encoding="utf-8") as f:
            ast.parse(f.read(), name)
    except SyntaxError as e:
        print(name, e)
')
    [ -z "$out" ] || found "Python" "$out"

    for file in $(pages | grep -v '\.css$'); do
        out=$(node --input-type=module --check < "$file" 2>&1) \
            || found "$file" "$out"
    done
}


# Of the module's nginx side the analyzer's two checks of pointers are left out:
# it loses sight of what is linked in nginx's intrusive queues.
tidy() {
    local src=/usr/share/nginx/src/src nginx out

    nginx="-I $src/core -I $src/event -I $src/event/modules -I $src/os/unix
           -I $src/http -I $src/http/modules -I $src/http/v2
           -I $BUILD/nginx-module -I ngx_astro_module $CORE_FLAGS"

    # four at a time on two processors; clang-tidy counts warnings of headers
    # that are not ours on stderr
    out=$({ printf '%s\n' ngx_astro_module/*.c | tidy_some \
                '-clang-analyzer-unix.Malloc,-clang-analyzer-core.NullDereference' \
                $nginx
            sources ngx_astro_module/core billing_worker | grep '\.c$' \
                | tidy_some '' $CORE_FLAGS; } 2> "$BUILD/tidy.err")

    if grep -qE '(warning|error):' <<< "$out"; then
        found clang-tidy "$(grep -E '(warning|error):' <<< "$out")"
    elif grep -qE '^Error|error:' "$BUILD/tidy.err"; then
        found clang-tidy "$(grep -E '^Error|error:' "$BUILD/tidy.err")"
    fi
}


# tidy_some CHECKS FLAG...: the files on stdin.
tidy_some() {
    local checks=$1

    shift
    xargs -r -n 4 -P 2 sh -c 'checks=$1 flags=$2; shift 2
        clang-tidy --quiet --checks="$checks" "$@" -- $flags' \
        tidy "$checks" "$*"
}


check_cpp() {
    local out

    out=$(cppcheck --quiet --std=c11 --enable=warning,portability,performance \
          --inline-suppr --error-exitcode=1 --library=posix -j 2 \
          '-DPRId64="ld"' '-DPRIu64="lu"' '-DPRIx64="lx"' \
          --suppress=missingIncludeSystem --suppress=unknownMacro \
          -I ngx_astro_module/core -I ngx_astro_module -I billing_worker \
          ngx_astro_module billing_worker 2>&1) \
        || found cppcheck "$out"
}


[ $# -gt 0 ] || set -- rules syntax tidy cppcheck

for stage in "$@"; do
    case $stage in
    rules)    rules ;;
    syntax)   syntax ;;
    tidy)     tidy ;;
    cppcheck) check_cpp ;;
    *)        die "unknown stage \"$stage\"" ;;
    esac
done

[ $failed = 0 ] && say "lint: nothing found ($*)"
exit $failed
