"""Tokens of other issuers: their keys from a file, or fetched through a location
of this nginx, from an issuer of ours that can be slow, wrong and down."""

import http.server
import json
import os
import tempfile
import threading
import time
import uuid

import pytest

from astro.client import Refused
from astro.fixtures import watch
from astro.stack import Stack, eventually, free_ports
from test_auth_keys import b64, jose, needs_jose

pytestmark = needs_jose

CLERK = 'https://clerk.test'
SUPABASE = 'https://project.supabase.test/auth/v1'
FIREBASE = 'https://securetoken.test/project'
REFRESH = 1         # s; a minute where it is not said


class Issuer:
    """Serves whatever it is told to, and counts."""

    def __init__(self):
        self.answer, self.delay, self.asked = None, 0, 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                time.sleep(issuer.delay)
                status, body = issuer.answer
                self.send_response(status)
                self.send_header('Content-Type', 'application/json')
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(('127.0.0.1', 0),
                                                      Handler)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever,
                         daemon=True).start()

    def keys(self, *jwks, status=200):
        public = [{k: v for k, v in jwk.items()
                   if k not in ('d', 'p', 'q', 'dp', 'dq', 'qi')}
                  for jwk in jwks]
        self.answer = status, json.dumps({'keys': public}).encode()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


def pair(kind, kid):
    """A private JWK: 0 ES256, 1 RS256, 2 HS256."""
    return {**jose(do='keys')[kind], 'kid': kid}


def claims(iss, drop=(), **changes):
    now = int(time.time())
    whole = {'iss': iss, 'aud': 'app', 'sub': f'user_{uuid.uuid4().hex}',
             'iat': now, 'exp': now + 600, **changes}
    return {k: v for k, v in whole.items() if k not in drop}


def token(jwk, iss, alg=None, header=None, kid='', drop=(), crit=None,
          **changes):
    return {'alg': alg or jwk['alg'],
            'jwk': {k: v for k, v in jwk.items() if k not in ('kid', 'alg')},
            'kid': jwk.get('kid') if kid == '' else kid,
            'header': header or {}, 'crit': crit,
            'claims': claims(iss, drop, **changes)}


def made(*tokens):
    return jose(do='sign', tokens=list(tokens))


@pytest.fixture(scope='module')
def world():
    class World:
        pass

    world = World()
    world.issuer, world.direct = Issuer(), Issuer()
    world.rsa = pair(1, 'one')
    world.secret = {'kty': 'oct', 'kid': 'hs', 'alg': 'HS256',
                    'k': b64(os.urandom(32))}
    world.es = pair(0, 'es')
    world.issuer.keys(world.rsa)
    world.direct.answer = 503, b'down'

    with tempfile.TemporaryDirectory(prefix='astro-iss-') as folder:
        os.chmod(folder, 0o755)
        port, = free_ports(1)
        with open(f'{folder}/supabase.json', 'w', encoding='ascii') as f:
            json.dump({'keys': [world.secret, {
                k: v for k, v in world.es.items() if k != 'd'}]}, f)
        os.chmod(f'{folder}/supabase.json', 0o600)
        with open(f'{folder}/more.conf', 'w', encoding='ascii') as f:
            f.write(f'''
astro_issuer {SUPABASE} audience=authenticated keys={folder}/supabase.json;
astro_issuer {FIREBASE} audience=app
             fetch=http://127.0.0.1:{world.direct.port}/keys;
proxy_cache_path {folder}/cache keys_zone=keys:1m;
server {{
    listen 127.0.0.1:{port};
    location /clerk {{
        proxy_pass http://127.0.0.1:{world.issuer.port}/jwks;
        proxy_cache keys;
        proxy_cache_valid 200 1s;
        proxy_cache_lock on;
        proxy_cache_use_stale error timeout updating http_500;
    }}
}}
''')
        stack = Stack({'astro_issuer': f'{CLERK} audience=app'
                       f' fetch=http://127.0.0.1:{port}/clerk'
                       f' refresh={REFRESH}s; include {folder}/more.conf',
                       # whoever waits for keys has not signed in yet
                       'astro_hello_timeout': '20s'})
        world.stack = stack
        try:
            stack.up()
            yield world
        finally:
            stack.down()
            world.issuer.close()
            world.direct.close()


@pytest.fixture
def stack(world):
    world.issuer.keys(world.rsa)
    world.issuer.delay = 0
    yield from watch(world.stack)


def me(stack, text):
    return stack.rest.get('/api/me', text)


def both(stack, text):
    """What each of the workers says, asked often enough to meet both."""
    return {(a.status, a.code if a.status != 200 else None)
            for a in (me(stack, text) for _ in range(8))}


def test_a3_on_first_sight_a_client_and_the_same_one_ever_after(stack, world):
    sub = f'user_{uuid.uuid4().hex}'
    email = f'{uuid.uuid4().hex[:12]}@Clerk.test'
    who = {'sub': sub, 'email': email, 'email_verified': True, 'name': 'Zoë'}
    first, second, other = made(
        token(world.rsa, CLERK, **who),
        token(world.rsa, CLERK, **{**who, 'email': 'else@test.test'},
              iat=int(time.time()) - 5),
        token(world.rsa, CLERK, name=None, email='x', email_verified=True))
    account = me(stack, first)
    assert account.status == 200, account
    assert (account.json['role'], account.json['name']) == ('client', 'Zoë')
    assert account.json['email'] == email.lower()
    assert me(stack, second).json['id'] == account.json['id']
    assert me(stack, other).json['id'] != account.json['id']
    assert stack.rest.get('/api/wallet', first).json['balance']['amount'] == 0

    # without a password there is none to guess
    for password in ('', 'x'):
        answer = stack.rest.post('/api/auth/login', {
            'email': email, 'password': password})
        assert answer.status in (400, 401)

    # and logout ends this token alone
    assert stack.rest.post('/api/auth/logout', {}, first).status == 200
    eventually(lambda: both(stack, first) == {(401, 'unauthorized')}, 5)
    assert both(stack, second) == {(200, None)}


def test_m3_a_token_of_now_is_enough_to_be_forgotten(stack, world):
    """Who has no login here shows that he has signed in there just now."""
    who = {'sub': f'user_{uuid.uuid4().hex}'}
    now = int(time.time())
    old, renewed, silent, fresh, again = made(
        token(world.rsa, CLERK, iat=now - 700, **who),
        token(world.rsa, CLERK, auth_time=now - 700, **who),
        token(world.rsa, CLERK, drop=('iat',), **who),
        token(world.rsa, CLERK, auth_time=now - 5, **who),
        token(world.rsa, CLERK, iat=now + 2, **who))
    mine = me(stack, fresh).json['id']
    for text in (old, renewed, silent):
        answer = stack.rest.post('/api/me/erase', None, text)
        assert (answer.status, answer.code) == (403, 'forbidden')
    assert stack.rest.post('/api/me/erase', None, fresh).status == 202
    eventually(lambda: both(stack, fresh) == {(401, 'unauthorized')}, 5)
    # who comes again is somebody new
    assert me(stack, again).json['id'] != mine


def test_a3_an_address_in_a_token_opens_nobodys_account(stack, world):
    person = stack.person()
    texts = made(*(token(world.rsa, CLERK, email=person.email,
                         email_verified=v) for v in (True, False)))
    for text in texts:
        account = me(stack, text).json
        assert account['id'] != f'u_{person.number}'
        assert account['email'].endswith('@outside.invalid')


def test_a3_each_way_to_be_wrong(stack, world):
    now = int(time.time())
    good = {
        'RS256': token(world.rsa, CLERK),
        'HS256': token(world.secret, SUPABASE, aud='authenticated'),
        'ES256': token(world.es, SUPABASE, aud=['x', 'authenticated']),
        'a little early': token(world.rsa, CLERK, nbf=now + 20),
        'a little late': token(world.rsa, CLERK, exp=now - 10),
        'no kid': token(world.rsa, CLERK, kid=None),
    }
    public = {'kty': 'oct', 'k': b64(json.dumps(
        {k: world.rsa[k] for k in ('kty', 'n', 'e')}).encode())}
    stranger = pair(1, 'one')
    bad = {
        'none': token(world.rsa, CLERK, alg='none'),
        'HS256 with the public key': token({**public, 'kid': 'one',
                                            'alg': 'HS256'}, CLERK),
        'HS256 under the kid of another kind': token(
            {**world.secret, 'kid': 'es'}, SUPABASE, aud='authenticated'),
        'crit': token(world.rsa, CLERK, header={'crit': ['exp'],
                                                'exp': now + 60},
                      crit={'exp': True}),
        'another key': token(stranger, CLERK),
        'of one issuer for another': token(world.secret, CLERK),
        'the audience': token(world.rsa, CLERK, aud='other'),
        'no audience': token(world.rsa, CLERK, drop=('aud',)),
        'an issuer nobody knows': token(world.rsa, 'https://evil.test'),
        'the issuer and a slash': token(world.rsa, CLERK + '/'),
        'ours by their key': token(world.rsa, 'astro', aud='astro',
                                   sub='u_1', role='admin'),
        'no sub': token(world.rsa, CLERK, drop=('sub',)),
        'no exp': token(world.rsa, CLERK, drop=('exp',)),
        'too early': token(world.rsa, CLERK, nbf=now + 90),
        'issued later': token(world.rsa, CLERK, iat=now + 90),
    }
    texts = made(*good.values(), *bad.values(),
                 token(world.rsa, CLERK, exp=now - 60))
    for name, text in zip(good, texts):
        assert me(stack, text).status == 200, name
    for name, text in zip(bad, texts[len(good):]):
        answer = me(stack, text)
        assert (answer.status, answer.code) == (401, 'unauthorized'), name
        with pytest.raises(Refused):
            stack.connect().hello(text)
    answer = me(stack, texts[-1])
    assert (answer.status, answer.code) == (401, 'token_expired')


def test_a3_keys_come_and_go_without_a_reload(stack, world):
    old, new = world.rsa, pair(1, 'two')
    before, after = made(token(old, CLERK), token(new, CLERK))
    assert both(stack, before) == {(200, None)}
    assert me(stack, after).status == 401
    world.issuer.keys(old, new)
    eventually(lambda: both(stack, after) == {(200, None)}, 10)
    assert both(stack, before) == {(200, None)}
    client = stack.connect()
    client.hello(after)

    world.issuer.keys(new)
    eventually(lambda: both(stack, before) == {(401, 'unauthorized')}, 10)
    assert both(stack, after) == {(200, None)}
    with pytest.raises(Refused):
        stack.connect().hello(before)

    # what comes instead is no set of keys, or nothing comes: the last was good
    n = stack.metrics()['astro_key_fetches_failed_total']
    for answer in ((200, b'<html>'), (200, b'{"keys":[]}')):
        world.issuer.answer = answer
        asked = world.issuer.asked
        eventually(lambda: both(stack, after) == {(200, None)}
                   and world.issuer.asked > asked, 10)
    eventually(lambda: both(stack, after) == {(200, None)} and stack.metrics()
               ['astro_key_fetches_failed_total'] > n, 10)
    world.issuer.keys(old)
    eventually(lambda: both(stack, before) == {(200, None)}, 10)


def test_a3_an_unknown_key_is_asked_for_once(stack, world):
    """However many tokens name one that nobody knows, and through the cache."""
    texts = made(*(token({**world.rsa, 'kid': f'unknown{n}'}, CLERK)
                   for n in range(24)))
    known, = made(token(world.rsa, CLERK))
    assert both(stack, known) == {(200, None)}
    fetched = stack.metrics()['astro_key_fetches_total']
    asked, began = world.issuer.asked, time.monotonic()
    found = []
    threads = [threading.Thread(target=lambda t=t: found.append(
        me(stack, t).status)) for t in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [401] * 24
    most = 1 + (time.monotonic() - began) // REFRESH
    assert stack.metrics()['astro_key_fetches_total'] - fetched <= 2 * most
    assert world.issuer.asked - asked <= most


def test_a3_those_who_wait_wait_together(stack, world):
    """REST and WebSockets, while the first set is being fetched; and whoever
    goes away meanwhile is missed by nobody."""
    key = pair(1, 'fire')
    texts = made(*(token(key, FIREBASE) for _ in range(8)))

    # it was never there: nobody can say what the tokens are worth
    answer = me(stack, texts[0])
    assert (answer.status, answer.code) == (503, 'unavailable'), answer
    assert int(answer.headers['Retry-After']) >= 1

    time.sleep(2.1)     # so long it is not asked again
    world.direct.keys(key)
    world.direct.delay, asked = 1, world.direct.asked
    gone = stack.connect()
    gone.send('hello', {'token': texts[7], 'device': str(uuid.uuid4())}, id=1)
    found = []
    clients = [stack.connect() for _ in range(3)]
    threads = [threading.Thread(target=lambda t=t: found.append(
        me(stack, t).status)) for t in texts[:4]]
    threads += [threading.Thread(target=c.hello, args=(t,))
                for c, t in zip(clients, texts[4:7])]
    for thread in threads:
        thread.start()
    gone.drop()
    for thread in threads:
        thread.join()
    assert found == [200] * 4
    assert world.direct.asked - asked <= 2      # one for each worker
    assert len({client.me['user'] for client in clients}) == 3
    world.direct.delay = 0


def test_a3_a_socket_goes_on_with_the_next_token(stack, world):
    sub = f'user_{uuid.uuid4().hex}'
    first, second, other = made(
        token(world.rsa, CLERK, sub=sub), token(world.rsa, CLERK, sub=sub,
                                                exp=int(time.time()) + 900),
        token(world.rsa, CLERK))
    client = stack.connect()
    client.hello(first)
    assert client.call('auth_refresh', {'token': second})['token_exp'] \
        > time.time() + 890
    with pytest.raises(Refused) as refused:
        client.call('auth_refresh', {'token': other})
    assert refused.value.code == 'forbidden'
    with pytest.raises(Refused) as refused:
        client.call('auth_refresh', {'token': second[:-2] + 'AA'})
    assert refused.value.code == 'unauthorized'


def test_a3_blocked_here_whatever_the_issuer_says(stack, world):
    text, again = made(*(token(world.rsa, CLERK, sub='blocked', iat=i)
                         for i in (int(time.time()), int(time.time()) - 9)))
    account = me(stack, text).json['id']
    with stack.db() as db:
        db.execute('UPDATE identity.account SET blocked = true WHERE id = %s',
                   (int(account[2:]),))
    assert both(stack, again) == {(401, 'unauthorized')}


def test_a3_a_reload_keeps_nobody_out(stack, world):
    text, = made(token(world.rsa, CLERK))
    assert both(stack, text) == {(200, None)}
    stack.reload()
    assert both(stack, text) == {(200, None)}
