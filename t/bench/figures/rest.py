"""Reads behind a token: the wallet, the account, the list of sessions; ours
and Express with pg, one after the other.

Each answer is looked at: 200, and what is the caller's own.
"""

import os
import re
import tempfile

from . import machine, people, table
from .common import OUT, TROUBLE, Skip, reason, run
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
        self.wanted = []            # account, what its answers have in them

    def start(self):
        """64 clients who have not the same in their wallets."""
        self.stack.need('migrate', 'nginx')
        if self.wanted:
            return
        with self.stack.admin() as db, db.transaction():
            for n in range(TOKENS):
                (account,), _ = people.accounts(db, 'client', 1, 5000 + n)
                self.wanted.append((account, self.text(account, 5000 + n)))

    def text(self, account, money):
        return '{"balance":{"amount":%d,' % money

    def stop(self):
        """It stays up for the next figure."""

    def pids(self):
        return [self.stack.pid('nginx')]


class Me(OursRest):
    name = 'ours, /api/me'
    path = '/api/me'

    def text(self, account, money):
        return '{"id":"u_%d",' % account


class Sessions(OursRest):
    """Each has had one."""

    name = 'ours, /api/sessions'
    path = '/api/sessions?limit=20'

    def start(self):
        if self.wanted:
            return
        self.stack.need('migrate', 'nginx')
        with self.stack.admin() as db, db.transaction():
            pairs = people.pairs(db, TOKENS)
            db.execute("""
                UPDATE consult.session
                   SET state = 'ended', settled = true, ended_at = now()
                 WHERE id = ANY(%s)""", ([p.session for p in pairs],))
        self.wanted = [(p.client, '"session":"s_%d"' % p.session)
                       for p in pairs]


class Bare(OursRest):
    """The same nginx with the least it can do: no token, no query."""

    name = 'nginx return 200'
    path = '/'

    def text(self, account, money):
        return 'Astro is up'


class ExpressRest(Express):
    path = '/api/wallet'
    wanted = [(n, '{"balance":"%d"}' % (1000000000 + n))
              for n in range(1, TOKENS + 1)]

    def pids(self):
        return [self.process.pid]


def measure(bench):
    servers = bench.servers(OursRest(bench.stack), ExpressRest(bench.stack),
                            Me(bench.stack), Sessions(bench.stack),
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
    result = load(bench, server, server.port,
                  [(server.path, bench.stack.token(account, 'client'), text)
                   for account, text in server.wanted], CONNECTIONS)
    if result['requests'] == 0 or result['errors']:
        raise Skip(f"{result['requests']:.0f} requests, "
                   f"{result['errors']:.0f} wrong answers")
    return result


def load(bench, server, port, requests, connections, *args):
    """restload's result, with the rate and the server's CPU time of each."""
    with tempfile.NamedTemporaryFile('w', prefix='astro-rest-') as f:
        for request in requests:
            f.write('\t'.join(request) + '\n')
        f.flush()

        before = machine.cpu_seconds(server.pids())
        out = run([os.path.join(OUT, 'restload'), '-p', str(port), '-c',
                   str(connections), '-w', '0', '-d', str(bench.seconds),
                   *args, f.name])
        used = machine.cpu_seconds(server.pids()) - before

    match = re.search(r'^result (.*)', out, re.M)
    if match is None:
        raise Skip(f'restload: {out[-200:]}')

    result = {k: float(v) for k, _, v in
              (w.partition('=') for w in match.group(1).split())}
    result['said'] = ' '.join(out[:300].split())
    result['rate'] = result['requests'] / result['seconds']
    result['cpu_us'] = used * 1e6 / max(result['requests'], 1)
    return result


def show(series, bench):
    ours = series.get('ours', table.Series())
    rows = [[name, s.spread('rate'),
             times(ours, s, 'rate') if not name.startswith('ours') else '',
             s.spread('cpu_us'), table.short(s.middle('p50_us')),
             table.short(s.middle('p99_us'))]
            for name, s in series.items() if s.results]

    table.show(f'REST: GET with a token, {CONNECTIONS} connections, '
               f'{bench.how()}\n(/api/wallet where none is named; server CPU '
               "without the database's)",
               ['', 'requests/s', 'ours/it', 'server CPU us', 'p50 us',
                'p99 us'],
               rows + table.failures(series))


def goals(goals, series):
    ours = series.get('ours', table.Series())
    p99 = ours.middle('p99_us')

    goals.at_least('GET /api/wallet, requests/s', ours.middle('rate'), 45000)
    goals.at_most('GET /api/wallet, p99 ms', p99 and p99 / 1000, 5)
    goals.at_least('GET /api/wallet, times Express + pg',
                   table.ratio(ours, series.get('Express + pg',
                                                table.Series()), 'rate'), 12)
