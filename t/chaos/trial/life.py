"""One short life: people, sessions, money, and what goes on meanwhile."""

import contextlib
import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from fractions import Fraction
from math import floor

import psycopg

from . import oracle
from .bed import eventually, SLOW, Worker
from .gateway import Gateway
from .proxy import Proxy

SETTINGS = {"tick_seconds": 1, "paid_ahead_seconds": 5, "low_seconds": 2,
            "ring_seconds": 60, "grace_seconds": 60, "log_level": "debug"}
ADVISOR_BPS = 3000          # of what is given outside a session

# sessions with options, and refunds of what is spent: the oracle knows them
OPTIONS = bool(int(os.environ.get("ASTRO_TRIALS_OPTIONS") or 0))


class Life:
    """sessions: how many; wallets: of how many clients, each of whom may be
    in several at once: the engine must not depend on the unique index."""

    def __init__(self, bed, seed, sessions=30, wallets=None, gateways=2,
                 pace=0.08, seconds=(0.3, 2, 4, 6, 60, 600, 600)):
        """seconds: what people have money for, one of these each."""
        self.bed, self.rng = bed, random.Random(seed)
        self.pace, self.seconds = pace, seconds
        self.home = tempfile.mkdtemp(prefix="astro-life-", dir="/tmp")
        self.name = bed.database()
        self.prefix = f"t{uuid.uuid4().hex[:8]}:"
        self.workers, self.gateways, self.talks = [], [], []
        self.proxy = None
        self.vendor = None          # of payouts
        self.conn = None
        self.lock = threading.Lock()
        self.funds = {}             # client -> what came in, less what went
        self.gifts = {}             # advisor -> of those, without the fee
        self.rates = {}             # advisor -> what a switch goes to
        self.payments = []          # [client, reference, not refunded]
        self.stopped = threading.Event()
        self.trouble = None
        self.made = (sessions, wallets or max(1, sessions * 2 // 3))

        for _ in range(gateways):
            self.gateways.append(Gateway(self, self.rng.choice([300, 600])))

        self.people()

    def dsn(self, user="postgres"):
        return self.bed.pg.dsn(self.name, user)

    def sql(self, query, *args, timeout=30):
        """All rows; tries again while the database is away, so what it does
        must be such that doing it twice is as good as once."""
        until = time.monotonic() + timeout * SLOW

        while True:
            try:
                with self.lock:
                    if self.conn is None:
                        self.conn = psycopg.connect(self.dsn(),
                                                    autocommit=True)
                    cur = self.conn.execute(query, args)
                    return cur.fetchall() if cur.description else None
            except psycopg.OperationalError:
                self.conn = None
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)

    # -- at the beginning ----------------------------------------------------

    def people(self):
        rng, (n, wallets) = self.rng, self.made
        self.sql("DROP INDEX consult.session_live_client")
        clients, advisors = (
            [row[0] for row in self.sql(
                "INSERT INTO identity.account (email, name, role,"
                " password_hash) SELECT %s || i || '@trial.test', 'n', %s,"
                " 'h' FROM generate_series(1, %s) i RETURNING id",
                role, role, many)]
            for role, many in (("client", wallets), ("advisor", n)))
        self.sql("INSERT INTO ledger.wallet (owner_id, kind) SELECT id, role"
                 " FROM identity.account WHERE role IN ('client', 'advisor')"
                 " ORDER BY id")

        for advisor in advisors:
            rates = self.rates[advisor] = {
                "chat": 6000, "audio": rng.choice([1, 59, 7001, 10**8 + 7]),
                "video": rng.choice([6001, 77777, 600001])}
            self.sql("INSERT INTO identity.advisor (account_id,"
                     " rate_chat_minor, rate_audio_minor, rate_video_minor,"
                     " commission_bps) VALUES (%s, %s, %s, %s, %s)",
                     advisor, *rates.values(), ADVISOR_BPS)

        for i, advisor in enumerate(advisors):
            self.talk(clients[i % wallets], advisor)

        for client in clients:
            rate = sum(t.rate for t in self.talks if t.client == client)
            self.topup(client, int(rate * rng.choice(self.seconds) / 60)
                       + rng.randrange(9))

    def talk(self, client, advisor):
        rng = self.rng
        rate = rng.choice([1, 59, 6000, 6000, 77777, 600001, 10**8 + 7])
        bps = rng.choice([0, 3000, 3000, 3333, 9999, 10000])
        maximum = rng.choice([None] * 5 + [2500, 4001])
        options = {"whole_minute": False, "min_minor": 0, "free_ms": 0,
                   "max_minor": None} if not OPTIONS else {
                   "whole_minute": rng.random() < 0.1,
                   "min_minor": rng.choice([0] * 9 + [rate // 20 + 1]),
                   "free_ms": rng.choice([0] * 8 + [777, 2500]),
                   "max_minor": rng.choice([None] * 9 + [rate // 15 + 1])}
        conv, = self.sql(
            "INSERT INTO consult.conversation (client_id, advisor_id) VALUES"
            " (%s, %s) RETURNING id", client, advisor)[0]
        session, = self.sql(
            "INSERT INTO consult.session (conversation_id, client_id,"
            " advisor_id, client_wallet, advisor_wallet, cid, service,"
            " rate_minor, commission_bps, max_ms, whole_minute, min_minor,"
            " free_ms, max_minor, state, state_ms)"
            " SELECT %s, c.owner_id, a.owner_id, c.id, a.id, %s, 'chat', %s,"
            " %s, %s, %s, %s, %s, %s, 'accepted',"
            " consult.ms(clock_timestamp()) FROM ledger.wallet c, ledger.wallet a WHERE c.owner_id = %s AND"
            " a.owner_id = %s RETURNING id", conv, uuid.uuid4(), rate, bps,
            maximum, *options.values(), client, advisor)[0]
        self.talks.append(Talk(self, session, client, advisor, rate))

    def worker(self, binary=None, point=None, clock=None, proxied=False,
               **settings):
        dsn = self.dsn("astro_worker")
        if proxied:
            self.proxy = self.proxy or Proxy(self.bed.pg.home)
            dsn = dsn.replace(self.bed.pg.home, self.proxy.home)
        settings = {**SETTINGS, "pg": dsn,
                    "redis": f"unix:{self.bed.redis.path}",
                    "redis_prefix": self.prefix, **settings}
        made = Worker(binary or self.bed.binary, self.home, settings, point,
                      clock)
        self.workers.append(made)
        return made

    def begin(self, **how):
        """Everybody comes; the first charges are made."""
        worker = self.worker(**how)

        for talk in self.talks:
            talk.come()

        self.ticking(5)
        return worker

    def charges(self):
        return self.sql("SELECT coalesce(sum(charge_no), 0)::bigint FROM"
                        " consult.session")[0][0]

    def ticking(self, more=3, timeout=30):
        """Waits until so many more charges are made, or nobody is left whom
        to charge."""
        before = self.charges()
        alive = "SELECT id FROM consult.session WHERE NOT settled LIMIT 1"
        eventually(lambda: self.charges() >= before + more
                   or not self.sql(alive), timeout, "somebody charges")

    # -- money from outside --------------------------------------------------

    def topup(self, client, amount):
        if amount <= 0:
            return
        payment = uuid.uuid4().hex
        self.move("topup", client, amount, payment)
        self.funds[client] = self.funds.get(client, 0) + amount
        self.payments.append([client, payment, amount])
        self.nudge_wallet(client)

    def promo(self, client, amount):
        self.move("promo", client, amount, uuid.uuid4().hex, None)
        self.funds[client] = self.funds.get(client, 0) + amount
        self.nudge_wallet(client)

    def refund(self, rng):
        """A part of a payment, however little of it is left."""
        payment = rng.choice(self.payments)
        amount = min(payment[2], rng.randrange(1, payment[2] // 3 + 2))
        available, = self.sql("SELECT balance - greatest(held, promo) FROM"
                              " ledger.wallet WHERE owner_id = %s AND kind ="
                              " 'client'", payment[0])[0]
        if amount > available // 9 and not OPTIONS:
            return
        if amount > 0:
            self.move("refund", payment[1], amount, uuid.uuid4().hex)
            payment[2] -= amount
            self.funds[payment[0]] -= amount

    def gift(self, rng):
        talk = rng.choice(self.talks)
        self.give(talk.client, talk.advisor,
                  rng.randrange(1, talk.rate // 10 + 2))

    def give(self, client, advisor, amount):
        if self.move("gift", client, advisor, amount, None, uuid.uuid4().hex):
            self.funds[client] -= amount
            self.gifts[advisor] = self.gifts.get(advisor, 0) \
                + amount - floor(Fraction(amount * ADVISOR_BPS, 10000))

    def move(self, what, *args):
        """Twice, often: it happens once.  False: the books do not allow it."""
        marks = ", ".join(["%s"] * len(args))
        try:
            for _ in range(random.choice([1, 2])):
                self.sql(f"SELECT billing.{what}({marks})", *args)
        except psycopg.Error as error:
            if error.sqlstate != "AS002":
                raise
            return False
        return True

    def nudge_wallet(self, client):
        wallet, = self.sql("SELECT id FROM ledger.wallet WHERE owner_id = %s",
                           client)[0]
        with contextlib.suppress(Exception):
            self.bed.redis.client.publish(self.prefix + "nudge", f"w{wallet}")

    # -- what goes on --------------------------------------------------------

    def traffic(self, seconds):
        """In a thread of its own: people come and go, pay, end."""
        def run():
            rng = random.Random(self.rng.random())
            until = time.monotonic() + seconds
            try:
                while time.monotonic() < until and not self.stopped.is_set():
                    time.sleep(rng.expovariate(1 / self.pace))
                    self.something(rng)
            except Exception as error:      # told by finish()
                self.trouble = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()
        return self.thread

    def something(self, rng):
        talk = rng.choice(self.talks)
        what = rng.randrange(30)

        if what < 8:
            talk.toggle(rng)
        elif what < 14:
            self.topup(talk.client, rng.randrange(1, talk.rate // 10 + 2))
        elif what > 25:
            talk.switch(rng)
        elif what > 22:
            self.refund(rng)
        elif what > 19:
            self.gift(rng)
        elif what == 19:
            self.promo(talk.client, rng.randrange(1, talk.rate // 10 + 2))
        elif what < 16:
            talk.twice(rng)
        elif what == 16:
            talk.end(rng)

    def audit(self):
        done = subprocess.run(
            [self.bed.binary, "audit", "-o", f"pg={self.dsn('astro_worker')}"],
            text=True, capture_output=True, check=False)
        return done.returncode, done.stdout + done.stderr

    # -- at the end ----------------------------------------------------------

    def finish(self):
        """All is mended, everybody ends; returns what is wrong."""
        self.stopped.set()
        if hasattr(self, "thread"):
            self.thread.join(60)
        if self.trouble:
            raise self.trouble

        self.bed.mend()

        for gateway in self.gateways:
            gateway.frozen = False

        if self.proxy:
            self.proxy.lose()
            self.proxy.cut()

        if not any(w.alive for w in self.workers):
            self.worker()

        for talk in self.talks:
            talk.end(self.rng)

        wrong = []

        def over():
            return not self.sql("SELECT id FROM consult.session WHERE NOT"
                                " settled LIMIT 1")

        try:
            eventually(over, 40, "all are settled", 0.1)
        except AssertionError:
            wrong += [f"session {row[0]} is not settled: {row[1:]}"
                      for row in self.sql(
                          "SELECT id, state, reason, held, billed_ms, end_ms"
                          " FROM consult.session WHERE NOT settled")]

        # what is settled need not be closed yet
        try:
            eventually(lambda: not any(g.mine or g.closings for g in
                                       self.gateways if g.alive), 20,
                       "all intervals are closed")
        except AssertionError as error:
            wrong.append(str(error))

        for gateway in self.gateways:
            if gateway.alive:
                gateway.die()

        for worker in self.workers:
            status = worker.stop()

            if status not in ((0,) if worker.stays else (0, -9)):
                wrong.append(f"a worker ends with {status}:"
                             f" {list(worker.lines())[-3:]}")

            wrong += [f"a worker says: {line}" for line in worker.lines()
                      if oracle.alarming(line)]

        return wrong + oracle.judge(self)

    def close(self, keep=False):
        self.stopped.set()
        for gateway in self.gateways:
            gateway.alive = False
        for worker in self.workers:
            if worker.alive:
                worker.kill()
        if self.proxy:
            self.proxy.close()
        if self.vendor:
            self.vendor.close()
        for gateway in self.gateways:
            gateway.join(10)
        self.bed.mend()
        with self.lock:
            if self.conn is not None:
                self.conn.close()
        if keep:
            return f"{self.home} {self.dsn()}"
        self.bed.drop(self.name)
        shutil.rmtree(self.home, ignore_errors=True)
        return None


class Talk:
    """A client and an advisor, each with a gateway or two, or away."""

    def __init__(self, life, session, client, advisor, rate):
        self.life, self.id, self.rate = life, session, rate
        self.client, self.advisor = client, advisor
        self.ending = False

    def living(self):
        return [g for g in self.life.gateways if g.alive]

    def come(self):
        for who in (self.client, self.advisor):
            self.life.rng.choice(self.living()).come(self.id, who)

    def toggle(self, rng):
        who = rng.choice([self.client, self.advisor])
        there = [g for g in self.living() if g.has(self.id, who)]

        if there:
            rng.choice(there).leave(self.id, who, rng.choice([0, 0, 250]))
        else:
            rng.choice(self.living()).come(self.id, who)

    def twice(self, rng):
        """The same person by another device."""
        who = rng.choice([self.client, self.advisor])
        rng.choice(self.living()).come(self.id, who)

    def switch(self, rng):
        """Of the mode, and so of the rate; mostly the client wants it."""
        rng.choice(self.living()).switch(
            self.id, rng.choice([self.client] * 3 + [self.advisor]),
            rng.choice(["chat", "audio", "video"]))

    def end(self, rng):
        if not self.ending:
            self.ending = True
            rng.choice(self.living()).end(
                self.id, rng.choice([self.client, self.advisor]))
