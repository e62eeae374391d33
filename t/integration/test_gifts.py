"""Gifts and coupons, over REST and sockets: what is given is paid, and told
once."""

import threading
import time
import uuid

import pytest

from astro.consult import Consultation


@pytest.fixture
def talk(stack):
    talk = Consultation(stack).active()
    yield talk
    talk.end()


def wallet(stack, who, kind='client'):
    with stack.db() as db:
        return db.execute('SELECT balance, promo FROM ledger.wallet WHERE'
                          ' owner_id = %s AND kind = %s',
                          (who.number, kind)).fetchone()


def give(stack, who, path, amount, **more):
    return stack.rest.post(f'/api/{path}/gifts',
                           {'amount': amount, **more}, who.token)


def test_g8_a_gift_in_a_session(stack, talk):
    """The advisor gets it less the commission, both hear of it once, and a
    repeat is the same gift."""
    cid = str(uuid.uuid4())
    before = wallet(stack, talk.client)[0]
    got = wallet(stack, talk.advisor, 'advisor')[0]
    first = give(stack, talk.client, f'sessions/{talk.id}', 1001, cid=cid,
                 note='for you')
    again = give(stack, talk.client, f'sessions/{talk.id}', 1001, cid=cid,
                 note='for you')
    assert (first.status, again.status) == (201, 200)
    assert again.json == {**first.json, 'dup': True}
    other = give(stack, talk.client, f'sessions/{talk.id}', 1002, cid=cid)
    assert (other.status, other.code) == (422, 'idempotency_mismatch')
    frames = [party.expect('gift') for party in (talk.c, talk.a)]
    assert frames[0]['_raw'] == frames[1]['_raw']
    assert frames[0]['seq'] == first.json['seq']
    said = frames[0]['payload']
    assert (said['session'], said['from'], said['amount']['amount'],
            said['note']) == (talk.id, talk.client.id, 1001, 'for you')
    with stack.db() as db:
        rows = db.execute(
            "SELECT amount, fee, about FROM ledger.transfer WHERE kind ="
            " 'gift' AND reference = %s",
            (f'gift:{talk.client.number}:{cid}',)).fetchall()
        bps, = db.execute('SELECT commission_bps FROM consult.session'
                          ' WHERE id = %s', (int(talk.id[2:]),)).fetchone()
    assert rows == [(1001, 1001 * bps // 10000, int(talk.id[2:]))]
    # the session may have been charged meanwhile, too
    assert wallet(stack, talk.client)[0] <= before - 1001
    assert wallet(stack, talk.advisor, 'advisor')[0] >= \
        got + 1001 - 1001 * bps // 10000
    for who, path, status in ((talk.advisor, f'sessions/{talk.id}', 403),
                              (talk.client, 'sessions/s_999999999', 404),
                              (stack.person('client'),
                               f'sessions/{talk.id}', 404)):
        assert give(stack, who, path, 5, cid=str(uuid.uuid4())).status \
            == status


def test_g8_many_at_once_never_overdraw(stack, talk):
    """Twenty at once of a third of what there is: those that fit are paid and
    told, the others are neither."""
    client = stack.person('client')
    with stack.db() as db:
        db.execute('SELECT billing.topup(%s, 3000, %s)',
                   (client.number, uuid.uuid4().hex))
    done = []

    def one():
        answer = give(stack, client, f'advisors/{talk.advisor.id}', 1000,
                      cid=str(uuid.uuid4()))
        done.append((answer.status, answer.code))

    had = wallet(stack, client)[0]
    threads = [threading.Thread(target=one) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    paid = [x for x in done if x == (201, None)]
    assert len(paid) == had // 1000 and len(done) == 20
    assert set(done) - set(paid) == {(402, 'insufficient_balance')}
    assert wallet(stack, client)[0] == had - 1000 * len(paid)
    with stack.db() as db:
        assert db.execute(
            "SELECT count(*) FROM consult.event WHERE sender_id = %s"
            " AND type = 'gift'", (client.number,)).fetchone()[0] \
            == len(paid)
    for _ in paid:
        talk.a.expect('gift', lambda m:
                      m['payload']['from'] == client.id, 20)


def test_h10_a_coupon_is_promo(stack):
    """Spent before cash; each may use it once; what is wrong is told apart by
    nobody, and ten wrong ones are the last."""
    boss, client = stack.person('admin'), stack.person('client')
    advisor = stack.person('advisor')

    def make(who=boss, **doc):
        return stack.rest.post('/api/admin/coupons', doc, who.token)

    def use(code, who=client, **more):
        return stack.rest.post('/api/wallet/coupons', {'code': code, **more},
                               who.token)

    name = 'HELLO' + uuid.uuid4().hex[:8].upper()
    made = make(code=name, amount=700, max_total=2)
    assert made.status == 201 and made.json['code'] == name
    assert make(client, amount=1).status == 403
    assert make(code=name, amount=5).code == 'conflict'
    assert make(amount=5, free_minutes=5).code == 'bad_request'
    had, _ = wallet(stack, client)
    assert use(f' {name[:5].lower()}-{name[5:]}').json['amount']['amount'] \
        == 700
    assert wallet(stack, client) == (had + 700, 700)
    assert use(name).code == 'conflict'
    assert wallet(stack, client) == (had + 700, 700)
    give(stack, client, f'advisors/{advisor.id}', 300, cid=str(uuid.uuid4()))
    assert wallet(stack, client) == (had + 400, 400)
    others = [stack.person('client') for _ in range(2)]
    assert [use(name, who).status for who in others] == [201, 404]
    listed = stack.rest.get('/api/admin/coupons?limit=200',
                            token=boss.token).json['data']
    assert [c['used'] for c in listed if c['code'] == name] == [2]

    late = make(amount=5, expires_at='2020-01-01T00:00:00Z').json
    assert len(late['code']) == 20
    assert use(late['code'], others[0]).code == 'not_found'
    for n in range(9):
        assert use(f'NOSUCHCODE{n}', others[0]).status == 404
    good = make(amount=5).json['code']
    assert use(good, others[0]).code == 'rate_limited'
    assert use(good, others[1]).status == 201


def test_h10_free_minutes_with_an_advisor(stack):
    """They are the client's with that advisor alone, and used once."""
    boss, other = stack.person('admin'), stack.person('advisor')
    talk = Consultation(stack)
    made = stack.rest.post('/api/admin/coupons', {'free_minutes': 5},
                           boss.token).json['code']

    def use(**more):
        return stack.rest.post('/api/wallet/coupons', {'code': made, **more},
                               talk.client.token)

    assert use().code == 'bad_request'
    assert use(advisor=talk.client.id).code == 'bad_request'
    done = use(advisor=talk.advisor.id)
    assert (done.json['free_minutes'], done.json['advisor']) \
        == (5, talk.advisor.id)
    assert use(advisor=other.id).code == 'conflict'
    talk.active()
    assert talk.row()['free_ms'] == 300000
    talk.end()
    used = talk.row()
    assert used['charged'] == 0
    talk.cid = str(uuid.uuid4())
    talk.ring()
    assert talk.row()['free_ms'] == 300000 - used['billed_ms']
    talk.end()


def test_x7_limits_over_rest(stack):
    """Lower is at once and higher is tomorrow; who has shut themselves out
    begins nothing."""
    path, who = '/api/me/limits', stack.person('client', 100000)
    advisor = stack.person('advisor')
    advisor.connect()
    assert stack.rest.get(path, who.token).json['day'] is None

    lower = stack.rest.call('PUT', path, {'day': 500}, who.token)
    assert (lower.status, lower.json['day']['amount']) == (200, 500)
    higher = stack.rest.call('PUT', path, {'day': 900},
                             who.token).json
    assert higher['day']['amount'] == 500
    assert higher['day_next']['limit']['amount'] == 900
    assert stack.rest.get(path, who.token).json == higher

    until = int((time.time() + 86400) * 1000)
    out = stack.rest.call('PUT', path, {'excluded_until': until}, who.token)
    assert out.json['excluded_until'], out
    sooner = stack.rest.call('PUT', path, {'excluded_until': until - 3600000},
                            who.token)
    assert stack.rest.get(path, who.token).json['excluded_until'] \
        == out.json['excluded_until'], sooner
    begun = stack.rest.post('/api/sessions', {
        'advisor': advisor.id, 'service': 'chat', 'cid': str(uuid.uuid4())},
        who.token)
    assert (begun.status, begun.code) == (403, 'forbidden')


def test_g8_who_has_left_is_given_nothing(stack):
    """A session, or a conversation, of before changes nothing about it."""
    talk = Consultation(stack).active()
    talk.end()
    cid = str(uuid.uuid4())
    with stack.db() as db:
        db.execute('UPDATE identity.account SET blocked = true WHERE id = %s',
                   (talk.advisor.number,))
    had = wallet(stack, talk.client)
    for path in (f'sessions/{talk.id}', f'advisors/{talk.advisor.id}'):
        refused = give(stack, talk.client, path, 5, cid=cid)
        assert (refused.status, refused.code) == (404, 'not_found')
    assert wallet(stack, talk.client) == had
    with stack.db() as db:
        db.execute('UPDATE identity.account SET blocked = false WHERE id = %s',
                   (talk.advisor.number,))
    assert give(stack, talk.client, f'sessions/{talk.id}', 5,
                cid=cid).status == 201
