"""What the people of a consultation see of its money, and how soon: nginx, the
billing worker, PostgreSQL and Redis, all real."""

import email.utils
import glob
import time
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import Host, eventually, sanitized
from astro.ws import SLOW


def test_many_run_dry(stack):
    """Each party of each hears of the end when the money is spent, not when
    somebody happens to look: half of them within 250 ms, all within 1 s, on
    a machine that has nothing else to do."""
    late, talks = [], []
    for i in range(8):
        talk = Consultation(stack, balance=300 + 37 * i,
                            rates=(6000, None, None)).connect()
        talk.ring()
        talk.accept()
        talks.append(talk)
    for talk in talks:
        talk.join()
    apart = time.time() - time.monotonic()
    for talk in talks:
        ends = [party.expect('session_end', timeout=20)
                for party in (talk.c, talk.a)]
        row = talk.assert_settled()
        assert row['reason'] == 'low_balance'
        assert row['charged'] == 300 + 37 * talks.index(talk)
        late += [(end['_t'] + apart) * 1000 - row['paid_until_ms']
                 for end in ends]
    late.sort()
    assert late[len(late) // 2] < 250 * SLOW, late
    assert late[-1] < 1000 * SLOW + 500, late
    assert stack.audit()[0] == 0


@pytest.mark.parametrize('rate, balance', [
    (60000, 3500), (7777, 333), (1000000, 54316)])
def test_until_the_money_is_spent(stack, rate, balance):
    """Charged exactly what it cost, to the millisecond, and then ended: one
    more would have cost more than there was."""
    talk = Consultation(stack, balance=balance, rates=(rate, None, None))
    talk.active()
    low = talk.c.expect('billing_low')['payload']
    assert low['session'] == talk.id and low['left_s'] <= 3
    end = talk.ended(timeout=20)
    assert end['reason'] == 'low_balance'
    row = talk.assert_settled()
    assert row['charged'] == balance == rate * row['billed_ms'] // 60000
    assert rate * (row['billed_ms'] + 1) // 60000 > balance
    assert talk.client.wallet() == (0, 0)
    last = talk.c.expect('billing_tick',
                         lambda m: m['payload']['charged'] == balance)
    assert last['payload']['balance'] == 0
    assert talk.c.expect('wallet', lambda m: m['payload']['balance']
                         in (0, {'amount': 0, 'currency': 'INR'}))
    code, said = stack.audit()
    assert code == 0, said


def test_max_minutes(stack):
    """Ends by itself; the client's own maximum is not passed by one ms."""
    talk = Consultation(stack).connect()
    talk.ring(max_minutes=1)
    with stack.db() as db:
        db.execute('UPDATE consult.session SET max_ms = 2500 WHERE id = %s',
                   (talk.number,))
    talk.accept()
    talk.join()
    talk.ended(timeout=20)
    row = talk.assert_settled()
    assert row['billed_ms'] == 2500
    assert row['charged'] == 250


def test_nobody_pays_while_one_is_away(stack):
    talk = Consultation(stack).active()
    time.sleep(1)
    talk.c.drop()
    left = time.monotonic()
    talk.state('reconnecting', talk.a)
    time.sleep(3 * SLOW)
    away = time.monotonic() - left
    talk.client.connect(resume=True)
    talk.c.call('session_join', talk.this)
    talk.state('active', talk.a)
    begin = time.monotonic()
    time.sleep(1)
    talk.end()
    total = time.monotonic() - begin
    row = talk.assert_settled()
    assert row['billed_ms'] < (1 + total + 1.5 * SLOW) * 1000
    assert away > 2.5
    assert stack.audit()[0] == 0


def test_silence_is_absence(stack):
    """A party whose network died is unbilled from its last byte on."""
    talk = Consultation(stack).active()
    time.sleep(1)
    talk.c.auto_pong = False
    talk.c.answer_pings = False
    talk.state('reconnecting', talk.a, timeout=10)
    before = talk.row()['billed_ms']
    talk.a.call('session_end', talk.this)
    talk.a.expect('session_end')
    row = talk.assert_settled()
    assert row['billed_ms'] <= max(before, 3000)


def test_the_gateway_stops_at_paid_until(stack):
    """With the billing worker suspended: what was not paid is not relayed."""
    talk = Consultation(stack, balance=100000).active()
    talk.c.say(talk.conv, 'paid')
    stack.pause_billing()
    try:
        paid_until = talk.row()['paid_until_ms']
        for party in (talk.c, talk.a):
            update = party.expect(
                'session_update',
                lambda m: m['payload']['state'] == 'paused', 12)
            assert update['payload']['reason'] == 'unpaid'
        for party in (talk.c, talk.a):
            assert party.refused('chat_message', {
                'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
                'text': 'free?'})['code'] == 'unpaid'
            assert party.refused('signal_ice_candidate', {
                **talk.this, 'gen': 1})['code'] == 'unpaid'
        talk.a.quiet('chat_message', 0.3, lambda m: m['payload'][
            'text'] == 'free?')
        assert talk.row()['paid_until_ms'] == paid_until
    finally:
        stack.resume_billing()

    # there is money: it goes on by itself, and nothing unpaid was billed
    talk.state('active', timeout=15)
    talk.c.say(talk.conv, 'paid again')
    talk.end()
    talk.assert_settled()
    code, said = stack.audit()
    assert code == 0, said


def test_the_end_of_the_money_with_the_worker_dead(stack):
    """Nobody gets an unpaid second; the worker settles when it is back."""
    talk = Consultation(stack, balance=2500,
                        rates=(60000, None, None)).active()
    stack.kill_billing()
    for party in (talk.c, talk.a):
        party.expect('session_update',
                     lambda m: m['payload']['state'] == 'paused', 12)
    assert talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': 'free?'})['code'] == 'unpaid'
    stack.start('worker')
    end = talk.ended(timeout=20)
    assert end['reason'] == 'low_balance'
    row = talk.assert_settled()
    assert (row['billed_ms'], row['charged']) == (2500, 2500)
    assert stack.audit()[0] == 0


def test_a_top_up_in_time(stack):
    talk = Consultation(stack, balance=3000,
                        rates=(60000, None, None)).active()
    talk.c.expect('billing_low')
    with stack.db() as db:
        db.execute('SELECT billing.topup(%s, %s, %s)',
                   (talk.client.number, 50000, str(uuid.uuid4())))
    time.sleep(4)
    assert talk.c.say(talk.conv, 'still here')
    talk.end()
    row = talk.assert_settled()
    assert row['charged'] > 3000
    assert talk.client.wallet() == (53000 - row['charged'], 0)


# -- ticks ---------------------------------------------------------------------

def hear(stack, text):
    """Says something as a billing worker would."""
    stack.redis('PUBLISH', 'astro:events', text)


def test_ticks_are_told_to_their_own(stack):
    """The frames are what they always were, whoever makes them; and a message
    that is damaged spoils nothing but its bad lines."""
    talk = Consultation(stack).active()
    other = stack.person().connect()
    stack.pause_billing()
    try:
        row = talk.row()
        good = (talk.number, row['ver'], row['paid_until_ms'],
                talk.client.number, talk.advisor.number, 1234, 123, 87,
                99877, 998)
        before = stack.metrics()
        hear(stack, 'T\nnonsense\n' + ' '.join(map(str, good[:9])) + '\n'
             + f'1 1 1 {2 ** 60} {talk.client.number} 1 1 1 1 1\n'
             + f'{talk.number} 1 {2 ** 63} 1 1 1 1 1 1 1\n\n'
             + ' '.join(map(str, good)) + '\n' + ' '.join(map(str, good)))
        tick = talk.c.expect('billing_tick',
                             lambda m: m['payload']['billed_ms'] == 1234)
        assert tick['_raw'] == (
            '{"type":"billing_tick","payload":{"session":"%s",'
            '"billed_ms":1234,"charged":123,"balance":99877,"left_s":998}}'
            % talk.id)
        tick = talk.a.expect('billing_tick',
                             lambda m: m['payload']['billed_ms'] == 1234)
        assert tick['_raw'] == (
            '{"type":"billing_tick","payload":{"session":"%s",'
            '"billed_ms":1234,"charged":123,"earned":87}}' % talk.id)

        # both workers of nginx have read it all, and each knows one of the two
        eventually(lambda: stack.metrics()['astro_ticks_bad_total']
                   - before['astro_ticks_bad_total'] >= 12)
        after = stack.metrics()
        for name, n in (('bad', 12), ('told', 2)):
            name = f'astro_ticks_{name}_total'
            assert after[name] - before[name] == n, name
        other.quiet('billing_tick', 0.2)
        for party in (talk.c, talk.a):
            party.quiet('billing_tick', 0.1)
    finally:
        stack.resume_billing()
    talk.end()
    talk.assert_settled()


def test_a_tick_moves_paid_until(stack):
    """And nothing else is needed for it: the gateway stops at the millisecond
    that the last one said."""
    talk = Consultation(stack).active()
    talk.c.expect('billing_tick')
    stack.pause_billing()
    try:
        row = talk.row()
        until = row['paid_until_ms'] + 2000
        for ver, paid in ((row['ver'], until), (row['ver'], until - 1500),
                          (row['ver'] - 1, until + 5000),
                          (row['ver'] + 1, until + 5000)):
            hear(stack, f'T\n{talk.number} {ver} {paid} {talk.client.number}'
                        f' {talk.advisor.number} 1 0 0 0 0\n')
        for party in (talk.c, talk.a):
            party.expect('session_update',
                         lambda m: m['payload']['state'] == 'paused', 15)

        def closed():
            with stack.db() as db:
                return db.execute(
                    'SELECT DISTINCT g.started_ms + i.close_life_ms'
                    '  FROM consult.interval i JOIN consult.gateway g'
                    '    ON g.id = i.gateway_id WHERE session_id = %s',
                    (talk.number,)).fetchall() == [(until,)]
        eventually(closed, what='intervals closed where a tick said')
    finally:
        stack.resume_billing()
    # there is money: what was served is paid after all, what was not is not
    talk.state('active', timeout=15)
    talk.end()
    talk.assert_settled()
    code, said = stack.audit()
    assert code == 0, said


# -- clocks --------------------------------------------------------------------

@pytest.fixture
def ahead(stack):
    """A second host, whose time of day is an hour ahead of everybody's."""
    found = glob.glob('/usr/lib/*/faketime/libfaketime.so.1')
    if not found or sanitized():
        pytest.skip('libfaketime is not there, or in the sanitizers\' way')
    host = Host(stack, workers=1)
    host.script('conf')             # its certificate is of our time
    host.env.update(LD_PRELOAD=found[0], FAKETIME='+1h',
                    FAKETIME_DONT_FAKE_MONOTONIC='1')
    try:
        yield host.up()
    finally:
        del host.env['LD_PRELOAD']
        host.down()


def test_hosts_an_hour_apart(stack, ahead):
    """Each party at another one: charged to the millisecond, and both hosts
    stop at the same one. Only the database's clock and the time that passes
    count."""
    date = email.utils.parsedate_to_datetime(
        ahead.rest.get('/api/health').headers['Date'])
    assert abs(date.timestamp() - time.time() - 3600) < 60

    talk = Consultation(stack, balance=350, rates=(6000, None, None))
    talk.client.stack = ahead
    talk.client.token = stack.jwt(talk.client.number, 'client', ttl=3 * 3600)
    talk.client.connect()
    talk.advisor.connect()
    talk.ring()
    talk.accept()
    talk.join()
    talk.state('active')
    talk.c.say(talk.conv, 'what time is it?')
    talk.a.expect('chat_message')
    assert talk.ended(timeout=20)['reason'] == 'low_balance'

    row = talk.assert_settled()
    assert row['charged'] == 350
    assert 6000 * (row['billed_ms'] + 1) // 60000 > 350
    with stack.db() as db:
        closed = db.execute(
            'SELECT g.node, g.started_ms + i.close_life_ms, i.close_reason'
            '  FROM consult.interval i JOIN consult.gateway g'
            '    ON g.id = i.gateway_id WHERE session_id = %s',
            (talk.number,)).fetchall()
    assert len(closed) == 2
    assert {(at, why) for _, at, why in closed} \
        == {(row['paid_until_ms'], 'unpaid')}
    code, said = stack.audit()
    assert code == 0, said


# -- without ---------------------------------------------------------------------

def test_redis_is_speed_only(stack):
    """Without Redis everything happens, later."""
    talk = Consultation(stack, balance=100000).active()
    stack.stop('redis')
    try:
        for i in range(3):
            talk.c.say(talk.conv, f'{i}')
            talk.a.expect('chat_message')
        time.sleep(5 * SLOW)
        assert talk.c.say(talk.conv, 'paid for')
        talk.c.call('session_end', talk.this)
        end = talk.ended(timeout=30)
        assert end['reason'] == 'client_ended'
        talk.assert_settled()
    finally:
        stack.start('redis')
    stack.expected.append('Redis|redis')
    Consultation(stack).active().end()
