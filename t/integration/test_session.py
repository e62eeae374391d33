"""A consultation from the first ring to the end; its money is in
test_session_money.py."""

import json
import time
import uuid

import pytest

from astro.client import Refused
from astro.consult import Consultation
from astro.stack import eventually
from astro.ws import SLOW

SDP = 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n' \
      'a=fingerprint:sha-256 AA:BB\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\n'


@pytest.fixture
def talk(stack):
    return Consultation(stack).active()


# -- the whole of it -----------------------------------------------------------

def test_a_whole_consultation(stack, rest):
    talk = Consultation(stack, balance=20000, rates=(6000, 9000, 12000),
                        service='audio')
    talk.connect()
    assert talk.c.worker != talk.a.worker

    started = talk.ring()
    assert started['state'] == 'ringing'
    assert started['rate'] == {'amount': 9000, 'currency': 'INR'}
    assert started['client'] == talk.client.id
    assert started['advisor'] == talk.advisor.id
    assert isinstance(started['ice_servers'], list)

    accepted = talk.accept()
    assert isinstance(accepted['ice_servers'], list)
    talk.state('accepted', talk.c)

    of_client, of_advisor = talk.join()
    assert (of_client['polite'], of_advisor['polite']) == (True, False)
    assert of_advisor['peer_present'] is True
    talk.state('active')
    begin = time.monotonic()

    # offer, answer and candidates, each to the other party alone
    talk.c.send('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})
    offer = talk.a.expect('signal_offer')
    assert offer['from'] == talk.client.id
    assert offer['payload'] == {**talk.this, 'gen': 1, 'sdp': SDP}
    talk.a.send('signal_answer', {**talk.this, 'gen': 1, 'sdp': SDP})
    assert talk.c.expect('signal_answer')['from'] == talk.advisor.id
    for i in range(20):
        for one, two, who in ((talk.c, talk.a, talk.client),
                              (talk.a, talk.c, talk.advisor)):
            one.send('signal_ice_candidate',
                     {**talk.this, 'gen': 1, 'candidate': f'candidate:{i}'})
            got = two.expect('signal_ice_candidate')
            assert got['from'] == who.id
            assert got['payload']['candidate'] == f'candidate:{i}'

    # chat from both
    for i in range(10):
        talk.c.say(talk.conv, f'question {i}')
        talk.a.say(talk.conv, f'answer {i}')

    # three ticks, each later than the one before
    billed = 0
    for _ in range(3):
        tick = talk.c.expect('billing_tick')['payload']
        mine = talk.a.expect('billing_tick')['payload']
        assert tick['session'] == mine['session'] == talk.id
        assert tick['billed_ms'] == mine['billed_ms'] > billed
        billed = tick['billed_ms']
        assert tick['charged'] == 9000 * billed // 60000
        assert tick['balance'] == 20000 - tick['charged']
        assert 'balance' not in mine and 'left_s' not in mine
        assert mine['earned'] == tick['charged'] - tick['charged'] * 3 // 10

    # exact at any instant, in the middle of the session
    wallet = rest.get('/api/wallet', talk.advisor.token).json
    assert wallet['balance']['amount'] > 0

    talk.a.call('session_end', talk.this)
    took = time.monotonic() - begin
    end = talk.ended()
    assert end['reason'] == 'advisor_ended'
    assert end['by'] == talk.advisor.id
    row = talk.assert_settled()
    assert end['totals'] == {'billed_ms': row['billed_ms'],
                             'charged': row['charged'], 'currency': 'INR'}
    assert row['billed_ms'] <= took * 1000 + 100
    assert row['billed_ms'] >= took * 1000 - 1000 * SLOW

    for party in (talk.client, talk.advisor):
        party.assert_has_all(talk.conv)
    left = rest.get('/api/wallet', talk.client.token).json
    assert left['balance']['amount'] == 20000 - row['charged']
    assert left['held']['amount'] == 0
    assert stack.audit()[0] == 0


# -- signals -------------------------------------------------------------------

@pytest.mark.parametrize('member', [
    '"from":"u_999"', '"x":1,"from":"u_999"', '"from":{"a":[1]},"x":1',
    '"from":"u_999","x":{"from":"u_998"}', '"\\u0066rom":"u_999"'])
def test_a_forged_from_is_gone(talk, member):
    talk.c.send_text('{"type":"signal_ice_candidate","from":"u_999","payload":'
                     '{%s,"session":"%s","gen":1}}' % (member, talk.id))
    got = talk.a.expect('signal_ice_candidate')
    assert got['from'] == talk.client.id
    assert got['_raw'].count('"u_999"') == 0
    sent = json.loads('{%s}' % member)
    sent.pop('from')
    assert got['payload'] == {**sent, **talk.this, 'gen': 1}


def test_d4_what_one_says_of_oneself_is_void(talk):
    """In whatever is told to the other party: who sent it says the server."""
    forged = {name: 'u_999' for name in ('from', 'senderId', 'sender_id',
                                         'userId', 'user')}
    forged.update(rate=1, rate_minor=1, ts=1, seq=9)
    cid = str(uuid.uuid4())
    talk.c.call('chat_message', {**forged, 'conv': talk.conv, 'cid': cid,
                                 'kind': 'text', 'text': 'me'})
    for party in (talk.c, talk.a):
        event = party.expect('chat_message')
        assert event['payload'] == {'from': talk.client.id, 'cid': cid,
                                    'kind': 'text', 'text': 'me'}
        assert event['seq'] == 1 and event['ts'] > 10 ** 12
    talk.c.call('chat_react', {**forged, 'conv': talk.conv, 'msg': 1,
                               'emoji': '👍', 'on': True})
    talk.c.send('chat_typing', {**forged, 'conv': talk.conv, 'on': True})
    talk.c.call('chat_ack', {**forged, 'conv': talk.conv, 'read': 1})
    talk.c.call('session_media', {**forged, **talk.this, 'mic': True,
                                  'cam': True, 'screen': False})
    talk.c.call('session_quality', {**forged, **talk.this, 'rtt': 1,
                                    'loss': 0, 'jitter': 1})
    for kind in ('chat_react', 'chat_typing', 'chat_receipt', 'session_media',
                 'session_quality'):
        told = talk.a.expect(kind)
        assert told['payload']['from'] == talk.client.id
        assert 'u_999' not in told['_raw'], told['_raw']
    assert talk.row()['rate_minor'] == 6000
    end = talk.a.call('session_end', {**talk.this, **forged})
    assert end['state'] == 'ended'
    assert talk.ended()['by'] == talk.advisor.id


def test_payload_bytes_pass_through(talk):
    """Numbers that no double holds, escapes, key order, spaces."""
    payload = ('{"session":"%s","gen":1,"n":12345678901234567890123,'
               '"f":1.50, "s":"\\u00e9\\/é","b":[ ],"a":{"z":1,"y":2}}'
               % talk.id)
    talk.c.send_text('{"type":"signal_end","payload":%s}' % payload)
    assert '"payload":' + payload in talk.a.expect('signal_end')['_raw']


def test_an_offer_without_a_fingerprint(talk):
    bad = SDP.replace('a=fingerprint:sha-256 AA:BB\r\n', '')
    for kind in ('signal_offer', 'signal_answer'):
        for sdp in (bad, '', 17, None):
            error = talk.c.refused(kind, {**talk.this, 'gen': 1, 'sdp': sdp})
            assert error['code'] == 'bad_request'
    talk.a.quiet('signal_offer', 0.2)


CHECKED = {
    'plain RTP': (SDP.replace('UDP/TLS/RTP/SAVPF', 'RTP/AVP'), 'DTLS'),
    'plain RTP with feedback': (SDP.replace('UDP/TLS/RTP/SAVPF', 'RTP/AVPF'),
                                'DTLS'),
    'one of two is plain': (SDP + 'm=video 9 RTP/AVP 96\r\n', 'DTLS'),
    'SDES': (SDP + 'a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:c2VjcmV0\r\n',
             'a=crypto'),
    'MIKEY': (SDP + 'a=key-mgmt:mikey AQAFgM0XflABAAAA\r\n', 'a=crypto'),
    'fingerprint in a name': (SDP.replace('a=fingerprint:', 's=a=fingerprint:'
                                          ), 'a=fingerprint'),
    'of the first alone': (SDP.replace('a=fingerprint:sha-256 AA:BB\r\n', '')
                           + 'a=fingerprint:sha-256 AA:BB\r\n'
                           'm=video 9 UDP/TLS/RTP/SAVPF 96\r\n',
                           'a=fingerprint'),
}


def written(text):
    """As JSON, in ways that all mean the same."""
    yield json.dumps(text)
    yield '"' + ''.join(f'\\u{ord(c):04X}' for c in text) + '"'


def test_m9_only_dtls_srtp_is_relayed(talk):
    """Refused with what is wrong, however it is written; and what is right
    passes through octet by octet."""
    for kind in ('signal_offer', 'signal_answer'):
        for sdp, why in CHECKED.values():
            for text in (*written(sdp), *written(sdp.replace('\r\n', '\n'))):
                talk.c.ids += 1
                talk.c.waited = set(talk.c.waited) | {talk.c.ids}
                talk.c.send_text(
                    '{"type":"%s","id":%d,"payload":{"session":"%s","sdp":%s}}'
                    % (kind, talk.c.ids, talk.id, text))
                with pytest.raises(Refused) as refused:
                    talk.c.reply(talk.c.ids)
                error = refused.value.error
                assert (error['code'], error['field'], error['retry']) \
                    == ('bad_request', '/payload/sdp', False)
                assert why in error['message']
        # the next ones to arrive are the good ones
        for good in written(SDP):
            talk.c.send_text('{"type":"%s","payload":{"session":"%s","sdp":%s}}'
                             % (kind, talk.id, good))
            assert good in talk.a.expect(kind)['_raw']


def test_signals_of_those_who_have_no_part(stack, talk):
    for role in ('client', 'advisor'):
        other = stack.person(role).connect()
        for kind in ('signal_offer', 'signal_ice_candidate'):
            error = other.refused(kind, {**talk.this, 'gen': 1, 'sdp': SDP})
            assert error['code'] == 'not_participant'
    talk.a.quiet('signal_offer', 0.2)


def test_signal_to_no_session(stack):
    client = stack.person().connect()
    error = client.refused('signal_ice_candidate',
                           {'session': 's_99999999', 'gen': 1})
    assert error['code'] == 'not_participant'
    for bad in ('x', 17, None, 's_-1', 's_0', 's_99999999999999999999999'):
        error = client.refused('signal_ice_candidate', {'session': bad})
        assert error['code'] == 'bad_request', bad
        assert error['field'] == '/payload/session'


# -- chat ----------------------------------------------------------------------

def test_chat(talk):
    cid = str(uuid.uuid4())
    reply = talk.c.say(talk.conv, 'héllo "✓" \U0001f600', cid)
    assert reply['conv'] == talk.conv and not reply.get('dup')
    got = talk.a.expect('chat_message')
    assert (got['conv'], got['seq'], got['ts']) \
        == (talk.conv, reply['seq'], reply['ts'])
    assert got['payload'] == {'from': talk.client.id, 'cid': cid,
                              'kind': 'text', 'text': 'héllo "✓" \U0001f600'}
    assert abs(got['ts'] - time.time() * 1000) < 60000

    answer = talk.a.say(talk.conv, 'yes', reply_to=reply['seq'])
    assert answer['seq'] == reply['seq'] + 1
    assert talk.c.expect(
        'chat_message', lambda m: m['seq'] == answer['seq']
        )['payload']['reply_to'] == reply['seq']


def test_the_frame_is_what_sql_would_write(stack, talk):
    """C and SQL build the same bytes for one event."""
    talk.c.say(talk.conv, 'a "quote", a \\ and \u2028')
    got = talk.a.expect('chat_message')['_raw']
    with stack.db() as db:
        frame, = db.execute(
            'SELECT consult.frame(conversation_id, seq, at, type, payload)'
            '  FROM consult.event WHERE conversation_id = %s'
            ' ORDER BY seq DESC LIMIT 1', (int(talk.conv[2:]),)).fetchone()
    assert got == frame


def test_a_cid_is_one_message(talk):
    cid = str(uuid.uuid4())
    first = talk.c.say(talk.conv, 'once', cid)
    again = talk.c.say(talk.conv, 'once', cid)
    assert again['dup'] is True
    assert (again['seq'], again['ts']) == (first['seq'], first['ts'])
    error = talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': cid, 'kind': 'text', 'text': 'other'})
    assert error['code'] == 'idempotency_mismatch'
    # of the other party the same cid is another message
    assert talk.a.say(talk.conv, 'mine', cid)['seq'] == first['seq'] + 1
    talk.advisor.assert_has_all(talk.conv)
    assert len([e for e in talk.a.events if e['type'] == 'chat_message'
                and e['payload']['text'] == 'once']) == 1


def test_the_same_cid_many_times_at_once(talk):
    cid = str(uuid.uuid4())
    payload = {'conv': talk.conv, 'cid': cid, 'kind': 'text', 'text': 'x'}
    numbers = [talk.c.request('chat_message', payload) for _ in range(50)]
    replies = [talk.c.reply(n) for n in numbers]
    assert len({(r['seq'], r['ts']) for r in replies}) == 1
    assert sum(not r.get('dup') for r in replies) == 1


def test_many_messages_from_both_at_once(talk):
    """Gap-free, in the same order for both, none twice."""
    n = 300
    numbers = {party: [party.request('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': f'{i}'}) for i in range(n)] for party in (talk.c, talk.a)}
    seqs = {party: [party.reply(i, 20)['seq'] for i in ids]
            for party, ids in numbers.items()}
    for party in seqs:
        assert seqs[party] == sorted(seqs[party])
    everything = sorted(seqs[talk.c] + seqs[talk.a])
    assert everything == list(range(everything[0], everything[0] + 2 * n))
    for party in (talk.client, talk.advisor):
        eventually(lambda p=party: len(p.events.get(talk.conv, {})) >= 2 * n)
        party.assert_has_all(talk.conv)


@pytest.mark.parametrize('over, field', [
    ({'cid': None}, '/payload/cid'), ({'cid': 'x'}, '/payload/cid'),
    ({'cid': 17}, '/payload/cid'), ({'conv': 'x'}, '/payload/conv'),
    ({'conv': None}, '/payload/conv'), ({'text': None}, '/payload/text'),
    ({'text': 17}, '/payload/text'), ({'text': ''}, '/payload/text'),
    ({'kind': 'poison'}, '/payload/kind'), ({'kind': 1}, '/payload/kind'),
    ({'reply_to': -1}, '/payload/reply_to'),
    ({'reply_to': 'x'}, '/payload/reply_to'),
    ({'reply_to': 2 ** 70}, '/payload/reply_to'),
], ids=str)
def test_malformed_chat(talk, over, field):
    payload = {'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
               'text': 'x', **over}
    error = talk.c.refused('chat_message', {k: v for k, v in payload.items()
                                            if v is not None})
    assert error['code'] == ('unsupported' if over.get('kind') == 'poison'
                             else 'bad_request')
    assert error['field'] == field
    talk.a.quiet('chat_message', 0.1)


def test_chat_text_that_is_too_long(talk):
    """A precise answer, or 1009 when the frame itself is too large."""
    error = talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': 'x' * 60000})
    assert error['code'] in ('too_large', 'bad_request')


def test_chat_of_those_who_have_no_part(stack, talk):
    other = stack.person().connect()
    for conv in (talk.conv, 'c_99999999'):
        error = other.refused('chat_message', {
            'conv': conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
            'text': 'let me in'})
        assert error['code'] in ('session_state', 'not_participant')
    talk.a.quiet('chat_message', 0.2)


def test_chat_after_the_end(talk):
    talk.end()
    error = talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
        'text': 'one more thing'})
    assert error['code'] in ('session_state', 'not_participant')


def test_typing(talk):
    talk.c.send('chat_typing', {'conv': talk.conv, 'on': True})
    got = talk.a.expect('chat_typing')
    assert got['conv'] == talk.conv
    assert got['payload']['on'] is True
    assert 'seq' not in got
    assert got.get('from', got['payload'].get('from')) == talk.client.id
    talk.c.quiet('chat_typing', 0.2)


def test_a_slow_client_hurts_itself_only(stack, talk):
    """One that reads nothing is cut off when its queue is full; the other
    does not notice, and it misses nothing when it is back."""
    slow = talk.a
    slow.pause()
    before = stack.metrics()['astro_slow_clients_total']
    text = 'x' * 15000
    # twenty at once: the sender gets its own events as well, more than its queue
    # holds within one turn of the loop, and is no slow client
    for _ in range(300):
        numbers = [talk.c.request('chat_message', {
            'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
            'text': text}) for _ in range(20)]
        for number in numbers:
            last = talk.c.reply(number)['seq']
        if stack.metrics()['astro_slow_clients_total'] > before:
            break
    else:
        pytest.fail('45 MB went into a queue of 256 KB')

    assert talk.c.open
    slow.resume()
    assert slow.wait_close() in (4504, None)
    client = talk.advisor.connect(resume=True)
    eventually(lambda: talk.advisor.pos().get(talk.conv) == last
               or client.me['convs'][0]['state'] == 'gap')
    if client.me['convs'][0]['state'] == 'replay':
        talk.advisor.assert_has_all(talk.conv)


# -- resume --------------------------------------------------------------------

def test_resume_gets_what_was_missed(talk):
    """In order, once, on another worker; then the live ones."""
    for i in range(3):
        talk.a.say(talk.conv, f'before {i}')
    eventually(lambda: len([e for e in talk.c.events
                            if e['type'] == 'chat_message']) == 3)
    old = talk.c
    old.drop()
    for i in range(40):
        talk.a.say(talk.conv, f'missed {i}')
    client = talk.client.connect(resume=True, away_from=old.worker)
    assert client.me['resumed'] is True
    assert [c['state'] for c in client.me['convs']
            if c['conv'] == talk.conv] == ['replay']
    client.call('session_join', talk.this)
    talk.a.say(talk.conv, 'live')
    eventually(lambda: [e for e in client.events if e['type'] ==
                        'chat_message'][-1:] and client.events[-1][
                            'payload'].get('text') == 'live')
    texts = [e['payload']['text'] for e in client.events
             if e['type'] == 'chat_message']
    assert texts == [f'missed {i}' for i in range(40)] + ['live']
    talk.client.assert_has_all(talk.conv)


def test_resume_thirty_times(talk):
    """Also with nothing in between; never a doublet, never a hole."""
    for i in range(30):
        if i % 3:
            talk.a.say(talk.conv, f'{i}')
        talk.c.drop()
        client = talk.client.connect(resume=True)
        state = [c['state'] for c in client.me['convs']
                 if c['conv'] == talk.conv]
        assert state in (['current'], ['replay']), client.me
    client.call('session_join', talk.this)
    last = talk.a.say(talk.conv, 'last')['seq']
    eventually(lambda: talk.client.pos().get(talk.conv) == last)
    talk.client.assert_has_all(talk.conv)


def test_a_gap_is_told(stack, talk):
    """More than 300 behind: REST is where they are."""
    with stack.db() as db:
        conv = int(talk.conv[2:])
        db.execute(
            "INSERT INTO consult.event (conversation_id, seq, type, sender_id,"
            " payload) SELECT %s, c.head + n, 'chat_message', %s,"
            " '{\"text\":\"x\"}' FROM consult.conversation c,"
            " generate_series(1, 400) n WHERE c.id = %s",
            (conv, talk.client.number, conv))
        db.execute('UPDATE consult.conversation SET head = head + 400'
                   ' WHERE id = %s', (conv,))
    other = stack.connect()
    me = other.hello(talk.client.token, pos={talk.conv: 1})
    assert [c['state'] for c in me['convs'] if c['conv'] == talk.conv] \
        == ['gap']


def stored_unheard(talk, text):
    """An event that was committed, but that no gateway was told of: as if
    its worker had been killed right after the COMMIT."""
    with talk.stack.db() as db, db.transaction():
        seq, = db.execute(
            'UPDATE consult.conversation SET head = head + 1 WHERE id = %s'
            ' RETURNING head', (int(talk.conv[2:]),)).fetchone()
        db.execute(
            'INSERT INTO consult.event (conversation_id, seq, type, sender_id,'
            " cid, payload) VALUES (%s, %s, 'chat_message', %s, %s, %s)",
            (int(talk.conv[2:]), seq, talk.client.number, str(uuid.uuid4()),
             json.dumps({'from': talk.client.id, 'text': text})))
    return seq


def test_a_hole_is_filled_before_what_follows(talk):
    """Nothing is ever sent out of order: the server fetches it first."""
    for i in range(5):
        talk.c.say(talk.conv, f'heard {i}')
        stored_unheard(talk, f'unheard {i}')
        last = talk.a.say(talk.conv, f'answer {i}')['seq']
    for person in (talk.client, talk.advisor):
        eventually(lambda p=person: p.pos().get(talk.conv) == last)
        person.assert_has_all(talk.conv)


def test_what_nobody_told_is_found(talk):
    """Heads are read again within 5 s, also when nothing follows."""
    talk.c.say(talk.conv, 'heard')
    last = stored_unheard(talk, 'unheard')
    for person in (talk.client, talk.advisor):
        eventually(lambda p=person: p.pos().get(talk.conv) == last, 7)
        person.assert_has_all(talk.conv)


def test_sync(talk):
    for i in range(5):
        talk.c.say(talk.conv, f'{i}')
    eventually(lambda: len([e for e in talk.a.events
                            if e['type'] == 'chat_message']) == 5)
    other = talk.stack.connect()
    other.hello(talk.advisor.token)
    other.seen.pop(talk.conv, None)
    answer = other.call('sync', {'conv': talk.conv, 'after': 2})
    assert answer.get('head', 5) >= 5
    eventually(lambda: [e['seq'] for e in other.events
                        if e['conv'] == talk.conv][-1:] == [5])
    for bad in ({'conv': talk.conv, 'after': -1},
                {'conv': talk.conv, 'after': 'x'},
                {'conv': talk.conv}, {'after': 1},
                {'conv': talk.conv, 'after': 2 ** 70}):
        assert other.refused('sync', bad)['code'] == 'bad_request'


# -- who may do what -----------------------------------------------------------

def test_reject(stack):
    talk = Consultation(stack).connect()
    talk.ring()
    talk.a.call('session_reject', {**talk.this, 'reason': 'busy at home'})
    end = talk.ended()
    assert end['reason'] == 'rejected'
    assert end['totals']['charged'] == 0
    assert talk.client.wallet() == (100000, 0)
    talk.assert_settled()


def test_cancel(stack):
    talk = Consultation(stack).connect()
    talk.ring()
    talk.c.call('session_cancel', talk.this)
    assert talk.ended()['reason'] == 'cancelled'
    error = talk.a.refused('session_accept', talk.this)
    assert error['code'] == 'session_state'


def test_one_winner(stack):
    """Accept and cancel at the same instant: one of them, and both know."""
    for _ in range(5):
        talk = Consultation(stack).connect()
        talk.ring()
        accept = talk.a.request('session_accept', talk.this)
        cancel = talk.c.request('session_cancel', talk.this)
        won = 0
        for party, number in ((talk.a, accept), (talk.c, cancel)):
            try:
                party.reply(number)
                won += 1
            except Exception as e:      # pylint: disable=broad-except
                assert getattr(e, 'code', None) == 'session_state', e
        # accepting, then cancelling before it is active, is also in order
        assert won in (1, 2)
        state = talk.row()['state']
        assert state == 'ended' if won == 2 else state in ('accepted', 'ended')


def test_two_devices_ring_and_one_answers(stack):
    talk = Consultation(stack).connect()
    first = talk.a
    talk.advisor.device = str(uuid.uuid4())
    second = talk.advisor.connect(away_from=first.worker)
    talk.start()
    for device in (first, second):
        device.expect('session_incoming')
    talk.accept()
    first.expect('session_update',
                 lambda m: m['payload']['state'] == 'accepted')
    error = first.refused('session_accept', talk.this)
    assert error['code'] == 'session_state'


def test_wrong_roles(stack):
    talk = Consultation(stack).connect()
    error = talk.a.refused('session_start', {
        'advisor': talk.advisor.id, 'service': 'chat',
        'cid': str(uuid.uuid4())})
    assert error['code'] in ('invalid_user_role', 'forbidden')
    other = stack.person('admin').connect()
    error = other.refused('session_start', {
        'advisor': talk.advisor.id, 'service': 'chat',
        'cid': str(uuid.uuid4())})
    assert error['code'] == 'invalid_user_role'

    talk.ring()
    for kind in ('session_accept', 'session_reject'):
        assert talk.c.refused(kind, talk.this)['code'] == 'forbidden'
    assert talk.a.refused('session_cancel', talk.this)['code'] == 'forbidden'
    assert talk.row()['state'] == 'ringing'


def test_a_session_of_others(stack):
    talk = Consultation(stack).connect()
    talk.ring()
    for role in ('client', 'advisor', 'admin'):
        other = stack.person(role).connect()
        for kind in ('session_accept', 'session_reject', 'session_cancel',
                     'session_join', 'session_end'):
            error = other.refused(kind, talk.this)
            assert error['code'] in ('not_participant', 'forbidden'), kind
        for kind in ('session_join', 'session_end'):
            assert other.refused(kind, {'session': 's_99999999'})['code'] \
                == 'not_participant'
    assert talk.row()['state'] == 'ringing'


@pytest.mark.parametrize('over, code', [
    ({'advisor': 'u_99999999'}, 'not_found'),
    ({'advisor': 'x'}, 'bad_request'), ({'advisor': None}, 'bad_request'),
    ({'advisor': 'u_-1'}, 'bad_request'),
    ({'advisor': 'u_99999999999999999999'}, 'bad_request'),
    ({'service': 'poem'}, 'bad_request'), ({'service': None}, 'bad_request'),
    ({'service': 'video'}, 'unsupported'),
    ({'cid': 'x'}, 'bad_request'), ({'cid': None}, 'bad_request'),
    ({'max_minutes': 0}, 'bad_request'), ({'max_minutes': -1}, 'bad_request'),
    ({'max_minutes': 1.5}, 'bad_request'),
    ({'max_minutes': 2 ** 62}, 'bad_request'),
    ({'max_minutes': 'x'}, 'bad_request'),
], ids=str)
def test_malformed_session_start(stack, over, code):
    client = stack.person(balance=10000).connect()
    advisor = stack.person('advisor', rates=(6000, 6000, None))
    advisor.connect()
    payload = {'advisor': advisor.id, 'service': 'chat',
               'cid': str(uuid.uuid4()), **over}
    error = client.refused('session_start', {
        k: v for k, v in payload.items() if v is not None})
    assert error['code'] == code


def test_oneself_is_no_advisor(stack):
    client = stack.person(balance=10000)
    client.connect()
    error = client.client.refused('session_start', {
        'advisor': client.id, 'service': 'chat', 'cid': str(uuid.uuid4())})
    assert error['code'] in ('not_found', 'forbidden', 'invalid_user_role')


def test_an_advisor_who_is_offline(stack):
    client = stack.person(balance=10000).connect()
    advisor = stack.person('advisor')
    error = client.refused('session_start', {
        'advisor': advisor.id, 'service': 'chat', 'cid': str(uuid.uuid4())})
    assert error['code'] == 'offline'


def test_too_little_money(stack):
    talk = Consultation(stack, balance=99).connect()
    error = talk.c.refused('session_start', {
        'advisor': talk.advisor.id, 'service': 'chat', 'cid': talk.cid})
    assert error['code'] == 'insufficient_balance'


def test_busy(stack):
    talk = Consultation(stack).active()
    other = stack.person(balance=10000).connect()
    error = other.refused('session_start', {
        'advisor': talk.advisor.id, 'service': 'chat',
        'cid': str(uuid.uuid4())})
    assert error['code'] == 'busy'
    # and the client has one session at a time, too
    second = stack.person('advisor')
    second.connect()
    error = talk.c.refused('session_start', {
        'advisor': second.id, 'service': 'chat', 'cid': str(uuid.uuid4())})
    assert error['code'] == 'busy'
    talk.end()
    talk2 = Consultation(stack)
    talk2.advisor = talk.advisor
    talk2.client.connect()
    assert talk2.start()['state'] == 'ringing'


def test_session_start_is_idempotent(stack):
    talk = Consultation(stack).connect()
    first = talk.ring()
    again = talk.start()
    assert again['session'] == first['session']
    assert again.get('dup') is True
    # whoever has rung rings no more; one whose ring was lost does, see
    # test_heal.py
    talk.a.quiet('session_incoming', 0.3)
    talk.accept()
    assert talk.start()['state'] == 'accepted'
    talk.a.quiet('session_incoming', 0.3)
    error = talk.c.refused('session_start', {
        'advisor': talk.advisor.id, 'service': 'video', 'cid': talk.cid})
    assert error['code'] == 'idempotency_mismatch'


def test_ending_twice(talk):
    end = talk.end()
    assert end['reason'] == 'client_ended'
    for party in (talk.c, talk.a):
        again = party.call('session_end', talk.this)
        assert again.get('dup', True)
    for party in (talk.c, talk.a):
        party.quiet('session_end', 0.3)
    with talk.stack.db() as db:
        n, = db.execute(
            "SELECT count(*) FROM consult.event WHERE type = 'session_end'"
            ' AND conversation_id = %s', (int(talk.conv[2:]),)).fetchone()
    assert n == 1


def test_join_before_it_is_accepted(stack):
    talk = Consultation(stack).connect()
    talk.ring()
    for party in (talk.c, talk.a):
        assert party.refused('session_join', talk.this)['code'] \
            == 'session_state'


def test_d3_who_waits_is_told_and_nothing_said_is_lost(stack, rest):
    """What the first sends before the second has come is given to the second
    once, in order, and to no third."""
    talk = Consultation(stack, service='audio').connect()
    talk.ring()
    talk.accept()
    talk.state('accepted')
    assert talk.c.call('session_join', talk.this)['peer_present'] is False
    talk.c.forget()

    third = stack.person('advisor').connect()
    assert third.refused('session_join', talk.this)['code'] \
        == 'not_participant'
    sent = [('signal_offer', {**talk.this, 'gen': 1, 'sdp': SDP})]
    sent += [('signal_ice_candidate', {**talk.this, 'gen': 1, 'candidate':
                                       f'candidate:{i}'}) for i in range(40)]
    for kind, payload in sent:
        assert talk.c.call(kind, payload) == {}

    def signals(client):
        return [(m['type'], m['payload']) for m in client.messages
                if m['type'].startswith('signal_')]

    assert signals(talk.a) == []
    assert talk.a.call('session_join', talk.this)['peer_present'] is True
    talk.c.expect('session_update', lambda m: m['payload']['present']
                  == [talk.client.id, talk.advisor.id])
    eventually(lambda: len(signals(talk.a)) >= len(sent))
    talk.c.call('signal_end', {**talk.this, 'gen': 1})
    sent.append(('signal_end', {**talk.this, 'gen': 1}))
    eventually(lambda: len(signals(talk.a)) >= len(sent))
    assert signals(talk.a) == sent

    # leaving is told as well, and who is back is given nothing again
    talk.a.close()
    talk.c.expect('session_update', lambda m: m['payload']['present']
                  == [talk.client.id])
    talk.advisor.connect()
    assert talk.a.call('session_join', talk.this)['peer_present'] is True
    talk.c.call('signal_end', {**talk.this, 'gen': 2})
    talk.a.expect('signal_end')
    assert signals(talk.a) == [] and signals(third) == []
    talk.end()


# -- presence ------------------------------------------------------------------

def test_presence(stack):
    client = stack.person().connect()
    advisor = stack.person('advisor')
    watched = client.call('presence_watch', {'users': [advisor.id]})['users']
    assert [(w['user'], w['online']) for w in watched] \
        == [(advisor.id, False)]
    ver = watched[0]['ver']

    one = advisor.connect(away_from=client.worker)
    on = client.expect('user_online')
    assert on['payload']['user'] == advisor.id and on['ver'] > ver
    two = advisor.connect()
    client.quiet('user_online', 0.3)
    one.close()
    client.quiet('user_offline', 1)
    two.close()
    off = client.expect('user_offline')
    assert off['payload']['user'] == advisor.id and off['ver'] > on['ver']


@pytest.mark.parametrize('users', [
    'x', [17], ['x'], [None], {}, ['s_1'], [['u_1']],
    [f'u_{i}' for i in range(1, 3000)]], ids=lambda u: str(u)[:30])
def test_malformed_presence_watch(stack, users):
    client = stack.person().connect()
    error = client.refused('presence_watch', {'users': users})
    assert error['code'] in ('bad_request', 'too_large')
