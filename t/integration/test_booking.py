"""Working hours, bookings with a deposit, how they begin, who waits, and what
people are told of it all."""

import datetime
import random
import threading
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import eventually
from test_http import problem

UTC = datetime.timezone.utc
DAY = datetime.timedelta(days=1)
RATE, SLOT = 6000, 30
DEPOSIT = RATE * SLOT // 4


def number(person):
    return int(person.id[2:])


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json


def text(instant):
    return instant.strftime('%Y-%m-%dT%H:%M:%S.000Z')


def midnight(days):
    now = datetime.datetime.now(UTC)
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + days * DAY


def works(stack, zone='UTC', hours=('00:00', '24:00'), days=(), **more):
    """An advisor who works at these hours each day."""
    me = stack.person('advisor', rates=(RATE, 9000, 12000))
    body = {'time_zone': zone, 'slot_minutes': SLOT, 'lead_minutes': 0,
            'week': [{'day': d, 'from': hours[0], 'to': hours[1]}
                     for d in range(1, 8)], 'days': list(days), **more}
    answer = ok(stack.rest.call('PUT', '/api/advisors/me/schedule', body,
                                me.token))
    assert {k: answer[k] for k in body} == body
    return me


def slots(stack, who, advisor, start, end):
    page = ok(stack.rest.get(f'/api/advisors/{advisor.id}/slots'
                             f'?from={text(start)}&to={text(end)}',
                             who.token))
    return [s['start'] for s in page['data']]


def book(stack, client, advisor, start, status=201, **more):
    return ok(stack.rest.post('/api/bookings', {
        'advisor': advisor.id, 'start': text(start), 'service': 'chat',
        **more}, client.token), status)


def act(stack, who, booking, what, status=200, body=None):
    return ok(stack.rest.post(f"/api/bookings/{booking['id']}/{what}", body,
                              who.token), status)


def state(stack, who, booking):
    return ok(stack.rest.get(f"/api/bookings/{booking['id']}",
                             who.token))['state']


def moved(stack, booking, minutes):
    """The booking's slot now begins in so many minutes."""
    with stack.db() as db:
        db.execute("UPDATE consult.booking SET start_at = now() + %s,"
                   " end_at = now() + %s + interval '30 minutes',"
                   ' due_at = now() WHERE id = %s AND ended_at IS NULL',
                   (datetime.timedelta(minutes=minutes),) * 2
                   + (int(booking['id'][2:]),))


def told(client, kind, about=None, timeout=None):
    return client.expect('notification', lambda m:
                         m['payload']['kind'] == kind and (
                             about is None or
                             m['payload']['about'].get('id') == about['id']),
                         timeout)['payload']


def books_are_right(stack):
    assert stack.audit()[0] == 0, stack.audit()[1]
    with stack.db() as db:
        assert db.execute('SELECT count(*) FROM ledger.wallet WHERE held < 0'
                          ' OR balance < held').fetchone() == (0,)


# B3

def test_b3_hours_become_slots(stack, rest):
    me = works(stack, 'Asia/Kolkata', ('09:00', '10:45'), days=[
        {'date': midnight(6).strftime('%Y-%m-%d'), 'hours': []},
        {'date': midnight(7).strftime('%Y-%m-%d'),
         'hours': [{'from': '23:30', 'to': '24:00'}]}])
    who = stack.person()
    start = midnight(5) - datetime.timedelta(hours=5.5)     # in Kolkata
    hour = datetime.timedelta(hours=1)
    assert slots(stack, who, me, start, start + 3 * DAY) == [
        text(start + d * DAY + h * hour) for d, h in
        ((0, 9), (0, 9.5), (0, 10), (2, 23.5))]

    # the range has the first, and not the last
    assert slots(stack, who, me, start + 9 * hour, start + 10 * hour) == [
        text(start + h * hour) for h in (9, 9.5)]
    # nothing is too near or too far
    assert slots(stack, who, me, midnight(-3), midnight(0)) == []
    assert slots(stack, who, me, midnight(33), midnight(60)) == []
    nobody = stack.person('advisor')
    assert slots(stack, who, nobody, start, start + DAY) == []

    one = rest.get('/api/advisors/me/schedule', me.token)
    stale = {'If-Match': '"7"'}
    assert rest.call('PUT', '/api/advisors/me/schedule', one.json, me.token,
                     headers=stale).status == 412
    for week, field in (
            ([{'day': 8, 'from': '09:00', 'to': '10:00'}], '/week/0/day'),
            ([{'day': 1, 'from': '10:00', 'to': '10:00'}], '/week/0/to'),
            ([{'day': 1, 'from': '9:00', 'to': '10:00'}], '/week/0/from'),
            ([{'day': 1, 'from': '09:00', 'to': '10:00'},
              {'day': 1, 'from': '09:30', 'to': '11:00'}], '/week')):
        said = problem(rest.call('PUT', '/api/advisors/me/schedule',
                                 {'time_zone': 'UTC', 'week': week},
                                 me.token), 400, 'bad_request')
        assert said['errors'][0]['pointer'] == field
    assert rest.get('/api/advisors/me/schedule', me.token).json == one.json


def test_b3_days_on_which_the_clock_is_changed(stack):
    """In a zone whose clock goes an hour forward and back on days of ours."""
    first, last = midnight(10), midnight(20)

    def day(d):
        # POSIX counts 28 February 59 and 1 March 60, also in leap years
        n = d.timetuple().tm_yday
        leap = (d - DAY * n + DAY * 60).day == 29
        return n - (leap and n > 60)

    me = works(stack, hours=('00:00', '04:00'))
    with stack.db() as db:
        db.execute('UPDATE consult.schedule SET time_zone = %s'
                   ' WHERE advisor_id = %s',
                   (f'XST5XDT,J{day(first)}/2,J{day(last)}/2', number(me)))
    who = stack.person()

    def begin(d):
        found = slots(stack, who, me, d, d + DAY)
        return [s[11:16] for s in found]

    half = [f'{h:02}:{m}' for h in range(24) for m in ('00', '30')]
    assert begin(first - DAY) == half[10:18]            # 00:00 is 05:00 UTC
    assert begin(first) == half[10:16]                  # 02:00 is skipped
    assert begin(first + DAY) == half[8:16]             # 00:00 is 04:00 UTC
    assert begin(last) == half[8:18]                    # 01:00 comes twice
    assert begin(last + DAY) == half[10:18]

    # one that is skipped is no slot; from there the day begins when it can
    with stack.db() as db:
        for shown, zone, instant in (
                ('2027-03-14 02:30', 'America/New_York', '2027-03-14 07:00'),
                ('2027-03-14 09:00', 'America/New_York', '2027-03-14 13:00'),
                ('2026-11-01 01:30', 'America/New_York', '2026-11-01 05:30'),
                ('2026-11-01 02:00', 'America/New_York', '2026-11-01 07:00'),
                ('2026-10-04 02:15', 'Australia/Lord_Howe',
                 '2026-10-03 15:30'),
                ('2011-12-30 12:00', 'Pacific/Apia', '2011-12-30 10:00'),
                ('2026-05-01 09:00', 'Asia/Kathmandu', '2026-05-01 03:15')):
            assert db.execute(
                "SELECT to_char(consult.first_instant(%s::timestamp, %s)"
                " AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI')",
                (shown, zone)).fetchone() == (instant,), shown


def test_b3_a_booking_outside_of_the_hours_is_refused(stack, rest):
    me = works(stack, hours=('09:00', '17:00'), days=[
        {'date': midnight(3).strftime('%Y-%m-%d'), 'hours': []}])
    who = stack.person(balance=10 ** 6)
    hour = datetime.timedelta(hours=1)
    for start in (midnight(2) + 8 * hour, midnight(2) + 17 * hour,
                  midnight(2) + 9.25 * hour, midnight(3) + 9 * hour,
                  midnight(-1) + 9 * hour, midnight(80) + 9 * hour):
        said = problem(rest.post('/api/bookings', {
            'advisor': me.id, 'start': text(start), 'service': 'chat'},
            who.token), 409, 'conflict')
        assert said['errors'][0]['pointer'] == '/start'
    assert who.wallet() == (10 ** 6, 0)
    book(stack, who, me, midnight(2) + 9 * hour)


# B10

def test_b10_one_of_many_gets_the_slot(stack, rest):
    me = works(stack)
    for round_ in range(4):
        start = midnight(2 + round_)
        people = [stack.person(balance=DEPOSIT) for _ in range(4)]
        gate, answers = threading.Barrier(len(people)), {}

        def ask(who):
            gate.wait()
            answers[who.id] = rest.post('/api/bookings', {
                'advisor': me.id, 'start': text(start), 'service': 'chat'},
                who.token)

        threads = [threading.Thread(target=ask, args=(who,))
                   for who in people]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(a.status for a in answers.values()) == [
            201, 409, 409, 409]
        for who in people:
            if answers[who.id].status == 201:
                assert who.wallet() == (DEPOSIT, DEPOSIT)
                winner, mine = who, answers[who.id].json
            else:
                problem(answers[who.id], 409, 'conflict')
                assert who.wallet() == (DEPOSIT, 0)
        assert text(start) not in slots(stack, winner, me, start, start + DAY)

        act(stack, winner, mine, 'cancel')
        assert winner.wallet() == (DEPOSIT, 0)
        assert text(start) in slots(stack, winner, me, start, start + DAY)
    books_are_right(stack)


def test_b10_the_deposit_is_held_and_no_more(stack, rest):
    me, other = works(stack), works(stack)
    poor = stack.person(balance=DEPOSIT - 1)
    book(stack, poor, me, midnight(2), 402)
    assert poor.wallet() == (DEPOSIT - 1, 0)

    who = stack.person(balance=2 * DEPOSIT - 1)
    mine = book(stack, who, me, midnight(2), note='hm')
    assert mine['deposit']['amount'] == mine['held']['amount'] == DEPOSIT
    assert ok(rest.get('/api/wallet', who.token))['held']['amount'] == DEPOSIT
    book(stack, who, me, midnight(3), 402)              # not enough for two
    with stack.db() as db:
        db.execute('SELECT billing.topup(%s, 1, %s)',
                   (number(who), str(uuid.uuid4())))
    book(stack, who, other, midnight(2), 409)           # elsewhere then
    book(stack, who, me, midnight(3))
    assert who.wallet() == (2 * DEPOSIT, 2 * DEPOSIT)
    books_are_right(stack)

    # what a booking holds is in no wallet by chance: the audit adds it up
    with stack.db() as db:
        db.execute('UPDATE ledger.wallet SET held = held - 1'
                   ' WHERE owner_id = %s', (number(who),))
        status, said = stack.audit()
        assert status != 0 and 'held is' in said
        db.execute('UPDATE ledger.wallet SET held = held + 1'
                   ' WHERE owner_id = %s', (number(who),))
    books_are_right(stack)

    # nobody else sees it
    for person in (stack.person(), other):
        problem(rest.get(f"/api/bookings/{mine['id']}", person.token), 404,
                'not_found')
        assert mine['id'] not in [b['id'] for b in ok(rest.get(
            '/api/bookings', person.token))['data']]
        if person is not other:
            act(stack, person, mine, 'cancel', 404)


def test_b10_who_cancels_late_pays(stack):
    me, who = works(stack), stack.person(balance=10 * DEPOSIT)
    cost = 0
    for day, minutes, answered, by, part in (
            (2, 60 * 24, True, who, 0), (3, 60, False, who, 0),
            (4, 60, True, me, 0), (5, 60, True, who, DEPOSIT // 2),
            (6, -1, True, who, DEPOSIT)):
        mine = book(stack, who, me, midnight(day))
        if answered:
            act(stack, me, mine, 'confirm')
        moved(stack, mine, minutes)
        said = act(stack, by, mine, 'cancel')
        assert said['charged']['amount'] == part
        assert act(stack, by, mine, 'cancel') == said
        cost += part
        assert who.wallet() == (10 * DEPOSIT - cost, 0)
        assert me.wallet() == (cost - cost * 3 // 10, 0)
    board = ok(stack.rest.get('/api/advisors/me/dashboard', me.token))
    assert board['deposits'] == board['earned'] == board['balance']
    books_are_right(stack)


def test_b10_who_waits_for_an_absent_advisor_pays_nothing(stack):
    me, who = works(stack), stack.person(balance=10 * DEPOSIT)
    for came, part in (('client_came_at', 0), ('advisor_came_at', DEPOSIT)):
        mine = book(stack, who, me, midnight(2))
        act(stack, me, mine, 'confirm')
        moved(stack, mine, -1)
        with stack.db() as db:
            db.execute(f'UPDATE consult.booking SET {came} = now()'
                       ' WHERE id = %s', (int(mine['id'][2:]),))
        said = act(stack, who, mine, 'cancel')
        assert said['charged']['amount'] == part
    assert who.wallet() == (9 * DEPOSIT, 0)
    books_are_right(stack)


# B15

def test_b15_the_advisor_is_told_and_answers(stack, rest):
    me, who = works(stack), stack.person(balance=10 * DEPOSIT)
    me.connect()
    who.connect(away_from=me.client.worker)

    mine = book(stack, who, me, midnight(2))
    said = told(me.client, 'booking_requested', mine)
    assert said['about']['client']['id'] == who.id
    problem(rest.post(f"/api/bookings/{mine['id']}/confirm", None, who.token),
            403, 'forbidden')
    assert act(stack, me, mine, 'confirm')['state'] == 'confirmed'
    assert act(stack, me, mine, 'confirm')['state'] == 'confirmed'
    told(who.client, 'booking_confirmed', mine)
    act(stack, me, mine, 'decline', 409)
    assert who.wallet() == (10 * DEPOSIT, DEPOSIT)

    other = book(stack, who, me, midnight(3))
    assert act(stack, me, other, 'decline', body={'reason': 'ill'})[
        'reason'] == 'ill'
    told(who.client, 'booking_declined', other)
    assert who.wallet() == (10 * DEPOSIT, DEPOSIT)

    # no answer in time
    third = book(stack, who, me, midnight(4))
    with stack.db() as db:
        db.execute('UPDATE consult.booking SET answer_by = now(),'
                   ' due_at = now() WHERE id = %s', (int(third['id'][2:]),))
    act(stack, me, third, 'confirm', 409)
    told(who.client, 'booking_expired', third)
    assert state(stack, me, third) == 'expired'
    assert who.wallet() == (10 * DEPOSIT, DEPOSIT)

    # and whoever was not there reads it
    page = ok(rest.get('/api/notifications?limit=2', who.token))
    assert [n['kind'] for n in page['data']] == ['booking_expired',
                                                 'booking_declined']
    assert page['unread'] == 3
    upto = {'upto': page['data'][1]['id']}
    for _ in range(2):
        assert ok(rest.call('PUT', '/api/notifications/read', upto,
                            who.token)) == {'unread': 1}
    rest_ = ok(rest.get(f"/api/notifications?cursor={page['next_cursor']}",
                        who.token))
    assert [(n['kind'], n['read']) for n in rest_['data']] == [
        ('booking_confirmed', True)]


# F8

@pytest.mark.parametrize('by', ['client', 'advisor'])
def test_f8_a_booked_consultation_begins(stack, rest, by):
    me, who = works(stack), stack.person(balance=10 * DEPOSIT)
    talk = Consultation.__new__(Consultation)
    talk.stack, talk.client, talk.advisor = stack, who, me
    me.connect()
    who.connect(away_from=me.client.worker)
    mine = book(stack, who, me, midnight(2))
    act(stack, me, mine, 'confirm')

    moved(stack, mine, 14)
    for person in (who, me):
        told(person.client, 'booking_reminder', mine)
    act(stack, who, mine, 'start', 409)                 # the room is closed

    moved(stack, mine, 4.9)
    for person in (who, me):
        told(person.client, 'booking_open', mine)
    # the advisor is kept for the client
    other = stack.person(balance=10 ** 6)
    other.connect()
    assert other.client.refused('session_start', {
        'advisor': me.id, 'cid': str(uuid.uuid4()),
        'service': 'chat'})['code'] == 'busy'

    first, second = (who, me) if by == 'client' else (me, who)
    started = act(stack, first, mine, 'start', 201)
    assert started['state'] == 'accepted' and 'dup' not in started
    talk.id, talk.conv = started['session'], started['conv']
    talk.state('accepted')
    assert act(stack, second, mine, 'start')['session'] == talk.id
    assert who.wallet()[1] == DEPOSIT
    talk.join()
    talk.state('active')
    assert state(stack, who, mine) == 'met'
    assert ok(rest.get('/api/sessions/' + talk.id, who.token))['rate'] == \
        mine['rate']
    talk.end()
    talk.assert_settled()
    assert who.wallet()[1] == 0

    # once each
    with stack.db() as db:
        assert db.execute(
            'SELECT kind, count(*) FROM consult.notice WHERE account_id = %s'
            ' GROUP BY kind ORDER BY kind', (number(who),)).fetchall() == [
                ('booking_confirmed', 1), ('booking_met', 1),
                ('booking_open', 1), ('booking_reminder', 1),
                ('review_prompt', 1)]
    books_are_right(stack)


def test_f8_who_does_not_come(stack):
    who = stack.person(balance=10 * DEPOSIT)
    cost = 0
    for there, end in (((), 'advisor_absent'), (('client',), 'advisor_absent'),
                       (('advisor',), 'client_absent'),
                       (('client', 'advisor'), 'missed')):
        me = works(stack)
        mine = book(stack, who, me, midnight(2))
        act(stack, me, mine, 'confirm')
        moved(stack, mine, 1)
        for party in there:
            person = who if party == 'client' else me
            session = act(stack, person, mine, 'start',
                          201 if party == there[0] else 200)['session']
        moved(stack, mine, -9)
        if there:
            stack.rest.post(f'/api/sessions/{session}/end', None, who.token)
        assert state(stack, who, mine) == 'confirmed'
        moved(stack, mine, -11)
        eventually(lambda: state(stack, who, mine) == end, what=end)
        act(stack, who, mine, 'start', 409)
        if end == 'client_absent':
            cost = DEPOSIT
            assert me.wallet() == (DEPOSIT - DEPOSIT * 3 // 10, 0)
        else:
            assert me.wallet() == (0, 0)
        assert who.wallet() == (10 * DEPOSIT - cost, 0)
    books_are_right(stack)


# whatever is done in whatever order, with other workers and sessions

@pytest.mark.parametrize('seed', [1, 2])
def test_b10_in_any_order_the_books_are_right(stack, rest, seed):
    dice = random.Random(seed)
    advisors = [works(stack) for _ in range(2)]
    clients = [stack.person(balance=dice.randrange(4) * DEPOSIT)
               for _ in range(3)]
    made = []

    def new():
        who, me = dice.choice(clients), dice.choice(advisors)
        answer = rest.post('/api/bookings', {
            'advisor': me.id, 'service': 'chat',
            'start': text(midnight(dice.randrange(2, 6)))}, who.token)
        assert answer.status in (201, 402, 409), answer
        if answer.status == 201:
            made.append((answer.json, who, me))

    def one(what, *parties):
        def do():
            if made:
                booking, *both = dice.choice(made)
                answer = rest.post(f"/api/bookings/{booking['id']}/{what}",
                                   None, both[dice.choice(parties)].token)
                assert answer.status in (200, 201, 402, 409), answer
        return do

    def later():
        if made:
            booking, who, _ = dice.choice(made)
            minutes = dice.choice((600, 10, 2, -5, -20))
            with stack.db() as db:
                free, = db.execute(
                    'SELECT NOT EXISTS (SELECT FROM consult.booking x,'
                    ' consult.booking b WHERE b.id = %s AND x.id <> b.id'
                    ' AND x.ended_at IS NULL AND abs(extract(epoch FROM'
                    ' x.start_at - now()) - %s) < 1900)',
                    (int(booking['id'][2:]), minutes * 60)).fetchone()
                if free:
                    moved(stack, booking, minutes)

    def unanswered():
        if made:
            with stack.db() as db:
                db.execute('UPDATE consult.booking SET answer_by = now(),'
                           " due_at = now() WHERE id = %s AND state ="
                           " 'requested'",
                           (int(dice.choice(made)[0]['id'][2:]),))

    def money():
        with stack.db() as db:
            db.execute('SELECT billing.topup(%s, %s, %s)',
                       (number(dice.choice(clients)),
                        dice.randrange(1, DEPOSIT), str(uuid.uuid4())))

    acts = [new, new, new, one('confirm', 1), one('confirm', 1),
            one('decline', 1), one('cancel', 0, 1), one('start', 0, 1), later,
            later, unanswered, money]
    for _ in range(80):
        dice.choice(acts)()
        with stack.db() as db:
            wrong = db.execute(
                'SELECT w.id, w.balance, w.held, x.held FROM ledger.wallet w'
                " CROSS JOIN LATERAL (SELECT (SELECT coalesce(sum(b.held), 0)"
                ' FROM consult.booking b WHERE b.client_wallet = w.id)'
                ' + (SELECT coalesce(sum(s.held), 0) FROM consult.session s'
                ' WHERE s.client_wallet = w.id) AS held) x'
                " WHERE w.kind = 'client' AND (w.held <> x.held OR w.held < 0"
                ' OR w.balance < w.held)').fetchall()
            assert not wrong, wrong
    books_are_right(stack)


# who waits

def test_those_who_wait_have_their_turns(stack, rest):
    talk = Consultation(stack).active()
    me = talk.advisor
    queue = f'/api/advisors/{me.id}/queue'
    waiting = [stack.person(balance=10 ** 6) for _ in range(3)]
    for n, who in enumerate(waiting, 1):
        who.connect()
        said = who.client.call('queue_join', {'advisor': me.id})
        assert (said['state'], said['position']) == ('waiting', n)
        assert said['eta_s'] == n * 600
        assert who.client.call('queue_join', {'advisor': me.id}) == said
        assert ok(rest.get(queue, who.token)) == said
    assert ok(rest.get(f'/api/advisors/{me.id}',
                       waiting[0].token))['queue'] == 3

    # the first gives up: the others are one further on
    gone = waiting.pop(0)
    assert gone.client.call('queue_leave', {'advisor': me.id})['state'] == \
        'left'
    assert rest.get(queue, gone.token).status == 404

    def position(who, n, state):
        return who.client.expect('queue_state', lambda m:
                                 (m['payload']['position'],
                                  m['payload']['state']) == (n, state)
                                 )['payload']

    first, second = waiting
    position(first, 1, 'waiting')
    position(second, 2, 'waiting')

    talk.end()
    offer = position(first, 1, 'offered')
    assert offer['offer_until'] is not None
    start = {'advisor': me.id, 'service': 'chat'}
    assert second.client.refused('session_start', {
        **start, 'cid': str(uuid.uuid4())})['code'] == 'busy'

    # it lapses, and is the next one's
    with stack.db() as db:
        db.execute('UPDATE consult.waiting SET offer_until = now()'
                   ' WHERE client_id = %s', (number(first),))
    position(first, None, 'expired')
    position(second, 1, 'offered')
    assert first.client.refused('session_start', {
        **start, 'cid': str(uuid.uuid4())})['code'] == 'busy'
    second.client.call('session_start', {**start, 'cid': str(uuid.uuid4())})
    assert rest.get(queue, second.token).status == 404
    assert ok(rest.get(f'/api/advisors/{me.id}', gone.token))['queue'] == 0

    # in and out by REST, too
    ok(rest.call('PUT', queue, {'service': 'chat'}, gone.token))
    left = ok(rest.call('DELETE', queue, token=gone.token))
    assert (left['state'], left['position']) == ('left', None)
    assert rest.get(queue, gone.token).status == 404

    # the place outlives a connection, not for ever
    ok(rest.call('PUT', queue, {'service': 'audio'}, gone.token))
    gone.client.close()
    with stack.db() as db:
        db.execute("UPDATE consult.waiting SET seen_at = now() - interval"
                   " '59 s' WHERE client_id = %s", (number(gone),))
        assert ok(rest.get(queue, gone.token))['service'] == 'audio'
        eventually(lambda: rest.get(queue, gone.token).status == 404)


def test_l8_who_is_kept_out_has_booked_nothing(stack, rest):
    """Blocked: bookings are cancelled, deposits back, places in queues gone;
    the others are told."""
    boss = stack.person('admin')
    me, other = works(stack), works(stack)
    bad, good = (stack.person(balance=10 * DEPOSIT) for _ in range(2))
    me.connect()
    good.connect()
    asked = book(stack, bad, me, midnight(2))
    sure = book(stack, bad, me, midnight(3))
    act(stack, me, sure, 'confirm')
    theirs = book(stack, good, me, midnight(4))
    kept = book(stack, good, other, midnight(4) + DAY)
    for who in (bad, good):
        ok(rest.call('PUT', f'/api/advisors/{me.id}/queue',
                     {'service': 'chat'}, who.token))
    assert bad.wallet() == (10 * DEPOSIT, 2 * DEPOSIT)

    def block(who):
        ok(rest.call('PUT', f'/api/admin/users/{who.id}/blocked',
                     {'blocked': True, 'reason': 'abuse'}, boss.token))

    def waiting(who):
        with stack.db() as db:
            return db.execute('SELECT count(*) FROM consult.waiting WHERE'
                              ' client_id = %s', (number(who),)).fetchone()[0]

    block(bad)
    assert bad.wallet() == (10 * DEPOSIT, 0)
    for booking in (asked, sure):
        said = told(me.client, 'booking_cancelled', booking)['about']
        assert (said['held']['amount'], said['charged']['amount'],
                said['ended_by']) == (0, 0, bad.id)
    assert (waiting(bad), waiting(good)) == (0, 1)
    assert good.wallet() == (10 * DEPOSIT, 2 * DEPOSIT)

    block(me)
    told(good.client, 'booking_cancelled', theirs)
    good.client.expect('queue_state',
                       lambda m: m['payload']['state'] == 'left')
    assert waiting(good) == 0
    assert state(stack, good, theirs) == 'cancelled'
    assert state(stack, good, kept) == 'requested'
    assert good.wallet() == (10 * DEPOSIT, DEPOSIT)
    books_are_right(stack)


# B7, F9

def test_b7_a_favourite_who_comes_is_told_once(stack, rest):
    fan, other = stack.person(), stack.person()
    me = stack.person('advisor')
    for _ in range(2):
        ok(rest.call('PUT', f'/api/favorites/{me.id}', None, fan.token))
    fan.connect()
    other.connect()

    def come():
        me.connect()
        with stack.db() as db:
            eventually(lambda: db.execute(
                'SELECT told FROM consult.advisor_here WHERE account_id = %s',
                (number(me),)).fetchone() == (True,))

    come()
    said = told(fan.client, 'favorite_online')
    assert said['about']['advisor']['id'] == me.id
    # drops, and coming back after having been away
    for _ in range(2):
        me.client.close()
        come()
    for status in ('offline', 'online'):
        ok(rest.call('PUT', '/api/advisors/me/status', {'status': status},
                     me.token))
    come()

    def heard(who):
        return [n['kind'] for n in ok(rest.get('/api/notifications',
                                               who.token))['data']]

    assert heard(fan) == ['favorite_online'] and heard(other) == []
    fan.client.quiet('notification', 0.3)

    # hours later it is news again
    with stack.db() as db:
        db.execute("UPDATE consult.favorite SET told_at = now() - interval"
                   " '7 hours'")
        db.execute('UPDATE consult.advisor_here SET told = false')
    eventually(lambda: len(heard(fan)) == 2)


def test_f9_a_session_that_is_over_is_reviewed(stack, rest):
    talk = Consultation(stack).active()
    path = f'/api/sessions/{talk.id}/review'
    problem(rest.post(path, {'rating': 5}, talk.client.token), 409,
            'session_state')
    talk.end()
    said = told(talk.c, 'review_prompt')
    assert said['about']['session'] == talk.id
    assert said['about']['advisor']['id'] == talk.advisor.id
    with stack.db() as db:
        db.execute("UPDATE consult.session SET ended_at = ended_at"
                   " - interval '30 days 1 minute' WHERE id = %s",
                   (talk.number,))
        problem(rest.post(path, {'rating': 5}, talk.client.token), 410, 'gone')
        db.execute("UPDATE consult.session SET ended_at = ended_at"
                   " + interval '2 minutes' WHERE id = %s", (talk.number,))
    assert rest.post(path, {'rating': 5}, talk.client.token).status == 201

    # nobody is asked about one that never began
    talk = Consultation(stack).connect()
    talk.ring()
    talk.c.call('session_cancel', talk.this)
    talk.ended()
    assert ok(rest.get('/api/notifications',
                       talk.client.token))['data'] == []
