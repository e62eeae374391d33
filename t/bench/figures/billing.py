"""What a billing worker does with few and with many sessions, at four fifths of
what the machine can do: rate, lateness, memory, what it writes; how soon one is
back, and how soon another goes on in the place of one that is lost."""

import math
import signal
import time

from . import crowd, machine, table
from .common import TROUBLE, Skip, reason
from .workers import SAMPLE, Ear, Worker

SIZES = (1000, 10000, 50000, 200000)
QUICK = (1000, 10000)
MORE_THAN_CAN_BE = 60000        # in a second
SPREAD_MS = 60000               # of the grids: any tick
LOAD = 0.8
LATE_MS = 250
EARLY_MS = 60
RESTORED = 50000
LOST = 5000                     # sessions of a worker that is lost
WAYS = (('kill -9', signal.SIGKILL), ('SIGSTOP', signal.SIGSTOP),
        ('SIGTERM', signal.SIGTERM))

WRITTEN = '''
    SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
           (SELECT sum(pg_total_relation_size(c.oid))::bigint
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
             WHERE n.nspname = 'ledger' AND c.relkind = 'r'
               AND c.relname LIKE 'transfer%')
'''

UPDATES = '''
    SELECT sum(n_tup_upd)::bigint, sum(n_tup_hot_upd)::bigint
      FROM pg_stat_user_tables
     WHERE (schemaname, relname) IN (('consult', 'session'),
                                     ('ledger', 'wallet'))
'''


class Many:
    """Sessions that are live on a gateway that is only a row."""

    def __init__(self, stack, db, gateway):
        self.stack, self.db, self.gateway = stack, db, gateway
        self.active = {}            # session -> active_ms

    def grow(self, n):
        """As many as n; a worker meters those that are there meanwhile."""
        worker = Worker(self.stack, tick_seconds=30)
        try:
            while len(self.active) < n:
                some = crowd.live(self.db, self.gateway,
                                  min(crowd.CHUNK, n - len(self.active)),
                                  SPREAD_MS)
                self.active.update(self.db.execute(
                    'SELECT id, active_ms FROM consult.session'
                    ' WHERE id BETWEEN %s AND %s',
                    (some[0].session, some[-1].session)).fetchall())
            self.db.execute('CHECKPOINT')
        finally:
            worker.stop()

    def late(self, heard, tick_ms):
        """ms after their grid's points."""
        now, boot = self.gateway.now(), crowd.boot_s()
        found = []
        for session, at in heard:
            if session in self.active:
                instant = now - (boot - at) * 1000
                late = (instant - self.active[session]) % tick_ms
                # a moment early, not a whole tick late
                found.append(late - tick_ms if late > tick_ms - 60 else late)
        return found

    def missed(self, session, gone, at, tick_ms):
        """ms from the first point after gone to at, its first charge then."""
        now, boot = self.gateway.now(), crowd.boot_s()
        gone, at = (now - (boot - t) * 1000 for t in (gone, at))
        point = gone + (self.active[session] - gone) % tick_ms
        # a moment early, it was charged for that point before
        if point < gone + EARLY_MS and at > point + tick_ms - EARLY_MS:
            point += tick_ms
        return at - point

    def charged(self):
        return self.db.execute(
            'SELECT sum(charge_no) FROM consult.session WHERE NOT settled'
            ).fetchone()[0]


def measure(bench):
    rows, found, trouble = [], {}, None
    stack = bench.stack

    if bench.without('ours'):
        return {}
    stack.need('migrate')
    stack.stop('worker')

    with crowd.Gateway(stack) as gateway, stack.admin() as db:
        many = Many(stack, db, gateway)
        ear = Ear(stack)
        try:
            sizes = bench.sizes or (QUICK if bench.quick else SIZES)
            limit = ceiling(bench, many, ear, sizes[0])
            found['limit'] = limit
            for n in sizes:
                rows.append(one(bench, many, ear, n, limit))
                if n >= LOST and 'lost' not in found:
                    found['lost'] = lost(many, ear, limit)
        except TROUBLE as e:
            trouble = reason(e)
        finally:
            ear.close()
            crowd.over(db)

    show(rows, found, trouble)
    goals(bench, rows, found)
    found['rows'] = rows
    return found


def ceiling(bench, many, ear, least):
    """Ticks a second with more sessions due than can be done; they stay if no
    row has fewer."""
    many.grow(MORE_THAN_CAN_BE)
    worker = Worker(many.stack, tick_seconds=1)
    try:
        worker.until('sessions_by_heart', 0.99 * len(many.active))
        time.sleep(6)
        before, start = many.charged(), time.monotonic()
        time.sleep(max(5, bench.seconds))
        rate = (many.charged() - before) / (time.monotonic() - start)
    finally:
        worker.stop()
        ear.take()

    if rate > 0.97 * len(many.active):
        raise Skip(f'{len(many.active)} sessions are not enough to show the '
                   f'limit: {rate:.0f} were charged each second')

    if least < len(many.active):
        crowd.over(many.db)
        many.active.clear()

    return rate


def one(bench, many, ear, n, limit):
    """A row: n sessions, as often as makes four fifths of the limit."""
    many.grow(n)
    there = len(many.active)
    tick = fits(there, limit)
    db = many.db

    # as it would be found after a restart: a moment ago all was on time
    worker = Worker(many.stack, tick_seconds=tick)
    try:
        worker.until('sessions_by_heart', 0.999 * there)
        time.sleep(2 * tick + 1)
    finally:
        worker.stop()

    ear.take()
    ear.every = 1
    gone = crowd.boot_s()
    worker = Worker(many.stack, tick_seconds=tick)
    try:
        heart = worker.until('sessions_by_heart', 0.999 * there)
        caught_up = again(many, ear, gone, tick)
        ear.every = SAMPLE
        time.sleep(tick)
        first, _ = ear.take()
        wal, size = db.execute(WRITTEN).fetchone()
        updates, hot = db.execute(UPDATES).fetchone()
        cpu = machine.cpu_seconds([worker.pid])
        before, start = many.charged(), time.monotonic()

        time.sleep(max(bench.seconds, 2 * tick, 6))

        ticks, took = many.charged() - before, time.monotonic() - start
        heard, _ = ear.take()
        cpu = machine.cpu_seconds([worker.pid]) - cpu
        wal_after, size_after = db.execute(WRITTEN).fetchone()
        rss = worker.rss_kb()
        time.sleep(1.2)             # until the backends have told of theirs
        updates_after, hot_after = db.execute(UPDATES).fetchone()
    finally:
        worker.stop()

    if ticks == 0:
        raise Skip(f'no tick with {there} sessions')

    late = many.late(heard, tick * 1000)
    early = many.late(first, tick * 1000)
    return {
        'n': there, 'tick': tick, 'rate': ticks / took,
        'asked': there / tick, 'p50': crowd.percentile(late, 50),
        'p99': crowd.percentile(late, 99), 'cpu_us': cpu * 1e6 / ticks,
        'rss_mb': rss / 1024, 'wal': (wal_after - wal) / ticks,
        'bytes': (size_after - size) / ticks, 'heart': heart,
        'again': caught_up, 'then_p99': crowd.percentile(early, 99),
        'hot': 100 * (hot_after - hot) / max(1, updates_after - updates)}


def fits(n, limit):
    """The tick, in s, at which n are four fifths of the limit."""
    return max(1, math.ceil(n / (LOAD * limit)))


def lost(many, ear, limit):
    """{way: s until all of a lost worker's sessions have ticked again}"""
    found = {}
    ear.every = 1
    tick = fits(len(many.active), limit)
    for name, number in WAYS:
        one, two = (Worker(many.stack, tick_seconds=tick) for _ in range(2))
        try:
            both(one, two, len(many.active))
            holder = max((one, two), key=lambda w: w.metric(
                'sessions_known') or 0)
            time.sleep(2 * tick + 1)
            ear.take()
            gone = crowd.boot_s()
            holder.send(number)
            found[name] = again(many, ear, gone, tick)
        finally:
            one.stop()
            two.stop()
    ear.every = SAMPLE
    ear.take()
    return found


def both(one, two, n, timeout=30):
    until = time.monotonic() + timeout
    while sum(w.metric('sessions_by_heart') or 0
              for w in (one, two)) < 0.99 * n:
        if time.monotonic() > until:
            raise Skip(f'{n} sessions are not known in {timeout} s')
        time.sleep(0.05)


def again(many, ear, gone, tick, timeout=20):
    """Seconds from the loss until the last session was charged that had
    missed a point of its grid; the others go on as if nothing had been."""
    missing, last = set(many.active), gone
    until = time.monotonic() + timeout
    while missing:
        if time.monotonic() > until:
            raise Skip(f'{len(missing)} sessions did not tick again')
        time.sleep(0.1)
        heard, _ = ear.take()
        for session, at in heard:
            # what was on its way when the worker was lost does not count
            if at < gone + 0.3 or session not in missing:
                continue
            missing.discard(session)
            if many.missed(session, gone, at, tick * 1000) > LATE_MS:
                last = at
    return last - gone


def show(rows, found, trouble):
    lines = [[f'{r["n"]}', f'{r["tick"]} s', table.short(r['rate']),
              f'{100 * r["rate"] / found["limit"]:.0f} %',
              table.short(r['p50']), table.short(r['p99']),
              table.short(r['cpu_us']), f'{r["rss_mb"]:.0f}',
              table.short(r['wal']), table.short(r['bytes']),
              f'{r["hot"]:.1f}', f'{r["heart"]:.2f} s',
              f'{r["again"]:.2f} s', table.short(r['then_p99'])]
             for r in rows]
    if found.get('limit'):
        lines.append(f'the limit: {table.short(found["limit"])} ticks/s, of '
                     'one worker with more sessions due than it can do')
    if found.get('lost'):
        lines.append('started again at once: all facts are read, and the '
                     'last one is charged that missed a point of its grid')
        lines.append('the worker is lost, and the last of these was charged '
                     'by another after: '
                     + ', '.join(f'{k} {v:.1f} s'
                                 for k, v in found['lost'].items()))
    if trouble:
        lines.append(f'not measured: {trouble}')

    table.show('Billing worker: sessions, and how late they are charged (ms '
               'from the grid to a word in Redis)',
               ['sessions', 'tick', 'ticks/s', 'of limit', 'p50', 'p99',
                'CPU us', 'RSS MB', 'WAL B', 'journal B', 'HOT %',
                'all read', 'caught up', 'then p99'], lines)


def goals(bench, rows, found):
    goals = bench.goals
    full = [r for r in rows if r['rate'] > 0.7 * found.get('limit', 0)]
    goals.at_most('lateness at 80 % of the limit, p99 ms',
                  max((r['p99'] for r in full), default=None), 250)
    goals.at_most('bytes of the journal, a tick',
                  max((r['bytes'] for r in rows), default=None), 250)
    goals.at_least('HOT updates, %',
                   min((r['hot'] for r in rows), default=None), 98)
    goals.at_most(f'{RESTORED} sessions known again and charged, s',
                  max((max(r['heart'], r['again']) for r in rows
                       if r['n'] == RESTORED), default=None), 2)
    goals.at_most('a worker lost: its sessions tick again, s',
                  max(found['lost'].values()) if found.get('lost') else None,
                  5)
