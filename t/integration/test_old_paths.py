"""Paths of the platforms that we replace: other names of routes of ours."""

import json
import re
import tempfile
import uuid

import pytest

from astro.consult import Consultation
from astro.fixtures import watch
from astro.routes import OLD, called
from astro.schema import document, operations
from astro.stack import Stack
from test_booking import midnight, slots, works
from test_http import problem
from test_webhooks import Vendors

SAID = {(method, path): op for method, path, op in operations()}


# what the table says, and the document -------------------------------------

def test_the_document_has_the_names_of_the_table():
    for old in OLD:
        op = SAID[old.method, old.path]
        if old.when:
            member, value = old.when
            assert op['x-when'][member][value] \
                == f'{old.our_method} {old.ours}'
            continue
        assert op['x-alias'] == f'{old.our_method} {old.ours}'
        said = {}
        for theirs, to in op.get('x-names', {}).items():
            if isinstance(to, str):
                said[theirs] = to, None
            elif 'of' in to:
                said[theirs] = to['to'], to['of']
            else:
                said[theirs] = to['to'], ' '.join(
                    f'{k}={v}' for k, v in to['words'].items())
        assert said == old.names
        assert op.get('x-sets', {}) == old.sets
    whens = [(m, v) for op in SAID.values()
             for m, values in op.get('x-when', {}).items() for v in values]
    assert sorted(whens) == sorted(o.when for o in OLD if o.when)


def test_each_path_of_old_has_a_test():
    """And each way that a value decides."""
    tested = {(c[0], c[1], c[-1].get('when')) for c in CASES} \
        | {(c[0], c[1], None) for c in CASES if 'when' not in c[-1]}
    known = {(o.method, o.path, o.when and o.when[1]) for o in OLD}
    assert known == {t for t in tested if (t[0], t[1]) in
                     {(o.method, o.path) for o in OLD}}
    assert {(t[0], t[1]) for t in tested} \
        == {(o.method, o.path) for o in OLD} | set(SAME)


# each, and that it did what ours does ---------------------------------------

# paths of theirs that we have, too
SAME = {('GET', '/api/messages/{u}/{u}'), ('GET', '/api/sessions/{s}'),
        ('GET', '/api/sessions/{s}/status'),
        ('POST', '/api/sessions/{s}/end'),
        ('POST', '/api/sessions/{s}/review')}


@pytest.fixture(scope='module')
def town():
    with tempfile.NamedTemporaryFile() as key:
        key.write(b'rzp_test_old:a_secret_of_some_length\n')
        key.flush()
        stack = Stack({'astro_stripe_publishable_key': 'pk_test_old',
                       'astro_razorpay_key_file': key.name})
        try:
            yield stack.up()
        finally:
            stack.down()


@pytest.fixture
def stack(town):
    yield from watch(town)


class Scene:
    """People, and their session as far as a case needs it."""

    def __init__(self, stack, state):
        self.stack = stack
        self.talk = talk = Consultation(stack, rates=(6000, 6000, 6000))
        self.c, self.a = talk.client, talk.advisor
        self.admin = None
        self.slot = None
        if state == 'slots':
            self.a = works(stack, 'UTC', ('00:00', '24:00'))
            self.slot = slots(stack, self.c, self.a, midnight(2),
                              midnight(3))[0]
        if state == 'ready':
            talk.connect()
        elif state == 'ringing':
            talk.connect().ring()
        elif state in ('active', 'ended', 'empty'):
            talk.active()
            if state != 'empty':
                talk.c.say(talk.conv, 'of old')
            if state == 'ended':
                talk.end()

    def who(self, letter):
        if letter == 'x':
            self.admin = self.admin or self.stack.person('admin')
            return self.admin.token
        return {'c': self.c, 'a': self.a}[letter].token if letter else None

    def fill(self, text):
        for name, value in (('$s', self.talk.id), ('$c', self.talk.conv),
                            ('$a', self.a.id), ('$u', self.c.id),
                            ('$t', self.slot),
                            ('$e', f'{uuid.uuid4().hex}@old.test')):
            text = text.replace(name, value or 'none')
        return text


def started(service):
    def check(scene, answer):
        assert answer.json['service'] == service
        assert answer.json['state'] == 'ringing'
        scene.talk.id = answer.json['session']
        assert scene.talk.row()['service'] == service
        scene.a.client.call('session_reject', scene.talk.this)
    return check


def pays(provider):
    def check(scene, answer):
        assert answer.json['provider'] == provider
        assert answer.json['amount'] == {'amount': 50000, 'currency': 'INR'}
        assert answer.json['id'] == scene.stack.rest.get(
            f'/api/payments/{answer.json["id"]}', scene.c.token).json['id']
    return check


def same(path, who):
    """The document that GET path answers, to the octet."""
    def check(scene, answer):
        assert answer.body == scene.stack.rest.get(
            scene.fill(path), scene.who(who)).body
    return check


def shows(path, who, *steps):
    """Afterwards the last of steps is at that place in what path answers."""
    def check(scene, answer):
        at = scene.stack.rest.get(scene.fill(path), scene.who(who)).json
        for step in steps[:-1]:
            at = at[step]
        want = steps[-1]
        assert at == (scene.fill(want) if isinstance(want, str) else want)
    return check


def state(want):
    return shows('/api/sessions/$s', 'c', 'state', want)


def said(*texts):
    def check(scene, answer):
        events = answer.json['data']
        assert [e['payload']['text'] for e in events
                if e['type'] == 'chat_message'] == list(texts)
    return check


def signed_in(scene, answer):
    token = answer.json['token']
    assert scene.stack.rest.get('/api/me', token).status == 200


def person(role):
    def check(scene, answer):
        login = scene.stack.rest.post('/api/auth/login', {
            'email': scene.email, 'password': 'a long password'})
        assert login.status == 200
        me = scene.stack.rest.get('/api/me', login.json['token']).json
        assert (me['name'], me['role']) == ('Old Name', role)
    return check


def favourites(want):
    def check(scene, answer):
        data = scene.stack.rest.get('/api/favorites', scene.who('c')).json
        assert [f['id'] for f in data['data']] == [scene.a.id][:want]
    return check


def answered(scene, answer):
    assert answer.body


START = {'readerId': '$a', 'sessionType': 'text'}

# method, path of old, who, the session before, body, status, and what is seen
CASES = [
    ('POST', '/api/call/initiate', 'c', 'ready',
     {'astrologerId': '$a', 'callType': 'voice'}, 201, started('audio'), {}),
    ('POST', '/api/call/end', 'a', 'active', {'callId': '$s'}, 200,
     state('ended'), {}),
    ('POST', '/api/sessions/start', 'c', 'ready', START, 201,
     started('chat'), {}),
    ('POST', '/api/sessions/start', 'c', 'ready',
     {'guideId': '$a', 'type': 'video', 'readerId': 'u_1'}, 201,
     started('video'), {}),
    ('POST', '/api/sessions/end/{s}', 'c', 'active', {}, 200, state('ended'),
     {}),
    ('GET', '/api/sessions/{s}', 'c', 'ringing', None, 200,
     state('ringing'), {}),
    ('GET', '/api/sessions/{s}/status', 'c', 'ringing', None, 200,
     same('/api/sessions/$s/status', 'c'), {}),
    ('POST', '/api/sessions/{s}/end', 'c', 'active', None, 200,
     state('ended'), {}),
    ('POST', '/api/sessions/{s}/review', 'c', 'ended', {'rating': 4}, 201,
     shows('/api/sessions/$s/review', 'c', 'rating', 4), {}),
    ('GET', '/api/messages/{u}/{u}', 'c', 'active', None, 200,
     said('of old'), {}),

    ('GET', '/api/readers', 'c', None, None, 200, answered,
     {'query': 'isOnline=true&search=nobody'}),
    ('PUT', '/api/readers/profile', 'a', None, {'displayName': 'Old Name'},
     200, shows('/api/advisors/$a', 'c', 'name', 'Old Name'), {}),
    ('PUT', '/api/readers/status', 'a', 'ready', {'isOnline': False}, 200,
     shows('/api/advisors/$a', 'c', 'status', 'offline'), {}),
    ('GET', '/api/readers/{u}', 'c', None, None, 200,
     same('/api/advisors/$a', 'c'), {}),
    ('GET', '/api/payments/balance', 'c', None, None, 200,
     same('/api/wallet', 'c'), {}),
    ('GET', '/api/payments/transactions', 'c', None, None, 200,
     same('/api/wallet/transactions', 'c'), {}),
    ('POST', '/api/payments/add-balance', 'c', None, {'amount': 50000}, 201,
     pays('stripe'), {}),
    ('POST', '/api/payments/webhook', None, None,
     {'id': '$e', 'type': 'nothing.of.ours', 'object': 'event'}, 200,
     answered, {'signed': True}),
    ('POST', '/api/admin/readers', 'x', None,
     {'email': '$e', 'password': 'a long password', 'fullName': 'Old Name'},
     201, person('advisor'), {}),
    ('POST', '/api/admin/payouts/process', 'x', None,
     {'date': '2026-01-31', 'dryRun': True}, 202,
     shows('/api/admin/payouts', 'x', 'orders', 0, 'date', '2026-01-31'), {}),

    ('POST', '/api/user/auth/login', None, None,
     {'email': '$e', 'password': 'a long password'}, 200, signed_in,
     {'registered': True}),
    ('POST', '/api/astrologer/auth/login', None, None,
     {'email': '$e', 'password': 'a long password'}, 200, signed_in,
     {'registered': True}),
    ('POST', '/api/user/auth/signup', None, None,
     {'email': '$e', 'password': 'a long password', 'username': 'Old Name'},
     201, person('client'), {}),
    ('GET', '/api/user/profile', 'c', None, None, 200,
     same('/api/me/profile', 'c'), {}),
    ('PUT', '/api/user/profile', 'c', None, {'bio': 'as of old'}, 200,
     shows('/api/me/profile', 'c', 'about', 'as of old'), {}),
    ('GET', '/api/user/wallet/balance', 'c', None, None, 200,
     same('/api/wallet', 'c'), {}),
    ('POST', '/api/user/wallet/recharge', 'c', None, {'amount': 50000}, 201,
     pays('razorpay'), {}),
    ('GET', '/api/user/consultations', 'c', 'ringing', None, 200,
     shows('/api/sessions', 'c', 'data', 0, 'session', '$s'), {}),
    ('POST', '/api/user/consultations/book', 'c', 'slots',
     {'astrologerId': '$a', 'startTime': '$t', 'type': 'call',
      'notes': 'of old'}, 201,
     shows('/api/bookings', 'c', 'data', 0, 'start', '$t'), {}),
    ('GET', '/api/user/favorites', 'c', None, None, 200, favourites(0), {}),
    ('POST', '/api/user/favorites', 'c', None, {'astrologerId': '$a'}, None,
     favourites(1), {}),
    ('DELETE', '/api/user/favorites/{u}', 'c', None, None, None,
     favourites(0), {}),
    ('GET', '/api/user/location', 'c', None, None, 200,
     same('/api/advisors/nearby?latitude=1.5&longitude=2&radius_km=3', 'c'),
     {'query': 'lat=1.5&lng=2&radius=3'}),

    ('GET', '/api/astrologer/profile', 'a', None, None, 200,
     same('/api/advisors/me', 'a'), {}),
    ('PUT', '/api/astrologer/profile', 'a', None,
     {'fullName': 'Old Name', 'experienceYears': 7}, 200,
     shows('/api/advisors/$a', 'c', 'experience', 7), {}),
    ('PUT', '/api/astrologer/availability', 'a', None,
     {'timezone': 'UTC', 'slotMinutes': 45,
      'weekly': [{'day': 1, 'from': '09:00', 'to': '17:00'}]}, 200,
     shows('/api/advisors/me/schedule', 'a', 'slot_minutes', 45), {}),
    ('GET', '/api/astrologer/dashboard', 'a', None, None, 200,
     same('/api/advisors/me/dashboard', 'a'), {}),
    ('GET', '/api/astrologer/earnings', 'a', None, None, 200,
     same('/api/advisors/me/earnings', 'a'), {}),
    ('GET', '/api/astrologer/analytics', 'a', None, None, 200,
     same('/api/advisors/me/figures', 'a'), {}),
    ('GET', '/api/astrologer/clients', 'a', None, None, 200,
     same('/api/advisors/me/clients', 'a'), {}),
    ('GET', '/api/astrologer/consultations', 'a', 'ringing', None, 200,
     shows('/api/sessions', 'a', 'data', 0, 'session', '$s'), {}),
    ('PUT', '/api/astrologer/consultation/{s}/status', 'a', 'ringing',
     {'status': 'accepted'}, 200, state('accepted'), {'when': 'accepted'}),
    ('PUT', '/api/astrologer/consultation/{s}/status', 'a', 'ringing',
     {'status': 'rejected'}, 200, state('ended'), {'when': 'rejected'}),
    ('PUT', '/api/astrologer/consultation/{s}/status', 'a', 'active',
     {'status': 'completed'}, 200, state('ended'), {'when': 'completed'}),
    ('PUT', '/api/astrologer/consultation/{s}/status', 'a', 'active',
     {'status': 'ended'}, 200, state('ended'), {'when': 'ended'}),

    ('GET', '/api/communication/chat/{s}', 'a', 'ended', None, 200,
     said('of old'), {}),
    ('POST', '/api/communication/chat/message', 'c', 'empty',
     {'consultationId': '$s', 'message': 'by REST'}, 201,
     shows('/api/messages/$u/$a', 'a', 'data', -1, 'payload', 'text',
           'by REST'), {}),
    ('POST', '/api/communication/call/initiate', 'c', 'ready',
     {'astrologerId': '$a'}, 201, started('audio'), {}),
    ('POST', '/api/communication/video/start', 'c', 'ready',
     {'astrologerId': '$a'}, 201, started('video'), {}),
    ('GET', '/api/communication/notifications', 'c', None, None, 200,
     same('/api/notifications', 'c'), {}),
    ('POST', '/api/communication/feedback', 'c', 'ended',
     {'consultationId': '$s', 'rating': 5, 'comment': 'good'}, 201,
     shows('/api/sessions/$s/review', 'c', 'text', 'good'), {}),
]


@pytest.mark.parametrize('case', CASES, ids=lambda c: f'{c[0]} {c[1]} {c[4]}')
def test_a_path_of_old(stack, case):
    method, path, who, before, body, status, check, more = case
    scene = Scene(stack, before)
    if body is not None:
        body = json.loads(scene.fill(json.dumps(body)))
        scene.email = body.get('email')
    if more.get('registered'):
        assert stack.rest.post('/api/auth/register', {
            **body, 'name': 'Old'}).status == 201
    first = iter((scene.c.id, scene.a.id) if path.count('{u}') > 1
                 else (scene.a.id,))
    there = re.sub(r'\{(\w)\}', lambda m: scene.talk.id if m[1] == 's'
                   else next(first), path)
    query = f"?{more['query']}" if 'query' in more else ''
    headers = None
    if more.get('signed'):
        body = json.dumps(body)
        headers = Vendors(stack).sign(body.encode())
    answer = stack.rest.call(method, there + query, body, scene.who(who),
                             headers=headers)
    assert answer.status == status or status is None \
        and answer.status in (200, 201, 204), answer
    assert ('Deprecation' in answer.headers) == ((method, path) not in SAME)
    check(scene, answer)


# what is wrong ---------------------------------------------------------------

def test_a_refusal_names_what_the_client_sent(stack):
    person, rest = stack.person(), stack.rest

    def refused(path, body, pointer, method='POST'):
        problem(rest.call(method, path, body, person.token), 400,
                'bad_request', pointer)

    start = '/api/sessions/start'
    refused(start, {'guideId': 'nobody'}, '/guideId')
    refused(start, {'advisor': 'nobody', 'guideId': 'u_1'}, '/advisor')
    refused(start, {}, '/advisorId')
    refused(start, {'readerId': 'u_1', 'type': 'smoke'}, '/type')
    refused('/api/call/end', {}, '/sessionId')
    refused('/api/user/favorites', {'rating': 5}, '/advisorId')
    refused('/api/user/profile', {'bio': 5}, '/bio', 'PUT')
    refused('/api/astrologer/consultation/s_1/status', {'status': 'gone'},
            '/status', 'PUT')
    refused('/api/astrologer/consultation/s_1/status', {'status': ['x']},
            '/status', 'PUT')
    problem(rest.get('/api/readers?isOnline=%', person.token), 400,
            'bad_request', '/isOnline')
    problem(rest.get('/api/readers?isOnline=true&online=true', person.token),
            400, 'bad_request', '/isOnline')
    # with what is added there would be more members than we look at
    many = {f'a{i}': 1 for i in range(22)}
    refused(start, {**many, 'readerId': 'u_1'}, '')


def test_what_names_nothing(stack):
    person, rest = stack.person(), stack.rest
    for path, body in (('/api/call/end', {'callId': 's_999999'}),
                       ('/api/call/end', {'callId': 5}),
                       ('/api/user/favorites', {'readerId': 's_1'}),
                       ('/api/communication/chat/message',
                        {'sessionId': 's_999999', 'message': 'x'})):
        problem(rest.post(path, body, person.token), 404, 'not_found')


def test_messages_are_for_the_two_alone(stack):
    scene, rest = Scene(stack, 'active'), stack.rest
    c, a, other = scene.c, scene.a, stack.person('advisor')
    path = f'/api/messages/{a.id}/{c.id}'
    assert rest.get(path, c.token).body == rest.get(path, a.token).body \
        == rest.get(f'/api/messages/{c.id}/{a.id}', c.token).body
    for who in (other, stack.person(), stack.person('admin')):
        problem(rest.get(path, who.token), 404, 'not_found')
    for two in (f'{c.id}/{other.id}', f'{c.id}/{c.id}', f'{c.id}/x'):
        problem(rest.get(f'/api/messages/{two}', c.token), 404, 'not_found')
    # not somebody else's message into their conversation either
    problem(rest.post('/api/communication/chat/message',
                      {'sessionId': scene.talk.id, 'message': 'x'},
                      other.token), 404, 'not_found')


def test_a_key_makes_one_session(stack):
    scene = Scene(stack, 'ready')
    key = {'Idempotency-Key': 'once-of-old'}
    body = {'readerId': scene.a.id}
    one, two = [stack.rest.post('/api/sessions/start', body, scene.c.token,
                                headers=key) for _ in range(2)]
    assert one.status == two.status == 201
    assert one.json['session'] == two.json['session']
    assert two.headers['Idempotent-Replayed'] == 'true'


def test_all_of_old_are_marked():
    for method, path, op in operations():
        assert op.get('deprecated', False) == ('old' in op['tags']), path
    assert len([o for o in document()['tags'] if o['name'] == 'old']) == 1
    assert len({(o.method, o.path) for o in OLD}) == len(
        [1 for op in SAID.values() if 'x-alias' in op])
    assert called(OLD[0])
