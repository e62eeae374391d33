"""Figures for admins over HTTP: what is asked for, and what an account has
done.  What the figures have to be is in test_sql_stats.py."""

import csv
import io
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import eventually
from test_http import problem

STATS, ANALYTICS = '/api/admin/stats', '/api/admin/analytics'


@pytest.fixture(scope='module')
def boss(shared):
    return shared.person('admin')


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json


def number(who):
    return int(who.id[2:])


def roll(stack):
    """Until nothing waits; a worker may be at it, too."""
    with stack.db() as db:
        eventually(lambda: db.execute(
            'SELECT billing.stats_roll() IS NULL AND (SELECT min(id) FROM'
            ' stats.fresh) IS NULL').fetchone()[0], 30)


def test_l1_stats_over_http(stack, rest, boss):
    roll(stack)
    before = ok(rest.get(f'{STATS}?period=today', boss.token))
    made = [stack.person() for _ in range(3)]
    roll(stack)
    after = ok(rest.get(f'{STATS}?period=today', boss.token))
    assert after['users']['new'] - before['users']['new'] >= len(made)
    assert after['as_of'] > before['as_of']
    assert ok(rest.get(STATS, boss.token))['users']['new'] == \
        after['users']['total']
    for query, field in (('period=1d', '/period'), ('from=x', '/from'),
                         ('to=2026-02-30', '/to'),
                         ('from=2026-02-02&to=2026-02-01', '/from'),
                         ('period=7d&from=2026-02-01', '/period')):
        problem(rest.get(f'{STATS}?{query}', boss.token), 400, 'bad_request',
                field)
    for who in (made[0], stack.person('advisor')):
        for path in (STATS, ANALYTICS,
                     f'/api/admin/users/{who.id}/activity'):
            problem(rest.get(path, who.token), 403, 'forbidden')


def test_n12_analytics_over_http(stack, rest, boss):
    roll(stack)
    rows = ok(rest.get(f'{ANALYTICS}?period=7d', boss.token))['data']
    answer = rest.get(f'{ANALYTICS}?period=7d&format=csv', boss.token)
    assert answer.status == 200
    assert answer.headers['Content-Type'] == 'text/csv; charset=utf-8'
    assert answer.headers['Content-Disposition'] == 'attachment'
    table = list(csv.DictReader(io.StringIO(answer.body.decode(),
                                            newline='')))
    assert len(table) == len(rows) == 7
    assert [row['day'] for row in table] == [row['day'] for row in rows]
    assert list(table[0]) == list(rows[0])
    for query, field in (('report=x', '/report'), ('format=xml', '/format'),
                         ('period=all', '/from'),
                         ('from=2020-01-01&to=2026-01-01', '/from')):
        problem(rest.get(f'{ANALYTICS}?{query}', boss.token), 400,
                'bad_request', field)


def test_n18_one_users_acts(stack, rest, boss):
    body = {'email': f'{uuid.uuid4().hex}@stats.test', 'password': 'pass 1234',
            'name': 'Acts'}
    who = ok(rest.post('/api/auth/register', body), 201)['id']
    del body['name']
    token = ok(rest.post('/api/auth/login', body))['token']
    problem(rest.post('/api/auth/login', {**body, 'password': 'x'}), 401,
            'unauthorized')
    advisor = stack.person('advisor')
    with stack.db() as db:
        db.execute("INSERT INTO ledger.payment (provider, payment_id,"
                   " owner_id, amount, currency) VALUES ('stripe', %s, %s,"
                   " 700, 'INR')", (uuid.uuid4().hex, who[2:]))
    with stack.db() as db:
        session, = db.execute(
            'WITH c AS (INSERT INTO consult.conversation (client_id,'
            ' advisor_id) VALUES (%(c)s, %(a)s) RETURNING id)'
            ' INSERT INTO consult.session (conversation_id, client_id,'
            ' advisor_id, client_wallet, advisor_wallet, cid, service,'
            ' rate_minor, commission_bps, state, state_ms, reason, ended_at,'
            ' settled) SELECT c.id, %(c)s, %(a)s, w.id, v.id,'
            " gen_random_uuid(), 'chat', 6000, 3000, 'ended', 1, 'missed',"
            ' now(), true FROM c, ledger.wallet w, ledger.wallet v'
            ' WHERE w.owner_id = %(c)s AND v.owner_id = %(a)s RETURNING id',
            {'c': who[2:], 'a': number(advisor)}).fetchone()
    assert rest.post('/api/auth/logout', {}, token).status == 200

    def acts(of, limit):
        found, cursor = [], ''
        while cursor is not None:
            page = ok(rest.get(f'/api/admin/users/{of}/activity?limit={limit}'
                               + (f'&cursor={cursor}' if cursor else ''),
                               boss.token))
            found += page['data']
            cursor = page['next_cursor']
        return found

    found = acts(who, 50)
    assert [act['act'] for act in found] == [
        'logout', 'session', 'payment', 'login', 'register']
    assert found == acts(who, 2) == acts(who, 1)
    money = {'amount': 0, 'currency': 'INR'}
    assert found[1] == {
        'at': found[1]['at'], 'act': 'session', 'about': f's_{session}',
        'state': 'ended', 'service': 'chat', 'with': advisor.id,
        'ended_at': found[1]['ended_at'], 'reason': 'missed',
        'charged': money}
    assert found[2]['about'] == 'stripe'
    assert found[2]['amount'] == {'amount': 700, 'currency': 'INR'}
    assert [act['with'] for act in acts(advisor.id, 50)
            if act['act'] == 'session'] == [who]
    problem(rest.get('/api/admin/users/u_999999999/activity', boss.token),
            404, 'not_found')
    problem(rest.get(f'/api/admin/users/{who}/activity?cursor=1.x',
                     boss.token), 400, 'bad_request', '/cursor')


def test_n18_who_was_here_today(stack, rest):
    """Who has a token and does nothing was not."""
    absent, there = stack.person(), stack.person()
    c = Consultation(stack)
    body = {'email': f'{uuid.uuid4().hex}@stats.test', 'password': 'pass 1234',
            'name': 'Here'}
    came = ok(rest.post('/api/auth/register', body), 201)['id']
    never = ok(rest.post('/api/auth/register', {
        **body, 'email': f'{uuid.uuid4().hex}@stats.test'}), 201)['id']
    rest.login(body['email'], body['password'])
    there.connect()
    c.connect()

    def here():
        roll(stack)
        with stack.db() as db:
            return {f'u_{who}' for who, in db.execute(
                'SELECT account_id FROM stats.active_day WHERE day ='
                " (now() AT TIME ZONE 'UTC')::date")}

    wanted = {came, there.id, c.client.id, c.advisor.id}
    eventually(lambda: wanted <= here(), 10)
    assert not {absent.id, never} & here()
