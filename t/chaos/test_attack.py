"""Requests that are right, nearly right and wrong, over REST and WebSocket,
from many at once, their connections cut anywhere.

What must hold: no answer of 5xx but 503 while something is away; every worker
alive, no alert, no report of a sanitizer; when all have gone no connection and
no registry entry is left, and the books are right.

ASTRO_CHAOS_SECONDS   how long (8; make soak: 300)
ASTRO_CHAOS_SEED      repeats the choices of a run
"""

import collections
import json
import os
import random
import re
import socket
import struct
import threading
import time
import uuid

import pytest
from astro.consult import Consultation
from astro.fixtures import watch
from astro.routes import ROUTES
from astro.schema import operation
from astro.stack import Stack, eventually
from astro.ws import BUILD, REPO

SECONDS = float(os.environ.get('ASTRO_CHAOS_SECONDS') or 8)
SEED = int(os.environ.get('ASTRO_CHAOS_SEED') or time.time())
PASSWORD = 'correct horse battery'

WEIRD = [None, True, 0, -1, 1, 1e308, 2 ** 63, '', 'x', 'u_1', '\0', 'a' * 5000,
         [], {}, [[[[]]]], {'a': {'b': [1]}}, '\u202e', '\U0001f600', 3.14,
         '2026-01-01T00:00:00Z']
QUERIES = ['limit=2', 'limit=0', 'cursor=1', 'cursor=1.5', 'cursor=%00',
           'sort=rating&online=true', 'q=%ff', 'limit=1&limit=2', '&&&=',
           'x=' + 'y' * 5000, 'latitude=1&longitude=2', 'from=0',
           'price_min=1&service=chat&sort=-price']
HEADERS = {
    'If-Match': ['"p1"', '*', 'W/"a1"', '"a1","b"', 'x', '"' + 'x' * 3000],
    'If-None-Match': ['"p1"', '*', 'W/"a1"', 'x'],
    'Origin': ['https://evil.test', 'null'],
    'X-Request-Id': ['abc', 'x' * 70, 'a"b'],
    'Expect': ['100-continue'],
}
TYPES = re.findall(r'ngx_string\("(\w+)"\)', open(
    f'{REPO}/ngx_astro_module/ngx_astro_protocol.c', encoding='utf-8').read())


def reset(sock):
    """Closed as by a host that knows nothing of it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                        struct.pack('ii', 1, 0))
    except OSError:
        pass
    sock.close()


class Attack:
    def __init__(self, stack):
        self.stack = stack
        self.until = time.monotonic() + SECONDS
        self.people = [stack.person('client', 10 ** 7) for _ in range(6)] \
            + [stack.person('advisor') for _ in range(4)] \
            + [stack.person('admin')]
        self.emails = [f'{uuid.uuid4().hex}@test.test' for _ in range(3)]
        for email in self.emails:
            assert stack.rest.post('/api/auth/register', {
                'email': email, 'password': PASSWORD, 'name': 'A'}
                ).status == 201
        self.keys = [str(uuid.uuid4()) for _ in range(6)] + ['k' * 128, 'x']
        self.refreshes = ['1.2.3']
        self.ids = {'u': [p.id for p in self.people], 's': ['s_1'],
                    'c': ['c_1'], 'k': ['k_1', 'k_99']}
        self.seen = collections.Counter()
        self.bad = []
        self.away = 0               # something is, or was a moment ago
        self.look()

    def look(self):
        """What there is to name, and tokens after a logout everywhere."""
        with self.stack.db() as db:
            for kind, table in (('s', 'session'), ('c', 'conversation')):
                rows = db.execute(f'SELECT id FROM consult.{table}'
                                  ' ORDER BY id DESC LIMIT 12').fetchall()
                self.ids[kind] = [f'{kind}_{n}' for n, in rows] or ['x_1']
        for person in self.people:
            person.token = self.stack.jwt(person.number, person.role)

    # -- what is said ------------------------------------------------------

    def spoil(self, r, value):
        if isinstance(value, dict) and value and r.random() < 0.9:
            name = r.choice(list(value))
            value = dict(value)
            if r.random() < 0.2:
                del value[name]
            else:
                value[name] = self.spoil(r, value[name])
            return value
        return r.choice(WEIRD)

    def ours(self, r, value):
        """The same with ids that there are."""
        text = re.sub(r'"([usc])_\d+"',
                      lambda m: json.dumps(r.choice(self.ids[m[1]])),
                      json.dumps(value))
        text = re.sub(r'"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"',
                      lambda m: json.dumps(r.choice(self.keys[:6])), text)
        return json.loads(text)

    def body(self, r, route):
        if 'login' in route.path and r.random() < 0.7:
            body = {'email': r.choice(self.emails),
                    'password': r.choice([PASSWORD, 'wrong password']),
                    'cookie': r.random() < 0.3}
        elif 'refresh' in route.path:
            body = {'refresh_token': r.choice(self.refreshes)}
        elif route.body == 'RAW':
            body = {'id': 'x'}
        else:
            content = operation(
                route.method, re.sub(r'\{\w\}', 'x_1', route.path)
                )['requestBody']['content']['application/json']
            body = self.ours(r, content.get('example') or r.choice(
                list(content.get('examples', {'': {'value': {}}}).values())
                )['value'])
            if 'email' in body:
                body['email'] = f'{r.getrandbits(60):x}@test.test'
        if r.random() < 0.35:
            body = self.spoil(r, body)
        data = bytearray(json.dumps(body, ensure_ascii=False).encode())
        if r.random() < 0.1:
            data[r.randrange(len(data))] = r.getrandbits(8)
        if r.random() < 0.03:
            data = b'{"a":"' + b'x' * r.choice([17000, 300000]) + b'"}'
        return bytes(data)

    def request(self, r, last):
        route = r.choice(ROUTES)
        path = re.sub(r'\{(\w)\}', lambda m: r.choice(
            self.ids.get(m[1], ['x_1']) + ['u_0', 's_99999999', '%00']),
            route.path)
        if r.random() < 0.3:
            path += '?' + r.choice(QUERIES)
        body = self.body(r, route) if route.body else None
        lines = [f'{route.method} {path} HTTP/1.1', 'Host: localhost']
        if last:
            lines.append('Connection: close')
        if r.random() < 0.9:
            token = r.choice(self.people).token
            lines.append(r.choice([f'Authorization: Bearer {token}'] * 9 + [
                f'Cookie: a=b; __Host-astro={token}']))
        if r.random() < 0.4:
            lines.append(f'Idempotency-Key: {r.choice(self.keys)}')
        for name, values in HEADERS.items():
            if r.random() < 0.06:
                lines.append(f'{name}: {r.choice(values)}')
        if body is not None:
            lines.append('Content-Type: ' + r.choice(
                ['application/json'] * 15 + ['text/plain']))
            if r.random() < 0.2:
                lines.append('Transfer-Encoding: chunked')
                body = b'%x\r\n%s\r\n0\r\n\r\n' % (len(body), body)
            else:
                lines.append(f'Content-Length: {len(body)}')
        return '\r\n'.join(lines).encode() + b'\r\n\r\n' + (body or b'')

    def message(self, r):
        payload = {
            'session': r.choice(self.ids['s'][:5]),
            'conv': r.choice(self.ids['c'][:5]),
            'cid': r.choice(self.keys[:6] + [str(uuid.uuid4())] * 6),
            'kind': 'text', 'text': 'x' * r.choice([1, 4000, 16000]),
            'msg': r.randrange(1, 30), 'emoji': '\U0001f600',
            'on': r.random() < 0.5, 'advisor': r.choice(self.ids['u'][6:10]),
            'service': r.choice(['chat', 'audio', 'video']),
            'confirm_rate': r.choice([6000, 9000, 12000]), 'max_minutes': 5,
            'mic': True, 'cam': False, 'screen': False, 'rtt': 10,
            'loss': 0.01, 'jitter': 3, 'users': self.ids['u'][:5],
            'after': r.randrange(10), 'delivered': r.randrange(40),
            'read': r.randrange(40), 'gen': 1,
            'sdp': 'v=0\r\na=fingerprint:sha-256 00',
            'token': r.choice(self.people).token}
        if r.random() < 0.25:
            payload = self.spoil(r, payload)
        said = {'type': r.choice(TYPES), 'payload': payload}
        if r.random() < 0.8:
            said['id'] = r.randrange(1, 10 ** 6)
        text = json.dumps(said)
        if r.random() < 0.05:
            at = r.randrange(len(text))
            text = text[:at] + r.choice(['}', '\0', '\\u0000', '{']) + text[at:]
        return text

    # -- how ---------------------------------------------------------------

    def by_rest(self, r):
        """Some requests in one go, of which the last or all are cut off."""
        n = r.choice([1, 1, 1, 2, 6])
        data = b''.join(self.request(r, i == n - 1) for i in range(n))
        cut = r.random() < 0.4
        if cut and r.random() < 0.6:
            data = data[:r.randrange(len(data))]
        with socket.create_connection(('127.0.0.1', self.stack.plain_port),
                                      10) as sock:
            sock.settimeout(0.7 if cut else 5)
            at = r.randrange(len(data) + 1)
            sock.sendall(data[:at])
            sock.sendall(data[at:])
            if cut:
                time.sleep(r.choice([0, 0.001, 0.003, 0.01, 0.03]))
                if r.random() < 0.6:
                    reset(sock)
                self.seen['cut'] += 1
                return
            got = b''
            while True:
                try:
                    part = sock.recv(65536)
                except TimeoutError:
                    break
                if not part:
                    break
                got += part
        for status in re.findall(rb'HTTP/1\.1 (\d\d\d) ', got):
            self.seen[status.decode()] += 1
            if status >= b'500' and (status != b'503' or
                                     time.monotonic() > self.away + 10):
                self.bad.append((data[:800], got[:2000]))
        for token in re.findall(rb'"refresh_token":"([^"]+)"', got):
            self.refreshes = self.refreshes[-20:] + [token.decode()]

    def by_socket(self, r):
        person = r.choice(self.people)
        client = self.stack.connect(tls=False)
        try:
            hello = {'token': person.token, 'device': str(uuid.uuid4())}
            if r.random() < 0.4:
                hello['pos'] = [[c, r.randrange(9)] for c in self.ids['c'][:3]]
            client.send('hello', hello, id=1)
            for _ in range(r.randrange(50)):
                client.send_text(self.message(r))
                self.seen['said'] += 1
            if r.random() < 0.5:
                reset(client.sock)
        finally:
            client.drop()
            self.stack.clients.remove(client)

    def by_two(self, r):
        """A consultation as it should be, that ends anywhere."""
        talk = Consultation(self.stack, balance=10 ** 6)
        steps = [talk.connect, talk.ring, talk.accept, talk.join,
                 lambda: talk.state('active'),
                 lambda: talk.c.call('session_pause', talk.this),
                 lambda: talk.c.call('session_resume', talk.this), talk.end]
        try:
            for step in steps[:r.randrange(2, len(steps) + 1)]:
                step()
            self.seen['consultations'] += 1
        finally:
            for person in (talk.client, talk.advisor):
                if person.client:
                    person.client.drop()

    def go_on(self, number, way):
        r = random.Random(SEED * 100 + number)
        while time.monotonic() < self.until:
            try:
                way(r)
            except Exception as e:          # what is cut may fail anyhow
                self.seen[f'{way.__name__}: {type(e).__name__}'] += 1

    def run(self):
        ways = [self.by_rest] * 5 + [self.by_socket] * 3 + [self.by_two]
        threads = [threading.Thread(target=self.go_on, args=(i, way))
                   for i, way in enumerate(ways)]
        for thread in threads:
            thread.start()
        begin, turn = time.monotonic(), 0
        while time.monotonic() < self.until:
            time.sleep(1)
            if time.monotonic() > begin + 20 * (turn + 1):
                turn += 1
                if turn % 3:
                    self.stack.reload()
                else:
                    self.away = time.monotonic()
                    self.stack.crash_pg()
                    self.stack.start('pg')
                    self.away = time.monotonic()
            self.look()
        for thread in threads:
            thread.join(60)
        print(f'seed {SEED}: {dict(self.seen)}')


@pytest.fixture(scope='module')
def attacked():
    stack = Stack()
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(attacked):
    yield from watch(attacked)


def test_a10_whatever_is_sent_and_wherever_it_is_cut(stack):
    attack = Attack(stack)
    stack.moved = SECONDS > 20
    attack.run()
    assert not attack.bad, attack.bad[0]
    assert attack.seen['cut'] and attack.seen['200'] and attack.seen['said']
    stack.drop_clients()
    eventually(lambda: stack.metrics()['astro_registry_entries'] == 0, 60,
               'nobody left')
    code, said = stack.audit()
    assert code == 0, said
