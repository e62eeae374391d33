# Copyright (C) The Astro authors
#
# Sourced by the other scripts: where things are, as whom they run, and small
# helpers.  Settings come from the environment (scripts/README.md lists them).

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=${ASTRO_BUILD:-$REPO/build}
PORT=${ASTRO_PORT:-8443}
LISTEN=${ASTRO_LISTEN:-127.0.0.1}
PYTHON=/usr/bin/python3

# sun_path holds 108 bytes; PostgreSQL's socket has the longest name
SOCKET_MAX=100

case $BUILD in
/*) ;;
*)  BUILD=$REPO/$BUILD ;;
esac


say() {
    printf '== %s\n' "$*"
}


die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}


case $PORT in
''|*[!0-9]*|??????*) die "ASTRO_PORT=$PORT is no port" ;;
esac


# PostgreSQL refuses to run as root, and nothing else of ours needs root but
# nginx's master.
if [ "$(id -u)" = 0 ]; then
    PG_USER=postgres
    WEB_USER=www-data
    AS_PG=(setpriv --reuid=postgres --regid=postgres --init-groups)
    AS_WEB=(setpriv --reuid=www-data --regid=www-data --init-groups)
else
    PG_USER=$(id -un)
    WEB_USER=$PG_USER
    AS_PG=()
    AS_WEB=()
fi


# Can PostgreSQL's and nginx's users get through to that directory?
reachable() {
    [ "$(id -u)" != 0 ] && return 0

    (cd / && "${AS_PG[@]}" test -x "$1" && "${AS_WEB[@]}" test -x "$1") \
        2> /dev/null
}


# Sets VAR, the one directory that all of a stack's state lives in.  Where the
# clone's own ./var could not work, ./var becomes a link to a place that can.
find_var() {
    local other why=

    if [ -n "${ASTRO_VAR:-}" ]; then
        mkdir -p "$ASTRO_VAR" || die "cannot make ASTRO_VAR=$ASTRO_VAR"
        VAR=$(cd "$ASTRO_VAR" && pwd -P)

        [ "$(socket_length "$VAR")" -le $SOCKET_MAX ] \
            || die "ASTRO_VAR=$VAR is too long a path for a Unix socket"
        reachable "$VAR" \
            || die "users $PG_USER and $WEB_USER cannot enter" \
                   "ASTRO_VAR=$VAR: chmod o+x its parents, or choose another"
        return
    fi

    VAR=$REPO/var

    if [ -d "$VAR" ]; then
        VAR=$(cd "$VAR" && pwd -P)
    fi

    if [ "$(socket_length "$VAR")" -gt $SOCKET_MAX ]; then
        why="its path is too long for a Unix socket"

    elif ! reachable "${VAR%/*}"; then
        why="user $PG_USER cannot enter $REPO"
    fi

    if [ -n "$why" ]; then
        [ ! -d "$REPO/var" ] || die "$REPO/var cannot be used: $why." \
            "Remove it, or set ASTRO_VAR"

        # a name nobody can have taken; the link remembers it
        other=$(mktemp -d /var/tmp/astro-XXXXXX)
        chmod 755 "$other"
        say "state goes to $other, not to ./var: $why"
        ln -sfn "$other" "$REPO/var"
        VAR=$other
    fi

    mkdir -p "$VAR"
}


socket_length() {
    local path=$1/run/.s.PGSQL.5432

    printf '%d' "${#path}"
}


# The pid in VAR/run/NAME.pid if that process lives and is this stack's (a pid
# may have been given to another since: each names VAR in its command line).
pid_of() {
    local pid file=$VAR/run/$1.pid

    [ -s "$file" ] || return 1
    read -r pid < "$file" || [ -n "$pid" ] || return 1
    cat "/proc/$pid/cmdline" 2> /dev/null | tr '\0' ' ' \
        | grep -qF "$VAR/" || return 1
    printf '%s' "$pid"
}


# Waits until process $1 is gone, at most $2 seconds.
wait_gone() {
    local i

    for ((i = 0; i < $2 * 20; i++)); do
        # a zombie that nobody waits for yet is gone, too
        case $(cut -d ' ' -f 3 "/proc/$1/stat" 2> /dev/null) in
        ''|Z) return 0 ;;
        esac

        sleep 0.05
    done

    return 1
}
