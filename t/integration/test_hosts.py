"""Several hosts: three nginx with one database and one Redis.  People on
different hosts talk, presence is right everywhere; a host dies, another is
cut off from Redis, Redis itself dies, forgets, or stops."""

import contextlib
import os
import re
import signal
import struct
import subprocess
import time
import uuid

import pytest
import redis

from astro.consult import Consultation
from astro.fixtures import GAUGES
from astro.stack import Host, Stack, alive, eventually
from astro.wire import Wire
from astro.ws import BUILD, SLOW, Timeout

TTL = 3                         # of a node, in seconds
SLICES = 5                      # everything is read again within
SETTINGS = {'astro_node_ttl': f'{TTL}s', 'astro_presence_grace': '1s',
            'astro_limit': 'all rate=1000000/s burst=1000000'}
SANITIZED = os.path.exists(f'{BUILD}/sanitized')
SDP = 'v=0\r\na=fingerprint:sha-256 AB\r\n'


def nodes(host):
    return host.metrics()['astro_nodes']


def see_each_other(hosts, n=None, timeout=10):
    for host in hosts:
        eventually(lambda h=host: nodes(h) == (n or len(hosts)), timeout,
                   f'{n or len(hosts)} nodes')


@pytest.fixture(scope='module')
def three():
    """[first, second, third]; the third has a wire to Redis of its own."""
    first = Stack(SETTINGS)
    hosts, wire = [first], None
    try:
        first.up()
        wire = Wire(f'{first.var}/run/redis.sock')
        for redis in (None, wire.address):
            hosts.append(Host(first, SETTINGS, redis=redis))
            hosts[-1].up()
        hosts[2].wire = wire
        yield hosts
    finally:
        with contextlib.ExitStack() as ends:
            ends.callback(lambda: wire and wire.close())
            for host in hosts:
                ends.callback(host.down)


@pytest.fixture
def hosts(three):
    three[0].revive()
    for host in three[1:]:
        host.script('start', 'nginx')
    three[2].wire.mend()
    for host in three:
        host.begin()
    for host in three:
        eventually(host.connected, 15, 'all connections')
    see_each_other(three)

    yield three

    for host in three:
        host.drop_clients()
    for host in three:
        assert not host.alerts()
        assert not host.reports()
        if alive(host.pid('nginx')):
            eventually(lambda h=host: all(h.metrics().get(g) == 0
                                          for g in GAUGES), 10,
                       f'{GAUGES} back at 0')


def at(host, person, **kw):
    """That person connects to that host."""
    person.stack = host
    return person.connect(**kw)


def apart(hosts, one=0, two=1, **kw):
    """A consultation, the client on one host, the advisor on another."""
    talk = Consultation(hosts[0], **kw)
    at(hosts[two], talk.advisor)
    at(hosts[one], talk.client)
    return talk


def active(hosts, one=0, two=1, **kw):
    talk = apart(hosts, one, two, **kw)
    talk.ring()
    talk.accept()
    talk.state('accepted')
    talk.join()
    talk.state('active')
    return talk


def online(client, user):
    client.call('presence_watch', {'users': [user.id]})
    return client.call('presence_watch',
                       {'users': [user.id]})['users'][0]['online']


def exchange(talk, n=10):
    """Each says n things at once; both have everything, in order."""
    numbers = {party: [party.request('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': f'{i}'}) for i in range(n)] for party in (talk.c, talk.a)}
    last = max(party.reply(i, 20)['seq'] for party, ids in numbers.items()
               for i in ids)
    return last


def have(talk, last, timeout=10):
    for person in (talk.client, talk.advisor):
        eventually(lambda p=person: p.pos().get(talk.conv, 0) >= last,
                   timeout, f'{person.role} has seq {last}')
        person.assert_has_all(talk.conv)


def resume(host, talk, person):
    client = at(host, person, resume=True)
    client.call('session_join', talk.this)
    return client


# -- talking -------------------------------------------------------------------

def test_a_session_between_two_hosts(hosts):
    talk = active(hosts, rates=(60000, None, None))

    talk.c.send('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})
    assert talk.a.expect('signal_offer')['payload']['sdp'] == SDP
    for i in range(20):
        talk.a.send('signal_ice_candidate', {
            **talk.this, 'gen': 1, 'candidate': f'{i}'})
    assert [talk.c.expect('signal_ice_candidate')['payload']['candidate']
            for _ in range(20)] == [f'{i}' for i in range(20)]
    talk.c.send('chat_typing', {'conv': talk.conv, 'on': True})
    talk.a.expect('chat_typing')

    # at once, not when something is read again
    begin = time.monotonic()
    for i in range(20):
        seq = talk.c.say(talk.conv, f'{i}')['seq']
        talk.a.expect('chat_message', lambda m, s=seq: m['seq'] == s)
    assert time.monotonic() - begin < 4 * SLOW

    have(talk, exchange(talk, 50))
    for party in (talk.c, talk.a):
        party.expect('billing_tick', timeout=10)

    ended = talk.end()
    assert ended['session'] == talk.id
    talk.assert_settled()


def test_a_ring_is_cancelled_on_another_host(hosts):
    talk = apart(hosts, 2, 1)
    talk.ring()
    talk.c.call('session_cancel', talk.this)
    talk.state('ended', talk.a)


def test_every_device_on_every_host(hosts):
    talk = active(hosts)
    more = []
    for host in hosts:
        talk.advisor.device = str(uuid.uuid4())
        more.append(at(host, talk.advisor))

    seq = talk.c.say(talk.conv, 'to all')['seq']
    for client in more:
        client.expect('chat_message', lambda m: m['seq'] == seq, 5)

    # signals are for who joined
    talk.c.send('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})
    for client in more:
        client.quiet('signal_offer', 0.2)


def test_the_same_device_on_another_host_replaces(hosts):
    person = hosts[0].person()
    old = at(hosts[0], person)
    at(hosts[1], person)
    assert old.wait_close(5) == 4409


def test_one_host_keeps_to_itself(hosts):
    """A call within one host costs one record in five seconds, until the
    other party is somewhere else, too: then that is heard at once."""
    talk = Consultation(hosts[0]).active()
    offer = {**talk.this, 'gen': 1}

    def signals(n):
        for i in range(n):
            talk.c.send('signal_ice_candidate', {**offer, 'candidate': 'x'})
        for i in range(n):
            talk.a.expect('signal_ice_candidate')

    signals(1)
    time.sleep(0.2)
    before = hosts[0].metrics()
    signals(200)
    after = hosts[0].metrics()
    sent = after['astro_node_records_total'] \
        - before['astro_node_records_total']
    assert sent <= 2 + 2 * SLOW, sent
    assert after['astro_node_records_spared_total'] \
        >= before['astro_node_records_spared_total'] + 190

    talk.advisor.device = str(uuid.uuid4())
    second = at(hosts[1], talk.advisor)
    second.call('session_join', talk.this)
    time.sleep(0.1)
    talk.c.send('signal_offer', {**offer, 'sdp': SDP})
    second.expect('signal_offer', timeout=2)


def beside(host, person, client):
    """That person connects to that host, to another worker than client's."""
    for _ in range(50):
        if at(host, person).worker != client.worker:
            return person.client
        person.client.close()
    raise AssertionError('always the same worker')


def candidates(talk, to, n=40):
    """One each 50 ms; all arrive in time."""
    for i in range(n):
        talk.c.send('signal_ice_candidate', {
            **talk.this, 'gen': 1, 'candidate': f'{i}'})
        to.expect('signal_ice_candidate',
                  lambda m, i=i: m['payload']['candidate'] == f'{i}', 2)
        time.sleep(0.05)


def test_a_late_answer_says_nothing(hosts):
    """Redis says that nobody was elsewhere when somebody has come since."""
    talk = active(hosts, 2, 2)
    time.sleep(5)           # what is believed to be nowhere is forgotten
    hosts[2].wire.hold(True)
    candidates(talk, talk.a, 1)
    talk.advisor.device = str(uuid.uuid4())
    second = at(hosts[1], talk.advisor)
    second.call('session_join', talk.this)
    time.sleep(0.5)
    hosts[2].wire.hold(False)
    time.sleep(0.3)
    candidates(talk, second, 5)


def test_a_deaf_worker_is_no_listener(hosts):
    """A device at a worker that Redis does not reach is not taken for the one
    that it did reach, on another host."""
    talk = active(hosts, 2, 1)
    second = talk.a
    talk.advisor.device = str(uuid.uuid4())
    beside(hosts[2], talk.advisor, talk.c)
    candidates(talk, second, 3)
    hosts[2].wire.cut_listener(f'astro:u:{talk.advisor.number}')
    candidates(talk, second)


def test_a_dead_worker_is_no_listener(hosts):
    """Nor one that was killed, as soon as that is known."""
    talk = active(hosts, 2, 1)
    second = talk.a
    talk.advisor.device = str(uuid.uuid4())
    victim = beside(hosts[2], talk.advisor, talk.c)
    candidates(talk, second, 3)
    os.kill(victim.worker, signal.SIGKILL)
    hosts[2].moved = True
    hosts[2].expected.append(
        rf'worker process {victim.worker} exited on signal 9')
    for _ in range(int(20 * SLOW)):
        talk.c.send('signal_ice_candidate', {
            **talk.this, 'gen': 1, 'candidate': 'maybe'})
        time.sleep(0.05)
    candidates(talk, second)


# -- presence ------------------------------------------------------------------

def watching(host, *users):
    client = host.person().connect()
    answer = client.call('presence_watch',
                         {'users': [user.id for user in users]})['users']
    return client, answer


def test_presence_is_right_everywhere(hosts):
    advisor = hosts[0].person('advisor')
    watchers = []
    for host in hosts:
        client, answer = watching(host, advisor)
        assert [w['online'] for w in answer] == [False]
        assert 'last_seen' not in answer[0]
        watchers.append((client, answer[0]['ver']))

    one = at(hosts[0], advisor)
    for i, (client, ver) in enumerate(watchers):
        on = client.expect('user_online', timeout=5)
        assert on['payload']['user'] == advisor.id and on['ver'] > ver
        watchers[i] = (client, on['ver'])

    advisor.device = str(uuid.uuid4())
    two = at(hosts[1], advisor)
    assert watching(hosts[2], advisor)[1][0]['online']

    # the last of the devices counts; later than what is doubted anyway
    time.sleep(3.2)
    one.close()
    for client, _ in watchers:
        client.quiet('user_offline', 1)
    left = time.time()
    two.close()
    for client, ver in watchers:
        off = client.expect('user_offline', timeout=5)
        assert off['ver'] > ver
        assert abs(off['payload']['last_seen'] / 1000 - left) < 1.5 * SLOW

    for host in hosts:
        again = watching(host, advisor)[1][0]
        assert not again['online']
        assert abs(again['last_seen'] / 1000 - left) < 1.5 * SLOW


def test_c1_seen_from_everywhere_within_a_second(hosts):
    """From each worker of each host, more often than not: the machine is
    busy with other things as well."""
    watchers, advisors = {}, [hosts[0].person('advisor') for _ in range(5)]
    for host in hosts:
        while not host.serving() <= set(watchers):
            client = watching(host, *advisors)[0]
            watchers[client.worker] = client
    took = {pid: [] for pid in watchers}
    for advisor in reversed(advisors):      # those looked at again are not
        began = time.monotonic()
        at(hosts[0], advisor)
        for pid, client in watchers.items():
            on = client.expect('user_online', timeout=10)
            assert on['payload']['user'] == advisor.id
            took[pid].append(on['_t'] - began)
    assert len(took) == 6
    assert all(sorted(times)[2] < 1 * SLOW for times in took.values()), took


def test_l4_blocked_and_sent_away_on_every_host(hosts):
    """By an admin at one of them, with Redis cut off from another: within a
    second on all."""
    boss, bad, good = (hosts[0].person(role)
                       for role in ('admin', 'client', 'client'))
    there = {}
    for who in (bad, good):
        there[who] = []
        for host in hosts:
            who.device = str(uuid.uuid4())
            there[who].append(at(host, who))
    hosts[2].wire.cut()
    hosts[2].expected.append('Redis|redis|node')
    try:
        for path, method, body, who, code in (
                (f'users/{bad.id}/blocked', 'PUT',
                 {'blocked': True, 'reason': 'abuse'}, bad, 4403),
                ('disconnect', 'POST', {'user': good.id}, good, 4503)):
            done = hosts[1].rest.call(method, f'/api/admin/{path}', body,
                                      boss.token)
            assert done.status == 200, done
            for client in there[who]:
                client.wait(lambda c=client: c.close_code, 2 * SLOW,
                            'the close')
                assert client.close_code == code
    finally:
        hosts[2].wire.mend()


def test_from_host_to_host_is_not_seen(hosts):
    advisor = hosts[0].person('advisor')
    at(hosts[0], advisor)
    watchers = [watching(host, advisor)[0] for host in hosts]
    for host in (hosts[1], hosts[2], hosts[0], hosts[1]):
        advisor.client.drop()
        time.sleep(0.2)
        at(host, advisor)
    for client in watchers:
        client.quiet('user_offline', 0.7)
        client.quiet('user_online', 0.1)


LATE = r"""
#include <sys/time.h>
#include <time.h>

int
gettimeofday(struct timeval *restrict tv, void *restrict tz)
{
    struct timespec  ts;

    (void) tz;
    clock_gettime(CLOCK_REALTIME, &ts);
    tv->tv_sec = ts.tv_sec - 3;
    tv->tv_usec = ts.tv_nsec / 1000;
    return 0;
}
"""


@pytest.mark.skipif(SANITIZED, reason='a sanitizer is preloaded already')
def test_a_host_whose_clock_is_late(hosts, tmp_path):
    """A client takes what it is told with the highest ver, wherever it was
    told: it must not keep what it heard on a host that is ahead."""
    (tmp_path / 'late.c').write_text(LATE)
    subprocess.run(['cc', '-shared', '-fPIC', '-o', tmp_path / 'late.so',
                    tmp_path / 'late.c'], check=True)
    late = Host(hosts[0], SETTINGS)
    late.env['LD_PRELOAD'] = str(tmp_path / 'late.so')
    try:
        late.up()
        see_each_other(hosts, len(hosts) + 1)
        advisor = hosts[0].person('advisor')
        there, _ = watching(late, advisor)
        here, answer = watching(hosts[0], advisor)
        vers = [answer[0]['ver']]

        def goes_to(host, online):
            here.close()
            state = watching(host, advisor)[1][0]
            assert state['online'] == online
            assert state['ver'] > vers[-1]
            vers.append(state['ver'])

        goes_to(late, False)
        at(hosts[0], advisor)
        there.expect('user_online', lambda m: m['ver'] > vers[-1], 5)
        goes_to(hosts[1], True)
        goes_to(late, True)
        advisor.client.close()
        there.expect('user_offline', lambda m: m['ver'] > vers[-1], 5)
        goes_to(hosts[2], False)
        goes_to(late, False)
    finally:
        late.down()


def test_last_seen_is_when_they_were_heard(hosts):
    """Not when that was found out."""
    advisor = hosts[0].person('advisor')
    gone = at(hosts[1], advisor)
    client, _ = watching(hosts[0], advisor)
    heard = time.time()
    time.sleep(2)
    gone.drop()
    off = client.expect('user_offline', timeout=10)
    assert abs(off['payload']['last_seen'] / 1000 - heard) < 1 * SLOW


def test_a_crash_of_postgresql_forgets_who_is_where(hosts):
    """A hello does not wait for the disk: what a crash took is said again."""
    advisor = hosts[0].person('advisor')
    at(hosts[0], advisor)
    client, answer = watching(hosts[1], advisor)
    assert answer[0]['online']

    # as a crash does: the rows of the last moments and all connections go
    with hosts[0].db() as db:
        db.execute('DELETE FROM consult.presence WHERE account_id = %s',
                   [advisor.number])
        db.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                   " WHERE usename = 'astro_web'")
    eventually(lambda: all(h.connected() for h in hosts), 15)

    time.sleep(SLICES + 1)
    assert watching(hosts[1], advisor)[1][0]['online']
    assert watching(hosts[2], advisor)[1][0]['online']


def test_a_worker_is_killed_among_hosts(hosts):
    """Its users are told to be offline elsewhere, whoever reaps its lease."""
    advisor = hosts[0].person('advisor')
    at(hosts[1], advisor)
    client, _ = watching(hosts[0], advisor)
    hosts[1].kill_nginx_worker(advisor.client.worker)
    client.expect('user_offline', timeout=TTL + SLICES + 5)
    assert nodes(hosts[0]) == 3


# -- a host dies ---------------------------------------------------------------

def test_a_host_dies(hosts):
    """Nobody is left to say so: it is forgotten within its time to live, with
    no billing worker to notice; who was there comes back elsewhere."""
    talk = active(hosts, 0, 1)
    have(talk, exchange(talk, 1))
    other = hosts[0].person('advisor')
    at(hosts[1], other)
    client, answer = watching(hosts[2], other)
    assert answer[0]['online']
    lost = hosts[0].metrics()['astro_nodes_lost_total']

    hosts[0].pause_billing()
    died = time.time()
    hosts[1].die()
    try:
        off = client.expect('user_offline', timeout=TTL + SLICES + 2)
        assert abs(off['payload']['last_seen'] / 1000 - died) < 2 * SLOW
        assert not watching(hosts[0], other)[1][0]['online']
    finally:
        hosts[0].resume_billing()

    see_each_other([hosts[0], hosts[2]], 2, TTL + 2)
    assert hosts[0].metrics()['astro_nodes_lost_total'] > lost

    before = talk.c.say(talk.conv, 'are you there?')['seq']
    resume(hosts[2], talk, talk.advisor)
    have(talk, before)
    have(talk, exchange(talk))
    talk.end()
    talk.assert_settled()

    hosts[1].script('start', 'nginx')
    see_each_other(hosts)


# -- cut off from Redis --------------------------------------------------------

@pytest.mark.parametrize('how', ['cut', 'stall'])
def test_a_host_is_cut_off_from_redis(hosts, how):
    """What is durable arrives all the same, within seconds; at once when it is
    back.  Its people stay online to all others."""
    talk = active(hosts, 0, 2)
    watcher, answer = watching(hosts[0], talk.advisor)
    assert answer[0]['online']

    getattr(hosts[2].wire, how)()
    last = exchange(talk)
    have(talk, last, 2 * SLICES + 2)

    # those who are alive are not gone, whatever Redis says
    watcher.quiet('user_offline', TTL + 1)
    assert watching(hosts[1], talk.advisor)[1][0]['online']

    # an arrival and a departure there are seen as well
    newcomer = hosts[0].person('advisor')
    client, _ = watching(hosts[1], newcomer)
    at(hosts[2], newcomer)
    client.expect('user_online', timeout=SLICES + 3)
    newcomer.client.close()
    client.expect('user_offline', timeout=SLICES + 3)

    last = talk.c.say(talk.conv, 'while you were away')['seq']
    hosts[2].wire.mend()
    see_each_other(hosts)
    have(talk, last, 5)

    # nodes see each other before each of their workers has subscribed again
    for gen in range(1, 11):
        talk.c.send('signal_offer', {**talk.this, 'gen': gen, 'sdp': SDP})
        try:
            talk.a.expect('signal_offer', timeout=0.5)
            break
        except Timeout:
            assert gen < 10


# -- Redis itself --------------------------------------------------------------

def test_redis_is_killed(hosts):
    talk = active(hosts)
    os.kill(hosts[0].pid('redis'), signal.SIGKILL)
    have(talk, exchange(talk), 2 * SLICES + 2)
    hosts[0].script('start', 'redis')
    see_each_other(hosts)
    eventually(lambda: all(h.connected() for h in hosts), 10)
    talk.c.send('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})
    talk.a.expect('signal_offer', timeout=5)
    have(talk, exchange(talk))


def test_redis_forgets_everything(hosts):
    talk = active(hosts)
    hosts[0].redis('FLUSHALL')
    for i in range(5):
        talk.c.send('signal_ice_candidate', {
            **talk.this, 'gen': 1, 'candidate': f'{i}'})
        talk.a.expect('signal_ice_candidate', timeout=2)
    have(talk, exchange(talk))


def test_redis_says_nonsense(hosts):
    """Records of any kind on any channel, with whatever in them: what makes
    no sense is dropped, and nobody falls."""
    talk = active(hosts)
    workers = [host.serving() for host in hosts]
    before = sum(host.metrics()['astro_node_records_bad_total']
                 for host in hosts)
    link = redis.Redis(unix_socket_path=f'{hosts[0].var}/run/redis.sock')

    for channel in (f'u:{talk.client.number}', 'nodes', 'u:0', 'events'):
        for kind in range(12):
            for arg, text in ((0, b''), (2**64 - 1, b'S 1 2'),
                              (1, b'S 9 9 active 9 9 9 9 9\n'), (2, bytes(8))):
                for user in (0, 2**56 - 1):
                    head = struct.pack('<4sBBHQQQQqQII', b'astr', 1, kind, 0,
                                       2**64 - 7, user, 1, 1, 0, arg,
                                       len(text), 0)
                    link.publish(f'astro:{channel}', head + text)

    eventually(lambda: sum(host.metrics()['astro_node_records_bad_total']
                           for host in hosts) > before, 5, 'bad records')
    have(talk, exchange(talk))
    assert [host.serving() for host in hosts] == workers
    see_each_other(hosts, len(hosts), TTL + 5)


def memory(host):
    """KB that the workers of that host hold for themselves."""
    total = 0
    for pid in host.serving():
        with open(f'/proc/{pid}/status', encoding='ascii') as f:
            total += sum(int(line.split()[1]) for line in f
                         if line.startswith('RssAnon'))
    return total


def test_redis_stops(hosts):
    """It accepts, and answers nothing: nothing piles up, nothing is lost, and
    people on one host do not notice."""
    talk = active(hosts)
    local = Consultation(hosts[0]).active()
    before = most = memory(hosts[0])
    text = 'x' * 20000
    redis = hosts[0].pid('redis')

    os.kill(redis, signal.SIGSTOP)
    try:
        until = time.monotonic() + 8
        on = False
        while time.monotonic() < until:
            for _ in range(20):
                talk.c.send('signal_ice_candidate', {
                    **talk.this, 'gen': 1, 'candidate': text})
            begin = time.monotonic()
            # one that goes on is not told of each time
            on = not on
            local.c.send('chat_typing', {'conv': local.conv, 'on': on})
            local.a.expect('chat_typing', timeout=2)
            assert time.monotonic() - begin < 1 * SLOW
            last = talk.c.say(talk.conv, 'on')['seq']
            most = max(most, memory(hosts[0]))
            time.sleep(0.05)
        # a sanitizer keeps what was freed
        assert SANITIZED or most - before < 10 * 1024
    finally:
        os.kill(redis, signal.SIGCONT)

    have(talk, last)
    eventually(lambda: all(h.connected() for h in hosts), 15)
    see_each_other(hosts)
    have(talk, exchange(talk))


# -- from one to two and back --------------------------------------------------

def test_the_second_host_comes_later(hosts):
    """Alone, a host listens to nobody's channel; people who were there first
    are heard as soon as another is there.  Its own fleet: another prefix."""
    prefix = f'late{uuid.uuid4().hex[:8]}:'
    settings = {**SETTINGS, 'astro_redis_prefix': prefix}
    one, two = (Host(hosts[0], settings) for _ in range(2))

    def channels():
        return set(hosts[0].redis('PUBSUB', 'CHANNELS',
                                  f'{prefix}u:*').split())
    try:
        one.up()
        talk = Consultation(one)
        at(one, talk.advisor)
        crowd = [at(one, one.person()) for _ in range(20)]
        assert nodes(one) == 1 and not channels()
        assert one.metrics()['astro_node_records_total'] == 0

        two.up()
        see_each_other([one, two], 2)
        names = {f'{prefix}u:{p.person.number}' for p in [talk.a, *crowd]}
        eventually(lambda: channels() == names, 5, 'all are listened to')

        at(two, talk.client)
        talk.start()
        talk.a.expect('session_incoming', timeout=3)
        talk.accept()
        talk.join()
        talk.c.send('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})
        talk.a.expect('signal_offer', timeout=2)
        crowd.pop().close()
        names = {f'{prefix}u:{p.person.number}'
                 for p in [talk.c, talk.a, *crowd]}
        eventually(lambda: channels() == names, 5, 'one has left')

        # gone in good order: known at once
        lost = one.metrics()['astro_nodes_lost_total']
        two.drop_clients()
        two.stop('nginx')
        eventually(lambda: nodes(one) == 1 and not channels(), TTL + 2,
                   'nobody is listened to')
        assert one.metrics()['astro_nodes_lost_total'] == lost
        assert not one.alerts() and not two.alerts()
    finally:
        one.down()
        two.down()


# -- without a seat, and two generations ---------------------------------------

def test_a_worker_without_a_seat(hosts):
    """It is a node by itself: its users and those of its neighbours reach
    each other through Redis."""
    crowded = Host(hosts[0], {
        **SETTINGS, 'astro_zone': '40m seats=2 ring=128k users=65536'},
        workers=3)
    try:
        crowded.up()
        see_each_other([*hosts, crowded], 5)
        assert crowded.metrics()['astro_seatless_workers'] == 1
        assert re.search(r'\[error\].*all 2 seats of "astro_zone"',
                         crowded.log())

        talk = Consultation(hosts[0])
        talk.advisor.stack = talk.client.stack = crowded
        for _ in range(64):
            client = talk.client.connect()
            if client.me['debug']['seat'] == -1:
                break
            client.close()
        talk.advisor.connect(away_from=client.worker)
        assert talk.a.me['debug']['seat'] >= 0
        talk.ring()
        talk.accept()
        talk.join()
        talk.state('active')
        have(talk, exchange(talk))
        watcher, answer = watching(hosts[1], talk.client)
        assert answer[0]['online']
        talk.end()
        assert not crowded.alerts()
    finally:
        crowded.down()


def master(host):
    try:
        return host.pid('nginx')
    except (FileNotFoundError, ValueError):
        return None


def test_two_generations(hosts):
    """After USR2 old and new workers share no memory: they are two hosts to
    each other, and to all others one more."""
    host = hosts[1]
    talk = Consultation(hosts[1])
    talk.advisor.connect()
    old, before = host.pid('nginx'), host.serving()
    watcher, _ = watching(hosts[0], talk.client)
    host.moved = True
    os.kill(old, signal.SIGUSR2)
    try:
        eventually(lambda: master(host) not in (old, None)
                   and len(host.serving()) == host.workers, 15,
                   'a new generation')
        see_each_other([hosts[0], hosts[2]], 4, 15)
        for _ in range(64):
            client = talk.client.connect()
            if client.worker not in before:
                break
            client.close()
        assert client.worker in host.serving()

        talk.ring()
        talk.accept()
        talk.join()
        talk.state('active')
        talk.c.send('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})
        talk.a.expect('signal_offer', timeout=3)
        have(talk, exchange(talk))

        # and back on a worker of the new one, while the old one drains
        os.kill(old, signal.SIGQUIT)
        assert talk.a.wait_close(15) == 4503
        resume(host, talk, talk.advisor)
        have(talk, exchange(talk))
        watcher.quiet('user_offline', 0.1)
    finally:
        if alive(old):
            os.kill(old, signal.SIGQUIT)
        eventually(lambda: not alive(old), 40, 'the end of the old master')
    see_each_other(hosts)
    talk.end()
    talk.assert_settled()
