"""What admins set while all of it runs: the commission from an instant on, and
options; sessions keep what held when they were started."""

import datetime
import time

import psycopg
import pytest

from astro.consult import Consultation
from astro.stack import eventually
from test_http import problem

PATH = '/api/admin/config'


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json


@pytest.fixture(scope='module')
def boss(shared):
    return shared.person('admin')


@pytest.fixture
def terms(stack):
    """What is said for all is unsaid again."""
    with stack.db() as db:
        last, = db.execute('SELECT coalesce(max(id), 0) FROM consult.term'
                           ).fetchone()
        yield
        db.execute('DELETE FROM consult.term WHERE id > %s', (last,))


def put(stack, who, body):
    return ok(stack.rest.call('PUT', PATH, body, who.token))


def commission(stack, who, bps, **more):
    more = {k.rstrip('_'): v for k, v in more.items()}
    return put(stack, who, {'commission': {'bps': bps, **more}})


def started(stack, advisor, service='chat'):
    """What a new session with that advisor is charged by; it is over."""
    talk = Consultation(stack, service=service)
    talk.advisor = advisor
    talk.connect().ring()
    bps = talk.row()['commission_bps']
    talk.c.call('session_cancel', talk.this)
    talk.ended()
    return bps


def test_l7_the_most_special_one_holds(stack, boss, terms):
    """Advisor and service, advisor, service, all, the advisor's own."""
    one, other = stack.person('advisor'), stack.person('advisor', bps=1234)
    assert (started(stack, one), started(stack, other)) == (3000, 1234)
    commission(stack, boss, 2000)
    assert (started(stack, one), started(stack, other)) == (2000, 2000)
    commission(stack, boss, 1900, service='audio')
    assert started(stack, one, 'audio') == 1900
    assert started(stack, one, 'chat') == 2000
    commission(stack, boss, 1500, advisor=one.id)
    assert started(stack, one, 'audio') == 1500
    assert started(stack, other, 'audio') == 1900
    told = commission(stack, boss, 0, advisor=one.id, service='audio')
    assert started(stack, one, 'audio') == 0
    assert started(stack, one, 'chat') == 1500
    assert sorted((c['service'] or '', c['bps']) for c in told['commission']
                  ) == [('', 1500), ('audio', 0)]
    assert {c['advisor'] for c in told['commission']} == {one.id}
    assert ok(stack.rest.get(f'{PATH}?advisor={one.id}', boss.token)) == told
    # nothing of its own any more
    commission(stack, boss, None, advisor=one.id)
    commission(stack, boss, None, advisor=one.id, service='audio')
    assert started(stack, one, 'audio') == 1900
    commission(stack, boss, None)
    commission(stack, boss, None, service='audio')
    assert (started(stack, one), started(stack, other)) == (3000, 1234)


def test_l7_from_an_instant_on_and_not_before(stack, boss, terms):
    """What is to come is told, and takes force then, on workers that run all
    the while; who is in a session keeps his, to the last charge."""
    advisor = stack.person('advisor')
    old = Consultation(stack).active()
    pids = stack.nginx_workers()
    begins = (datetime.datetime.now(datetime.timezone.utc)
              + datetime.timedelta(seconds=3))
    told = commission(stack, boss, 1000, from_=begins.isoformat())
    assert (told['commission'][-1]['bps'], told['commission'][-1]['by']) == (
        1000, boss.id)
    commission(stack, boss, 500, advisor=old.advisor.id)
    before = started(stack, advisor)
    assert before == 3000 or time.time() >= begins.timestamp()

    def over():
        return datetime.datetime.now(datetime.timezone.utc) > begins or None

    eventually(over, 10)
    assert started(stack, advisor) == 1000
    old.end()
    assert old.assert_settled()['commission_bps'] == 3000
    assert stack.nginx_workers() == pids


def test_l7_bookings_and_gifts_go_by_it(stack, boss, terms):
    advisor, client = stack.person('advisor'), stack.person('client', 1000000)
    commission(stack, boss, 2500, advisor=advisor.id)
    with stack.db() as db:
        db.execute('SELECT billing.gift(%s, %s, 1000, NULL, %s)',
                   (client.number, advisor.number, f'gift {client.id}'))
    assert advisor.wallet() == (750, 0)
    stack.rest.call('PUT', '/api/advisors/me/schedule', {
        'time_zone': 'UTC', 'slot_minutes': 30, 'lead_minutes': 0,
        'week': [{'day': d, 'from': '00:00', 'to': '24:00'}
                 for d in range(1, 8)]}, advisor.token)
    day = (datetime.datetime.now(datetime.timezone.utc)
           + datetime.timedelta(days=2)).strftime('%Y-%m-%dT10:00:00.000Z')
    booking = ok(stack.rest.post('/api/bookings', {
        'advisor': advisor.id, 'start': day, 'service': 'chat'},
        client.token), 201)
    with stack.db() as db:
        assert db.execute('SELECT commission_bps FROM consult.booking'
                          ' WHERE id = %s', (int(booking['id'][2:]),)
                          ).fetchone() == (2500,)


def test_l7_options(stack, boss):
    """Each is read back from its table; wrong ones are named, and then none
    of the others is set."""
    was = ok(stack.rest.get(PATH, boss.token))
    try:
        told = put(stack, boss, {
            'tariff': {'video': {'whole_minute': True, 'min_minor': 7}},
            'booking': {'late_bps': 4000}, 'chat': {'edit_ms': 5000},
            'dispute': {'open_days': 3}, 'reason': 'as decided'})
        assert told['tariff']['video'] == {**was['tariff']['video'],
                                           'whole_minute': True,
                                           'min_minor': 7}
        assert told['tariff']['chat'] == was['tariff']['chat']
        assert told['booking'] == {**was['booking'], 'late_bps': 4000}
        assert (told['chat']['edit_ms'], told['dispute']) == (
            5000, {'open_days': 3})
        act = ok(stack.rest.get('/api/admin/log?act=config_edit&limit=1',
                                boss.token))['data'][0]
        assert act['detail']['reason'] == 'as decided'
        assert act['detail']['changes']['booking.late_bps'] == {
            'from': str(was['booking']['late_bps']), 'to': '4000'}
        advisor = stack.person('advisor')
        talk = Consultation(stack, service='video')
        talk.advisor = advisor
        talk.connect().ring()
        row = talk.row()
        assert (row['whole_minute'], row['min_minor']) == (True, 7)
        talk.c.call('session_cancel', talk.this)
        talk.ended()
        for body, field in (
                ({'booking': {'late_bps': 10001}}, '/booking/late_bps'),
                ({'chat': {'edit_ms': -1}}, '/chat/edit_ms'),
                ({'dispute': {'open_days': '3'}}, '/dispute/open_days'),
                ({'tariff': {'chat': {'whole_minute': 1}}},
                 '/tariff/chat/whole_minute'),
                ({'tariff': {'chat': 1}}, '/tariff/chat'),
                ({'booking': []}, '/booking'),
                ({'commission': {}}, '/commission/bps'),
                ({'commission': {'bps': 10001}}, '/commission/bps'),
                ({'commission': {'bps': 1, 'service': 'x'}},
                 '/commission/service'),
                ({'commission': {'bps': 1, 'from': '2020-01-01T00:00:00Z'}},
                 '/commission/from')):
            said = problem(stack.rest.call(
                'PUT', PATH, {**body, **({} if 'dispute' in body else
                                         {'dispute': {'open_days': 99}})},
                boss.token), 400, 'bad_request')
            assert said['errors'][0]['pointer'] == field
        assert ok(stack.rest.get(PATH, boss.token)) == told
    finally:
        put(stack, boss, {k: was[k] for k in ('tariff', 'booking', 'chat',
                                              'dispute')})
    assert ok(stack.rest.get(PATH, boss.token)) == was
    problem(stack.rest.call('PUT', PATH, {'commission': {
        'bps': 1, 'advisor': stack.person().id}}, boss.token), 404,
        'not_found')
    problem(stack.rest.get(PATH, stack.person().token), 403, 'forbidden')


def test_l7_nobody_who_serves_rewrites_it(stack):
    with stack.db() as db:
        for role in ('astro_admin', 'astro_api', 'astro_engine'):
            for order in ('UPDATE consult.term SET bps = 1',
                          'DELETE FROM consult.term'):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    db.execute(f'SET ROLE {role}; {order}')
                db.execute('RESET ROLE')
