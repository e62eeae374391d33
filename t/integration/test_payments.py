"""Payments that clients begin: asked for at nginx, made by the billing worker
at vendors of ours, credited by the vendor's word alone, once."""

import json
import os
import random
import re
import subprocess
import tempfile
import time
import uuid

import psycopg
import pytest

from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import REPO, Stack, eventually
from billing_fixture import BINARY
from test_webhooks import Vendors, mac, name, succeeded
from vendor_fixture import Vendor

PAYMENTS = '/api/payments'
KEY, SECRET = 'rzp_test_loopback', 'the_secret_of_our_own_key'
PUBLISHABLE = 'pk_test_loopback'


@pytest.fixture(scope='module')
def both():
    made = {'stripe': Vendor(seed=3),
            'razorpay': Vendor('razorpay', key=f'{KEY}:{SECRET}', seed=3)}
    for vendor in made.values():
        os.chmod(vendor.home, 0o755)
        os.chmod(vendor.key_file, 0o644)
    yield made
    for vendor in made.values():
        vendor.close()


def settings(both):
    return {'stripe_url': both['stripe'].url,
            'stripe_key_file': both['stripe'].key_file,
            'razorpay_url': both['razorpay'].url,
            'razorpay_key_file': both['razorpay'].key_file,
            'call_timeout_seconds': '3', 'log_level': 'debug'}


@pytest.fixture(scope='module')
def shop(both):
    with tempfile.TemporaryDirectory(prefix='astro-pay-') as folder:
        with open(f'{folder}/razorpay', 'w', encoding='ascii') as f:
            f.write(f'{KEY}:{SECRET}\n')
        os.chmod(f'{folder}/razorpay', 0o600)
        stack = Stack({'astro_stripe_publishable_key': PUBLISHABLE,
                       'astro_razorpay_key_file': f'{folder}/razorpay'},
                      worker_settings=settings(both))
        try:
            yield stack.up()
        finally:
            stack.down(dump=True)


@pytest.fixture
def stack(shop, both):
    shop.revive()
    signs = Vendors(shop)
    for vendor, secret in (('stripe', signs.stripe[1]),
                           ('razorpay', signs.razorpay)):
        both[vendor].faults()
        both[vendor].door('webhook', {
            'url': f'http://127.0.0.1:{shop.plain_port}/api/webhooks/'
                   f'{vendor}', 'secret': secret})
    yield from watch(shop)


@pytest.fixture
def stripe(both):
    return both['stripe']


def test_an_answer_without_a_name_is_none(stack):
    """The call has failed; and whatever made the answer, the outbox goes on."""
    client, advisor = stack.person(), stack.person('advisor')
    with stack.db() as db, db.transaction(force_rollback=True):
        paid, = db.execute(
            'INSERT INTO ledger.checkout (owner_id, provider, amount,'
            " currency) SELECT %s, 'stripe', 5000, d.currency"
            ' FROM ledger.deployment d RETURNING id',
            (client.number,)).fetchone()
        db.execute("INSERT INTO ledger.connect (account_id, country)"
                   " VALUES (%s, 'IN')", (advisor.number,))
        db.execute("SELECT billing.checkout_called('payment', c.id,"
                   " 'delivered', jsonb_build_object('amount', 5000,"
                   " 'currency', c.currency), NULL) FROM ledger.checkout c"
                   ' WHERE c.id = %s', (paid,))
        db.execute("SELECT billing.connect_done('connect_account', %s, '{}')",
                   (advisor.number,))
        assert db.execute('SELECT state FROM ledger.checkout WHERE id = %s',
                          (paid,)).fetchone() == ('failed',)
        assert db.execute('SELECT state FROM ledger.connect WHERE'
                          ' account_id = %s', (advisor.number,)
                          ).fetchone() == ('failed',)


@pytest.fixture
def razorpay(both):
    return both['razorpay']


@pytest.fixture
def client(stack):
    return stack.person('client')


def begin(client, amount=50000, provider='stripe', **headers):
    answer = client.stack.rest.post(
        PAYMENTS, {'provider': provider, 'amount': amount}, client.token,
        headers=headers)
    assert answer.status == 201, answer
    assert answer.json['state'] == 'creating'
    assert answer.json['checkout'] is None
    return answer.json['id']


def look(client, payment):
    answer = client.stack.rest.get(f'{PAYMENTS}/{payment}', client.token)
    assert answer.status == 200, answer
    return answer.json


def becomes(client, payment, state, timeout=20):
    return eventually(lambda: (found := look(client, payment))['state']
                      == state and found, timeout, f'{payment} is {state}')


def cash(client):
    return client.wallet()[0]


def hurry(stack):
    with stack.db() as db:
        db.execute("UPDATE billing.outbox SET due_at = clock_timestamp()"
                   " WHERE id IN (SELECT id FROM billing.outbox"
                   "  WHERE state = 'waiting' AND owner IS NULL"
                   "  FOR UPDATE SKIP LOCKED)")


def row(stack, payment, of='ledger.checkout'):
    with stack.db() as db:
        return json.loads(db.execute(
            f'SELECT row_to_json(x)::text FROM {of} x'
            f' WHERE {"id" if "." in of else "id"} = %s',
            (int(payment[2:]),)).fetchone()[0])


def intents(stripe, payment):
    return [i for i in stripe.books('payment_intent')
            if i['metadata'].get('payment') == payment[2:]]


def ours(stack, payment):
    """The vendor's name of it, when it is known."""
    return row(stack, payment)['payment_id']


def audit(stack):
    status, said = stack.audit()
    assert status == 0, said


# H2 ---------------------------------------------------------------------------

def test_h2_a_payment_from_beginning_to_credit(stack, stripe, client):
    """One intent for one key, a notice when it is ready and when it came, its
    secret for its owner alone and nowhere else; a credit, once."""
    socket = client.connect()
    payment = begin(client, 50000, **{'Idempotency-Key': 'once'})
    again = stack.rest.post(PAYMENTS, {'provider': 'stripe', 'amount': 50000},
                            client.token, headers={'Idempotency-Key': 'once'})
    assert (again.status, again.json['id']) == (201, payment)

    told = socket.expect('payment', timeout=10)['payload']
    assert told == {'payment': payment, 'provider': 'stripe',
                    'state': 'ready',
                    'amount': {'amount': 50000, 'currency': 'INR'}}
    ready = look(client, payment)
    intent, = intents(stripe, payment)
    assert (intent['amount'], intent['currency']) == (50000, 'inr')
    assert ready['checkout'] == {'client_secret': intent['client_secret'],
                                 'publishable_key': PUBLISHABLE}

    # nobody else sees it
    for other in (stack.person('client'), stack.person('advisor'),
                  stack.person('admin')):
        answer = stack.rest.get(f'{PAYMENTS}/{payment}', other.token)
        assert answer.status in (403, 404)
        assert b'secret' not in answer.body

    # and what the client says of it moves nothing
    for said in ({'state': 'paid'}, {'razorpay_payment_id': 'pay_1',
                                     'razorpay_signature': 'a' * 64}):
        assert stack.rest.post(f'{PAYMENTS}/{payment}/confirm', said,
                               client.token).status in (400, 404)
    assert cash(client) == 0

    stripe.do('pay', id=intent['id'])
    told = socket.expect('payment', timeout=15)['payload']
    assert told['state'] == 'paid' and told['payment'] == payment
    assert cash(client) == 50000
    paid = look(client, payment)
    assert (paid['state'], paid['checkout']) == ('paid', None)

    # the same once more, by another event
    signs = Vendors(stack)
    late = succeeded(intent['id'], 50000)
    assert signs.say(late) == 200
    signs.ended(late['id'], 'ignored', 'credited before')
    assert cash(client) == 50000

    secret = intent['client_secret']
    with stack.db() as db:
        assert row(stack, payment)['secret'] is None
        assert db.execute("SELECT body, error FROM billing.outbox"
                          " WHERE key = %s", (f'payment-{payment[2:]}',)
                          ).fetchone() == ('', None)
        inbox = db.execute('SELECT count(*) FROM ledger.webhook_inbox'
                           " WHERE payment_id = %s AND state = 'parked'",
                           (intent['id'],)).fetchone()
    assert inbox == (0,)
    for log in ('access.log', 'error.log', 'worker.log', 'postgresql.log'):
        assert secret not in stack.log(log), log
    audit(stack)


def test_h2_the_event_comes_before_the_answer(stack, stripe, client):
    """The vendor says that it was paid while its answer to the call is still
    on its way: it bears our number, and is credited then; not again when the
    answer comes."""
    stripe.faults(late=1, delay_ms=1500)
    payment = begin(client)
    intent = eventually(lambda: intents(stripe, payment), 10)[0]
    stripe.do('pay', id=intent['id'])
    becomes(client, payment, 'paid')
    assert cash(client) == 50000
    with stack.db() as db:
        eventually(lambda: db.execute(
            'SELECT state FROM billing.outbox WHERE key = %s',
            (f'payment-{payment[2:]}',)).fetchone() == ('delivered',), 20)
    found = look(client, payment)
    assert (found['state'], found['checkout']) == ('paid', None)
    assert cash(client) == 50000
    audit(stack)


def test_h2_the_answer_is_lost_and_the_vendor_away(stack, stripe, client):
    """Whatever happens to the answer, it is the one intent of the one key; a
    payment begun while the vendor is away is made when it is back."""
    stripe.faults(lost=1)
    payment = begin(client)
    eventually(lambda: intents(stripe, payment), 10)
    stripe.faults(error_after=1)
    eventually(lambda: (hurry(stack), stripe.seen()['happened']
                        .get('error_after'))[1], 20)
    stripe.faults()
    eventually(lambda: (hurry(stack), look(client, payment)['state']
                        == 'ready')[1], 20)
    intent, = intents(stripe, payment)
    assert look(client, payment)['checkout']['client_secret'] \
        == intent['client_secret']

    stripe.faults(closed=True)
    later = begin(client)
    assert look(client, later)['state'] == 'creating'
    stripe.faults()
    eventually(lambda: (hurry(stack), look(client, later)['state']
                        == 'ready')[1], 20)
    assert len(intents(stripe, later)) == 1


def test_h2_too_late_and_paid_all_the_same(stack, stripe, client):
    """An hour later nobody waits for it any more: failed, and what the call
    said is gone.  Money that comes for it all the same is the client's."""
    socket = client.connect()
    stripe.faults(lost=1)
    payment = begin(client)
    intent = eventually(lambda: intents(stripe, payment), 10)[0]
    with stack.db() as db:
        db.execute("UPDATE billing.outbox SET until = clock_timestamp(),"
                   " due_at = clock_timestamp() WHERE key = %s",
                   (f'payment-{payment[2:]}',))
    assert socket.expect('payment', timeout=15)['payload']['state'] \
        == 'failed'
    assert look(client, payment)['state'] == 'failed'
    stripe.faults()
    stripe.do('pay', id=intent['id'])
    becomes(client, payment, 'paid')
    assert cash(client) == 50000
    with stack.db() as db:
        assert db.execute('SELECT body, state FROM billing.outbox'
                          ' WHERE key = %s', (f'payment-{payment[2:]}',)
                          ).fetchone() == ('', 'refused')
    audit(stack)


def test_m3_paid_after_its_owner_was_erased(stack, stripe, client):
    """While a payment may come nobody is erased; one that nobody waits for
    is ended, and what is paid for it all the same is parked."""
    payment = begin(client)
    becomes(client, payment, 'ready')
    sid = uuid.uuid4().hex
    with stack.db() as db:
        db.execute('INSERT INTO identity.login (id, account_id, refresh,'
                   " made_at, ends_at) VALUES (%s, %s, %s, now(), now() +"
                   " interval '1 day')", (sid, client.number, os.urandom(32)))
    token = stack.jwt(client.number, 'client', sid=sid)
    answer = stack.rest.post('/api/me/erase', None, token)
    assert (answer.status, answer.code) == (409, 'conflict')
    with stack.db() as db:
        db.execute("UPDATE ledger.checkout SET made_at = made_at -"
                   " interval '2 hours' WHERE owner_id = %s",
                   (client.number,))
        assert stack.rest.post('/api/me/erase', None, token).status == 202
        found = row(stack, payment)
        assert (found['state'], found['secret']) == ('failed', None)

        intent, = intents(stripe, payment)
        stripe.do('pay', id=intent['id'])
        event, reason = eventually(lambda: db.execute(
            'SELECT event_id, reason FROM ledger.webhook_inbox WHERE'
            " payment_id = %s AND state = 'parked'",
            (intent['id'],)).fetchone(), 20)
        assert 'erased' in reason
        assert db.execute('SELECT sum(balance) FROM ledger.wallet WHERE'
                          ' owner_id = %s', (client.number,)
                          ).fetchone() == (0,)
        assert db.execute("SELECT billing.inbox_close(%s, 'given back')",
                          (event,)).fetchone() == (1,)
    audit(stack)


def test_h2_an_event_that_bears_a_number_of_ours_wrongly(stack, stripe,
                                                         client):
    """Of another amount, or of a payment that is known by another name: it is
    nobody's, and is parked."""
    stripe.faults(closed=True)
    payment = begin(client)
    signs = Vendors(stack)
    says = succeeded(name('pi'), 49999)
    says['data']['object']['metadata'] = {'payment': payment[2:]}
    assert signs.say(says) == 200
    signs.ended(says['id'], 'parked', 'the payment is unknown')
    stripe.faults()
    eventually(lambda: (hurry(stack), look(client, payment)['state']
                        == 'ready')[1], 20)
    says = succeeded(name('pi'), 50000)
    says['data']['object']['metadata'] = {'payment': payment[2:]}
    assert signs.say(says) == 200
    signs.ended(says['id'], 'parked', 'the payment is unknown')
    assert cash(client) == 0
    assert look(client, payment)['state'] == 'ready'


def test_h2_who_may_and_how_much(stack, stripe, client):
    def refused(body, person=client):
        answer = stack.rest.post(PAYMENTS, body, person.token)
        return answer.status, answer.code, [
            e['pointer'] for e in answer.json.get('errors', ())]

    good = {'provider': 'stripe', 'amount': 5000}
    for role in ('advisor', 'admin'):
        assert refused(good, stack.person(role))[:2] == (403, 'forbidden')
    for change, field in (({'amount': 4999}, '/amount'),
                          ({'amount': 20000001}, '/amount'),
                          ({'amount': '5000'}, '/amount'),
                          ({'amount': 50.5}, '/amount'),
                          ({'amount': None}, '/amount'),
                          ({'provider': 'paypal'}, '/provider')):
        assert refused({**good, **change}) == (400, 'bad_request', [field])
    assert len(intents(stripe, 'p_')) == 0
    begin(client, 5000)
    begin(client, 20000000)


# H4 ---------------------------------------------------------------------------

def test_h4_an_order_and_what_the_page_gives_back(stack, razorpay, client):
    """Each signature with its own key; a right one makes us ask Razorpay, and
    what it says is credited, once, whatever comes after."""
    socket = client.connect()
    payment = begin(client, 70000, 'razorpay')
    assert socket.expect('payment', timeout=10)['payload']['state'] == 'ready'
    order = ours(stack, payment)
    made, = [o for o in razorpay.books('order')
             if o['notes'].get('payment') == payment[2:]]
    assert (made['id'], made['amount'], made['receipt']) \
        == (order, 70000, payment)
    assert look(client, payment)['checkout'] == {'order_id': order,
                                                 'key_id': KEY}

    razorpay.faults(hook_lost=1)
    paid = razorpay.do('pay', id=order)

    def confirm(signature, ident=paid['id'], of=payment, who=client):
        answer = stack.rest.post(f'{PAYMENTS}/{of}/confirm', {
            'razorpay_payment_id': ident, 'razorpay_signature': signature},
            who.token)
        return answer.status, answer.code

    text = f'{order}|{paid["id"]}'.encode()
    assert paid['signature'] == mac(SECRET, text)
    bad = (400, 'bad_request')
    assert confirm(mac(Vendors(stack).razorpay, text)) == bad
    assert confirm(mac(SECRET, text + b' ')) == bad
    assert confirm(mac(SECRET, f'order_1|{paid["id"]}'.encode())) == bad
    assert confirm(paid['signature'], 'pay_another') == bad
    assert confirm(paid['signature'][:-1]) == bad
    assert confirm(mac(SECRET, f'{order}|pay_1/refund'.encode()),
                   'pay_1/refund') == bad
    assert confirm(paid['signature'], who=stack.person('client')) \
        == (404, 'not_found')
    assert confirm(paid['signature'], of='p_999999') == (404, 'not_found')
    assert cash(client) == 0

    assert confirm(paid['signature']) == (202, None)
    becomes(client, payment, 'paid')
    assert cash(client) == 70000
    assert confirm(paid['signature']) == (202, None)
    razorpay.faults()
    event = json.dumps({'event': 'payment.captured', 'payload': {
        'payment': {'entity': {k: v for k, v in paid.items()
                               if k != 'signature'}}}}).encode()
    signs = Vendors(stack)
    assert signs.post('/api/webhooks/razorpay', event, {
        'X-Razorpay-Signature': mac(signs.razorpay, event)})[0] == 200
    with stack.db() as db:
        eventually(lambda: db.execute(
            'SELECT count(*) FROM ledger.webhook_inbox WHERE payment_id = %s'
            " AND state = 'ignored'", (order,)).fetchone() == (1,), 15)
    assert cash(client) == 70000
    audit(stack)


def test_h4_a_right_signature_credits_no_more_than_razorpay_says(
        stack, razorpay, client):
    """Not captured yet: it is asked again.  Of another order, or nothing that
    Razorpay knows: nothing."""
    payment = begin(client, 60000, 'razorpay')
    becomes(client, payment, 'ready')
    order = ours(stack, payment)

    def confirm(ident):
        answer = stack.rest.post(f'{PAYMENTS}/{payment}/confirm', {
            'razorpay_payment_id': ident, 'razorpay_signature':
                mac(SECRET, f'{order}|{ident}'.encode())}, client.token)
        assert answer.status == 202, answer

    def asked(state, n):
        with stack.db() as db:
            eventually(lambda: (hurry(stack), db.execute(
                "SELECT count(*) FROM billing.outbox WHERE kind = 'look'"
                ' AND about = %s AND state = %s AND code IS NOT NULL',
                (int(payment[2:]), state)).fetchone()[0] >= n)[1], 20)

    confirm('pay_nobody')
    asked('refused', 1)
    other = razorpay.do('payment', order_id='order_another', amount=60000,
                        captured=True, status='captured')
    confirm(other['id'])
    asked('delivered', 1)
    waits = razorpay.do('pay', id=order, **{'as': {
        'captured': False, 'status': 'authorized'}})
    confirm(waits['id'])
    asked('waiting', 1)
    assert cash(client) == 0 and look(client, payment)['state'] == 'ready'
    razorpay.do('payment', id=waits['id'], order_id=order, amount=60000,
                captured=True, status='captured')
    eventually(lambda: (hurry(stack), cash(client) == 60000)[1], 20)
    assert look(client, payment)['state'] == 'paid'
    audit(stack)


def test_h4_the_vendors_own_clients_agree(stack, stripe, razorpay, client):
    """Stripe's and Razorpay's packages take what our vendors on loopback say,
    and Razorpay's takes the signatures that we take."""
    node = os.path.join(REPO, 'build', 'test-peers', 'node_modules')
    if not os.path.exists(os.path.join(node, 'razorpay')):
        pytest.skip('no npm razorpay: scripts/setup.sh test')

    one = begin(client, 50000)
    two = begin(client, 60000, 'razorpay')
    becomes(client, one, 'ready')
    becomes(client, two, 'ready')
    order = ours(stack, two)
    stripe.do('pay', id=ours(stack, one))
    paid = razorpay.do('pay', id=order)
    becomes(client, two, 'paid')
    rng = random.Random(5)
    cases = []
    for i in range(40):
        text = f'{order}|pay_x{i}'
        at = rng.randrange(len(text))
        signed = [text, text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1:],
                  text][i % 3]
        secret = SECRET if i % 4 else 'the_secret_of_another_key'
        cases.append([order, f'pay_x{i}', mac(secret, signed.encode())])
    said = json.loads(subprocess.run(
        ['node', os.path.join(REPO, 't/integration/peers/payments.js'),
         json.dumps({'stripe': {'port': stripe.port, 'key': stripe.key,
                                'intent': ours(stack, one)},
                     'razorpay': {'url': razorpay.url, 'id': KEY,
                                  'secret': SECRET, 'order': order,
                                  'payment': paid['id']}, 'cases': cases})],
        check=True, stdout=subprocess.PIPE, text=True, timeout=60,
        env={**os.environ, 'NODE_PATH': node}).stdout)

    assert said['intent'] == ['succeeded', 50000, 'inr',
                              {'payment': one[2:]}]
    assert said['secret'] is True
    assert said['order'] == ['paid', 60000, two, {'payment': two[2:]}]
    assert said['paid'] == [1, True]
    assert said['payment'] == ['captured', True, 60000]
    assert said['other'] == ['order', 900, 'r', {'a': 'b'}]
    assert said['cheap'] == [400, 'BAD_REQUEST_ERROR', 'amount']

    # one more of the same client is in a new window
    for (_, ident, signature), verdict in zip(cases, said['verdicts']):
        answer = stack.rest.post(f'{PAYMENTS}/{two}/confirm', {
            'razorpay_payment_id': ident, 'razorpay_signature': signature},
            client.token)
        assert (answer.status == 202) == verdict, answer
    assert 0 < sum(said['verdicts']) < len(cases)


# H7 ---------------------------------------------------------------------------

def test_h7_a_lost_webhook_is_found_by_asking_for_ours(stack, both, client):
    """The vendors took the money and told nobody.  No list has it: each payment
    that we wait for is asked for by its name, and credited, once; the same by
    itself, once a day."""
    def paid(amount):
        names = [begin(client, amount, provider) for provider in both]
        for payment in names:
            becomes(client, payment, 'ready')
        for vendor, payment in zip(both.values(), names):
            vendor.faults(hook_lost=1)
            vendor.do('pay', id=ours(stack, payment))
        return names

    def reconcile():
        return subprocess.run(
            [BINARY, 'reconcile', '--config',
             f'{stack.var}/etc/billing_worker.conf', '--since', '2999-01-01'],
            text=True, capture_output=True, check=False, timeout=120)

    names = paid(30000)
    both['stripe'].faults(hook_lost=1, error=0.2)
    done = reconcile()
    assert done.returncode in (0, 1), done.stderr
    for payment in names:
        becomes(client, payment, 'paid')
    assert cash(client) == 60000
    assert ' 0 had not come' in reconcile().stdout

    names = paid(40000)
    settings_now = stack.env['ASTRO_WORKER_SETTINGS']
    try:
        stack.env['ASTRO_WORKER_SETTINGS'] += '\nreconcile_time = 00:00'
        stack.restart_billing()
        for payment in names:
            becomes(client, payment, 'paid', 60)
        with stack.db() as db:
            eventually(lambda: db.execute(
                'SELECT count(*) FROM ledger.reconcile_run'
                ' WHERE finished_at IS NOT NULL').fetchone() == (1,), 30)
        assert 'reconcile: Stripe: ' in stack.log('worker.log')
    finally:
        stack.env['ASTRO_WORKER_SETTINGS'] = settings_now
        stack.restart_billing()

    # late all the same
    for payment in names[:1]:
        late = succeeded(ours(stack, payment), 40000)
        signs = Vendors(stack)
        assert signs.say(late) == 200
        signs.ended(late['id'], 'ignored', 'credited before')
    assert cash(client) == 140000
    audit(stack)


# H9 ---------------------------------------------------------------------------

def test_h9_the_sixth_attempt_has_to_wait(stack, client):
    """Five within ten minutes; the sixth is told when, and is one then.  What
    was refused is no attempt.  Another client is another."""
    for i in range(5):
        begin(client, 5000 + i)
        assert stack.rest.post(PAYMENTS, {'provider': 'stripe', 'amount': 1},
                               client.token).status == 400
    with stack.db() as db:
        db.execute('UPDATE ledger.checkout SET made_at = made_at'
                   " - interval '400 s' WHERE owner_id = %s"
                   '  AND amount = 5000', (client.number,))
    for headers in ({}, {'Idempotency-Key': 'six'}):
        answer = stack.rest.post(PAYMENTS, {'provider': 'stripe',
                                            'amount': 5000}, client.token,
                                 headers=headers)
        assert (answer.status, answer.code) == (429, 'rate_limited')
        assert 100 < int(answer.headers['Retry-After']) <= 200
    begin(stack.person('client'))
    with stack.db() as db:
        db.execute('UPDATE ledger.checkout SET made_at = made_at'
                   " - interval '200 s' WHERE owner_id = %s"
                   '  AND amount = 5000', (client.number,))
    begin(client, 5000, **{'Idempotency-Key': 'six'})


def test_x7_who_is_out_pays_nothing_in(stack, client):
    until = int((time.time() + 86400) * 1000)
    assert stack.rest.call('PUT', '/api/me/limits',
                           {'excluded_until': until},
                           client.token).status == 200
    answer = stack.rest.post(PAYMENTS, {'provider': 'stripe', 'amount': 5000},
                             client.token)
    assert (answer.status, answer.code) == (403, 'forbidden')


def test_h9_the_list_asks_who_is_an_admin_by_now(stack, client):
    """A token may still say so."""
    with stack.db() as db, pytest.raises(psycopg.Error) as refused:
        db.execute('SELECT * FROM api.payments_flagged(%s, 10, NULL)',
                   (client.number,))
    assert refused.value.diag.message_detail == 'forbidden'


def test_h9_too_fast_is_flagged_for_an_admin(stack, client):
    """More within a day than the rule allows: one flag for each rule, which an
    admin lists and clears; the act is in the log.  It stops nothing."""
    admin = stack.person('admin')
    with stack.db() as db:
        db.execute("INSERT INTO ledger.checkout (owner_id, provider, amount,"
                   " currency, made_at) SELECT %s, 'stripe', 5000, 'INR',"
                   " clock_timestamp() - interval '2 hours'"
                   ' FROM generate_series(1, 9)', (client.number,))

    def flags():
        answer = stack.rest.get('/api/admin/payments/flagged?limit=200',
                                admin.token)
        assert answer.status == 200, answer
        return [f for f in answer.json['data'] if f['client'] == client.id]

    begin(client, 5000)
    assert flags() == []
    eleventh = begin(client, 5000)
    begin(client, 5000)
    found, = flags()
    assert (found['id'], found['rule'], found['found'], found['allowed']) \
        == (eleventh, 'count', 11, 10)
    huge = begin(client, 20000000)
    assert len(flags()) == 1
    huge = begin(client, 20000000)
    assert [(f['id'], f['rule']) for f in flags()] \
        == [(huge, 'amount'), (eleventh, 'count')]

    path = f'/api/admin/payments/{eleventh}/clear'
    assert stack.rest.post(path, {}, client.token).status == 403
    answer = stack.rest.post(path, {'note': 'a birthday'}, admin.token)
    assert answer.json == {'id': eleventh, 'client': client.id}
    assert stack.rest.post(path, {}, admin.token).status == 404
    assert [f['rule'] for f in flags()] == ['amount']
    log = stack.rest.get('/api/admin/log', admin.token).json['data'][0]
    assert (log['act'], log['about']) == ('payment_clear', eleventh)
    assert log['detail'] == {'client': client.id, 'note': 'a birthday'}


# H12 --------------------------------------------------------------------------

CARD = '4111 1111 1111 1111'


def test_h12_a_card_number_goes_nowhere(stack, client):
    """In whatever body: refused with its field, and in no table or log."""
    talk = Consultation(stack).active()

    def refused(method, path, body, pointer, who=client):
        answer = stack.rest.call(method, path, body, who.token)
        assert (answer.status, answer.code) == (422, 'unsupported'), answer
        assert [e['pointer'] for e in answer.json['errors']] == [pointer]

    pay = {'provider': 'stripe', 'amount': 5000}
    refused('POST', PAYMENTS, {**pay, 'card': CARD}, '/card')
    refused('POST', PAYMENTS, {**pay, 'number': 4111111111111111}, '/number')
    refused('POST', PAYMENTS, {**pay, 'a': {'b': ['x', CARD]}}, '/a')
    # one that is too long to be told: what is cut may be no text
    refused('POST', PAYMENTS, json.dumps(
        {**pay, 'x' * 59 + 'яяяя': CARD}, ensure_ascii=False), '')
    refused('PUT', '/api/me/profile', {'about': f'mine:\n{CARD}, 12/27'},
            '/about')
    refused('POST', '/api/payments/add-balance', {
        'amount': 5000, 'cardNumber': CARD.replace(' ', '-')}, '/cardNumber')
    refused('POST', f'/api/conversations/{talk.conv}/messages', {
        'cid': str(uuid.uuid4()), 'text': CARD}, '/text', talk.client)
    for text in (CARD, f'pay with {CARD}.', f'it is\n{CARD}\n',
                 CARD.replace(' ', '\u00a0')):
        error = talk.c.refused('chat_message', {
            'conv': talk.conv, 'cid': str(uuid.uuid4()), 'kind': 'text',
            'text': text})
        assert (error['code'], error['field']) == ('unsupported',
                                                   '/payload/text')
    said = talk.c.say(talk.conv, '4111 1111 1111 1112 is none')
    error = talk.c.refused('chat_edit', {
        'conv': talk.conv, 'seq': said['seq'], 'cid': str(uuid.uuid4()),
        'text': f'{CARD} is one'})
    assert error['code'] == 'unsupported'
    talk.end()

    dump = subprocess.run(
        ['pg_dump', '--data-only', '-h', f'{stack.var}/run', '-U', 'postgres',
         'astro'], check=True, stdout=subprocess.PIPE, text=True).stdout
    digits = re.compile(r'4111[ \u00a0-]?1111[ \u00a0-]?1111[ \u00a0-]?1111')
    assert '1111 1112 is none' in dump and not digits.search(dump)
    for log in ('access.log', 'error.log', 'worker.log', 'postgresql.log'):
        assert not digits.search(stack.log(log)), log


def test_h12_there_is_no_place_for_a_card(stack):
    with stack.db() as db:
        names = [f'{t}.{c}' for t, c in db.execute(
            'SELECT table_name, column_name FROM information_schema.columns'
            " WHERE table_schema IN ('identity', 'ledger', 'consult',"
            " 'billing', 'api')")]
    assert len(names) > 200
    odd = re.compile(r'(^|_)(card|pan|cvv|cvc|iin|expiry|exp_(month|year)|'
                     r'cardholder)(_|$)')
    assert [n for n in names if odd.search(n.split('.')[1])] == []
