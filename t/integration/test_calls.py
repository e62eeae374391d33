"""Calls between two browsers: signalling through nginx, media through it not.

One Chromium for each party; call.js is the page."""

import base64
import contextlib
import hashlib
import hmac
import json
import os
import time

import pytest

from astro.browser import Browser
from astro.coturn import SECRET, Coturn
from astro.fixtures import watch
from astro.stack import Stack, eventually

PAGE = os.path.join(os.path.dirname(__file__), 'astro', 'call.js')
SLOWLY = 60


@pytest.fixture(scope='module')
def house():
    with contextlib.ExitStack() as ends:
        coturn = Coturn()
        ends.callback(coturn.close)
        # pages of a busy machine answer late; that is not what is tested
        stack = Stack(settings={'astro_turn': coturn.setting('8s'),
                                'astro_live_ping': '2s',
                                'astro_live_silence': '20s',
                                'astro_hello_timeout': '20s'})
        ends.callback(stack.down)
        stack.up()
        stack.coturn, stack.browsers = coturn, []
        for _ in range(2):
            stack.browsers.append(Browser())
            ends.callback(stack.browsers[-1].close)
        yield stack


@pytest.fixture
def stack(house):
    yield from watch(house)


def one(stack, browser, token, relayed=False):
    page = stack.browsers[browser].page(f'https://127.0.0.1:{stack.port}/',
                                        PAGE)
    page.get(f'globalThis.call = new Call({json.dumps(token)},'
             f' {json.dumps(relayed)}); call.connect()')
    return page


class Calling:
    """Two people in two browsers, from ringing to a call in both."""

    def __init__(self, stack, relayed=False):
        self.stack = stack
        self.client = stack.person('client', 100000)
        self.advisor = stack.person('advisor', rates=(6000, 9000, 12000))
        self.a = one(stack, 1, self.advisor.token, relayed)
        self.c = one(stack, 0, self.client.token, relayed)
        self.pages = (self.c, self.a)

    def start(self):
        made = self.c.get(f'call.start("{self.advisor.id}")')
        assert (made['status'], made['state']) == (201, 'ringing')
        self.session = made['session']
        rung = eventually(lambda: self.a.get('call.seen.incoming'), SLOWLY)
        assert rung['session'] == self.session
        assert self.a.get(f'call.accept("{self.session}")')['state'] \
            == 'accepted'
        polite = [page.get('call.join()') for page in self.pages]
        assert sorted(polite) == [False, True]
        return self

    def stats(self):
        return [page.get('call.stats()') for page in self.pages]

    def seen(self, what):
        return [page.get(f'call.seen.{what}') for page in self.pages]

    def flows(self, videos=1, more=10):
        """Waits until each side has decoded so many more frames of each of
        the other's videos."""
        def decoded():
            frames = [s['frames'] for s in self.stats()]
            return all(len(f) == videos for f in frames) and frames

        before = eventually(decoded, SLOWLY, f'{videos} videos on each side')
        eventually(lambda: all(
            now >= was + more for nows, wases in zip(decoded(), before)
            for now, was in zip(nows, wases)), SLOWLY,
            f'more frames than {before}')
        return self.stats()

    def row(self):
        with self.stack.db() as db:
            return db.execute(
                'SELECT state, ver, charge_no FROM consult.session'
                ' WHERE id = %s', (int(self.session[2:]),)).fetchone()

    def end(self):
        """By the client, over REST; both are told, and it is paid for."""
        self.c.get(f'call.rest("sessions/{self.session}/end")')
        for page in self.pages:
            end = eventually(lambda p=page: p.get('call.seen.end'), SLOWLY)
            assert (end['session'], end['reason']) \
                == (self.session, 'client_ended')
        assert self.seen('errors') == [[], []]
        charges = end['totals']['charged']
        with self.stack.db() as db:
            paid, first, last, n = db.execute(
                'SELECT sum(amount), min(charge_no), max(charge_no), count(*)'
                '  FROM ledger.transfer WHERE session_id = %s',
                (int(self.session[2:]),)).fetchone()
        assert (paid, first, last) == (charges, 1, n)
        assert self.stack.audit()[0] == 0


@contextlib.contextmanager
def calling(stack, **kw):
    with contextlib.ExitStack() as ends:
        call = Calling(stack, **kw)
        for page in call.pages:
            ends.callback(page.close)
        yield call.start()


def test_d1_two_browsers_see_and_hear_each_other(stack):
    with calling(stack) as call:
        for side in call.flows():
            assert side['heard'] > 0
            assert side['path'] and 'relay' not in side['path']
        eventually(lambda: call.row()[0] == 'active', SLOWLY, 'active')
        call.end()


def test_d12_another_camera_while_the_call_goes_on(stack):
    """The track is replaced, nothing is negotiated; the other side is told,
    and it is in the session's detail."""
    with calling(stack) as call:
        call.flows(more=1)
        eventually(lambda: all(s['signaling'] == 'stable'
                               for s in call.stats()), SLOWLY, 'stable')
        offers, row = call.seen('offers'), call.row()
        call.c.get('call.change("back camera")')
        told = eventually(lambda: call.a.get('call.seen.media'), SLOWLY)
        assert (told['from'], told['device']) == (call.client.id,
                                                  'back camera')
        # twice as wide as what was shown before
        eventually(lambda: call.stats()[1]['width'] == [320], SLOWLY,
                   'the picture of the other camera')
        call.flows()
        assert call.seen('offers') == offers
        assert call.row()[0] == 'active' and call.row()[1] >= row[1]
        media, = stack.rest.get(f'/api/sessions/{call.session}',
                                call.advisor.token).json['media']
        assert (media['from'], media['device']) == (call.client.id,
                                                    'back camera')
        call.end()


def test_d6_both_offer_at_once(stack):
    """A second video from each side, offered before either has seen the
    other's offer: the impolite one's is taken, then the polite one's."""
    with calling(stack) as call:
        call.flows(more=1)
        eventually(lambda: all(s['signaling'] == 'stable'
                               for s in call.stats()), SLOWLY, 'stable')
        before = call.seen('ignored'), call.seen('yielded')
        for page in call.pages:
            page.get('call.hold()')
        for page in call.pages:
            page.get('call.share()')
        for page in call.pages:
            eventually(lambda p=page: p.get(
                'call.held.some(m => m.type == "signal_offer")'), SLOWLY,
                "the other's offer")
        for page in call.pages:
            page.get('call.release()')
        call.flows(videos=2)
        assert all(s['signaling'] == 'stable' for s in call.stats())
        ignored, yielded = [
            [n - was for n, was in zip(now, then)] for now, then
            in zip((call.seen('ignored'), call.seen('yielded')), before)]
        impolite = 0 if call.a.get('call.polite') else 1
        assert ignored[impolite] == 1 and ignored[1 - impolite] == 0
        assert yielded[1 - impolite] == 1 and yielded[impolite] == 0
        call.end()


def test_d6_the_path_is_cut_and_another_found(stack):
    """Through the relay alone, and the relay dies.  What it had allocated is
    gone for good, so that only another path helps; the session goes on."""
    with calling(stack, relayed=True) as call:
        for side in call.flows():
            assert side['path'] == ['relay', 'relay']
        eventually(lambda: call.row()[0] == 'active', SLOWLY, 'active')
        before = call.stats()

        stack.coturn.kill()
        cut = time.monotonic()
        charged = call.row()[2]
        eventually(lambda: all(s['state'] != 'connected'
                               for s in call.stats()), SLOWLY,
                   'both know that the path is gone')
        frames = [s['frames'] for s in call.stats()]
        time.sleep(max(0, cut + 5 - time.monotonic()))
        assert [s['frames'] for s in call.stats()] == frames
        stack.coturn.start()

        for side, was in zip(call.flows(), before):
            assert side['path'] == ['relay', 'relay']
            assert side['ufrag'] != was['ufrag']
        assert sum(call.seen('restarts')) >= 1
        assert call.seen('end') == [None, None]
        eventually(lambda: call.row()[2] > charged, SLOWLY, 'more charges')
        assert call.row()[0] == 'active'
        call.end()


def test_d5_chromium_and_credentials_of_yesterday(stack):
    """What a start answers gives a relay; the same, expired, gives none, and
    neither does that of somebody else."""
    with contextlib.ExitStack() as ends:
        client = stack.person('client', 100000)
        advisor = stack.person('advisor', rates=(6000, 9000, 12000))
        pages = [one(stack, i, who.token)
                 for i, who in enumerate((client, advisor))]
        for page in pages:
            ends.callback(page.close)
        page = pages[0]
        made = page.get(f'call.start("{advisor.id}")')
        page.get(f'call.rest("sessions/{made["session"]}/cancel")')
        turn = made['ice_servers'][1]
        assert turn['username'].endswith(f':{client.id}')
        name = f'{int(time.time()) - 60}:{client.id}'
        old = {**turn, 'username': name, 'credential': password(name)}
        other = {**turn, 'username': turn['username'].replace('u_', 'u_9')}
        for servers, relays, error in ((turn, True, None), (old, False, 401),
                                       (other, False, 401)):
            got = page.get(f'Call.gather([{json.dumps(servers)}])')
            assert (got['relays'] > 0) == relays, got
            assert error is None or error in got['errors'], got


def password(name):
    """What coturn takes, as we give it."""
    return base64.b64encode(hmac.digest(SECRET.encode(), name.encode(),
                                        hashlib.sha1)).decode()
