"""Stripe's events, signed, a thousand on their way at a time; ours and Express
with pg, where Stripe's own package verifies.

No two events are the same, and each that was answered has to be stored, once.
"""

import hashlib
import hmac
import itertools
import json
import time

from . import rest, table
from .common import TROUBLE, Skip, reason
from .peers import Express
from .rest import OursRest
from .relay import times

IN_FLIGHT = 1000
BURSTS = 3                      # a round
KEPT = 60000                    # events at most, while so many are kept up
RUNS = itertools.count(1)


class Hooks(OursRest):
    name = 'ours'
    path = '/api/webhooks/stripe'
    count = '''SELECT count(*) FROM ledger.webhook_inbox
                WHERE event_id LIKE 'evt_bench%'
                  AND state = 'waiting' AND length(body) > 1000'''

    def start(self):
        self.stack.need('migrate', 'nginx')
        # what it does of an event is nobody's wait, but takes a core
        self.stack.stop('worker')

    def stored(self):
        with self.stack.admin() as db:
            return db.execute(self.count).fetchone()[0]

    def stop(self):
        """No worker has to go through these."""
        if 'migrate' in self.stack.started:
            with self.stack.admin() as db:
                db.execute('DELETE FROM ledger.webhook_inbox'
                           " WHERE event_id LIKE 'evt_bench%'")


class ExpressHooks(Express):
    path = Hooks.path

    def stored(self):
        with self.stack.admin('peers') as db:
            return db.execute('SELECT count(*) FROM webhook'
                              ' WHERE length(body) > 1000').fetchone()[0]

    def pids(self):
        return [self.process.pid]


def events(stack, path, n):
    """Requests of n events that nobody has sent before, signed now."""
    with open(f'{stack.var}/secret/webhooks', encoding='ascii') as f:
        secret = next(words[1] for words in map(str.split, f)
                      if words[0] == 'stripe').encode()
    run, at = next(RUNS), int(time.time())
    found = []
    for i in range(n):
        body = json.dumps(event(f'{run}_{i}', at))
        mac = hmac.new(secret, f'{at}.{body}'.encode(), hashlib.sha256)
        found.append((path, f'Stripe-Signature: t={at},v1={mac.hexdigest()}',
                      '"received"', body))
    return found


def event(name, at):
    """As large as Stripe's are: one and a half kilobytes."""
    return {'id': f'evt_bench{name}', 'object': 'event',
            'api_version': '2026-01-28', 'created': at, 'livemode': True,
            'pending_webhooks': 1, 'type': 'payment_intent.succeeded',
            'request': {'id': f'req_{name}', 'idempotency_key': name},
            'data': {'object': {
                'id': f'pi_{name}', 'object': 'payment_intent',
                'amount': 50000, 'amount_received': 50000, 'currency': 'inr',
                'status': 'succeeded', 'latest_charge': f'ch_{name}',
                'description': 'A top-up of the wallet. ' * 42}}}


def once(bench, server, n, *args):
    """restload's result with n events at most; all that were sent have to be
    answered and stored."""
    before = server.stored()
    result = rest.load(bench, server, server.port,
                       events(bench.stack, server.path, n), IN_FLIGHT, '-o',
                       *args)
    result['stored'] = server.stored() - before
    if result['errors'] or result['stored'] != result['requests']:
        raise Skip(f"{result['requests']:.0f} right answers, "
                   f"{result['errors']:.0f} wrong, {result['stored']} stored; "
                   + result['said'])
    return result


def measure(bench):
    servers = bench.servers(Hooks(bench.stack), ExpressHooks(bench.stack))
    series = {}
    for server in servers:
        series[f'{server.name}, at once'] = table.Series()
        series[f'{server.name}, kept up'] = table.Series()

    try:
        for _ in range(bench.rounds):
            for server in servers:
                burst, kept = (series[f'{server.name}, {how}']
                               for how in ('at once', 'kept up'))
                if burst.why or kept.why:
                    continue
                try:
                    bench.start(server)
                    for _ in range(BURSTS):
                        burst.add(once(bench, server, IN_FLIGHT, '-d', '30'))
                    kept.add(once(bench, server, KEPT))
                except TROUBLE as e:
                    burst.why = reason(e)
    finally:
        for server in servers:
            if getattr(server, 'running', False):
                server.stop()

    show(bench, series)
    return series


def show(bench, series):
    rows = []
    for name, s in series.items():
        who, how = name.split(', ')
        ours = series.get(f'ours, {how}', table.Series())
        if s.results:
            rows.append([name, s.spread('rate'),
                         times(ours, s, 'rate') if who != 'ours' else '',
                         table.short(s.middle('cpu_us')), s.spread('p50_us'),
                         s.spread('p99_us'), table.short(s.total('requests')),
                         table.short(s.total('stored'))])

    table.show(f'Webhooks: signed events of Stripe, {IN_FLIGHT} connections '
               f'with one on its way each, {bench.how()}\n(at once: '
               f'{IN_FLIGHT} events; kept up: the next one after each answer; '
               "server CPU without the database's)",
               ['', 'events/s', 'ours/it', 'server CPU us', 'p50 us',
                'p99 us', 'answered', 'stored once'],
               rows + table.failures(series))

    for how in ('at once', 'kept up'):
        p99 = series.get(f'ours, {how}', table.Series()).middle('p99_us')
        bench.goals.at_most(f'webhooks, {IN_FLIGHT} {how}, p99 ms',
                            p99 and p99 / 1000, 50)
