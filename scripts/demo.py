#!/usr/bin/python3
#
# Copyright (C) The Astro authors
#
# A scripted consultation over real WebSockets, and then the ledger of it.
#
#     scripts/demo.py --url https://127.0.0.1:8443 --ca cert.pem --pg CONNINFO
#
# A client with 20.00 talks to an advisor at 60.00 a minute until the money is
# spent.  Exit status 0 only if the books then say what they must.

import argparse
import asyncio
import json
import ssl
import sys
import time
import urllib.request
import uuid

import psycopg
import websockets

PASSWORD = 'astro-demo'
CLIENT, ADVISOR = 'demo.client@demo.test', 'demo.advisor@demo.test'
MONEY = 2000

# what they say: seconds after it became active, who, what
SCRIPT = [
    (1.0, 'client', 'Namaste! Should I take the job in Pune?'),
    (3.0, 'advisor', 'Let me see. When and where were you born?'),
    (5.5, 'client', '12 August 1994, 06:40, Nagpur.'),
    (9.0, 'advisor', 'Saturn favours patience. What does your heart say?'),
    (12.5, 'client', 'My heart says go. My mother says stay.'),
    (16.0, 'advisor', 'Then go, and call her every Sunday.'),
]


class Show:
    """The timeline: each line with the seconds since the start."""

    def __init__(self):
        self.start = time.monotonic()

    def __call__(self, who, what):
        print(f't+{time.monotonic() - self.start:6.2f} s  {who:8} {what}',
              flush=True)


def money(amount, currency=''):
    sign = '-' if amount < 0 else ''
    return f'{sign}{abs(amount) // 100}.{abs(amount) % 100:02} {currency}' \
        .rstrip()


class Party:
    """One connection: requests by id, everything else in the order it came."""

    def __init__(self, name, show):
        self.name, self.show = name, show
        self.replies, self.ids = {}, 0
        self.seen, self.state = [], None
        self.news = asyncio.Condition()
        self.socket = self.reader = self.me = None

    async def connect(self, url, tls, token):
        self.socket = await websockets.connect(
            url.replace('https', 'wss', 1) + '/ws', ssl=tls,
            subprotocols=['consult.v1'])
        self.reader = asyncio.create_task(self.read())
        self.me = await self.call('hello', {'token': token, 'app': 'demo/1',
                                            'device': str(uuid.uuid4())})
        return self

    async def read(self):
        try:
            async for text in self.socket:
                message = json.loads(text)
                if message['type'] == 'reply':
                    self.replies.pop(message['id']).set_result(message)
                    continue
                if message['type'] == 'ping':
                    await self.send('pong')
                    continue
                self.tell(message)
                async with self.news:
                    self.seen.append(message)
                    self.news.notify_all()
        except websockets.ConnectionClosed:
            pass

    async def send(self, kind, payload=None, **root):
        if payload is not None:
            root['payload'] = payload
        await self.socket.send(json.dumps({'type': kind, **root}))

    async def call(self, kind, payload):
        self.ids += 1
        reply = self.replies[self.ids] = asyncio.get_running_loop() \
            .create_future()
        await self.send(kind, payload, id=self.ids)
        message = await asyncio.wait_for(reply, 30)
        if 'error' in message:
            raise RuntimeError(f'{kind}: {message["error"]}')
        return message['payload']

    async def until(self, kind, ready=lambda message: True, seconds=60):
        """The oldest message of that type for which ready(it)."""
        async def find():
            async with self.news:
                while True:
                    for message in self.seen:
                        if message['type'] == kind and ready(message):
                            return message
                    await self.news.wait()
        return await asyncio.wait_for(find(), seconds)

    async def close(self):
        await self.socket.close()
        await self.reader

    def tell(self, message):
        kind, p = message['type'], message.get('payload', {})
        line = None

        if kind == 'session_incoming':
            line = f'rings: {p["service"]} with {p["client"]}, ' \
                   f'{money(p["rate"]["amount"])} a minute'
        elif kind == 'session_update' and p['state'] != self.state:
            self.state = p['state']
            line = f'session is {p["state"]}' + (
                f' ({p["reason"]})' if p.get('reason') else '')
        elif kind == 'chat_message' and p['from'] != self.me['user']:
            line = f'reads "{p["text"]}"  (seq {message["seq"]})'
        elif kind == 'billing_tick':
            line = f'billed {p["billed_ms"] / 1000:.1f} s, ' \
                   f'charged {money(p["charged"])}'
            if 'balance' in p:
                line += f', balance {money(p["balance"])}, ' \
                        f'{p["left_s"]} s left'
            if 'earned' in p:
                line += f', earned {money(p["earned"])}'
        elif kind == 'billing_low':
            line = f'is told that the money lasts {p["left_s"]} s more'
        elif kind == 'session_end':
            line = f'session over: {p["reason"]}, charged ' \
                   f'{money(p["totals"]["charged"])}'

        if line:
            self.show(self.name, line)


def login(url, tls, email):
    request = urllib.request.Request(
        url + '/api/auth/login', method='POST',
        data=json.dumps({'email': email, 'password': PASSWORD}).encode(),
        headers={'Content-Type': 'application/json'})
    with urllib.request.urlopen(request, context=tls, timeout=15) as answer:
        return json.load(answer)['token']


def wait_healthy(url, tls):
    for attempt in range(100):
        try:
            with urllib.request.urlopen(url + '/api/health', context=tls,
                                        timeout=5):
                return
        except OSError:
            if attempt == 99:
                raise
        time.sleep(0.1)


def prepare(pg):
    """Gives the demo client its small balance."""
    with psycopg.connect(pg, autocommit=True) as db:
        client, available = db.execute(
            'SELECT a.id, w.balance - w.held FROM identity.account a'
            '  JOIN ledger.wallet w ON w.owner_id = a.id WHERE a.email = %s',
            (CLIENT,)).fetchone()
        if available < MONEY:
            db.execute('SELECT billing.topup(%s, %s, %s)',
                       (client, MONEY - available, f'demo-{uuid.uuid4()}'))


def settled(pg):
    """Waits for what an interrupted run has left to be over."""
    with psycopg.connect(pg, autocommit=True) as db:
        for _ in range(200):
            left = db.execute(
                'SELECT count(*) FROM consult.session s JOIN identity.account'
                ' a ON a.id IN (s.client_id, s.advisor_id)'
                ' WHERE a.email IN (%s, %s) AND NOT s.settled',
                (CLIENT, ADVISOR)).fetchone()[0]
            if not left:
                return
            time.sleep(0.1)
    raise RuntimeError('an earlier session of the demo does not settle')


async def connect_apart(args, tls, show):
    """Both parties, each on another nginx worker where there are several."""
    token = {email: login(args.url, tls, email) for email in (CLIENT, ADVISOR)}
    advisor = await Party('advisor', show).connect(args.url, tls,
                                                   token[ADVISOR])
    for _ in range(32):
        client = await Party('client', show).connect(args.url, tls,
                                                     token[CLIENT])
        if 'debug' not in client.me \
                or client.me['debug']['pid'] != advisor.me['debug']['pid']:
            break
        await client.close()
    else:
        client = await Party('client', show).connect(args.url, tls,
                                                     token[CLIENT])
    return client, advisor


async def leave_nothing(party):
    """Ends a session that an interrupted run has left."""
    await asyncio.sleep(0.3)
    for message in list(party.seen):
        if message['type'] == 'session_update' \
                and message['payload']['state'] != 'ended':
            await party.call('session_end',
                             {'session': message['payload']['session']})
    party.seen.clear()


async def consult(args, tls):
    show = Show()
    client, advisor = await connect_apart(args, tls, show)

    for party in (client, advisor):
        where = party.me.get('debug')
        show(party.name, f'is {party.me["user"]}' + (
            f', on nginx worker {where["pid"]} (seat {where["seat"]})'
            if where else ''))
    await leave_nothing(client)
    await leave_nothing(advisor)
    await asyncio.get_running_loop().run_in_executor(None, settled, args.pg)
    prepare(args.pg)

    show('client', f'has {money(MONEY)} and calls {advisor.me["user"]}')
    session = await client.call('session_start', {
        'advisor': advisor.me['user'], 'service': 'chat',
        'cid': str(uuid.uuid4())})
    this = {'session': session['session']}

    await advisor.until('session_incoming',
                        lambda m: m['payload']['session'] == this['session'])
    await asyncio.sleep(0.5)
    show('advisor', 'accepts')
    await advisor.call('session_accept', this)
    await asyncio.gather(client.call('session_join', this),
                         advisor.call('session_join', this))
    await client.until('session_update',
                       lambda m: m['payload']['state'] == 'active')

    async def talk():
        begin = time.monotonic()
        for at, who, text in SCRIPT:
            await asyncio.sleep(max(0, begin + at - time.monotonic()))
            party = client if who == 'client' else advisor
            reply = await party.call('chat_message', {
                'conv': session['conv'], 'cid': str(uuid.uuid4()),
                'kind': 'text', 'text': text})
            show(who, f'says "{text}"  (stored, seq {reply["seq"]})')

    talking = asyncio.create_task(talk())
    ends = await asyncio.gather(*(
        party.until('session_end',
                    lambda m: m['payload']['session'] == this['session'])
        for party in (client, advisor)))
    await talking
    await client.close()
    await advisor.close()
    return int(this['session'][2:]), ends[0]['payload']


class Books:
    """Looks at the ledger of one session and says what it finds."""

    def __init__(self, db, number):
        self.db, self.number = db, number
        self.failed = 0

    def check(self, holds, what):
        print(f'    {"ok     " if holds else "WRONG  "} {what}')
        self.failed += not holds

    def show(self, end):
        names = dict(self.db.execute(
            'SELECT w.id, coalesce(a.name, \'outside\') FROM ledger.wallet w'
            '  LEFT JOIN identity.account a ON a.id = w.owner_id').fetchall())
        rows = self.db.execute(
            'SELECT charge_no, debit_account, credit_account, amount, fee'
            '  FROM ledger.transfer WHERE session_id = %s ORDER BY charge_no',
            (self.number,)).fetchall()
        rate, ms, charged, fee, credited, is_settled, bps, wallet = \
            self.db.execute(
                'SELECT rate_minor, billed_ms, charged, fee, credited,'
                ' settled, commission_bps, client_wallet FROM consult.session'
                ' WHERE id = %s', (self.number,)).fetchone()
        left = self.db.execute('SELECT balance, held FROM ledger.wallet'
                               ' WHERE id = %s', (wallet,)).fetchone()
        cur = end['totals']['currency']

        print(f'\nThe ledger of session s_{self.number}, in {cur}\n')
        print('    charge  from            to                 amount'
              '   to advisor        fee')
        for no, debit, credit, amount, part in rows:
            print(f'    {no:6}  {names[debit]:14}  {names[credit]:14}'
                  f'{money(amount):>11}  {money(amount - part):>11}'
                  f'{money(part):>11}')
        debits = sum(row[3] for row in rows)
        fees = sum(row[4] for row in rows)
        print(f'    {"sum":6}  {"":14}  {"":14}{money(debits):>11}'
              f'  {money(debits - fees):>11}{money(fees):>11}\n')

        self.check(debits == charged, f'the transfers sum to what the session '
                   f'was charged: {money(charged)}')
        self.check(charged == rate * ms // 60000,
                   f'charged = floor({rate} * {ms} ms / 60000) = '
                   f'{rate * ms // 60000}')
        self.check(fees == fee == charged * bps // 10000,
                   f'fee = floor({charged} * {bps} / 10000) = '
                   f'{charged * bps // 10000}')
        self.check(credited == charged - fee, 'the advisor was credited '
                   f'charged - fee: {money(credited)}')
        self.check(-debits + credited + fees == 0,
                   'client debit + advisor credit + fee sum to zero')
        self.check(is_settled and left == (0, 0),
                   'settled: nothing is held, the balance is '
                   f'{money(left[0])}')
        self.check(end['totals']['charged'] == charged
                   and end['totals']['billed_ms'] == ms,
                   'both parties were told the same figures')
        return self.failed == 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--url', required=True)
    parser.add_argument('--ca', required=True)
    parser.add_argument('--pg', required=True)
    args = parser.parse_args()
    tls = ssl.create_default_context(cafile=args.ca)

    wait_healthy(args.url, tls)
    number, end = asyncio.run(consult(args, tls))
    with psycopg.connect(args.pg, autocommit=True) as db:
        right = Books(db, number).show(end)
    return 0 if right else 1


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, OSError, asyncio.TimeoutError) as e:
        sys.exit(f'demo: {type(e).__name__}: {e}')
