"""Our system as a server to load, and what its clients send.

Both parties of a session join it, the billing worker makes it active, and
only then the load starts: what is measured is relaying within paid sessions.
"""

import json
import uuid

from . import people
from .load import CHAT_TEXT, message, plan, text

PATH = '/ws'
HEADERS = 'Sec-WebSocket-Protocol: consult.v1'
RATE = 1                        # minor units a minute


class Ours:
    name = 'ours'
    load_args = ('-a', '{"type":"ping"={"type":"pong"}')

    def __init__(self, stack):
        self.stack = stack
        self.port = stack.plain_port
        self.tls_port = stack.port

    def start(self):
        self.stack.need('migrate', 'nginx')

    def stop(self):
        """It stays up for the next figure."""

    def restart(self):
        self.stack.stop('nginx')
        self.start()

    def pids(self):
        return [self.stack.pid('nginx')]

    def relay_plans(self, n):
        """Advisors receive what their clients signal."""
        self.stack.need('worker')
        with self.stack.admin() as db:
            pairs = people.pairs(db, n, RATE)
        return ([self._join(p, 'advisor') for p in pairs]
                + [self._join(p, 'client', _signal(p)) for p in pairs])

    def chat_plans(self, n):
        """The same with chat messages; also the conversations' ids."""
        self.stack.need('worker')
        with self.stack.admin() as db:
            pairs = people.pairs(db, n, RATE)
        return ([self._join(p, 'advisor') for p in pairs]
                + [self._join(p, 'client', _chat(p)) for p in pairs],
                [p.conv for p in pairs])

    def stored(self, convs):
        """(events, how many conversations are not numbered 1..n)"""
        with self.stack.admin() as db:
            return db.execute('''
                SELECT coalesce(sum(n), 0)::bigint,
                       count(*) FILTER (WHERE n <> head OR n <> top)
                  FROM consult.conversation c,
                       LATERAL (SELECT count(*) AS n,
                                       coalesce(max(seq), 0) AS top
                                  FROM consult.event e
                                 WHERE e.conversation_id = c.id) e
                 WHERE c.id = ANY(%s)''', (convs,)).fetchone()

    def _hello(self, account, role):
        frame = {'type': 'hello', 'id': 1, 'payload': {
            'token': self.stack.token(account, role),
            'device': str(uuid.uuid4()), 'app': 'bench/1'}}
        return ('>' + json.dumps(frame, separators=(',', ':')),
                '?"id":1,"payload"')

    def _join(self, pair, role, template='-'):
        account = pair.client if role == 'client' else pair.advisor
        steps = [*self._hello(account, role),
                 '>{"type":"session_join","id":2,"payload":{"session":"s_%d"}}'
                 % pair.session, '?"id":2,"payload"']
        if role == 'client':
            # advisors are connected first: now the session can begin
            steps.append('?"state":"active"')
        return plan(PATH, HEADERS, template, steps)

    def idle_plans(self, n):
        """Signed in and registered, in no session."""
        with self.stack.admin() as db:
            ids, _ = people.accounts(db, 'client', n)
        return [plan(PATH, HEADERS, '-', self._hello(i, 'client'))
                for i in ids]


def _signal(pair):
    return message('{"type":"signal_ice_candidate","payload":{"session":"s_%d"'
                   ',"candidate":"' % pair.session, '"}}')


def _chat(pair):
    return ('{"type":"chat_message","id":%%N,"payload":{"conv":"c_%d",'
            '"cid":"%%U","kind":"text","text":"' % pair.conv
            + text(CHAT_TEXT) + '"}}')
