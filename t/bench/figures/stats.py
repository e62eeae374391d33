"""GET /api/admin/stats over a million sessions and ten million transfers, and
statements of a year among them, in a cluster of their own.

The rows are made in SQL and rolled up as the billing worker does.  Each answer
has to be what plain SQL over the rows themselves says.
"""

import concurrent.futures
import datetime
import json
import time
import urllib.request

from . import rest, table
from .common import TROUBLE, Skip, reason, say
from .rest import OursRest
from .stack import Stack

SESSIONS, QUICK = 1000000, 100000
AT_ONCE = (1, 8)
STATEMENTS = 10                 # each, one after the other
FIRST = 1000                    # of ids; the schema has rows of its own

# Of a year in which clients come, evenly, and have sessions, evenly; those who
# are there have as many, but the first one, who has a third of a percent of
# all.  One session in ten is missed, the others have 6 to 16 charges.
ROWS = '''
    INSERT INTO identity.account (id, email, name, role, password_hash,
                created_at) OVERRIDING SYSTEM VALUE
    SELECT {first} + i, 'stats-' || i || '@bench.test', 'Stats ' || i,
           CASE WHEN i > {clients} THEN 'advisor' ELSE 'client' END, '!',
           {since} + {span} * CASE WHEN i > {clients} THEN 0
                                   ELSE (i - 1) / {clients}::float8 END
      FROM generate_series(1, {clients} + {advisors}) i;

    INSERT INTO ledger.wallet (id, owner_id, kind, balance)
    OVERRIDING SYSTEM VALUE
    SELECT a.id, a.id, a.role, 1000000000 FROM identity.account a
     WHERE a.id > {first};

    INSERT INTO consult.conversation (id, client_id, advisor_id)
    OVERRIDING SYSTEM VALUE
    SELECT {first} + i, {first} + i, {first} + {clients} + 1 + i % {advisors}
      FROM generate_series(1, {clients}) i;

    INSERT INTO ledger.transfer (debit_account, credit_account, amount, kind,
                at, reference)
    SELECT c.id, w.id, w.balance, 'topup', a.created_at, 'topup-' || w.id
      FROM ledger.wallet w JOIN identity.account a ON a.id = w.owner_id,
           ledger.wallet c
     WHERE w.kind = 'client' AND c.kind = 'clearing';

    INSERT INTO ledger.transfer (debit_account, credit_account, amount, kind,
                at, reference)
    SELECT w.id, c.id, {sessions}, 'payout', {since} + n * interval '7 days',
           'payout-' || w.id || '-' || n
      FROM ledger.wallet w, ledger.wallet c, generate_series(1, 50) n
     WHERE w.kind = 'advisor' AND c.kind = 'clearing';

    INSERT INTO ledger.transfer (debit_account, credit_account, amount, kind,
                at, reference)
    SELECT p.id, w.id, 300, 'reversal_fee', {since} + w.id % 350
           * interval '1 day', 'back-' || w.id
      FROM ledger.wallet w, ledger.wallet p
     WHERE w.kind = 'client' AND w.id % 100 = 0 AND p.kind = 'platform';

    INSERT INTO ledger.transfer (debit_account, credit_account, amount, kind,
                at, reference)
    SELECT w.id, c.id, 5000, 'refund', {since} + interval '351 days'
           + w.id % 7 * interval '1 day', 'refund-' || w.id
      FROM ledger.wallet w, ledger.wallet c
     WHERE w.kind = 'client' AND w.id % 50 = 0 AND c.kind = 'clearing'
'''

TALKS = '''
    INSERT INTO consult.session (id, conversation_id, client_id, advisor_id,
        client_wallet, advisor_wallet, cid, service, rate_minor,
        commission_bps, state, reason, state_ms, created_at, accepted_at,
        active_ms, ended_at, settled, settled_at, charge_no, billed_ms,
        charged, fee, credited)
    OVERRIDING SYSTEM VALUE
    SELECT s.i, s.client, s.client, s.advisor, s.client, s.advisor,
           gen_random_uuid(), 'chat', s.rate, 3000, 'ended',
           CASE WHEN s.n > 0 THEN 'ended' ELSE 'missed' END, s.ms, s.at,
           CASE WHEN s.n > 0 OR s.i % 20 = 10 THEN s.at END,
           CASE WHEN s.n > 0 THEN s.ms END, s.at + s.n * interval '1 min',
           true, s.at + s.n * interval '1 min', s.n, s.n * 60000,
           s.n * s.rate, s.n * s.rate * 3 / 10, s.n * s.rate * 7 / 10
      FROM (SELECT i, {first} + c.c AS client, {first} + {clients} + 1
                   + c.c % {advisors} AS advisor, t.at,
                   floor(extract(epoch FROM t.at) * 1000)::bigint AS ms,
                   600 + 100 * (i % 100) AS rate,
                   CASE WHEN i % 10 = 0 THEN 0 ELSE 6 + i % 11 END AS n
              FROM generate_series({low}, {high}) i,
                   LATERAL (SELECT CASE WHEN i % 300 = 7 THEN 1 ELSE 1
                       + abs(hashint8(i)::bigint) % greatest(1, i::bigint
                         * {clients} / {sessions}) END AS c) c,
                   LATERAL (SELECT {since} + {span} * (i / {sessions}::float8)
                            AS at) t) s
'''

CHARGES = '''
    INSERT INTO ledger.transfer (debit_account, credit_account, amount, fee,
        session_id, billed_ms, at, charge_no, kind)
    SELECT s.client_wallet, s.advisor_wallet, s.rate_minor,
           s.rate_minor * 3 / 10, s.id, k * 60000,
           s.created_at + k * interval '1 min', k, 'session'
      FROM consult.session s, generate_series(1, s.charge_no) k
     WHERE s.id BETWEEN {low} AND {high}
'''

BALANCES = '''
    UPDATE ledger.wallet w SET balance = x.balance
      FROM (SELECT y.id, sum(y.amount) AS balance
              FROM (SELECT client_wallet AS id, - charged AS amount
                      FROM consult.session
                    UNION ALL
                    SELECT advisor_wallet, charged - fee FROM consult.session
                    UNION ALL
                    SELECT debit_account, - amount FROM ledger.transfer
                     WHERE session_id IS NULL
                    UNION ALL
                    SELECT credit_account, amount - fee FROM ledger.transfer
                     WHERE session_id IS NULL) y
             GROUP BY y.id) x
     WHERE w.id = x.id AND w.owner_id IS NOT NULL
'''

# as migration 0030 leaves it in a database in which all of this was before
BEFORE = '''
    UPDATE stats.mark
       SET accounts_end = (SELECT max(id) FROM identity.account),
           sessions_end = (SELECT max(id) FROM consult.session)
'''

# What a period's figures are, by the rows, of days and of kinds.
JOURNAL = '''
    SELECT (t.at AT TIME ZONE 'UTC')::date, t.kind, sum(t.amount), sum(t.fee)
      FROM ledger.transfer t GROUP BY 1, 2
'''
TALKED = '''
    SELECT json_build_object('ended', count(*),
           'answered', count(*) FILTER (WHERE s.accepted_at IS NOT NULL
                                           OR s.billed_ms > 0),
           'completed', count(*) FILTER (WHERE s.billed_ms > 0),
           'minutes', div(coalesce(sum(s.billed_ms), 0), 60000))
      FROM consult.session s
     WHERE s.settled
       AND (s.ended_at AT TIME ZONE 'UTC')::date BETWEEN %(from)s AND %(to)s
'''
PEOPLE = '''
    SELECT json_build_object('total', count(*),
           'clients', count(*) FILTER (WHERE a.role = 'client'),
           'advisors', count(*) FILTER (WHERE a.role = 'advisor'),
           'new', count(*) FILTER (WHERE (a.created_at AT TIME ZONE 'UTC')
                                   ::date BETWEEN %(from)s AND %(to)s),
           'active', (SELECT count(DISTINCT s.client_id)
                        FROM consult.session s
                       WHERE (s.created_at AT TIME ZONE 'UTC')::date
                             BETWEEN %(from)s AND %(to)s))
      FROM identity.account a
'''
DUE = '''
    SELECT sum(x.amount) FROM (
        SELECT credit_account AS id, amount - fee AS amount
          FROM ledger.transfer
        UNION ALL SELECT debit_account, - amount FROM ledger.transfer) x
      JOIN ledger.wallet w ON w.id = x.id WHERE w.kind = 'advisor'
'''
MONEY = {'gross': {'session', 'gift', 'deposit'}, 'topups': {'topup'},
         'given_back': {'reversal_fee'}, 'refunds': {'refund'},
         'payouts': {'payout'}}


class Books(OursRest):
    """A year of it, on a stack of its own."""

    name = 'ours'
    path = '/api/admin/stats'

    def __init__(self, stack, sessions):
        super().__init__(stack)
        today = datetime.datetime.now(datetime.timezone.utc).date()
        self.sizes = {
            'sessions': sessions, 'clients': sessions // 10, 'advisors': 200,
            'first': FIRST, 'span': "interval '359 days'",
            'since': f"'{today - datetime.timedelta(360)} 00:00:00+00'"
                     '::timestamptz'}
        self.today = today
        self.took = {}
        self.admin = None

    def start(self):
        self.stack.start_database()
        self.stack.need('migrate')
        self.timed('made', self.make)
        self.timed('rolled up', self.roll)
        with self.stack.admin() as db:
            self.admin, = db.execute(
                'INSERT INTO identity.account (email, name, role,'
                " password_hash) VALUES ('boss@bench.test', 'Boss', 'admin',"
                " '!') RETURNING id").fetchone()
            while db.execute('SELECT billing.stats_roll()').fetchone()[0]:
                pass
            for name in ('stats.day', 'stats.cohort', 'stats.active_day',
                         'ledger.daily', 'ledger.wallet', 'consult.session',
                         'ledger.transfer'):
                db.execute(f'VACUUM ANALYZE {name}')
            db.execute('CHECKPOINT')
        self.stack.need('nginx')

    def timed(self, what, function):
        since = time.monotonic()
        function()
        self.took[what] = time.monotonic() - since

    def run(self, text, low=0, high=0):
        """No trigger counts these one by one."""
        with self.stack.admin() as db:
            db.execute('SET session_replication_role = replica')
            db.execute('SET jit = off')
            for statement in text.format(low=low, high=high, **self.sizes
                                         ).split(';\n'):
                db.execute(statement)

    def halves(self, text):
        """By two at a time."""
        n = self.sizes['sessions']
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(self.run, text, 1, n // 2),
                         pool.submit(self.run, text, n // 2 + 1, n)]:
                done.result()

    def make(self):
        self.run(ROWS)
        self.halves(TALKS)
        self.run('ANALYZE consult.session')
        self.halves(CHARGES)
        self.run(BALANCES + ';\n' + BEFORE)
        for name in ('identity.account', 'ledger.wallet', 'consult.session',
                     'consult.conversation'):
            self.run(f"SELECT setval(pg_get_serial_sequence('{name}', 'id'),"
                     f' max(id)) FROM {name}')

    def roll(self):
        """What the worker calls each minute, until nothing is left."""
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for done in [pool.submit(self.roll_days),
                         pool.submit(self.roll_journal)]:
                done.result()

    def roll_days(self):
        with self.stack.admin() as db:
            while db.execute('SELECT billing.stats_roll()'
                             ).fetchone()[0] is not None:
                pass

    def roll_journal(self):
        with self.stack.admin() as db:
            for _ in range(2):
                db.execute('SELECT billing.totals_roll()')

    # -- what has to be answered -------------------------------------------

    def get(self, path, account, role):
        """The text; how long it took, ms."""
        request = urllib.request.Request(
            f'http://127.0.0.1:{self.port}{path}', headers={
                'Authorization': f'Bearer {self.stack.token(account, role)}'})
        since = time.monotonic()
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read().decode()
        return text, (time.monotonic() - since) * 1000

    def requests(self, query, journal, due):
        """What restload asks, once the answer is what the rows say."""
        path = self.path + (query and '?' + query)
        text, _ = self.get(path, self.admin, 'admin')
        said = json.loads(text)
        period = said['period']
        with self.stack.admin() as db:
            talked, = db.execute(TALKED, period).fetchone()
            people, = db.execute(PEOPLE, period).fetchone()

        rows = [row for row in journal if
                period['from'] <= str(row[0]) <= period['to']]
        money = {name: sum(row[2] for row in rows if row[1] in kinds)
                 for name, kinds in MONEY.items()}
        money['fees'] = sum(row[3] for row in rows)
        wanted = {'sessions': talked, 'users': people, 'revenue': money,
                  'payouts_due': {'amount': due}}

        for part, figures in wanted.items():
            for name, value in figures.items():
                got = said[part][name]
                got = got['amount'] if isinstance(got, dict) else got
                if got != value:
                    raise Skip(f'{path}: {part}.{name} is {got}, the rows '
                               f'say {value}')

        piece = text[text.index('"revenue"'):text.index('"payouts_due"')]
        return [(path, self.stack.token(self.admin, 'admin'), piece)]

    def statement(self, account, role):
        """How many movements there are, and how long each of some takes."""
        path = (f'/api/wallet/statement?from='
                f'{self.today - datetime.timedelta(365)}&to={self.today}')
        took = []
        for _ in range(STATEMENTS):
            text, ms = self.get(path, account, role)
            took.append(ms)
        said = json.loads(text)
        moved = sum(row['amount'] for row in said['movements'])
        with self.stack.admin() as db:
            balance, = db.execute('SELECT balance FROM ledger.wallet'
                                  ' WHERE owner_id = %s', (account,)
                                  ).fetchone()
        if said['opening'] + moved != said['closing'] or \
                said['closing'] != balance:
            raise Skip(f'{path}: it does not add up')
        return {'movements': len(said['movements']), 'ms': sorted(took)}


def measure(bench):
    found, statements = {}, {}
    if not bench.servers(OursRest(bench.stack)):
        return found

    stack = Stack(connections=1000)
    # nothing is written while it is measured
    stack.env['ASTRO_PG_SETTINGS'] += '\nfsync = off\nfull_page_writes = off'
    books = Books(stack, QUICK if bench.quick else SESSIONS)
    today = books.today

    def ago(days):
        return today - datetime.timedelta(days)

    queries = {'all': '', 'period=30d': 'period=30d',
               'a month, two ago': f'from={ago(60)}&to={ago(31)}',
               'until yesterday': f'from={ago(400)}&to={ago(1)}'}

    try:
        books.start()
        with stack.admin() as db:
            since = time.monotonic()
            journal = db.execute(JOURNAL).fetchall()
            plain = time.monotonic() - since
            due = int(db.execute(DUE).fetchone()[0])
            n = {name: db.execute(f'SELECT count(*) FROM {name}'
                                  ).fetchone()[0]
                 for name in ('consult.session', 'ledger.transfer')}
        requests = {name: books.requests(query, journal, due)
                    for name, query in queries.items()}
        for _ in range(bench.rounds):
            for name in queries:
                for many in AT_ONCE:
                    one = rest.load(bench, books, books.port, requests[name],
                                    many)
                    if one['errors'] or not one['requests']:
                        raise Skip(f"{one['errors']:.0f} wrong answers; "
                                   + one['said'])
                    found.setdefault((name, str(many)), table.Series()
                                     ).add(one)
        statements = {
            'a client': books.statement(FIRST + 1, 'client'),
            'an advisor': books.statement(
                FIRST + books.sizes['clients'] + 2, 'advisor')}
    except TROUBLE as e:
        say(f'\nstats: not measured: {reason(e)}')
        return found
    finally:
        stack.close()

    show(bench, books, found, statements, n, plain)
    return found


def show(bench, books, found, statements, n, plain):
    table.show('Figures for admins: GET /api/admin/stats over '
               f"{n['consult.session']} sessions and {n['ledger.transfer']} "
               f'transfers, {bench.how()}\n'
               f"(made in {books.took['made']:.0f} s, rolled up in "
               f"{books.took['rolled up']:.0f} s; all equal to SQL over the "
               f'rows, which takes {plain:.1f} s for the ledger alone)',
               ['', 'at once', 'answers/s', 'p50 us', 'p99 us', 'max us'],
               [[*name, s.spread('rate'), table.short(s.middle('p50_us')),
                 s.spread('p99_us'), table.short(s.middle('max_us'))]
                for name, s in found.items()])
    table.show('Statements of a year among them, GET /api/wallet/statement, '
               f'{STATEMENTS} each',
               ['', 'movements', 'p50 ms', 'max ms'],
               [[who, str(s['movements']),
                 table.short(s['ms'][STATEMENTS // 2]),
                 table.short(s['ms'][-1])] for who, s in statements.items()])

    for many in AT_ONCE:
        p99 = max(s.middle('p99_us') for name, s in found.items()
                  if name[1] == str(many))
        bench.goals.at_most(f'admin stats, {many} at once, the slowest '
                            'period, p99 ms', p99 / 1000, 50)
    bench.goals.at_most('a statement of a year, s',
                        max(s['ms'][-1] for s in statements.values()) / 1000,
                        1)
