"""A real PostgreSQL with this tree's schema, for tests of SQL alone.

Takes a server given by ASTRO_TEST_PG_ADMIN (a conninfo of a superuser; the
logins astro_web and astro_worker must be let in without a password), and makes
a database of its own there.  Without it, starts a private cluster in a
temporary folder on a Unix socket, as user postgres when we are root, and
stops it at exit.
"""

import atexit
import functools
import glob
import os
import pathlib
import pwd
import shutil
import subprocess
import tempfile
import threading
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

ROOT = pathlib.Path(__file__).resolve().parents[2]
MIGRATE = ROOT / "scripts" / "migrate.sh"
OUTCOME = ("status body dup session_id ver state paid_until_ms client_id "
           "advisor_id conversation_id head snapshot interval_id event_seq "
           "event_frame").split()
SESSION_KEYS = ("session conv state ver service client advisor rate reason "
                "billed_ms charged paid_until max_ms since pauses "
                "present").split()
BOTH = ["client", "advisor"]
LIVE = ["accepted", "connecting", "active", "reconnecting", "paused"]
ANY = ["ringing", *LIVE]


def _as_postgres():
    """What to put before a command that must not run as root."""
    if os.geteuid() != 0:
        return []

    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"]


def _private_cluster():
    """Starts a cluster; returns the admin's conninfo."""
    bins = sorted(glob.glob("/usr/lib/postgresql/*/bin/pg_ctl"),
                  key=lambda p: int(p.split("/")[4]))
    pg_ctl = bins[-1] if bins else shutil.which("pg_ctl")
    assert pg_ctl, "PostgreSQL is not installed: apt-get install postgresql"

    # a socket's path must be short, so not pytest's own folder
    home = tempfile.mkdtemp(prefix="astro-sql-", dir="/tmp")

    if os.geteuid() == 0:
        user = pwd.getpwnam("postgres")
        os.chown(home, user.pw_uid, user.pw_gid)

    def run(*command):
        subprocess.run([*_as_postgres(), *command], check=True, cwd="/",
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    data = f"{home}/pg"
    run(os.path.join(os.path.dirname(pg_ctl), "initdb"), "-D", data,
        "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8",
        "--no-sync")
    run(pg_ctl, "-D", data, "-w", "-l", f"{home}/log", "-o",
        f"-c listen_addresses='' -c unix_socket_directories={home}"
        " -c fsync=off -c max_connections=150 -c autovacuum=off", "start")

    def stop():
        run(pg_ctl, "-D", data, "-w", "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)

    atexit.register(stop)
    return f"host={home} user=postgres dbname=postgres"


def migrate(conninfo, sql_dir=None, check=True, **settings):
    env = dict(os.environ, **settings)

    if sql_dir is not None:
        env["ASTRO_SQL_DIR"] = str(sql_dir)

    return subprocess.run([MIGRATE, conninfo], env=env, check=check, text=True,
                          capture_output=True)


class Sql:
    """A migrated database and ways into it."""

    def __init__(self):
        server = os.environ.get("ASTRO_TEST_PG_ADMIN")

        if server is None:
            server = _private_cluster()

        self.server = server
        self.name = self.new_database()
        self.first = migrate(self.dsn())
        self.second = migrate(self.dsn())
        self._admin = psycopg.connect(self.dsn(), autocommit=True)
        self._count = 0

    def new_database(self):
        name = "astro_sqltest_" + uuid.uuid4().hex[:12]

        with psycopg.connect(self.server, autocommit=True) as conn:
            conn.execute(f"CREATE DATABASE {name}")

        if "ASTRO_TEST_PG_ADMIN" in os.environ:
            atexit.register(self.drop_database, name)

        return name

    def drop_database(self, name):
        with psycopg.connect(self.server, autocommit=True) as conn:
            conn.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    def dsn(self, user=None, name=None):
        extra = {"dbname": name or self.name}

        if user is not None:
            extra["user"] = user

        return make_conninfo(self.server, **extra)

    def connect(self, user="astro_web"):
        return psycopg.connect(self.dsn(user), autocommit=True)

    def admin(self, query, *args):
        """All rows; a superuser's eyes see past the policies."""
        cur = self._admin.execute(query, args)
        return cur.fetchall() if cur.description else None

    def one(self, query, *args):
        rows = self.admin(query, *args)
        assert len(rows) == 1, rows
        return rows[0][0] if len(rows[0]) == 1 else rows[0]

    def client(self, balance=1000000):
        return self._account("client", balance)

    def advisor(self, chat=6000, audio=9000, video=None, bps=3000):
        who = self._account("advisor", 0)
        self.admin("INSERT INTO identity.advisor (account_id, headline, bio,"
                   " specialties, rate_chat_minor, rate_audio_minor,"
                   " rate_video_minor, commission_bps) VALUES"
                   " (%s, 'says \"so\"', 'long', '{tarot,stars}', %s, %s, %s,"
                   " %s)", who, chat, audio, video, bps)
        return who

    def _account(self, role, balance):
        self._count += 1
        who = self.one("INSERT INTO identity.account (email, name, role,"
                       " password_hash) VALUES (%s, %s, %s, 'h')"
                       " RETURNING id",
                       f"{role}{self._count}@sql.test", f"{role} \"q\"", role)
        self.admin("INSERT INTO ledger.wallet (owner_id, kind, balance)"
                   " VALUES (%s, %s, %s)", who, role, balance)
        return who


def call(conn, name, *args):
    """The rows of a function of api, each a dict."""
    marks = ", ".join(["%s"] * len(args))
    cur = conn.execute(f"SELECT * FROM api.{name}({marks})", args)
    names = [column.name for column in cur.description]
    return [dict(zip(names, row)) for row in cur.fetchall()]


def call1(conn, name, *args):
    rows = call(conn, name, *args)
    assert len(rows) == 1, rows
    return rows[0]


def make_session(sql, client, advisor, state="active"):
    """Rows by hand: a conversation with two events, a session, an interval,
    a transfer."""
    conv = sql.one("INSERT INTO consult.conversation (client_id, advisor_id,"
                   " head) VALUES (%s, %s, 2) RETURNING id", client, advisor)
    sql.admin("INSERT INTO consult.event (conversation_id, seq, type,"
              " sender_id, cid, payload) VALUES (%s, 1, 'chat_message', %s,"
              " gen_random_uuid(), '{\"text\": \"a\"}'), (%s, 2, 'x', NULL,"
              " NULL, '{}')", conv, client, conv)
    wallets = [sql.one("SELECT id FROM ledger.wallet WHERE owner_id = %s", who)
               for who in (client, advisor)]
    session = sql.one(
        "INSERT INTO consult.session (conversation_id, client_id, advisor_id,"
        " client_wallet, advisor_wallet, cid, service, rate_minor,"
        " commission_bps, state, state_ms, charged, fee, credited, billed_ms)"
        " VALUES (%s, %s, %s, %s, %s, gen_random_uuid(), 'chat', 6000, 3000,"
        " %s, 0, 100, 30, 20, 1000) RETURNING id", conv, client, advisor,
        *wallets, state)
    gateway = sql.one("INSERT INTO consult.gateway (node, pid, started_ms,"
                      " silence_ms) VALUES ('x', 1, 0, 0) RETURNING id")
    sql.admin("INSERT INTO consult.interval (session_id, account_id,"
              " gateway_id, open_life_ms) VALUES (%s, %s, %s, 0)", session,
              client, gateway)
    sql.admin("INSERT INTO ledger.transfer (debit_account, credit_account,"
              " amount, fee, kind, session_id, charge_no) VALUES (%s, %s, 100,"
              " 30, 'session', %s, 1)", *wallets, session)
    return conv, session, wallets


def at_once(work, count):
    """Runs work(0) .. work(count - 1) in threads that start together, after
    each has passed the barrier it is given; returns results in order."""
    barrier = threading.Barrier(count)
    results = [None] * count

    def run(i):
        try:
            results[i] = work(i, barrier)
        except BaseException as error:
            barrier.abort()
            results[i] = error

    threads = [threading.Thread(target=run, args=(i,)) for i in range(count)]

    for thread in threads:
        thread.start()

    for thread in threads:
        thread.join()

    for result in results:
        if isinstance(result, BaseException):
            raise result

    return results


class Pair:
    """A client, an advisor who is online, a gateway."""

    def __init__(self, sql, web, balance=1000000):
        self.sql, self.web = sql, web
        self.client, self.advisor = sql.client(balance), sql.advisor()
        lease = call1(web, "gateway_open", "n1", 7, 8000)
        self.gateway, self.started = lease["gateway"], lease["started_ms"]
        call(web, "presence", self.gateway, [self.advisor], [])

    def start(self, conn=None, cid=None, **other):
        args = {"caller": self.client, "advisor": self.advisor,
                "service": "chat", "max_ms": None, "ready_ms": 60000,
                "live": True, **other}
        return call1(conn or self.web, "session_start", args["caller"],
                     args["advisor"], args["service"], cid or uuid.uuid4(),
                     args["max_ms"], args["ready_ms"], args["live"])

    def apply(self, session, event, who=None, conn=None, life=1000,
              reason=None):
        states, to, parties = {
            "accept": (["ringing"], "accepted", ["advisor"]),
            "reject": (["ringing"], "ended", ["advisor"]),
            "cancel": (["ringing", "accepted", "connecting"], "ended",
                       ["client"]),
            "end": (ANY, "ended", BOTH)}[event]
        return call1(conn or self.web, "session_apply",
                     who or (self.client if "client" in parties
                             else self.advisor),
                     session, event, states, to, parties,
                     reason or {"reject": "rejected",
                                "cancel": "cancelled"}.get(event),
                     self.gateway, life)

    def join(self, session, who, life=1000, conn=None):
        return call1(conn or self.web, "session_join", who, session,
                     self.gateway, life, LIVE)

    def renew(self, life, closes=(), watch=()):
        ids, lives, reasons = zip(*closes) if closes else ((), (), ())
        sessions, vers = zip(*watch) if watch else ((), ())
        return call(self.web, "gateway_renew", self.gateway, life, list(ids),
                    list(lives), list(reasons), list(sessions), list(vers))

    def row(self, session, what):
        return self.sql.one(f"SELECT {what} FROM consult.session"
                            " WHERE id = %s", session)

    def joined(self, life=1000):
        """A session in which both are; returns it and both intervals."""
        session = self.start()["session_id"]
        assert self.apply(session, "accept")["status"] == 200
        mine = self.join(session, self.client, life)["interval_id"]
        theirs = self.join(session, self.advisor, life)["interval_id"]
        return session, mine, theirs

    def activate(self, session):
        """What the engine does."""
        self.sql.admin("UPDATE consult.session SET state = 'active',"
                       " ver = ver + 1 WHERE id = %s", session)


def refused(outcome, status, code, field=None):
    assert outcome["status"] == status, outcome
    assert outcome["body"]["code"] == code
    assert outcome["body"].get("field") == field
    assert outcome["body"]["message"]
    assert all(outcome[k] is None for k in OUTCOME[2:])


@functools.lru_cache(maxsize=None)
def _sql():
    return Sql()


@pytest.fixture(scope="session")
def sql():
    return _sql()


@pytest.fixture
def web(sql):
    with sql.connect() as conn:
        yield conn


@pytest.fixture
def pair(sql, web):
    return Pair(sql, web)
