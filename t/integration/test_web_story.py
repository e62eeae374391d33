"""The whole story of a consultation between two people in real browsers, at
the pages of web/: from an account to a review, with everything on the way that
may not matter to them."""

import contextlib
import re
import time

import pytest

from astro.fixtures import watch
from astro.stack import eventually
from web_house import NONE_YET, SLOWLY, House, clean, flowing, kept, session

LOW = 30                        # seconds left: the client is told

# what Chromium's network layer logs when the line to a server is gone
GONE = (r"network: WebSocket connection to 'wss://127\.0\.0\.1:\d+/ws' failed",
        r'network: Failed to load resource: net::ERR_'
        r'(CONNECTION_\w+|INTERNET_DISCONNECTED|TIMED_OUT|NETWORK_CHANGED)')


@pytest.fixture(scope='module')
def house():
    with contextlib.ExitStack() as ends:
        yield House(ends, worker={'low_seconds': str(LOW)})


@pytest.fixture
def stack(house):
    yield from watch(house.stack)


def paid(house, s):
    with house.stack.db() as db:
        return db.execute(
            'SELECT coalesce(sum(amount), 0) FROM ledger.transfer'
            ' WHERE session_id = %s', (int(s[2:]),)).fetchone()[0]


def says_all(pages, *texts):
    for page in pages:
        page.says(*texts, patience=SLOWLY)


def both_show(house, conv, count, *pages):
    """Each shows what PostgreSQL has, in that order: so many messages."""
    def same():
        said = house.said(conv)
        return len(said) == count and all(p.shown() == said for p in pages)

    eventually(same, SLOWLY, f'{count} messages: {house.said(conv)}, not '
               + ' and '.join(str(p.shown()) for p in pages))


def top_up(page, amount):
    page.fill('topup.amount', amount)
    page.button('topup.pay')


def switch(page, service, money):
    """The client's: to another service, at the price that is asked."""
    page.button(f'Switch to {service}')
    page.says('session.switch.ask', service=service, money=money)
    page.button('session.switch.yes')


def test_w3_the_whole_story(house, stack):
    with contextlib.ExitStack() as ends:
        c = house.open(ends, house.net.tcp_port)
        a = house.open(ends)
        with kept('story', c, a):
            story(house, stack, c, a)


def story(house, stack, c, a):
    def step(what):
        print(f'{time.strftime("%T")} {what}: {c.stats()}, {a.stats()}')

    # an account, money, somebody to talk to
    step('an account')
    house.register(c, 'Asha')
    who = house.advisor('Meera', c)
    a.sign_in(who.email)
    a.says('nav.desk')
    c.click('link', 'nav.wallet')
    top_up(c, '1000')
    c.says('topup.done')
    c.says(re.escape(c.money(100000)))
    c.click('link', 'nav.find')
    c.fill('find.search', 'Meera')
    c.button('service.video')
    a.says('ring.title', name='Asha')
    a.button('ring.accept')
    s = session(c)
    assert session(a) == s
    says_all((c, a), 'session.active')
    conv = f"c_{house.row(s, 'conversation_id')[0]}"

    # they see each other, through the relay alone
    step('they see')
    for side in flowing(c, a):
        assert side['policy'] == 'relay' and side['path'] == ['relay', 'relay']
    c.write('Can you see me?')
    a.says('Can you see me?')
    a.write('Yes, and hear you.')
    c.says('Yes, and hear you.')

    # no picture, and again one
    step('no picture')
    switch(c, 'Chat', c.money(6000))
    for page in (c, a):
        page.says('Chat with')
        eventually(lambda p=page: not p.there('button', 'session.mic.off'),
                   SLOWLY)
    a.write('Only words now.')
    switch(c, 'Video', c.money(12000))
    says_all((c, a), 'Video with')

    # the advisor's camera is the advisor's
    a.says('session.asked.video', name='Asha')
    assert not a.there('button', 'session.cam.off')
    a.button('session.asked.video.yes')
    flowing(c, a)

    # nginx is reloaded: the picture goes on, nothing is lost
    step('nginx is')
    before = [p.stats() for p in (c, a)]
    stack.reload()
    for n in range(5):
        c.write(f'during a reload {n}')
        a.write(f'and back {n}')
    both_show(house, conv, 13, c, a)
    after = flowing(c, a)
    assert [p['ufrag'] for p in after] == [p['ufrag'] for p in before]

    # a worker dies
    step('a worker dies')
    for pid in sorted(stack.serving()):
        stack.kill_nginx_worker(pid)
    c.write('after a death')
    a.write('I am here')
    both_show(house, conv, 15, c, a)
    says_all((c, a), 'session.active')
    flowing(c, a)

    # the client's network is cut
    step('the network')
    clean(a, *GONE)
    before = [p.stats() for p in (c, a)]
    house.net.cut(c.id)
    c.says('session.reconnecting.me', patience=SLOWLY)
    a.says('session.reconnecting', patience=SLOWLY)
    c.says('session.path', patience=SLOWLY)
    billed = eventually(lambda: house.still(s), SLOWLY)
    c.write('written without a network')
    a.write('written to nobody')
    assert house.row(s, 'billed_ms, state') == (billed, 'reconnecting')
    house.net.mend()
    says_all((c, a), 'session.active')
    after = flowing(c, a)
    for now, was in zip(after, before):
        assert now['path'] == ['relay', 'relay']
        assert now['ufrag'] != was['ufrag'] and now['peers'] == was['peers']
    both_show(house, conv, 17, c, a)

    # another price: the money does for a little more than LOW
    step('another price')
    switch(c, 'Chat', c.money(6000))
    says_all((c, a), 'Chat with')
    minor = int(re.sub(r'\D', '', c.get(
        "document.querySelector('.balance').textContent")))
    rate = minor * 60 // (LOW + 3)
    assert stack.rest.call('PUT', '/api/advisors/me',
                           {'rates': {'video': rate}}, who.token).status == 200
    switch(c, 'Video', c.money(rate))
    says_all((c, a), 'Video with')
    a.button('session.asked.video.yes')
    c.says('session.low', patience=SLOWLY)
    assert not a.has('session.low')

    # more money, for ten seconds, without leaving the call
    step('more money')
    c.button('session.topup')
    top_up(c, str(rate // 600))
    with stack.db() as db:
        eventually(lambda: db.execute(
            "SELECT count(*) FROM ledger.checkout WHERE owner_id = %s AND"
            " state = 'paid'", (int(c.id[2:]),)).fetchone() == (2,), SLOWLY)
    assert session(c) == s
    flowing(c, a)

    # and then it is spent
    step('the end')
    says_all((c, a), 'session.ended')
    says_all((c, a), 'reason.low_balance')

    # the books
    step('the books')
    total = paid(house, s)
    assert house.row(s, 'charged, state')[0] == total
    for page in (c, a):
        page.says('session.total', money=page.money(total))
    assert stack.audit()[0] == 0

    # and what one thinks of it
    step('and what one')
    c.click('radio', '5 ')
    c.fill('review.text', 'She knew.')
    c.button('review.send')
    c.says('review.thanks')
    with stack.db() as db:
        assert db.execute('SELECT rating, text FROM consult.review'
                          ' WHERE session_id = %s', (int(s[2:]),)
                          ).fetchone() == (5, 'She knew.')
    for page in (c, a):
        clean(page, *GONE, NONE_YET)
