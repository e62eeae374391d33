"""Hundreds of people who talk in pairs, in one thread, and do not give up.

talkers.py has two people with a thread each; this has an epoll loop and a
small state machine for each person, so that a load of hundreds fits beside
the servers that it is a load for.  Plain sockets, the module's own protocol:

    down -> handshake -> hello -> join -> live -> (anything) -> down

Every member keeps at most one message that is not acknowledged, and repeats
it under its cid until it is, over any number of connections.  What a member
believes is checked as it comes: a durable event that is not the next one
after the last (twice, out of order, after a hole), whichever connection or
server it came from, is a violation.  verdict() compares all of it with what
PostgreSQL holds.
"""

import base64
import collections
import json
import os
import random
import select
import socket
import struct
import threading
import time
import uuid

from .frames import wrong_frame
from .ws import SLOW, frame

# Errors that are over in moments: the other party reconnects, or the server
# has lost its database.
PASSING = {'session_state', 'unavailable', 'not_participant', 'unpaid',
           'offline', 'busy', 'rate_limited', 'internal', 'conflict'}

SILENCE = 5 * SLOW          # a reply that takes longer: try elsewhere
HANDSHAKE = 3 * SLOW


class Violation(AssertionError):
    """The server sent what it must not."""


class Member:
    def __init__(self, crowd, number, role, pair):
        self.crowd = crowd
        self.number = number
        self.role = role
        self.pair = pair
        self.device = str(uuid.uuid4())
        self.token = None
        self.state = 'down'
        self.due = 0                # when something must have happened
        self.sock = None
        self.plain = False          # the handshake is over
        self.inbox = b''
        self.outbox = b''
        self.calls = {}             # id -> what it was
        self.asked = {}             # id -> type and payload
        self.ids = 0
        self.first = None           # seq of the first durable event
        self.last = 0               # of the last
        self.events = []            # (seq, type, payload)
        self.waiting = None         # [cid, text, id or None]
        self.acked = {}             # cid -> seq
        self.sent = {}              # cid -> text
        self.next_say = 0
        self.said = 0
        self.worker = None          # pid, with astro_debug
        self.joined_at = 0          # live since
        self.byes = []              # (when, payload, pid of the worker)
        self.cuts = 0
        self.cut_at = None
        self.longest = 0.0          # without a live connection, s
        self.latest = 0.0           # from the first try to the reply, s
        self.since = 0              # of when this connection is live, ms
        self.lag = 0                # the oldest event it was told live, ms
        self.begun = 0
        self.ending = False         # the session is to end

    @property
    def other(self):
        return self.pair.client if self is self.pair.advisor \
            else self.pair.advisor

    # -- what goes ---------------------------------------------------------

    def connect(self, now):
        self.cleanup()
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.state, self.due = 'handshake', now + HANDSHAKE
        self.plain = False
        self.inbox, self.calls = b'', {}
        self.asked = {}
        port = self.crowd.stack.plain_port
        self.outbox = (
            f'GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n'
            'Upgrade: websocket\r\nConnection: Upgrade\r\n'
            'Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: consult.v1'
            '\r\nSec-WebSocket-Key: '
            f'{base64.b64encode(os.urandom(16)).decode()}\r\n\r\n').encode()
        self.sock.connect_ex(('127.0.0.1', port))
        self.crowd.watch(self)

    def send(self, kind, payload, now, what=None):
        message = {'type': kind, 'payload': payload}
        if what:
            self.ids += 1
            message['id'] = self.ids
            self.calls[self.ids] = what
            self.asked[self.ids] = kind, payload
            self.due = now + SILENCE
        self.outbox += frame(1, json.dumps(message).encode())
        self.flush()

    def say(self, now):
        if self.waiting is None:
            cid = str(uuid.uuid4())
            self.waiting = [cid, f'{self.role} {self.said}', None]
            self.sent[cid] = self.waiting[1]
            self.said += 1
            self.begun = now
        self.send('chat_message', {'conv': self.pair.conv, 'kind': 'text',
                                   'cid': self.waiting[0],
                                   'text': self.waiting[1]}, now, 'say')
        self.waiting[2] = self.ids

    def flush(self):
        if not self.outbox or self.sock is None:
            return
        try:
            n = self.sock.send(self.outbox)
            self.outbox = self.outbox[n:]
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self.outbox = b''
        self.crowd.watch(self)

    # -- what comes --------------------------------------------------------

    def readable(self, now):
        try:
            data = self.sock.recv(262144)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b''
        if not data:
            self.cut(now, 'eof')
            return
        self.inbox += data
        if not self.plain:
            head, _, rest = self.inbox.partition(b'\r\n\r\n')
            if not _:
                return
            if not head.startswith(b'HTTP/1.1 101'):
                self.crowd.count['status ' + head[9:12].decode()] += 1
                self.cut(now, 'refused')
                return
            self.plain, self.inbox = True, rest
            hello = {'token': self.token, 'device': self.device,
                     'app': 'crowd/1'}
            if self.pair.conv:
                hello['pos'] = [[self.pair.conv, self.last]]
            self.state = 'hello'
            self.send('hello', hello, now, 'hello')
        self.frames(now)

    def frames(self, now):
        data, at, sock = self.inbox, 0, self.sock
        while len(data) - at >= 2:
            n, head = data[at + 1], 2
            if n & 0x80:
                raise Violation('a masked frame')
            if n == 126:
                if len(data) - at < 4:
                    break
                n, = struct.unpack_from('>H', data, at + 2)
                head = 4
            elif n == 127:
                if len(data) - at < 10:
                    break
                n, = struct.unpack_from('>Q', data, at + 2)
                head = 10
            if len(data) - at < head + n:
                break
            opcode, payload = data[at] & 15, data[at + head:at + head + n]
            at += head + n
            if opcode == 1:
                self.message(json.loads(payload), now)
            elif opcode == 9:
                self.outbox += frame(10, payload)
                self.flush()
            elif opcode == 8:
                code = struct.unpack('>H', payload[:2])[0] if payload else 0
                self.crowd.count[f'close {code}'] += 1
                self.cut(now, code)
                return
            if self.sock is not sock:
                return
        self.inbox = data[at:]

    def message(self, m, now):
        kind, payload = m['type'], m.get('payload', {})
        self.crowd.received += 1
        error = wrong_frame(m, self.asked.pop(m.get('id'), None))
        if error:
            raise Violation(f'{error}: {m}')
        if kind == 'reply':
            what = self.calls.pop(m['id'], None)
            if what is None:
                raise Violation(f'reply to nobody: {m}')
            if 'error' in m:
                self.refused(what, m['error'], now)
            else:
                getattr(self, 'on_' + what)(payload, now)
        elif 'seq' in m:
            self.durable(m)
        elif kind == 'ping':
            self.outbox += frame(1, b'{"type":"pong"}')
            self.flush()
        elif kind == 'bye':
            self.byes.append((now, payload, self.worker))
        if kind == 'session_incoming' and self.role == 'advisor' \
                and self.state == 'idle':
            self.send('session_accept', {'session': payload['session']}, now,
                      'accept')
        if kind == 'session_end':
            self.pair.ended = payload

    def durable(self, m):
        seq = m['seq']
        if m['conv'] != self.pair.conv:
            if self.pair.conv is not None:
                raise Violation(f'{m} is for someone else')
            self.pair.conv = m['conv']
        if self.first is None and self.last == 0:
            self.first, self.last = seq, seq - 1
        if seq != self.last + 1:
            raise Violation(f'u_{self.number}: seq {seq} after {self.last} '
                            f'of {m["conv"]}')
        self.last = seq
        self.events.append((seq, m['type'], m['payload']))
        if self.state == 'live' and m['ts'] > self.since:
            self.lag = max(self.lag, int(time.time() * 1000) - m['ts'])

    def on_hello(self, payload, now):
        self.worker = payload.get('debug', {}).get('pid')
        for conv in payload['convs']:
            if conv['state'] == 'gap':
                raise Violation(f'a gap: {conv}, have {self.last}')
            if conv['conv'] == self.pair.conv and conv['head'] < self.last:
                raise Violation(f'{conv}: the head is behind {self.last}')
        self.state = 'idle'
        self.due = now + 3600
        if self.pair.session:
            self.join(now)
        elif self.role == 'client':
            self.start(now)

    def start(self, now):
        self.send('session_start',
                  {'advisor': f'u_{self.other.number}', 'service': 'chat',
                   'cid': self.pair.cid}, now, 'start')

    def on_start(self, payload, now):
        self.due = now + 3600
        self.pair.conv = payload['conv']
        self.pair.pending = payload['session']

    def on_accept(self, payload, now):
        self.pair.session = payload.get('session') or self.pair.pending
        for member in (self, self.other):
            if member.state == 'idle':
                member.join(now)

    def join(self, now):
        self.state = 'join'
        self.send('session_join', {'session': self.pair.session}, now, 'join')

    def on_join(self, payload, now):
        self.state = 'live'
        self.joined_at = now
        self.since = int(time.time() * 1000)
        self.due = now + 3600
        if self.cut_at is not None:
            self.longest = max(self.longest, now - self.cut_at)
            self.cut_at = None
        self.next_say = now if self.waiting else \
            now + random.uniform(0, self.crowd.every)
        if self.waiting:
            self.waiting[2] = None

    def on_say(self, payload, now):
        cid = self.waiting[0]
        self.acked[cid] = payload['seq']
        self.latest = max(self.latest, now - self.begun)
        self.waiting = None
        self.due = now + 3600
        self.next_say = self.next_say + self.crowd.every
        if self.next_say < now:
            self.next_say = now + random.uniform(0, self.crowd.every)

    def refused(self, what, error, now):
        code = error['code']
        self.crowd.count[f'{what}: {code}'] += 1
        if code not in PASSING:
            raise Violation(f'{what} of u_{self.number}: {error}')
        if what == 'say':
            self.waiting[2] = None
            self.due = now + 3600
            self.next_say = now + 0.2
        elif what == 'hello':
            self.cut(now, code)
        elif what == 'join':
            self.retry(now + 0.2)
        elif what == 'start':
            self.retry(now + 0.5)
        else:
            raise Violation(f'{what} of u_{self.number}: {error}')

    def retry(self, when):
        self.state, self.due = 'retry', when

    # -- the clock ---------------------------------------------------------

    def tick(self, now):
        if self.state == 'live' and now >= self.next_say:
            if self.waiting is None and self.crowd.talking \
                    or self.waiting and self.waiting[2] is None:
                self.say(now)
        if self.ending and self.state == 'live' and self.waiting is None:
            self.ending = False
            self.send('session_end', {'session': self.pair.session}, now)
        if now < self.due:
            return
        if self.state == 'down':
            if self.crowd.coming:
                self.connect(now)
        elif self.state == 'retry':
            if self.pair.session:
                self.join(now)
            else:
                self.state = 'idle'
                self.start(now)
        else:
            self.crowd.count[f'silence in {self.state}'] += 1
            self.cut(now, 'silence')

    def cut(self, now, why):
        """The connection is over, whoever ended it."""
        if self.cut_at is None:
            self.cut_at = now
        self.cuts += 1
        if self.waiting:
            self.waiting[2] = None
        self.cleanup()
        self.state = 'down'
        self.due = now + (random.uniform(0, 0.1) if isinstance(why, int)
                          else random.uniform(0.05, 0.4))

    def cleanup(self):
        if self.sock is not None:
            self.crowd.forget(self)
            self.sock.close()
            self.sock = None
        self.outbox = b''

    @property
    def settled(self):
        return self.state == 'live' and self.waiting is None


class Pair:
    def __init__(self):
        self.cid = str(uuid.uuid4())
        self.client = self.advisor = None
        self.conv = self.session = self.pending = self.ended = None


class Crowd(threading.Thread):
    """every: seconds between two messages of one member."""

    def __init__(self, stack, pairs, every=1.0, rate=6000):
        super().__init__(daemon=True)
        self.stack = stack
        self.every = every * SLOW
        self.count = collections.Counter()
        self.received = 0
        self.talking = False
        self.coming = True
        self.trouble = None
        self.over = False
        self.poll = select.epoll()
        self.by_fd = {}
        self.todo = collections.deque()     # for the loop to do
        self.pairs = [Pair() for _ in range(pairs)]
        self.members = []
        self._accounts(rate)
        self.start()

    def _accounts(self, rate):
        n = len(self.pairs)
        with self.stack.db() as db:
            clients, advisors = (
                [row[0] for row in db.execute(
                    'INSERT INTO identity.account'
                    ' (email, name, role, password_hash) SELECT'
                    " %s || '-' || gen_random_uuid() || '@test.test',"
                    " 'A member', %s, '!' FROM generate_series(1, %s)"
                    ' RETURNING id', (role, role, n)).fetchall()]
                for role in ('client', 'advisor'))
            db.execute(
                'INSERT INTO identity.advisor (account_id, headline,'
                ' rate_chat_minor, rate_audio_minor, rate_video_minor,'
                " commission_bps) SELECT unnest(%s::bigint[]), 'Answers',"
                ' %s, %s, %s, 3000', (advisors, rate, rate, rate))
            for ids, role in ((clients, 'client'), (advisors, 'advisor')):
                db.execute('INSERT INTO ledger.wallet (owner_id, kind)'
                           ' SELECT unnest(%s::bigint[]), %s', (ids, role))
            db.execute('SELECT billing.topup(u, 100000000, %s || u)'
                       ' FROM unnest(%s::bigint[]) u',
                       (f'crowd-{uuid.uuid4()}-', clients))
        for pair, client, advisor in zip(self.pairs, clients, advisors):
            pair.client = Member(self, client, 'client', pair)
            pair.advisor = Member(self, advisor, 'advisor', pair)
            self.members += [pair.advisor, pair.client]
        for i, member in enumerate(self.members):
            member.token = self.stack.jwt(member.number, member.role, 7200)
            # advisors first, and not all in one instant
            member.due = time.monotonic() + i * 0.002 \
                + (0.3 if member.role == 'client' else 0)

    # -- the loop ----------------------------------------------------------

    def watch(self, member):
        fd = member.sock.fileno()
        mask = select.EPOLLIN | (select.EPOLLOUT if member.outbox else 0)
        if fd in self.by_fd:
            self.poll.modify(fd, mask)
        else:
            self.by_fd[fd] = member
            self.poll.register(fd, mask)

    def forget(self, member):
        fd = member.sock.fileno()
        if self.by_fd.pop(fd, None):
            try:
                self.poll.unregister(fd)
            except OSError:
                pass

    def run(self):
        try:
            ticked = 0
            while not self.over:
                ready = self.poll.poll(0.02)
                now = time.monotonic()
                for fd, mask in ready:
                    member = self.by_fd.get(fd)
                    if member is None:
                        continue
                    if mask & select.EPOLLOUT:
                        member.flush()
                    if member.sock and mask & ~select.EPOLLOUT:
                        member.readable(now)
                if now - ticked >= 0.02:
                    ticked = now
                    while self.todo:
                        self.todo.popleft()()
                    for member in self.members:
                        member.tick(now)
        except BaseException as e:      # told to the test by check()
            self.trouble = e
        finally:
            for member in self.members:
                member.cleanup()
            self.poll.close()

    # -- for the test ------------------------------------------------------

    def check(self):
        if self.trouble:
            raise self.trouble

    def wait(self, ready, timeout, what):
        until = time.monotonic() + timeout * SLOW
        while not ready():
            self.check()
            if time.monotonic() > until:
                states = collections.Counter(m.state for m in self.members)
                raise AssertionError(f'{what} within {timeout * SLOW} s: '
                                     f'{dict(states)} {dict(self.count)}')
            time.sleep(0.05)
        self.check()

    def talk(self, timeout=30):
        """From nothing to everybody talking."""
        self.wait(lambda: all(m.state == 'live' for m in self.members),
                  timeout, 'everybody in a session')
        self.talking = True
        self.wait(lambda: all(m.acked for m in self.members), timeout,
                  'a word from everybody')
        return self

    def shake(self, members):
        """These lose their connections, as people on a train do."""
        def cut():
            for member in members:
                if member.sock:
                    member.cut(time.monotonic(), 'shaken')
        self.todo.append(cut)

    def lag(self):
        """The age, ms, of the oldest event told live since the last call."""
        worst = max(m.lag for m in self.members)
        for member in self.members:
            member.lag = 0
        return worst

    def alive(self):
        return sum(m.state == 'live' for m in self.members)

    def workers(self):
        return {m.worker for m in self.members if m.state == 'live'}

    def hush(self, timeout=40):
        """No new words; waits until the last is acknowledged."""
        self.talking = False
        self.wait(lambda: all(m.settled for m in self.members), timeout,
                  'every message acknowledged')

    def verdict(self, timeout=15):
        """Everything received, acknowledged and stored is one and the same."""
        self.hush()
        stored = self._stored()
        self.wait(lambda: all(m.last >= max(stored[m.pair.conv])
                              for m in self.members), timeout,
                  'everything stored has arrived')
        for member in self.members:
            rows = stored[member.pair.conv]
            mine = [seq for seq, _, _ in member.events]
            assert mine == [s for s in sorted(rows) if s >= mine[0]], \
                (member.number, mine, sorted(rows))
            for seq, kind, payload in member.events:
                assert (kind, payload) == rows[seq]
            for cid, seq in member.acked.items():
                assert rows[seq][1]['cid'] == cid, 'acknowledged, and lost'
            assert set(member.acked) == set(member.sent)
        for pair in self.pairs:
            cids = [p['cid'] for k, p in stored[pair.conv].values()
                    if k == 'chat_message']
            said = set(pair.client.sent) | set(pair.advisor.sent)
            assert len(cids) == len(set(cids)), 'stored twice'
            assert set(cids) == said
        return sum(len(m.events) for m in self.members)

    def _stored(self):
        """{conv: {seq: (type, payload)}}"""
        found = {pair.conv: {} for pair in self.pairs}
        with self.stack.db() as db:
            rows = db.execute(
                'SELECT conversation_id, seq, type, payload FROM consult.event'
                ' WHERE conversation_id = ANY(%s)',
                ([int(conv[2:]) for conv in found],))
            for conv, seq, kind, payload in rows:
                found[f'c_{conv}'][seq] = (kind, payload)
        return found

    def end(self, timeout=40):
        """Ends every session, and waits until all are settled."""
        ids = [int(pair.session[2:]) for pair in self.pairs]
        for pair in self.pairs:
            pair.client.ending = True

        def settled():
            with self.stack.db() as db:
                return not db.execute(
                    'SELECT count(*) FROM consult.session WHERE id = ANY(%s)'
                    ' AND NOT settled', (ids,)).fetchone()[0]
        self.wait(settled, timeout, 'every session settled')

    def close(self):
        self.over = True
        self.join(10)

    def summary(self):
        said = sum(len(m.acked) for m in self.members)
        return (f'{said} messages acknowledged, '
                f'{sum(len(m.events) for m in self.members)} events received,'
                f' {sum(m.cuts for m in self.members)} connections lost; '
                'longest without one '
                f'{max(m.longest for m in self.members):.1f}'
                f' s, slowest acknowledgement '
                f'{max(m.latest for m in self.members):.1f} s, oldest event '
                f'told live {max(m.lag for m in self.members)} ms; '
                + ', '.join(f'{k} {v}' for k, v in sorted(self.count.items())))
