"""Reads of many requests that one statement answers: each gets its own.

What is to be seen of the grouping alone is seen through functions that a test
puts in the place of api.wallet_group, for as long as it runs: they take their
time, so that whoever asks meanwhile is in the next group of that worker.
"""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from astro.stack import eventually
from test_http import problem

SLEEP = "PERFORM pg_sleep(0.25);"
ANSWER = """
    RETURN QUERY
    SELECT 200, '{"who":' || c || ',"of":' || cardinality(callers) || '}',
           o::int
      FROM unnest(callers) WITH ORDINALITY AS q(c, o)
"""


@contextlib.contextmanager
def instead(stack, body):
    """api.wallet_group does that; its rights and its owner stay."""
    with stack.db() as db:
        old, = db.execute("SELECT pg_get_functiondef("
                          "'api.wallet_group(bigint[])'::regprocedure)"
                          ).fetchone()
        db.execute(
            'CREATE OR REPLACE FUNCTION api.wallet_group(callers bigint[])'
            ' RETURNS TABLE (status int, body text, ord int)'
            ' LANGUAGE plpgsql STABLE SECURITY DEFINER'
            f' SET search_path = pg_catalog, pg_temp AS $x$BEGIN {body}; END'
            ' $x$')
        stack.rest.documented = False
        try:
            yield
        finally:
            stack.rest.documented = True
            db.execute(old)


@pytest.fixture(scope='module')
def people(shared):
    return [shared.person(balance=1000 + n) for n in range(24)]


def ask(rest, people):
    """What each is answered, all at once."""
    with ThreadPoolExecutor(len(people)) as pool:
        return list(pool.map(lambda p: rest.get('/api/wallet', p.token),
                             people))


def test_reads_of_a_moment_are_one_statement(stack, rest, people):
    before = stack.metrics()
    with instead(stack, SLEEP + ANSWER + ' ORDER BY o'):
        answers = ask(rest, people)
    assert [a.json['who'] for a in answers] == [p.number for p in people]
    assert max(a.json['of'] for a in answers) > 4
    after = stack.metrics()
    name = 'astro_http_group_requests'
    assert after[f'{name}_sum'] - before[f'{name}_sum'] == len(people)
    assert after[f'{name}_count'] - before[f'{name}_count'] < len(people) / 2


def test_each_gets_their_own_wallet(stack, rest, people):
    admin, advisor = stack.person('admin'), stack.person('advisor')
    everybody = people + [admin, advisor] + people[:6]

    def money(person):
        return {'amount': person, 'currency': 'INR'}

    for _ in range(3):
        answers = ask(rest, everybody)
        for n, answer in enumerate(answers):
            if n == 24:
                problem(answer, 404, 'not_found')
                continue
            amount = 0 if n == 25 else 1000 + n % 26
            assert answer.json == {'balance': money(amount), 'held': money(0),
                                   'available': money(amount)}, n


def test_a_read_sees_what_was_there_when_it_came(stack, rest, people):
    """Others ask without pause; whoever has just been paid sees it."""
    over = threading.Event()
    paid = stack.person()

    def crowd(person):
        while not over.is_set():
            assert rest.get('/api/wallet', person.token).status == 200

    with ThreadPoolExecutor(8) as pool, stack.db() as db:
        others = [pool.submit(crowd, p) for p in people[:8]]
        try:
            for n in range(1, 21):
                db.execute('SELECT billing.topup(%s, 7, %s)',
                           (paid.number, f'group-{paid.number}-{n}'))
                answer = rest.get('/api/wallet', paid.token)
                assert answer.json['balance']['amount'] == 7 * n
        finally:
            over.set()
        for other in others:
            other.result()


@pytest.mark.parametrize('order', ['ORDER BY o DESC',
                                   'WHERE o > 1 OR cardinality(callers) = 1',
                                   'UNION ALL SELECT 200, \'{}\', 99 '
                                   'WHERE cardinality(callers) > 1'])
def test_rows_in_other_places_are_nobodys(stack, rest, people, order):
    """Then everybody is asked for alone."""
    with instead(stack, SLEEP + ANSWER + order):
        answers = ask(rest, people[:8])
    assert [(a.json['who'], a.json['of']) for a in answers] == [
        (p.number, 1) for p in people[:8]]


@pytest.mark.parametrize('fault, status, code', [
    ("RAISE EXCEPTION 'x'", 500, 'internal'),
    ("RAISE EXCEPTION USING ERRCODE = 'AS400', MESSAGE = 'no',"
     " DETAIL = 'conflict', HINT = '/a'", 409, 'conflict'),
])
def test_an_error_is_of_whom_it_is_about(stack, rest, people, fault, status,
                                         code):
    bad = people[3]
    with instead(stack, f'{SLEEP} IF {bad.number} = ANY(callers) THEN {fault};'
                 f' END IF; {ANSWER} ORDER BY o'):
        answers = ask(rest, people[:8])
    for person, answer in zip(people, answers):
        if person is bad:
            problem(answer, status, code)
        else:
            assert answer.json['who'] == person.number


def test_who_goes_while_waiting_takes_nobody_along(stack, rest, people):
    with instead(stack, SLEEP + ANSWER + ' ORDER BY o'), \
            ThreadPoolExecutor(24) as pool:
        asked = [pool.submit(rest.get, '/api/wallet', p.token)
                 for p in people[:4]]
        for n in range(3):          # before, within and behind a group
            gone = []
            for person in people[4:12]:
                gone.append(rest.connection())
                gone[-1].request('GET', '/api/wallet', headers={
                    'Authorization': f'Bearer {person.token}'})
            asked += [pool.submit(rest.get, '/api/wallet', p.token)
                      for p in people[:4]]
            for connection in gone:
                connection.close()
        for n, answer in enumerate(asked):
            assert answer.result().json['who'] == people[n % 4].number
    assert rest.get('/api/wallet', people[0].token).status == 200


def test_a_lost_database_is_told_to_all_of_a_group(stack, rest, people):
    def sleeping(db):
        return db.execute(
            "SELECT count(*), count(pg_terminate_backend(pid))"
            "  FROM pg_stat_activity WHERE state = 'active'"
            "   AND query LIKE '%api.wallet_group%' AND pid <> pg_backend_pid()"
            ).fetchone()[0]

    with stack.db() as db, ThreadPoolExecutor(8) as pool:
        with instead(stack, 'PERFORM pg_sleep(3);' + ANSWER + ' ORDER BY o'):
            asked = [pool.submit(rest.get, '/api/wallet', p.token)
                     for p in people[:8]]
            lost = 0
            while not all(a.done() for a in asked):
                lost += sleeping(db)
            assert lost
            found = {a.result().status for a in asked}
            assert 503 in found and found <= {503, 200}
            for answer in asked:
                if answer.result().status == 503:
                    problem(answer.result(), 503, 'unavailable')
                    assert answer.result().headers['Retry-After']
        eventually(lambda: rest.get('/api/wallet',
                                    people[0].token).status == 200, 10)


def test_n2_a_group_sees_rows_of_its_own_alone(stack, people):
    """By policy, whatever the function asks for; and it writes nothing."""
    ours = [p.number for p in people[:3]]
    with stack.db() as db:
        db.execute('SET ROLE astro_group')
        owners = 'SELECT owner_id FROM ledger.wallet ORDER BY 1'
        assert db.execute(owners).fetchall() == []
        db.execute("SELECT set_config('astro.callers', %s, false)",
                   ('{%s}' % ','.join(map(str, ours)),))
        assert [n for n, in db.execute(owners)] == ours
        for statement in ('UPDATE ledger.wallet SET balance = 0',
                          'SELECT promo FROM ledger.wallet',
                          'SELECT password_hash FROM identity.account',
                          'SELECT state FROM consult.session',
                          'SELECT * FROM ledger.transfer',
                          'SELECT * FROM consult.event'):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                db.execute(statement)
