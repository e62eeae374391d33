"""The ways in which workers of nginx come, go and die, each while pairs talk.

What everybody received equals PostgreSQL's at the end of each, in order and
without a hole (crowd.py), and the books are right.
"""

import os
import signal
import subprocess
import threading
import time
import uuid

import pytest
from astro.consult import Consultation
from astro.crowd import Crowd
from astro.fixtures import watch
from astro.reloads import Conf, finish, gone, hup, whole
from astro.stack import Stack, alive, eventually
from astro.ws import SLOW

PAIRS = 10
LINGER = 2          # s for the answer to our Close frame (ngx_astro_conn.c)
SETTLE = 1          # s after the last goodbye


@pytest.fixture(scope='module')
def own():
    stack = Stack({'astro_grace': '60s'}, {'grace_seconds': '60'})
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
    people = Crowd(city, PAIRS, every=0.3)
    try:
        yield people.talk()
    finally:
        people.close()


def talking(city):
    """Two, of whom each has a position to resume from."""
    talk = Consultation(city).active()
    talk.c.say(talk.conv, 'hello')
    for party in (talk.a, talk.c):
        party.expect('chat_message')
    return talk


# -- reloads -----------------------------------------------------------------

def test_a_storm_of_reloads(city, crowd):
    """Five, without waiting for the one before."""
    city.moved = True
    before = city.serving()
    for _ in range(5):
        os.kill(city.pid('nginx'), signal.SIGHUP)
        time.sleep(0.3)
    eventually(lambda: len(city.nginx_workers()) == city.workers
               and not city.serving() & before, 30, 'only the last generation')
    whole(crowd, city)
    assert all(m.byes for m in crowd.members)
    finish(crowd, city)


def test_n6_a_reload_every_two_seconds(city, crowd):
    """While pairs talk and others ask by REST: no message is lost, no request
    fails, and the replaced are gone."""
    person, done, found = city.person(balance=77), threading.Event(), []

    def ask():
        n = 0
        while not done.is_set():
            n += 1
            try:
                for answer in (
                        city.rest.get('/api/wallet', person.token),
                        city.rest.call('PUT', '/api/me/profile',
                                       {'about': f'{n}'}, person.token)):
                    found.append(answer.status)
            except Exception as e:      # told to the test below
                found.append(repr(e))

    askers = [threading.Thread(target=ask, daemon=True) for _ in range(2)]
    for asker in askers:
        asker.start()
    old, begin = set(), time.monotonic()
    for n in range(4):
        time.sleep(max(0, begin + 2 * n + 0.5 - time.monotonic()))
        old |= hup(city)
        eventually(lambda want=len(found) + 4: len(found) > want, 10,
                   'answers')
    gone(old, 1 + LINGER + SETTLE + 3)
    done.set()
    for asker in askers:
        asker.join(30)
    assert set(found) == {200}, [a for a in found if a != 200]
    whole(crowd, city)
    assert all(m.byes for m in crowd.members)
    finish(crowd, city)


def test_goodbyes_are_spread_and_in_order(city, crowd):
    """Idle clients first, those in a session last, and these are at a new
    worker before the old one ends."""
    idle = [city.person().connect(tls=False) for _ in range(24)]
    old = hup(city)
    ended = {}

    def ends():
        while len(ended) < len(old):
            for pid in old - set(ended):
                if not alive(pid):
                    ended[pid] = time.monotonic()
            time.sleep(0.002)

    watcher = threading.Thread(target=ends, daemon=True)
    watcher.start()

    of_idle = []
    for client in idle:
        bye = client.expect('bye')
        assert bye['payload']['code'] == 4503
        assert bye['payload']['action'] == 'resume'
        of_idle.append(bye['_t'])
    whole(crowd, city)
    watcher.join(15)

    byes = [m.byes[-1] for m in crowd.members]
    of_joined = [when for when, _, _ in byes]
    assert all(p['code'] == 4503 and p['action'] == 'resume'
               for _, p, _ in byes)

    # astro_drain is 1 s: a half for each, at random within it
    assert max(of_idle) < min(of_joined) + 0.1 * SLOW
    for times in (of_idle, of_joined):
        assert 0.15 < max(times) - min(times) < 0.5 + 0.5 * SLOW

    for (_, _, pid), member in zip(byes, crowd.members):
        assert member.joined_at < ended[pid], 'not before the old one ended'
    finish(crowd, city)


def test_dead_clients_keep_no_worker(city, crowd):
    """They neither read nor answer."""
    dead = [city.person().connect() for _ in range(6)]
    for client in dead:
        client.pause()
    old = hup(city)
    assert gone(old, 1 + LINGER + SETTLE + 3) >= LINGER - 0.5
    whole(crowd, city)
    finish(crowd, city)


def test_a_worker_stays_for_a_message_in_flight(city):
    """Its client is at another worker already when it is committed."""
    talk = talking(city)
    worker = talk.c.worker
    with city.db() as db:
        backends = [row[0] for row in db.execute(
            'SELECT pid FROM pg_stat_activity WHERE usename = %s',
            ('astro_web',)).fetchall()]
    say = {'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
           'text': 'late'}
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        talk.c.request('chat_message', say)
        time.sleep(0.1)
        hup(city)
        for person in (talk.client, talk.advisor):
            assert person.client.wait_close(10) == 4503
            person.connect(resume=True)
            person.client.call('session_join', talk.this)
        time.sleep(SETTLE + 0.5)
        assert alive(worker), 'it had a message in its hands'
        assert 'late' not in str(talk.client.stored(talk.conv))
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    for party in (talk.a, talk.c):
        heard = party.expect('chat_message', timeout=3)
        assert heard['payload']['text'] == 'late'
    gone({worker}, 5)
    assert talk.c.call('chat_message', say)['dup']
    talk.end()


def test_a_worker_stays_for_messages_it_has_taken(city):
    """The database is away when it is told to leave, and comes back."""
    talk = talking(city)
    worker = talk.c.worker
    city.moved = True
    city.stop('pg')
    talk.c.request('chat_message', {'conv': talk.conv, 'kind': 'text',
                                    'cid': str(uuid.uuid4()), 'text': 'kept'})
    time.sleep(0.1)
    os.kill(city.pid('nginx'), signal.SIGHUP)
    assert talk.c.wait_close(10) == 4503
    city.script('start', 'pg')
    eventually(lambda: 'kept' in str(talk.client.stored(talk.conv)), 30,
               'what it had taken is stored')
    gone({worker}, 15)
    for person in (talk.client, talk.advisor):
        person.connect(resume=True)
        person.client.call('session_join', talk.this)
    for person in (talk.client, talk.advisor):
        eventually(lambda p=person: 'kept' in str(p.events), 10)
    talk.end()


@pytest.mark.parametrize('there', [[4, 1, 2]])
def test_another_number_of_workers(city, crowd, there):
    for n in there:
        with Conf(city, (r'worker_processes \d+', f'worker_processes {n}')):
            old = hup(city, n)
        gone(old, 15)
        whole(crowd, city)
        eventually(lambda n=n: city.metrics()['astro_seats_taken'] == n, 10,
                   f'{n} seats taken')
        time.sleep(0.5)
    finish(crowd, city)


def test_worker_shutdown_timeout(city, crowd):
    """Shorter than astro_drain: it cuts who is left, and nothing is lost."""
    with Conf(city, (r'worker_shutdown_timeout \w+', 'worker_shutdown_timeout '
                     '1s'), (r'astro_drain \w+', 'astro_drain 20s')):
        old = hup(city)
        gone(old, 10)       # with the configuration of before
        whole(crowd, city)
        old = hup(city)
        gone(old, 5)
    whole(crowd, city)
    old = hup(city)
    gone(old, 10)
    whole(crowd, city)
    finish(crowd, city)


# -- stops -------------------------------------------------------------------

def start_again(city):
    city.script('start', 'nginx')
    eventually(lambda: len(city.serving()) == city.workers, 10)
    city.moved = True


def test_quit(city, crowd):
    master, old = city.pid('nginx'), city.serving()
    os.kill(master, signal.SIGQUIT)
    gone({master, *old}, 10)
    start_again(city)
    whole(crowd, city)
    assert all(m.byes for m in crowd.members)
    finish(crowd, city)


def test_term(city, crowd):
    """At once, without a word."""
    master, old = city.pid('nginx'), city.serving()
    os.kill(master, signal.SIGTERM)
    gone({master, *old}, 3)
    start_again(city)
    whole(crowd, city)
    finish(crowd, city)


@pytest.mark.parametrize('clients', ['reading', 'dead'])
def test_systemctl_stop(city, crowd, clients):
    """Debian's unit: QUIT, 5 s, TERM to the master, 5 s, KILL to the rest.
    With the default of astro_drain the first is enough."""
    with Conf(city, (r'astro_drain \w+', 'astro_drain 3s')):
        gone(hup(city), 15)
        whole(crowd, city)
    if clients == 'dead':
        for _ in range(4):
            city.person().connect().pause()

    master, old = city.pid('nginx'), city.serving()
    began = time.monotonic()
    stop = subprocess.Popen(
        ['/sbin/start-stop-daemon', '--quiet', '--stop', '--retry', 'QUIT/5',
         '--pidfile', f'{city.var}/run/nginx.pid'])
    eventually(lambda: stop.poll() is not None or not alive(master), 10)
    took = time.monotonic() - began

    # by the master's end, not by what the program says, which takes one that
    # nobody has waited for yet for alive

    if clients == 'reading' and SLOW == 1:
        assert not alive(master) and took < 5, took
    if alive(master):
        os.kill(master, signal.SIGTERM)
    gone({master, *old}, 3)
    stop.wait(10)
    city.drop_clients()
    start_again(city)
    whole(crowd, city)
    gone(hup(city), 15)
    whole(crowd, city)
    finish(crowd, city)


# -- deaths ------------------------------------------------------------------

def killed(city, pids):
    city.moved = True
    city.expected.append(r'worker process \d+ exited on signal 9')
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    gone(pids, 5)


def test_kill_each_worker_in_turn(city, crowd):
    for pid in sorted(city.serving()):
        killed(city, [pid])
        whole(crowd, city)
    eventually(lambda: len(city.serving()) == city.workers, 10)
    finish(crowd, city)


def test_kill_all_workers_at_once(city, crowd):
    for _ in range(2):
        killed(city, city.serving())
        whole(crowd, city)
        time.sleep(0.5)
    eventually(lambda: len(city.serving()) == city.workers, 10)
    finish(crowd, city)


def test_kill_the_master(city, crowd):
    """Its workers serve on, but nobody replaces one that dies: end them by
    QUIT, one by one, and start nginx again."""
    master, old = city.pid('nginx'), city.serving()
    city.moved = True
    os.kill(master, signal.SIGKILL)
    gone({master}, 5)
    said = sum(len(m.acked) for m in crowd.members)
    cuts = sum(m.cuts for m in crowd.members)
    time.sleep(2)
    assert sum(len(m.acked) for m in crowd.members) > said + PAIRS
    assert sum(m.cuts for m in crowd.members) == cuts
    assert all(alive(pid) for pid in old)

    # also a new connection
    crowd.shake(crowd.members[:4])
    time.sleep(1)
    crowd.wait(lambda: crowd.alive() == len(crowd.members), 10, 'all back')

    for pid in old:
        os.kill(pid, signal.SIGQUIT)
    gone(old, 10)
    start_again(city)
    whole(crowd, city)
    finish(crowd, city)


def test_a_worker_that_stands_still_for_ten_seconds(city, crowd):
    """Its clients go elsewhere, and are billed for no second twice; when it
    goes on it finds its lease given up and takes another."""
    city.moved = True
    pid = sorted(city.serving())[0]
    there = sum(m.worker == pid for m in crowd.members)
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(10)
        # none waits for it; the kernel sends some new ones there in vain
        crowd.wait(lambda: pid not in crowd.workers()
                   and crowd.alive() == len(crowd.members), 20,
                   'everybody at a worker that works')
        heard = crowd.received
        time.sleep(1)
        assert crowd.received > heard + PAIRS
    finally:
        os.kill(pid, signal.SIGCONT)
    assert there == 0 or sum(m.cuts for m in crowd.members) >= there
    eventually(lambda: 'was given up by the billing worker'
               in city.log(start=city.log_start), 10, 'another lease')
    crowd.shake(crowd.members[::2])
    time.sleep(0.5)
    crowd.wait(lambda: crowd.alive() == len(crowd.members), 10, 'all back')
    city.expected.append('given up')
    finish(crowd, city)
