"""billing_worker reconcile: what vendors did and nobody was told of is asked for
and done, once; what is parked is listed until somebody has seen to it."""

import http.server
import json
import subprocess
import threading

from astro.stack import eventually
from astro.ws import SLOW
from billing_fixture import BINARY as WORKER
from test_webhooks import (alone, audit, client, name,      # noqa: F401
                           razorpay_says, stack, succeeded, vendors)
from vendor_fixture import Vendor


def test_a_lost_webhook_is_made_up_for(stack, vendors, client):    # noqa: F811
    """The vendor took the money and nobody heard of it: reconcile credits it,
    once, also when the webhook comes after all."""
    vendor = Vendor()

    try:
        paid = [vendors.expect(client, 900) for _ in range(3)]
        strange = name('pi')

        for payment in [*paid, strange]:
            vendor.do('event', type='payment_intent.succeeded',
                      object=succeeded(payment, 900)['data']['object'])
        vendor.do('event', type='customer.created', object={'id': 'cus_1'})

        with open(f'{stack.var}/etc/billing_worker.conf',
                  encoding='utf-8') as f:
            given = ['-o', next(line for line in f
                                if line.startswith('pg = ')).strip()]

        def reconcile(*more):
            return subprocess.run(
                [WORKER, 'reconcile', *given, '-o',
                 f'stripe_url={vendor.url}', '-o',
                 f'stripe_key_file={vendor.key_file}', *more], text=True,
                capture_output=True, check=False, timeout=60 * SLOW)

        vendor.faults(error=0.2)    # it tries five times
        done = reconcile()
        vendor.faults()

        # something is parked: the payment that is none of ours, at least
        assert done.returncode == 1, done.stderr
        assert 'Stripe: ' in done.stdout and ' 4 had not come' in done.stdout
        assert f'{strange} ' in done.stdout
        eventually(lambda: vendors.wallet(client) == {'client': 2700}, 15)

        assert ' 0 had not come' in reconcile('--since', '2020-01-01').stdout
        assert ' 0 events looked at' in reconcile('--since=2999-01-01').stdout

        for payment in paid:
            late = succeeded(payment, 900)
            assert vendors.say(late) == 200
            vendors.ended(late['id'], 'ignored')

        assert vendors.wallet(client) == {'client': 2700}
        audit(stack)

        assert reconcile('--since', 'yesteryear').returncode == 2

        # somebody has seen to it
        with stack.db() as db:
            event, = db.execute(
                'SELECT event_id FROM ledger.webhook_inbox'
                ' WHERE payment_id = %s', (strange,)).fetchone()
        assert reconcile('--close', event).returncode == 2
        assert reconcile('--close', event, '--why', '').returncode == 2
        assert f' {event}: ' in reconcile().stdout
        done = reconcile('--close', event, '--why', 'of another shop')
        assert done.returncode in (0, 1) and event not in done.stdout
        state, why = vendors.state(event)
        assert state == 'ignored' and why.endswith('closed: of another shop')
        assert reconcile('--close', event, '--why', 'x').returncode == 2
        assert vendors.wallet(client) == {'client': 2700}
        vendor.faults(error=1)
        assert reconcile().returncode == 2
    finally:
        vendor.close()


def test_the_daily_look_is_one_workers(stack):      # noqa: F811
    """However long it takes, and whoever finishes it; what fails is put off."""
    with stack.db() as db:
        def ask(what, *given):
            holes = ', '.join(['%s'] * len(given))
            return db.execute(f'SELECT billing.reconcile_{what}({holes})',
                              given).fetchone()[0]

        def later(minutes):
            db.execute('UPDATE ledger.reconcile_run SET taken_at = taken_at'
                       ' - make_interval(mins => %s)', (minutes,))

        db.execute('BEGIN')
        day = ask('take', 0, 'a')
        assert day and ask('take', 0, 'b') is None
        for _ in range(3):              # it is still at it
            later(9)
            ask('keep', day, 'a')
            assert ask('take', 0, 'b') is None
        later(11)                       # it is not
        assert ask('take', 0, 'b') == day
        later(9)
        ask('keep', day, 'a')
        ask('done', day, 'a', True, 40)
        later(2)
        assert ask('take', 0, 'c') == day
        ask('done', day, 'c', True, 20)
        later(19)
        assert ask('take', 0, 'a') is None
        later(2)
        assert ask('take', 0, 'a') == day
        ask('done', day, 'b', False, 10)
        later(60)
        assert ask('take', 0, 'c') is None
        db.execute('ROLLBACK')


class Odd(http.server.BaseHTTPRequestHandler):
    """Stripe, if it had no events, and said this of these payments."""
    says = {}
    asked = []

    def do_GET(self):               # pylint: disable=invalid-name
        about = self.path.partition('?')[0].rpartition('/')[2]
        self.asked.append(about)
        code, what = self.says.get(about, (404, {}))
        if about == 'events':
            code, what = 200, {'object': 'list', 'data': [],
                               'has_more': False}
        body = json.dumps(what).encode()
        self.send_response(code)
        self.send_header('Content-Type', 'application/json')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):   # pylint: disable=arguments-differ
        pass


def test_what_a_vendor_is_odd_about_keeps_no_other_waiting(
        stack, vendors, client):    # noqa: F811
    """Of one payment the vendor says nothing that can be used: those after it
    are asked for all the same, and the look has failed.  A key that it does not
    take stops it."""
    odd, fine, last = [vendors.expect(client, 900) for _ in range(3)]
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Odd)
    vendor = Vendor()               # for its key
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def look(**says):
        Odd.says = {p: says.get(w, (404, {})) for p, w in
                    ((odd, 'odd'), (fine, 'fine'), (last, 'last'))}
        with open(f'{stack.var}/etc/billing_worker.conf',
                  encoding='utf-8') as f:
            given = ['-o', next(line for line in f
                                if line.startswith('pg = ')).strip()]
        return subprocess.run(
            [WORKER, 'reconcile', *given, '-o',
             f'stripe_url=http://127.0.0.1:{server.server_port}', '-o',
             f'stripe_key_file={vendor.key_file}', '-o',
             'razorpay_key_file='], text=True, capture_output=True,
            check=False, timeout=60 * SLOW)

    def paid(payment):
        return 200, succeeded(payment, 900)['data']['object']

    try:
        done = look(odd=(401, {}), fine=paid(fine))
        assert done.returncode == 2, done
        assert ' 401' in done.stderr
        assert odd in Odd.asked and fine not in Odd.asked

        done = look(odd=(409, {}), fine=paid(fine), last=paid(last))
        assert done.returncode == 2, done
        assert f'not known: /v1/payment_intents/{odd}\n' in done.stderr
        assert ' 1 of our payments ' in done.stderr
        eventually(lambda: vendors.wallet(client) == {'client': 1800}, 15)

        done = look(odd=paid(odd))
        assert done.returncode in (0, 1), done
        eventually(lambda: vendors.wallet(client) == {'client': 2700}, 15)
        audit(stack)
    finally:
        server.shutdown()
        server.server_close()
        vendor.close()


def test_razorpay_is_asked_for_what_it_did(stack, vendors, client):    # noqa: F811
    """Payments and refunds of which nobody heard are done, once, over pages
    and failures; one that makes no sense is parked by itself."""
    vendor = Vendor('razorpay', key='rzp_test_1:the_secret')

    try:
        orders = [vendors.expect(client, 100, 'razorpay') for _ in range(3)]
        paid = [vendor.do('payment', order_id=order, amount=100, captured=True)
                for order in (*orders, orders[0])]
        vendor.do('payment', order_id=orders[1], amount=100, captured=False)
        for _ in range(110):        # two pages, of which most is nothing
            vendor.do('payment', order_id=None, amount=9, captured=False)
        bad = vendor.do('payment', id='pay 1', order_id=orders[0], amount=100,
                        captured=True)
        # of the second payment of the first order
        vendor.do('refund', payment_id=paid[3]['id'], amount=60,
                  status='processed')
        vendor.do('refund', payment_id=paid[1]['id'], amount=5,
                  status='pending')

        # the webhook of one came
        vendors.ended(razorpay_says(vendors, 'payment.captured', orders[2],
                                    paid[2]['id'], 100), 'applied')

        with open(f'{stack.var}/etc/billing_worker.conf',
                  encoding='utf-8') as f:
            given = ['-o', next(line for line in f
                                if line.startswith('pg = ')).strip()]

        def reconcile():
            return subprocess.run(
                [WORKER, 'reconcile', *given, '-o',
                 f'razorpay_url={vendor.url}', '-o',
                 f'razorpay_key_file={vendor.key_file}'], text=True,
                capture_output=True, check=False, timeout=60 * SLOW)

        vendor.faults(error=0.1)
        done = reconcile()
        vendor.faults()
        assert done.returncode == 1, done.stderr    # something is parked
        assert ' 118 payments and refunds looked at, 5 had' in done.stdout
        assert done.stdout.count('razorpay unreadable ') == 1 and bad
        eventually(lambda: vendors.wallet(client) == {'client': 340}, 15)
        assert ', 0 had not come' in reconcile().stdout

        # and late all the same
        vendors.ended(razorpay_says(vendors, 'payment.captured', orders[0],
                                    paid[0]['id'], 100), 'ignored')
        assert vendors.wallet(client) == {'client': 340}
        audit(stack)
    finally:
        vendor.close()
