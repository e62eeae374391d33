"""A reload, and the death of the billing worker, in mid-session: a reconnect
is all that the two people can see of it."""

import os
import signal
import time

import pytest

from astro.client import Refused
from astro.consult import Consultation
from astro.stack import alive, eventually
from astro.talkers import converse


def test_reload_in_mid_session(stack):
    talk = Consultation(stack).active()
    old = stack.serving()
    talkers = converse(talk, stack.reload)
    for talker in talkers:
        assert talker.reconnects <= 2
        assert talker.person.client.worker not in old
    eventually(lambda: not old & set(stack.nginx_workers()), 20,
               'the old workers are gone')
    assert talk.row()['state'] in ('active', 'reconnecting')
    talk.end()
    talk.assert_settled()
    assert stack.audit()[0] == 0


def test_a_draining_worker_says_so(stack):
    talk = Consultation(stack).active()
    idle = stack.person()
    idle.connect()
    stack.reload()
    for party in (talk.c, talk.a, idle.client):
        bye = party.expect('bye', timeout=15)['payload']
        assert bye['code'] == 4503
        assert bye['action'] in ('resume', 'reconnect')
        assert bye['after_ms'] >= 0
        assert party.wait_close(15) == 4503


def test_old_and_new_workers_reach_each_other(stack):
    """While one party still sits on a draining worker."""
    talk = Consultation(stack).active()
    old = talk.a
    stack.reload()
    talk.client.connect(resume=True)
    talk.c.call('session_join', talk.this)
    if old.open:
        try:
            talk.c.say(talk.conv, 'from new to old')
        except Refused:
            pytest.skip('the old worker was faster')
    talk.advisor.connect(resume=True)
    eventually(lambda: any(e['payload'].get('text') == 'from new to old'
                           for e in old.events + talk.a.events))


@pytest.mark.parametrize('times', [1, 3])
def test_kill_the_billing_worker(stack, times):
    """No tick is lost or doubled, and nobody is disconnected."""
    talk = Consultation(stack, rates=(60000, None, None)).active()

    def kill():
        for _ in range(times):
            time.sleep(0.7)
            stack.restart_billing()

    talkers = converse(talk, kill)
    assert [t.reconnects for t in talkers] == [0, 0]
    talk.c.forget()
    talk.c.expect('billing_tick', timeout=10)
    talk.end()
    talk.assert_settled()
    code, said = stack.audit()
    assert code == 0, said


def test_reload_and_kill_together(stack):
    talk = Consultation(stack, rates=(60000, None, None)).active()

    def both():
        stack.kill_billing()
        stack.reload()
        stack.start('worker')

    converse(talk, both)
    talk.end()
    talk.assert_settled()
    assert stack.audit()[0] == 0


def test_five_reloads_leave_nothing_behind(stack):
    people = [stack.person() for _ in range(8)]
    for person in people:
        person.connect()
    for _ in range(5):
        stack.reload()
    eventually(lambda: len(stack.nginx_workers()) == stack.workers, 30,
               'only the new workers are left')
    for person in people:
        assert person.client.wait_close(15) == 4503
    assert stack.person().connect().call('ping', {}) == {}


def test_nginx_test_does_not_disturb(stack):
    """nginx -t, and a reload that fails, leave the shared memory alone."""
    talk = Consultation(stack).active()
    with open(f'{stack.var}/etc/nginx.conf', encoding='utf-8') as f:
        good = f.read()
    try:
        with open(f'{stack.var}/etc/nginx.conf', 'w', encoding='utf-8') as f:
            f.write(good.replace('astro_zone 40m', 'astro_zone 48m'))
        before = stack.serving()
        stack.expected.append(r'\[emerg\].*(astro|zone)')
        os.kill(stack.pid('nginx'), signal.SIGHUP)
        eventually(lambda: 'emerg' in stack.log(start=stack.log_start), 10,
                   'the reload is refused, with a reason')
        assert stack.serving() == before
    finally:
        with open(f'{stack.var}/etc/nginx.conf', 'w', encoding='utf-8') as f:
            f.write(good)
    talk.c.say(talk.conv, 'as ever')
    assert talk.a.expect('chat_message')['payload']['text'] == 'as ever'


def test_f5_all_workers_and_the_billing_killed(stack):
    """At one instant, in mid-session.  Both come back, it goes on, and each
    tick is there once."""
    talk = Consultation(stack, rates=(60000, None, None)).active()
    talk.c.expect('billing_tick')
    before = talk.row()

    def kill():
        workers = stack.serving()
        stack.moved = stack.billing_moved = True
        stack.expected.append(r'worker process \d+ exited on signal 9')
        billing = stack.pid('worker')
        for pid in (billing, *workers):
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: not any(alive(p) for p in (billing, *workers)))
        time.sleep(1)
        stack.start('worker')

    began = time.time() * 1000
    talkers = converse(talk, kill)
    assert all(t.reconnects for t in talkers)
    talk.c.forget()
    for _ in range(2):
        tick = talk.c.expect('billing_tick', timeout=15)['payload']
        assert tick['session'] == talk.id
    row = talk.row()
    assert row['state'] == 'active'
    assert row['charge_no'] > before['charge_no']
    talk.end()
    row = talk.assert_settled()
    assert row['billed_ms'] > before['billed_ms']
    assert row['billed_ms'] <= row['end_ms'] - row['active_ms']
    assert began < row['end_ms']
    code, said = stack.audit()
    assert code == 0, said
