"""AngelGuides' WebSocket client as it is, replayed frame by frame: it connects
to /ws without a subprotocol, says no hello, and sends {type, payload}."""

import itertools
import json
import re
import time

import pytest

from astro.consult import Consultation
from astro.frames import wrong_frame
from astro.routes import ROOT
from astro.schema import document, wrong
from astro.stack import eventually
from astro.ws import SLOW, TEXT, ServerViolation, WebSocket, frame

OLD = document()['x-websocket-old']
SDP = 'v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n' \
    'a=fingerprint:sha-256 AB:CD\r\n' \
    'm=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\n'
CANDIDATE = {'candidate': 'candidate:1 1 udp 2113937151 10.0.0.1 5000 typ '
             'host', 'sdpMid': '0', 'sdpMLineIndex': 0,
             'usernameFragment': 'abcd'}


class Page(WebSocket):
    """What a tab of theirs does: listeners by type, ping answered pong."""

    def __init__(self, person, cookie=True, numbers=True, greet=True,
                 headers=(), **kw):
        self.heard, self.ours, self.bare, self.pings = [], [], [], 0
        self.person = person
        stack = person.stack
        if cookie:
            headers = [*headers, ('Cookie', f'__Host-astro={person.token}')]
        super().__init__(stack.port, tls=stack.tls, protocols=(),
                         headers=[('Origin', f'https://127.0.0.1:{stack.port}'
                                   ), *headers], **kw)
        assert self.protocol is None
        stack.clients.append(self)
        self.me = person.number if numbers else person.id
        if greet:
            self.say('authenticate', {'userId': self.me, 'userType': 'user'})

    def on_message(self, opcode, payload):
        assert opcode == TEXT
        if payload == b'pong':
            self.bare.append(payload)
            return
        said = json.loads(payload)
        known = OLD['events'].get(said['type'])
        error = wrong(known['frame'], said, said['type'], strict=True) \
            if known else wrong_frame(said)
        if error:
            raise ServerViolation(f'{error}: {payload[:500]!r}')
        if said['type'] == 'ping':
            self.pings += 1
            self.say('pong', {})
        (self.heard if known else self.ours).append(said)

    def say(self, kind, payload):
        self.send_text(json.dumps({'type': kind, 'payload': payload}))

    def hears(self, kind, timeout=None):
        """The payload of the oldest of that type."""
        def find():
            for i, said in enumerate(self.heard):
                if said['type'] == kind:
                    return self.heard.pop(i)['payload']
            return None
        return self.wait(find, timeout, kind)

    def told(self, kind, where=lambda p: True):
        """The same of what it overlooks."""
        return self.wait(lambda: next(
            (f['payload'] for f in self.ours if f['type'] == kind
             and where(f['payload'])), None), None, kind)

    def refused(self):
        error = self.hears('error')
        return error['code'], error.get('field')


class Pair(Consultation):
    """Two pages, and a session that their REST client has started."""

    def __init__(self, stack, numbers=(True, True), **kw):
        super().__init__(stack, **kw)
        # who says nothing is who the cookie says, and wants our ids
        self.g = Page(self.advisor, numbers=numbers[1])
        assert self.g.hears('auth_success') == {'userId': self.g.me}
        self.p = Page(self.client, numbers=numbers[0])
        assert self.p.hears('auth_success') == {'userId': self.p.me}

    def ring(self, service='audio'):
        answer = self.stack.rest.post(
            '/api/sessions/start',
            {'readerId': self.advisor.id, 'type': service}, self.client.token)
        assert answer.status == 201, answer.json
        self.id, self.conv = answer.json['session'], answer.json['conv']
        self.g.told('session_incoming')
        return self

    def about(self, page, **more):
        """Of a frame from that page: whom and what it is about."""
        other = self.p if page is self.g else self.g
        number = self.number if isinstance(page.me, int) else self.id
        to = other.person.number if isinstance(page.me, int) \
            else other.person.id
        return {'target': to, 'sessionId': number, **more}

    def stands(self, *states):
        return eventually(lambda: self.row()['state'] in states and self.row(),
                          15, states)


def active(stack, **kw):
    pair = Pair(stack, **kw).ring()
    # both pages ask for the call that rings; the guide's asking accepts it
    pair.p.say('signal_offer', pair.about(pair.p, signal={'type': 'audio'}))
    pair.g.say('signal_offer', pair.about(pair.g, signal={'type': 'audio'}))
    pair.stands('active')
    return pair


def test_d13_their_flow_frame_by_frame(stack):
    pair = Pair(stack).ring()
    p, g = pair.p, pair.g

    # the page opens the call: an invitation, then at once its offer and
    # candidates, while the other side still rings
    p.say('signal_offer', pair.about(p, signal={'type': 'audio'}))
    offer = {'sdp': {'type': 'offer', 'sdp': SDP}, 'type': 'audio'}
    p.say('signal_offer', pair.about(p, signal=offer, **{'from': 1}))
    for _ in range(3):
        p.say('signal_ice_candidate',
              pair.about(p, signal={'candidate': CANDIDATE}))
    g.say('signal_offer', pair.about(g, signal={'type': 'audio'}))

    about = {'from': p.me, 'sessionId': pair.number}
    assert g.hears('signal_offer') == {**about, 'signal': offer}
    for _ in range(3):
        assert g.hears('signal_ice_candidate') == {
            **about, 'signal': {'candidate': CANDIDATE}}
    answer = {'sdp': {'type': 'answer', 'sdp': SDP}}
    g.say('signal_answer', pair.about(g, signal=answer))
    assert p.hears('signal_answer') == {
        'from': g.me, 'sessionId': pair.number, 'signal': answer}

    # both are there without ever having joined: it is paid for
    assert pair.stands('active')['service'] == 'audio'

    # chat, both ways; what one says oneself the page shows by itself
    said = []
    for page, other, text in ((p, g, 'hello'), (g, p, 'नमस्ते 👩🏽‍🚀 "\\'),
                              (p, g, 'good'), (g, p, 'yes')):
        page.say('chat_message', {'recipientId': other.me, 'content': text,
                                  'sessionId': pair.number})
        heard = other.hears('chat_message')
        assert abs(time.time() - time.mktime(time.strptime(
            heard['timestamp'], '%Y-%m-%dT%H:%M:%S.%fZ'))
            + time.timezone) < 30 * SLOW
        assert heard == {'senderId': page.me, 'content': text,
                         'timestamp': heard['timestamp'],
                         'sessionId': pair.number}
        said.append(text)
    stored = [json.loads(text)['text'] for _, text in
              pair.client.stored(pair.conv).values() if '"text"' in text]
    assert stored == said
    assert not [f for f in p.heard + g.heard if f['type'] == 'chat_message']

    # text pings, as their documents have them and as their code does
    for text in ('{"type":"ping"}', 'ping'):
        p.send_text(text)
    p.wait(lambda: p.bare == [b'pong'] and any(
        f == {'type': 'pong', 'payload': {}} for f in p.ours))

    # hanging up ends the call and not the session; then it is over for both
    p.say('signal_end', {'target': g.me, 'sessionId': pair.number})
    assert g.hears('signal_end') == about
    assert pair.row()['state'] == 'active'
    g.say('end_session', {'participantId': p.me, 'sessionId': pair.number})
    for page in (p, g):
        page.told('session_end')
    eventually(lambda: pair.row()['settled'], 15)
    pair.assert_settled()
    for page in (p, g):
        assert not [f for f in page.heard if f['type'] == 'error']


def test_d13_silence_and_a_cookie_sign_in(stack):
    """The receiving page says nothing at all; their client never does when it
    does not know its user yet."""
    pair = Consultation(stack)
    pair.client.connect()
    page = Page(pair.advisor, greet=False)
    page.told('wallet')
    pair.start()
    page.told('session_incoming')
    assert page.open


def test_d13_a_late_hello_is_one_of_ours(stack):
    """A client of ours, with a cookie, on a network that took its second: it
    gets all that its hello asks for, in our words."""
    talk = Consultation(stack).active()
    for n in range(3):
        talk.c.say(talk.conv, f'{n}')
    talk.end()
    late = WebSocket(stack.port, tls=stack.tls, protocols=(), headers=[
        ('Origin', f'https://127.0.0.1:{stack.port}'),
        ('Cookie', f'__Host-astro={talk.advisor.token}')])
    stack.clients.append(late)

    def told(kind, **more):
        return late.wait(lambda: [f for f in map(json.loads, (
            payload for _, payload in late.frames)) if f['type'] == kind
            and all(f.get(k) == v for k, v in more.items())])

    def asks(number, kind, payload):
        late.send_text(json.dumps({'type': kind, 'id': number,
                                   'payload': payload}))
        return told('reply', id=number)[0]

    told('wallet')
    me = asks(7, 'hello', {'pos': [[talk.conv, 0]]})['payload']
    assert me['user'] == talk.advisor.id and me['resumed']
    told('session_end')
    assert [f['payload']['text'] for f in told('chat_message')] \
        == ['0', '1', '2']
    assert asks(8, 'hello', {})['error']['code'] == 'conflict'
    assert asks(9, 'ping', {})['payload'] == {}

    # who has said a word of theirs stays who it was taken for
    page = Page(talk.advisor)
    page.hears('auth_success')
    page.say('hello', {})
    assert page.refused()[0] == 'conflict'


def test_d13_with_a_client_of_ours(stack):
    """Each in its own words; ids as the page got them from us."""
    talk = Consultation(stack, service='video')
    talk.client.connect()
    page = Page(talk.advisor, numbers=False)
    assert page.hears('auth_success') == {'userId': talk.advisor.id}
    talk.start()
    page.told('session_incoming')
    page.say('signal_offer', {'target': talk.client.id, 'sessionId': talk.id,
                              'signal': {'type': 'video'}})
    talk.state('accepted', talk.c)
    talk.c.call('session_join', talk.this)
    talk.state('active', talk.c)

    talk.c.call('signal_offer', {'session': talk.id, 'sdp': SDP, 'gen': 1})
    assert page.hears('signal_offer') == {
        'from': talk.client.id, 'sessionId': talk.id,
        'signal': {'sdp': {'type': 'offer', 'sdp': SDP}}}
    # the text alone, as others of their pages have it
    page.say('signal_answer', {'target': talk.client.id, 'sessionId': talk.id,
                               'signal': {'sdp': SDP, 'type': 'answer'}})
    said = talk.c.expect('signal_answer')
    assert said['from'] == talk.advisor.id
    assert said['payload']['sdp'] == SDP
    talk.c.call('signal_ice_candidate',
                {'session': talk.id, 'candidate': None})
    talk.c.call('signal_ice_candidate',
                {'session': talk.id, 'candidate': CANDIDATE})
    assert page.hears('signal_ice_candidate')['signal'] == {
        'candidate': CANDIDATE}

    talk.c.say(talk.conv, 'ours')
    heard = page.hears('chat_message')
    assert (heard['senderId'], heard['sessionId'], heard['content']) == (
        talk.client.id, talk.id, 'ours')
    # a second tab of the same guide is told what the first one says
    tab = Page(talk.advisor, numbers=False)
    tab.hears('auth_success')
    page.say('chat_message', {'recipientId': talk.client.id,
                              'content': 'theirs', 'sessionId': talk.id})
    assert talk.c.expect('chat_message', lambda m: m['payload']['from']
                         == talk.advisor.id)['payload']['text'] == 'theirs'
    assert tab.hears('chat_message')['content'] == 'theirs'
    assert not [f for f in page.heard if f['type'] == 'chat_message']


def test_d13_an_invitation_is_no_sdp(stack):
    """Starts a session, changes its service, is never relayed."""
    pair = Pair(stack, service='chat')
    p, g = pair.p, pair.g
    p.say('signal_offer', {'target': g.me, 'signal': {'type': 'audio'},
                           'sessionId': None})
    pair.id = g.told('session_incoming')['session']
    assert pair.row()['state'] == 'ringing'
    assert pair.row()['service'] == 'audio'
    g.say('signal_offer', pair.about(g, signal={'type': 'audio'}))
    pair.stands('active')

    # dearer: nobody has agreed to that rate
    p.say('signal_offer', pair.about(p, signal={'type': 'video'}))
    assert p.refused()[1] == '/payload/signal/type'
    # cheaper, as their button does it
    p.say('signal_update', pair.about(p, signal={'type': 'chat'}))
    for page in (p, g):
        page.told('session_update', lambda m: m['service'] == 'chat')
    assert not g.heard


def test_d13_nobody_is_believed(stack):
    pair = active(stack)
    p, g = pair.p, pair.g
    other = Page(stack.person())
    other.hears('auth_success')
    sdp = {'sdp': {'type': 'offer', 'sdp': SDP}}

    def refused(page, kind, payload):
        page.say(kind, payload)
        return page.refused()

    # somebody who has no part in it
    of = pair.about(p)
    for kind, more in (('signal_offer', {'signal': sdp}),
                       ('signal_answer', {'signal': sdp}),
                       ('signal_ice_candidate', {'signal': {}}),
                       ('signal_end', {})):
        assert refused(other, kind, {**of, **more})[0] == 'not_participant'
    assert refused(other, 'end_session', {'sessionId': pair.number})[0] in (
        'not_found', 'not_participant')
    assert refused(other, 'chat_message', {
        'recipientId': g.me, 'content': 'x', 'sessionId': pair.number}) == (
            'bad_request', '/payload/sessionId')

    # a party, and somebody else as the other one
    who = other.person.number
    assert refused(p, 'signal_offer', {**of, 'target': who, 'signal': sdp}
                   ) == ('not_participant', '/payload/target')
    assert refused(p, 'chat_message', {
        'recipientId': who, 'content': 'x', 'sessionId': pair.number}) == (
            'not_participant', '/payload/recipientId')
    assert refused(p, 'end_session', {
        'participantId': who, 'sessionId': pair.number}) == (
            'not_participant', '/payload/participantId')

    # what is no message
    for kind, payload, field in (
            ('signal_offer', {'signal': 5}, 'signal'),
            ('signal_answer', {'signal': {}}, 'signal/sdp'),
            ('signal_answer', {'signal': {'sdp': {'sdp': 5}}}, 'signal/sdp'),
            ('signal_offer', {'signal': {'sdp': 'v=0'}}, 'signal/sdp'),
            ('signal_update', {'signal': {}}, 'signal/type'),
            ('chat_message', {'content': 5}, 'content'),
            ('chat_message', {}, 'content')):
        assert refused(p, kind, {**of, **payload}) == (
            'bad_request', f'/payload/{field}'), (kind, payload)
    for bad in (True, -1, 1.5, 'x', 'u_5', {}, [], 2 ** 60):
        assert refused(p, 'signal_end', {**of, 'sessionId': bad}) == (
            'bad_request', '/payload/sessionId')
    for text in ('{', '[]', '{"type":5}', '{"type":"chat_message","payload":5}'):
        p.send_text(text)
        assert p.refused()[0] == 'bad_request'
    assert refused(p, 'nothing', {})[0] == 'unknown_type'
    # a signal in our words is one of ours
    assert refused(p, 'signal_end', {'session': 's_0'}) == (
        'bad_request', '/payload/sessionId')
    assert not [f for f in g.heard if f['type'].startswith(('sig', 'chat'))]
    assert pair.row()['state'] == 'active'


def test_d13_who_one_is_the_cookie_says(stack):
    person, other = stack.person(), stack.person()
    # their pages say who they are, and their server believed it
    page = Page(person, greet=False)
    page.say('authenticate', {'userId': other.number, 'userType': 'user'})
    assert page.refused() == ('forbidden', '/payload/userId')
    page.wait(lambda: page.close_code == 4403)

    page = Page(person, cookie=False)
    assert page.refused()[0] == 'unauthorized'
    page.wait(lambda: page.close_code == 4401)

    # the token may stand beside it
    page = Page(person, cookie=False, greet=False)
    page.say('auth', {'userId': person.number, 'token': person.token})
    assert page.hears('auth_success') == {'userId': person.number}
    # again when the tab is looked at again
    page.say('authenticate', {'userId': person.number, 'userType': 'user'})
    assert page.hears('auth_success') == {'userId': person.number}

    # neither token nor word: as everybody
    page = Page(person, cookie=False, greet=False)
    page.say('chat_message', {'recipientId': 1, 'content': 'x',
                              'sessionId': 1})
    page.wait(lambda: page.close_code == 4408)


def test_d13_what_comes_too_early_waits(stack):
    """Sent as soon as the socket is open, and after each time it was lost:
    their client queues nothing for longer."""
    pair = active(stack)
    pair.p.drop()
    page = Page(pair.client, greet=False)
    for n in range(20):
        page.say('chat_message', {'recipientId': pair.g.me, 'sessionId':
                                  pair.number, 'content': f'{n}'})
    page.say('signal_offer', {**pair.about(pair.p), 'signal': {
        'sdp': {'type': 'offer', 'sdp': SDP}}})
    for n in range(20):
        assert pair.g.hears('chat_message')['content'] == f'{n}'
    pair.g.hears('signal_offer')
    assert not page.heard
    # no more than so many
    lost = Page(pair.client, greet=False)
    text = json.dumps({'type': 'end_session', 'payload': {
        'sessionId': pair.number, 'participantId': 5, 'more': 'x' * 1000}})
    lost.send_raw(frame(TEXT, text.encode()) * 200)
    eventually(lambda: len(lost.heard) == 200, 10)
    codes = [f['payload']['code'] for f in lost.heard]
    assert 60 < codes.count('not_participant') < 200
    assert codes.count('rate_limited') == 200 - codes.count('not_participant')


def test_d13_the_table_is_described():
    text = (ROOT / 'ngx_astro_module/ngx_astro_ws_old.c').read_text()
    types = re.findall(r'\{ ngx_string\("(\w+)"\), ngx_astro_old_', text)
    assert sorted(types) == sorted(OLD['requests']) and len(types) == 9
    text = (ROOT / 'ngx_astro_module/ngx_astro_ws_old_out.c').read_text()
    said = re.findall(r'\{ ngx_string\("(\w+)"\), ngx_astro_old_out_', text)
    assert set(said) - {'reply', 'session_update'} \
        == set(OLD['events']) - {'error', 'auth_success'}


VALUES = [None, True, 0, -1, 1.5, 10 ** 40, '', 'x' * 300, 'u_0', 's_9', [],
          [[]], {}, {'sdp': {}}, {'sdp': 'x'}, {'type': 'audio'}, {'type': []},
          {'candidate': None}]


@pytest.mark.parametrize('kind', [k for k in OLD['requests']
                                  if not k.startswith('auth')])
def test_d13_all_that_is_wrong_is_refused(stack, kind):
    """By somebody who has no part in anything: nothing but errors, and the
    connection is as it was."""
    page = Page(stack.person())
    page.hears('auth_success')
    names = list(OLD['requests'][kind]['payload']['properties'])
    sent = 0
    for name, value in itertools.product(names, VALUES):
        page.say(kind, {'sessionId': 999999, 'signal': {'sdp': SDP},
                        'content': 'x', name: value})
        sent += 1
    page.send_text('{"type":"ping"}')
    page.wait(lambda: any(f['type'] == 'pong' for f in page.ours))
    eventually(lambda: len(page.heard) >= sent, 10)
    assert {f['type'] for f in page.heard} == {'error'}
    codes = {f['payload']['code'] for f in page.heard}
    assert not codes & {'internal', 'unavailable'} and page.open
