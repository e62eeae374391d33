"""Ticks: how many running sessions can be charged in a second.

Ours is the whole billing_worker with more sessions due than it can do.  The
sessions' parties are connected to a gateway that is only a row whose lease is
renewed here, as nginx would.
"""

import re
import subprocess
import threading
import time

from . import machine, people, table
from .chat import pgbench
from .common import TROUBLE, Skip, reason
from .peers import node
from .relay import times

RATE = 60000                    # minor units a minute: each tick has an amount
TICK_SECONDS = 1
BATCH = 500                     # of tick_rows.sql
SILENCE_MS = 1000
AHEAD_MS = 60000                # the worker's default

OPEN = '''
    INSERT INTO consult.interval (session_id, account_id, gateway_id,
                                  open_life_ms)
    SELECT s, a, %(gateway)s, %(life)s
      FROM unnest(%(sessions)s::bigint[], %(accounts)s::bigint[]) AS t(s, a)
'''


class Gateway:
    """A gateway's lease, renewed once a second."""

    def __init__(self, stack):
        self.db = stack.admin()
        self.id, self.started_ms = self.db.execute(
            "SELECT * FROM api.gateway_open('bench', 1, %s)",
            (SILENCE_MS,)).fetchone()
        self.start = time.clock_gettime(time.CLOCK_BOOTTIME)
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.renew, daemon=True)

    def life(self):
        return int((time.clock_gettime(time.CLOCK_BOOTTIME) - self.start)
                   * 1000)

    def open(self, pairs):
        """Both parties of each are there; returns since when."""
        life = self.life()
        self.db.execute(OPEN, {
            'gateway': self.id, 'life': life,
            'sessions': [p.session for p in pairs for _ in range(2)],
            'accounts': [a for p in pairs for a in (p.client, p.advisor)]})
        return self.started_ms + life

    def renew(self):
        while not self.over.wait(1):
            self.db.execute(
                "SELECT * FROM api.gateway_renew(%s, %s, '{}', '{}', '{}',"
                " '{}', '{}')", (self.id, self.life()))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self.db.execute('SELECT * FROM api.gateway_close(%s, %s)',
                        (self.id, self.life()))
        self.db.close()


def measure(bench):
    series = {'ours': table.Series()}
    audit = None

    if not bench.without('ours'):
        try:
            audit = ours(bench, series['ours'])
        except TROUBLE as e:
            series['ours'].why = reason(e)
    else:
        del series['ours']

    others(bench, series)
    show(series, bench, audit)
    goals(bench.goals, series)
    return series


def ours(bench, series):
    stack = bench.stack
    stack.need('migrate')
    stack.stop('worker')

    with Gateway(stack) as gateway, stack.admin() as db:
        pairs = people.pairs(db, bench.sessions, RATE, 10 ** 12,
                             listed=False)
        people.begin(db, pairs, gateway.open(pairs), AHEAD_MS)
        db.execute('ANALYZE')
        first, last = pairs[0].session, pairs[-1].session
        stack.need('worker', settings=f'tick_seconds = {TICK_SECONDS}')

        wait_all(db, first, last)
        pid = stack.pid('worker')

        for _ in range(bench.rounds):
            series.add(window(bench, db, pid, first, last))

        # as autovacuum would in a minute: the tables were empty just now
        stack.stop('worker')
        db.execute('ANALYZE')

    return stack.audit()


def wait_all(db, first, last, timeout=120):
    """Until each was charged once: caches are warm, and nobody new comes."""
    until = time.monotonic() + timeout
    while True:
        n, = db.execute(
            'SELECT count(*) FROM consult.session WHERE charge_no > 0'
            '   AND id BETWEEN %s AND %s', (first, last)).fetchone()
        if n == last - first + 1:
            return
        if time.monotonic() > until:
            raise Skip(f'{n} of {last - first + 1} sessions were charged in '
                       f'the first {timeout} s')
        time.sleep(0.5)


def window(bench, db, pid, first, last):
    """Ticks of one stretch of time: the charge numbers that were used up."""
    stack = bench.stack
    before, start = used(stack, db, pid), time.monotonic()
    ticks = charges(db, first, last)

    # the grid's points come once in a tick: several of them
    time.sleep(max(bench.seconds, 5 * TICK_SECONDS))

    ticks = charges(db, first, last) - ticks
    seconds = time.monotonic() - start
    if ticks == 0:
        raise Skip('no tick in a whole window')

    spent = [b - a for a, b in zip(before, used(stack, db, pid))]

    return {'rate': ticks / seconds,
            'asked': (last - first + 1) / TICK_SECONDS,
            'cpu_us': spent[0] * 1e6 / ticks,
            'pg_us': spent[1] * 1e6 / ticks,
            'redis_us': spent[2] * 1e6 / ticks,
            'wal': spent[3] / ticks,
            'disk': spent[4] / ticks,
            'hot': 100 * spent[5] / spent[6] if spent[6] else None}


# statistics come late from backends that are busy: summed over whole windows
USED = '''
    SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0'),
           (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits
             WHERE inhparent = 'ledger.transfer'::regclass),
           sum(n_tup_hot_upd), sum(n_tup_upd)
      FROM pg_stat_user_tables
     WHERE relid IN ('consult.session'::regclass, 'ledger.wallet'::regclass)
'''


def used(stack, db, pid):
    """CPU seconds of worker, database, Redis; bytes of WAL, bytes of the
    journal with its indexes; rows updated in place, rows updated."""
    row = db.execute(USED).fetchone()
    with open(f'{stack.var}/pg/postmaster.pid', encoding='ascii') as f:
        postmaster = int(f.readline())
    return [machine.cpu_seconds([pid]), machine.cpu_seconds([postmaster]),
            machine.cpu_seconds([stack.pid('redis')]),
            *(float(n) for n in row)]


def charges(db, first, last):
    return db.execute('SELECT sum(charge_no) FROM consult.session'
                      ' WHERE id BETWEEN %s AND %s', (first, last)
                      ).fetchone()[0]


def others(bench, series):
    ways = {}

    if not bench.without('node'):
        for n in (1, 32):
            ways[f'Node + pg, a transaction each, {n} connections'] = (
                lambda n=n: ticker(bench, n))

    for n in (1, 32):
        ways[f'pgbench, a transaction each, {n} connections'] = (
            lambda n=n: pgbench(bench, 'tick_one.sql', n))

    for n in (1, 2):
        ways[f'bare set-based SQL, {BATCH} at a time, {n} connections'] = (
            lambda n=n: BATCH * pgbench(bench, 'tick_rows.sql', n))

    for name in ways:
        series[name] = table.Series()

    for _ in range(bench.rounds):
        for name, way in ways.items():
            if series[name].why:
                continue
            try:
                series[name].add({'rate': way()})
            except TROUBLE as e:
                series[name].why = reason(e)


def ticker(bench, connections):
    process = node('ticker.js', connections, bench.seconds, 50000,
                   env=bench.stack.pg_env('peers'), stdout=subprocess.PIPE)
    out, _ = process.communicate()
    match = re.search(r'ticks=(\d+) seconds=([0-9.]+)', out)
    if match is None:
        raise Skip(f'ticker.js ended with {process.returncode}')
    return int(match.group(1)) / float(match.group(2))


def show(series, bench, audit):
    our = series.get('ours', table.Series())
    rows = [[name, s.spread('rate'),
             times(our, s, 'rate') if name != 'ours' else '',
             s.spread('cpu_us')]
            for name, s in series.items() if s.results]

    if our.results:
        asked = our.middle('asked')
        rows.append(f'ours: {table.short(asked)} were due each second'
                    + ('; it kept up: more sessions would show its limit'
                       if our.middle('rate') > 0.97 * asked else ''))
        rows.append('ours, a tick: ' + ', '.join(
            f'{table.short(our.middle(key))} {unit}' for key, unit in (
                ('pg_us', 'us of CPU in PostgreSQL'),
                ('redis_us', 'in Redis'), ('wal', 'bytes of WAL'),
                ('disk', 'bytes of journal'), ('hot', '% in place'))))
    if audit is not None:
        rows.append(f'audit afterwards: exit {audit[0]}: '
                    + audit[1].split('\n')[0])

    table.show(f'Ticks of live sessions, charged and committed, {bench.how()}',
               ['', 'ticks/s', 'ours/it', 'worker CPU us'],
               rows + table.failures(series))


def goals(goals, series):
    our = series.get('ours', table.Series())
    each = series.get('Node + pg, a transaction each, 32 connections',
                      table.Series())

    goals.at_least('ticks/s through the whole worker', our.middle('rate'),
                   40000)
    goals.at_least('ticks: ours / a transaction each, 32 connections',
                   table.ratio(our, each, 'rate'), 10)
    goals.at_most('worker CPU us a tick', our.middle('cpu_us'), 10)
    goals.at_most('bytes of journal a tick', our.middle('disk'), 250)
    goals.at_least('% of rows updated in place', our.middle('hot'), 98)
