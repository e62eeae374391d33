"""Every route, as everybody, and with everything that is wrong.

Nothing here knows of a single route: what is asked follows from the table and
the OpenAPI document.
"""

import copy
import http.client
import json
import re
import socket
import uuid
import uuid

import pytest

from astro.consult import Consultation
from astro.routes import ROUTES, called
from astro.schema import check_answer, operation, resolve

ROLES = ('client', 'advisor', 'admin')
SECRET = 'a secret of the two'


class Asker:
    """One connection; answers are checked as all are."""

    def __init__(self, stack):
        self.stack = stack
        self.connection = None

    def __call__(self, method, path, body=None, token=None, headers=(),
                 tricky=False):
        """tricky: nginx may make another path of it, or refuse it itself"""
        send = dict(headers)
        if token:
            send['Authorization'] = f'Bearer {token}'
        if body is not None:
            send.setdefault('Content-Type', 'application/json')
        for again in (False, True):
            if self.connection is None:
                self.connection = http.client.HTTPConnection(
                    '127.0.0.1', self.stack.plain_port, timeout=30)
            try:
                self.connection.request(method, path, body=body, headers=send)
                answer = self.connection.getresponse()
                said = answer.read()
                break
            except (http.client.HTTPException, ConnectionError):
                self.close()
                if again:
                    raise
        if answer.will_close:
            self.close()
        kind = answer.headers.get_content_type()
        where = (method, path[:200], body and body[:200], answer.status, said)
        assert answer.status < 500, where
        if tricky and answer.status >= 400 and kind == 'text/html':
            return answer.status, None, said
        error = not tricky and check_answer(method, path, answer.status, kind,
                                            said)
        assert not error, (error, where)
        doc = None
        if answer.status >= 400:
            assert kind == 'application/problem+json', where
            doc = json.loads(said)
            assert doc['code'] and doc['detail'], where
            if doc['code'] == 'bad_request' and 'webhook' not in path:
                assert doc['errors'], where
        return answer.status, doc and doc['code'], said

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None


@pytest.fixture
def ask(stack):
    asker = Asker(stack)
    yield asker
    asker.close()


@pytest.fixture(scope='module', autouse=True)
def as_it_was_set(shared):
    """What is set for all, by good bodies of admins, is set back."""
    one = ('consult.booking_option', 'consult.chat_option',
           'consult.dispute_option', 'ledger.tariff')
    with shared.db() as db:
        last, = db.execute('SELECT coalesce(max(id), 0) FROM consult.term'
                           ).fetchone()
        for table in one:
            db.execute(f'CREATE TEMP TABLE "{table}" AS TABLE {table}')
        yield
        db.execute('DELETE FROM consult.term WHERE id > %s', (last,))
        for table in one:
            db.execute(f'DELETE FROM {table}')
            db.execute(f'INSERT INTO {table} TABLE pg_temp."{table}"')


@pytest.fixture(scope='module')
def talks():
    """A consultation, made when it is first needed, for all of the file."""
    return {}


@pytest.fixture
def talk(stack, talks):
    if 'talk' not in talks:
        talk = Consultation(stack).active()
        talk.c.say(talk.conv, SECRET)
        talk.end()
        for who, path, body in (
                (talk.client, '/api/me/profile',
                 {'birth': {'date': '1990-01-31', 'place': SECRET}}),
                (talk.advisor, f'/api/advisors/me/clients/{talk.client.id}'
                 '/note', {'text': SECRET})):
            done = stack.rest.call('PUT', path, body, who.token)
            assert done.status == 200, done
        # whom admins change, block and sign out
        talk.victim = stack.person()
        talks['talk'] = talk
    return talks['talk']


def path_of(route, talk):
    ids = {'u': talk.advisor.id, 's': talk.id, 'c': talk.conv}
    if '/admin/users/' in route.path:
        ids['u'] = talk.victim.id
    return re.sub(r'\{(\w)\}', lambda m: ids.get(m[1], f'{m[1]}_1'),
                  route.path)


def example(route, talk=None):
    """A body that the document says is good, or None; about these two."""
    if route.body not in ('JSON', 'OPT'):
        return None
    if talk:
        ids = {'u': talk.advisor.id, 's': talk.id, 'c': talk.conv}
        return json.loads(re.sub(r'"([usc])_\d+"',
                                 lambda m: f'"{ids[m[1]]}"',
                                 json.dumps(example(route))))
    said = operation(route.method, re.sub(r'\{\w\}', 'x_1', route.path))
    content = said['requestBody']['content']['application/json']
    if 'example' in content:
        return content['example']
    return next(iter(content['examples'].values()))['value']


def schema(route):
    said = operation(route.method, re.sub(r'\{\w\}', 'x_1', route.path))
    content = said['requestBody']['content']['application/json']
    return resolve(content['schema'])


OPEN = [r for r in ROUTES if not r.roles]
CLOSED = [r for r in ROUTES if r.roles]


@pytest.mark.parametrize('route', CLOSED, ids=called)
def test_a5_who_may(stack, ask, talk, route):
    path = path_of(route, talk)
    body = example(route, talk)
    text = None if body is None else json.dumps(body)
    theirs = re.search(r'"[sc]_\d+"', text or '') \
        or re.search(r'\{[sc]\}', route.path)

    # nobody, and a token that is none
    for token in (None, 'x.y.z', stack.jwt(1, 'admin', key=b'k' * 64)):
        assert ask(route.method, path, text, token)[:2] \
            == (401, 'unauthorized')

    for role in ROLES:
        # somebody who has no part in what is asked about
        other = stack.person(role)
        status, code, said = ask(route.method, path, text, other.token)
        if role not in route.roles:
            assert (status, code) == (403, 'forbidden'), said
            continue
        assert status != 401, said
        assert SECRET.encode() not in said
        if theirs and role != 'admin':
            assert code in ('not_found', 'not_participant', 'forbidden',
                            'bad_request'), said
            if route.method == 'GET':
                assert (status, code) == (404, 'not_found'), said


@pytest.mark.parametrize('route', [
    r for r in CLOSED if r.method == 'GET'
    and re.search(r'\{[sc]\}(?!/(review|dispute))', r.path)], ids=called)
def test_a5_owners_may(ask, talk, route):
    """What others are told is not there is there for the two of them (a
    review is for all, once there is one)."""
    for party in (talk.client, talk.advisor):
        if party.role in route.roles:
            status, _, said = ask('GET', path_of(route, talk), None,
                                  party.token)
            assert status == 200, said


@pytest.mark.parametrize('route', OPEN, ids=called)
def test_a5_without_a_token(ask, talk, route):
    body = example(route)
    status, code, _ = ask(route.method, path_of(route, talk),
                          None if body is None else json.dumps(body))
    assert code not in ('forbidden', 'not_found') or route.body == 'RAW'


@pytest.mark.parametrize('route', [r for r in CLOSED if r.method != 'GET'],
                         ids=called)
def test_a10_any_route_is_asked_with_a_key(stack, ask, talk, route):
    body = example(route)
    text = None if body is None else json.dumps(body)
    who = stack.person(sorted(route.roles)[-1]).token
    key = {'Idempotency-Key': str(uuid.uuid4())}
    status, code, said = ask(route.method, path_of(route, talk), text, who,
                             headers=key)
    assert status not in (401, 403) or code == 'forbidden', said
    again = ask(route.method, path_of(route, talk), text, who, headers=key)
    assert again[0] in (status, 401), again
    if status < 300 and again[0] == status and route.handler is None:
        assert again[2] == said


RAW = [
    b'', b'{', b'[]', b'null', b'"x"', b'1', b'{}{}', b'{"a":NaN}',
    b'{"a":Infinity}', b'{"a":1,"a":2}', b'{"a":{"b":1,"b":2}}', b'{a:1}',
    b'{"a":"\xff"}', b'{"a":"\xed\xa0\x80"}', b'{"a":"\\u0000"}',
    b'{"a":"\\ud800"}', b'{"a":"\x00"}', b'{"a":01}', b"{'a':1}",
    b'{"a":' * 17 + b'1' + b'}' * 17, b'[' * 9000, b'\xef\xbb\xbf{}',
]

VALUES = [
    None, True, False, 0, -1, 1, 1.5, 10 ** 18, -10 ** 18, 10 ** 40, 1e308,
    '', ' ', 'x', 'x' * 300, 'é' * 5000, '\u202e\ufeff\U0001f600', "';--",
    '-1', 'NaN', '2024-02-30', '0000-00-00T00:00:00Z', 'u_0', 'u_99999999',
    [], [None], ['x'] * 200, [[[[1]]]], {}, {'a': {'a': 1}}, {'amount': -1},
]


def bodies(route):
    """Bodies that are wrong somewhere, or might be."""
    good = example(route)
    names = set(good) | set(schema(route).get('properties', {}))
    yield {}
    yield {**good, 'nobody_reads_this': VALUES[-3]}
    for name in sorted(names):
        yield {k: v for k, v in good.items() if k != name}
        for value in VALUES:
            yield {**good, name: value}
        inner = good.get(name)
        if isinstance(inner, (dict, list)) and inner:
            for key in inner if isinstance(inner, dict) else range(len(inner)):
                for value in VALUES[::3]:
                    doc = copy.deepcopy(good)
                    doc[name][key] = value
                    yield doc


@pytest.mark.parametrize('route', [r for r in ROUTES
                                   if r.body in ('JSON', 'OPT')], ids=called)
def test_a10_bodies(stack, ask, talk, route):
    path = path_of(route, talk)
    who = stack.person(sorted(route.roles)[-1]).token if route.roles else None
    assert ask(route.method, path, b'{"a":"' + b'x' * 16384 + b'"}', who)[:2] \
        == (413, 'too_large')
    for raw in RAW:
        if raw == b'' and route.body == 'OPT':
            continue
        status, code, said = ask(route.method, path, raw, who)
        if status == 401 and who:
            who = stack.person(sorted(route.roles)[-1]).token
            status, code, said = ask(route.method, path, raw, who)
        assert (status, code) == (400, 'bad_request'), (raw[:60], said)
    if 'h' in route.params or route.function in ('credentials', 'register'):
        return                          # a hash each: test_http has those
    for doc in bodies(route):
        text = json.dumps(doc)
        if len(text) > 16384:
            text = text[:16384]
        if ask(route.method, path, text, who)[0] == 401 and who:
            who = stack.person(sorted(route.roles)[-1]).token


TRICKS = ['..', '%2e%2e', '%2e%2e%2fme', '%00', 'u_1%00', '%ff', '%c0%ae',
          'u_1%2f', 'u_1;x=1', 'u_-1', 'u_0', 'u_01', 'u_1e3', '0x1', '*',
          'u_' + '9' * 300, '%F0%9F%98%80', "u_1'", 'u_1%0d%0aX:y', '.', '{u}']
QUERIES = ['limit=NaN', 'limit=-1', 'limit=1e9', 'limit=5&limit=6', 'x=%',
           'x=%zz', 'x=%00', '%00=x', 'x=%ff', 'x=%ed%a0%80', 'cursor=%20',
           'cursor=' + 'x' * 129, 'cursor=-1', 'cursor=99999999999999999999',
           'cursor=%27--', 'cursor=%F0%9F%98%80', '&'.join(['a=1'] * 2),
           'x=' + 'y' * 4097, '&'.join(f'a{i}=' for i in range(33))]


@pytest.mark.parametrize('route', ROUTES, ids=called)
def test_a10_paths_and_queries(stack, ask, talk, route):
    role = sorted(route.roles)[-1] if route.roles else None
    who = role and stack.person(role).token
    body = example(route)
    text = None if body is None else json.dumps(body)
    path = path_of(route, talk)

    def try_(path, tricky=False):
        nonlocal who
        status, code, said = ask(route.method, path, text, who, tricky=tricky)
        if status == 401 and who:       # it had signed itself out
            who = stack.person(role).token
            status, code, said = ask(route.method, path, text, who,
                                     tricky=tricky)
        return status, code, said

    for n in range(route.path.count('{')):
        for trick in TRICKS:
            if trick == 'u_1%2f' and '/admin/users/{u}/' in route.path:
                continue        # nginx makes one slash of two: it is u_1
            seen = iter(range(9))
            tricky = re.sub(r'\{\w\}', lambda m: trick if next(seen) == n
                            else f'{m[0][1]}_1', route.path)
            status, code, said = try_(tricky, tricky=True)
            # nginx takes two slashes for one, then this is no trick
            if not re.search(r'(^|/)(\.|%2e){1,2}(/|%2f|$)|%2f/', tricky,
                             re.I):
                assert status in (400, 401, 403, 404, 405), (tricky, said)
    if route.body == 'RAW' or 'auth/' in route.path:
        return
    names = {resolve(p)['name']: resolve(p) for p in operation(
        route.method, re.sub(r'\{\w\}', 'x_1', route.path)
        ).get('parameters', ())}
    for query in QUERIES:
        try_(f'{path}?{query}')
    for name in sorted(n for n in names if names[n]['in'] == 'query'):
        for value in ('', '-1', '0', 'NaN', '1e999', 'x' * 300, '%27%22%5c',
                      '%F0%9F%98%80', '9' * 40, 'u_1', 'null', '1,2', 'true'):
            try_(f'{path}?{name}={value}')
    for header, value in (('If-Match', 'x'), ('If-Match', '"' * 9),
                          ('If-None-Match', '"'), ('X-Request-Id', 'é'),
                          ('Idempotency-Key', ' '), ('Content-Type', 'x'),
                          ('Idempotency-Key', 'x' * 500)):
        ask(route.method, path, text, who,
            headers={header: value.encode('utf-8').decode('latin-1')})


def around(path):
    """Other ways to write a path; some mean the same, some nothing."""
    rest = path.removeprefix('/api')
    first = f'%{ord(rest[1]):02x}{rest[2:]}'
    yield from (f'/api/../api{rest}', f'/api/./{rest[1:]}', f'/api/{rest}',
                f'/api/%2e%2e/api{rest}', f'/api/x/..{rest}', f'/api/{first}',
                f'/api/..%2fapi{rest}', f'/api%2f{rest[1:]}', f'{path}/',
                f'{path}/..', f'{path}%2f..', f'{path}%00', f'{path};x',
                f'{path}%20', f'{path}/%2e%2e/%2e%2e/%2e%2e/etc/passwd',
                f'/api{rest.upper()}', f'/api\\{rest[1:]}', f'//x{path}',
                f'{path}?/../../', f'{path}#x', f'/{"x" * 9000}{path}')


@pytest.mark.parametrize('route', CLOSED, ids=called)
def test_a10_other_ways_to_write_a_path(ask, talk, route):
    """Whatever is made of it, it is not let in without a token."""
    body = example(route, talk)
    text = None if body is None else json.dumps(body)
    for path in around(path_of(route, talk)):
        status, _, said = ask(route.method, path.replace(' ', '%20'), text,
                              tricky=True)
        assert 400 <= status < 500 and SECRET.encode() not in said, path


@pytest.mark.parametrize('route', ROUTES, ids=called)
def test_a10_hosts_and_lengths(stack, talk, route):
    """Two hosts, none, one that cannot be; a length twice, or not one: what
    another server before us might read otherwise."""
    line = f'{route.method} {path_of(route, talk)} HTTP/1.1\r\n'
    host = 'Host: 127.0.0.1\r\n'
    for head in (
            f'{line}{host}Host: other.test\r\n', line,
            f'{line}Host: a/b\r\n', f'{line}Host: a\x01b\r\n',
            f'{line}{host}Content-Length: 2\r\nContent-Length: 3\r\n',
            f'{line}{host}Content-Length: -1\r\n',
            f'{line}{host}Content-Length: 2\r\n'
            'Transfer-Encoding: chunked\r\n',
            f'{line}{host} folded: x\r\n'):
        with socket.create_connection(
                ('127.0.0.1', stack.plain_port), 10) as sock:
            sock.sendall(f'{head}Connection: close\r\n\r\n{{}}'.encode())
            answer = sock.recv(4096)
        assert answer.startswith(b'HTTP/1.1 400 '), (head, answer)


KEYED = [r for r in CLOSED if r.method != 'GET' and (
    r.handler is None or r.function in ('session_start', 'chat_message'))]


@pytest.mark.parametrize('route', KEYED, ids=called)
def test_a10_a_key_with_another_body(stack, ask, talk, route):
    """As one of the two, or as an admin: the same again is the same, anything
    else under that key is refused, and so it is for nobody else."""
    body = example(route, talk) or {}
    key = {'Idempotency-Key': str(uuid.uuid4())}
    done = []
    for who in (talk.client, talk.advisor, stack.person('admin')):
        def again(doc, token=who.token):
            return ask(route.method, path_of(route, talk),
                       json.dumps(doc) if route.body else None, token, key)

        first = again(body)
        if first[0] >= 300:
            continue
        done.append(who.role)
        assert again(body)[2] == first[2] or route.handler
        if route.body:
            name = 'service' if 'service' in body else 'text'
            other = {**body, name: 'video' if name == 'service' else 'other'}
            assert again(other)[:2] == (422, 'idempotency_mismatch')
    REPLAYED.update((called(route), role) for role in done)


REPLAYED = set()


def test_a10_keys_were_replayed():
    """Most of them: some examples are of what is not there."""
    assert len(REPLAYED) >= 12, REPLAYED
