"""Redis and rings only hasten: what they lost is read again within 5 s.

Each loss is brought about on purpose: a transition that nobody told of (made
in SQL, as by a worker that died right after its COMMIT), a PUBLISH that Redis
refuses, a worker killed between COMMIT and fan-out, Redis or PostgreSQL away.
"""

import contextlib
import json
import os
import signal
import time
import uuid

import psycopg
import pytest

from astro.consult import Consultation
from astro.fixtures import watch
from astro.stack import Stack, alive, eventually
from astro.ws import SLOW

WITHIN = 5.5            # what DESIGN.md promises, and a tenth for the way
ROUND = 4.5             # in this time everybody was looked at once
BOTH = ['client', 'advisor']


@pytest.fixture(scope='module')
def healing():
    stack = Stack(settings={'astro_live_ping': '1s',
                            'astro_live_silence': f'{int(3 * SLOW)}s'},
                  worker_settings={'ring_seconds': '3'})
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(healing):
    healing.revive()
    yield from watch(healing)


class Four:
    """A consultation whose parties have a device on each worker."""

    def __init__(self, stack, **kw):
        self.stack = stack
        self.talk = Consultation(stack, **kw)
        self.client, self.advisor = self.talk.client, self.talk.advisor
        self.devices = {self.client: [], self.advisor: []}
        for person in self.devices:
            for _ in range(2):
                self.second(person)
        # the first ones take part
        for person, devices in self.devices.items():
            person.client = devices[0]
        assert self.talk.c.worker != self.talk.a.worker \
            or self.swap(self.advisor)

    def second(self, person):
        there = self.devices[person]
        person.device = str(uuid.uuid4())
        there.append(person.connect(
            away_from=there[0].worker if there else None))

    def swap(self, person):
        devices = self.devices[person]
        devices.reverse()
        person.client = devices[0]
        return True

    @property
    def all(self):
        return [c for devices in self.devices.values() for c in devices]

    # -- transitions that nobody hears of

    def sql(self, name, *args):
        with psycopg.connect(f'host={self.stack.var}/run dbname=astro '
                             'user=astro_web', autocommit=True) as web:
            marks = ', '.join(['%s'] * len(args))
            cursor = web.execute(f'SELECT * FROM api.{name}({marks})', args)
            names = [column.name for column in cursor.description]
            return [dict(zip(names, row)) for row in cursor.fetchall()]

    def start(self):
        row, = self.sql('session_start', self.client.number,
                        self.advisor.number, 'chat', uuid.uuid4(), None, 1000,
                        True)
        assert row['status'] == 201, row
        self.talk.id = f's_{row["session_id"]}'
        self.talk.conv = f'c_{row["conversation_id"]}'
        return row

    def apply(self, who, event, to, reason=None):
        gateway = self.talk.c.me['debug']['gateway']
        with self.stack.db() as db:
            life, = db.execute('SELECT life_ms FROM consult.gateway'
                               ' WHERE id = %s', (gateway,)).fetchone()
        row, = self.sql('session_apply', who.number, self.talk.number, event,
                        ['ringing', 'accepted', 'connecting', 'active',
                         'reconnecting'], to, BOTH, reason, gateway, life)
        assert row['status'] == 200, row
        return row

    def say(self, who, text):
        row, = self.sql(
            'chat_batch', [int(self.talk.conv[2:])], [who.number],
            ['chat_message'], [uuid.uuid4()],
            [json.dumps({'from': who.id, 'kind': 'text', 'text': text})],
            ['active', 'reconnecting'])
        assert row['status'] == 'ok', row
        return row['seq']

    # -- what all devices are told

    def told(self, state, devices=None, timeout=WITHIN):
        for device in devices or self.all:
            device.expect('session_update', lambda m:
                          m['payload']['session'] == self.talk.id
                          and m['payload']['state'] == state, timeout)

    def rung(self, timeout=WITHIN):
        for device in self.devices[self.advisor]:
            ring = device.expect('session_incoming', lambda m:
                                 m['payload']['session'] == self.talk.id,
                                 timeout)
            assert ring['payload']['state'] == 'ringing'

    def ended(self, timeout=WITHIN):
        ends = {d.expect('session_end', lambda m: m['payload']['session']
                         == self.talk.id, timeout)['_raw'] for d in self.all}
        assert len(ends) == 1
        return json.loads(ends.pop())['payload']

    def nothing_twice(self):
        """A whole round later nothing was said again."""
        time.sleep(ROUND)
        for device in self.all:
            for kind in ('session_update', 'session_incoming', 'session_end'):
                device.quiet(kind, 0)

    def active(self):
        """All four told of an active session that the first two are in."""
        self.start()
        self.apply(self.advisor, 'accept', 'accepted')
        self.talk.join()
        self.told('active')
        for device in self.all:
            device.forget()
        return self


# -- nobody was told -----------------------------------------------------------

@pytest.fixture
def unbilled(stack):
    """What a test says of a session stays so."""
    stack.pause_billing()
    yield
    stack.resume_billing()


def test_a_ring_that_nobody_heard(stack, unbilled):
    """Every device is told once, rings once, and hears how it went on.

    Nobody counts how long it rings before the first two were answered.
    """
    four = Four(stack)
    one, two = Four(stack), Four(stack)
    begin = time.monotonic()
    for f in (four, one, two):
        f.start()
    for f in (four, one, two):
        f.rung()
        f.told('ringing')
    assert time.monotonic() - begin < 2 * WITHIN * SLOW

    four.apply(four.advisor, 'accept', 'accepted')
    one.apply(one.client, 'cancel', 'ended', 'cancelled')
    four.told('accepted')
    one.told('ended')
    assert one.ended()['reason'] == 'cancelled'
    # the third one rings on until it is missed, which nobody hears either:
    # the billing worker says so to Redis, who is here
    stack.resume_billing()
    two.told('ended')
    assert two.ended()['reason'] == 'missed'

    for f in (four, one):
        f.nothing_twice()
    assert stack.metrics()['astro_healed_total'] >= 12


def test_the_first_messages_of_a_new_conversation(stack, unbilled):
    """Nothing of it was heard, not even that it began."""
    four = Four(stack)
    four.start()
    four.apply(four.advisor, 'accept', 'accepted')
    with stack.db() as db:
        db.execute("UPDATE consult.session SET state = 'active', ver = ver + 1"
                   ' WHERE id = %s', (four.talk.number,))
    for i in range(3):
        four.say(four.client, f'{i}')
    four.told('active')
    for device in four.all:
        eventually(lambda d=device: len(d.events) >= 3, WITHIN)
        assert [e['seq'] for e in device.events] == [1, 2, 3]

    # the last one lost, to those who know where they are
    seq = four.say(four.advisor, 'lost')
    for device in four.all:
        eventually(lambda d=device: d.seen[four.talk.conv] == seq, WITHIN)
    for device in four.all:
        assert [e['seq'] for e in device.events] == [1, 2, 3, 4]
    with stack.db() as db:
        db.execute("UPDATE consult.session SET state = 'accepted',"
                   ' ver = ver + 1 WHERE id = %s', (four.talk.number,))
    four.apply(four.client, 'end', 'ended')
    assert four.ended()['reason'] == 'client_ended'


def test_messages_that_nobody_told_of(stack):
    """Heads are read again; pings carry them."""
    four = Four(stack).active()
    with stack.db() as db:
        head, = db.execute('SELECT head FROM consult.conversation'
                           ' WHERE id = %s', (int(four.talk.conv[2:]),)
                           ).fetchone()
    for i in range(5):
        assert four.say(four.client, f'{i}') == head + 1 + i
    for device in four.all:
        eventually(lambda d=device: d.seen.get(four.talk.conv) == head + 5,
                   WITHIN)
    # and what is told as ever does not come again
    four.talk.c.say(four.talk.conv, 'as ever')
    for device in four.all:
        eventually(lambda d=device: d.seen.get(four.talk.conv) == head + 6)
    four.talk.c.call('session_end', four.talk.this)
    assert four.ended()['reason'] == 'client_ended'
    four.client.assert_has_all(four.talk.conv)
    four.advisor.assert_has_all(four.talk.conv)


def held_by(client, pid):
    """Has that process the other end of this socket?"""
    ours, theirs = (f':{name[1]:04X}' for name in (
        client.sock.getsockname(), client.sock.getpeername()))
    with open('/proc/net/tcp', encoding='ascii') as f:
        inode = next(x[9] for x in map(str.split, f)
                     if x[1].endswith(theirs) and x[2].endswith(ours))
    found = []
    for fd in os.listdir(f'/proc/{pid}/fd'):
        with contextlib.suppress(OSError):      # closed meanwhile
            found.append(os.readlink(f'/proc/{pid}/fd/{fd}'))
    return f'socket:[{inode}]' in found


def test_what_came_while_hello_was_asked(stack):
    """A transition after hello's read, told before its answer was heard: the
    worker is stopped with both at its door.  As many devices as it takes until
    one is there, as nobody says which worker gets them."""
    four = Four(stack)
    four.talk.start()
    four.rung(2)
    worker = next(d for d in four.devices[four.client]
                  if d.worker != four.talk.a.worker).worker
    late = {}
    with stack.db() as db:
        with db.transaction():
            # hello writes there, and reads sessions afterwards
            db.execute('LOCK TABLE consult.presence IN EXCLUSIVE MODE')
            while not late or not (len(late) == 40
                                   or held_by(list(late)[-1], worker)):
                client = stack.connect()
                late[client] = client.request('hello', {
                    'token': four.client.token, 'device': str(uuid.uuid4())})
            held = {held_by(client, worker) for client in late}
            eventually(lambda: stack_waits(stack, len(held)), 1.5,
                       'hello waits')
            os.kill(worker, signal.SIGSTOP)
    try:
        time.sleep(0.2)
        four.talk.a.call('session_accept', four.talk.this)
    finally:
        os.kill(worker, signal.SIGCONT)
    here = [c for c, n in late.items()
            if c.reply(n)['debug']['pid'] == worker]
    four.told('accepted', late, ROUND)
    time.sleep(0.5)
    for client in late:
        client.quiet('session_update', 0,
                     lambda m: m['payload']['state'] == 'accepted')
    assert here, 'none of them on that worker'


# -- said, and lost ------------------------------------------------------------

@pytest.fixture
def mute(stack):
    """Redis is there, and takes no PUBLISH from anybody."""
    stack.redis('ACL', 'SETUSER', 'default', '-publish')
    yield
    stack.redis('ACL', 'SETUSER', 'default', '+publish')


def test_a_lost_publish(stack, mute):
    """The billing worker's words reach nobody, who is no party's device."""
    end, miss = Four(stack).active(), Four(stack)
    low = Four(stack, balance=2500, rates=(60000, None, None)).active()
    miss.talk.start()
    miss.rung(2)
    miss.told('ringing', timeout=2)
    began = time.monotonic()
    end.talk.c.call('session_end', end.talk.this)
    end.told('ended', timeout=2)
    assert end.ended(WITHIN + 2)['reason'] == 'client_ended'
    # 3 s until it is missed, and the billing worker looks once a second
    miss.told('ended', timeout=WITHIN + 5)
    assert miss.ended()['reason'] == 'missed'
    assert time.monotonic() - began < (WITHIN * 2 + 5) * SLOW
    low.told('ended', timeout=WITHIN + 10)
    assert low.ended()['reason'] == 'low_balance'
    for four in (end, miss, low):
        for person in four.devices:
            person.assert_has_all(four.talk.conv)


def test_redis_is_cut(stack):
    """Missed, accepted, cancelled, ended: on all devices, without Redis."""
    miss, accept, cancel = Four(stack), Four(stack), Four(stack)
    end = Four(stack).active()
    for four in (miss, accept, cancel):
        four.talk.start()
        four.rung(2)
    stack.expected.append('Redis|redis')
    stack.stop('redis')
    try:
        accept.talk.accept()
        cancel.talk.c.call('session_cancel', cancel.talk.this)
        end.talk.c.call('session_end', end.talk.this)
        accept.told('accepted')
        cancel.told('ended')
        assert cancel.ended()['reason'] == 'cancelled'
        assert end.ended(WITHIN + 2)['reason'] == 'client_ended'
        miss.told('ended', timeout=WITHIN + 5)
        assert miss.ended()['reason'] == 'missed'
        before = stack.metrics()['astro_heal_sweeps_total']
    finally:
        stack.start('redis')
    eventually(lambda: stack.metrics()['astro_heal_sweeps_total']
               >= before + stack.workers, 5, 'a look at everybody')
    accept.talk.join()
    accept.told('active')


@pytest.mark.parametrize('what', ['start', 'accept', 'chat'])
def test_a_worker_dies_between_commit_and_fan_out(stack, what):
    """Stopped while the database makes it wait, let commit, and killed."""
    four = Four(stack)
    talk = four.talk
    if what == 'accept':
        talk.start()
        four.rung(2)
    elif what == 'chat':
        four.active()

    doer = talk.a if what == 'accept' else talk.c
    victim = doer.worker
    others = [d for d in four.all if d.worker != victim]
    assert len(others) == 2

    with stack.db() as db:
        with db.transaction():
            if what == 'start':
                # its advisory lock of the client
                db.execute('SELECT pg_advisory_xact_lock(1, hashint8(%s))',
                           (four.client.number,))
                doer.request('session_start', {
                    'advisor': four.advisor.id, 'service': 'chat',
                    'cid': talk.cid})
            elif what == 'accept':
                db.execute('SELECT 1 FROM consult.session WHERE id = %s'
                           ' FOR UPDATE', (talk.number,))
                doer.request('session_accept', talk.this)
            else:
                db.execute('SELECT 1 FROM consult.conversation WHERE id = %s'
                           ' FOR UPDATE', (int(talk.conv[2:]),))
                doer.request('chat_message', {
                    'conv': talk.conv, 'cid': str(uuid.uuid4()),
                    'kind': 'text', 'text': 'unsaid'})
            eventually(lambda: stack_waits(stack), 1.5, 'it waits for a lock')
            os.kill(victim, signal.SIGSTOP)

        def committed():
            if what == 'start':
                row = db.execute('SELECT id, conversation_id FROM'
                                 ' consult.session WHERE client_id = %s',
                                 (four.client.number,)).fetchone()
                if row:
                    talk.id, talk.conv = f's_{row[0]}', f'c_{row[1]}'
                return row
            if what == 'accept':
                return talk.row()['state'] == 'accepted'
            return db.execute("SELECT 1 FROM consult.event WHERE type ="
                              " 'chat_message' AND conversation_id = %s",
                              (int(talk.conv[2:]),)).fetchone()
        eventually(committed, 5, 'the COMMIT')

    for other in others:
        assert not [m for m in other.messages if m['type'] in (
            'session_incoming', 'chat_message')
            or m['payload'].get('state') == 'accepted'], 'it was told'
    stack.kill_nginx_worker(victim)
    if what == 'start':
        ring, = [d for d in four.devices[four.advisor] if d in others]
        ring.expect('session_incoming', timeout=WITHIN)
        four.told('ringing', others)
    elif what == 'accept':
        four.told('accepted', others)
    else:
        for other in others:
            other.expect('chat_message', lambda m: m['payload']['text']
                         == 'unsaid', WITHIN)


def stack_waits(stack, of=1):
    """Do calls of the module wait for a lock, of so many workers?"""
    with stack.db() as db:
        return db.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'astro_web'"
            " AND wait_event_type = 'Lock'").fetchone()[0] >= of


def test_postgresql_is_back(stack):
    """What was committed before any worker was there again: at once."""
    four = Four(stack)
    stack.expected.append('PostgreSQL')
    before = stack.metrics()['astro_heal_sweeps_total']
    stack.crash_pg()
    time.sleep(0.5)
    stack.script('start', 'pg')
    eventually(lambda: stack.rest.get('/api/health').status == 200, 10)
    four.start()
    four.rung()
    four.told('ringing')
    eventually(stack.connected, 15)
    assert stack.metrics()['astro_heal_sweeps_total'] >= before + 2


def test_a_join_whose_answer_was_lost(stack, unbilled):
    """Committed or not, the gateway did not hear of it: nobody stays present
    who has gone."""
    talk = Consultation(stack).connect()
    talk.ring()
    talk.accept()
    stack.expected.append('PostgreSQL')
    gateway = talk.c.me['debug']['gateway']

    def opened():
        with stack.db() as db:
            return db.execute('SELECT count(*) FROM consult.interval WHERE'
                              ' session_id = %s AND account_id = %s AND'
                              ' close_life_ms IS NULL',
                              (talk.number, talk.client.number)).fetchone()[0]

    with stack.db() as db:
        with db.transaction():
            db.execute('SELECT 1 FROM consult.session WHERE id = %s'
                       ' FOR UPDATE', (talk.number,))
            talk.c.request('session_join', talk.this)
            eventually(lambda: stack_waits(stack), 1.5, 'it waits for a lock')
            with stack.db() as other:
                other.execute("SELECT pg_terminate_backend(pid) FROM"
                              " pg_stat_activity WHERE usename = 'astro_web'"
                              " AND wait_event_type = 'Lock'")
            eventually(lambda: not stack_waits(stack), 5, 'it is cut')

    # the COMMIT that it might have been, as late as it may come
    time.sleep(1)
    with psycopg.connect(f'host={stack.var}/run dbname=astro user=astro_web',
                         autocommit=True) as web:
        status, = web.execute(
            "SELECT status FROM api.session_join(%s, %s, %s, 1,"
            " '{accepted,connecting,active,reconnecting}')",
            (talk.client.number, talk.number, gateway)).fetchone()
    assert status == 200 and opened() == 1
    eventually(lambda: opened() == 0, 6, 'it is closed')

    # and one that is known stays
    talk.join()
    assert opened() == 1
    time.sleep(3)
    assert opened() == 1
    with stack.db() as db:
        assert db.execute('SELECT array_agg(close_reason ORDER BY id) FROM'
                          ' consult.interval WHERE session_id = %s AND'
                          ' account_id = %s', (talk.number,
                                               talk.client.number)
                          ).fetchone()[0] == ['unheard', None]


# -- who may not stay ----------------------------------------------------------

def bye(client, code, timeout):
    """A goodbye first, then the close."""
    client.wait(lambda: client.close_code, timeout, 'the close')
    assert client.close_code == code
    said = client.expect('bye')['payload']
    assert (said['code'], said['action']) == (code, 'stop')


def test_revoked_and_blocked_without_a_word(stack):
    """By hand in the database, Redis away; REST and hello refuse as well."""
    gone, out, stays = (Four(stack), Four(stack), Four(stack))
    admin = stack.person('admin')
    stack.expected.append('Redis|redis')
    stack.stop('redis')
    try:
        row, = gone.sql('tokens_revoke', gone.client.number,
                        gone.client.number)
        assert row['status'] == 200 and row['hint'] == f'A {gone.client.number}'
        row, = out.sql('account_block', admin.number, out.client.number, True)
        assert row['status'] == 200 and row['hint'] == f'A {out.client.number}'
        for device in gone.devices[gone.client]:
            bye(device, 4401, WITHIN)
        for device in out.devices[out.client]:
            bye(device, 4403, WITHIN)
    finally:
        stack.start('redis')

    for person, code in ((gone.client, 4401), (out.client, 4403)):
        client = stack.connect()
        client.request('hello', {'token': person.token})
        bye(client, code, 5)
        # REST hears of it with the next look
        eventually(lambda p=person: {stack.rest.get('/api/wallet', p.token)
                                     .status for _ in range(8)} == {401},
                   WITHIN)
    for device in stays.all + gone.devices[gone.advisor]:
        assert device.call('ping', {}) == {}

    # a token of a second later is as good as any, a block can be lifted
    new = stack.jwt(gone.client.number, 'client', iat=int(time.time()) + 1)
    client = stack.connect()
    assert client.hello(new)['user'] == gone.client.id
    assert stack.rest.get('/api/wallet', new).status == 200
    out.sql('account_block', admin.number, out.client.number, False)
    eventually(lambda: {stack.rest.get('/api/wallet', out.client.token).status
                        for _ in range(8)} == {200}, WITHIN)
    assert out.client.connect().me['user'] == out.client.id
    time.sleep(ROUND)
    assert client.call('ping', {}) == {}


def test_a_hint_is_enough(stack):
    """With Redis it takes no round."""
    four = Four(stack)
    row, = four.sql('tokens_revoke', four.client.number, four.client.number)
    began = time.monotonic()
    assert int(stack.redis('PUBLISH', 'astro:events', row['hint'])) >= 2
    for device in four.devices[four.client]:
        bye(device, 4401, 2)
    assert time.monotonic() - began < 2 * SLOW
    # and no hint can do what the database does not say
    stack.redis('PUBLISH', 'astro:events', f'A {four.advisor.number}')
    for text in ('A', 'A ', 'A x', 'A -1', 'A 99999999999999999999', 'A 0'):
        stack.redis('PUBLISH', 'astro:events', text)
    for device in four.devices[four.advisor]:
        device.quiet('bye', 0.3)
        assert device.call('ping', {}) == {}


def test_only_oneself_and_admins_revoke(stack):
    four = Four(stack)
    one, other = four.client, four.advisor
    for name, more in (('tokens_revoke', ()), ('account_block', (True,))):
        row, = four.sql(name, one.number, other.number, *more)
        assert (row['status'], row['hint']) == (403, None)
        row, = four.sql(name, stack.person('admin').number, 2 ** 40, *more)
        assert (row['status'], row['hint']) == (404, None)
    assert alive(stack.pid('nginx'))
