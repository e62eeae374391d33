"""Signing in, and staying: hello, tokens, heartbeat, bye."""

import json
import time
import uuid

import pytest

from astro.client import Refused
from astro.consult import Consultation
from astro.stack import eventually
from astro.ws import SLOW


def test_hello(stack):
    person = stack.person(balance=500)
    client = stack.connect()
    before = time.time() * 1000
    me = client.hello(person.token, person.device)
    assert me['user'] == person.id
    assert me['role'] == 'client'
    assert me['resumed'] is False
    assert me['convs'] == []
    assert me['ping_s'] > 0 and me['grace_s'] == 20
    assert me['max_frame'] == 65536
    assert abs(me['now'] - before) < 60000
    assert me['token_exp'] > before / 1000
    assert me['conn']
    assert set(me['debug']) >= {'pid', 'seat', 'gateway'}
    assert me['debug']['pid'] in stack.serving()
    wallet = client.expect('wallet')['payload']
    assert wallet == {'balance': 500, 'held': 0, 'available': 500}


@pytest.mark.parametrize('role', ['client', 'advisor', 'admin'])
def test_every_role_may_sign_in(stack, role):
    person = stack.person(role)
    assert person.connect().me['role'] == role


def test_token_in_the_authorization_header(stack):
    person = stack.person()
    client = stack.connect(headers=[('Authorization',
                                     f'Bearer {person.token}')])
    assert client.hello()['user'] == person.id


def test_no_hello_in_time(stack):
    client = stack.connect()
    begin = time.monotonic()
    assert client.wait_close(timeout=8) == 4408
    assert time.monotonic() - begin > 1.5
    assert client.expect('bye')['payload']['code'] == 4408


def test_pings_do_not_put_the_hello_off(stack):
    client = stack.connect()
    until = time.monotonic() + 6 * SLOW
    while client.open and time.monotonic() < until:
        try:
            client.send_frame(9, b'x')
            client.send('ping')
        except OSError:
            break
        time.sleep(0.2)
    assert client.wait_close() == 4408


@pytest.mark.parametrize('kind', ['expired', 'signature', 'garbage', 'none',
                                  'empty', 'no such user', 'blocked'])
def test_a_token_that_is_no_good(stack, kind):
    person = stack.person()
    now = int(time.time())
    if kind == 'blocked':
        with stack.db() as db:
            db.execute('UPDATE identity.account SET blocked = true'
                       ' WHERE id = %s', (person.number,))
    token = {
        'expired': stack.jwt(person.number, 'client', iat=now - 99,
                             exp=now - 9),
        'signature': stack.jwt(person.number, 'client', key=b'x' * 64),
        'garbage': 'garbage',
        'none': stack.jwt(person.number, 'client', header={'alg': 'none'}),
        'empty': '',
        'no such user': stack.jwt(2 ** 50, 'client'),
        'blocked': person.token,
    }[kind]
    client = stack.connect()
    client.request('hello', {'token': token})
    assert client.wait_close() == (4403 if kind == 'blocked' else 4401)
    bye = client.expect('bye')['payload']
    assert (bye['code'], bye['action']) == (client.close_code, 'stop')


def test_hello_without_any_token(stack):
    client = stack.connect()
    client.request('hello', {})
    assert client.wait_close() == 4401


def test_hello_twice(stack):
    client = stack.person().connect()
    error = client.refused('hello', {'token': 'x'})
    assert error['code'] in ('bad_request', 'conflict')
    assert client.call('ping', {}) == {}


def test_nothing_before_hello(stack):
    client = stack.connect()
    for kind in ('chat_message', 'session_start', 'sync', 'presence_watch',
                 'signal_offer'):
        assert client.refused(kind, {})['code'] == 'unauthorized'
    assert client.hello(stack.person().token)


@pytest.mark.parametrize('payload', [
    {'pos': 'x'}, {'pos': [['c_1']]}, {'pos': [['c_1', -1]]},
    {'pos': [['u_1', 1]]}, {'pos': [['c_1', 2 ** 70]]}, {'pos': [[1, 1]]},
    {'pos': [['c_1', 1.5]]}, {'pos': [['c_1', '1']]}, {'pos': {}},
    {'device': 17}, {'device': 'x' * 1000}, {'token': 17}, {'token': None},
], ids=lambda p: str(p)[:40])
def test_malformed_hello(stack, payload):
    """An error, never a crash; who then says it right is let in."""
    person = stack.person()
    client = stack.connect()
    try:
        client.call('hello', {'token': person.token, **payload})
    except Refused as e:
        assert e.code in ('bad_request', 'unauthorized')
        if client.open and 'token' not in payload:
            assert client.hello(person.token)['user'] == person.id
    except AssertionError:
        assert client.wait_close() in (4400, 4401)


def test_a_position_in_a_conversation_of_others(stack):
    """Is as if it were not there: no event, no head, no error."""
    talk = Consultation(stack).active()
    talk.c.say(talk.conv, 'private')
    other = stack.person()
    client = stack.connect()
    me = client.hello(other.token, pos={talk.conv: 0, 'c_99999999': 3})
    assert me['convs'] == []
    client.quiet('chat_message', 0.3)
    with pytest.raises(Refused) as e:
        client.call('sync', {'conv': talk.conv, 'after': 0})
    assert e.value.code in ('not_participant', 'not_found')


def test_a_position_beyond_the_head(stack):
    talk = Consultation(stack).active()
    talk.c.say(talk.conv, 'one')
    client = stack.connect()
    client.hello(talk.client.token, pos={talk.conv: 999})
    client.quiet('chat_message', 0.3)
    assert client.call('ping', {}) == {}


@pytest.mark.parametrize('text, field', [
    ('', None), ('{', None), ('[]', None), ('17', None), ('"x"', None),
    ('null', None), ('{}', '/type'), ('{"type":17}', '/type'),
    ('{"type":null}', '/type'), ('{"type":"ping"}{}', None),
    ('{"type":"ping","payload":[]}', '/payload'),
    ('{"type":"ping","payload":"x"}', '/payload'),
    ('{"type":"ping","id":0}', '/id'), ('{"type":"ping","id":-1}', '/id'),
    ('{"type":"ping","id":1.5}', '/id'), ('{"type":"ping","id":"1"}', '/id'),
    ('{"type":"ping","id":1e3}', '/id'),
    ('{"type":"ping","id":99999999999999999999}', '/id'),
    ('{"type":"ping","type":"pong"}', None),
    ('{"type":"ping","x":"\\u0000"}', None),
    ('{"type":"ping","x":"\\ud800"}', None),
    ('{"type":"ping","x":' + '[' * 40 + ']' * 40 + '}', None),
    ('{"type":"ping","x":NaN}', None), ("{'type':'ping'}", None),
    ('{"type":"ping" "id":1}', None), ('{"type":"ping",}', None),
], ids=lambda v: repr(v)[:40])
def test_malformed_messages(stack, text, field):
    """Answered without an id; the connection stays."""
    client = stack.person().connect()
    client.send_text(text)
    error = client.expect('reply')['error']
    assert error['code'] == 'bad_request'
    assert error['retry'] is False and error['message']
    assert error.get('field') == field
    assert client.call('ping', {}) == {}


def test_unknown_type(stack):
    client = stack.person().connect()
    for kind in ('nothing', '', 'chat_messagex', 'chat_messag', 'PING',
                 'reply', 'session_incoming', '__proto__', 'x' * 3000):
        assert client.refused(kind, {})['code'] == 'unknown_type'


def test_unknown_fields_are_ignored(stack):
    client = stack.person().connect()
    assert client.call('ping', {'x': [1, {'y': None}]}, more={'z': 1}) == {}


def test_ping_without_an_id(stack):
    client = stack.person().connect()
    client.send('ping')
    client.expect('pong')


def test_two_devices_of_one_person(stack):
    person = stack.person()
    one = person.connect()
    person.device = str(uuid.uuid4())
    two = person.connect(away_from=one.worker)
    for client in (one, two):
        assert client.call('ping', {}) == {}
    two.close()
    assert one.call('ping', {}) == {}


@pytest.fixture(scope='module')
def heartbeat():
    from astro.stack import Stack
    stack = Stack(settings={'astro_ping_interval': '1s',
                            'astro_pong_timeout': f'{int(SLOW)}s'})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def beating(heartbeat):
    from astro.fixtures import watch
    yield from watch(heartbeat)


def test_heartbeat(beating):
    """Both pings come, and who answers stays."""
    client = beating.person().connect()
    eventually(lambda: client.pings >= 3, 10, 'three pings')
    assert client.open


def test_silence_is_4510(beating):
    person = beating.person()
    client = beating.connect(auto_pong=False)
    client.answer_pings = False
    client.hello(person.token)
    begin = time.monotonic()
    client.wait(lambda: client.close_code, 12, 'the close')
    assert client.close_code == 4510
    assert time.monotonic() - begin > 1.5
    bye = client.expect('bye')['payload']
    assert (bye['code'], bye['action']) == (4510, 'reconnect') \
        or bye['action'] == 'resume'


def test_pings_carry_the_heads(beating):
    talk = Consultation(beating).active()
    seq = talk.c.say(talk.conv, 'x')['seq']
    talk.c.forget()
    ping = talk.c.expect('ping', lambda m: m.get('heads'), 10)
    assert json.dumps(ping['heads'])
    heads = ping['heads']
    heads = heads.items() if isinstance(heads, dict) else heads
    assert (talk.conv, seq) in [tuple(h) for h in heads]
