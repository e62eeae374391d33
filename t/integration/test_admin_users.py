"""What admins do to people: find them, change them, keep them out, end what
they have under way, send their clients away."""

import concurrent.futures
import json
import time
import uuid

import pytest

from astro.consult import Consultation
from astro.stack import eventually
from astro.ws import SLOW
from test_http import problem

WITHIN = 2 * SLOW         # a second, and as much for a busy machine


def ok(answer, status=200):
    assert answer.status == status, answer
    return answer.json


@pytest.fixture(scope='module')
def boss(shared):
    return shared.person('admin')


def put(stack, who, path, body, status=200):
    return ok(stack.rest.call('PUT', f'/api/admin/users/{path}', body,
                              who.token), status)


def search(stack, who, query, pages=False):
    rows, cursor = [], ''
    while cursor is not None:
        page = ok(stack.rest.get(f'/api/admin/users?{query}{cursor}',
                                 who.token))
        rows += page['data']
        cursor = page['next_cursor'] and f"&cursor={page['next_cursor']}"
        if not pages:
            break
    return [r['id'] for r in rows]


def acts(stack, who, about):
    page = ok(stack.rest.get(f'/api/admin/log?about={about}', who.token))
    return [(a['act'], a['detail']) for a in reversed(page['data'])]


def gone(client, code, timeout=WITHIN):
    client.wait(lambda: client.close_code, timeout, f'the close with {code}')
    assert client.close_code == code


def name(stack, person, text, phone=None):
    with stack.db() as db:
        db.execute('UPDATE identity.account SET name = %s WHERE id = %s',
                   (text, person.number))
        if phone:
            db.execute('INSERT INTO identity.phone (account_id, phone)'
                       ' VALUES (%s, %s)', (person.number, phone))


def test_l8_search(stack, boss):
    word = 'z' + uuid.uuid4().hex[:10]
    phone = f'+99{uuid.uuid4().int % 10**9:09}'
    people = [stack.person() for _ in range(5)] + [stack.person('advisor')]
    for n, (who, text) in enumerate(zip(people, (
            f'{word}', f'{word.title()} Rao', f'Asha {word.upper()}',
            f"{word}'; --", 'Zoë Other', f'Ravi {word}'))):
        name(stack, who, text, f'{phone}{n}'[:15])
    ids = [p.id for p in people]
    alike = [ids[i] for i in (5, 3, 2, 1, 0)]

    assert search(stack, boss, f'q={word}') == alike
    assert search(stack, boss, f'q={word[:6].upper()}&limit=2', True) == alike
    assert search(stack, boss, f'q={word}&role=advisor') == [ids[5]]
    assert search(stack, boss, f'q={word}%20r') == [ids[1]]
    assert search(stack, boss, f'q={people[4].email}') == [ids[4]]
    assert search(stack, boss, f'q={people[4].email[:14]}') == [ids[4]]
    assert search(stack, boss, f'q={ids[4]}') == [ids[4]]
    assert search(stack, boss, f'q=%2B{phone[1:]}') == ids[::-1]
    assert search(stack, boss, f'q={phone[1:]}3') == [ids[3]]
    assert search(stack, boss, f'q={word}x') == []
    assert search(stack, boss, f'q=u_{10 ** 15}') == []

    put(stack, boss, f'{ids[2]}/blocked', {'blocked': True, 'reason': 'x'})
    assert search(stack, boss, f'q={word}&blocked=true') == [ids[2]]
    assert search(stack, boss, f'q={word}&blocked=false') == [
        i for i in alike if i != ids[2]]
    assert search(stack, boss, 'blocked=true')[0] == ids[2]
    assert search(stack, boss, 'role=admin&limit=200').count(boss.id) == 1

    for query, field in (('role=x', '/role'), ('blocked=x', '/blocked'),
                         ('cursor=x', '/cursor')):
        said = problem(stack.rest.get(f'/api/admin/users?{query}',
                                      boss.token), 400, 'bad_request')
        assert said['errors'][0]['pointer'] == field


def test_l8_search_looks_at_few_rows(stack, boss):
    """However many there are: by what the database says that it read."""
    who, word = stack.person(), uuid.uuid4().hex
    name(stack, who, f'Old {word}', f'+99{uuid.uuid4().int % 10**9:09}')
    with stack.db() as db, db.transaction(force_rollback=True):
        db.execute(
            'INSERT INTO identity.account (email, name, role, password_hash)'
            " SELECT 'many' || n || '@x.test', CASE WHEN n <= 18000"
            " THEN 'Many ' ELSE 'More ' END || n, 'client', '!'"
            ' FROM generate_series(1, 20000) n')
        db.execute('ANALYZE identity.account')

        def read():
            return db.execute(
                'SELECT seq_tup_read, idx_tup_fetch FROM'
                ' pg_stat_xact_user_tables'
                " WHERE relid = 'identity.account'::regclass").fetchone()

        for query, wanted, most in (
                ({'q': word}, [who.id], 2600), ({'q': who.id}, [who.id], 2600),
                ({'q': who.email}, [who.id], 2600), ({'q': 'm'}, None, 2600),
                ({'q': '+99', 'role': 'client'}, None, 5000),
                ({'role': 'admin'}, None, 500), ({}, None, 500),
                ({'blocked': 'true'}, None, 500)):
            before = read()
            page, = db.execute(
                'SELECT body FROM api.admin_users(%s, %s, 50, NULL)',
                (boss.number, json.dumps(query))).fetchone()
            after = read()
            assert wanted in (None, [u['id'] for u in page['data']]), query
            assert after[0] == before[0], f'{query}: all accounts were read'
            assert after[1] - before[1] < most, query


def test_l8_one_account(stack, boss):
    talk = Consultation(stack).active()
    told = ok(stack.rest.get(f'/api/admin/users/{talk.client.id}',
                             boss.token))
    assert (told['session'], told['wallets'][0]['kind']) == (talk.id,
                                                             'client')
    assert told['wallets'][0]['balance']['amount'] > 0
    talk.end()
    told = ok(stack.rest.get(f'/api/admin/users/{talk.advisor.id}',
                             boss.token))
    assert told['advisor'] == {'approved': True, 'commission_bps': 3000}
    assert told['session'] is None and told['acts'] == []
    problem(stack.rest.get(f'/api/admin/users/u_{10 ** 12}', boss.token), 404,
            'not_found')


def test_l8_edit(stack, boss):
    who, other = stack.person(), stack.person()
    email = f'{uuid.uuid4().hex}@Example.com'
    told = put(stack, boss, who.id, {'name': ' Asha ', 'email': email,
                                     'reason': 'as she asked'})
    assert (told['name'], told['email']) == ('Asha', email.lower())
    assert ok(stack.rest.get('/api/me', who.token))['email'] == email.lower()
    assert acts(stack, boss, who.id) == [
        ('user_edit', {'fields': ['name', 'email'],
                       'reason': 'as she asked'})]
    for body, status, code, field in (
            ({'email': other.email.upper()}, 409, 'conflict', '/email'),
            ({'email': 'x y@z'}, 400, 'bad_request', '/email'),
            ({'name': ' '}, 400, 'bad_request', '/name'),
            ({'role': 'king'}, 400, 'bad_request', '/role')):
        said = problem(stack.rest.call('PUT', f'/api/admin/users/{who.id}',
                                       body, boss.token), status, code)
        assert said['errors'][0]['pointer'] == field
    problem(stack.rest.call('PUT', f'/api/admin/users/u_{10 ** 12}',
                            {'name': 'x'}, boss.token), 404, 'not_found')


def test_l8_roles(stack, boss):
    """A new role ends all tokens, and not while a session is live; nobody
    changes his own."""
    who = stack.person()
    client = who.connect()
    put(stack, boss, who.id, {'role': 'advisor'})
    gone(client, 4401)
    eventually(lambda: {stack.rest.get('/api/wallet', who.token).status
                        for _ in range(6)} == {401}, WITHIN + 5)
    now = {'iat': int(time.time()) + 1}
    me = ok(stack.rest.get('/api/advisors/me', stack.jwt(
        who.number, 'advisor', **now)))
    assert me['approved'] is False
    assert ok(stack.rest.get('/api/wallet', stack.jwt(
        who.number, 'advisor', **now)))['balance']['amount'] == 0
    problem(stack.rest.call('PUT', f'/api/admin/users/{boss.id}',
                            {'role': 'client'}, boss.token), 403, 'forbidden')

    rich = stack.person(balance=1)
    said = problem(stack.rest.call('PUT', f'/api/admin/users/{rich.id}',
                                   {'role': 'advisor'}, boss.token), 409,
                   'conflict')
    assert said['errors'][0]['pointer'] == '/role'

    talk = Consultation(stack).active()
    for party in (talk.client, talk.advisor):
        problem(stack.rest.call('PUT', f'/api/admin/users/{party.id}',
                                {'role': 'admin'}, boss.token), 409,
                'session_state')
    talk.end()


def test_l8_two_admins_at_once(stack):
    """Who take each other's role away, or block each other: one is left."""
    for body, path in (({'role': 'client'}, ''),
                       ({'blocked': True, 'reason': 'x'}, '/blocked')):
        for _ in range(4):
            pair = [stack.person('admin') for _ in range(2)]
            with concurrent.futures.ThreadPoolExecutor(2) as pool:
                said = list(pool.map(lambda i: stack.rest.call(
                    'PUT', f'/api/admin/users/{pair[1 - i].id}{path}', body,
                    pair[i].token).status, range(2)))
            with stack.db() as db:
                left = db.execute(
                    "SELECT count(*) FROM identity.account WHERE role ="
                    " 'admin' AND NOT blocked AND id = ANY(%s)",
                    ([p.number for p in pair],)).fetchone()[0]
            assert left == 1
            assert sorted(said) in ([200, 403], [200, 401])


def test_l8_a_blocked_user_logs_in_nowhere(stack, rest, boss):
    """By password, with a token, refreshed, by cookie, over a WebSocket (by a
    code and of another issuer: test_auth_otp, test_auth_outside)."""
    email, password = f'{uuid.uuid4().hex}@example.com', 'a long password'
    made = ok(rest.post('/api/auth/register', {
        'email': email, 'password': password, 'name': 'Asha'}), 201)
    login = {'email': email, 'password': password}
    first = ok(rest.post('/api/auth/login', login))
    cookies = rest.post('/api/auth/login', {**login, 'cookie': True})
    assert cookies.status == 200
    jar = '; '.join(c.split(';')[0]
                    for c in cookies.headers.get_all('Set-Cookie'))
    user = made['user']['id'] if 'user' in made else made['id']

    put(stack, boss, f'{user}/blocked', {'blocked': True, 'reason': 'abuse'})
    problem(rest.post('/api/auth/login', login), 403, 'forbidden')
    problem(rest.post('/api/auth/refresh', {
        'refresh_token': first['refresh_token']}), 403, 'forbidden')
    eventually(lambda: {rest.get('/api/me', first['token']).status
                        for _ in range(6)} == {401}, 5)
    eventually(lambda: {rest.get('/api/me', headers={'Cookie': jar}).status
                        for _ in range(6)} == {401}, 5)
    client = stack.connect()
    client.request('hello', {'token': first['token']})
    gone(client, 4403, 5)
    assert acts(stack, boss, user) == [
        ('user_block', {'blocked': True, 'reason': 'abuse'})]

    put(stack, boss, f'{user}/blocked', {'blocked': False})
    assert rest.post('/api/auth/login', login).status == 200
    for body, field in (({'blocked': True}, '/reason'), ({}, '/blocked')):
        said = problem(rest.call('PUT', f'/api/admin/users/{user}/blocked',
                                 body, boss.token), 400, 'bad_request')
        assert said['errors'][0]['pointer'] == field
    problem(rest.call('PUT', f'/api/admin/users/{boss.id}/blocked',
                      {'blocked': True, 'reason': 'x'}, boss.token), 403,
            'forbidden')
    problem(rest.call('PUT', f'/api/admin/users/u_{10 ** 12}/blocked',
                      {'blocked': True, 'reason': 'x'}, boss.token), 404,
            'not_found')


@pytest.mark.parametrize('who', ['client', 'advisor'])
def test_l4_blocked_in_a_session(stack, boss, who):
    """Sockets on each worker close with 4403 within a second; the session is
    over for the other party, once, and the books are right."""
    talk = Consultation(stack).active()
    bad = getattr(talk, who)
    near, (other, peer) = bad.client, (
        (talk.advisor, talk.a) if who == 'client' else (talk.client, talk.c))
    bad.device = str(uuid.uuid4())
    far = bad.connect(away_from=near.worker)
    began = time.monotonic()
    put(stack, boss, f'{bad.id}/blocked', {'blocked': True,
                                           'reason': 'abuse'})
    for client in (near, far):
        gone(client, 4403)
    assert time.monotonic() - began < 2 * WITHIN
    end = peer.expect('session_end')['payload']
    assert (end['session'], end['reason'], end['by']) == (talk.id, 'blocked',
                                                          None)
    peer.quiet('session_end', 0.5)
    assert peer.call('ping', {}) == {}
    talk.assert_settled()
    assert [m['payload']['state'] for m in peer.messages
            if m['type'] == 'session_update'][-1:] in ([], ['ended'])
    assert acts(stack, boss, bad.id) == [
        ('user_block', {'blocked': True, 'reason': 'abuse',
                        'session': talk.id})]


@pytest.mark.parametrize('when', ['ringing', 'active'])
def test_d10_an_admin_ends_it(stack, boss, when):
    """Exactly one end, with its reason, to each party."""
    talk = Consultation(stack)
    if when == 'active':
        talk.active()
    else:
        talk.connect().ring()
    path = f'/api/admin/sessions/{talk.id}/end'
    problem(stack.rest.post(path, {}, talk.client.token), 403, 'forbidden')
    told = ok(stack.rest.post(path, {'reason': 'abuse'}, boss.token))
    assert (told['state'], told['reason']) == ('ended', 'admin')
    end = talk.ended()
    assert (end['reason'], end['by']) == ('admin', None)
    again = ok(stack.rest.post(path, None, boss.token))
    assert again['dup'] is True
    for party in (talk.c, talk.a):
        party.quiet('session_end', 0.4)
    assert talk.c.refused('session_accept', talk.this)['code']
    if when == 'active':
        talk.assert_settled()
    with stack.db() as db:
        assert db.execute(
            "SELECT count(*) FROM consult.event WHERE type = 'session_end'"
            " AND payload ->> 'session' = %s", (talk.id,)).fetchone() == (1,)
    assert acts(stack, boss, talk.id) == [
        ('session_end', {'reason': 'abuse', 'dup': False}),
        ('session_end', {'dup': True})]
    problem(stack.rest.post(f'/api/admin/sessions/s_{10 ** 12}/end', {},
                            boss.token), 404, 'not_found')


def test_l4_the_live_list(stack, boss):
    talk, over = Consultation(stack).active(), Consultation(stack).active()
    over.end()

    def listed(query):
        page = ok(stack.rest.get(f'/api/admin/sessions?{query}', boss.token))
        return [s['session'] for s in page['data']]

    assert talk.id in listed('state=live') and talk.id in listed('limit=5')
    assert talk.id in listed('state=active')
    assert over.id not in listed('state=live')
    assert over.id in listed('state=ended')
    for party in (talk.client, talk.advisor):
        assert listed(f'user={party.id}') == [talk.id]
        assert listed(f'user={party.id}&state=live') == [talk.id]
        assert listed(f'user={party.id}&state=ended') == []
    first = ok(stack.rest.get('/api/admin/sessions?limit=1', boss.token))
    second = ok(stack.rest.get('/api/admin/sessions?limit=1&cursor='
                               f"{first['next_cursor']}", boss.token))
    assert first['data'] != second['data'] and second['data']
    at = second['data'][0]['created_at']
    assert over.id not in listed(f'from={at}&to={at}')
    problem(stack.rest.get('/api/admin/sessions?state=x', boss.token), 400,
            'bad_request')
    problem(stack.rest.get('/api/admin/sessions', talk.client.token), 403,
            'forbidden')
    talk.end()


def test_l4_disconnect(stack, boss):
    """One, then all: closed with a code that says come back, on each worker;
    whoever comes back is where he was, and stays."""
    talk, other = Consultation(stack).active(), stack.person()
    stays = other.connect()
    told = ok(stack.rest.post('/api/admin/disconnect', {
        'user': talk.client.id, 'reason': 'stuck'}, boss.token))
    assert told == {'user': talk.client.id}
    bye = talk.c.expect('bye')['payload']
    assert (bye['code'], bye['action']) == (4503, 'resume')
    gone(talk.c, 4503)
    talk.client.connect(resume=True)
    talk.c.call('session_join', talk.this)
    assert stays.call('ping', {}) == {}
    assert talk.a.call('ping', {}) == {}

    assert ok(stack.rest.post('/api/admin/disconnect', None, boss.token)) == {
        'user': None}
    for client in (stays, talk.c, talk.a):
        gone(client, 4503)
    back = [p.connect(resume=True)
            for p in (other, talk.client, talk.advisor)]
    talk.join()
    time.sleep(1.2)                     # every worker has looked again
    for client in back:
        assert client.call('ping', {}) == {}
    talk.end()
    assert ('disconnect', {'reason': 'stuck'}) in acts(stack, boss,
                                                       talk.client.id)
    problem(stack.rest.post('/api/admin/disconnect', {
        'user': f'u_{10 ** 12}'}, boss.token), 404, 'not_found')


def test_l8_signed_out_by_an_admin(stack, boss):
    who = stack.person()
    client = who.connect()
    ok(stack.rest.post(f'/api/admin/users/{who.id}/logout', None, boss.token))
    gone(client, 4401)
    assert acts(stack, boss, who.id) == [('tokens_revoke', {})]
