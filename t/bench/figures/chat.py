"""Chat that is stored in PostgreSQL before anyone is told."""

import re
import time

from . import load, people, table
from .common import PEERS, TROUBLE, Skip, pg_program, reason, run
from .peers import SocketIO
from .relay import times

PAIRS = 200
BATCH = 256                     # of chat_rows.sql

LOADS = (
    ('closed loop, one message of each sender on its way', ('-w', '1')),
    ('closed loop, 8 messages of each sender on their way', ('-w', '8')),
    ('open loop, 2,000 messages/s', ('-r', '2000')),
)


def measure(bench):
    servers = bench.servers(bench.ours(), SocketIO(bench.stack, True))
    found = {}

    try:
        for title, args in LOADS:
            found[args] = one_load(bench, servers, args)
            show(title, found[args], bench)
    finally:
        for server in servers:
            server.stop()

    alone = database_alone(bench)
    show_alone(alone, found)
    goals(bench.goals, found)
    return found, alone


def one_load(bench, servers, args):
    series = {s.name: table.Series() for s in servers}

    for _ in range(bench.rounds):
        for server in servers:
            it = series[server.name]
            if it.why:
                continue
            try:
                bench.start(server)
                it.add(one(bench, server, args))
            except TROUBLE as e:
                it.why = reason(e)

    return series


def one(bench, server, args):
    """The result, with what the database has of it afterwards."""
    plans, where = server.chat_plans(PAIRS)
    before, _ = server.stored(where)
    result = load.measure(server, plans, '-d', str(bench.seconds), *args)

    # a message that was sent is stored, even if its sender has gone
    for _ in range(40):
        after, holes = server.stored(where)
        if after - before >= result['sent']:
            break
        time.sleep(0.1)

    result['unstored'] = result['delivered'] - (after - before)
    result['holes'] = holes
    return result


def database_alone(bench):
    """Messages that pgbench stores, with nobody to tell: a bare INSERT into a
    table like ours, and the very function that nginx calls."""
    ways = {}

    for clients in (1, 2):
        ways[f'INSERT of {BATCH} rows, {clients} connections'] = (
            lambda c=clients: pgbench(bench, 'chat_rows.sql', c))

    if not bench.without('ours'):
        for clients in (1, 2):
            ways[f'api.chat_batch of {BATCH}, {clients} connections'] = (
                lambda c=clients: chat_batch(bench, c))

    series = {name: table.Series() for name in ways}

    for _ in range(bench.rounds):
        for name, way in ways.items():
            if series[name].why:
                continue
            try:
                series[name].add({'rate': BATCH * way()})
            except TROUBLE as e:
                series[name].why = reason(e)

    return series


def chat_batch(bench, clients):
    bench.stack.need('migrate')
    with bench.stack.admin() as db:
        first = people.pairs(db, PAIRS)[0].conv
    return pgbench(bench, 'chat_batch.sql', clients, 'astro',
                   first=first, pairs=PAIRS // 2)


def pgbench(bench, script, clients, name='peers', **variables):
    """Transactions a second."""
    args = [f'-D{k}={v}' for k, v in variables.items()]
    out = run([pg_program('pgbench'), '-n', '-M', 'prepared', '-c',
               str(clients), '-j', '1', '-T', f'{max(1, bench.seconds):.0f}',
               '-f', f'{PEERS}/{script}', *args],
              env=bench.stack.pg_env(name))
    match = re.search(r'^tps = ([0-9.]+)', out, re.M)
    if match is None or re.search(r'failed transactions: [1-9]', out):
        raise Skip(f'pgbench {script}: {out[-200:]}')
    return float(match.group(1))


def show(title, series, bench):
    ours = series.get('ours', table.Series())
    rows = [[name, s.spread('rate'),
             times(ours, s, 'rate') if name != 'ours' else '',
             table.short(s.middle('p50_us')), table.short(s.middle('p99_us')),
             table.short(s.total('lost')), table.short(s.total('disorder')),
             table.short(s.total('unstored')), table.short(s.total('holes'))]
            for name, s in series.items() if s.results]

    table.show(f'Chat, stored and then told: {title}; {PAIRS} pairs, '
               f'{bench.how()}\n(unstored: delivered but not in the database; '
               'holes: conversations not numbered 1, 2, 3 ..)',
               ['', 'messages/s', 'ours/it', 'p50 us', 'p99 us', 'missing',
                'disorder', 'unstored', 'holes'],
               rows + table.failures(series))


def show_alone(alone, found):
    best = table.Series()
    for series in found.values():
        it = series.get('ours')
        if it is not None and (it.middle('rate') or 0) > (best.middle('rate')
                                                          or 0):
            best = it

    rows = [[name, s.spread('rate'), times(best, s, 'rate')]
            for name, s in alone.items() if s.results]
    table.show('Chat: the database alone', ['', 'messages/s', 'ours/it'],
               rows + table.failures(alone))


def goals(goals, found):
    none = table.Series()
    most, slow = found[LOADS[1][1]], found[LOADS[2][1]]
    ours = most.get('ours', none)

    goals.at_least('chat, messages/s', ours.middle('rate'), 25000)
    goals.at_least('chat, rate: ours / Socket.IO + pg', table.ratio(
        ours, most.get('Socket.IO + pg', none), 'rate'), 4)
    p99 = slow.get('ours', none).middle('p99_us')
    goals.at_most('chat, 2 k/s, p99 ms', p99 and p99 / 1000, 5)
