"""Trials with payouts: a vendor on loopback that fails when it likes, and
workers that die while they make payouts, ask the vendor, hear of it, write it
down.  However it goes, each advisor is paid once in the vendor's own record.
"""

import pathlib
import re
import signal
import sys
import time

from .bed import eventually, ROOT
from .strikes import pause, stopped

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]
                       / "integration"))

from vendor_fixture import Vendor, hurry        # noqa: E402

KINDS = {}
SHAPE = {"sessions": 16}
PAYEES = 60                 # besides the advisors of sessions
MINIMUM = 1500


def kind(name, weight):
    def add(function):
        KINDS[name] = (function, weight, SHAPE)
        return function
    return add


def points():
    found = set()
    for name in ("outbox.c", "payouts.c"):
        found.update(re.findall(r'BILLING_POINT\("([a-z-]+)"\)', (
            ROOT / "billing_worker" / name).read_text(encoding="utf-8")))
    return sorted(found)


class Till:
    """Advisors with earnings, and who pays them."""

    def __init__(self, life, **faults):
        self.life = life
        self.vendor = life.vendor = Vendor(seed=life.rng.getrandbits(32))
        self.vendor.faults(**faults)
        self.gone = []                      # pids whose claims are void
        self.settings = {
            "stripe_url": self.vendor.url,
            "stripe_key_file": self.vendor.key_file, "calls_at_once": 4,
            "call_timeout_seconds": 3, "payout_time": "00:00",
            "payout_minimum": f"*:{MINIMUM}"}
        life.begin()                        # sessions go on meanwhile
        self.payees()

    def payees(self):
        """Some have nowhere to be paid to that the vendor knows."""
        life, rng = self.life, self.life.rng
        client = life.talks[0].client
        life.topup(client, 10**9)

        for i in range(PAYEES):
            advisor, = life.sql(
                "WITH who AS (INSERT INTO identity.account (email, name, role,"
                " password_hash) VALUES (%s, 'n', 'advisor', 'h') RETURNING"
                " id), wallet AS (INSERT INTO ledger.wallet (owner_id, kind)"
                " SELECT id, 'advisor' FROM who) INSERT INTO identity.advisor"
                " (account_id, rate_chat_minor, commission_bps) SELECT id,"
                " 6000, 3000 FROM who RETURNING account_id",
                f"payee{i}@trial.test")[0]
            place = "acct_gone" if rng.random() < 0.1 else "acct_"
            life.sql("SELECT billing.payee_set(%s, %s)", advisor,
                     f"{place}{advisor}")
            life.give(client, advisor, rng.randrange(1000, 90000))

        for talk in life.talks:
            life.sql("SELECT billing.payee_set(%s, %s)", talk.advisor,
                     f"acct_{talk.advisor}")

    def rows(self, query, *args):           # for hurry()
        return self.life.sql(query, *args)

    def worker(self, **how):
        return self.life.worker(**how, **self.settings)

    def void(self, worker):
        """Its claims would be free in half a minute."""
        self.gone.append(worker.process.pid)

    def over(self):
        """Nothing waits any more, and the day is done."""
        hurry(self, self.gone)
        return self.life.sql("SELECT 1 FROM ledger.payout_run") \
            and not self.life.sql(
                "SELECT 1 FROM ledger.payout WHERE state NOT IN ('paid',"
                " 'failed') UNION ALL SELECT 1 FROM billing.outbox WHERE"
                " state IN ('waiting', 'parked')")

    def finish(self):
        self.vendor.faults()
        eventually(self.over, 60, "all are paid", 0.1)


def at_point(life, name, binary, action=""):
    rng = life.rng
    till = Till(life, **rng.choice([{}, {"late": 0.5, "delay_ms": 200},
                                    {"lost": 0.2, "error_after": 0.1}]))
    n = {"payouts-made": 1, "outbox-claimed": rng.randrange(1, 6),
         "outbox-recorded": rng.randrange(1, 6)}.get(
             name, rng.randrange(1, 30))
    doomed = till.worker(binary=binary, point=f"{name}:{n}{action}")
    life.traffic(6)

    if action:
        eventually(lambda: stopped(doomed), 40, f"stops at {name}:{n}")
        till.void(doomed)
        till.worker()
        pause(life, 1)
        hurry(till, till.gone)              # the other one has its calls
        pause(life, 1)
        doomed.signal(signal.SIGCONT)
        return till.finish()

    eventually(lambda: not doomed.alive, 40, f"dies at {name}:{n}")
    assert doomed.process.returncode == -signal.SIGKILL, \
        f"was to die at {name}:{n}: {doomed.process.returncode}"
    till.void(doomed)
    till.worker()
    return till.finish()


@kind("payouts: two workers killed, the vendor's answers lost", 2)
def workers_killed(life):
    till = Till(life, lost=0.1, hangup=0.1, error_after=0.1, late=0.3,
                delay_ms=100)
    life.traffic(7)
    workers = [till.worker(), till.worker()]

    for _ in range(5):
        time.sleep(life.rng.uniform(0.1, 0.9))
        i = life.rng.randrange(2)
        workers[i].kill()
        till.void(workers[i])
        hurry(till, till.gone)
        workers[i] = till.worker()

    till.finish()


@kind("payouts: PostgreSQL crashes", 1)
def postgresql_crashes(life):
    till = Till(life, late=0.5, delay_ms=100)
    life.traffic(7)
    worker = till.worker()

    for _ in range(3):
        time.sleep(life.rng.uniform(0.1, 0.9))
        life.bed.pg.stop()
        pause(life, 0.2)
        life.bed.pg.start()
        till.void(worker)

    till.finish()


@kind("payouts: the vendor dies, and the worker", 1)
def vendor_killed(life):
    till = Till(life, lost=0.1)
    life.traffic(7)
    worker = till.worker()

    for _ in range(2):
        time.sleep(life.rng.uniform(0.1, 0.6))
        till.vendor.kill()
        pause(life, 0.3)
        worker.kill()
        till.void(worker)
        till.vendor.start()
        worker = till.worker()

    till.finish()
