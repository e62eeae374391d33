"""W6, W8: an advisor's pages and the protocol page in a browser, each compared
with what the server has of it."""

import datetime
import json
import os
import uuid

import pytest

from astro.fixtures import watch
from astro.look import Eyes, Window
from astro.stack import eventually
from astro.town import Talk

ZONE = datetime.timezone.utc


@pytest.fixture(scope='module')
def house(shared):
    shared.revive()
    watched = watch(shared)
    stack = next(watched)
    demo = f'{stack.var}/www/web/demo.json'
    with open(demo, 'w', encoding='utf-8') as f:
        json.dump({'people': [{'name': 'Boss', 'role': 'admin',
                               'email': 'a@b.test', 'password': 'none'}]}, f)
    yield stack
    os.unlink(demo)
    next(watched, None)


@pytest.fixture(scope='module')
def browser():
    browser = Eyes()
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope='module')
def talk(house):
    """Two who have had a consultation of four messages; both are gone."""
    talk = Talk(house, house.person('client', 500000),
                house.person('advisor')).active()
    talk.speak([('c', 'One'), ('a', 'Two'), ('c', 'Three'), ('a', 'Four')])
    talk.a.expect('billing_tick', timeout=20)
    talk.end()
    for line in (talk.c, talk.a):
        line.close()
    return talk


@pytest.fixture
def open_(house, browser):
    """open_(who, path): a window of theirs, in which nothing goes wrong."""
    had = []

    def window(who, path):
        had.append(Window(browser, house, who))
        return had[-1].open(path)

    yield window
    for one in had:
        wrong = one.get('window.wrong')
        one.close()
        assert wrong == [], wrong


def ask(house, method, path, who, body=None, status=200, **more):
    answer = house.rest.call(method, f'/api{path}', body, who.token, **more)
    assert answer.status == status, answer
    return answer.json


def ready(window):
    return window.until("document.querySelector('.line.ready')")


# -- W6: the desk --------------------------------------------------------------

def test_w6_each_window_rings_until_one_answers(house, open_):
    advisor, client = house.person('advisor'), house.person('client', 90000)
    one, two = open_(advisor, 'desk'), open_(advisor, 'earnings')
    for window in (one, two):
        ready(window)
    client.connect().call('session_start', {
        'advisor': advisor.id, 'service': 'chat', 'cid': str(uuid.uuid4())})
    for window in (one, two):
        window.shows('A client wants to talk to you', 'dialog')
        window.until("document.title.startsWith('☎')")
        # a key that was meant for the page accepts nothing
        assert window.get("document.activeElement.localName") != 'button'
    two.call('Page.bringToFront')
    two.click('Accept', 'dialog')
    two.until("location.hash.startsWith('#/session/')")
    for window in (one, two):
        window.until("!document.querySelector('dialog')"
                     " && !document.title.startsWith('☎')")
    one.shows('You are in a consultation')
    session = two.get("location.hash.slice(10)")
    client.client.call('session_end', {'session': session})
    one.shows('clients can call you')


def test_w6_away_and_online_again(house, open_):
    advisor = house.person('advisor')
    window = open_(advisor, 'desk')
    ready(window)
    for press, away in (('Be away', True), ('Be online', False)):
        window.click(press)
        window.shows('You are away' if away else 'You are online')
        assert ask(house, 'GET', '/advisors/me', advisor)['away'] is away


def test_w6_who_is_not_approved_is_told_what_to_do(house, open_):
    advisor = house.person('advisor')

    def approved(at):
        with house.db() as db:
            db.execute(f'UPDATE identity.advisor SET approved_at = {at}'
                       ' WHERE account_id = %s', (advisor.number,))

    approved('NULL')
    window = open_(advisor, 'desk')
    window.shows('You are not approved yet')
    assert not window.get('document.querySelector("main").textContent'
                          '.includes("You are online")')
    approved('now()')
    window.shows('You are online')


def test_w6_hours_of_several_spans_and_a_day_off(house, open_):
    advisor = house.person('advisor')
    window = open_(advisor, 'desk')
    off = (datetime.date.today() + datetime.timedelta(days=9)).isoformat()

    def put(label, value, event='change'):
        window.until(f"""(() => {{
            const all = document.querySelectorAll(
                '[aria-label={json.dumps(label)}]');
            const e = all[all.length - 1];

            if (e) {{ e.value = {json.dumps(value)};
                e.dispatchEvent(new Event('{event}', {{bubbles: true}})); }}
            return !!e;
        }})()""")

    window.click('Monday: more hours')
    put('Monday, to', '12:00')
    window.click('Monday: more hours')
    window.until("document.querySelectorAll('[aria-label=\"Monday, to\"]')"
                 ".length == 2")
    put('Monday, from', '11:00')
    window.shows('do not overlap: Monday')
    put('Monday, from', '14:00')
    put('Monday, to', '00:00')          # the end of the day
    window.until("!document.querySelector('.hours .wrong')")
    put('Which day', off, 'input')
    window.click('Take it off')
    window.until("document.querySelector('.hours .off button.plain')")
    window.click('Save', '.hours')
    window.shows('Saved', 'body')
    said = ask(house, 'GET', '/advisors/me/schedule', advisor)
    assert said['week'] == [
        {'day': 1, 'from': '09:00', 'to': '12:00'},
        {'day': 1, 'from': '14:00', 'to': '24:00'}]
    assert said['days'] == [{'date': off, 'hours': []}]


def test_w6_bookings_are_confirmed_and_declined(house, open_):
    advisor, client = house.person('advisor'), house.person('client', 9000000)
    ask(house, 'PUT', '/advisors/me/schedule', advisor, {
        'time_zone': 'UTC', 'lead_minutes': 0, 'days': [],
        'week': [{'day': d, 'from': '00:00', 'to': '24:00'}
                 for d in range(1, 8)]})
    now = datetime.datetime.now(ZONE)
    span = [(now + datetime.timedelta(days=n)).strftime('%Y-%m-%dT%XZ')
            for n in (1, 2)]
    slots = ask(house, 'GET', f'/advisors/{advisor.id}/slots?from={span[0]}'
                f'&to={span[1]}', client)['data']
    window = open_(advisor, 'desk')
    window.shows('Nobody has booked')
    ready(window)
    made = [ask(house, 'POST', '/bookings', client, {
        'advisor': advisor.id, 'start': slots[n]['start'],
        'service': 'chat'}, 201)['id'] for n in (2, 5)]
    # it is told: nobody looks again
    window.until("document.querySelectorAll('main"
                 " button[aria-label^=Confirm]').length == 2")
    window.click('Confirm the booking')
    window.shows('confirmed')
    window.click('Decline the booking')
    window.click('Decline', 'dialog')
    window.until("!document.querySelector('dialog')")
    assert [ask(house, 'GET', f'/bookings/{b}', client)['state']
            for b in made] == ['confirmed', 'declined']


# -- W6: clients, earnings -----------------------------------------------------

def test_w6_what_one_notes_of_a_client_is_there_later(house, open_, talk):
    window = open_(talk.advisor, 'clients')
    window.click('Note: A client')
    window.until("document.querySelector('dialog textarea')")
    window.get("""(() => {
        const e = document.querySelector('dialog textarea');
        e.value = 'Likes tea 🍵';
        e.dispatchEvent(new Event('input', {bubbles: true}));
    })()""")
    window.click('Save', 'dialog')
    window.shows('Note ✓')
    assert ask(house, 'GET', f'/advisors/me/clients/{talk.client.id}/note',
               talk.advisor)['text'] == 'Likes tea 🍵'
    window.click('Note ✓')
    window.until("document.querySelector('dialog textarea')?.value"
                 " == 'Likes tea 🍵'")


def test_w6_earnings_are_those_of_the_books(house, open_, talk):
    window = open_(talk.advisor, 'earnings')
    row = talk.assert_settled()
    earned = row['charged'] - row['fee']
    assert earned > 0
    window.shows(f'{earned / 100:,.2f}', '.tiles')
    window.shows(f'{row["fee"] / 100:,.2f}', 'tfoot')
    window.shows('Nowhere to pay you out to yet')
    window.get("""(() => {
        const make = URL.createObjectURL;
        URL.createObjectURL = blob => make(window.file = blob);
    })()""")
    window.click('Save as CSV')
    window.until('window.file')
    lines = window.get('file.text()').split()
    assert [line.split(',')[5:7] for line in lines
            if line.startswith('movement')] \
        == [[str(earned), str(row['fee'])]]


# -- W8: the protocol ----------------------------------------------------------

def sums(window):
    return window.get("""Object.fromEntries([...document.querySelectorAll(
        '[data-sum]')].map(e => [e.dataset.sum, +e.textContent]))""")


def stored(house, talk):
    """cids of what was stored of reactions, in order"""
    with house.db() as db:
        return [c for c, in db.execute(
            "SELECT cid FROM consult.event WHERE conversation_id = %s"
            " AND type = 'chat_react' ORDER BY seq", (int(talk.conv[2:]),))]


def test_w8_nothing_is_lost_or_there_twice(house, open_, talk):
    boss = house.person('admin')
    window = open_(talk.client, 'wire')
    ready(window)
    window.get("import('./parts/trial.js').then(m => {"
               f" m.drain.token = {json.dumps(boss.token)}; }})")

    window.click('Send 20')
    window.shows('0 lost, 0 twice')
    whole = {'sent': 20, 'stored': 20, 'shown': 20, 'lost': 0, 'twice': 0}
    assert sums(window) == whole
    cids = stored(house, talk)
    assert len(cids) == len(set(cids)) == 20
    window.shows('closed with 1006', '.frames')

    window.click('Duplicate')
    window.shows('a duplicate')
    assert sums(window) == whole and stored(house, talk) == cids

    window.click('Drain')
    window.shows('closed with 4503', '.frames')
    window.click('Send 20')
    eventually(lambda: sums(window)['shown'] == 40, 30)
    assert sums(window) == {**whole, 'sent': 40, 'stored': 40, 'shown': 40}
    cids = stored(house, talk)
    assert len(cids) == len(set(cids)) == 40


def test_w8_frames_are_bounded_found_and_without_secrets(open_, talk):
    window = open_(talk.client, 'wire')
    ready(window)
    window.get("document.querySelectorAll('main input[type=checkbox]')[2]"
               '.click()')
    window.get("""import('./live.js').then(({line}) => {
        for (let n = 0; n < 400; n++) line.say('ping');
    })""")
    rows = "document.querySelectorAll('.frames li').length"
    window.until(f'{rows} == 300')
    window.get("import('./live.js').then(({line}) => line.cut())")
    window.until("document.querySelector('.frames').textContent"
                 """.includes('"hello"')""")
    assert window.get("document.querySelector('.frames').textContent"
                      """.includes('"token":"…"')""")
    assert not window.get("/eyJ/.test(document.body.textContent)")
    window.get("""(() => {
        const e = document.querySelector('main input[type=search]');
        e.value = 'HELLO';
        e.dispatchEvent(new Event('input', {bubbles: true}));
    })()""")
    window.until(f'{rows} == 1')
