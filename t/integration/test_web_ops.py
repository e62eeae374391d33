"""W7: the operator's pages in a browser, over a system that lives: what is seen
is what is so, and what is pressed happens, to the minor unit.

One window of one operator looks through all of it; what went wrong in it, in
its console or with its policy, fails the test that it happened in.
"""

import json
import uuid

import pytest

from astro.browser import Browser
from astro.consult import Consultation
from astro.stack import Stack, eventually

WATCH = """
window.bad = [];
addEventListener('error', e => bad.push(e.message));
addEventListener('unhandledrejection',
                 e => bad.push(String(e.reason?.stack ?? e.reason)));
document.addEventListener('securitypolicyviolation',
                          e => bad.push(`${e.violatedDirective} ${e.blockedURI}`));
console.error = (...said) => bad.push(said.join(' '));
if (!sessionStorage.getItem('astro.login'))
    sessionStorage.setItem('astro.login', JSON.stringify({
        token: TOKEN, refresh: 'none', until: Date.now() + 9e6, user: USER}));
"""

DIALOG = 'document.querySelector("dialog[open]")'


class Screen:
    """The operator's window."""

    def __init__(self, stack, browser):
        self.boss = stack.person('admin')
        self.page = browser.page('about:blank')
        self.page.call('Page.addScriptToEvaluateOnNewDocument', source=WATCH
                       .replace('TOKEN', json.dumps(self.boss.token))
                       .replace('USER', json.dumps({'id': self.boss.id,
                                                    'role': 'admin'})))
        self.page.call('Page.navigate', url=f'https://127.0.0.1:{stack.port}/')
        self.sees('All is well', 30)

    def text(self, of='document.body'):
        return self.page.get(f'{of}?.innerText ?? ""')

    def sees(self, text, timeout=15):
        try:
            eventually(lambda: text in self.text(), timeout)
        except AssertionError:
            raise AssertionError(f'no "{text}" in: {self.text()}') from None

    def go(self, path, text):
        self.page.get(f'location.hash = "#/{path}"')
        self.sees(text)

    def press(self, name, within='document'):
        """A button, by what it is called; as Enter on it does."""
        eventually(lambda: self.page.get(
            f'(() => {{ const x = [...{within}?.querySelectorAll("button")'
            ' ?? []].find(b => (b.ariaLabel ?? b.textContent.trim()) == '
            f'{json.dumps(name)} && !b.disabled);'
            ' x?.focus(); x?.click(); return !!x; })()'), 15, f'"{name}"')

    def write(self, label, text, within='document'):
        """Into a field, by its label, as by keys."""
        eventually(lambda: self.page.get(
            f'(() => {{ const x = [...{within}?.querySelectorAll("label")'
            ' ?? []].find(l => l.textContent.trim().startsWith('
            f'{json.dumps(label)}))'
            '?.querySelector("input, textarea, select"); x?.focus();'
            ' x?.select?.(); return !!x; })()'), 15, f'"{label}"')
        self.page.call('Input.insertText', text=text)

    def asked(self, reason, label='Reason, for the log'):
        """Says why in the dialog, and does it: Enter is enough."""
        self.write(label, reason, DIALOG)
        for kind in ('keyDown', 'keyUp'):
            self.page.call('Input.dispatchKeyEvent', type=kind, key='Enter',
                           code='Enter', windowsVirtualKeyCode=13,
                           **({'text': '\r'} if kind == 'keyDown' else {}))

    def dialog(self):
        return self.text(DIALOG)

    def tile(self, name):
        """(what it says, how it looks)"""
        return self.page.get(
            f'(() => {{ const x = document.querySelector("[data-tile={name}]");'
            'return x && [x.querySelector("dd").firstChild.textContent,'
            ' x.className.replace("tile", "").trim()]; })()')

    def looks(self, name, how, timeout=20):
        eventually(lambda: (self.tile(name) or [0, 0])[1] == how, timeout,
                   f'tile {name} {how or "well"}')

    def points(self):
        """How many there are on the charts, and how many gaps in them."""
        return self.page.get('(() => { const x = document.querySelector('
                             '"[data-points]"); return [+x.dataset.points,'
                             ' +x.dataset.gaps]; })()')


@pytest.fixture(scope='module')
def busy():
    stack = Stack(demo=True)
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture(scope='module')
def browser():
    browser = Browser()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope='module')
def window(busy, browser):
    return Screen(busy, browser)


@pytest.fixture
def screen(busy, window):
    yield window
    busy.drop_clients()
    bad = window.page.get('bad.splice(0)')
    assert not bad, bad


@pytest.fixture
def talk(busy):
    """It lives and was charged for."""
    talk = Consultation(busy, rates=(600000, 600000, 600000)).active()
    talk.c.say(talk.conv, 'hello')
    charged(talk)
    return talk


def charged(talk):
    for party in (talk.c, talk.a):
        party.expect('billing_tick', lambda m:
                     m['payload']['session'] == talk.id
                     and m['payload']['charged'] > 10, timeout=20)


def test_w7_figures_are_the_metrics(busy, screen, talk):
    """Within a turn of them; and charges that come are seen to come."""
    screen.go('live', 'All is well')

    def same():
        now = busy.metrics()
        return screen.tile('connections')[0] == str(
            int(now['astro_connections'])) == '3' \
            and screen.tile('pg')[0] == str(int(now['astro_pg_up'])) \
            and screen.tile('redis')[0] == str(int(now['astro_redis_up']))

    eventually(same, 20, 'the same figures')
    eventually(lambda: screen.tile('sessions')[0] == '1', 20)
    eventually(lambda: any(c in '123456789' for c in
                           screen.tile('revenue')[0]), 20)
    talk.end()
    assert screen.tile('books')[0] == '-'
    assert busy.audit()[0] == 0
    screen.go('log', 'Each row has the hash')
    screen.go('live', 'The books were audited')
    assert screen.tile('books')[0] == 'right'


def test_w7_a_reload_leaves_the_charts(busy, screen):
    """And so does a look at another page; what was missed is a gap."""
    screen.go('live', 'All is well')
    before = eventually(lambda: (n := screen.points())[0] >= 3 and n, 20)
    busy.reload()
    after = eventually(lambda: (n := screen.points())[0] > before[0] + 1
                       and n, 30)
    screen.go('log', 'Each row has the hash')
    screen.go('live', 'Connections by worker')
    assert screen.points()[0] >= after[0]


def test_w7_redis_and_a_worker_are_missed(busy, screen):
    """What is wrong is said with what to do, and where; what nobody knows is
    no 0."""
    screen.go('live', 'All is well')
    busy.stop('redis')
    try:
        screen.sees('Redis is away.', 20)
        screen.looks('redis', 'warn')
        assert 'All is well' not in screen.text()
        eventually(lambda: screen.tile('billers')[0] == '-', 30)
        assert screen.tile('revenue')[0] == '-'
    finally:
        busy.start('redis')
    screen.sees('All is well', 40)
    screen.looks('redis', '')

    busy.kill_nginx_worker(min(busy.serving()))
    screen.sees('Workers of nginx died within 15 minutes: 1.', 40)
    screen.looks('connections', 'warn')


def test_w7_a_session_is_ended_for_both(busy, screen, talk):
    screen.go('sessions', talk.id)
    screen.press(f'End {talk.id}')
    eventually(lambda: 'stays charged' in screen.dialog(), 10)
    screen.asked('abuse')
    assert talk.ended(20)['reason'] == 'admin'
    screen.sees('Nobody is in a consultation')
    row = talk.row()
    assert row['state'] == 'ended' and row['charged'] > 0
    acts = busy.rest.get(f'/api/admin/log?about={talk.id}',
                         screen.boss.token).json['data']
    assert [(a['act'], a['detail']['reason']) for a in acts] \
        == [('session_end', 'abuse')]


def test_w7_a_refund_is_in_the_ledger(busy, screen):
    """Of a part of what a card paid; no more than was paid can be asked."""
    client = busy.person()
    rest, token = busy.rest, client.token
    made = rest.post('/api/payments', {'provider': 'stripe', 'amount': 50000},
                     token, headers={'Idempotency-Key': uuid.uuid4().hex})
    assert made.status == 201, made
    path = f"/api/payments/{made.json['id']}"
    ready = eventually(lambda: (p := rest.get(path, token).json)['state']
                       == 'ready' and p, 20, 'a payment that can be paid')
    rest.documented = False
    paid = rest.post('/demo/pay',
                     {'secret': ready['checkout']['client_secret']})
    rest.documented = True
    assert paid.status == 200, paid
    eventually(lambda: rest.get('/api/wallet', token).json['balance']['amount']
               == 50000, 20, 'the money')

    row = rest.get(f'/api/admin/payments?user={client.id}',
                   screen.boss.token).json['data'][0]['id']
    screen.go('money', 'Payments')
    screen.press(f'Refund {row}')
    screen.write('How much', '500.01', DIALOG)
    eventually(lambda: 'at most' in screen.dialog(), 10)
    screen.write('How much', '123.45', DIALOG)
    eventually(lambda: 'Give back ₹123.45' in screen.dialog(), 10)
    screen.asked('charged twice')

    def gone():
        with busy.db() as db:
            return db.execute(
                'SELECT r.amount, r.state, t.amount, w.balance'
                '  FROM ledger.refund r JOIN ledger.payment p'
                '    ON p.id = r.payment_id'
                '  JOIN ledger.wallet w ON w.owner_id = p.owner_id'
                "   AND w.kind = 'client'"
                "  LEFT JOIN ledger.transfer t ON t.kind = 'refund'"
                '   AND t.debit_account IN (SELECT x.id FROM ledger.wallet x'
                '                            WHERE x.owner_id = p.owner_id)'
                ' WHERE p.owner_id = %s', (client.number,)).fetchall() \
                == [(12345, 'done', 12345, 37655)]

    eventually(gone, 20, 'the refund in the books')
    screen.sees('done', 20)


def test_w7_who_is_blocked_is_out(busy, screen):
    client = busy.person()
    socket = client.connect()
    screen.go(f'users/{client.id}', 'Edit')
    screen.press('Block')
    eventually(lambda: 'kept out at once' in screen.dialog(), 10)
    screen.asked('abuse')
    assert socket.wait_close() == 4403
    assert busy.rest.get('/api/me', client.token).status in (401, 403)
    screen.press('Unblock')
    screen.asked('a mistake')
    screen.sees('is no longer blocked')
    client.connect()


def test_w7_a_dispute_is_decided(busy, screen, talk):
    """The look at what was said is in the log, the money in the ledger."""
    talk.end()
    made = busy.rest.post(f'/api/sessions/{talk.id}/dispute',
                          {'reason': 'quality', 'text': 'no sound'},
                          talk.client.token)
    assert made.status == 201, made
    id = made.json['id']
    screen.go('disputes', 'no sound')
    assert 'Each look is written down' in screen.text()
    screen.press('What was said')
    screen.sees('hello')
    screen.press(f'Decide {id}')
    screen.write('How much', '0.10', DIALOG)
    screen.write('Why, for both', 'half of it was silent', DIALOG)
    screen.press('Give back ₹0.10', DIALOG)
    screen.sees('Nobody waits for a decision')
    said = busy.rest.get(f'/api/sessions/{talk.id}/dispute',
                         talk.client.token).json
    assert (said['state'], said['amount']['amount'], said['decision']) \
        == ('refunded', 10, 'half of it was silent')
    with busy.db() as db:
        assert db.execute('SELECT sum(amount)::int FROM ledger.transfer WHERE'
                          " kind IN ('reversal', 'reversal_fee')"
                          ' AND about = %s',
                          (talk.number,)).fetchone() == (10,)
    acts = busy.rest.get(f'/api/admin/log?about={talk.id}',
                         screen.boss.token).json['data']
    assert 'transcript_read' in [a['act'] for a in acts]


def test_w7_payouts_are_ordered(busy, screen):
    """Counted first: what is asked is what then is made."""
    client, advisor = busy.person(balance=9000), busy.person('advisor')
    given = busy.rest.post(f'/api/advisors/{advisor.id}/gifts',
                           {'amount': 5001, 'cid': str(uuid.uuid4())},
                           client.token)
    assert given.status == 201, given
    with busy.db() as db:
        db.execute('INSERT INTO ledger.payee (account_id, destination)'
                   " VALUES (%s, 'acct_ops')", (advisor.number,))
        owed, = db.execute('SELECT balance FROM ledger.wallet WHERE'
                           " owner_id = %s AND kind = 'advisor'",
                           (advisor.number,)).fetchone()
    sum = f'₹{owed / 100:.2f}'
    screen.go('money', 'Payouts')
    screen.press('Pay out now')
    screen.sees('cannot be called back', 20)
    assert f'1 advisors are sent {sum}' in screen.dialog()
    screen.press(f'Pay out {sum}', DIALOG)
    screen.sees('Payouts of')

    def made():
        with busy.db() as db:
            return db.execute('SELECT amount, state FROM ledger.payout WHERE'
                              ' advisor_id = %s', (advisor.number,)).fetchall()

    eventually(lambda: made() and made()[0][1] != 'pending', 30)
    assert made()[0][0] == owed
    screen.sees(f'1 were made, {sum}', 20)
    orders = busy.rest.get('/api/admin/payouts', screen.boss.token).json
    assert [(o['asked_by'], o['dry_run']) for o in orders['orders']] \
        == [(screen.boss.id, False), (screen.boss.id, True)]
