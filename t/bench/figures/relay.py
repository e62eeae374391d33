"""Relaying a signal of 230 bytes from one party of a pair to the other."""

from . import load, table
from .common import TROUBLE, reason
from .peers import Ceiling, Nchan, SocketIO

PAIRS = 200

# name, arguments of wsload, closed loop
LOADS = (
    ('closed loop, one message of each sender on its way', ('-w', '1')),
    ('closed loop, 16 messages of each sender on their way', ('-w', '16')),
    ('open loop, 5,000 messages/s', ('-r', '5000')),
    ('open loop, 20,000 messages/s', ('-r', '20000')),
)


def measure(bench):
    servers = bench.servers(bench.ours(), Nchan(bench.stack, bench.files),
                            SocketIO(bench.stack), Ceiling())
    found = {}

    try:
        for title, args in LOADS:
            found[args] = one_load(bench, servers, args)
            show(title, found[args], bench)
    finally:
        for server in servers:
            server.stop()

    goals(bench.goals, found)
    return found


def one_load(bench, servers, args):
    """{server: Series}, the servers taking turns in every round."""
    series = {s.name: table.Series() for s in servers}

    for _ in range(bench.rounds):
        for server in servers:
            it = series[server.name]
            if it.why:
                continue
            try:
                bench.start(server)
                it.add(load.measure(server, server.relay_plans(PAIRS),
                                    '-d', str(bench.seconds), *args))
            except TROUBLE as e:
                it.why = reason(e)

    return series


def show(title, series, bench):
    ours = series.get('ours', table.Series())
    rows = []

    for name, s in series.items():
        if not s.results:
            continue
        other = name != 'ours'
        rows.append([
            name, s.spread('rate'),
            times(ours, s, 'rate') if other else '',
            s.spread('cpu_us'),
            times(ours, s, 'cpu_us') if other else '',
            table.short(s.middle('p50_us')), table.short(s.middle('p99_us')),
            times(ours, s, 'p99_us') if other else '',
            table.short(s.total('lost')), table.short(s.total('disorder')),
        ])

    table.show(f'Relay: {title}; {PAIRS} pairs, {bench.how()}',
               ['', 'messages/s', 'ours/it', 'server CPU us', 'ours/it',
                'p50 us', 'p99 us', 'ours/it', 'missing', 'disorder'],
               rows + table.failures(series))


def times(ours, other, key):
    found = table.ratio(ours, other, key)
    return '-' if found is None else f'{found:.2f}'


def goals(goals, found):
    one, many, slow, fast = (found[args] for _, args in LOADS)
    none = table.Series()

    def ours(series, key):
        return series.get('ours', none).middle(key)

    def against(series, name, key):
        return table.ratio(series.get('ours', none), series.get(name, none),
                           key)

    goals.at_least('relay, w=1, rate: ours / nchan',
                   against(one, 'nchan', 'rate'), 1.4)
    goals.at_least('relay, w=1, rate: ours / Socket.IO',
                   against(one, 'Socket.IO', 'rate'), 3)
    goals.at_least('relay, w=16, messages/s', ours(many, 'rate'), 500000)
    goals.at_most('relay, w=1, CPU us a message', ours(one, 'cpu_us'), 8)
    goals.at_most('relay, 20 k/s, CPU us a message', ours(fast, 'cpu_us'), 12)
    goals.at_most('relay, w=1, CPU: ours / nchan',
                  against(one, 'nchan', 'cpu_us'), 0.6)
    goals.at_most('relay, 20 k/s, CPU: ours / nchan',
                  against(fast, 'nchan', 'cpu_us'), 0.6)
    goals.at_most('relay, 5 k/s, p99: ours / ceiling',
                  against(slow, 'ceiling', 'p99_us'), 1.4)
