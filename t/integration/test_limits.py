"""How much one client may ask for: rates by class, numbers of connections.

nginx's realip module gives each test addresses of its own.
"""

import itertools
import os
import re
import struct
import subprocess
import time
import uuid

import pytest

from astro.client import Refused
from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, eventually, sanitized
from astro.ws import SLOW, HandshakeRefused

# stack.sh takes one line for a directive, whatever follows on it
LIMITS = '; astro_limit '.join((
    'all rate=100000/s burst=100000',
    'signal rate=5/s burst=10',
    'chat rate=5/s burst=10',
    'typing rate=5/s burst=10',
    'other rate=5/s burst=10',
    'hello rate=2/s burst=12',
    'search rate=1/m burst=3',
    'money rate=1/m burst=2',
    'write rate=1/m burst=5',
    'api rate=2/s burst=10',
    'api rate=2/s burst=20 per=address',
    'login rate=2/m burst=6',
    'login rate=10/m burst=3 per=user',
    'connect rate=5/s burst=30'))

CONNECTIONS = 'per_user=3 per_address=8; set_real_ip_from 127.0.0.1; ' \
    'real_ip_header X-Real-IP'

PASSWORD = 'correct horse battery'

numbers = itertools.count(1)


@pytest.fixture(scope='module')
def limited():
    stack = Stack(settings={'astro_limit': LIMITS,
                            'astro_connections': CONNECTIONS})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(limited):
    yield from watch(limited)


@pytest.fixture
def here():
    """Keywords of a connection from an address nobody else has."""
    return from_address(f'10.0.{next(numbers)}.1')


def from_address(address):
    return {'headers': [('X-Real-IP', address)]}


def limited_total(stack, name, **labels):
    text = stack.rest.get('/metrics').body.decode()
    label = ','.join(f'{k}="{v}"' for k, v in labels.items())
    return float(re.search(rf'^astro_{name}_total{{{label}}} (\d+)$', text,
                           re.M).group(1))


def answers(client, ids):
    """How many of those requests were refused for their rate; the replies."""
    replies = []
    for number in ids:
        try:
            replies.append(client.reply(number))
        except Refused as e:
            assert e.code == 'rate_limited', e.error
            assert e.error['retry'] is True
            assert 0 < e.error['retry_after_ms'] <= 200
            replies.append(None)
    return replies.count(None), replies


# -- messages -----------------------------------------------------------------

def test_chat(stack, here):
    """Refused with a reason and a time; what was refused is not stored."""
    talk = Consultation(stack).active(**here)
    before = limited_total(stack, 'limited', **{'class': 'chat'})
    begin = time.monotonic()
    ids = [talk.c.request('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': f'{i}'}) for i in range(30)]
    refused, replies = answers(talk.c, ids)
    took = time.monotonic() - begin
    assert replies[:10].count(None) == 0
    assert 30 - refused <= 10 + 5 * took + 1
    assert refused >= 1
    assert limited_total(stack, 'limited', **{'class': 'chat'}) - before \
        == refused
    seqs = [r['seq'] for r in replies if r]
    assert seqs == list(range(seqs[0], seqs[0] + len(seqs)))
    # the other party is not limited by what this one did
    assert talk.a.say(talk.conv, 'and I')
    time.sleep(0.3 * SLOW)
    assert talk.c.say(talk.conv, 'again')
    talk.end()


def test_one_bucket_for_all_workers(stack, here):
    """Two devices of one person, on two workers, share what the person has."""
    person = stack.person()
    one = person.connect(**here)
    person.device = str(uuid.uuid4())
    two = person.connect(away_from=one.worker, **here)
    begin = time.monotonic()
    ids = [[client.request('ping', {}) for client in (one, two)]
           for _ in range(25)]
    refused = answers(one, [i for i, _ in ids])[0] \
        + answers(two, [i for _, i in ids])[0]
    took = time.monotonic() - begin
    # hello is of another class, but was a message
    assert 50 - refused <= 10 + 5 * took + 1
    assert refused >= 1


def test_signals(stack, here):
    talk = Consultation(stack).active(**here)
    ids = [talk.c.request('signal_ice_candidate', {
        'session': talk.id, 'candidate': f'{i}'}) for i in range(40)]
    refused, _ = answers(talk.c, ids)
    assert refused >= 20
    got = talk.a.expect('signal_ice_candidate')
    assert got['payload']['candidate'] == '0'
    talk.end()


def test_typing_is_dropped_without_a_word(stack, here):
    talk = Consultation(stack).active(**here)
    before = limited_total(stack, 'dropped', policy='limit')
    for _ in range(60):
        talk.c.send('chat_typing', {'conv': talk.conv, 'on': True})
    number = talk.c.request('chat_typing', {'conv': talk.conv, 'on': False})
    with pytest.raises(Refused) as e:
        talk.c.reply(number)
    assert e.value.code == 'rate_limited'
    assert not [m for m in talk.c.messages if m['type'] == 'reply']
    assert limited_total(stack, 'dropped', policy='limit') - before >= 30
    talk.a.expect('chat_typing')
    talk.end()


def test_who_does_not_stop_is_closed(stack, here):
    client = stack.person().connect(**here)
    try:
        for i in range(1000):
            client.send('ping', {}, id=0x100000 + i)
            client.waited = set(client.waited) | {0x100000 + i}
    except OSError:
        pass
    assert client.wait_close() == 4429
    bye = client.expect('bye')['payload']
    assert (bye['code'], bye['action']) == (4429, 'stop')


def test_a_refusal_without_an_id_is_told_once(stack, here):
    client = stack.person().connect(**here)
    for _ in range(60):
        client.send('nothing')
    time.sleep(0.5 * SLOW)
    errors = [m['error']['code'] for m in client.messages
              if m['type'] == 'reply']
    assert errors.count('rate_limited') == 1
    assert 10 <= errors.count('unknown_type') <= 20


# -- signing in ------------------------------------------------------------------

def test_hellos(stack, here):
    """A device that reconnects without end is told to slow down; nobody else
    notices."""
    person = stack.person()
    codes = []
    for _ in range(25):
        client = stack.connect(**here)
        client.request('hello', {'token': person.token,
                                 'device': person.device})
        client.wait(lambda c=client: c.replies or c.close_code)
        if client.close_code or 'error' in client.replies[1]:
            assert client.replies[1]['error']['code'] == 'rate_limited'
            assert client.wait_close() == 4429
            assert client.expect('bye')['payload']['after_ms'] > 0
            codes.append(4429)
            client.drop()
        else:
            codes.append(0)
            client.close()
    assert codes[:12] == [0] * 12
    assert 4429 in codes
    assert stack.person().connect(**here).call('ping', {}) == {}


def test_upgrade_requests_from_one_address(stack, here):
    refused = 0
    for _ in range(60):
        try:
            stack.connect(tls=False, **here).drop()
        except HandshakeRefused as e:
            assert e.status == 429
            assert int(e.headers['retry-after']) > 0
            refused += 1
    assert refused >= 5
    other = from_address('10.255.0.1')
    assert stack.person().connect(**other).call('ping', {}) == {}


# -- connections ------------------------------------------------------------------

def sockets(stack, person, n, where):
    """So many connections of that person, of a device each."""
    for _ in range(n):
        person.device = str(uuid.uuid4())
        yield person.connect(**where)


def one_too_many(stack, person, where):
    client = stack.connect(**where)
    client.request('hello', {'token': person.token,
                             'device': str(uuid.uuid4())})
    assert client.wait_close() == 4429
    assert client.expect('bye')['payload']['reason'] == 'too many connections'
    client.drop()


def test_connections_of_a_user(stack, here):
    person = stack.person()
    before = limited_total(stack, 'connections_refused', limit='user')
    mine = list(sockets(stack, person, 3, here))
    one_too_many(stack, person, here)
    one_too_many(stack, person, here)
    assert limited_total(stack, 'connections_refused', limit='user') \
        == before + 2
    mine[1].close()
    assert len(list(sockets(stack, person, 1, here))) == 1
    one_too_many(stack, person, here)
    for client in mine:
        assert client.open or client is mine[1]


def test_connections_of_a_worker_that_was_killed(stack, here):
    """Do not count, from the first moment."""
    person = stack.person()
    mine = list(sockets(stack, person, 3, here))
    dead = mine[0].worker
    lost = [c for c in mine if c.worker == dead]
    stack.kill_nginx_worker(dead)
    for client in lost:
        client.wait_close()
    for _ in sockets(stack, person, len(lost), here):
        pass
    one_too_many(stack, person, here)


def test_connections_over_a_reload(stack, here):
    """Those on workers that drain count until they are gone."""
    person = stack.person()
    mine = list(sockets(stack, person, 3, here))
    stack.reload()
    for client in mine:
        client.wait_close(15)
    assert len(list(sockets(stack, person, 3, here))) == 3
    one_too_many(stack, person, here)


@pytest.mark.parametrize('first, same, other', [
    ('192.0.2.1', '192.0.2.1', '192.0.2.2'),
    ('2001:db8:1:2::1', '2001:db8:1:2:ffff::9', '2001:db8:1:3::1'),
    ('198.51.100.7', '::ffff:198.51.100.7', '::ffff:198.51.100.8'),
])
def test_connections_of_an_address(stack, first, same, other):
    """Of IPv6 the first 64 bits; IPv4 is IPv4 however it is written."""
    before = limited_total(stack, 'connections_refused', limit='address')
    mine = [stack.connect(**from_address(first)) for _ in range(8)]
    with pytest.raises(HandshakeRefused) as e:
        stack.connect(**from_address(same))
    assert e.value.status == 429
    assert int(e.value.headers['retry-after']) > 0
    assert limited_total(stack, 'connections_refused', limit='address') \
        == before + 1
    stack.connect(**from_address(other)).close()
    mine[0].close()
    stack.connect(**from_address(same)).close()


def test_an_address_is_no_user(stack):
    """Nor is an IPv6 network whose octets are the number of a user."""
    person = stack.person()
    network = struct.unpack('>4H', struct.pack('<Q', person.number))
    where = from_address(':'.join(f'{n:x}' for n in network) + '::1')
    mine = [stack.connect(**where) for _ in range(8)]
    assert len(list(sockets(stack, person, 3,
                            from_address('192.0.2.77')))) == 3
    assert all(client.open for client in mine)


def test_nothing_is_left_of_them(stack):
    eventually(lambda: stack.metrics()['astro_counted_entries'] == 0, 10,
               'no connection counted')


# -- REST -----------------------------------------------------------------------

def rest(stack, address, path, token=None):
    return stack.rest.get(path, token, headers={'X-Real-IP': address})


def test_requests_of_a_user(stack):
    """From wherever they come; others are not concerned."""
    person, other = stack.person(), stack.person()
    found = [rest(stack, f'10.1.0.{i}', '/api/me', person.token)
             for i in range(25)]
    assert [a.status for a in found[:10]] == [200] * 10
    refused = [a for a in found if a.status == 429]
    assert refused
    for answer in refused:
        assert answer.code == 'rate_limited'
        assert answer.json['retry'] is True
        assert int(answer.headers['Retry-After']) > 0
    assert rest(stack, '10.1.0.1', '/api/me', other.token).status == 200
    time.sleep(int(refused[-1].headers['Retry-After']))
    assert rest(stack, '10.1.0.1', '/api/me', person.token).status == 200


@pytest.mark.parametrize('name, burst, method, path', [
    ('search', 3, 'GET', '/api/advisors'),
    ('money', 2, 'POST', '/api/sessions'),
    ('money', 2, 'POST', '/api/payments'),
    ('write', 5, 'PUT', '/api/me/profile')])
def test_requests_of_a_class(stack, name, burst, method, path):
    """Each user's own, whichever worker is asked, and after a reload."""
    person, other = stack.person(), stack.person()
    here = f'10.9.{next(numbers)}.1'

    def ask(who, method=method, path=path):
        return stack.rest.call(method, path, token=who.token,
                               body=None if method == 'GET' else {},
                               headers={'X-Real-IP': here})

    before = stack.metrics()['astro_limited_total']
    assert 429 not in [ask(person).status for _ in range(burst)]
    answer = ask(person)
    assert (answer.status, answer.code) == (429, 'rate_limited')
    assert 50 < int(answer.headers['Retry-After']) <= 60
    assert stack.metrics()['astro_limited_total'] == before + 1
    assert f'astro_limited_total{{class="{name}"}}' \
        in stack.rest.get('/metrics').body.decode()
    assert ask(person, 'GET', '/api/me').status == 200
    assert ask(other).status != 429
    stack.reload()
    assert ask(person).status == 429


def test_requests_of_an_address(stack):
    found = [rest(stack, '10.2.0.1', '/api/me').status for _ in range(40)]
    assert found[:20] == [401] * 20
    assert 429 in found
    assert rest(stack, '10.2.0.2', '/api/me').status == 401


def login(stack, address, email):
    return stack.rest.post('/api/auth/login',
                           {'email': email, 'password': PASSWORD},
                           headers={'X-Real-IP': address})


def test_guessing_one_password(stack):
    """From many addresses: three at once, then one in six seconds."""
    email = f'{uuid.uuid4().hex}@test.test'
    found = [login(stack, f'10.3.0.{i}', email.upper() if i % 2 else email)
             for i in range(5)]
    assert [a.status for a in found] == [401, 401, 401, 429, 429]
    assert 1 <= int(found[-1].headers['Retry-After']) <= 6


def test_guessing_many_passwords(stack):
    """From one address: six at once; the answer survives a reload, which a
    bucket of one worker would not."""
    found = [login(stack, '10.4.0.1', f'{uuid.uuid4().hex}@test.test')
             for _ in range(8)]
    assert [a.status for a in found][:6] == [401] * 6
    stack.reload()
    answer = login(stack, '10.4.0.1', f'{uuid.uuid4().hex}@test.test')
    assert found[-1].status == 429 or answer.status == 429
    for _ in range(3):
        answer = login(stack, '10.4.0.1', f'{uuid.uuid4().hex}@test.test')
    assert answer.status == 429


# -- directives ---------------------------------------------------------------

@pytest.mark.parametrize('line, error', [
    ('astro_limit chat', 'invalid number of arguments'),
    ('astro_limit nothing off', 'invalid parameter "nothing"'),
    ('astro_limit chat rate=5/s', 'takes either'),
    ('astro_limit chat burst=5', 'takes either'),
    ('astro_limit chat off rate=5/s burst=5', 'takes either'),
    ('astro_limit chat rate=0/s burst=5', 'invalid parameter "rate=0/s"'),
    ('astro_limit chat rate=5/h burst=5', 'invalid parameter "rate=5/h"'),
    ('astro_limit chat rate=5 burst=5', 'invalid parameter "rate=5"'),
    ('astro_limit chat rate=-5/s burst=5', 'invalid parameter "rate=-5/s"'),
    ('astro_limit chat rate=5/s burst=x', 'invalid parameter "burst=x"'),
    ('astro_limit chat rate=1/m burst=90', 'half an hour'),
    ('astro_limit chat rate=5/s burst=5 per=world', '"per=world"'),
    ('astro_limit frame rate=5/s burst=5 per=user', '"per=user"'),
    ('astro_limit all rate=5/s burst=5 per=user', '"per=user"'),
    ('astro_limit session rate=5/s burst=5; '
     'astro_limit session rate=6/s burst=5 per=user', 'is duplicate'),
    ('astro_connections per_user=x', 'invalid parameter "per_user=x"'),
    ('astro_connections many', 'invalid parameter "many"'),
    ('astro_connections per_user=70000', 'invalid parameter'),
])
def test_a_directive_that_is_wrong(limited, line, error):
    said = configured(limited, line)
    assert said.returncode == 1
    assert '[emerg]' in said.stderr
    assert error in said.stderr, said.stderr
    assert line.split()[0] in said.stderr


@pytest.mark.parametrize('line', [
    'astro_limit all off', 'astro_limit chat off per=user',
    'astro_limit chat rate=1/m burst=30 per=connection',
    'astro_connections per_user=0 per_address=0',
])
def test_a_directive_that_is_right(limited, line):
    assert configured(limited, line).returncode == 0


def configured(stack, line):
    """nginx -t with that line instead of the limits there are."""
    with open(f'{stack.var}/etc/nginx.conf', encoding='utf-8') as f:
        conf = f.read()
    conf = re.sub(r'^ *astro_(limit|connections) .*', '', conf, flags=re.M)
    file = f'{stack.var}/etc/tried.conf'
    with open(file, 'w', encoding='utf-8') as f:
        f.write(conf.replace('http {\n', f'http {{\n{line};\n', 1))
    return subprocess.run([os.environ.get('ASTRO_NGINX', '/usr/sbin/nginx'),
                           '-t', '-p', f'{stack.var}/nginx', '-c', file, '-e',
                           'stderr'], stderr=subprocess.PIPE, text=True,
                          timeout=60, check=False, env=sanitized())
