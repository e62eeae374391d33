#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# Builds ngx_astro_module.so as Debian builds its own modules: nginx-dev's
# configure with the flags of the nginx that is installed.
#
#     scripts/build_module.sh              -> $ASTRO_BUILD/ngx_astro_module.so
#
# CC             the compiler (gcc)
# ASTRO_BUILD    the folder to build in (build); nothing else is written to
# ASTRO_SANITIZE set: with AddressSanitizer and UBSan
# NGINX_SRC      a tree of nginx's sources to compile against instead, to see
#                that it does without a warning; makes no file to load

set -euo pipefail
. "$(dirname "$0")/env.sh"

cc_opt="-O2 -g -std=gnu11 -fPIC -fstack-protector-strong"
ld_opt="-Wl,-z,relro -Wl,-z,now"
objs=$BUILD/nginx-module
cc=${CC:-gcc}

if [ -n "${ASTRO_SANITIZE:-}" ]; then
    cc_opt="-O1 -g -std=gnu11 -fPIC -fno-omit-frame-pointer"
    cc_opt="$cc_opt -fsanitize=address,undefined -fno-sanitize-recover=all"
    ld_opt="-fsanitize=address,undefined"
else
    cc_opt="$cc_opt -D_FORTIFY_SOURCE=2"
fi

if [ -n "${NGINX_SRC:-}" ]; then
    [ -x "$NGINX_SRC/auto/configure" ] \
        || die "NGINX_SRC=$NGINX_SRC holds no auto/configure"
    source=$BUILD/mainline/src
    objs=$BUILD/mainline/objs

    # configure writes a Makefile beside itself: into a copy, not into theirs
    rm -rf "$BUILD/mainline"
    mkdir -p "$source"
    cp -r "$NGINX_SRC/." "$source/"
    configure=./auto/configure
    flags=(--with-compat --with-debug --with-threads --with-http_ssl_module
           --with-http_v2_module --with-http_realip_module)
else
    source=/usr/share/nginx/src
    configure=./configure
    [ -r "$source/conf_flags" ] \
        || die "$source/conf_flags is not there: scripts/setup.sh"
    . "$source/conf_flags"
    flags=("${NGX_CONF_FLAGS[@]}")
fi

mkdir -p "$BUILD"

# Configuring takes longer than compiling: only if something it reads changed.
stamp=$({ printf '%s\n' "$cc" "$cc_opt" "$ld_opt" "$source" "${flags[@]}"
          cat "$REPO/config"
          cd "$REPO"
          ls ngx_astro_module/*.[ch] ngx_astro_module/core/*.[ch]
          cat "$source/src/core/nginx.h"; } | sha256sum)

if [ "$(cat "$objs/stamp" 2> /dev/null || true)" != "$stamp" ]; then
    rm -rf "$objs"

    (cd "$source" && $configure "${flags[@]}" --with-cc="$cc" \
         --with-cc-opt="$cc_opt" --with-ld-opt="$ld_opt" \
         --add-dynamic-module="$REPO" --builddir="$objs") \
        > "$BUILD/configure.log" 2>&1 \
        || { tail -n 20 "$BUILD/configure.log" >&2
             die "configure failed; all it said: $BUILD/configure.log"; }

    printf '%s' "$stamp" > "$objs/stamp"
fi

make -s -C "$source" -f "$objs/Makefile" -j "${ASTRO_JOBS:-2}" modules

if [ -n "${NGINX_SRC:-}" ]; then
    version=$(sed -n 's/^#define NGINX_VERSION *"\(.*\)"/\1/p' \
              "$source/src/core/nginx.h")
    say "compiles without a warning against nginx $version"
    exit 0
fi

# By rename: a running nginx keeps the file that it has mapped.
cp "$objs/ngx_astro_module.so" "$BUILD/ngx_astro_module.so.new"
mv "$BUILD/ngx_astro_module.so.new" "$BUILD/ngx_astro_module.so"

if [ -n "${ASTRO_SANITIZE:-}" ]; then
    touch "$BUILD/sanitized"
fi
