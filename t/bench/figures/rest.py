"""GET /api/wallet behind a token, one query each."""

import os
import re
import tempfile

from . import machine, people, table
from .common import HERE, TROUBLE, Skip, need, reason, run
from .peers import Express
from .relay import times

CONNECTIONS = 64
TOKENS = 64


class OursRest:
    name = 'ours'
    path = '/api/wallet'

    def __init__(self, stack):
        self.stack = stack
        self.port = stack.plain_port
        self.ids = []

    def start(self):
        self.stack.need('migrate', 'nginx')
        with self.stack.admin() as db:
            self.ids, _ = people.accounts(db, 'client', TOKENS, 5000)

    def stop(self):
        """It stays up for the next figure."""

    def pids(self):
        return [self.stack.pid('nginx')]


class Bare(OursRest):
    """The same nginx with the least it can do: no token, no query."""

    name = 'nginx return 200'
    path = '/'


class ExpressRest(Express):
    path = '/api/wallet'
    ids = list(range(1, TOKENS + 1))

    def pids(self):
        return [self.process.pid]


def measure(bench):
    servers = bench.servers(OursRest(bench.stack), ExpressRest(bench.stack),
                            Bare(bench.stack))
    series = {s.name: table.Series() for s in servers}

    try:
        for _ in range(bench.rounds):
            for server in servers:
                it = series[server.name]
                if it.why:
                    continue
                try:
                    bench.start(server)
                    it.add(one(bench, server))
                except TROUBLE as e:
                    it.why = reason(e)
    finally:
        for server in servers:
            server.stop()

    show(series, bench)
    goals(bench.goals, series)
    return series


def one(bench, server):
    with tempfile.NamedTemporaryFile('w', prefix='astro-tokens-') as f:
        for account in server.ids:
            f.write(bench.stack.token(account, 'client') + '\n')
        f.flush()

        before = machine.cpu_seconds(server.pids())
        out = run([need('wrk', 'wrk'), '-t', '1', '-c', str(CONNECTIONS),
                   '-d', f'{max(1, round(bench.seconds))}s', '-s',
                   os.path.join(HERE, 'load', 'wallet.lua'),
                   f'http://127.0.0.1:{server.port}/', '--', f.name,
                   server.path])
        used = machine.cpu_seconds(server.pids()) - before

    match = re.search(r'^result (.*)', out, re.M)
    if match is None:
        raise Skip(f'wrk: {out[-200:]}')

    result = {k: float(v) for k, _, v in
              (w.partition('=') for w in match.group(1).split())}
    if result['requests'] == 0 or result['errors'] >= result['requests']:
        raise Skip(f"wrk: {result['requests']:.0f} requests, "
                   f"{result['errors']:.0f} errors")

    result['rate'] = result['requests'] / result['seconds']
    result['cpu_us'] = used * 1e6 / result['requests']
    return result


def show(series, bench):
    ours = series.get('ours', table.Series())
    rows = [[name, s.spread('rate'),
             times(ours, s, 'rate') if name != 'ours' else '',
             s.spread('cpu_us'), table.short(s.middle('p50_us')),
             table.short(s.middle('p99_us')), table.short(s.total('errors'))]
            for name, s in series.items() if s.results]

    table.show(f'REST: GET /api/wallet with a token, {CONNECTIONS} '
               f'connections, {bench.how()}\n(server CPU without the '
               "database's)",
               ['', 'requests/s', 'ours/it', 'server CPU us', 'p50 us',
                'p99 us', 'errors'],
               rows + table.failures(series))


def goals(goals, series):
    ours = series.get('ours', table.Series())
    p99 = ours.middle('p99_us')

    goals.at_least('GET /api/wallet, requests/s', ours.middle('rate'), 45000)
    goals.at_most('GET /api/wallet, p99 ms', p99 and p99 / 1000, 5)
