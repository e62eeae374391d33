"""What a call in the web client is besides its story: a ring on every tab,
what the other one sees of one's switches, the screen, devices."""

import contextlib

import pytest

from astro.fixtures import watch
from astro.stack import eventually
from web_house import NONE_YET, SLOWLY, House, clean, flowing, kept, session

PICTURE = """[...document.querySelectorAll('.pictures > video')].some(
    v => !v.hidden && v.videoWidth > 0)"""

# no device is ever unplugged from this machine: its track ends as if
UNPLUG = """document.querySelector('.own video').srcObject.getVideoTracks()[0]
    .dispatchEvent(new Event('ended'))"""


@pytest.fixture(scope='module')
def house():
    with contextlib.ExitStack() as ends:
        yield House(ends)


@pytest.fixture
def stack(house):
    yield from watch(house.stack)


@contextlib.contextmanager
def people(house, name, tabs=1, query='?relay'):
    """A client with money, and windows of one advisor who is online."""
    with contextlib.ExitStack() as ends:
        c = house.open(ends, query=query)
        context = house.browser.context()
        a = [house.open(ends, context=context, query=query)
             for _ in range(tabs)]
        with kept(name, c, *a):
            house.register(c, 'Asha')
            with house.stack.db() as db:
                db.execute('SELECT billing.topup(%s, 500000, %s)',
                           (int(c.id[2:]), c.id))
            who = house.advisor(f'Meera{c.id[2:]}', c)
            for page in a:
                page.sign_in(who.email)
                page.says('nav.desk')
            find(c)
            yield c, a
            for page in (c, *a):
                clean(page, NONE_YET)


def find(c):
    """Anew: who came online since the page was made is not on it."""
    c.get("location.hash = '#/wallet'")
    c.click('link', 'nav.find')
    c.fill('find.search', f'Meera{c.id[2:]}')


def shows(page, what=True):
    eventually(lambda: page.get(PICTURE) == what, SLOWLY,
               f'a picture: {what}')


def test_w3_it_rings_on_every_tab_until_one_answers(house, stack):
    with people(house, 'ring', tabs=2) as (c, (one, two)):
        c.button('service.chat')
        for page in (one, two):
            page.says('ring.title', name='Asha')
        two.button('ring.reject')
        for page in (one, two):
            page.goes('ring.title')
        c.says('reason.rejected')

        find(c)
        c.button('service.chat')
        for page in (one, two):
            page.says('ring.title', name='Asha')
        one.button('ring.accept')
        two.goes('ring.title')
        for page in (c, one):
            page.says('session.active', patience=SLOWLY)
        assert session(one) == session(c)
        assert '/session/' not in two.get('location.href')
        c.button('session.end')
        for page in (c, one):
            page.says('session.ended')


def test_w3_what_is_switched_is_seen_by_the_other(house, stack):
    with people(house, 'switches') as (c, (a,)):
        c.button('service.video')
        a.button('ring.accept')
        session(c)
        flowing(c, a)
        shows(a)
        for page in (c, a):
            page.says('session.quality.good', 'session.quality.poor',
                      patience=SLOWLY)

        c.button('session.mic.off')
        a.says('session.theirs.muted', name='Asha')
        c.button('session.mic.on')
        a.goes('session.theirs.muted')

        c.button('session.cam.off')
        a.says('session.theirs.off', name='Asha')
        shows(a, False)
        c.button('session.cam.on')
        shows(a)
        a.goes('session.theirs.off')

        # both show another thing at once: neither is lost
        c.button('session.screen.on')
        a.button('session.screen.on')
        for page in (c, a):
            page.find('button', 'session.screen.off')
        eventually(lambda: all(p.stats()['width'] not in (None, 640, 320)
                               for p in (c, a)), SLOWLY,
                   'another picture than that of the camera')
        flowing(c, a, more=1)
        a.button('session.screen.off')
        c.button('session.screen.off')
        flowing(c, a)

        # another camera; the second of Chromium's is one for depth
        c.button('session.devices')
        c.find('combobox', 'session.cam')
        names = c.get("[...document.querySelectorAll('dialog select')].map("
                      's => [...s.options].map(o => o.text))')
        assert [len(n) >= 2 for n in names] == [True, True], names
        assert any('fake' in n for n in names[1]), names
        before = c.get("document.querySelector('.own video').srcObject"
                       '.getVideoTracks()[0].label')
        assert names[1][-1] != before
        c.choose('session.cam', names[1][-1])
        eventually(lambda: c.get(
            "document.querySelector('.own video').srcObject"
            '.getVideoTracks()[0].label') != before, SLOWLY)
        c.press('Escape')
        flowing(c, a)

        # a camera that goes away
        c.get(UNPLUG)
        c.says('error.unplugged')
        a.says('session.theirs.off', name='Asha')
        c.button('app.close')
        c.button('session.cam.on')
        flowing(c, a)

        # in mid-call the page is loaded again
        c.call('Page.reload')
        c.says('session.active', patience=SLOWLY)
        for side in flowing(c, a):
            assert side['path'] == ['relay', 'relay']
        a.button('session.end')
        for page in (c, a):
            page.says('session.ended')
