"""Processes are killed in mid-session, under chat load.

What must hold whatever dies: a message that was acknowledged is stored, once,
and reaches both; nobody receives anything that is not stored; the books are
right; shared memory is back at its baseline (the fixture looks for that).

ASTRO_CHAOS_SECONDS   how long the random part takes (15; make soak: 1800)
ASTRO_CHAOS_SEED      repeats the choices of a run
"""

import os
import random
import signal
import time

from astro.consult import Consultation
from astro.stack import eventually
from astro.talkers import Talker, compare, converse
from astro.ws import SLOW

SECONDS = float(os.environ.get('ASTRO_CHAOS_SECONDS', '15'))
PAIRS = 4


def settle(stack, talks):
    for talk in talks:
        talk.c.call('session_end', talk.this, timeout=20)
    for talk in talks:
        eventually(lambda t=talk: t.row()['settled'], 30, 'settled')
        talk.assert_settled()
    code, said = stack.audit()
    assert code == 0, said


def test_kill_a_worker_of_nginx(stack):
    """Both parties' workers, one after the other."""
    talk = Consultation(stack, rates=(60000, None, None)).active()

    def kill():
        stack.kill_nginx_worker(talk.c.worker)
        time.sleep(1)
        stack.kill_nginx_worker(talk.a.worker)
        time.sleep(1)

    talkers = converse(talk, kill)
    assert sum(t.reconnects for t in talkers) >= 2
    settle(stack, [talk])


def test_kill_the_billing_worker(stack):
    talk = Consultation(stack, rates=(60000, None, None)).active()

    def kill():
        for _ in range(3):
            time.sleep(0.5)
            stack.kill_billing()
            time.sleep(0.3)
            stack.start('worker')

    talkers = converse(talk, kill)
    assert [t.reconnects for t in talkers] == [0, 0]
    settle(stack, [talk])


def test_kill_both_at_once(stack):
    talk = Consultation(stack, rates=(60000, None, None)).active()

    def kill():
        stack.kill_billing()
        stack.kill_nginx_worker(talk.c.worker)
        stack.start('worker')

    converse(talk, kill)
    settle(stack, [talk])


def test_postgresql_crashes(stack):
    """What was acknowledged had been committed; both resume and go on."""
    talk = Consultation(stack, rates=(60000, None, None)).active()

    def crash():
        for _ in range(2):
            time.sleep(1)
            stack.crash_pg()
            time.sleep(0.5)
            stack.start('pg')

    converse(talk, crash)
    settle(stack, [talk])


def test_nobody_is_billed_after_a_worker_died(stack):
    """Both were on it, and neither comes back: billed to its last renewal."""
    talk = Consultation(stack, rates=(60000, None, None)).active()
    time.sleep(2)
    for party in (talk.c, talk.a):
        stack.kill_nginx_worker(party.worker)
    died = time.monotonic()
    eventually(lambda: talk.row()['state'] in ('reconnecting', 'ended'), 15,
               'reconnecting')
    eventually(lambda: talk.row()['settled'], 45, 'ended, peer_lost')
    assert time.monotonic() - died > 10
    row = talk.assert_settled()
    assert row['reason'] == 'peer_lost'
    assert row['billed_ms'] < 6000 * SLOW
    assert stack.audit()[0] == 0


# -- at random ---------------------------------------------------------------

def kill_nginx(stack, chance):
    stack.kill_nginx_worker(chance.choice(sorted(stack.serving())))


def kill_billing(stack, chance):
    stack.kill_billing()
    time.sleep(chance.uniform(0, 1))
    stack.start('worker')


def suspend_billing(stack, chance):
    stack.pause_billing()
    time.sleep(chance.uniform(0, 4))
    stack.resume_billing()


def reload(stack, chance):
    stack.reload()


def flush_redis(stack, chance):
    stack.redis('FLUSHALL')


def kill_redis(stack, chance):
    os.kill(stack.pid('redis'), signal.SIGKILL)
    time.sleep(chance.uniform(0, 1))
    stack.start('redis')


def crash_postgresql(stack, chance):
    stack.crash_pg()
    time.sleep(chance.uniform(0, 2))
    stack.start('pg')


DEEDS = [kill_nginx, kill_nginx, kill_billing, suspend_billing, reload,
         flush_redis, kill_redis, crash_postgresql]


def test_at_random(stack):
    seed = os.environ.get('ASTRO_CHAOS_SEED') or str(time.time_ns())
    chance = random.Random(seed)
    print(f'\nASTRO_CHAOS_SEED={seed}', flush=True)

    talks = [Consultation(stack, balance=10 ** 9).active()
             for _ in range(PAIRS)]
    talkers = [[Talker(talk, person, 0.1) for person in
                (talk.client, talk.advisor)] for talk in talks]
    for pair in talkers:
        for talker in pair:
            talker.start()

    until = time.monotonic() + SECONDS
    done = []
    try:
        while time.monotonic() < until:
            deed = chance.choice(DEEDS)
            done.append(deed.__name__)
            print(f'{until - time.monotonic():7.1f} s left: {deed.__name__}',
                  flush=True)
            deed(stack, chance)
            time.sleep(chance.uniform(0.2, 2))
            for pair in talkers:
                for talker in pair:
                    assert talker.trouble is None, (done, talker.trouble)
    finally:
        for pair in talkers:
            for talker in pair:
                talker.stopped.set()

    for talk, pair in zip(talks, talkers):
        compare(talk, pair)
    eventually(lambda: len(stack.nginx_workers()) == stack.workers, 40,
               'the old workers are gone')
    settle(stack, talks)
