#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# Debian packages of what is built: `make deb`.
#
#     scripts/deb.sh [FOLDER]         default: build/deb
#
#     libnginx-mod-http-astro   the module, for the nginx it was built with
#     astro-billing-worker      the worker and its systemd unit
#     astro-sql                 schema, functions, astro-migrate
#     astro-web                 the web client, which may be left out
#
# ASTRO_DEB_VERSION is another version than NGX_ASTRO_VERSION-1.  What is
# installed where, and how it is upgraded: packaging/README.md.

set -euo pipefail
. "$(dirname "$0")/env.sh"

out=${1:-$BUILD/deb}
module=$BUILD/ngx_astro_module.so
worker=$BUILD/billing_worker

version=${ASTRO_DEB_VERSION:-$(sed -n \
    's/^#define NGX_ASTRO_VERSION *"\(.*\)"/\1/p' \
    "$REPO/ngx_astro_module/ngx_astro.h")-1}
arch=$(dpkg --print-architecture)

for file in "$module" "$worker" "$BUILD/astro_password" "$BUILD/openapi.json"
do
    [ -f "$file" ] || die "$file is not there: make build"
done

[ ! -f "$BUILD/sanitized" ] || die "sanitized: not to be installed anywhere"

# which nginx it fits, as Debian's own modules say it
abi=$(dpkg-query -W -f '${Provides}' nginx | grep -o 'nginx-abi-[^, ]*') \
    || die "no nginx of Debian's is installed"

tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$out"


# put MODE FILE PATH: into the package that is being made
put() {
    install -D -m "$1" "$2" "$tree/$package$3"
}


# libraries FILE...: on which packages they depend
libraries() {
    local work

    work=$(mktemp -d "$tree/shlibs.XXXX")
    mkdir "$work/debian"
    printf 'Source: astro\n\nPackage: astro\nArchitecture: any\n' \
        > "$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O "$@" 2> /dev/null) \
        | sed 's/^shlibs:Depends=//'
}


# begin PACKAGE
begin() {
    package=$1
    mkdir -p "$tree/$package/DEBIAN"
    put 644 "$REPO/LICENSE" "/usr/share/doc/$package/copyright"
}


# finish DEPENDS TITLE DESCRIPTION: the conffiles are what is below /etc.
# DEPENDS may be empty.
finish() {
    local root=$tree/$package

    (cd "$root" && find etc -type f -printf '/%p\n' 2> /dev/null | sort) \
        > "$root/DEBIAN/conffiles" || true
    [ -s "$root/DEBIAN/conffiles" ] || rm "$root/DEBIAN/conffiles"

    cat > "$root/DEBIAN/control" <<CONTROL
Package: $package
Version: $version
Architecture: $arch
Maintainer: The Astro authors <astro@example.com>
Section: httpd
Priority: optional
Installed-Size: $(du -sk "$root" | cut -f 1)
Depends: $1
Description: $2
 $3
CONTROL
    [ -n "$1" ] || sed -i '/^Depends: $/d' "$root/DEBIAN/control"
    find "$root" -type d -exec chmod 755 {} +
    dpkg-deb --root-owner-group -Zxz -z1 --build "$root" \
        "$out/${package}_${version}_$arch.deb" > /dev/null
}


# scripts: those of packaging/PACKAGE.*
maintain() {
    local name

    for name in preinst postinst prerm postrm; do
        [ ! -f "$REPO/packaging/$package.$name" ] \
            || put 755 "$REPO/packaging/$package.$name" "/DEBIAN/$name"
    done
}


begin libnginx-mod-http-astro
put 644 "$module" /usr/lib/nginx/modules/ngx_astro_module.so
put 644 "$REPO/packaging/mod-http-astro.conf" \
    /usr/share/nginx/modules-available/mod-http-astro.conf
put 644 "$REPO/conf/astro.conf" /etc/nginx/astro/astro.conf
put 644 "$BUILD/openapi.json" /usr/share/astro/openapi.json
put 644 "$REPO/ngx_astro_module/README.md" \
    "/usr/share/doc/$package/README.md"
for env in dev stage prod; do
    put 644 "$REPO/packaging/env/$env/astro.conf" \
        "/usr/share/doc/$package/examples/$env/astro.conf"
done
strip --strip-unneeded \
    "$tree/$package/usr/lib/nginx/modules/ngx_astro_module.so"
maintain
finish "$abi, $(libraries "$module")" \
    "consultations paid by the minute, for nginx" \
    "REST, WebSockets, signaling and chat in an nginx that is there already."

begin astro-billing-worker
put 755 "$worker" /usr/sbin/billing_worker
strip --strip-unneeded "$tree/$package/usr/sbin/billing_worker"
sed -e 's|/usr/local/sbin/|/usr/sbin/|' -e '/^#     /d' \
    "$REPO/conf/astro-billing.service" > "$tree/unit"
put 644 "$tree/unit" /lib/systemd/system/astro-billing.service
put 644 "$REPO/conf/billing_worker.conf" /etc/astro/billing_worker.conf
put 644 "$REPO/conf/astro-alerts.yml" \
    "/usr/share/doc/$package/examples/astro-alerts.yml"
put 644 "$REPO/billing_worker/README.md" \
    /usr/share/doc/astro/billing_worker/README.md
for env in dev stage prod; do
    put 644 "$REPO/packaging/env/$env/billing_worker.conf" \
        "/usr/share/doc/$package/examples/$env/billing_worker.conf"
done
maintain
finish "$(libraries "$worker")" \
    "meters sessions and moves their money" \
    "The daemon beside libnginx-mod-http-astro; any number, on any hosts."

begin astro-sql
(cd "$REPO" && find sql -name '*.sql') | while read -r file; do
    put 644 "$REPO/$file" "/usr/share/astro/$file"
done
put 644 "$REPO/sql/README.md" "/usr/share/doc/$package/README.md"
put 755 "$REPO/scripts/migrate.sh" /usr/share/astro/scripts/migrate.sh
put 755 "$REPO/packaging/astro-migrate" /usr/bin/astro-migrate
put 755 "$BUILD/astro_password" /usr/bin/astro_password
finish "postgresql-client, $(libraries "$BUILD/astro_password")" \
    "schema and functions of Astro's database" \
    "astro-migrate brings a database to this version, forward only."

begin astro-web
(cd "$REPO" && find web -type f ! -name README.md) | while read -r file; do
    put 644 "$REPO/$file" "/usr/share/astro/$file"
done
put 644 "$REPO/web/README.md" "/usr/share/doc/$package/README.md"
put 644 "$REPO/web/vendor/README.md" \
    "/usr/share/doc/$package/vendor/README.md"
finish "" "pages for clients, advisors and operators" \
    "Static files; /etc/nginx/astro/astro.conf shows the location for them."

ls "$out"/*_"${version}_$arch".deb
