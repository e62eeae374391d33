"""Slow reports have connections of their own: nobody's wallet waits for them.

api.figures does what a test wants for as long as it runs: most wait for an
advisory lock that the test holds, so a report takes exactly as long as the
test says.
"""

import contextlib
import http.client
from concurrent.futures import ThreadPoolExecutor

import pytest

from astro.fixtures import watch
from astro.stack import Stack, eventually
from test_http import problem

LOCK = 4711
WAIT = f"PERFORM pg_advisory_xact_lock_shared({LOCK});"
ANSWER = """RETURN QUERY SELECT 200, json_build_object(
    't', current_setting('statement_timeout'))"""
PATH = '/api/advisors/me/figures'


@pytest.fixture(scope='module')
def alone():
    stack = Stack({'astro_pg_slow': 'connections=2 queue=2 timeout=60s'
                                    ' idle=1s',
                   'astro_pg_queue': '8', 'astro_pg_timeout': '60s'},
                  workers=1)
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def slow(alone):
    alone.revive()
    yield from watch(alone)


@pytest.fixture(scope='module')
def advisor(alone):
    return alone.person('advisor')


@pytest.fixture(scope='module')
def another(alone):
    return alone.person('advisor')


@contextlib.contextmanager
def instead(stack, body, name='figures'):
    """That function of the caller does that; rights and owner stay."""
    with stack.db() as db:
        old, = db.execute(f"SELECT pg_get_functiondef("
                          f"'api.{name}(bigint)'::regprocedure)").fetchone()
        db.execute(
            f'CREATE OR REPLACE FUNCTION api.{name}(caller bigint)'
            ' RETURNS TABLE (status int, body json)'
            ' LANGUAGE plpgsql VOLATILE SECURITY DEFINER'
            ' SET search_path = pg_catalog, pg_temp'
            f" SET lock_timeout = '60s' AS $x$BEGIN {body}; END $x$")
        stack.rest.documented = False
        try:
            yield
        finally:
            stack.rest.documented = True
            db.execute(old)


@contextlib.contextmanager
def held(stack):
    """Who asks for the lock waits; yields how many do."""
    with stack.db() as db:
        db.execute('SELECT pg_advisory_lock(%s)', (LOCK,))

        def waiting():
            return db.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                ' AND NOT granted').fetchone()[0]

        try:
            yield waiting
        finally:
            db.execute('SELECT pg_advisory_unlock(%s)', (LOCK,))


def metric(stack, name):
    return stack.metrics()[f'astro_pg_{name}']


def test_a_slow_report_holds_nobody_up(slow, advisor):
    """One worker, its two connections for reports busy."""
    client = slow.person(balance=700)
    before = metric(slow, 'calls_total')
    with instead(slow, WAIT + ANSWER), ThreadPoolExecutor(2) as pool:
        with held(slow) as waiting:
            reports = [pool.submit(slow.rest.get, PATH, advisor.token)
                       for _ in range(2)]
            eventually(lambda: waiting() == 2)
            for _ in range(3):
                answer = slow.rest.get('/api/wallet', client.token)
                assert answer.json['balance']['amount'] == 700
            assert slow.rest.get('/health/ready').status == 200
            assert waiting() == 2, 'the reports were over by then'
            assert not any(r.done() for r in reports)
            assert metric(slow, 'slow_in_flight') == 2
            assert metric(slow, 'slow_up') == 2
            assert metric(slow, 'up') == 3
        assert [r.result().status for r in reports] == [200, 200]
    # whatever watches the calls of everybody else does not see them
    assert metric(slow, 'calls_total') - before < 20
    assert metric(slow, 'slow_call_seconds_count') >= 2
    assert metric(slow, 'slow_in_flight') == 0


def test_as_many_wait_as_may(slow, advisor, another):
    refused = metric(slow, 'slow_refused_total')
    with instead(slow, WAIT + ANSWER), ThreadPoolExecutor(4) as pool:
        with held(slow) as waiting:
            # one that is being connected for them would have them all wait
            reports = [pool.submit(slow.rest.get, PATH, one.token)
                       for one in (advisor, another)]
            eventually(lambda: waiting() == 2)
            reports += [pool.submit(slow.rest.get, PATH, one.token)
                        for one in (advisor, another)]
            eventually(lambda: metric(slow, 'slow_queue') == 2)
            answer = slow.rest.get(PATH, advisor.token)
            problem(answer, 503, 'unavailable')
            assert int(answer.headers['Retry-After']) >= 1
            assert metric(slow, 'slow_refused_total') == refused + 1
        assert [r.result().status for r in reports] == [200] * 4
    assert metric(slow, 'slow_queue') == 0


def test_one_user_does_not_take_all(slow, advisor, another):
    """Three at a time; another's place is left."""
    with instead(slow, WAIT + ANSWER), ThreadPoolExecutor(4) as pool:
        with held(slow) as waiting:
            reports = [pool.submit(slow.rest.get, PATH, advisor.token)
                       for _ in range(2)]
            eventually(lambda: waiting() == 2)
            reports.append(pool.submit(slow.rest.get, PATH, advisor.token))
            eventually(lambda: metric(slow, 'slow_queue') == 1)
            answer = slow.rest.get(PATH, advisor.token)
            problem(answer, 429, 'rate_limited')
            assert int(answer.headers['Retry-After']) >= 1
            reports.append(pool.submit(slow.rest.get, PATH, another.token))
            eventually(lambda: metric(slow, 'slow_queue') == 2)
        assert [r.result().status for r in reports] == [200] * 4
        assert slow.rest.get(PATH, advisor.token).status == 200


def test_who_goes_away_waits_no_more(slow, advisor):
    """Their place is another's, and their report is not made."""
    with instead(slow, WAIT + ANSWER), ThreadPoolExecutor(3) as pool:
        with held(slow) as waiting:
            reports = [pool.submit(slow.rest.get, PATH, advisor.token)
                       for _ in range(2)]
            eventually(lambda: waiting() == 2)
            calls = metric(slow, 'slow_call_seconds_count')
            gone = http.client.HTTPSConnection(
                '127.0.0.1', slow.port, context=slow.tls)
            gone.request('GET', PATH, headers={
                'Authorization': f'Bearer {advisor.token}'})
            eventually(lambda: metric(slow, 'slow_queue') == 1)
            gone.close()
            eventually(lambda: metric(slow, 'slow_queue') == 0)
            # under way as well: the answer finds nobody
            reports.append(pool.submit(slow.rest.get, PATH, advisor.token))
            eventually(lambda: metric(slow, 'slow_queue') == 1)
        assert [r.result().status for r in reports] == [200] * 3
        assert metric(slow, 'slow_call_seconds_count') == calls + 3


def test_who_goes_away_meanwhile_is_not_answered(slow, advisor):
    with instead(slow, WAIT + ANSWER):
        with held(slow) as waiting:
            gone = http.client.HTTPSConnection(
                '127.0.0.1', slow.port, context=slow.tls)
            gone.request('GET', PATH, headers={
                'Authorization': f'Bearer {advisor.token}'})
            eventually(lambda: waiting() == 1)
            gone.close()
            assert slow.rest.get('/api/wallet', advisor.token).status == 200
        eventually(lambda: metric(slow, 'slow_in_flight') == 0)
        assert slow.rest.get(PATH, advisor.token).status == 200


def test_their_time_is_their_own(slow, advisor):
    with instead(slow, ANSWER):
        assert slow.rest.get(PATH, advisor.token).json == {'t': '1min'}
    with instead(slow, ANSWER, 'me'):
        assert slow.rest.get('/api/me', advisor.token).json == {'t': '10s'}


def test_their_connections_are_closed_when_idle(slow, advisor):
    assert slow.rest.get(PATH, advisor.token).status == 200
    made = metric(slow, 'slow_connects_total')
    eventually(lambda: metric(slow, 'slow_up') == 0)
    with slow.db() as db:
        eventually(lambda: db.execute(
            'SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE'
            " 'astro nginx slow%'").fetchone()[0] == 0)
    assert slow.rest.get(PATH, advisor.token).status == 200
    assert metric(slow, 'slow_connects_total') == made + 1


def test_they_come_back_with_the_database(slow, advisor):
    with instead(slow, WAIT + ANSWER), ThreadPoolExecutor(1) as pool:
        with held(slow) as waiting:
            report = pool.submit(slow.rest.get, PATH, advisor.token)
            eventually(lambda: waiting() == 1)
            with slow.db() as db:
                db.execute(
                    'SELECT pg_terminate_backend(pid) FROM pg_stat_activity'
                    " WHERE application_name LIKE 'astro nginx slow%'")
            problem(report.result(), 503, 'unavailable')
            assert slow.rest.get('/api/wallet', advisor.token).status == 200
    eventually(lambda: slow.rest.get(PATH, advisor.token).status == 200)
    slow.crash_pg()
    try:
        eventually(lambda: slow.rest.get(PATH, advisor.token).status == 503)
    finally:
        slow.start('pg')
    eventually(lambda: slow.rest.get(PATH, advisor.token).status == 200)


def test_calls_that_nobody_answers_are_bounded(slow, advisor):
    """All of one connection, behind one that waits."""
    with instead(slow, WAIT + ANSWER, 'me'), ThreadPoolExecutor(20) as pool:
        with held(slow) as waiting:
            asked = [pool.submit(slow.rest.get, '/api/me', advisor.token)
                     for _ in range(20)]
            eventually(lambda: waiting() == 1
                       and sum(a.done() for a in asked) >= 12)
            assert sum(a.done() for a in asked) < 20
            assert metric(slow, 'in_flight') >= 8
        answers = [a.result() for a in asked]
    assert sum(a.status == 200 for a in answers) <= 8
    for answer in answers:
        if answer.status != 200:
            problem(answer, 503, 'unavailable')
            assert answer.headers['Retry-After']
    assert slow.rest.get('/api/me', advisor.token).status == 200
