#!/usr/bin/env bash
#
# Copyright (C) The Astro authors
#
# The parts of one running system, each started and stopped by name:
#
#     scripts/stack.sh start  [pg|redis|nginx|worker]...    default: all
#     scripts/stack.sh stop   [worker|nginx|redis|pg]...    default: all
#                             turn and vendor, too, where they have a port
#     scripts/stack.sh reload       nginx's HUP
#     scripts/stack.sh migrate      makes the database, brings it up to date
#     scripts/stack.sh seed         demo accounts
#     scripts/stack.sh status
#     scripts/stack.sh conf         writes VAR/etc again, starts nothing
#     scripts/stack.sh port         fails if another program has our port
#     scripts/stack.sh conninfo     how its owner reaches the database
#     scripts/stack.sh audit        billing_worker audit
#     scripts/stack.sh psql [..]    a shell on the database, as its owner
#
# All state is under ASTRO_VAR (default ./var), so any number of stacks run
# side by side.  `make run`, the tests and the benchmark all start theirs
# here.  Needs what `make build` makes; scripts/README.md lists the settings.

set -euo pipefail
. "$(dirname "$0")/env.sh"


main() {
    local verb=${1:-} part

    [ $# -gt 0 ] && shift
    find_var

    case $verb in
    start)
        [ $# -gt 0 ] || set -- pg redis ${ASTRO_TURN_PORT:+turn} \
            ${ASTRO_VENDOR_PORT:+vendor} nginx worker
        prepare
        for part in "$@"; do "start_$(name "$part")"; done ;;

    stop)
        [ $# -gt 0 ] || set -- worker nginx vendor turn redis pg
        for part in "$@"; do "stop_$(name "$part")"; done ;;

    reload)  reload_nginx ;;
    migrate) migrate ;;
    seed)    seed ;;
    status)  status ;;
    conf)    prepare ;;
    port)    port_free ;;
    conninfo) conninfo; printf '\n' ;;
    audit)   audit ;;
    psql)    exec psql -X "$(conninfo)" "$@" ;;
    *)       sed -n '/^# The parts/,/^$/s/^# \{0,1\}//p' "$0"; exit 2 ;;
    esac
}


name() {
    case $1 in
    pg|redis|nginx|worker|turn|vendor) printf '%s' "$1" ;;
    *) die "no part \"$1\"; there are: pg redis nginx worker turn vendor" ;;
    esac
}


# Directories, secrets and configuration.  Changes nothing that is there but
# the generated configuration.
prepare() {
    local old

    old=$(umask)
    umask 022
    mkdir -p "$VAR"/{run,log,etc,bin,nginx,log/asan}
    mkdir -p -m 700 "$VAR/secret" "$VAR/tls"

    # The database trusts whoever reaches its socket; so only these may.
    chmod 700 "$VAR/run"

    # Sanitizers report to a file for each process, whoever it runs as.
    chmod 1777 "$VAR/log/asan"

    if [ "$(id -u)" = 0 ]; then
        chown "$PG_USER:$WEB_USER" "$VAR/run"
        chmod 770 "$VAR/run"
    fi

    make_secret
    make_otp_key
    make_webhook_secrets
    make_certificate
    make_turn_secret
    make_stripe_key
    write_www
    write_nginx_conf
    write_worker_conf
    umask "$old"
}


make_secret() {
    local file=$VAR/secret/jwt

    [ -s "$file" ] && return
    (umask 077 && openssl rand -hex 32 | tr -d '\n' > "$file.new")
    mv "$file.new" "$file"
}


# What codes for phones are made with, by nginx and the billing worker.
make_otp_key() {
    local file=$VAR/secret/otp

    [ -s "$file" ] && return
    (umask 077 && openssl rand -hex 32 > "$file.new")
    mv "$file.new" "$file"
}


# Two of one vendor, as while it is being changed.
make_webhook_secrets() {
    local file=$VAR/secret/webhooks

    [ -s "$file" ] && return
    (umask 077
     echo "stripe whsec_$(openssl rand -hex 16)"
     echo "stripe whsec_$(openssl rand -hex 16)"
     echo "razorpay $(openssl rand -hex 16)") > "$file.new"
    chmod 600 "$file.new"
    mv "$file.new" "$file"
}


# What nginx makes logins for the TURN server of, and that one checks them with.
make_turn_secret() {
    local file=$VAR/secret/turn

    [ -n "${ASTRO_TURN_PORT:-}" ] && [ ! -s "$file" ] || return 0
    (umask 077 && openssl rand -hex 32 > "$file.new")
    mv "$file.new" "$file"
}


# What the billing worker shows to the vendor of loopback, which run as one
# user, and in another folder than root's secrets.
make_stripe_key() {
    local file=$VAR/run/stripe.key

    [ -n "${ASTRO_VENDOR_PORT:-}" ] && [ ! -s "$file" ] || return 0
    (umask 077 && echo "sk_test_$(openssl rand -hex 16)" > "$file.new")
    [ "$(id -u)" != 0 ] || chown "$WEB_USER:" "$file.new"
    mv "$file.new" "$file"
}


make_certificate() {
    local dir=$VAR/tls

    [ -s "$dir/cert.pem" ] && [ -s "$dir/key.pem" ] \
        && openssl x509 -checkend 86400 -noout -in "$dir/cert.pem" \
               > /dev/null && return

    (umask 077
     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
         -nodes -days 397 -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1 \
         -addext basicConstraints=critical,CA:FALSE \
         -keyout "$dir/key.pem" -out "$dir/cert.pem" 2> "$VAR/log/openssl.log"
    ) || die "openssl could not make a certificate; see $VAR/log/openssl.log"
}


# conninfo [ROLE]: how to reach the database, as its owner or as ROLE.
conninfo() {
    local role=${1:-} given

    case $role in
    astro_web)    given=${ASTRO_PG_WEB:-} ;;
    astro_worker) given=${ASTRO_PG_WORKER:-} ;;
    *)            given= ;;
    esac

    if [ -n "$given" ]; then
        printf '%s' "$given"

    elif [ -n "${ASTRO_PG:-}" ]; then
        # of a keyword given twice libpq takes the last
        printf '%s' "$ASTRO_PG${role:+ user=$role}"

    else
        printf '%s' "host=$VAR/run dbname=astro user=${role:-postgres}"
    fi
}


redis_address() {
    printf '%s' "${ASTRO_REDIS:-unix:$VAR/run/redis.sock}"
}


# fill TEMPLATE NAME VALUE [NAME VALUE]...: @NAME@ becomes VALUE.
fill() {
    local text

    text=$(< "$1")
    shift

    while [ $# -gt 0 ]; do
        text=${text//"@$1@"/"$2"}
        shift 2
    done

    printf '%s\n' "$text"
}


# The template holds every directive once, commented with its default; each
# line of ASTRO_SETTINGS ("astro_live_ping 1s") takes the place of that line.
write_nginx_conf() {
    local user= plain= echo= http= pay= line key

    [ "$(id -u)" = 0 ] && user="user $WEB_USER;"
    [ -n "${ASTRO_PLAIN_PORT:-}" ] \
        && plain="listen $LISTEN:$ASTRO_PLAIN_PORT reuseport;"
    [ -n "${ASTRO_HTTP_PORT:-}" ] \
        && http="server {
        listen $LISTEN:$ASTRO_HTTP_PORT;
        return 301 https://\$host:$PORT\$request_uri;
    }"
    [ -n "${ASTRO_ECHO:-}" ] \
        && echo="location = $ASTRO_ECHO { astro_echo; }"

    [ -n "${ASTRO_VENDOR_PORT:-}" ] \
        && pay="location = /demo/pay {
            client_max_body_size 1k;
            proxy_pass http://127.0.0.1:$ASTRO_VENDOR_PORT/_stub/checkout;
        }"

    [ -e "$BUILD/openapi.json" ] \
        || "$REPO/scripts/openapi.py" "$BUILD/openapi.json"

    fill "$REPO/conf/nginx.conf.in" \
        VAR "$VAR" USER "$user" PLAIN "$plain" ECHO "$echo" \
        PAY "$pay" \
        MODULE "$BUILD/ngx_astro_module.so" OPENAPI "$BUILD/openapi.json" \
        HTTP "$http" LISTEN "$LISTEN:$PORT" WORKERS "${ASTRO_WORKERS:-2}" \
        PG "$(conninfo astro_web)" REDIS "$(redis_address)" \
        > "$VAR/etc/nginx.conf.new"

    # after USR2 nginx keeps of its environment only what is named
    [ ! -e "$BUILD/sanitized" ] || sed -i '1i env LD_PRELOAD;\
env ASAN_OPTIONS;\
env UBSAN_OPTIONS;' "$VAR/etc/nginx.conf.new"

    while IFS= read -r line; do
        [ -n "$line" ] || continue
        key=${line%%[[:space:]]*}

        KEY=$key LINE=$line awk '
            !done && $0 ~ "^ *(# *)?" ENVIRON["KEY"] "[ ;]" {
                match($0, /^ */)
                print substr($0, 1, RLENGTH) ENVIRON["LINE"] ";"
                done = 1
                next
            }

            { print }
            END { exit !done }
        ' "$VAR/etc/nginx.conf.new" > "$VAR/etc/nginx.conf.set" \
            || die "ASTRO_SETTINGS: no directive \"$key\" in conf/nginx.conf.in"

        mv "$VAR/etc/nginx.conf.set" "$VAR/etc/nginx.conf.new"
    done <<< "$(our_settings)
${ASTRO_SETTINGS:-}"

    mv "$VAR/etc/nginx.conf.new" "$VAR/etc/nginx.conf"
}


# What nginx is told of the parts that only a demo or a test has.
our_settings() {
    local at

    if [ -n "${ASTRO_TURN_PORT:-}" ]; then
        at=$(turn_address):$ASTRO_TURN_PORT
        printf '%s\n' \
            "astro_turn stun:$at turn:$at secret=$VAR/secret/turn ttl=1h"
    fi

    [ -z "${ASTRO_VENDOR_PORT:-}" ] \
        || printf '%s\n' "astro_stripe_publishable_key pk_test_loopback"
}


# web/, where the user that nginx runs as may read it.  demo.json beside it is
# what makes a demo of it: who one may be, and where payments are paid.
write_www() {
    local people=[] pay=

    rm -rf "$VAR/www"
    mkdir -p "$VAR/www"
    cp -r "$REPO/web" "$VAR/www/web"
    rm -f "$VAR/www/web/README.md"
    [ ! -d "$REPO/build/docs" ] || cp -r "$REPO/build/docs" "$VAR/www/docs"

    [ -n "${ASTRO_DEMO:-}" ] || [ -n "${ASTRO_VENDOR_PORT:-}" ] || return 0
    [ -z "${ASTRO_DEMO:-}" ] || people=$("$PYTHON" "$REPO/scripts/seed.py" people)
    [ -z "${ASTRO_VENDOR_PORT:-}" ] || pay=', "pay": "demo/pay"'
    printf '{"people": %s%s}\n' "$people" "$pay" > "$VAR/www/web/demo.json"
}


# conf/billing_worker.conf, with what this stack sets instead at its end.
write_worker_conf() {
    local ours keys

    ours="pg = $(conninfo astro_worker)
redis = $(redis_address)"

    [ -z "${ASTRO_VENDOR_PORT:-}" ] || ours="$ours
stripe_url = http://127.0.0.1:$ASTRO_VENDOR_PORT
stripe_key_file = $VAR/run/stripe.key"

    ours="$ours
${ASTRO_WORKER_SETTINGS:-}"

    keys=$(sed -n 's/^ *\([a-z_]*\) *=.*/\1/p' <<< "$ours" | paste -sd '|')

    { grep -Ev "^ *#? *($keys) *=" "$REPO/conf/billing_worker.conf" || true
      printf '\n# of this stack\n%s\n' "$ours"
    } > "$VAR/etc/billing_worker.conf"
}


# Variables for a sanitized build: the stock nginx is not linked with the
# runtimes, so they are loaded before it.  Leaks of nginx are not looked for:
# its workers, after setuid(), may not be traced.
sanitizers() {
    local leaks=$1 options

    [ -e "$BUILD/sanitized" ] || return 0

    options="log_path=$VAR/log/asan/report:abort_on_error=0:exitcode=99"
    printf '%s\n' \
        "ASAN_OPTIONS=$options:detect_leaks=$leaks:disable_coredump=0" \
        "UBSAN_OPTIONS=$options:print_stacktrace=1:halt_on_error=1" \
        "LSAN_OPTIONS=suppressions=$REPO/scripts/lsan.supp"
}


preload() {
    [ -e "$BUILD/sanitized" ] || return 0

    printf 'LD_PRELOAD=%s:%s\n' "$(gcc -print-file-name=libasan.so)" \
        "$(gcc -print-file-name=libubsan.so)"
}


# An own copy runs: users other than the builder's need not get into the
# clone, and a build does not pull the program from under its process.
binary() {
    [ -x "$BUILD/billing_worker" ] \
        || die "$BUILD/billing_worker is not there: make build"
    rm -f "$VAR/bin/billing_worker"
    install -m 755 "$BUILD/billing_worker" "$VAR/bin/billing_worker"
    printf '%s' "$VAR/bin/billing_worker"
}


pg_bin() {
    local dir

    for dir in /usr/lib/postgresql/15/bin /usr/lib/postgresql/*/bin; do
        [ -x "$dir/initdb" ] && { printf '%s' "$dir"; return; }
    done

    die "PostgreSQL's server programs are not there: scripts/setup.sh"
}


start_pg() {
    local bin data=$VAR/pg

    [ -z "${ASTRO_PG:-}" ] || return 0
    bin=$(pg_bin)
    cd /

    # tests make many: a copy of one that was stopped is the same, and sooner
    if [ ! -s "$data/PG_VERSION" ] && [ -n "${ASTRO_PG_TEMPLATE:-}" ]; then
        rm -rf "$data"
        cp -a "$ASTRO_PG_TEMPLATE" "$data"
    fi

    if [ ! -s "$data/PG_VERSION" ]; then
        say "making a PostgreSQL cluster in $data"
        rm -rf "$data"
        mkdir -m 700 "$data"
        [ "$(id -u)" != 0 ] || chown "$PG_USER:" "$data"
        "${AS_PG[@]}" "$bin/initdb" -D "$data" -U postgres -A trust \
            --locale C.UTF-8 -E UTF8 -N > "$VAR/log/initdb.log" 2>&1 \
            || { rm -rf "$data"
                 die "initdb failed; see $VAR/log/initdb.log"; }
    fi

    "${AS_PG[@]}" "$bin/pg_ctl" -D "$data" status > /dev/null 2>&1 && return
    printf '%s\n' \
        "# written by scripts/stack.sh at every start" \
        "listen_addresses = ''" \
        "unix_socket_directories = '$VAR/run'" \
        "max_connections = ${ASTRO_PG_CONNECTIONS:-100}" \
        "log_min_messages = warning" \
        "log_line_prefix = '%m [%p] %u %a '" \
        "log_error_verbosity = terse" \
        "fsync = ${ASTRO_PG_FSYNC:-on}" \
        "${ASTRO_PG_SETTINGS:-}" \
        | "${AS_PG[@]}" tee "$data/postgresql.auto.conf" > /dev/null

    touch "$VAR/log/postgresql.log"
    [ "$(id -u)" != 0 ] || chown "$PG_USER:" "$VAR/log/postgresql.log"
    "${AS_PG[@]}" "$bin/pg_ctl" -D "$data" -l "$VAR/log/postgresql.log" \
        -s -w -t 60 start > /dev/null \
        || die "PostgreSQL did not start; see $VAR/log/postgresql.log"
}


stop_pg() {
    local data=$VAR/pg

    [ -s "$data/postmaster.pid" ] || return 0
    cd /
    "${AS_PG[@]}" "$(pg_bin)/pg_ctl" -D "$data" -s -w -t 30 \
        -m "${ASTRO_PG_STOP:-fast}" stop > /dev/null 2>&1 || true
}


migrate() {
    local there

    if [ -z "${ASTRO_PG:-}" ]; then
        there=$(psql -XAtq "host=$VAR/run dbname=postgres user=postgres" \
                -c "SELECT 1 FROM pg_database WHERE datname = 'astro'")
        [ -n "$there" ] \
            || psql -Xq "host=$VAR/run dbname=postgres user=postgres" \
                   -c "CREATE DATABASE astro"
    fi

    "$REPO/scripts/migrate.sh" "$(conninfo)"
}


seed() {
    "$PYTHON" "$REPO/scripts/seed.py" "$(conninfo)" "$BUILD/astro_password"
}


start_redis() {
    [ -z "${ASTRO_REDIS:-}" ] || return 0
    pid_of redis > /dev/null && return

    cd /
    touch "$VAR/log/redis.log"
    [ "$(id -u)" != 0 ] || chown "$WEB_USER:" "$VAR/log/redis.log"
    rm -f "$VAR/run/redis.pid"

    # --dir is set although nothing is saved: else it is the current one
    "${AS_WEB[@]}" redis-server --port 0 --unixsocket "$VAR/run/redis.sock" \
        --save '' --appendonly no --dir "$VAR/run" --daemonize yes \
        --pidfile "$VAR/run/redis.pid" --logfile "$VAR/log/redis.log" \
        > /dev/null || die "redis-server did not start; see $VAR/log/redis.log"

    until [ -S "$VAR/run/redis.sock" ] && pid_of redis > /dev/null; do
        ((${tries:=0} < 100)) \
            || die "redis-server did not start; see $VAR/log/redis.log"
        tries=$((tries + 1))
        sleep 0.05
    done
}


stop_redis() {
    stop_by_pid redis TERM 10
}


start_nginx() {
    local -a env

    pid_of nginx > /dev/null && return
    [ -e "$BUILD/ngx_astro_module.so" ] \
        || die "$BUILD/ngx_astro_module.so is not there: make build"
    port_free

    mapfile -t env < <(sanitizers 0; preload)
    env "${env[@]}" "$(nginx_bin)" -p "$VAR/nginx" -e "$VAR/log/error.log" \
        -c "$VAR/etc/nginx.conf" > "$VAR/log/nginx.out" 2>&1 < /dev/null \
        || { cat "$VAR/log/nginx.out" >&2
             die "nginx did not start; see $VAR/log/error.log"; }
}


nginx_bin() {
    PATH=$PATH:/usr/sbin:/sbin command -v nginx \
        || die "nginx is not there: scripts/setup.sh"
}


port_free() {
    "$PYTHON" - "$LISTEN" "$PORT" <<'PY' || die "port $PORT of $LISTEN is in \
use by another program: choose another with ASTRO_PORT=..."
import socket
import sys

with socket.socket() as s:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        s.bind((sys.argv[1], int(sys.argv[2])))
    except OSError:
        sys.exit(1)
PY
}


reload_nginx() {
    local pid

    pid=$(pid_of nginx) || die "nginx is not running"
    prepare
    kill -HUP "$pid"
}


# Its workers end with it, but would outlive a master that had to be killed.
stop_nginx() {
    local pid children=

    if pid=$(pid_of nginx); then
        children=$(cat "/proc/$pid/task/$pid/children" 2> /dev/null || true)
    fi

    stop_by_pid nginx TERM 15

    for pid in $children; do
        case $(cat "/proc/$pid/cmdline" 2> /dev/null | tr '\0' ' ') in
        nginx:*) printf '%s: worker %s of nginx had to be killed\n' \
                     "${0##*/}" "$pid" >&2
                 kill -KILL "$pid" 2> /dev/null || true ;;
        esac
    done
}


start_worker() {
    local from pid program
    local -a env

    pid_of worker > /dev/null && return
    program=$(binary)
    chmod 644 "$VAR/etc/billing_worker.conf"
    touch "$VAR/log/worker.log"
    from=$(wc -c < "$VAR/log/worker.log")
    mapfile -t env < <(sanitizers 1)

    cd /
    env "${env[@]}" "${AS_WEB[@]}" setsid "$program" run \
        --config "$VAR/etc/billing_worker.conf" \
        >> "$VAR/log/worker.log" 2>&1 < /dev/null &
    pid=$!
    printf '%s\n' "$pid" > "$VAR/run/worker.pid"
    disown "$pid"

    # leases of one that was killed run out after 3 s
    for ((i = 0; i < 300; i++)); do
        tail -c "+$((from + 1))" "$VAR/log/worker.log" \
            | grep -q '"msg": *"ready"' && return
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.05
    done

    tail -n 5 "$VAR/log/worker.log" >&2
    die "billing_worker did not become ready; see $VAR/log/worker.log"
}


stop_worker() {
    stop_by_pid worker TERM 10
}


# background NAME COMMAND...: as nginx's user, with a log and a pid file.
background() {
    local name=$1 pid
    shift

    touch "$VAR/log/$name.log"
    cd /
    "${AS_WEB[@]}" setsid "$@" >> "$VAR/log/$name.log" 2>&1 < /dev/null &
    pid=$!
    printf '%s\n' "$pid" > "$VAR/run/$name.pid"
    disown "$pid"
}


# until_up NAME TITLE COMMAND...: waits until COMMAND succeeds.
until_up() {
    local name=$1 title=$2 i
    shift 2

    for ((i = 0; i < 200; i++)); do
        "$@" && return
        pid_of "$name" > /dev/null || break
        sleep 0.05
    done

    tail -n 5 "$VAR/log/$name.log" >&2
    die "$title did not start; see $VAR/log/$name.log"
}


# Where browsers find the TURN server: an address, not every address.
turn_address() {
    case $LISTEN in
    0.0.0.0) hostname -I | cut -d ' ' -f 1 ;;
    *)       printf '%s' "$LISTEN" ;;
    esac
}


# A relay for calls that find no other way.  Its secret stands in a file of its
# user's: on a command line everybody could read it.
start_turn() {
    local conf=$VAR/run/turnserver.conf at loopback=

    [ -n "${ASTRO_TURN_PORT:-}" ] || die "turn needs a port: ASTRO_TURN_PORT"
    pid_of turn > /dev/null && return
    command -v turnserver > /dev/null \
        || die "coturn is not there: apt-get install coturn"

    at=$(turn_address)
    case $at in 127.*) loopback=allow-loopback-peers ;; esac
    (umask 077; printf '%s\n' use-auth-secret realm=astro \
        "static-auth-secret=$(< "$VAR/secret/turn")" \
        no-cli no-tls no-dtls log-file=stdout $loopback \
        "listening-ip=$at" "relay-ip=$at" \
        "listening-port=$ASTRO_TURN_PORT" \
        "userdb=$VAR/run/turndb" "pidfile=$VAR/run/turnserver.pid" \
        > "$conf")
    [ "$(id -u)" != 0 ] || chown "$WEB_USER:" "$conf"

    background turn turnserver -c "$conf"
    until_up turn coturn stun_answers "$at" "$ASTRO_TURN_PORT"
}


# A binding request (RFC 8489), as browsers make it first.
stun_answers() {
    "$PYTHON" - "$1" "$2" <<'PY'
import socket
import sys

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(0.2)
    try:
        s.connect((sys.argv[1], int(sys.argv[2])))
        s.send(b'\0\1\0\0\x21\x12\xa4\x42is it there?')
        s.recv(500)
    except OSError:
        sys.exit(1)
PY
}


stop_turn() {
    stop_by_pid turn TERM 10
}


# Stripe on loopback (t/vendors): what asks it is what would ask Stripe, and it
# tells nginx what was paid by signed webhooks, as Stripe would.
start_vendor() {
    local home=$VAR/bin/vendors

    [ -n "${ASTRO_VENDOR_PORT:-}" ] \
        || die "vendor needs a port: ASTRO_VENDOR_PORT"
    pid_of vendor > /dev/null && return

    rm -rf "$home"
    mkdir -m 755 "$home"
    install -m 644 "$REPO"/t/vendors/*.py "$home"
    mkdir -p -m 700 "$VAR/vendor"
    [ "$(id -u)" != 0 ] || chown "$WEB_USER:" "$VAR/vendor"

    background vendor "$PYTHON" -B "$home/server.py" stripe \
        --port "$ASTRO_VENDOR_PORT" --books "$VAR/vendor" \
        --key-file "$VAR/run/stripe.key"
    until_up vendor "the vendor on loopback" vendor_told
}


# Where its webhooks go, and signed with what.
vendor_told() {
    "$PYTHON" - "$VAR" "$ASTRO_VENDOR_PORT" "${LISTEN/#0.0.0.0/127.0.0.1}" \
        "$PORT" <<'PY'
import json
import pathlib
import sys
import urllib.request

var, vendor, host, port = sys.argv[1:]
secrets = pathlib.Path(var, 'secret/webhooks').read_text('ascii').split('\n')
told = {'url': f'https://{host}:{port}/api/webhooks/stripe',
        'ca': pathlib.Path(var, 'tls/cert.pem').read_text('ascii'),
        'secret': next(line.split()[1] for line in secrets
                       if line.startswith('stripe '))}
try:
    urllib.request.urlopen(f'http://127.0.0.1:{vendor}/_stub/webhook',
                           json.dumps(told).encode(), timeout=5).close()
except OSError:
    sys.exit(1)
PY
}


stop_vendor() {
    stop_by_pid vendor TERM 10
}


# A process that does not end when it is asked to is a bug: it is ended, and
# said.
stop_by_pid() {
    local pid

    if pid=$(pid_of "$1"); then
        kill "-$2" "$pid" 2> /dev/null || true

        # one that is stopped hears nothing
        kill -CONT "$pid" 2> /dev/null || true

        if ! wait_gone "$pid" "$3"; then
            printf '%s: %s (pid %s) did not end in %s s: killed\n' \
                "${0##*/}" "$1" "$pid" "$3" >&2
            kill -KILL "$pid" 2> /dev/null || true
            wait_gone "$pid" 5 || true
        fi
    fi

    rm -f "$VAR/run/$1.pid"
}


audit() {
    local -a env

    mapfile -t env < <(sanitizers 1)
    cd /
    env "${env[@]}" "${AS_WEB[@]}" "$VAR/bin/billing_worker" audit \
        --config "$VAR/etc/billing_worker.conf"
}


# Parts that not every stack has, of those that this one has or had.
extra() {
    local part

    for part in turn vendor; do
        [ ! -e "$VAR/run/$part.pid" ] || printf '%s ' "$part"
    done
}


# 0 if all parts run, 1 if some do, 3 if none does.
status() {
    local part pid up=0 down=0

    for part in nginx worker redis $(extra); do
        if pid=$(pid_of "$part"); then
            printf '%-8s running, pid %s\n' "$part" "$pid"
            up=$((up + 1))
        else
            printf '%-8s stopped\n' "$part"
            down=$((down + 1))
        fi
    done

    pid=$(head -n 1 "$VAR/pg/postmaster.pid" 2> /dev/null || true)

    if [ -n "$pid" ] && [ -d "/proc/$pid" ]; then
        printf '%-8s running, pid %s\n' pg "$pid"
        up=$((up + 1))
    else
        printf '%-8s stopped\n' pg
        down=$((down + 1))
    fi

    [ "$down" -gt 0 ] || return 0
    [ "$up" -gt 0 ] || return 3
    return 1
}


main "$@"
