"""What the tests of the web client's story stand on: a stack with a vendor, a
relay and a network that can be cut, one browser, and two people at real pages
of web/ in contexts of their own."""

import contextlib
import os
import re
import time

from astro.browser import Browser
from astro.coturn import Coturn
from astro.cut import Network
from astro.stack import Stack, eventually
from astro.window import Window

PASSWORD = 'correct horse battery'
SLOWLY = 90

# Five pictures a second are enough to see that they move, and two cores encode
# two calls' worth of them; a tab of that title is what is shared.
FLAGS = ['--use-fake-device-for-media-stream=fps=5,device-count=3',
         '--auto-select-tab-capture-source-by-title=Astro',
         '--force-prefers-reduced-motion']

# Looks on: which connections a page has made, and when it lost them.
PEERS = """globalThis.peers = [];
globalThis.lines = [];
globalThis.WebSocket = class extends WebSocket {
    constructor(...of) {
        super(...of);
        const say = (...what) => lines.push([new Date().toISOString(),
                                             ...what].join(' '));
        say('new');
        this.addEventListener('open', () => say('open'));
        this.addEventListener('close', e => say('close', e.code, e.reason));
    }
};
globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...of) { super(...of); peers.push(this); }
};"""

STATS = """(async () => {
    const pc = peers.at(-1);
    if (!pc) return null;
    const by = await pc.getStats(), all = [...by.values()];
    const pair = by.get(all.find(s => s.type == 'transport')
                        ?.selectedCandidatePairId);
    const video = all.filter(s => s.type == 'inbound-rtp'
                                  && s.kind == 'video');
    return {
        frames: video.reduce((n, s) => n + (s.framesDecoded ?? 0), 0),
        width: video[0]?.frameWidth, state: pc.iceConnectionState,
        policy: pc.getConfiguration().iceTransportPolicy,
        path: pair && [by.get(pair.localCandidateId)?.candidateType,
                       by.get(pair.remoteCandidateId)?.candidateType],
        ufrag: /a=ice-ufrag:(.*)/.exec(pc.localDescription?.sdp)?.[1].trim(),
        peers: peers.length};
})()"""

LOCAL = """JSON.stringify([peers.map(p => [p.signalingState,
    p.iceConnectionState, p.iceGatheringState,
    p.localDescription?.sdp.match(/a=cand.*/g), p.getConfiguration().iceServers,
    p.getSenders().map(s => s.track?.kind)]),
    [...document.querySelectorAll('video')].map(
        v => v.srcObject?.getTracks().map(t => [t.kind, t.readyState]))])"""

# Chromium says each 404 on the console: there is no review yet, no dispute
NONE_YET = r'network: .* 404 .*/api/sessions/s_\d+/(review|dispute) *$'

SHOWN = """[...document.querySelectorAll('[role=log] article')].map(
    a => [a.dataset.seq ? +a.dataset.seq : null,
          a.querySelector(':scope > p').textContent])"""


class Person(Window):
    """At a page of the web client."""

    def __init__(self, browser, url, scripts=(), context=None, watch=True):
        self.name = self.email = self.id = None
        super().__init__(browser, 'about:blank', scripts, context, watch)
        self.call('Page.addScriptToEvaluateOnNewDocument', source=PEERS)
        self.call('Page.navigate', url=url)
        self.says('login.in')

    def sign_in(self, email):
        self.fill('login.email', email)
        self.fill('login.password', PASSWORD)
        self.button('login.in')

    def write(self, text):
        self.fill('chat.write', text)
        self.press('Enter')

    def shown(self):
        return self.get(SHOWN)

    def stats(self):
        return self.get(STATS)

    def meter(self):
        return self.get("Object.fromEntries([...document.querySelectorAll("
                        "'.meter div')].map(d => [d.children[0].textContent,"
                        " d.children[1].textContent]))")

    def money(self, minor, currency='INR'):
        return self.get('new Intl.NumberFormat(undefined, {style: "currency",'
                        f' currency: "{currency}"}}).format({minor / 100})')


class House:
    def __init__(self, ends, worker=None, settings=None):
        self.coturn = Coturn()
        ends.callback(self.coturn.close)
        self.net = Network(None, self.coturn.port)
        ends.callback(self.net.close)
        at = f'127.0.0.1:{self.net.udp_port}'
        self.stack = Stack(
            demo=True, worker_settings=worker, settings={
                'astro_turn': f'stun:{at} turn:{at}'
                              f' secret={self.coturn.secret} ttl=1h',
                # pages of a busy machine answer late
                'astro_live_ping': '1s', 'astro_live_silence': '3s',
                'astro_hello_timeout': '20s', 'astro_grace': '60s',
                'astro_ready': '60s', **(settings or {})})
        self.net.to = self.stack.port, self.coturn.port
        ends.callback(self.stack.down)
        self.stack.up()
        self.browser = Browser(*FLAGS)
        ends.callback(self.browser.close)

    def url(self, port=None, query='?relay'):
        return f'https://127.0.0.1:{port or self.stack.port}/{query}'

    def open(self, ends, port=None, context=None, query='?relay'):
        page = self.browser.page(
            self.url(port, query), kind=Person,
            context=context or self.browser.context(), watch=True)
        ends.callback(page.close)
        return page

    def register(self, page, name):
        page.name, page.email = name, f'{name.lower()}@{os.urandom(4).hex()}.t'
        page.button('login.new')
        for field, text in (('login.name', name), ('login.email', page.email),
                            ('login.password', PASSWORD)):
            page.fill(field, text)
        page.button('login.new')
        page.says('nav.find')
        with self.stack.db() as db:
            number, page.hash = db.execute(
                'SELECT id, password_hash FROM identity.account'
                ' WHERE email = %s', (page.email,)).fetchone()
        page.id = f'u_{number}'
        return page

    def advisor(self, name, like, rates=(6000, 9000, 12000)):
        """An account that signs in with the password of another person."""
        who = self.stack.person('advisor', rates=rates)
        with self.stack.db() as db:
            db.execute('UPDATE identity.account SET name = %s,'
                       ' password_hash = %s WHERE id = %s',
                       (name, like.hash, who.number))
        return who

    def row(self, session, what):
        with self.stack.db() as db:
            return db.execute(f'SELECT {what} FROM consult.session'
                              ' WHERE id = %s', (int(session[2:]),)).fetchone()

    def still(self, session):
        """What is billed, once two ticks have not made it more: what was
        before a cut may be billed a moment after it."""
        billed = self.row(session, 'billed_ms')
        time.sleep(2)
        return billed == self.row(session, 'billed_ms') and billed[0]

    def said(self, conv):
        """What PostgreSQL has of a conversation, in order."""
        with self.stack.db() as db:
            return [list(r) for r in db.execute(
                "SELECT seq, payload ->> 'text' FROM consult.event"
                " WHERE conversation_id = %s AND type = 'chat_message'"
                ' ORDER BY seq', (int(conv[2:]),)).fetchall()]


def flowing(*pages, more=5):
    """Waits until each decodes so many more pictures of the other."""
    def frames():
        stats = [p.stats() for p in pages]
        return all(s and s.get('path') for s in stats) \
            and [s['frames'] for s in stats]

    before = eventually(frames, SLOWLY, 'a path on each side')
    eventually(lambda: (now := frames()) and all(
        n >= b + more for n, b in zip(now, before)), SLOWLY,
        f'more pictures than {before}')
    return [p.stats() for p in pages]


def clean(page, *expected):
    """No error on its console but those of these patterns."""
    left = [p for p in page.problems
            if not any(re.search(e, p) for e in expected)]
    assert not left, left


def session(page):
    """The one whose page it is."""
    return eventually(lambda: re.search(
        r'#/session/(s_\d+)', page.get('location.href')), SLOWLY,
        'the page of a session')[1]


@contextlib.contextmanager
def kept(name, *pages):
    """A picture of each page, of a test that failed, where it is asked for."""
    try:
        yield
    except BaseException:
        folder = os.environ.get('ASTRO_TEST_PICTURES')
        for n, page in enumerate(pages if folder else ()):
            page.screenshot(f'{folder}/{name}-{n}.png')
            with open(f'{folder}/{name}-{n}.txt', 'w', encoding='utf-8') as f:
                f.write('\n'.join([page.text, *page.problems,
                                   *page.get('lines'), str(page.stats()),
                                   page.get(LOCAL)]))
        raise
