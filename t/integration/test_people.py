"""Profiles, what advisors offer, live status, how an advisor comes in, the
catalogue, reviews, favourites, an advisor's clients and figures: by REST."""

import uuid

import pytest

from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, eventually
from test_http import problem

MANY = 10 ** 6


# of its own: sessions that are made by hand are none that an audit would pass

@pytest.fixture(scope='module')
def town():
    stack = Stack()
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(town):
    yield from watch(town)


@pytest.fixture
def rest(stack):
    return stack.rest


def number(person):
    return int(person.id[2:])


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json if status != 204 else None


def put(rest, path, body, who, status=200, **kw):
    return ok(rest.call('PUT', path, body, who.token, **kw), status)


def email():
    return f'{uuid.uuid4().hex}@people.test'


def ended(stack, client, advisor, charged=0, fee=0, reason='client_ended',
          active=True, took_s=2):
    """A session of the two that is over, and what it moved, by hand."""
    with stack.db() as db:
        conv = db.execute(
            'INSERT INTO consult.conversation (client_id, advisor_id)'
            ' VALUES (%s, %s) ON CONFLICT (client_id, advisor_id)'
            ' DO UPDATE SET head = excluded.head RETURNING id',
            (number(client), number(advisor))).fetchone()[0]
        wallets = [db.execute('SELECT id FROM ledger.wallet WHERE'
                              ' owner_id = %s', (number(who),)).fetchone()[0]
                   for who in (client, advisor)]
        session, = db.execute(
            'INSERT INTO consult.session (conversation_id, client_id,'
            ' advisor_id, client_wallet, advisor_wallet, cid, service,'
            ' rate_minor, commission_bps, state, state_ms, reason, ended_at,'
            ' end_ms, active_ms, charged, fee, credited, billed_ms, charge_no,'
            ' settled, accepted_at) VALUES (%s, %s, %s, %s, %s,'
            " gen_random_uuid(), 'chat', 6000, 3000, 'ended', 1, %s, now(), 2,"
            ' %s, %s, %s, %s, %s, %s, true,'
            ' now() + make_interval(secs => %s)) RETURNING id',
            (conv, number(client), number(advisor), *wallets, reason,
             1 if active else None, charged, fee, charged - fee,
             charged * 10, int(charged > 0),
             took_s if active else None)).fetchone()
        if charged:
            db.execute(
                'INSERT INTO ledger.transfer (debit_account, credit_account,'
                ' amount, fee, kind, session_id, charge_no, billed_ms) VALUES'
                " (%s, %s, %s, %s, 'session', %s, 1, %s)",
                (*wallets, charged, fee, session, charged * 10))
            db.execute("SELECT billing.topup(%s, %s, %s)",
                       (number(client), charged, str(uuid.uuid4())))
            db.execute('UPDATE ledger.wallet SET balance = balance - %s'
                       ' WHERE id = %s', (charged, wallets[0]))
            db.execute('UPDATE ledger.wallet SET balance = balance + %s'
                       ' WHERE id = %s', (charged - fee, wallets[1]))
    return f's_{session}'


def seen(rest, who, query=''):
    """All of a search, page by page."""
    found, cursor = [], None
    while True:
        page = ok(rest.get('/api/advisors?limit=3' + query + (
            f'&cursor={cursor}' if cursor else ''), who.token))
        found += page['data']
        cursor = page['next_cursor']
        if cursor is None:
            return found


# B1: profiles

def test_b1_profile_round_trips_and_is_private(stack, rest):
    me, other = stack.person(), stack.person('advisor')
    empty = rest.get('/api/me/profile', me.token)
    assert ok(empty)['birth'] == dict.fromkeys(
        ('date', 'time', 'place', 'latitude', 'longitude', 'time_zone'))
    mine = {'name': 'Ünë 🙂', 'about': 'a "b"', 'language': 'en-IN',
            'birth': {'date': '1990-02-28', 'time': '04:05', 'place': 'Pune',
                      'latitude': 18.52, 'longitude': 73.85,
                      'time_zone': 'Asia/Kolkata'},
            'charts': [{'kind': 'natal', 'of': [1, 2.5, None]}]}
    answer = rest.call('PUT', '/api/me/profile', mine, me.token,
                       headers={'If-Match': empty.headers['ETag']})
    assert {k: ok(answer)[k] for k in mine} == mine
    again = rest.get('/api/me/profile', me.token)
    assert again.json == answer.json
    assert again.headers['ETag'] == answer.headers['ETag']
    assert ok(rest.get('/api/me', me.token))['name'] == mine['name']

    # of what others can see, nothing says when or where
    for path in ('/api/me', '/api/me/profile', '/api/advisors',
                 f'/api/advisors/{me.id}'):
        assert b'Pune' not in rest.get(path, other.token).body
    with stack.db() as db:
        db.execute('SET ROLE astro_api')
        db.execute("SELECT set_config('astro.caller', %s, false)",
                   (str(number(other)),))
        assert db.execute('SELECT count(*) FROM identity.profile'
                          ).fetchone() == (0,)


def test_b1_a_stale_if_match_changes_nothing(stack, rest):
    me = stack.person()
    old = rest.get('/api/me/profile', me.token).headers['ETag']
    put(rest, '/api/me/profile', {'about': 'one'}, me,
        headers={'If-Match': old})
    answer = rest.call('PUT', '/api/me/profile', {'about': 'two'}, me.token,
                       headers={'If-Match': old})
    problem(answer, 412, 'precondition_failed')
    assert ok(rest.get('/api/me/profile', me.token))['about'] == 'one'


def test_b4_what_is_derived_is_not_taken_from_a_cache(stack, rest):
    advisor = stack.person('advisor')
    before = rest.get('/api/advisors/me', advisor.token)
    cached = {'If-None-Match': before.headers['ETag']}
    assert rest.get('/api/advisors/me', advisor.token,
                    headers=cached).status == 304
    put(rest, '/api/advisors/me/status', {'status': 'offline'}, advisor)
    assert ok(rest.get('/api/advisors/me', advisor.token,
                       headers=cached))['away']
    # which is no change of the profile
    put(rest, '/api/advisors/me', {'bio': 'x'}, advisor,
        headers={'If-Match': before.headers['ETag']})


@pytest.mark.parametrize('body, field', [
    ({'birth': {'date': '1990-02-30'}}, '/birth/date'),
    ({'birth': {'time': '24:00'}}, '/birth/time'),
    ({'birth': {'latitude': 91}}, '/birth/latitude'),
    ({'birth': {'time_zone': 'Mars/Olympus'}}, '/birth/time_zone'),
    ({'birth': 5}, '/birth'), ({'name': ''}, '/name'),
    ({'charts': [{}, 1]}, '/charts/1'), ({'language': '??'}, '/language'),
])
def test_b1_a_profile_is_refused_with_the_field(stack, rest, body, field):
    problem(rest.call('PUT', '/api/me/profile', body, stack.person().token),
            400, 'bad_request', field)


# B2: what an advisor offers

def test_b2_a_new_rate_is_for_sessions_started_later(stack, rest):
    c = Consultation(stack, balance=MANY).active()
    me = c.advisor
    changed = put(rest, '/api/advisors/me', {
        'rates': {'chat': 7000, 'audio': None,
                  'video': {'amount': 5, 'currency': 'INR'}}}, me)
    assert changed['rates'] == {
        'chat': {'amount': 7000, 'currency': 'INR'}, 'audio': None,
        'video': {'amount': 5, 'currency': 'INR'}}
    snapshot = ok(rest.get(f'/api/sessions/{c.id}', c.client.token))
    assert snapshot['rate']['amount'] == 6000
    c.c.forget()
    c.c.expect('billing_tick')
    c.end()
    assert c.assert_settled()['rate_minor'] == 6000
    eventually(lambda: ok(rest.get(f'/api/sessions/{c.id}',
                                   c.client.token))['state'] == 'ended')
    c.cid = str(uuid.uuid4())
    assert c.start()['rate']['amount'] == 7000
    c.c.call('session_cancel', c.this)


def test_b2_profile_fields(stack, rest):
    me = stack.person('advisor')
    mine = {'name': 'Meera', 'headline': 'h', 'bio': 'b', 'city': 'Pune',
            'experience': 12, 'specialties': ['tarot', 'vedic'],
            'languages': ['en', 'hi'],
            'location': {'latitude': 18.5, 'longitude': 73.8}}
    answer = rest.call('PUT', '/api/advisors/me', mine, me.token)
    assert {k: ok(answer)[k] for k in mine} == mine
    assert answer.json['rates']['chat']['amount'] == 6000
    assert rest.get('/api/advisors/me', me.token).json == answer.json
    problem(rest.call('PUT', '/api/advisors/me', {'bio': 'c'}, me.token,
                      headers={'If-Match': '"a1"'}), 412,
            'precondition_failed')
    for body, field in (({'specialties': ['nonsense']}, '/specialties'),
                        ({'rates': {'chat': 0}}, '/rates/chat'),
                        ({'rates': {'chat': 1.5}}, '/rates/chat'),
                        ({'rates': {'chat': {'amount': 5, 'currency': 'USD'}}},
                         '/rates/chat/currency'),
                        ({'location': {'latitude': 1}},
                         '/location/longitude')):
        problem(rest.call('PUT', '/api/advisors/me', body, me.token), 400,
                'bad_request', field)
    assert rest.get('/api/advisors/me', me.token).json == answer.json


# B4: live status

def test_b4_status_reaches_the_watchers_and_hides(stack, rest):
    me, fan = stack.person('advisor'), stack.person(balance=MANY)
    me.connect()
    watcher = fan.connect(away_from=me.client.worker)
    eventually(lambda: watcher.call('presence_watch', {'users': [me.id]})
               ['users'][0]['online'])

    def status(word):
        return put(rest, '/api/advisors/me/status', {'status': word}, me)

    assert status('offline')['status'] == 'offline'
    watcher.expect('user_offline', lambda m: m['payload']['user'] == me.id, 1)
    shown = ok(rest.get(f'/api/advisors/{me.id}', fan.token))
    assert (shown['status'], shown['online']) == ('offline', False)
    refused = watcher.refused('session_start', {
        'advisor': me.id, 'service': 'chat', 'cid': str(uuid.uuid4())})
    assert refused['code'] == 'offline'

    # it comes and goes, and is still not to be seen
    assert not watcher.call('presence_watch', {'users': [me.id]}
                            )['users'][0]['online']
    me.connect()
    assert not watcher.call('presence_watch', {'users': [me.id]}
                            )['users'][0]['online']

    assert status('available')['status'] == 'online'
    watcher.expect('user_online', lambda m: m['payload']['user'] == me.id, 1)
    assert ok(rest.get(f'/api/advisors/{me.id}', fan.token))['online']


def test_b4_busy_follows_from_a_session(stack, rest):
    c = Consultation(stack, balance=MANY)
    path = '/api/advisors/me/status'
    problem(rest.call('PUT', path, {'status': 'busy'}, c.advisor.token), 409,
            'conflict', '/status')
    c.connect().ring()
    for word in ('online', 'available'):
        problem(rest.call('PUT', path, {'status': word}, c.advisor.token), 409,
                'session_state', '/status')
    assert put(rest, path, {'status': 'busy'}, c.advisor)['status'] == 'busy'
    assert ok(rest.get(f'/api/advisors/{c.advisor.id}', c.client.token)
              )['status'] == 'busy'
    c.c.call('session_cancel', c.this)
    assert put(rest, path, {'status': 'online'}, c.advisor
               )['status'] == 'online'
    problem(rest.call('PUT', path, {'status': 'x'}, c.advisor.token), 400,
            'bad_request', '/status')
    assert rest.call('PUT', path, {'status': 'online'},
                     c.client.token).status == 403


# B5, B6: the list

def test_b6_detail(stack, rest):
    me, who = stack.person('advisor'), stack.person()
    found = ok(rest.get(f'/api/advisors/{me.id}', who.token))
    assert found['queue'] == 0 and found['rates']['audio']['amount'] == 9000
    assert found['rating'] == {'average': None, 'count': 0}
    assert found['status'] == 'offline' and found['bio'] == ''
    for other in (who.id, 'u_999999999', 'x'):
        problem(rest.get(f'/api/advisors/{other}', who.token), 404,
                'not_found')


def test_b5_filters(stack, rest):
    who = stack.person()
    word = 'w' + uuid.uuid4().hex[:10]
    put_word(stack, word)
    a, b, c = (stack.person('advisor', rates=rates) for rates in
               ((100, None, 300), (200, 50, None), (300, None, None)))
    for me, languages in ((a, ['en']), (b, ['en', 'hi']), (c, ['hi'])):
        put(rest, '/api/advisors/me', {'specialties': [word],
                                       'languages': languages}, me)
    for stars in (5, 4):
        client = stack.person()
        ok(rest.post(f'/api/sessions/{ended(stack, client, b)}/review',
                     {'rating': stars}, client.token), 201)
    c.connect()

    def ids(query):
        return [x['id'] for x in
                seen(rest, who, f'&specialty={word}{query}')]

    assert ids('') == [a.id, b.id, c.id]
    assert ids('&service=video') == [a.id]
    assert ids('&service=audio&price_max=50') == [b.id]
    assert ids('&price_min=200') == [c.id]
    assert ids('&service=chat&price_min=200&price_max=299') == [b.id]
    assert ids('&rating=4.5') == [b.id] and ids('&rating=4.6') == []
    assert ids('&language=hi') == [b.id, c.id]
    assert ids('&online=true') == [c.id]
    assert ids('&online=false') == [a.id, b.id]
    assert ids('&sort=price') == [b.id, a.id, c.id]
    assert ids('&sort=-price&service=chat') == [c.id, b.id, a.id]
    assert ids('&sort=rating')[0] == b.id
    assert ids('&sort=newest') == [c.id, b.id, a.id]
    with stack.db() as db:
        for me, name in ((a, 'Zoë'), (b, 'anna'), (c, 'Bea')):
            db.execute('UPDATE identity.account SET name = %s WHERE id = %s',
                       (name, number(me)))
    assert ids('&sort=name') == [b.id, c.id, a.id]
    assert ids('&q=BE') == [c.id]
    for query, field in (('sort=x', '/sort'), ('price_min=x', '/price_min'),
                         ('rating=6', '/rating'), ('online=1', '/online'),
                         ('service=fax', '/service'),
                         ('cursor=1.x', '/cursor'),
                         ('cursor=999.999', '/cursor')):
        problem(rest.get(f'/api/advisors?{query}', who.token), 400,
                'bad_request', field)


def put_word(stack, word):
    with stack.db() as db:
        db.execute('INSERT INTO identity.specialty (slug, name)'
                   ' VALUES (%s, %s)', (word, word))


@pytest.mark.parametrize('sort', ['price', '-price', 'rating', 'name',
                                  'newest'])
def test_b5_pages_neither_skip_nor_repeat_while_rows_change(stack, rest,
                                                            sort):
    """Between any two pages prices, ratings and names change places."""
    who = stack.person()
    word = 'w' + uuid.uuid4().hex[:10]
    put_word(stack, word)
    people = [stack.person('advisor', rates=(100 + i, None, None))
              for i in range(12)]
    ids = [number(p) for p in people]
    with stack.db() as db:
        db.execute('UPDATE identity.advisor SET specialties = %s'
                   ' WHERE account_id = ANY(%s)', ([word], ids))
        found, cursor = [], None
        for turn in range(1, 99):
            page = ok(rest.get(f'/api/advisors?specialty={word}&sort={sort}'
                               '&limit=2' + (f'&cursor={cursor}' if cursor
                                             else ''), who.token))
            found += [x['id'] for x in page['data']]
            cursor = page['next_cursor']
            if cursor is None:
                break
            db.execute('UPDATE identity.advisor SET rate_chat_minor ='
                       ' 1000 - rate_chat_minor + (account_id * %s) %% 37,'
                       ' rating_count = 1, rating_sum = 1 + (account_id + %s)'
                       ' %% 5 WHERE account_id = ANY(%s)', (turn, turn, ids))
            db.execute("UPDATE identity.account SET name = md5(name || id)"
                       ' WHERE id = ANY(%s)', (ids,))
            late = stack.person('advisor')
            db.execute('UPDATE identity.advisor SET specialties = %s'
                       ' WHERE account_id = %s', ([word], number(late)))
    assert len(found) == len(set(found)) == 12
    assert set(found) == {p.id for p in people}


# A8, A11: how an advisor comes in

def test_a8_an_admin_makes_an_advisor(stack, rest):
    admin, client = stack.person('admin'), stack.person()
    body = {'email': email().upper(), 'password': 'pass word 1',
            'name': 'New ✓', 'specialties': ['tarot'],
            'rates': {'chat': 1234}}
    made = ok(rest.post('/api/admin/advisors', body, admin.token), 201)
    assert made['approved'] and made['rates']['chat']['amount'] == 1234
    assert b'pass' not in rest.get('/api/advisors/me', rest.login(
        body['email'], body['password'])).body
    assert made['id'] in [x['id'] for x in
                          seen(rest, client, '&specialty=tarot')]
    problem(rest.post('/api/admin/advisors', body, admin.token), 409,
            'conflict', '/email')
    body['email'] = email()
    for who in (client, stack.person('advisor')):
        problem(rest.post('/api/admin/advisors', body, who.token), 403,
                'forbidden')
    for key, value in (('password', 'short'), ('password', None),
                       ('email', 'x'), ('name', ''), ('rates', 5)):
        problem(rest.post('/api/admin/advisors', {**body, key: value},
                          admin.token), 400, 'bad_request', f'/{key}')


def test_a11_signup_is_invisible_until_approved(stack, rest):
    admin, client = stack.person('admin'), stack.person(balance=MANY)
    body = {'email': email(), 'password': 'pass word 1', 'name': 'Late',
            'specialties': ['tarot'], 'rates': {'chat': 60}}
    made = ok(rest.post('/api/auth/register/advisor', body), 201)
    assert made['approved'] is False
    token = rest.login(body['email'], body['password'])
    me = ok(rest.get('/api/advisors/me', token))['id']
    assert me == made['id']
    put_rate = rest.call('PUT', '/api/advisors/me', {'bio': 'x'}, token)
    assert put_rate.status == 200
    client.connect()

    def start():
        return client.client.refused('session_start', {
            'advisor': me, 'service': 'chat', 'cid': str(uuid.uuid4())}
            )['code']

    def listed():
        return me in [x['id'] for x in
                      seen(rest, client, '&specialty=tarot')]

    def approve(yes, who=admin, status=200):
        return put(rest, f'/api/admin/advisors/{me}/approval',
                   {'approved': yes}, who, status)

    def waiting():
        return me in [x['id'] for x in ok(rest.get(
            '/api/admin/advisors/waiting?limit=200', admin.token))['data']]

    assert not listed() and waiting() and start() == 'not_found'
    problem(rest.get(f'/api/advisors/{me}', client.token), 404, 'not_found')
    problem(rest.call('PUT', f'/api/favorites/{me}', {}, client.token), 404,
            'not_found')
    problem(rest.post('/api/conversations', {'advisor': me}, client.token),
            404, 'not_found', '/advisor')
    approve(True, client, 403)
    assert approve(True)['approved']
    assert listed() and not waiting() and start() == 'offline'
    approve(False)
    assert not listed() and start() == 'not_found'


# B12: the catalogue

def test_b12_specialties(stack, rest):
    admin, client = stack.person('admin'), stack.person()
    slug = 'w' + uuid.uuid4().hex[:8]
    body = {'slug': slug, 'name': 'A word'}
    made = ok(rest.post('/api/specialties', body, admin.token), 201)
    problem(rest.post('/api/specialties', body, admin.token), 409, 'conflict',
            '/slug')
    problem(rest.post('/api/specialties', {**body, 'slug': 'A b'},
                      admin.token), 400, 'bad_request', '/slug')
    assert made in ok(rest.get('/api/specialties', client.token))['data']
    path = f'/api/specialties/{made["id"]}'
    assert put(rest, path, {'name': 'Other'}, admin)['name'] == 'Other'
    me = stack.person('advisor')
    put(rest, '/api/advisors/me', {'specialties': [slug]}, me)
    problem(rest.call('DELETE', path, token=admin.token), 409, 'conflict')
    for who in (client, me):
        assert rest.call('DELETE', path, token=who.token).status == 403
        assert rest.post('/api/specialties', body, who.token).status == 403
        assert rest.call('PUT', path, body, who.token).status == 403
    put(rest, '/api/advisors/me', {'specialties': []}, me)
    ok(rest.call('DELETE', path, token=admin.token), 204)
    problem(rest.call('DELETE', path, token=admin.token), 404, 'not_found')
    problem(rest.call('PUT', path, {'name': 'x'}, admin.token), 404,
            'not_found')


# B8: reviews

def rating(rest, advisor, who):
    found = ok(rest.get(f'/api/advisors/{advisor.id}', who.token))['rating']
    return found['average'], found['count']


def test_b8_reviews_by_participants_once(stack, rest):
    c = Consultation(stack, balance=MANY).active()
    path = f'/api/sessions/{c.id}/review'
    problem(rest.post(path, {'rating': 5}, c.client.token), 409,
            'session_state')
    c.end()
    eventually(lambda: ok(rest.get(f'/api/sessions/{c.id}',
                                   c.client.token))['state'] == 'ended')
    stranger = stack.person()
    problem(rest.post(path, {'rating': 5}, stranger.token), 404, 'not_found')
    problem(rest.post(path, {'rating': 5}, c.advisor.token), 403, 'forbidden')
    for bad in (0, 6, 4.5, '5', None):
        problem(rest.post(path, {'rating': bad}, c.client.token), 400,
                'bad_request', '/rating')
    made = ok(rest.post(path, {'rating': 5, 'text': 'good ✓'},
                        c.client.token), 201)
    assert made['rating'] == 5 and made['advisor'] == c.advisor.id
    problem(rest.post(path, {'rating': 4}, c.client.token), 409, 'conflict')
    assert ok(rest.get(path, stranger.token)) == made
    assert rating(rest, c.advisor, stranger) == (5, 1)
    never = ended(stack, c.client, c.advisor, reason='missed', active=False)
    problem(rest.post(f'/api/sessions/{never}/review', {'rating': 1},
                      c.client.token), 409, 'session_state')


def test_b8_average_and_count_are_exact(stack, rest):
    advisor, admin, who = (stack.person(r) for r in
                           ('advisor', 'admin', 'client'))
    clients = [stack.person() for _ in range(3)]
    paths = []
    for client, stars in zip(clients, (5, 4, 1)):
        paths.append(f'/api/sessions/{ended(stack, client, advisor)}/review')
        ok(rest.post(paths[-1], {'rating': stars}, client.token), 201)
    assert rating(rest, advisor, who) == (3.333, 3)
    put(rest, paths[2], {'rating': 3}, clients[2])
    assert rating(rest, advisor, who) == (4, 3)
    put(rest, paths[2], {'text': 'longer'}, clients[2])
    problem(rest.call('PUT', paths[2], {'rating': 1}, clients[0].token), 404,
            'not_found')

    hide = f'{paths[0]}/hidden'
    for person in (clients[0], advisor):
        assert rest.call('PUT', hide, {'hidden': True},
                         person.token).status == 403
    for _ in range(2):
        put(rest, hide, {'hidden': True, 'reason': 'rude'}, admin)
        assert rating(rest, advisor, who) == (3.5, 2)
    problem(rest.get(paths[0], who.token), 404, 'not_found')
    for person in (clients[0], advisor, admin):
        assert ok(rest.get(paths[0], person.token))['hidden_reason'] == 'rude'
    listed = f'/api/advisors/{advisor.id}/reviews?limit=2'
    assert len(ok(rest.get(listed, who.token))['data']) == 2
    # edited while hidden: counted with the new value when it is back
    put(rest, paths[0], {'rating': 2}, clients[0])
    assert rating(rest, advisor, who) == (3.5, 2)
    put(rest, hide, {'hidden': False}, admin)
    assert rating(rest, advisor, who) == (3, 3)
    # whose page nobody is shown, his reviews neither
    with stack.db() as db:
        change = ('UPDATE identity.advisor SET approved_at = %s'
                  ' WHERE account_id = %s')
        db.execute(change, (None, advisor.number))
        for path in f'/api/advisors/{advisor.id}', listed:
            problem(rest.get(path, who.token), 404, 'not_found')
        for person in advisor, admin:
            assert ok(rest.get(listed, person.token))['data']
        db.execute(change, ('now', advisor.number))
    page = ok(rest.get(listed, who.token))
    rest_of = ok(rest.get(f'{listed}&cursor={page["next_cursor"]}',
                          who.token))
    assert [x['rating'] for x in page['data'] + rest_of['data']] == [3, 4, 2]

    problem(rest.call('PUT', f'{paths[1]}/reply', {'reply': 'x'},
                      stack.person('advisor').token), 404, 'not_found')
    assert put(rest, f'{paths[1]}/reply', {'reply': 'thanks'},
               advisor)['reply'] == 'thanks'
    assert ok(rest.get(paths[1], who.token))['reply'] == 'thanks'
    assert put(rest, f'{paths[1]}/reply', {'reply': None},
               advisor)['replied_at'] is None


# B7: favourites

def test_b7_favorites(stack, rest):
    me, other = stack.person(), stack.person()
    a, b, c = (stack.person('advisor') for _ in range(3))
    for person in (a, b, a, c):
        put(rest, f'/api/favorites/{person.id}', None, me)
    with stack.db() as db:
        assert db.execute('SELECT count(*) FROM consult.favorite WHERE'
                          ' client_id = %s', (number(me),)).fetchone() == (3,)
    first = ok(rest.get('/api/favorites?limit=2', me.token))
    last = ok(rest.get('/api/favorites?limit=2&cursor='
                       + first['next_cursor'], me.token))
    assert [x['id'] for x in first['data'] + last['data']] \
        == [c.id, b.id, a.id]
    assert last['next_cursor'] is None
    assert ok(rest.get('/api/favorites', other.token))['data'] == []
    for _ in range(2):
        ok(rest.call('DELETE', f'/api/favorites/{b.id}', token=me.token), 204)
    assert [x['id'] for x in ok(rest.get('/api/favorites', me.token))['data']
            ] == [c.id, a.id]
    problem(rest.call('PUT', f'/api/favorites/{other.id}', token=me.token),
            404, 'not_found')


# B11, B16: an advisor's own

def test_b11_clients_notes_and_dashboard(stack, rest):
    me, other = stack.person('advisor'), stack.person('advisor')
    a, b = stack.person(), stack.person()
    ended(stack, a, me, 1000, 300)
    ended(stack, a, me, 501, 151)
    ended(stack, b, me, 77, 20)
    ended(stack, b, other, 5000, 1)
    with stack.db() as db:
        gift = stack.person(balance=MANY)
        db.execute('SELECT billing.gift(%s, %s, 100, NULL, %s)',
                   (number(gift), number(me), str(uuid.uuid4())))
        earned = db.execute(
            'SELECT sum(CASE WHEN t.credit_account = w.id'
            ' THEN t.amount - t.fee ELSE -t.amount END)::bigint'
            ' FROM ledger.transfer t JOIN ledger.wallet w'
            ' ON w.id IN (t.credit_account, t.debit_account)'
            ' WHERE w.owner_id = %s', (number(me),)).fetchone()[0]
    page = ok(rest.get('/api/advisors/me/clients?limit=1', me.token))
    more = ok(rest.get('/api/advisors/me/clients?limit=1&cursor='
                       + page['next_cursor'], me.token))
    found = page['data'] + more['data']
    assert [(x['client']['id'], x['sessions'], x['charged']['amount'],
             x['earned']['amount']) for x in found] == [
                 (b.id, 1, 77, 57), (a.id, 2, 1501, 1050)]
    board = ok(rest.get('/api/advisors/me/dashboard', me.token))
    assert board['sessions'] == 3 and board['clients'] == 2
    assert board['charged']['amount'] == 1578
    assert board['earned']['amount'] == earned
    assert board['balance']['amount'] == earned
    assert ok(rest.get('/api/advisors/me/dashboard?to=2001-01-01T00:00:00Z',
                       me.token))['earned']['amount'] == 0

    path = f'/api/advisors/me/clients/{a.id}/note'
    none = rest.get(path, me.token)
    assert ok(none)['text'] == ''
    put(rest, path, {'text': 'likes tea'}, me,
        headers={'If-Match': none.headers['ETag']})
    problem(rest.call('PUT', path, {'text': 'x'}, me.token,
                      headers={'If-Match': none.headers['ETag']}), 412,
            'precondition_failed')
    assert ok(rest.get(path, me.token))['text'] == 'likes tea'
    problem(rest.get(path, other.token), 404, 'not_found')
    assert rest.get(path, a.token).status == 403
    assert ok(rest.get('/api/advisors/me/clients', me.token)
              )['data'][1]['note'] is True


def test_b16_own_figures(stack, rest):
    me = stack.person('advisor')
    a, b, c = (stack.person() for _ in range(3))
    for client, took in ((a, 1), (a, 2), (b, 9)):
        ended(stack, client, me, took_s=took)
    ended(stack, c, me, reason='missed', active=False)
    ended(stack, c, me, reason='rejected', active=False)
    found = ok(rest.get('/api/advisors/me/figures', me.token))
    assert found == {
        'asked': 5, 'answered': 3, 'completed': 3, 'rejected': 1, 'missed': 1,
        'cancelled': 0, 'completion': 0.6, 'response_ms': 4000,
        'response_median_ms': 2000, 'clients': 2, 'repeat_clients': 1,
        'repeat': 0.5}
    assert ok(rest.get('/api/advisors/me/figures', stack.person('advisor')
                       .token))['completion'] is None


def test_b16_the_response_is_measured(stack, rest):
    c = Consultation(stack, balance=MANY).active()
    c.end()
    eventually(lambda: ok(rest.get('/api/advisors/me/figures',
                                   c.advisor.token))['completed'] == 1)
    assert 0 <= ok(rest.get('/api/advisors/me/figures', c.advisor.token)
                   )['response_ms'] < 60000


# B9: nearby

def test_b9_where_an_advisor_lives_is_kept_to_a_kilometre(stack, rest):
    advisor, who = stack.person('advisor'), stack.person()
    kept = put(rest, '/api/advisors/me', {'location': {
        'latitude': 18.523456, 'longitude': -73.856789}}, advisor)['location']
    assert kept == {'latitude': 18.52, 'longitude': -73.86}
    found, = (x for x in ok(rest.get(
        '/api/advisors/nearby?latitude=18.52&longitude=-73.86&radius_km=1',
        who.token))['data'] if x['id'] == advisor.id)
    assert found['distance_m'] == 0


def test_b9_nearby_equals_brute_force(stack, rest):
    """Over the antimeridian and the poles, too."""
    from math import asin, cos, radians, sin, sqrt

    def metres(a, b):
        x, y, u, v = map(radians, (*a, *b))
        return 2 * 6371008.8 * asin(min(1, sqrt(
            sin((u - x) / 2) ** 2
            + cos(x) * cos(u) * sin((v - y) / 2) ** 2)))

    who = stack.person()
    places = [(0, 179.9), (0, -179.9), (0.5, 180), (-1, -180), (89.9, 0),
              (89.9, 180), (89.5, 90), (88, -90), (-89.9, 10), (-90, 0),
              (90, 77), (18.52, 73.85), (18.55, 73.9), (19.07, 72.87),
              (60, 179), (60, -179), (-60, 179.99), (0, 0)]
    people = {}
    with stack.db() as db:
        db.execute('UPDATE identity.advisor SET lat = NULL, lon = NULL')
        for place in places:
            me = stack.person('advisor')
            people[me.id] = place
            db.execute('UPDATE identity.advisor SET lat = %s, lon = %s'
                       ' WHERE account_id = %s', (*place, number(me)))
    for at in places + [(89.99, -45), (45, 45), (-89, 179)]:
        for km in (0, 1, 40, 120, 1200, 10010, 20040):
            wanted = sorted((metres(at, p), i) for i, p in people.items()
                            if metres(at, p) <= km * 1000)
            got = ok(rest.get(f'/api/advisors/nearby?latitude={at[0]}'
                              f'&longitude={at[1]}&radius_km={km}',
                              who.token))['data']
            assert {x['id'] for x in got} == {i for _, i in wanted}, (at, km)
            assert all(abs(x['distance_m'] - m) <= 1
                       for x, (m, _) in zip(got, wanted))
    problem(rest.get('/api/advisors/nearby?latitude=91&longitude=0',
                     who.token), 400, 'bad_request', '/latitude')
    problem(rest.get('/api/advisors/nearby?latitude=1', who.token), 400,
            'bad_request', '/longitude')
