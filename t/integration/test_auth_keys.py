"""Tokens and keys: npm jose as the other side, keys changed by a reload."""

import base64
import json
import os
import subprocess
import tempfile
import time
import uuid

import pytest

from astro.fixtures import watch
from astro.stack import Stack, eventually
from astro.ws import REPO

PEERS = os.path.join(REPO, 'build', 'test-peers', 'node_modules')
PASSWORD = 'correct horse battery'

needs_jose = pytest.mark.skipif(
    not os.path.isdir(os.path.join(PEERS, 'jose')),
    reason='no npm jose: scripts/setup.sh test')


def jose(**asked):
    done = subprocess.run(
        ['node', os.path.join(REPO, 't/integration/peers/jose.js')],
        input=json.dumps(asked), text=True, timeout=60,
        env={**os.environ, 'NODE_PATH': PEERS}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def b64(octets):
    return base64.urlsafe_b64encode(octets).rstrip(b'=').decode()


def claims(number, role='client', drop=(), **changes):
    now = int(time.time())
    whole = {'iss': 'astro', 'aud': 'astro', 'sub': f'u_{number}',
             'role': role, 'iat': now, 'exp': now + 600, **changes}
    return {k: v for k, v in whole.items() if k not in drop}


def header_of(token):
    part = token.split('.')[0]
    return json.loads(base64.urlsafe_b64decode(part + '=' * (-len(part) % 4)))


def register(stack):
    """(email, id) of a new client with a password."""
    email = f'{uuid.uuid4().hex[:12]}@test.test'
    answer = stack.rest.post('/api/auth/register', {
        'email': email, 'password': PASSWORD, 'name': 'K'})
    assert answer.status == 201, answer
    return email, int(answer.json['id'][2:])


# -- A2 --------------------------------------------------------------------

@needs_jose
def test_a2_tokens_of_jose_are_judged_as_rfc_7519_wants(stack):
    person = stack.person()
    now = int(time.time())
    ours = {'kty': 'oct', 'k': b64(stack.key)}
    wrong = {'kty': 'oct', 'k': b64(b'w' * 32)}
    rsa = {k: v for k, v in jose(do='keys')[1].items() if k != 'alg'}

    def token(jwk=ours, alg='HS256', drop=(), header=None, kid=None,
              **changes):
        return {'alg': alg, 'jwk': jwk, 'kid': kid, 'header': header or {},
                'claims': claims(person.number, drop=drop, **changes)}

    good = [token(), token(aud=['x', 'astro']), token(nbf=now),
            token(kid='whatever'), token(nbf=now + 3)]
    bad = {
        'none': token(alg='none'),
        'another key': token(wrong),
        'another algorithm': token({'kty': 'oct', 'k': b64(stack.key)},
                                   'HS512'),
        'RS256': token(rsa, 'RS256'),
        'not yet': token(nbf=now + 60),
        'issued later': token(iat=now + 60),
        'no exp': token(drop=('exp',)),
        'issuer': token(iss='https://astro'),
        'no issuer': token(drop=('iss',)),
        'audience': token(aud='other'),
        'no audience': token(drop=('aud',)),
        'exp as text': token(exp=str(now + 60)),
        'a role of its own': token(role='root'),
        'crit': {**token(header={'crit': ['exp'], 'exp': now + 60}),
                 'crit': {'exp': True}},
    }
    expired = token(exp=now - 1)
    made = jose(do='sign', tokens=[*good, *bad.values(), expired])

    for text in made[:len(good)]:
        assert stack.rest.get('/api/me', text).status == 200, text
    for name, text in zip(bad, made[len(good):]):
        answer = stack.rest.get('/api/me', text)
        assert (answer.status, answer.code) == (401, 'unauthorized'), name
    answer = stack.rest.get('/api/me', made[-1])
    assert (answer.status, answer.code) == (401, 'token_expired')


@needs_jose
def test_a2_jose_accepts_ours(stack):
    email, number = register(stack)
    token = stack.rest.login(email, PASSWORD)
    found = jose(do='verify', token=token, iss='astro', aud='astro',
                 jwk={'kty': 'oct', 'k': b64(stack.key), 'alg': 'HS256'})
    assert found['header'] == {'alg': 'HS256', 'typ': 'JWT'}
    assert found['claims']['sub'] == f'u_{number}'
    assert found['claims']['exp'] > found['claims']['iat']


def test_a2_a_token_that_was_good_is_not_good_for_ever(stack):
    """Verified tokens are remembered, until they expire."""
    person = stack.person()
    token = stack.jwt(person.number, 'client', ttl=2)
    # on both workers, so that both remember it
    for _ in range(8):
        assert stack.rest.get('/api/me', token).status == 200
    eventually(lambda: stack.rest.get('/api/me', token).code
               == 'token_expired', 6)
    for _ in range(8):
        assert stack.rest.get('/api/me', token).code == 'token_expired'
    # one octet more or less is another token
    good = stack.jwt(person.number, 'client')
    assert stack.rest.get('/api/me', good).status == 200
    for other in (good[:-1], good + 'A', good[:-2] + 'AA'):
        assert stack.rest.get('/api/me', other).status == 401


# -- A9 --------------------------------------------------------------------

@pytest.fixture(scope='module')
def keyed():
    """A stack with keys of all kinds; stack.jwks(keys) writes the file."""
    with tempfile.TemporaryDirectory(prefix='astro-keys-') as folder:
        os.chmod(folder, 0o755)
        path = f'{folder}/jwks.json'

        def write(keys):
            with open(f'{path}.new', 'w', encoding='ascii') as f:
                json.dump({'keys': keys}, f)
            os.chmod(f'{path}.new', 0o600)
            os.rename(f'{path}.new', path)

        made = jose(do='keys')
        write([dict(made[2], kid='first')])
        stack = Stack(settings={'astro_jwt_keys': path})
        stack.jwks, stack.made = write, made
        try:
            yield stack.up()
        finally:
            stack.down()


@needs_jose
def test_a9_keys_are_changed_without_a_restart(keyed):
    ec, rsa, first = keyed.made
    for _ in watch(keyed):
        email, number = register(keyed)
        master = keyed.pid('nginx')
        before = keyed.rest.login(email, PASSWORD)
        assert header_of(before) == {'alg': 'HS256', 'typ': 'JWT',
                                     'kid': 'first'}

        first = dict(first, kid='first')
        tokens = [before]
        for new, old in ((dict(ec, kid='second'), [first]),
                         (dict(rsa, kid='third'),
                          [dict(ec, kid='second'), first])):
            keyed.jwks([new, *old])
            keyed.reload()
            token = keyed.rest.login(email, PASSWORD)
            assert header_of(token) == {'alg': new['alg'], 'typ': 'JWT',
                                        'kid': new['kid']}
            found = jose(do='verify', token=token, iss='astro', aud='astro',
                         jwk=new)
            assert found['claims']['sub'] == f'u_{number}'
            tokens.append(token)
            for good in tokens:
                assert keyed.rest.get('/api/me', good).status == 200
                client = keyed.connect()
                client.hello(good)
                client.close()

        # what the plain secret signed is good, too: it only verifies
        assert keyed.rest.get('/api/me', keyed.jwt(number, 'client')
                              ).status == 200

        # taken out: refused, though it was remembered by workers of before
        keyed.jwks([dict(rsa, kid='third')])
        keyed.reload()
        assert [keyed.rest.get('/api/me', t).status for t in tokens] \
            == [401, 401, 200]

        # a file that is wrong is refused by reload, and all goes on
        keyed.expected.append(r'"astro_jwt_keys".*same "kid"')
        keyed.jwks([dict(rsa, kid='third'), dict(ec, kid='third')])
        serving = keyed.serving()
        keyed.script('reload', check=False)
        assert keyed.rest.get('/api/me', tokens[2]).status == 200
        assert keyed.serving() == serving
        assert keyed.pid('nginx') == master
        keyed.jwks([dict(rsa, kid='third')])

        log = keyed.log()
        assert not any(k['d'] in log for k in (rsa, ec))
