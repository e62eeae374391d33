"""What all routes have in common: refusals, queries, ETags, bodies.

What is to be seen of the framework alone is seen through functions that a test
puts in the place of the real ones, for as long as it runs.
"""

import contextlib
import socket

import pytest

from astro.stack import eventually
from test_http import problem

PLAIN = 'status int, body json'


@contextlib.contextmanager
def instead(stack, name, args, body, returns=PLAIN):
    """api.name(args) is another function meanwhile."""
    with stack.db() as db:
        old, types = db.execute(
            "SELECT pg_get_functiondef(p.oid),"
            "       pg_get_function_identity_arguments(p.oid)"
            "  FROM pg_proc p WHERE p.pronamespace = 'api'::regnamespace"
            "   AND p.proname = %s", (name,)).fetchone()

        def put(definition):
            with db.transaction():
                db.execute(f'DROP FUNCTION api.{name}({types})')
                db.execute('SET LOCAL ROLE astro_api')
                db.execute(definition)
                db.execute(f'GRANT EXECUTE ON FUNCTION api.{name}({types})'
                           ' TO astro_web')

        put(f'CREATE FUNCTION api.{name}({args}) RETURNS TABLE ({returns})'
            ' LANGUAGE plpgsql SECURITY DEFINER'
            f' SET search_path = pg_catalog, pg_temp AS $x${body}$x$')
        if returns != PLAIN:
            renew(stack, db)
        stack.rest.documented = False
        try:
            yield
        finally:
            stack.rest.documented = True
            put(old)
            if returns != PLAIN:
                renew(stack, db)


def renew(stack, db):
    """A statement that was prepared returns the columns that it did then."""
    ours = "FROM pg_stat_activity WHERE application_name = 'astro nginx'"
    old = {pid for pid, _ in db.execute(
        f'SELECT pid, pg_terminate_backend(pid) {ours}').fetchall()}

    def renewed():
        new = {pid for pid, in db.execute(f'SELECT pid {ours}').fetchall()}
        return len(new) >= len(old) and not new & old

    eventually(renewed, 20)


def me(stack, body, **kw):
    return instead(stack, 'me', 'caller bigint', body, **kw)


@pytest.mark.parametrize('code, status', [
    ('bad_request', 400), ('unauthorized', 401), ('forbidden', 403),
    ('not_found', 404), ('conflict', 409), ('gone', 410),
    ('insufficient_balance', 402), ('precondition_failed', 412),
    ('unsupported', 422), ('unavailable', 503),
])
def test_n4_a_function_refuses_by_exception(stack, rest, code, status):
    token = stack.person().token
    with me(stack, "BEGIN PERFORM consult.fail('" + code + "',"
            " E'say \"it\" \\\\ ✓ ' || repeat('é', 700), '/a/0/b\"'); END"):
        answer = rest.get('/api/me', token)
    body = problem(answer, status, code, '/a/0/b"')
    assert body['detail'].startswith('say "it" \\ ✓ éé')
    assert rest.get('/api/me', token).status == 200


@pytest.mark.parametrize('state', ['55P03', '40P01', '57014', '53200'])
def test_a_database_that_gives_up_is_asked_again(stack, rest, state):
    token = stack.person().token
    with me(stack, f"BEGIN RAISE 'no' USING ERRCODE = '{state}'; END"):
        answer = rest.get('/api/me', token)
    problem(answer, 503, 'unavailable')
    assert int(answer.headers['Retry-After']) >= 1
    with me(stack, "BEGIN RAISE 'no' USING ERRCODE = '22012'; END"):
        problem(rest.get('/api/me', token), 500, 'internal')


def test_a_refusal_undoes_what_the_function_did(stack, rest):
    person = stack.person()
    with me(stack, "BEGIN UPDATE identity.account SET blocked = true"
            " WHERE id = caller; PERFORM consult.fail('conflict', 'no'); END"):
        body = problem(rest.get('/api/me', person.token), 409, 'conflict')
    assert 'errors' not in body
    assert rest.get('/api/me', person.token).status == 200


def test_a_refusal_with_a_code_that_nobody_knows_is_internal(stack, rest):
    token = stack.person().token
    with me(stack, "BEGIN PERFORM consult.fail('nonsense', 'x'); END"):
        assert rest.get('/api/me', token).code == 'internal'


def test_etag(stack, rest):
    token = stack.person().token

    def ask(value=None, header='If-None-Match'):
        return rest.get('/api/me', token,
                        headers={header: value} if value else None)

    with me(stack, "BEGIN RETURN QUERY SELECT 200, '{}'::json, 'v7'::text; END",
            returns='status int, body json, etag text'):
        answer = ask()
        tag = answer.headers['ETag']
        assert answer.status == 200 and tag.startswith('"v7.')
        assert answer.headers['Cache-Control'] == 'private, no-cache'
        for value in (tag, f'W/{tag}', f'"a", {tag}', '*',
                      f'W/"a",{tag} , "b"'):
            answer = ask(value)
            assert (answer.status, answer.body) == (304, b''), value
            assert answer.headers['ETag'] == tag
        for value in ('"v8"', '"v7"', tag[1:-1], tag[:-1], '""', ',,'):
            assert ask(value).status == 200, value
        # a change that was made is never answered with 412 afterwards
        assert ask('"v1"', 'If-Match').status == 200
        # of the same version, for somebody else: nobody is shown another's
        token = stack.person().token
        answer = ask(tag)
        assert (answer.status, answer.json) == (200, {})
        assert answer.headers['ETag'] != tag
    assert 'ETag' not in ask().headers


@pytest.mark.parametrize('query, pointer', [
    ('limit=%3', '/limit'), ('limit=%zz', '/limit'), ('x=%', '/x'),
    ('limit=5&limit=5', '/limit'), ('cursor=%00', '/cursor'),
    ('x=%ff', '/x'), ('x=%ed%a0%80', '/x'), ('%ff=x', ''), ('%=x', ''),
    ('a%22b=%00', ''), ('x=1&x=2', '/x'), ('%78=1&x=2', '/x'),
    ('limit=+5', '/limit'), ('&'.join(f'a{i}=1' for i in range(33)), ''),
    ('x=' + 'y' * 4100, ''),
])
def test_a10_queries_are_decoded_strictly(stack, rest, query, pointer):
    answer = rest.get(f'/api/advisors?{query}', stack.person().token)
    problem(answer, 400, 'bad_request', pointer)


@pytest.mark.parametrize('query', [
    '', '&', 'limit=%35', 'limit=5&&x', 'x=%22%5c%c3%a9&y=a+b', 'a%22b=1',
    '&'.join(f'a{i}=1' for i in range(32)), 'x=' + 'y' * 4000, '=', 'x==&y',
])
def test_queries_that_are_good(stack, rest, query):
    answer = rest.get(f'/api/advisors?{query}', stack.person().token)
    assert answer.status == 200, answer


@pytest.mark.parametrize('body', [
    b'{"a":{"b":1,"b":2}}', b'{"a":[{"b":1,"\\u0062":2}]}',
    b'{"a":[1,{"c":{"x":1},"c" :2}]}', b'{"a":1,"\\u0061":1}',
], ids=repr)
def test_a10_a_key_given_twice_at_any_depth(rest, body):
    answer = rest.post('/api/auth/login', body)
    assert 'twice' in problem(answer, 400, 'bad_request', '')['detail']


def test_keys_of_different_objects_are_different(rest):
    answer = rest.post('/api/auth/login', b'{"a":{"a":1},"b":[{"a":1},'
                       b'{"a":2}],"c":"a","d":["a","a"]}')
    problem(answer, 400, 'bad_request', '/email')


@pytest.mark.parametrize('kind, status', [
    ('application/json; charset=utf-8', 400),
    ('Application/JSON;charset="UTF-8"', 400),
    ('application/json ; charset=utf-8', 400),
    ('application/json;charset=latin-1', 415),
    ('application/json; charset=utf-16', 415),
    ('application/json; charset=utf-88', 415),
    ('application/jsonp', 415), ('', 415),
])
def test_charsets(rest, kind, status):
    answer = rest.post('/api/auth/login', b'{}', content_type=None,
                       headers={'Content-Type': kind})
    assert answer.status == status, answer


def test_methods_that_are_allowed_are_listed(stack, rest):
    answer = rest.call('DELETE', '/api/advisors/u_1',
                       token=stack.person().token)
    assert answer.status == 405
    assert answer.headers['Allow'] == 'GET, HEAD, OPTIONS'


# -- browsers ----------------------------------------------------------------

def test_security_headers(stack, rest):
    token = stack.person().token
    for answer in (rest.get('/api/me', token), rest.get('/api/me'),
                   rest.get('/api/nothing'), rest.call('PUT', '/api/me'),
                   rest.call('OPTIONS', '/api/me'),
                   rest.post('/api/auth/login', b'{')):
        assert answer.headers['X-Content-Type-Options'] == 'nosniff'
        assert answer.headers['Referrer-Policy'] == 'no-referrer'
        assert "default-src 'none'" \
            in answer.headers['Content-Security-Policy']
        assert answer.headers['Cache-Control'] == 'no-store'


def test_without_a_list_no_other_origin(rest):
    for method in ('GET', 'OPTIONS'):
        answer = rest.call(method, '/api/me', headers={
            'Origin': 'https://app.example.com',
            'Access-Control-Request-Method': 'GET'})
        assert not [h for h in answer.headers if 'access-control' in h.lower()]


def test_options_lists_methods(rest):
    answer = rest.call('OPTIONS', '/api/advisors/u_1')
    assert (answer.status, answer.body) == (204, b'')
    assert answer.headers['Allow'] == 'GET, HEAD, OPTIONS'
    assert rest.call('OPTIONS', '/api/nothing').status == 404


def test_a_body_that_is_not_read_is_no_request(stack):
    """Refused before its body came: what comes is no next request."""
    person = stack.person()
    for line in (b'POST /api/auth/login?x=%',
                 b'POST /api/conversations?x=%00'):
        with socket.create_connection(('127.0.0.1', stack.plain_port)) as s:
            s.settimeout(10)
            for _ in range(2):
                s.sendall(line + b' HTTP/1.1\r\nHost: x\r\nAuthorization:'
                          b' Bearer ' + person.token.encode() + b'\r\n'
                          b'Content-Type: application/json\r\n'
                          b'Content-Length: 30\r\n\r\n')
                said = b''
                while b'\r\n\r\n{' not in said:
                    got = s.recv(4096)
                    assert got, said
                    said += got
                assert b'application/problem+json' in said, said
                s.sendall(b'{"a":"GET / HTTP/1.1\\r\\n\\r\\n"}')
