"""Very many sessions begin at once, while others are live: how late these are
charged meanwhile.  What begins needs the slow way, facts and all; it must not
keep those waiting whose grid goes on."""

import time

from . import crowd, machine, people, table
from .billing import SPREAD_MS, Many
from .common import TROUBLE, reason
from .workers import Ear, Worker, audit

LIVE = 15000                    # charged meanwhile: a thousand a second
STORM = 50000
QUICK = (3000, 10000)
TICK = 15                       # seconds, the default

# Both have come, all in one instant.
COME = '''
    UPDATE consult.session SET state = 'connecting', ver = ver + 1
     WHERE id = ANY(%s)
'''

LEFT = '''
    SELECT count(*) FROM consult.session
     WHERE state <> 'active' AND NOT settled
'''


def measure(bench):
    if bench.without('ours'):
        return {}
    found, trouble = {}, None
    stack = bench.stack
    stack.need('migrate')
    stack.stop('worker')
    alive, many_more = QUICK if bench.quick else (LIVE, STORM)

    with crowd.Gateway(stack) as gateway, stack.admin() as db:
        many = Many(stack, db, gateway)
        ear = Ear(stack)
        ear.every = 1
        try:
            many.grow(alive)
            found = storms(many, ear, many_more)
        except TROUBLE as e:
            trouble = reason(e)
        finally:
            ear.close()

        found['audit'] = audit(stack)
        crowd.over(db)

    show(found, trouble, alive, many_more)
    bench.goals.at_most(f'lateness while {many_more} begin, p99 ms',
                        found.get('meanwhile', {}).get('p99'), 1000)
    return found


def storms(many, ear, n):
    """{when: how late the live ones were}"""
    found = {}
    some = made(many, n)
    worker = Worker(many.stack, tick_seconds=TICK)
    try:
        worker.until('sessions_known', len(many.active) + n)
        time.sleep(TICK + 2)            # all have their place on the grid
        found['before'] = watch(many, ear, TICK)
        begun = strike(many, some)
        found['meanwhile'] = {**watch(many, ear, TICK, begun, many.db),
                              'cpu': machine.cpu_seconds([worker.pid])}

        # and the same for a worker that finds them when it starts
        others = made(many, n)
        worker.stop()
        begun = strike(many, others)
        worker = Worker(many.stack, tick_seconds=TICK)
        found['known'] = worker.until('sessions_known',
                                      len(many.active) + 2 * n)
        time.sleep(1)
        ear.take()
        found['found at its start'] = watch(many, ear, TICK, begun, many.db)
    finally:
        worker.stop()
    return found


def made(many, n):
    """Sessions that nobody has come to."""
    some = []
    while len(some) < n:
        some += people.pairs(many.db, min(crowd.CHUNK, n - len(some)),
                             crowd.RATE, crowd.MONEY, listed=False)
    many.db.execute('ANALYZE')
    return some


def strike(many, some):
    """Everybody comes; the instant of it."""
    many.gateway.open(some)
    many.db.execute(COME, ([p.session for p in some],))
    return crowd.boot_s()


def watch(many, ear, seconds, begun=None, db=None):
    """Of those that were live before, for so long, and until the storm is
    over: lateness, and how many were not charged in a tick's time."""
    ear.take()
    start, over, heard = crowd.boot_s(), None, []

    while crowd.boot_s() < start + seconds or db is not None and over is None:
        time.sleep(0.25)
        heard += ear.take()[0]
        if db is not None and over is None \
                and not db.execute(LEFT).fetchone()[0]:
            over = crowd.boot_s() - begun
        if crowd.boot_s() > start + 120:
            break

    late = many.late(heard, TICK * 1000)
    # the first tick's time: within it, and what is late, each is due once
    due = {session for session, at in heard if at < start + seconds + 2}
    return {'p50': crowd.percentile(late, 50),
            'p99': crowd.percentile(late, 99), 'max': max(late, default=None),
            'missed': len(set(many.active) - due), 'over': over}


def show(found, trouble, alive, n):
    names = [k for k in ('before', 'meanwhile', 'found at its start')
             if k in found]
    lines = [[name, *(table.short(found[name][k])
                      for k in ('p50', 'p99', 'max')),
              f'{found[name]["missed"]}',
              '' if found[name]['over'] is None
              else f'{found[name]["over"]:.1f} s'] for name in names]
    if 'known' in found:
        lines.append(f'all {alive + 2 * n} sessions were known '
                     f'{found["known"]:.1f} s after the start')
    if found.get('audit'):
        code, words = found['audit']
        lines.append(f'audit: exit {code}: ' + words.split('\n')[-1])
    if trouble:
        lines.append(f'not measured: {trouble}')

    table.show(f'{n} sessions begin at once; how late {alive} others are '
               f'charged (tick {TICK} s, grids spread over {SPREAD_MS // 1000}'
               ' s; ms)',
               ['', 'p50', 'p99', 'latest', 'not charged', 'all begun after'],
               lines)
