#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
"""Half an hour of ticks, and what grows meanwhile: nothing may but the journal,
and that by no more than so many bytes a tick.

    t/bench/soak.py [MINUTES]           default: ASTRO_SOAK_MINUTES or 30

Sessions that are live all the time are charged every second; a line a minute
says what every table with its indexes takes.  Then the books are audited.
Exit status 0 only if all was flat and the audit found nothing.
"""

import os
import sys
import time

from figures import crowd, machine, table
from figures.common import TROUBLE, reason, say
from figures.stack import Stack
from figures.workers import Worker, audit

SESSIONS = 2000
WARM = 0.2                      # of the time: what is reached by then, stays
SLACK = 1.10
SLACK_BYTES = 1 << 20
TICK_BYTES = 250

# each table with its indexes and TOAST; partitions of the journal as one
SIZES = '''
    SELECT n.nspname || '.' ||
           CASE WHEN n.nspname = 'ledger' AND c.relname LIKE 'transfer%'
                THEN 'transfer' ELSE c.relname END,
           sum(pg_total_relation_size(c.oid))::bigint
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
     WHERE c.relkind = 'r'
       AND n.nspname IN ('identity', 'ledger', 'consult', 'billing')
     GROUP BY 1
'''


def main():
    minutes = float(sys.argv[1] if len(sys.argv) > 1
                    else os.environ.get('ASTRO_SOAK_MINUTES') or 30)
    stack = None
    try:
        stack = Stack(connections=1000)
        stack.start_database()
        stack.need('migrate')
        ok = run(stack, minutes)
    except TROUBLE as e:
        sys.exit(f'soak: {reason(e)}')
    finally:
        if stack is not None:
            stack.close()
    sys.exit(0 if ok else 1)


def run(stack, minutes):
    with crowd.Gateway(stack) as gateway, stack.admin() as db:
        crowd.live(db, gateway, SESSIONS, 1000)
        worker = Worker(stack, tick_seconds=1)
        try:
            worker.until('sessions_known', SESSIONS)
            samples = watch(db, worker, minutes)
        finally:
            worker.stop()

    grew = verdict(samples)
    code, words = audit(stack)
    say(f'audit: exit {code}: ' + words.split('\n', maxsplit=1)[0])
    return not grew and code == 0


def watch(db, worker, minutes):
    """[(s since the beginning, ticks, {table: bytes})]"""
    samples, start = [], time.monotonic()
    step = min(60, minutes * 60 / 10)
    say(f'{SESSIONS} sessions, charged every second, {minutes:g} minutes; MB')

    while True:
        now = time.monotonic() - start
        ticks, = db.execute('SELECT sum(charge_no) FROM consult.session'
                            ).fetchone()
        sizes = dict(db.execute(SIZES).fetchall())
        samples.append((now, ticks, sizes))
        large = sorted(sizes, key=sizes.get, reverse=True)[:6]
        say(f'{now / 60:6.1f} min  {table.short(ticks):>7} ticks  '
            f'worker {worker.rss_kb() / 1024:.1f}  '
            f'load {machine.load_average():.1f}  '
            + '  '.join(f'{name.split(".")[1]} {sizes[name] / 1e6:.2f}'
                        for name in large))
        if now >= minutes * 60:
            return samples
        time.sleep(min(step, max(0.1, minutes * 60 - now)))


def verdict(samples):
    """Names of what has grown; says how much."""
    grew = []
    warm = next(s for s in samples if s[0] >= WARM * samples[-1][0])
    last = samples[-1]
    ticks = last[1] - warm[1]
    each = (last[2]['ledger.transfer'] - warm[2]['ledger.transfer']) / ticks

    say(f'{table.short(ticks)} ticks since {warm[0] / 60:.1f} min: the journal '
        f'grew by {each:.0f} bytes a tick (at most {TICK_BYTES})')
    if each > TICK_BYTES:
        grew.append('ledger.transfer')

    for name, size in sorted(last[2].items()):
        before = warm[2].get(name, 0)
        if name != 'ledger.transfer' and size > before * SLACK + SLACK_BYTES:
            say(f'{name} grew from {before} to {size} bytes')
            grew.append(name)

    if not grew:
        say('nothing else grew')
    return grew


if __name__ == '__main__':
    main()
