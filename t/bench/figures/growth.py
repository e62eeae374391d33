"""What grows with the number of users online, and what must not."""

from . import load, machine, table
from .common import TROUBLE, reason
from .idle import SOURCES
from .relay import PAIRS


def measure(bench):
    """Ours with few and with many who are only there, while 200 pairs talk."""
    crowds = (bench.idle[0] // 3, bench.idle[0])
    series = {n: table.Series() for n in crowds}

    if not bench.without('ours'):
        server = bench.ours()
        try:
            for n in crowds:
                one(bench, server, n, series[n])
        finally:
            server.stop()

    show(series, bench)
    goals(bench.goals, *(series[n] for n in crowds))
    return series


def one(bench, server, n, it):
    try:
        bench.restart(server)
        # what is allotted once, at the first use, is no user's
        load.measure(server, server.relay_plans(PAIRS), '-d', '0.5', '-w', '1')
        before = machine.pss_kb(server.pids())

        with load.Load(server, server.idle_plans(n), '-i', '600', '-q', '1',
                       '-n', str(SOURCES)) as crowd:
            crowd.line('holding')
            grown = machine.pss_kb(server.pids()) - before

            for _ in range(bench.rounds):
                result = load.measure(server, server.relay_plans(PAIRS), '-d',
                                      str(bench.seconds), '-w', '1')
                it.add({**result, 'pss_kb': grown / crowd.setup['ready']})
    except TROUBLE as e:
        it.why = reason(e)


def show(series, bench):
    rows = [[f'{n} online', s.spread('rate'), s.spread('cpu_us'),
             table.short(s.middle('pss_kb'))]
            for n, s in series.items() if s.results]

    table.show(f'Growth: relay, closed loop, {PAIRS} pairs, while others are '
               f'only there; {bench.how()}',
               ['', 'messages/s', 'server CPU us', 'PSS KB each'],
               rows + [f'{n} online: not measured: {s.why}'
                       for n, s in series.items() if s.why])


def goals(goals, few, many):
    goals.at_most('relay, CPU us: all online / a third',
                  over(many, few, 'cpu_us'), 1.15)
    goals.at_most('PSS of each: all online / a third',
                  over(many, few, 'pss_kb'), 1.15)


def over(many, few, key):
    """Of the medians: the two were not measured in turn."""
    a, b = many.middle(key), few.middle(key)
    return a / b if a is not None and b else None
