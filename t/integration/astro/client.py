"""consult.v1 over ws.py: hello, requests and replies, durable events.

A Client is one connection and believes nothing: that a durable event came
twice, out of order, or after a gap on one connection is a ServerViolation.
A Person is an account with what it has received over all its connections,
and the positions to resume from.
"""

import json
import time
import uuid

from .frames import wrong_frame
from .ws import TEXT, ServerViolation, WebSocket


class Refused(Exception):
    """A reply that carries an error."""

    def __init__(self, error):
        super().__init__(f'{error}')
        self.error = error
        self.code = error['code']


class Client(WebSocket):
    def __init__(self, port, **kw):
        self.messages = []          # parsed, not yet taken by expect()
        self.replies = {}
        self.seen = {}              # conv -> seq of the last durable event
        self.events = []            # durable events in the order they came
        self.pings = 0
        self.answer_pings = True
        self.ids = 0
        self.asked = {}             # id -> type and payload
        self.me = None              # payload of hello's reply
        self.person = None
        super().__init__(port, **kw)

    # -- what comes --------------------------------------------------------

    def on_message(self, opcode, payload):
        if opcode != TEXT or self.protocol is None and payload == b'pong':
            return

        message = json.loads(payload)
        error = wrong_frame(message, self.asked.get(message.get('id')))
        if error:
            raise ServerViolation(f'{error}: {payload[:500]!r}')
        message['_raw'] = payload.decode()
        message['_t'] = time.monotonic()
        kind = message['type']

        if kind == 'reply':
            if message.get('id') in self.replies:
                raise ServerViolation(f'two replies to one id: {message}')
            if 'id' in message:
                if kind == 'reply' and message['id'] not in self.waited:
                    raise ServerViolation(f'reply to nobody: {message}')
                self.replies[message['id']] = message
            else:
                self.messages.append(message)
            return

        if kind == 'ping':
            self.pings += 1
            if self.answer_pings:
                self._quietly_text('{"type":"pong"}')

        if 'seq' in message:
            self._durable(message)

        self.messages.append(message)

    def _quietly_text(self, text):
        try:
            self.send_text(text)
        except OSError:
            pass

    def _durable(self, message):
        conv, seq = message['conv'], message['seq']
        last = self.seen.get(conv)

        if last is not None and seq != last + 1:
            raise ServerViolation(f'{conv}: seq {seq} after {last}')
        self.seen[conv] = seq
        self.events.append(message)
        if self.person is not None:
            self.person.received(message)

    # -- what goes ---------------------------------------------------------

    waited = ()

    def send(self, kind, payload=None, **root):
        message = {'type': kind, **root}
        if payload is not None:
            message['payload'] = payload
        self.send_text(json.dumps(message, ensure_ascii=False))

    def request(self, kind, payload=None, **root):
        """Sends with an id; the id, for reply()."""
        self.ids += 1
        self.waited = set(self.waited) | {self.ids}
        self.asked[self.ids] = kind, payload
        self.send(kind, payload, id=self.ids, **root)
        return self.ids

    def reply(self, number, timeout=None):
        """The payload of the reply to that id, or Refused."""
        message = self.wait(lambda: self.replies.get(number), timeout,
                            f'reply to {number}')
        if 'error' in message:
            raise Refused(message['error'])
        return message['payload']

    def call(self, kind, payload=None, timeout=None, **root):
        return self.reply(self.request(kind, payload, **root), timeout)

    def refused(self, kind, payload=None, timeout=None, **root):
        """The error of a call that must not succeed."""
        try:
            answer = self.call(kind, payload, timeout, **root)
        except Refused as e:
            return e.error
        raise AssertionError(f'{kind} {payload} was not refused: {answer}')

    def expect(self, kind, where=None, timeout=None):
        """Takes the oldest message of that type (for which where(it))."""
        def find():
            for i, message in enumerate(self.messages):
                if message['type'] == kind and (where is None
                                                or where(message)):
                    return self.messages.pop(i)
            return None
        return self.wait(find, timeout, kind)

    def quiet(self, kind, seconds, where=None):
        """Nothing of that type comes within so many seconds."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            with self.changed:
                self.check()
                for message in self.messages:
                    assert not (message['type'] == kind
                                and (where is None or where(message))), message
                self.changed.wait(max(0, until - time.monotonic()))

    def forget(self):
        """Drops what was not taken so far."""
        with self.changed:
            self.messages.clear()

    # -- consult.v1 --------------------------------------------------------

    def hello(self, token=None, device=None, pos=None, **more):
        payload = {'app': 'test/1', **more}
        if token is not None:
            payload['token'] = token
        if device is not None:
            payload['device'] = device
        if pos is not None:
            payload['pos'] = [[conv, seq] for conv, seq in pos.items()]

        with self.changed:
            number = self.request('hello', payload)
            answer = self.wait(lambda: self.replies.get(number),
                               what="hello's reply")
            if 'error' in answer:
                raise Refused(answer['error'])
            self.me = answer['payload']

            # Replayed events may be here already; those are checked against
            # the position that was asked for.
            for conv in self.me['convs']:
                start = conv['head']
                if conv['state'] == 'replay':
                    start = (pos or {}).get(conv['conv'], 0)
                first = next((e['seq'] for e in self.events
                              if e['conv'] == conv['conv']), None)
                if first is None:
                    self.seen[conv['conv']] = start
                elif first != start + 1:
                    raise ServerViolation(
                        f'{conv}: the first event has seq {first}')
        return self.me

    @property
    def worker(self):
        """The pid of the nginx worker that serves this connection."""
        return self.me['debug']['pid']

    def say(self, conv, text, cid=None, timeout=None, **more):
        return self.call('chat_message',
                         {'conv': conv, 'cid': cid or str(uuid.uuid4()),
                          'kind': 'text', 'text': text, **more}, timeout)


class Person:
    """An account, made for one test."""

    def __init__(self, stack, number, role, email, token):
        self.stack = stack
        self.number = number
        self.id = f'u_{number}'
        self.role = role
        self.email = email
        self.token = token
        self.device = str(uuid.uuid4())
        self.events = {}            # conv -> {seq: raw frame}
        self.client = None          # the latest connection

    def received(self, message):
        events = self.events.setdefault(message['conv'], {})
        raw = events.setdefault(message['seq'], message['_raw'])
        if raw != message['_raw']:
            raise ServerViolation(f'an event changed: {raw} and '
                                  f'{message["_raw"]}')

    def pos(self):
        return {conv: max(events) for conv, events in self.events.items()}

    def connect(self, resume=False, away_from=None, hello=True, **kw):
        """A connection with hello done.  away_from: on another nginx worker
        than that one (pid)."""
        # not what a connection that is thrown away again was sent
        pos = self.pos() if resume else None

        for _ in range(64):
            client = self.stack.connect(**kw)
            client.person = self
            if not hello:
                break
            try:
                client.hello(self.token, self.device, pos)
            except Refused as e:
                # the same worker again and again, until it was too often
                if away_from is None or e.code != 'rate_limited':
                    raise
                time.sleep(e.error['retry_after_ms'] / 1000)
            else:
                if away_from is None or client.worker != away_from:
                    break
            client.close()
        else:
            raise AssertionError(f'64 connections, all on worker {away_from}')
        self.client = client
        return client

    def stored(self, conv):
        """{seq: frame} of that conversation, as PostgreSQL has it."""
        number = int(conv[2:])
        with self.stack.db() as db:
            rows = db.execute(
                'SELECT e.seq, e.type, e.sender_id, e.payload::text'
                '  FROM consult.event e WHERE e.conversation_id = %s'
                ' ORDER BY e.seq', (number,)).fetchall()
        return {seq: (kind, payload) for seq, kind, _, payload in rows}

    def assert_has_all(self, conv):
        """What this person received is what is stored, from its first on."""
        stored = self.stored(conv)
        mine = self.events.get(conv, {})
        first = min(mine) if mine else 1
        assert sorted(mine) == [s for s in sorted(stored) if s >= first]
        for seq, raw in mine.items():
            message = json.loads(raw)
            kind, payload = stored[seq]
            assert message['type'] == kind
            assert message['payload'] == json.loads(payload)

    def wallet(self):
        """(balance, held) as stored."""
        with self.stack.db() as db:
            return db.execute('SELECT balance, held FROM ledger.wallet'
                              ' WHERE owner_id = %s', (self.number,)
                              ).fetchone()
