"""Two people who talk and do not give up, whatever happens to the server."""

import threading
import time
import uuid

from .client import Refused
from .stack import eventually
from .ws import SLOW, HandshakeRefused, Timeout


class Talker(threading.Thread):
    """Talks and reconnects as a browser would, until told to stop.

    Every message is repeated under its cid until it is acknowledged, and what
    was acknowledged is kept: it must be stored, and reach both.
    """

    def __init__(self, talk, person, every=0.05):
        super().__init__(daemon=True)
        self.talk, self.person, self.every = talk, person, every
        self.stopped = threading.Event()
        self.acknowledged = {}      # cid -> seq
        self.reconnects = 0
        self.trouble = None
        self.said = 0

    def run(self):
        try:
            while not self.stopped.is_set():
                self.one()
                time.sleep(self.every)
        except BaseException as e:      # told to the test by finish()
            self.trouble = e

    def one(self):
        cid, text = str(uuid.uuid4()), f'{self.person.role} {self.said}'
        self.said += 1
        until = time.monotonic() + 30 * SLOW
        while time.monotonic() < until:
            try:
                reply = self.person.client.say(self.talk.conv, text, cid, 5)
                self.acknowledged[cid] = reply['seq']
                return
            except Refused as e:
                # at most for moments: while the other party reconnects, or
                # this one has not joined again
                if e.code not in ('session_state', 'unavailable',
                                  'not_participant', 'unpaid'):
                    raise
                time.sleep(0.1)
            except (Timeout, OSError):
                self.reconnect()
        raise AssertionError(f'{text}: not acknowledged in time')

    def reconnect(self):
        self.reconnects += 1
        until = time.monotonic() + 20 * SLOW
        self.person.client.drop()
        while True:
            try:
                self.person.connect(resume=True)
                self.person.client.call('session_join', self.talk.this)
                return
            except (Timeout, OSError, Refused, HandshakeRefused):
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def finish(self):
        self.stopped.set()
        self.join(60 * SLOW)
        assert not self.is_alive()
        if self.trouble:
            raise self.trouble
        return self


def converse(talk, meanwhile):
    """Both talk while meanwhile() happens; then everything is compared."""
    talkers = [Talker(talk, p) for p in (talk.client, talk.advisor)]
    for talker in talkers:
        talker.start()
    try:
        time.sleep(0.5)
        meanwhile()
        time.sleep(1)
    finally:
        for talker in talkers:
            talker.stopped.set()
    compare(talk, talkers)
    return talkers


def compare(talk, talkers):
    """What both received, what was acknowledged and what is stored agree."""
    for talker in talkers:
        talker.finish()

    conv = talk.conv
    stored = talk.client.stored(conv)
    last = max(stored)
    for talker in talkers:
        # one that was cut after its last word has to come back for the rest
        if not talker.person.client.open:
            talker.reconnect()
        eventually(lambda p=talker.person: p.pos().get(conv, 0) >= last, 10,
                   'everything stored has arrived')
        talker.person.assert_has_all(conv)
        for cid, seq in talker.acknowledged.items():
            assert f'"{cid}"' in stored[seq][1], 'acknowledged, and lost'
        assert len(talker.acknowledged) >= 5
    everyone = {**talkers[0].acknowledged, **talkers[1].acknowledged}
    chats = [p for k, p in stored.values() if k == 'chat_message']
    assert len(chats) == len(everyone), 'a message was stored twice'
