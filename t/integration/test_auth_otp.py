"""Codes by phone: asked for at nginx, sent by the billing worker to a vendor
of ours, good once; and in no table, no log and no error in clear."""

import os
import re
import tempfile
import threading
import uuid

import pytest

from astro.fixtures import watch
from astro.stack import Stack, eventually
from vendor_fixture import Vendor

REQUEST, VERIFY = '/api/auth/otp/request', '/api/auth/otp/verify'
PHONE = '/api/me/phone'
ACCOUNT = 'AC' + '0' * 32


@pytest.fixture(scope='module')
def vendor():
    vendor = Vendor('twilio', key=f'{ACCOUNT}:token')
    os.chmod(vendor.home, 0o755)
    os.chmod(vendor.key_file, 0o644)
    yield vendor
    vendor.close()


@pytest.fixture(scope='module')
def otp_stack(vendor):
    with tempfile.TemporaryDirectory(prefix='astro-otp-') as folder:
        os.chmod(folder, 0o755)
        key = uuid.uuid4().hex + uuid.uuid4().hex
        for name, mode in (('nginx', 0o600), ('worker', 0o644)):
            with open(f'{folder}/{name}', 'w', encoding='ascii') as f:
                f.write(key + '\n')
            os.chmod(f'{folder}/{name}', mode)
        stack = Stack({'astro_otp_key_file': f'{folder}/nginx'},
                      worker_settings={'sms_url': vendor.url,
                                       'sms_key_file': vendor.key_file,
                                       'sms_from': '+15550100',
                                       'otp_key_file': f'{folder}/worker',
                                       'log_level': 'debug'})
        try:
            yield stack.up()
        finally:
            stack.down(dump=True)


@pytest.fixture
def stack(otp_stack, vendor):
    vendor.faults()
    yield from watch(otp_stack)


def number(end=''):
    return f'+91{uuid.uuid4().int % 10**9:09}'[:13 - len(end)] + end


def sent(vendor, phone):
    """The codes that the vendor has for that number."""
    return [re.search(r'\b(\d{6})\b', m['body']).group(1)
            for m in vendor.books('message') if m['to'] == phone]


def code(vendor, phone, n=1):
    return eventually(lambda: sent(vendor, phone)[n - 1:n], 15,
                      f'message {n} to {phone}')[0]


def another(right, n=1):
    return f'{(int(right) + n) % 10**6:06}'


def past(stack, seconds, phone=None):
    """What was asked for, for this number or at all, was so long ago."""
    with stack.db() as db:
        db.execute("UPDATE identity.otp SET made_at = made_at - %s *"
                   " interval '1 s', ends_at = ends_at - %s * interval '1 s'"
                   ' WHERE phone = coalesce(%s, phone)',
                   (seconds, seconds, phone))


def ask(stack, phone):
    answer = stack.rest.post(REQUEST, {'phone': phone})
    assert answer.status == 202, answer
    assert {k: v for k, v in answer.json.items() if k != 'challenge'} \
        == {'expires_in': 300, 'resend_in': 30}
    return answer.json['challenge']


def give(stack, challenge, digits, **more):
    return stack.rest.post(VERIFY, {'challenge': challenge, 'code': digits,
                                    **more})


def prove(stack, vendor, person, phone):
    past(stack, 3600 * 24)
    n = len(sent(vendor, phone))
    asked = stack.rest.post(PHONE, {'phone': phone}, person.token)
    assert asked.status == 202, asked
    return stack.rest.post(f'{PHONE}/verify', {
        'challenge': asked.json['challenge'],
        'code': code(vendor, phone, n + 1)}, person.token)


@pytest.fixture
def known(stack, vendor):
    """(person, phone): the number was proven to be his."""
    person, phone = stack.person(), number()
    answer = prove(stack, vendor, person, phone)
    assert answer.status == 200, answer
    assert answer.json['phone'] == phone
    past(stack, 3600 * 24)
    return person, phone


def test_a4_a_code_logs_in_once(stack, vendor, known):
    person, phone = known
    assert stack.rest.get(PHONE, person.token).json['phone'] == phone
    challenge = ask(stack, phone)
    right = code(vendor, phone, 2)
    answer = give(stack, challenge, right)
    assert answer.status == 200, answer
    assert answer.json['user'] == {'id': f'u_{person.number}',
                                   'role': 'client'}
    assert stack.rest.get('/api/me', answer.json['token']).status == 200
    again = give(stack, challenge, right)
    assert (again.status, again.code) == (401, 'unauthorized')

    # a number that was given up signs nobody in
    past(stack, 60)
    challenge = ask(stack, phone)
    right = code(vendor, phone, 3)
    assert stack.rest.call('DELETE', PHONE, token=person.token).status == 204
    assert stack.rest.get(PHONE, person.token).status == 404
    past(stack, 60)
    challenge = ask(stack, phone)
    assert give(stack, challenge, right).status == 401


def test_l8_blocked_by_an_admin_a_code_signs_nobody_in(stack, vendor, known):
    person, phone = known
    challenge = ask(stack, phone)
    right = code(vendor, phone, 2)
    admin = stack.person('admin')
    answer = stack.rest.call('PUT', f'/api/admin/users/{person.id}/blocked',
                             {'blocked': True, 'reason': 'x'}, admin.token)
    assert answer.status == 200 and answer.json['phone'] == phone
    answer = give(stack, challenge, right)
    assert (answer.status, answer.code) == (403, 'forbidden')


def test_a4_five_wrong_tries_or_five_minutes_end_it(stack, vendor, known):
    _, phone = known
    challenge = ask(stack, phone)
    right = code(vendor, phone, 2)
    answers = [give(stack, challenge, another(right, n)) for n in range(1, 5)]
    assert {(a.status, a.code) for a in answers} == {(401, 'unauthorized')}
    # the fifth may still be right
    assert give(stack, challenge, right).status == 200

    past(stack, 60)
    challenge = ask(stack, phone)
    right = code(vendor, phone, 3)
    for n in range(1, 6):
        assert give(stack, challenge, another(right, n)).status == 401
    assert give(stack, challenge, right).status == 401

    past(stack, 60)
    challenge = ask(stack, phone)
    right = code(vendor, phone, 4)
    past(stack, 299, phone)
    with stack.db() as db:
        db.execute('UPDATE identity.otp SET ends_at = now() WHERE id = %s',
                   (challenge,))
    assert give(stack, challenge, right).status == 401


def test_a4_who_has_no_account_is_told_the_same(stack, vendor, known):
    _, phone = known
    stranger = number()
    a = stack.rest.post(REQUEST, {'phone': phone})
    b = stack.rest.post(REQUEST, {'phone': stranger})
    assert a.status == b.status == 202
    for answer in (a, b):
        assert set(answer.json) == {'challenge', 'expires_in', 'resend_in'}
    assert {k for k in a.headers} == {k for k in b.headers}
    code(vendor, phone, 2)
    assert not sent(vendor, stranger)
    c, d = (stack.rest.post(REQUEST, {'phone': p}) for p in (phone, stranger))
    assert c.status == d.status == 429 and c.code == d.code == 'rate_limited'
    for answer in (c, d):
        assert 25 <= int(answer.headers['Retry-After']) <= 30
    with stack.db() as db:
        assert db.execute("SELECT count(*) FROM billing.outbox WHERE kind ="
                          " 'otp' AND body LIKE %s",
                          (f'%{stranger[1:]}%',)).fetchone() == (0,)


def test_a4_how_often_by_number_and_by_address(stack, vendor):
    phone = number()
    past(stack, 3600 * 25)

    def asked(times, least, most):
        for n in range(times):
            ask(stack, phone)
            past(stack, 31)
        answer = stack.rest.post(REQUEST, {'phone': phone})
        assert answer.status == 429
        assert least < int(answer.headers['Retry-After']) < most

    def elsewhere():
        """All that were asked for so far were, from another address."""
        with stack.db() as db:
            db.execute("UPDATE identity.otp SET origin = sha256('elsewhere')"
                       ' WHERE phone = %s', (phone,))

    # of what a number has, one address has a part: 3 of 5, 6 of 10
    asked(3, 3000, 3600)
    elsewhere()
    asked(2, 3000, 3600)
    past(stack, 3600)
    asked(3, 3000, 3600)
    past(stack, 3600)
    asked(1, 3600, 86400)
    elsewhere()
    asked(1, 3600, 86400)
    past(stack, 3600)
    elsewhere()
    asked(0, 3600, 86400)

    # from one address to many numbers
    past(stack, 3600 * 25)
    for n in range(20):
        ask(stack, number())
    assert stack.rest.post(REQUEST, {'phone': number()}).status == 429
    past(stack, 3600 * 25)


def test_a4_of_many_at_once_one_is_sent_and_one_logs_in(stack, vendor, known):
    _, phone = known
    found = []

    def at_once(do, n=6):
        found.clear()
        threads = [threading.Thread(target=lambda: found.append(do()))
                   for _ in range(n)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sorted(a.status for a in found)

    assert at_once(lambda: stack.rest.post(REQUEST, {'phone': phone})) \
        == [202] + [429] * 5
    challenge, = [a.json['challenge'] for a in found if a.status == 202]
    right = code(vendor, phone, 2)
    assert at_once(lambda: give(stack, challenge, right)) \
        == [200] + [401] * 5


def test_a4_a_number_is_one_persons(stack, vendor, known):
    person, phone = known
    other = stack.person()
    answer = prove(stack, vendor, other, phone)
    assert (answer.status, answer.code) == (409, 'conflict')
    # nor is a challenge anybody else's
    mine = number()
    past(stack, 3600 * 24)
    asked = stack.rest.post(PHONE, {'phone': mine}, person.token)
    right = code(vendor, mine)
    body = {'challenge': asked.json['challenge'], 'code': right}
    answer = stack.rest.post(f'{PHONE}/verify', body, other.token)
    assert (answer.status, answer.code) == (400, 'bad_request')
    assert answer.json['errors'][0]['pointer'] == '/code'
    assert give(stack, **{'challenge': body['challenge'],
                          'digits': right}).status == 401
    assert stack.rest.post(f'{PHONE}/verify', body,
                           person.token).json['phone'] == mine


@pytest.mark.parametrize('path, body, field', [
    (REQUEST, {}, '/phone'), (REQUEST, {'phone': '0049301234567'}, '/phone'),
    (REQUEST, {'phone': '+0123456789'}, '/phone'),
    (REQUEST, {'phone': '+12'}, '/phone'),
    (REQUEST, {'phone': '+1234567890123456'}, '/phone'),
    (REQUEST, {'phone': '+1234+567890'}, '/phone'),
    (REQUEST, {'phone': '+123456789\x00'}, None),
    (REQUEST, {'phone': 123456789}, '/phone'),
    (VERIFY, {'code': '123456'}, '/challenge'),
    (VERIFY, {'code': '123456', 'challenge': 'A' * 32}, '/challenge'),
    (VERIFY, {'code': '12345', 'challenge': 'a' * 32}, '/code'),
    (VERIFY, {'code': 123456, 'challenge': 'a' * 32}, '/code'),
    (VERIFY, {'code': '12345x', 'challenge': 'a' * 32}, '/code'),
    (VERIFY, {'code': '123456', 'challenge': 'a' * 32, 'cookie': 1},
     '/cookie')])
def test_a4_what_is_wrong_is_named(stack, path, body, field):
    answer = stack.rest.post(path, body)
    assert (answer.status, answer.code) == (400, 'bad_request'), answer
    if field:
        assert answer.json['errors'][0]['pointer'] == field


def test_a4_cookies(stack, vendor, known):
    _, phone = known
    challenge = ask(stack, phone)
    answer = give(stack, challenge, code(vendor, phone, 2), cookie=True)
    assert answer.status == 200 and 'token' not in answer.json
    assert '__Host-astro=' in answer.headers['Set-Cookie']


def test_a4_the_code_is_nowhere_in_clear(stack, vendor, known):
    """Not in the outbox while it waits, nor afterwards; not in a log, though
    the vendor repeats what it was told in its error."""
    person, phone = known
    vendor.faults(limit=1, retry_after_s=1)
    challenge = ask(stack, phone)
    with stack.db() as db:
        body, waits = db.execute(
            'SELECT body, state FROM billing.outbox WHERE key = %s',
            (f'otp-{challenge}',)).fetchone()
    assert '{code}' in body and waits == 'waiting'
    vendor.faults()
    secret = code(vendor, phone, 2)

    echoed = number('0000000')
    assert stack.rest.post(PHONE, {'phone': echoed}, person.token).status \
        == 202

    def ended():
        with stack.db() as db:
            return db.execute(
                "SELECT count(*) FILTER (WHERE ended_at IS NULL), count(*)"
                " FROM billing.outbox WHERE kind = 'otp'").fetchone()[0] == 0
    eventually(ended, 15, 'all sent or refused')
    nonce = body.split('{nonce}=')[1]
    give(stack, challenge, another(secret))

    with stack.db() as db:
        rows = db.execute("SELECT o::text, o.body, o.state, o.error FROM"
                          " billing.outbox o WHERE kind = 'otp'"
                          ' ORDER BY id').fetchall()
        otp = db.execute('SELECT o::text FROM identity.otp o').fetchall()
    assert {row[1] for row in rows} == {''}
    assert rows[-1][2:] == ('refused', "the vendor's code: 21612")
    everything = '\n'.join([row[0] for row in rows + otp]
                           + [stack.log(name) for name in
                              os.listdir(f'{stack.var}/log')
                              if os.path.isfile(f'{stack.var}/log/{name}')])
    assert nonce not in everything
    for digits in (*sent(vendor, phone), another(secret)):
        # a number is not a code: it stands alone, or in the message
        assert f'code is {digits}' not in everything
        assert not re.search(rf'code[^a-z0-9]{{1,4}}{digits}\b', everything)


def test_a4_too_late_is_not_sent(stack, vendor, known):
    person, phone = known
    vendor.faults(closed=True)
    challenge = ask(stack, phone)
    with stack.db() as db:
        db.execute('UPDATE billing.outbox SET until = now() WHERE key = %s',
                   (f'otp-{challenge}',))

    def state():
        with stack.db() as db:
            return db.execute('SELECT state, body FROM billing.outbox WHERE'
                              ' key = %s', (f'otp-{challenge}',)).fetchone() \
                == ('refused', '')
    eventually(state, 20, 'given up')
    vendor.faults()
    past(stack, 60)
    ask(stack, phone)
    code(vendor, phone, 2)
    assert len(sent(vendor, phone)) == 2
