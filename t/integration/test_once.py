"""Idempotency-Key: one effect, one answer, whoever asks how often."""

import concurrent.futures
import json
import uuid

import pytest

from astro.routes import ROUTES
from test_api import instead
from test_http import problem

# any route that changes something will do: its function is another here
ROUTE = next((r for r in ROUTES if r.method != 'GET' and r.roles
              and r.body == 'JSON' and r.handler is None), None)

pytestmark = pytest.mark.skipif(ROUTE is None, reason='nothing changes')

# notes each call in the account's row, and says how many there were
NOTES = """
DECLARE n int;
BEGIN
    PERFORM set_config('astro.caller', {caller}::text, true);
    PERFORM consult.append_event({conv}, 'noted', NULL, NULL, '{{}}');
    SELECT count(*) INTO n FROM consult.event e
     WHERE e.conversation_id = {conv} AND e.type = 'noted';
    {then}
    RETURN QUERY SELECT 201, ('{{"n": ' || n || '}}')::json;
END
"""


class Noted:
    """A function in the place of the route's, and who calls it."""

    def __init__(self, stack):
        self.stack = stack
        role = sorted(ROUTE.roles)[-1]
        self.client, self.advisor = stack.person(), stack.person('advisor')
        self.caller = {'client': self.client, 'advisor': self.advisor
                       }.get(role) or stack.person(role)
        with stack.db() as db:
            self.conv, = db.execute(
                'INSERT INTO consult.conversation (client_id, advisor_id)'
                ' VALUES (%s, %s) RETURNING id',
                (self.client.number, self.advisor.number)).fetchone()
        self.path = ROUTE.path
        for kind in 'uscrnpbkfdt':
            self.path = self.path.replace('{%s}' % kind, f'{kind}_1')

    def put(self, then=''):
        with self.stack.db() as db:
            args, = db.execute(
                "SELECT pg_get_function_arguments(oid) FROM pg_proc WHERE"
                " pronamespace = 'api'::regnamespace AND proname = %s",
                (ROUTE.function,)).fetchone()
            returns, = db.execute(
                "SELECT pg_get_function_result(oid) FROM pg_proc WHERE"
                " pronamespace = 'api'::regnamespace AND proname = %s",
                (ROUTE.function,)).fetchone()
        assert returns.startswith('TABLE('), returns
        returns = returns[6:-1]
        body = NOTES.format(caller=self.client.number, conv=self.conv,
                            then=then)
        if 'etag' in returns:
            body = body.replace("::json;", "::json, 'v' || n;")
        return instead(self.stack, ROUTE.function, args, body, returns=returns)

    def ask(self, key, body=None, **headers):
        if key is not None:
            headers['Idempotency-Key'] = key
        return self.stack.rest.call(
            ROUTE.method, self.path, body if body is not None else {'a': 1},
            self.caller.token, headers=headers)

    def count(self):
        with self.stack.db() as db:
            return db.execute("SELECT count(*) FROM consult.event WHERE"
                              " conversation_id = %s AND type = 'noted'",
                              (self.conv,)).fetchone()[0]


@pytest.fixture
def noted(stack):
    return Noted(stack)


def test_a10_a_key_is_used_once(noted):
    key = str(uuid.uuid4())
    with noted.put():
        first = noted.ask(key)
        assert (first.status, first.json) == (201, {'n': 1})
        assert first.headers['Idempotent-Replayed'] is None
        for _ in range(3):
            again = noted.ask(key)
            assert (again.status, again.body) == (201, first.body)
            assert again.headers['ETag'] == first.headers['ETag']
            assert again.headers['Idempotent-Replayed'] == 'true'
        assert noted.count() == 1

        # another key, or none: another effect
        assert noted.ask(str(uuid.uuid4())).json == {'n': 2}
        assert noted.ask(None).json == {'n': 3}

        problem(noted.ask(key, {'a': 2}), 422, 'idempotency_mismatch',
                '/Idempotency-Key')
        assert noted.count() == 3

        # somebody else's key of the same name is another
        noted.caller = noted.stack.person(noted.caller.role)
        assert noted.ask(key).json == {'n': 4}


def test_many_at_once_with_one_key(noted):
    key = str(uuid.uuid4())
    with noted.put("PERFORM pg_sleep(0.1);"), \
            concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: noted.ask(key), range(8)))
    assert [a.body for a in answers] == [answers[0].body] * 8
    assert [a.headers['Idempotent-Replayed'] for a in answers].count(None) == 1
    assert noted.count() == 1


def test_a_refusal_is_not_kept(noted):
    key = str(uuid.uuid4())
    with noted.put("PERFORM consult.fail('conflict', 'no', '/a');"):
        problem(noted.ask(key), 409, 'conflict', '/a')
    assert noted.count() == 0
    with noted.put():
        assert noted.ask(key).json == {'n': 1}


def test_answers_are_kept_for_a_day(noted):
    keys = [str(uuid.uuid4()) for _ in range(6)]
    with noted.put(), noted.stack.db() as db:
        for key in keys:
            noted.ask(key)
        db.execute("UPDATE consult.once SET at = at - interval '25 hours'"
                   " WHERE account_id = %s", (noted.caller.number,))
        assert noted.ask(keys[0]).json == {'n': 7}
        noted.ask(str(uuid.uuid4()))
        left, = db.execute('SELECT count(*) FROM consult.once WHERE'
                           ' account_id = %s', (noted.caller.number,)
                           ).fetchone()
    assert left == 2


def test_of_many_keys_the_oldest_go(noted, stack):
    """Whoever sends many keeps the newest 2000, more or less."""
    with stack.db() as db:
        db.execute(
            "INSERT INTO consult.once (account_id, key, hash, at, status)"
            " SELECT %s, 'old-' || n, '-', clock_timestamp()"
            " - n * interval '1 second', 200 FROM generate_series(1, 2600) n",
            (noted.caller.number,))

        def kept():
            return [k for k, in db.execute(
                'SELECT key FROM consult.once WHERE account_id = %s'
                ' ORDER BY at DESC', (noted.caller.number,))]

        with noted.put():
            first, asked = noted.ask('mine'), 0
            while len(kept()) > 2000:
                assert asked < 32 * 20
                asked += 1
                noted.ask(f'new-{asked}')
            assert 'old-2600' not in kept() and 'old-1' in kept()
            assert noted.ask('mine').json == first.json


@pytest.mark.parametrize('key', ['', 'a b', 'x' * 129, 'é'.encode().decode(
    'latin-1')])
def test_a10_no_key(noted, key):
    problem(noted.ask(key), 400, 'bad_request', '/Idempotency-Key')


def test_answers_are_nobody_elses(noted):
    """Row-level security: as the owner of api's functions."""
    key = str(uuid.uuid4())
    with noted.put():
        assert noted.ask(key).status == 201
    with noted.stack.db() as db, db.transaction():
        db.execute('SET LOCAL ROLE astro_api')
        for who, rows in ((noted.caller.number, 1), (1, 0), (None, 0)):
            db.execute("SELECT set_config('astro.caller', %s, true)",
                       (str(who or ''),))
            found = db.execute('SELECT body FROM consult.once'
                               ' WHERE key = %s', (key,)).fetchall()
            assert len(found) == rows, (who, json.dumps(found, default=str))
