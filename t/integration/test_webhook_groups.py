"""Webhooks of a moment that one statement stores: each is answered by its own
result, after the commit; what is wrong with one is no other one's.

How the module groups them is seen by what tests put into api.webhook_group, for
as long as they run: it takes its time, or fails.
"""

import contextlib
import hashlib
import json
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from astro.fixtures import watch
from astro.stack import Stack, eventually
from test_webhooks import RAZORPAY, STRIPE, Vendors, counted, mac, name

GROUP = 'SELECT * FROM api.webhook_group(%s::text[], %s::text[], %s::text[])'
POISON = [b'{', b'[]', b'null', b'{"id":"evt_1"}', b'{"type":"a"}', b'7',
          b'{"id":"evt 1","type":"a"}', b'{"id":"","type":"a"}',
          b'{"id":"evt_1","type":"\\u0000"}', b'[' * 60000,
          b'{"id":"%s","type":"a"}' % (b'e' * 256),
          b'{"id":"evt_1","type":"%s"}' % (b't' * 256)]


@pytest.fixture(scope='module')
def alone():
    stack = Stack()
    try:
        yield stack.up()
    finally:
        stack.down()


@pytest.fixture
def stack(alone):
    alone.revive()
    yield from watch(alone)


@pytest.fixture
def vendors(stack):
    return Vendors(stack)


@contextlib.contextmanager
def first(stack, said):
    """api.webhook_group does that before all else."""
    with stack.db() as db:
        old, = db.execute(
            "SELECT pg_get_functiondef('api.webhook_group(text[], text[],"
            " text[])'::regprocedure)").fetchone()
    with stack.db() as db:
        db.execute(old.replace('\nBEGIN\n', f'\nBEGIN\n{said};\n', 1))
    try:
        yield
    finally:
        with stack.db() as db:
            db.execute(old)


def body_of(ident, size=0):
    said = json.dumps({'id': ident, 'object': 'event', 'type': 'a.b',
                       'data': {'text': 'é\u2028"\\{},NULL'}}).encode()
    return said + b' ' * (size - len(said))


def post(vendors, body):
    """The same as vendors.post, but never on a connection that was used."""
    conn = vendors.stack.rest.connection()
    try:
        conn.request('POST', STRIPE, body, {
            'Content-Type': 'application/json', **vendors.sign(body)})
        answer = conn.getresponse()
        answer.read()
        return answer.status
    finally:
        conn.close()


def rows(stack, names):
    with stack.db() as db:
        return dict(db.execute(
            'SELECT event_id, count(*) FROM ledger.webhook_inbox'
            ' WHERE event_id = ANY(%s) GROUP BY 1', (list(names),)))


def test_groups_at_random(stack):
    """Duplicates, of before and within, of two vendors, among what is none: as
    one after the other would be; due in the order in which they came."""
    rng = random.Random(11)
    run, known = name('evt'), set()
    with stack.db() as db:
        db.execute('BEGIN')         # nobody takes them out
        for _ in range(60):
            said = []
            for _ in range(rng.choice((1, 2, 5, 40))):
                vendor = rng.choice(('stripe', 'stripe', 'razorpay'))
                ident = f'{run}_{rng.randrange(200)}'
                body = json.dumps({'id': ident, 'type': 'a', 'event': 'a'})
                if rng.random() < 0.2:
                    ident, body = None, rng.choice(POISON).decode()
                said.append((vendor, body, rng.choice(('', name('k'))),
                             ident))

            found = db.execute(GROUP, [list(x) for x in zip(*said)][:3]
                               ).fetchall()
            assert [row[3] for row in found] == [*range(1, len(said) + 1)]
            new = []
            for (vendor, body, trace, ident), row in zip(said, found):
                if ident is None:
                    assert row[0] == 400 and 'an event of' in row[1]
                    continue
                if vendor == 'razorpay':
                    ident = hashlib.sha256(body.encode()).hexdigest()
                assert row[:3] == (200, '{"received":true}',
                                   (vendor, ident) in known)
                if (vendor, ident) not in known:
                    known.add((vendor, ident))
                    new.append((vendor, ident, body, trace or None))

            assert db.execute(
                'SELECT provider, event_id, body, trace'
                '  FROM ledger.webhook_inbox ORDER BY due_at DESC, id'
                ' LIMIT %s', (len(new),)).fetchall() == new[::-1]
        assert known
        db.execute('ROLLBACK')


def test_no_two_calls_wait_for_each_other(stack):
    """The same events in any order over several connections at once: no
    deadlock, and each is new to one of them."""
    rng = random.Random(12)
    run = name('evt')
    names = [f'{run}_{n}' for n in range(2000)]
    with stack.db() as db:
        before, = db.execute('SELECT deadlocks FROM pg_stat_database'
                             " WHERE datname = 'astro'").fetchone()

    def say(seed):
        mine = random.Random(seed)
        new = 0
        with stack.db() as db:
            for at in range(0, len(names), 100):
                some = names[at:at + 100]
                mine.shuffle(some)
                found = db.execute(GROUP, (
                    ['stripe'] * 100, [body_of(n).decode() for n in some],
                    [''] * 100)).fetchall()
                new += sum(not dup for _, _, dup, _ in found)
        return new

    with ThreadPoolExecutor(4) as pool:
        new = list(pool.map(say, rng.sample(range(10 ** 6), 4)))
    assert sum(new) == len(names)
    assert rows(stack, names) == dict.fromkeys(names, 1)
    with stack.db() as db:
        assert db.execute('SELECT deadlocks FROM pg_stat_database'
                          " WHERE datname = 'astro'").fetchone()[0] == before


def test_each_is_answered_by_its_own(stack, vendors):
    """What comes meanwhile goes together; whoever is told 200 finds it stored,
    over another connection, in this instant."""
    rng = random.Random(13)
    names = [name('evt') for _ in range(12)]
    posts = [(body_of(n), 200, n) for n in names * 3]
    posts += [(body, 400, None) for body in POISON]
    posts += [(body_of(name('evt'), 262145), 413, None)] * 3
    rng.shuffle(posts)
    before, size = counted(stack), stack.metrics()

    def say(what):
        body, status, ident = what
        assert post(vendors, body) == status
        return ident is None or rows(stack, [ident]) == {ident: 1}

    with first(stack, 'PERFORM pg_sleep(0.2)'), \
            ThreadPoolExecutor(len(posts)) as pool:
        assert all(pool.map(say, posts))

    after = stack.metrics()
    what = 'astro_http_group_requests'
    grouped = after[f'{what}_sum'] - size[f'{what}_sum']
    assert grouped == len(posts) - 3
    assert after[f'{what}_count'] - size[f'{what}_count'] < grouped / 2
    now = counted(stack)
    assert {k: now[k] - before[k] for k in now if now[k] != before[k]} == {
        'stored': len(names), 'duplicate': 2 * len(names),
        'malformed': len(POISON)}


def test_a_row_keeps_its_requests_name(stack, vendors):
    about = {name('evt'): name('req') for _ in range(8)}

    def say(ident):
        body = body_of(ident)
        return stack.rest.post(STRIPE, body, headers={
            'X-Request-Id': about[ident], **vendors.sign(body)}).status

    with first(stack, 'PERFORM pg_sleep(0.2)'), ThreadPoolExecutor(8) as pool:
        assert set(pool.map(say, about)) == {200}
    with stack.db() as db:
        for ident, trace in db.execute(
                'SELECT event_id, trace FROM ledger.webhook_inbox'
                ' WHERE event_id = ANY(%s)', (list(about),)).fetchall():
            assert trace.split()[0] == about.pop(ident)
    assert not about


def test_a_group_that_is_refused_goes_one_by_one(stack, vendors):
    names = [name('evt') for _ in range(16)]
    razor = json.dumps({'event': 'a', 'nonce': name('n')}).encode()

    def say(ident):
        return post(vendors, body_of(ident))

    with first(stack, 'PERFORM pg_sleep(0.2); IF cardinality(bodies) > 1 OR '
               f"bodies[1] LIKE '%{names[3]}%' THEN RAISE 'no'; END IF"), \
            ThreadPoolExecutor(20) as pool:
        asked = [pool.submit(say, ident) for ident in names]
        other = pool.submit(vendors.post, RAZORPAY, razor, {
            'X-Razorpay-Signature': mac(vendors.razorpay, razor)})
        said = [a.result() for a in asked]
        assert other.result()[0] == 200
    assert said == [500 if n == names[3] else 200 for n in names]
    assert rows(stack, names) == dict.fromkeys(set(names) - {names[3]}, 1)
    assert say(names[3]) == 200


def test_a_statement_has_a_mebibyte_at_most(stack, vendors):
    """Or one event, if that is all that waits."""
    with stack.db() as db:
        db.execute('CREATE SCHEMA seen; GRANT USAGE ON SCHEMA seen TO astro_api;'
                   'CREATE TABLE seen.of (n int, octets bigint);'
                   'GRANT INSERT ON seen.of TO astro_api')
    try:
        names = [name('evt') for _ in range(24)]
        with first(stack, 'PERFORM pg_sleep(0.2); INSERT INTO seen.of'
                   ' SELECT cardinality(bodies), sum(octet_length(x))'
                   ' FROM unnest(bodies) x'), ThreadPoolExecutor(24) as pool:
            said = list(pool.map(
                lambda n: post(vendors, body_of(n, 200000)), names))
        assert said == [200] * 24
        with stack.db() as db:
            seen = db.execute('SELECT n, octets FROM seen.of').fetchall()
        assert sum(n for n, _ in seen) == 24
        assert max(n for n, _ in seen) > 1
        assert max(octets for _, octets in seen) <= 1024 * 1024
        assert rows(stack, names) == dict.fromkeys(names, 1)
    finally:
        with stack.db() as db:
            db.execute('DROP SCHEMA seen CASCADE')


def test_who_goes_takes_nobody_along(stack, vendors):
    """And what he said is stored, if it was on its way."""
    names = [name('evt') for _ in range(24)]
    before = counted(stack)
    with first(stack, 'PERFORM pg_sleep(0.2)'), ThreadPoolExecutor(16) as pool:
        asked, gone = [], []
        for n, ident in enumerate(names):
            body = body_of(ident)
            if n % 3:
                asked.append(pool.submit(post, vendors, body))
                continue
            gone.append(stack.rest.connection())
            gone[-1].request('POST', STRIPE, body, vendors.sign(body))
        for conn in gone:
            conn.close()
        assert [a.result() for a in asked] == [200] * 16
    here = rows(stack, names)
    assert set(here) >= {n for i, n in enumerate(names) if i % 3}

    def known():
        now = counted(stack)
        return now['stored'] - before['stored'] == len(rows(stack, names))
    eventually(known, 10, 'what is stored is counted')


@pytest.mark.parametrize('when', ['before', 'behind'])
def test_the_database_dies_within_a_group(stack, vendors, when):
    """5xx to all of it, and nothing of it is there; what the vendor sends again
    is stored, once."""
    names = [name('evt') for _ in range(16)]
    nap = 'PERFORM pg_sleep(30)'
    with stack.db() as db, ThreadPoolExecutor(16) as pool:
        if when == 'behind':        # all is done but the commit
            db.execute(
                'CREATE FUNCTION public.nap() RETURNS trigger LANGUAGE plpgsql'
                f' AS $x$ BEGIN {nap}; RETURN NULL; END $x$;'
                'CREATE TRIGGER nap AFTER INSERT ON ledger.webhook_inbox'
                ' FOR EACH STATEMENT EXECUTE FUNCTION public.nap()')
            held = contextlib.nullcontext()
        else:
            held = first(stack, nap)
        try:
            with held:
                asked = [pool.submit(post, vendors, body_of(n))
                         for n in names]
                killed = 0
                while not all(a.done() for a in asked):
                    killed += db.execute(
                        'SELECT count(pg_terminate_backend(pid))'
                        '  FROM pg_stat_activity'
                        " WHERE wait_event = 'PgSleep'").fetchone()[0]
        finally:
            if when == 'behind':
                db.execute('DROP TRIGGER nap ON ledger.webhook_inbox;'
                           'DROP FUNCTION public.nap()')
    assert killed
    said = [a.result() for a in asked]
    assert set(said) <= {500, 503} and rows(stack, names) == {}

    def again(ident):
        return eventually(lambda: post(vendors, body_of(ident)) == 200, 20)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(again, names * 2))
    assert rows(stack, names) == dict.fromkeys(names, 1)


def test_a_worker_dies_within_a_group(stack, vendors):
    """Nobody is told 2xx of what is not stored; again, it is, once."""
    names = [name('evt') for _ in range(12)]

    def say(ident):
        try:
            status = post(vendors, body_of(ident))
        except OSError:
            return 0
        assert status in (500, 503) or rows(stack, [ident]) == {ident: 1}
        return status

    with stack.db() as db, ThreadPoolExecutor(12) as pool, \
            first(stack, 'PERFORM pg_advisory_xact_lock(7701)'):
        db.execute('SELECT pg_advisory_lock(7701)')
        asked = [pool.submit(say, ident) for ident in names]
        eventually(lambda: db.execute(
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'"
            ' AND objid = 7701 AND NOT granted').fetchone(), 10)
        for pid in stack.serving():
            stack.kill_nginx_worker(pid)
        db.execute('SELECT pg_advisory_unlock(7701)')
        assert 0 in [a.result() for a in asked]

    for ident in names:
        eventually(lambda n=ident: say(n) == 200, 20)
    assert rows(stack, names) == dict.fromkeys(names, 1)
