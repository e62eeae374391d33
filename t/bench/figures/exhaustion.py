"""The end of the money: how long after it the people hear of it.

Real clients on real nginx workers, each session with money for some seconds;
beside them, in turn, nothing and thousands of other sessions that tick.  The
money ends at paid_until, an instant of the leases' timeline, which is the
database's clock as long as nobody sets that.
"""

import asyncio
import json
import random
import time
import uuid

import websockets

from . import crowd, people, table
from .common import TROUBLE, Skip, reason

RATE = 6000                     # a minute: 1 minor unit for each 10 ms
PAIRS = 150
FIRST_S, LAST_S = 4, 10         # the money lasts
PATIENCE_S = 40
OTHERS = (0, 10000)

TOPUP = '''
    SELECT paid.wallet_id
      FROM unnest(%s::bigint[], %s::bigint[]) AS t(client, amount),
           billing.topup(client, t.amount, 'bench-low-' || client) AS paid
'''

# what was served and what was paid, to the millisecond
BOOKS = '''
    SELECT s.id, s.paid_until_ms, s.reason, s.charged,
           (SELECT max(g.started_ms + i.close_life_ms)
              FROM consult.interval i JOIN consult.gateway g
                ON g.id = i.gateway_id
             WHERE i.session_id = s.id) - s.paid_until_ms AS beyond
      FROM consult.session s WHERE s.id = ANY(%s)
'''


def measure(bench):
    series = {}

    if not bench.without('ours'):
        for n in OTHERS:
            name = f'beside {n} other sessions' if n else 'alone'
            it = series[name] = table.Series()
            try:
                it.add(one(bench, n))
            except TROUBLE as e:
                it.why = reason(e)

    show(series)
    goals(bench.goals, series)
    return series


def one(bench, others):
    stack = bench.stack
    stack.need('migrate', 'nginx')
    stack.stop('worker')

    with crowd.Gateway(stack) as gateway, stack.admin() as db:
        if others:
            crowd.live(db, gateway, others, 1000)
        try:
            stack.need('worker', settings='tick_seconds = 1')
            time.sleep(3)
            pairs = people.pairs(db, PAIRS, RATE, 0)
            money = {p.client: random.randrange(100 * FIRST_S, 100 * LAST_S)
                     for p in pairs}
            db.execute(TOPUP, (list(money), list(money.values())))
            heard = asyncio.run(everybody(stack, pairs))
            books = db.execute(BOOKS, ([p.session for p in pairs],)).fetchall()
        finally:
            stack.stop('worker')
            crowd.over(db)

    paid = {session: until for session, until, *_ in books}
    spent = {p.session: money[p.client] for p in pairs}
    late = [at - paid[session] for session, at in heard]
    wrong = [session for session, _, why, charged, beyond in books
             if why != 'low_balance' or charged != spent[session] or beyond > 0]

    return {'n': len(late), 'missing': 2 * PAIRS - len(late),
            'wrong': len(wrong), 'p50': crowd.percentile(late, 50),
            'p99': crowd.percentile(late, 99), 'max': max(late, default=None),
            'unfunded': max((row[4] for row in books
                             if row[4] is not None), default=None)}


async def everybody(stack, pairs):
    """[(session, when its end was heard, ms)], by both of each."""
    heard = []
    gate = asyncio.Semaphore(32)        # hellos at a time
    await asyncio.gather(*(
        party(stack, p.session, account, role, heard, gate)
        for p in pairs for account, role in ((p.advisor, 'advisor'),
                                             (p.client, 'client'))))
    return heard


async def party(stack, session, account, role, heard, gate):
    async with gate:
        ws = await websockets.connect(
            f'ws://127.0.0.1:{stack.plain_port}/ws', compression=None,
            subprotocols=['consult.v1'], ping_interval=None)
        for kind, payload in (
                ('hello', {'token': stack.token(account, role),
                           'device': str(uuid.uuid4()), 'app': 'bench/1'}),
                ('session_join', {'session': f's_{session}'})):
            await ws.send(json.dumps({'type': kind, 'id': 1,
                                      'payload': payload}))
            await answer(ws, kind)
    try:
        await asyncio.wait_for(until_the_end(ws, session, heard), PATIENCE_S)
    except asyncio.TimeoutError:
        pass
    finally:
        await ws.close()


async def answer(ws, kind):
    while True:
        message = json.loads(await ws.recv())
        if message['type'] == 'reply':
            if 'error' in message:
                raise Skip(f'{kind}: {message["error"]}')
            return


async def until_the_end(ws, session, heard):
    while True:
        message = json.loads(await ws.recv())
        now = time.time() * 1000
        if message['type'] == 'ping':
            await ws.send('{"type":"pong"}')
        elif message['type'] == 'session_end':
            heard.append((session, now))
            return


def show(series):
    rows = [[name] + [table.short(s.middle(key)) for key in
                      ('n', 'p50', 'p99', 'max', 'unfunded', 'missing',
                       'wrong')]
            for name, s in series.items() if s.results]

    table.show(f'The money is spent: ms until session_end is heard, {PAIRS} '
               'sessions, both parties',
               ['', 'heard', 'p50 ms', 'p99 ms', 'max ms', 'unfunded ms',
                'missing', 'wrong'], rows + table.failures(series))


def goals(goals, series):
    worst = {key: max((s.middle(key) for s in series.values()
                       if s.results and s.middle(key) is not None),
                      default=None)
             for key in ('p99', 'max', 'unfunded', 'missing', 'wrong')}

    goals.at_most('money spent to session_end, p99 ms', worst['p99'], 250)
    goals.at_most('money spent to session_end, max ms', worst['max'], 1000)
    goals.at_most('served and not paid for, ms', worst['unfunded'], 0)
    goals.at_most('ends not heard of, or wrong', None
                  if worst['missing'] is None
                  else worst['missing'] + worst['wrong'], 0)
