"""Top-ups, refunds and payouts while vendors do all that vendors may do wrong, at
random: then their books and ours agree.  Half a minute beside the other
deaths of `make test`, ten minutes in the soak (ASTRO_VENDOR_SECONDS)."""

import http.client
import os
import random
import subprocess
import time
import urllib.parse

import pytest

from astro.stack import eventually
from billing_fixture import BINARY
from test_payments import (PAYMENTS, audit, both, hurry,    # noqa: F401
                           shop, stack)

SECONDS = float(os.environ.get('ASTRO_VENDOR_SECONDS') or 600)

pytestmark = pytest.mark.skipif(
    not (os.environ.get('ASTRO_SOAK') or os.environ.get(
        'ASTRO_VENDOR_SECONDS')), reason='beside the deaths')
FAULTS = {'delay': .1, 'late': .1, 'delay_ms': 300, 'error': .1,
          'error_after': .1, 'hangup': .05, 'lost': .1, 'half': .05,
          'limit': .1, 'retry_after_s': 1, 'hook_lost': .2, 'hook_twice': .2,
          'hook_shuffle': 4}


def refund(vendor, intent, amount, key):
    """As the vendor's dashboard does; None: nobody knows."""
    conn = http.client.HTTPConnection('127.0.0.1', vendor.port, timeout=5)
    try:
        conn.request('POST', '/v1/refunds', urllib.parse.urlencode(
            {'payment_intent': intent, 'amount': amount}), {
                'Authorization': f'Bearer {vendor.key}', 'Idempotency-Key':
                key, 'Content-Type': 'application/x-www-form-urlencoded'})
        return conn.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        conn.close()


def test_h7_whatever_vendors_do_the_books_agree(stack, both):    # noqa: F811
    rng = random.Random(seed := random.getrandbits(32))
    print('seed', seed)
    stripe, razorpay = both['stripe'], both['razorpay']
    with stack.db() as db:
        db.execute('UPDATE ledger.payment_rule SET attempts = 1000000')
    people = [stack.person('client') for _ in range(4)]
    advisors = [stack.person('advisor') for _ in range(4)]
    with stack.db() as db:
        for i, advisor in enumerate(advisors):
            db.execute('SELECT billing.payee_set(%s, %s)',
                       (advisor.number, f'acct_random{i}'))
            db.execute('SELECT billing.adjust(%s, %s, %s)',
                       (advisor.number, 5000 + i, f'random-{advisor.number}'))

    def command(*words):
        return subprocess.Popen(
            [BINARY, *words, '--config',
             f'{stack.var}/etc/billing_worker.conf'],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    begun, asked, beside = [], 0, None
    until = time.monotonic() + SECONDS
    stripe.faults(**FAULTS)
    razorpay.faults(**FAULTS)

    while time.monotonic() < until:
        who = rng.choice(people)
        what = rng.random()
        if what < .6:
            answer = stack.rest.post(PAYMENTS, {
                'provider': rng.choice(['stripe', 'razorpay']),
                'amount': rng.randrange(5000, 90000)}, who.token)
            assert answer.status == 201, answer
            begun.append((who, answer.json['id']))
        elif what < .9:
            vendor = rng.choice([stripe, razorpay])
            kind, done = (('payment_intent', 'succeeded') if vendor is stripe
                          else ('order', 'paid'))
            # Razorpay may have made an order twice: one of them is known
            with stack.db() as db:
                known = {p for p, in db.execute(
                    'SELECT payment_id FROM ledger.checkout')}
            open_ = [o for o in vendor.books(kind) if o['status'] != done
                     and (vendor is stripe or o['id'] in known)]
            if open_:
                vendor.do('pay', id=rng.choice(open_)['id'])
        else:
            paid = [i for i in stripe.books('payment_intent')
                    if i['status'] == 'succeeded']
            if paid:
                asked += 1
                refund(stripe, rng.choice(paid)['id'],
                       rng.randrange(1, 3000), f'refund-{seed}-{asked}')
        if beside is None or beside.poll() is not None:
            beside = command('payouts', '--no-wait')
        hurry(stack)
        time.sleep(.05)

    beside.wait()
    for vendor in (stripe, razorpay):
        vendor.faults()
        vendor.door('flush', {})

    def settled():
        hurry(stack)
        with stack.db() as db:
            return db.execute(
                "SELECT (SELECT count(*) FROM billing.outbox"
                "         WHERE state = 'waiting')"
                "     + (SELECT count(*) FROM ledger.webhook_inbox"
                "         WHERE state = 'waiting')").fetchone() == (0,)

    eventually(settled, 90, 'every call is answered')
    assert command('reconcile').wait() in (0, 1)
    eventually(settled, 30)

    with stack.db() as db:
        came = dict(db.execute(
            "SELECT payment_id, amount FROM ledger.payment"
            " WHERE status = 'paid' AND provider = 'stripe'"))
        back, = db.execute("SELECT coalesce(sum(refunded), 0)::bigint"
                           " FROM ledger.payment WHERE provider = 'stripe'"
                           ).fetchone()
        orders = db.execute(
            "SELECT charge, amount FROM ledger.payment WHERE status = 'paid'"
            " AND provider = 'razorpay'").fetchall()
        payouts = dict(db.execute('SELECT vendor_id, amount FROM ledger.payout'
                                  " WHERE state = 'paid'"))
    assert came == {i['id']: i['amount']
                    for i in stripe.books('payment_intent')
                    if i['status'] == 'succeeded'
                    and 'payment' in i['metadata']}
    assert back == sum(r['amount'] for r in stripe.books('refund'))
    assert dict(orders) == {p['id']: p['amount']
                            for p in razorpay.books('payment')}
    assert payouts == {t['id']: t['amount'] for t in stripe.books('transfer')}
    assert len(came) + len(orders) > 3 and begun
    audit(stack)
