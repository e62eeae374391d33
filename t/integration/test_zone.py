"""The shared memory's size and parameters, and reloads that fail: they are
refused with a reason, and nobody who talks notices.

A full ring: the worker that reads it stands still.
"""

import os
import re
import signal
import socket
import subprocess
import time

import pytest
from astro.consult import Consultation
from astro.crowd import Crowd
from astro.fixtures import watch
from astro.reloads import Conf, finish, gone, hup
from astro.stack import Stack, eventually, sanitized
from astro.ws import SLOW


@pytest.fixture(scope='module')
def own():
    # the smallest rings: soon full
    stack = Stack({'astro_grace': '60s', 'astro_live_silence': '20s',
                   'astro_zone': '8m seats=8 ring=128k users=1024'},
                  {'grace_seconds': '60'})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def city(own):
    own.revive()
    yield from watch(own)


@pytest.fixture
def crowd(city):
    people = Crowd(city, 6, every=0.3)
    try:
        yield people.talk()
    finally:
        people.close()


def checked(city):
    """What nginx -t says, and its exit status."""
    done = subprocess.run(
        ['/usr/sbin/nginx', '-t', '-p', f'{city.var}/nginx', '-c',
         f'{city.var}/etc/nginx.conf', '-e', f'{city.var}/log/test.log'],
        env=sanitized(), stdout=subprocess.PIPE, text=True, check=False,
        stderr=subprocess.STDOUT)
    return done.returncode, done.stdout


ZONE = r'astro_zone [^;]*'

WRONG = {
    'larger': (ZONE, 'astro_zone 9m seats=8 ring=128k users=1024',
               'the size of "astro_zone" cannot be changed by a reload'),
    'smaller': (ZONE, 'astro_zone 7m seats=8 ring=128k users=1024',
                'the size of "astro_zone" cannot be changed by a reload'),
    'seats': (ZONE, 'astro_zone 8m seats=9 ring=128k users=1024',
              '"astro_zone" cannot be changed by a reload'),
    'ring': (ZONE, 'astro_zone 8m seats=8 ring=256k users=1024',
             '"astro_zone" cannot be changed by a reload'),
    'users': (ZONE, 'astro_zone 8m seats=8 ring=128k users=2048',
              '"astro_zone" cannot be changed by a reload'),
    'syntax': (r'astro_debug on', 'astro_debug maybe', '"maybe"'),
    'port': (r'(listen 127.0.0.1:)\d+ reuseport', r'\g<1>@ reuseport',
             'Address already in use'),
}


@pytest.mark.parametrize('what', sorted(WRONG))
def test_a_reload_that_is_refused(city, crowd, what):
    pattern, text, reason = WRONG[what]
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        text = text.replace('@', str(taken.getsockname()[1]))
        before, cuts = city.serving(), sum(m.cuts for m in crowd.members)
        city.expected += [r'\[emerg\]']
        with Conf(city, (pattern, text)):
            os.kill(city.pid('nginx'), signal.SIGHUP)
            eventually(lambda: re.search(r'\[emerg\].*' + re.escape(reason),
                                         city.log(start=city.log_start)), 10,
                       'refused, and the reason')
            if 'astro_zone' in reason:
                said = city.log(start=city.log_start)
                assert 'restart nginx or upgrade its binary' in said
            if what == 'port':
                eventually(lambda: 'still could not bind'
                           in city.log(start=city.log_start), 10)
            time.sleep(0.3)
        assert city.serving() == before
    assert sum(m.cuts for m in crowd.members) == cuts
    assert city.metrics()['astro_seats_taken'] == city.workers
    finish(crowd, city)


def test_after_a_failed_reload_a_good_one(city, crowd):
    """What the failed one left in the shared memory is nothing."""
    city.expected += [r'\[emerg\]']
    with Conf(city, (ZONE, WRONG['seats'][1])):
        for _ in range(3):
            os.kill(city.pid('nginx'), signal.SIGHUP)
            time.sleep(0.2)
    gone(hup(city), 15)
    crowd.wait(lambda: crowd.alive() == len(crowd.members), 10, 'all back')
    finish(crowd, city)


@pytest.mark.parametrize('zone, reason', [
    ('100k seats=8 ring=128k users=1024', 'less than 256k'),
    ('1m seats=16 ring=128k users=65536', 'too small'),
    ('8m seats=1 ring=128k users=1024', 'seats'),
    ('8m seats=65 ring=128k users=1024', 'seats'),
    ('8m seats=8 ring=5000 users=1024', 'ring'),
    ('8m seats=8 ring=64k users=1024', 'ring'),
    ('8m seats=8 ring=128k users=0', 'users'),
    ('8m sofas=8', 'sofas'),
])
def test_a_zone_that_cannot_be(city, zone, reason):
    """nginx -t says so, and names the directive."""
    assert checked(city)[0] == 0
    city.expected.append(r'\[emerg\]')
    with Conf(city, (ZONE, f'astro_zone {zone}')):
        status, said = checked(city)
    assert status != 0
    assert re.search(r'\[emerg\].*astro_zone', said), said
    assert reason in said


# -- a full ring -------------------------------------------------------------

def test_a_full_ring(city):
    """The receiver's worker stands still: what is ephemeral is dropped and
    counted, what is durable is found again, and the sender's worker neither
    waits nor grows."""
    talk = Consultation(city).active()
    talk.c.say(talk.conv, 'before')
    talk.a.expect('chat_message')
    before = city.metrics()
    size = resident_kb(talk.c.worker)
    still = talk.a.worker
    os.kill(still, signal.SIGSTOP)
    try:
        slowest = 0
        for i in range(60):
            began = time.monotonic()
            talk.c.say(talk.conv, f'held {i}')
            talk.c.call('chat_typing', {'conv': talk.conv, 'on': True})
            slowest = max(slowest, time.monotonic() - began)
        for i in range(3000):
            talk.c.send('chat_typing', {'conv': talk.conv, 'on': i % 2 == 0})
        talk.c.call('ping', {})
        assert slowest < 1 * SLOW
        # a sanitizer keeps what was freed
        assert sanitized() or resident_kb(talk.c.worker) < size + 4096 * SLOW
    finally:
        os.kill(still, signal.SIGCONT)

    # in order, without a hole: the client checks it
    eventually(lambda: 'held 59' in str(talk.a.events), 10,
               'all that is durable')
    texts = [e['payload'].get('text') for e in talk.a.events
             if e['type'] == 'chat_message']
    assert texts == ['before'] + [f'held {i}' for i in range(60)]

    def dropped():
        return sum(v - before.get(k, 0) for k, v in city.metrics().items()
                   if k.startswith('astro_ring_full'))
    assert eventually(dropped, 5) > 100
    typing = sum(m['type'] == 'chat_typing' for m in talk.a.messages)
    assert typing < 2500, 'not all of them fit into a ring'
    talk.end()


def resident_kb(pid):
    with open(f'/proc/{pid}/status', encoding='ascii') as f:
        return next(int(line.split()[1]) for line in f
                    if line.startswith('VmRSS'))
