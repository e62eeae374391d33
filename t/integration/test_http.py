"""REST: every route, and the answer to everything that is wrong."""

import http.client
import json
import re
import socket
import ssl
import time
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import eventually
from astro.ws import SLOW

PASSWORD = 'correct horse'

RFC3339 = re.compile(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$')

# every route that needs a token
PRIVATE = ['/api/me', '/api/advisors', '/api/advisors/u_1', '/api/wallet',
           '/api/wallet/transactions', '/api/sessions/s_1',
           '/api/conversations/c_1/messages']


def new_email():
    return f'{uuid.uuid4().hex[:16]}@test.test'


def problem(answer, status, code, pointer=None):
    """A problem document (RFC 9457) of that status and code."""
    assert (answer.status, answer.code) == (status, code), answer
    body = answer.json
    assert body['status'] == status
    assert body['title']
    if pointer is not None:
        assert [e['pointer'] for e in body['errors']] == [pointer], body
        assert all(e['detail'] for e in body['errors'])
    return body


# -- accounts ----------------------------------------------------------------

def register(rest, **over):
    body = {'email': new_email(), 'password': PASSWORD, 'name': 'Zoë "Z" Ó'}
    body.update(over)
    return rest.post('/api/auth/register', {k: v for k, v in body.items()
                                            if v is not None})


def test_register_login_me(rest):
    email = new_email()
    answer = register(rest, email=email)
    assert answer.status == 201
    assert answer.json['email'] == email
    assert 'password' not in answer.body.decode()

    token = rest.login(email, PASSWORD)
    me = rest.get('/api/me', token)
    assert me.status == 200
    assert me.headers.get_content_type() == 'application/json'
    assert (me.json['email'], me.json['name'], me.json['role']) \
        == (email, 'Zoë "Z" Ó', 'client')
    assert me.json['id'].startswith('u_')
    assert RFC3339.match(me.json['created_at'])


@pytest.mark.parametrize('where', ['/api/auth/login',
                                   '/api/user/auth/login'])
def test_a_password_is_no_card(rest, where):
    """Thirteen digits and more, one of ten of which has a right check digit."""
    email, digits = new_email(), '4111111111111111'
    assert register(rest, email=email, password=digits).status == 201
    assert rest.post(where, {'email': email, 'password': digits}).status == 200
    problem(rest.post(where, {'email': digits, 'password': digits}), 422,
            'unsupported', '/email')


def test_email_is_one_account_whatever_its_case(rest):
    email = new_email()
    assert register(rest, email=email).status == 201
    problem(register(rest, email=email), 409, 'conflict')
    problem(register(rest, email=email.upper()), 409, 'conflict')
    assert rest.login(email.upper(), PASSWORD)


@pytest.mark.parametrize('over, pointer', [
    ({'email': None}, '/email'),
    ({'email': 'no-at-sign'}, '/email'),
    ({'email': 17}, '/email'),
    ({'email': 'a@' + 'b' * 400}, '/email'),
    ({'password': None}, '/password'),
    ({'password': 'short'}, '/password'),
    ({'password': 'x' * 5000}, '/password'),
    ({'name': None}, '/name'),
    ({'name': ''}, '/name'),
    ({'name': ['a']}, '/name'),
])
def test_register_refuses(rest, over, pointer):
    problem(register(rest, **over), 400, 'bad_request', pointer)


def test_login_refuses(rest, stack):
    email = new_email()
    number = int(register(rest, email=email).json['id'][2:])
    for wrong in ({'email': email, 'password': 'wrong horse'},
                  {'email': new_email(), 'password': PASSWORD}):
        answer = rest.post('/api/auth/login', wrong)
        body = problem(answer, 401, 'unauthorized')
        assert email not in json.dumps(body)

    problem(rest.post('/api/auth/login', {'email': email}), 400,
            'bad_request', '/password')

    with stack.db() as db:
        db.execute('UPDATE identity.account SET blocked = true'
                   ' WHERE id = %s', (number,))
    answer = rest.post('/api/auth/login',
                       {'email': email, 'password': PASSWORD})
    assert answer.status in (401, 403), answer


# -- tokens ------------------------------------------------------------------

@pytest.mark.parametrize('path', PRIVATE)
def test_needs_a_token(rest, path):
    answer = rest.get(path)
    problem(answer, 401, 'unauthorized')
    assert answer.headers['WWW-Authenticate'].startswith('Bearer')


@pytest.mark.parametrize('kind, code', [
    ('expired', 'token_expired'),
    ('garbage', 'unauthorized'),
    ('empty', 'unauthorized'),
    ('other key', 'unauthorized'),
    ('none', 'unauthorized'),
    ('none without signature', 'unauthorized'),
    ('HS512', 'unauthorized'),
    ('other audience', 'unauthorized'),
    ('other issuer', 'unauthorized'),
    ('no exp', 'unauthorized'),
    ('exp is text', 'unauthorized'),
    ('from the future', 'unauthorized'),
    ('no such role', 'unauthorized'),
    ('no user', 'unauthorized'),
    ('negative user', 'unauthorized'),
    ('overflowing user', 'unauthorized'),
    ('cut', 'unauthorized'),
    ('changed', 'unauthorized'),
    ('huge', 'unauthorized'),
    ('deleted user', 'unauthorized'),
])
def test_bad_token(stack, rest, kind, code):
    person = stack.person()
    n, role = person.number, person.role
    good = stack.jwt(n, role)
    head, body, mac = good.split('.')
    none = stack.jwt(n, role, header={'alg': 'none', 'typ': 'JWT'})
    now = int(time.time())
    token = {
        'expired': lambda: stack.jwt(n, role, iat=now - 200, exp=now - 100),
        'garbage': lambda: 'x.y.z',
        'empty': lambda: '',
        'other key': lambda: stack.jwt(n, role, key=b'k' * 64),
        'none': lambda: none,
        'none without signature': lambda: none.rsplit('.', 1)[0] + '.',
        'HS512': lambda: stack.jwt(n, role, header={'alg': 'HS512'}),
        'other audience': lambda: stack.jwt(n, role, aud='else'),
        'other issuer': lambda: stack.jwt(n, role, iss='else'),
        'no exp': lambda: stack.jwt(n, role, exp=None),
        'exp is text': lambda: stack.jwt(n, role, exp='9999999999'),
        'from the future': lambda: stack.jwt(n, role, nbf=now + 600),
        'no such role': lambda: stack.jwt(n, 'emperor'),
        'no user': lambda: stack.jwt(n, role, sub=None),
        'negative user': lambda: stack.jwt(n, role, sub='u_-1'),
        'overflowing user': lambda: stack.jwt(
            n, role, sub='u_99999999999999999999'),
        'cut': lambda: good[:-1],
        'changed': lambda: f'{head}.{body}.{"A" if mac[0] != "A" else "B"}'
                           f'{mac[1:]}',
        'huge': lambda: stack.jwt(n, role, padding='x' * 4096),
        'deleted user': lambda: stack.jwt(2 ** 40, 'client'),
    }[kind]()

    assert rest.get('/api/me', good).status == 200
    problem(rest.get('/api/me', token), 401, code)


def test_other_schemes_are_no_token(stack, rest):
    token = stack.person().token
    for value in (f'Basic {token}', token, 'Bearer', f'Bearer  '):
        problem(rest.get('/api/me', headers={'Authorization': value}), 401,
                'unauthorized')
    # RFC 7235: the scheme's case does not matter
    assert rest.get('/api/me', headers={
        'Authorization': f'bearer {token}'}).status == 200


def test_a_blocked_account_is_nobody(stack, rest):
    person = stack.person()
    with stack.db() as db:
        db.execute('UPDATE identity.account SET blocked = true'
                   ' WHERE id = %s', (person.number,))
    assert rest.get('/api/me', person.token).status in (401, 403)


# -- reading -----------------------------------------------------------------

def test_advisors(stack, rest):
    client = stack.person()
    mine = [stack.person('advisor', rates=(100 + i, 200, None))
            for i in range(3)]
    token = client.token

    one = rest.get(f'/api/advisors/{mine[0].id}', token)
    assert one.status == 200
    assert one.json['id'] == mine[0].id
    assert one.json['rates']['chat']['amount'] == 100
    assert one.json['rates']['video'] is None
    assert one.json['online'] is False and one.json['busy'] is False
    assert 'bio' in one.json

    found, cursor, pages = [], None, 0
    while True:
        path = '/api/advisors?limit=2' + (f'&cursor={cursor}' if cursor else '')
        page = rest.get(path, token)
        assert page.status == 200 and len(page.json['data']) <= 2
        found += [row['id'] for row in page.json['data']]
        cursor, pages = page.json['next_cursor'], pages + 1
        if cursor is None:
            break
    assert pages > 1
    assert len(found) == len(set(found))
    assert {advisor.id for advisor in mine} <= set(found)

    mine[1].connect()
    eventually(lambda: rest.get(f'/api/advisors/{mine[1].id}',
                                token).json['online'])

    for unknown in ('u_999999999', client.id):
        problem(rest.get(f'/api/advisors/{unknown}', token), 404, 'not_found')


def test_wallet_and_transactions(stack, rest):
    client = stack.person(balance=12345)
    wallet = rest.get('/api/wallet', client.token)
    assert wallet.status == 200
    assert wallet.json == {
        'balance': {'amount': 12345, 'currency': 'INR'},
        'held': {'amount': 0, 'currency': 'INR'},
        'available': {'amount': 12345, 'currency': 'INR'}}

    with stack.db() as db:
        for i in range(4):
            db.execute('SELECT billing.topup(%s, %s, %s)',
                       (client.number, 10 + i, str(uuid.uuid4())))

    found, cursor = [], None
    while True:
        page = rest.get('/api/wallet/transactions?limit=2' + (
            f'&cursor={cursor}' if cursor else ''), client.token)
        assert page.status == 200 and len(page.json['data']) <= 2
        found += page.json['data']
        cursor = page.json['next_cursor']
        if cursor is None:
            break

    assert [row['amount']['amount'] for row in found] \
        == [13, 12, 11, 10, 12345]
    for row in found:
        assert (row['kind'], row['direction']) == ('topup', 'credit')
        assert RFC3339.match(row['at'])
    assert len({row['id'] for row in found}) == 5


def test_a_session_and_its_messages(stack, rest):
    talk = Consultation(stack).active()
    for i in range(5):
        talk.c.say(talk.conv, f'line {i} ✓')
    talk.end()

    for person in (talk.client, talk.advisor):
        session = rest.get(f'/api/sessions/{talk.id}', person.token)
        assert session.status == 200
        assert session.json['state'] == 'ended'
        assert session.json['conv'] == talk.conv
        assert RFC3339.match(session.json['created_at'])
        assert RFC3339.match(session.json['ended_at'])

        found, cursor = [], None
        while True:
            page = rest.get(
                f'/api/conversations/{talk.conv}/messages?limit=2' + (
                    f'&cursor={cursor}' if cursor else ''), person.token)
            assert page.status == 200 and len(page.json['data']) <= 2
            found += page.json['data']
            cursor = page.json['next_cursor']
            if cursor is None:
                break
        assert [row['seq'] for row in found] \
            == list(range(1, len(found) + 1))
        assert [row['payload']['text'] for row in found
                if row['type'] == 'chat_message'] \
            == [f'line {i} ✓' for i in range(5)]

    # who has no part in it is not told that it exists
    for role in ('client', 'advisor', 'admin'):
        other = stack.person(role).token
        problem(rest.get(f'/api/sessions/{talk.id}', other), 404, 'not_found')
        problem(rest.get(f'/api/conversations/{talk.conv}/messages', other),
                404, 'not_found')


@pytest.mark.parametrize('path', ['/api/sessions/{}',
                                  '/api/conversations/{}/messages'])
def test_ids_that_are_none(stack, rest, path):
    token = stack.person().token
    kind = 's' if 'sessions' in path else 'c'
    for bad in (f'{kind}_999999999', f'{kind}_0', f'{kind}_-1', 'u_1', '1',
                f'{kind}_01', f'{kind}_1x', f'{kind}_', "';--",
                f'{kind}_99999999999999999999', '%2e', '%7f'):
        answer = rest.get(path.format(bad), token)
        assert answer.status in (400, 404), (bad, answer)
        assert answer.code in ('bad_request', 'not_found'), (bad, answer)


@pytest.mark.parametrize('query, pointer', [
    ('limit=0', '/limit'), ('limit=-1', '/limit'), ('limit=201', '/limit'),
    ('limit=x', '/limit'), ('limit=', '/limit'),
    ('limit=99999999999999999999', '/limit'), ('limit=1.5', '/limit'),
    ('cursor=x', '/cursor'), ('cursor=-1', '/cursor'),
    ('cursor=99999999999999999999999', '/cursor'), ('cursor=%00', '/cursor'),
])
@pytest.mark.parametrize('path', ['/api/advisors',
                                  '/api/wallet/transactions'])
def test_bad_list_arguments(stack, rest, path, query, pointer):
    answer = rest.get(f'{path}?{query}', stack.person().token)
    problem(answer, 400, 'bad_request', pointer)


# -- bodies ------------------------------------------------------------------

@pytest.mark.parametrize('body', [
    b'', b'{', b'nonsense', b'[]', b'"x"', b'17', b'null', b'{}{}',
    b'{"email":"a@b.c",}', b'{"email":"\xff\xfe"}', b'{"email":"\\ud800"}',
    b'{"email":"a\\u0000b@c.d","password":"12345678","name":"n"}',
    b'{"email":1e999}', b'[' * 5000, b'{"a":' * 200 + b'1' + b'}' * 200,
    b'{"email":"a@b.c","email":"a@b.c"}',
], ids=lambda b: repr(b[:24]))
def test_malformed_bodies(rest, body):
    for path in ('/api/auth/register', '/api/auth/login'):
        problem(rest.post(path, body), 400, 'bad_request')


@pytest.mark.parametrize('size', [20000, 100000, 4 << 20])
def test_too_large_a_body(rest, size):
    """Refused by the module, or for large ones by nginx before it."""
    body = b'{"email":"' + b'x' * size + b'"}'
    try:
        answer = rest.post('/api/auth/login', body)
    except (BrokenPipeError, ConnectionResetError):
        pytest.fail('the answer was lost: the body must be read or lingered')
    problem(answer, 413, 'too_large')


@pytest.mark.parametrize('chunks', [2, 50])
def test_too_large_a_body_of_unknown_length(rest, chunks):
    """In chunks, so that no header tells; answered once, by the module or by
    nginx."""
    answer = rest.call('POST', '/api/auth/login', iter([b'x' * 9000] * chunks),
                       headers={'Transfer-Encoding': 'chunked'})
    problem(answer, 413, 'too_large')


@pytest.mark.parametrize('kind', [None, 'text/plain', 'application/jsonx',
                                  'multipart/form-data'])
def test_other_content_types(rest, kind):
    answer = rest.post('/api/auth/login', b'{"email":"a@b.c"}',
                       content_type=kind)
    assert answer.status == 415, answer


def test_content_type_with_a_parameter(rest):
    answer = rest.post('/api/auth/login',
                       {'email': new_email(), 'password': PASSWORD},
                       content_type='application/json; charset=utf-8')
    problem(answer, 401, 'unauthorized')


def test_an_unknown_route(stack, rest):
    token = stack.person().token
    for path in ('/api/', '/api/nothing', '/api/me/x', '/api/mex', '/api/me/',
                 '/api/sessions/', '/api/advisors/u_1/x'):
        problem(rest.get(path, token), 404, 'not_found')


@pytest.mark.parametrize('method, path, allow', [
    ('GET', '/api/auth/login', {'POST'}),
    ('GET', '/api/auth/register', {'POST'}),
    ('POST', '/api/me', {'GET'}),
    ('DELETE', '/api/wallet', {'GET'}),
    ('PUT', '/api/sessions/s_1', {'GET'}),
    ('PATCH', '/api/advisors', {'GET'}),
])
def test_a_wrong_method(stack, rest, method, path, allow):
    answer = rest.call(method, path, token=stack.person().token)
    assert answer.status == 405, answer
    assert {m.strip() for m in answer.headers['Allow'].split(',')} \
        - {'HEAD', 'OPTIONS'} == allow


# -- health ------------------------------------------------------------------

def test_health(rest):
    answer = rest.get('/api/health')
    assert answer.status == 200
    assert answer.headers.get_content_type() == 'application/json'
    assert answer.json['status'] == 'ok'


def test_metrics_are_prometheus_text(stack):
    metrics = stack.metrics()
    for name in ('astro_connections', 'astro_registry_entries',
                 'astro_seats_taken'):
        assert name in metrics


def test_whoever_came_by_tls_comes_no_other_way(stack, rest):
    """On refusals, too; and never in clear, where anybody could say it."""
    for path in ('/api/health', '/api/me', '/api/nothing'):
        assert rest.get(path).headers['Strict-Transport-Security'] \
            == 'max-age=31536000'
        with socket.create_connection(('127.0.0.1', stack.plain_port)) as s:
            s.sendall(f'GET {path} HTTP/1.1\r\nHost: localhost\r\n'
                      'Connection: close\r\n\r\n'.encode())
            answer = b''.join(iter(lambda: s.recv(65536), b'')).lower()
        assert answer.startswith(b'http/1.1 ')
        assert b'strict-transport' not in answer


def test_m5_in_clear_one_is_told_where_to_go(stack):
    """Whatever is asked for, and nothing of it is answered."""
    token = stack.person().token
    for method, path in (('GET', '/api/me?x=%20y'), ('GET', '/ws'),
                         ('POST', '/api/auth/login'), ('GET', '/metrics'),
                         ('GET', '/')):
        connection = http.client.HTTPConnection(
            'localhost', stack.http_port, timeout=15)
        connection.request(method, path, headers={
            'Authorization': f'Bearer {token}'})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status == 301
        assert answer.headers['Location'] \
            == f'https://localhost:{stack.port}{path}'
        assert b'Moved' in said
        assert 'Strict-Transport-Security' not in answer.headers


@pytest.mark.filterwarnings('ignore:ssl.TLSVersion')
@pytest.mark.parametrize('version, good', [
    ('TLSv1', False), ('TLSv1_1', False), ('TLSv1_2', True),
    ('TLSv1_3', True)])
def test_m5_versions_of_tls(stack, version, good):
    """By a client that would take whatever it is given."""
    context = ssl.create_default_context(cafile=f'{stack.var}/tls/cert.pem')
    context.set_ciphers('ALL:@SECLEVEL=0')
    context.minimum_version = context.maximum_version \
        = ssl.TLSVersion[version]
    with socket.create_connection(('127.0.0.1', stack.port), 15) as s:
        if good:
            with context.wrap_socket(s, server_hostname='localhost') as tls:
                assert tls.version() == version.replace('_', '.')
        else:
            with pytest.raises(ssl.SSLError, match='PROTOCOL_VERSION'):
                context.wrap_socket(s, server_hostname='localhost')


def test_keepalive_and_pipelined_requests(stack, rest):
    """Ten requests on one connection, the answers in order."""
    person = stack.person(balance=77)
    connection = rest.connection()
    for _ in range(5):
        for path in ('/api/me', '/api/wallet', '/api/nothing'):
            connection.request('GET', path, headers={
                'Authorization': f'Bearer {person.token}'})
            answer = connection.getresponse()
            body = json.loads(answer.read())
            if path == '/api/me':
                assert body['id'] == person.id
            elif path == '/api/wallet':
                assert body['balance']['amount'] == 77
            else:
                assert answer.status == 404
    connection.close()


def test_database_down(stack, rest):
    """REST says 503 for as long; WebSockets stay up; then all is well."""
    person = stack.person()
    client = person.connect()

    stack.stop('pg')
    try:
        for path in ('/api/me', '/api/health'):
            answer = eventually(
                lambda p=path: (lambda a: a.status == 503 and a)(
                    rest.get(p, person.token)), 10, '503')
            assert int(answer.headers['Retry-After']) > 0
        took = []
        for _ in range(20):
            began = time.monotonic()
            problem(rest.get('/api/me', person.token), 503, 'unavailable')
            took.append(time.monotonic() - began)
        # with what it takes to connect and to do TLS
        assert sorted(took)[10] < 0.1 * SLOW, took
        assert stack.metrics()['astro_pg_queue'] == 0
        # one of the refused logins that hash a password in the thread pool
        problem(rest.post('/api/auth/login',
                          {'email': person.email, 'password': PASSWORD}),
                503, 'unavailable')

        assert client.call('ping', {}) == {}
        error = client.refused('session_start', {
            'advisor': 'u_1', 'service': 'chat', 'cid': str(uuid.uuid4())})
        assert (error['code'], error['retry']) == ('unavailable', True)
        time.sleep(1 * SLOW)
        assert client.open
    finally:
        stack.script('start', 'pg')

    eventually(lambda: rest.get('/api/me', person.token).status == 200, 2,
               'REST after the database is back')
    eventually(stack.connected, 15)
    eventually(lambda: rest.get('/api/health').status == 200, 15)
    assert client.open
    assert client.call('ping', {}) == {}

    # and a consultation can be had
    Consultation(stack).active().end()


def test_an_upgrade_that_ends_before_it_is_a_socket(stack):
    """A body that is still on its way: the request is ended, and the log, which
    comes last, names no connection, for there is none."""
    seen = len(stack.log('access.log').encode())
    with socket.create_connection(('127.0.0.1', stack.plain_port)) as s:
        s.settimeout(10 * SLOW)
        s.sendall(b'GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n'
                  b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
                  b'Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n'
                  b'Content-Length: 9\r\n\r\nx')
        assert s.recv(1) == b''
    line, = eventually(lambda: re.findall(
        '.*"status":"101".*', stack.log('access.log', seen)))
    assert json.loads(line)['conn'] == ''


def test_a_request_that_ends_under_its_call(stack, rest):
    """A body that is being discarded breaks while the database works: nginx
    ends the request, and the answer must find nobody."""
    person = stack.person()
    with stack.db() as db, db.transaction():
        db.execute('LOCK TABLE identity.account IN ACCESS EXCLUSIVE MODE')
        sockets = []
        for _ in range(8):
            s = socket.create_connection(('127.0.0.1', stack.plain_port))
            s.sendall(b'GET /api/me HTTP/1.1\r\nHost: x\r\n'
                      b'Authorization: Bearer ' + person.token.encode()
                      + b'\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx')
            sockets.append(s)
        time.sleep(0.5 * SLOW)
        for s in sockets:
            s.sendall(b'ZZZ\r\n')
        time.sleep(0.5 * SLOW)
    for s in sockets:
        s.close()
    time.sleep(0.5 * SLOW)
    assert rest.get('/api/me', person.token).status == 200
