"""A billing worker on a database of its own, and a gateway made of Python.

The gateway does what the nginx module does for a session: keeps a lease and
renews it, opens intervals, closes them at paid_until by its own clock, hears
of sessions from Redis and from renewals, nudges the worker.  It can be told to
die, to freeze, and to keep from Redis.
"""

import contextlib
import json
import os
import pathlib
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
from fractions import Fraction
from math import floor

import psycopg
import pytest
import redis as redis_client
from psycopg.conninfo import conninfo_to_dict

from sql_fixture import ANY, BOTH, LIVE, ROOT, call, call1, migrate

BUILD = pathlib.Path(os.environ.get("BUILD", "build"))
BINARY = (BUILD if BUILD.is_absolute() else ROOT / BUILD) / "billing_worker"
SLOW = float(os.environ.get("ASTRO_SLOW", "1"))

SETTINGS = {"tick_seconds": 1, "paid_ahead_seconds": 5, "low_seconds": 1,
            "ring_seconds": 30, "grace_seconds": 30, "log_level": "debug"}


def boot_ms():
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000000


def eventually(ready, timeout=30, what=None):
    until = time.monotonic() + timeout * SLOW
    while True:
        found = ready()
        if found:
            return found
        assert time.monotonic() < until, f"{what or 'that'} in {timeout} s"
        time.sleep(0.02)


class Redis:
    """A private redis-server on a Unix socket."""

    def __init__(self):
        self.home = tempfile.mkdtemp(prefix="astro-bill-", dir="/tmp")
        self.path = f"{self.home}/redis.sock"
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            ["redis-server", "--port", "0", "--unixsocket", self.path,
             "--save", "", "--dir", self.home],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.client = redis_client.Redis(unix_socket_path=self.path)

        def up():
            with contextlib.suppress(redis_client.RedisError):
                return self.client.ping()

        eventually(up, what="redis-server")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)


class Proxy(threading.Thread):
    """Between a worker and PostgreSQL: may swallow the answers, or hang up."""

    def __init__(self, bench):
        super().__init__(daemon=True)
        self.home = tempfile.mkdtemp(prefix="astro-cut-", dir="/tmp")
        self.to = conninfo_to_dict(bench.dsn())["host"] + "/.s.PGSQL.5432"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{self.home}/.s.PGSQL.5432")
        self.listener.listen(16)
        self.pairs = {}             # socket -> the one it is relayed to
        self.clients = set()
        self.mute_after = None      # swallow answers once this was asked
        self.mute = self.cutting = False
        self.dark = False           # swallow everything, both ways
        self.stopped = False
        self.start()

    def run(self):
        while not self.stopped:
            if self.cutting:
                for sock in self.pairs:
                    sock.close()
                self.pairs, self.clients = {}, set()
                self.mute = self.cutting = False
                self.mute_after = None

            ready, _, _ = select.select([self.listener, *self.pairs], [], [],
                                        0.01)

            for sock in ready:
                if sock is self.listener:
                    client, _ = sock.accept()
                    server = socket.socket(socket.AF_UNIX)
                    server.connect(self.to)
                    self.pairs.update({client: server, server: client})
                    self.clients.add(client)

                elif sock in self.pairs:
                    self.relay(sock)

    def relay(self, sock):
        other = self.pairs[sock]

        with contextlib.suppress(OSError):
            data = sock.recv(65536)

            if data:
                if not self.dark and (sock in self.clients or not self.mute):
                    other.sendall(data)

                if self.mute_after and sock in self.clients:
                    self.mute = self.mute or self.mute_after in data

                return

        for one in (sock, other):
            self.pairs.pop(one)
            self.clients.discard(one)
            one.close()

    def cut(self):
        self.cutting = True
        eventually(lambda: not self.cutting)

    def close(self):
        self.stopped = True
        self.join(5)
        self.listener.close()
        shutil.rmtree(self.home, ignore_errors=True)


class Worker:
    """One billing_worker process."""

    def __init__(self, bench, **settings):
        self.lines = []
        options = []
        chosen = {**SETTINGS, "pg": bench.dsn("astro_worker"),
                  "redis": f"unix:{bench.redis.path}",
                  "redis_prefix": bench.prefix, **settings}

        for key, value in chosen.items():
            options += ["-o", f"{key}={value}"]

        self.process = subprocess.Popen([BINARY, "run", *options],
                                        stderr=subprocess.PIPE, text=True,
                                        stdout=subprocess.DEVNULL)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stderr:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.lines.append({"level": "error", "msg": line})

    def said(self, msg):
        return [line for line in self.lines if line["msg"] == msg]

    def ready(self, timeout=8):
        eventually(lambda: self.said("ready"), timeout, "ready")
        return self

    def kill(self):
        self.process.kill()
        self.process.wait()

    def freeze(self):
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """SIGTERM; returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()

            try:
                self.process.wait(10 * SLOW)
            except subprocess.TimeoutExpired:
                self.kill()
                raise

        return self.process.returncode


def metric(path, line):
    """What the worker that listens at unix:path says of astro_billing_line."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
        sock.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
        said = b""

        while data := sock.recv(65536):
            said += data

    found, = [x for x in said.decode().splitlines()
              if x.startswith(f"astro_billing_{line} ")]
    return int(found.split()[1])


class Gateway(threading.Thread):
    """One nginx worker, as far as sessions go."""

    def __init__(self, bench, silence_ms=600):
        super().__init__(daemon=True)
        self.bench, self.silence = bench, silence_ms
        self.lock = threading.RLock()
        self.conn = psycopg.connect(bench.dsn("astro_web"), autocommit=True)
        self.sessions = {}          # id -> {ver, state, paid, mine: {who: iv}}
        self.closings = []          # (interval, life, reason, session)
        self.online = set()
        self.alive, self.frozen, self.deaf = True, False, False
        self.blind, self.lost = False, False
        self.pubsub = bench.redis.client.pubsub()
        self.pubsub.subscribe(bench.prefix + "events")
        self.open()
        self.start()

    def open(self):
        lease = call1(self.conn, "gateway_open", "py", os.getpid(),
                      self.silence)
        self.id, self.started = lease["gateway"], lease["started_ms"]
        self.born = boot_ms()

    def life(self):
        return boot_ms() - self.born

    def now(self):
        """This gateway's instant."""
        return self.started + self.life()

    def run(self):
        renewed = 0

        while self.alive:
            time.sleep(0.01)

            if self.frozen:
                continue

            try:
                with self.lock:
                    with contextlib.suppress(redis_client.RedisError):
                        self.listen()

                    self.cut()

                    if self.closings or time.monotonic() - renewed > 0.3:
                        renewed = time.monotonic()
                        self.renew()
            except psycopg.Error as error:
                self.trouble = error

    def listen(self):
        while not self.deaf and not self.blind:
            message = self.pubsub.get_message(timeout=0)

            if message is None:
                return

            if message["type"] == "message" and message["data"][:1] == b"S":
                words = message["data"].split(b"\n")[0].split()
                self.learn(int(words[1]), int(words[2]), words[3].decode(),
                           int(words[4]) or None)

            if message["type"] == "message" and message["data"][:1] == b"T":
                for line in message["data"].splitlines()[1:]:
                    words = line.split()
                    self.paid(int(words[0]), int(words[1]), int(words[2]))

    def paid(self, session, ver, paid):
        """A tick says nothing of the state, and nothing new of a version."""
        known = self.sessions.get(session)

        if known is not None and ver <= known["ver"]:
            self.learn(session, ver, known["state"], paid)

    def learn(self, session, ver, state, paid):
        """By version, within a version by paid_until: as the module does."""
        known = self.sessions.get(session)

        if known is None or ver < known["ver"]:
            return

        if ver == known["ver"] and (known["paid"] or 0) >= (paid or 0):
            return

        known.update(ver=ver, state=state, paid=paid)

        if state == "ended":
            for who in list(known["mine"]):
                self.close(session, who, self.life(), "ended")

        elif paid is None or self.now() < paid:
            for who in list(known["cut"]):
                known["cut"].discard(who)
                self.join(session, who)

    def cut(self):
        """The gateway's own part: nobody is served beyond what was paid."""
        for session, known in self.sessions.items():
            paid = known["paid"]

            if known["state"] != "active" or not paid or self.now() < paid:
                continue

            for who in list(known["mine"]):
                self.close(session, who, paid - self.started, "unpaid")
                known["cut"].add(who)

    def close(self, session, who, life, reason):
        interval = self.sessions[session]["mine"].pop(who)
        self.closings.append((interval, life, reason, session))

    def renew(self):
        closings = self.closings
        watched = [] if self.blind else list(self.sessions)
        rows = call(self.conn, "gateway_renew", self.id, self.life(),
                    [c[0] for c in closings], [c[1] for c in closings],
                    [c[2] for c in closings], watched,
                    [self.sessions[s]["ver"] for s in watched])

        if rows and rows[0]["status"] == 410:
            self.lost = True
            self.alive = False
            return

        self.closings = []

        for row in [] if self.blind else rows:
            self.learn(row["session_id"], row["ver"], row["state"],
                       row["paid_until_ms"])

        for session in {c[3] for c in closings}:
            self.nudge(session)

    def nudge(self, what):
        if not self.deaf:
            with contextlib.suppress(redis_client.RedisError):
                self.bench.redis.client.publish(self.bench.prefix + "nudge",
                                                what)

    def be_online(self, who):
        with self.lock:
            call(self.conn, "presence", self.id, [who], [])

    def join(self, session, who):
        with self.lock:
            row = call1(self.conn, "session_join", who, session, self.id,
                        self.life(), LIVE)

            if row["status"] != 200:
                return row

            known = self.sessions.setdefault(
                session, {"ver": 0, "state": "", "paid": None, "mine": {},
                          "cut": set()})
            known["mine"][who] = row["interval_id"]
            self.learn(session, row["ver"], row["state"],
                       row["paid_until_ms"])
            self.nudge(session)
            return row

    def leave(self, session, who, ago_ms=0):
        """Gone; noticed only ago_ms after the last byte."""
        with self.lock:
            known = self.sessions[session]
            known["cut"].discard(who)

            if who in known["mine"]:
                self.close(session, who, self.life() - ago_ms, "gone")

    def end(self, session, who, reason=None):
        with self.lock:
            row = call1(self.conn, "session_apply", who, session, "end", ANY,
                        "ended", BOTH, reason, self.id, self.life())
            self.learn(session, row["ver"], row["state"],
                       row["paid_until_ms"])
            self.nudge(session)
            return row

    def die(self):
        """kill -9: nothing is said to anybody."""
        self.alive = False
        self.join_thread()

    def join_thread(self):
        threading.Thread.join(self, 5)

    def shut(self):
        self.alive = False
        self.join_thread()
        self.conn.close()
        self.pubsub.close()


def ticked(line):
    """A line of a T message as the frames that a gateway makes of it."""
    (session, _, _, client, advisor, billed, charged, earned, balance,
     left) = map(int, line.split(" "))

    if billed == 0:
        return

    for user, more in ((client, {"balance": balance, "left_s": left}),
                       (advisor, {"earned": earned})):
        yield ["U", str(user), "0", "0"], {
            "type": "billing_tick",
            "payload": {"session": f"s_{session}", "billed_ms": billed,
                        "charged": charged, **more}}


class Bench:
    """A database, Redis, and whatever a test starts on them.  The database is
    a copy of another bench's, which has nobody connected; or a new one."""

    def __init__(self, sql, redis, template=None):
        self.sql, self.redis = sql, redis
        self.prefix = f"t{uuid.uuid4().hex[:8]}:"
        self.name = sql.new_database()

        if template is None:
            migrate(sql.dsn(name=self.name))
        else:
            with psycopg.connect(sql.server, autocommit=True) as conn:
                conn.execute(f"DROP DATABASE {self.name}")
                conn.execute(f"CREATE DATABASE {self.name}"
                             f" TEMPLATE {template.name}")

        self.db = psycopg.connect(self.dsn(), autocommit=True)
        self.workers, self.gateways = [], []
        self.count = 0
        self.heard = []
        self.events = redis.client.pubsub()
        self.events.subscribe(self.prefix + "events")

    def dsn(self, user=None):
        return self.sql.dsn(user, self.name)

    def close(self):
        for gateway in self.gateways:
            gateway.shut()

        statuses = [worker.stop() for worker in self.workers
                    if worker.process.poll() is None]
        errors = [line for worker in self.workers
                  for line in worker.lines if line["level"] == "error"
                  and line["msg"] not in getattr(self, "expected", ())]
        self.events.close()
        self.db.close()
        assert statuses == [0] * len(statuses), [
            worker.lines[-5:] for worker in self.workers]
        assert not errors, errors

    def worker(self, **settings):
        self.workers.append(Worker(self, **settings))
        return self.workers[-1]

    def gateway(self, **settings):
        self.gateways.append(Gateway(self, **settings))
        return self.gateways[-1]

    def rows(self, query, *args):
        cur = self.db.execute(query, args)
        return None if cur.description is None else cur.fetchall()

    def one(self, query, *args):
        row, = self.rows(query, *args)
        return row[0] if len(row) == 1 else row

    def account(self, role, topup=0, rate=6000, bps=3000):
        self.count += 1
        who = self.one("INSERT INTO identity.account (email, name, role,"
                       " password_hash) VALUES (%s, 'n', %s, 'h')"
                       " RETURNING id", f"{role}{self.count}@bill.test", role)
        self.one("INSERT INTO ledger.wallet (owner_id, kind) VALUES (%s, %s)"
                 " RETURNING id", who, role)

        if role == "advisor":
            self.rows("INSERT INTO identity.advisor (account_id,"
                      " rate_chat_minor, commission_bps) VALUES (%s, %s, %s)",
                      who, rate, bps)

        if topup:
            self.topup(who, topup)

        return who

    def topup(self, who, amount, reference=None):
        return self.one("SELECT * FROM billing.topup(%s, %s, %s)", who,
                        amount, reference or uuid.uuid4().hex)

    def wallet(self, who):
        return self.one("SELECT balance, held FROM ledger.wallet"
                        " WHERE owner_id = %s", who)

    def session(self, session, what="*"):
        row = self.one(f"SELECT {what} FROM consult.session WHERE id = %s",
                       session)
        return row

    def until(self, session, condition, timeout=30):
        eventually(lambda: self.session(session, condition), timeout,
                   f"session {session}: {condition}")

    def listen(self):
        """Everything the workers have published so far."""
        while True:
            message = self.events.get_message(timeout=0.05)

            if message is None:
                return self.heard

            if message["type"] == "message":
                head, _, body = message["data"].decode().partition("\n")

                if head == "T":
                    assert len(message["data"]) <= 16384
                    self.heard += [frame for line in body.splitlines()
                                   for frame in ticked(line)]
                elif not head.startswith("M "):     # what admins watch
                    self.heard.append((head.split(), json.loads(body)))

    def audit(self):
        done = subprocess.run([BINARY, "audit", "-o",
                               f"pg={self.dsn('astro_worker')}"], text=True,
                              capture_output=True, check=False)
        return done.returncode, done.stdout + done.stderr

    def clean(self):
        code, said = self.audit()
        assert code == 0, said

    def billable(self, session):
        """What both were there for, by the millisecond, from the rows: an
        oracle that shares nothing with the worker."""
        client, end, paid = self.session(
            session, "client_id, end_ms, paid_until_ms")
        cut = min(x for x in (end, paid, 2**62) if x is not None)
        there = {True: set(), False: set()}

        for who, since, until in self.rows(
                "SELECT account_id, g.started_ms + open_life_ms,"
                " g.started_ms + least(coalesce(close_life_ms, g.life_ms),"
                " cut_life_ms)"
                " FROM consult.interval i JOIN consult.gateway g"
                " ON g.id = i.gateway_id WHERE session_id = %s", session):
            there[who == client].update(range(since, min(until, cut)))

        return len(there[True] & there[False]) if paid is not None else 0

    def settled(self, session, reason=None, timeout=10):
        """Waits for its end; proves every number of it."""
        self.until(session, "settled", timeout)
        rate, bps, ms, charged, fee, held, no, said = self.session(
            session, "rate_minor, commission_bps, billed_ms, charged, fee,"
            " held, charge_no, reason")
        transfers = self.rows(
            "SELECT charge_no, amount, fee FROM ledger.transfer"
            " WHERE session_id = %s ORDER BY charge_no", session)
        ends = self.one(
            "SELECT count(*) FROM consult.event WHERE type = 'session_end'"
            " AND payload->>'session' = %s", f"s_{session}")

        assert ends == 1
        assert [t[0] for t in transfers] == list(range(1, no + 1))
        assert sum(t[1] for t in transfers) == charged
        assert sum(t[2] for t in transfers) == fee
        assert charged == floor(Fraction(rate, 60000) * ms)
        assert fee == floor(Fraction(bps, 10000) * charged)
        assert held == 0
        assert ms == self.billable(session)

        if reason is not None:
            assert said == reason

        return ms, charged


class Talk:
    """A client and an advisor in a session, on a gateway each."""

    def __init__(self, bench, topup=100000, rate=6000, bps=3000, max_ms=None,
                 gateways=None, accept=True, service="chat"):
        self.bench = bench
        self.client = bench.account("client", topup)
        self.advisor = bench.account("advisor", rate=rate, bps=bps)
        gateways = gateways or [bench.gateway()]
        self.cgw, self.agw = gateways[0], gateways[-1]
        self.agw.be_online(self.advisor)

        with self.cgw.lock:
            row = call1(self.cgw.conn, "session_start", self.client,
                        self.advisor, service, uuid.uuid4(), max_ms, 0, True)

        assert row["status"] == 201, row
        self.id = row["session_id"]
        self.cgw.nudge(self.id)

        if accept:
            self.accept()

    def accept(self):
        with self.agw.lock:
            row = call1(self.agw.conn, "session_apply", self.advisor, self.id,
                        "accept", ["ringing"], "accepted", ["advisor"], None,
                        self.agw.id, self.agw.life())

        assert row["status"] == 200, row
        self.agw.nudge(self.id)

    def paid_by(self, other):
        """By the client of another one, who may have one alone by rights."""
        bench = self.bench
        bench.rows("DROP INDEX IF EXISTS consult.session_live_client")
        conv = bench.one("INSERT INTO consult.conversation (client_id,"
                         " advisor_id) VALUES (%s, %s) RETURNING id",
                         other.client, self.advisor)
        bench.rows("UPDATE consult.session SET client_id = %s,"
                   " conversation_id = %s, client_wallet = (SELECT id FROM"
                   " ledger.wallet WHERE owner_id = %s) WHERE id = %s",
                   other.client, conv, other.client, self.id)
        self.client = other.client
        return self

    def join(self):
        assert self.cgw.join(self.id, self.client)["status"] == 200
        assert self.agw.join(self.id, self.advisor)["status"] == 200
        return self

    def active(self):
        self.join()
        self.bench.until(self.id, "state = 'active'")
        return self

    def ticks(self):
        return self.bench.session(self.id, "charge_no")

    def ticked(self, more=1, timeout=30):
        no = self.bench.session(self.id, "charge_no")
        self.bench.until(self.id, f"charge_no >= {no + more}", timeout)
        return self

    def end(self):
        return self.cgw.end(self.id, self.client)


# for a module that imports them, with "sql" of sql_fixture: one Redis, one
# database that is copied, and a bench for each test

@pytest.fixture(scope="module")
def redis():
    server = Redis()
    yield server
    server.close()


@pytest.fixture(scope="module")
def empty(sql, redis):
    made = Bench(sql, redis)
    made.close()
    return made


@pytest.fixture
def bench(sql, redis, empty):
    if redis.process.poll() is not None:
        redis.start()

    made = Bench(sql, redis, empty)
    yield made
    made.close()
