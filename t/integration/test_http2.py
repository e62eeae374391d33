"""The same over HTTP/2, which a server that is there already mostly speaks: REST
and what is served beside it; a WebSocket is asked for by HTTP/1.1."""

import json
import re
import subprocess
import uuid

import pytest

from astro.ws import SLOW


@pytest.fixture
def h2(stack):
    """h2(path, *options): what curl said, as {code, version, body}"""
    def ask(path, *options, body=None):
        done = subprocess.run(
            ['curl', '-sS', '--http2', '--cacert', f'{stack.var}/tls/cert.pem',
             '-m', str(20 * SLOW), '-w', '\n%{http_version} %{http_code}',
             *(['--data-binary', '@-', '-H', 'Content-Type: application/json']
               if body is not None else []),
             *options, f'https://localhost:{stack.port}{path}'],
            input=body, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        said, _, last = done.stdout.rpartition(b'\n')
        version, code = last.decode().split()
        assert version == '2'
        return int(code), said
    return ask


def bearer(person):
    return '-H', f'Authorization: Bearer {person.token}'


def test_rest(stack, h2):
    who = {'email': f'{uuid.uuid4().hex}@test.test', 'name': 'Streams',
           'password': uuid.uuid4().hex}
    code, said = h2('/api/auth/register', body=json.dumps(who).encode())
    assert code == 201, said
    code, said = h2('/api/auth/login', body=json.dumps(who).encode())
    assert code == 200, said
    token = json.loads(said)['token']
    code, said = h2('/api/me', '-H', f'Authorization: Bearer {token}')
    assert (code, json.loads(said)) == (200, stack.rest.get('/api/me',
                                                            token).json)
    assert h2('/')[0] == 200
    code, said = h2('/api/nothing', '-H', f'Authorization: Bearer {token}')
    assert (code, json.loads(said)['code']) == (404, 'not_found')


@pytest.mark.parametrize('size', [16385, 65536, 70000])
def test_a_body_too_large(stack, h2, size):
    code, said = h2('/api/payments', *bearer(stack.person()),
                    body=b'x' * size)
    assert (code, json.loads(said)['code']) == (413, 'too_large')


def test_no_websocket_by_it(stack, h2):
    """RFC 8441 is not nginx's: a browser asks by HTTP/1.1."""
    assert h2('/ws')[0] == 400


def test_many_streams_of_one_connection(stack):
    """Each has an answer of its own, in whatever order."""
    people = [stack.person() for _ in range(4)]
    config = 'next\n'.join(
        f'url = "https://localhost:{stack.port}/api/me?n={n}"\n'
        f'cacert = "{stack.var}/tls/cert.pem"\n'
        f'header = "Authorization: Bearer {people[n % 4].token}"\n'
        'http2\n' for n in range(100))
    done = subprocess.run(
        ['curl', '-sS', '--parallel', '--parallel-max', '100', '-m',
         str(30 * SLOW), '-K', '-'], input=config.encode(),
        capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    ids = re.findall('"id":"(u_[0-9]+)"', done.stdout.decode())
    assert sorted(ids) == sorted(p.id for p in people for _ in range(25))
