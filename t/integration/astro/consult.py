"""A consultation between two people made for it, step by step."""

import uuid


class Consultation:
    """client and advisor are Persons; c and a their latest connections."""

    def __init__(self, stack, balance=100000, rates=(6000, 9000, 12000),
                 bps=3000, service='chat'):
        self.stack = stack
        self.client = stack.person('client', balance)
        self.advisor = stack.person('advisor', rates=rates, bps=bps)
        self.rate = rates[('chat', 'audio', 'video').index(service)]
        self.service = service
        self.cid = str(uuid.uuid4())
        self.id = self.conv = None

    @property
    def c(self):
        return self.client.client

    @property
    def a(self):
        return self.advisor.client

    @property
    def number(self):
        return int(self.id[2:])

    @property
    def this(self):
        return {'session': self.id}

    def connect(self, **kw):
        """Both parties, on different nginx workers."""
        self.advisor.connect(**kw)
        self.client.connect(away_from=self.a.worker, **kw)
        assert self.c.worker != self.a.worker
        return self

    def start(self, **more):
        payload = self.c.call('session_start',
                              {'advisor': self.advisor.id, 'cid': self.cid,
                               'service': self.service, **more})
        self.id, self.conv = payload['session'], payload['conv']
        return payload

    def ring(self, **more):
        started = self.start(**more)
        incoming = self.a.expect(
            'session_incoming', lambda m: m['payload']['session'] == self.id)
        assert incoming['payload']['state'] == 'ringing'
        return started

    def accept(self):
        return self.a.call('session_accept', self.this)

    def join(self):
        """Both join; the replies to client and advisor."""
        return (self.c.call('session_join', self.this),
                self.a.call('session_join', self.this))

    def state(self, state, who=None, timeout=None):
        """Waits until they are told that the session is in that state."""
        for party in (who,) if who else (self.c, self.a):
            party.expect('session_update', lambda m:
                         m['payload']['session'] == self.id
                         and m['payload']['state'] == state, timeout)
        return self

    def active(self, **kw):
        """From nothing to active."""
        self.connect(**kw)
        self.ring()
        self.accept()
        self.join()
        return self.state('active')

    def end(self, by='c'):
        getattr(self, by).call('session_end', self.this)
        return self.ended()

    def ended(self, timeout=None):
        """The session_end event that client and advisor were sent."""
        both = [party.expect('session_end', lambda m:
                             m['payload']['session'] == self.id, timeout)
                for party in (self.c, self.a)]
        assert both[0]['_raw'] == both[1]['_raw']
        return both[0]['payload']

    def row(self):
        """The session as it is stored."""
        with self.stack.db() as db:
            cursor = db.execute('SELECT * FROM consult.session WHERE id = %s',
                                (self.number,))
            names = [column.name for column in cursor.description]
            return dict(zip(names, cursor.fetchone()))

    def transfers(self):
        """[(amount, fee, charge_no)] of the session."""
        with self.stack.db() as db:
            return db.execute(
                'SELECT amount, fee, charge_no FROM ledger.transfer'
                ' WHERE session_id = %s ORDER BY charge_no',
                (self.number,)).fetchall()

    def assert_settled(self):
        """The books of a session that is over, to the minor unit."""
        row, transfers = self.row(), self.transfers()
        charged = row['rate_minor'] * row['billed_ms'] // 60000
        fee = charged * row['commission_bps'] // 10000
        assert row['settled'] and row['held'] == 0
        assert (row['charged'], row['fee']) == (charged, fee)
        assert sum(t[0] for t in transfers) == charged
        assert sum(t[1] for t in transfers) == fee
        assert [t[2] for t in transfers] == list(range(1, len(transfers) + 1))
        assert self.advisor.wallet() == (charged - fee, 0)
        return row
