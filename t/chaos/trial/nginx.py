"""Trials with real nginx: pairs of people talk over WebSocket, and nginx's
workers are killed.  One stack serves all such trials of a process."""

import os
import pathlib
import signal
import sys
import threading
import time

from . import oracle
from .strikes import pause

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2]
                       / "integration"))

from astro.crowd import Crowd       # noqa: E402
from astro.stack import Stack, eventually       # noqa: E402

PAIRS = 12
FUNDS = 100000000           # what a Crowd gives each of its clients
SETTINGS = {"astro_grace": "60s"}
WORKER_SETTINGS = {"grace_seconds": "60"}

KINDS = {}


def kind(name, weight):
    def add(function):
        KINDS[name] = (function, weight, {})
        return function
    return add


class City:
    """What the oracle asks, of a stack."""

    gateways = ()
    gifts = {}
    vendor = None

    def __init__(self, bed, rng):
        if bed.stack is None:
            bed.stack = Stack(SETTINGS, WORKER_SETTINGS)
            bed.stack.up()
            bed.stack.funds = {}
        self.stack, self.rng = bed.stack, rng
        self.stack.revive()
        self.stack.begin()
        self.funds = bed.stack.funds
        self.lock = threading.Lock()
        self.conn = None
        self.crowd = Crowd(self.stack, PAIRS, 0.3, rng.choice([6000, 600001]))
        self.talks = self.crowd.pairs
        self.funds.update((pair.client.number, FUNDS) for pair in self.talks)

    def sql(self, query):
        self.conn = self.conn or self.stack.db()
        return self.conn.execute(query).fetchall()

    def audit(self):
        return self.stack.audit()

    def kill_nginx(self):
        os.kill(self.rng.choice(sorted(self.stack.serving())),
                signal.SIGKILL)

    def finish(self):
        """Everybody is back, has all that was said, and ends."""
        self.crowd.verdict(40)
        eventually(lambda: len(self.stack.serving()) == self.stack.workers,
                   40, "as many workers of nginx as before")
        self.crowd.end()
        return oracle.judge(self)

    def close(self, _):
        self.crowd.close()
        if self.conn is not None:
            self.conn.close()


def play(bed, name, rng):
    """What was wrong, and how many sessions there were."""
    city = City(bed, rng)
    try:
        city.crowd.talk(60)
        KINDS[name][0](city)
        pause(city, 2)
        return city.finish(), PAIRS
    finally:
        city.close(False)


@kind("nginx worker killed", 3)
def nginx_killed(city):
    for _ in range(city.rng.randrange(1, 4)):
        pause(city, 2)
        city.kill_nginx()


@kind("nginx worker and billing worker killed", 2)
def both_killed(city):
    for _ in range(2):
        pause(city, 1.5)
        city.stack.kill_billing()
        city.kill_nginx()
        pause(city, 0.5)
        city.stack.start("worker")


@kind("nginx worker killed, PostgreSQL crashes", 2)
def nginx_and_postgresql(city):
    pause(city, 1.5)
    city.kill_nginx()
    pause(city, 0.3)
    city.stack.crash_pg()
    pause(city, 0.5)
    city.stack.script("start", "pg")
    time.sleep(1)
