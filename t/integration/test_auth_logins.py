"""Logins from the password to the last token's end: refresh, logout,
revocation, cookies, new tokens in band."""

import http.cookies
import os
import threading
import time
import uuid

import pytest

from astro.client import Refused
from astro.stack import eventually
from astro.ws import SLOW

PASSWORD = 'correct horse battery'
LOGIN, REFRESH, LOGOUT = (f'/api/auth/{name}'
                          for name in ('login', 'refresh', 'logout'))


@pytest.fixture
def account(stack):
    """(email, number) of a client with a password."""
    email = f'{uuid.uuid4().hex[:12]}@test.test'
    answer = stack.rest.post('/api/auth/register', {
        'email': email, 'password': PASSWORD, 'name': 'L'})
    assert answer.status == 201, answer
    return email, int(answer.json['id'][2:])


def login(stack, email, **more):
    answer = stack.rest.post(LOGIN, {'email': email, 'password': PASSWORD,
                                     **more})
    assert answer.status == 200, answer
    return answer


def refresh(stack, token):
    return stack.rest.post(REFRESH, {'refresh_token': token})


def works(stack, token):
    """0, 200 or 401 of every worker: asked often enough to meet both."""
    return {stack.rest.get('/api/me', token).status for _ in range(10)}


def socket(stack, token):
    client = stack.connect()
    client.hello(token)
    return client


# -- A1 --------------------------------------------------------------------

def test_a1_hashing_takes_second_place(stack, account):
    """A thread that hashes is nicer than all others, and leaves half of the
    cores to them."""
    email, _ = account
    found, over = set(), threading.Event()      # (niceness, cores)

    def look():
        while not over.is_set():
            for pid in stack.serving():
                for task in os.listdir(f'/proc/{pid}/task'):
                    try:
                        with open(f'/proc/{pid}/task/{task}/stat',
                                  encoding='ascii') as f:
                            nice = int(f.read().rpartition(')')[2].split()[16])
                        found.add((nice, len(os.sched_getaffinity(int(task)))))
                    except (FileNotFoundError, ProcessLookupError):
                        pass

    def aside():
        (nice, cores), *_ = sorted(found)
        return (min(nice + 10, 19), cores - cores // 2) in found

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        eventually(lambda: login(stack, email) and aside(), 10,
                   'a nicer thread on half of the cores')
    finally:
        over.set()
        watcher.join()
    assert len({nice for nice, _ in found}) == 2, found


def test_a1_a_login_works_over_rest_and_websocket(stack, account):
    email, number = account
    answer = login(stack, email)
    assert answer.headers['Cache-Control'] == 'no-store'
    body = answer.json
    assert body['token_type'] == 'Bearer'
    assert body['user'] == {'id': f'u_{number}', 'role': 'client'}
    assert stack.rest.get('/api/me', body['token']).json['email'] == email
    assert socket(stack, body['token']).me['user'] == f'u_{number}'

    for wrong in ({'password': 'wrong'}, {'email': 'nobody@test.test'}):
        answer = stack.rest.post(LOGIN, {'email': email,
                                         'password': PASSWORD, **wrong})
        assert (answer.status, answer.code) == (401, 'unauthorized')

    with stack.db() as db:
        stored, = db.execute('SELECT password_hash FROM identity.account'
                             ' WHERE id = %s', (number,)).fetchone()
        secrets = db.execute('SELECT l::text FROM identity.login l'
                             ' WHERE account_id = %s', (number,)).fetchall()
    assert stored.startswith('$scrypt$') or 'scrypt' in stored
    assert PASSWORD not in stored
    secret = body['refresh_token'].split('.')[2]
    assert secrets and not any(secret in row[0] for row in secrets)
    assert secret not in stack.log() and secret not in stack.log('access.log')


def test_a1_who_has_an_account_cannot_be_told_by_the_time(stack, account):
    """A password is hashed, slowly, for those who are nobody, too; and no two
    of the same password are alike."""
    email, _ = account
    took = {email: [], 'nobody@test.test': []}
    for _ in range(5):
        for who, times in took.items():
            began = time.perf_counter()
            answer = stack.rest.post(LOGIN, {'email': who,
                                             'password': 'wrong'})
            times.append(time.perf_counter() - began)
            assert (answer.status, answer.code) == (401, 'unauthorized')
    known, unknown = (min(times) for times in took.values())
    assert 0.4 < known / unknown < 2.5, took
    assert known > 0.005

    other = f'{uuid.uuid4().hex[:12]}@test.test'
    assert stack.rest.post('/api/auth/register', {
        'email': other, 'password': PASSWORD, 'name': 'L'}).status == 201
    with stack.db() as db:
        hashes = [row[0] for row in db.execute(
            'SELECT password_hash FROM identity.account WHERE email = ANY(%s)',
            ([email, other],)).fetchall()]
    assert len(set(hashes)) == 2


# -- A7 --------------------------------------------------------------------

def test_a7_a_refresh_token_is_good_once_and_its_copy_ends_the_login(
        stack, account):
    email, _ = account
    first = login(stack, email).json
    second = refresh(stack, first['refresh_token'])
    assert second.status == 200, second
    assert second.json['user'] == first['user']
    third = refresh(stack, second.json['refresh_token']).json
    assert len({first['token'], second.json['token'], third['token']}) == 3
    assert works(stack, third['token']) == {200}
    other = login(stack, email).json
    client = socket(stack, third['token'])
    stays = socket(stack, other['token'])

    # the second of them comes again: whoever has the third is signed out, too
    answer = refresh(stack, second.json['refresh_token'])
    assert (answer.status, answer.code) == (401, 'unauthorized')
    assert client.wait_close() == 4401
    assert refresh(stack, third['refresh_token']).status == 401
    for token in (first['token'], third['token']):
        eventually(lambda: works(stack, token) == {401}, 2)

    # another device is not touched
    assert works(stack, other['token']) == {200}
    assert stays.call('ping') == {}
    assert refresh(stack, other['refresh_token']).status == 200


def test_a7_of_many_at_once_one_refreshes(stack, account):
    token = login(stack, account[0]).json['refresh_token']
    found = []
    threads = [threading.Thread(
        target=lambda: found.append(refresh(stack, token).status))
        for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [200] + [401] * 7


@pytest.mark.parametrize('wrong', [
    '', 'x', '1.2.3', '0.' + 'a' * 32 + '.' + 'b' * 43,
    '1.' + 'a' * 32 + '.' + 'b' * 43, '1.' + 'A' * 32 + '.' + 'b' * 43,
    '99999999999999999999.' + 'a' * 32 + '.' + 'b' * 43,
    '-1.' + 'a' * 32 + '.' + 'b' * 43])
def test_a7_what_is_no_refresh_token_is_refused(stack, wrong):
    answer = refresh(stack, wrong)
    assert (answer.status, answer.code) == (401, 'unauthorized')


def test_a7_refresh_says_which_field_is_wrong(stack):
    for body in ({}, {'refresh_token': 5}, {'refresh_token': None}):
        answer = stack.rest.post(REFRESH, body)
        assert (answer.status, answer.code) == (400, 'bad_request')
        assert answer.json['errors'][0]['pointer'] == '/refresh_token'


def test_a7_a_refresh_token_of_somebody_else_or_expired_is_refused(
        stack, account):
    email, number = account
    token = login(stack, email).json['refresh_token']
    other = stack.person()
    _, sid, secret = token.split('.')
    assert refresh(stack, f'{other.number}.{sid}.{secret}').status == 401
    with stack.db() as db:
        db.execute("UPDATE identity.login SET ends_at = now() - interval '1 s'"
                   ' WHERE account_id = %s', (number,))
    assert refresh(stack, token).status == 401

    token = login(stack, email).json['refresh_token']
    with stack.db() as db:
        db.execute('UPDATE identity.account SET blocked = true WHERE id = %s',
                   (number,))
    assert refresh(stack, token).status == 403


@pytest.mark.parametrize('named', ['sid', 'jti'])
def test_a7_logout_reaches_every_worker_and_socket_within_a_second(
        stack, account, named):
    email, number = account
    token = login(stack, email).json['token'] if named == 'sid' \
        else stack.jwt(number, 'client')
    other = login(stack, email).json['token']
    sockets, workers = [], set()
    while workers != stack.serving():
        sockets.append(socket(stack, token))
        workers.add(sockets[-1].worker)
    stays = socket(stack, other)
    assert works(stack, token) == {200}

    answer = stack.rest.post(LOGOUT, {}, token)
    assert (answer.status, answer.json) == (200, {'everywhere': False})
    since = time.monotonic()
    for client in sockets:
        assert client.wait_close() == 4401
    assert time.monotonic() - since < 1 * SLOW
    eventually(lambda: works(stack, token) == {401}, 1)

    late = stack.connect()
    with pytest.raises(Refused) as refused:
        late.hello(token)
    assert refused.value.code == 'unauthorized'
    assert late.wait_close() == 4401
    assert stack.rest.post(LOGOUT, {}, token).status == 401
    assert works(stack, other) == {200}
    assert stays.call('ping') == {}


def test_a7_a_new_worker_knows_what_was_revoked_before(stack, account):
    token = login(stack, account[0]).json['token']
    assert stack.rest.post(LOGOUT, None, token).status == 200
    stack.reload()
    eventually(lambda: works(stack, token) == {401}, 2)


def test_a7_logout_everywhere_and_in_again_at_once(stack, account):
    email, _ = account
    logins = [login(stack, email).json for _ in range(2)]
    clients = [socket(stack, one['token']) for one in logins]
    answer = stack.rest.post(LOGOUT, {'everywhere': True},
                             logins[0]['token'])
    assert (answer.status, answer.json) == (200, {'everywhere': True})
    again = login(stack, email).json

    for client in clients:
        assert client.wait_close() == 4401
    for one in logins:
        eventually(lambda: works(stack, one['token']) == {401}, 2)
        assert refresh(stack, one['refresh_token']).status == 401

    # in the very second of the logout, and for good
    assert works(stack, again['token']) == {200}
    assert refresh(stack, again['refresh_token']).status == 200

    answer = stack.rest.post(LOGOUT, {'everywhere': 1}, again['token'])
    assert (answer.status, answer.json['errors'][0]['pointer']) \
        == (400, '/everywhere')


def test_a7_who_is_signed_out_by_an_admin_cannot_refresh(stack, account):
    email, number = account
    before = login(stack, email).json
    admin = stack.person('admin')
    with stack.db() as db:
        row = db.execute('SELECT status FROM api.tokens_revoke(%s, %s)',
                         (admin.number, number)).fetchone()
        assert row == (200,)
    assert refresh(stack, before['refresh_token']).status == 401
    again = login(stack, email).json
    fresh = refresh(stack, again['refresh_token'])
    assert fresh.status == 200
    assert refresh(stack, fresh.json['refresh_token']).status == 200


def test_a7_a_socket_is_warned_and_goes_on_with_a_new_token(stack, account):
    email, number = account
    other = stack.person()
    client = socket(stack, stack.jwt(number, 'client', ttl=4))
    warned = client.expect('auth_expiring', timeout=3)
    assert 0 < warned['payload']['expires_in'] <= 4

    for token, code in ((other.token, 'forbidden'),
                        (stack.jwt(number, 'advisor'), 'forbidden'),
                        (stack.jwt(number, 'client', ttl=-1),
                         'token_expired'),
                        ('x.y.z', 'unauthorized'), (5, 'bad_request')):
        error = client.refused('auth_refresh', {'token': token})
        assert (error['code'], error['field']) == (code, '/payload/token') \
            or code == 'bad_request'

    fresh = login(stack, email).json['token']
    answer = client.call('auth_refresh', {'token': fresh})
    assert answer['token_exp'] > time.time() + 3600
    client.quiet('bye', 5)
    assert client.call('ping') == {}

    # it is the new token that counts from now on
    assert stack.rest.post(LOGOUT, {}, fresh).status == 200
    assert client.wait_close() == 4401


# -- A6 --------------------------------------------------------------------

def cookies_of(answer):
    found = {}
    for line in answer.headers.get_all('Set-Cookie') or ():
        name, morsel = next(iter(http.cookies.SimpleCookie(line).items()))
        found[name] = morsel
    return found


def test_a6_cookies_are_kept_from_scripts_and_other_sites(stack, account):
    email, number = account
    answer = login(stack, email, cookie=True)
    assert 'token' not in answer.json and 'refresh_token' not in answer.json
    set_ = cookies_of(answer)
    access, again = set_['__Host-astro'], set_['__Secure-astro-refresh']
    for morsel in (access, again):
        assert morsel['httponly'] and morsel['secure']
    assert (access['samesite'], access['path']) == ('Lax', '/')
    assert (again['samesite'], again['path']) == ('Strict', '/api/auth')
    assert not access['domain'] and not again['domain']

    cookie = {'Cookie': f'a=b; __Host-astro={access.value};c=d'}
    origin = {'Origin': f'https://127.0.0.1:{stack.port}'}
    rest = stack.rest
    assert rest.get('/api/me', headers=cookie).json['id'] == f'u_{number}'
    assert rest.get('/api/me', headers={
        'Cookie': f'x__Host-astro={access.value}'}).status == 401
    # a header that is there is meant, however wrong
    assert rest.get('/api/me', 'x.y.z', headers=cookie).status == 401

    client = stack.connect(headers=list(cookie.items()))
    client.hello()
    assert client.me['user'] == f'u_{number}'

    # a change needs to be meant: 403 without
    for more in ({}, {'Origin': 'https://evil.test'}, {'Origin': 'null'},
                 {'X-CSRF-Token': 'x' * 32}, {'X-CSRF-Token': ''},
                 {'Origin': 'https://evil.test',
                  'X-CSRF-Token': answer.json['csrf']}):
        refused = rest.post(LOGOUT, {}, headers={**cookie, **more})
        assert (refused.status, refused.code) == (403, 'forbidden'), more
    assert rest.get('/api/me', headers=cookie).status == 200

    # refreshed by the other cookie, the same way
    old = {'Cookie': f'__Secure-astro-refresh={again.value}'}
    for more in ({}, {'Origin': 'https://evil.test'},
                 {'X-CSRF-Token': answer.json['csrf']}):
        assert rest.post(REFRESH, headers={**old, **more}).status == 403
    fresh = rest.post(REFRESH, headers={**old, **origin})
    assert fresh.status == 200, fresh
    new = cookies_of(fresh)
    assert new['__Secure-astro-refresh'].value != again.value

    # by token, or by origin; and then the cookies are taken away
    cookie = {'Cookie': f'__Host-astro={new["__Host-astro"].value}'}
    assert rest.post(LOGOUT, {'everywhere': 1}, headers={
        **cookie, 'X-CSRF-Token': answer.json['csrf']}).status == 403
    assert rest.post(LOGOUT, {'everywhere': 1}, headers={
        **cookie, 'X-CSRF-Token': fresh.json['csrf']}).status == 400
    gone = rest.post(LOGOUT, {}, headers={**cookie, **origin})
    assert gone.status == 200
    assert all(morsel.value == '' and morsel['max-age'] == '0'
               for morsel in cookies_of(gone).values())
    assert len(cookies_of(gone)) == 2
    assert client.wait_close() == 4401
    eventually(lambda: {rest.get('/api/me', headers=cookie).status
                        for _ in range(8)} == {401}, 2)


def test_a6_cookie_is_true_or_false(stack, account):
    answer = stack.rest.post(LOGIN, {'email': account[0], 'cookie': 'yes',
                                     'password': PASSWORD})
    assert (answer.status, answer.json['errors'][0]['pointer']) \
        == (400, '/cookie')
