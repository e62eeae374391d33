"""The kinds of trial.  Each is a function of a life that has not begun; it
begins it, strikes, and leaves what is dead to life.finish().

What starts a process does so in the main thread: it is to die with it.
"""

import os
import re
import signal
import time

from .bed import eventually, ROOT, SLOW
from .gateway import Gateway

KINDS = {}
ASKED = rb"\0(apply|tick)\0"        # what charges


def kind(name, weight=1, **shape):
    def add(function):
        KINDS[name] = (function, weight, shape)
        return function
    return add


# their points are passed only with a vendor: payouts.py
VENDORS = ("outbox.c", "payouts.c")


def points():
    """All that stand in the worker's sources."""
    found = set()
    for source in sorted((ROOT / "billing_worker").rglob("*.c")):
        if source.name in VENDORS:
            continue
        found.update(re.findall(r'BILLING_POINT\("([a-z-]+)"\)',
                                source.read_text(encoding="utf-8")))
    return sorted(found)


def pause(life, seconds):
    time.sleep(seconds * (0.5 + life.rng.random()))


def replace(life, **how):
    """Another worker, sooner or later."""
    pause(life, life.rng.choice([0.0, 0.5]))
    return life.worker(**how)


# the billing worker ----------------------------------------------------------

def at_point(life, name, binary, action=""):
    """A worker that dies at that point, while another may stand by."""
    rng = life.rng
    passing = {"connected": rng.randrange(1, 3), "handover": 1,
               "handed-over": 1, "shards-gained": 1, "reap-sent": 1,
               "reaped": 1, "scanned": rng.randrange(1, 6)}
    n = passing.get(name, rng.randrange(1, 12))
    doomed = life.worker(binary=binary, point=f"{name}:{n}{action}")

    for talk in life.talks:
        talk.come()

    # the first one has the shards
    eventually(lambda: doomed.said("ready") or not doomed.alive
               or stopped(doomed), 20, "a worker is ready")
    # of two, either may be the one that closes a dead gateway's lease
    spare = not name.startswith("reap") and rng.random() < 0.5 \
        and life.worker()
    life.traffic(8)

    if name.startswith("reap"):
        pause(life, 1)
        life.gateways.append(Gateway(life))
        life.gateways[0].die()

        for talk in life.talks[::2]:        # some of its people come back
            talk.come()

    if name.startswith("hand"):
        pause(life, 1)
        doomed.signal(signal.SIGTERM)

    if action:
        eventually(lambda: stopped(doomed), 25, f"stops at {name}:{n}")
        spare = spare or replace(life)
        time.sleep(3.4)                     # longer than its leases last
        life.ticking(2)
        doomed.signal(signal.SIGCONT)
        pause(life, 1)
        return

    eventually(lambda: not doomed.alive, 25, f"dies at {name}:{n}")
    assert doomed.process.returncode == -signal.SIGKILL, \
        f"was to die at {name}:{n}: {doomed.process.returncode}"

    if not spare:
        replace(life)

    life.ticking(10)


def stopped(worker):
    with open(f"/proc/{worker.process.pid}/stat", encoding="ascii") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


@kind("worker killed", 2)
def worker_killed(life):
    worker = life.begin()
    life.traffic(7)

    for _ in range(life.rng.randrange(2, 5)):
        pause(life, 0.8)
        worker.kill()
        worker = replace(life)

    life.ticking(1)


@kind("worker comes late, for little money", 2, seconds=(0.3, 0.3, 1, 2, 60))
def worker_late(life):
    """What was paid for is over when the gateways hear of it."""
    for talk in life.talks:
        talk.come()

    life.traffic(9)
    pause(life, 2.5)
    worker = life.worker()
    life.ticking(5)

    for _ in range(2):
        worker.kill()
        pause(life, 2)
        worker = life.worker()
        life.ticking(3)


@kind("worker stopped past its lease", 2)
def worker_stopped(life):
    worker = life.begin()
    life.worker()
    life.traffic(7)
    pause(life, 0.7)
    worker.signal(signal.SIGSTOP)
    life.ticking(3)                         # the other one has its shards
    pause(life, 0.5)
    worker.signal(signal.SIGCONT)
    life.ticking(2)


@kind("three workers, killed and stopped", 2)
def three_workers(life):
    rng = life.rng
    life.begin()
    workers = [life.workers[0], life.worker(), life.worker()]
    life.traffic(8)

    for _ in range(4):
        pause(life, 0.9)
        i = rng.randrange(3)
        how = rng.randrange(3)

        if how == 0:
            workers[i].kill()
        elif how == 1:
            assert workers[i].stop() == 0
        else:
            workers[i].signal(signal.SIGSTOP)
            pause(life, 3)
            workers[i].signal(signal.SIGCONT)
            continue

        workers[i] = life.worker()


@kind("worker's clock jumps by an hour", 2)
def clock_jumps(life):
    file = f"{life.home}/clock"
    jumps = [3600, -3600]
    life.rng.shuffle(jumps)

    def jump(seconds):
        with open(file + ".new", "w", encoding="ascii") as f:
            f.write(f"{seconds:+d}\n")
        os.replace(file + ".new", file)

    jump(0)
    worker = life.begin(clock=file)
    life.traffic(7)

    for seconds in jumps:
        pause(life, 1)
        before = len(list(worker.lines()))
        jump(seconds)
        life.ticking(2)
        hour = time.strftime("%Y-%m-%dT%H:%M",
                             time.gmtime(time.time() + seconds))
        eventually(lambda: any(
            line["ts"][:13] == hour[:13]
            for line in list(worker.lines())[before:]), 20, "the jump is seen")

    if life.rng.random() < 0.5:
        worker.kill()
        replace(life, clock=file)


@kind("modes switched, and the worker killed", 3, pace=0.03)
def modes_switched(life):
    """From one rate to another, again and again, while workers die, and the
    answers to switches and ticks are lost."""
    rng = life.rng
    worker = life.begin(proxied=True)
    life.traffic(8)

    for _ in range(rng.randrange(3, 6)):
        for talk in rng.sample(life.talks, 12):
            talk.switch(rng)

        pause(life, 0.5)

        if rng.random() < 0.3:
            life.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                     " WHERE usename = 'astro_web' AND datname = %s",
                     life.name)
        elif rng.random() < 0.4:
            life.proxy.lose_answer(ASKED)
            life.proxy.caught.wait(5 * SLOW)
            life.proxy.cut(only_lossy=True)
        else:
            worker.kill()
            worker = replace(life, proxied=True)

    life.ticking(1)


# between it and PostgreSQL ---------------------------------------------------

@kind("answer to a COMMIT lost", 3)
def answer_lost(life):
    life.begin(proxied=True)
    life.traffic(8)

    for _ in range(3):
        life.proxy.lose_answer(ASKED)
        life.proxy.caught.wait(10 * SLOW)
        pause(life, 0.3)
        life.proxy.cut(only_lossy=True)
        life.ticking(1)


@kind("answer to a COMMIT lost, and the worker killed", 2)
def answer_lost_killed(life):
    worker = life.begin(proxied=True)
    life.traffic(8)

    for _ in range(2):
        life.proxy.lose_answer(ASKED)
        life.proxy.caught.wait(10 * SLOW)
        pause(life, 0.05)
        worker.kill()
        life.proxy.cut(only_lossy=True)
        worker = life.worker(proxied=True)
        life.ticking(1)


@kind("worker is not heard by PostgreSQL", 2)
def one_way_there(life):
    one_way(life, deaf=True)


@kind("worker does not hear PostgreSQL", 2)
def one_way_back(life):
    one_way(life, mute=True)


def one_way(life, **how):
    life.begin(proxied=True)
    other = life.rng.random() < 0.5 and life.worker()
    life.traffic(9)
    pause(life, 0.5)
    life.proxy.lose(**how)

    if other:
        life.ticking(2)                     # takes over

    pause(life, 2.5)
    life.proxy.cut(only_lossy=True)
    life.ticking(2)


# what is behind --------------------------------------------------------------

@kind("PostgreSQL crashes", 3)
def postgresql_crashes(life):
    life.begin()

    if life.rng.random() < 0.5:
        life.worker()

    life.traffic(9)

    for _ in range(life.rng.randrange(1, 4)):
        pause(life, 0.8)
        life.bed.pg.stop()
        pause(life, 0.3)
        life.bed.pg.start()

    life.ticking(1)


@kind("PostgreSQL crashes, and the worker killed", 1)
def postgresql_crashes_killed(life):
    worker = life.begin()
    life.traffic(9)
    pause(life, 0.8)
    life.bed.pg.stop()
    worker.kill()
    life.bed.pg.start()
    replace(life)
    life.ticking(1)


@kind("PostgreSQL's backends killed", 1)
def backends_killed(life):
    life.begin()
    life.traffic(7)

    for _ in range(12):
        pause(life, 0.3)
        life.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                 " WHERE usename = 'astro_worker' AND datname = %s"
                 " AND random() < 0.7", life.name)

    life.ticking(1)


@kind("Redis killed", 2)
def redis_killed(life):
    life.begin()
    life.traffic(7)

    for _ in range(2):
        pause(life, 0.8)
        life.bed.redis.kill()
        pause(life, 0.8)
        life.bed.redis.start()

    life.ticking(1)


@kind("Redis flushed", 1)
def redis_flushed(life):
    life.begin()
    life.traffic(6)

    for _ in range(10):
        pause(life, 0.4)
        life.bed.redis.client.flushall()
        life.bed.redis.client.client_kill_filter(_type="pubsub")

    life.ticking(1)


# before it -------------------------------------------------------------------

@kind("gateway killed", 2, gateways=3)
def gateway_killed(life):
    life.begin()
    life.traffic(9)
    pause(life, 0.8)
    life.gateways[0].die()
    pause(life, 0.8)
    life.gateways[1].die()
    life.gateways.append(Gateway(life))

    for talk in life.talks[::2]:            # some of its people come back
        talk.come()

    pause(life, 2)
    life.ticking(1)


@kind("gateway stopped", 2, gateways=3)
def gateway_stopped(life):
    """For less than it takes to be given up, and for more."""
    life.begin()
    life.traffic(10)
    pause(life, 0.5)
    life.gateways[0].frozen = True
    pause(life, 2)
    life.gateways[0].frozen = False
    pause(life, 0.5)
    life.gateways[1].frozen = True
    time.sleep(6.5)
    life.gateways[1].frozen = False
    life.ticking(1)


# money -----------------------------------------------------------------------

@kind("100 sessions on one wallet", 3, sessions=100, wallets=1, pace=0.02,
      seconds=(9, 30, 60, 600))
def one_wallet(life):
    worker = life.begin()
    life.traffic(8)
    pause(life, 3)

    if life.rng.random() < 0.5:
        worker.kill()
        replace(life)

    pause(life, 3)
    life.topup(life.talks[0].client, 10**10)
    life.ticking(1)


# all of it -------------------------------------------------------------------

@kind("a random mix", 4, gateways=3)
def mix(life):
    rng = life.rng
    workers = [life.begin(proxied=True), life.worker(proxied=True)]
    life.traffic(9)

    def kill():
        i = rng.randrange(2)
        workers[i].kill()
        workers[i] = life.worker(proxied=True)

    def stop():
        worker = rng.choice(workers)
        worker.signal(signal.SIGSTOP)
        pause(life, 2.5)
        worker.signal(signal.SIGCONT)

    def crash():
        life.bed.pg.stop()
        pause(life, 0.2)
        life.bed.pg.start()

    def redis():
        life.bed.redis.kill()
        life.bed.redis.start()

    def lose():
        life.proxy.lose_answer(ASKED)
        life.proxy.caught.wait(3 * SLOW)
        life.proxy.cut(only_lossy=True)

    def cut():
        life.proxy.lose(**rng.choice([{"deaf": True}, {"mute": True}]))
        pause(life, 1)
        life.proxy.cut(only_lossy=True)

    def gateway():
        if life.gateways[0].alive:
            life.gateways[0].die()
            life.gateways.append(Gateway(life))

    for _ in range(rng.randrange(3, 6)):
        pause(life, 0.5)
        rng.choice([kill, kill, stop, crash, redis, lose, lose, cut,
                    gateway])()

    life.ticking(1)
