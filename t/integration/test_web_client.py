"""What a client does on the pages of the web client, against what the API
says of it: advisors found and paged, a booking made and given up, money that
comes and limits on it, a review and a complaint."""

import datetime
import uuid

import pytest

from astro.consult import Consultation
from astro.look import Eyes, Window
from astro.stack import eventually

ENTER = """
window.enter = (field, text) => {
    const e = document.querySelector(field);

    e.value = text;
    e.dispatchEvent(new Event('input', {bubbles: true}));
};
/* twice in one turn of the loop, as by a finger that trembles */
window.twice = (text, within) => {
    const e = [...document.querySelectorAll(`${within} button`)].find(
        b => b.textContent.includes(text));

    e.click();
    e.click();
};
window.asked = [];
const asks = fetch;
window.fetch = (...all) => { asked.push(String(all[0])); return asks(...all); };
0
"""


@pytest.fixture(scope='module')
def browser():
    browser = Eyes()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture
def visit(stack, browser):
    """visit(who, path): their window, there."""
    had = []

    def visit(who, path):
        window = Window(browser, stack, who).open(path)
        had.append(window)
        window.get(ENTER)
        return window

    yield visit
    for window in had:
        assert window.get('wrong') == []
        window.close()


def ask(stack, who, method, path, body=None, status=200):
    answer = stack.rest.call(method, f'/api{path}', body, who.token)
    assert answer.status == status, answer
    return answer.json


def names(window):
    return window.get("[...document.querySelectorAll('.cards h2')]"
                      '.map(h => h.textContent)')


def test_w2_who_is_found_is_whom_the_api_finds(stack, visit):
    """By subject and price, page by page, once each; what is typed is asked
    for once; nobody: it says which filter may go."""
    slug = f's{uuid.uuid4().hex[:10]}'
    with stack.db() as db:
        db.execute('INSERT INTO identity.specialty (slug, name)'
                   ' VALUES (%s, %s)', (slug, slug.upper()))
    for n in range(23):
        who = stack.person('advisor', rates=(1000 + n % 5, None, None))
        with stack.db() as db:
            db.execute('UPDATE identity.account SET name = %s WHERE id = %s',
                       (f'{slug} {n}', who.number))
            db.execute('UPDATE identity.advisor SET specialties = %s'
                       ' WHERE account_id = %s', ([slug], who.number))
    client = stack.person('client', 5000)
    window = visit(client, 'find')
    window.until("document.querySelector('select[name=specialty] option"
                 f"[value={slug}]')")
    window.get(f"enter('select[name=specialty]', {slug!r})")
    window.get("enter('.filters select:not([name])', 'price')")

    path = f'/advisors?specialty={slug}&sort=price&limit=20'
    page = ask(stack, client, 'GET', path)
    first = [a['name'] for a in page['data']]
    rest = ask(stack, client, 'GET', f'{path}&cursor={page["next_cursor"]}')
    all_ = first + [a['name'] for a in rest['data']]
    assert len(set(all_)) == 23
    eventually(lambda: names(window) == first, 20, 'the first page')
    window.click('app.more')
    eventually(lambda: names(window) == all_, 20, 'all of them')
    window.until('![...document.querySelectorAll("main button")].some('
                 'b => b.textContent == "Show more")')

    window.get('asked.length = 0; 0')
    typed = f'{slug} 1'
    window.get(f"(() => {{ for (let n = 1; n <= {len(typed)}; n++)"
               f" enter('[type=search]', {typed!r}.slice(0, n)); }})()")
    found = sorted(a['name'] for a in ask(
        stack, client, 'GET', f'{path}&q={slug}%201')['data'])
    eventually(lambda: sorted(names(window)) == found, 20, 'by the name')
    assert window.get("asked.filter(a => a.includes('&q=')).length") == 1

    window.get("enter('[type=search]', 'nobody at all')")
    window.shows('find.none')
    window.click('Without: name')
    eventually(lambda: names(window) == first, 20, 'wider')


def test_w2_a_booking_is_made_once_and_given_up(stack, visit):
    """What is held is said before, and what is given back; the API has it."""
    advisor = stack.person('advisor')
    client = stack.person('client', 500000)
    ask(stack, advisor, 'PUT', '/advisors/me/schedule', {
        'time_zone': 'UTC', 'slot_minutes': 30, 'lead_minutes': 0,
        'ahead_days': 20, 'week': [{'day': d, 'from': '09:00', 'to': '21:00'}
                                   for d in range(1, 8)], 'days': []})
    window = visit(client, f'advisor/{advisor.id}')
    now = datetime.datetime.now(datetime.timezone.utc)
    span = [(now + datetime.timedelta(days=n)).strftime('%Y-%m-%dT%XZ')
            for n in (0, 30)]
    terms = ask(stack, client, 'GET', f'/advisors/{advisor.id}/slots'
                f'?from={span[0]}&to={span[1]}')['terms']
    window.until("document.querySelector('.slots button')")
    # a day on which it costs nothing to change one's mind
    window.get("enter('select.day', [...document.querySelectorAll("
               "'select.day option')].at(-2).value)")
    window.get("document.querySelector('.slots button').click()")
    deposit = 6000 * 30 * terms['deposit_bps'] // 10000
    window.shows(f'{deposit / 100:,.2f}', 'dialog')
    window.get("twice('Book', 'dialog footer')")
    window.until("!document.querySelector('dialog')")
    booking, = ask(stack, client, 'GET', '/bookings')['data']
    assert booking['state'] == 'requested'
    assert booking['held']['amount'] == booking['deposit']['amount'] == deposit

    window.go('bookings').shows('booking.requested')
    ask(stack, advisor, 'POST', f'/bookings/{booking["id"]}/confirm', {})
    window.shows('booking.confirmed')
    window.click('booking.giveup')
    window.shows(f'given back: ₹{deposit / 100:,.2f}', 'dialog')
    window.click('booking.do', 'dialog')
    window.shows('booking.cancelled')
    booking, = ask(stack, client, 'GET', '/bookings')['data']
    assert booking['state'] == 'cancelled'
    assert booking['charged']['amount'] == booking['held']['amount'] == 0
    assert ask(stack, client, 'GET', '/wallet')['held']['amount'] == 0


def test_w4_money_that_comes_shows_and_limits_hold(stack, visit):
    """A credit without a reload; the limit that was set, and the start that
    it refuses."""
    client = stack.person('client', 10000)
    window = visit(client, 'wallet')
    window.shows('100.00', '[data-tile=available]')
    with stack.db() as db:
        db.execute('SELECT billing.topup(%s, %s, %s)',
                   (client.number, 2345, f'test-{uuid.uuid4()}'))
    # one comes back to the window
    window.get("document.dispatchEvent(new Event('visibilitychange'))")
    window.shows('123.45', '[data-tile=available]')
    window.shows('123.45', 'header .balance')
    window.until("[...document.querySelectorAll('main td.n')].some("
                 "td => td.textContent.includes('23.45'))")

    window.get("enter('[name=limit-day]', '75.50')")
    window.get("twice('Save', '.limit')")
    eventually(lambda: ask(stack, client, 'GET', '/me/limits')['day'] == {
        'amount': 7550, 'currency': 'INR'}, 20, 'the limit')
    window.get("enter('[name=limit-day]', '80')")
    window.get("twice('Save', '.limit')")
    window.shows('80.00 from')
    limits = ask(stack, client, 'GET', '/me/limits')
    assert limits['day']['amount'] == 7550
    assert limits['day_next']['limit']['amount'] == 8000

    window.get("enter('[name=limit-day]', '7x')")
    window.shows('desk.wrong')
    window.get("enter('.coupon input', 'NO-SUCH-CODE')")
    window.click('coupon.use')
    window.shows('coupon.unknown')


def test_w5_a_review_and_a_complaint(stack, visit):
    """Written and changed, it is on the advisor's page; the complaint is
    open, and one."""
    talk = Consultation(stack).active()
    talk.c.say(talk.conv, 'How will it be?')
    talk.a.expect('billing_tick', timeout=20)
    talk.end()
    for line in (talk.c, talk.a):
        line.close()
    client, path = talk.client, f'/sessions/{talk.id}'
    window = visit(client, f'history/{talk.id}')
    window.shows('How will it be?')
    charged = ask(stack, client, 'GET', path)['charged']
    window.shows(f'₹{charged / 100:,.2f} in all')

    window.shows('review.title')
    window.get("document.querySelectorAll('.stars input')[3].click()")
    window.get("enter('.review textarea', 'Worth every second 🙏')")
    window.get("twice('Send review', '.review')")
    window.shows('review.thanks')
    window.click('review.edit')
    window.get("document.querySelectorAll('.stars input')[4].click()")
    window.click('review.send')
    window.shows('review.thanks')
    review = ask(stack, client, 'GET', f'{path}/review')
    assert (review['rating'], review['text']) == (5, 'Worth every second 🙏')

    window.click('dispute.ask')
    window.get("enter('.dispute textarea', 'Not a word for a minute')")
    window.get("twice('Send to', '.dispute')")
    window.shows('dispute.mine.open')
    dispute = ask(stack, client, 'GET', f'{path}/dispute')
    assert (dispute['state'], dispute['text']) \
        == ('open', 'Not a word for a minute')

    window.go(f'advisor/{talk.advisor.id}').shows('Worth every second 🙏')
    rating = ask(stack, client, 'GET',
                 f'/advisors/{talk.advisor.id}')['rating']
    assert rating == {'average': 5, 'count': 1}
    window.shows('5.0', '.rating')
