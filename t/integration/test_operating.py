"""What those who operate it are given: logs in which one request is found
again from nginx to the billing worker, and that tell nobody's secrets."""

import contextlib
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import uuid

import pytest

from astro import leaks
from astro.client import Refused
from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, eventually, free_ports, sanitized
from test_alerts import judge
from test_billing_metrics import values
from vendor_fixture import Vendor

TRACE = '4bf92f3577b34da6a3ce929d0e0e4736'
PARENT = f'00-{TRACE}-00f067aa0ba902b7-01'


@pytest.fixture(scope='module')
def vendor():
    vendor = Vendor('twilio', key=f'AC{"0" * 32}:token')
    os.chmod(vendor.home, 0o755)
    os.chmod(vendor.key_file, 0o644)
    yield vendor
    vendor.close()


@pytest.fixture(scope='module')
def operated(vendor):
    with tempfile.TemporaryDirectory(prefix='astro-ops-') as folder:
        os.chmod(folder, 0o755)
        key = uuid.uuid4().hex + uuid.uuid4().hex
        for name, mode in (('nginx', 0o600), ('worker', 0o644)):
            with open(f'{folder}/{name}', 'w', encoding='ascii') as f:
                f.write(key + '\n')
            os.chmod(f'{folder}/{name}', mode)
        stack = Stack({'astro_otp_key_file': f'{folder}/nginx'},
                      worker_settings={'sms_url': vendor.url,
                                       'sms_key_file': vendor.key_file,
                                       'sms_from': '+15550100',
                                       'otp_key_file': f'{folder}/worker',
                                       'metrics_listen':
                                       f'127.0.0.1:{free_ports(1)[0]}',
                                       'log_level': 'debug'})
        try:
            yield stack.up()
        finally:
            stack.down()


@pytest.fixture
def stack(operated):
    yield from watch(operated)


def lines(stack, name='access.log', **which):
    """The lines of a JSON log that have these fields."""
    found = [json.loads(line) for line in stack.log(name).splitlines()
             if line.startswith('{')]
    return [line for line in found
            if all(line.get(k) == v for k, v in which.items())]


def line(stack, name='access.log', **which):
    return eventually(lambda: lines(stack, name, **which), 10, which)[0]


def worker(stack, **which):
    return line(stack, 'worker.log', **which)


# -- N4: one line for a request, one id for it everywhere -------------------

def test_n4_each_request_is_a_line(stack, rest_of):
    person = stack.person()
    ours = f'a.B-{uuid.uuid4().hex}_9'
    answer = rest_of.get('/api/me?q=secret', person.token,
                         headers={'X-Request-Id': ours})
    assert answer.headers['X-Request-Id'] == ours
    found = line(stack, request=ours)
    assert found['user'] == person.id and found['method'] == 'GET'
    assert found['status'] == str(answer.status)
    assert found['bytes'] == len(answer.body) and found['seconds'] >= 0
    assert re.fullmatch('[0-9a-f]{32}', found['trace'])
    assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d',
                        found['ts'])

    # the path is the table's, without ids and query
    rest_of.get('/api/sessions/s_99?x=y', person.token,
                headers={'X-Request-Id': ours + '2'})
    assert line(stack, request=ours + '2')['route'] == '/api/sessions/{s}'
    assert 's_99' not in stack.log('access.log')

    # a request for nothing has a line, too
    rest_of.get('/api/nothing', headers={'X-Request-Id': ours + '3'})
    found = line(stack, request=ours + '3')
    assert (found['status'], found['route'], found['user']) == ('404', '', '')


@pytest.fixture
def rest_of(stack):
    stack.rest.documented = False
    yield stack.rest
    stack.rest.documented = True


@pytest.mark.parametrize('given', ['a b', 'x' * 65, '"', '\\', 'é', ''])
def test_n4_an_id_that_is_none_is_replaced(stack, given):
    answer = stack.rest.get('/api/health', headers={
        'X-Request-Id': given.encode()})
    made = answer.headers['X-Request-Id']
    assert re.fullmatch('[0-9a-f]{32}', made)
    found = line(stack, request=made)
    assert found['trace'] == made       # one name, where one is enough


def test_n4_a_websocket_is_a_line_that_names_it(stack):
    person = stack.person()
    client = person.connect()
    found = line(stack, conn=client.me['conn'])
    assert found['status'] == '101' and found['route'] == ''


def fails(stack, name, state='22012'):
    """SQL that puts a failing function in the place of one of api."""
    with stack.db() as db:
        old, kind, args = db.execute(
            'SELECT pg_get_functiondef(oid), pg_get_function_result(oid),'
            '       pg_get_function_arguments(oid) FROM pg_proc'
            " WHERE pronamespace = 'api'::regnamespace AND proname = %s",
            (name,)).fetchone()
        db.execute(f'CREATE OR REPLACE FUNCTION api.{name}({args})'
                   f' RETURNS {kind} LANGUAGE plpgsql SECURITY DEFINER'
                   ' SET search_path = pg_catalog, pg_temp AS $x$ BEGIN'
                   f" RAISE 'broken' USING ERRCODE = '{state}'; END $x$")
    return old


def test_n4_the_database_names_the_request_at_an_error(stack, rest_of):
    """By REST and by WebSocket; in PostgreSQL's log and in nginx's."""
    person = stack.person()
    client = person.connect()
    ours = uuid.uuid4().hex
    old = [fails(stack, 'me'), fails(stack, 'queue_leave')]
    try:
        answer = rest_of.get('/api/me', person.token,
                             headers={'X-Request-Id': ours})
        assert answer.status == 500
        client.refused('queue_leave', {'advisor': 'u_1'})
    finally:
        with stack.db() as db:
            for text in old:
                db.execute(text)

    asked = f"{client.me['conn']}-"
    for id in (ours, asked):
        assert re.search(f'astro_web astro nginx {id}.*ERROR: +broken',
                         stack.log('postgresql.log')), id
    assert re.search(f'api.me.*: 22012 broken, request: {ours} 00-',
                     stack.log())
    assert re.search(rf'api.queue_leave.*broken, request: {asked}\d+',
                     stack.log())


def test_n4_from_rest_to_the_worker(stack):
    """A session that is ended by a request is settled under its name."""
    talk = Consultation(stack).active()
    ours = uuid.uuid4().hex
    answer = stack.rest.post(f'/api/sessions/{talk.id}/end', {},
                             talk.client.token,
                             headers={'X-Request-Id': ours})
    assert answer.status == 200
    talk.ended()
    settled = worker(stack, msg='session settled', session=talk.number)
    assert settled['request'].startswith(f'{ours} 00-')


def test_n4_from_a_websocket_to_the_worker(stack):
    talk = Consultation(stack).active()
    talk.end()
    settled = worker(stack, msg='session settled', session=talk.number)
    assert re.fullmatch(rf"{talk.c.me['conn']}-\d+", settled['request'])


# -- N16: traces ------------------------------------------------------------

def test_n16_a_trace_goes_on_through_sql_to_the_worker(stack, vendor):
    """The row of the outbox has it, and the worker's line."""
    phone = f'+91{uuid.uuid4().int % 10**9:09}'
    trace = uuid.uuid4().hex
    person = stack.person()
    answer = stack.rest.post(
        '/api/me/phone', {'phone': phone}, person.token,
        headers={'traceparent': f'00-{trace}-00f067aa0ba902b7-01',
                 'X-Request-Id': 'mine2'})
    assert answer.status == 202, answer
    found = line(stack, request='mine2', trace=trace)
    span = found['span']
    assert span != '00f067aa0ba902b7'
    with stack.db() as db:
        assert db.execute(
            'SELECT trace FROM billing.outbox WHERE key = %s',
            (f"otp-{answer.json['challenge']}",)).fetchone() \
            == (f'mine2 00-{trace}-{span}-01',)
    sent = eventually(lambda: [x for x in lines(stack, 'worker.log',
                                                msg='call delivered')
                               if x.get('request', '').startswith('mine2 ')],
                      15, 'the worker names it')[0]
    assert sent['request'] == f'mine2 00-{trace}-{span}-01'


@pytest.mark.parametrize('given', [
    '', 'x', PARENT.upper(), 'ff' + PARENT[2:], PARENT + '-x',
    PARENT.replace(TRACE, '0' * 32)])
def test_n16_what_is_no_traceparent_begins_another(stack, given):
    ours = uuid.uuid4().hex
    assert stack.rest.get('/api/health', headers={
        'traceparent': given, 'X-Request-Id': ours}).status == 200
    found = line(stack, request=ours)
    assert re.fullmatch('[0-9a-f]{32}', found['trace'])
    assert found['trace'] not in (TRACE, '0' * 32)


def test_n16_of_a_message(stack):
    """A frame may have one: it is set with the id, in the transaction."""
    client = stack.person().connect()
    old = fails(stack, 'queue_leave')
    try:
        for parent in (PARENT, PARENT.upper(), None, 7, 'x'):
            client.refused('queue_leave', {'advisor': 'u_1'},
                           traceparent=parent)
    finally:
        with stack.db() as db:
            db.execute(old)
    said = re.findall(rf"broken, request: {client.me['conn']}-\d+(.*)$",
                      stack.log(), re.M)
    assert len(said) == 5 and said[1:] == [''] * 4
    assert re.fullmatch(f' 00-{TRACE}-[0-9a-f]{{16}}-01', said[0])
    assert '00f067aa0ba902b7' not in said[0]


# -- L5: what admins watch --------------------------------------------------

def figures(client, where=lambda p: True, timeout=15):
    return client.expect('admin_metrics', lambda m: where(m['payload']),
                         timeout)['payload']


def test_l5_an_admin_watches(stack):
    admin = stack.person('admin').connect()
    talk = Consultation(stack).active()
    assert admin.call('admin_metrics', {'on': True}) == {'on': True}
    first = figures(admin)
    assert first['host']['messages_in_s'] is None

    for _ in range(60):
        talk.c.call('ping', {})
    second = figures(admin, lambda p: p['host']['messages_in_s'])
    assert 2 <= second['host']['messages_in_s'] <= 200
    assert 1000 < second['at'] - first['at'] < 60000 * 10
    workers = second['host']['workers']
    assert len(workers) == 2
    assert sum(w['connections'] for w in workers) == 3
    assert sum(w['joined'] for w in workers) == 2
    assert second['host']['pg_up'] == 6 and second['host']['redis_up'] == 4

    # each worker of nginx may have heard of the billing worker by now
    said = figures(admin, lambda p: p['billing']
                   and p['billing']['sessions']['active'] == 1, 30)['billing']
    assert said['workers'] == 1 and said['redis_up'] == 2
    assert said['outbox_parked'] == 0 and said['sessions']['paused'] == 0
    said = figures(admin, lambda p: p['billing']
                   and p['billing']['charged_minute'] > 0, 30)['billing']
    assert said['ticks_s'] > 0 and said['tick_lag_p99_ms'] >= 0
    talk.end()

    # no more
    assert admin.call('admin_metrics', {'on': False}) == {'on': False}
    admin.messages.clear()
    other = stack.person('admin').connect()
    other.call('admin_metrics', {'on': True})
    for _ in range(2):
        figures(other)
    assert not [m for m in admin.messages if m['type'] == 'admin_metrics']


@pytest.mark.parametrize('role', ['client', 'advisor'])
def test_l5_nobody_else_does(stack, role):
    person = stack.person(role)
    client = person.connect()
    error = client.refused('admin_metrics', {'on': True})
    assert (error['code'], error['retry']) == ('forbidden', False)

    # nor by asking with hello
    again = stack.connect()
    again.hello(person.token, admin_metrics=True)
    admin = stack.person('admin').connect()
    admin.call('admin_metrics', {'on': True})
    for _ in range(2):
        figures(admin)
    for one in (client, again):
        assert not [m for m in one.messages if m['type'] == 'admin_metrics']


@pytest.mark.parametrize('on', [None, 1, 'true', []])
def test_l5_what_is_no_answer(stack, on):
    admin = stack.person('admin').connect()
    error = admin.refused('admin_metrics', {'on': on})
    assert (error['code'], error['field']) == ('bad_request', '/payload/on')


def test_l5_it_goes_on_after_a_reload(stack):
    """Who comes back says so in hello."""
    stack.moved = True
    admin = stack.person('admin')
    first = admin.connect()
    first.call('admin_metrics', {'on': True})
    figures(first)
    stack.reload()
    assert first.wait_close() == 4503
    again = stack.connect()
    again.hello(admin.token, admin_metrics=True)
    was = figures(again, lambda p: p['host']['closes'].get('4503'))
    assert was['host']['closes']['4503'] >= 1


def test_l5_what_is_not_known_is_said_to_be(stack):
    """A billing worker that is stopped is not there; the database away."""
    admin = stack.person('admin').connect()
    admin.call('admin_metrics', {'on': True})
    figures(admin, lambda p: p['billing'])
    stack.pause_billing()
    try:
        figures(admin, lambda p: p['billing'] is None, 30)
    finally:
        stack.resume_billing()
    figures(admin, lambda p: p['billing'])


# -- N2: a billing worker that stands still is noticed ----------------------

def test_n2_the_alarm_of_late_ticks(stack, operated, tmp_path):
    """Real scrapes, before and after, are what the rule is asked about: five
    minutes like the one, then like the other."""
    place = re.search(r'metrics_listen = (\S+)',
                      operated.env['ASTRO_WORKER_SETTINGS']).group(1)

    def lags():
        return {name: n for name, n in values(place).items()
                if name.startswith('astro_billing_tick_lag_seconds_bucket')}

    def more(n, was):
        return eventually(lambda: (now := lags())
                          and now[top] >= was[top] + n and now, 20)

    def fires(was, now, alarm):
        series = {name: f'{was[name]:.0f}+{now[name] - was[name]:.0f}x40'
                  for name in now}
        code, said = judge(tmp_path, [('AstroBillingLate', series, alarm)])
        assert code == 0, said

    talk = Consultation(stack).active()
    top = 'astro_billing_tick_lag_seconds_bucket{le="+Inf"}'
    first = more(1, lags())
    well = more(2, first)
    stack.pause_billing()
    time.sleep(3)
    stack.resume_billing()
    late = more(1, well)
    talk.end()

    behind = 'astro_billing_tick_lag_seconds_bucket{le="1"}'
    assert late[top] - well[top] > late[behind] - well[behind]
    fires(first, well, False)
    fires(well, late, True)


# -- M6, M10: nothing that opens anything is written down -------------------

SDP = ('v=0\r\na=fingerprint:sha-256 AA:BB\r\na=ice-pwd:{0}\r\n'
       'a=candidate:1 1 udp 1 10.0.0.1 1 typ host\r\n')
CARD = '4242424242424242'


def test_m10_no_log_no_dump_has_a_secret(stack, rest_of, vendor):
    """Whatever went through all of it, and whatever went wrong."""
    rest = rest_of
    word = uuid.uuid4().hex
    mail = f'{uuid.uuid4().hex}@example.com'
    assert rest.post('/api/auth/register', {
        'email': mail, 'password': word, 'name': 'x'}).status == 201
    token = rest.login(mail, word)
    rest.post('/api/auth/login', {'email': mail, 'password': word + 'x'})
    rest.post('/api/auth/login', '{"email":"' + mail + '","password":"' + word)
    rest.get(f'/api/me?access_token={token}', token)
    rest.get('/api/me', token[:-9] + 'x' * 9)
    rest.post('/api/sessions', {'advisor': CARD, 'card': CARD}, token,
              headers={'Idempotency-Key': 'k', 'X-Request-Id': token})

    pwd = uuid.uuid4().hex
    talk = Consultation(stack).active()
    for kind in ('signal_offer', 'signal_answer', 'chat_message', 'nothing'):
        for payload in ({'session': talk.id, 'sdp': SDP.format(pwd)},
                        {'session': talk.id, 'sdp': SDP.format(pwd) * 20},
                        {'session': 's_1', 'sdp': pwd, 'card': CARD}):
            with contextlib.suppress(Refused):
                talk.c.call(kind, payload)
    talk.end()

    old = [fails(stack, 'me'), fails(stack, 'queue_leave')]
    try:
        rest.get('/api/me', token)
        talk.c.refused('queue_leave', {'advisor': CARD, 'sdp': SDP})
    finally:
        with stack.db() as db:
            for text in old:
                db.execute(text)

    known = leaks.secrets(stack)
    assert len(known) >= 4, known
    assert leaks.logs(stack) == []
    for name in os.listdir(f'{stack.var}/log'):
        if os.path.isdir(f'{stack.var}/log/{name}'):
            continue
        for said in (word, pwd, mail, token):
            assert said not in stack.log(name), (name, said)
    assert leaks.dump(stack) == []


def test_m6_nginx_prints_no_secret(stack):
    if not sanitized():
        assert leaks.configuration(stack) == []


def test_m10_a_leak_is_seen(stack):
    """Each kind of thing that is looked for, planted in a log."""
    known = next(iter(leaks.secrets(stack).values()))
    file = f'{stack.var}/log/planted.log'
    for text in (known, stack.person().token, CARD, SDP, 'code is 123456',
                 'whsec_0123456789abcdef'):
        with open(file, 'w', encoding='utf-8') as f:
            f.write(f'x {text} y\n')
        found = leaks.logs(stack)
        os.unlink(file)
        assert [name for name, _ in found if name == 'planted.log'], text


@pytest.mark.parametrize('where, text', [
    ('log/worker.log', SDP), ('log/error.log', '"password":"x"'),
    ('log/access.log', 'eyJhbGciOiJ.eyJzdWIiOiJ1.c2lnbmF0dXJlIG9m'),
    ('log/nginx.out', 'of-a-stack-0123456789'),
    ('etc/billing_worker.conf', 'of-a-stack-0123456789'),
    ('etc/nginx.conf', f'# {CARD}')])
def test_m10_no_stack_ends_with_a_leak(where, text):
    """Of all tests: what any of them brought into a log fails the run, but
    for what it says that it has put there."""
    name = where.removeprefix('log/')
    for planted, good in (['^else.log: '], False), ([f'^{name}: '], True):
        stack = Stack()
        stack.planted = planted
        os.mkdir(f'{stack.var}/log')
        os.mkdir(f'{stack.var}/etc')
        key = pathlib.Path(f'{stack.var}/key')
        key.write_text('of-a-stack-0123456789\n', 'ascii')
        pathlib.Path(f'{stack.var}/etc/nginx.conf').write_text(
            f'astro_jwt_secret_file {key};\n', 'ascii')
        with open(f'{stack.var}/{where}', 'a', encoding='ascii') as f:
            f.write(f'x {text} y\n')
        with contextlib.nullcontext() if good else pytest.raises(
                AssertionError, match=name):
            stack.down()
        assert not os.path.exists(stack.var)


@pytest.mark.parametrize('mode, there', [(0o600, True), (0o640, True),
                                         (0o644, False), (0o666, False),
                                         (0o604, False), (0o660, False)])
def test_m10_a_secret_that_others_can_read_is_refused(tmp_path, stack, mode,
                                                      there):
    """Of TURN; those of the other files in test_auth_keys, test_webhooks."""
    file = tmp_path / 'turn'
    file.write_text('0123456789abcdef\n')
    file.chmod(mode)
    conf = tmp_path / 'nginx.conf'
    text = pathlib.Path(f'{stack.var}/etc/nginx.conf').read_text()
    conf.write_text(text.replace('astro_zone ', f'astro_turn turn:x:1'
                                 f' secret={file}; astro_zone ', 1))
    said = subprocess.run(['/usr/sbin/nginx', '-t', '-p',
                           f'{stack.var}/nginx', '-c', str(conf)],
                          capture_output=True, text=True, check=False,
                          env={**os.environ, **stack.env})
    if sanitized():
        return
    assert (said.returncode == 0) is there, said.stderr
    if not there:
        assert f'has mode 0{mode:o}' in said.stderr


def test_m10_the_worker_says_so(stack, vendor):
    """Its own user reads it here, and anybody could."""
    found = worker(stack, msg="others can get at a key's file", level='warn')
    assert found['file'] == vendor.key_file
