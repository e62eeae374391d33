"""What operators see: /metrics as Prometheus reads it, and health."""

import http.client
import os
import re
import shutil
import signal
import subprocess
import time
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import Stack, eventually
from astro.ws import SLOW

LINE = re.compile(r'([a-z_:][a-z0-9_:]*)(\{.*\})? (\S+)$')

# what goes on by itself while two numbers are read one after the other
RESTLESS = re.compile(r'loop_lag|pg_call|pg_in_flight|http_|bytes|wakeups|'
                      r'doorbells|ring|redis_events')


def scrape(stack, query=''):
    """{(name, labels): value} of a scrape."""
    answer = stack.rest.get('/metrics' + query)
    assert answer.status == 200
    found = {}
    for line in answer.body.decode().splitlines():
        if line.startswith('#'):
            continue
        name, labels, value = LINE.match(line).groups()
        assert (name, labels) not in found, line
        found[name, labels or ''] = float(value)
    return found


def kinds(stack, query=''):
    text = stack.rest.get('/metrics' + query).body.decode()
    return dict(re.findall(r'^# TYPE (\S+) (\S+)$', text, re.M))


def only_grows(key, kind_of):
    name = re.sub(r'_(bucket|sum|count)$', '', key[0])
    return kind_of.get(key[0]) == 'counter' \
        or kind_of.get(name) == 'histogram'


@pytest.mark.skipif(not shutil.which('promtool'), reason='no promtool')
@pytest.mark.parametrize('query', ['', '?workers=1'])
def test_promtool(stack, query):
    Consultation(stack).active().end()
    text = stack.rest.get('/metrics' + query).body
    done = subprocess.run(['promtool', 'check', 'metrics'], input=text,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          timeout=60)
    assert (done.returncode, done.stdout) == (0, b'')


def test_the_media_type(stack):
    answer = stack.rest.get('/metrics')
    assert answer.headers['Content-Type'].startswith(
        'text/plain; version=0.0.4')
    assert stack.rest.call('HEAD', '/metrics').status == 200
    assert stack.rest.post('/metrics', {}).status == 405


def test_messages_by_type(stack):
    client = stack.person().connect()
    before = scrape(stack)
    for _ in range(3):
        client.call('ping', {})
    client.refused('nothing', {})
    client.send_text('{')
    client.expect('reply')
    client.refused('sync', {'conv': 'c_1'})
    after = scrape(stack)

    def more(name, labels=''):
        return after[f'astro_{name}', labels] - before[f'astro_{name}', labels]

    assert more('messages_in_total', '{type="ping"}') == 3
    assert more('messages_in_total', '{type="unknown"}') == 1
    assert more('messages_in_total', '{type="malformed"}') == 1
    assert more('messages_in_total', '{type="sync"}') == 1
    assert more('errors_total', '{code="unknown_type"}') == 1
    assert more('errors_total', '{code="bad_request"}') == 2


def test_ways_to_go(stack):
    """Closes by code, of whoever said it first; and without a word."""
    before = scrape(stack)
    stack.person().connect().close()
    person = stack.person()
    person.connect()
    person.connect()
    stack.person().connect().drop()
    stack.connect().wait_close()
    client = stack.person().connect()
    client.send_raw(b'\xff\xff')
    client.wait_close()

    def closed():
        after = scrape(stack)
        return {code: after['astro_closes_total', f'{{code="{code}"}}']
                - before['astro_closes_total', f'{{code="{code}"}}']
                for code in ('peer', 'reset', '4409', '4408', '1002', '4504')}

    want = {'peer': 1, 'reset': 1, '4409': 1, '4408': 1, '1002': 1, '4504': 0}
    eventually(lambda: closed() == want, 10, f'{want}, not {closed()}')


def test_resumes_and_times(stack):
    talk = Consultation(stack).active()
    talk.a.say(talk.conv, 'one')
    talk.c.expect('chat_message')
    before = scrape(stack)

    talk.c.drop()
    talk.client.connect(resume=True)
    talk.c.drop()
    talk.a.say(talk.conv, 'two')
    talk.client.connect(resume=True)
    client = stack.connect()
    client.hello(talk.client.token, pos={talk.conv: 99999})
    client.close()

    after = scrape(stack)
    for outcome, n in (('current', 1), ('replay', 1), ('gap', 1)):
        key = 'astro_resumes_total', f'{{outcome="{outcome}"}}'
        assert after[key] - before[key] == n, outcome
    for name, n in (('hello_seconds', 3), ('chat_commit_seconds', 1),
                    ('chat_batch_messages', 1)):
        key = f'astro_{name}_count', ''
        assert after[key] - before[key] == n, name
    for name in ('relay_seconds', 'pg_call_seconds', 'http_request_seconds',
                 'loop_lag_seconds'):
        assert after[f'astro_{name}_count', ''] > 0, name
        assert after[f'astro_{name}_sum', ''] < 1000, name


def test_buckets_are_cumulative(stack):
    found = scrape(stack)
    for name in {k[0] for k in found if k[0].endswith('_bucket')}:
        values = [found[k] for k in found if k[0] == name]
        assert values == sorted(values)
        assert len(values) == 25
        assert values[-1] == found[name[:-7] + '_count', '']


def test_workers_make_the_sum(stack):
    """Nothing is counted twice, nothing is missing; also of those that are
    gone."""
    stack.kill_nginx_worker(min(stack.serving()))
    stack.wait_seats()
    Consultation(stack).active().end()

    def differ():
        found = scrape(stack, '?workers=1')
        sums = {}
        for (name, labels), value in found.items():
            if name.startswith('astro_worker_'):
                labels = re.sub(r',?worker="\w+"', '', labels)
                key = name.replace('astro_worker_', 'astro_'), \
                    '' if labels == '{}' else labels
                sums[key] = sums.get(key, 0) + value
        assert len(sums) > 200
        return {key: (sums[key], found[key]) for key in sums
                if not RESTLESS.search(key[0])
                and abs(sums[key] - found[key]) > 1e-6}

    for _ in range(20):
        found = differ()
        if not found:
            break
        time.sleep(0.1 * SLOW)
    assert not found
    seats = {labels for name, labels in scrape(stack, '?workers=1')
             if name == 'astro_worker_hello_total'}
    assert len(seats) >= stack.workers


def test_counters_never_go_back(stack):
    """Over a reload, the death of each worker, and seats used again."""
    kind_of = kinds(stack)
    seen = scrape(stack)

    def grew(what):
        nonlocal seen
        now = scrape(stack)
        for key, value in seen.items():
            if only_grows(key, kind_of):
                assert now[key] >= value, (what, key)
        seen = now

    def life():
        talk = Consultation(stack).active()
        for i in range(5):
            talk.c.say(talk.conv, str(i))
        talk.end()

    life()
    grew('use')
    stack.reload()
    grew('reload')
    life()
    for pid in sorted(stack.serving()):
        stack.kill_nginx_worker(pid)
        grew('kill')
    stack.wait_seats()
    grew('reclaimed')
    life()
    stack.reload()
    eventually(lambda: len(stack.nginx_workers()) == stack.workers, 20)
    grew('old workers gone')
    assert seen['astro_chats_total', ''] >= 15


def test_a_stopped_worker_is_seen(stack):
    """Its lag counts as often as it could not look, so a p99 tells."""
    pid = min(stack.serving())
    before = scrape(stack)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(2)
    os.kill(pid, signal.SIGCONT)

    def late():
        after = scrape(stack)
        key = 'astro_loop_lag_seconds_count', ''
        less = 'astro_loop_lag_seconds_bucket', '{le="0.131072"}'
        return after[key] - before[key] - (after[less] - before[less])

    eventually(lambda: late() >= 15, 10, 'some twenty looks that were late')


def test_who_may_look(stack):
    """A location like any: allow and deny hold."""
    connection = http.client.HTTPConnection('127.0.0.1', stack.plain_port,
                                            source_address=('127.0.0.2', 0),
                                            timeout=10 * SLOW)
    try:
        connection.request('GET', '/metrics')
        assert connection.getresponse().status == 403
    finally:
        connection.close()


def test_which_build_runs(stack):
    label, = [labels for name, labels in scrape(stack)
              if name == 'astro_build_info']
    build = re.search(r'build="([0-9a-f]{40})"', label).group(1)
    module = re.search(r'^load_module (\S+);', open(
        f'{stack.var}/etc/nginx.conf', encoding='utf-8').read(), re.M).group(1)
    with open(module, 'rb') as f:
        assert bytes.fromhex(build) in f.read()
    assert re.search(r'nginx="1\.\d+\.\d+"', label)


# -- health --------------------------------------------------------------------

def test_health(stack):
    for path in ('/health/ready', '/health/', '/api/health'):
        answer = stack.rest.get(path)
        assert (answer.status, answer.json['status']) == (200, 'ok')
        assert answer.json['reasons'] == []
        assert answer.headers.get_content_type() == 'application/json'
    assert stack.rest.get('/health/live').json == {'status': 'live'}
    assert stack.rest.post('/health/live', {}).status == 405


def test_without_redis_it_is_degraded(stack):
    stack.stop('redis')
    try:
        answer = eventually(lambda: (lambda a: a.json['reasons'] and a)(
            stack.rest.get('/health/ready')), 10)
        assert answer.status == 200
        assert answer.json['status'] == 'degraded'
        assert answer.json['reasons'] == ['redis is away']
        assert stack.rest.get('/health/live').status == 200
    finally:
        stack.start('redis')
    stack.expected.append('Redis|redis')


def test_without_the_database_it_is_not_ready(stack):
    """Sockets stay, and say what is the matter."""
    client = stack.person().connect()
    stack.stop('pg')
    try:
        answer = eventually(lambda: (lambda a: a.status == 503 and a)(
            stack.rest.get('/health/ready')), 10)
        assert answer.json['status'] == 'unavailable'
        assert 'postgresql is away' in answer.json['reasons']
        assert stack.rest.get('/health/live').status == 200
        assert client.call('ping', {}) == {}
        error = client.refused('session_start', {
            'advisor': 'u_1', 'service': 'chat', 'cid': str(uuid.uuid4())})
        assert (error['code'], error['retry']) == ('unavailable', True)
    finally:
        stack.start('pg')
    eventually(lambda: stack.rest.get('/health/ready').status == 200, 20)
    assert client.call('ping', {}) == {}


# -- no seat -------------------------------------------------------------------

def test_a_worker_without_a_seat():
    """Says that it is degraded, and what it counts is in the sums."""
    small = Stack(settings={'astro_zone': '16m seats=2 ring=128k users=1024'},
                  workers=2)
    try:
        small.up()
        begin = scrape(small)['astro_http_requests_total', '']
        small.person().connect()
        small.reload()
        seen, n = set(), 0

        def degraded():
            nonlocal n
            answer = small.rest.get('/health/ready')
            seen.update(answer.json['reasons'])
            small.rest.get('/api/health')
            n += 1
            return 'no seat' in seen and answer.json['status'] == 'degraded'

        eventually(degraded, 10, 'a worker without a seat')
        last = 0
        for _ in range(20):
            now = scrape(small)['astro_http_requests_total', '']
            assert now >= last
            last = now
        eventually(lambda: scrape(small)['astro_http_requests_total', '']
                   == begin + n, 5, 'each request counted once')
        # it may have answered for itself until now, and adds up in a moment
        spilt = 'astro_worker_http_requests_total', '{worker="none"}'
        eventually(lambda: scrape(small, '?workers=1').get(spilt, 0) > 0, 5,
                   'what it counted among the others')
    finally:
        small.down()
