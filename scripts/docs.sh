#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# The page that shows the API's description, into build/docs: conf/docs and the
# two files of npm's swagger-ui-dist that it needs, of the lock file.  A folder
# for nginx to serve as it is: nothing in it asks another host for anything.

set -euo pipefail

from=$(cd "$(dirname "$0")/../conf/docs" && pwd)
build=$(cd "$(dirname "$0")/.." && pwd)/build
npm=$build/docs-npm
log=$build/docs-npm.log


die() {
    printf 'docs: %s\n' "$*" >&2
    exit 1
}


if ! cmp -s "$from/package-lock.json" "$npm/package-lock.json" \
    || [ ! -e "$npm/node_modules/swagger-ui-dist/swagger-ui-bundle.js" ]
then
    command -v npm > /dev/null || die "npm is missing: apt-get install npm"

    printf '== docs: npm ci: swagger-ui-dist, into build/docs-npm\n'
    rm -rf "$npm"
    mkdir -p "$npm"
    cp "$from/package.json" "$from/package-lock.json" "$npm"

    # no scripts: one of what comes along would tell its makers
    (cd "$npm" && npm ci --ignore-scripts --no-audit --no-fund) \
        > "$log" 2>&1 \
        || { tail -n 15 "$log" >&2; rm -rf "$npm"
             die "npm could not install it (all it said: $log)"; }
fi

rm -rf "$build/docs.new"
mkdir -p "$build/docs.new"
cp "$from"/*.html "$from"/*.js "$from"/*.css "$build/docs.new"
cp "$npm"/node_modules/swagger-ui-dist/{swagger-ui.css,swagger-ui-bundle.js} \
    "$npm"/node_modules/swagger-ui-dist/{LICENSE,NOTICE} "$build/docs.new"
chmod -R a+rX "$build/docs.new"
rm -rf "$build/docs"
mv "$build/docs.new" "$build/docs"
