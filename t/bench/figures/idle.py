"""What a connection costs that only is there: memory, and signing in."""

from . import machine, table
from .common import TROUBLE, reason
from .load import Load
from .peers import Ceiling, Nchan, SocketIO

SOURCES = 8                     # addresses of the load generator


def measure(bench):
    plain, tls = bench.idle
    series = {}

    servers = bench.servers(bench.ours(), Nchan(bench.stack, bench.files),
                            SocketIO(bench.stack), Ceiling())
    try:
        for server in servers:
            # Node's heap grows in steps: fewer would do, more take long
            n = min(plain, 5000) if server.name == 'Socket.IO' else plain
            one(bench, series, server, n, False)
            if server.tls_port is not None:
                one(bench, series, server, tls, True)
    finally:
        for server in servers:
            server.stop()

    show(series)
    goals(bench.goals, series)
    return series


def one(bench, series, server, n, tls):
    name = server.name + (', TLS 1.3' if tls else '')
    it = series[name] = table.Series()

    try:
        # anew: what others have freed would be used again, and not be seen
        bench.restart(server)
        # what is allotted once, at the first use, is no connection's
        hold(server, 200, tls)
        it.add(hold(server, n, tls))
    except TROUBLE as e:
        it.why = reason(e)


def hold(server, n, tls):
    pids = server.pids()
    before = machine.pss_kb(pids)
    plans = server.idle_plans(n)

    with Load(server, plans, '-i', '600', '-q', '1', '-n', str(SOURCES),
              tls=tls) as load:
        load.line('holding')
        during = machine.pss_kb(pids)

    return {'n': load.setup['ready'], 'failed': load.setup['failed'],
            'pss_kb': (during - before) / load.setup['ready'],
            'rate': load.setup['ready_per_s']}


def show(series):
    rows = [[name, table.short(s.middle('n')), table.short(s.middle('failed')),
             f"{s.middle('pss_kb'):.2f}", table.short(s.middle('rate'))]
            for name, s in series.items() if s.results]

    table.show('Idle connections; ours are signed in and registered, the '
               "others' are only open\n(memory of the server's processes; "
               "the kernel's socket buffers are the same for all)",
               ['', 'connections', 'failed', 'PSS KB each', 'ready/s'],
               rows + table.failures(series))


def goals(goals, series):
    none = table.Series()
    plain = series.get('ours', none)
    tls = series.get('ours, TLS 1.3', none)

    goals.at_most('idle connection, KB', plain.middle('pss_kb'), 2)
    goals.at_most('idle connection with TLS, KB', tls.middle('pss_kb'), 16.5)
    goals.at_least('opened and signed in, connections/s',
                   plain.middle('rate'), 5000)
