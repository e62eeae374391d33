"""One process is killed in mid-session, with two people talking; what is
struck at random, with hundreds of them, is in test_crowd.py.

What must hold whatever dies: a message that was acknowledged is stored, once,
and reaches both; nobody receives anything that is not stored; the books are
right; shared memory is back at its baseline (the fixture looks for that).
"""

import time

from astro.consult import Consultation
from astro.stack import eventually
from astro.talkers import converse
from astro.ws import SLOW


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
