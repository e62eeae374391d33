"""Chat on WebSockets beyond plain messages: replies, reactions, edits,
deletions, typing, receipts."""

import json
import threading
import time
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import eventually
from astro.ws import SLOW

THUMB, HEART, FAMILY = '👍', '❤️', '👨‍👩‍👧‍👦'


@pytest.fixture
def talk(stack):
    return Consultation(stack).active()


def both(talk, kind, where=None):
    """The same event, to the byte, at both."""
    one, two = (party.expect(kind, where) for party in (talk.c, talk.a))
    assert one['_raw'] == two['_raw']
    return one


def say(talk, text, by='c', **more):
    """Its seq, when both have it."""
    reply = getattr(talk, by).say(talk.conv, text, **more)
    return both(talk, 'chat_message', lambda m: m['seq'] == reply['seq'])


def stored(talk, what='count(*)'):
    with talk.stack.db() as db:
        return db.execute(f'SELECT {what} FROM consult.event WHERE'
                          ' conversation_id = %s', (int(talk.conv[2:]),)
                          ).fetchone()[0]


def replayed(talk, person='client'):
    """What somebody who has nothing is sent of the conversation."""
    who = getattr(talk, person)
    client = talk.stack.connect()
    client.hello(who.token, str(uuid.uuid4()), {talk.conv: 0})
    head = next(c['head'] for c in client.me['convs']
                if c['conv'] == talk.conv)
    if head:
        client.wait(lambda: client.seen.get(talk.conv) == head, what='all')
    events = list(client.events)
    client.close()
    return events


# -- E2 ------------------------------------------------------------------------

def test_e2_reply_carries_the_quote(talk):
    long = 'wörld "x" \\ 👋 ' * 20
    asked = say(talk, long)
    reply = say(talk, 'yes', by='a', reply_to=asked['seq'])
    assert reply['payload']['reply_to'] == asked['seq']
    assert reply['payload']['quote'] == {
        'msg': asked['seq'], 'from': talk.client.id, 'kind': 'text',
        'excerpt': long[:120]}
    for party in (talk.client, talk.advisor):
        party.assert_has_all(talk.conv)
    assert replayed(talk)[-1]['_raw'] == reply['_raw']

    # in order with what is said before and after it, and once
    numbers = [talk.c.request('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'text': str(i),
        **({'reply_to': asked['seq']} if i % 3 == 1 else {})})
        for i in range(30)]
    seqs = [talk.c.reply(number)['seq'] for number in numbers]
    assert seqs == list(range(seqs[0], seqs[0] + 30))
    for i in range(30):
        assert both(talk, 'chat_message')['payload']['text'] == str(i)

    # a repeat is the first one; another text is not
    cid = str(uuid.uuid4())
    first = talk.c.say(talk.conv, 'again', cid, reply_to=asked['seq'])
    again = talk.c.say(talk.conv, 'again', cid, reply_to=asked['seq'])
    assert again == {**first, 'dup': True}
    for other in ({'text': 'agaim', 'reply_to': asked['seq']},
                  {'text': 'again', 'reply_to': reply['seq']},
                  {'text': 'again'}):
        error = talk.c.refused('chat_message',
                               {'conv': talk.conv, 'cid': cid, **other})
        assert error['code'] == 'idempotency_mismatch'
    plain = str(uuid.uuid4())
    talk.c.say(talk.conv, 'plain', plain)
    error = talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': plain, 'text': 'plain',
        'reply_to': asked['seq']})
    assert error['code'] == 'idempotency_mismatch'


def test_e2_reply_to_another_conversation(stack, talk):
    other = Consultation(stack).active()
    for i in range(5):
        far = say(other, f'there {i}')
    before = stored(talk)
    for to in (far['seq'], 10 ** 15):
        error = talk.c.refused('chat_message', {
            'conv': talk.conv, 'cid': str(uuid.uuid4()), 'text': 'so?',
            'reply_to': to})
        assert error['code'] == 'bad_request'
        assert error['field'] == '/payload/reply_to'
    for to in (0, -1, 1.5, '1', {}):
        error = talk.c.refused('chat_message', {
            'conv': talk.conv, 'cid': str(uuid.uuid4()), 'text': 'so?',
            'reply_to': to})
        assert error['field'] == '/payload/reply_to'
    assert stored(talk) == before
    # nor to what is no message
    mine = say(talk, 'mine')
    event = talk.c.call('chat_react', {'conv': talk.conv, 'msg': mine['seq'],
                                       'emoji': THUMB, 'on': True})
    error = talk.c.refused('chat_message', {
        'conv': talk.conv, 'cid': str(uuid.uuid4()), 'text': 'so?',
        'reply_to': event['seq']})
    assert error['field'] == '/payload/reply_to'


# -- E5 ------------------------------------------------------------------------

def test_e5_emoji_round_trip(talk):
    for text in ('😀', FAMILY, '🏴󠁧󠁢󠁥󠁮󠁧󠁿', '🇮🇳', '👩🏽‍💻 a\u200d\ufe0f', '\U0010ffff'):
        for kind in ('text', 'emoji'):
            assert say(talk, text, kind=kind)['payload']['text'] == text
    # as escapes, a pair of surrogates is one character
    talk.c.send_text('{"type":"chat_message","payload":{"conv":"%s","cid":'
                     '"%s","kind":"emoji","text":"\\ud83d\\ude00"}}'
                     % (talk.conv, uuid.uuid4()))
    assert both(talk, 'chat_message')['payload']['text'] == '😀'
    before = stored(talk)
    for i, bad in enumerate(('\\ud83d', '\\ude00', '\\ude00\\ud83d', 'x\\ud83dx',
                             '\\u0000')):
        talk.c.send_text('{"type":"chat_message","id":%d,"payload":{"conv":'
                         '"%s","cid":"%s","kind":"text","text":"%s"}}'
                         % (1000 + i, talk.conv, uuid.uuid4(), bad))
        error = talk.c.expect('reply', lambda m: 'error' in m)['error']
        assert error['code'] == 'bad_request'
    assert stored(talk) == before


# -- E6 ------------------------------------------------------------------------

def test_e6_reactions_toggle(talk):
    message = say(talk, 'look')
    about = {'conv': talk.conv, 'msg': message['seq']}

    def react(by, emoji, on):
        reply = by.call('chat_react', {**about, 'emoji': emoji, 'on': on})
        if 'seq' not in reply:
            assert reply == {'conv': talk.conv, 'dup': True}
            return None
        event = both(talk, 'chat_react')
        assert event['seq'] == reply['seq']
        assert event['payload']['msg'] == message['seq']
        return [(r['emoji'], r['count'])
                for r in event['payload']['reactions']]

    assert react(talk.c, THUMB, True) == [(THUMB, 1)]
    assert react(talk.c, THUMB, True) is None
    assert react(talk.a, THUMB, True) == [(THUMB, 2)]
    assert sorted(react(talk.a, FAMILY, True)) == sorted(
        [(FAMILY, 1), (THUMB, 1)])
    assert react(talk.a, THUMB, False) is None      # it is not that any more
    assert react(talk.a, FAMILY, False) == [(THUMB, 1)]
    assert react(talk.c, THUMB, False) == []
    assert react(talk.c, THUMB, False) is None

    for bad in ('', 'x', '<b>', ' ' + THUMB, 'é' * 40, None, 7):
        error = talk.c.refused('chat_react', {**about, 'emoji': bad,
                                              'on': True})
        assert error['field'] == '/payload/emoji', bad
    error = talk.c.refused('chat_react', {**about, 'emoji': THUMB})
    assert error['field'] == '/payload/on'
    error = talk.c.refused('chat_react', {'conv': talk.conv, 'msg': 10 ** 9,
                                          'emoji': THUMB, 'on': True})
    assert (error['code'], error['field']) == ('not_found', '/payload/msg')
    other = talk.stack.person().connect()
    error = other.refused('chat_react', {**about, 'emoji': THUMB, 'on': True})
    assert error['code'] == 'not_participant'


def test_e6_counts_are_exact_under_two_users(talk, rest):
    message = say(talk, 'look')
    about = {'conv': talk.conv, 'msg': message['seq']}
    emojis = (THUMB, HEART, FAMILY)
    ends = {}

    def work(name, client, shift):
        numbers = [client.request('chat_react', {
            **about, 'emoji': emojis[(i // 2 + shift) % 3], 'on': i % 5 != 4})
            for i in range(60)]
        for number in numbers:
            client.reply(number)
        ends[name] = emojis[shift]
        client.call('chat_react', {**about, 'emoji': emojis[shift],
                                   'on': True})

    threads = [threading.Thread(target=work, args=a) for a in (
        ('c', talk.c, 0), ('a', talk.a, 0))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == {'c': THUMB, 'a': THUMB}

    eventually(lambda: talk.c.seen[talk.conv] == talk.a.seen[talk.conv]
               == stored(talk))
    # the totals of each event are what the events before it add up to
    mine = {}
    for event in talk.c.events:
        if event['conv'] == talk.conv and event['type'] == 'chat_react':
            said = event['payload']
            mine[said['from']] = said['emoji'] if said['on'] else None
            counts = {}
            for emoji in filter(None, mine.values()):
                counts[emoji] = counts.get(emoji, 0) + 1
            assert {r['emoji']: r['count'] for r in said['reactions']} \
                == counts
    page = rest.get(f'/api/conversations/{talk.conv}/messages',
                    talk.client.token).json['data']
    item = next(m for m in page if m['seq'] == message['seq'])
    assert item['reactions'] == [{'emoji': THUMB, 'count': 2}]
    assert item['my_reaction'] == THUMB


# -- E7 ------------------------------------------------------------------------

def test_e7_typing_expires_at_the_server(stack, talk):
    third = stack.person().connect()
    before = stored(talk)
    begin = time.monotonic()
    talk.c.send('chat_typing', {'conv': talk.conv, 'on': True})
    assert talk.a.expect('chat_typing')['payload'] == {
        'from': talk.client.id, 'on': True}
    # said again and again it is one, and told no more than once a second
    for _ in range(50):
        talk.c.call('chat_typing', {'conv': talk.conv, 'on': True})
    last = time.monotonic()
    told = 0
    while True:
        got = talk.a.expect('chat_typing', timeout=10)
        if got['payload']['on'] is False:
            break
        told += 1
    assert told <= last - begin + 1
    assert got['_t'] - last > 4
    assert got['_t'] - begin < 6 * SLOW + last - begin
    talk.a.quiet('chat_typing', 0.2)

    # by its own word, by who leaves
    talk.c.send('chat_typing', {'conv': talk.conv, 'on': True})
    assert talk.a.expect('chat_typing')['payload']['on'] is True
    talk.c.send('chat_typing', {'conv': talk.conv, 'on': False})
    assert talk.a.expect('chat_typing')['payload']['on'] is False
    talk.c.call('chat_typing', {'conv': talk.conv, 'on': False})
    talk.a.quiet('chat_typing', 0.2)
    talk.c.send('chat_typing', {'conv': talk.conv, 'on': True})
    assert talk.a.expect('chat_typing')['payload']['on'] is True
    talk.c.drop()
    assert talk.a.expect('chat_typing')['payload']['on'] is False

    for other in (third, talk.a):
        other.quiet('chat_typing', 0)
    assert stored(talk) == before
    error = third.refused('chat_typing', {'conv': talk.conv, 'on': True})
    assert error['code'] in ('session_state', 'not_participant')


# -- E8 ------------------------------------------------------------------------

def test_e8_receipts(stack, talk):
    seqs = [say(talk, f'm {i}')['seq'] for i in range(5)]
    # that it was sent to a socket says nothing
    talk.c.quiet('chat_receipt', 0.3)

    def ack(delivered=None, read=None, by=talk.a):
        said = {'delivered': delivered, 'read': read}
        reply = by.call('chat_ack', {'conv': talk.conv, **{
            k: v for k, v in said.items() if v is not None}})
        return reply['delivered'], reply['read']

    def receipt():
        got = talk.c.expect('chat_receipt')
        assert got['conv'] == talk.conv and 'seq' not in got
        assert got['payload']['from'] == talk.advisor.id
        return got['payload']['delivered'], got['payload']['read']

    assert ack(seqs[2]) == receipt() == (seqs[2], 0)
    assert ack(seqs[1]) == (seqs[2], 0)
    assert ack(seqs[3], seqs[1]) == receipt() == (seqs[3], seqs[1])
    assert ack(0, 0) == (seqs[3], seqs[1])
    assert ack(read=seqs[4]) == receipt() == (seqs[4], seqs[4])
    talk.c.quiet('chat_receipt', 0.2)

    # nothing beyond what there is, and each its own
    assert ack(10 ** 12, 10 ** 12)[0] == stored(talk)
    assert ack(seqs[0], 0, talk.c) == (seqs[0], 0)
    assert talk.a.expect('chat_receipt')['payload'] == {
        'from': talk.client.id, 'delivered': seqs[0], 'read': 0}
    for bad in (-1, '1', 1.5, {}):
        for what in ('delivered', 'read'):
            error = talk.a.refused('chat_ack', {'conv': talk.conv, what: bad})
            assert error['field'] == f'/payload/{what}'
    other = stack.person().connect()
    error = other.refused('chat_ack', {'conv': talk.conv, 'read': 1})
    assert error['code'] == 'not_participant'


def test_e8_receipts_are_stored_together(stack, talk):
    for i in range(30):
        last = say(talk, f'm {i}')['seq']

    def writes():
        with stack.db() as db:
            return db.execute(
                'SELECT n_tup_ins + n_tup_upd FROM pg_stat_all_tables WHERE'
                " relid = 'consult.receipt'::regclass").fetchone()[0]

    before, receipts = writes(), stack.metrics()['astro_receipts_total']
    numbers = [talk.a.request('chat_ack', {'conv': talk.conv, 'delivered': i})
               for i in range(1, last + 1)]
    for number in numbers:
        talk.a.reply(number)
    told = stack.metrics()['astro_receipts_total'] - receipts
    assert 1 <= told < last / 2
    got = 0
    for _ in range(int(told)):
        receipt = talk.c.expect('chat_receipt')['payload']['delivered']
        assert receipt > got
        got = receipt
    assert got == last
    assert writes() - before <= told


# -- E10 -----------------------------------------------------------------------

def test_e10_edit(talk, rest):
    message = say(talk, 'wrnog', cid=str(uuid.uuid4()))
    quote = say(talk, 'what?', by='a', reply_to=message['seq'])
    about = {'conv': talk.conv, 'msg': message['seq']}
    for ver, text in ((2, 'wrong'), (3, 'right "é"')):
        reply = talk.c.call('chat_edit', {**about, 'text': text})
        event = both(talk, 'chat_edit')
        assert event['seq'] == reply['seq']
        assert event['payload']['ver'] == ver
        assert event['payload']['text'] == text
        assert event['payload']['msg'] == message['seq']
        assert event['payload']['from'] == talk.client.id
    assert 'seq' not in talk.c.call('chat_edit', {**about,
                                                  'text': 'right "é"'})

    cid = str(uuid.uuid4())
    first = talk.c.call('chat_edit', {**about, 'text': 'more', 'cid': cid})
    talk.c.call('chat_edit', {**about, 'text': 'most'})
    assert talk.c.call('chat_edit', {**about, 'text': 'more', 'cid': cid}) \
        == {**first, 'dup': True}
    error = talk.c.refused('chat_edit', {**about, 'text': 'other',
                                         'cid': cid})
    assert error['code'] == 'idempotency_mismatch'

    page = rest.get(f'/api/conversations/{talk.conv}/messages',
                    talk.advisor.token).json['data']
    item = next(m for m in page if m['seq'] == message['seq'])
    assert item['payload']['text'] == 'most' and item['ver'] == 5
    assert item['payload']['cid'] == message['payload']['cid']
    assert item['edited_at'] > item['ts']

    for who, msg, code in ((talk.a, message, 'forbidden'),
                           (talk.c, quote, 'forbidden'),
                           (talk.c, {'seq': 10 ** 9}, 'not_found')):
        error = who.refused('chat_edit', {'conv': talk.conv, 'text': 'hm',
                                          'msg': msg['seq']})
        assert (error['code'], error['field']) == (code, '/payload/msg')
    for bad in ('', None, 5, 'x' * 20000):
        error = talk.c.refused('chat_edit', {**about, 'text': bad})
        assert error['field'] == '/payload/text'

    # ten minutes, to the second
    for age, late in ((598 - 2 * SLOW, False), (600.1, True)):
        with talk.stack.db() as db:
            db.execute('UPDATE consult.event SET at = clock_timestamp() - %s *'
                       " interval '1 second' WHERE conversation_id = %s AND"
                       ' seq = %s', (age, int(talk.conv[2:]), message['seq']))
        if late:
            error = talk.c.refused('chat_edit', {**about, 'text': 'late'})
            assert error['code'] == 'conflict'
        else:
            talk.c.call('chat_edit', {**about, 'text': 'just in time'})


def test_e10_delete_leaves_a_tombstone(talk, rest):
    secret = 'my secret is zulu'
    message = say(talk, secret)
    quote = say(talk, 'oh', by='a', reply_to=message['seq'])
    about = {'conv': talk.conv, 'msg': message['seq']}
    talk.c.call('chat_edit', {**about, 'text': secret + '!'})
    talk.a.call('chat_react', {**about, 'emoji': HEART, 'on': True})

    assert talk.a.refused('chat_delete', about)['code'] == 'forbidden'
    reply = talk.c.call('chat_delete', about)
    event = both(talk, 'chat_delete')
    assert (event['seq'], event['payload']['ver']) == (reply['seq'], 3)
    assert talk.c.call('chat_delete', about) == {'conv': talk.conv,
                                                 'dup': True}
    for kind, more in (('chat_edit', {'text': 'x'}),
                       ('chat_react', {'emoji': HEART, 'on': True})):
        assert talk.c.refused(kind, {**about, **more})['code'] == 'gone'

    # nobody is sent it any more, however they ask
    page = rest.get(f'/api/conversations/{talk.conv}/messages',
                    talk.advisor.token)
    assert b'zulu' not in page.body
    item = next(m for m in page.json['data'] if m['seq'] == message['seq'])
    assert item['payload']['deleted'] is True and 'text' not in item['payload']
    assert item['deleted_at'] and 'reactions' not in item
    for who in ('client', 'advisor'):
        events = replayed(talk, who)
        assert 'zulu' not in json.dumps(events)
        assert [e['seq'] for e in events] == list(range(1, stored(talk) + 1))
        again = next(e for e in events if e['seq'] == quote['seq'])
        assert again['payload']['text'] == 'oh'
        assert again['payload']['quote'] == {
            'msg': message['seq'], 'from': talk.client.id, 'deleted': True}
    later = say(talk, 'and?', by='a', reply_to=message['seq'])
    assert later['payload']['quote']['deleted'] is True

    # but it is kept
    with talk.stack.db() as db:
        rows = db.execute(
            "SELECT payload->>'text' FROM consult.event WHERE"
            ' conversation_id = %s ORDER BY seq',
            (int(talk.conv[2:]),)).fetchall()
    assert (secret,) in rows and (secret + '!',) in rows
