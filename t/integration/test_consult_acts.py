"""Consultations over REST and WebSocket alike: the same acts, the same events
to both parties' sockets, whoever asks and by which way."""

import concurrent.futures
import os
import random
import time
import uuid

import pytest

from astro.client import Refused
from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, eventually
from astro.ws import SLOW

WAYS = ('rest', 'ws')


class Acts:
    """A consultation whose parties act by REST or by WebSocket."""

    def __init__(self, stack, **kw):
        self.stack, self.talk = stack, Consultation(stack, **kw)
        self.talk.connect()

    def post(self, who, act, body=None, **kw):
        person = self.talk.client if who == 'c' else self.talk.advisor
        path = f'/api/sessions/{self.talk.id}/{act}' if act != 'start' \
            else '/api/sessions'
        return self.stack.rest.post(path, body, person.token, **kw)

    def act(self, way, who, act, **body):
        """The answer's document, or the code of the refusal."""
        if way == 'rest':
            answer = self.post(who, act, body)
            return answer.code or answer.json
        payload = body if act == 'start' else {**self.talk.this, **body}
        try:
            return getattr(self.talk, who).call(f'session_{act}', payload)
        except Refused as refused:
            return refused.code

    def start(self, way='ws', **more):
        done = self.act(way, 'c', 'start', advisor=self.talk.advisor.id,
                        service=self.talk.service, cid=self.talk.cid, **more)
        self.talk.id, self.talk.conv = done['session'], done['conv']
        return done

    def active(self, **more):
        self.start(**more)
        self.act('ws', 'a', 'accept')
        self.talk.join()
        self.talk.state('active')
        return self


# of its own: whatever they do to the books is not for others to find

@pytest.fixture(scope='module')
def house():
    stack = Stack()
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(house):
    yield from watch(house)


@pytest.fixture
def rest(stack):
    return stack.rest


@pytest.fixture
def acts(stack):
    return Acts(stack, balance=500000)


# -- F1: the way through -------------------------------------------------------

@pytest.mark.parametrize('way', WAYS)
def test_f1_start_to_end(acts, rest, way):
    talk = acts.talk
    started = acts.start(way)
    assert started['state'] == 'ringing' and started['ice_servers'] == []
    rung = talk.a.expect('session_incoming')['payload']
    assert rung['session'] == talk.id
    accepted = acts.act(way, 'a', 'accept')
    assert accepted['state'] == 'accepted' and accepted['ice_servers'] == []
    talk.state('accepted')
    talk.join()
    talk.state('active')
    live = rest.get('/api/sessions?state=live', talk.client.token).json
    assert [s['session'] for s in live['data']] == [talk.id]
    assert rest.get(f'/api/sessions/{talk.id}/status', talk.advisor.token
                    ).json['state'] == 'active'
    ended = acts.act(way, 'a', 'end')
    assert ended['state'] == 'ended'
    assert talk.ended()['reason'] == 'advisor_ended'
    talk.assert_settled()
    assert acts.act(way, 'c', 'end')['dup'] is True


@pytest.mark.parametrize('way', WAYS)
@pytest.mark.parametrize('who, act, reason', [
    ('a', 'reject', 'rejected'), ('c', 'cancel', 'cancelled')])
def test_d2_not_answered(acts, way, who, act, reason):
    acts.start(way)
    acts.talk.a.expect('session_incoming')
    assert acts.act(way, who, act)['reason'] == reason
    assert acts.talk.ended()['reason'] == reason
    assert acts.act(way, 'a', 'accept') == 'session_state'


def test_d2_missed(stack, acts):
    acts.start('rest')
    with stack.db() as db:
        db.execute('UPDATE consult.session SET state_ms = state_ms - 60000'
                   ' WHERE id = %s', (acts.talk.number,))
    acts.talk.a.expect('session_incoming')
    assert acts.talk.ended(30)['reason'] == 'missed'


def test_f1_start_once_for_a_key(acts):
    body = {'advisor': acts.talk.advisor.id, 'service': 'chat'}
    missing = acts.post('c', 'start', body)
    assert missing.status == 400
    assert missing.json['errors'][0]['pointer'] == '/cid'
    key = {'Idempotency-Key': str(uuid.uuid4())}
    first = acts.post('c', 'start', body, headers=key)
    again = acts.post('c', 'start', body, headers=key)
    assert first.status == again.status == 201
    assert first.json['session'] == again.json['session']
    assert again.headers['Idempotent-Replayed'] == 'true'
    other = acts.post('c', 'start', {**body, 'service': 'audio'}, headers=key)
    assert (other.status, other.code) == (422, 'idempotency_mismatch')


@pytest.mark.parametrize('over, field', [
    ({'advisor': 'u_0'}, '/advisor'), ({'advisor': 5}, '/advisor'),
    ({'service': 'fax'}, '/service'), ({'cid': 'x'}, '/cid'),
    ({'max_minutes': 0}, '/max_minutes'),
    ({'max_minutes': 1.5}, '/max_minutes')])
def test_f1_malformed_start(acts, over, field):
    body = {'advisor': acts.talk.advisor.id, 'service': 'chat',
            'cid': acts.talk.cid, **over}
    answer = acts.post('c', 'start', body)
    assert (answer.status, answer.code) == (400, 'bad_request')
    assert answer.json['errors'][0]['pointer'] == field
    assert acts.talk.c.refused('session_start', body)['code'] == 'bad_request'


def test_f1_list_and_detail(stack, acts, rest):
    """Pages of one neither skip nor repeat; others see nothing."""
    talk, made = acts.talk, []
    for i in range(7):
        talk.cid = str(uuid.uuid4())
        made.append(acts.start(('rest', 'ws')[i % 2])['session'])
        acts.act('rest', 'c', 'cancel')
    for token in (talk.client.token, talk.advisor.token):
        got, cursor = [], ''
        while cursor is not None:
            page = rest.get(f'/api/sessions?limit=3{cursor}', token).json
            got += [s['session'] for s in page['data']]
            cursor = page['next_cursor'] and f'&cursor={page["next_cursor"]}'
        assert got == made[::-1]
    one = rest.get('/api/sessions?state=ended&reason=cancelled&limit=1'
                   f'&peer={talk.advisor.id}&service=chat',
                   talk.client.token).json
    assert [s['session'] for s in one['data']] == made[-1:]
    for query in ('state=live', 'service=video', 'to=2020-01-01T00:00:00Z'):
        assert rest.get(f'/api/sessions?{query}', talk.client.token
                        ).json['data'] == []
    for query, field in (('state=x', '/state'), ('from=x', '/from'),
                         ('cursor=x', '/cursor')):
        bad = rest.get(f'/api/sessions?{query}', talk.client.token)
        assert bad.status == 400
        assert bad.json['errors'][0]['pointer'] == field
    stranger = stack.person()
    assert rest.get('/api/sessions', stranger.token).json['data'] == []
    for path in ('', '/status', '/transcript'):
        assert rest.get(f'/api/sessions/{made[0]}{path}',
                        stranger.token).status == 404
    for act in ('accept', 'end', 'pause', 'media'):
        assert rest.post(f'/api/sessions/{made[0]}/{act}',
                         {'mic': True, 'cam': True, 'screen': True},
                         stranger.token).status == 404


NEXT = {
    ('accept', 'a'): {'ringing': 'accepted'},
    # what was to end and has ended already is done
    ('reject', 'a'): {s: 'ended' for s in ('ringing', 'ended')},
    ('cancel', 'c'): {s: 'ended' for s in ('ringing', 'accepted',
                                           'connecting', 'ended')},
    ('pause', 'ca'): {'active': 'paused', 'reconnecting': 'paused',
                      'paused': 'paused'},
    ('resume', 'ca'): {'paused': 'reconnecting'},
    ('end', 'ca'): {s: 'ended' for s in (
        'ringing', 'accepted', 'connecting', 'active', 'reconnecting',
        'paused', 'ended')}}


@pytest.mark.parametrize('seed', range(40 if os.environ.get('ASTRO_SOAK')
                                       else 4))
def test_f1_no_order_of_calls_makes_an_illegal_step(acts, seed):
    """Random calls by either party and either way, two at a time: each answer
    is one that the state before, or one that the engine made of it, allows."""
    draw, talk = random.Random(seed), acts.talk
    acts.start(draw.choice(WAYS))
    engine = {'accepted': {'active'}, 'connecting': {'active'},
              'reconnecting': {'active'}, 'active': {'reconnecting'}}
    may = {'ringing'}
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for _ in range(25):
            if draw.random() < 0.4:
                who = draw.choice('ca')
                acts.act('ws', who, 'join')
                may |= {'connecting'} if 'accepted' in may else set()
            calls = [(draw.choice(WAYS), draw.choice('ca'),
                      draw.choice(['accept'] * 3 + ['pause', 'resume'] * 3
                                  + ['reject', 'cancel', 'end']))
                     for _ in range(2)]
            if calls[0][:2] == calls[1][:2] and calls[0][0] == 'ws':
                calls.pop()
            for state in list(may):
                may |= engine.get(state, set())
                for one in engine.get(state, set()):
                    may |= engine.get(one, set())
            got = list(pool.map(lambda call: acts.act(*call), calls))
            after = set(may)
            for _ in range(len(calls)):
                for (way, who, act), answer in zip(calls, got):
                    rule = next(r for (a, w), r in NEXT.items() if a == act)
                    if not isinstance(answer, str):
                        after |= {rule[s] for s in after if s in rule}
            for (way, who, act), answer in zip(calls, got):
                (_, parties), rule = next(item for item in NEXT.items()
                                          if item[0][0] == act)
                if isinstance(answer, str):
                    assert answer in ('session_state', 'forbidden'), answer
                    continue
                assert who in parties, (who, act, answer)
                assert after & set(rule), (act, may, answer)
                assert answer['state'] in set(rule.values()), (act, answer)
            may = {talk.row()['state']}
            assert may <= after | {'active', 'reconnecting'}
            if may == {'ended'}:
                break
    acts.act('rest', 'c', 'end')
    end = talk.ended()
    assert end['session'] == talk.id
    talk.c.quiet('session_end', 0.3)
    assert acts.stack.audit()[0] == 0


# -- F2, D4, D10, F3, F4 -------------------------------------------------------

def test_f2_fifty_starts_at_once_have_one_winner(stack, rest):
    advisor = stack.person('advisor', rates=(6000, 9000, 12000)).connect()
    clients = [stack.person('client', 100000) for _ in range(50)]

    def start(client):
        return rest.post('/api/sessions', {
            'advisor': advisor.person.id if hasattr(advisor, 'person')
            else advisor.user, 'service': 'chat',
            'cid': str(uuid.uuid4())}, client.token)

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        got = [(a.status, a.code) for a in pool.map(start, clients)]
    assert sorted(got) == [(201, None)] + [(409, 'busy')] * 49
    advisor.expect('session_incoming')
    advisor.quiet('session_incoming', 0.3)


@pytest.mark.parametrize('way', WAYS)
def test_d10_one_end_event_whichever_way(acts, way):
    acts.active()
    acts.act(way, 'c', 'end')
    end = acts.talk.ended()
    assert (end['reason'], end['by']) == ('client_ended',
                                          acts.talk.client.id)
    acts.act(way, 'a', 'end')
    for party in (acts.talk.c, acts.talk.a):
        party.quiet('session_end', 0.3)


def test_f3_what_clients_say_of_time_and_price_is_nothing(acts):
    lies = {'rate': 1, 'rate_minor': 1, 'duration': 1, 'started_at': 1,
            'now': 1, 'charged': 0, 'billed_ms': 0, 'userId': 'u_1'}
    acts.start('rest', **lies)
    acts.act('ws', 'a', 'accept', **lies)
    acts.talk.join()
    acts.talk.state('active')
    acts.talk.c.expect('billing_tick')
    acts.act('rest', 'c', 'end', **lies)
    acts.talk.ended()
    row = acts.talk.assert_settled()
    assert row['rate_minor'] == 6000 and row['billed_ms'] >= 500


def test_f4_waiting_costs_nothing(acts):
    acts.start('rest')
    acts.act('rest', 'a', 'accept')
    acts.talk.c.call('session_join', acts.talk.this)
    time.sleep(1.2)
    assert acts.talk.row()['billed_ms'] == 0
    acts.act('rest', 'c', 'cancel')
    assert acts.talk.ended()['totals']['charged'] == 0


# -- D7: another service -------------------------------------------------------

@pytest.mark.parametrize('way', WAYS)
def test_d7_a_dearer_service_is_confirmed(acts, way):
    talk = acts.talk
    acts.active()
    talk.c.expect('billing_tick')
    assert acts.act(way, 'c', 'mode', service='video') \
        == 'precondition_failed'
    assert acts.act(way, 'c', 'mode', service='video', confirm_rate=9000) \
        == 'precondition_failed'
    assert talk.row()['segments'] == 0
    assert acts.act(way, 'a', 'mode', service='video', confirm_rate=12000) \
        == 'forbidden'
    dear = acts.act(way, 'c', 'mode', service='video', confirm_rate=12000)
    assert (dear['service'], dear['rate']['amount']) == ('video', 12000)
    for party in (talk.c, talk.a):
        party.expect('session_update',
                     lambda m: m['payload']['service'] == 'video')
    for _ in range(2):
        talk.c.expect('billing_tick')
    cheap = acts.act(way, 'a', 'mode', service='audio')
    assert cheap['rate']['amount'] == 9000
    talk.c.expect('billing_tick')
    acts.act('ws', 'c', 'end')
    talk.ended()
    detail = acts.stack.rest.get(f'/api/sessions/{talk.id}',
                                 talk.advisor.token).json
    assert [(s['service'], s['rate']['amount'])
            for s in detail['segments']] == [('chat', 6000), ('video', 12000),
                                             ('audio', 9000)]
    assert detail['totals']['charged'] == sum(t[0] for t in talk.transfers())
    assert acts.stack.audit()[0] == 0

    # each rate for its own milliseconds, if nobody was away in between
    with acts.stack.db() as db:
        intervals, = db.execute('SELECT count(*) FROM consult.interval WHERE'
                                ' session_id = %s', (talk.number,)).fetchone()
        switched = [at for at, in db.execute(
            'SELECT from_ms FROM consult.segment WHERE session_id = %s'
            ' ORDER BY no', (talk.number,)).fetchall()]
    row = talk.row()
    if intervals == 2:
        marks = [row['active_ms'], *switched,
                 row['active_ms'] + row['billed_ms']]
        assert row['charged'] == sum(
            rate * (till - at) // 60000 for rate, at, till
            in zip((6000, 12000, 9000), marks, marks[1:]))


# -- F7, X4: a pause -----------------------------------------------------------

@pytest.mark.parametrize('way', WAYS)
def test_f7_a_pause_is_not_billed(acts, way):
    talk = acts.talk
    acts.active()
    talk.c.expect('billing_tick')
    paused = acts.act(way, 'c', 'pause')
    assert (paused['state'], paused['reason']) == ('paused', 'client_paused')
    talk.state('paused')
    assert acts.act(way, 'c', 'pause')['dup'] is True
    assert acts.act(way, 'a', 'resume') == 'forbidden'
    assert talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': 'x'})['code'] in ('session_state', 'unpaid')

    def closed():
        with acts.stack.db() as db:
            return db.execute(
                'SELECT bool_and(close_reason = %s),'
                ' max(g.started_ms + close_life_ms) FROM consult.interval i'
                ' JOIN consult.gateway g ON g.id = i.gateway_id'
                ' WHERE session_id = %s', ('paused', talk.number)).fetchone()

    eventually(lambda: closed()[0], 10, 'intervals closed by the pause')
    since = talk.row()['state_ms']
    assert closed()[1] == since
    time.sleep(2)
    eventually(lambda: talk.row()['rev'] >= 0)
    before = talk.row()['billed_ms']
    assert before <= since - talk.row()['active_ms']
    resumed = acts.act(way, 'c', 'resume')
    assert resumed['state'] == 'reconnecting'
    talk.state('active')
    talk.c.expect('billing_tick')
    acts.act(way, 'c', 'end')
    talk.ended()
    row = talk.assert_settled()
    away = resumed['since'] - since
    assert away >= 2000
    assert row['billed_ms'] <= row['end_ms'] - row['active_ms'] - away
    assert acts.stack.audit()[0] == 0


def test_a10_a_key_is_one_act(acts):
    """What was done under a key is not done again, whatever has come since."""
    talk = acts.talk
    acts.active()

    def keyed(act, key, body=None, who='c'):
        return acts.post(who, act, body if body is not None else {},
                         headers={'Idempotency-Key': f'{key}-{talk.id}'})

    paused = keyed('pause', 'p')
    assert (paused.status, paused.json['state']) == (200, 'paused')
    again = keyed('pause', 'p2')
    assert again.json['dup'] is True
    assert keyed('resume', 'r', who='a').code == 'forbidden'
    resumed = keyed('resume', 'r')
    assert (resumed.status, resumed.json['state']) == (200, 'reconnecting')
    assert 'Idempotent-Replayed' not in resumed.headers
    talk.state('active')
    assert acts.act('rest', 'c', 'pause')['state'] == 'paused'
    talk.state('paused')

    def replayed(answer, first):
        assert answer.headers['Idempotent-Replayed'] == 'true'
        assert (answer.status, answer.json) == (first.status, first.json)

    replayed(keyed('resume', 'r'), resumed)
    replayed(keyed('pause', 'p2'), again)
    assert keyed('resume', 'r', {'x': 1}).code == 'idempotency_mismatch'
    assert keyed('pause', 'r').code == 'idempotency_mismatch'
    assert talk.row()['state'] == 'paused'
    acts.act('rest', 'c', 'resume')
    talk.state('active')

    switched = keyed('mode', 'm', {'service': 'video', 'confirm_rate': 12000})
    assert switched.json['rate']['amount'] == 12000
    assert acts.act('rest', 'c', 'mode', service='chat')['rate']['amount'] \
        == 6000
    replayed(keyed('mode', 'm', {'service': 'video', 'confirm_rate': 12000}),
             switched)
    with acts.stack.db() as db:
        assert db.execute('SELECT service FROM consult.segment WHERE'
                          ' session_id = %s ORDER BY no DESC LIMIT 1',
                          (talk.number,)).fetchone() == ('chat',)
    ended = keyed('end', 'e')
    talk.ended()
    replayed(keyed('end', 'e'), ended)


def test_f7_a_party_that_comes_during_a_pause(acts):
    """Joins, costs nothing, and is there when it goes on."""
    talk = acts.talk
    acts.active()
    acts.act('rest', 'a', 'pause')
    talk.state('paused')
    talk.c.ws.sock.close() if hasattr(talk.c, 'ws') else talk.c.close()
    talk.client.connect()
    assert talk.c.call('session_join', talk.this)['peer_present'] is False
    time.sleep(1)
    with acts.stack.db() as db:
        assert db.execute('SELECT count(*) FROM consult.interval WHERE'
                          ' session_id = %s AND close_life_ms IS NULL',
                          (talk.number,)).fetchone()[0] == 0
    acts.act('rest', 'a', 'resume')
    talk.state('active')
    acts.act('rest', 'a', 'end')
    talk.ended()
    talk.assert_settled()


def test_x4_a_pause_ends_some_time(stack, acts):
    acts.active()
    acts.act('ws', 'a', 'pause')
    acts.talk.state('paused')
    with stack.db() as db:
        db.execute('UPDATE consult.session SET state_ms = state_ms - 1000000,'
                   ' ver = ver + 1 WHERE id = %s', (acts.talk.number,))
    assert acts.talk.ended(30)['reason'] == 'pause_expired'


# -- D8, D9, D12 ---------------------------------------------------------------

@pytest.mark.parametrize('way', WAYS)
def test_d8_media_is_stored_and_told(acts, rest, way):
    talk = acts.talk
    acts.active()
    acts.act(way, 'c', 'media', mic=True, cam=False, screen=False)
    told = talk.a.expect('session_media')['payload']
    assert (told['from'], told['mic'], told['cam']) == (talk.client.id, True,
                                                        False)
    acts.act(way, 'a', 'media', mic=False, cam=True, screen=True,
             device='back "camera"')
    told = talk.c.expect('session_media')['payload']
    assert (told['from'], told['device']) == (talk.advisor.id,
                                              'back "camera"')
    talk.a.quiet('session_media', 0.2)
    assert acts.act(way, 'c', 'media', mic='on', cam=True, screen=False) \
        == 'bad_request'
    detail = rest.get(f'/api/sessions/{talk.id}', talk.advisor.token).json
    assert [[m[k] for k in ('from', 'mic', 'cam', 'screen', 'device')]
            for m in detail['media']] == [
        [talk.client.id, True, False, False, None],
        [talk.advisor.id, False, True, True, 'back "camera"']]


@pytest.mark.parametrize('way', WAYS)
def test_d9_quality_is_stored_flagged_and_counted(acts, rest, way):
    talk = acts.talk
    acts.active()
    before = acts.stack.metrics()
    good = acts.act(way, 'c', 'quality', rtt=80.4, loss=0.01, jitter=12)
    assert (good['poor'], good['rtt'], good['loss']) == (False, 80, 0.01)
    assert talk.a.expect('session_quality')['payload']['poor'] is False
    bad = acts.act(way, 'a', 'quality', rtt=80, loss=0.2, jitter=12)
    assert bad['poor'] is True
    assert talk.c.expect('session_quality')['payload']['loss'] == 0.2
    for wrong in ({'loss': 2}, {'rtt': -1}, {'jitter': None}):
        assert acts.act(way, 'c', 'quality', **{
            'rtt': 1, 'loss': 0, 'jitter': 1, **wrong}) == 'bad_request'
    detail = rest.get(f'/api/sessions/{talk.id}', talk.client.token).json
    assert {(q['from'], q['samples'], q['poor'], q['loss'])
            for q in detail['quality']} == {
        (talk.client.id, 1, 0, 0.01), (talk.advisor.id, 1, 1, 0.2)}
    after = acts.stack.metrics()
    for name, n in (('astro_call_rtt_seconds_count', 2),
                    ('astro_call_jitter_seconds_count', 2),
                    ('astro_call_loss_myriadths_count', 2),
                    ('astro_call_samples_poor_total', 1)):
        assert after[name] - before.get(name, 0) == n, name


# -- X10, F12, E11 -------------------------------------------------------------

def test_x10_the_maximum_is_extended_in_the_call(stack, acts):
    talk = acts.talk
    acts.active(max_minutes=1)
    assert talk.row()['max_ms'] == 60000
    assert acts.act('ws', 'a', 'extend', max_minutes=3) == 'forbidden'
    with stack.db() as db:          # as if a minute were three seconds
        db.execute('UPDATE consult.session SET max_ms = 4000, ver = ver + 1,'
                   ' rev = rev + 1 WHERE id = %s', (talk.number,))
    talk.c.expect('billing_tick')
    more = acts.act('rest', 'c', 'extend', max_minutes=2)
    assert more['max_ms'] == 120000
    assert acts.act('rest', 'c', 'extend', max_minutes=1) == 'conflict'
    for _ in range(6):
        talk.c.expect('billing_tick')
    assert talk.row()['state'] == 'active'
    acts.act('ws', 'c', 'end')
    talk.ended()
    assert talk.assert_settled()['billed_ms'] > 4000


def test_f12_the_body_says_what_the_ledger_does(stack, acts, rest):
    talk = acts.talk
    acts.active()
    for _ in range(2):
        talk.c.expect('billing_tick')
    acts.act('rest', 'a', 'end')
    talk.ended()
    body = rest.get(f'/api/sessions/{talk.id}', talk.client.token).json
    with stack.db() as db:
        charged, last, billed = db.execute(
            'SELECT sum(amount), max(at), max(billed_ms) FROM ledger.transfer'
            ' WHERE session_id = %s', (talk.number,)).fetchone()
        started = db.execute(
            "SELECT to_char(to_timestamp(active_ms / 1000.0) AT TIME ZONE"
            " 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"') FROM consult.session"
            ' WHERE id = %s', (talk.number,)).fetchone()[0]
    assert body['totals']['charged'] == charged
    assert body['duration_ms'] == body['totals']['billed_ms'] == billed
    assert body['started_at'] == started
    assert body['last_tick_at'] == last.strftime('%Y-%m-%dT%H:%M:%S.') \
        + f'{last.microsecond // 1000:03}Z'


def test_e11_the_transcript_is_the_messages_of_the_session(stack, acts, rest):
    talk, said = acts.talk, []
    for session in range(2):
        talk.cid = str(uuid.uuid4())
        acts.active()
        for i in range(5):
            msg = talk.c.say(talk.conv, f'{session} {i}')
        if session:
            talk.c.call('chat_delete', {'conv': talk.conv, 'msg': msg['seq'],
                                        'cid': str(uuid.uuid4())})
        said.append((talk.id, [f'{session} {i}' for i in range(5)]))
        acts.act('rest', 'c', 'end')
        talk.ended()
    for id, texts in said:
        got, cursor = [], ''
        while cursor is not None:
            page = rest.get(f'/api/sessions/{id}/transcript?limit=2{cursor}',
                            talk.advisor.token).json
            got += page['data']
            cursor = page['next_cursor'] and f'&cursor={page["next_cursor"]}'
        if got[-1]['type'] == 'chat_delete':
            assert got.pop()['payload']['msg'] == got[-1]['seq']
            assert got.pop()['payload']['deleted'] is True
            assert texts.pop()
        assert [m['payload']['text'] for m in got] == texts
        assert {m['type'] for m in got} == {'chat_message'}
    admin = stack.person('admin')
    assert rest.get(f'/api/sessions/{talk.id}/transcript',
                    admin.token).status == 404
