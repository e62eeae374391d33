"""Chat by REST, and what the database keeps of it: history, unread counts,
sending, the time after a session."""

import json
import random
import threading
import time
import uuid

import psycopg
import pytest

from astro.client import Refused
from astro.consult import Consultation
from astro.stack import eventually
from astro.talkers import Talker, compare
from astro.ws import SLOW, Timeout


@pytest.fixture
def talk(stack):
    return Consultation(stack).active()


@pytest.fixture
def followup(stack):
    """Sets for how long one may write after a session."""
    def put(ms):
        with stack.db() as db:
            db.execute('UPDATE consult.chat_option SET followup_ms = %s',
                       (ms,))
    yield put
    put(0)


def path(talk, what='messages'):
    return f'/api/conversations/{talk.conv}/{what}'


def body(text, cid=None, **more):
    return {'text': text, 'cid': cid or str(uuid.uuid4()), **more}


def events(stack, conv):
    with stack.db() as db:
        return db.execute('SELECT count(*) FROM consult.event WHERE'
                          ' conversation_id = %s', (int(conv[2:]),)
                          ).fetchone()[0]


def in_list(rest, person, conv):
    page = rest.get('/api/conversations', person.token)
    assert page.status == 200
    found = [c for c in page.json['data'] if c['conv'] == conv]
    assert found == [rest.get(f'/api/conversations/{conv}',
                              person.token).json]
    return found[0]


# -- E1 ------------------------------------------------------------------------

class Actor(Talker):
    """After each message one that quotes it, an edit and a reaction; each
    again and again under its cid until it is acknowledged."""

    def __init__(self, *args):
        super().__init__(*args)
        self.acts = {}

    def one(self):
        super().one()
        msg = list(self.acknowledged.values())[-1]
        for kind, more in (
                ('chat_message', {'text': 'quoting', 'reply_to': msg}),
                ('chat_edit', {'text': f'edited {msg}', 'msg': msg}),
                ('chat_react', {'emoji': '👍', 'on': True, 'msg': msg})):
            cid = str(uuid.uuid4())
            seq = self.insist(kind, {'conv': self.talk.conv, 'cid': cid,
                                     **more})
            if kind == 'chat_message':
                self.acknowledged[cid] = seq
            self.acts[cid] = seq

    def insist(self, kind, payload):
        until = time.monotonic() + 30 * SLOW
        while time.monotonic() < until:
            try:
                return self.person.client.call(kind, payload, 5)['seq']
            except Refused as e:
                if e.code not in ('session_state', 'unavailable', 'unpaid'):
                    raise
                time.sleep(0.1)
            except (Timeout, OSError):
                self.reconnect()
        raise AssertionError(f'{kind} {payload}: not acknowledged in time')


def test_e1_acknowledged_is_stored_and_told_once(stack, talk):
    """Whatever it is, and whichever worker is killed."""
    actors = [Actor(talk, p) for p in (talk.client, talk.advisor)]
    for actor in actors:
        actor.start()
    try:
        for _ in range(2):
            time.sleep(0.7)
            stack.kill_nginx_worker(random.choice(list(
                stack.nginx_workers())))
        time.sleep(0.7)
    finally:
        for actor in actors:
            actor.stopped.set()
    compare(talk, actors)
    stored = talk.client.stored(talk.conv)
    cids = [json.loads(payload)['cid'] for _, payload in stored.values()
            if 'cid' in payload]
    assert len(cids) == len(set(cids))
    for actor in actors:
        assert len(actor.acts) >= 6
        for cid, seq in actor.acts.items():
            assert f'"{cid}"' in stored[seq][1]


# -- E9 ------------------------------------------------------------------------

def test_e9_history_while_new_arrive(stack, talk, rest):
    number = int(talk.conv[2:])
    with stack.db() as db:
        with db.transaction():
            db.execute(
                'INSERT INTO consult.event (conversation_id, seq, type,'
                ' sender_id, cid, payload) SELECT %s, n, %s, %s,'
                " gen_random_uuid(), json_build_object('from', %s::text,"
                " 'kind', 'text', 'text', 'old ' || n)"
                ' FROM generate_series(1, 10000) n',
                (number, 'chat_message', talk.client.number, talk.client.id))
            db.execute('UPDATE consult.conversation SET head = 10000 WHERE'
                       ' id = %s', (number,))
    stop = threading.Event()

    def more():
        n = 0
        while not stop.is_set():
            talk.a.say(talk.conv, f'new {n}')
            n += 1

    thread = threading.Thread(target=more)
    thread.start()
    try:
        seqs, cursor = [], '0'
        while cursor is not None:
            page = rest.get(path(talk) + f'?limit=200&cursor={cursor}',
                            talk.client.token)
            assert page.status == 200
            seqs += [m['seq'] for m in page.json['data']]
            cursor = page.json['next_cursor']
    finally:
        stop.set()
        thread.join()
    assert len(seqs) > 10000
    assert seqs == list(range(1, len(seqs) + 1))


# -- E12 -----------------------------------------------------------------------

def test_e12_away_for_a_day(stack, talk, rest, followup):
    followup(10 ** 12)
    talk.c.say(talk.conv, 'before')
    talk.a.expect('chat_message')
    talk.end()
    talk.advisor.events[talk.conv].clear()
    last = talk.a.seen[talk.conv]
    talk.a.drop()

    assert in_list(rest, talk.advisor, talk.conv)['unread'] == 1
    sent = [talk.c.say(talk.conv, f'm {i}')['seq'] for i in range(20)]
    deleted = sent[3]
    talk.c.call('chat_delete', {'conv': talk.conv, 'msg': deleted})
    talk.c.call('chat_edit', {'conv': talk.conv, 'msg': sent[4], 'text': 'x'})
    with stack.db() as db:
        db.execute("UPDATE consult.event SET at = at - interval '1 day' WHERE"
                   ' conversation_id = %s', (int(talk.conv[2:]),))

    mine = in_list(rest, talk.advisor, talk.conv)
    assert mine['unread'] == 20         # 1 + 20 - the one deleted
    assert mine['with'] == {'user': talk.client.id, 'name': mine['with']
                            ['name']}
    assert (mine['delivered'], mine['read']) == (0, 0)
    assert mine['head'] == mine['last']['seq'] == events(stack, talk.conv)
    theirs = in_list(rest, talk.client, talk.conv)
    assert theirs['unread'] == 0

    back = stack.connect()
    back.hello(talk.advisor.token, talk.advisor.device, {talk.conv: last})
    back.wait(lambda: back.seen[talk.conv] == mine['head'], what='all of it')
    assert [e['seq'] for e in back.events if e['conv'] == talk.conv] \
        == list(range(last + 1, mine['head'] + 1))

    back.call('chat_ack', {'conv': talk.conv, 'delivered': mine['head'],
                           'read': sent[9]})
    assert in_list(rest, talk.advisor, talk.conv)['unread'] == 10
    theirs = in_list(rest, talk.client, talk.conv)
    assert theirs['peer_delivered'] == mine['head']
    assert theirs['peer_read'] == sent[9]
    back.call('chat_ack', {'conv': talk.conv, 'read': mine['head']})
    assert in_list(rest, talk.advisor, talk.conv)['unread'] == 0
    # one's own are not unread
    back.say(talk.conv, 'thanks')
    assert in_list(rest, talk.advisor, talk.conv)['unread'] == 0
    assert in_list(rest, talk.client, talk.conv)['unread'] == 1


def test_e12_the_list_is_paged_and_ones_own(stack, rest):
    client = stack.person('client')
    convs = []
    for _ in range(5):
        made = rest.post('/api/conversations',
                         {'advisor': stack.person('advisor').id},
                         client.token)
        assert made.status == 201
        convs.append(made.json['conv'])
    walked, cursor = [], '9' * 18
    while cursor is not None:
        page = rest.get(f'/api/conversations?limit=2&cursor={cursor}',
                        client.token).json
        assert len(page['data']) <= 2
        walked += [c['conv'] for c in page['data']]
        cursor = page['next_cursor']
    assert walked == convs[::-1]
    other = stack.person('client')
    assert rest.get('/api/conversations', other.token).json == {
        'data': [], 'next_cursor': None}
    for what in ('', '/messages'):
        assert rest.get(f'/api/conversations/{convs[0]}{what}',
                        other.token).status == 404
    assert rest.get('/api/conversations?cursor=x', client.token).json[
        'errors'][0]['pointer'] == '/cursor'


# -- E14 -----------------------------------------------------------------------

def test_e14_one_conversation_for_a_pair(stack, rest, followup):
    client, advisor = stack.person('client'), stack.person('advisor')
    barrier = threading.Barrier(50)
    answers = []

    def first():
        barrier.wait()
        answers.append(rest.post('/api/conversations', {'advisor': advisor.id},
                                 client.token))

    threads = [threading.Thread(target=first) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(a.status for a in answers) == [200] * 49 + [201]
    assert len({a.json['conv'] for a in answers}) == 1
    conv = answers[0].json['conv']
    with stack.db() as db:
        assert db.execute('SELECT count(*) FROM consult.conversation WHERE'
                          ' client_id = %s', (client.number,)
                          ).fetchone() == (1,)
        # who has history stays
        for table, column in (('identity.account', 'id'),):
            with pytest.raises(psycopg.errors.ForeignKeyViolation):
                db.execute(f'DELETE FROM {table} WHERE {column} = %s',
                           (advisor.number,))

    # a conversation alone lets nobody write
    sent = rest.post(f'/api/conversations/{conv}/messages', body('hi'),
                     client.token)
    assert (sent.status, sent.code) == (409, 'session_state')
    for bad, status in (({'advisor': client.id}, 404),
                        ({'advisor': 'u_99999999'}, 404),
                        ({'advisor': 'x'}, 400), ({}, 400)):
        answer = rest.post('/api/conversations', bad, client.token)
        assert answer.status == status
        assert answer.json['errors'][0]['pointer'] == '/advisor'
    assert rest.post('/api/conversations', {'advisor': advisor.id},
                     advisor.token).status == 403


def test_e14_fifty_first_messages(stack, talk, rest):
    """By both, by both ways: one conversation, each once, in one order."""
    barrier = threading.Barrier(50)
    seqs = []

    def first(i):
        who = (talk.client, talk.advisor)[i % 2]
        barrier.wait()
        answer = rest.post(path(talk), body(f'm {i}'), who.token)
        assert answer.status == 201, answer
        seqs.append(answer.json['seq'])

    threads = [threading.Thread(target=first, args=(i,)) for i in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(seqs) == list(range(1, 51))
    for party in (talk.c, talk.a):
        party.wait(lambda p=party: p.seen.get(talk.conv) == 50, what='all')
    for party in (talk.client, talk.advisor):
        party.assert_has_all(talk.conv)


# -- E15 -----------------------------------------------------------------------

def test_e15_sent_by_rest(talk, rest):
    cid = str(uuid.uuid4())
    sent = rest.post(path(talk), body('by "rest" é 👋', cid),
                     talk.client.token)
    assert sent.status == 201
    one, two = (p.expect('chat_message') for p in (talk.c, talk.a))
    assert one['_raw'] == two['_raw']
    assert one['seq'] == sent.json['seq']
    assert one['payload'] == sent.json['payload'] == {
        'from': talk.client.id, 'cid': cid, 'kind': 'text',
        'text': 'by "rest" é 👋'}
    page = rest.get(path(talk), talk.client.token).json['data']
    assert page[-1] == {k: v for k, v in sent.json.items() if k != 'conv'}

    # the same message by the other way is a repeat, both ways round
    again = talk.c.say(talk.conv, 'by "rest" é 👋', cid)
    assert again['dup'] is True and again['seq'] == sent.json['seq']
    other = talk.c.say(talk.conv, 'by socket', cid2 := str(uuid.uuid4()))
    again = rest.post(path(talk), body('by socket', cid2), talk.client.token)
    assert again.status == 200 and again.json['dup'] is True
    assert again.json['seq'] == other['seq']
    for what in ({'text': 'by sockets'}, {'text': 'by socket',
                                          'reply_to': one['seq']}):
        answer = rest.post(path(talk), {'cid': cid2, **what},
                           talk.client.token)
        assert (answer.status, answer.code) == (422, 'idempotency_mismatch')

    # a key that is a UUID will do for a cid
    key = {'Idempotency-Key': str(uuid.uuid4())}
    keyed = [rest.post(path(talk), {'text': 'keyed'}, talk.client.token,
                       headers=key) for _ in range(2)]
    assert [a.status for a in keyed] == [201, 200]
    assert keyed[0].json['seq'] == keyed[1].json['seq']

    reply = rest.post(path(talk), body('re', reply_to=one['seq']),
                      talk.advisor.token).json
    assert reply['payload']['quote']['excerpt'].startswith('by "rest"')
    for what, more in (('edits', {'text': 'by REST'}), ('reactions', {
            'emoji': '👍', 'on': True}), ('deletions', {})):
        answer = rest.post(path(talk, what), {'msg': one['seq'], **more},
                           talk.client.token)
        assert answer.status == 201, answer
        kind = 'chat_' + {'edits': 'edit', 'reactions': 'react',
                          'deletions': 'delete'}[what]
        for party in (talk.c, talk.a):
            assert party.expect(kind)['seq'] == answer.json['seq']
    again = rest.post(path(talk, 'deletions'), {'msg': one['seq']},
                      talk.client.token)
    assert again.status == 200 and 'seq' not in again.json
    for party in (talk.client, talk.advisor):
        party.assert_has_all(talk.conv)


def test_e15_refusals(stack, talk, rest):
    before = events(stack, talk.conv)
    for bad, status, pointer in (
            ({'text': 'x'}, 400, '/cid'), (body(''), 400, '/text'),
            (body(5), 400, '/text'), (body('x', 'nope'), 400, '/cid'),
            (body('x', reply_to=10 ** 9), 400, '/reply_to'),
            (body('x', kind='image'), 422, '/kind')):
        answer = rest.post(path(talk), bad, talk.client.token)
        assert answer.status == status
        assert answer.json['errors'][0]['pointer'] == pointer
    for raw in (b'{"cid":"%s","text":"\\ud800"}' % str(uuid.uuid4()).encode(),
                b'{"text":"\xff"}', b'[', b'{"text":"\\u0000"}'):
        assert rest.post(path(talk), raw, talk.client.token).status == 400
    other = stack.person()
    for what, more in (('messages', body('x')), ('edits', {'text': 'x'}),
                       ('deletions', {}), ('reactions', {'emoji': '👍',
                                                         'on': True})):
        answer = rest.post(path(talk, what), {'msg': 1, **more}, other.token)
        assert (answer.status, answer.code) == (404, 'not_found')
        assert rest.post(path(talk, what), {'msg': 1, **more}).status == 401
        assert rest.post(f'/api/conversations/x/{what}', {'msg': 1, **more},
                         other.token).status == 404
    assert events(stack, talk.conv) == before


# -- E16 -----------------------------------------------------------------------

def test_e16_no_text_outside_a_session(stack, rest, followup):
    talk = Consultation(stack).connect()

    def refused(by):
        """By socket and by REST, and nothing is stored."""
        before = events(stack, talk.conv)
        person = talk.client if by is talk.c else talk.advisor
        error = by.refused('chat_message', {'conv': talk.conv, **body('x')})
        assert error['code'] == 'session_state'
        answer = rest.post(path(talk), body('x'), person.token)
        assert (answer.status, answer.code) == (409, 'session_state')
        assert events(stack, talk.conv) == before

    def taken(by):
        person = talk.client if by is talk.c else talk.advisor
        seq = by.call('chat_message', {'conv': talk.conv, **body('x')})['seq']
        answer = rest.post(path(talk), body('y'), person.token)
        assert (answer.status, answer.json['seq']) == (201, seq + 1)
        for party in (talk.c, talk.a):
            for _ in range(2):
                party.expect('chat_message')

    followup(10 ** 9)
    talk.ring()
    for party in (talk.c, talk.a):      # it rings
        refused(party)
    talk.accept()
    refused(talk.c)
    talk.c.call('session_join', talk.this)
    refused(talk.c)                     # nobody is there yet, nothing is paid
    refused(talk.a)
    talk.a.call('session_join', talk.this)
    talk.state('active')
    taken(talk.c)
    taken(talk.a)

    # who has not joined does not write in another's time
    talk.a.drop()
    talk.state('reconnecting', talk.c)
    talk.advisor.connect(resume=True)
    refused(talk.a)
    talk.a.call('session_join', talk.this)
    eventually(lambda: talk.row()['state'] == 'active')
    talk.a.forget()
    talk.c.forget()
    taken(talk.a)

    talk.end()
    taken(talk.c)                       # within the time after it
    taken(talk.a)
    followup(1)
    for party in (talk.c, talk.a):
        refused(party)
    followup(0)
    for party in (talk.c, talk.a):
        refused(party)


def test_e16_no_followup_of_a_ring(stack, rest, followup):
    followup(10 ** 9)
    talk = Consultation(stack).connect()
    talk.ring()
    talk.a.call('session_reject', {**talk.this, 'reason': 'busy'})
    talk.ended()
    for person in (talk.client, talk.advisor):
        answer = rest.post(path(talk), body('for free?'), person.token)
        assert (answer.status, answer.code) == (409, 'session_state')
