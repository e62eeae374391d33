"""Two hundred pairs talk while, every 2 to 3 seconds, something is struck.

What must hold at the end, whatever died: every member has received exactly
what PostgreSQL holds of their conversation, in order, nothing twice; what was
acknowledged is stored, and what was said is stored once; the books are right;
as many workers and seats as at the beginning, nobody left in shared memory;
and no alert but those that the killing itself brings about.

ASTRO_CHAOS_SECONDS   how long (60, sanitized 20; make soak: 300)
ASTRO_CHAOS_PAIRS     how many pairs (200, sanitized 30)
ASTRO_CHAOS_SEED      repeats the choices of a run
"""

import os
import random
import signal
import threading
import time

import pytest
from astro.crowd import Crowd
from astro.fixtures import watch
from astro.stack import Stack, eventually
from astro.ws import BUILD

SANITIZED = os.path.exists(f'{BUILD}/sanitized')
SECONDS = float(os.environ.get('ASTRO_CHAOS_SECONDS')
                or (20 if SANITIZED else 60))
PAIRS = int(os.environ.get('ASTRO_CHAOS_PAIRS') or (30 if SANITIZED else 200))

# As operators have them: people are patient for a minute.
SETTINGS = {'astro_grace': '60s'}
WORKER_SETTINGS = {'grace_seconds': '60'}


class Strikes:
    """What may happen to a running system; none waits for it to recover."""

    def __init__(self, stack, chance):
        self.stack, self.chance = stack, chance
        self.later = []

    def one(self):
        name = self.chance.choice(
            ['reload', 'kill_nginx', 'kill_nginx', 'suspend_nginx',
             'kill_redis', 'flush_redis', 'restart_postgresql',
             'kill_billing', 'suspend_billing'])
        return name, getattr(self, name)()

    def some_worker(self):
        return self.chance.choice(sorted(self.stack.nginx_workers()))

    def reload(self):
        os.kill(self.stack.pid('nginx'), signal.SIGHUP)

    def kill_nginx(self):
        """One that serves, drains or is suspended."""
        pid = self.some_worker()
        os.kill(pid, signal.SIGKILL)
        return pid

    def suspend_nginx(self):
        return self.suspend(self.some_worker(), [1, 4, 10])

    def suspend_billing(self):
        return self.suspend(self.stack.pid('worker'), [1, 4])

    def suspend(self, pid, lengths):
        seconds = self.chance.choice(lengths)
        os.kill(pid, signal.SIGSTOP)

        def go_on():
            try:
                os.kill(pid, signal.SIGCONT)
            except ProcessLookupError:
                pass

        timer = threading.Timer(seconds, go_on)
        timer.start()
        self.later.append(timer)
        return f'{pid} for {seconds} s'

    def kill_redis(self):
        os.kill(self.stack.pid('redis'), signal.SIGKILL)
        time.sleep(self.chance.uniform(0, 1))
        self.stack.script('start', 'redis')

    def flush_redis(self):
        self.stack.redis('FLUSHALL')

    def restart_postgresql(self):
        """Half of them as if its power was cut."""
        crash = self.chance.random() < 0.5
        if crash:
            self.stack.crash_pg()
        else:
            self.stack.stop('pg')
        time.sleep(self.chance.uniform(0, 1))
        self.stack.script('start', 'pg')
        return 'crash' if crash else 'fast'

    def kill_billing(self):
        self.stack.kill_billing()
        self.stack.script('start', 'worker')

    def end(self):
        for timer in self.later:
            timer.join()


@pytest.fixture(scope='module')
def own():
    stack = Stack(SETTINGS, WORKER_SETTINGS)
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def city(own):
    yield from watch(own)


def resident_kb(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith('VmRSS'))


def test_the_crowd_talks_on(city):
    seed = os.environ.get('ASTRO_CHAOS_SEED') or str(time.time_ns())
    chance = random.Random(seed)
    print(f'\nASTRO_CHAOS_SEED={seed}: {PAIRS} pairs, {SECONDS:g} s',
          flush=True)

    city.moved = city.billing_moved = True
    city.expected.append(r'worker process \d+ exited on signal 9')
    strikes = Strikes(city, chance)
    crowd = Crowd(city, PAIRS)

    try:
        crowd.talk(60)
        time.sleep(1)
        until = time.monotonic() + SECONDS

        while time.monotonic() < until:
            begun = time.monotonic()
            name, what = strikes.one()
            print(f'{max(until - begun, 0):7.1f} s left: {name} {what or ""} '
                  f'({crowd.alive()} of {len(crowd.members)} live, '
                  f'{crowd.received} received)', flush=True)
            while time.monotonic() < begun + chance.uniform(2, 3):
                crowd.check()
                time.sleep(0.1)

        strikes.end()
        total = crowd.verdict(30)
        print(crowd.summary(), flush=True)
        assert total >= 2 * len(crowd.members)

        eventually(lambda: len(city.nginx_workers()) == city.workers
                   and len(city.serving()) == city.workers, 40,
                   'as many workers as at the beginning')
        city.wait_seats()
        eventually(city.connected, 15, 'all connections made again')

        # each of them at one worker, and nobody else
        assert city.metrics()['astro_registry_entries'] == len(crowd.members)
        print('resident, KB: ' + ' '.join(str(resident_kb(pid)) for pid in
                                          sorted(city.serving())), flush=True)
        crowd.end()
    finally:
        crowd.close()
        strikes.end()

    code, said = city.audit()
    assert code == 0, said
