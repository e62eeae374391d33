#!/bin/sh
# Brings a database to the schema and functions of this source tree.

set -eu

usage() {
    cat <<'HELP'
usage: migrate.sh [CONNINFO]
       migrate.sh --help

Applies what is missing of sql/migrations/NNNN_*.sql, in order, each once and
in a transaction of its own, then all of sql/functions/*.sql in one
transaction.  Running it again changes nothing.  Two at once wait for each
other.

It waits for no lock on a table for more than 3 s, since everybody else who
wants the table waits behind it (for a pg_dump, say): it gives way for a
second, and tries again, 60 times; after a deadlock, too.  ASTRO_MIGRATE_TRIES
is another number.

CONNINFO is what psql -d takes: a database name, "host=/run/x dbname=astro",
or a URI.  Without it: $ASTRO_PG_ADMIN.  The database must exist.  Connect
straight to PostgreSQL (not through PgBouncer) as a superuser, or as the
database's owner with CREATEROLE.

Forward only.  It refuses, and changes nothing, when a migration that was
applied has been edited, when a new one is numbered below an applied one, and
when the database is newer than these files.

exit status: 0 done; 1 wrong use, or files that cannot be applied as they are;
             2 cannot connect; 3 an SQL error (rolled back; earlier migrations
             of the same run stay)
HELP
}

fail() {
    echo "migrate.sh: $*" >&2
    exit 1
}

case "${1-}" in
    -h|--help)
        usage
        exit 0
        ;;
    -*)
        usage >&2
        exit 1
        ;;
esac

if [ $# -gt 1 ]; then
    usage >&2
    exit 1
fi

conninfo=${1-${ASTRO_PG_ADMIN-}}

if [ -z "$conninfo" ]; then
    fail "no database given: pass a conninfo or set ASTRO_PG_ADMIN (--help)"
fi

if ! command -v psql >/dev/null; then
    fail "psql not found: install postgresql-client"
fi

# ASTRO_SQL_DIR is for tests, which need migrations of their own.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
sql=${ASTRO_SQL_DIR:-$(dirname -- "$here")/sql}

case "$sql" in
    *[\'\\]*)
        fail "cannot handle a quote or backslash in the path $sql"
        ;;
esac

if [ ! -f "$sql/functions/consult.sql" ]; then
    fail "$sql/functions/consult.sql not found"
fi

script=$(mktemp)
said=$(mktemp)
trap 'rm -f "$script" "$said"' EXIT
trap 'exit 1' HUP INT TERM

# One psql session takes the lock and does all the work: it loses the lock only
# by ending, and then it applies nothing any more.  The number is arbitrary,
# and this script's alone.
cat >"$script" <<'SQL'
\set ON_ERROR_STOP on
\set QUIET on
\set VERBOSITY terse
\pset tuples_only on
\pset format unaligned
SET client_min_messages = warning;
SET lock_timeout = 0;
SET statement_timeout = 0;
SET idle_in_transaction_session_timeout = 0;

SELECT current_setting('server_version_num')::int < 150000 AS too_old \gset
\if :too_old
    DO $$ BEGIN RAISE EXCEPTION 'PostgreSQL 15 or later is needed'; END $$;
\endif

SELECT NOT pg_try_advisory_lock(6071120251112) AS locked \gset
\if :locked
    \echo waiting for another migrate.sh
    SELECT pg_advisory_lock(6071120251112) AS locked \gset
\endif

SET lock_timeout = '3s';

CREATE SCHEMA IF NOT EXISTS migration;
CREATE TABLE IF NOT EXISTS migration.astro_migration (
    version    int         PRIMARY KEY,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE TEMPORARY TABLE astro_file (version int, name text, sha256 text);
SQL

versions=
last=

for file in "$sql"/migrations/*.sql; do
    name=$(basename -- "$file" .sql)
    version=${name%%_*}

    case "$name" in
        [0-9][0-9][0-9][0-9]_*[!a-z0-9_]* | *[!a-z0-9_]*)
            fail "$file: a name has only a-z, 0-9 and _"
            ;;
        [0-9][0-9][0-9][0-9]_?*)
            ;;
        *)
            fail "$file: a migration is named NNNN_what.sql"
            ;;
    esac

    if [ "$version" = "$last" ]; then
        fail "two migrations are numbered $version"
    fi

    last=$version
    versions="$versions $version:$name"
    sha=$(sha256sum <"$file")
    echo "INSERT INTO astro_file VALUES (1$version - 10000, '$name'," \
         "'${sha%% *}');" >>"$script"
done

if [ -z "$versions" ]; then
    fail "no migrations in $sql/migrations"
fi

cat >>"$script" <<'SQL'
DO $$
DECLARE
    m record;
BEGIN
    FOR m IN SELECT a.version, a.name, f.sha256 IS NULL AS gone,
                    f.sha256 <> a.sha256 AS changed
               FROM migration.astro_migration a
               LEFT JOIN astro_file f USING (version) ORDER BY a.version LOOP
        IF m.gone THEN
            RAISE EXCEPTION 'the database has migration % (%), which these '
                'files do not have: they are older than the database',
                            m.version, m.name;
        END IF;

        IF m.changed THEN
            RAISE EXCEPTION 'migration % was edited after it was applied: '
                'put it back and write a new one',
                            m.name;
        END IF;
    END LOOP;

    FOR m IN SELECT f.name FROM astro_file f
              WHERE f.version < (SELECT max(version)
                                   FROM migration.astro_migration)
                AND NOT EXISTS (SELECT FROM migration.astro_migration a
                                 WHERE a.version = f.version) LOOP
        RAISE EXCEPTION 'migration % is numbered below one that is applied: '
            'give it the next number',
                        m.name;
    END LOOP;
END
$$;
SQL

for entry in $versions; do
    version=${entry%%:*}
    name=${entry#*:}

    cat >>"$script" <<SQL
SELECT NOT EXISTS (SELECT FROM migration.astro_migration
                    WHERE version = 1$version - 10000) AS missing \\gset
\\if :missing
    BEGIN;
    \\i '$sql/migrations/$name.sql'
    RESET ROLE;
    RESET search_path;
    INSERT INTO migration.astro_migration (version, name, sha256)
    SELECT version, name, sha256 FROM astro_file
     WHERE version = 1$version - 10000;
    COMMIT;
    \\echo applied $name
\\endif
SQL
done

# consult.sql has the types and helpers that the others use.
echo "BEGIN;" >>"$script"
echo "\\i '$sql/functions/consult.sql'" >>"$script"
count=1

for file in "$sql"/functions/*.sql; do
    name=$(basename -- "$file")

    if [ "$name" != consult.sql ]; then
        echo "RESET ROLE; RESET search_path;" >>"$script"
        echo "\\i '$sql/functions/$name'" >>"$script"
        count=$((count + 1))
    fi
done

cat >>"$script" <<SQL
COMMIT;
\\echo functions: $count files, migrations: at $last
SQL

tries=${ASTRO_MIGRATE_TRIES:-60}

while :; do
    status=0
    psql -X -q -d "$conninfo" -f "$script" 2>"$said" || status=$?
    cat "$said" >&2
    tries=$((tries - 1))

    if [ "$status" != 3 ] || [ "$tries" -le 0 ] \
        || ! grep -qe 'due to lock timeout' -e 'deadlock detected' "$said"
    then
        exit "$status"
    fi

    echo "migrate.sh: somebody is using a table; trying again" >&2
    sleep 1
done
